"""Intervals over images for statistics of Gram matrices: half-samples without replacement."""

from collections.abc import Callable

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from headstart.metrics.representations.grams import MINIMUM_IMAGES

FEWEST = 2 * MINIMUM_IMAGES
Statistic = Callable[[Int64[Tensor, " chosen"]], Float64[Tensor, "*cells"]]


def half_sample_draws(
    statistic: Statistic,
    images: int,
    generator: torch.Generator,
    resamples: int = 200,
    device: torch.device | str = "cpu",
) -> tuple[Float64[Tensor, "*cells"], Float64[Tensor, "draws ..."]]:
    """Return the value on all images, and on every half-sample; `ends` makes an interval of them.

    A half-sample scatters about the whole as the whole does about the truth. It has no duplicates,
    which would look similar to themselves and bias debiased similarity, as a bootstrap does.

    Args:
        statistic: from the positions of images to any cells.
        images: how many there are.
        generator: draws the half-samples.
        resamples: number of half-samples.
        device: where the positions are wanted.

    Raises:
        ValueError: fewer than 8 images.
    """
    if images < FEWEST:
        raise ValueError(
            f"an interval from half-samples needs at least {FEWEST} images, found {images}"
        )
    value = statistic(torch.arange(images, device=device))
    orders = (
        torch.randperm(images, generator=generator, device=generator.device)
        for _ in range(resamples)
    )
    draws = torch.stack([statistic(order[: images // 2].to(device)) for order in orders])
    return value, draws


def ends(
    value: Float64[Tensor, "*cells"],
    draws: Float64[Tensor, "draws ..."],
    confidence: float = 0.95,
) -> tuple[Float64[Tensor, "*cells"], Float64[Tensor, "*cells"]]:
    """Return the ends of the interval about a value, from its scatter over half-samples.

    NaN where a half-sample is undefined.
    """
    tails = torch.tensor([(1 - confidence) / 2, (1 + confidence) / 2], dtype=value.dtype)
    lower, upper = (draws - draws.mean(0)).quantile(tails.to(value.device), dim=0)
    return value + lower, value + upper
