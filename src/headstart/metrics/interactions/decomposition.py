"""Preserved, discarded and new knowledge of a fine-tuned network, similarity, and chance levels.

Sums never count S = ∅. arXiv 2410.08455 names K_preserve, K_discard and K_new; their equations here
follow the same authors' earlier work, where the shared effect of two interactions is zero for
opposite signs, else the smaller magnitude with the common sign.

Independent networks share much by chance: for independent Gaussian interactions Preserve/All = 1 −
1/√2, J = 3 − 2√2 and r ≈ 0.358. A ratio is read only against a null and a ceiling.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from headstart.metrics.interactions.transform import (
    Sizes,
    orders_of,
    strength,
    without_empty_set,
)

Table = Float[Tensor, "*batch subsets"]
Images = Float[Tensor, "images *tables subsets"]


class Decomposition(NamedTuple):
    """K_preserve, K_discard and K_new, shaped like the interactions and in their units."""

    preserved: Tensor
    discarded: Tensor
    new: Tensor


def shared_effect(first: Table, second: Table) -> Table:
    """Return 1[I₁·I₂ > 0]·sign(I₁)·min(|I₁|, |I₂|), entry by entry; NaN where one of them is."""
    if first.shape != second.shape:
        raise ValueError(
            f"the two networks have interactions of shapes {tuple(first.shape)} "
            f"and {tuple(second.shape)}: "
            "evaluate both on the same images, players and classes"
        )
    signs = first.sign()
    return signs * torch.minimum(first.abs(), second.abs()) * (signs * second.sign()).clamp(min=0)


def decompose(pretrained: Table, finetuned: Table) -> Decomposition:
    """Return K_preserve, the shared effect, I_pre − K_preserve and I_ft − K_preserve.

    Hence |I_pre| = |K_preserve| + |K_discard| and |I_ft| = |K_preserve| + |K_new|.
    """
    preserved = shared_effect(pretrained, finetuned)
    return Decomposition(preserved, pretrained - preserved, finetuned - preserved)


def weighted_jaccard(first: Table, second: Table) -> Float[Tensor, "*batch"]:
    """Return J = Σ min(Ĩ₁, Ĩ₂) / Σ max(Ĩ₁, Ĩ₂), Ĩ = [max(I, 0); max(−I, 0)]; NaN if both are empty.

    Symmetric, within [0, 1], and 1 only for equal tables. The form is inferred from the authors'
    code.
    """
    first, second = without_empty_set(first), without_empty_set(second)
    positive = first.clamp(min=0), second.clamp(min=0)
    negative = (-first).clamp(min=0), (-second).clamp(min=0)
    common = torch.minimum(*positive) + torch.minimum(*negative)
    union = torch.maximum(*positive) + torch.maximum(*negative)
    return common.sum(-1) / union.sum(-1)


def normalise(interactions: Images) -> Images:
    """Return the interactions of one network divided by its scale over images; NaN for scale zero.

    The scale is E_x Σ|I(S)|, over all tables of an image, so that networks whose log-odds differ by
    a factor can be compared.
    """
    scale = strength(interactions).reshape(len(interactions), -1).sum(-1).mean()
    return interactions / scale.masked_fill(scale == 0, torch.nan)


def permute_within_orders(
    interactions: Float[Tensor, "*batch subsets"], generator: torch.Generator, sizes: Sizes = None
) -> Float[Tensor, "*batch subsets"]:
    """Return each sample's interactions, permuted at random among the subsets of the same order.

    The null of a network with the same strength at every order that knows nothing of which players
    act together.
    """
    sizes = orders_of(interactions, sizes)
    keys = torch.rand(
        interactions.shape, generator=generator, dtype=torch.float64, device=generator.device
    )
    source = (keys + sizes.to(keys.device)).argsort(-1).to(interactions.device)
    place = sizes.argsort(stable=True).to(interactions.device).expand_as(source)
    return torch.empty_like(interactions).scatter(-1, place, interactions.gather(-1, source))


def pair_other_image(
    interactions: Float[Tensor, "images *tables subsets"], generator: torch.Generator
) -> Float[Tensor, "images *tables subsets"]:
    """Return for every image the interactions of another image, each used once.

    The null of knowledge that depends on the network and the player's place but not on the image.
    """
    images = len(interactions)
    if images < 2:
        raise ValueError(f"{images} image cannot be paired with another: evaluate at least two")
    circle = torch.randperm(images, generator=generator, device=generator.device).to(
        interactions.device
    )
    return interactions[circle.roll(1)][circle.argsort()]


def match_scale(
    interactions: Float[Tensor, "images *tables subsets"],
    reference: Float[Tensor, "images *tables subsets"],
) -> Float[Tensor, "images *tables subsets"]:
    """Return the interactions scaled to the reference's E_x Σ|I(S)|; NaN if they are zero.

    A null network, such as a random backbone with a trained probe, has weaker interactions than a
    trained one; unscaled, it would inflate every excess.
    """
    scale = strength(interactions).mean()
    return interactions * (strength(reference).mean() / scale.masked_fill(scale == 0, torch.nan))
