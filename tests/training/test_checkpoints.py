from pathlib import Path

import pytest
import torch
from in_memory import network, run

from headstart.networks.weights import state_digest
from headstart.training import TrainingError
from headstart.training.checkpoints import distance, load, save


def test_a_checkpoint_comes_back_bit_for_bit_and_nothing_else_is_written(tmp_path: Path) -> None:
    net = network().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    save(net.state_dict(), tmp_path / "epoch.safetensors")
    loaded = load(tmp_path / "epoch.safetensors")
    assert state_digest(loaded) == state_digest(net.state_dict())
    assert [path.name for path in tmp_path.iterdir()] == ["epoch.safetensors"]


def test_the_same_weights_give_the_same_bytes(tmp_path: Path) -> None:
    save(network().state_dict(), tmp_path / "a")
    save(dict(reversed(network().state_dict().items())), tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_tied_weights_can_be_saved(tmp_path: Path) -> None:
    shared = torch.ones(3)
    save({"a": shared, "b": shared}, tmp_path / "tied")
    assert torch.equal(load(tmp_path / "tied")["b"], shared)


def test_a_missing_or_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="absent: this checkpoint cannot be read"):
        load(tmp_path / "absent")
    (tmp_path / "damaged").write_bytes(b"\x10")
    with pytest.raises(TrainingError, match="damaged: this checkpoint is damaged"):
        load(tmp_path / "damaged")


def test_the_distance_is_euclidean_over_parameters_and_leaves_buffers_out() -> None:
    a = {"w": torch.zeros(2, 2), "b": torch.zeros(1), "n.running_mean": torch.zeros(3)}
    b = {"w": torch.full((2, 2), 1.5), "b": torch.tensor([4.0]), "n.running_mean": torch.ones(3)}
    counter = {"n.num_batches_tracked": torch.tensor(7)}
    assert distance(a | counter, b | counter) == 5.0
    assert distance(a, a) == 0.0


def test_the_distance_of_a_trained_network_is_that_of_its_parameters() -> None:
    net = network()
    start = {name: value.clone() for name, value in net.state_dict().items()}
    run(net)
    pairs = [(p.detach(), start[name]) for name, p in net.named_parameters()]
    expected = sum((p - q).double().square().sum() for p, q in pairs) ** 0.5
    assert distance(net.state_dict(), start) == pytest.approx(float(expected))


def test_a_distance_between_two_networks_is_refused() -> None:
    with pytest.raises(TrainingError, match="two states of one network"):
        distance({"w": torch.zeros(2)}, {"w": torch.zeros(3)})
    with pytest.raises(TrainingError, match="two states of one network"):
        distance({"w": torch.zeros(2)}, {"v": torch.zeros(2)})
