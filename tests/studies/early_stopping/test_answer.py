"""The answer of the early-stopping study holds the numbers of its tables, and figures name its favourites."""

from __future__ import annotations

import re
from typing import Any

import pandas as pd
import pytest
from matplotlib import pyplot as plt
from study_tables import EARLIER, curves, joined, measurements

from headstart.maintenance.claim_text import checked_claims
from headstart.statistics.answers import Statement
from headstart.statistics.words import format_interval
from headstart.steps.claims import evaluate, record
from headstart.studies.early_stopping.answer import answer
from headstart.studies.early_stopping.claims import ClaimEvaluator
from headstart.studies.early_stopping.figures import curves as curve_figures
from headstart.studies.early_stopping.figures import learning_rates, verdicts
from headstart.studies.early_stopping.params import Statistics
from headstart.studies.early_stopping.pretraining import pretraining_table
from headstart.studies.early_stopping.verdicts.study_verdicts import study_verdicts, verdict_frame

NO_WORTH = pd.DataFrame(
    columns=["source", "model", "target", "arm", "shots", "start", "worth", "low", "high", "n"]
)
TABLE = joined(
    measurements(EARLIER, rates=(0.01, 0.1), drop_at_last_rate=6.0),
    measurements(EARLIER, rates=(0.01, 0.1), shots="20", seed=1),
)

# What three rules lose, in one regime, for the networks of the table and for others.
CHOICES = pd.DataFrame(
    [
        {"source": source, "model": TABLE["model"].iloc[0], "arm": "finetune", "split": "new networks",
         "regime": "tuned", "rule": rule, "regret": lost, "low": lost - 1, "high": lost + 1,
         "reference": "best on other draws", "floor": 1.0, "cost": 0.0}
        for source, rule, lost in ((TABLE["source"].iloc[0], "last", 2.5), ("other", "last", 7.5))
    ]
)  # fmt: skip


def answered(table: pd.DataFrame) -> tuple[dict[str, pd.DataFrame], list[Any], list[Statement]]:
    """Return tables, claims and statements on these runs."""
    judged = verdict_frame(study_verdicts(table, Statistics()), table)
    tables = {"measurements": table, "verdicts": judged}
    tables["pretraining"] = pretraining_table(table, NO_WORTH)
    tables["choices"] = CHOICES
    claims = checked_claims()
    _, found = evaluate(claims, "early_stopping", ClaimEvaluator, tables, {})
    rows = [record(name, claims.claims[name], result, {}) for name, result in found.items()]
    return tables, rows, [*answer(tables, rows)]


def test_the_numbers_of_the_answer_are_those_of_the_tables_and_of_the_claims() -> None:
    tables, claims, said = answered(TABLE)
    by_claim = {claim["claim"]: claim for claim in claims}
    row = tables["pretraining"].iloc[0]
    help_ = next(one for one in said if one.topic == "help")
    gain = format_interval(row["gain"], row["low"], row["high"], signed=True, unit="points")
    assert help_.numbers[0] == (gain, "C0")
    assert f"{row['shots']} images per class, {row['n']} source networks" in help_.plain
    starts = {one.numbers[0][1]: one for one in said if one.topic == "start"}
    assert set(starts) == {"C1", "C1T"}
    for name, question in (("C1", "fixed"), ("C1T", "tuned")):
        judged = tables["verdicts"]
        mine = judged[(judged["question"] == question) & (judged["shots"] == row["shots"])]
        verdict = mine.iloc[0]
        ends = [verdict[n] for n in ("effect", "interval_low", "interval_high")]
        assert starts[name].numbers[0][0] == format_interval(*ends, signed=True, unit="points")
        assert f"from epoch {verdict['chosen_epoch']}" in starts[name].plain
        assert [by_claim[name][n] for n in ("value", "low", "high")] == pytest.approx(ends)
    found = re.search(
        r"There: source-best ([\d.]+) %, epoch \d+ ([\d.]+) %, training from scratch [\d.]+ %\.$",
        starts["C1"].plain,
    )
    assert found, starts["C1"].plain
    best, earlier = map(float, found.groups())
    mine = tables["verdicts"].query("question == 'fixed' and shots == @row.shots").iloc[0]
    assert earlier - best == pytest.approx(mine["effect"], abs=0.11)
    assert "There" not in starts["C1T"].plain


def test_the_rule_that_finds_a_checkpoint_is_judged_for_the_networks_of_the_contrast() -> None:
    *_, said = answered(TABLE)
    (one,) = (each for each in said if each.topic == "choose")
    assert one.plain.startswith("Points of accuracy lost to the checkpoint that is best on other")
    assert "last +2.5 [+1.5, +3.5]" in one.plain
    assert "7.5" not in one.plain
    assert one.figure == f"choices_{TABLE['source'].iloc[0]}_{TABLE['model'].iloc[0]}"


def test_one_network_is_called_this_network_and_has_no_interval() -> None:
    *_, said = answered(measurements(EARLIER, n_seeds=1, rates=(0.01, 0.1)))
    help_ = next(one for one in said if one.topic == "help")
    assert "this network alone" in help_.plain
    assert all(one.plain for one in said)


def test_few_networks_are_told_how_many_are_the_least() -> None:
    *_, said = answered(measurements(EARLIER, n_seeds=3, rates=(0.01, 0.1)))
    decide = [one.plain for one in said if one.topic == "decide"]
    assert decide == ["C1T: 6 source networks at least, for a test to decide (3 here)."]


def test_runs_without_scratch_say_nothing_of_its_gain() -> None:
    *_, said = answered(TABLE[(TABLE["source_epoch"] > 0) | (TABLE["mode"] == "pretrain")])
    assert {one.topic for one in said} <= {"start", "choose", "why", "decide"}


def test_one_favourite_of_each_contrast_stands_in_verdicts_and_all_figures() -> None:
    judged = verdict_frame(study_verdicts(TABLE, Statistics()), TABLE)
    tuned = judged[judged["question"] == "tuned"].set_index("shots")["chosen_epoch"]
    assert len(tuned) == 2
    while_training = pd.concat([curves(8), curves(8).assign(shots="20")], ignore_index=True)
    every = [while_training.assign(learning_rate=rate) for rate in (0.01, 0.1)]
    _, learnt = curve_figures.curves_figure(TABLE, pd.concat(every), judged, "net", 0.95)
    favourite = learnt[learnt["start"] == curve_figures.FAVOURITE]
    assert (
        favourite.groupby("shots")["source_epoch"].unique().explode().to_dict() == tuned.to_dict()
    )
    drawn = learning_rates.rates_figure(TABLE, judged, "net")
    assert drawn
    framed = drawn[1][drawn[1]["best"]]
    assert framed.set_index("shots")["source_epoch"].to_dict() == tuned.to_dict()
    _, gains = verdicts.gains_figure(TABLE, judged, "net", 0.95)
    for shots, epoch in tuned.items():
        mine = gains[(gains["question"] == "tuned") & (gains["shots"] == shots)]
        effect = judged[(judged["question"] == "tuned") & (judged["shots"] == shots)]["effect"]
        assert mine[mine["source_epoch"] == epoch]["mean"].item() == pytest.approx(effect.item())
    plt.close("all")
