"""How far choices may be off: intervals and probabilities from choices that were made for other networks."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from headstart.studies.early_stopping.recommend.atlas import halved
from headstart.studies.early_stopping.recommend.model import CALIBRATING, KIND, Teacher
from headstart.studies.early_stopping.recommend.search import replayed, search, with_regret

WITHIN = 0.01
"""A choice is good that loses at most so much accuracy to the best one."""
COVERAGE = 0.9
HIGH = 0.3
"""Fixed rates from here on are judged apart: late checkpoints can no longer be trained at them."""


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
                rows = halved(self.atlas[mine])
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
