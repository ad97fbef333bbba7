"""How far choices may be off: intervals and probabilities from choices that were made for other networks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from headstart.studies.early_stopping.recommend.atlas import halved
from headstart.studies.early_stopping.recommend.model import (
    CALIBRATING,
    KIND,
    Recall,
    Teacher,
    cell_of,
)
from headstart.studies.early_stopping.recommend.search import (
    recalled,
    replayed,
    search,
    with_regret,
)

WITHIN = 0.01
"""A choice is good that loses at most so much accuracy to the best one."""
COVERAGE = 0.9
HIGH = 0.3
"""Fixed rates from here on are judged apart: late checkpoints can no longer be trained at them."""


LIKELY = 0.5
"""With a smaller probability to be good, a choice is better not acted upon."""


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

    def __init__(
        self,
        atlas: pd.DataFrame,
        tuned: bool,
        budget: float,
        told: pd.Series | None = None,
        *,
        short_runs: bool = True,
    ) -> None:
        """Keep the atlas; choices are made when they are asked for.

        `told` is what `Recall` says of each of its runs, where that is known already. Without `short_runs`
        the choices that other networks teach are made, and no others.
        """
        self.atlas, self.tuned, self.budget = atlas, tuned, budget
        self.told, self.short_runs = told, short_runs

    @cached_property
    def choices(self) -> pd.DataFrame:
        """Return the choices for every network, left out of what teaches; a seed is one network in all recipes."""
        rows = self.atlas if "own" in self.atlas else halved(self.atlas)
        told = Recall(rows).without() if self.told is None else self.told
        found, unknown = recalled(rows, told, cell_of(self.tuned))
        parts = [found]
        for seed, mine in unknown.groupby("seed") if self.short_runs else ():
            others = self.atlas[self.atlas["seed"] != seed]
            if len(others):
                teacher = Teacher(others, self.tuned)
                parts.append(search(mine, replayed, teacher, self.budget, told[mine.index]))
        return with_regret(pd.concat(parts), rows, self.tuned).reset_index(drop=True)

    @cached_property
    def networks(self) -> dict[tuple[str, ...], int]:
        """Return how many networks were fine-tuned so, by `KIND`."""
        counts = self.atlas.groupby(KIND)["seed"].nunique()
        kinds = (_key(kind) for kind in counts.index)
        return dict(zip(kinds, counts.astype(int), strict=True))

    @cached_property
    def reached(self) -> dict[tuple[str, ...], tuple[float, float]]:
        """Return half-width and share within 1 point of the choices of each kind, fixed high rates apart."""
        found = {}
        high = self.choices["learning_rate"] >= HIGH if not self.tuned else False
        for kind, mine in self.choices.assign(high=high).groupby([*KIND[:-1], "high"]):
            known = mine.dropna(subset="regret")
            good = (known["regret"] <= WITHIN + 1e-9).groupby(known["seed"]).mean()
            found[_key(kind)] = half_width(mine), float(good.mean())
        return found

    def forecast(self, chosen: pd.Series) -> Forecast:
        """Return the 90 % interval of the accuracy of a choice, and its probability to be good.

        Choices of the same kind count: source, model, target and shots, and whether a fixed rate is high. A
        rate at which no other network was fine-tuned so has none.
        """
        number = self.networks.get(_key(chosen[name] for name in KIND), 0)
        if number < CALIBRATING:
            return Forecast(np.nan, np.nan, np.nan, number)
        high = not self.tuned and chosen["learning_rate"] >= HIGH
        kind = _key([*(chosen[name] for name in KIND[:-1]), bool(high)])
        half, within = self.reached.get(kind, (np.inf, np.nan))
        expected = float(chosen["expected"])
        low, high = max(expected - half, 0.0), min(expected + half, 1.0)
        return Forecast(low, high, within, number)


def _key(values: Iterable[Any]) -> tuple[str, ...]:
    return tuple(str(value) for value in values)


def hesitation(said: Forecast, target: str) -> str:
    """Return why a choice with such a forecast is better not acted upon, empty where it may be."""
    if np.isnan(said.low):
        return (
            f"{said.networks} other networks were fine-tuned so on {target}, nine are needed for an "
            "interval: the choice rests on what other tasks, recipes and rates teach"
        )
    if said.within < LIKELY:
        return f"only {said.within:.0%} of such choices were within 1 point of the best for other networks"
    return ""


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
