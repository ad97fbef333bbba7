"""A built wheel carries what the commands need, in a folder that is no clone."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from checkout import ROOT
from commands import refused
from study_tables import measurements

from headstart import cli
from headstart.maintenance import presets
from headstart.maintenance.project import COPIED, WRITTEN


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel: with the hatchling at hand, or with one that pip gets."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(folder), str(ROOT)]
    for more in ("--no-build-isolation", "--disable-pip-version-check"):
        done = subprocess.run([*pip, more], capture_output=True, text=True, check=False)
        if not done.returncode:
            return next(folder.glob("*.whl"))
    if "hatchling" in done.stderr and "metadata" not in done.stderr:
        pytest.skip("hatchling, the build system, is neither installed nor to be had by pip")
    raise AssertionError(done.stderr)


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the wheel alone into a folder."""
    target = tmp_path_factory.mktemp("installed")
    command = ["install", "-q", "--no-deps", "--no-index", "--target", str(target), str(wheel)]
    subprocess.run([sys.executable, "-m", "pip", *command], check=True)
    return target


def run(installed: Path, folder: Path, *command: str) -> str:
    """Run a command in a folder, with the installed package and no checkout on the path."""
    scripts = Path(sys.executable).parent
    environment = {**os.environ, "PYTHONPATH": str(installed), "CUDA_VISIBLE_DEVICES": ""}
    environment["PATH"] = f"{scripts}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert not done.returncode, done.stdout + done.stderr
    return done.stdout


def test_the_wheel_carries_shared_files_and_no_results(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    for name in ("Snakefile", "claims.yaml", "presets/smoke.yaml", "notebooks/knowledge.ipynb"):
        assert f"headstart/share/{name}" in names
    assert "headstart/py.typed" in names
    assert not [name for name in names if name.startswith(("results", "tests", "figures"))]


def test_commands_and_the_workflow_run_where_there_is_no_clone(
    installed: Path, tmp_path: Path
) -> None:
    headstart = (sys.executable, "-m", "headstart")
    where = run(
        installed, tmp_path, sys.executable, "-c", "import headstart; print(headstart.__file__)"
    )
    assert Path(where.strip()).is_relative_to(installed)
    measurements().to_csv(tmp_path / "runs.csv", index=False)
    assert "C1" in run(installed, tmp_path, *headstart, "claims", "runs.csv")
    assert "dvc.yaml" in run(installed, tmp_path, *headstart, "init")
    assert all((tmp_path / name).exists() for name in (*COPIED, *WRITTEN))
    assert "src/" not in (tmp_path / "dvc.yaml").read_text()
    assert "'smoke'" in run(installed, tmp_path, *headstart, "use", "smoke")
    planned = run(installed, tmp_path, "snakemake", "-n", "--cores", "1")
    assert "pretrain" in planned
    assert not (tmp_path / "results").exists()


def test_init_refuses_to_overwrite(project: Path) -> None:
    (project / "params.yaml").write_text("mine\n")
    refused("init", said=("params.yaml exists already", "choose an empty folder"))
    assert [path.name for path in project.iterdir()] == ["params.yaml"]


def test_init_lays_down_a_preset(project: Path) -> None:
    with pytest.raises(SystemExit, match="0"):
        cli.main(["init", "smoke"])
    assert (project / "params.yaml").read_text() == presets.complete_text(presets.find("smoke"))
