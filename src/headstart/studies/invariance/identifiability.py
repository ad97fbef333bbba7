"""Could these networks show a claim about depth at all? Asked before any such claim is evaluated."""

from __future__ import annotations

import numpy as np
from scipy import stats

from headstart.statistics.claim_results import ClaimResult
from headstart.studies.invariance.columns import EMBEDDING, null
from headstart.studies.invariance.network_tables import Array, Networks

EPSILON = 0.05
"""How far below 1 a cell of the pretrained network's own grid must lie, to be told from 1."""
LEVEL = 0.05
SMALLEST = 0.01
"""A profile that spans less is flat, however sure its layers differ."""


def not_identifiable(networks: Networks, *names: str) -> ClaimResult | None:
    """Return why nothing can be said of depth from runs that do these things; None where it can, or was not measured.

    Two things must hold. Off the diagonal, the pretrained network's own STIR must lie below
    1 - `EPSILON`, in the median: else it does not matter which block was inverted. And forgetting, less
    what pt forgets behind the run's embedding alone, must differ between layers by more than networks
    do: else what looks like depth is decided where an image becomes tokens.
    """
    if any(networks.grid(name, "forgetting") is None for name in names):
        return None
    for name in names:
        grid = networks.grid(name, "stir_pt_given_pt")
        if grid is not None and (own := self_similarity(grid)) >= 1 - EPSILON:
            return ClaimResult(
                "not identifiable here",
                f"STIR of the pretrained network given another of its blocks is {own:.4f} in the median "
                f"({name}), not below {1 - EPSILON:g}: it does not matter which block was inverted.",
            )
        profile = beyond_embedding(networks, name)
        if profile is None:
            continue
        size, p = spread(profile)
        if size < SMALLEST or p > LEVEL:
            return ClaimResult(
                "not identifiable here",
                f"Forgetting beyond that of the embedding alone ({name}) spans {size:.3f} over the layers, "
                f"which is not more than networks differ (p = {p:.2g}): the profile is flat.",
            )
    return None


def self_similarity(grid: Array) -> float:
    """Return the median over cells off the diagonal of "networks references layers", averaged over networks."""
    mean = grid.mean(axis=0)
    return float(np.nanmedian(mean[~np.eye(len(mean), dtype=bool)])) if len(mean) > 1 else 1.0


def beyond_embedding(networks: Networks, name: str) -> Array | None:
    """Return "networks layers" of forgetting, less that of pt behind the embedding of the run."""
    forgetting = networks.diagonal(name, "forgetting")
    behind = networks.diagonal(name, "forgetting", null(EMBEDDING))
    if forgetting is None or behind is None:
        return forgetting
    return forgetting - behind


def spread(profiles: Array) -> tuple[float, float]:
    """Return the range of the mean profile of "networks layers", and p that all layers are equal.

    An F-test with networks as blocks, at the lower bound of Greenhouse and Geisser (1959): valid however
    layers depend on each other. p is NaN for one network.
    """
    networks, layers = profiles.shape
    means = profiles.mean(axis=0)
    if networks < 2 or layers < 2:
        return float(np.ptp(means)), float("nan")
    rest = profiles - profiles.mean(axis=1, keepdims=True) - means + profiles.mean()
    between = networks * np.square(means - means.mean()).sum()
    within = np.square(rest).sum() / (networks - 1)
    if within <= 1e-24:
        return float(np.ptp(means)), 0.0 if between > 1e-24 else 1.0
    return float(np.ptp(means)), float(stats.f.sf(between / within, 1, networks - 1))
