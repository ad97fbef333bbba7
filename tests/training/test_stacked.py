"""Runs trained together: each as it would be alone, to rounding, and to the bit whatever runs beside it."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from in_memory import CLASSES, CONVNET, VIT, WRN, network, planted
from torch import Tensor, nn

from headstart.networks.network import Network
from headstart.networks.stacked import stack
from headstart.params.models import ConvNet, Model, Timm
from headstart.params.recipe import Selection, Training
from headstart.tasks.batches import Normalization
from headstart.tasks.task import LabelledImages, Task, TestImages, TrainImages, ValidationImages
from headstart.training.assembly import RunImages, RunSeeds, train_group, train_run
from headstart.training.records import EpochRecord, Outcome

SLOTS = 8
RESNET = Timm(
    kind="timm", name="resnet18", kwargs={"layers": [1, 1, 1, 1], "channels": [8, 8, 16, 16]}
)
NAMES = tuple(map(str, range(CLASSES)))
RATES = (0.01, 0.03, 0.1, 0.02, 0.05)
# Rounding differs, and grows with every update: relative, over whole runs.
TOLERANCE = {"convnet": 2e-3, "wrn": 5e-3, "vit": 2e-3, "resnet": 2e-2}


def part(kind: Any, per_class: int, seed: int) -> Any:
    made = planted(per_class, seed=seed)
    return kind((made.images * 40 + 128).clamp(0, 255).to(torch.uint8), made.labels, NAMES)


def images(seed: int = 1) -> RunImages:
    parts: list[LabelledImages] = [
        part(TrainImages, 9, seed),
        part(ValidationImages, 6, 2),
        part(TestImages, 10, 3),
    ]
    return RunImages(parts[0], Task("task", NAMES, *parts), Normalization((0.5,), (0.2,)))  # type: ignore[arg-type]


IMAGES = {draw: images(1 + 10 * draw) for draw in (0, 1)}


def recipe(**options: Any) -> Training:
    given = {"epochs": 5, "batch_size": 16, "channels_last": True, **options}
    return Training.model_validate(given)


def rules(folder: Path, options: dict[str, Any]) -> dict[str, Any]:
    given = {
        "mode": "finetune",
        "device": "cpu",
        "selection": Selection(),
        "test_epochs": {2},
        "fingerprint": "",
        "resume": folder / "state",
        "report": lambda _: None,
    }
    return given | options


def together(
    runs: list[tuple[int, int, float]],
    folder: Path,
    model: Model = CONVNET,
    training: Training | None = None,
    **options: Any,
) -> list[tuple[Outcome, Network]]:
    """Train runs, each a start, a draw and a rate, as one program."""
    starts = {start: network(model, start) for start, _, _ in runs}
    found = train_group(
        [starts[start] for start, _, _ in runs],
        [IMAGES[draw] for _, draw, _ in runs],
        training or recipe(),
        [rate for _, _, rate in runs],
        [RunSeeds("transfer", (draw,)) for _, draw, _ in runs],
        SLOTS,
        **rules(folder, options),
    )
    assert found is not None
    return found


def alone(
    run: tuple[int, int, float],
    folder: Path,
    model: Model = CONVNET,
    training: Training | None = None,
    **options: Any,
) -> tuple[Outcome, Network]:
    start, draw, rate = run
    net, seeds = network(model, start), RunSeeds("transfer", (draw,))
    outcome = train_run(
        net, IMAGES[draw], training or recipe(), rate, seeds, **rules(folder, options)
    )
    return outcome, net


GRID = [(row % 3, row % 2, rate) for row, rate in enumerate(RATES)]
ADAMW = {"optimizer": {"name": "adamw", "weight_decay": 0.1}}
RECIPES: dict[str, tuple[Model, dict[str, Any]]] = {
    "convnet": (
        CONVNET,
        {
            "optimizer": {"weight_decay": 1e-2},
            "schedule": {"name": "cosine", "warmup_epochs": 1},
            "augmentation": {"shift": 1, "flip": True},
        },
    ),
    "wrn": (WRN, {"label_smoothing": 0.1, "clip_norm": 0.5, "recalibrate_batch_norm": True}),
    "vit": (VIT, ADAMW),
    "resnet": (RESNET, {"epochs": 2, "optimizer": {"nesterov": False}}),
}


@pytest.mark.parametrize("name", RECIPES)
def test_a_run_is_that_of_one_by_one_training_to_rounding(name: str, tmp_path: Path) -> None:
    model, options = RECIPES[name]
    rates = [rate / 20 if name == "vit" else rate for rate in RATES]
    grid = [(start, draw, rate) for (start, draw, _), rate in zip(GRID, rates, strict=True)]
    found = together(grid, tmp_path, model, recipe(**options))
    close = {"rel": TOLERANCE[name], "abs": TOLERANCE[name]}
    for run, (outcome, net) in zip(grid, found, strict=True):
        expected, single = alone(run, tmp_path, model, recipe(**options))
        assert len(outcome.history) == len(expected.history)
        for one, other in zip(outcome.history, expected.history, strict=True):
            assert values(one) == pytest.approx(values(other), **close)
            assert one.learning_rate == other.learning_rate
        assert outcome.best_epoch == expected.best_epoch
        assert not outcome.diverged
        moved = single.state_dict()
        for key, value in net.state_dict().items():
            torch.testing.assert_close(value, moved[key], rtol=0.05, atol=TOLERANCE[name])
        for key, value in outcome.best_state.items():
            best = expected.best_state[key]
            torch.testing.assert_close(value, best, rtol=0.05, atol=TOLERANCE[name])


def values(record: EpochRecord) -> tuple[float, float]:
    return record.train_loss, record.validation_loss


def test_another_rate_is_another_run(tmp_path: Path) -> None:
    """What the test above would let pass is less than what a tenth of the rate changes."""
    outcome, _ = alone(GRID[1], tmp_path)
    other, _ = alone((1, 1, 0.9 * GRID[1][2]), tmp_path)
    assert values(other.history[-1]) != pytest.approx(values(outcome.history[-1]), rel=2e-3)


@pytest.mark.parametrize("name", ["convnet", "wrn", "vit", "odd"])
def test_bits_depend_on_no_other_run_and_on_no_slot(name: str, tmp_path: Path) -> None:
    model, options = RECIPES.get(name, (ConvNet(kind="convnet", width=3), {"channels_last": False}))
    training = recipe(**{**options, "epochs": 3})
    first = together(GRID, tmp_path, model, training)
    # Another order, other companions, more of them, one of which diverges at once.
    other = [(2, 0, 1e9), *reversed(GRID), (1, 0, 0.07)]
    second = dict(zip(other, together(other, tmp_path, model, training), strict=True))
    assert second[other[0]][0].diverged
    for run, (outcome, net) in zip(GRID, first, strict=True):
        again, same = second[run]
        assert again.history == outcome.history
        assert again.best_epoch == outcome.best_epoch
        for key, value in net.state_dict().items():
            assert torch.equal(value, same.state_dict()[key]), key
        for key, value in outcome.best_state.items():
            assert torch.equal(value, again.best_state[key]), key


def test_a_diverged_run_is_flagged_and_its_companions_are_not(tmp_path: Path) -> None:
    grid = [(0, 0, 1e9), (0, 0, 0.05)]
    (lost, _), (fine, _) = together(grid, tmp_path)
    expected, _ = alone(grid[0], tmp_path)
    assert (lost.diverged, lost.best_epoch) == (expected.diverged, expected.best_epoch) == (True, 5)
    assert not fine.diverged
    assert lost.test_accuracy_at_best == lost.final_test_accuracy


def test_a_probe_is_trained_on_features_of_each_start(tmp_path: Path) -> None:
    for run, (outcome, net) in zip(GRID, together(GRID, tmp_path, mode="probe"), strict=True):
        expected, single = alone(run, tmp_path, mode="probe")
        assert values(outcome.history[-1]) == pytest.approx(values(expected.history[-1]), rel=1e-4)
        torch.testing.assert_close(net.head.weight, single.head.weight, rtol=1e-3, atol=1e-5)
        start = network(CONVNET, run[0]).backbone.state_dict()
        assert all(torch.equal(start[k], v) for k, v in net.backbone.state_dict().items())


def test_a_killed_group_goes_on_and_ends_in_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = together(GRID, tmp_path)
    monkeypatch.setattr("headstart.training.loop.SAVE_EVERY_SECONDS", 0.0)

    def killed(records: list[EpochRecord]) -> None:
        if records[0].epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        together(GRID, tmp_path, report=killed)
    epochs: list[int] = []
    found = together(GRID, tmp_path, report=lambda records: epochs.append(records[0].epoch))
    assert epochs == [3, 4, 5]
    for (one, net), (other, same) in zip(found, expected, strict=True):
        assert one.history == other.history
        assert all(torch.equal(v, same.state_dict()[k]) for k, v in net.state_dict().items())


class Mixing(nn.Module):
    """Draws random numbers by a function, which vmap and groups cannot give each network its own of."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(1, 4, 3)

    def forward(self, maps: Tensor) -> Tensor:
        return F.dropout(self.convolution(maps).mean((2, 3)), 0.5, self.training)


class Unusual(nn.Module):
    """No layer that groups know, and a forward pass that looks at channels."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.randn(64))
        self.norm = nn.LayerNorm(64)

    def forward(self, maps: Tensor) -> Tensor:
        return self.norm(maps.flatten(1) * self.scale).sort(1).values[:, :4]


def test_what_groups_do_not_know_is_mapped_and_what_neither_knows_is_refused() -> None:
    inputs = torch.randn(3, 2, 1, 8, 8)

    def networks(backbone: nn.Module) -> list[Network]:
        made = [Network(copy.deepcopy(backbone), nn.Linear(4, 3)) for _ in range(3)]
        for net in made:
            nn.init.normal_(next(net.backbone.parameters()))
        return made

    assert stack(networks(Mixing()), inputs, channels_last=False) is None
    unusual = networks(Unusual())
    stacked = stack(unusual, inputs, channels_last=False)
    assert stacked is not None
    assert type(stacked).__name__ == "_Mapped"
    for net, row, found in zip(unusual, inputs, stacked(inputs), strict=True):
        torch.testing.assert_close(found, net(row))


@pytest.mark.cuda
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("name", ["convnet", "vit"])
def test_on_a_gpu_a_run_is_that_of_one_by_one_training(name: str, tmp_path: Path) -> None:
    model, options = RECIPES[name]
    found = together(GRID, tmp_path, model, recipe(**options), device="cuda")
    for run, (outcome, _) in zip(GRID, found, strict=True):
        expected, _ = alone(run, tmp_path, model, recipe(**options), device="cuda")
        for one, other in zip(outcome.history, expected.history, strict=True):
            assert values(one) == pytest.approx(values(other), rel=2e-2, abs=2e-2)
