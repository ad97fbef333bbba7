"""The gain of the best earlier or later start over the source-best start, in points."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from scipy import stats

from headstart.statistics.hypotheses import ALPHA
from headstart.statistics.intervals import Interval, mean_interval, pigeonhole_bootstrap
from headstart.statistics.permutation import lower_bound, max_statistic_test, p_floor
from headstart.statistics.ties import first_best
from headstart.studies.early_stopping.verdicts.accuracies import Accuracies
from headstart.studies.early_stopping.verdicts.selection import (
    Direction,
    at_learning_rate,
    differences,
    selection_optimism,
    split_seeds,
)

Array = npt.NDArray[np.float64]
POINTS = 100.0


@dataclass(frozen=True)
class Gain:
    """The gain of the best start in one direction over the source-best start.

    `effect` is the mean test difference at `epoch`, which validation picked; `interval` bounds the
    largest mean gain over all candidates: below by inverting the deciding test, above by the
    largest of the candidates' t-bounds. `p_beside` is the smallest p that a gain can have beside
    these other starts. `optimism` is the effect minus its leave-one-seed-out
    value; `confirmation` the t-interval on seeds that picked nothing, from eight seeds on;
    `pigeonhole` resamples seeds and draws of `per_draw`, the difference at `epoch`.
    """

    direction: Direction
    epoch: int
    learning_rate: float | None
    effect: float
    interval: Interval
    p: float
    p_beside: float
    optimism: float
    confirmation: Interval | None
    pigeonhole: Interval
    per_draw: Array = field(repr=False, compare=False)


def tuned_gain(
    accuracies: Accuracies, rates: npt.NDArray[np.intp], direction: Direction, seed: int = 0
) -> Gain | None:
    """The gain where every start has its own learning rate, `rates` (T + 1, I) by index.

    None when no epoch lies in that direction.
    """
    test = at_learning_rate(accuracies.test, rates)[..., None]
    validation = at_learning_rate(accuracies.validation, rates)[..., None]
    return _gain(accuracies, test, validation, direction, seed)


def fixed_rate_gain(accuracies: Accuracies, direction: Direction, seed: int = 0) -> Gain | None:
    """The gain where candidate and source-best share one learning rate, the one of largest gain.

    Validation picks epoch and learning rate together, inside the test.
    """
    return _gain(accuracies, accuracies.test, accuracies.validation, direction, seed)


def _gain(
    accuracies: Accuracies, test: Array, validation: Array, direction: Direction, seed: int
) -> Gain | None:
    """The gain from arrays (T + 1, I, J, rates), with a single rate where it was tuned."""
    grid, best = accuracies.epochs, accuracies.source_best
    epochs, per_draw = differences(test * POINTS, grid, best, direction)
    if not len(epochs):
        return None
    _, held = differences(validation * POINTS, grid, best, direction)
    units, n_rates = len(per_draw), per_draw.shape[-1]
    flat = per_draw.mean(axis=2).reshape(units, -1)
    selection = held.mean(axis=2).reshape(units, -1)
    result = max_statistic_test(flat, selection, seed=seed)
    index, rate = divmod(result.chosen, n_rates)
    at_choice = per_draw[:, index, :, rate]
    return Gain(
        direction=direction,
        epoch=int(epochs[index]),
        learning_rate=accuracies.learning_rates[rate] if n_rates > 1 else None,
        effect=float(flat[:, result.chosen].mean()),
        interval=_interval(flat, selection, result.chosen, seed),
        p=result.p,
        p_beside=result.p_beside,
        optimism=selection_optimism(flat, selection),
        confirmation=_confirmation(flat, selection),
        pigeonhole=pigeonhole_bootstrap(at_choice, seed=seed),
        per_draw=at_choice,
    )


def _interval(test: Array, selection: Array, chosen: int, seed: int) -> Interval:
    n = len(test)
    if p_floor(n) > ALPHA:
        return mean_interval(test[:, chosen])
    low = lower_bound(test, selection, ALPHA, seed)
    half = stats.t.ppf(1 - ALPHA, n - 1) * test.std(axis=0, ddof=1) / np.sqrt(n)
    high = float((test.mean(axis=0) + half).max())
    return Interval(float(test[:, chosen].mean()), low, high, n, "max-statistic")


def _confirmation(test: Array, selection: Array) -> Interval | None:
    halves = split_seeds(len(test))
    if halves is None:
        return None
    discovery, confirmation = halves
    return mean_interval(test[confirmation, first_best(selection[discovery].mean(axis=0))])
