"""One process at a time does a job, also where a killed workflow left its jobs running."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


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
