"""The claims of the joined study: J1 to J3 on associations within networks, J4 on the intervention.

J1 to J3 ask whether a measure goes with the gain where the source epoch is given: all that epochs have in
common, which is what one would like to explain, is taken out, since along epochs everything changes together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from headstart.statistics.claim_results import ClaimResult, bounded
from headstart.statistics.errors import NothingMeasuredError, TableError
from headstart.statistics.hypotheses import ALPHA
from headstart.statistics.intervals import Interval, mean_interval
from headstart.statistics.partial_correlation import (
    Array,
    PartialCorrelation,
    mediated_change,
    partial_rank_correlation,
)
from headstart.statistics.permutation import lower_bound, max_statistic_test, p_mean_negative
from headstart.statistics.words import format_interval, pluralize
from headstart.studies.joined.associations import (
    COMPARISON,
    FIXED,
    INVARIANCE,
    KNOWLEDGE,
    MEASURES,
    TRAINABLE,
    Cells,
    comparisons,
    matched,
    of,
)
from headstart.studies.joined.effects import RANDOM, REMOVED, REPAIRS, by_network

FEWEST = 6
"""Source networks below which no judge decides: a sign-flip test of five cannot reach 2.5 %."""
ROOM = 0.1
"""Less between chance and ceiling identifies nothing."""
CEILINGS = {
    KNOWLEDGE: ("preserved_ceiling", "preserved_chance"),
    INVARIANCE: ("invariance_self", "invariance_chance"),
}
"""What a measure could be at most, and by chance."""


def associated(cells: Cells, measure: str, room: Interval | None = None) -> ClaimResult:
    """Return whether a measure goes with the gain at the fixed rate, up or down together.

    Supported or contradicted where the permutation of whole networks and the jackknife interval agree.
    """
    named = MEASURES[measure]
    networks, epochs = cells.measure.shape
    if room is not None and room.estimate < ROOM:
        text = format_interval(room.estimate, room.low, room.high, digits=2)
        reason = (
            f"Between chance and the most that could be kept there is {text}, less than {ROOM:g}: "
            f"{named} can tell nothing here."
        )
        return ClaimResult("not identifiable here", reason)
    if networks < FEWEST or epochs < 2:
        reason = (
            f"{pluralize(networks, 'source network')} at {pluralize(epochs, 'source epoch')} have "
            f"{named}; {FEWEST} networks and two epochs are needed."
        )
        return ClaimResult("undetermined", reason)
    found = partial_rank_correlation(cells.measure, cells.outcome)
    text = _described(found, cells, named)
    if np.isnan(found.rho):
        return ClaimResult("undetermined", f"{text} {found.reason}.")
    interval = Interval(found.rho, found.low, found.high, networks, "jackknife")
    if found.p_positive <= ALPHA and found.low > 0:
        return bounded("supported", text, interval)
    if found.p_negative <= ALPHA and found.high < 0:
        return bounded("contradicted", text, interval)
    seen = (found.high - found.low) / 2
    smallest = "" if np.isnan(seen) else f" From about ±{seen:.2f} on a ρ would be told from 0."
    return bounded("undetermined", text + smallest, interval)


def _described(found: PartialCorrelation, cells: Cells, named: str) -> str:
    rho = format_interval(found.rho, found.low, found.high, digits=2, signed=True)
    carried = mediated_change(cells.measure, cells.outcome)
    points = format_interval(carried.carried, carried.low, carried.high, signed=True)
    first, last = cells.epochs[0], cells.epochs[-1]
    left_out = f" {cells.left_out[:1].upper()}{cells.left_out[1:]}." if cells.left_out else ""
    return (
        f"ρ = {rho} between {named} and gain at the fixed rate, within "
        f"{pluralize(found.networks, 'network')} given epoch ({found.epochs} epochs; one-sided p = "
        f"{min(found.p_positive, found.p_negative):.3g}, whole networks permuted). From epoch {first} to "
        f"{last} the gain changes by {carried.total:+.1f} points, of which the measure would carry "
        f"{points} were it a cause.{left_out}"
    )


def room_of(cells: pd.DataFrame, measure: str) -> Interval | None:
    """Return how far chance and ceiling of a measure are apart, mean over starts, interval over networks."""
    if measure not in CEILINGS:
        return None
    high, low = CEILINGS[measure]
    if high not in cells:
        return None
    started = cells[cells["source_epoch"] > 0]
    apart = (started[high] - started[low]).groupby(started["seed"]).mean().dropna()
    return mean_interval(apart) if len(apart) else None


def differences(table: pd.DataFrame, metric: str, rate: str = "fixed") -> pd.DataFrame:
    """Return networks × repairs: the gain of each repair minus what removal of the preserved costs, in points.

    That cost is accuracy after as many interactions were removed at random, minus after the preserved ones.
    """
    changed = by_network(table, metric, rate)
    repairs = [name for name in REPAIRS if name in changed]
    if not {REMOVED, RANDOM} <= set(changed) or not repairs:
        return pd.DataFrame()
    cost = changed[RANDOM] - changed[REMOVED]
    return changed[repairs].sub(cost, axis=0)


def moved_more(test: Array, validation: Array, removed: Array, names: list[str]) -> ClaimResult:
    """Return J4: does the repair that validation picks move accuracy more than the removal of knowledge costs?

    Args:
        test, validation: networks × repairs, as `differences`.
        removed: share of the preserved interactions that their removal took, beyond its share of all, minus
            the same of the random one, by network: what makes it one of the preserved.
        names: of the repairs.
    """
    networks = len(test)
    if networks < FEWEST:
        reason = (
            f"{pluralize(networks, 'source network')} had the intervention, {FEWEST} are needed."
        )
        return ClaimResult("undetermined", reason)
    apart = mean_interval(removed)
    words = format_interval(100 * apart.estimate, 100 * apart.low, 100 * apart.high, unit="points")
    if not apart.low > 0:
        reason = (
            "The removal took no more of the preserved interactions away, beyond its share of all, than the "
            f"random one did: {words} of their strength."
        )
        return ClaimResult("not identifiable here", reason)
    found = max_statistic_test(test, validation)
    chosen = test[:, found.chosen]
    low, high = lower_bound(test, validation), mean_interval(chosen).high
    interval = Interval(
        float(chosen.mean()), low if np.isfinite(low) else np.nan, high, networks, ""
    )
    text = (
        f"{REPAIRS.get(names[found.chosen], names[found.chosen])}, which validation picks, moves accuracy "
        f"by {format_interval(interval.estimate, interval.low, high, signed=True)} points more than "
        f"removal of the preserved interactions costs beyond a random one ({networks} source networks, "
        f"p = {found.p:.3g}, choice inside). Beyond its share of all, the removal took {words} more of them away than the random one."
    )
    if found.p <= ALPHA and low > 0:
        return bounded("supported", text, interval)
    if bool((p_mean_negative(test) <= ALPHA).all()):
        return bounded("contradicted", text, interval)
    spread = (high - interval.estimate) if np.isfinite(high) else np.nan
    smallest = f" From about {spread:.1f} points on a difference would be told from 0."
    return bounded("undetermined", text + smallest, interval)


def _by_measure(measure: str) -> Callable[[ClaimEvaluator], ClaimResult]:
    return lambda opened: associated(
        matched(opened.cells, measure, FIXED), measure, room_of(opened.cells, measure)
    )


def repair_moves_more(opened: ClaimEvaluator) -> ClaimResult:
    """J4 on the tables."""
    tests, validations = (
        differences(opened.effects, metric) for metric in ("accuracy", "validation_accuracy")
    )
    preserved, everything = (
        by_network(opened.effects, metric) for metric in ("preserved_taken", "knowledge_taken")
    )
    taken = preserved - everything
    if tests.empty or not {REMOVED, RANDOM} <= set(taken):
        return ClaimResult("not measured here", "No intervention was made on any start.")
    shared = tests.index.intersection(taken.index)
    removed = (taken[REMOVED] - taken[RANDOM]).loc[shared].to_numpy(float)
    both = [table.loc[shared].to_numpy(float) for table in (tests, validations)]
    found = moved_more(both[0], both[1], removed, [str(name) for name in tests])
    return replace(found, reason=f"{found.reason} {_each_repair(opened.effects)}")


def _each_repair(effects: pd.DataFrame) -> str:
    """Return by how much each repair moves accuracy at the fixed rate, without any test."""
    changed = by_network(effects, "accuracy", "fixed")
    parts = []
    for name in (each for each in REPAIRS if each in changed):
        moved = mean_interval(changed[name])
        text = format_interval(moved.estimate, moved.low, moved.high, signed=True)
        parts.append(f"{REPAIRS[name]} {text}")
    return f"Each repair moves it, in points: {'; '.join(parts)}."


class ClaimEvaluator:
    """The comparison that claims are evaluated on: that requested, or the first.

    Raises:
        NothingMeasuredError: nothing was measured.
        TableError: no comparison is as requested.
    """

    evaluators: ClassVar[Mapping[str, Callable[[ClaimEvaluator], ClaimResult]]] = {
        "knowledge_goes_with_gain": _by_measure(KNOWLEDGE),
        "invariance_goes_with_gain": _by_measure(INVARIANCE),
        "trainability_goes_with_gain": _by_measure(TRAINABLE),
        "repair_moves_more": repair_moves_more,
    }

    def __init__(
        self,
        tables: Mapping[str, pd.DataFrame],
        params: Mapping[str, Any],
        requested: Mapping[str, object] | None = None,
    ) -> None:
        cells: pd.DataFrame = tables["joined"]
        if cells.empty:
            raise NothingMeasuredError("no start was measured by the section `joined`")
        wanted = {name: str(v) for name, v in (requested or {}).items() if name in COMPARISON}
        fitting = [
            found
            for found in comparisons(cells)
            if wanted.items() <= dict(zip(COMPARISON, found, strict=True)).items()
        ]
        if not fitting:
            raise TableError(f"no comparison of the joined study has {wanted}")
        self.comparison = min(fitting)
        self.cells = of(cells, self.comparison)
        self.effects = of(tables["effects"], self.comparison)

    @property
    def networks(self) -> int:
        """Return the number of source networks."""
        return int(self.cells["seed"].nunique())

    def about(self) -> str:
        """Return which runs speak."""
        source, model, target, shots = self.comparison
        epochs = sorted(self.cells["source_epoch"].unique())
        started = ", ".join(str(epoch) for epoch in epochs if epoch)
        return (
            f"Evaluated on: {target} from {source}, {model}, {shots} shots, "
            f"{pluralize(self.networks, 'source network')}, source epochs {started}, two runs of each start "
            "at the fixed rate. Intervals and tests are over source networks. An association within epochs "
            "is no cause; the intervention says what changing a start does, at one start."
        )
