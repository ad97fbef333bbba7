"""What other networks teach about a candidate, before and after one target epoch of its own."""

from __future__ import annotations

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


def _log(losses: pd.Series) -> Array:
    values = np.nan_to_num(losses.to_numpy(float), nan=np.inf, posinf=np.inf)
    smallest, largest = np.exp(-LARGEST_LOG), np.exp(LARGEST_LOG)
    found: Array = np.log(np.clip(values, smallest, largest))
    return found
