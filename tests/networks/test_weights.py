import hashlib
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from headstart.networks.build import build
from headstart.networks.network import Network, NetworkError
from headstart.networks.weights import state_digest
from headstart.params.models import ConvNet, Weights


def convnet(path: Path | None = None, width: int = 4) -> ConvNet:
    weights = None
    if path is not None:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        weights = Weights(path=str(path), sha256=digest)
    return ConvNet(kind="convnet", width=width, weights=weights)


def network(classes: int = 5, seed: int = 0) -> Network:
    return build(convnet(), 1, 16, classes, seed)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "weights.safetensors"


def test_weights_of_a_file_replace_the_random_ones(path: Path) -> None:
    save_file(network(seed=3).state_dict(), path)
    loaded = build(convnet(path), 1, 16, 5, seed=0)
    assert state_digest(loaded.state_dict()) == state_digest(network(seed=3).state_dict())


def test_a_head_of_another_shape_is_dropped_and_the_new_one_stays(path: Path) -> None:
    save_file(network(classes=9, seed=3).state_dict(), path)
    loaded = build(convnet(path), 1, 16, 5, seed=0)
    assert state_digest(loaded.head.state_dict()) == state_digest(network().head.state_dict())
    assert torch.equal(
        loaded.backbone.get_parameter("stage1.block1.convolution.weight"),
        network(seed=3).backbone.get_parameter("stage1.block1.convolution.weight"),
    )


def test_a_backbone_under_its_own_names_is_accepted(path: Path) -> None:
    backbone = network(seed=3).backbone.state_dict()
    save_file({**backbone, "fc.weight": torch.zeros(3, 16)}, path)
    loaded = build(convnet(path), 1, 16, 5, seed=0)
    assert state_digest(loaded.backbone.state_dict()) == state_digest(backbone)


def without_one(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key: value for key, value in state.items() if "stage2.block1.norm.weight" not in key}


def with_another(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {**state, "backbone.stage9": torch.zeros(2)}


def with_other_shape(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {**state, "backbone.stage1.block1.norm.bias": torch.zeros(7)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without_one, "1 missing: backbone.stage2.block1.norm.weight"),
        (with_another, "1 unknown: backbone.stage9"),
        (
            with_other_shape,
            r"of another shape: backbone.stage1.block1.norm.bias \(7,\), not \(4,\)",
        ),
    ],
)
def test_weights_that_do_not_fit_are_named(path: Path, change, message: str) -> None:  # type: ignore[no-untyped-def]
    save_file(change(network().state_dict()), path)
    with pytest.raises(NetworkError, match=rf"{path.name}: .*{message}"):
        build(convnet(path), 1, 16, 5, seed=0)


def test_a_file_that_changed_is_missing_or_is_none_is_named(path: Path) -> None:
    save_file(network().state_dict(), path)
    model = convnet(path)
    save_file(network(seed=1).state_dict(), path)
    with pytest.raises(NetworkError, match=r"sha256 .* but weights\.sha256 says"):
        build(model, 1, 16, 5, seed=0)
    path.write_bytes(b"no tensors")
    with pytest.raises(NetworkError, match="this is no safetensors file"):
        build(convnet(path), 1, 16, 5, seed=0)
    path.unlink()
    with pytest.raises(NetworkError, match=r"weights\.safetensors: these weights cannot be read"):
        build(model, 1, 16, 5, seed=0)


def test_only_timm_models_have_published_weights() -> None:
    model = ConvNet(kind="convnet", weights=Weights(sha256="0" * 64))
    with pytest.raises(NetworkError, match=r"weights\.path: null, but a convnet network has no"):
        build(model, 1, 16, 5, seed=0)


def test_the_digest_of_a_state_sees_names_dtypes_shapes_and_values_but_not_memory_order() -> None:
    state = {"a": torch.arange(16.0).reshape(1, 2, 2, 4), "b": torch.tensor(1)}
    same = {"b": torch.tensor(1), "a": state["a"].to(memory_format=torch.channels_last)}
    assert state_digest(state) == state_digest(same)
    others = [
        {**state, "a": state["a"] + 1},
        {**state, "a": state["a"].reshape(2, 2, 4)},
        {**state, "b": torch.tensor(1.0)},
        {"c": state["a"], "b": state["b"]},
    ]
    assert len({state_digest(other) for other in [state, *others]}) == 5
