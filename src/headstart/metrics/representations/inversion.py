"""Identically represented inputs: images x′ with m(x′) ≈ m(x), found by gradient descent.

Each image has its own loss ‖m(x′) − m(x)‖₂ / ‖m(x)‖₂ on flattened features m. Losses are summed,
never averaged, and every update uses one image's own gradient, so that the result does not depend
on how images are batched. Regulariser-free, as in the authors' code for arXiv 2307.06006.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

Represent = Callable[[Tensor], Tensor]
Reference = Literal["features", "seed", "other"]
Method = Literal["normalized", "momentum", "adam"]
SeedKind = Literal["noise", "same_noise", "other_image", "white", "black"]


@dataclass(frozen=True)
class Inversion:
    """Inverted images with their relative residuals ‖m(·) − m(x)‖₂ / ‖m(x)‖₂, one per image.

    Attributes:
        images: the best iterate x′ of each image, within the bounds.
        residual: of x′; NaN where m(x) has length zero.
        seed_residual: of the seed, projected to the bounds.
        other_residual: of the other images, on average; NaN for a single image.
    """

    images: Float[Tensor, "images ..."]
    residual: Float[Tensor, " images"]
    seed_residual: Float[Tensor, " images"]
    other_residual: Float[Tensor, " images"]

    def converged(
        self, threshold: float = 0.05, relative_to: Reference = "other"
    ) -> Bool[Tensor, " images"]:
        """Return images whose residual is at most `threshold` × that of another image or of the seed.

        With "features" the residual itself is compared. That is the weakest criterion where features
        share a large mean, since there any two images have a small relative distance.
        """
        scale = {
            "features": torch.ones_like(self.residual),
            "seed": self.seed_residual,
            "other": self.other_residual,
        }
        return self.residual <= threshold * scale[relative_to]

    def pass_rate(self, threshold: float = 0.05, relative_to: Reference = "other") -> float:
        """Return the share of images that converged."""
        return float(self.converged(threshold, relative_to).double().mean())

    def unconverged_reason(
        self,
        minimum_pass_rate: float = 0.9,
        threshold: float = 0.05,
        relative_to: Reference = "other",
    ) -> str | None:
        """Return why this inversion should not be trusted, in words; None where enough images pass."""
        if self.pass_rate(threshold, relative_to) >= minimum_pass_rate:
            return None
        undefined = int(self.residual.isnan().sum())
        if undefined:
            return f"features of length zero, or not finite, in {undefined} images"
        passed = int(self.converged(threshold, relative_to).sum())
        return (
            f"inversion did not converge: {passed} of {self.residual.numel()} images reach "
            f"{threshold:g} of the residual of {relative_to} (median residual "
            f"{float(self.residual.median()):.3g}): use more steps or a faster method"
        )


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


@contextmanager
def tensor_float_32() -> Iterator[None]:
    """Multiply float32 matrices in TF32 inside, 10 bits instead of 23; nothing changes but on NVIDIA GPUs.

    A residual should then be measured outside: it says whether that was precise enough.
    """
    matmul, convolution = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    try:
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = matmul
        torch.backends.cudnn.allow_tf32 = convolution


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


def invert(
    represent: Represent,
    targets: Float[Tensor, "images ..."],
    seeds: Float[Tensor, "seeds ..."],
    optimizer: InversionOptimizer = PAPER,
    batch_size: int | None = None,
    precision: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> Inversion:
    """Move each seed until `represent(seed)` resembles its target; keep the best iterate.

    Args:
        represent: m, from images to features of any shape; its weights should not require
            gradients, and it must treat images independently (evaluation mode).
        targets: m(x) of the images to invert.
        seeds: where to start, shaped like the images.
        optimizer: how pixels move; `PAPER` is arXiv 2307.06006, section 4.
        batch_size: images per forward pass; the result does not depend on it.
        precision: entered for the descent alone, such as `tensor_float_32`; what is compared with
            the residual of the result is not touched by it.

    Raises:
        ValueError: different numbers of targets and seeds.
    """
    if targets.shape[0] != seeds.shape[0]:
        raise ValueError(f"{targets.shape[0]} targets but {seeds.shape[0]} seeds: give one each")
    flat = targets.detach().flatten(1)
    size = batch_size or len(seeds)
    pairs = zip(flat.split(size), seeds.detach().split(size), strict=True)
    with precision():
        parts = [_descend(represent, target, seed, optimizer) for target, seed in pairs]
    images, residual, seed_residual = (torch.cat(column) for column in zip(*parts, strict=True))
    other = torch.cdist(flat, flat).sum(1) / (len(flat) - 1 or torch.nan) / flat.norm(dim=1)
    return Inversion(images, residual, seed_residual, other)


def _descend(
    represent: Represent, target: Tensor, seed: Tensor, optimizer: InversionOptimizer
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the best iterate, its residual and the seed's, of one batch."""

    def residual(images: Tensor) -> Tensor:
        return (represent(images).flatten(1) - target).norm(dim=1) / target.norm(dim=1)

    best = projected(seed, optimizer.bounds)
    with torch.no_grad():
        seed_residual = lowest = residual(best)
    current, move = seed, displacement(optimizer)
    for step in range(optimizer.steps):
        gradient, loss = _gradient(residual, current)
        if step:  # the seed may lie out of bounds, its projection is already a candidate
            best, lowest = _better(best, lowest, current, loss)
        current = projected(current - move(gradient, step), optimizer.bounds)
    if optimizer.steps:
        with torch.no_grad():
            best, lowest = _better(best, lowest, current, residual(current))
    return best, lowest, seed_residual


def _gradient(residual: Represent, images: Tensor) -> tuple[Tensor, Tensor]:
    with torch.enable_grad():
        variable = images.detach().requires_grad_(True)
        loss = residual(variable)
        (gradient,) = torch.autograd.grad(loss.sum(), variable)
    return gradient, loss.detach()


def _better(best: Tensor, lowest: Tensor, images: Tensor, loss: Tensor) -> tuple[Tensor, Tensor]:
    improved = loss < lowest
    images = torch.where(per_image(improved, images), images, best)
    return images, torch.where(improved, loss, lowest)


def seed_images(
    images: Float[Tensor, "images channels height width"],
    kind: SeedKind,
    generator: torch.Generator,
) -> Float[Tensor, "images channels height width"]:
    """Return where inversions start; the values are drawn on the generator's device.

    "noise" is N(0, 1), independent per image (the paper's code). "same_noise", "white" and
    "black" give every image the same seed: a constant that centring removes, so that it raises
    STIR (see the documentation on invariances). "other_image" gives each image another image of
    the batch, never itself.

    Raises:
        ValueError: a single image with "other_image".
    """
    if kind in ("white", "black"):
        return torch.full_like(images, float(kind == "white"))
    if kind == "other_image":
        if len(images) < 2:
            raise ValueError("other_image seeds need at least 2 images, found 1")
        order = torch.randperm(len(images), generator=generator, device=generator.device)
        seeds = torch.empty_like(images)
        seeds[order.to(images.device)] = images[order.roll(1).to(images.device)]
        return seeds
    shape = images.shape if kind == "noise" else (1, *images.shape[1:])
    noise = torch.randn(shape, generator=generator, device=generator.device)
    return noise.to(images).expand_as(images).clone()
