"""Step `publish`: copy the current figures to plain paths, and stamp the folder with their key."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from headstart.artifacts.files import file_sha256, read_json, write_atomically, write_json
from headstart.artifacts.keys import Job
from headstart.artifacts.store import check_lineage, open_artifact

FOLDER = Path("figures")


def publish(job: Job, say: Callable[[str], None], folder: Path = FOLDER) -> None:
    """Make `folder` hold exactly the files of the figure artifacts, beside files of other origin.

    The stamp `.<key>` comes last and lists what was published, so that the next publication knows
    which files are its own to take away.
    """
    check_lineage(job)
    folder.mkdir(parents=True, exist_ok=True)
    stamps = list(folder.glob(".[0-9a-f]*"))
    old = {name for stamp in stamps for name in _listed(stamp)}
    listed: dict[str, str] = {}
    for figures in job.inputs["figures"]:
        artifact = open_artifact(figures)
        for name in artifact.manifest["files"]:
            source = artifact.file(name)
            write_atomically(folder / name, source.read_bytes())
            listed[name] = file_sha256(source)
    for name in old - set(listed):
        (folder / name).unlink(missing_ok=True)
    for stamp in stamps:
        stamp.unlink()
    write_json(folder / f".{job.key}", listed)
    say(f"{len(listed)} files in {folder}/")


def _listed(stamp: Path) -> list[str]:
    try:
        return list(read_json(stamp))
    except (OSError, ValueError):
        return []
