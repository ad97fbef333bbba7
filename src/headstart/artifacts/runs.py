"""Finished runs of a bundle, each under its own key, so that a wider grid trains only what is new."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from headstart.artifacts.files import read_json, write_json
from headstart.artifacts.keys import STORE, sha256_of

RUNS = STORE / "runs"


def run_key(identity: Mapping[str, Any]) -> str:
    """Return the key of a run, 64 hex digits, from all that decides its result."""
    return sha256_of(identity)


def run_path(key: str) -> Path:
    """Return where the record of a run lies."""
    return RUNS / key[:2] / f"{key}.json"


def read_run(key: str) -> dict[str, Any] | None:
    """Return the record of a finished run, or None where there is none or it is damaged."""
    try:
        found = read_json(run_path(key))
        # Earlier versions wrote no sum.
        whole = found["key"] == key and found.get("sha256") in (None, sha256_of(found["record"]))
    except (OSError, ValueError, LookupError, TypeError):
        return None
    return found["record"] if whole else None


def write_run(key: str, record: Mapping[str, Any]) -> None:
    """Keep the record of a finished run."""
    kept = json.loads(json.dumps(dict(record)))
    write_json(run_path(key), {"key": key, "sha256": sha256_of(kept), "record": kept})
