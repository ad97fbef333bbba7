"""What all tests share: one thread, and a project folder of their own."""

import os
import shutil
from pathlib import Path

import pytest

for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"

ROOT = Path(__file__).resolve().parents[1]


def copy_project(folder: Path, preset: str = "smoke") -> Path:
    """Copy what a user edits into a folder: the workflow and the params, without results and source."""
    for name in ("Snakefile", "dvc.yaml", "claims.yaml", ".dvcignore", ".gitignore"):
        shutil.copy(ROOT / name, folder / name)
    for name in ("workflow", "profiles", "notebooks", "presets", "src"):
        shutil.copytree(
            ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info")
        )
    shutil.copy(ROOT / "presets" / f"{preset}.yaml", folder / "params.yaml")
    return folder


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty project folder that is the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path
