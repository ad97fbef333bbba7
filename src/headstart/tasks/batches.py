"""Batches of images that live on the device as one uint8 tensor."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from jaxtyping import Float32, Int64
from torch import Tensor

from headstart.artifacts.keys import derive_seed
from headstart.params.recipe import Augmentation
from headstart.tasks import TaskError
from headstart.tasks.augmentation import augment, draw_changes
from headstart.tasks.task import LabelledImages, TestImages, TrainImages, ValidationImages

Statistic = float | Sequence[float]
Batch = tuple[Float32[Tensor, "b channels height width"], Int64[Tensor, " b"]]


@dataclass(frozen=True)
class Normalization:
    """Mean and standard deviation of each channel, where white = 1."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def apply(
        self, values: Float32[Tensor, "b channels height width"]
    ) -> Float32[Tensor, "b channels height width"]:
        """Return values in 0..255 with mean and standard deviation taken out. Overwrites them."""
        mean, std = _statistics(self, values.device)
        return values.sub_(mean).div_(std)

    def to_dict(self) -> dict[str, list[float]]:
        """Return what `from_dict` reads, for JSON."""
        return {"mean": list(self.mean), "std": list(self.std)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Normalization:
        """Return the normalisation that `to_dict` wrote."""
        return cls(tuple(map(float, values["mean"])), tuple(map(float, values["std"])))


def stated_normalization(mean: Statistic, deviation: Statistic, channels: int) -> Normalization:
    """Return a normalisation that somebody states: a number for all channels, or one for each of them.

    Grey images have the mean over the channels of weights for colours, as their first convolution has.
    """

    def each(value: Statistic) -> tuple[float, ...]:
        values = (value,) if isinstance(value, float) else tuple(value)
        return values if len(values) == channels else (sum(values) / len(values),) * channels

    return Normalization(each(mean), each(deviation))


@cache
def _statistics(normalization: Normalization, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation, where white = 255, in the shape of a batch."""
    # Kept for everybody, so they must not become tensors of the inference mode of the first caller.
    with torch.inference_mode(False):
        both = (normalization.mean, normalization.std)
        mean, std = (255 * torch.tensor(each, device=device).view(1, -1, 1, 1) for each in both)
    return mean, std


def normalization(images: TrainImages) -> Normalization:
    """Return mean and standard deviation of each channel over all pixels of training images.

    They are computed from exact counts of the 256 values, so they do not depend on the order of
    images. A channel that never varies has standard deviation 1.
    """
    values = torch.arange(256, dtype=torch.float64) / 255
    mean, std = [], []
    for channel in images.images.unbind(1):
        share = torch.bincount(channel.flatten(), minlength=256).double() / channel.numel()
        mean.append(float((share * values).sum()))
        variance = float((share * (values - mean[-1]) ** 2).sum())
        std.append(variance**0.5 or 1.0)
    return Normalization(tuple(mean), tuple(std))


class TrainBatches:
    """Shuffled, augmented, normalised batches of training images.

    Order and augmentation depend only on the seed and the number of the epoch, never on what ran
    before, and are drawn on the CPU, so that they are the same on every device.
    """

    def __init__(
        self,
        images: TrainImages,
        normalization: Normalization,
        batch_size: int,
        augmentation: Augmentation,
        device: torch.device | str,
        seed: int,
        channels_last: bool = False,
    ) -> None:
        """Put the images on the device.

        Raises:
            TaskError: the normalisation is for another number of channels.
        """
        self._images, self._labels = _on_device(images, normalization, device)
        self._normalization = normalization
        self._augmentation = augmentation
        self._seed = seed
        self._format = _memory_format(channels_last)
        self._bounds = _bounds(len(self._labels), batch_size)
        self.num_images = len(self._labels)
        self.num_classes = len(images.classes)
        self.steps = len(self._bounds)

    def epoch(self, epoch: int) -> Iterator[Batch]:
        """Yield (images, labels) of each step of an epoch; every image comes once."""
        device = self._images.device
        height, width = self._images.shape[2:]
        order = torch.randperm(self.num_images, generator=self._generator("order", epoch)).to(
            device
        )
        changes = draw_changes(
            self._augmentation,
            self.num_images,
            width / height,
            self._generator("augmentation", epoch),
        ).to(device)
        for start, stop in self._bounds:
            chosen = order[start:stop]
            values = augment(self._images[chosen], changes.rows(start, stop))
            values = self._normalization.apply(values)
            yield values.contiguous(memory_format=self._format), self._labels[chosen]

    def _generator(self, purpose: str, epoch: int) -> torch.Generator:
        return torch.Generator().manual_seed(derive_seed(purpose, self._seed, epoch))


class EvaluationBatches:
    """Normalised batches in the order of the images, without augmentation."""

    def __init__(
        self,
        images: ValidationImages | TestImages | TrainImages,
        normalization: Normalization,
        batch_size: int,
        device: torch.device | str,
        channels_last: bool = False,
    ) -> None:
        """Put the images on the device.

        Raises:
            TaskError: the normalisation is for another number of channels.
        """
        self._images, self._labels = _on_device(images, normalization, device)
        self._normalization = normalization
        self._batch_size = batch_size
        self._format = _memory_format(channels_last)
        self.num_images = len(self._labels)
        self.num_classes = len(images.classes)

    def __iter__(self) -> Iterator[Batch]:
        """Yield (images, labels) of each batch."""
        batches = zip(
            self._images.split(self._batch_size), self._labels.split(self._batch_size), strict=True
        )
        for images, labels in batches:
            values = self._normalization.apply(images.float())
            yield values.contiguous(memory_format=self._format), labels


def _bounds(number: int, batch_size: int) -> list[tuple[int, int]]:
    """Return where batches start and stop; a single image left over joins the batch before it.

    Batch normalisation cannot train on a single image.
    """
    starts = list(range(0, number, batch_size))
    if batch_size > 1 and len(starts) > 1 and number - starts[-1] == 1:
        starts.pop()
    return list(zip(starts, [*starts[1:], number], strict=True))


def _on_device(
    images: LabelledImages, normalization: Normalization, device: torch.device | str
) -> tuple[Tensor, Tensor]:
    channels = images.images.shape[1]
    if channels != len(normalization.mean):
        raise TaskError(
            f"images have {channels} channels, the normalisation has "
            f"{len(normalization.mean)}: source and target datasets need the same `channels`"
        )
    return images.images.to(device), images.labels.to(device)


def _memory_format(channels_last: bool) -> torch.memory_format:
    return torch.channels_last if channels_last else torch.contiguous_format
