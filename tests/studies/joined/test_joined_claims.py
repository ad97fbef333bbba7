"""What the tables say of J1 to J4: planted causes are found, and nothing else is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from joined_tables import tables

from headstart.statistics.answers import Statement, lines
from headstart.statistics.claim_results import ClaimResult
from headstart.statistics.control_results import control_table
from headstart.studies.joined.answer import answer
from headstart.studies.joined.associations import FIXED, MEASURES, Cells, associations, matched
from headstart.studies.joined.claims import ClaimEvaluator, associated, moved_more
from headstart.studies.joined.controls import _of_association, _of_intervention
from headstart.studies.joined.effects import by_network

JUDGES = {
    "preserved_excess": "knowledge_goes_with_gain",
    "invariance_excess": "invariance_goes_with_gain",
    "random_label_accuracy": "trainability_goes_with_gain",
}


def judged(judge: str, **planted: Any) -> ClaimResult:
    opened = ClaimEvaluator(tables(**planted), {})
    return ClaimEvaluator.evaluators[judge](opened)


@pytest.mark.parametrize("cause", JUDGES)
def test_the_planted_cause_is_found(cause: str) -> None:
    assert judged(JUDGES[cause], networks=20, cause=cause, seed=3).status == "supported"


def test_measures_that_are_no_cause_are_found_as_seldom_as_chance_has_it() -> None:
    decided = 0
    for seed in range(10):
        opened = ClaimEvaluator(tables(networks=12, seed=seed), {})
        for measure in ("preserved_excess", "invariance_excess"):
            found = ClaimEvaluator.evaluators[JUDGES[measure]](opened)
            decided += found.status != "undetermined"
    assert decided <= 4  # of 20, each wrong in 5 %


def test_a_measure_that_goes_against_the_gain_contradicts() -> None:
    made = tables(networks=20)
    cells = made["joined"]
    cells["random_label_accuracy"] *= -1
    found = associated(matched(cells, "random_label_accuracy", FIXED), "random_label_accuracy")
    assert found.status == "contradicted"
    assert found.value < -0.5
    assert found.low < found.value < found.high < 0


def test_what_a_measure_would_carry_of_the_change_is_told_in_points() -> None:
    found = judged("trainability_goes_with_gain", networks=20)
    assert "From epoch 1 to 30 the gain changes by -1" in found.reason
    assert "were it a cause" in found.reason


def test_without_room_between_chance_and_ceiling_invariances_identify_nothing() -> None:
    found = judged("invariance_goes_with_gain", cause="invariance_excess", room=0.05)
    assert found.status == "not identifiable here"
    assert "0.05" in found.reason


def test_five_networks_decide_nothing() -> None:
    for judge in ClaimEvaluator.evaluators:
        found = judged(judge, networks=5)
        assert found.status == "undetermined"
        assert "5 source networks" in found.reason


def test_a_start_that_many_networks_lack_is_left_out_and_so_is_a_network_that_lacks_another() -> (
    None
):
    cells = tables(networks=20)["joined"]
    late = cells["source_epoch"] == 30
    cells.loc[late & (cells["seed"] < 8), "preserved_excess"] = np.nan
    cells.loc[(cells["source_epoch"] == 4) & (cells["seed"] == 2), "preserved_excess"] = np.nan
    found = matched(cells, "preserved_excess", FIXED)
    assert found.epochs == [1, 4, 8]
    assert found.measure.shape == (19, 3)
    assert found.left_out.endswith("1 of 4 epochs and 1 of 20 networks")


@pytest.mark.parametrize(
    ("repaired", "cost", "status"),
    [(8.0, 1.0, "supported"), (0.0, 8.0, "contradicted"), (5.0, 5.0, "undetermined")],
)
def test_the_intervention_that_moves_more_is_told(
    repaired: float, cost: float, status: str
) -> None:
    found = judged("repair_moves_more", repaired=repaired, cost=cost, seed=1)
    assert found.status == status
    assert found.value == pytest.approx(repaired - cost, abs=1.5)


def test_a_removal_that_removes_nothing_of_the_preserved_identifies_nothing() -> None:
    found = judged("repair_moves_more", removed=0.0)
    assert found.status == "not identifiable here"


def test_without_an_intervention_it_is_not_measured() -> None:
    made = tables()
    made["effects"] = made["effects"].iloc[:0]
    opened = ClaimEvaluator(made, {})
    found = ClaimEvaluator.evaluators["repair_moves_more"](opened)
    assert found.status == "not measured here"


def test_effects_are_points_against_the_untouched_start_of_the_same_network() -> None:
    made = tables(networks=40)
    changed = by_network(made["effects"], "accuracy", "fixed")
    assert "untouched" not in changed
    assert changed.mean()["rescaled"] == pytest.approx(8.0, abs=0.8)
    assert changed.mean()["random_removed"] == pytest.approx(-5.0, abs=0.8)


def test_associations_name_every_measure_for_both_gains() -> None:
    made = tables(networks=20)["associations"]
    assert set(made["measure"]) == set(MEASURES)
    assert len(made) == 2 * len(MEASURES)
    strongest = made.loc[made["rho"].abs().idxmax()]
    assert (strongest["measure"], strongest["outcome"]) == ("random_label_accuracy", FIXED)
    assert associations(tables()["joined"].iloc[:0]).empty


def test_every_judge_keeps_quiet_at_its_negative_controls_and_finds_what_is_planted() -> None:
    made = tables(networks=9)
    found = []
    for measure, judge in JUDGES.items():
        cells = matched(made["joined"], measure, FIXED)
        found += [*_of_association(judge, measure, cells, 40)]
    noise = np.random.default_rng(2).normal(size=(9, 4))
    found += [*_of_intervention(noise, 40)]
    table = control_table("joined", found)
    assert set(table["judge"]) == set(ClaimEvaluator.evaluators)
    assert set(table["kind"]) == {"negative", "planted"}
    assert table["passes"].all(), table[~table["passes"]].to_string()


def test_controls_of_too_few_networks_are_made_of_drawn_ones() -> None:
    few = Cells(np.ones((2, 2)), np.ones((2, 2)), [1, 4], "")
    found = [*_of_association("knowledge_goes_with_gain", "preserved_excess", few, 10)]
    found += [*_of_intervention(np.empty((0, 0)), 10)]
    assert control_table("joined", found)["passes"].all()


def test_the_choice_of_a_repair_is_paid_for() -> None:
    generator = np.random.default_rng(5)
    worked = np.full(12, 0.2) + 0.01 * generator.normal(size=12)
    said = []
    for _ in range(60):
        # Ten repairs that do nothing: the best of them is chosen by the same data that test it.
        noise = generator.normal(size=(12, 10))
        said.append(moved_more(noise, noise, worked, [f"r{i}" for i in range(10)]).status)
    assert said.count("supported") <= 5


def test_the_answer_names_what_goes_with_the_gain() -> None:
    made = tables(networks=20)
    opened = ClaimEvaluator(made, {})
    claims = []
    for index, (name, judge) in enumerate(ClaimEvaluator.evaluators.items()):
        result = judge(opened)
        value = None if np.isnan(result.value) else result.value
        row = {"claim": f"J{index + 1}", "evaluated_by": name, "status": result.status}
        claims.append(row | {"value": value, "low": result.low, "high": result.high})
    said: list[Statement] = [*answer(made, claims)]
    assert [one.topic for one in said] == ["why", "why"]
    assert "trainability yes, ρ +0." in said[0].plain
    assert lines([{"answer": [], "claims": []}]) == []
    empty = {name: table.iloc[:0] for name, table in made.items()}
    assert [*answer(empty, claims)] == []


def test_tables_without_rows_of_the_study_are_told_so() -> None:
    with pytest.raises(ValueError, match="no start was measured"):
        ClaimEvaluator({"joined": pd.DataFrame()}, {})
    with pytest.raises(ValueError, match="no comparison"):
        ClaimEvaluator(tables(), {}, {"target": "greek"})
