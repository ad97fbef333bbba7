"""The shape of the code: imports point one way, and the linters agree."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from checkout import ROOT

from headstart.artifacts.code import PACKAGE, decides_results
from headstart.artifacts.syntax import facts_of
from headstart.registry import STUDIES

# What a room may import, from top to bottom; each may import itself and `params` and `artifacts`.
ALLOWED = {
    "params": set(),
    "artifacts": {"params"},
    "tasks": set(),
    "networks": set(),
    "metrics": set(),
    "statistics": set(),
    "figures": {"statistics"},
    "training": {"networks", "tasks", "metrics"},
    "steps": {"training", "networks", "tasks", "statistics", "figures"},
    "studies": {"steps", "training", "networks", "tasks", "metrics", "statistics", "figures"},
    "registry": {"steps", "studies"},
    "plan": {"registry", "steps", "studies"},
    "maintenance": {"plan", "registry", "steps", "studies", "training", "tasks", "networks"},
    "cli": {"maintenance", "plan", "registry", "steps", "studies", "training"},
}
LOWEST = {"params", "artifacts"}
MODULES = sorted(PACKAGE.rglob("*.py"))
STUDY_NAMES = [study.name for study in STUDIES]
# Modules of a study that read tables alone.
TABLE_MODULES = ("claims", "figures", "verdicts")


def part_of(path: Path) -> str:
    first = path.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


def imports(path: Path) -> list[str]:
    """Return the modules of the package that a module imports; what `headstart` itself holds is in none."""
    names = facts_of(path.read_bytes()).imports
    own = {file.stem for file in PACKAGE.iterdir()}
    return [name for name in names if name.startswith("headstart.") and name.split(".")[1] in own]


def imported_parts(path: Path) -> set[str]:
    return {name.split(".")[1] for name in imports(path)}


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


@pytest.mark.parametrize("study", STUDY_NAMES)
def test_a_study_imports_no_other_study(study: str) -> None:
    for path in (PACKAGE / "studies" / study).rglob("*.py"):
        named = {name.split(".")[2] for name in imports(path) if name.count(".") > 1}
        others = named & set(STUDY_NAMES) - {study}
        assert not others or part_of(path) != "studies", path
        of_studies = {n.split(".")[2] for n in imports(path) if n.startswith("headstart.studies.")}
        assert of_studies <= {study, "study"}, path


def test_the_studies_are_named_in_one_line() -> None:
    """Outside their own folders only the registry names them all; a line there adds one."""
    for path in MODULES:
        of_studies = {n.split(".")[2] for n in imports(path) if n.startswith("headstart.studies.")}
        if part_of(path) not in ("studies", "registry"):
            assert len(of_studies & set(STUDY_NAMES)) <= 1, path


def modules_without_torch() -> list[str]:
    names = []
    for path in MODULES:
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        tables_only = (
            parts[0] == "studies"
            and len(parts) > 2
            and (parts[2] in ("params", "study", "jobs") or parts[2].startswith(TABLE_MODULES))
        )
        if parts[0] in ("statistics", "figures", "plan", "registry", "params") or tables_only:
            names.append(".".join(("headstart", *parts)).removesuffix(".__init__"))
    return names


def test_tables_figures_and_the_plan_do_without_torch() -> None:
    names = modules_without_torch()
    assert len(names) > 40
    code = (
        f"import importlib, sys\nfor name in {names!r}:\n    importlib.import_module(name)\n"
        "    assert 'torch' not in sys.modules, f'{name} imports torch'\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_commands_and_listing_jobs_load_neither_tables_nor_drawing() -> None:
    code = (
        "import sys\nfrom headstart import cli\nfrom headstart.plan import Plan\n"
        "from headstart.registry import load\n"
        "assert cli.app and Plan(load('presets/default.yaml')).jobs()\n"
        "slow = {'torch', 'pandas', 'matplotlib', 'scipy', 'seaborn'} & set(sys.modules)\n"
        "assert not slow, slow\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_no_name_of_a_module_stands_in_three_rooms() -> None:
    """Files that every study has are one room; so are `__init__` files."""
    rooms: dict[str, set[str]] = {}
    for path in MODULES:
        parts = path.relative_to(PACKAGE).parts
        room = "studies" if parts[0] == "studies" and len(parts) > 2 else "/".join(parts[:-1])
        rooms.setdefault(parts[-1], set()).add(room)
    crowded = {name: found for name, found in rooms.items() if len(found) > 2}
    crowded.pop("__init__.py", None)
    assert not crowded


def test_params_hold_fields_and_validation_alone() -> None:
    """What is in no key may not decide results: params import nothing but params."""
    for path in MODULES:
        if not decides_results(
            ".".join(("headstart", *path.relative_to(PACKAGE).with_suffix("").parts))
        ) and (path.parts[-1] == "params.py" or part_of(path) == "params"):
            own = path.parent.name
            allowed = ("headstart.params", f"headstart.studies.{own}.params")
            assert all(name.startswith(allowed) for name in imports(path)), path


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
