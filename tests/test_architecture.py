"""The shape of the code: imports point one way, and the linters agree."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from checkout import ROOT

from headstart.artifacts.code import PACKAGE
from headstart.artifacts.syntax import facts_of

# What a package may import; every package may import itself and the lowest two.
ALLOWED = {
    "params": set(),
    "artifacts": {"params"},
    "tasks": set(),
    "networks": set(),
    "metrics": set(),
    "training": {"networks", "tasks"},
    "statistics": set(),
    "figures": {"statistics"},
    "studies": {"training", "metrics", "statistics", "networks", "tasks"},
    "plan": set(),
    "upkeep": {"plan", "tasks", "networks"},
    "cli": {"plan", "upkeep", "studies", "figures", "training", "statistics"},
}
LOWEST = {"params", "artifacts"}
MODULES = sorted(PACKAGE.rglob("*.py"))


def part_of(path: Path) -> str:
    first = path.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


def imported_parts(path: Path) -> set[str]:
    names = facts_of(path.read_bytes()).imports
    return {name.split(".")[1] for name in names if name.startswith("headstart.")}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_one_way(path: Path) -> None:
    part = part_of(path)
    if part in ("__init__", "__main__"):
        return
    assert imported_parts(path) <= ALLOWED[part] | LOWEST | {part}


@pytest.mark.parametrize("part", ["metrics", "statistics"])
def test_mathematics_and_inference_know_nothing_of_the_rest(part: str) -> None:
    for path in (PACKAGE / part).rglob("*.py"):
        assert imported_parts(path) <= {part}, path


@pytest.mark.parametrize("part", ["statistics", "figures", "plan", "params"])
def test_tables_figures_and_the_plan_do_without_torch(part: str) -> None:
    code = (
        "import importlib, pkgutil, sys, headstart\n"
        f"package = importlib.import_module('headstart.{part}')\n"
        "for found in pkgutil.iter_modules(getattr(package, '__path__', [])):\n"
        "    importlib.import_module(package.__name__ + '.' + found.name)\n"
        "assert 'torch' not in sys.modules, 'torch was imported'\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_files_have_one_subject_and_a_docstring() -> None:
    for path in MODULES:
        text = path.read_text()
        assert ast.get_docstring(ast.parse(text)), path
        assert text.count("\n") <= 460, f"{path}: {text.count(chr(10))} lines"


@pytest.mark.parametrize(
    "command",
    [
        ["ruff", "check", "."],
        ["ruff", "format", "--check", "src", "tests", "benchmarks"],
        ["snakefmt", "--check", "Snakefile", "workflow"],
        ["mypy"],
    ],
    ids=lambda command: " ".join(command[:2]),
)
def test_the_linters_have_nothing_to_say(command: list[str]) -> None:
    program = shutil.which(command[0], path=str(Path(sys.executable).parent))
    assert program, f"{command[0]} is not installed: pip install -e '.[test]'"
    done = subprocess.run(
        [program, *command[1:]], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_notebooks_are_stored_without_outputs() -> None:
    import json

    for path in (ROOT / "notebooks").glob("*.ipynb"):
        for cell in json.loads(path.read_text())["cells"]:
            assert not cell.get("outputs"), path
            assert cell.get("execution_count") is None, path
