"""Judges say no to controls without an effect, and yes to planted ones, on the study's own tables."""

from __future__ import annotations

import pandas as pd
import pytest
from study_tables import EARLIER, FLAT, joined, measurements

from headstart.artifacts.keys import Job
from headstart.maintenance import claim_text
from headstart.studies.early_stopping.controls import controls

RATES = {"rates": (0.01, 0.1), "drop_at_last_rate": 6.0}


def shares(table: pd.DataFrame, repeats: int = 12) -> dict[tuple[str, str], float]:
    found = controls({"measurements": table}, repeats=repeats)
    assert set(found["study"]) == {"early_stopping"}
    assert (found["n"] == repeats).all()
    return found.set_index(["judge", "control"])["supported"].to_dict()


@pytest.mark.parametrize("gains", [EARLIER, FLAT])
def test_judges_refuse_controls_without_an_effect_and_find_planted_gains(gains) -> None:
    found = shares(measurements(gains, **RATES))
    assert {judge for judge, _ in found} == {"C1", "C1T"}
    for judge in ("C1", "C1T"):
        # More than 2 of 12 happen once in 300 at the level of 2.5 %.
        assert found[judge, "exchangeable checkpoints"] <= 2 / 12
        assert found[judge, "shuffled epochs"] <= 2 / 12
        assert found[judge, "planted gain of 2 points"] >= 0.75
        assert found[judge, "planted gain of 5 points"] == 1.0


def test_a_wide_spread_hides_a_planted_gain_of_two_points_and_the_controls_say_so() -> None:
    found = shares(measurements(FLAT, seed_sd=0.06))
    assert {judge for judge, _ in found} == {"C1"}
    assert found["C1", "planted gain of 2 points"] <= 0.4


def test_controls_speak_of_the_contrast_of_the_claims_and_of_nothing_else() -> None:
    both = joined(measurements(FLAT, **RATES), measurements(EARLIER, target="greek", seed=1))
    alone = controls({"measurements": measurements(FLAT, **RATES)}, repeats=3)
    assert controls({"measurements": both}, repeats=3).equals(alone)


def test_the_command_prints_the_controls_of_tables_that_are_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    job = Job("tables", "early_stopping", "code", params={"statistics": {}})
    monkeypatch.setattr(claim_text, "open_artifact", lambda one: one)
    made = {"measurements": measurements(EARLIER)}
    monkeypatch.setattr(claim_text, "StudyTables", lambda artifact: made)
    lines = claim_text.controls_text([job]).splitlines()
    assert lines[0].split() == ["study", "judge", "control", "kind", "supported", "n"]
    assert len(lines) == 5
    assert any("planted gain of 5 points positive" in line and "100%" in line for line in lines)


def test_runs_that_allow_no_comparison_have_no_controls() -> None:
    table = measurements(EARLIER)
    assert controls({"measurements": table[table["mode"] == "pretrain"]}).empty
