"""Forward passes over a network in evaluation mode, and a view of what they compute on the way.

Networks apply activations and normalisation as modules or as functions (`nn.ReLU`, `F.relu`). Hooks
on modules miss the second kind, so that passes are watched at torch's functions. A measurement changes
nothing: evaluation mode and full float32 arithmetic are both undone.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

Batches = Iterable[tuple[Tensor, Tensor]]
"""Pairs of images [b, ...] and labels [b], on the device of the network."""

MINIMUM_IMAGES = 2
CONVOLUTIONS = (F.conv1d, F.conv2d, F.conv3d)


class Call(NamedTuple):
    """A torch function that ran: in which module, from which tensors, to which."""

    module: str
    """Name of the innermost module that was running; empty for the network itself."""
    function: Callable[..., Any]
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


@contextmanager
def evaluation_mode(network: nn.Module) -> Iterator[None]:
    """Put a network into evaluation mode, and every module back into the mode it had."""
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


@contextmanager
def watched(network: nn.Module, observe: Callable[[Call], None]) -> Iterator[None]:
    """Call `observe` with every torch function that yields tensors, in the order in which they run.

    An observer must copy what it wants to keep, because a later function may work in place.
    """
    running = [""]

    def leave(*_: object) -> None:
        running.pop()

    hooks = []
    for name, module in network.named_modules():
        enter = partial(_append, running, name)
        hooks += [module.register_forward_pre_hook(enter), module.register_forward_hook(leave)]
    try:
        with _Watch(lambda *call: observe(Call(running[-1], *call))):
            yield
    finally:
        for hook in hooks:
            hook.remove()


def _append(names: list[str], name: str, *_: object) -> None:
    names.append(name)


class _Watch(TorchFunctionMode):
    def __init__(self, observe: Callable[..., None]) -> None:
        super().__init__()
        self._observe = observe

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        outputs = function(*args, **(kwargs or {}))
        tensors = tuple(_tensors(outputs))
        if tensors:
            self._observe(function, tuple(_tensors([args, kwargs])), tensors)
        return outputs


def _tensors(value: Any) -> Iterator[Tensor]:
    """All tensors in nested lists, tuples and dictionaries."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _tensors(part)
    elif isinstance(value, dict):
        yield from _tensors(list(value.values()))


def require_images(images: int) -> None:
    """Raise ValueError for fewer than 2 images."""
    if images < MINIMUM_IMAGES:
        raise ValueError(
            f"at least {MINIMUM_IMAGES} images are needed, found {images}: give more images"
        )


def summed_loss(network: nn.Module, images: Tensor, labels: Tensor) -> Float[Tensor, ""]:
    """Cross-entropy in nats, summed over a batch.

    Raises:
        ValueError: a label for which the network has no logit.
    """
    logits = network(images)
    classes = logits.shape[1]
    wrong = labels[(labels < 0) | (labels >= classes)]
    if len(wrong):
        raise ValueError(
            f"label {int(wrong[0])} for a network of {classes} classes: "
            "give the network the head of the task whose labels these are"
        )
    return F.cross_entropy(logits, labels, reduction="sum")


@contextmanager
def precise_evaluation_mode(network: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Put a module in evaluation mode, and afterwards every submodule back in the mode it was in.

    Batch statistics are then used, not updated, and dropout is off. Raises `ValueError` for weights
    in less than 32 bits. Plain functions pass through.
    """
    if not isinstance(network, nn.Module):
        yield
        return
    for name, weight in network.named_parameters():
        if weight.is_floating_point() and weight.element_size() < 4:
            raise ValueError(
                f"weight {name} is {weight.dtype}: its rounding would be taken for interactions, "
                "give network.float()"
            )
    with evaluation_mode(network):
        yield


@contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """Switch off autocast, reduced-precision float32 kernels (TF32, bfloat16) and the search for
    kernels.

    All switches stand afterwards as they stood before.
    """
    backends: Any = torch.backends  # its switches are not typed
    switches = (
        backends.cuda.matmul,
        backends.cudnn.conv,
        backends.cudnn.rnn,
        backends.mkldnn.matmul,
        backends.mkldnn.conv,
        backends.mkldnn.rnn,
    )
    per_operator = [switch.fp32_precision for switch in switches]
    legacy = _legacy_precision()
    search = backends.cudnn.benchmark, backends.cudnn.deterministic
    backends.cudnn.benchmark, backends.cudnn.deterministic = False, True
    # Both generations of switches are set: torch refuses to run where they contradict each other.
    torch.set_float32_matmul_precision("highest")
    backends.cudnn.allow_tf32 = False
    for switch in switches:
        switch.fp32_precision = "ieee"
    try:
        with torch.autocast(device.type, enabled=False):
            yield
    finally:
        backends.cudnn.benchmark, backends.cudnn.deterministic = search
        if legacy is not None:
            torch.set_float32_matmul_precision(legacy[0])
            backends.cudnn.allow_tf32 = legacy[1]
        for switch, value in zip(switches, per_operator, strict=True):
            switch.fp32_precision = value


def _legacy_precision() -> tuple[str, bool] | None:
    """Return the older global switches; None where the caller uses only the newer ones and they cannot be
    read.
    """
    try:
        return torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    except RuntimeError:
        return None
