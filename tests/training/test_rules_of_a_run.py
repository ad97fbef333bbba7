import math

import pytest

from headstart.params.recipe import Selection
from headstart.training.records import EpochRecord
from headstart.training.rules import best_epoch, divergence


def history(
    accuracies: list[float], losses: list[float] | None = None, train: list[float] | None = None
) -> list[EpochRecord]:
    losses, train = losses or [1.0] * len(accuracies), train or [1.0] * len(accuracies)
    return [
        EpochRecord(epoch, 0.1, train[epoch], 0.5, losses[epoch], accuracy, None, 0, 0, 0.0)
        for epoch, accuracy in enumerate(accuracies)
    ]


def test_the_best_epoch_is_the_earliest_with_the_best_validation_accuracy() -> None:
    assert best_epoch(history([0.1, 0.5, 0.7, 0.6, 0.7]), Selection()) == 2
    assert best_epoch(history([0.3, 0.3, 0.2]), Selection()) == 0


def test_by_loss_the_lowest_wins_and_a_loss_that_is_not_finite_never_does() -> None:
    records = history([0.9, 0.1, 0.2, 0.1], [math.nan, 0.9, math.inf, 0.8])
    assert best_epoch(records, Selection(metric="loss")) == 3
    assert best_epoch(history([0.1] * 2, [math.nan] * 2), Selection(metric="loss")) == 0


@pytest.mark.parametrize(("patience", "best"), [(1, 1), (2, 1), (3, 4), (4, 8), (None, 8)])
def test_patience_stops_looking_after_so_many_epochs_without_gain(
    patience: int | None, best: int
) -> None:
    records = history([0.1, 0.5, 0.4, 0.4, 0.6, 0.1, 0.1, 0.1, 0.9])
    assert best_epoch(records, Selection(patience=patience)) == best


def test_divergence_is_a_loss_above_ten_times_the_start_or_the_logarithm_of_classes() -> None:
    assert divergence(history([0] * 3, train=[5.0, 49.9, 1.0]), classes=4) == ""
    assert "epoch 1" in divergence(history([0] * 3, train=[5.0, 50.1, 1.0]), classes=4)
    assert divergence(history([0] * 2, train=[0.01, 10 * math.log(4) - 0.01]), classes=4) == ""
    assert divergence(history([0] * 2, train=[0.01, 10 * math.log(4) + 0.01]), classes=4)
    assert "nan" in divergence(history([0] * 2, train=[1.0, math.nan]), classes=4)
    assert "inf" in divergence(history([0] * 2, train=[math.inf, 1.0]), classes=4)
