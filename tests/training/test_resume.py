from pathlib import Path
from typing import Any

import pytest
import torch
from in_memory import CONVNET, VIT, WRN, network, run, training

from headstart.networks.weights import state_digest
from headstart.params.models import Model
from headstart.studies.early_stopping.params import Transfer
from headstart.training.loop import EpochRecord, Outcome
from headstart.training.run import read_state, write_state

SGD = {"name": "sgd", "weight_decay": 0.01}
ADAMW = {"name": "adamw", "weight_decay": 0.01}


class KilledError(Exception):
    """The end of a process."""


def killed_at(*epochs: int) -> Any:
    waiting = list(epochs)

    def report(record: EpochRecord) -> None:
        if record.epoch in waiting:
            waiting.remove(record.epoch)
            raise KilledError

    return report


def with_kills(model: Model, path: Path, *epochs: int, **arguments: Any) -> tuple[Outcome, str]:
    """Start anew, as a new process would, until the run ends."""
    report = killed_at(*epochs)
    while True:
        net = network(model)
        try:
            outcome = run(net, resume=path, report=report, save_every_seconds=0, **arguments)
        except KilledError:
            continue
        return outcome, state_digest(net.state_dict())


@pytest.mark.parametrize(
    ("model", "optimizer", "channels_last"),
    [
        (CONVNET, SGD, False),
        (CONVNET, SGD, True),
        (WRN, SGD, True),
        (WRN, ADAMW, False),
        (VIT, ADAMW, False),
    ],
)
def test_a_killed_run_started_again_ends_in_the_same_weights_and_history(
    tmp_path: Path, model: Model, optimizer: dict[str, Any], channels_last: bool
) -> None:
    schedule = {"name": "cosine", "warmup_epochs": 1.5}
    options = training(
        epochs=6, optimizer=optimizer, schedule=schedule, channels_last=channels_last
    )
    net = network(model)
    whole = run(net, options, test_epochs={1, 5})
    outcome, digest = with_kills(
        model, tmp_path / "state.pt", 0, 2, 3, 5, options=options, test_epochs={1, 5}
    )
    assert outcome.history == whole.history
    assert digest == state_digest(net.state_dict())
    assert state_digest(outcome.best_state) == state_digest(whole.best_state)
    assert outcome.test_accuracy_at_best == whole.test_accuracy_at_best


def test_a_diverged_run_can_be_killed_too(tmp_path: Path) -> None:
    whole = run(rate=1e30)
    outcome, _ = with_kills(CONVNET, tmp_path / "state.pt", 1, 3, rate=1e30)
    assert repr(outcome.reason) == repr(whole.reason) != "''"
    assert [r.validation_accuracy for r in outcome.history] == [
        r.validation_accuracy for r in whole.history
    ]


def test_after_a_kill_checkpoints_are_offered_for_the_epochs_that_follow_only(
    tmp_path: Path,
) -> None:
    kept: list[int] = []
    with_kills(CONVNET, tmp_path / "state.pt", 2, keep=lambda epoch, *_: kept.append(epoch))
    assert kept == [0, 1, 2, 3, 4]


def kill_at_two(path: Path, **arguments: Any) -> None:
    with pytest.raises(KilledError):
        run(resume=path, report=killed_at(2), save_every_seconds=0, **arguments)


@pytest.mark.parametrize(
    "arguments", [{"fingerprint": "other data"}, {"rate": 0.01}, {"options": training(epochs=5)}]
)
def test_a_state_of_another_run_is_discarded(tmp_path: Path, arguments: dict[str, Any]) -> None:
    path = tmp_path / "state.pt"
    kill_at_two(path)
    assert run(resume=path, **arguments).history == run(**arguments).history
    assert not path.exists()


def test_a_wider_grid_of_transfer_learning_rates_discards_no_state(tmp_path: Path) -> None:
    def options(*rates: float) -> Transfer:
        grid = {"source_epochs": (0,), "shots": (1,), "draws": (0,), "learning_rates": rates}
        return Transfer(epochs=4, mode="finetune", targets=("t",), **grid)  # type: ignore[arg-type]

    path, epochs = tmp_path / "state.pt", list[int]()
    kill_at_two(path, options=options(0.05))
    run(options=options(0.05, 0.1), resume=path, report=lambda record: epochs.append(record.epoch))
    assert epochs == [3, 4]


@pytest.mark.parametrize("place", [5, 40, 2000, -100])
def test_a_damaged_state_is_discarded(tmp_path: Path, place: int) -> None:
    path = tmp_path / "state.pt"
    kill_at_two(path)
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    assert run(resume=path).history == run().history


@pytest.mark.parametrize("length", [0, 10, 3000])
def test_a_cut_state_is_no_state(tmp_path: Path, length: int) -> None:
    path, device = tmp_path / "state.pt", torch.device("cpu")
    write_state(path, "mine", {"weights": torch.arange(2000.0)})
    assert read_state(path, "mine", device) is not None
    path.write_bytes(path.read_bytes()[:length])
    assert read_state(path, "mine", device) is None
    assert read_state(path, "mine", device) is None


def test_a_state_is_written_at_most_as_often_as_asked(tmp_path: Path) -> None:
    run(resume=tmp_path / "state.pt", save_every_seconds=3600)
    assert not list(tmp_path.iterdir())
    run(resume=tmp_path / "state.pt", save_every_seconds=0)
    assert [path.name for path in tmp_path.iterdir()] == ["state.pt"]
