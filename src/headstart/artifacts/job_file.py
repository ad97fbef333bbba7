"""The jobs of a run in files, from which each reads itself and what it is made from, and nothing else.

So the start of a job does not depend on how large the study is. One file holds the jobs of a plan, another
one how they are started: a chunk is what Snakemake starts as one, of a large step many jobs.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headstart.artifacts.keys import SHORT, STAMPS, STORE, Job, sha256_of

FOLDER = STORE / "plans"
SCHEMA = "create table texts (key text primary key, content text) without rowid"


@dataclass(frozen=True)
class Chunk:
    """Jobs of a step that are started as one, and done one after another.

    Attributes:
        step: of its jobs.
        label: of its only job; of several, the name of the first, how many more, and a key of its own.
        jobs: by their keys.
        needs: stamps of chunks that come before.
    """

    step: str
    label: str
    jobs: tuple[str, ...]
    needs: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """The key by which it is started."""
        return self.label[-SHORT:]

    @property
    def stamp(self) -> str:
        """The file by which Snakemake knows, within one run, that the jobs are done."""
        return (STAMPS / self.step / self.label).as_posix()


def write_jobs(jobs: list[Job], device: str) -> Path:
    """Write the jobs of a plan, unless they are there already; return where.

    Params that many jobs share are written once.
    """
    path = FOLDER / f"{sha256_of([device, *(job.full_key for job in jobs)])[:SHORT]}.sqlite"
    if not path.exists():
        _write(path, _rows(jobs, device))
    return path


def write_chunks(chunks: Iterable[Chunk], jobs: Path) -> Path:
    """Write how jobs are started; `jobs` is the file that has them. Return where."""
    rows = {each.key: json.dumps([each.step, each.label, each.jobs, each.needs]) for each in chunks}
    rows["jobs"] = jobs.as_posix()
    path = FOLDER / f"{sha256_of(rows)[:SHORT]}.sqlite"
    if not path.exists():
        _write(path, rows.items())
    return path


def _write(path: Path, rows: Iterable[tuple[str, str]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.unlink(missing_ok=True)
    with closing(sqlite3.connect(beside)) as file, file:
        file.execute("pragma synchronous = off")
        file.execute(SCHEMA)
        file.executemany("insert or ignore into texts values (?, ?)", rows)
    beside.rename(path)


def _rows(jobs: list[Job], device: str) -> Iterator[tuple[str, str]]:
    """Yield jobs by their short keys, and texts that they share by their whole ones."""
    # By identity: jobs of one section share the very values.
    known: dict[int, str] = {}
    for job in jobs:
        parts: dict[str, dict[str, str]] = {"params": {}, "identity": {}}
        for part, values in (("params", job.params), ("identity", job.keyed)):
            for name, value in values.items():
                if id(value) not in known:
                    known[id(value)] = sha256_of(value)
                    yield known[id(value)], json.dumps(value)
                parts[part][name] = known[id(value)]
        content = {
            "step": job.step,
            "name": job.name,
            "code": job.code,
            "wildcards": dict(job.wildcards),
            **parts,
            "inputs": {role: [one.key for one in jobs] for role, jobs in job.inputs.items()},
        }
        yield job.key, json.dumps(content)
    yield "device", device


class RunFile:
    """The file of a run, opened: reads one chunk and no other."""

    def __init__(self, path: Path) -> None:
        self.chunks = _Texts(path)
        self.texts = _Texts(Path(self.chunks["jobs"]))
        self._jobs: dict[str, Job] = {}
        self._shared: dict[str, Any] = {}

    @property
    def device(self) -> str:
        """The device that the params ask for."""
        return self.texts["device"]

    def chunk(self, key: str) -> Chunk:
        """Return a chunk by its key.

        Raises:
            LookupError: the file does not have it.
        """
        step, label, jobs, needs = json.loads(self.chunks[key[:SHORT]])
        return Chunk(step, label, tuple(jobs), tuple(needs))

    def job(self, key: str) -> Job:
        """Return a job, with all that it is made from.

        Raises:
            LookupError: the file does not have it.
        """
        if key not in self._jobs:
            row = json.loads(self.texts[key])
            params, identity = (self._values(row[name]) for name in ("params", "identity"))
            inputs = {role: tuple(map(self.job, keys)) for role, keys in row["inputs"].items()}
            step, name, code, wildcards = (row[n] for n in ("step", "name", "code", "wildcards"))
            self._jobs[key] = Job(step, name, code, wildcards, params, inputs, identity=identity)
        return self._jobs[key]

    def _values(self, shared: Mapping[str, str]) -> dict[str, Any]:
        for sha256 in shared.values():
            if sha256 not in self._shared:
                self._shared[sha256] = json.loads(self.texts[sha256])
        return {name: self._shared[sha256] for name, sha256 in shared.items()}


class _Texts:
    def __init__(self, path: Path) -> None:
        if not path.exists():
            raise LookupError(path)
        self.path = path

    def __getitem__(self, key: str) -> str:
        with closing(sqlite3.connect(self.path)) as file:
            found = file.execute("select content from texts where key = ?", (key,)).fetchone()
        if found is None:
            raise LookupError(key)
        return str(found[0])
