"""Step `publish`: copy figures, report and claims to plain paths, and stamp the figures with their key."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from headstart.artifacts.files import (
    file_sha256,
    json_bytes,
    read_json,
    write_atomically,
    write_json,
)
from headstart.artifacts.keys import Job
from headstart.artifacts.store import check_lineage, open_artifact

FOLDER = Path("figures")
REPORT, CLAIMS = "../report.html", "../claims.json"


def publish(job: Job, log: Callable[[str], None], folder: Path = FOLDER) -> None:
    """Make `folder` hold exactly the files of the figure artifacts, and renew report and claims beside it.

    Files of other origin stay. The stamp `.<key>` comes last and lists what was published, by path
    from the folder, so that the next publication knows which files are its own to take away.
    """
    check_lineage(job)
    folder.mkdir(parents=True, exist_ok=True)
    stamps = list(folder.glob(".[0-9a-f]*"))
    old = {name for stamp in stamps for name in _listed(stamp)}
    listed: dict[str, str] = {}
    for name, content in _contents(job):
        write_atomically(_place(folder, name), content)
        listed[name] = file_sha256(_place(folder, name))
    for name in old - set(listed):
        _place(folder, name).unlink(missing_ok=True)
    for stamp in stamps:
        stamp.unlink()
    write_json(folder / f".{job.key}", listed)
    figures = sum(not name.startswith("..") for name in listed)
    log(f"{figures} files in {folder}/; report.html, claims.json")


def _contents(job: Job) -> Iterator[tuple[str, bytes]]:
    """Yield where every file goes, seen from the folder of figures, and what it holds."""
    for one in job.inputs["figures"]:
        artifact = open_artifact(one)
        for name in artifact.manifest["files"]:
            yield name, artifact.file(name).read_bytes()
    (report,) = job.inputs["report"]
    yield REPORT, open_artifact(report).file("report.html").read_bytes()
    found = {
        one.name: read_json(open_artifact(one).file("claims.json")) for one in job.inputs["claims"]
    }
    merged = {
        "papers": {study: one["paper"] for study, one in found.items()},
        "evaluated_on": {study: one["evaluated_on"] for study, one in found.items()},
        "claims": [claim for one in found.values() for claim in one["claims"]],
    }
    yield CLAIMS, json_bytes(merged)


def _place(folder: Path, name: str) -> Path:
    return Path(os.path.normpath(folder / name))


def _listed(stamp: Path) -> list[str]:
    try:
        return list(read_json(stamp))
    except (OSError, ValueError):
        return []
