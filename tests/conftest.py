"""What all tests share: one thread, no GPU, and a project folder of their own."""

import os
from pathlib import Path

import pytest

for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"


def pytest_configure(config: pytest.Config) -> None:
    """Hide every GPU before torch looks: only `pytest -n 0 -m cuda`, which runs nothing else, sees one."""
    if config.option.markexpr != "cuda":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("cuda"):
        import torch

        if not torch.cuda.is_available():
            pytest.skip("needs a GPU, which `pytest -n 0 -m cuda` shows to the tests")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty project folder that is the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path
