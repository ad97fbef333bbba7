"""Every test on the accuracies of one contrast, before anything is decided.

Each hypothesis has its own p-value; `headstart.studies.early_stopping.verdicts.decision` turns them into a verdict.
"""

from dataclasses import dataclass
from typing import get_args

import numpy as np
import numpy.typing as npt

from headstart.statistics.hypotheses import ALPHA, p_mean_below
from headstart.statistics.permutation import max_statistic_test, p_floor, p_mean_negative
from headstart.statistics.ties import first_best
from headstart.studies.early_stopping.verdicts.accuracies import Accuracies
from headstart.studies.early_stopping.verdicts.gains import (
    POINTS,
    Gain,
    fixed_rate_gain,
    tuned_gain,
)
from headstart.studies.early_stopping.verdicts.selection import (
    Direction,
    at_learning_rate,
    tune_learning_rate,
)

Rates = npt.NDArray[np.intp]
DIRECTIONS: tuple[Direction, ...] = get_args(Direction)
FIXED = " at a fixed learning rate"


@dataclass(frozen=True)
class Evidence:
    """All that the table says about one contrast.

    `p_values` maps a hypothesis to its p: "earlier", "later" (a gain at the tuned learning rate),
    the same with " at a fixed learning rate", "equivalent" and "source-best". A hypothesis that
    could not be tested is absent. `gains` has the keys of the first four. `preferred` is the epoch
    beside source-best that validation prefers, which equivalence speaks of.
    """

    n_seeds: int
    n_draws: int
    p_floor: float
    gains: dict[str, Gain]
    p_values: dict[str, float]
    p_interaction: float | None
    source_best: tuple[int, ...]
    descriptive: bool
    flags: tuple[str, ...]
    preferred: int | None = None


def weigh(accuracies: Accuracies, margin: float = 1.0, seed: int = 0) -> Evidence:
    """Run all tests of the decision procedure on one contrast; `margin` is in points."""
    rates = tune_learning_rate(accuracies.validation)
    gains: dict[str, Gain | None] = {}
    for direction in DIRECTIONS:
        gains[direction] = tuned_gain(accuracies, rates, direction, seed)
        if len(accuracies.learning_rates) > 1:
            gains[direction + FIXED] = fixed_rate_gain(accuracies, direction, seed)
    found = {name: gain for name, gain in gains.items() if gain is not None}
    p_values = {name: gain.p for name, gain in found.items()}
    preferred, none_gains = p_of_no_gain(accuracies, rates, margin)
    return Evidence(
        n_seeds=len(accuracies.seeds),
        n_draws=len(accuracies.draws),
        p_floor=p_floor(len(accuracies.seeds)),
        gains=found,
        p_values=p_values | none_gains,
        p_interaction=interaction_test(accuracies, seed),
        source_best=tuple(accuracies.source_best.tolist()),
        descriptive=accuracies.descriptive,
        flags=(*accuracies.flags, *_flags(accuracies, rates, found)),
        preferred=preferred,
    )


def interaction_test(accuracies: Accuracies, seed: int = 0) -> float | None:
    """Two-sided p that the gain over source-best depends on the learning rate at some epoch.

    The deviation of D_i(t, η) from its mean over η is tested by whole-seed sign flips with the
    largest absolute mean over (t, η), studentised. None with a single learning rate.
    """
    if len(accuracies.learning_rates) < 2 or not len(accuracies.epochs):
        return None
    gap = np.moveaxis(accuracies.test[:-1] - accuracies.test[-1], 0, 1).mean(axis=2)
    deviation = (gap - gap.mean(axis=-1, keepdims=True)).reshape(len(gap), -1)
    return max_statistic_test(deviation, two_sided=True, seed=seed).p


def p_of_no_gain(
    accuracies: Accuracies, rates: Rates, margin: float
) -> tuple[int | None, dict[str, float]]:
    """The epoch that validation prefers, and p of "equivalent" and "source-best", intersections of tests.

    Both compare all other pretrained epochs t with t*_i by A(t, i) − A(t*_i, i). Equivalent: no
    epoch gains the margin, and the one that validation prefers does not lose it (t-tests).
    Source-best: every epoch is worse (sign flips). Needing all tests at once costs no correction.
    """
    differs = (accuracies.epochs[:, None] != accuracies.source_best).any(axis=1)
    others = (accuracies.epochs > 0) & differs
    if not others.any() or len(accuracies.seeds) < 2:
        return None, {}
    test = at_learning_rate(accuracies.test, rates).mean(axis=2) * POINTS
    held = at_learning_rate(accuracies.validation, rates).mean(axis=2)
    gap = (test[:-1] - test[-1])[others].T
    preferred = first_best(held[:-1][others].mean(axis=1))
    above = float(p_mean_below(gap, margin).max())
    below = float(p_mean_below(-gap[:, preferred], margin))
    p_values = {"equivalent": max(above, below), "source-best": float(p_mean_negative(gap).max())}
    return int(accuracies.epochs[others][preferred]), p_values


def _flags(accuracies: Accuracies, rates: Rates, gains: dict[str, Gain]) -> list[str]:
    flags = []
    if len(accuracies.learning_rates) == 1:
        flags.append("one-learning-rate: nothing was tuned")
    else:
        flags += _edge_flag(accuracies, rates, gains)
    if len(accuracies.draws) == 1:
        flags.append("one-draw: nothing is known about other target draws")
    scratch = accuracies.epochs == 0
    if scratch.any() and len(accuracies.seeds) > 1:
        tuned = at_learning_rate(accuracies.test, rates).mean(axis=2)
        if p_mean_below(tuned[-1] - tuned[:-1][scratch][0], 0.0) <= ALPHA:
            flags.append("negative-transfer: training from scratch beats the source-best start")
    return flags


def _edge_flag(accuracies: Accuracies, rates: Rates, gains: dict[str, Gain]) -> list[str]:
    chosen = [gains[d].epoch for d in DIRECTIONS if d in gains]
    starts = [len(accuracies.epochs), *np.searchsorted(accuracies.epochs, chosen)]
    used = rates[starts]
    extreme = int(((used == 0) | (used == len(accuracies.learning_rates) - 1)).sum())
    if not extreme:
        return []
    if len(accuracies.learning_rates) == 2:
        # Both are extremes, so this always holds and says nothing about these runs.
        return ["edge-of-grid: two learning rates cannot bracket an optimum"]
    return [f"edge-of-grid: {extreme} of {used.size} chosen learning rates are the grid's extremes"]
