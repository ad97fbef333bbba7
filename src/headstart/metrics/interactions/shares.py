"""Shares of knowledge by image and order, and how fast, directly and stably a run approaches a target.

`sizes` are the orders of a table's columns, where it is not over all 2^n subsets.
Each share is a part and a whole for every image; `resampling` makes a ratio of sums, or a mean of
ratios, of them. An image whose part or whole is NaN, or whose whole is zero, has no share.
arXiv 2410.08455 compares every run with its own end state, so that each of its curves ends at 1; a
target common to all runs, such as the fine-tuned end state, makes the curves comparable.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from headstart.metrics.interactions.decomposition import shared_effect
from headstart.metrics.interactions.salience import Scope, largest, salient
from headstart.metrics.interactions.transform import Sizes, order_profile, strength

Tables = Float[Tensor, "images *tables subsets"]
"""Interactions of every image; its tables, such as AND and OR, count together."""


class Share(NamedTuple):
    """Part and whole of every image, at each of the levels of `by_level`."""

    parts: Float[Tensor, "images levels"]
    wholes: Float[Tensor, "images levels"]


def by_level(
    interactions: Tables, sizes: Sizes = None, complex_from: int = 3
) -> Float[Tensor, "images levels"]:
    """Return Σ|I(S)| of every image: over all S ≠ ∅, each order 1 … n, complex and simple orders.

    Complex are orders from `complex_from` on, simple those below it.
    """
    profile = order_profile(interactions, sizes)
    profile = profile.reshape(len(profile), -1, profile.shape[-1]).sum(1)
    below = complex_from - 1
    sums = [profile.sum(-1), profile[:, below:].sum(-1), profile[:, :below].sum(-1)]
    whole, above, under = (total.unsqueeze(-1) for total in sums)
    return torch.cat([whole, profile, above, under], dim=-1)


def share(part: Tables, whole: Tables, sizes: Sizes = None) -> Share:
    """Return Σ|part| of Σ|whole|, such as K_preserve of I_pre, or K_new of I_ft."""
    return Share(by_level(part, sizes), by_level(whole, sizes))


def exclusivity(preserved: Tables, scratch: Tables, sizes: Sizes = None) -> Share:
    """Return r = Σ 1[K·I_scr > 0]·min(|K|, |I_scr|) / Σ|K|, with K = K_preserve.

    It is the share of preserved knowledge that training from scratch finds too. The paper reports
    such a ratio in § 3.2.2; this equation is inferred. Chance is far from zero: compare with a null.
    """
    return share(shared_effect(preserved, scratch), preserved, sizes)


def exclusivity_by_count(
    preserved: Tables,
    scratch: Tables,
    fraction: float = 0.05,
    scope: Scope = "model",
    sizes: Sizes = None,
) -> Share:
    """Return the share of salient K_preserve(S) where I_scr(S) is salient with the same sign."""
    kept = salient(preserved, fraction, scope)
    found = kept & salient(scratch, fraction, scope) & (preserved.sign() == scratch.sign())
    missing = (preserved.isnan() | scratch.isnan()).flatten(1).any(-1)
    found, kept = (_count(chosen, preserved, missing, sizes) for chosen in (found, kept))
    return Share(found, kept)


def scratch_only(
    pretrained: Tables, finetuned: Tables, scratch: Tables, sizes: Sizes = None
) -> Share:
    """Return the share of Σ|I_scr| that neither the pretrained nor the fine-tuned network has."""
    in_either = torch.maximum(
        shared_effect(scratch, pretrained).abs(), shared_effect(scratch, finetuned).abs()
    )
    return share(scratch.abs() - in_either, scratch, sizes)


def salient_count(
    interactions: Tables, fraction: float = 0.05, scope: Scope = "model", sizes: Sizes = None
) -> Float[Tensor, "images levels"]:
    """Return how many interactions are salient; NaN where there is none to be measured by.

    That is where all of the table are zero or one is NaN (`model`), or all of an image's (`sample`).
    """
    most = largest(interactions, scope).flatten(1).amax(-1)
    return _count(salient(interactions, fraction, scope), interactions, ~(most > 0), sizes)


def _count(
    chosen: Bool[Tensor, "images *tables subsets"],
    table: Tensor,
    missing: Bool[Tensor, " images"],
    sizes: Sizes,
) -> Float[Tensor, "images levels"]:
    return by_level(chosen.to(table.dtype), sizes).masked_fill(missing.unsqueeze(-1), torch.nan)


Trajectory = Float[Tensor, "times images subsets"]
Curves = Float[Tensor, "*batch times"]
Epochs = Float[Tensor, " times"] | Int[Tensor, " times"]


def speed(similarity: Curves, epochs: Epochs) -> Float[Tensor, "*batch"]:
    """Return the area under J over epochs scaled to [0, 1], by trapezoids; NaN propagates."""
    _check_epochs(epochs)
    times = (epochs - epochs[0]) / (epochs[-1] - epochs[0])
    return torch.trapezoid(similarity, times.to(similarity))


def interpolated(similarity: Curves, epochs: Epochs) -> Float[Tensor, "*batch"]:
    """Return by how much `speed` could be off, were J monotone between checkpoints.

    The area under a monotone curve lies between its lower and its upper step function; the trapezoids
    lie in the middle, half of Σ_t |J_{t+1} − J_t| Δt from both.
    """
    _check_epochs(epochs)
    steps = (epochs.diff() / (epochs[-1] - epochs[0])).to(similarity)
    return (similarity.diff().abs() * steps).sum(-1) / 2


def time_to(similarity: Curves, epochs: Epochs, level: float) -> Float[Tensor, "*batch"]:
    """Return the epoch of the first checkpoint with J ≥ level; NaN if none has."""
    _check_epochs(epochs)
    reached = similarity >= level
    first = epochs.to(similarity)[reached.to(torch.int8).argmax(-1)]
    return first.where(reached.any(-1), torch.nan)


def stability(similarity: Curves) -> Float[Tensor, "*batch"]:
    """Return Σ_t max(0, J_t − J_{t+1}), the sum of all drops; lower is better."""
    return -similarity.diff().clamp(max=0).sum(-1)


def directness(trajectory: Trajectory) -> Share:
    """Return ‖I_end − I_0‖₁ of Σ_t ‖I_{t+1} − I_t‖₁ [images, 1]: 1 where straight, undefined if still.

    More checkpoints show more of the detours: compare runs with the same checkpoints only.
    """
    if len(trajectory) < 2:
        raise ValueError("a path needs at least two checkpoints")
    steps = strength(trajectory.diff(dim=0)).sum(0)
    return Share(strength(trajectory[-1] - trajectory[0]).unsqueeze(-1), steps.unsqueeze(-1))


def _check_epochs(epochs: Tensor) -> None:
    if len(epochs) < 2 or not bool((epochs.diff() > 0).all()):
        raise ValueError(f"the epochs are {epochs.tolist()}: give two or more, in rising order")
