"""Image corruptions in the manner of CIFAR-10-C, five severities, for images of any size.

Hendrycks and Dietterich (2019, arXiv 1903.12261) define 15 corruptions by small programs on single
images. These are batched tensor code in the same four families (noise, blur, weather, digital),
with lengths that grow with the longer side beyond 32 pixels. They are in the manner of CIFAR-10-C,
not identical to it: strengths, random fields and the JPEG stand-in differ, and frost and glass blur
are left out. Accuracies under the two are not comparable number by number.

Images are float in [0, 1], "images channels height width", with 1 or 3 channels. Every corruption
takes (images, strength, generator) and draws on the generator's device.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from headstart.metrics.representations.image_filters import (
    disk,
    filtered,
    gaussian,
    jpeg_quantized,
    lines,
    pixelated,
    resampled,
    smooth_noise,
    zoomed,
)

Corrupt = Callable[[Tensor, float, torch.Generator], Tensor]
Family = Literal["noise", "blur", "weather", "digital"]


def _normal(images: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randn(images.shape, generator=generator, device=generator.device).to(images)


def _uniform(shape: tuple[int, ...], images: Tensor, generator: torch.Generator) -> Tensor:
    return torch.rand(shape, generator=generator, device=generator.device).to(images)


def _scale(images: Tensor) -> float:
    """Return the length that stands for one pixel of CIFAR; below it blurs would leave small images as is."""
    return max(1.0, max(images.shape[-2:]) / 32)


def _gaussian_noise(images: Tensor, deviation: float, generator: torch.Generator) -> Tensor:
    return images + deviation * _normal(images, generator)


def _shot_noise(images: Tensor, photons: float, generator: torch.Generator) -> Tensor:
    rate = (images * photons).to(generator.device)
    return torch.poisson(rate, generator=generator).to(images) / photons


def _impulse_noise(images: Tensor, share: float, generator: torch.Generator) -> Tensor:
    hit = _uniform(tuple(images.shape), images, generator)
    return images.masked_fill(hit < share / 2, 0).masked_fill(hit > 1 - share / 2, 1)


def _gaussian_blur(images: Tensor, deviation: float, generator: torch.Generator) -> Tensor:
    return filtered(images, gaussian(deviation * _scale(images)))


def _defocus_blur(images: Tensor, radius: float, generator: torch.Generator) -> Tensor:
    return filtered(images, disk(radius * _scale(images)))


def _motion_blur(images: Tensor, length: float, generator: torch.Generator) -> Tensor:
    angles = (_uniform((len(images),), images, generator) - 0.5) * math.pi / 2
    return filtered(images, lines(length * _scale(images), angles))


def _zoom_blur(images: Tensor, largest: float, generator: torch.Generator) -> Tensor:
    zooms = torch.linspace(1, largest, 8).tolist()
    return torch.stack([zoomed(images, zoom) for zoom in zooms]).mean(0)


def _fog(images: Tensor, thickness: float, generator: torch.Generator) -> Tensor:
    brightest = images.amax((1, 2, 3), keepdim=True)
    mist = smooth_noise(images, generator)
    return (images + thickness * mist) * brightest / (brightest + thickness).clamp_min(1e-6)


def _brightness(images: Tensor, shift: float, generator: torch.Generator) -> Tensor:
    value = images.amax(1, keepdim=True)
    hue = torch.where(value > 0, images / value.clamp_min(1e-6), 1.0)
    return hue * (value + shift).clamp_max(1)


def _snow(images: Tensor, amount: float, generator: torch.Generator) -> Tensor:
    height, width = images.shape[-2:]
    flakes = _uniform((len(images), 1, height, width), images, generator) < 0.15 * amount
    angles = -math.pi / 3 - _uniform((len(images),), images, generator) * math.pi / 6
    streaks = filtered(flakes.to(images), lines(4 * _scale(images), angles))
    grey = images.mean(1, keepdim=True)
    whitened = torch.maximum(images, grey * 1.5 + 0.5 * amount)
    return (1 - 0.5 * amount) * images + 0.5 * amount * whitened + 2 * streaks


def _contrast(images: Tensor, kept: float, generator: torch.Generator) -> Tensor:
    mean = images.mean((2, 3), keepdim=True)
    return mean + kept * (images - mean)


def _pixelate(images: Tensor, block: float, generator: torch.Generator) -> Tensor:
    return pixelated(images, block * _scale(images))


def _elastic(images: Tensor, pixels: float, generator: torch.Generator) -> Tensor:
    field = _normal(images[:, :1].repeat(1, 2, 1, 1), generator)
    smooth = filtered(field, gaussian(2 * _scale(images)))
    deviation = smooth.std((2, 3), keepdim=True).clamp_min(1e-6)
    return resampled(images, smooth / deviation * pixels * _scale(images))


def _jpeg(images: Tensor, quality: float, generator: torch.Generator) -> Tensor:
    return jpeg_quantized(images, quality)


@dataclass(frozen=True)
class Corruption:
    """One corruption: its family and the strength handed to it at severities 1 to 5."""

    family: Family
    strengths: tuple[float, float, float, float, float]
    apply: Corrupt


CORRUPTIONS = {
    "gaussian_noise": Corruption("noise", (0.04, 0.06, 0.08, 0.10, 0.13), _gaussian_noise),
    "shot_noise": Corruption("noise", (500.0, 250.0, 100.0, 75.0, 50.0), _shot_noise),
    "impulse_noise": Corruption("noise", (0.01, 0.02, 0.03, 0.05, 0.07), _impulse_noise),
    "gaussian_blur": Corruption("blur", (0.4, 0.6, 0.8, 1.0, 1.4), _gaussian_blur),
    "defocus_blur": Corruption("blur", (0.8, 1.1, 1.4, 1.8, 2.3), _defocus_blur),
    "motion_blur": Corruption("blur", (2.0, 3.0, 4.0, 5.0, 7.0), _motion_blur),
    "zoom_blur": Corruption("blur", (1.06, 1.11, 1.16, 1.21, 1.26), _zoom_blur),
    "fog": Corruption("weather", (0.2, 0.4, 0.7, 1.0, 1.5), _fog),
    "brightness": Corruption("weather", (0.05, 0.1, 0.15, 0.2, 0.3), _brightness),
    "snow": Corruption("weather", (0.1, 0.2, 0.3, 0.45, 0.6), _snow),
    "contrast": Corruption("digital", (0.75, 0.5, 0.4, 0.3, 0.15), _contrast),
    "pixelate": Corruption("digital", (1.5, 2.0, 2.6, 3.3, 4.0), _pixelate),
    "elastic": Corruption("digital", (0.4, 0.6, 0.8, 1.1, 1.5), _elastic),
    "jpeg": Corruption("digital", (80.0, 65.0, 50.0, 35.0, 20.0), _jpeg),
}


def corrupt(
    images: Float[Tensor, "images channels height width"],
    name: str,
    severity: int,
    generator: torch.Generator,
) -> Float[Tensor, "images channels height width"]:
    """Return images under one corruption, clamped to [0, 1].

    Args:
        images: values in [0, 1], 1 or 3 channels.
        name: a key of `CORRUPTIONS`.
        severity: 1 (weak) to 5 (strong).
        generator: source of all randomness.

    Raises:
        ValueError: an unknown name, a severity outside 1 to 5, or another number of channels.
    """
    if name not in CORRUPTIONS:
        raise ValueError(f"no corruption {name!r}: choose one of {', '.join(CORRUPTIONS)}")
    if severity not in range(1, 6):
        raise ValueError(f"severity {severity} does not exist: choose 1, 2, 3, 4 or 5")
    if images.shape[1] not in (1, 3):
        raise ValueError(f"corruptions need 1 or 3 channels, found {images.shape[1]}")
    corruption = CORRUPTIONS[name]
    return corruption.apply(images, corruption.strengths[severity - 1], generator).clamp(0, 1)
