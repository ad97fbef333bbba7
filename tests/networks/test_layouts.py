"""Files of weights in the layouts that people have: read, or refused with what they hold."""

import argparse
import pickle
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from headstart.artifacts.files import file_sha256
from headstart.maintenance import external
from headstart.maintenance.weight_options import WeightOptions
from headstart.networks.build import build
from headstart.networks.layouts import find_network
from headstart.networks.network import NetworkError
from headstart.networks.weights import load_content
from headstart.params.models import Timm, Weights
from headstart.registry import load

PARAMS = """
datasets:
  digits: {kind: digits, size: 32}
tasks:
  digits: {dataset: digits}
models:
  # the one that learns
  net: {kind: timm, name: resnet10t}
  own: {kind: convnet, width: 4}
pretrain:
  net: {sources: [digits], seeds: [0], epochs: 0, learning_rate: 0.1}
plasticity: {enabled: false}
"""
FIRST = "layer1.0.conv1.weight"
State = dict[str, Tensor]


@pytest.fixture(scope="module")
def state() -> State:
    import timm

    torch.manual_seed(0)
    network = timm.create_model("resnet10t", num_classes=10)
    return {name: value.clone() for name, value in network.state_dict().items()}


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text(PARAMS)
    return tmp_path


def add(file: str, name: str = "net", **options: Any) -> str:
    said = external.add(name, file, None, Path("params.yaml"), WeightOptions(**options))
    assert "# the one that learns" in Path("params.yaml").read_text()
    return said


def added(name: str = "net") -> State:
    """Return the backbone that the params now build, for colour images of the file's own kind."""
    return build(load("params.yaml").models[name], 3, 32, 10, 0).backbone.state_dict()


def behind(prefix: str) -> Callable[[State], State]:
    return lambda state: {prefix + name: value for name, value in state.items()}


def averaged(state: State) -> State:
    return {name: value + 1 for name, value in state.items()}


def saver(state: State) -> dict[str, Any]:
    """Return what timm's training script saves."""
    return {
        "epoch": 3,
        "arch": "resnet10t",
        "state_dict": state,
        "state_dict_ema": averaged(state),
        "optimizer": {"state": {0: {"momentum_buffer": torch.zeros(3)}}, "param_groups": []},
        "args": argparse.Namespace(model="resnet10t", lr=0.1),
        "metric": np.float64(0.5),
        "version": 2,
    }


def lightning(state: State) -> dict[str, Any]:
    inner = behind("backbone.")(state) | {"classifier.weight": torch.zeros(3, 4)}
    return {"epoch": 1, "state_dict": inner, "hyper_parameters": {"lr": 0.1}}


@pytest.mark.parametrize(
    ("file", "change", "said"),
    [
        ("ddp.safetensors", behind("module."), "without 'module.'"),
        ("compiled.safetensors", behind("_orig_mod."), "without '_orig_mod.'"),
        ("both.safetensors", behind("_orig_mod.module."), "without '_orig_mod.module.'"),
        ("model.safetensors", behind("model."), "without 'model.'"),
        ("encoder.safetensors", behind("encoder."), "without 'encoder.'"),
        ("named.safetensors", behind("student.backbone."), "without 'student.backbone.'"),
        ("plain.pth", dict, "written to weights/net-"),
        ("saver.pth.tar", saver, "read its entry 'state_dict'"),
        ("deit.pth", lambda s: {"model": s, "model_ema": averaged(s)}, "not used: 'model_ema'"),
        ("last.ckpt", lightning, "left out: classifier.weight"),
        ("nested.bin", lambda s: {"a": {"b": s}}, "read its entry 'a.b'"),
    ],
)
def test_a_layout_is_read_and_what_was_done_is_said(
    state: State, file: str, change: Callable[[State], Any], said: str
) -> None:
    write(change(state), file)
    text = add(file)
    assert said in text
    assert "written to weights/net-" in text
    for name, value in added().items():
        assert torch.equal(value, state[name]), name
    path = load("params.yaml").models["net"].weights
    assert path is not None
    assert set(load_file(str(path.path))) == set(state)


def write(content: Any, file: str) -> None:
    if file.endswith(".safetensors"):
        save_file({name: value.contiguous() for name, value in content.items()}, file)
    else:
        torch.save(content, file)


def test_a_file_under_the_networks_own_names_stays_where_it_is(state: State) -> None:
    write(state, "plain.safetensors")
    assert "path': 'plain.safetensors'" in add("plain.safetensors")
    assert not Path("weights").exists()
    assert torch.equal(added()[FIRST], state[FIRST])


def test_names_that_submodules_were_wrapped_under_are_unwrapped(state: State) -> None:
    write({k.replace("layer1.", "layer1._orig_mod."): v for k, v in state.items()}, "a.pth")
    add("a.pth")
    assert torch.equal(added()[FIRST], state[FIRST])


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_become_float32(state: State, kind: torch.dtype) -> None:
    write(
        {k: v.to(kind) if v.is_floating_point() else v for k, v in state.items()}, "h.safetensors"
    )
    assert f"converted: {str(kind).removeprefix('torch.')} to float32" in add("h.safetensors")
    assert torch.equal(added()[FIRST], state[FIRST].to(kind).float())


def test_missing_counts_of_batches_are_set_to_zero(state: State) -> None:
    write({k: v for k, v in state.items() if "num_batches" not in k}, "old.safetensors")
    assert "num_batches_tracked, which the file lacks" in add("old.safetensors")
    assert torch.equal(added()[FIRST], state[FIRST])


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused_wherever_they_come_from(
    state: State, value: float
) -> None:
    broken = state | {FIRST: torch.full_like(state[FIRST], value)}
    write(broken, "nan.safetensors")
    with pytest.raises(NetworkError, match=rf"nan\.safetensors: 1 of its tensors.*{FIRST}"):
        add("nan.safetensors")
    sha256 = file_sha256(Path("nan.safetensors"))
    model = Timm(
        kind="timm", name="resnet10t", weights=Weights(path="nan.safetensors", sha256=sha256)
    )
    with pytest.raises(NetworkError, match="hold NaN or infinity"):
        build(model, 3, 32, 10, 0)


def test_zeros_and_another_architecture_are_refused_with_the_prefix(state: State) -> None:
    write({name: torch.zeros_like(value) for name, value in state.items()}, "zero.safetensors")
    with pytest.raises(NetworkError, match="all of its weights are zero"):
        add("zero.safetensors")
    short = {k: v for k, v in behind("model.net.")(state).items() if "layer4" not in k}
    write(short, "short.pth")
    with pytest.raises(NetworkError, match=r"its 'model\.net'\): .*missing: backbone\.layer4"):
        add("short.pth")
    write(state, "other.safetensors")
    with pytest.raises(NetworkError, match="these weights are of another network"):
        add("other.safetensors", "own")
    assert "weights" not in load("params.yaml").models["net"].model_dump(exclude_defaults=True)


@pytest.mark.parametrize("classifier", ["fc3", "classes.2", "output_layer"])
def test_one_linear_layer_on_the_features_is_the_classifier_whatever_its_name(
    classifier: str,
) -> None:
    own = load("params.yaml").models["own"]
    torch.manual_seed(3)
    backbone = build(own, 1, 32, 2, seed=0).backbone.state_dict()
    weight, bias = torch.randn(5, 16), torch.randn(5)
    write(backbone | {f"{classifier}.weight": weight, f"{classifier}.bias": bias}, "own.pt")
    assert f"left out: {classifier}.weight, {classifier}.bias" in add("own.pt", "own")
    others = {
        "width": {"fc3.weight": weight[:, :8]},
        "convolution": {"fc3.weight": torch.randn(5, 16, 1, 1)},
        "two layers": {"fc2.weight": torch.randn(16, 16), "fc3.weight": weight},
        "scale": {"fc3.weight": weight, "fc3.scale": bias},
    }
    for name, layers in others.items():
        write(backbone | layers, f"{name}.pt")
        with pytest.raises(NetworkError, match=r"another network: \d unknown: backbone\.fc"):
            add(f"{name}.pt", "own")


def test_of_several_networks_one_is_chosen_by_the_person(state: State) -> None:
    both = behind("student.")(state) | behind("teacher.")(averaged(state))
    write(both, "dino.pth")
    with pytest.raises(NetworkError, match="several networks, 'student', 'teacher'; choose one"):
        add("dino.pth")
    add("dino.pth", part="teacher")
    assert torch.equal(added()[FIRST], state[FIRST] + 1)
    with pytest.raises(NetworkError, match="--part pupil: its networks are 'student', 'teacher'"):
        add("dino.pth", part="pupil")


def test_equal_copies_are_one_network(state: State) -> None:
    found = find_network({"model": state, "ema": dict(state)}, state, "file")
    assert "not used" not in " ".join(found.notes)


def test_a_file_with_code_in_it_is_refused_by_the_class_that_it_names(state: State) -> None:
    torch.save({"state_dict": state, "model": torch.nn.Linear(2, 2)}, "code.pth")
    with pytest.raises(NetworkError, match=r"without running code: .*torch\.save\(network\.state"):
        add("code.pth")
    Path("old.pth").write_bytes(pickle.dumps(Path("b"), protocol=2))
    with pytest.raises(NetworkError, match="without running code") as caught:
        add("old.pth")
    assert "weights_only" not in str(caught.value)
    Path("text.pth").write_text("not weights")
    with pytest.raises(NetworkError, match="no safetensors file"):
        add("text.pth")


def test_an_archive_that_unpacks_to_many_times_its_size_is_refused(state: State) -> None:
    for name, tensor, fits in (("zeros", torch.zeros(500_000), False), ("own", state, True)):
        torch.save(tensor, "plain.pt")
        with zipfile.ZipFile("plain.pt") as plain, zipfile.ZipFile(f"{name}.pt", "w") as packed:
            for each in plain.infolist():
                packed.writestr(each.filename, plain.read(each), zipfile.ZIP_DEFLATED)
        if fits:
            add("own.pt")
            continue
        with pytest.raises(
            NetworkError, match=r"zeros\.pt: this archive unpacks to 2,00\d,\d+ bytes"
        ):
            add("zeros.pt")


def test_how_pixels_were_normalised_is_written_beside_the_weights(state: State) -> None:
    write(state, "plain.safetensors")
    assert "mean [0.485, 0.456, 0.406]" in add("plain.safetensors")
    own = build(load("params.yaml").models["own"], 1, 32, 10, 0).state_dict()
    write(own, "own.safetensors")
    assert "nothing states how its pixels were normalised" in add("own.safetensors", "own")
    add("own.safetensors", "own", mean=0.5, deviation=0.25)
    weights = load("params.yaml").models["own"].weights
    assert weights is not None
    assert weights.pixels is not None
    assert (weights.pixels.mean, weights.pixels.deviation) == (0.5, 0.25)


def filters() -> Mapping[str, str]:
    """Return small networks of timm whose checkpoint filters tell timm's names from the authors' own."""
    return {
        "swin_tiny_patch4_window7_224": "layers.0.blocks.0.attn.qkv.weight",
        "convnext_atto": "stages.0.blocks.0.conv_dw.weight",
    }


@pytest.mark.parametrize("name", filters())
def test_a_backbone_without_its_classifier_is_known_as_timms_own(name: str) -> None:
    import timm

    model = Timm(kind="timm", name=name)
    theirs = timm.create_model(name, num_classes=0).state_dict()
    network = build(model, 1, 224, 4, 0)
    load_content(network, theirs, model, 1, "file")
    each = filters()[name]
    assert torch.equal(network.backbone.state_dict()[each], theirs[each])
