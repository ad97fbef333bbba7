"""What all tests share: one thread, no GPU, a project folder of their own, a study that has run once."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from workflow import Project

# Files that take longest begin first, so that no worker waits for another at the end.
LONGEST = (
    "test_workflow_dvc.py",
    "test_workflow.py",
    "test_engines.py",
    "test_random_walk.py",
    "test_bad_input_workflow.py",
    "test_presets.py",
    "test_merlin_presets.py",
)

for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"


def pytest_configure(config: pytest.Config) -> None:
    """Hide every GPU before torch looks: only `pytest -n 0 -m cuda`, which runs nothing else, sees one."""
    if config.option.markexpr != "cuda":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order the files by `LONGEST`; the others stay as they are."""
    ranks = {name: rank for rank, name in enumerate(LONGEST)}
    items.sort(key=lambda item: ranks.get(item.path.name, len(ranks)))


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


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Return a project whose smoke study has run once; tests that change something copy it first."""
    from workflow import finished_study

    base = tmp_path_factory.getbasetemp()
    return finished_study(base.parent if "PYTEST_XDIST_WORKER" in os.environ else base)
