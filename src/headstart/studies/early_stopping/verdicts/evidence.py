"""Every test on the accuracies of one contrast, before anything is decided.

Each hypothesis has its own p-value; `headstart.studies.early_stopping.verdicts.decision` turns them into a verdict.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from headstart.statistics.errors import UndecidableError
from headstart.statistics.hypotheses import ALPHA
from headstart.statistics.permutation import max_statistic_test, p_floor, p_mean_negative
from headstart.studies.early_stopping.verdicts.accuracies import Accuracies
from headstart.studies.early_stopping.verdicts.comparable import no_room
from headstart.studies.early_stopping.verdicts.gains import POINTS, Gain, gain_of
from headstart.studies.early_stopping.verdicts.selection import (
    Direction,
    at_learning_rate,
    tune_learning_rate,
)

Rates = npt.NDArray[np.intp]
Question = Literal["tuned", "fixed"]
DIRECTIONS: tuple[Direction, ...] = get_args(Direction)
FIXED = " at a fixed learning rate"


@dataclass(frozen=True)
class Evidence:
    """All that the table says about one contrast, on one question.

    `p_values` maps a hypothesis to its p: "earlier", "later", "equivalent" and "source-best", and
    where rates were tuned "earlier" and "later" with " at a fixed learning rate". A
    hypothesis that could not be tested is absent. `gains` has the keys of gains. `preferred` is the
    epoch beside source-best that validation prefers, which equivalence speaks of. `causes` says why
    nothing can be decided, if so.
    """

    n_seeds: int
    n_draws: int
    n_units: int
    p_floor: float
    gains: dict[str, Gain]
    p_values: dict[str, float]
    p_interaction: float | None
    source_best: tuple[int, ...]
    descriptive: bool
    causes: tuple[str, ...]
    shared_images: bool
    learning_rate: float | None
    flags: tuple[str, ...]
    preferred: int | None = None
    one_network: bool = False


def questions(runs: Accuracies) -> tuple[Question, ...]:
    """Return what the runs are asked: at tuned rates, and at the fixed one, where there are several."""
    return get_args(Question) if len(runs.learning_rates) > 1 else ("fixed",)


def weigh(
    accuracies: Accuracies, margin: float = 1.0, seed: int = 0, question: Question = "tuned"
) -> Evidence:
    """Run all tests of the decision procedure on one contrast; `margin` is in points.

    The question "tuned" gives every start its own learning rate, "fixed" gives all the same one.

    Raises:
        UndecidableError: the runs at that rate leave nothing to compare.
    """
    every, several = accuracies, len(accuracies.learning_rates) > 1
    if question == "fixed":
        accuracies = accuracies.at_fixed_rate()
    for reason in no_room(accuracies):
        raise UndecidableError(reason)
    rates = tune_learning_rate(accuracies.validation)
    gains = {name: gain_of(accuracies, rates, name, seed) for name in DIRECTIONS}
    fixed: dict[str, Gain | None] = {}
    highest = every.at_fixed_rate()
    if several and question == "tuned" and not any(no_room(highest)):
        at = tune_learning_rate(highest.validation)
        fixed = {name + FIXED: gain_of(highest, at, name, seed) for name in DIRECTIONS}
    found = {name: gain for name, gain in (gains | fixed).items() if gain is not None}
    preferred, none_gains = p_of_no_gain(accuracies, rates, margin, seed)
    flags = _flags(accuracies, rates, found) if several or question == "tuned" else []
    if not several:
        flags = ["one-learning-rate: nothing was tuned", *_transfer_flag(accuracies, rates)]
    return Evidence(
        n_seeds=1 if accuracies.one_network else len(accuracies.seeds),
        n_draws=accuracies.n_units if accuracies.one_network else accuracies.n_draws,
        n_units=accuracies.n_units,
        p_floor=p_floor(accuracies.n_units),
        gains=found,
        p_values={name: gain.p for name, gain in found.items()} | none_gains,
        p_interaction=interaction_test(every, seed),
        source_best=tuple(accuracies.source_best[: 1 if accuracies.one_network else None].tolist()),
        descriptive=bool(accuracies.descriptive),
        causes=tuple(accuracies.undecidable),
        shared_images=accuracies.shared_images,
        learning_rate=accuracies.learning_rates[0] if question == "fixed" else None,
        flags=(*accuracies.flags, *flags),
        preferred=preferred,
        one_network=accuracies.one_network,
    )


def interaction_test(accuracies: Accuracies, seed: int = 0) -> float | None:
    """Two-sided p that the gain over source-best depends on the learning rate at some epoch.

    The deviation of D_i(t, η) from its mean over η is tested by sign flips of whole units with the
    largest absolute mean over (t, η), studentised. None with a single learning rate, or draws too few.
    """
    several = len(accuracies.learning_rates) > 1 and len(accuracies.epochs)
    if not several or accuracies.shared_draws:
        return None
    gap = np.moveaxis(accuracies.test[:-1] - accuracies.test[-1], 0, 1)
    units = accuracies.by_unit(gap)
    deviation = (units - units.mean(axis=-1, keepdims=True)).reshape(len(units), -1)
    return max_statistic_test(deviation, two_sided=True, seed=seed).p


def p_of_no_gain(
    accuracies: Accuracies, rates: Rates, margin: float, seed: int = 0
) -> tuple[int | None, dict[str, float]]:
    """The epoch that validation prefers, and p of "equivalent" and "source-best", intersections of sign flips.

    Both compare all other pretrained epochs t with t*_i by A(t, i) − A(t*_i, i). Equivalent: no
    epoch gains the margin, and the one that validation prefers does not lose it, with that choice
    inside the test. Source-best: every epoch is worse. Needing all tests at once costs no correction.
    """
    differs = (accuracies.epochs[:, None] != accuracies.source_best).any(axis=1)
    others = (accuracies.epochs >= accuracies.first_start) & differs
    if not others.any() or accuracies.n_units < 2 or accuracies.shared_draws:
        return None, {}
    test, held = (
        at_learning_rate(values, rates) * POINTS
        for values in (accuracies.test, accuracies.validation)
    )
    gap, selection = (
        accuracies.by_unit(np.moveaxis((values[:-1] - values[-1])[others], 0, 1))
        for values in (test, held)
    )
    above = float(p_mean_negative(gap - margin, seed).max())
    below = max_statistic_test(gap + margin, selection + margin, seed=seed)
    worse = float(p_mean_negative(gap, seed).max())
    preferred = int(accuracies.epochs[others][below.chosen])
    return preferred, {"equivalent": max(above, below.p), "source-best": worse}


def _flags(accuracies: Accuracies, rates: Rates, gains: dict[str, Gain]) -> list[str]:
    names = {len(accuracies.epochs): "source-best"}
    for epoch in [gains[d].epoch for d in DIRECTIONS if d in gains]:
        names[int(np.searchsorted(accuracies.epochs, epoch))] = f"epoch {epoch}"
    if len(accuracies.epochs) and accuracies.epochs[0] == 0:
        names[0] = "the given network" if accuracies.given else "scratch"
    return [*edge_flag(accuracies, rates, names), *_transfer_flag(accuracies, rates)]


def _transfer_flag(accuracies: Accuracies, rates: Rates) -> list[str]:
    scratch = accuracies.epochs == 0
    if not scratch.any() or accuracies.given or accuracies.shared_draws:
        return []
    tuned = at_learning_rate(accuracies.test, rates)
    gap = accuracies.by_unit((tuned[-1] - tuned[:-1][scratch][0])[:, None])
    if float(p_mean_negative(gap)[0]) > ALPHA:
        return []
    return ["negative-transfer: training from scratch beats the source-best start"]


def edge_flag(accuracies: Accuracies, rates: Rates, names: Mapping[int, str]) -> list[str]:
    """Say which starts prefer an extreme of the grid in half of the units, and which rate to add.

    `names` are of starts, by their place in the accuracies.
    """
    grid = accuracies.learning_rates
    if len(grid) == 1:
        return []
    beyond = {0: grid[0] ** 2 / grid[1], len(grid) - 1: grid[-1] ** 2 / grid[-2]}
    if len(grid) == 2:
        # Both are extremes, so this always holds and says nothing about these runs.
        ends = " or ".join(f"{rate:.1g}" for rate in beyond.values())
        return [f"edge-of-grid: two learning rates cannot bracket an optimum, add {ends}"]
    units = "draws" if accuracies.one_network else "networks"
    found: list[str] = []
    add: set[str] = set()
    for start, name in names.items():
        for index, rate in beyond.items():
            number = int((rates[start] == index).sum())
            if 2 * number >= rates.shape[1]:
                found.append(f"{name} at {grid[index]:g} ({number} of {rates.shape[1]} {units})")
                add.add(f"{rate:.1g}")
    if not found:
        return []
    return [f"edge-of-grid: {', '.join(found)}: add learning rate {' and '.join(sorted(add))}"]
