"""The gain of the best earlier or later start over the source-best start, in points."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from scipy import stats

from headstart.statistics.hypotheses import ALPHA
from headstart.statistics.intervals import Interval, mean_interval, pigeonhole_bootstrap
from headstart.statistics.permutation import lower_bound, max_statistic_test
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
POWER = 0.8


@dataclass(frozen=True)
class Gain:
    """The gain of the best start in one direction over the source-best start.

    `effect` is the mean test difference at `epoch`, which validation picked, at `learning_rate` where
    that is one for all. `interval` is the 95 % interval for the mean gain at that epoch: below by
    inverting the deciding test, which pays for the choice, above by a sign flip at that epoch, which
    the choice can only raise. NaN where the runs can decide nothing; `pigeonhole` then resamples
    networks and draws. `detectable` is the gain found with a power of 80 %, at the spread `sd` over
    units, of which `sd_draws` is that of a single one of `n_draws` within networks, and `sd_images` at
    most what counting test images adds; NaN where the runs do not tell.
    `optimism` is the effect minus its leave-one-unit-out value; `confirmation` the t-interval on
    units that picked nothing, from eight units on. `per_unit` (units,) are the gains at `epoch`.
    """

    direction: Direction
    epoch: int
    learning_rate: float | None
    effect: float
    interval: Interval
    p: float
    detectable: float
    sd: float
    sd_draws: float
    sd_images: float
    n_draws: int
    optimism: float
    confirmation: Interval | None
    pigeonhole: Interval | None
    per_unit: Array = field(repr=False, compare=False)


def gain_of(
    runs: Accuracies, rates: npt.NDArray[np.intp], direction: Direction, seed: int = 0
) -> Gain | None:
    """Return the gain where every start has its own learning rate, `rates` (T + 1, I) by index.

    None when no epoch lies in that direction.
    """
    grid, best = runs.epochs, runs.source_best
    tuned = (at_learning_rate(values, rates) * POINTS for values in (runs.test, runs.validation))
    (epochs, per_draw), (_, held) = (
        differences(values, grid, best, direction, runs.first_start) for values in tuned
    )
    if not len(epochs):
        return None
    gaps, selection = runs.by_unit(per_draw), runs.by_unit(held)
    result = max_statistic_test(gaps, selection, seed=seed)
    chosen = gaps[:, result.chosen]
    at_choice = per_draw[:, result.chosen]
    decides = not runs.undecidable
    interval = _interval(gaps, selection, result.chosen, seed) if decides else None
    sd = float(chosen.std(ddof=1)) if len(chosen) > 1 else np.nan
    return Gain(
        direction=direction,
        epoch=int(epochs[result.chosen]),
        learning_rate=runs.learning_rates[0] if len(runs.learning_rates) == 1 else None,
        effect=float(chosen.mean()),
        interval=interval or Interval(float(chosen.mean()), np.nan, np.nan, len(chosen), "none"),
        p=np.nan if runs.shared_draws else result.p,
        detectable=detectable(interval, sd),
        sd=sd,
        sd_draws=_sd_of_draws(at_choice),
        sd_images=_sd_of_images(runs.test),
        n_draws=at_choice.shape[1],
        optimism=selection_optimism(gaps, selection),
        confirmation=_confirmation(gaps, selection),
        pigeonhole=None if decides else pigeonhole_bootstrap(at_choice, seed=seed),
        per_unit=chosen,
    )


def detectable(interval: Interval | None, sd: float) -> float:
    """Return the gain that the test of an interval finds with a power of 80 %; infinite where it finds none."""
    if interval is None or not np.isfinite(interval.low):
        return np.inf
    reach = float(stats.t.ppf(POWER, interval.n - 1)) * sd / np.sqrt(interval.n)
    return interval.estimate - interval.low + reach


def _sd_of_draws(gains: Array) -> float:
    """Return the spread (points) of single draws within networks, from gains (networks, draws)."""
    if gains.shape[1] < 2:
        return np.nan
    return float(np.sqrt(gains.var(axis=1, ddof=1).mean()))


def _sd_of_images(accuracies: Array) -> float:
    """Return the spread (points) of a network's gain that counting n test images adds at most.

    Accuracies (starts, networks, draws, rates) are counts of n images; the least step between them
    is 1/n. NaN where they are no counts.
    """
    steps = np.diff(np.unique(accuracies.round(9)))
    images = round(1 / steps.min()) if len(steps) else 0
    counts = accuracies * images
    if not 0 < images <= 100_000 or np.abs(counts - counts.round()).max() > 1e-4:
        return np.nan
    p, draws = float(accuracies[-1].mean()), accuracies.shape[2]
    return POINTS * float(np.sqrt(2 * p * (1 - p) / (images * draws)))


def _interval(test: Array, selection: Array, chosen: int, seed: int) -> Interval:
    column = test[:, [chosen]]
    low, high = lower_bound(test, selection, ALPHA, seed), -lower_bound(-column, None, ALPHA, seed)
    return Interval(
        float(column.mean()), low, max(high, float(column.mean())), len(test), "max-statistic"
    )


def _confirmation(test: Array, selection: Array) -> Interval | None:
    halves = split_seeds(len(test))
    if halves is None:
        return None
    discovery, confirmation = halves
    return mean_interval(test[confirmation, first_best(selection[discovery].mean(axis=0))])
