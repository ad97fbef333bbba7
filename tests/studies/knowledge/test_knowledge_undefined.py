"""What the study of knowledge says where nothing can be measured, or should not be compared."""

from __future__ import annotations

import contextlib
import shutil
from functools import partial
from typing import Any

import pandas as pd
import planted_knowledge as planted
import pytest
import torch
from planted_knowledge import (
    BEST,
    IMAGES,
    PLAYERS,
    growing,
    independent,
    maker,
    measured,
    ones,
    whole,
)
from tiny_study import STUDY
from torch import Tensor

from headstart.artifacts.files import read_table
from headstart.metrics.interactions.and_or import TOLERANCE, and_or_split
from headstart.studies.knowledge import KnowledgeError, shares

pytestmark = pytest.mark.usefixtures("project")


def constant(arm: str, init_epoch: str, seed: int, epoch: int) -> Tensor:
    return torch.zeros(IMAGES, 2**PLAYERS, dtype=torch.float64)


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """Return what is measured on constant networks that misclassify everything."""
    with contextlib.chdir(tmp_path_factory.mktemp("empty")):
        artifact = measured(planted.study(STUDY), maker(constant, right=False))
        curves = read_table(artifact.file("sparsity.parquet"))
        assert (curves["images"] == 0).all()
        assert curves["strength"].isna().all()
        return read_table(artifact.file("measurements.parquet"))


@pytest.mark.parametrize("variant", ["raw", "normalised"])
def test_constant_networks_that_misclassify_everything_are_nan_with_counts_and_reasons(
    empty: pd.DataFrame, variant: str
) -> None:
    metrics = ("preserved_of_pretrained", "exclusivity", "exclusivity_by_count", "scratch_only")
    for metric in (*metrics, "salient_scratch", "directness"):
        share = whole(empty, metric, variant=variant)
        assert pd.isna(share["value"])
        assert (share["n"], share["undefined"], share["networks"]) == (0, 2 * IMAGES, 0)
        assert "0/0 on every image" in share["reason"]
    nobody = whole(empty, "preserved_of_pretrained", subset="correct", variant=variant)
    assert pd.isna(nobody["value"])
    assert (nobody["n"], nobody["undefined"]) == (0, 0)
    assert nobody["reason"] == "no image is right under all three networks"
    missing = empty["value"].isna()
    assert (empty.loc[missing, "reason"] != "").all()


def test_a_single_constant_network_is_counted_in_every_measure_that_needs_it() -> None:
    def half(arm: str, init_epoch: str, seed: int, epoch: int) -> Tensor:
        return 0 * ones(1) if arm == "scratch" and seed else growing(arm, init_epoch, seed, epoch)

    plan = planted.study(STUDY, permutations=1, resamples=5)
    table = read_table(measured(plan, maker(half)).file("measurements.parquet"))
    for metric in ("scratch_only", "salient_scratch"):
        row = whole(table, metric, variant="normalised")
        assert (row["n"], row["undefined"], row["networks"]) == (IMAGES, IMAGES, 1)
    # Normalised, a constant network has no exclusivity; as it is, it has nothing of what is preserved.
    assert whole(table, "exclusivity", variant="normalised")["value"] == pytest.approx(0.3)
    assert whole(table, "exclusivity")["value"] == pytest.approx(0.15)
    assert whole(table, "exclusivity")["networks"] == 2


def test_noise_above_the_lowest_threshold_of_the_images_is_flagged() -> None:
    def uneven(arm: str, init_epoch: str, seed: int, epoch: int) -> Tensor:
        table = ones(15)
        table[0] *= 1e-6  # 5 % of it are less than the noise, a millionth of the others
        return table

    flagged = {}
    for scope in ("model", "sample"):
        shutil.rmtree("results", ignore_errors=True)
        options: dict[str, Any] = {"seeds": [0], "permutations": 1, "resamples": 5}
        plan = planted.study(STUDY, salience={"scope": scope}, **options)
        table = read_table(measured(plan, maker(uneven)).file("measurements.parquet"))
        noise = table[table["metric"] == "noise"]
        flagged[scope] = set(noise["reason"])
        (threshold,) = set(table.loc[table["metric"] == "salience_threshold", "value"])
        assert threshold == pytest.approx(0.05 * (1 if scope == "model" else 1e-6))
    assert flagged == {"model": {""}, "sample": {"above the salience threshold"}}


def test_a_ceiling_that_was_not_run_is_missing_with_its_reason() -> None:
    alone = planted.study(STUDY, seeds=[0])
    table = read_table(measured(alone, maker(growing)).file("measurements.parquet"))
    row = whole(table, "exclusivity", "ceiling_other_source")
    assert pd.isna(row["value"])
    assert row["reason"] == "no other source network was fine-tuned from this source epoch"


def test_source_networks_that_begin_with_the_same_given_weights_are_no_other_source() -> None:
    weights = {"path": "given.safetensors", "sha256": "0" * 64}
    given = {**STUDY, "models": {"convnet": {**STUDY["models"]["convnet"], "weights": weights}}}
    plan = planted.study(given, init_epochs=[0, "best"], permutations=1, resamples=5)
    table = read_table(measured(plan, maker(growing)).file("measurements.parquet"))
    same = whole(table, "exclusivity", "ceiling_other_source", init_epoch="0")
    assert pd.isna(same["value"])
    assert "all begin with the same given weights" in same["reason"]
    assert whole(table, "exclusivity", "ceiling_other_source", init_epoch="best")["value"] == 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"classes": ["D", "E", "F"]},
            "tell 3 classes apart, those of .* 4, G in the latter alone; compare networks of",
        ),
        (
            {"classes": ["D", "E", "F", "H"]},
            "4 classes apart, those of .* 4, H in the former alone and G in the latter alone",
        ),
        ({"classes": ["G", "E", "F", "D"]}, "the same in another order"),
        ({"labels": torch.zeros(IMAGES, dtype=torch.int64)}, "its labels are not those of"),
        ({"players": torch.ones(1, 2, 2, dtype=torch.uint8)}, "its players are not those of"),
    ],
)
def test_networks_evaluated_on_different_things_are_refused(
    change: dict[str, Any], said: str
) -> None:
    with pytest.raises(KnowledgeError, match=said):
        measured(planted.study(STUDY), maker(growing, change=change))


def test_an_epoch_that_is_never_reached_has_no_mean_and_counts_the_networks() -> None:
    def late(arm: str, init_epoch: str, seed: int, epoch: int) -> Tensor:
        """Scratch finds the fine-tuned end at epoch 2 in one source network, and never in the other."""
        if arm == "scratch":
            return ones(15) if seed == 0 and epoch >= BEST else ones(3)
        return ones(15)

    plan = planted.study(STUDY, permutations=1, resamples=5)
    table = read_table(measured(plan, maker(late)).file("measurements.parquet"))
    metric = "epoch_of_half_common_end"
    for network in ("scratch", "finetuned-scratch"):
        row = whole(table, metric, role=network)
        assert pd.isna(row["value"])
        assert pd.isna(row["low"])
        assert (row["undefined"], row["networks"], row["reason"]) == (1, 0, "never reached")
    rows = table[(table["metric"] == metric) & (table["variant"] == "raw")]
    rows = rows[(rows["role"] == "scratch") & (rows["condition"] == "measured")]
    by_seed = rows.dropna(subset="seed").set_index("seed")
    assert by_seed.loc[0, "value"] == BEST
    assert pd.isna(by_seed.loc[1, "value"])
    assert whole(table, metric)["value"] == 0


def test_a_split_that_did_not_converge_is_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shares, "and_or_split", partial(and_or_split, max_iterations=1))
    plan = planted.study(STUDY, and_or=True, seeds=[0], permutations=1, resamples=5)
    table = read_table(measured(plan, maker(independent)).file("measurements.parquet"))
    gap = table[table["metric"] == "and_or_gap"]
    assert (gap["value"] > TOLERANCE).all()
    assert "did not converge" in gap["reason"].iloc[0]
