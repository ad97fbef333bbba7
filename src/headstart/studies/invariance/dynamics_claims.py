"""What the tables of the invariance study say of claims I11 to I14 of arXiv 2307.06006: dynamics.

The independent unit is the source network, as in `headstart.studies.invariance.layer_claims`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from headstart.statistics.claim_results import ClaimResult, Status, bounded
from headstart.statistics.intervals import Interval, mean_interval
from headstart.statistics.measurements import select
from headstart.studies.invariance.layer_claims import early, late, missing
from headstart.studies.invariance.layer_dynamics import SETTLED
from headstart.studies.invariance.network_tables import (
    CLASSIFY,
    FEWEST_EPOCHS,
    RUN,
    Array,
    Networks,
    above_zero,
    correlation_interval,
    doing,
    largest_elsewhere,
    status_of,
    stretch_of_choice,
    words,
)


def peak_on_the_way(networks: Networks) -> ClaimResult:
    """11: late layers forget most before the end; the epoch is chosen on the other networks.

    It is chosen among epochs before the last, so that forgetting which only grows lies below zero.
    Learning, late and early, stands beside: the paper sees it peak late and not early.
    """
    found = networks.curves(CLASSIFY, "forgetting")
    if found is None or len(found[1]) < 2 or len(found[0]) < FEWEST_EPOCHS:
        reason = f"Two networks are needed that were followed at the same {FEWEST_EPOCHS} target epochs or more."
        return ClaimResult("not measured here", reason)
    epochs, values = found
    gap, chosen = _peak(_over(values, late))
    listed = ", ".join(str(epochs[i]) for i in sorted(set(chosen)))
    learnt = networks.curves(CLASSIFY, "learning")
    beside = "; ".join(
        f"{name} layers {words(mean_interval(_peak(_over(learnt[1], part))[0]))}"
        for name, part in (("late", late), ("early", early))
        if learnt is not None and len(learnt[1]) > 1 and len(learnt[0]) > 1
    )
    return above_zero(
        gap,
        lambda n: (
            "Forgetting of late layers at the epoch before the end where the other networks forget most "
            f"({listed} of {epochs[-1]}), minus that at the end: {n}. "
            f"Learning likewise, which decides nothing here: {beside or 'not followed'}."
        ),
        stretch_of_choice(len(gap), len(epochs) - 1),
    )


def _over(values: Array, part: Callable[[Array], Array]) -> Array:
    """Return "networks epochs": the mean over some layers of "networks epochs layers"."""
    return np.stack([part(each).mean(axis=1) for each in values])


def _peak(values: Array) -> tuple[Array, list[int]]:
    """Return how far each curve lies above its end where the others are highest before, and where that is."""
    highest, chosen = largest_elsewhere(values[:, :-1])
    return highest - values[:, -1], chosen


HIDDEN: Status = "not identifiable here"
"""Of a run too short for its test: whatever its series do, and however many networks there are, p is too large."""
LEVEL = 0.05
"""Networks may share series that have nothing to do with each other: then their interval is sure of any r.
What is firm must also be rare, at this level, among the same series of each network put out of step."""


@dataclass(frozen=True)
class _Relation:
    """r over epochs and that of changes, over networks, and the median p of the latter among shifts in time.

    `shifts` is how many there are, as many as a run has changes: no p is smaller than 1 / `shifts`.
    """

    whole: Interval
    changes: Interval
    p: float
    shifts: float

    @property
    def status(self) -> Status:
        """Return whether one follows the other: both series start with a transient, and changes tell."""
        if self.shifts * LEVEL < 1:
            return HIDDEN
        if not self.p <= LEVEL:
            return "undetermined"
        if self.whole.low > 0 and self.changes.low > 0:
            return "supported"
        return "contradicted" if self.changes.high < 0 else "undetermined"


def _relation(networks: Networks, arm: str | None = None) -> _Relation | None:
    r, p = networks.of_parts("r", arm), networks.of_parts("p_shift", arm)
    count = networks.of_parts("epochs", arm)
    if r is None or p is None or count is None or not {"whole", "differences"} <= set(r):
        return None
    whole, changes = (correlation_interval(r[name]) for name in ("whole", "differences"))
    shifts = float(np.median(count["differences"]))
    return _Relation(whole, changes, float(np.median(p["differences"])), shifts)


def std_follows_robustness(networks: Networks) -> ClaimResult:
    """12: the std of forgetting follows robustness, also in changes from epoch to epoch."""
    found = _relation(networks)
    if found is None:
        return missing(CLASSIFY)
    text = (
        "Pearson's r of the std of forgetting with accuracy under corruption over epochs: "
        f"{words(found.whole)}; of their changes from epoch {SETTLED} on: {words(found.changes)}, "
        f"p = {found.p:.2g} among shifts of the same changes in time (median over networks; {LEVEL:g} takes "
        f"{round(1 / LEVEL)} changes, here are {found.shifts:.0f}). Both series start "
        "with the same transient, so that only the changes can show a lasting relation. "
        f"Best aggregate of each family: {_best_by_family(networks)}."
    )
    return bounded(found.status, text, found.whole)


def _best_by_family(networks: Networks) -> str:
    """Return which r the best aggregate of each family reaches, mean over runs; chosen on the same runs."""
    found = _of_tuned(networks.correlations, networks)
    best = found.groupby([*RUN, "family"])["r"].max().groupby("family").mean().dropna()
    listed = [f"{name} {r:+.2f}" for name, r in best.items()]
    return ", ".join(listed) or "none was measured"


def early_prefix_correlates_more(networks: Networks) -> ClaimResult:
    """13: r over the first epochs is above r over all of them, and above that of later windows.

    All prefixes share the first transient, so that windows are compared after it.
    """
    r, p = networks.of_parts("r"), networks.of_parts("p_window")
    count = networks.of_parts("windows")
    if r is None or p is None or count is None or not {"prefix", "whole"} <= set(r):
        return missing(CLASSIFY)
    difference = mean_interval(r["prefix"] - r["whole"])
    # Where a run has fewer epochs than a window, there is none.
    above, windows = (float(np.nan_to_num(np.median(each["prefix"]))) for each in (p, count))
    status = status_of(difference)
    if windows * LEVEL / 2 < 1:
        status = HIDDEN
    elif (above if status == "supported" else 1 - above + 1 / windows) > LEVEL / 2:
        status = "undetermined"
    return bounded(
        status,
        f"Pearson's r over the first {FEWEST_EPOCHS} epochs that were measured minus that over all: "
        f"{words(difference)}. After the first transient, of {windows:.0f} windows of so many epochs a share of "
        f"{above:.2g} reaches the r of the first one; a verdict takes a share of {LEVEL / 2:g} on either side, and "
        f"so {round(2 / LEVEL)} epochs or more from epoch {SETTLED} on.",
        difference,
    )


def holds_across_settings(networks: Networks) -> ClaimResult:
    """14: the correlation holds in every setting of the optimiser."""
    arms: Sequence[str] = sorted(doing(networks.runs, CLASSIFY)["arm"].unique())
    if len(arms) < 2:
        reason = f"Every fine-tuned run belongs to the arm {arms[0]}." if arms else "No run."
        return ClaimResult("not measured here", reason)
    known = {arm: found for arm in arms if (found := _relation(networks, arm))}
    if len(known) < len(arms):
        return ClaimResult("not measured here", "Not every arm was followed over epochs.")
    statuses = {found.status for found in known.values()}
    worst = min(known.values(), key=lambda each: np.nan_to_num(each.whole.estimate, nan=-np.inf))
    listed = ", ".join(
        f"{arm} {each.whole.estimate:+.2f} (changes {each.changes.estimate:+.2f}, p = {each.p:.2g})"
        for arm, each in known.items()
    )
    status: Status = "supported" if statuses == {"supported"} else "undetermined"
    for decisive in (HIDDEN, "contradicted"):
        status = decisive if decisive in statuses else status
    return bounded(
        status, f"Pearson's r by arm: {listed}; the smallest {words(worst.whole)}.", worst.whole
    )


def _of_tuned(table: pd.DataFrame, networks: Networks) -> pd.DataFrame:
    """Return the rows of fine-tuned arms, in a table that names no mode."""
    return select(table, arm=set(doing(networks.runs, CLASSIFY)["arm"]))
