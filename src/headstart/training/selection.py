"""Rules on the history of a run: which epoch is best, and whether training diverged."""

import math
from collections.abc import Sequence

from headstart.params.recipe import Selection
from headstart.training.objectives import CLASSIFICATION, Objective
from headstart.training.records import EpochRecord

DIVERGENCE_FACTOR = 10.0


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
    blind, words = objective.blind(classes)
    limit = DIVERGENCE_FACTOR * max(known, blind)
    for record in history:
        if not math.isfinite(record.train_loss):
            return f"training loss {record.train_loss} at epoch {record.epoch}"
        if record.train_loss > limit:
            bound = f"{limit:.4g} = 10 × max(start {known:.4g}, {words})"
            return f"training loss {record.train_loss:.4g} at epoch {record.epoch} exceeds {bound}"
    return ""
