"""The code in a key: a declared version, or the hash of the source where nobody declared the edit.

`versions.json` holds, for each step, a version and the hash of the syntax trees of all modules that
the step imports. While the source at hand has that hash, the version stands in the key; after an edit
the hash itself does, so that an edit always recomputes, until `headstart version` says what it meant.
"""

from __future__ import annotations

import ast
import json
from functools import cache
from pathlib import Path
from typing import Any

from headstart.artifacts.files import write_atomically
from headstart.artifacts.keys import sha256_of

PACKAGE = Path(__file__).resolve().parents[1]
VERSIONS = PACKAGE / "versions.json"


def syntax(node: object) -> Any:
    """Return a syntax tree as nested lists, without docstrings, comments, positions and empty fields.

    Empty fields are left out because newer versions of Python add new ones.
    """
    if isinstance(node, ast.AST):
        fields = {name: value for name, value in ast.iter_fields(node) if value not in (None, [])}
        fields.pop("ctx", None)
        fields.pop("kind", None)
        body = fields.get("body")
        if isinstance(body, list) and _is_docstring(node, body):
            fields["body"] = body[1:]
        return [
            type(node).__name__,
            *([name, syntax(value)] for name, value in sorted(fields.items())),
        ]
    if isinstance(node, list):
        return [syntax(item) for item in node]
    return [type(node).__name__, repr(node)]


def _is_docstring(node: ast.AST, body: list[ast.stmt]) -> bool:
    owners = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    first = body[0] if body else None
    return (
        isinstance(node, owners)
        and isinstance(first, ast.Expr)
        and isinstance(first.value, ast.Constant)
        and isinstance(first.value.value, str)
    )


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


def imported(source: str) -> set[str]:
    """Return the dotted names that a module imports anywhere, in functions too."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def closure(*entries: str, package: Path = PACKAGE) -> dict[str, Path]:
    """Return the modules of the package that `entries` import, directly or not, themselves included."""
    found: dict[str, Path] = {}
    queue = list(entries)
    while queue:
        name = queue.pop()
        path = module_path(name, package)
        if path is None or name in found:
            continue
        found[name] = path
        queue += sorted(imported(path.read_text(encoding="utf-8")))
        parent = name.rpartition(".")[0]
        queue += [parent] if parent else []
    return dict(sorted(found.items()))


@cache
def _file_hash(path: Path, modified: int) -> str:
    return sha256_of(syntax(ast.parse(path.read_text(encoding="utf-8"))))


def source_hash(*entries: str, package: Path = PACKAGE) -> str:
    """Return the hash, 16 hex digits, of the syntax trees of all modules that `entries` import."""
    files = closure(*entries, package=package)
    trees = {name: _file_hash(path, path.stat().st_mtime_ns) for name, path in files.items()}
    return sha256_of(trees)[:16]


def notebook_hash(path: Path, *entries: str) -> str:
    """Return the hash, 16 hex digits, of a notebook's cells and of all that it or `entries` import."""
    cells = [[cell["cell_type"], "".join(cell["source"])] for cell in _cells(path)]
    return sha256_of([cells, source_hash(*entries, *notebook_imports(path))])[:16]


def notebook_imports(path: Path) -> list[str]:
    """Return the dotted names that the code cells of a notebook import."""
    sources = ["".join(cell["source"]) for cell in _cells(path) if cell["cell_type"] == "code"]
    return sorted(set().union(*map(imported, sources)))


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
