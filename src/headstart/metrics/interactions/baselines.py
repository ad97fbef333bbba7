"""Baselines: what a hidden pixel shows instead of the image.

Which one arXiv 2410.08455 uses is unknown. Every function takes images [images, channels, height,
width], in whatever units the network sees, and returns a tensor that broadcasts to them.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from headstart.metrics.interactions.masking import expand_baseline

Images = Float[Tensor, "images channels height width"]


def zero_baseline(images: Images) -> Float[Tensor, "channels 1 1"]:
    """Return zero, the mean pixel where images are normalised by the data set's mean."""
    return images.new_zeros(images.shape[1], 1, 1)


def blurred_baseline(images: Images, deviation: float) -> Images:
    """Return the images blurred by a Gaussian of the given standard deviation in pixels."""
    if deviation <= 0:
        raise ValueError(
            f"the blur's standard deviation is {deviation}: give a positive number of pixels"
        )
    radius = math.ceil(3 * deviation)
    offsets = torch.arange(-radius, radius + 1, dtype=images.dtype, device=images.device)
    kernel = torch.softmax(-0.5 * (offsets / deviation) ** 2, dim=0)
    channels = images.shape[1]
    vertical = kernel.view(1, 1, -1, 1).expand(channels, 1, -1, 1)
    padded = F.pad(images, [radius] * 4, mode="replicate")
    return F.conv2d(F.conv2d(padded, vertical, groups=channels), vertical.mT, groups=channels)


def bounded_shift_baseline(
    images: Images, mean: Float[Tensor, "..."], shift: float | Float[Tensor, "..."]
) -> Images:
    """Return every pixel moved towards the mean μ, by at most `shift` (τ) and never past it.

    b_i = max(x_i − τ, μ_i) where x_i > μ_i, else min(x_i + τ, μ_i). τ is in the units of the
    images: for τ standard deviations of unscaled images give τ times their deviation. Source: the
    authors' group's settings for image data (τ = 2 standard deviations).
    """
    if bool((torch.as_tensor(shift) < 0).any()):
        raise ValueError(f"the shift is {shift}: give a distance, zero or more")
    return torch.clamp(expand_baseline(images, mean), images - shift, images + shift)


def learned_baseline(images: Images, learned: Float[Tensor, "..."]) -> Images:
    """Return a baseline that was learned elsewhere, checked for shape and for values that are not
    finite.
    """
    if not bool(learned.isfinite().all()):
        raise ValueError("the learned baseline holds NaN or infinite values: its training diverged")
    return expand_baseline(images, learned)
