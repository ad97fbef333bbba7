"""Step `publish`: copy figures, report and claims to plain paths, and stamp the figures with their key."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from headstart.artifacts.files import file_sha256, read_json, write_atomically, write_json
from headstart.artifacts.keys import Job
from headstart.artifacts.store import check_lineage, open_artifact

FOLDER = Path("figures")
# What lies beside the folder of figures, by the role of the artifact that holds it.
BESIDE = {"report": "report.html", "claims": "claims.json"}


def publish(job: Job, say: Callable[[str], None], folder: Path = FOLDER) -> None:
    """Make `folder` hold exactly the files of the figure artifacts, and renew report and claims beside it.

    Files of other origin stay. The stamp `.<key>` comes last and lists what was published, by path
    from the folder, so that the next publication knows which files are its own to take away.
    """
    check_lineage(job)
    folder.mkdir(parents=True, exist_ok=True)
    stamps = list(folder.glob(".[0-9a-f]*"))
    old = {name for stamp in stamps for name in _listed(stamp)}
    listed: dict[str, str] = {}
    for source, name in _sources(job):
        write_atomically(_place(folder, name), source.read_bytes())
        listed[name] = file_sha256(source)
    for name in old - set(listed):
        _place(folder, name).unlink(missing_ok=True)
    for stamp in stamps:
        stamp.unlink()
    write_json(folder / f".{job.key}", listed)
    figures = sum(not name.startswith("..") for name in listed)
    say(f"{figures} files in {folder}/; {', '.join(BESIDE.values())}")


def _sources(job: Job) -> list[tuple[Path, str]]:
    """Return what is to be copied, and where to, seen from the folder of figures."""
    found = []
    for one in job.inputs["figures"]:
        artifact = open_artifact(one)
        found += [(artifact.file(name), name) for name in artifact.manifest["files"]]
    for role, name in BESIDE.items():
        (one,) = job.inputs[role]
        found.append((open_artifact(one).file(name), f"../{name}"))
    return found


def _place(folder: Path, name: str) -> Path:
    return Path(os.path.normpath(folder / name))


def _listed(stamp: Path) -> list[str]:
    try:
        return list(read_json(stamp))
    except (OSError, ValueError):
        return []
