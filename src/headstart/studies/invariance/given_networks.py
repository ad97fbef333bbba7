"""Networks that a person names on the command line, as functions of pixels in [0, 1]."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter
from safetensors import safe_open

from headstart.artifacts.files import file_sha256, read_json
from headstart.artifacts.store import Artifact
from headstart.networks.build import build
from headstart.networks.network import NetworkError, Tokens, number_of_blocks
from headstart.networks.own import read_source
from headstart.networks.timm_models import published_state
from headstart.networks.weights import state_digest
from headstart.params.models import Model
from headstart.steps.sections import model_of
from headstart.tasks.batches import stated_normalization
from headstart.training.checkpoint_series import CheckpointSeries, Pixels

RANDOM = "random"
FORMS = (
    "a timm name (resnet18), `random:` before it for random weights, weights with their model "
    "(w.safetensors:resnet18), a network of your own (net.py:build), or a checkpoint of a study "
    "(results/pretrain/…/epoch-0040.safetensors, or its folder for the best epoch)"
)


@dataclass(frozen=True)
class GivenNetwork:
    """What a name stands for, before it is built; None where any size or number of channels will do."""

    name: str
    size: int | None
    channels: int | None
    build: Callable[[int, int, Tokens, str], Pixels]
    """From channels, size, what is read of blocks, and device."""


def require_file(name: str) -> None:
    """Refuse a name of a file that does not exist, before anything is downloaded.

    Raises:
        NetworkError: there is no such file.
    """
    path = Path(name.partition(":")[0])
    if path.suffix in (".safetensors", ".py") and not path.is_file():
        raise NetworkError(f"{path}: no such file")


def given(name: str) -> GivenNetwork:
    """Return the network of a name.

    Raises:
        NetworkError: a file is missing, or nothing is known under the name.
    """
    weights, _, model = name.partition(":")
    path = Path(weights)
    if weights == RANDOM:
        return _modelled(name, model, None)
    if path.is_dir() or (path.suffix == ".safetensors" and not model):
        return _checkpoint(name, path)
    if path.suffix == ".safetensors":
        require_file(name)
        return _modelled(name, model, {"path": str(path), "sha256": file_sha256(path)})
    if path.suffix == ".py":
        return _modelled(name, name, None)
    if "/" in name or ":" in name:
        raise NetworkError(f"{name}: names no network; give {FORMS}")
    return _modelled(name, name, {"sha256": state_digest(published_state(name))})


def _modelled(name: str, model: str, weights: dict[str, str] | None) -> GivenNetwork:
    file, _, function = model.partition(":")
    size = channels = None
    if file.endswith(".py"):
        if not function:
            raise NetworkError(f"{name}: name the function that makes the network: {file}:build")
        kind = {"kind": "file", "path": file, "function": function}
        kind["sha256"] = read_source(Path(file)).sha256
    elif not model:
        raise NetworkError(f"{name}: name the model of these weights; give {FORMS}")
    else:
        import timm

        kind = {"kind": "timm", "name": model}
        config = timm.get_pretrained_cfg(model) if timm.is_model(model.split(".")[0]) else None
        if config:
            channels, size = config.input_size[0], config.input_size[-1]
    typed = TypeAdapter[Model](Model).validate_python({**kind, "weights": weights})

    def made(channels: int, size: int, tokens: Tokens, device: str) -> Pixels:
        backbone = build(typed, channels, size, 2, seed=0).backbone
        config = getattr(backbone, "pretrained_cfg", None) or {}
        mean, std = config.get("mean", (0.0,)), config.get("std", (1.0,))
        normalization = stated_normalization(mean, std, channels)
        frozen = backbone.to(device).eval().requires_grad_(False)
        return _pixels(name, Pixels(frozen, normalization, (), tokens))

    return GivenNetwork(name, size, channels, made)


def _pixels(name: str, network: Pixels) -> Pixels:
    """Return the network with all of its blocks."""
    try:
        layers = tuple(range(1, number_of_blocks(network.backbone) + 1))
    except TypeError as error:
        raise NetworkError(f"{name}: {error}") from None
    return Pixels(network.backbone, network.normalization, layers, network.tokens)


def _checkpoint(name: str, path: Path) -> GivenNetwork:
    folder = path if path.is_dir() else path.parent
    manifest = folder / "manifest.json"
    if not path.exists() or not manifest.is_file() or not (folder / "checkpoints.json").is_file():
        why = (
            "it lies in no artifact of pretrain or trajectory" if path.exists() else "no such file"
        )
        raise NetworkError(f"{path}: {why}; give {FORMS}")
    artifact = Artifact(folder, read_json(manifest))
    epoch = "best" if path.is_dir() else path.stem.removeprefix("epoch-")
    if not re.fullmatch(r"best|\d+", epoch):
        raise NetworkError(f"{path}: no checkpoint; they are called epoch-0040.safetensors")

    def made(channels: int, size: int, tokens: Tokens, device: str) -> Pixels:
        shape = (channels, size, size)
        series = CheckpointSeries(artifact, model_of(artifact.manifest["params"]), shape, device)
        chosen = series.epoch(int(epoch) if epoch.isdigit() else epoch)
        return _pixels(name, series.pixels(chosen, (1,), tokens))

    channels = len(read_json(artifact.file("normalization.json"))["mean"])
    return GivenNetwork(name, _image_size(artifact), channels, made)


def _image_size(artifact: Artifact) -> int | None:
    """Return the side of the images that a run saw, from the data beside it; None where they are elsewhere."""
    for manifest in artifact.path.absolute().parent.parent.glob("data/*/manifest.json"):
        if read_json(manifest)["key"] in artifact.manifest["inputs"]:
            with safe_open(manifest.parent / "images.safetensors", "numpy") as file:
                return int(file.get_slice("images").get_shape()[-1])
    return None
