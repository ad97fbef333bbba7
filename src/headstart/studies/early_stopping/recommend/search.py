"""The choice of one candidate in every cell within a budget of target epochs, and what it is worth elsewhere."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from headstart.studies.early_stopping.recommend.atlas import CANDIDATE
from headstart.studies.early_stopping.recommend.model import (
    Array,
    Teacher,
    cell_of,
    learned,
    numbered,
)

Follow = Callable[[pd.DataFrame, int], pd.DataFrame]
"""Returns rows with what was read after each of so many target epochs."""
LONG = 4
"""Epochs after which training speed decides between rates."""


def search(
    rows: pd.DataFrame,
    follow: Follow,
    teacher: Teacher,
    budget: float,
    told: pd.Series | None = None,
) -> pd.DataFrame:
    """Choose one candidate in every cell, and return it with what it cost.

    Where nine other networks were fine-tuned so, at every rate of the cell, their mean decides: short runs
    add nothing to it. Elsewhere they are made, as far as the budget goes.

    Args:
        rows: candidates, with the columns of a cell and `epochs` of a whole run.
        follow: trains rows for so many epochs in all, and adds the columns of `atlas.EARLY`.
        teacher: what other networks teach about this kind of choice.
        budget: share of the target epochs of all candidates.
        told: the mean of other networks for each row, where it is known already.

    Returns:
        The chosen rows with `expected` (accuracy, a fraction) and `cost` (a share, as the budget).
    """
    told = learned(rows, teacher.known) if told is None else told
    found, unknown = recalled(rows, told, teacher.cell)
    parts = [found] if len(found) else []
    if len(unknown):
        parts.append(_by_short_runs(unknown, follow, teacher, budget))
    return pd.concat(parts)


def recalled(
    rows: pd.DataFrame, told: pd.Series, cell: list[str]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the best candidate of every cell in which all have a told accuracy, and the rows of other cells."""
    cells = numbered(rows, cell)
    known = told.notna().groupby(cells).transform("all")
    best = highest(rows[known], told[known], cells[known])
    return best.assign(score=told[best.index], expected=told[best.index], cost=0.0), rows[~known]


def highest(rows: pd.DataFrame, scores: pd.Series, cells: pd.Series) -> pd.DataFrame:
    """Return the row of the highest score in every cell; ties go to the earliest epoch, NaN comes last."""
    rates, epochs = (rows[name].to_numpy(float) for name in reversed(CANDIDATE))
    order = np.lexsort((rates, epochs, -scores.fillna(-np.inf).to_numpy(float), cells))
    first = np.diff(cells.to_numpy()[order], prepend=-1) != 0
    return rows.iloc[order[first]]


def _by_short_runs(
    rows: pd.DataFrame, follow: Follow, teacher: Teacher, budget: float
) -> pd.DataFrame:
    """Choose one candidate in every cell after one target epoch of each, over rates after 4 of the best.

    Every candidate, or as many as the budget allows and other networks prefer, is trained for one epoch. At
    a fixed rate what is expected then decides. Over rates the best of them are trained on, and training
    speed decides: what a rate is worth differs between recipes more than what an epoch is worth.
    """
    cells = numbered(rows, teacher.cell)
    all_epochs = rows["epochs"].groupby(cells).transform("sum")
    rows = rows.assign(all_epochs=all_epochs, allowed=budget * all_epochs)
    rows["score"] = teacher.rank(rows)
    tried = follow(rows[_place(rows, cells) <= rows["allowed"].clip(lower=1.0)], 1)
    ranks = teacher.rank_followed(tried, tried["score"].to_numpy(float))
    tried = tried.assign(score=ranks, expected=teacher.expected(tried, ranks))
    number = tried["score"].groupby(cells).transform("size")
    long = min(LONG, int(rows["epochs"].min()))
    more = max(long - 1, 1)
    left = np.floor((tried["allowed"] - number) / more) * (teacher.tuned and long > 1)
    longer = np.minimum(left.where(left >= 2, 0.0), number)
    kept = tried[_place(tried, cells) <= longer.clip(lower=1.0)]
    deciding = kept[longer[kept.index] > 0]
    if len(deciding):
        kept = kept.assign(score=0.0)
        kept.loc[deciding.index, "score"] = training_speed(follow(deciding, long), long)
    chosen = kept[_place(kept, cells) == 1]
    epochs = number[chosen.index] + longer[chosen.index] * more
    return chosen.assign(cost=epochs / chosen["all_epochs"])


def _place(rows: pd.DataFrame, cells: pd.Series) -> pd.Series:
    """Return the place of each row in its cell by descending score; ties go to the earliest epoch."""
    ordered = rows.sort_values(CANDIDATE)
    places = ordered["score"].groupby(cells).rank(ascending=False, method="first")
    return places.reindex(rows.index)


def replayed(rows: pd.DataFrame, _epochs: int) -> pd.DataFrame:
    """Follow runs that are finished: what was read in their first epochs is known."""
    return rows


def with_regret(chosen: pd.DataFrame, rows: pd.DataFrame, tuned: bool) -> pd.DataFrame:
    """Add `best_elsewhere` and `regret` to chosen rows; `rows` are all candidates, as `halved` returned them.

    Both the chosen candidate and the one that is best on test images of the own half of the draws (an oracle)
    are read on the other half; NaN where there is none.
    """
    cell = cell_of(tuned)
    best = highest(rows, rows["own"], numbered(rows, cell))
    oracle = best.set_index(cell)["elsewhere"].rename("best_elsewhere")
    joined = chosen.join(oracle, on=cell)
    return joined.assign(regret=joined["best_elsewhere"] - joined["elsewhere"], tuned=tuned)


def training_speed(rows: pd.DataFrame, epochs: int) -> Array:
    """Return minus the sum of the training losses of the first epochs (TSE, Ru et al. 2021, eq. 2).

    Losses are measured on the way; a run that was lost has −∞.
    """
    losses = rows[[f"train_loss_{epoch}" for epoch in range(1, epochs + 1)]]
    total = -losses.sum(axis=1, skipna=False).to_numpy(float)
    return np.where(np.isnan(total), -np.inf, total)
