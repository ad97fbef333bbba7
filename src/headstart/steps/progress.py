"""What a person reads while networks train."""

from __future__ import annotations

import math
import time

from headstart.artifacts.log import duration as duration
from headstart.artifacts.store import JobContext
from headstart.training.loop import EpochRecord


class Reporter:
    """Logs one line per epoch: loss, accuracies, the best so far, the time left.

    Epochs are for the log: the console shows one only where nothing was shown for `quiet_seconds`.
    """

    def __init__(self, context: JobContext, epochs: int, *, quiet_seconds: float = 60.0) -> None:
        self.context, self.epochs = context, epochs
        self.quiet_seconds = quiet_seconds
        self.best: EpochRecord | None = None
        self.started = self.shown = time.monotonic()
        self.first: int | None = None

    def __call__(self, record: EpochRecord) -> None:
        """Report an epoch that has ended."""
        now = time.monotonic()
        if self.first is None:
            self.first, self.started = record.epoch, now
        if self.best is None or _score(record) > _score(self.best):
            self.best = record
        done = record.epoch - self.first
        left = (now - self.started) / done * (self.epochs - record.epoch) if done else None
        detail = now - self.shown < self.quiet_seconds
        self.shown = self.shown if detail else now
        self.context.log(
            f"epoch {record.epoch:>3}/{self.epochs}  loss {record.train_loss:6.3f}  "
            f"{_accuracy(record)}validation {format_validation(record):>6}  "
            f"best {format_validation(self.best):>6} (epoch {self.best.epoch})"
            + ("" if left is None else f"  {duration(left)} left"),
            detail=detail,
        )


def format_validation(record: EpochRecord) -> str:
    """Return an epoch's validation accuracy, or its loss where there are no classes."""
    if math.isnan(record.validation_accuracy):
        return f"loss {record.validation_loss:.4f}"
    return f"{record.validation_accuracy:.1%}"


def _accuracy(record: EpochRecord) -> str:
    known = not math.isnan(record.train_accuracy)
    return f"accuracy {record.train_accuracy:6.1%}  " if known else ""


def _score(record: EpochRecord) -> float:
    accuracy = record.validation_accuracy
    return -record.validation_loss if math.isnan(accuracy) else accuracy
