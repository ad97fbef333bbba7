import math
from dataclasses import replace

import pytest
import torch
from in_memory import (
    CLASSES,
    SELECTION,
    VIT,
    WRN,
    Double,
    Evaluation,
    network,
    planted,
    run,
    training,
)
from torch import nn

import headstart.training.run as run_module
from headstart.networks.network import Network
from headstart.networks.weights import state_digest
from headstart.params.recipe import Selection
from headstart.training import TrainingError, evaluation
from headstart.training.evaluation import evaluate, evaluate_each
from headstart.training.loop import EpochRecord, Progress, fit


def test_training_learns_the_planted_task() -> None:
    outcome = run(options=training(epochs=8), train=planted(40, seed=1))
    assert outcome.history[0].validation_accuracy < 0.6
    assert outcome.history[-1].validation_accuracy > 0.9
    assert outcome.final_test_accuracy is not None
    assert outcome.final_test_accuracy > 0.9
    assert not outcome.diverged


def test_epoch_zero_is_the_untrained_network() -> None:
    net = network()
    first = evaluate(net, Evaluation(planted(6, seed=2)))
    start = evaluate(net, planted(8, seed=1).epoch(0))
    record = run(net).history[0]
    assert (record.epoch, record.steps, record.samples, record.learning_rate) == (0, 0, 0, 0.0)
    assert (record.validation_loss, record.validation_accuracy) == (first.loss, first.accuracy)
    assert (record.train_loss, record.train_accuracy) == (start.loss, start.accuracy)


def test_every_epoch_is_recorded_whatever_selection_prefers() -> None:
    options = Selection(patience=1)
    outcome = run(options=training(epochs=6), selection=options)
    assert [record.epoch for record in outcome.history] == list(range(7))
    assert [record.steps for record in outcome.history] == [2 * e for e in range(7)]
    assert [record.samples for record in outcome.history] == [32 * e for e in range(7)]


def test_the_same_seed_gives_the_same_run_whatever_was_drawn_before() -> None:
    one, two = network(WRN), network(WRN)
    first = run(one)
    torch.rand(5)
    assert run(two).history == first.history
    assert state_digest(one.state_dict()) == state_digest(two.state_dict())


def test_the_global_generator_is_given_back_as_it_was() -> None:
    before = torch.get_rng_state()
    run(network(WRN))
    assert torch.equal(torch.get_rng_state(), before)


def test_test_data_is_read_where_asked_and_at_the_end_and_changes_nothing() -> None:
    few, every = run(test_epochs={2}), run(test_epochs="all")
    assert [r.epoch for r in few.history if r.test_accuracy is not None] == [2, 4]
    assert all(record.test_accuracy is not None for record in every.history)
    assert every.history[2].test_accuracy == few.history[2].test_accuracy
    assert (few.best_epoch, few.test_accuracy_at_best) == (
        every.best_epoch,
        every.test_accuracy_at_best,
    )
    assert state_digest(few.best_state) == state_digest(every.best_state)


def test_test_accuracy_at_best_is_that_of_the_best_weights() -> None:
    net = network()
    outcome = run(
        net, options=training(epochs=6, schedule={"name": "step", "drops": (3,), "factor": 40})
    )
    final = state_digest(net.state_dict())
    assert outcome.final_test_accuracy == evaluate(net, Evaluation(planted(10, seed=3))).accuracy
    net.load_state_dict(outcome.best_state)
    best = outcome.history[outcome.best_epoch]
    assert evaluate(net, Evaluation(planted(6, seed=2))).accuracy == best.validation_accuracy
    assert outcome.test_accuracy_at_best == evaluate(net, Evaluation(planted(10, seed=3))).accuracy
    assert best.epoch < 6
    assert state_digest(net.state_dict()) != final


def test_checkpoints_are_offered_at_epoch_zero_and_after_every_epoch() -> None:
    kept: list[tuple[int, str]] = []

    def keep(epoch: int, net: Network, progress: Progress) -> None:
        assert (progress.steps, progress.samples) == (2 * epoch, 32 * epoch)
        kept.append((epoch, state_digest(net.state_dict())))

    net = network()
    before = state_digest(net.state_dict())
    outcome = run(net, keep=keep)
    assert [epoch for epoch, _ in kept] == [0, 1, 2, 3, 4]
    assert dict(kept)[0] == before
    assert dict(kept)[4] == state_digest(net.state_dict())
    assert dict(kept)[outcome.best_epoch] == state_digest(outcome.best_state)


def test_a_rate_near_zero_keeps_weights_and_accuracy() -> None:
    net = network(VIT)
    run(net, options=training(epochs=8), train=planted(40, seed=1), rate=0.02)
    before = evaluate(net, Evaluation(planted(10, seed=3)))
    digest = state_digest(net.state_dict())
    outcome = run(net, rate=1e-30)
    assert state_digest(net.state_dict()) == digest
    assert outcome.final_test_accuracy == before.accuracy


def test_channels_last_changes_the_order_in_memory_and_nothing_that_matters() -> None:
    plain, last = run(), run(options=training(channels_last=True))
    for one, two in zip(plain.history, last.history, strict=True):
        assert one.train_loss == pytest.approx(two.train_loss, rel=1e-3)
    assert all(tensor.is_contiguous() for tensor in last.best_state.values())


def test_label_smoothing_and_clipping_change_training() -> None:
    plain = run().history[-1].train_loss
    assert run(options=training(label_smoothing=0.2)).history[-1].train_loss > plain
    assert run(options=training(clip_norm=1e-9)).history[-1].train_loss > plain


def test_compiling_changes_the_training_forward_only(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[Network] = []
    monkeypatch.setattr(torch, "compile", lambda net, mode: compiled.append(net) or net)
    net = network()
    names = list(net.state_dict())
    run(net, options=training(compile=True))
    assert compiled == [net]
    assert list(net.state_dict()) == names


def test_bfloat16_and_cuda_graphs_need_cuda_and_a_head_must_fit_its_task() -> None:
    with pytest.raises(TrainingError, match="precision: 'bfloat16' needs CUDA, the device is cpu"):
        run(options=training(precision="bfloat16"))
    with pytest.raises(TrainingError, match="compile: 'cuda_graphs' needs CUDA, the device is cpu"):
        run(options=training(compile="cuda_graphs"))
    task = replace(planted(8, seed=1), num_classes=9)
    with pytest.raises(TrainingError, match="the head has 4 classes, the images have 9"):
        run(train=task)


def test_a_diverged_run_with_one_lucky_epoch_is_flagged_and_cannot_win(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spike, real = iter([0.1, 31 / 65, 0.1, 0.1, 0.1]), evaluate_each

    def lucky(net: Network, batches: object, objective: object) -> list[evaluation.Evaluation]:
        (result,) = real(net, batches, objective)  # type: ignore[arg-type]
        if getattr(batches, "num_images", 0) != 24:
            return [result]
        return [evaluation.Evaluation(result.loss, next(spike))]

    monkeypatch.setattr(run_module, "evaluate_each", lucky)
    net = network()
    outcome = run(net, rate=1e9)
    assert max(outcome.history, key=lambda record: record.validation_accuracy).epoch == 1
    assert outcome.diverged
    assert "training loss" in outcome.reason
    assert outcome.best_epoch == 4
    assert outcome.test_accuracy_at_best == outcome.final_test_accuracy
    assert state_digest(outcome.best_state) == state_digest(net.state_dict())


class Poisoned:
    """The planted task; the second batch of one epoch is NaN."""

    num_images, num_classes, steps = 32, CLASSES, 2

    def __init__(self, start: int) -> None:
        self.start, self.calls = start, 0

    def epoch(self, epoch: int):  # type: ignore[no-untyped-def]
        self.calls += 1
        for step, (images, labels) in enumerate(planted(8, seed=1).epoch(epoch)):
            yield (images * math.nan if (epoch, step) == (self.start, 1) else images), labels


def test_epochs_of_a_network_that_is_lost_are_recorded_as_if_they_had_been_computed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    task, computed = Poisoned(2), Poisoned(2)
    quick = run(options=training(epochs=8), train=task, test_epochs="all")  # type: ignore[arg-type]
    monkeypatch.setattr(run_module.Slot, "lost", lambda *_: False)
    full = run(options=training(epochs=8), train=computed, test_epochs="all")  # type: ignore[arg-type]
    assert task.calls < computed.calls == 9
    assert repr([comparable(r) for r in quick.history]) == repr(
        [comparable(r) for r in full.history]
    )
    assert quick.diverged
    assert quick.best_epoch == 8


def comparable(record: EpochRecord) -> tuple[object, ...]:
    return tuple(value for name, value in vars(record).items() if name != "seconds")


def double(per_class: int, seed: int) -> Double:
    task = planted(per_class, seed)
    return Double(task.images.double(), task.labels)


def losses_with_scaled_convolutions(scale: float) -> list[float]:
    net = network().double()
    for name, parameter in net.named_parameters():
        parameter.requires_grad_("convolution" in name)
        parameter.data *= scale if "convolution" in name else 1
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d) and module.running_var is not None:
            module.eps = 1e-30
            module.running_var *= scale**2
    options = training(optimizer={"weight_decay": 0.05 / scale**2})
    data = (double(8, seed=1), double(6, seed=2), None)
    outcome = fit(net, *data, options, 0.05 * scale**2, 0, selection=SELECTION, test_epochs=())
    return [loss for r in outcome.history for loss in (r.train_loss, r.validation_loss)]


def test_scaled_convolutions_before_batch_norm_with_scaled_rate_and_decay_learn_the_same() -> None:
    """(w, η, λ) → (c w, c² η, λ / c²) leaves the trajectory of the function as it is (ε → 0)."""
    reference = losses_with_scaled_convolutions(1.0)
    assert reference[-2] < 0.95 * reference[0]
    assert losses_with_scaled_convolutions(3.0) == pytest.approx(reference, rel=1e-8)
