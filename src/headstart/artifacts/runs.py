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
    """Return the record of a finished run, or None where there is none or it cannot be read."""
    try:
        record = read_json(run_path(key))
    except (OSError, json.JSONDecodeError):
        return None
    return record["record"] if isinstance(record, dict) and record.get("key") == key else None


def write_run(key: str, record: Mapping[str, Any]) -> None:
    """Keep the record of a finished run."""
    write_json(run_path(key), {"key": key, "record": dict(record)})
