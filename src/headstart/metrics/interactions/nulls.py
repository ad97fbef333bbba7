"""Chance levels of shared knowledge, and excess over them.

Independent networks share much by chance: for independent Gaussian interactions Preserve/All = 1 −
1/√2, J = 3 − 2√2 and r ≈ 0.358. A ratio is read only against a null and a ceiling.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from headstart.metrics.interactions.transform import count_players, orders, strength


def permute_within_orders(
    interactions: Float[Tensor, "*batch subsets"], generator: torch.Generator
) -> Float[Tensor, "*batch subsets"]:
    """Return the interactions of each sample, permuted at random among the subsets of the same
    order.

    The null of a network with the same strength at every order that knows nothing of which players
    act together.
    """
    sizes = orders(count_players(interactions))
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
    """Return the interactions times the factor that gives them the reference's E_x Σ|I(S)|; NaN if
    they are zero.

    A null network, such as a random backbone with a trained probe, has weaker interactions than a
    trained one; unscaled, it would inflate every excess.
    """
    scale = strength(interactions).mean()
    return interactions * (strength(reference).mean() / scale.masked_fill(scale == 0, torch.nan))


def excess_over_null(
    value: Float[Tensor, "*shape"], null: Float[Tensor, "*shape"], ceiling: Float[Tensor, "*shape"]
) -> Float[Tensor, "*shape"]:
    """Return (value − null) / (ceiling − null): 0 at chance, 1 at the ceiling; NaN unless ceiling >
    null.

    The ceiling is the same measure between two fine-tuned networks that start from the same
    checkpoint.
    """
    room = ceiling - null
    return (value - null) / room.where(room > 0, torch.nan)
