"""Files that are either whole or not there, locks, and where the project keeps files that are no Python."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import metadata
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
    """Write a file beside its place, then rename it, so that nobody ever reads half of it.

    The content is on the disk before the name is: a power loss leaves the old file or the new one.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def flush(folder: Path) -> None:
    """Have the system write a folder and all that is in it to the disk."""
    for path in (*folder.rglob("*"), folder):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def move_folder(source: Path, target: Path) -> None:
    """Rename a folder, and copy it first where its new place is on another disk.

    What stood in its place goes away only when the new folder is beside it. Names that begin with a
    dot are of folders on their way; where a kill left one, `clear_moving` takes it away.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        _replace_folder(source, target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        copy_folder(source, beside)
        _replace_folder(beside, target)
        shutil.rmtree(source)


def _replace_folder(source: Path, target: Path) -> None:
    flush(source)
    old = target.with_name(f".{target.name}.{os.getpid()}.old")
    if os.path.lexists(target):
        os.rename(target, old)
    try:
        os.rename(source, target)
    except OSError:
        if old.exists():
            os.rename(old, target)
        raise
    shutil.rmtree(old, ignore_errors=True)


def copy_folder(source: Path, target: Path, *, link: bool = False) -> None:
    """Copy a folder, links in it as the files that they lead to; with `link` files share their bits."""

    def copied(one: str, other: str) -> None:
        try:
            if not link:
                raise OSError
            os.link(os.path.realpath(one), other)
        except OSError:
            shutil.copyfile(one, other)

    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target, copy_function=copied)


def clear_moving(folder: Path) -> None:
    """Delete what a killed process left half moved in a folder of artifacts."""
    for path in folder.glob(".*.[0-9]*"):
        shutil.rmtree(path, ignore_errors=True)


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
def alone(path: Path, log: Callable[[str], None]) -> Iterator[None]:
    """Hold a lock file while the block runs, and wait for any other process that holds it.

    The system lets go of the lock when a process ends, however it ends; the file alone locks nothing.
    On NFS the lock holds between machines; where there are no locks at all, that is logged.

    Args:
        path: the lock file, made here and deleted at the end.
        log: gets a line before waiting, and where there are no locks.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        with path.open("w") as file:
            _lock(file, log)
            if not _has_its_name(file, path):
                continue
            try:
                yield
            finally:
                path.unlink(missing_ok=True)
            return


def _lock(file: IO[str], log: Callable[[str], None]) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        log("another process makes this; waiting for it")
        fcntl.flock(file, fcntl.LOCK_EX)
    except OSError as error:
        log(
            f"{file.name}: no locks here ({error.strerror}); start no second process on these results"
        )


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


def package_files(package: str, suffixes: tuple[str, ...]) -> list[metadata.PackagePath]:
    """Return the files of an installed Python package that end so, in the order of their names.

    Raises:
        LookupError: it is not installed; says how to install it.
    """
    try:
        files = metadata.files(package) or []
    except metadata.PackageNotFoundError:
        fix = f"run `pip install {package}`"
        raise LookupError(f"{package!r} is not installed; {fix}") from None
    return sorted(file for file in files if file.suffix.lower() in suffixes)
