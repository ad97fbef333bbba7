"""What other networks teach about a candidate, before and after one target epoch of its own."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

from headstart.studies.early_stopping.recommend.atlas import CELL, numbers

Array = npt.NDArray[np.float64]
PENALTIES = np.logspace(-3, 3, 7)
CALIBRATING = 9
"""Networks that a 90 % interval needs: with fewer, the new one may lie outside all of them."""
KIND = ["source", "model", "target", "shots", "learning_rate"]
"""Runs of other networks that differ from a candidate in the network, its draws and the epoch alone."""
CELL_NUMBER = "cell_number"
OCTAVES = 0.2
"""Standard deviation of the weights of runs from other epochs, in doublings of 1 + epoch."""
LARGEST_LOG = 7.0
"""Losses are read up to e^7; those of lost runs are not finite."""


def cell_of(tuned: bool) -> list[str]:
    """Return the columns within which one candidate is chosen: over all rates, or at each of them."""
    return [*CELL] if tuned else [*CELL, "learning_rate"]


def numbered(rows: pd.DataFrame, columns: list[str]) -> pd.Series:
    """Return the number of each row's group; to group by it is much faster than by the columns.

    Rows may bring the number of their cell along, as `CELL_NUMBER`.
    """
    if CELL_NUMBER in rows:
        columns = [CELL_NUMBER, *(name for name in columns if name not in CELL)]
    return rows.groupby(columns, sort=False).ngroup()


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
            # A run that was lost in its first epoch has none.
            "validation_accuracy": rows["validation_accuracy_1"].astype(float).fillna(0.0),
        }
    return pd.DataFrame(columns)


def learned(rows: pd.DataFrame, atlas: pd.DataFrame) -> pd.Series:
    """Return the mean test accuracy of other networks' runs of the same kind from about the same epoch.

    Weights are Gaussian in log2(1 + epoch). NaN where fewer than nine networks have such runs.
    """
    found = pd.Series(np.nan, rows.index)
    kinds = {kind: others for kind, others in atlas.groupby(KIND) if _enough(others)}
    for kind, mine in rows.groupby(KIND):
        if kind in kinds:
            weights = _weights(mine, kinds[kind])
            accuracies = kinds[kind]["test_accuracy"].to_numpy(float)
            found[mine.index] = weights @ accuracies / weights.sum(axis=1)
    return found


def _enough(rows: pd.DataFrame) -> bool:
    return bool(rows["seed"].nunique() >= CALIBRATING)


def _weights(rows: pd.DataFrame, others: pd.DataFrame) -> Array:
    """Return the weight of every other run for every row; the nearest has weight 1, so that none is left alone."""
    own, epochs = (np.log2(1.0 + each["source_epoch"].to_numpy(float)) for each in (rows, others))
    squared = np.square((own[:, None] - epochs) / OCTAVES)
    found: Array = np.exp((squared.min(axis=1, keepdims=True) - squared) / 2)
    return found


class Recall:
    """What `learned` says of the runs of an atlas itself, their own network left out, and others as asked."""

    def __init__(self, atlas: pd.DataFrame) -> None:
        """Sum the weighted accuracies of every other network around every run, and their weights, once."""
        self.index = atlas.index
        self.networks = np.unique(atlas["seed"])
        of = np.searchsorted(self.networks, atlas["seed"])
        self.sums, self.weights = (np.zeros((len(atlas), len(self.networks))) for _ in range(2))
        accuracies, epochs = (
            atlas[name].to_numpy(float) for name in ("test_accuracy", "source_epoch")
        )
        for places in atlas.groupby(KIND).indices.values():
            values, rows = np.unique(epochs[places], return_inverse=True)
            starts = pd.DataFrame({"source_epoch": values})
            weights = _weights(starts, starts)
            for number, found in ((accuracies[places], self.sums), (1.0, self.weights)):
                at = np.zeros((len(values), len(self.networks)))
                np.add.at(at, (rows, of[places]), number)
                found[places] = (weights @ at)[rows]
        own = np.arange(len(atlas)), of
        self.sums[own] = self.weights[own] = 0.0

    def without(self, *left_out: str) -> pd.Series:
        """Return what networks teach that are neither left out nor the run's own; NaN where fewer than nine do."""
        kept = ~np.isin(self.networks, left_out)
        enough = (self.weights > 0) @ kept.astype(float) >= CALIBRATING
        with np.errstate(invalid="ignore"):
            means = (self.sums @ kept) / (self.weights @ kept)
        return pd.Series(np.where(enough, means, np.nan), self.index)


class Prediction:
    """Ridge regression on the inputs, their squares and products; of a cell's differences, or of accuracies.

    `within` are the columns of a cell: inputs of the first target epoch and accuracies are then differences
    from the mean over its candidates. None: as they are.
    """

    def __init__(self, atlas: pd.DataFrame, followed: bool, within: list[str] | None) -> None:
        """Fit on all rows of an atlas; the penalty is chosen by cross-validation."""
        self.followed, self.within = followed, within
        table, accuracy = inputs(atlas, followed), atlas["test_accuracy"].astype(float)
        if within:
            cells = numbered(atlas, within)
            accuracy = accuracy - accuracy.groupby(cells).transform("mean")
            table = _differences(table, cells)
        steps = StandardScaler(), PolynomialFeatures(2), RidgeCV(PENALTIES)
        self.pipeline: Pipeline = make_pipeline(*steps).fit(table, accuracy)

    def __call__(self, rows: pd.DataFrame) -> Array:
        """Return the prediction for each row."""
        table = inputs(rows, self.followed)
        if self.within:
            table = _differences(table, numbered(rows, self.within))
        found: Array = self.pipeline.predict(table)
        return found


def _differences(table: pd.DataFrame, cells: pd.Series) -> pd.DataFrame:
    """Return inputs of the first target epoch as differences from the mean over a cell's candidates."""
    early = table.columns[3:]
    if len(early):
        table[early] -= table[early].groupby(cells).transform("mean")
    return table


class Teacher:
    """What an atlas of other networks teaches about one kind of choice: at a fixed rate, or over rates."""

    def __init__(self, atlas: pd.DataFrame, tuned: bool, *, recall: bool = True) -> None:
        """Keep the atlas; predictions are fitted when they are asked for.

        Without `recall`, runs of the same kind are not looked up, and every choice takes short runs.
        """
        self.tuned, self.cell = tuned, cell_of(tuned)
        self.atlas, self.known = atlas, atlas if recall else atlas.iloc[:0]

    @cached_property
    def before(self) -> Prediction:
        """Return predictions of differences in a cell before anything is tried."""
        return Prediction(self.atlas, False, self.cell)

    @cached_property
    def after(self) -> Prediction:
        """Return those after one target epoch."""
        return Prediction(self.atlas, True, self.cell)

    @cached_property
    def level(self) -> Prediction:
        """Return predictions of accuracy itself after one target epoch."""
        return Prediction(self.atlas, True, None)

    def rank(self, rows: pd.DataFrame) -> Array:
        """Return expected differences from a cell's mean accuracy before anything is tried."""
        return self.before(rows)

    def rank_followed(self, rows: pd.DataFrame, before: Array) -> Array:
        """Return them after one target epoch: the mean of what was said `before` and of what is said now."""
        found: Array = (before + self.after(rows)) / 2
        return found

    def expected(self, rows: pd.DataFrame, ranks: Array) -> Array:
        """Return expected accuracies (fractions): the expected mean of the cell, and the difference from it."""
        cells = numbered(rows, self.cell)
        mean = pd.Series(self.level(rows), rows.index).groupby(cells).transform("mean")
        return np.clip(mean.to_numpy() + ranks, 0.0, 1.0)


def _log(losses: pd.Series) -> Array:
    values = np.nan_to_num(losses.to_numpy(float), nan=np.inf, posinf=np.inf)
    smallest, largest = np.exp(-LARGEST_LOG), np.exp(LARGEST_LOG)
    found: Array = np.log(np.clip(values, smallest, largest))
    return found
