"""What rules that choose a checkpoint lose on networks, targets, rates, shots and recipes that taught nothing.

A rule sees one draw of the target images. Where networks have several, it is read on half of them, and so is the
checkpoint that is best on test images of the other half: regret is the difference. Where networks have one draw,
the reference is what validation prefers after every checkpoint was fine-tuned at every rate, on the same draw.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from headstart.statistics.intervals import mean_interval
from headstart.studies.early_stopping.recommend.atlas import CANDIDATE, CELL, NETWORK
from headstart.studies.early_stopping.recommend.calibration import HIGH, WITHIN, Calibration
from headstart.studies.early_stopping.recommend.model import Teacher, cell_of, numbered
from headstart.studies.early_stopping.recommend.rules import (
    EVERYTHING,
    LEARNED,
    RECOMMEND,
    Rule,
    learned_epoch,
)
from headstart.studies.early_stopping.recommend.search import highest, replayed, search
from headstart.studies.early_stopping.recommend.splits import Split

BUDGET = 0.1
OTHER_DRAWS = "best on other draws"
"""This, or `rules.EVERYTHING`, is what a choice is compared with."""
LEAST_NETWORKS = 3
LOW_RATES, HIGH_RATES, TUNED = f"fixed, below {HIGH:g}", f"fixed, from {HIGH:g} on", "tuned"
REGIMES = (LOW_RATES, HIGH_RATES, TUNED)
KEPT = [*CELL, *CANDIDATE, "test_accuracy", "reference", "read", "floor"]


def reference_of(atlas: pd.DataFrame) -> str:
    """Return what choices are compared with: other draws, where three networks have some."""
    several = atlas.loc[atlas["elsewhere"].notna(), "seed"].nunique() >= LEAST_NETWORKS
    return OTHER_DRAWS if several else EVERYTHING


def judgeable(atlas: pd.DataFrame, reference: str) -> pd.Series:
    """Return which runs are candidates of a cell that can be judged: of several starts, read where they must be."""
    known = (
        atlas["elsewhere"].notna() if reference == OTHER_DRAWS else atlas["test_accuracy"].notna()
    )
    starts = atlas["source_epoch"].where(known)
    return known & (starts.groupby([atlas[name] for name in CELL]).transform("nunique") > 1)


def judge(
    atlas: pd.DataFrame,
    split: Split,
    rules: Sequence[Rule],
    reference: str,
    told: pd.Series | None = None,
    *,
    in_parts: bool = False,
) -> pd.DataFrame:
    """Return the choice of every rule in every cell that a split asks for, one row per rule, cell and draw.

    Args:
        atlas: runs with the columns of `rules`, as `rules.with_rules` returned them, and halves of draws.
        split: which of them teach and which are judged.
        rules: of `rules.with_rules`; the epoch that other networks teach and the recommender join them.
        reference: `OTHER_DRAWS` or `EVERYTHING`.
        told: what `model.Recall` says of every run, where only networks are left out.
        in_parts: judge also what the recommender says before it tries anything, and what short runs say.

    Returns:
        `CELL`, `CANDIDATE`, `regime`, `rule`, `cost`, `regret`, `floor`, `test_accuracy`, and of the
        recommender `expected`; costs are shares, all else fractions of accuracy.
    """
    asked = judgeable(atlas, reference)
    learned = [
        learned_epoch(atlas[fold.judged & asked], atlas[fold.teaching]) for fold in split.folds
    ]
    values = pd.concat(learned) if learned else pd.Series(dtype=float)
    rows = atlas.loc[values.index].assign(**{LEARNED: values})
    found = []
    for tuned in (False, True) if len(rows) else ():
        mine = with_reference(rows, tuned, reference)
        for rule in [*rules, Rule(LEARNED, 0.0, 0.0)]:
            chosen = highest(mine, mine[rule.name], mine["cell"])[KEPT]
            cost = rule.tuned if tuned else rule.fixed
            found.append(chosen.assign(rule=rule.name, cost=cost, tuned=tuned))
        for fold, known in zip(split.folds, learned, strict=True):
            teaching, judged = atlas[fold.teaching], mine.loc[known.index]
            found += list(_taught(judged, teaching, tuned, told, in_parts))
    table = pd.concat(found, ignore_index=True) if found else pd.DataFrame(columns=COLUMNS)
    table["regret"] = table["reference"] - table["read"]
    return with_regime(table).drop(columns=["reference", "read"])


COLUMNS = [*KEPT, "rule", "cost", "tuned", "expected"]


def _taught(
    rows: pd.DataFrame,
    teaching: pd.DataFrame,
    tuned: bool,
    told: pd.Series | None,
    in_parts: bool,
) -> Iterator[pd.DataFrame]:
    """Yield what the recommender chooses, and before that what its two halves would."""
    teacher = Teacher(teaching, tuned)
    if in_parts:
        ranks = pd.Series(teacher.rank(rows), rows.index)
        before = highest(rows, ranks, rows["cell"])[KEPT]
        yield before.assign(rule="taught, nothing tried", cost=0.0, tuned=tuned)
        short = search(rows, replayed, Teacher(teaching, tuned, recall=False), BUDGET)
        yield short[[*KEPT, "cost"]].assign(rule="taught, short runs", tuned=tuned)
    known = told[rows.index] if told is not None else None
    found = search(rows, replayed, teacher, BUDGET, known)
    yield found[[*KEPT, "cost", "expected"]].assign(rule=RECOMMEND, tuned=tuned)


def with_reference(rows: pd.DataFrame, tuned: bool, reference: str) -> pd.DataFrame:
    """Add the number of each row's `cell`, what it is `read` as, the cell's `reference` and its noise `floor`."""
    cells = numbered(rows, cell_of(tuned))
    chooses, reads = (
        ("own", "elsewhere")
        if reference == OTHER_DRAWS
        else ("validation_accuracy", "test_accuracy")
    )
    best = highest(rows, rows[chooses], cells)
    of = pd.Series(best[reads].to_numpy(float), cells[best.index])
    found = rows.assign(cell=cells, read=rows[reads], reference=cells.map(of), floor=np.nan)
    if reference == OTHER_DRAWS:
        found["floor"] = found["read"].groupby(cells).transform("max") - found["reference"]
    return found


def with_regime(chosen: pd.DataFrame) -> pd.DataFrame:
    """Add whether a choice was over rates, at a fixed high rate, or at a fixed low one."""
    fixed = np.where(chosen["learning_rate"] >= HIGH, HIGH_RATES, LOW_RATES)
    return chosen.assign(regime=np.where(chosen["tuned"].astype(bool), TUNED, fixed))


def by_cell(choices: pd.DataFrame) -> pd.DataFrame:
    """Return means over the draws of a cell."""
    rate = choices["learning_rate"].where(choices["regime"] != TUNED, -1.0)
    cell = ["rule", *NETWORK, "target", "shots", "regime", "rate"]
    grouped = choices.assign(rate=rate).groupby(cell, sort=False)
    return grouped[["regret", "floor", "cost"]].mean().reset_index()


def summary(choices: pd.DataFrame, confidence: float = 0.95) -> pd.DataFrame:
    """Return one row per regime and rule, in percentage points and percent.

    Columns: `regret` with its interval (`low`, `high`) over networks, `within`: cells that lose at most one
    point, `floor`: what the reference itself loses to noise, `cost`, and the numbers of `cells` and `networks`.
    """
    rows = []
    for (regime, rule), mine in by_cell(choices).groupby(["regime", "rule"], sort=False):
        # Cells of a network are not independent: its mean is one value.
        networks = 100 * mine.groupby("seed")["regret"].mean()
        interval = mean_interval(networks, confidence)
        rows.append(
            {
                "regime": regime,
                "rule": rule,
                "cost": 100 * mine["cost"].mean(),
                "regret": interval.estimate,
                "low": interval.low,
                "high": interval.high,
                "within": 100 * (mine["regret"] <= WITHIN + 1e-9).mean(),
                "floor": 100 * mine["floor"].mean(),
                "cells": len(mine),
                "networks": len(networks),
            }
        )
    table = pd.DataFrame(rows, columns=SUMMARY)
    order = table["regime"].map({name: place for place, name in enumerate(REGIMES)})
    return table.iloc[np.argsort(order.to_numpy(), kind="stable")].reset_index(drop=True)


SUMMARY = [
    *("regime", "rule", "cost", "regret", "low", "high", "within", "floor", "cells", "networks")
]


def forecasts(chosen: pd.DataFrame, calibration: Calibration) -> pd.DataFrame:
    """Add the forecast of every choice of the recommender: `low`, `high`, `probability` and `taught_by`."""
    said = [calibration.forecast(row) for _, row in chosen.iterrows()]
    table = pd.DataFrame(said, chosen.index, ["low", "high", "within", "networks"])
    names = {"within": "probability", "networks": "taught_by"}
    return chosen.join(table.rename(columns=names))


def coverage(forecast: pd.DataFrame) -> pd.DataFrame:
    """Return, by regime, how many forecasts were given, how many hold what was reached, and how wide they are."""
    mine = forecast.assign(
        given=forecast["low"].notna(),
        held=(forecast["low"] <= forecast["test_accuracy"])
        & (forecast["test_accuracy"] <= forecast["high"]),
        half_width=50 * (forecast["high"] - forecast["low"]),
        was_within=(forecast["regret"] <= WITHIN + 1e-9).astype(float),
        error=100 * (forecast["test_accuracy"] - forecast["expected"]).abs(),
    )
    mine["held"] = mine["held"].where(mine["given"]).astype(float)
    columns = ["given", "held", "half_width", "probability", "was_within", "error"]
    grouped = mine.groupby("regime", sort=False)
    return grouped[columns].mean().assign(choices=grouped.size()).reset_index()
