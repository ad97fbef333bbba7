"""The code in a key: a declared version, or the hash of the source where nobody declared the edit.

`versions.json` holds, for each step, a version and the hash of the syntax trees of all modules that
the step imports. While the source at hand has that hash, the version stands in the key; after an edit
the hash itself does, so that an edit always recomputes, until `headstart version` says what it meant.

Two kinds of modules decide no result and are not hashed: params, whose values are in the keys
themselves, and logs.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from headstart.artifacts.files import PACKAGE as PACKAGE
from headstart.artifacts.files import write_atomically
from headstart.artifacts.keys import sha256_of
from headstart.artifacts.syntax import syntax_cache

VERSIONS = PACKAGE / "versions.json"


LOGS = ("headstart.artifacts.log", "headstart.steps.progress")


def decides_results(name: str) -> bool:
    """Return whether a module is code in the sense of keys: neither params nor what is logged."""
    parts = name.split(".")
    params = parts[1:2] == ["params"] or (parts[1:2] == ["studies"] and parts[3:] == ["params"])
    return not params and name not in LOGS


@cache
def module_path(name: str, package: Path = PACKAGE) -> Path | None:
    """Return the file of a module such as `headstart.params`, or None where there is none."""
    parts = name.split(".")
    if parts[0] != package.name:
        return None
    base = package.joinpath(*parts[1:])
    for candidate in (base.with_suffix(".py"), base / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None


def closure(*entries: str, package: Path = PACKAGE) -> dict[str, Path]:
    """Return the modules that decide results among those that `entries` import, directly or not."""
    found: dict[str, Path] = {}
    queue = list(entries)
    while queue:
        name = queue.pop()
        path = module_path(name, package)
        if path is None or name in found or not decides_results(name):
            continue
        found[name] = path
        queue += syntax_cache().facts(path.read_bytes()).imports
        parent = name.rpartition(".")[0]
        queue += [parent] if parent else []
    return dict(sorted(found.items()))


def source_hash(*entries: str, package: Path = PACKAGE) -> str:
    """Return the hash, 16 hex digits, of the syntax trees of all modules that `entries` import."""
    files, cached = closure(*entries, package=package), syntax_cache()
    trees = {name: cached.facts(path.read_bytes()).hash for name, path in files.items()}
    cached.save()
    return sha256_of(trees)[:16]


def notebook_hash(path: Path, *entries: str) -> str:
    """Return the hash, 16 hex digits, of a notebook's cells and of all that it or `entries` import."""
    cells = [[cell["cell_type"], "".join(cell["source"])] for cell in _cells(path)]
    return sha256_of([cells, source_hash(*entries, *notebook_imports(path))])[:16]


def notebook_imports(path: Path) -> list[str]:
    """Return the dotted names that the code cells of a notebook import."""
    sources = ["".join(cell["source"]) for cell in _cells(path) if cell["cell_type"] == "code"]
    return sorted(
        {name for each in sources for name in syntax_cache().facts(each.encode()).imports}
    )


def _cells(path: Path) -> list[dict[str, Any]]:
    return list(json.loads(path.read_text(encoding="utf-8"))["cells"])


def read_versions(path: Path = VERSIONS) -> dict[str, dict[str, Any]]:
    """Return the declared versions: step -> {version, hash}."""
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def code_of(step: str, entry: str, versions: Path = VERSIONS) -> str:
    """Return what stands for a step's code in its keys."""
    declared = read_versions(versions).get(step)
    now = source_hash(entry)
    if declared is None:
        return now
    return str(declared["version"]) if declared["hash"] == now else f"{declared['version']}+{now}"


def declare(step: str, entry: str, *, bump: bool, versions: Path = VERSIONS) -> tuple[int, bool]:
    """Record the source at hand under the old version, or under the next one.

    Returns:
        The version and whether anything changed.
    """
    every = read_versions(versions)
    old = every.get(step, {"version": 0 if bump else 1, "hash": None})
    new = {"version": old["version"] + int(bump), "hash": source_hash(entry)}
    if new != old:
        every[step] = new
        text = json.dumps(dict(sorted(every.items())), indent=2) + "\n"
        write_atomically(versions, text.encode())
    return new["version"], new != old
