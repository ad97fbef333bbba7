"""Which interactions stand out, how much of v few of them explain, and noise by order."""

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor

from headstart.metrics.interactions.transform import (
    count_players,
    mobius,
    orders,
    walsh,
    without_empty_set,
    zeta,
)

Scope = Literal["model", "sample"]
Filter = Literal["none", "either", "both"]
Table = Float[Tensor, "*batch subsets"]


def largest(interactions: Table, scope: Scope = "model") -> Float[Tensor, "*batch 1"]:
    """Return max |I(S)| over S ≠ ∅, over all samples (`model`) or within each (`sample`).

    arXiv 2410.08455 does not say which; both occur in its authors' earlier work.
    """
    if scope not in ("model", "sample"):
        raise ValueError(
            f"salience scope is {scope!r}: choose 'model' (one τ for all samples) or 'sample'"
        )
    found = without_empty_set(interactions).abs().amax(-1, keepdim=True)
    return found.amax().expand_as(found) if scope == "model" else found


def salience_threshold(
    interactions: Table, fraction: float = 0.05, scope: Scope = "model"
) -> Float[Tensor, "*batch 1"]:
    """Return τ = fraction · max |I(S)|, the maximum as in `largest`."""
    if not 0 <= fraction < 1:
        raise ValueError(
            f"the salience fraction is {fraction}: choose one from 0 up to, not including, 1"
        )
    return fraction * largest(interactions, scope)


def salient(
    interactions: Table, fraction: float = 0.05, scope: Scope = "model"
) -> Bool[Tensor, "*batch subsets"]:
    """Return Ω = {S ≠ ∅ : |I(S)| > τ}; an interaction that equals τ is not salient."""
    threshold = salience_threshold(interactions, fraction, scope)
    return without_empty_set(interactions).abs() > threshold


def keep_salient(
    pretrained: Table,
    finetuned: Table,
    rule: Filter = "none",
    fraction: float = 0.05,
    scope: Scope = "model",
) -> tuple[Table, Table]:
    """Return both tables with zeros where S is not salient in `either` network, or not in `both`.

    `none`, the primary choice, returns them as they are. Whether arXiv 2410.08455 filters before it
    decomposes is unknown.
    """
    if rule not in ("none", "either", "both"):
        raise ValueError(f"the salience filter is {rule!r}: choose 'none', 'either' or 'both'")
    if rule == "none":
        return pretrained, finetuned
    first, second = salient(pretrained, fraction, scope), salient(finetuned, fraction, scope)
    kept = first | second if rule == "either" else first & second
    return pretrained.where(kept, 0), finetuned.where(kept, 0)


def sparsity_curve(interactions: Table) -> Float[Tensor, "*batch rank"]:
    """Return |I(S)| / max |I| over S ≠ ∅, strongest first; NaN where all are zero."""
    ranked = interactions[..., 1:].abs().sort(dim=-1, descending=True).values
    return ranked / ranked[..., :1]


def explained_by_walsh(values: Table, kept: Sequence[int]) -> Float64[Tensor, "*batch kept"]:
    """Return how much of the variance of v over all masks the k largest Walsh coefficients explain.

    In the units of v², one column for each k in `kept`. The basis is orthogonal, so leaving the others
    out is the fit by least squares.
    """
    squares = walsh(values)[..., 1:].square().sort(dim=-1, descending=True).values
    return squares.cumsum(-1)[..., [k - 1 for k in kept]]


def explained_by_and(
    values: Float[Tensor, "images subsets"], kept: Sequence[int]
) -> Float64[Tensor, "images kept"]:
    """Return how much of the variance of v over all masks k AND terms explain, fitted by least squares.

    The terms are those of the largest |I(S)|·2^{−|S|/2}: the norm of a term over masks, and the
    strength in units of the noise of its order. Their basis, 1[S ⊆ T], is not orthogonal: kept
    without a new fit, the largest terms of an expansion are no approximation of it. A constant is
    fitted beside them. Units and columns are those of `explained_by_walsh`.
    """
    sizes = orders(count_players(values)).to(values.device)
    weights = 2.0 ** (-sizes.double() / 2)
    strengths = without_empty_set(mobius(values)).abs() * weights
    chosen = strengths[:, 1:].topk(max(kept), dim=-1).indices + 1
    chosen = torch.cat([torch.zeros_like(chosen[:, :1]), chosen], dim=-1)
    # Means over masks of products of terms, and of a term with v; terms scaled to norm one.
    unions = chosen.unsqueeze(-1) | chosen.unsqueeze(-2)
    scale = 1 / weights[chosen]
    gram = 2.0 ** -sizes[unions].double() * scale.unsqueeze(-1) * scale.unsqueeze(-2)
    supersets = zeta(values.flip(-1)).flip(-1) / values.shape[-1]
    products = supersets.gather(-1, chosen) * scale
    factor = torch.linalg.cholesky(gram)
    # The factor of the first k rows is the upper left part of that of all: one solution serves every k.
    parts = torch.linalg.solve_triangular(factor, products.unsqueeze(-1), upper=False).squeeze(-1)
    return parts[:, 1:].square().cumsum(-1)[:, [k - 1 for k in kept]]


def noise_floor(first: Table, second: Table) -> Float64[Tensor, " order"]:
    """Return the noise of I(S) for orders 1 … n from two evaluations of the same scores v(x_T).

    The evaluations differ in nothing but their arithmetic, such as the chunk size. Each column is
    the root mean square of the difference of the two dividends, divided by √2: the standard
    deviation of one. An order whose noise exceeds τ of `salience_threshold` says nothing.
    """
    if first.shape != second.shape:
        raise ValueError(
            f"the two evaluations have shapes {tuple(first.shape)} and {tuple(second.shape)}: "
            "evaluate the same images on the same players twice"
        )
    players = count_players(first)
    difference = mobius(first.to(torch.float64) - second.to(torch.float64)).reshape(-1, 2**players)
    mean_square = difference.square().mean(0) / 2
    sizes = orders(players).to(first.device)
    total = mean_square.new_zeros(players + 1).index_add(0, sizes, mean_square)
    return (total / sizes.bincount())[1:].sqrt()
