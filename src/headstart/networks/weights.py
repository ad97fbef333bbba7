"""Weights to start from: a safetensors file or a timm tag, verified by content before use."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from headstart.networks import timm_models
from headstart.networks.network import Network, NetworkError
from headstart.params.models import Model, Timm

CLASSIFIERS = ("head", "head_dist", "fc", "classifier", "last_linear")
SHOWN = 4


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

    A file holds either a network of this project (`backbone.*`, `head.*`) or the backbone's own
    names, as timm publishes them; a timm model's are fitted to the number of channels and the image
    size by timm's own rules. Every weight of the backbone must be there. A head of another shape,
    or one under the backbone's own names, is dropped.

    Raises:
        NetworkError: the file or tag cannot be read, its content is not what the params say, or
            weights are missing, unknown or of another shape.
    """
    weights = model.weights
    if weights is None:
        return
    if weights.path is not None:
        name, state = weights.path, _read(Path(weights.path), weights.sha256)
    elif isinstance(model, Timm):
        name, state = f"timm weights {model.name!r}", timm_models.published_state(model.name)
        _verify(name, state_digest(state), weights.sha256)
    else:
        raise NetworkError(
            f"weights.path: null, but a {model.kind} network has no published weights; name a file"
        )
    if not any(key.startswith("backbone.") for key in state):
        if isinstance(model, Timm):
            state = timm_models.adapted_state(network.backbone, state, channels)
        state = _own_names(state, network)
    _load(network, state, name)


def _read(path: Path, sha256: str) -> dict[str, Tensor]:
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        _verify(str(path), found, sha256)
        return load_file(path)
    except OSError as error:
        raise NetworkError(f"{path}: these weights cannot be read: {error.strerror}") from None
    except SafetensorError as error:
        raise NetworkError(f"{path}: this is no safetensors file: {error}") from None


def _verify(name: str, found: str, stated: str) -> None:
    if found != stated:
        raise NetworkError(
            f"{name}: its content has sha256 {found}, but weights.sha256 says {stated}; "
            "restore the weights, or accept them with `headstart data add MODEL PATH`"
        )


def _own_names(state: Mapping[str, Tensor], network: Network) -> dict[str, Tensor]:
    """Put `backbone.` before the names, and leave out what was the classifier."""
    known = network.backbone.state_dict()
    return {
        f"backbone.{name}": tensor
        for name, tensor in state.items()
        if name in known or name.split(".")[0] not in CLASSIFIERS
    }


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
    found = [f"{len(keys)} {what}: {_some(keys)}" for what, keys in problems.items() if keys]
    if found:
        raise NetworkError(f"{name}: these weights are of another network: {'; '.join(found)}")
    network.load_state_dict(state)


def _some(keys: list[str]) -> str:
    return ", ".join(keys[:SHOWN]) + (", …" if len(keys) > SHOWN else "")
