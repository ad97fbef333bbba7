"""What the tables of the invariance study say of claims I1 to I10 of arXiv 2307.06006: layers at the end, and flow.

"Early" are the layers of the first half, "late" those of the second. Whatever is claimed of layers is
turned into a number that should lie above zero.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd

from headstart.statistics.claim_results import ClaimResult, bounded
from headstart.statistics.intervals import mean_interval
from headstart.statistics.measurements import select
from headstart.studies.invariance.network_tables import (
    CLASSIFY,
    NETWORK,
    RECONSTRUCT,
    SCRATCH,
    Array,
    Networks,
    above_zero,
    doing,
    everywhere,
    words,
)
from headstart.studies.invariance.series import pearson


def missing(name: str) -> ClaimResult:
    """Return the result where no run does what a claim is about, or it was not measured."""
    return ClaimResult("not measured here", f"No run {name} was measured for this.")


def early(values: Array) -> Array:
    """Return the first half of the layers."""
    return values[:, : max(1, values.shape[1] // 2)]


def late(values: Array) -> Array:
    """Return the second half of the layers."""
    return values[:, max(1, values.shape[1] // 2) :]


def learning_is_not_forgetting(networks: Networks) -> ClaimResult:
    """1: over layers, learning and forgetting agree less for the unlike task."""
    r = {}
    for name in (CLASSIFY, RECONSTRUCT):
        both = [networks.diagonal(name, metric) for metric in ("learning", "forgetting")]
        if both[0] is None or both[1] is None:
            return missing(name)
        r[name] = np.array([pearson(x, y) for x, y in zip(*both, strict=True)])
    listed = ", ".join(f"{name} {values.mean():.2f}" for name, values in r.items())
    return above_zero(
        r[CLASSIFY] - r[RECONSTRUCT],
        lambda n: f"Correlation of learning and forgetting over layers: {listed}; difference {n}.",
    )


def similar_yet_forgotten(networks: Networks) -> ClaimResult:
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


def early_layers_change(networks: Networks) -> ClaimResult:
    """3: the first layer changes more than one in the middle (the fifth of twelve)."""
    learning, forgetting = (
        networks.diagonal(CLASSIFY, name) for name in ("learning", "forgetting")
    )
    if learning is None or forgetting is None:
        return missing(CLASSIFY)
    change = (learning + forgetting) / 2
    middle = min(max(1, round(change.shape[1] * 5 / 12) - 1), change.shape[1] - 1)
    return above_zero(
        change[:, 0] - change[:, middle],
        lambda n: (
            f"Mean of learning and forgetting: {change[:, 0].mean():.3f} at layer 1, "
            f"{change[:, middle].mean():.3f} at layer {middle + 1}; difference {n}."
        ),
    )


def new_task_learns_more(networks: Networks) -> ClaimResult:
    """4: reconstruction learns more than classification at every layer."""
    reconstruct = networks.diagonal(RECONSTRUCT, "learning")
    classify = networks.diagonal(CLASSIFY, "learning")
    if reconstruct is None or classify is None or reconstruct.shape != classify.shape:
        return missing(RECONSTRUCT)
    return everywhere(reconstruct - classify, "Learning, reconstructing minus fine-tuned")


def low_level_task_forgets_earlier(networks: Networks) -> ClaimResult:
    """5: reconstruction forgets more at early layers."""
    reconstruct = networks.diagonal(RECONSTRUCT, "forgetting")
    classify = networks.diagonal(CLASSIFY, "forgetting")
    if reconstruct is None or classify is None or reconstruct.shape != classify.shape:
        return missing(RECONSTRUCT)
    return above_zero(
        early(reconstruct - classify).mean(axis=1),
        lambda n: f"Forgetting at early layers, reconstructing minus fine-tuned: {n}.",
    )


def reusable_early_invariances(networks: Networks) -> ClaimResult:
    """6: from the pretrained start, early layers change less than from scratch, in both metrics."""
    differences = []
    for metric in ("learning", "forgetting"):
        scratch = networks.diagonal(SCRATCH, metric)
        tuned = networks.diagonal(CLASSIFY, metric)
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


def large_source_helps_late(networks: Networks) -> ClaimResult:
    """7: from given weights, late layers change less than from a source task trained here."""
    return _between_sources(networks, "forgetting", late, "Forgetting at late layers")


def cka_misses_it(networks: Networks) -> ClaimResult:
    """8: CKA divergence ranks the two sources the other way round."""
    return _between_sources(networks, "cka_divergence", lambda x: -x, "CKA divergence, sign turned")


def _between_sources(
    networks: Networks, metric: str, part: Callable[[Array], Array], text: str
) -> ClaimResult:
    tuned = doing(networks.runs, CLASSIFY)
    given = {bool(value) for value in tuned["given_weights"]}
    if given != {True, False}:
        which = "given weights" if given == {True} else "a source task trained here"
        reason = f"Every fine-tuned run starts from {which}: two sources are needed to compare."
        return ClaimResult("not measured here", reason)
    found = []
    for from_weights in (False, True):
        measured = select(networks.measurements, given_weights=from_weights)
        values = replace(networks, measurements=measured).diagonal(CLASSIFY, metric)
        if values is None:
            return missing(CLASSIFY)
        found.append(part(values).mean(axis=1))
    if len(found[0]) != len(found[1]):
        return ClaimResult("undetermined", "The two sources have different numbers of networks.")
    return above_zero(
        found[0] - found[1],
        lambda n: f"{text}, from a source trained here minus from given weights: {n}.",
    )


NOT_IDENTIFIABLE = (
    "Expansion is not identifiable: with exact inversions the pretrained network itself reaches 1 "
    "at every later layer, and nothing can exceed it."
)


def compression(networks: Networks) -> ClaimResult:
    """9: excess compression beyond every control, over all cells j < i, for fine-tuned runs.

    Not to exceed a control contradicts nothing: a control that replaces only blocks after j has
    C(i, j) = 0 exactly, so that C beyond the strictest is never above C, and lies at or below zero
    already where nothing was fine-tuned. What contradicts the claim is C itself, which is 0 for an
    unchanged network, surely below zero: then a mean above zero is ruled out without any control.
    """
    kinds = [name for name in ("random", "scratch")
             if len(networks.grid(CLASSIFY, f"excess_over_{name}"))]  # fmt: skip
    if not kinds:
        return missing(CLASSIFY)
    tables = [networks.grid(CLASSIFY, f"excess_over_{name}") for name in kinds]
    cell = [*NETWORK, "arm", "source_epoch", "target_seed", "reference_layer", "layer"]
    table = pd.concat(tables).sort_values("value").drop_duplicates(cell)
    beyond = mean_interval(_by_network(table))
    plain = mean_interval(_by_network(networks.grid(CLASSIFY, "excess_compression")))
    sure = table.assign(sure=table["low"] > 0).groupby(["reference_layer", "layer"])["sure"].all()
    listed = ", ".join(f"{i} to {j}" for i, j in sure[sure].index) or "none"
    text = (
        f"Excess compression, mean over cells j < i: {words(plain)}; beyond the strictest control: "
        f"{words(beyond)}. Cells whose interval over images lies above zero in every network (from block "
        f"to block): {listed}. The paper's flow reaches {_largest_flow(networks):+.3f} there, without a "
        "null."
    )
    if beyond.low > 0:
        return bounded("supported", text, beyond)
    if plain.high < 0:
        text += (
            " Earlier blocks share less with late ones than before, on average, for which forgetting "
            "is enough: a mean above zero is ruled out, whatever the control."
        )
        return bounded("contradicted", text, beyond)
    if beyond.high < 0:
        text += " It is not above the control, as it would not be without any fine-tuning."
    return bounded("undetermined", text, beyond)


def _by_network(cells: pd.DataFrame) -> Array:
    return cells.groupby(NETWORK)["value"].mean().to_numpy(dtype=float)


def _largest_flow(networks: Networks) -> float:
    flow = networks.grid(CLASSIFY, "flow")
    earlier = flow[flow["layer"] < flow["reference_layer"]].groupby(["reference_layer", "layer"])
    return float(earlier["value"].mean().max())


def expansion(networks: Networks) -> ClaimResult:
    """10: nothing can be said, whatever the flow."""
    flow = networks.grid(RECONSTRUCT, "flow")
    later = flow[flow["layer"] > flow["reference_layer"]]
    if later.empty:
        return ClaimResult("undetermined", NOT_IDENTIFIABLE)
    largest = later.groupby(["reference_layer", "layer"])["value"].mean().max()
    return ClaimResult(
        "undetermined",
        f"{NOT_IDENTIFIABLE} The paper's flow, reconstructing, reaches {largest:+.3f}.",
    )
