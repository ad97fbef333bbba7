"""Choosing the device, and settings that make a run repeatable on it."""

import contextlib
import ctypes
import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from typing import IO, Literal

import torch
from torch import Tensor, nn

from headstart.training import TrainingError

_held: list[IO[str]] = []


def choose_device(
    name: Literal["auto", "cpu", "cuda"] | str, locks: Path | None = None
) -> torch.device:
    """Return the device to compute on; `auto` takes a GPU where there is one.

    Of several GPUs, one that no other process has locked in the folder `locks` is taken, and locked
    until this process ends. Where all are locked, processes share them in turn.

    Raises:
        TrainingError: an unknown name, or `cuda` without a GPU.
    """
    if name not in ("auto", "cpu", "cuda"):
        raise TrainingError(f"runtime.device: auto, cpu or cuda is needed, found {name!r}")
    count = 0 if name == "cpu" else torch.cuda.device_count()
    if name == "cuda" and not count:
        raise TrainingError(
            "runtime.device: 'cuda', but torch finds no GPU; use auto or cpu, or fix its driver"
        )
    if not count:
        return torch.device("cpu")
    return torch.device("cuda", 0 if count == 1 or locks is None else _free(count, locks))


def one_thread() -> None:
    """Let torch compute in one thread, so that results do not depend on the number of cores."""
    torch.set_num_threads(1)
    # torch refuses this once it has worked in parallel; operations stay single-threaded anyway.
    with contextlib.suppress(RuntimeError):
        torch.set_num_interop_threads(1)
    _keep_memory()


def _keep_memory() -> None:
    """Let glibc keep the memory of freed tensors, which it would fetch again, page by page, at every step."""
    with contextlib.suppress(AttributeError, OSError):
        mallopt = ctypes.CDLL(None).mallopt
        # M_MMAP_THRESHOLD, of which this is the most; M_TRIM_THRESHOLD.
        mallopt(-3, 32 * 2**20)
        mallopt(-1, 2**31 - 1)


def reproducible(device: torch.device) -> None:
    """Let torch use deterministic kernels and full float32 precision.

    On the CPU an operation without a deterministic kernel is an error. On CUDA it is a warning, as
    runs there are not promised to be bit-identical. TF32 is off: lower precision is an option of
    training (`precision: bfloat16`), and no hidden property of the hardware.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    # Its twin `use_deterministic_algorithms` loads torch's compiler, which few runs use.
    torch.set_deterministic_debug_mode("warn" if device.type == "cuda" else "error")
    # Filling fresh memory only helps to find bugs, and costs time at every operation.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = False
    # The backward pass of this kernel adds in any order; flash attention (bfloat16) does not.
    torch.backends.cuda.enable_mem_efficient_sdp(False)


def seed_generators(seed: int, device: torch.device) -> None:
    """Seed torch's global generators of the CPU and of a device.

    `torch.manual_seed` would note a call for every kind of device, with its stack, where there is none.
    """
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)


def compiled(network: nn.Module, *, cuda_graphs: bool = False) -> Callable[[Tensor], Tensor]:
    """Return a network's compiled forward pass, as deterministic as torch is set to be.

    With `cuda_graphs` its kernels are captured and launched as a whole, which small networks wait for most.
    """
    torch.use_deterministic_algorithms(
        torch.are_deterministic_algorithms_enabled(),
        warn_only=torch.is_deterministic_algorithms_warn_only_enabled(),
    )
    return torch.compile(network, mode="reduce-overhead" if cuda_graphs else None)


def _free(count: int, locks: Path) -> int:
    locks.mkdir(parents=True, exist_ok=True)
    for index in range(count):
        file = (locks / f"cuda-{index}.lock").open("w")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
            continue
        # The system lets go of the lock when the process ends, however it ends.
        _held.append(file)
        return index
    return os.getpid() % count
