"""Do networks gain more over scratch where scratch finds less of what they preserved?

A source network is one point, whatever number of source epochs and targets it was fine-tuned from and for:
they share its pre-training. Comparisons differ in level, so points are deviations from the mean of
their comparison, and only source networks of the same model and source task are exchanged.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import rankdata

from headstart.statistics.claim_results import ClaimResult
from headstart.statistics.hypotheses import ALPHA
from headstart.statistics.measurements import MEASURED, select
from headstart.studies.knowledge.tables import PERCENT

PERMUTATIONS = 9999
NETWORKS_TO_CORRELATE = 20
BLOCK = ["source", "model"]
NETWORK = [*BLOCK, "seed"]
CELL = [*BLOCK, "target", "init_epoch"]
NUMBERS = ["ratio", "gain"]

Array = npt.NDArray[np.float64]


def ratio_explains_accuracy(table: pd.DataFrame) -> ClaimResult:
    """K6: over source networks, does accuracy gain more where scratch finds less of what is preserved?"""
    return correlated(gains_and_ratios(table))


def correlated(points: pd.DataFrame) -> ClaimResult:
    """Return K6 of source networks, one row each: see `gains_and_ratios`."""
    rho, p = rank_correlation(points)
    if len(points) < NETWORKS_TO_CORRELATE or math.isnan(rho):
        reason = (
            f"A correlation over source networks needs {NETWORKS_TO_CORRELATE} or more, here are "
            f"{len(points)} that have others of their model and source task beside them; and it would "
            "say nothing of causes."
        )
        return ClaimResult("undetermined", reason)
    text = (
        f"Spearman's ρ = {rho:+.2f} (p = {p:.3g}, whole source networks permuted within their model and "
        f"source task) between exclusivity ratio and gain in accuracy over scratch, {len(points)} source "
        "networks, deviations from the mean of each comparison; a correlation, which says nothing of causes."
    )
    if p > 2 * ALPHA:
        return ClaimResult("undetermined", text, rho)
    return ClaimResult("supported" if rho < 0 else "contradicted", text, rho)


def gains_and_ratios(table: pd.DataFrame) -> pd.DataFrame:
    """Return one row per source network: exclusivity ratio and gain in accuracy over scratch.

    Columns: source, model, seed, ratio, gain (points); each is the mean, over source epochs and targets, of the
    deviation from the mean of all source networks there. A network that is alone there says nothing.
    """
    keys = [*CELL, "seed"]
    found = _accuracy_gains(table).merge(_ratios(table), on=keys).dropna(subset=["ratio", "gain"])
    cells = found.groupby(CELL)[NUMBERS]
    centred = found[NUMBERS] - cells.transform("mean")
    points = pd.concat([found[keys], centred], axis=1)[cells.transform("size") > 1]
    return points.groupby(NETWORK, as_index=False)[NUMBERS].mean()


def rank_correlation(
    points: pd.DataFrame, permutations: int = PERMUTATIONS, seed: int = 0
) -> tuple[float, float]:
    """Return Spearman's ρ of ratio and gain, and its two-sided p under exchanges within blocks.

    Both are NaN where no block has two networks.
    """
    x, y = (rankdata(points[name].to_numpy(float)) for name in ("ratio", "gain"))
    blocks = points.groupby(BLOCK).ngroup().to_numpy()
    if np.bincount(blocks).max(initial=0) < 2 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return float("nan"), float("nan")
    generator = np.random.default_rng(seed)
    # Sorted by block, then at random: every network takes the place of one of its block.
    places = np.argsort(blocks, kind="stable")
    keys = blocks + generator.random((permutations, len(blocks)))
    permuted = np.empty_like(keys)
    permuted[:, places] = y[np.argsort(keys, axis=1)]
    rho = _correlations(x, y[None])[0]
    more = np.abs(_correlations(x, permuted)) >= abs(rho) - 1e-12
    return float(rho), float((1 + more.sum()) / (1 + permutations))


def _correlations(x: Array, many: Array) -> Array:
    """Return Pearson's r of x [n] with each row [rows, n]."""
    left, right = x - x.mean(), many - many.mean(axis=1, keepdims=True)
    scale = np.sqrt((left**2).sum() * (right**2).sum(axis=1))
    found: Array = right @ left / scale
    return found


def _ratios(table: pd.DataFrame) -> pd.DataFrame:
    """Return the ratio of every source network, source epoch and target."""
    rows = select(
        table,
        metric="exclusivity",
        condition=MEASURED,
        variant="normalised",
        subset="all",
        order=None,
    ).rename(columns={"value": "ratio"})
    return rows.dropna(subset="seed")[[*CELL, "seed", "ratio"]]


def _accuracy_gains(table: pd.DataFrame) -> pd.DataFrame:
    """Return by how many points a network is more accurate than that from scratch."""
    ended = select(table, metric="accuracy_at_validation_best")
    keys = [*BLOCK, "target", "seed"]
    scratch = ended[ended["role"] == "scratch"].groupby(keys, as_index=False)["value"].mean()
    tuned = ended[ended["role"] == "finetuned"].merge(scratch, on=keys, suffixes=("", "_scratch"))
    tuned = tuned.assign(gain=PERCENT * (tuned["value"] - tuned["value_scratch"]))
    return tuned[[*CELL, "seed", "gain"]]
