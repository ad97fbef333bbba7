"""What the tables of the invariance study say of claims I1 to I10 of arXiv 2307.06006: layers at the end, and flow.

"Early" are the layers of the first half, "late" those of the second. Whatever is claimed of layers is
turned into a number that should lie above zero.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import stats

from headstart.statistics.claim_results import ClaimResult, Status, bounded
from headstart.statistics.intervals import mean_interval
from headstart.studies.invariance.columns import EMBEDDING
from headstart.studies.invariance.identifiability import EPSILON, SMALLEST, not_identifiable
from headstart.studies.invariance.network_tables import (
    CLASSIFY,
    RECONSTRUCT,
    SCRATCH,
    Array,
    Networks,
    above_zero,
    doing,
    everywhere,
    largest_elsewhere,
    status_of,
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


AGREE = 0.0125
"""One-sided level at which two profiles over layers agree: both ways together err in 2.5 % of cases."""


def learning_is_not_forgetting(networks: Networks) -> ClaimResult:
    """1: learning and forgetting have one profile over layers for the like task, and not for the unlike.

    Networks may share profiles that have nothing to do with each other, whose r is as much the same in
    all of them: the networks' interval alone would be sure of any such r. So that of the mean profiles
    must also be larger than layers in random order give, for one task and not for the other.
    """
    if unclear := not_identifiable(networks, CLASSIFY, RECONSTRUCT):
        return unclear
    r, p = {}, {}
    for name in (CLASSIFY, RECONSTRUCT):
        learning, forgetting = (networks.diagonal(name, m) for m in ("learning", "forgetting"))
        if learning is None or forgetting is None:
            return missing(name)
        r[name] = np.array([pearson(x, y) for x, y in zip(learning, forgetting, strict=True)])
        p[name] = _agreement(learning.mean(axis=0), forgetting.mean(axis=0))
    listed = ", ".join(
        f"{name} {values.mean():.2f} (p = {p[name]:.2g})" for name, values in r.items()
    )
    difference = mean_interval(r[CLASSIFY] - r[RECONSTRUCT])
    alike = {name: value <= AGREE for name, value in p.items()}
    status: Status = "undetermined"
    if alike[CLASSIFY] != alike[RECONSTRUCT]:
        status = status_of(difference)
    return bounded(
        status,
        "Correlation of learning and forgetting over layers, and how often layers in random order reach "
        f"that of the mean profiles: {listed}; difference {words(difference)}. It counts where one of the "
        f"two is surely a correlation (p <= {AGREE:g}) and the other is not.",
        difference,
    )


def _agreement(x: Array, y: Array) -> float:
    """Return the one-sided p-value of Pearson's r over layers; 1 where it is undefined."""
    if len(x) < 3 or np.isnan(pearson(x, y)):
        return 1.0
    return float(stats.pearsonr(x, y, alternative="greater").pvalue)


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
    if unclear := not_identifiable(networks, CLASSIFY):
        return unclear
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
    if unclear := not_identifiable(networks, CLASSIFY, RECONSTRUCT):
        return unclear
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
    if unclear := not_identifiable(networks, CLASSIFY):
        return unclear
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
    found = _between_sources(networks, "forgetting", late, "Forgetting at late layers")
    if found.status == "not measured here":
        return found
    return not_identifiable(networks, CLASSIFY) or found


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
        values = networks.from_weights(from_weights).diagonal(CLASSIFY, metric)
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
    "Expansion is not identifiable: where all is read and inversions are exact, the pretrained network "
    "itself reaches 1 at every later layer, and nothing can exceed it; where less is read, no control is known."
)


def compression(networks: Networks) -> ClaimResult:
    """9: excess compression beyond every control in some cell j < i, for fine-tuned runs.

    Cells in which the pretrained network itself is near 1 can show none and are left out; among the
    others each network is evaluated at the cell that is largest in the other networks. Not to exceed a
    control contradicts nothing: one that replaces only blocks after j has C(i, j) = 0 exactly, so that C
    beyond the strictest is never above C. What contradicts the claim is C itself, which is 0 for an
    unchanged network, surely below `SMALLEST` in every cell and below zero on average, and that also
    beyond what the embedding alone does.
    """
    own, excess = (
        networks.grid(CLASSIFY, name) for name in ("stir_pt_given_pt", "excess_compression")
    )
    over = {
        kind: grid
        for kind in ("random", "scratch", EMBEDDING)
        if (grid := networks.grid(CLASSIFY, f"excess_over_{kind}")) is not None
    }
    if not over or own is None or excess is None:
        return missing(CLASSIFY)
    earlier = np.tril(np.ones(own.shape[1:], dtype=bool), -1)
    cells = np.argwhere(earlier & (own.mean(axis=0) < 1 - EPSILON))
    if not len(cells):
        return ClaimResult(
            "not identifiable here",
            f"The pretrained network itself reaches {own.mean(axis=0)[earlier].min(initial=1.0):.4f} or "
            "more in every cell j < i: nothing can exceed it.",
        )
    rows, columns = cells.T
    beyond, chosen = largest_elsewhere(np.min([*over.values()], axis=0)[:, rows, columns])
    listed = ", ".join(f"{i + 1} to {j + 1}" for i, j in cells[sorted(set(chosen))])
    found = mean_interval(beyond)
    plain = mean_interval(excess[np.arange(len(excess)), rows[chosen], columns[chosen]])
    text = (
        f"Excess compression beyond the strictest control, in the cell where the other networks have most "
        f"(from block {listed}, of {len(cells)} that can show any): {words(found)}; without a control "
        f"{words(plain)}. The paper's flow reaches {_largest_flow(networks):+.3f} there, without a null."
    )
    if found.low > 0:
        return bounded("supported", text, found)
    losses = [excess, *(over[name] for name in (EMBEDDING,) if name in over)]
    if all(_nowhere(each[:, rows, columns]) for each in losses):
        text += (
            f" Earlier blocks share less with late ones than before, for which forgetting is enough: "
            f"{SMALLEST:g} or more is ruled out in every cell, whatever the control."
        )
        return bounded("contradicted", text, found)
    if found.high < 0:
        text += " It is not above the control, as it would not be without any fine-tuning."
    return bounded("undetermined", text, found)


def _nowhere(cells: Array) -> bool:
    """Return whether "networks cells" surely holds no positive value worth naming."""
    below = all(mean_interval(cell).high < SMALLEST for cell in cells.T)
    return below and mean_interval(cells.mean(axis=1)).high < 0


def _largest_flow(networks: Networks) -> float:
    flow = networks.grid(CLASSIFY, "flow")
    if flow is None or flow.shape[1] < 2:
        return float("nan")
    return float(flow.mean(axis=0)[np.tril_indices(flow.shape[1], -1)].max())


def expansion(networks: Networks) -> ClaimResult:
    """10: nothing can be said, whatever the flow."""
    flow = networks.grid(RECONSTRUCT, "flow")
    beside = ""
    if flow is not None and flow.shape[1] > 1:
        largest = flow.mean(axis=0)[np.triu_indices(flow.shape[1], 1)].max()
        beside = f" The paper's flow, reconstructing, reaches {largest:+.3f}."
    return ClaimResult("not identifiable here", NOT_IDENTIFIABLE + beside)
