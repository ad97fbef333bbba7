"""Does the gain of an earlier start differ between amounts of source training?

Source networks of different amounts are different networks, so nothing is paired: whole networks
are permuted over the amounts, all their gains with them. Under the null hypothesis that the amount
does not matter every permutation is equally likely, and the test is exact for any dependence between
epochs. With two amounts of n networks each it cannot give a p below 2 n! n! / (2 n)!, which is 0.1
for three networks and 0.029 for four.
"""

import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from math import factorial, prod

import numpy as np
import numpy.typing as npt
from scipy import stats

from headstart.statistics.hypotheses import ALPHA
from headstart.statistics.intervals import Interval
from headstart.statistics.permutation import ratio
from headstart.statistics.ties import first_best
from headstart.studies.early_stopping.verdicts.accuracies import Accuracies
from headstart.studies.early_stopping.verdicts.gains import POINTS
from headstart.studies.early_stopping.verdicts.selection import (
    at_learning_rate,
    differences,
    tune_learning_rate,
)

Array = npt.NDArray[np.float64]
PERMUTATIONS = 9999
BOTH_SIDES = 2 * ALPHA


@dataclass(frozen=True)
class Difference:
    """The pair of amounts whose gains differ most, in standard errors, and its test.

    `interval` is Welch's for the difference in gain, first minus second, in points; `widest` is
    the largest distance from zero that any pair's interval reaches. `p` covers the choice of the
    pair and of the epochs. `effects` are the gains by amount, `epochs` where they are.
    """

    pair: tuple[str, str]
    interval: Interval
    widest: float
    p: float
    p_floor: float
    effects: dict[str, float]
    epochs: dict[str, int]


def compare_amounts(by_amount: Mapping[str, Accuracies], seed: int = 0) -> Difference | None:
    """Compare the gain of the best earlier start over source-best between amounts of source training.

    Each amount has the epoch that validation picks for it, each start its own learning rate; an
    epoch after source-best counts as source-best. The statistic is the largest |t| of Welch over
    pairs of amounts; in every permutation the epochs are picked anew. None where the amounts share no
    epoch before source-best, or one has fewer than two networks.
    """
    names = list(by_amount)
    sizes = [runs.n_units for runs in by_amount.values()]
    gains = _gains(by_amount)
    if gains is None or len(names) < 2 or min(sizes) < 2:
        return None
    epochs, test, held = gains
    labels = np.repeat(np.arange(len(names)), sizes)
    permutations = np.array(list(_permutations(labels, sizes, seed)))
    pairs = list(combinations(range(len(names)), 2))
    statistics = _distances(test, held, permutations, pairs)
    largest = statistics.max(axis=1)
    a, b = pairs[int(statistics[0].argmax())]
    slack = 1e-9 * max(1.0, largest[0]) if np.isfinite(largest[0]) else 0.0
    chosen = [_picked(test, held, labels == i) for i in range(len(names))]
    welch = {(i, j): _welch(chosen[i][1], chosen[j][1]) for i, j in pairs}
    return Difference(
        pair=(names[a], names[b]),
        interval=welch[a, b],
        widest=max(max(abs(i.low), abs(i.high)) for i in welch.values()),
        p=float(np.mean(largest >= largest[0] - slack)),
        p_floor=_floor(sizes, len(permutations)),
        effects={
            name: float(values.mean()) for name, (_, values) in zip(names, chosen, strict=True)
        },
        epochs={name: int(epochs[t]) for name, (t, _) in zip(names, chosen, strict=True)},
    )


def _gains(
    by_amount: Mapping[str, Accuracies],
) -> tuple[npt.NDArray[np.int64], Array, Array] | None:
    """Return epochs (C,) and gains over source-best (networks, C) on test and validation, in points."""
    runs = list(by_amount.values())
    shared = set.intersection(*(set(one.epochs.tolist()) for one in runs)) - {0}
    before = [epochs for one in runs if (epochs := _candidates(one)).size]
    candidates = sorted(shared & set(np.concatenate(before).tolist())) if before else []
    if not candidates:
        return None
    parts = [_per_network(one, np.array(candidates)) for one in runs]
    test, held = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    return np.array(candidates), test, held


def _candidates(runs: Accuracies) -> npt.NDArray[np.int64]:
    return differences(runs.test, runs.epochs, runs.source_best, "earlier", runs.first_start)[0]


def _per_network(runs: Accuracies, epochs: npt.NDArray[np.int64]) -> tuple[Array, Array]:
    rates = tune_learning_rate(runs.validation)
    rows = np.searchsorted(runs.epochs, epochs)
    before = epochs < runs.source_best[:, None]
    parts = []
    for values in (runs.test, runs.validation):
        tuned = at_learning_rate(values, rates) * POINTS
        gaps = np.moveaxis(tuned[rows] - tuned[-1], 0, 1)
        parts.append(runs.by_unit(np.where(before[..., None], gaps, 0.0)))
    return parts[0], parts[1]


def _permutations(
    labels: npt.NDArray[np.intp], sizes: list[int], seed: int
) -> Iterator[npt.NDArray]:
    """Yield the labels as they are, then all other permutations of two amounts, or random ones of more."""
    yield labels
    if len(sizes) == 2 and _distinct(sizes) <= PERMUTATIONS:
        everyone = range(len(labels))
        for first in combinations(everyone, sizes[0]):
            permutation = np.ones(len(labels), dtype=int)
            permutation[list(first)] = 0
            if not np.array_equal(permutation, labels):
                yield permutation
        return
    generator = np.random.default_rng(seed)
    for _ in range(PERMUTATIONS):
        yield generator.permutation(labels)


def _distinct(sizes: list[int]) -> int:
    """Return the number of different permutations."""
    return factorial(sum(sizes)) // prod(map(factorial, sizes))


def _floor(sizes: list[int], permutations: int) -> float:
    """Return the smallest p: amounts of one size may change names without changing any |t|."""
    names = prod(factorial(number) for number in Counter(sizes).values())
    return max(names / _distinct(sizes), 1 / permutations)


def _distances(
    test: Array, held: Array, permutations: npt.NDArray[np.intp], pairs: list[tuple[int, int]]
) -> Array:
    """Return Welch's |t| (permutations, pairs), every amount at the epoch that validation picks in that permutation."""
    means, errors = [], []
    for amount in range(int(permutations.max()) + 1):
        members = (permutations == amount).astype(float)
        n = members[0].sum()
        column = first_best(members @ held)[:, None]
        mean = np.take_along_axis(members @ test, column, axis=1)[:, 0] / n
        squares = np.take_along_axis(members @ test**2, column, axis=1)[:, 0]
        variance = (squares - n * mean**2) / (n - 1)
        means.append(mean)
        # Equal values leave a rounding error where the variance is zero.
        errors.append(np.where(variance > 1e-12 * squares, variance, 0.0) / n)
    distances = [
        np.abs(ratio(means[i] - means[j], np.sqrt(errors[i] + errors[j]))) for i, j in pairs
    ]
    return np.stack(distances, axis=1)


def _picked(test: Array, held: Array, members: npt.NDArray[np.bool_]) -> tuple[int, Array]:
    """Return the column that validation picks for these networks, and their test gains in it."""
    column = int(first_best(held[members].mean(axis=0)))
    return column, test[members, column]


def _welch(first: Array, second: Array) -> Interval:
    """Return Welch's interval for the difference of two means; without any spread it is a point."""
    estimate, n = float(first.mean() - second.mean()), len(first) + len(second)
    if first.var() == second.var() == 0:
        return Interval(estimate, estimate, estimate, n, "Welch")
    with warnings.catch_warnings():
        # Equal values on one side are no loss of precision: their variance is zero.
        warnings.simplefilter("ignore", RuntimeWarning)
        test = stats.ttest_ind(first, second, equal_var=False)
    bounds = test.confidence_interval(1 - BOTH_SIDES)
    return Interval(estimate, float(bounds.low), float(bounds.high), n, "Welch")
