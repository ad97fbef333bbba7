"""Files that are either whole or not there, locks, and where the project keeps files that are no Python."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd


PACKAGE = Path(__file__).resolve().parents[1]


class ArtifactError(RuntimeError):
    """An artifact that cannot be used; the message names it, what was found and what to do."""


def file_sha256(path: Path) -> str:
    """Return the sha256 of a file's bytes as 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file beside its place, then rename it, so that nobody ever reads half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_bytes(content)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file that a person can read."""
    write_atomically(path, json_bytes(value))


def json_bytes(value: Any) -> bytes:
    """Return JSON that a person can read."""
    return (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode()


def read_json(path: Path) -> Any:
    """Read a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Write a tidy table as Parquet; equal tables give equal bytes."""
    table.reset_index(drop=True).to_parquet(path, index=False)


def read_table(path: Path) -> pd.DataFrame:
    """Read a table written by `write_table`."""
    # Not at the top: commands that read no table should start quickly.
    import pandas as pd

    return pd.read_parquet(path)


@contextmanager
def alone(path: Path, on_wait: Callable[[], None]) -> Iterator[None]:
    """Hold a lock file while the block runs, and wait for any other process that holds it.

    The system lets go of the lock when a process ends, however it ends; the file alone locks nothing.

    Args:
        path: the lock file, made here and deleted at the end.
        on_wait: called once before waiting, to tell the person.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        with path.open("w") as file:
            _lock(file, on_wait)
            if not _has_its_name(file, path):
                continue
            try:
                yield
            finally:
                path.unlink(missing_ok=True)
            return


def _lock(file: IO[str], on_wait: Callable[[], None]) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        on_wait()
        fcntl.flock(file, fcntl.LOCK_EX)
    except OSError:
        # A file system without locks: every job still writes into a folder of its key alone.
        return


def _has_its_name(file: IO[str], path: Path) -> bool:
    """Return whether the path still is this file: who held the lock before has deleted that of his."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def shared(name: str) -> Path:
    """Return where a file or folder of the project lies: inside the package, or in the checkout around it.

    A built wheel carries these files in `share/`; an editable install leaves them where they are edited.
    """
    inside = PACKAGE / "share" / name
    return inside if inside.exists() else PACKAGE.parents[1] / name
