"""Folders that jobs write into, copies of params files, and what may be deleted."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from headstart.artifacts import store
from headstart.artifacts.files import file_sha256, write_atomically
from headstart.artifacts.keys import RESULTS, STORE
from headstart.params.reading import ParamsError
from headstart.plan import Plan
from headstart.steps.publish import published_problems

FIGURES = Path("figures")
LOGS = Path("logs")


def snapshot(params: Path) -> Path:
    """Keep a copy of a params file under its content's name, for the jobs that are started from it."""
    kept = STORE / "params" / f"{file_sha256(params)[:12]}.yaml"
    if not kept.exists():
        write_atomically(kept, params.read_bytes())
    return kept


def check_folders() -> None:
    """Refuse to start where a folder that jobs write into cannot be written.

    Raises:
        ParamsError: names every such folder, on a line of its own, with what is in the way.
    """
    problems = []
    for folder in (RESULTS, FIGURES, LOGS, STORE):
        if os.path.lexists(folder) and not folder.is_dir():
            what = "a link to nowhere" if folder.is_symlink() else "a file"
            problems.append(f"{folder}: {what} stands where a folder is needed; move it away")
        elif not os.access(folder if folder.exists() else Path(), os.W_OK | os.X_OK):
            problems.append(
                f"{folder}: this folder cannot be written; check whose it is, and its mode"
            )
    if problems:
        raise ParamsError("\n".join(problems))


def verify(plan: Plan, params: Path) -> tuple[list[str], str]:
    """Return what is not as manifests and the last publication say, and how much was looked at."""
    jobs = [job for job in plan.jobs() if job.step != "publish"]
    made = [job for job in jobs if job.path.exists()]
    (last,) = plan.jobs("publish")
    # A study without a report is unfinished; one beside another study's report is not as it says.
    shown = map(os.path.lexists, ("report.html", "claims.json", "metrics.json", str(FIGURES)))
    problems = store.verify(made) + (published_problems(last) if any(shown) else [])
    counted = f"{len(made)} of {len(jobs)} artifacts of {params} are made, {len(problems)} problems"
    return problems, counted


def prune(plan: Plan, *, delete: bool) -> str:
    """List, or delete, what the store holds that no current job needs."""
    lines, total = [], 0
    for path in _prunable(plan):
        size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
        total += size
        lines.append(f"{'deleted' if delete else 'would delete'} {path} ({size / 1e6:.1f} MB)")
        if delete:
            shutil.rmtree(path)
    if not lines:
        return "nothing to prune"
    end = "" if delete else "; `headstart prune --yes` deletes them"
    return "\n".join([*lines, f"{total / 1e6:.1f} MB in {len(lines)} folders{end}"])


def _prunable(plan: Plan) -> Iterator[Path]:
    """Yield parked artifacts, unfinished work and finished runs; those of current jobs stay."""
    labels = {job.label for job in plan.jobs()}
    keys = {job.full_key for job in plan.jobs()}
    for path in sorted((STORE / "artifacts").glob("*/*")):
        if path.name not in labels:
            yield path
    for path in sorted((STORE / "partial").glob("*")):
        if path.name not in keys:
            yield path
    unfinished = any(not job.manifest.exists() for job in plan.jobs("transfer"))
    # A bundle that is not finished wants its finished runs back; which they are, only it can tell.
    for name in ("leftover", *(() if unfinished else ("runs", "plans"))):
        if (STORE / name).is_dir():
            yield STORE / name
