"""Weights in safetensors files, and how far they have moved."""

import os
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from headstart.training import TrainingError

BUFFERS = ("running_mean", "running_var", "num_batches_tracked")


def save(state: Mapping[str, Tensor], path: Path) -> None:
    """Write a state dict; `path` then contains all of it, or what it contained before."""
    partial = path.with_name(f".{path.name}.partial")
    tensors = {
        name: tensor.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
        for name, tensor in state.items()
    }
    try:
        save_file(tensors, partial)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def load(path: Path) -> dict[str, Tensor]:
    """Read a state dict onto the CPU.

    Raises:
        TrainingError: the file is missing or damaged.
    """
    try:
        return load_file(path)
    except OSError as error:
        reason = error.strerror or error
        raise TrainingError(
            f"{path}: this checkpoint cannot be read: {reason}; make it again"
        ) from None
    except SafetensorError as error:
        raise TrainingError(f"{path}: this checkpoint is damaged: {error}; make it again") from None


def distance(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> float:
    """Return the Euclidean distance between the parameters of two state dicts of one network.

    Buffers do not count. A state dict does not mark them, so batch normalisation's
    running statistics and all tensors of integers are left out.

    Raises:
        TrainingError: the two do not have the same parameters.
    """
    names = [name for name in a if _counts(name, a[name])]
    other = [name for name in b if _counts(name, b[name])]
    if set(names) ^ set(other) or any(a[name].shape != b[name].shape for name in names):
        raise TrainingError("a distance needs two states of one network; their parameters differ")
    squares = [
        (a[name].double() - b[name].to(a[name].device).double()).square().sum() for name in names
    ]
    return float(torch.stack([square.cpu() for square in squares]).sum().sqrt())


def _counts(name: str, tensor: Tensor) -> bool:
    return tensor.is_floating_point() and name.rpartition(".")[2] not in BUFFERS
