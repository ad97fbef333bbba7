"""What all tests share: one thread, and a project folder of their own."""

import os
from pathlib import Path

import pytest

for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty project folder that is the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path
