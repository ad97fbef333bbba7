"""Which interactions stand out: salience, sparsity, match of the strongest on all masks, and noise
by order.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor

from headstart.metrics.interactions.transform import (
    count_players,
    mobius,
    orders,
    without_empty_set,
    zeta,
)

Scope = Literal["model", "sample"]
Filter = Literal["none", "either", "both"]


def largest(
    interactions: Float[Tensor, "*batch subsets"], scope: Scope = "model"
) -> Float[Tensor, "*batch 1"]:
    """Return max |I(S)| over S ≠ ∅, in the units of I.

    The maximum runs over every sample and subset of the given table (`model`), or over the subsets
    of each sample alone (`sample`). arXiv 2410.08455 does not say which; both occur in its authors'
    earlier work.
    """
    if scope not in ("model", "sample"):
        raise ValueError(
            f"salience scope is {scope!r}: choose 'model' (one τ for all samples) or 'sample'"
        )
    found = without_empty_set(interactions).abs().amax(-1, keepdim=True)
    return found.amax().expand_as(found) if scope == "model" else found


def salience_threshold(
    interactions: Float[Tensor, "*batch subsets"], fraction: float = 0.05, scope: Scope = "model"
) -> Float[Tensor, "*batch 1"]:
    """Return τ = fraction · max |I(S)|, the maximum as in `largest`."""
    if not 0 <= fraction < 1:
        raise ValueError(
            f"the salience fraction is {fraction}: choose one from 0 up to, not including, 1"
        )
    return fraction * largest(interactions, scope)


def salient(
    interactions: Float[Tensor, "*batch subsets"], fraction: float = 0.05, scope: Scope = "model"
) -> Bool[Tensor, "*batch subsets"]:
    """Return Ω = {S ≠ ∅ : |I(S)| > τ}; an interaction that equals τ is not salient."""
    threshold = salience_threshold(interactions, fraction, scope)
    return without_empty_set(interactions).abs() > threshold


def keep_salient(
    pretrained: Float[Tensor, "*batch subsets"],
    finetuned: Float[Tensor, "*batch subsets"],
    rule: Filter = "none",
    fraction: float = 0.05,
    scope: Scope = "model",
) -> tuple[Float[Tensor, "*batch subsets"], Float[Tensor, "*batch subsets"]]:
    """Return both tables with zeros where S is not salient in `either` network, or not in `both`.

    `none`, the primary choice, returns them as they are. Whether arXiv 2410.08455 filters before it
    decomposes is unknown.
    """
    if rule == "none":
        return pretrained, finetuned
    first, second = salient(pretrained, fraction, scope), salient(finetuned, fraction, scope)
    if rule == "either":
        kept = first | second
    elif rule == "both":
        kept = first & second
    else:
        raise ValueError(f"the salience filter is {rule!r}: choose 'none', 'either' or 'both'")
    return pretrained.where(kept, 0), finetuned.where(kept, 0)


def strongest(
    interactions: Float[Tensor, "*batch subsets"], count: int
) -> Bool[Tensor, "*batch subsets"]:
    """Return which `count` non-empty subsets have the largest |I(S)| in each sample."""
    available = interactions.shape[-1] - 1
    if not 0 <= count <= available:
        raise ValueError(
            f"{count} interactions are requested, there are {available} non-empty subsets"
        )
    chosen = interactions[..., 1:].abs().topk(count, dim=-1).indices + 1
    return torch.zeros_like(interactions, dtype=torch.bool).scatter(-1, chosen, True)


def sparsity_curve(interactions: Float[Tensor, "*batch subsets"]) -> Float[Tensor, "*batch rank"]:
    """Return |I(S)| / max |I| over S ≠ ∅, strongest first; NaN where all are zero."""
    count_players(interactions)
    ranked = interactions[..., 1:].abs().sort(dim=-1, descending=True).values
    return ranked / ranked[..., :1]


def match_error(
    dividends: Float[Tensor, "*batch subsets"], kept: Sequence[int]
) -> Float64[Tensor, "*batch kept"]:
    """Return the root mean square error on all 2^n masks of the k strongest dividends alone.

    One column for each k in `kept`; I(∅) is always kept; units are those of v. Errors as for
    `strongest`.
    """
    errors = []
    for count in kept:
        dropped = without_empty_set(dividends).masked_fill(strongest(dividends, count), 0)
        errors.append(zeta(dropped).square().mean(-1).sqrt())
    return torch.stack(errors, dim=-1)


def noise_floor(
    first: Float[Tensor, "*batch subsets"], second: Float[Tensor, "*batch subsets"]
) -> Float64[Tensor, " order"]:
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
