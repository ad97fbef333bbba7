"""What the study of knowledge measures, on planted interactions whose shares are known."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import planted_knowledge as planted
import pytest
import torch
from planted_knowledge import (
    BEST,
    EPOCHS,
    IMAGES,
    PLAYERS,
    growing,
    independent,
    maker,
    measured,
    ones,
    random_table,
    whole,
)
from tiny_study import STUDY
from torch import Tensor

from headstart.artifacts.files import read_table
from headstart.metrics.interactions.and_or import TOLERANCE
from headstart.steps.claims import evaluate, read_claims
from headstart.studies.knowledge.claims import ClaimEvaluator

pytestmark = pytest.mark.usefixtures("project")


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
    assert (row["n"], row["networks"], row["undefined"]) == (2 * IMAGES, 2, 0)
    assert row["low"] == row["value"] == row["high"]  # all images are alike


def own(table: pd.DataFrame, seed: int, metric: str, condition: str) -> float:
    """Return the raw value of one source network over all orders and images."""
    rows = table[(table["metric"] == metric) & (table["condition"] == condition)]
    rows = rows[(rows["variant"] == "raw") & (rows["subset"] == "all") & (rows["seed"] == seed)]
    assert len(rows) == 1, rows
    return float(rows["value"].iloc[0])


def test_the_random_backbone_is_that_of_another_source_network_brought_to_scale(
    grown: pd.DataFrame,
) -> None:
    null = "null_random_backbone"
    # The other's 2 subsets at the strength of the pretrained network, 10, and of scratch, 3.
    assert own(grown, 0, "preserved_of_pretrained", null) == pytest.approx(2 * min(5, 1) / 10)
    assert own(grown, 0, "exclusivity", null) == pytest.approx(2 * min(1.5, 1) / 10)
    # The other's 5 subsets, at the same strengths.
    assert own(grown, 1, "preserved_of_pretrained", null) == pytest.approx(5 * min(2, 1) / 10)
    assert own(grown, 1, "exclusivity", null) == pytest.approx(5 * min(0.6, 1) / 10)
    rows = grown[(grown["metric"] == "similarity_to_common_end") & (grown["condition"] == null)]
    rows = rows[(rows["variant"] == "raw") & rows["seed"].isna()]
    # Scaled to 15: 2 subsets of 7.5 and 5 of 3 against 15 of 1.
    assert rows["value"].tolist() == pytest.approx([(2 / 28 + 5 / 25) / 2] * len(rows))
    there = (grown["condition"] == null) & grown["value"].notna()
    assert (grown.loc[there, "reason"] == "").all()


def test_the_null_of_another_image_knows_nothing_of_interactions_that_no_two_images_share() -> None:
    def apart(arm: str, init_epoch: str, seed: int, epoch: int) -> Tensor:
        return torch.eye(2**PLAYERS, dtype=torch.float64)[1 : 1 + IMAGES]

    plan = planted.study(STUDY, seeds=[0])
    table = read_table(measured(plan, maker(apart)).file("measurements.parquet"))
    for metric in ("preserved_of_pretrained", "exclusivity", "similarity"):
        assert whole(table, metric)["value"] == 1
        assert whole(table, metric, "null_other_image")["value"] == 0
        assert whole(table, metric, "excess_other_image")["value"] == 1
    for metric in ("discarded_of_pretrained", "new_of_finetuned", "scratch_only"):
        assert whole(table, metric, "null_other_image")["value"] == 1
        assert whole(table, metric, "excess_permuted")["value"] == 1
    # One source network: its null is its own initialisation, and says so.
    null = whole(table, "exclusivity", "null_random_backbone")
    assert "there is no other" in null["reason"]
    assert null["value"] == 1


def test_curves_approach_their_end_as_planted(grown: pd.DataFrame) -> None:
    table = grown
    rows = table[(table["variant"] == "raw") & (table["condition"] == "measured")]
    rows = rows[rows["seed"].isna() & (rows["role"] == "scratch")]

    def curve(metric: str) -> list[float]:
        return rows[rows["metric"] == metric].sort_values("target_epoch")["value"].tolist()

    assert curve("similarity_to_own_end") == pytest.approx([1 / 3, 2 / 3, 1, 1])
    assert curve("similarity_to_common_end") == pytest.approx([1 / 15, 2 / 15, 0.2, 0.2])
    assert whole(table, "directness", role="scratch")["value"] == pytest.approx(1)
    assert whole(table, "stability_to_own_end")["value"] == 0
    assert whole(table, "epoch_of_half_own_end", role="scratch")["value"] == 1
    assert whole(table, "epoch_of_80_percent_own_end")["value"] == 2
    for role in ("finetuned", "scratch"):  # the end of a second run is that of the first
        # All interactions of the fine-tuned network are 1: permuted, they are the same.
        for metric in ("speed", "progress") if role == "scratch" else ("speed",):
            same = [
                whole(table, f"{metric}_to_{end}", role=role) for end in ("own_end", "second_end")
            ]
            assert same[0]["value"] == pytest.approx(same[1]["value"])
    curves = table[
        (table["variant"] == "raw") & (table["role"] == "scratch") & table["seed"].isna()
    ]
    curves = curves[curves["metric"] == "similarity_to_second_end"].sort_values("target_epoch")
    measured, chance = (
        curves[curves["condition"] == each]["value"].to_numpy()
        for each in ("measured", "null_permuted")
    )
    reached = (measured - chance) / (measured - chance)[-1]
    progress = whole(table, "progress_to_second_end", role="scratch")["value"]
    # Here the quotient of means over networks, there the mean of their quotients.
    assert progress == pytest.approx(np.trapezoid(reached) / 3, abs=2e-3)
    gap = whole(table, "speed_to_own_end", role="finetuned-scratch")["value"]
    assert gap == pytest.approx(0)
    assert 0 < whole(table, "speed_to_own_end", "null_permuted")["value"] < 1
    # A random backbone stands still: no drop, and a similarity of 2/28 or 5/25 all the time.
    still = whole(table, "speed_to_own_end", "null_random_backbone")
    assert still["value"] == pytest.approx((2 / 28 + 5 / 25) / 2)
    assert whole(table, "stability_to_own_end", "null_random_backbone")["value"] == 0
    assert whole(table, "directness", "null_permuted", role="scratch")["value"] < 1
    ends = table[table["metric"] == "similarity_to_own_end"]
    assert not ends["condition"].str.startswith("ceiling").any()
    best = table[table["metric"] == "accuracy_at_validation_best"]
    assert (best["value"] == 0.1 * BEST).all()


def test_rows_of_a_network_have_its_own_source_epoch_and_means_one_that_all_have() -> None:
    plan = planted.study(STUDY, init_epochs=[0, "best"], permutations=1, resamples=5)
    make = maker(growing, best_source_epochs={0: 3, 1: 4})
    table = read_table(measured(plan, make).file("measurements.parquet"))
    best = table[(table["init_epoch"] == "best") & table["seed"].notna()]
    assert len(best)
    assert (best["source_epoch"] == best["seed"].map({0: 3, 1: 4})).all()
    assert (
        table.loc[(table["init_epoch"] == "best") & table["seed"].isna(), "source_epoch"]
        .isna()
        .all()
    )
    assert (table.loc[table["init_epoch"] == "0", "source_epoch"] == 0).all()
    agreeing = read_table(
        measured(planted.study(STUDY), maker(growing)).file("measurements.parquet")
    )
    assert (agreeing.loc[agreeing["init_epoch"] == "best", "source_epoch"] == 5).all()


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

    def shared(arm: str, init_epoch: str, seed: int, epoch: int) -> Tensor:
        base = random_table("base", seed)
        parts = {"finetune": 1.0, "finetune-again": 0.8, "probe": 0.4, "scratch": 0.2}
        part = parts[arm.replace("scratch-again", "scratch")]
        return planted.shared_with(base, part, random_table(arm, init_epoch, seed, epoch))

    shutil.rmtree("results")
    table = read_table(measured(plan, maker(shared)).file("measurements.parquet"))
    value, null, ceiling, excess = (
        whole(table, "exclusivity", condition)["value"]
        for condition in ("measured", "null_permuted", "ceiling_second_run", "excess_permuted")
    )
    assert excess == pytest.approx((value - null) / (ceiling - null))
    assert 0 < excess < 1
    for null in ("permuted", "other_image", "random_backbone"):
        kept, lost = (
            whole(table, f"{metric}_of_pretrained", f"excess_{null}", variant="normalised")
            for metric in ("preserved", "discarded")
        )
        assert 0 < kept["value"] < 1
        assert lost[["value", "low", "high"]].tolist() == pytest.approx(
            kept[["value", "low", "high"]].tolist()
        )
        new = whole(table, "new_of_finetuned", f"excess_{null}", variant="normalised")
        same = whole(table, "preserved_of_finetuned", f"excess_{null}", variant="normalised")
        assert new["value"] == pytest.approx(same["value"])
        assert whole(table, "scratch_only", f"over_{null}")["value"] < 0
        assert whole(table, "scratch_only", f"excess_{null}")["value"] > 0
    means = whole(table, "preserved_of_pretrained", "mean_of_ratios")
    assert means["value"] == pytest.approx(
        whole(table, "preserved_of_pretrained")["value"], abs=0.02
    )
    assert means["value"] != whole(table, "preserved_of_pretrained")["value"]
    assert means["low"] < means["value"] < means["high"]


def test_orders_add_up_and_a_planted_rise_is_found() -> None:
    def rising(arm: str, init_epoch: str, seed: int, epoch: int) -> Tensor:
        table = random_table("base", seed)
        if arm == "probe" and init_epoch == "best":
            for order in (3, 4):  # high orders are lost
                table[:, planted.subsets_of_order(order)] *= -1
        return table if init_epoch == "best" else random_table(arm, seed, epoch)

    plan = planted.study(STUDY)
    table = read_table(measured(plan, maker(rising)).file("measurements.parquet"))
    rows = table[(table["metric"] == "strength_discarded") & (table["condition"] == "measured")]
    rows = rows[(rows["variant"] == "raw") & (rows["subset"] == "all")]
    by_order = rows.dropna(subset="order")["value"].sum()
    assert by_order == pytest.approx(whole(table, "strength_discarded")["value"])
    assert whole(table, "discarded_of_pretrained_rise")["value"] == pytest.approx(1)
    assert whole(table, "discarded_of_pretrained_rise", "over_permuted")["low"] > 0.5
    noise = table[(table["metric"] == "noise") & (table["role"] == "finetuned")]
    assert len(noise) == PLAYERS
    assert (noise["value"] < 1e-4).all()


def test_parts_of_the_knowledge_rebuild_the_margin_that_was_planted(grown: pd.DataFrame) -> None:
    table = grown
    for part, margin in (("everything", 15), ("preserved", 10), ("new", 5)):
        assert whole(table, f"margin_of_{part}")["value"] == pytest.approx(margin)
    # All interactions are 1: equal strength gives an equal margin.
    assert whole(table, "margin_of_preserved_minus_random")["value"] == pytest.approx(0)
    assert whole(table, "positive_of_new")["value"] == 1
    hidden = table[table["metric"] == "margin_without_preserved_players"]
    hidden = hidden[hidden["variant"] == "raw"].set_index("order")
    assert hidden["value"].to_dict() == pytest.approx({1: 7, 2: 3, 3: 1})
    # Normalised: the pretrained 10 subsets have the strength of the fine-tuned 15, and more than 1 each.
    assert whole(table, "margin_of_preserved", variant="normalised")["value"] == pytest.approx(10)


def test_preserved_knowledge_beats_random_knowledge_of_its_strength_by_what_was_planted() -> None:
    def for_and_against(arm: str, init_epoch: str, seed: int, epoch: int) -> Tensor:
        """5 subsets speak for the class and were known before; fine-tuning adds 10 that speak against."""
        known = ones(5)
        return known if arm == "probe" else 2 * known - ones(15)

    plan = planted.study(STUDY, seeds=[0], permutations=60, resamples=5)
    table = read_table(measured(plan, maker(for_and_against)).file("measurements.parquet"))
    assert whole(table, "margin_of_preserved")["value"] == pytest.approx(5)
    assert whole(table, "positive_of_preserved")["value"] == 1
    # Known are 3 of 4 players and 2 of 6 pairs: a random 3 of these players and 2 of these pairs.
    by_chance = 3 * (3 - 1) / 4 + 2 * (2 - 4) / 6
    found = whole(table, "margin_of_random_as_preserved")["value"]
    assert found == pytest.approx(by_chance, abs=0.15)
    gain = whole(table, "margin_of_preserved_minus_random")
    assert gain["value"] == pytest.approx(5 - by_chance, abs=0.15)
    assert gain["high"] - gain["low"] > 0.01  # that there are 60 draws only
    chance = 1 / 4 + 3 / 4 * 9 / 15  # all three players for the class, or one more than against it
    right = whole(table, "positive_of_random_as_preserved")["value"]
    assert right == pytest.approx(chance, abs=0.02)
    hidden = table[table["metric"] == "positive_without_preserved_players"]
    assert hidden[hidden["variant"] == "raw"]["value"].between(0, 1).all()


def test_and_or_interactions_give_shares_too() -> None:
    plan = planted.study(STUDY, and_or=True, seeds=[0], permutations=1, resamples=5)
    table = read_table(measured(plan, maker(growing)).file("measurements.parquet"))
    share = whole(table, "preserved_of_pretrained", variant="and_or")["value"]
    assert 0 < share <= 1 + 1e-9
    rest = whole(table, "discarded_of_pretrained", variant="and_or")["value"]
    assert share + rest == pytest.approx(1)
    split = table[(table["variant"] == "and_or") & (table["condition"] == "measured")]
    assert "similarity" not in set(split["metric"])
    scaled = whole(table, "strength_finetuned", variant="and_or_normalised")["value"]
    assert scaled == pytest.approx(1)
    gap = table[table["metric"] == "and_or_gap"]
    assert gap["value"].between(0, TOLERANCE).all()
    assert gap["reason"].tolist() == [""]


def test_the_example_is_of_the_start_that_is_shown_whichever_was_followed() -> None:
    arms = {"followed": [0], "source_epochs": [0, "best"]}
    plan = planted.study(STUDY, init_epochs=[0, "best"], permutations=1, resamples=5, **arms)
    artifact = measured(plan, maker(growing))
    example = read_table(artifact.file("example_interactions.parquet"))
    assert set(example["init_epoch"]) == {"best"}
    known = example.set_index(["part", "rank"])["value"]
    assert known["preserved", 1] == 1  # in log-odds


def test_shapley_values_of_every_network_and_image_sum_to_its_gain() -> None:
    def seeded_plant(arm: str, init_epoch: str, seed: int, epoch: int) -> Tensor:
        return random_table(arm, seed)

    artifact = measured(planted.study(STUDY, permutations=1, resamples=5), maker(seeded_plant))
    table = read_table(artifact.file("shapley.parquet"))
    assert set(table["role"]) == {"probe", "finetuned", "scratch"}
    assert len(table) == 3 * 2 * planted.IMAGES * planted.PLAYERS
    sums = table.groupby(["role", "seed", "image"])["value"].sum()
    tuned = seeded_plant("finetune", "best", 0, planted.BEST)[:, 1:].sum(1)
    assert sums["finetuned", 0].to_numpy() == pytest.approx(tuned.numpy(), abs=1e-4)


def test_claims_are_evaluated_on_the_tables(project: Path) -> None:
    def direct(arm: str, init_epoch: str, seed: int, epoch: int) -> Tensor:
        """Little is kept; scratch has none of it and wanders, fine-tuning is there at once.

        Source networks share the end of fine-tuning more than they share that of scratch.
        """
        end = planted.shared_with(random_table("end"), 0.6, random_table("end", seed))
        if arm.startswith("scratch"):
            own = random_table("scratch", seed)
            part = {1: 0.4, EPOCHS[-1]: 1.0}.get(epoch, 0.0)
            return planted.shared_with(own, part, random_table(arm, seed, epoch))
        if arm == "probe":
            kept = 0.3 if init_epoch == "best" else 0.0
            return planted.shared_with(end, kept, 0.5 * random_table(arm, init_epoch, seed))
        return end * (1 - 0.1 * (EPOCHS[-1] - epoch)) + 0.05 * random_table(arm, seed)

    plan = planted.study(STUDY)
    measured(plan, maker(direct))
    found = planted.tables(plan)
    measurements = {"measurements": read_table(found.file("measurements.parquet"))}
    about, results = evaluate(read_claims(), "knowledge", ClaimEvaluator, measurements, {})
    assert "convnet, source → target, fine-tuned from source epoch best, 2 source networks" in about
    statuses = {name: result.status for name, result in results.items()}
    assert statuses["K4"] == statuses["K5"] == "supported"
    assert statuses["K6"] == "undetermined"
    assert "needs 20 or more, here are 2" in results["K6"].reason
    assert statuses["K7"] == "not measured here"
    assert statuses["K8"] == "contradicted"  # Gaussian interactions are not sparse
    share = results["K1"]
    assert share.low < share.value < share.high
    requested = {"model": "resnet"}
    about, _ = evaluate(read_claims(), "knowledge", ClaimEvaluator, measurements, {}, requested)
    assert "no comparison of the study of knowledge has {'model': 'resnet'}" in about
