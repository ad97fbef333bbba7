import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from headstart.training import TrainingError, device
from headstart.training.device import choose_device, one_thread, reproducible


def gpus(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)


@pytest.fixture(autouse=True)
def _locks_are_let_go() -> Iterator[None]:
    yield
    while device._held:
        device._held.pop().close()


def test_auto_takes_the_cpu_where_there_is_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    gpus(monkeypatch, 0)
    assert choose_device("auto") == choose_device("cpu") == torch.device("cpu")


def test_cuda_without_a_gpu_is_an_error_with_a_fix(monkeypatch: pytest.MonkeyPatch) -> None:
    gpus(monkeypatch, 0)
    with pytest.raises(
        TrainingError, match=r"runtime\.device: 'cuda', but torch finds no GPU; use"
    ):
        choose_device("cuda")
    with pytest.raises(TrainingError, match="auto, cpu or cuda is needed, found 'gpu'"):
        choose_device("gpu")


def test_processes_take_different_gpus_and_share_them_when_all_are_taken(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    gpus(monkeypatch, 2)
    locks = tmp_path / "devices"
    assert choose_device("auto", locks) == torch.device("cuda", 0)
    assert choose_device("cuda", locks) == torch.device("cuda", 1)
    assert choose_device("cuda", locks) == torch.device("cuda", os.getpid() % 2)
    device._held.pop(0).close()
    assert choose_device("cuda", locks) == torch.device("cuda", 0)


def test_a_gpu_that_another_process_locked_is_passed_over(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    gpus(monkeypatch, 2)
    with (tmp_path / "cuda-0.lock").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        assert choose_device("cuda", tmp_path) == torch.device("cuda", 1)


def test_settings_make_torch_repeatable() -> None:
    one_thread()
    assert torch.get_num_threads() == 1
    try:
        reproducible(torch.device("cpu"))
        assert torch.are_deterministic_algorithms_enabled()
        assert torch.get_float32_matmul_precision() == "highest"
    finally:
        torch.use_deterministic_algorithms(False)
