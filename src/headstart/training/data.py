"""What the loop needs of its data, so that images and cached features train alike."""

from collections.abc import Iterator
from typing import Protocol

from torch import Tensor

Batch = tuple[Tensor, Tensor]


class TrainingBatches(Protocol):
    """Batches for updates; their order and content depend on a seed and the epoch only."""

    @property
    def num_images(self) -> int:
        """Return the number of images of an epoch."""

    @property
    def num_classes(self) -> int:
        """Return the number of classes."""

    @property
    def steps(self) -> int:
        """Return the number of batches of an epoch."""

    def epoch(self, epoch: int) -> Iterator[Batch]:
        """Yield (inputs [b, …], labels [b]) of each step of an epoch, counted from 0."""


class EvaluationData(Protocol):
    """Batches for evaluation, the same at every iteration."""

    @property
    def num_images(self) -> int:
        """Return the number of images."""

    def __iter__(self) -> Iterator[Batch]:
        """Yield (inputs [b, …], labels [b]) of each batch."""
