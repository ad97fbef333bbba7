"""Measures of networks and images at hand in one call each, as in a notebook; what is underneath is exported too."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Float64, Int
from torch import Tensor, nn

from headstart.metrics.interactions.masking import pixel_inputs, zero_baseline
from headstart.metrics.interactions.scores import subset_scores
from headstart.metrics.interactions.transform import mobius
from headstart.metrics.representations.inversion import (
    FAST,
    InversionOptimizer,
    invert,
    seed_images,
)
from headstart.metrics.representations.layer_cka import layer_cka


def masked_scores(
    network: nn.Module,
    images: Float[Tensor, "images channels height width"],
    labels: Int[Tensor, " images"],
    players: Bool[Tensor, "players height width"],
    baseline: Float[Tensor, ...] | None = None,
) -> Float[Tensor, "images subsets"]:
    """Return v(x_T), the log-odds of each image's label, for all 2^n sets T of visible players.

    Hidden pixels are `baseline`, by default 0: the mean, where images are normalised. A network that
    maps images to logits runs in evaluation mode; subset T has the number Σ_{i∈T} 2^i.

    Raises:
        ValueError: numbers of images and labels differ, or players do not fit the images.
    """
    if len(images) != len(labels):
        raise ValueError(f"labels: {len(labels)} for {len(images)} images; give one each")
    hidden = zero_baseline(images) if baseline is None else baseline
    return subset_scores(network, pixel_inputs(images, players, hidden), labels, len(players))


def and_interactions(
    scores: Float[Tensor, "*batch subsets"],
) -> Float64[Tensor, "*batch subsets"]:
    """Return I(S) = Σ_{T⊆S} (−1)^{|S|−|T|} v(x_T), in the unit of the scores: `mobius` by the field's name.

    Source: arXiv 2410.08455, equation 2.
    """
    return mobius(scores)


def linear_cka(
    x: Float[Tensor, "images ..."], y: Float[Tensor, "images ..."], debiased: bool = True
) -> float:
    """Return linear CKA of two representations of the same images: 1 alike up to rotation and scale.

    Debiased, its mean over unrelated representations is 0 however few the images (Nguyen et al. 2021,
    after Song et al. 2012); biased as in Kornblith et al. 2019. NaN for constant features.

    Raises:
        ValueError: numbers of images differ, or are below 4.
    """
    if len(x) != len(y):
        raise ValueError(f"y: {len(y)} images, but x has {len(x)}; give features of the same ones")
    return layer_cka([x], [y], debiased).item()


class Stir(NamedTuple):
    """STIR, and the share of images whose inversion converged: below .9 the number is not to be trusted."""

    value: float
    pass_rate: float


def stir(
    target: Callable[[Tensor], Tensor],
    reference: Callable[[Tensor], Tensor],
    images: Float[Tensor, "images channels height width"],
    optimizer: InversionOptimizer = FAST,
    seed: int = 0,
) -> Stir:
    """Return STIR(target | reference): how much of what `reference` ignores `target` ignores too.

    Debiased CKA(m2(X), m2(X′)) with m1(X′) ≈ m1(X) by inversion from noise (Nanda et al. 2022, arXiv
    2206.11939; arXiv 2307.06006, equation 1). Both map images to features, are in evaluation mode, and
    have weights that need no gradient.

    Raises:
        ValueError: images are not four-dimensional, or fewer than 4.
    """
    if images.ndim != 4:
        raise ValueError(
            f"images: shape {tuple(images.shape)}; give images [images, channels, height, width]"
        )
    generator = torch.Generator(device=images.device).manual_seed(seed)
    with torch.no_grad():
        targets = reference(images)
    found = invert(reference, targets, seed_images(images, "noise", generator), optimizer)
    with torch.no_grad():
        value = linear_cka(target(images), target(found.images))
    return Stir(value, found.pass_rate())
