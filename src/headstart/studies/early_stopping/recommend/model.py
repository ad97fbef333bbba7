"""What other networks teach about a choice, and what a few target epochs add to it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

from headstart.studies.early_stopping.recommend.atlas import CANDIDATE, CELL, numbers, swapped

Array = npt.NDArray[np.float64]
Follow = Callable[[pd.DataFrame, int], pd.DataFrame]
"""Returns rows with what was read after each of so many target epochs."""
PENALTIES = np.logspace(-3, 3, 7)
WITHIN = 0.01
"""A choice is good that loses at most so much accuracy to the best one."""
COVERAGE = 0.9
CALIBRATING = 9
"""Networks that a 90 % interval needs: with fewer, the new one may lie outside all of them."""
HIGH = 0.3
"""Fixed rates from here on are judged apart: late checkpoints can no longer be trained at them."""
LONG = 4
"""Epochs after which training speed decides between rates."""
KIND = ["source", "model", "target", "shots", "learning_rate"]
"""Runs of other networks that differ from a candidate in the network, its draws and the epoch alone."""
OCTAVES = 0.2
"""Standard deviation of the weights of runs from other epochs, in doublings of 1 + epoch."""
LARGEST_LOG = 7.0
"""Losses are read up to e^7; those of lost runs are not finite."""


def cell_of(tuned: bool) -> list[str]:
    """Return the columns within which one candidate is chosen: over all rates, or at each of them."""
    return [*CELL] if tuned else [*CELL, "learning_rate"]


def inputs(rows: pd.DataFrame, followed: bool) -> pd.DataFrame:
    """Return what a prediction rests on: place in source training, rate, shots, and the first target epoch.

    Unless `followed`, the last three, losses and accuracy after that epoch, are left out.
    """
    columns = {
        "log2_epoch": np.log2(1.0 + rows["source_epoch"].astype(float)),
        "log10_rate": np.log10(rows["learning_rate"].astype(float)),
        "log2_shots": np.log2(numbers(rows["shots"])),
    }
    if followed:
        columns |= {
            "log_train_loss": _log(rows["train_loss_1"]),
            "log_validation_loss": _log(rows["validation_loss_1"]),
            "validation_accuracy": rows["validation_accuracy_1"].astype(float),
        }
    return pd.DataFrame(columns)


def training_speed(rows: pd.DataFrame, epochs: int) -> Array:
    """Return minus the sum of the training losses of the first epochs (TSE, Ru et al. 2021, eq. 2).

    Losses are measured on the way; a run that was lost has −∞.
    """
    losses = rows[[f"train_loss_{epoch}" for epoch in range(1, epochs + 1)]]
    total = -losses.sum(axis=1, skipna=False).to_numpy(float)
    return np.where(np.isnan(total), -np.inf, total)


def learned(rows: pd.DataFrame, atlas: pd.DataFrame) -> pd.Series:
    """Return the mean test accuracy of other networks' runs of the same kind from about the same epoch.

    Weights are Gaussian in log2(1 + epoch). NaN where fewer than nine networks have such runs.
    """
    found = pd.Series(np.nan, rows.index)
    kinds = {kind: others for kind, others in atlas.groupby(KIND) if _enough(others)}
    for kind, mine in rows.groupby(KIND):
        if kind in kinds:
            own, others = (
                np.log2(1.0 + each["source_epoch"].to_numpy(float)) for each in (mine, kinds[kind])
            )
            distance = (own[:, None] - others) / OCTAVES
            # The nearest run has weight 1, so that an epoch far from all others has its neighbour's mean.
            nearest = np.square(distance).min(axis=1, keepdims=True)
            weights = np.exp((nearest - np.square(distance)) / 2)
            accuracies = kinds[kind]["test_accuracy"].to_numpy(float)
            found[mine.index] = weights @ accuracies / weights.sum(axis=1)
    return found


def _enough(rows: pd.DataFrame) -> bool:
    return bool(rows["seed"].nunique() >= CALIBRATING)


class Prediction:
    """Ridge regression on the inputs, their squares and products; of a cell's differences, or of accuracies.

    `within` are the columns of a cell: inputs of the first target epoch and accuracies are then differences
    from the mean over its candidates. None: as they are.
    """

    def __init__(self, atlas: pd.DataFrame, followed: bool, within: list[str] | None) -> None:
        """Fit on all rows of an atlas; the penalty is chosen by cross-validation."""
        self.followed, self.within = followed, within
        accuracy = atlas["test_accuracy"].astype(float)
        if within:
            accuracy = accuracy - accuracy.groupby([atlas[name] for name in within]).transform(
                "mean"
            )
        steps = StandardScaler(), PolynomialFeatures(2), RidgeCV(PENALTIES)
        self.pipeline: Pipeline = make_pipeline(*steps).fit(self._inputs(atlas), accuracy)

    def __call__(self, rows: pd.DataFrame) -> Array:
        """Return the prediction for each row."""
        found: Array = self.pipeline.predict(self._inputs(rows))
        return found

    def _inputs(self, rows: pd.DataFrame) -> pd.DataFrame:
        table = inputs(rows, self.followed)
        if self.within:
            cells = [rows[name] for name in self.within]
            for name in table.columns[3:]:
                table[name] -= table[name].groupby(cells).transform("mean")
        return table


class Teacher:
    """What an atlas of other networks teaches about one kind of choice: at a fixed rate, or over rates."""

    def __init__(self, atlas: pd.DataFrame, tuned: bool, *, recall: bool = True) -> None:
        """Fit predictions before and after one target epoch, of differences in a cell, and of accuracy itself.

        Without `recall`, runs of the same kind are not looked up, and every choice takes short runs.
        """
        self.tuned, self.cell = tuned, cell_of(tuned)
        self.known = atlas if recall else atlas.iloc[:0]
        self.before = Prediction(atlas, False, self.cell)
        self.after = Prediction(atlas, True, self.cell)
        self.level = Prediction(atlas, True, None)

    def rank(self, rows: pd.DataFrame, followed: bool) -> Array:
        """Return expected differences from a cell's mean accuracy; after an epoch, the mean of both predictions."""
        before = self.before(rows)
        return (before + self.after(rows)) / 2 if followed else before

    def expected(self, rows: pd.DataFrame) -> Array:
        """Return expected accuracies (fractions): the expected mean of the cell, and the difference from it."""
        cells = [rows[name] for name in self.cell]
        mean = pd.Series(self.level(rows), rows.index).groupby(cells).transform("mean")
        return np.clip(mean.to_numpy() + self.rank(rows, True), 0.0, 1.0)


def search(rows: pd.DataFrame, follow: Follow, teacher: Teacher, budget: float) -> pd.DataFrame:
    """Choose one candidate in every cell, and return it with what it cost.

    Where nine other networks were fine-tuned so, at every rate of the cell, their mean decides: short runs
    add nothing to it. Elsewhere they are made, as far as the budget goes.

    Args:
        rows: candidates, with the columns of a cell and `epochs` of a whole run.
        follow: trains rows for so many epochs in all, and adds the columns of `atlas.EARLY`.
        teacher: what other networks teach about this kind of choice.
        budget: share of the target epochs of all candidates.

    Returns:
        The chosen rows with `expected` (accuracy, a fraction) and `cost` (a share, as the budget).
    """
    told = learned(rows, teacher.known)
    known = told.notna().groupby([rows[name] for name in teacher.cell]).transform("all")
    recalled = rows.assign(score=told, expected=told, cost=0.0)[known]
    parts = [recalled[_place(recalled, teacher.cell) == 1]] if known.any() else []
    if not known.all():
        parts.append(_by_short_runs(rows[~known], follow, teacher, budget))
    return pd.concat(parts)


def _by_short_runs(
    rows: pd.DataFrame, follow: Follow, teacher: Teacher, budget: float
) -> pd.DataFrame:
    """Choose one candidate in every cell after one target epoch of each, over rates after 4 of the best.

    Every candidate, or as many as the budget allows and other networks prefer, is trained for one epoch. At
    a fixed rate what is expected then decides. Over rates the best of them are trained on, and training
    speed decides: what a rate is worth differs between recipes more than what an epoch is worth.
    """
    all_epochs = rows.groupby(teacher.cell, sort=False)["epochs"].transform("sum")
    rows = rows.assign(all_epochs=all_epochs, allowed=budget * all_epochs)
    rows["score"] = teacher.rank(rows, False)
    tried = follow(rows[_place(rows, teacher.cell) <= rows["allowed"].clip(lower=1.0)], 1)
    tried = tried.assign(score=teacher.rank(tried, True), expected=teacher.expected(tried))
    number = tried.groupby(teacher.cell, sort=False)["score"].transform("size")
    long = min(LONG, int(rows["epochs"].min()))
    more = max(long - 1, 1)
    left = np.floor((tried["allowed"] - number) / more) * (teacher.tuned and long > 1)
    longer = np.minimum(left.where(left >= 2, 0.0), number)
    kept = tried[_place(tried, teacher.cell) <= longer.clip(lower=1.0)]
    deciding = kept[longer[kept.index] > 0]
    if len(deciding):
        kept = kept.assign(score=0.0)
        kept.loc[deciding.index, "score"] = training_speed(follow(deciding, long), long)
    chosen = kept[_place(kept, teacher.cell) == 1]
    epochs = number[chosen.index] + longer[chosen.index] * more
    return chosen.assign(cost=epochs / chosen["all_epochs"])


def _place(rows: pd.DataFrame, cell: list[str]) -> pd.Series:
    """Return the place of each row in its cell by descending score; ties go to the earliest epoch."""
    ordered = rows.sort_values(CANDIDATE)
    places = ordered.groupby(cell, sort=False)["score"].rank(ascending=False, method="first")
    return places.reindex(rows.index)


def replayed(rows: pd.DataFrame, _epochs: int) -> pd.DataFrame:
    """Follow runs that are finished: what was read in their first epochs is known."""
    return rows


def with_regret(chosen: pd.DataFrame, rows: pd.DataFrame, tuned: bool) -> pd.DataFrame:
    """Add `best_elsewhere` and `regret` to chosen rows; `rows` are all candidates, as `swapped` returned them.

    Both the chosen candidate and the one that is best on the test images of this draw (an oracle) are read
    on the network's other draw; NaN where there is none.
    """
    cell = cell_of(tuned)
    ordered = rows.sort_values(CANDIDATE)
    best = ordered.loc[ordered.groupby(cell, sort=False)["test_accuracy"].idxmax()]
    oracle = best.set_index(cell)["elsewhere"].rename("best_elsewhere")
    joined = chosen.join(oracle, on=cell)
    return joined.assign(regret=joined["best_elsewhere"] - joined["elsewhere"], tuned=tuned)


@dataclass(frozen=True)
class Forecast:
    """What is expected of a choice, from choices of the same kind for other networks; NaN without enough of them."""

    low: float
    high: float
    within: float
    """Probability to lie within 1 point of the best candidate."""
    networks: int


class Calibration:
    """How far choices were off for each network of an atlas, made by what the others teach."""

    def __init__(self, atlas: pd.DataFrame, tuned: bool, budget: float) -> None:
        """Keep the atlas; choices are made when they are asked for."""
        self.atlas, self.tuned, self.budget = atlas, tuned, budget

    @cached_property
    def choices(self) -> pd.DataFrame:
        """Return the choices for every network, left out of what teaches; a seed is one network in all recipes."""
        parts = []
        for seed in self.atlas["seed"].unique():
            mine = self.atlas["seed"] == seed
            if not mine.all():
                rows = swapped(self.atlas[mine])
                chosen = search(rows, replayed, Teacher(self.atlas[~mine], self.tuned), self.budget)
                parts.append(with_regret(chosen, rows, self.tuned))
        return pd.concat(parts, ignore_index=True) if parts else self.atlas.iloc[:0]

    def forecast(self, chosen: pd.Series) -> Forecast:
        """Return the 90 % interval of the accuracy of a choice, and its probability to be good.

        Choices of the same kind count: source, model, target and shots, and whether a fixed rate is high. A
        rate at which no other network was fine-tuned so has none.
        """
        alike = _of_kind(self.atlas, chosen)
        number = int(alike[alike["learning_rate"] == chosen["learning_rate"]]["seed"].nunique())
        if number < CALIBRATING:
            return Forecast(np.nan, np.nan, np.nan, number)
        mine = _of_kind(self.choices, chosen)
        if not self.tuned:
            mine = mine[(mine["learning_rate"] >= HIGH) == (chosen["learning_rate"] >= HIGH)]
        half = half_width(mine)
        known = mine.dropna(subset="regret")
        share = known.groupby("seed")["regret"].apply(lambda lost: (lost <= WITHIN + 1e-9).mean())
        expected = float(chosen["expected"])
        low, high = max(expected - half, 0.0), min(expected + half, 1.0)
        return Forecast(low, high, float(share.mean()), number)


def _of_kind(rows: pd.DataFrame, chosen: pd.Series) -> pd.DataFrame:
    """Return the rows of the same source, model, target and number of images as a choice."""
    for name in KIND[:-1]:
        rows = rows[rows[name].astype(str) == str(chosen[name])]
    return rows


def half_width(choices: pd.DataFrame) -> float:
    """Return the half-width of the conformal 90 % interval around an expectation, for a network not seen.

    Each network's absolute errors have weight 1 together, and so has the new network, whose error may be
    infinite: split conformal prediction for grouped data (Dunn, Wasserman & Ramdas 2023, pooled CDFs).
    """
    errors = (choices["test_accuracy"] - choices["expected"]).abs().to_numpy(float)
    sizes = choices.groupby("seed")["seed"].transform("size").to_numpy(float)
    order = np.argsort(errors)
    mass = np.cumsum(1 / sizes[order]) / (choices["seed"].nunique() + 1)
    place = int(np.searchsorted(mass, COVERAGE - 1e-12))
    return float(errors[order][place]) if place < len(order) else np.inf


def _log(losses: pd.Series) -> Array:
    values = np.nan_to_num(losses.to_numpy(float), nan=np.inf, posinf=np.inf)
    smallest, largest = np.exp(-LARGEST_LOG), np.exp(LARGEST_LOG)
    found: Array = np.log(np.clip(values, smallest, largest))
    return found
