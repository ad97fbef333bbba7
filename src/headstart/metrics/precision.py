"""Measuring a network without changing it: evaluation mode and full float32 arithmetic, both
undone.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from headstart.metrics import passes


@contextlib.contextmanager
def evaluation_mode(network: Callable[[Tensor], Tensor]) -> Iterator[None]:
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
    with passes.evaluation_mode(network):
        yield


@contextlib.contextmanager
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
