"""Making, reading, parking and checking artifacts.

An artifact is a folder with a `manifest.json` that says what it holds. A job works in
`.store/partial/<key>/` and ends with one rename; `results/` never holds half an artifact.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, Protocol

from headstart.artifacts.files import (
    ArtifactError,
    alone,
    clear_moving,
    copy_folder,
    file_sha256,
    move_folder,
    read_json,
    write_json,
)
from headstart.artifacts.keys import STORE, Job, sha256_of

PACKAGES = (
    "torch",
    "torchvision",
    "timm",
    "numpy",
    "pandas",
    "pillow",
    "matplotlib",
    "scikit-learn",
)


@dataclass(frozen=True)
class Artifact:
    """A valid artifact on disk."""

    path: Path
    manifest: dict[str, Any]

    @property
    def digest(self) -> str:
        """The sha256 of what the files hold, whoever made them, when and where."""
        return str(self.manifest["digest"])

    def file(self, name: str) -> Path:
        """Return the path of one of its files, after comparing its content with the manifest.

        Raises:
            ArtifactError: the file is missing, or is not the one that the manifest describes.
        """
        path, expected = self.path / name, self.manifest["files"].get(name)
        if expected is None:
            raise ArtifactError(
                f"{path}: not in the manifest beside it; known are {list(self.manifest['files'])}"
            )
        if not path.is_file():
            raise ArtifactError(f"{path}: missing; {_how_to_fix(self.path)}")
        if path.stat().st_size != expected["size"] or file_sha256(path) != expected["sha256"]:
            raise ArtifactError(
                f"{path}: damaged, its sha256 is not the one in the manifest; {_how_to_fix(self.path)}"
            )
        return path


class Log(Protocol):
    """Tells the person who waits; the log gets every line, the console those that are not `detail`."""

    def __call__(self, text: str, *, detail: bool = False) -> None:
        """Print a line."""


def _silent(text: str, *, detail: bool = False) -> None:
    """Say nothing."""


@dataclass(frozen=True)
class JobContext:
    """Where a job works: `out` becomes the artifact, `state` is kept only until it is finished."""

    out: Path
    state: Path
    inputs: Mapping[str, tuple[Artifact, ...]]
    device: str = "cpu"
    log: Log = _silent

    def input(self, role: str) -> Artifact:
        """Return the only input of a role."""
        (artifact,) = self.inputs[role]
        return artifact


Function = Callable[[Job, JobContext], Mapping[str, Any]]


def open_artifact(job: Job, path: Path | None = None) -> Artifact:
    """Return a job's artifact after comparing the key in its manifest, all 64 digits.

    Raises:
        ArtifactError: it is not there, its manifest cannot be read, or belongs to another job.
    """
    path = path or job.path
    try:
        manifest = read_json(path / "manifest.json")
        key, digest, files = manifest["key"], manifest["digest"], manifest["files"]
    except FileNotFoundError:
        raise ArtifactError(
            f"{path}: not made yet; run `snakemake --cores all`, which makes what is missing"
        ) from None
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise ArtifactError(
            f"{path}/manifest.json: damaged ({error}); {_how_to_fix(path)}"
        ) from None
    if key != job.full_key:
        raise ArtifactError(f"{path}: holds key {key}, not {job.full_key}; {_how_to_fix(path)}")
    if digest != _digest(files):
        raise ArtifactError(
            f"{path}/manifest.json: damaged, its digest does not fit its files; {_how_to_fix(path)}"
        )
    return Artifact(path, manifest)


def is_made(job: Job) -> bool:
    """Return whether the valid artifact with this key exists."""
    try:
        open_artifact(job)
    except ArtifactError:
        return False
    return True


def unfinished(jobs: Iterable[Job]) -> list[Job]:
    """Return the jobs whose artifacts are not there: the one place where it is decided what is done.

    Raises:
        ArtifactError: manifests are damaged, each on a line of its own; what they describe is neither
            done nor to be made again before a person has looked.
    """
    missing, problems = [], []
    for job in jobs:
        try:
            open_artifact(job)
        except ArtifactError as error:
            if job.manifest.exists():
                problems.append(str(error))
            missing.append(job)
    if problems:
        raise ArtifactError("\n".join(problems))
    return missing


def run(job: Job, function: Function, device: str = "cpu", log: Log = _silent) -> Artifact:
    """Make a job's artifact, or take it from where it was parked.

    `function(job, work)` writes files into `work.out` and returns what the manifest says beside them.
    Where another process is making the artifact, this one waits, and takes what that one made.
    """
    if is_made(job):
        return open_artifact(job)
    with alone(STORE / "locks" / job.full_key, log):
        return open_artifact(job) if is_made(job) else _take_or_make(job, function, device, log)


def _take_or_make(job: Job, function: Function, device: str, log: Log) -> Artifact:
    for kept in _kept_elsewhere(job):
        if problems := _damage(job, kept):
            log(f"not taken from the store: {problems[0].partition(';')[0]}")
            if STORE in kept.parents:
                shutil.rmtree(kept)
            continue
        _copy_into_place(kept, job.path)
        log(f"taken from {kept}, where it was kept")
        return open_artifact(job)
    inputs = {role: tuple(open_artifact(one) for one in jobs) for role, jobs in job.inputs.items()}
    folder = _partial_folder(job, device)
    context = JobContext(folder / "out", folder / "state", inputs, device, log)
    shutil.rmtree(context.out, ignore_errors=True)
    context.out.mkdir(parents=True)
    context.state.mkdir(exist_ok=True)
    try:
        _make(job, function, context)
    except BaseException:
        # What is half written helps nobody; state that the next try can use stays.
        shutil.rmtree(context.out if any(context.state.iterdir()) else folder, ignore_errors=True)
        raise
    shutil.rmtree(folder, ignore_errors=True)
    return open_artifact(job)


def _make(job: Job, function: Function, context: JobContext) -> None:
    started = time.time()
    summary = dict(function(job, context))
    for path in context.out.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    write_json(context.out / "manifest.json", _manifest(job, context, started, summary))
    move_folder(context.out, job.path)


def parked_path(job: Job) -> Path:
    """Return where an artifact waits while no current job needs it."""
    return STORE / "artifacts" / job.step / job.label


def _kept_elsewhere(job: Job) -> Iterator[Path]:
    """Yield where the artifact lies, other than in its place: parked, or at the owner of a store that is shared."""
    kept = [parked_path(job)]
    if STORE.is_symlink():
        kept.append(STORE.resolve().parent / job.path)
    for path in kept:
        if (path / "manifest.json").exists() and path.resolve() != job.path.resolve():
            yield path


def _copy_into_place(source: Path, target: Path) -> None:
    """Copy a folder by links to its files where the disk allows; nobody ever writes into them."""
    beside = target.with_name(f".{target.name}.{os.getpid()}")
    target.parent.mkdir(parents=True, exist_ok=True)
    copy_folder(source, beside, link=True)
    move_folder(beside, target)


def park(folder: Path, current: Iterable[Path]) -> list[Path]:
    """Move every artifact in `folder` that is not current into the store; return where they were."""
    wanted = {path.name for path in current}
    parked = []
    folder.mkdir(parents=True, exist_ok=True)
    clear_moving(folder)
    for path in sorted(folder.iterdir()):
        if path.name in wanted or not path.is_dir():
            continue
        if any(path.iterdir()):
            whole = (path / "manifest.json").exists()
            _own_its_files(path)
            move_folder(
                path, STORE / ("artifacts" if whole else "leftover") / folder.name / path.name
            )
            parked.append(path)
        else:
            path.rmdir()
    return parked


def _own_its_files(folder: Path) -> None:
    """Put files in the place of links into DVC's cache, whose garbage collection knows no parked artifacts."""
    if any(path.is_symlink() for path in folder.rglob("*")):
        _copy_into_place(folder, folder)


def keep(jobs: Iterable[Job]) -> None:
    """Keep artifacts in the store too, where `dvc checkout` takes none away and others may share them.

    They are links to the same files where the disk allows, and take no room.
    """
    for job in jobs:
        kept = parked_path(job)
        if not (kept / "manifest.json").exists():
            _copy_into_place(job.path, kept)


def check_lineage(job: Job) -> None:
    """Refuse inputs that were made from other bits than those on disk now.

    Raises:
        ArtifactError: names the artifact, what it was made from, and what to delete.
    """
    for problem in stale_inputs([*job.ancestors()]):
        raise ArtifactError(problem)


def stale_inputs(jobs: Iterable[Job]) -> list[str]:
    """List the artifacts whose recorded input digests are not those of the artifacts on disk."""
    problems = []
    digests: dict[str, str] = {}
    for job in (job for job in jobs if is_made(job)):
        recorded = open_artifact(job).manifest["inputs"]
        for source in job.every_input():
            if source.full_key not in digests and is_made(source):
                digests[source.full_key] = open_artifact(source).digest
            then = recorded[source.full_key]
            now = digests.get(source.full_key, then)
            if now != then:
                problems.append(
                    f"{job.path}: was made from {source.path} when its digest was {then[:12]}, now it is {now[:12]}; "
                    f"restore the latter, or delete {job.path} and run `snakemake --cores all`"
                )
    return sorted(problems)


def verify(jobs: Iterable[Job]) -> list[str]:
    """Compare every file of every artifact with its manifest, and inputs with what was read; list problems."""
    jobs, problems = list(jobs), []
    sound = []
    for job in jobs:
        found = _damage(job, job.path)
        problems += found
        sound += [] if found else [job]
    return problems + stale_inputs(sound)


def _damage(job: Job, path: Path) -> list[str]:
    """List the files of an artifact that are not as its manifest says, or what is wrong with the manifest."""
    try:
        artifact = open_artifact(job, path)
    except ArtifactError as error:
        return [str(error)]
    problems = []
    for name in artifact.manifest["files"]:
        try:
            artifact.file(name)
        except ArtifactError as error:
            problems.append(str(error))
    return problems


def describe_files(folder: Path) -> dict[str, dict[str, Any]]:
    """Return name -> {sha256, size} for all files below a folder, the manifest apart."""
    files = sorted(
        path for path in folder.rglob("*") if path.is_file() and path.name != "manifest.json"
    )
    return {
        path.relative_to(folder).as_posix(): {
            "sha256": file_sha256(path),
            "size": path.stat().st_size,
        }
        for path in files
    }


def _digest(files: Mapping[str, Mapping[str, Any]]) -> str:
    return sha256_of({name: entry["sha256"] for name, entry in files.items()})


def _manifest(
    job: Job, context: JobContext, started: float, summary: dict[str, Any]
) -> dict[str, Any]:
    files = describe_files(context.out)
    return {
        "step": job.step,
        "name": job.name,
        "key": job.full_key,
        "code": job.code,
        "wildcards": dict(job.wildcards),
        "params": job.params,
        "inputs": {
            one.full_key: artifact.digest
            for role, jobs in job.inputs.items()
            for one, artifact in zip(jobs, context.inputs[role], strict=True)
        },
        "files": files,
        "digest": _digest(files),
        "device": context.device,
        "threads": 1,
        **summary,
        "packages": package_versions(),
        "commit": _commit(),
        "started": datetime.fromtimestamp(started, UTC).isoformat(timespec="seconds"),
        "seconds": round(time.time() - started, 2),
    }


@cache
def package_versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that results may depend on."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _commit() -> str | None:
    try:
        done = subprocess.run(
            ["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False
        )
    except OSError:
        return None
    return done.stdout.strip() or None


def _partial_folder(job: Job, device: str) -> Path:
    """Return the job's folder of unfinished work; that of other versions or another device is discarded."""
    folder = STORE / "partial" / job.full_key
    fingerprint = {"key": job.full_key, "packages": package_versions(), "device": device}
    try:
        same = read_json(folder / "fingerprint.json") == fingerprint
    except (OSError, json.JSONDecodeError):
        same = False
    if not same:
        shutil.rmtree(folder, ignore_errors=True)
        write_json(folder / "fingerprint.json", fingerprint)
    return folder


def _how_to_fix(path: Path) -> str:
    if STORE in path.parents:
        return f"delete {path} and run `snakemake --cores all`"
    return (
        f"delete {path}, then `dvc checkout {path.parent}` restores it where DVC recorded it, "
        "and `snakemake --cores all` makes it again where not"
    )
