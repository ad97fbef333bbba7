"""The answer of a study: its lines, what it says of limits, and how many networks would decide."""

from __future__ import annotations

import math

import pytest
from scipy import stats

from headstart.statistics import answers
from headstart.statistics.answers import Statement, limits, lines, records, undecided, units_needed
from headstart.statistics.claim_results import CONTROL_FAILED


def claim(name: str, status: str = "undetermined", **values: object) -> dict[str, object]:
    rest = {"value": None, "low": None, "high": None, "reason": "", "control": ""}
    return {"claim": name, "status": status, "evaluated_by": name.lower(), **rest, **values}


def test_lines_come_in_the_order_of_questions_and_hold_every_number() -> None:
    said = [
        Statement("kept", "{} is kept, {} of it by chance.", [("45 %", "K1"), ("31 %", "K1")]),
        Statement("help", "Yes, {}.", [("+2.0", "C0")], "transfer"),
        Statement("help", "Twice.", []),
    ]
    content = {"answer": records(said), "claims": [claim("K1")]}
    assert lines([content]) == [
        "Does pre-training help? Yes, +2.0. Twice.",
        "What is kept? 45 % is kept, 31 % of it by chance.",
    ]
    assert lines([{"claims": []}]) == []


def test_what_cannot_be_told_is_named_by_its_claims() -> None:
    claims = [
        claim("I1", "not identifiable here"),
        claim("K2", reason="no room between chance and ceiling: 1 points."),
        claim("C1", "supported", control=f"{CONTROL_FAILED}, there nothing is in: x"),
        claim("C2", "supported"),
        claim("C3", control="what was planted is not found: x"),
    ]
    assert [one.plain for one in limits(claims)] == [
        "I1: not identifiable with these networks.",
        "K2: no room between chance and ceiling.",
        "C1: the judge says yes where nothing is, so do not believe it.",
        "C3: too few networks, an effect that was planted is not found either.",
    ]


def power(units: int, effect: float) -> float:
    """Return the power of a t-test, one-sided 2.5 %, on `units` values of spread 1."""
    limit = stats.t.ppf(0.975, units - 1)
    return float(stats.nct.sf(limit, units - 1, effect * math.sqrt(units)))


@pytest.mark.parametrize("n", [3, 9, 40])
def test_the_networks_that_are_needed_find_the_target_and_one_fewer_does_not(n: int) -> None:
    detectable = answers.reach(n)
    for target in (detectable / 2, detectable / 4):
        needed = units_needed(n, detectable, target)
        assert needed is not None
        # Student's quantiles are a little careful with few units.
        assert 0.79 < power(needed, target) < (0.86 if needed < 9 else 0.83)
        assert answers.reach(needed) <= target < answers.reach(needed - 1)
    # Half the effect takes four times the networks, but for Student's quantiles.
    assert units_needed(400, 1.0, 0.75) == pytest.approx(400 / 0.75**2, rel=0.01)


def test_one_network_and_effects_out_of_reach_need_no_number() -> None:
    assert units_needed(1, 1.0, 0.5) is None
    assert units_needed(9, 1.0, 0.001) is None
    assert units_needed(9, math.inf, 1.0) is None


def test_only_an_open_claim_whose_interval_holds_zero_asks_for_networks() -> None:
    decided = claim("A", "supported", value=1.0, low=-1.0, high=3.0)
    beyond = claim("B", value=2.0, low=1.0, high=3.0)
    bare = claim("C", value=2.0)
    open_one = claim("D", value=1.0, low=-1.0, high=3.0)
    (found,) = undecided([decided, beyond, bare, open_one], 9)
    assert found.plain == "D: 56 networks for an effect as large as found (9 here)."
    (alone,) = undecided([open_one], 1)
    assert alone.plain == "D: one network has no spread; several source networks would decide."
    spread = 2 / stats.t.ppf(0.975, 8) * 3  # of which nine values have an interval of ± 2
    assert power(56, 1 / spread) == pytest.approx(0.8, abs=0.01)
