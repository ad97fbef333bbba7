"""How the pixels of an image move in an inversion: step rule, step size and bounds."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from jaxtyping import Float
from torch import Tensor

Method = Literal["normalized", "momentum", "adam"]


@dataclass(frozen=True)
class InversionOptimizer:
    """How an inversion moves.

    Attributes:
        steps: gradient steps T.
        step_size: length of a step in L2 norm per image; per pixel for "adam".
        method: "normalized" steps along the plain gradient of unit length, "momentum" along a
            running mean of these (0.9), "adam" with β = (0.9, 0.999).
        decay: whether the step size falls to zero along a half cosine.
        bounds: smallest and largest pixel value, to which each step is projected; None: free.
    """

    steps: int = 50
    step_size: float = 0.5
    method: Method = "normalized"
    decay: bool = False
    bounds: tuple[float, float] | None = (0.0, 1.0)


PAPER = InversionOptimizer()
LONG = InversionOptimizer(steps=500)
FAST = InversionOptimizer(steps=200, step_size=0.1, method="adam", decay=True)


def displacement(optimizer: InversionOptimizer) -> Callable[[Tensor, int], Tensor]:
    """Return the step to subtract, as a function of the gradient and the number of steps before."""
    mean: Tensor | float = 0.0
    square: Tensor | float = 0.0

    def move(gradient: Tensor, step: int) -> Tensor:
        nonlocal mean, square
        progress = step / optimizer.steps if optimizer.decay else 0.0
        size = optimizer.step_size * 0.5 * (1 + math.cos(math.pi * progress))
        if optimizer.method == "adam":
            mean = 0.9 * mean + 0.1 * gradient
            square = 0.999 * square + 0.001 * gradient.square()
            spread = (square / (1 - 0.999 ** (step + 1))).sqrt() + 1e-12
            return size * mean / (1 - 0.9 ** (step + 1)) / spread
        lengths = gradient.flatten(1).norm(dim=1) + 1e-10
        unit = gradient / per_image(lengths, gradient)
        if optimizer.method == "normalized":
            return size * unit
        mean = 0.9 * mean + 0.1 * unit
        return size * mean

    return move


def per_image(values: Tensor, images: Tensor) -> Tensor:
    """Return one value per image, shaped to multiply the images."""
    return values.view(-1, *[1] * (images.ndim - 1))


def projected(
    images: Float[Tensor, "images ..."], bounds: tuple[float, float] | None
) -> Float[Tensor, "images ..."]:
    """Return images with every pixel moved into the bounds; unchanged without bounds."""
    return images if bounds is None else images.clamp(*bounds)
