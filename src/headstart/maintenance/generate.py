"""Files that follow from the steps and the params: written by one command, compared by a test."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel

from headstart.artifacts.code import PACKAGE
from headstart.artifacts.files import write_atomically
from headstart.maintenance import params_page, params_words, tables_page
from headstart.params.types import DEFAULTS, Section, current_default
from headstart.registry import STEPS, Params
from headstart.steps.publish import CURVES, VERDICTS
from headstart.steps.step import FIRST
from headstart.studies.study import Step

# What `dvc exp show` and `dvc metrics diff` list, and `dvc plots` draws.
SHOWN = f"""\
metrics:
  - metrics.json
plots:
  - transfer curves:
      x: source_epoch
      y: {{figures/{CURVES}: mean}}
      template: workflow/plots/curves.json
  - verdicts:
      x: value
      y: {{figures/{VERDICTS}: claim}}
      template: workflow/plots/verdicts.json
"""
ROOT = PACKAGE.parents[1]
# What steps read of the project beside the package: their keys hold its content.
READ = {"tables": ("published",), "claims": ("claims.yaml",), "figures": ("notebooks",)}
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
        "docs/tables.md": tables_page.page(),
        "profiles/slurm/config.yaml": slurm_profile(),
        DEFAULTS.relative_to(ROOT).as_posix(): defaults(),
    }


def schema() -> str:
    """Return the JSON schema of params files, for editors."""
    described = Params.model_json_schema()
    for section in sections():
        for name, place in (
            described["$defs"].get(section.__name__, {}).get("properties", {}).items()
        ):
            place["description"] = params_words.meaning(section, name)
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
    return "\n".join([*lines, SHOWN])


SLURM = """\
# Written by `headstart generate`. Jobs as Slurm jobs:
#   pip install -e '.[slurm]'
#   export HEADSTART_GPU=1            where the head node has no GPU but the nodes do: jobs then ask for one
#   snakemake --cores 1 -- stage_data on the login node, where the nodes have no internet to download from
#   snakemake --workflow-profile profiles/slurm
#   SNAKEMAKE_PROFILE=profiles/slurm dvc repro
# `--workflow-profile` puts this file in the place of profiles/default. Project and results lie where all nodes
# see them. `tests/slurm.py` runs a study through a real Slurm on one machine.
rerun-triggers: [mtime]
rerun-incomplete: true
keep-going: true
# Without `rules`, which would keep quiet about jobs that fail, too: their own words stand in a log of the node's.
quiet: [host, reason]

executor: slurm
# At most so many allocations in the queue at a time.
jobs: 16
# Results may appear late on a shared file system.
latency-wait: 60

# Steps say themselves what their jobs ask for (`Step` in src/headstart):
{table}
# A transfer job contains all runs of one network and one arm; where a day is too short for it, put
# `set-resources: {{transfer: {{runtime: 2880}}}}` here. A job that is stopped at its limit, or requeued, goes on
# from its last epoch.
default-resources:
  # Without these two the plugin guesses them, and where it cannot, leaves them to Slurm's defaults.
  # slurm_partition: gpu
  # slurm_account: lab
  mem_mb: 4000
  runtime: 60  # minutes

# Short jobs share an allocation: those before anything trains, and those that make what a person reads.
groups:
{groups}
# Without an accounting database (sacct), add `slurm-status-command: squeue` and `slurm-no-account: true`.
"""


def slurm_profile() -> str:
    """Return the profile of a Slurm cluster, with what each step asks for and which steps share allocations."""
    jobs = [step for step in STEPS.values() if step.name != "publish"]
    rows = [
        f"#   {step.name:<11} {step.memory_mb:>6} MB {step.minutes:>5} minutes{', a GPU' if step.gpu else ''}"
        for step in jobs
    ]
    first = {step.name for step in FIRST}
    groups = [
        f"  - {step.name}={'prepare' if step.name in first else 'show'}"
        for step in jobs
        if not step.gpu and (step in FIRST or not step.versioned)
    ]
    return SLURM.format(table="\n".join(rows), groups="\n".join(groups))


def _stage(step: Step, source: bool) -> Iterator[str]:
    """Yield the lines of a stage.

    Its deps are coarse, for the store knows better: what did not change is looked at and recorded again in
    half a second, and `dvc.lock` stays a tenth as long as with every module and value of the params.
    """
    yield f"  {step.name}:"
    yield f"    cmd: python -m headstart record {step.name}"
    yield "    deps:"
    results = [f"results/{name}" for name in (*step.after, *step.reads)]
    read = [*(["src/headstart"] if source else []), *(READ.get(step.name, ()) if source else ())]
    yield from (f"      - {dep}" for dep in (*results, "params.yaml", *read))
    yield "    outs:"
    outs = (
        ["figures", "report.html", "claims.json", "metrics.json"] if step.name == "publish" else []
    )
    for out in outs or [f"results/{step.name}"]:
        yield f"      - {out}: {{persist: true}}"
