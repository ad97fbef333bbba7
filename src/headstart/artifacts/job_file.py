"""The jobs of a run in a file, from which each reads itself and what it is made from, and nothing else.

So the start of a job does not depend on how large the study is.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from headstart.artifacts.keys import SHORT, STORE, Job, sha256_of

FOLDER = STORE / "plans"
SCHEMA = """
create table jobs (key text primary key, content text);
create table texts (sha256 text primary key, content text);
"""


def write_jobs(jobs: list[Job], device: str) -> Path:
    """Write jobs, unless they are there already; return where.

    Params that many jobs share are written once.
    """
    path = FOLDER / f"{sha256_of([device, *(job.full_key for job in jobs)])[:SHORT]}.sqlite"
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.unlink(missing_ok=True)
    with closing(sqlite3.connect(beside)) as file, file:
        file.executescript(SCHEMA)

        def shared(value: Any) -> str:
            sha256 = sha256_of(value)
            file.execute("insert or ignore into texts values (?, ?)", (sha256, json.dumps(value)))
            return sha256

        file.executemany("insert into jobs values (?, ?)", _rows(jobs, device, shared))
    beside.rename(path)
    return path


def _rows(jobs: list[Job], device: str, shared: Callable[[Any], str]) -> Iterator[tuple[str, str]]:
    yield "device", json.dumps(device)
    for job in jobs:
        content = {
            "step": job.step,
            "name": job.name,
            "code": job.code,
            "wildcards": dict(job.wildcards),
            "params": shared(dict(job.params)),
            "identity": shared(job.keyed),
            "inputs": {role: [one.key for one in jobs] for role, jobs in job.inputs.items()},
        }
        yield job.key, json.dumps(content)


def read_job(path: Path, key: str) -> tuple[Job, str]:
    """Return a job, with all that it is made from, and the device that the params ask for.

    Raises:
        LookupError: the file does not have the job.
    """
    if not path.exists():
        raise LookupError(key)
    with closing(sqlite3.connect(path)) as file:
        known: dict[str, Job] = {}
        job = _job(file, key[:SHORT], known)
        return job, json.loads(_content(file, "jobs", "key", "device"))


def _job(file: sqlite3.Connection, key: str, known: dict[str, Job]) -> Job:
    if key not in known:
        row = json.loads(_content(file, "jobs", "key", key))
        params, identity = (
            json.loads(_content(file, "texts", "sha256", row[name]))
            for name in ("params", "identity")
        )
        inputs = {
            role: tuple(_job(file, one, known) for one in keys)
            for role, keys in row["inputs"].items()
        }
        step, name, code, wildcards = (row[n] for n in ("step", "name", "code", "wildcards"))
        known[key] = Job(step, name, code, wildcards, params, inputs, identity=identity)
    return known[key]


def _content(file: sqlite3.Connection, table: str, column: str, value: str) -> str:
    found = file.execute(f"select content from {table} where {column} = ?", (value,)).fetchone()
    if found is None:
        raise LookupError(value)
    return str(found[0])
