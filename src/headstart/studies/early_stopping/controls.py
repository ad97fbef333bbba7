"""Controls of the judges of early starts: tables on which they must say no, and planted gains for a yes.

Every control is made from what the study measured and goes the whole way, from a table of runs through
verdicts to claims. Negative: within each network accuracies are permuted over the pretrained starts, the
whole starts ("shuffled epochs") or every run by itself ("exchangeable checkpoints"). Positive: all starts
are levelled to source-best, what is left of each network is kept or turned in sign, and one earlier start
gets 2 or 5 points.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from headstart.statistics.claim_results import ClaimResult
from headstart.statistics.errors import TableError, UndecidableError
from headstart.studies.early_stopping.claims import EVALUATORS, ClaimEvaluator
from headstart.studies.early_stopping.verdicts.comparable import comparable
from headstart.studies.early_stopping.verdicts.run_tables import (
    DIVERGED,
    FINAL,
    HEADLINE,
    IMAGES,
    PRETRAIN,
    rows_of,
)
from headstart.studies.early_stopping.verdicts.source_best import source_best_epochs

REPEATS = 20
PLANTED = (2.0, 5.0)
JUDGES = {"C1": "earlier_start", "C1T": "earlier_start_tuned"}
Change = Callable[[pd.DataFrame, np.random.Generator], pd.DataFrame]


def controls(
    tables: Mapping[str, pd.DataFrame],
    params: Mapping[str, Any] | None = None,
    repeats: int = REPEATS,
) -> pd.DataFrame:
    """Return how often the judges support their claims on controls made from the primary contrast.

    Columns: study, judge, control, kind (negative, positive), supported (share of the repeats), n. Empty
    where the runs allow no comparison, so that there is nothing to make controls from.
    """
    columns = ["study", "judge", "control", "kind", "supported", "n"]
    try:
        opened = ClaimEvaluator(tables, params or {})
        comparable(opened.table, opened.contrast)
        runs = _primary(opened)
    except (TableError, UndecidableError):
        return pd.DataFrame(columns=columns)
    if not (_pretrained(runs) & ~runs["best"]).any():
        return pd.DataFrame(columns=columns)
    changes: dict[tuple[str, str], Change] = {
        ("exchangeable checkpoints", "negative"): _exchanged,
        ("shuffled epochs", "negative"): _shuffled,
    }
    for points in PLANTED:
        changes[f"planted gain of {points:g} points", "positive"] = _planting(points)
    generator = np.random.default_rng(opened.statistics.seed)
    rows = []
    for (control, kind), change in changes.items():
        found = [_judged(change(runs, generator), opened, params or {}) for _ in range(repeats)]
        for judge in JUDGES:
            results = [one[judge] for one in found]
            if any(result.status == "not measured here" for result in results):
                continue
            share = float(np.mean([result.status == "supported" for result in results]))
            rows.append(("early_stopping", judge, control, kind, share, repeats))
    return pd.DataFrame(rows, columns=columns)


def _judged(
    table: pd.DataFrame, opened: ClaimEvaluator, params: Mapping[str, Any]
) -> dict[str, ClaimResult]:
    """Return the result of every judge on a table of one contrast."""
    evaluator = ClaimEvaluator({"measurements": table}, params, opened.contrast)
    results = {}
    for judge, name in JUDGES.items():
        try:
            results[judge] = EVALUATORS[name](evaluator)
        except UndecidableError as error:
            results[judge] = ClaimResult("undetermined", str(error))
    return results


def _primary(opened: ClaimEvaluator) -> pd.DataFrame:
    """Return the rows of the contrast that the claims speak of, those of its source networks too.

    Runs lose what tells that they diverged: their scores are those that verdicts give them. A column
    `best` marks runs from their network's source-best epoch.
    """
    table, contrast = opened.table, opened.contrast
    kept = [HEADLINE, FINAL, DIVERGED, IMAGES]
    runs = rows_of(table[table["metric"].isin(kept)], contrast)
    same = (table["source"] == contrast["source"]) & (table["model"] == contrast["model"])
    source = table[same & (table["mode"] == PRETRAIN)]
    started: dict[object, Any] = {
        seed: part["source_epoch"].unique().astype(int) for seed, part in runs.groupby("seed")
    }
    best = source_best_epochs(table, contrast["source"], contrast["model"], started)
    epochs = runs["seed"].map(dict(zip(started, best.epochs, strict=True)))
    runs = runs.assign(best=(runs["source_epoch"] == epochs).astype(bool))
    return pd.concat([runs, source.assign(best=False)], ignore_index=True)


def _pretrained(table: pd.DataFrame) -> pd.Series:
    """Return which rows are runs from a pretrained start."""
    return (table["mode"] != PRETRAIN) & (table["source_epoch"] > 0)


def _exchanged(table: pd.DataFrame, generator: np.random.Generator) -> pd.DataFrame:
    """Permute every run of a network over its pretrained starts, by itself; both splits move together."""
    return _permuted(table, ["seed", "draw", "learning_rate"], generator)


def _shuffled(table: pd.DataFrame, generator: np.random.Generator) -> pd.DataFrame:
    """Permute the pretrained starts of a network, with all that was measured from each."""
    return _permuted(table, ["seed"], generator)


def _permuted(table: pd.DataFrame, cell: list[str], generator: np.random.Generator) -> pd.DataFrame:
    runs = _pretrained(table)
    starts = table.loc[runs, [*cell, "source_epoch"]].drop_duplicates()
    moved = starts.groupby(cell)["source_epoch"].transform(
        lambda epochs: generator.permutation(epochs.to_numpy())
    )
    names = [*cell, "source_epoch"]
    new = table.loc[runs, names].merge(starts.assign(moved=moved), on=names, how="left")["moved"]
    changed = table.copy()
    changed.loc[runs, "source_epoch"] = new.to_numpy()
    return changed.drop(columns="best")


def _planting(points: float) -> Change:
    """Return the change that levels all starts and plants a gain at an earlier one."""

    def change(table: pd.DataFrame, generator: np.random.Generator) -> pd.DataFrame:
        scored = (table["mode"] != PRETRAIN) & (table["metric"] == HEADLINE)
        keys = ["seed", "draw", "learning_rate", "split"]
        at_best = table[scored & table["best"]].set_index(keys)["value"]
        mine = table[scored & _pretrained(table)]
        reference = at_best.reindex(pd.MultiIndex.from_frame(mine[keys])).to_numpy(float)
        gap = mine["value"].astype(float) - reference
        mean = gap.groupby([mine["source_epoch"], mine["learning_rate"], mine["split"]]).transform(
            "mean"
        )
        signs = {seed: generator.choice((-1.0, 1.0)) for seed in mine["seed"].unique()}
        sign = mine["seed"].map(signs).astype(float)
        level = reference + (gap - mean).where(~mine["best"], 0.0) * sign
        earlier = sorted(mine.loc[~mine["best"], "source_epoch"].unique())
        chosen = earlier[len(earlier) // 2 - (len(earlier) > 1)]
        planted = level + points / 100 * ((mine["source_epoch"] == chosen) & ~mine["best"])
        changed = table[~table["metric"].isin([DIVERGED, FINAL])].copy()
        changed.loc[mine.index, "value"] = planted.clip(0, 1)
        return changed.drop(columns="best")

    return change
