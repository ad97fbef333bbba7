"""What a training run reads, batches, and leaves behind: a record of every epoch, and its outcome."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

from torch import Tensor

State = dict[str, Tensor]
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


@dataclass(frozen=True)
class EpochRecord:
    """Measures after `epoch` epochs of updates; epoch 0 is before any update.

    Attributes:
        epoch: epochs done.
        learning_rate: of the first step of the epoch; 0 at epoch 0.
        train_loss: mean of the minimised loss (label smoothing included) over the epoch's batches,
            each measured before its own update. At epoch 0 it is the cross-entropy of the first
            epoch's batches in evaluation mode.
        train_accuracy: of the same batches, a fraction.
        validation_loss: mean cross-entropy in evaluation mode.
        validation_accuracy: a fraction.
        test_accuracy: a fraction, or None where it was not read.
        steps: updates so far.
        samples: images seen by updates so far.
        seconds: time that the epoch took, evaluation included; no part of comparisons.
    """

    epoch: int
    learning_rate: float
    train_loss: float
    train_accuracy: float
    validation_loss: float
    validation_accuracy: float
    test_accuracy: float | None
    steps: int
    samples: int
    seconds: float = field(compare=False)


@dataclass(frozen=True)
class Progress:
    """How far a run is, for whoever keeps checkpoints.

    Attributes:
        history: records of all epochs so far, the current one last.
        best_epoch: what the selection rule picks so far.
        diverged: whether the run has diverged by now.
    """

    history: tuple[EpochRecord, ...]
    best_epoch: int
    diverged: bool

    @property
    def steps(self) -> int:
        """Return the number of updates so far."""
        return self.history[-1].steps

    @property
    def samples(self) -> int:
        """Return the number of images seen by updates so far."""
        return self.history[-1].samples


@dataclass(frozen=True)
class Outcome:
    """The end of a run.

    Attributes:
        history: records of all epochs, epoch 0 first.
        best_epoch: the epoch that validation chose; the last one of a diverged run.
        best_state: its weights, on the CPU.
        test_accuracy_at_best: test accuracy of these weights, None without test data.
        final_test_accuracy: test accuracy after the last epoch, None without test data.
        diverged: whether training diverged at any epoch.
        reason: why it counts as diverged, empty otherwise.
    """

    history: tuple[EpochRecord, ...]
    best_epoch: int
    best_state: State
    test_accuracy_at_best: float | None
    final_test_accuracy: float | None
    diverged: bool
    reason: str

    @property
    def best(self) -> EpochRecord:
        """Return the record of the epoch that validation chose."""
        return next(record for record in self.history if record.epoch == self.best_epoch)
