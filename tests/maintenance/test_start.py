"""`headstart start`: from a folder of images to a params file that runs, with what it takes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import timm
import torch
from commands import done, refused
from pictures import cut_out, fill, noise
from PIL import Image
from reduced import network_problems

from headstart.maintenance.edit_params import set_values
from headstart.maintenance.presets import find, read
from headstart.maintenance.start import Request, start
from headstart.networks import timm_models
from headstart.plan import Plan
from headstart.registry import load, parse
from headstart.studies.early_stopping.verdicts.decision import seeds_needed

pytestmark = pytest.mark.usefixtures("project")
CLASSES = ("ant", "bee", "cat", "dog", "elk", "fox")
PARAMS = Path("params.yaml")


def started(folder: str, **options: object) -> str:
    """Return what the command says of a folder."""
    defaults = {"target": None, "model": "convnet", "size": None, "background": None}
    target = options.get("target")
    request = defaults | options | {"target": Path(str(target)) if target else None}
    return start(Request(Path(folder), **request), PARAMS, timing=False)  # type: ignore[arg-type]


def test_the_classes_of_one_folder_become_source_and_target() -> None:
    fill(Path("photos"), CLASSES, 10)
    said = started("photos")
    assert re.search(r"^ant +10$", said, re.MULTILINE)
    assert "run `snakemake --cores all`" in said
    params = load(PARAMS)
    source, target = params.tasks["source"], params.tasks["target"]
    assert (len(source.classes), len(target.classes)) == (4, 2)
    assert sorted([*source.classes, *target.classes]) == list(CLASSES)
    assert params.datasets["photos"].size == 16
    assert (source.validation_per_class, target.validation_per_class) == (1, 1)
    assert params.section("transfer")["convnet"]["finetune"].shots == (7,)
    assert params.section("statistics").primary.shots == 7
    assert Path("Snakefile").exists()
    text = PARAMS.read_text()
    fill(Path("photos"), CLASSES, 10)
    started("photos/")
    assert PARAMS.read_text() == text


def test_two_folders_become_source_and_target_and_equal_images_are_named() -> None:
    fill(Path("birds"), ("crow", "gull"), 8)
    fill(Path("fish"), ("carp", "pike"), 8, start=50)
    noise(0, 3).save("fish/carp/crow.bmp")
    said = started("birds", target="fish")
    assert "1 of these images are in birds too, such as fish/carp/crow.bmp" in said
    params = load(PARAMS)
    assert params.tasks["source"].classes == ("crow", "gull")
    assert params.tasks["target"].classes == ("carp", "pike")
    assert params.datasets["target_photos"].path == "fish"


@pytest.mark.parametrize(
    ("model", "kind", "optimizer"),
    [
        ("convnet", "convnet", "sgd"),
        ("resnet18", "timm", "sgd"),
        ("vit_tiny_patch16_224", "timm", "adamw"),
    ],
)
def test_a_network_is_trained_as_its_kind_needs_it(model: str, kind: str, optimizer: str) -> None:
    fill(Path("photos"), CLASSES, 10)
    started("photos", model=model, size=32)
    params = load(PARAMS)
    assert params.models[model].kind == kind
    assert params.pretrain[model].optimizer.name == optimizer
    assert params.section("transfer")[model]["finetune"].optimizer.name == optimizer
    raw = read(PARAMS)
    assert not network_problems(raw, (3, 32, 32))
    assert Plan(params).jobs("transfer")


def test_a_network_of_a_file_is_named_by_the_file_with_its_content() -> None:
    fill(Path("photos"), CLASSES, 10)
    Path("my-net.py").write_text(
        "from torch import nn\n\n\ndef build(channels, image_size):\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(channels * image_size**2, 4))\n"
    )
    started("photos", model="my-net.py:build", size=16)
    model = load(PARAMS).models["my_net"]
    assert (model.kind, model.path, model.function) == ("file", "my-net.py", "build")
    assert not network_problems(read(PARAMS), (3, 16, 16))
    for name, said in (
        ("my-net.py", "--model: name the function that makes the network: my-net.py:build"),
        ("my-net.py:", "--model: name the function"),
        ("my-net.py:made", "no function 'made'; the file has build"),
        ("none.py:build", "none.py: this network file cannot be read"),
    ):
        refused("start", "photos", "--model", name, said=(said,))


def test_grey_images_have_one_channel_and_large_ones_32_pixels() -> None:
    for index, name in enumerate(CLASSES):
        Path("photos", name).mkdir(parents=True)
        for number in range(4):
            picture = noise(index % 3, 100 * index + number, (70, 50))
            picture.convert("L").save(Path("photos", name, f"{number}.png"))
    started("photos")
    photos = load(PARAMS).datasets["photos"]
    assert (photos.channels, photos.size) == (1, 32)


def test_an_earlier_params_file_is_kept() -> None:
    fill(Path("photos"), CLASSES, 10)
    started("photos")
    earlier = PARAMS.read_text()
    PARAMS.write_text(f"{earlier}# mine\n")
    kept = re.search(r"the earlier file is kept as (\S+)", started("photos"))
    assert kept
    assert Path(kept[1]).read_text() == f"{earlier}# mine\n"


def test_what_shortens_the_study_is_named_with_what_it_saves() -> None:
    fill(Path("photos"), CLASSES, 10)
    request = Request(Path("photos"), None, "convnet", None, None)
    said = start(request, PARAMS)
    assert re.search(
        r"^About \d+ minutes?, \d+ jobs? at a time\. Shorter with:$", said, re.MULTILINE
    )
    saved = re.findall(r"^  headstart set (.+?)(?: \(.*\))?: (\d+)% less$", said, re.MULTILINE)
    shares = [int(share) for _, share in saved]
    assert shares == sorted(shares, reverse=True)
    assert any("pretrain.convnet.seeds=[0,1,2,3,4,5]" in each for each, _ in saved)
    for assignments, _ in saved:
        set_values(assignments.split(), PARAMS)
    assert len(load(PARAMS).pretrain["convnet"].seeds) >= seeds_needed()


def test_what_cannot_become_a_study_is_refused_and_nothing_is_written() -> None:
    fill(Path("few"), ("ant", "bee", "cat"), 6)
    refused("start", "few", said=("few: classes: 3 are there, 4 are needed", "--target"))
    fill(Path("single"), ("ant", "bee", "cat", "dog"), 6)
    for file in sorted(Path("single/cat").iterdir())[2:]:
        file.unlink()
    refused("start", "single", said=("single: 2 images of class 'cat'", "add some"))
    cut_out(Path("icons"))
    fill(Path("icons"), ("ant", "bee"), 6)
    refused("start", "icons", said=("10 images", "alpha channel alone", "`background`"))
    refused("start", "nowhere", said=("nowhere: no such folder",))
    fill(Path("photos"), CLASSES, 6)
    refused("start", "photos", "--model", "resnet81", said=("resnet81", "did you mean"))
    Path("no.pt").write_bytes(b"no weights")
    refused("start", "photos", "--weights", "no.pt", said=("no.pt",))
    assert not PARAMS.exists()
    assert not Path("Snakefile").exists()
    done("start", "icons", "--background", "white", "--no-timing")
    assert load(PARAMS).datasets["photos"].background == "white"


@pytest.mark.parametrize("tag", [True, False])
def test_given_weights_are_fine_tuned_beside_the_same_network_from_scratch(
    tag: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(Path("photos"), CLASSES, 10)
    state = timm.create_model("resnet18").state_dict()
    torch.save({"state_dict": state}, "mine.pth.tar")
    monkeypatch.setattr(timm_models, "published_state", lambda _: state)
    options = (
        {"model": "resnet18.a1_in1k"}
        if tag
        else {"model": "resnet18", "weights": Path("mine.pth.tar")}
    )
    said = started("photos", **options)
    params = load(PARAMS)
    name = "resnet18_a1_in1k" if tag else "resnet18"
    given, scratch = params.models[name], params.models[f"{name}_scratch"]
    assert given.weights.pixels.mean == (0.485, 0.456, 0.406)
    assert (given.weights.path is None) == tag
    assert given.model_copy(update={"weights": None}) == scratch
    arms = params.section("transfer")
    assert arms[name] == arms[f"{name}_scratch"]
    assert arms[name]["finetune"].learning_rates == (0.2, 0.05, 0.01, 0.002)
    assert {part.epochs for part in params.pretrain.values()} == {0}
    # Nothing is trained on a source, so that all classes are the target's.
    assert params.tasks["target"].classes == params.tasks["source"].classes == CLASSES
    assert params.section("statistics").primary.model == name
    assert ("written to weights/" in said) != tag


def test_damage_and_empty_classes_are_named_together() -> None:
    fill(Path("photos"), CLASSES, 6)
    Path("photos/yak").mkdir()
    Path("photos/ant/3.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match="photos") as caught:
        started("photos")
    first, second = str(caught.value).splitlines()
    assert first.startswith("photos/yak: no image of this class")
    assert first.endswith("or remove the folder")
    assert second.startswith("photos/ant/3.png: this image does not decode")


def test_a_moved_folder_has_the_same_keys_and_the_same_bits() -> None:
    fill(Path("photos"), CLASSES, 6)
    started("photos")
    keys, made = set(), set()
    Path("else").mkdir()
    places = ("photos", "else/pictures", f"{Path.cwd()}/else/pictures", "else/pictures/")
    for place in places:
        if place == "else/pictures":
            Path("photos").rename(place)
        done("data", "add", "photos", place)
        (job,) = Plan(load(PARAMS)).jobs("data")
        done("data", job.key)
        files = sorted(file for file in job.path.iterdir() if file.name != "manifest.json")
        made.add(b"".join(file.read_bytes() for file in files))
        for file in job.path.iterdir():
            file.unlink()
        job.path.rmdir()
        keys.add(tuple(job.key for job in Plan(load(PARAMS)).jobs()))
    assert (len(keys), len(made)) == (1, 1)


def test_a_group_with_the_name_of_a_class_is_refused_when_the_folder_is_added() -> None:
    fill(Path("photos"), CLASSES, 6)
    started("photos")
    text = PARAMS.read_text().replace("channels: 3", "channels: 3\n    groups: {ant: [bee]}")
    PARAMS.write_text(text)
    refused("data", "add", "photos", "photos", said=("groups.ant: this name is a class", "another"))
    assert PARAMS.read_text() == text


def test_the_check_repeats_what_the_survey_found(capsys: pytest.CaptureFixture[str]) -> None:
    fill(Path("photos"), CLASSES, 6)
    noise(0, 0).save("photos/bee/ant.png")
    started("photos", size=8)
    plan = Plan(load(PARAMS))
    for step in ("data", "check"):
        (job,) = plan.jobs(step)
        done(step, job.key)
        assert "1 picture under two labels (ant/0.png = bee/ant.png)" in capsys.readouterr().out


def test_folders_of_downloads_are_in_no_key() -> None:
    raw = read(find("folder"))
    keys = set()
    for folder in ("downloads", "/scratch/one/downloads", "/scratch/two/downloads/"):
        raw["datasets"] = {"photos": {"kind": "torchvision", "name": "CIFAR10", "folder": folder}}
        keys.add(tuple(job.key for job in Plan(parse(raw)).jobs()))
    assert len(keys) == 1


def test_names_that_would_leave_the_project_or_the_page_are_only_names() -> None:
    names = ("up\\..\\..", "<b onload=x>", "a'b\"c", "%s{0}", "ant", "no")
    fill(Path("photos"), names, 6)
    Image.new("RGB", (4, 4)).save("outside.png")
    started("photos")
    params = load(PARAMS)
    assert sorted([*params.tasks["source"].classes, *params.tasks["target"].classes]) == sorted(
        names
    )
    for step in ("data", "check"):
        (job,) = Plan(params).jobs(step)
        done(step, job.key)
    written = {path.parts[0] for path in Path().rglob("*") if path.is_file()}
    laid_down = {"Snakefile", "workflow", "profiles", "dvc.yaml", "params.yaml", "photos"}
    assert written - {".store"} == {*laid_down, "outside.png", "results"}


def test_a_name_of_no_encoding_is_refused_as_the_place_of_a_dataset() -> None:
    folder = b"f\xe9e".decode("utf-8", "surrogateescape")
    fill(Path(folder), CLASSES, 6)
    refused("start", folder, said=("not UTF-8", "rename the folder"))
