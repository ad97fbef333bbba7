"""Files that follow from the steps and the params: written by one command, compared by a test."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel

from headstart.artifacts.code import PACKAGE, closure, notebook_imports
from headstart.artifacts.files import shared, write_atomically
from headstart.maintenance import params_page
from headstart.params.types import DEFAULTS, Section, current_default
from headstart.registry import REQUIRED, STEPS, STUDIES, Params
from headstart.studies.study import Step

ROOT = PACKAGE.parents[1]
# What lists the jobs of every step: an edit here may change which keys there are.
LISTING = [
    f"src/headstart/{name}"
    for name in ("plan.py", "registry.py", "params", "artifacts/job_list.py", "steps/jobs.py")
]
HEAD = """\
# Written by `headstart generate`: one stage per step. `headstart record` asks Snakemake for what the store
# lacks and verifies what DVC then records. Outs persist: a finished artifact is moved away, never deleted.
"""


def write_all(root: Path = ROOT) -> list[Path]:
    """Write every generated file of a checkout; return their paths."""
    found = contents()
    for name, text in found.items():
        write_atomically(root / name, text.encode())
    return [Path(name) for name in found]


def contents() -> dict[str, str]:
    """Return every generated file by its path in the project."""
    return {
        "dvc.yaml": dvc_yaml(),
        "workflow/schemas/params.schema.yaml": schema(),
        "docs/params.md": params_page.page(),
        DEFAULTS.relative_to(ROOT).as_posix(): defaults(),
    }


def schema() -> str:
    """Return the JSON schema of params files, for editors."""
    described = Params.model_json_schema()
    described["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    return json.dumps(described, indent=2, ensure_ascii=False) + "\n"


def defaults() -> str:
    """Return the recorded defaults and those of fields that are not recorded yet; none ever changes."""
    known = dict(json.loads(DEFAULTS.read_text(encoding="utf-8"))) if DEFAULTS.exists() else {}
    for section in sections():
        for name, field in section.model_fields.items():
            if not field.is_required():
                known.setdefault(f"{section.__name__}.{name}", current_default(section, name))
    return json.dumps(dict(sorted(known.items())), indent=1, ensure_ascii=False) + "\n"


def sections() -> list[type[BaseModel]]:
    """Return all classes of params, by name."""
    queue: list[type[BaseModel]] = [Section]
    found: set[type[BaseModel]] = set()
    while queue:
        section = queue.pop()
        found.add(section)
        queue += section.__subclasses__()
    mine = [each for each in found if each.__module__.startswith("headstart.")]
    return sorted((each for each in mine if each is not Params), key=lambda each: each.__name__)


def dvc_yaml(*, source: bool = True) -> str:
    """Return the stages of DVC; without `source` they suit a folder that is no clone."""
    lines = [HEAD + "stages:"]
    for step in STEPS.values():
        lines += _stage(step, source)
    # What `dvc exp show` and `dvc metrics diff` list.
    return "\n".join([*lines, "metrics:", "  - metrics.json"]) + "\n"


def _stage(step: Step, source: bool) -> Iterator[str]:
    yield f"  {step.name}:"
    yield f"    cmd: python -m headstart record {step.name}"
    deps = [f"results/{name}" for name in (*step.after, *step.reads)]
    # DVC refuses a section that a params file leaves out, so these stages watch the whole file.
    if set(step.sections) <= set(REQUIRED):
        yield f"    params: [{', '.join(step.sections)}]"
    else:
        deps.append("params.yaml")
    if source:
        deps += _sources(step)
    if deps:
        yield "    deps:"
        yield from (f"      - {dep}" for dep in deps)
    yield "    outs:"
    outs = (
        ["figures", "report.html", "claims.json", "metrics.json"] if step.name == "publish" else []
    )
    for out in outs or [f"results/{step.name}"]:
        yield f"      - {out}: {{persist: true}}"


def _sources(step: Step) -> list[str]:
    """Return what of the project decides what a stage's jobs make."""
    entries, files = [step.module], []
    if step.name == "tables":
        entries += [study.tables.partition(":")[0] for study in STUDIES]
        files = [f"published/{name}" for study in STUDIES for name in study.published]
    elif step.name == "controls":
        entries += [study.controls.partition(":")[0] for study in STUDIES]
    elif step.name == "claims":
        named = [name for study in STUDIES for name in (study.claims, study.answer)]
        entries += [name.partition(":")[0] for name in named]
        files = ["claims.yaml"]
    elif step.name == "report":
        entries += [study.opening.partition(":")[0] for study in STUDIES if study.opening]
    elif step.name == "check":
        entries += [study.checks for study in STUDIES if study.checks]
    elif step.name == "figures":
        files = [f"notebooks/{study.name}.ipynb" for study in STUDIES]
        entries += [name for file in files for name in notebook_imports(shared(file))]
    paths = [path.relative_to(ROOT) for path in closure(*entries).values()]
    modules = sorted({path.as_posix() for path in paths if not _only_a_docstring(ROOT / path)})
    versions = ["src/headstart/versions.json"] if step.versioned else []
    return [*versions, *files, *LISTING, *_listed_by(step), *_folders(modules)]


def _listed_by(step: Step) -> list[str]:
    """Return the modules of the studies whose jobs, or what comes of them, a step has."""
    owners = [study for study in STUDIES if step in study.steps] or (
        [] if step.name in ("data", "pretrain", "trajectory") else list(STUDIES)
    )
    names = [f"src/headstart/studies/{study.name}/{{}}.py" for study in owners]
    return [name.format(part) for name in names for part in ("study", "params", "jobs")]


def _only_a_docstring(path: Path) -> bool:
    return path.read_text(encoding="utf-8").count("\n") <= 1


def _folders(modules: list[str]) -> list[str]:
    """Return folders in place of their modules, where all of a folder's modules are there."""
    found: list[str] = []
    for folder in dict.fromkeys(Path(module).parent for module in modules):
        inside = [module for module in modules if Path(module).parent == folder]
        every = [path for path in (ROOT / folder).rglob("*.py") if not _only_a_docstring(path)]
        whole = {path.relative_to(ROOT).as_posix() for path in every} == set(inside)
        found += [folder.as_posix()] if whole and len(inside) > 1 else inside
    return found
