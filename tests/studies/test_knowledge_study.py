"""What the study of knowledge measures, on planted interactions whose shares are known."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import planted_knowledge as planted
import pytest
import torch
from planted_knowledge import BEST, EPOCHS, IMAGES, PLAYERS, maker, measured, random_table
from test_jobs import STUDY
from torch import Tensor

from headstart.artifacts.files import read_table
from headstart.params import Statistics
from headstart.studies.claims import judge_study, read_claims
from headstart.studies.knowledge.errors import KnowledgeError

pytestmark = pytest.mark.usefixtures("project")


def whole(table: pd.DataFrame, metric: str, reading: str = "measured", **where: Any) -> pd.Series:
    """Return the one row over all orders and networks, of all images unless told otherwise."""
    where = {"variant": "raw", "subset": "all", "network": "finetuned", **where}
    rows = table[(table["metric"] == metric) & (table["reading"] == reading)]
    for column, value in where.items():
        rows = rows[rows[column] == value]
    rows = rows[rows["order"].isna() & rows["seed"].isna() & rows["target_epoch"].isna()]
    assert len(rows) == 1, rows
    return rows.iloc[0]


def ones(number: int) -> Tensor:
    """Return interactions of 1 on the first `number` non-empty subsets, 0 elsewhere."""
    table = torch.zeros(IMAGES, 2**PLAYERS, dtype=torch.float64)
    table[:, 1 : 1 + number] = 1
    return table


def growing(arm: str, start: str, seed: int, epoch: int) -> Tensor:
    """Pretrained on 10 subsets, fine-tuned on 15, scratch on 3 of those; on the way there, weaker."""
    time = (epoch + 1) / EPOCHS[-1] if epoch < BEST else 1.0
    if arm == "probe":
        return ones(10) if start == "best" else random_table(arm, seed)
    return time * (ones(15) if arm.startswith("finetune") else ones(3))


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """Return what is measured on `growing` networks."""
    with contextlib.chdir(tmp_path_factory.mktemp("grown")):
        artifact = measured(planted.study(STUDY), maker(growing))
        return read_table(artifact.file("measurements.parquet"))


def test_planted_shares_ratios_and_similarities_come_out_as_computed_by_hand(
    grown: pd.DataFrame,
) -> None:
    table = grown
    assert whole(table, "preserved_of_pretrained")["value"] == pytest.approx(1)
    assert whole(table, "discarded_of_pretrained")["value"] == pytest.approx(0)
    assert whole(table, "new_of_finetuned")["value"] == pytest.approx(5 / 15)
    assert whole(table, "exclusivity")["value"] == pytest.approx(0.3)
    assert whole(table, "exclusivity_by_count")["value"] == pytest.approx(0.3)
    assert whole(table, "scratch_only")["value"] == pytest.approx(0)
    assert whole(table, "similarity")["value"] == pytest.approx(10 / 15)
    assert whole(table, "exclusivity", "ceiling_second_run")["value"] == pytest.approx(1)
    assert whole(table, "preserved_of_pretrained", "ceiling_other_source")["value"] == 1
    # Equal strengths: normalising divides 10 subsets by 10 and 15 by 15.
    assert whole(table, "new_of_finetuned", variant="normalised")["value"] == pytest.approx(1 / 3)
    row = whole(table, "exclusivity")
    assert (row["n"], row["seeds"], row["undefined"]) == (2 * IMAGES, 2, 0)
    assert row["low"] == row["value"] == row["high"]  # all images are alike


def test_curves_approach_their_end_as_planted(grown: pd.DataFrame) -> None:
    table = grown
    rows = table[(table["variant"] == "raw") & (table["reading"] == "measured")]
    rows = rows[rows["seed"].isna() & (rows["network"] == "scratch")]

    def curve(metric: str) -> list[float]:
        return rows[rows["metric"] == metric].sort_values("target_epoch")["value"].tolist()

    assert curve("similarity_to_own_end") == pytest.approx([1 / 3, 2 / 3, 1, 1])
    assert curve("similarity_to_common_target") == pytest.approx([1 / 15, 2 / 15, 0.2, 0.2])
    assert whole(table, "directness", network="scratch")["value"] == pytest.approx(1)
    assert whole(table, "stability_to_own_end")["value"] == 0
    assert whole(table, "epoch_of_half_own_end", network="scratch")["value"] == 1
    assert whole(table, "epoch_of_80_percent_own_end")["value"] == 2
    gap = whole(table, "speed_to_own_end", network="finetuned-scratch")["value"]
    assert gap == pytest.approx(0)
    best = table[table["metric"] == "accuracy_at_validation_best"]
    assert (best["value"] == 0.1 * BEST).all()


def independent(arm: str, start: str, seed: int, epoch: int) -> Tensor:
    return random_table(arm, start, seed, epoch)


def test_independent_networks_are_at_chance_and_an_excess_is_value_over_null_by_room() -> None:
    plan = planted.study(STUDY)
    table = read_table(measured(plan, maker(independent)).file("measurements.parquet"))
    share = whole(table, "preserved_of_pretrained")
    assert share["value"] == pytest.approx(1 - 0.5**0.5, abs=0.05)
    assert share["low"] < share["value"] < share["high"]
    over = whole(table, "preserved_of_pretrained", "over_permuted")
    null = whole(table, "preserved_of_pretrained", "null_permuted")
    assert over["value"] == pytest.approx(share["value"] - null["value"])
    assert over["low"] < 0 < over["high"]

    def shared(arm: str, start: str, seed: int, epoch: int) -> Tensor:
        base = random_table("base", seed)
        part = {"finetune": 1.0, "finetune-again": 0.8, "probe": 0.4, "scratch": 0.2}[arm]
        return planted.shared_with(base, part, random_table(arm, start, seed, epoch))

    shutil.rmtree("results")
    table = read_table(measured(plan, maker(shared)).file("measurements.parquet"))
    value, null, ceiling, excess = (
        whole(table, "exclusivity", reading)["value"]
        for reading in ("measured", "null_permuted", "ceiling_second_run", "excess_permuted")
    )
    assert excess == pytest.approx((value - null) / (ceiling - null))
    assert 0 < excess < 1


def test_orders_add_up_and_a_planted_rise_is_found() -> None:
    def rising(arm: str, start: str, seed: int, epoch: int) -> Tensor:
        table = random_table("base", seed)
        if arm == "probe" and start == "best":
            for order in (3, 4):  # high orders are lost
                table[:, planted.subsets_of_order(order)] *= -1
        return table if start == "best" else random_table(arm, seed, epoch)

    plan = planted.study(STUDY)
    table = read_table(measured(plan, maker(rising)).file("measurements.parquet"))
    rows = table[(table["metric"] == "strength_discarded") & (table["reading"] == "measured")]
    rows = rows[(rows["variant"] == "raw") & (rows["subset"] == "all")]
    by_order = rows.dropna(subset="order")["value"].sum()
    assert by_order == pytest.approx(whole(table, "strength_discarded")["value"])
    assert whole(table, "discarded_of_pretrained_rise")["value"] == pytest.approx(1)
    assert whole(table, "discarded_of_pretrained_rise", "over_permuted")["low"] > 0.5
    noise = table[(table["metric"] == "noise") & (table["network"] == "finetuned")]
    assert len(noise) == PLAYERS
    assert (noise["value"] < 1e-4).all()


def test_parts_of_the_knowledge_rebuild_the_margin_that_was_planted(grown: pd.DataFrame) -> None:
    table = grown
    for part, margin in (("everything", 15), ("preserved", 10), ("new", 5)):
        assert whole(table, f"margin_of_{part}")["value"] == pytest.approx(margin)
    # All interactions are 1: equal strength gives an equal margin.
    assert whole(table, "margin_of_preserved_minus_random")["value"] == pytest.approx(0)
    assert whole(table, "positive_of_new")["value"] == 1
    hidden = table[table["metric"] == "margin_without_preserved_players"].set_index("order")
    assert hidden["value"].to_dict() == pytest.approx({1: 7, 2: 3, 3: 1})


def constant(arm: str, start: str, seed: int, epoch: int) -> Tensor:
    return torch.zeros(IMAGES, 2**PLAYERS, dtype=torch.float64)


def test_constant_networks_that_misclassify_everything_are_nan_with_counts_and_reasons() -> None:
    plan = planted.study(STUDY)
    artifact = measured(plan, maker(constant, right=False))
    table = read_table(artifact.file("measurements.parquet"))
    share = whole(table, "preserved_of_pretrained")
    assert pd.isna(share["value"])
    assert (share["n"], share["undefined"]) == (0, 2 * IMAGES)
    assert "0/0 on every image" in share["reason"]
    nobody = whole(table, "preserved_of_pretrained", subset="correct")
    assert pd.isna(nobody["value"])
    assert (nobody["n"], nobody["undefined"]) == (0, 0)
    assert nobody["reason"] == "no image is right under all three networks"
    missing = table["value"].isna()
    assert (table.loc[missing, "reason"] != "").all()


def test_a_ceiling_that_was_not_run_is_missing_with_its_reason() -> None:
    alone = planted.study(STUDY, seeds=[0])
    table = read_table(measured(alone, maker(growing)).file("measurements.parquet"))
    row = whole(table, "exclusivity", "ceiling_other_source")
    assert pd.isna(row["value"])
    assert row["reason"] == "no other source network was fine-tuned from this start"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"classes": ["D", "E", "F"]}, "tell 3 classes apart, those of .* 4; compare networks of"),
        ({"labels": torch.zeros(IMAGES, dtype=torch.int64)}, "its labels are not those of"),
        ({"players": torch.ones(1, 2, 2, dtype=torch.uint8)}, "its players are not those of"),
    ],
)
def test_networks_evaluated_on_different_things_are_refused(
    change: dict[str, Any], said: str
) -> None:
    with pytest.raises(KnowledgeError, match=said):
        measured(planted.study(STUDY), maker(growing, change=change))


def test_and_or_interactions_give_shares_too() -> None:
    plan = planted.study(STUDY, and_or=True, seeds=[0], permutations=1, resamples=5)
    table = read_table(measured(plan, maker(growing)).file("measurements.parquet"))
    share = whole(table, "preserved_of_pretrained", variant="and_or")["value"]
    assert 0 < share <= 1 + 1e-9
    rest = whole(table, "discarded_of_pretrained", variant="and_or")["value"]
    assert share + rest == pytest.approx(1)
    split = table[(table["variant"] == "and_or") & (table["reading"] == "measured")]
    assert "similarity" not in set(split["metric"])


def test_claims_are_judged_on_the_tables(project: Path) -> None:
    def direct(arm: str, start: str, seed: int, epoch: int) -> Tensor:
        """Little is kept; scratch has none of it and wanders, fine-tuning is there at once."""
        end = random_table("end", seed)
        if arm == "scratch":
            return random_table(arm, seed, epoch)
        if arm == "probe":
            kept = 0.3 if start == "best" else 0.0
            return planted.shared_with(end, kept, 0.5 * random_table(arm, start, seed))
        return end * (1 - 0.1 * (EPOCHS[-1] - epoch)) + 0.05 * random_table(arm, seed)

    plan = planted.study(STUDY)
    measured(plan, maker(direct))
    found = planted.tables(plan)
    measurements = {"measurements": read_table(found.file("measurements.parquet"))}
    about, findings = judge_study(read_claims(), "knowledge", measurements, Statistics())
    assert "convnet, source → target, fine-tuned from source epoch best, 2 source networks" in about
    statuses = {name: finding.status for name, finding in findings.items()}
    assert statuses["K4"] == statuses["K5"] == "supported"
    assert statuses["K6"] == "undetermined"
    assert "needs 20 or more, here are 2" in findings["K6"].reason
    assert statuses["K7"] == "not measured here"
    assert statuses["K8"] == "contradicted"  # Gaussian interactions are not sparse
    share = findings["K1"]
    assert share.low < share.value < share.high
    asked = {"model": "resnet"}
    about, findings = judge_study(read_claims(), "knowledge", measurements, Statistics(), asked)
    assert "no comparison of the study of knowledge has {'model': 'resnet'}" in about
