"""`headstart compare` on two small networks of a user's own and a checkpoint, and what it refuses."""

from pathlib import Path

import commands
import numpy as np
import pandas as pd
import pytest
import tiny_study
import torch
from PIL import Image
from safetensors.torch import save_file

from headstart.networks.build import build
from headstart.networks.network import NetworkError
from headstart.params.models import Timm
from headstart.studies.invariance.given_networks import given
from headstart.studies.invariance.two_networks import common_shape

OWN = """
import torch
from torch import nn

def build(channels, image_size, width=6):
    return nn.Sequential(
        nn.Sequential(nn.Conv2d(channels, width, 3, 2, 1), nn.ReLU()),
        nn.Sequential(nn.Conv2d(width, width, 3, 2, 1), nn.ReLU()),
        nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten()),
    )

def wide(channels, image_size):
    return build(channels, image_size, 9)
"""
COUNT = 16


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("net.py").write_text(OWN)
    generator = np.random.default_rng(0)
    for index in range(COUNT):
        place = Path("pictures") / ("a" if index % 2 else "b")
        place.mkdir(parents=True, exist_ok=True)
        pixels = generator.integers(0, 255, (3, 3, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((20, 18)).save(place / f"{index:02d}.png")
    return tmp_path


def compared(*arguments: str) -> pd.DataFrame:
    commands.done(
        "compare", *arguments, "--images", "pictures", "--count", str(COUNT), "--out", "out"
    )
    return pd.read_parquet("out/similarity.parquet")


def cells(table: pd.DataFrame, metric: str, form: str = "") -> pd.DataFrame:
    rows = table[(table["metric"] == metric) & (table["form"] == form)]
    return rows.pivot(index="layer_one", columns="layer_other", values="value")


def test_two_networks_are_compared_as_figures_and_tables(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = compared("net.py:build", "net.py:wide", "--size", "16", "--steps", "60")
    for name in ("similarity", "transformations"):
        for suffix in ("csv", "parquet", "png", "pdf"):
            assert (folder / "out" / f"{name}.{suffix}").stat().st_size > 0
    for metric, form in (
        ("cka", "debiased"),
        ("cka", "biased"),
        ("procrustes", ""),
        ("rsa", ""),
        ("mutual_knn", ""),
    ):
        grid = cells(table, metric, form)
        assert grid.shape == (3, 3)
        rows = table[(table["metric"] == metric) & (table["form"] == form)]
        # Images that do not belong together are less alike: in all cells but for chance.
        assert (rows["value"] > rows["unrelated"]).mean() > 0.8, metric
    subspaces = table[table["metric"] == "subspace_similarity"]
    assert "no common directions" in subspaces["reason"].iloc[0]
    selves = table[table["metric"].isin(["stir_one_given_one", "stir_other_given_other"])]
    same = selves[(selves["layer"] == selves["reference_layer"]) & (selves["form"] == "debiased")]
    assert (same["value"] > 0.8).all()
    both = table[table["metric"].str.startswith("stir")]
    assert len(both) == 4 * 9 * 2
    ignored = pd.read_parquet("out/transformations.parquet")
    assert set(ignored["layer"]) == {0, 1, 2, 3}
    assert ignored["value"].notna().all()
    said = capsys.readouterr().out
    assert f"{COUNT} images; tables and figures in out" in said
    assert "CKA debiased (biased)" in said


def test_a_network_is_like_itself_by_every_measure(folder: Path) -> None:
    table = compared("net.py:build", "net.py:build", "--size", "16", "--steps", "0")
    assert not table["metric"].str.startswith("stir").any()
    for (_metric, _form), rows in table.groupby(["metric", "form"]):
        same = rows[rows["layer_one"] == rows["layer_other"]]
        np.testing.assert_allclose(same["value"], 1, atol=1e-5)


def test_weights_with_their_model_and_random_ones_are_networks_too(folder: Path) -> None:
    network = build(Timm(kind="timm", name="resnet18"), 3, 32, 5, seed=3)
    save_file({k.removeprefix("backbone."): v for k, v in network.state_dict().items()
               if k.startswith("backbone.")}, "weights.safetensors")  # fmt: skip
    arguments = ("weights.safetensors:resnet18", "random:resnet18", "--size", "32", "--steps", "0")
    grid = cells(compared(*arguments), "cka", "debiased")
    assert grid.shape == (5, 5)
    assert grid.loc[5, 5] < 0.999  # other weights


def test_a_checkpoint_of_a_study_knows_the_size_of_its_images(folder: Path) -> None:
    plan = tiny_study.plan()
    tiny_study.make_sources(plan)
    place = next(job.path for job in plan.jobs("pretrain"))
    table = compared(str(place / "epoch-0005.safetensors"), str(place), "--steps", "0")
    assert cells(table, "cka", "debiased").loc[6, 6] > 0.2
    with pytest.raises(
        NetworkError, match=r"different images: channels of .* 1, random:resnet18 3"
    ):
        common_shape([given(str(place)), given("random:resnet18")], None)


def test_an_image_that_decides_is_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in Path("pictures").rglob("*.png"):
        pixels = np.asarray(Image.open(path)) // 16 + 100
        Image.fromarray(pixels.astype(np.uint8)).save(path)
    generator = np.random.default_rng(3)
    Image.fromarray(generator.integers(0, 2, (18, 20, 3), dtype=np.uint8) * 255).save(
        "pictures/a/01.png"
    )
    table = compared("net.py:build", "net.py:wide", "--size", "16", "--steps", "0")
    cka = table[(table["metric"] == "cka") & (table["form"] == "biased")]
    assert (cka["image"] == "a/01.png").mean() > 0.5
    assert "without a/01.png; look at that image" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("net.py:build", "nowhere.safetensors:resnet18"), ("nowhere.safetensors: no such file",)),
        (("net.py:build", "nowhere.safetensors"), ("nowhere.safetensors: no such file",)),
        (("net.py", "net.py:wide"), ("name the function", "net.py:build")),
        (("net.py:other", "net.py:wide", "--size", "16"), ("no function 'other'", "build, wide")),
        (("net.py:build", "random:resnt18", "--size", "32"), ("timm has no model 'resnt18'", "resnet18")),
        (("net.py:build", "some/thing"), ("some/thing: names no network", "timm name")),
        (("net.py:build", "net.py:wide"), ("neither network says", "--size")),
        (("random:vit_tiny_patch16_384", "random:resnet18"), ("different images", "384", "224", "--size")),
        (("net.py:build", "net.py:wide", "--size", "16", "--count", "99"), ("99 images", "has 16", "--count")),
        (("net.py:build", "net.py:wide", "--size", "16", "--images", "nowhere"), ("nowhere: no such folder",)),
    ],
)  # fmt: skip
def test_what_cannot_be_compared_is_said_in_one_line(
    folder: Path, arguments: tuple[str, ...], said: tuple[str, ...]
) -> None:
    images = () if "--images" in arguments else ("--images", "pictures")
    count = () if "--count" in arguments else ("--count", str(COUNT))
    commands.refused("compare", *arguments, *images, *count, said=said)


def test_no_comparison_leaves_torch_with_more_threads(folder: Path) -> None:
    compared("net.py:build", "net.py:wide", "--size", "16", "--steps", "0")
    assert torch.get_num_threads() == 1
