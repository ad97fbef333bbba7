"""A job and its key: what is to be done, said so that equal work has an equal name; and seeds made of names."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

SHORT = 12
RESULTS = Path("results")
STORE = Path(".store")
STAMPS = STORE / "stamps"


def canonical_json(value: object) -> str:
    """Return the one spelling of a JSON value: sorted keys, no spaces, no rounding."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def sha256_of(value: object) -> str:
    """Return the sha256, as 64 hex digits, of a JSON value's canonical form."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


@dataclass(frozen=True, eq=False)
class Job:
    """One step with its wildcards and params, and the jobs whose artifacts it reads.

    Attributes:
        params: what the job's function gets, every field with its value.
        identity: what of them is in the key: no defaults, no places of files; `params` where it is None.
        after: jobs that must have run before, without being read: they are not part of the key.
    """

    step: str
    name: str
    code: str
    wildcards: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, Any] = field(default_factory=dict)
    inputs: Mapping[str, tuple[Job, ...]] = field(default_factory=dict)
    after: tuple[Job, ...] = ()
    identity: Mapping[str, Any] | None = None

    @cached_property
    def full_key(self) -> str:
        """The key, 64 hex digits."""
        return sha256_of(
            {
                "step": self.step,
                "code": self.code,
                "params": self.keyed,
                "wildcards": {name: str(value) for name, value in self.wildcards.items()},
                "inputs": {
                    role: [job.full_key for job in jobs] for role, jobs in self.inputs.items()
                },
            }
        )

    @property
    def keyed(self) -> Mapping[str, Any]:
        """What of the params is in the key."""
        return self.params if self.identity is None else self.identity

    @property
    def key(self) -> str:
        """The key as paths show it."""
        return self.full_key[:SHORT]

    @property
    def label(self) -> str:
        """Folder name: readable wildcards, then the key."""
        return f"{self.name}-{self.key}"

    @property
    def path(self) -> Path:
        """Folder of the artifact, relative to the project's folder."""
        return RESULTS / self.step / self.label

    @property
    def manifest(self) -> Path:
        """The file that makes the artifact valid."""
        return self.path / "manifest.json"

    @property
    def stamp(self) -> Path:
        """The file by which Snakemake knows, within one run, that the artifact was made."""
        return STAMPS / self.step / self.label

    def every_input(self) -> tuple[Job, ...]:
        """Return the inputs of all roles."""
        return tuple(job for jobs in self.inputs.values() for job in jobs)

    def ancestors(self) -> Iterator[Job]:
        """Yield the inputs, their inputs and so on, each once."""
        seen: set[str] = set()
        queue = list(self.every_input())
        while queue:
            job = queue.pop()
            if job.full_key not in seen:
                seen.add(job.full_key)
                yield job
                queue.extend(job.every_input())


def derive_seed(*names: str | int) -> int:
    """Return a seed in [0, 2^63) for a purpose, such as `derive_seed("shots", task, draw)`."""
    text = "/".join(str(name) for name in names)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
