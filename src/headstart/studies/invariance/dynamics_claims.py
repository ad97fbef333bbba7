"""What the tables of the invariance study say of claims I11 to I14 of arXiv 2307.06006: dynamics.

The independent unit is the source network, as in `headstart.studies.invariance.layer_claims`.
"""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from headstart.statistics.claim_results import ClaimResult, Status, bounded
from headstart.statistics.intervals import mean_interval
from headstart.statistics.measurements import select
from headstart.studies.invariance.layer_claims import early, late, missing
from headstart.studies.invariance.layer_dynamics import SETTLED, layer_series, runs_of
from headstart.studies.invariance.network_tables import (
    CLASSIFY,
    NETWORK,
    RUN,
    Array,
    Networks,
    above_zero,
    complete_mean,
    correlation_interval,
    doing,
    status_of,
    words,
)


def peak_on_the_way(networks: Networks) -> ClaimResult:
    """11: late layers forget most before the end; the epoch is chosen on the other networks.

    Learning, late and early, stands beside: the paper sees it peak late and not early.
    """
    found = _curves(networks, "forgetting", late)
    if found is None:
        reason = (
            "Two networks are needed that were followed at the same four target epochs or more."
        )
        return ClaimResult("not measured here", reason)
    epochs, values = found
    gap, chosen = _peak(values)
    listed = ", ".join(str(epochs[i]) for i in sorted(set(chosen)))
    beside = "; ".join(
        f"{name} layers {words(mean_interval(_peak(other[1])[0]))}"
        for name, part in (("late", late), ("early", early))
        if (other := _curves(networks, "learning", part))
    )
    return above_zero(
        gap,
        lambda n: (
            "Forgetting of late layers at the epoch where the other networks forget most "
            f"({listed} of {epochs[-1]}), minus that at the end: {n}. "
            f"Learning likewise, which decides nothing here: {beside or 'not followed'}."
        ),
    )


def _curves(
    networks: Networks, metric: str, part: Callable[[Array], Array]
) -> tuple[tuple[int, ...], Array] | None:
    """Return epochs, and "networks epochs" of a metric averaged over some layers and a network's runs.

    None for fewer than two networks or four epochs, or where epochs differ between runs.
    """
    seen: set[tuple[int, ...]] = set()
    curves: dict[tuple[object, ...], list[Array]] = {}
    for run, rows in runs_of(doing(networks.measurements, CLASSIFY)):
        mine = select(rows, metric=metric).dropna(subset="value")
        epochs = [int(epoch) for epoch in sorted(mine["target_epoch"].unique()) if epoch > 0]
        seen.add(tuple(epochs))
        curve = part(layer_series(rows, metric, epochs)).mean(axis=1)
        curves.setdefault(tuple(run[name] for name in NETWORK), []).append(curve)
    if len(seen) != 1 or len(curves) < 2 or len(min(seen)) < 4:
        return None
    return seen.pop(), np.stack([np.mean(each, axis=0) for each in curves.values()])


def _peak(values: Array) -> tuple[Array, list[int]]:
    """Return how far each curve lies above its end where the others are highest, and where that is."""
    chosen = [int(np.delete(values, i, axis=0).mean(axis=0).argmax()) for i in range(len(values))]
    return values[np.arange(len(values)), chosen] - values[:, -1], chosen


def std_follows_robustness(networks: Networks) -> ClaimResult:
    """12: the std of forgetting follows robustness, also in changes from epoch to epoch."""
    parts = _transients(networks)
    if parts is None:
        return missing(CLASSIFY)
    whole, changes = (correlation_interval(parts[name]) for name in ("whole", "differences"))
    text = (
        f"Pearson's r of the std of forgetting with accuracy under corruption over epochs: {words(whole)}; "
        f"of their changes from epoch {SETTLED} on: {words(changes)}. Both series start with the same "
        "transient, so that only the changes can show a lasting relation. "
        f"Best aggregate of each family: {_best_by_family(networks)}."
    )
    status: Status = "undetermined"
    if whole.low > 0 and changes.low > 0:
        status = "supported"
    elif whole.high < 0 or changes.high < 0:
        status = "contradicted"
    return bounded(status, text, whole)


def _best_by_family(networks: Networks) -> str:
    """Return which r the best aggregate of each family reaches, mean over runs; chosen on the same runs."""
    found = _of_tuned(networks.correlations, networks)
    best = found.groupby([*RUN, "family"])["r"].max().groupby("family").mean().dropna()
    listed = [f"{name} {r:+.2f}" for name, r in best.items()]
    return ", ".join(listed) or "none was measured"


def early_prefix_correlates_more(networks: Networks) -> ClaimResult:
    """13: r over the first epochs is above r over all of them."""
    parts = _transients(networks)
    if parts is None:
        return missing(CLASSIFY)
    return above_zero(
        parts["prefix"] - parts["whole"],
        lambda n: (
            f"Pearson's r over the first three epochs that were measured minus that over all: {n}. "
            "All prefixes share the first transient."
        ),
    )


def holds_across_settings(networks: Networks) -> ClaimResult:
    """14: the correlation holds in every setting of the optimiser."""
    arms: Sequence[str] = sorted(doing(networks.runs, CLASSIFY)["arm"].unique())
    if len(arms) < 2:
        reason = f"Every fine-tuned run belongs to the arm {arms[0]}." if arms else "No run."
        return ClaimResult("not measured here", reason)
    whole = select(networks.transients, part="whole")
    by_arm = {arm: _by_network(select(whole, arm=arm)) for arm in arms}
    if not all(len(r) for r in by_arm.values()):
        return ClaimResult("not measured here", "Not every arm was followed over epochs.")
    known = {arm: correlation_interval(r) for arm, r in by_arm.items()}
    lowest = min(known.values(), key=lambda each: np.nan_to_num(each.estimate, nan=-np.inf))
    listed = ", ".join(f"{arm} {interval.estimate:+.2f}" for arm, interval in known.items())
    text = f"Pearson's r by arm: {listed}; the smallest {words(lowest)}."
    return bounded(status_of(lowest), text, lowest)


def _transients(networks: Networks) -> dict[str, Array] | None:
    """Return r of the paper's aggregate by part of the run, one value per network in the same order."""
    rows = _of_tuned(networks.transients, networks)
    parts = {part: select(rows, part=part) for part in ("whole", "differences")}
    parts["prefix"] = select(rows, part="prefix", epochs=3)
    if rows.empty or len(parts["prefix"]) != len(parts["whole"]):
        return None
    return {part: _by_network(each) for part, each in parts.items()}


def _of_tuned(table: pd.DataFrame, networks: Networks) -> pd.DataFrame:
    """Return the rows of fine-tuned arms, in a table that names no mode."""
    return select(table, arm=set(doing(networks.runs, CLASSIFY)["arm"]))


def _by_network(rows: pd.DataFrame) -> Array:
    """Return r of each network, mean over its runs on Fisher's scale; NaN where one is."""
    z = rows.assign(z=np.arctanh(rows["r"].astype(float).clip(-1 + 1e-9, 1 - 1e-9)))
    means = z.groupby(NETWORK)["z"].agg(complete_mean)
    return np.tanh(means.to_numpy(dtype=float))
