"""What the tables of the invariance study say of each claim of arXiv 2307.06006.

The independent unit is the source network: values are averaged within a network, and intervals are
t-intervals over networks. "Early" are the layers of the first half, "late" those of the second.
Whatever is claimed is turned into a number that should lie above zero.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from headstart.statistics.findings import Finding, Status, bounded
from headstart.statistics.intervals import Interval, mean_interval
from headstart.statistics.layer_dynamics import layer_series, runs_of
from headstart.statistics.series import pearson

Array = npt.NDArray[np.float64]
CLASSIFY, RECONSTRUCT, SCRATCH = "fine-tuned", "reconstructing", "from scratch"
NOT_IDENTIFIABLE = (
    "Expansion is not identifiable: with exact inversions the pretrained network itself reaches 1 "
    "at every later layer, and nothing can exceed it."
)


@dataclass(frozen=True)
class Networks:
    """The runs of one model to one target, by what they do; `measurements` and its companions."""

    measurements: pd.DataFrame
    runs: pd.DataFrame
    transients: pd.DataFrame

    def does(self, name: str) -> pd.DataFrame:
        """Return the end values of runs that do this, debiased, of the first kind of seed."""
        rows = doing(self.measurements, name)
        kinds = [kind for kind in rows["kind"].unique() if kind]
        rows = rows[rows["form"].isin(["", "debiased"]) & rows["kind"].isin(["", *kinds[:1]])]
        end = rows.groupby(["seed", "arm", "target_seed"])["target_epoch"].transform("max")
        return rows[rows["target_epoch"] == end]

    def diagonal(self, name: str, measure: str) -> Array | None:
        """Return "networks layers" of a measure, layer against itself; None where nobody measured it."""
        rows = self.does(name)
        rows = rows[(rows["measure"] == measure) & (rows["layer"] == rows["reference_layer"])]
        if rows.empty:
            return None
        return rows.pivot_table(
            index="seed", columns="layer", values="value", dropna=False
        ).to_numpy(dtype=float)

    def grid(self, name: str, measure: str) -> pd.DataFrame:
        """Return the cells of a grid with their intervals over images, one row per network and cell."""
        rows = self.does(name)
        return rows[(rows["measure"] == measure) & rows["value"].notna()]


def doing(table: pd.DataFrame, name: str) -> pd.DataFrame:
    """Return the rows of runs that do this."""
    mode = "reconstruct" if name == RECONSTRUCT else "finetune"
    return table[(table["mode"] == mode) & (table["random_start"] == (name == SCRATCH))]


def missing(name: str) -> Finding:
    """Return the finding where no run does what a claim is about, or it was not measured."""
    return Finding("not measured here", f"No run {name} was measured for this.")


def early(values: Array) -> Array:
    """Return the first half of the layers."""
    return values[:, : max(1, values.shape[1] // 2)]


def late(values: Array) -> Array:
    """Return the second half of the layers."""
    return values[:, max(1, values.shape[1] // 2) :]


def above_zero(values: Array, text: Callable[[str], str]) -> Finding:
    """Judge one number per network: supported where its mean is surely above zero.

    `text` puts the number, written with its interval, into a sentence.
    """
    interval = mean_interval(values)
    return bounded(_status(interval), text(words(interval)), interval)


def _status(interval: Interval) -> Status:
    if interval.low > 0:
        return "supported"
    return "contradicted" if interval.high < 0 else "undetermined"


def words(interval: Interval) -> str:
    """Return an estimate with its interval and the number of networks."""
    if np.isnan(interval.estimate):
        return f"undefined ({interval.reason})"
    spread = (
        "no interval"
        if np.isnan(interval.low)
        else f"95 % interval {interval.low:+.3f} to {interval.high:+.3f}"
    )
    return f"{interval.estimate:+.3f} ({spread}, n = {interval.n} source networks)"


def correlation_interval(r: npt.ArrayLike) -> Interval:
    """Return the mean of correlations with its t-interval, both on Fisher's scale z = artanh r."""
    found = mean_interval(np.arctanh(np.clip(np.asarray(r, dtype=float), -1 + 1e-9, 1 - 1e-9)))
    mean, low, high = (float(np.tanh(z)) for z in (found.estimate, found.low, found.high))
    return Interval(mean, low, high, found.n, "t on z", found.reason)


def everywhere(differences: Array, text: str) -> Finding:
    """Judge a difference that is claimed at every layer: all intervals must lie above zero."""
    intervals = [mean_interval(column) for column in differences.T]
    above = sum(interval.low > 0 for interval in intervals)
    below = sum(interval.high < 0 for interval in intervals)
    mean = mean_interval(differences.mean(axis=1))
    said = (
        f"{text}: {words(mean)} on average over layers; the interval lies above zero at {above} and "
        f"below zero at {below} of {len(intervals)} layers."
    )
    status: Status = "undetermined"
    if above == len(intervals):
        status = "supported"
    elif below:
        status = "contradicted"
    return bounded(status, said, mean)


def learning_is_not_forgetting(networks: Networks) -> Finding:
    """1: over layers, learning and forgetting agree less for the unlike task."""
    r = {}
    for name in (CLASSIFY, RECONSTRUCT):
        both = [networks.diagonal(name, measure) for measure in ("learning", "forgetting")]
        if both[0] is None or both[1] is None:
            return missing(name)
        r[name] = np.array([pearson(x, y) for x, y in zip(*both, strict=True)])
    listed = ", ".join(f"{name} {values.mean():.2f}" for name, values in r.items())
    return above_zero(
        r[CLASSIFY] - r[RECONSTRUCT],
        lambda n: f"Correlation of learning and forgetting over layers: {listed}; difference {n}.",
    )


def similar_yet_forgotten(networks: Networks) -> Finding:
    """2: early layers forget more invariance than CKA diverges."""
    forgetting = networks.diagonal(CLASSIFY, "forgetting")
    divergence = networks.diagonal(CLASSIFY, "cka_divergence")
    if forgetting is None or divergence is None:
        return missing(CLASSIFY)
    listed = f"forgetting {early(forgetting).mean():.3f}, divergence {early(divergence).mean():.3f}"
    return above_zero(
        early(forgetting - divergence).mean(axis=1),
        lambda n: f"Early layers, fine-tuned: {listed}; difference {n}.",
    )


def early_layers_change(networks: Networks) -> Finding:
    """3: the first layer changes more than one in the middle (the fifth of twelve)."""
    both = [networks.diagonal(CLASSIFY, measure) for measure in ("learning", "forgetting")]
    if both[0] is None or both[1] is None:
        return missing(CLASSIFY)
    change = (both[0] + both[1]) / 2
    middle = min(max(1, round(change.shape[1] * 5 / 12) - 1), change.shape[1] - 1)
    return above_zero(
        change[:, 0] - change[:, middle],
        lambda n: (
            f"Mean of learning and forgetting: {change[:, 0].mean():.3f} at layer 1, "
            f"{change[:, middle].mean():.3f} at layer {middle + 1}; difference {n}."
        ),
    )


def new_task_learns_more(networks: Networks) -> Finding:
    """4: reconstruction learns more than classification at every layer."""
    reconstruct = networks.diagonal(RECONSTRUCT, "learning")
    classify = networks.diagonal(CLASSIFY, "learning")
    if reconstruct is None or classify is None or reconstruct.shape != classify.shape:
        return missing(RECONSTRUCT)
    return everywhere(reconstruct - classify, "Learning, reconstructing minus fine-tuned")


def low_level_task_forgets_earlier(networks: Networks) -> Finding:
    """5: reconstruction forgets more at early layers."""
    reconstruct = networks.diagonal(RECONSTRUCT, "forgetting")
    classify = networks.diagonal(CLASSIFY, "forgetting")
    if reconstruct is None or classify is None or reconstruct.shape != classify.shape:
        return missing(RECONSTRUCT)
    return above_zero(
        early(reconstruct - classify).mean(axis=1),
        lambda n: f"Forgetting at early layers, reconstructing minus fine-tuned: {n}.",
    )


def reusable_early_invariances(networks: Networks) -> Finding:
    """6: from the pretrained start, early layers change less than from scratch, in both metrics."""
    differences = []
    for measure in ("learning", "forgetting"):
        scratch = networks.diagonal(SCRATCH, measure)
        tuned = networks.diagonal(CLASSIFY, measure)
        if scratch is None or tuned is None or scratch.shape != tuned.shape:
            return missing(SCRATCH)
        differences.append(early(scratch - tuned).mean(axis=1))
    listed = " and ".join(f"{values.mean():+.3f}" for values in differences)
    return above_zero(
        np.minimum(*differences),
        lambda n: (
            f"Early layers, from scratch minus fine-tuned: {listed} (learning and forgetting); "
            f"the smaller of both {n}."
        ),
    )


def large_source_helps_late(networks: Networks) -> Finding:
    """7: from given weights, late layers change less than from a source task trained here."""
    return _between_sources(networks, "forgetting", late, "Forgetting at late layers")


def cka_misses_it(networks: Networks) -> Finding:
    """8: CKA divergence ranks the two sources the other way round."""
    return _between_sources(networks, "cka_divergence", lambda x: -x, "CKA divergence, sign turned")


def _between_sources(
    networks: Networks, measure: str, part: Callable[[Array], Array], text: str
) -> Finding:
    tuned = doing(networks.runs, CLASSIFY)
    given = {bool(value) for value in tuned["given_weights"]}
    if given != {True, False}:
        which = "given weights" if given == {True} else "a source task trained here"
        reason = f"Every fine-tuned run starts from {which}: two sources are needed to compare."
        return Finding("not measured here", reason)
    found = []
    for from_weights in (False, True):
        keys = tuned.loc[tuned["given_weights"] == from_weights, ["source", "model"]]
        chosen = networks.measurements.merge(keys.drop_duplicates())
        values = Networks(chosen, networks.runs, networks.transients).diagonal(CLASSIFY, measure)
        if values is None:
            return missing(CLASSIFY)
        found.append(part(values).mean(axis=1))
    if len(found[0]) != len(found[1]):
        return Finding("undetermined", "The two sources have different numbers of networks.")
    return above_zero(
        found[0] - found[1],
        lambda n: f"{text}, from a source trained here minus from given weights: {n}.",
    )


def compression(networks: Networks) -> Finding:
    """9: excess compression beyond every control, over all cells j < i, for fine-tuned runs."""
    kinds = [name for name in ("random", "scratch")
             if len(networks.grid(CLASSIFY, f"excess_over_{name}"))]  # fmt: skip
    if not kinds:
        return missing(CLASSIFY)
    tables = [networks.grid(CLASSIFY, f"excess_over_{name}") for name in kinds]
    cell = ["seed", "arm", "target_seed", "reference_layer", "layer"]
    table = pd.concat(tables).sort_values("value").drop_duplicates(cell)
    sure = table.assign(sure=table["low"] > 0).groupby(["reference_layer", "layer"])["sure"].all()
    listed = ", ".join(f"{i} to {j}" for i, j in sure[sure].index) or "none"
    flow = networks.grid(CLASSIFY, "flow")
    positive = flow[flow["layer"] < flow["reference_layer"]].groupby(["reference_layer", "layer"])
    largest = positive["value"].mean().max()
    return above_zero(
        table.groupby("seed")["value"].mean().to_numpy(dtype=float),
        lambda n: (
            f"Excess compression beyond the strictest control, mean over cells j < i: {n}. Cells whose "
            f"interval over images lies above zero in every network (from block to block): {listed}. "
            f"The paper's flow reaches {largest:+.3f} there, without a null."
        ),
    )


def expansion(networks: Networks) -> Finding:
    """10: nothing can be said, whatever the flow."""
    flow = networks.grid(RECONSTRUCT, "flow")
    later = flow[flow["layer"] > flow["reference_layer"]]
    if later.empty:
        return Finding("undetermined", NOT_IDENTIFIABLE)
    largest = later.groupby(["reference_layer", "layer"])["value"].mean().max()
    return Finding(
        "undetermined",
        f"{NOT_IDENTIFIABLE} The paper's flow, reconstructing, reaches {largest:+.3f}.",
    )


def peak_on_the_way(networks: Networks) -> Finding:
    """11: late layers forget most before the end; the epoch is chosen on the other networks."""
    curves = []
    for _, rows in runs_of(doing(networks.measurements, CLASSIFY)):
        mine = rows[(rows["measure"] == "forgetting") & rows["value"].notna()]
        seen = [int(epoch) for epoch in sorted(mine["target_epoch"].unique()) if epoch > 0]
        curves.append((tuple(seen), late(layer_series(rows, "forgetting", seen)).mean(axis=1)))
    epochs = curves[0][0] if curves else ()
    if len(epochs) < 4 or len(curves) < 2 or any(each != epochs for each, _ in curves):
        reason = "Two runs are needed that were followed at the same four target epochs or more."
        return Finding("not measured here", reason)
    values = np.stack([curve for _, curve in curves])
    chosen = [int(np.delete(values, i, axis=0).mean(axis=0).argmax()) for i in range(len(values))]
    gap = values[np.arange(len(values)), chosen] - values[:, -1]
    listed = ", ".join(str(epochs[i]) for i in sorted(set(chosen)))
    return above_zero(
        gap,
        lambda n: (
            "Forgetting of late layers at the epoch where the other networks forget most "
            f"({listed} of {epochs[-1]}), minus that at the end: {n}."
        ),
    )


def std_follows_robustness(networks: Networks) -> Finding:
    """12: the std of forgetting follows robustness, also in changes from epoch to epoch."""
    parts = _transients(networks, CLASSIFY)
    if parts is None:
        return missing(CLASSIFY)
    whole, changes = (correlation_interval(parts[name]) for name in ("whole", "differences"))
    text = (
        f"Pearson's r of the std of forgetting with accuracy under corruption over epochs: {words(whole)}; "
        f"of their changes: {words(changes)}. Both series start with the same transient, so that "
        "only the changes can show a lasting relation."
    )
    status: Status = "undetermined"
    if whole.low > 0 and changes.low > 0:
        status = "supported"
    elif whole.high < 0 or changes.high < 0:
        status = "contradicted"
    return bounded(status, text, whole)


def early_prefix_correlates_more(networks: Networks) -> Finding:
    """13: r over the first epochs is above r over all of them."""
    parts = _transients(networks, CLASSIFY)
    if parts is None:
        return missing(CLASSIFY)
    return above_zero(
        parts["prefix"] - parts["whole"],
        lambda n: (
            f"Pearson's r over the first three epochs that were measured minus that over all: {n}. "
            "All prefixes share the first transient."
        ),
    )


def holds_across_settings(networks: Networks) -> Finding:
    """14: the correlation holds in every setting of the optimiser."""
    tuned = doing(networks.runs, CLASSIFY)
    arms: Sequence[str] = sorted(tuned["arm"].unique())
    if len(arms) < 2:
        reason = f"Every fine-tuned run belongs to the arm {arms[0]}." if arms else "No run."
        return Finding("not measured here", reason)
    values = []
    for arm in arms:
        rows = networks.transients[
            (networks.transients["arm"] == arm) & (networks.transients["part"] == "whole")
        ]
        values.append(correlation_interval(rows["r"]) if len(rows) else None)
    if any(value is None for value in values):
        return Finding("not measured here", "Not every arm was followed over epochs.")
    known = [value for value in values if value]
    lowest = min(known, key=lambda interval: interval.estimate)
    listed = ", ".join(f"{a} {v.estimate:+.2f}" for a, v in zip(arms, known, strict=True))
    text = f"Pearson's r by arm: {listed}; the smallest {words(lowest)}."
    return bounded(_status(lowest), text, lowest)


def _transients(networks: Networks, name: str) -> dict[str, Array] | None:
    """Return r of the paper's aggregate by part of the run, one value per run in the same order."""
    arms = doing(networks.runs, name)["arm"].unique()
    rows = networks.transients[networks.transients["arm"].isin(arms)]
    shortest = rows[(rows["part"] == "prefix") & (rows["epochs"] == 3)]
    parts = {part: rows[rows["part"] == part] for part in ("whole", "differences")}
    if rows.empty or len(shortest) != len(parts["whole"]):
        return None
    order = ["arm", "seed", "source_epoch", "target_seed"]
    found = {**parts, "prefix": shortest}
    return {
        part: each.sort_values(order)["r"].to_numpy(dtype=float) for part, each in found.items()
    }
