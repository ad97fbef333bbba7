"""Judges say no to controls without an effect, and yes to planted ones, on the study's own tables."""

from __future__ import annotations

import pandas as pd
import pytest
from study_tables import EARLIER, FLAT, joined, measurements

from headstart.artifacts.keys import Job
from headstart.maintenance import claim_text
from headstart.statistics.control_results import control_table
from headstart.steps import controls
from headstart.studies.early_stopping.claims import EVALUATORS
from headstart.studies.early_stopping.controls import NEGATIVE, results
from headstart.studies.early_stopping.settings import COLUMNS

RATES = {"rates": (0.01, 0.1), "drop_at_last_rate": 6.0}


def controlled(
    tables: dict[str, pd.DataFrame], resamples: int = 12, **statistics: object
) -> pd.DataFrame:
    params = {"statistics": statistics}
    table = control_table("early_stopping", results(tables, params, resamples))
    assert (table["resamples"] == resamples).all()
    return table


def shares(table: pd.DataFrame, resamples: int = 12) -> dict[tuple[str, str], float]:
    found = controlled({"measurements": table}, resamples)
    return found.set_index(["judge", "control"])["supported"].to_dict()


def gain(points: int) -> str:
    return f"{points} points for an earlier start"


@pytest.mark.parametrize("gains", [EARLIER, FLAT])
def test_judges_refuse_controls_without_an_effect_and_find_planted_gains(gains) -> None:
    found = shares(measurements(gains, **RATES))
    for judge in ("earlier_start", "earlier_start_tuned"):
        # More than 2 of 12 happen once in 300 at the level of 2.5 %.
        assert found[judge, "exchangeable checkpoints"] <= 2 / 12
        assert found[judge, "shuffled epochs"] <= 2 / 12
        assert found[judge, gain(2)] >= 0.75
        assert found[judge, gain(5)] == 1.0


def settings() -> pd.DataFrame:
    """Return the settings of two models that differ in the amount of source training alone."""
    same = dict.fromkeys(COLUMNS, "") | {"source": "latin", "arm": "finetune", "source_repeats": 1}
    models = {"net": "all", "few": "20 per class"}
    rows = [same | {"model": model, "source_images": n} for model, n in models.items()]
    return pd.DataFrame([row | {"target": t} for row in rows for t in ("cyrillic", "latin")])


def test_every_judge_has_negative_and_planted_controls_where_its_runs_are_there() -> None:
    tables = {
        "measurements": joined(
            measurements(FLAT, **RATES),
            measurements(FLAT, **RATES, target="latin", arm="relearn", mode="relearn", seed=1),
            measurements(FLAT, **RATES, shots="20", seed=2),
            measurements(FLAT, **RATES, model="few", seed=3),
        ),
        "settings": settings(),
    }
    names = {"source": "latin", "model": "net", "target": "cyrillic", "arm": "finetune", "shots": 5}
    found = controlled(tables, 20, primary=names)
    judged = {kind: {*rows["judge"]} for kind, rows in found.groupby("kind")}
    assert judged == {"negative": {*EVALUATORS}, "planted": {*EVALUATORS}}
    named = set(found.loc[found["kind"] == "negative", "control"])
    assert named == {*NEGATIVE, "scratch and pretrained starts change places"}
    assert found["passes"].all(), found[~found["passes"]].to_string()
    largest = found[(found["kind"] == "planted") & ~found["control"].str.startswith("2 points")]
    assert (largest["supported"] >= 0.8).all()


def test_a_wide_spread_hides_a_planted_gain_of_two_points_and_the_controls_say_so() -> None:
    found = controlled({"measurements": measurements(FLAT, seed_sd=0.06)})
    assert "earlier_start_tuned" not in set(found["judge"])
    hidden = found[(found["judge"] == "earlier_start") & (found["control"] == gain(2))]
    assert hidden["supported"].item() <= 0.4
    assert not hidden["passes"].item()


def test_controls_speak_of_the_contrast_of_the_claims_and_of_nothing_else() -> None:
    both = joined(measurements(FLAT, **RATES), measurements(EARLIER, target="greek", seed=1))
    alone = controlled({"measurements": measurements(FLAT, **RATES)}, 3)
    assert controlled({"measurements": both}, 3).equals(alone)


def test_the_command_prints_the_controls_that_are_made_by_claim_failures_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = controlled({"measurements": measurements(FLAT, seed_sd=0.06)})
    monkeypatch.setattr(controls, "read", lambda artifact: found)
    monkeypatch.setattr(claim_text, "open_artifact", lambda job: job)
    lines = claim_text.controls_text([Job("controls", "early_stopping", "code")]).splitlines()
    failing = found[~found["passes"].astype(bool)].iloc[0]
    assert lines[0].startswith(f"FAILED: {failing['control']} ({failing['kind']}; supported")
    assert lines[1].split()[0] == "C1"
    assert sum(line.startswith("FAILED: ") for line in lines) < len(lines) / 2
    listed = sum(line.count(",") + 1 for line in lines if line.startswith("    "))
    assert listed == len(found)


def test_runs_that_allow_no_comparison_have_no_controls() -> None:
    table = measurements(EARLIER)
    assert controlled({"measurements": table[table["mode"] == "pretrain"]}).empty
