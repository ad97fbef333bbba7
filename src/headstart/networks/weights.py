"""Weights to start from: a file, one in an installed package, or a timm tag, verified by content before use."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from headstart.artifacts.files import package_files
from headstart.networks import timm_models
from headstart.networks.layouts import (
    COUNTS,
    Found,
    find_network,
    is_beside,
    read_content,
    some,
    state_dicts,
)
from headstart.networks.network import Network, NetworkError
from headstart.params.models import Model, Timm

SUFFIXES = (".safetensors", ".pth", ".pt")
Statistic = float | tuple[float, ...]
BACKBONE = "backbone."
HEAD = ("head.weight", "head.bias")


def state_digest(state: Mapping[str, Tensor]) -> str:
    """Return the sha256 of a state dict's content: names (sorted), dtypes, shapes and bytes."""
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def load_weights(network: Network, model: Model, channels: int) -> None:
    """Load the weights that the params name into a network, in place.

    A file holds a network of this project (`backbone.*`, `head.*`), the backbone under its own names, as
    timm publishes them, or one of the layouts of `networks.layouts`; where the params say `in_order`,
    another implementation's tensors in the same order. A timm model's are fitted to the number of channels
    and the image size by timm's own rules. Every weight of the backbone must be there. A head of another
    shape, or one under the backbone's own names, is dropped.

    Raises:
        NetworkError: the file or tag cannot be read, its content is not what the params say, or
            weights are missing, unknown, of another shape or no finite numbers.
    """
    weights = model.weights
    if weights is None:
        return
    if weights.path is not None or weights.package is not None:
        path = Path(weights.path or file_of(weights.package or ""))
        name, content = str(path), _read(path, weights.sha256)
    elif isinstance(model, Timm):
        name, content = f"timm weights {model.name!r}", timm_models.published_state(model.name)
        _verify(name, state_digest(content), weights.sha256)
    else:
        raise NetworkError(
            f"weights.path: null, but a {model.kind} network has no published weights; name a file"
        )
    if weights.in_order:
        content = _in_order(content, network, name)
    load_content(network, content, model, channels, name)


def load_content(
    network: Network, content: Any, model: Model, channels: int, name: str, part: str | None = None
) -> Found:
    """Load what a file holds into a network, in place; return what was found in it.

    Raises:
        NetworkError: weights are missing, unknown, of another shape or no finite numbers.
    """
    own = network.backbone.state_dict()
    found = find_network(content, own, name, part)
    state, notes = found.state, found.notes
    if isinstance(model, Timm):
        state = timm_models.adapted_state(network.backbone, state, channels, name)
    if absent := [each for each in own if each.endswith(COUNTS) and each not in state]:
        notes.append(f"set to 0: {len(absent)} × {COUNTS}, which the file lacks")
        state = state | {each: torch.zeros_like(own[each]) for each in absent}
    roots = [f"{each}." for each in timm_models.classifiers(network.backbone)]
    unknown = {each: v for each, v in state.items() if each not in own}
    dropped = [each for each in unknown if is_beside(each) or each.startswith(tuple(roots))]
    rest = {each: v for each, v in unknown.items() if each not in dropped}
    if classifier(rest, network.feature_dimension):
        dropped = list(unknown)
    if dropped:
        notes.append(f"left out: {some(dropped)}")
    backbone = {f"{BACKBONE}{each}": v for each, v in state.items() if each not in dropped}
    _load(network, backbone | head_beside(found), f"{name}{found.where}")
    return found


def classifier(tensors: Mapping[str, Tensor], features: int) -> dict[str, Tensor]:
    """Return weight and bias of the one linear layer on so many features, if nothing else is there.

    What a person's own network calls its classifier no list of names can know.
    """
    layers = {name.rpartition(".")[0] for name in tensors}
    named = {name.rpartition(".")[2]: tensor for name, tensor in tensors.items()}
    weight = named.get("weight")
    alone = len(layers) == 1 and set(named) <= {"weight", "bias"}
    fits = weight is not None and weight.ndim == 2 and weight.shape[1] == features
    return named if alone and fits else {}


def head_beside(found: Found) -> dict[str, Tensor]:
    """Return the head of a network of this project, which stands beside its backbone."""
    before = found.part.prefix.removesuffix(BACKBONE)
    head = {name: found.beside.get(f"{before}{name}") for name in HEAD}
    beside = found.part.prefix.endswith(BACKBONE)
    return {name: tensor.float() for name, tensor in head.items() if beside and tensor is not None}


def given_pixels(model: Model) -> tuple[Statistic, Statistic] | None:
    """Return mean and deviation of the pixels that given weights were trained on, as stated or as timm has them."""
    weights = model.weights
    if weights is None:
        return None
    if weights.pixels:
        return weights.pixels.mean, weights.pixels.deviation
    return timm_models.pixels(model.name) if isinstance(model, Timm) else None


def file_of(package: str) -> Path:
    """Return the file of weights that an installed Python package holds.

    Raises:
        NetworkError: it is not installed, or does not hold exactly one.
    """
    try:
        found = package_files(package, SUFFIXES)
    except LookupError as error:
        raise NetworkError(f"weights.package: {error}") from None
    if len(found) != 1:
        names = some(map(str, found)) or "none"
        raise NetworkError(
            f"weights.package: {package!r} holds {len(found)} files of weights ({names}); name one "
            "as weights.path"
        )
    return Path(str(found[0].locate()))


def _read(path: Path, sha256: str) -> Any:
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise NetworkError(f"{path}: these weights cannot be read: {error.strerror}") from None
    _verify(str(path), found, sha256)
    return read_content(path)


def _in_order(content: Any, network: Network, name: str) -> dict[str, Tensor]:
    """Give tensors the backbone's own names by their order; what follows was the classifier.

    Counts of batches, which old files lack and evaluation never reads, stay the backbone's.
    """
    if Path(name).suffix == SUFFIXES[0]:
        raise NetworkError(
            f"{name}: weights.in_order needs a file that torch saved; safetensors keeps no order"
        )
    _, state = max(state_dicts(content, name), key=lambda entry: len(entry[1]))
    own = network.backbone.state_dict()
    names = [each for each in own if not each.endswith(COUNTS)]
    tensors = [tensor for each, tensor in state.items() if not each.endswith(COUNTS)]
    counts = {each: tensor for each, tensor in own.items() if each.endswith(COUNTS)}
    return dict(zip(names, tensors, strict=False)) | counts


def _verify(name: str, found: str, stated: str) -> None:
    if found != stated:
        raise NetworkError(
            f"{name}: its content has sha256 {found}, but weights.sha256 says {stated}; "
            "restore the weights, or accept them with `headstart data add MODEL PATH`"
        )


def _load(network: Network, state: dict[str, Tensor], name: str) -> None:
    own = network.state_dict()
    heads = [key for key in own if key.startswith("head.")]
    if any(key not in state or state[key].shape != own[key].shape for key in heads):
        state = {key: value for key, value in state.items() if not key.startswith("head.")}
        state |= {key: own[key] for key in heads}
    problems = {
        "missing": [key for key in own if key not in state],
        "unknown": [key for key in state if key not in own],
        "of another shape": [
            f"{key} {tuple(state[key].shape)}, not {tuple(own[key].shape)}"
            for key in own
            if key in state and state[key].shape != own[key].shape
        ],
    }
    found = [f"{len(keys)} {what}: {some(keys)}" for what, keys in problems.items() if keys]
    if found:
        raise NetworkError(f"{name}: these weights are of another network: {'; '.join(found)}")
    network.load_state_dict(state)
