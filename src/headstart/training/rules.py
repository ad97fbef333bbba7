"""Rules of a run, as pure functions: its learning rate, its best epoch, and whether it diverged."""

import math
from collections.abc import Sequence

from headstart.params.recipe import Schedule, Selection
from headstart.training.evaluation import CLASSIFICATION, Objective
from headstart.training.records import EpochRecord

DIVERGENCE_FACTOR = 10.0


def learning_rate(schedule: Schedule, base: float, epoch: float, epochs: int) -> float:
    """Return the learning rate after `epoch` of `epochs` epochs, a fraction of an epoch allowed.

    `constant` is `base`; `step` multiplies it by `factor` from the start of each epoch in `drops`,
    counted from 0; `cosine` falls from `base` at the end of warm-up to 0 at the end of training,
    base · (1 + cos(π t)) / 2 (Loshchilov & Hutter 2017, one cycle). During `warmup_epochs`, every
    schedule is multiplied by the share of warm-up that has passed.

    The loop asks once per step, at its middle: step s of an epoch with S steps is at epoch
    e + (s + 1/2) / S. So drops fall between epochs, while cosine and warm-up change at every step.
    """
    warmup = min(1.0, epoch / schedule.warmup_epochs) if schedule.warmup_epochs else 1.0
    match schedule.name:
        case "constant":
            factor = 1.0
        case "step":
            factor = schedule.factor ** sum(epoch >= drop for drop in schedule.drops)
        case "cosine":
            length = epochs - schedule.warmup_epochs
            # A warm-up as long as the training leaves no time to fall.
            time = (epoch - schedule.warmup_epochs) / length if length > 0 else 0.0
            factor = (1 + math.cos(math.pi * min(1.0, max(0.0, time)))) / 2
    return base * factor * warmup


def best_epoch(history: Sequence[EpochRecord], selection: Selection) -> int:
    """Return the epoch with the best validation accuracy or loss; of equals the earliest.

    With `patience`, the search ends at the first epoch that comes so many epochs after the best one
    before it, as early stopping would have. Epoch 0 may be chosen: where no update helps, the rule
    says so. A loss that is not finite is never a gain.
    """
    best, value = history[0].epoch, _score(history[0], selection)
    for record in history[1:]:
        if selection.patience is not None and record.epoch - best > selection.patience:
            break
        if _score(record, selection) > value:
            best, value = record.epoch, _score(record, selection)
    return best


def _score(record: EpochRecord, selection: Selection) -> float:
    if selection.metric == "accuracy":
        return record.validation_accuracy
    return -record.validation_loss if math.isfinite(record.validation_loss) else -math.inf


def divergence(
    history: Sequence[EpochRecord], classes: int, objective: Objective = CLASSIFICATION
) -> str:
    """Return why a run counts as diverged, or an empty text where it does not.

    It has diverged where the training loss of any epoch is not finite, or above 10 × max(loss
    at the start, loss of a network that knows nothing: ln of the number of classes).
    """
    start = history[0].train_loss
    known = start if math.isfinite(start) else 0.0
    chance_loss, words = objective.chance_loss(classes)
    limit = DIVERGENCE_FACTOR * max(known, chance_loss)
    for record in history:
        if not math.isfinite(record.train_loss):
            return f"training loss {record.train_loss} at epoch {record.epoch}"
        if record.train_loss > limit:
            bound = f"{limit:.4g} = 10 × max(start {known:.4g}, {words})"
            return f"training loss {record.train_loss:.4g} at epoch {record.epoch} exceeds {bound}"
    return ""
