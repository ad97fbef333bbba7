"""Files of weights that people bring: opened at once, tried on the model, made a safetensors file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import save

from headstart.artifacts.files import file_sha256, read_json, write_atomically
from headstart.networks import timm_models
from headstart.networks.build import build
from headstart.networks.layouts import Found, read_content
from headstart.networks.network import NetworkError
from headstart.networks.weights import BACKBONE, head_beside, load_content, state_digest
from headstart.params.core import CoreParams
from headstart.params.models import Model, Timm
from headstart.tasks.nominal import dataset_size

FOLDER = Path("weights")
UNKNOWN_SHAPE = (3, 224)


def add_weights(
    params: CoreParams, name: str, file: Path, part: str | None = None
) -> tuple[dict[str, Any], list[str]]:
    """Return the entry of a file of weights for the params, and what was done to it, a line each.

    A safetensors file under the network's own names stays where it is; of every other one a copy of that
    kind is written to `weights/`.

    Raises:
        NetworkError: the file cannot be read safely, or its weights do not fit the model.
    """
    model = params.models[name].model_copy(update={"weights": None})
    channels, size = image_shape(params, name)
    network = build(model, channels, size, 2, seed=0)
    found = load_content(network, read_content(file), model, channels, str(file), part)
    notes, pixels = list(found.notes), stated_pixels(model, file)
    if not _stays(file, found):
        file = _converted(found, name, file)
        notes.append(f"written to {file}")
    entry: dict[str, Any] = {"path": str(file), "sha256": file_sha256(file)}
    if pixels:
        entry["pixels"] = pixels
        notes.append(f"its pixels: {pixel_words(pixels)}")
    else:
        notes.append(
            "nothing states how its pixels were normalised, so the source's images decide; "
            "`--mean 0.5 --deviation 0.5` states it"
        )
    return entry, notes


def published_weights(model: Model) -> dict[str, Any]:
    """Return the entry of the weights that timm publishes under a model's name and tag.

    Raises:
        NetworkError: there are none, or they cannot be had.
    """
    pixels = stated_pixels(model, None)
    digest = state_digest(
        timm_models.published_state(model.name if isinstance(model, Timm) else "")
    )
    return {"sha256": digest} | ({"pixels": pixels} if pixels else {})


def image_shape(params: CoreParams, model: str) -> tuple[int, int]:
    """Return channels and side of the images that a model pre-trains on, as far as the params tell."""
    pretrain = params.pretrain.get(model)
    tasks = [params.tasks[each] for each in pretrain.sources] if pretrain else []
    tasks += list(params.tasks.values())
    if not tasks:
        return UNKNOWN_SHAPE
    size = dataset_size(params.datasets[tasks[0].dataset])
    return size.channels, size.side


def stated_pixels(model: Model | None, file: Path | None) -> dict[str, Any] | None:
    """Return how pixels were normalised for weights: as the file says, the study it is of, or timm's model.

    What timm publishes is no file.
    """
    return (file and (_of_metadata(file) or _of_neighbour(file))) or _of_timm(model)


def pixel_words(pixels: Mapping[str, Any]) -> str:
    """Return a normalisation as a person writes it."""
    return f"mean {pixels['mean']}, deviation {pixels['deviation']}"


def _of_metadata(file: Path) -> dict[str, Any] | None:
    if file.suffix != ".safetensors":
        return None
    with safe_open(file, "numpy") as opened:
        stated = opened.metadata() or {}
    if "mean" not in stated or "std" not in stated:
        return None
    return _pixels(json.loads(stated["mean"]), json.loads(stated["std"]))


def _of_neighbour(file: Path) -> dict[str, Any] | None:
    beside = file.with_name("normalization.json")
    if not beside.is_file():
        return None
    stated = read_json(beside)
    return _pixels(stated["mean"], stated["std"])


def _of_timm(model: Model | None) -> dict[str, Any] | None:
    if not isinstance(model, Timm):
        return None
    stated = timm_models.pixels(model.name)
    return _pixels(*stated) if stated else None


def _pixels(mean: Any, deviation: Any) -> dict[str, Any]:
    """Return a normalisation for the params: one number where all channels have the same."""
    pairs = {"mean": mean, "deviation": deviation}
    listed = {
        name: [each] if isinstance(each, float) else list(each) for name, each in pairs.items()
    }
    return {name: v[0] if len(set(v)) == 1 else v for name, v in listed.items()}


def _stays(file: Path, found: Found) -> bool:
    with file.open("rb") as opened:
        torchs = opened.read(2)[:1] in (b"P", b"\x80")
    return not torchs and found.alone and found.part.prefix in ("", BACKBONE)


def _converted(found: Found, name: str, file: Path) -> Path:
    """Write the tensors of a network under its own names, with its head where it is one of this project."""
    state = found.state
    if head := head_beside(found):
        state = {f"{BACKBONE}{each}": tensor for each, tensor in state.items()} | head
    content = save({each: v.contiguous().clone() for each, v in sorted(state.items())})
    path = FOLDER / f"{name}-{hashlib.sha256(content).hexdigest()[:8]}.safetensors"
    try:
        write_atomically(path, content)
    except OSError as error:
        raise NetworkError(
            f"{path}: cannot be written: {error.strerror}; {file} was read"
        ) from None
    return path
