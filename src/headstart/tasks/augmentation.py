"""Random changes of training images, as tensor code over a whole batch.

The random numbers of an epoch are drawn at once, by one generator, one row per image
(`draw_changes`); `augment` applies the rows of a batch. So what happens to an image does not depend
on the batch size.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float32, Int64, UInt8
from torch import Tensor
from torch.nn import functional as F

from headstart.params.recipe import Augmentation

_GREY = (0.299, 0.587, 0.114)  # share of red, green, blue in brightness, ITU-R BT.601
_ASPECT = math.log(
    4 / 3
)  # a crop is at most this much wider or taller than the image, as in torchvision


@dataclass(frozen=True, eq=False)
class Changes:
    """What is done to each of n images; None stands for a change that is off."""

    shift: Int64[Tensor, "n 2"] | None = None
    """Rows and columns by which the window moves down and right."""
    flip: Bool[Tensor, " n"] | None = None
    """Whether the image is mirrored left to right."""
    view: Float32[Tensor, "n 2 3"] | None = None
    """Crop and rotation as the affine map from output to input, coordinates in [-1, 1]."""
    colour: Float32[Tensor, "n 3"] | None = None
    """Factors on brightness, contrast and saturation."""

    def rows(self, start: int, stop: int) -> Changes:
        """Return the changes of images start, …, stop - 1."""
        return Changes(*(x if x is None else x[start:stop] for x in self._all()))

    def to(self, device: torch.device | str) -> Changes:
        """Return the same changes on another device."""
        return Changes(*(x if x is None else x.to(device) for x in self._all()))

    def _all(self) -> tuple[Tensor | None, ...]:
        return self.shift, self.flip, self.view, self.colour


def draw_changes(
    augmentation: Augmentation, number: int, aspect: float, generator: torch.Generator
) -> Changes:
    """Draw the changes of `number` images, `aspect` = width / height, on the generator's device."""
    device = generator.device

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(number, *shape, generator=generator, device=device)

    shift = flip = view = colour = None
    if augmentation.shift:
        reach = augmentation.shift
        shift = torch.randint(-reach, reach + 1, (number, 2), generator=generator, device=device)
    if augmentation.flip:
        flip = uniform(0.0, 1.0) < 0.5
    if augmentation.crop_scale or augmentation.rotation:
        area = uniform(*(augmentation.crop_scale or (1.0, 1.0)))
        ratio = (
            uniform(-_ASPECT, _ASPECT).exp() if augmentation.crop_scale else torch.ones_like(area)
        )
        angle = uniform(-augmentation.rotation, augmentation.rotation).deg2rad()
        view = _view(area, ratio, angle, uniform(-1.0, 1.0, 2), aspect)
    if augmentation.colour_jitter:
        strength = augmentation.colour_jitter
        colour = uniform(max(0.0, 1 - strength), 1 + strength, 3)
    return Changes(shift, flip, view, colour)


def _view(area: Tensor, ratio: Tensor, angle: Tensor, place: Tensor, aspect: float) -> Tensor:
    """Return maps [n, 2, 3] onto crops of a share of the area, turned about their middle.

    `ratio` is the crop's width / height in units of the image's; `place` in [-1, 1]² says where
    between the edges of the image it lies.
    """
    width = (area * ratio).sqrt().clamp(max=1)
    height = (area / ratio).sqrt().clamp(max=1)
    cos, sin = angle.cos(), angle.sin()
    rows = [
        torch.stack([width * cos, -height * sin / aspect, place[:, 0] * (1 - width)], dim=1),
        torch.stack([width * sin * aspect, height * cos, place[:, 1] * (1 - height)], dim=1),
    ]
    return torch.stack(rows, dim=1)


def augment(
    images: UInt8[Tensor, "n channels height width"], changes: Changes
) -> Float32[Tensor, "n channels height width"]:
    """Shift, flip, crop and turn, and change the colours of images, in this order.

    Values stay in 0..255. Without changes the images are returned as they are, as float32. What a
    shift or a turn would show from outside an image repeats its edge.
    """
    if changes.shift is not None or changes.flip is not None:
        images = _move(images, changes.shift, changes.flip)
    values = images.float()
    if changes.view is not None:
        grid = F.affine_grid(changes.view, list(values.shape), align_corners=False)
        values = F.grid_sample(values, grid, padding_mode="border", align_corners=False)
    if changes.colour is not None:
        values = _jitter(values, changes.colour)
    return values


def _move(
    images: UInt8[Tensor, "n channels height width"],
    shift: Int64[Tensor, "n 2"] | None,
    flip: Bool[Tensor, " n"] | None,
) -> UInt8[Tensor, "n channels height width"]:
    """Shift with repeated edges, then mirror. Copying whole rows is faster than copying pixels."""
    n, channels, height, width = images.shape
    device = images.device
    columns = torch.arange(width, device=device).expand(n, width)
    if flip is not None:
        columns = torch.where(flip[:, None], columns.flip(1), columns)
    if shift is not None:
        columns = (columns + shift[:, 1:]).clamp(0, width - 1)
        rows = (torch.arange(height, device=device) + shift[:, :1]).clamp(0, height - 1)
        first_row = height * torch.arange(n * channels, device=device).view(n, channels, 1)
        lines = images.reshape(-1, width)
        images = lines.index_select(0, (first_row + rows[:, None]).flatten()).view_as(images)
    return images.gather(3, columns[:, None, None].expand_as(images))


def _jitter(
    values: Float32[Tensor, "n channels height width"], factors: Float32[Tensor, "n 3"]
) -> Float32[Tensor, "n channels height width"]:
    """Scale brightness, contrast about the mean grey, and saturation, which grey images lack."""
    brightness, contrast, saturation = factors[:, :, None, None, None].unbind(1)
    values = (values * brightness).clamp(0, 255)
    mean = _grey(values).mean(dim=(1, 2, 3), keepdim=True)
    values = torch.lerp(mean, values, contrast).clamp(0, 255)
    if values.shape[1] == 3:
        values = torch.lerp(_grey(values), values, saturation).clamp(0, 255)
    return values


def _grey(values: Tensor) -> Tensor:
    if values.shape[1] != 3:
        return values.mean(dim=1, keepdim=True)
    weights = torch.tensor(_GREY, device=values.device).view(1, 3, 1, 1)
    return (values * weights).sum(dim=1, keepdim=True)
