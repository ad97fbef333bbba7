"""From the tidy rows of one contrast to accuracies over checkpoint × seed × draw × learning rate.

Whatever stands in the way of a fair comparison (a hole in the crossing of seeds and draws, a
missing number, a source-best start that was never fine-tuned) is raised as `UndecidableError`.

Draws are nested where no two source networks share a label of one: then networks are independent
units. Shared draws are a factor of their own. Six and more of them make units that are independent
again: blocks of networks with draws that no other block uses, each network on the draws of its block.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from headstart.statistics.errors import TableError, UndecidableError
from headstart.statistics.hypotheses import ALPHA
from headstart.statistics.permutation import p_floor
from headstart.statistics.words import pluralize
from headstart.studies.early_stopping.verdicts.run_tables import (
    CORRECT,
    DIVERGED,
    FINAL,
    HEADLINE,
    IMAGES,
    ORACLE,
    describe,
    rows_of,
)
from headstart.studies.early_stopping.verdicts.source_best import SourceBest, source_best_epochs

Array = npt.NDArray[np.float64]
AXES = ["source_epoch", "seed", "draw", "learning_rate"]
LEAST_UNITS = 6
"""Units below which a sign flip cannot reach one-sided 2.5 %."""


@dataclass(frozen=True)
class Accuracies:
    """Accuracies of one contrast, as fractions.

    `validation` and `test` have shape (T + 1, I, J, L): the T epochs that every seed shares, then
    one more entry, the source-best start of each seed. Where the table holds no validation
    accuracies `validation` is the test array itself; `descriptive` says which choices test data made.

    `units` (I,) names the independent unit of every seed: itself, or its block of networks and
    draws. `shared_draws` is true where draws are shared and too few to make six units;
    `shared_images` where all seeds are scored on the same test images.
    """

    epochs: npt.NDArray[np.int64]
    seeds: tuple[object, ...]
    draws: tuple[object, ...]
    learning_rates: tuple[float, ...]
    source_best: npt.NDArray[np.int64]
    validation: Array
    test: Array
    descriptive: str = ""
    flags: tuple[str, ...] = ()
    units: tuple[int, ...] = ()
    shared_draws: bool = False
    shared_images: bool = True
    diverged: Array | None = None
    """1 where a run diverged, in the shape of `test`; None where that is not known."""
    fixed_rate: float | None = None
    """The rate that all starts have on the question of a fixed one; None is the highest."""
    one_network: bool = False
    """The units are draws of the target for one source network, of which alone the runs speak."""
    classes: int | None = None
    """Of the target, where the table tells how many images were trained on."""
    given: bool = False
    """Source epoch 0 is a network with given weights, a start like any other, and nothing is from scratch."""

    @property
    def n_units(self) -> int:
        """The number of independent units."""
        return len(set(self.units)) if self.units else len(self.seeds)

    @property
    def undecidable(self) -> list[str]:
        """Why nothing measured here could decide anything: numbers and kind of runs alone say it."""
        causes = []
        if self.descriptive:
            causes.append(
                f"test data made choices that validation should make ({self.descriptive})"
            )
        if self.shared_draws:
            causes.append(
                f"all networks share {pluralize(self.n_draws, 'draw')}, which says nothing of other draws: "
                f"give each network its own, or all of them {LEAST_UNITS} and more"
            )
        if self.n_units < LEAST_UNITS and self.one_network:
            causes.append(
                f"one source network with {pluralize(self.n_units, 'draw')} cannot give a p below "
                f"{p_floor(self.n_units):.3g}: {LEAST_UNITS} draws are the least"
            )
        elif self.n_units < LEAST_UNITS:
            causes.append(
                f"{pluralize(self.n_units, 'source seed')} cannot give a p below "
                f"{p_floor(self.n_units):.3g}, where {ALPHA:g} is the level and {LEAST_UNITS} seeds "
                "are the least"
            )
        return causes

    @property
    def first_start(self) -> int:
        """The first epoch that is a pretrained start."""
        return 0 if self.given else 1

    @property
    def n_draws(self) -> int:
        """Draws of each network, or those that all networks share."""
        return len(self.draws)

    def by_unit(self, values: Array) -> Array:
        """Return means over draws and networks (units, C, ...) of `values` (I, C, J, ...)."""
        means: Array = values.mean(axis=2)
        if not self.units:
            return means
        labels = np.array(self.units)
        return np.stack([means[labels == unit].mean(axis=0) for unit in np.unique(labels)])

    @property
    def fixed_index(self) -> int:
        """Which learning rate is the fixed one: the largest that does not exceed it, or the smallest."""
        limit = np.inf if self.fixed_rate is None else self.fixed_rate * (1 + 1e-9)
        return max(sum(rate <= limit for rate in self.learning_rates) - 1, 0)

    def of_one_network(self) -> "Accuracies":
        """Return the accuracies of a single source network with its draws of the target as the units."""
        number = len(self.draws)
        return self.changed(
            lambda values: values.swapaxes(1, 2),
            seeds=self.draws,
            draws=(0,),
            source_best=np.repeat(self.source_best, number),
            units=(),
            shared_draws=False,
            shared_images=True,
            one_network=True,
        )

    def at_fixed_rate(self) -> "Accuracies":
        """Return the accuracies at the fixed learning rate."""
        index = self.fixed_index
        rate = self.learning_rates[index]
        return self.changed(lambda values: values[..., [index]], learning_rates=(rate,))

    def changed(self, change: Callable[[Array], Array], **fields: Any) -> "Accuracies":
        """Return the accuracies with `change` applied to every array over starts, and other fields."""
        diverged = None if self.diverged is None else change(self.diverged)
        validation, test = change(self.validation), change(self.test)
        return replace(self, validation=validation, test=test, diverged=diverged, **fields)


def accuracy_tensors(table: pd.DataFrame, contrast: Mapping[str, object]) -> Accuracies:
    """Build the accuracies of one contrast from a checked table.

    Raises:
        TableError: when an accuracy is not a fraction, or the contrast is not in the table.
        UndecidableError: when the runs do not allow a comparison; the message is the reason.
    """
    rows = rows_of(table, contrast)
    metric = HEADLINE if (rows["metric"] == HEADLINE).any() else ORACLE
    rows, nested = _draws_of_networks(rows)
    cubes = _Cubes(rows, metric)
    test, seen = cubes.array(metric, "test")
    validation, seen_validation = cubes.array(metric, "validation")
    descriptive = (
        "" if seen_validation.any() else "there are no validation accuracies on the target"
    )
    _check_crossing(seen, cubes.labels)
    if not descriptive and not np.array_equal(seen, seen_validation):
        cell = cubes.name(np.argwhere(seen != seen_validation)[0])
        raise UndecidableError(f"the run {cell} has only one of validation and test accuracy")
    own_images = _score_on_own_images(rows, cubes, test) or _own_labels(rows, "test_images")
    diverged = cubes.diverged()
    flags = cubes.score_diverged(seen, diverged, test, None if descriptive else validation)
    for values, present in ((test, seen), (validation, seen_validation)):
        _check_values(values, present, cubes)
    best = _source_best(table, rows, seen, cubes.labels)
    if descriptive:
        validation = test
    elif np.array_equal(validation[seen], test[seen]):
        descriptive = "validation and test accuracies are equal in every run, as of the same images"
    if not best.from_validation:
        chosen = "no validation accuracies on the source chose the source-best epochs"
        descriptive = f"{descriptive}, {chosen}" if descriptive else chosen
    built = _assemble(cubes.labels, seen, best, (validation, test, diverged))
    built = replace(
        built,
        descriptive=descriptive,
        flags=(*flags, *built.flags),
        shared_images=not own_images,
        classes=_classes(rows),
    )
    built = one_of_equals(built)
    return built if nested else with_shared_draws(built)


def one_of_equals(runs: Accuracies) -> Accuracies:
    """Leave one of the source seeds that have the same accuracies in all runs: they are one network."""
    flat = np.stack([runs.validation, runs.test])
    digests = [hashlib.sha256(flat[:, :, i].tobytes()).digest() for i in range(len(runs.seeds))]
    kept = [i for i, digest in enumerate(digests) if digest not in digests[:i]]
    if len(kept) == len(digests):
        return runs
    names = ", ".join(str(runs.seeds[i]) for i in range(len(digests)) if i not in kept)
    text = (
        f"seeds {names} have the accuracies of another seed in every run: one network counts once"
    )
    return runs.changed(
        lambda values: values[:, kept],
        seeds=tuple(runs.seeds[i] for i in kept),
        source_best=runs.source_best[kept],
        flags=(*runs.flags, f"equal-seeds: {text}"),
    )


def _draws_of_networks(rows: pd.DataFrame) -> tuple[pd.DataFrame, bool]:
    """Return rows with draws numbered within each network where all have their own, and whether they have."""
    if not _own_labels(rows, "draw"):
        return rows, False
    numbers = rows.groupby("seed")["draw"].rank(method="dense")
    return rows.assign(draw=numbers.astype(int) - 1), True


def _own_labels(rows: pd.DataFrame, column: str) -> bool:
    """Return whether every row has a label in this column, and no two networks share one."""
    if column not in rows.columns or rows[column].isna().any():
        return False
    pairs = rows[["seed", column]].drop_duplicates()
    return rows["seed"].nunique() > 1 and not pairs[column].duplicated().any()


def _score_on_own_images(rows: pd.DataFrame, cubes: "_Cubes", test: Array) -> bool:
    """Score each network on its own share of the shared test images, where rows say which were read correctly.

    Images then are nested in networks: none counts twice, so that its oddities do not either.
    """
    correct = rows[rows["metric"] == CORRECT]
    if correct.empty:
        return False
    images, _ = pd.factorize(correct["image"], sort=True)
    codes = [
        pd.Index(labels).get_indexer(correct[axis])
        for axis, labels in zip(AXES, cubes.labels, strict=True)
    ]
    own = images % len(cubes.labels[1]) == codes[1]
    shares = pd.DataFrame(np.stack(codes, axis=1)[own], columns=AXES)
    means = shares.assign(value=correct["value"].to_numpy(float)[own]).groupby(AXES)["value"].mean()
    scores = np.full_like(test, np.nan)
    scores[tuple(np.array(means.index.to_list()).T)] = means.to_numpy()
    test[:] = np.where(np.isnan(test), np.nan, scores)
    return True


def _classes(rows: pd.DataFrame) -> int | None:
    """Return the number of classes of the target, where rows say how many images were trained on."""
    images = rows[rows["metric"] == IMAGES]
    number = images["value"] / pd.to_numeric(images["shots"], errors="coerce")
    return None if number.dropna().empty else round(float(number.dropna().iloc[0]))


def with_shared_draws(runs: Accuracies) -> Accuracies:
    """Give each network of a block the draws of its block alone; too few draws are left as they are."""
    networks, draws = len(runs.seeds), len(runs.draws)
    number = min(networks, draws)
    if number < LEAST_UNITS:
        return replace(runs, shared_draws=networks > 1)
    # Labels of draws are arbitrary: a digest of their accuracies orders them, free of labels.
    digests = [hashlib.sha256(runs.validation[:, :, j].tobytes()).digest() for j in range(draws)]
    order = np.array(sorted(range(draws), key=lambda j: digests[j]))
    parts = np.array_split(order, number)
    units = [g for g, part in enumerate(np.array_split(range(networks), number)) for _ in part]

    def own(values: Array) -> Array:
        means = [values[:, i, parts[unit]].mean(axis=1) for i, unit in enumerate(units)]
        return np.stack(means, axis=1)[:, :, None]

    return runs.changed(own, units=tuple(units))


class _Cubes:
    """Puts the rows of one metric and split into an array over the four axes of the contrast."""

    def __init__(self, rows: pd.DataFrame, metric: str) -> None:
        wanted = rows["metric"].isin([metric, FINAL, DIVERGED]).to_numpy()
        self.rows = rows[wanted]
        if not (self.rows["metric"] == metric).any():
            raise UndecidableError(f"there is neither a metric {HEADLINE} nor {ORACLE}")
        factors = [pd.factorize(self.rows[a], sort=True, use_na_sentinel=False) for a in AXES]
        self.codes = [np.asarray(codes) for codes, _ in factors]
        self.labels = [np.asarray(labels) for _, labels in factors]
        self.kind = self.rows["metric"].to_numpy()
        self.split = self.rows["split"].to_numpy()
        self.value = self.rows["value"].to_numpy(dtype=float)

    def array(self, metric: str, split: str | None) -> tuple[Array, npt.NDArray[np.bool_]]:
        keep = self.kind == metric
        if split is not None:
            keep &= self.split == split
        where = tuple(codes[keep] for codes in self.codes)
        shape = tuple(len(labels) for labels in self.labels)
        values, seen = np.full(shape, np.nan), np.zeros(shape, dtype=bool)
        values[where], seen[where] = self.value[keep], True
        return values, seen

    def name(self, index: npt.NDArray[np.intp]) -> str:
        return describe({a: v[i] for a, v, i in zip(AXES, self.labels, index, strict=True)})

    def diverged(self) -> Array:
        """Return 1 where a run diverged, NaN where no row tells."""
        return self.array(DIVERGED, None)[0]

    def score_diverged(
        self, seen: npt.NDArray[np.bool_], lost: Array, test: Array, validation: Array | None
    ) -> tuple[str, ...]:
        """Overwrite the scores of diverged runs by their final accuracies: no lucky epoch wins."""
        flags: tuple[str, ...] = ()
        unknown = int((seen & np.isnan(lost)).sum())
        if unknown:
            text = f"nothing tells whether {unknown} of {int(seen.sum())} runs diverged"
            flags = (f"divergence-unchecked: {text}; a lucky epoch of such a run may have won",)
        diverged = np.nan_to_num(lost) > 0
        if not diverged.any():
            return flags
        final, _ = self.array(FINAL, "test")
        if np.isnan(final[diverged]).any():
            cell = self.name(np.argwhere(diverged & np.isnan(final))[0])
            raise UndecidableError(
                f"the run {cell} diverged and has no {FINAL} on test to be scored by"
            )
        test[diverged] = final[diverged]
        held, _ = self.array(FINAL, "validation")
        if validation is not None:
            # Test data must not stand in here: it would choose the learning rate.
            validation[diverged] = np.nan_to_num(held[diverged])
        flag = f"diverged: {int(diverged.sum())} runs, scored by their final accuracy"
        if validation is not None and np.isnan(held[diverged]).any():
            flag += ", on validation by zero where that is missing"
        return (*flags, flag)


def _check_crossing(seen: npt.NDArray[np.bool_], labels: list[npt.NDArray]) -> None:
    per_start = seen.sum(axis=(2, 3))
    full = seen.shape[2] * seen.shape[3]
    partial = np.argwhere((per_start > 0) & (per_start < full))
    if len(partial):
        epoch, seed = partial[0]
        raise UndecidableError(
            f"seeds and draws are not crossed: source_epoch {labels[0][epoch]} of seed "
            f"{labels[1][seed]} has {per_start[epoch, seed]} of {full} runs "
            f"({seen.shape[2]} draws × {seen.shape[3]} learning rates)"
        )


def _check_values(values: Array, seen: npt.NDArray[np.bool_], cubes: _Cubes) -> None:
    broken = seen & ~np.isfinite(values)
    if broken.any():
        raise UndecidableError(
            f"{int(broken.sum())} of {int(seen.sum())} accuracies are not numbers, first that of "
            f"{cubes.name(np.argwhere(broken)[0])}"
        )
    outside = seen & ((values < 0) | (values > 1))
    if outside.any():
        index = np.argwhere(outside)[0]
        raise TableError(
            f"accuracies are fractions from 0 to 1; {cubes.name(index)} has {values[tuple(index)]}"
            ". Divide percentages by 100."
        )


def _source_best(
    table: pd.DataFrame, rows: pd.DataFrame, seen: npt.NDArray, labels: list[npt.NDArray]
) -> SourceBest:
    started = {
        seed: labels[0][seen[:, i].any(axis=(1, 2))].astype(int) for i, seed in enumerate(labels[1])
    }
    first = rows.iloc[0]
    return source_best_epochs(table, first["source"], first["model"], started)


def _assemble(
    labels: list[npt.NDArray],
    seen: npt.NDArray[np.bool_],
    best: SourceBest,
    values: tuple[Array, Array, Array],
) -> Accuracies:
    started = np.any(seen, axis=(2, 3))
    epochs = labels[0].astype(int)
    shared = np.all(started, axis=1)
    flags: tuple[str, ...] = ()
    # A source-best epoch that only its own seed was started from is no hole in the grid.
    beside_best = started & np.not_equal.outer(epochs, best.epochs)
    left_out = epochs[~shared & beside_best.any(axis=1)]
    if len(left_out):
        names = ", ".join(map(str, left_out))
        flags = (f"left-out: source epochs {names} were not fine-tuned for every seed",)
    position = np.searchsorted(epochs, best.epochs)
    units = np.arange(len(best.epochs))

    def stack(values: Array) -> Array:
        return np.concatenate([values[shared], values[position, units][None]])

    validation, test, diverged = (stack(one) for one in values)
    return Accuracies(
        epochs=epochs[shared],
        seeds=tuple(labels[1].tolist()),
        draws=tuple(labels[2].tolist()),
        learning_rates=tuple(float(rate) for rate in labels[3]),
        source_best=best.epochs,
        validation=validation,
        test=test,
        diverged=diverged,
        flags=(*flags, *best.flags),
    )
