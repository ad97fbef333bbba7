"""What of a source counts as code: its syntax tree without docstrings and logging, and what it imports.

These facts of a source are remembered, so that a job knows its key without parsing the package. They are
found by the sha256 of the source's bytes: no time, name or place of a file counts, and an edited file is
a file that was never seen. A cache belongs to one version of Python, whose syntax trees are its own, and
to one way of making facts.
"""

from __future__ import annotations

import ast
import contextlib
import hashlib
import json
import platform
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from headstart.artifacts.files import write_atomically
from headstart.artifacts.keys import STORE, sha256_of

MAKERS = ("keys.py", "syntax.py")


class Facts(NamedTuple):
    """What hashing needs to know of a source: the hash of its tree, and the dotted names it imports."""

    hash: str
    imports: list[str]


def facts_of(source: bytes) -> Facts:
    """Parse a source and return its facts."""
    tree = ast.parse(source)
    return Facts(sha256_of(syntax(tree)), sorted(imported(tree)))


def syntax(node: object) -> Any:
    """Return a syntax tree as nested lists, without docstrings, comments, logging, version, positions and empty fields.

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
        return [syntax(item) for item in node if not (_is_logging(item) or _is_version(item))]
    return [type(node).__name__, repr(node)]


def _is_logging(node: object) -> bool:
    """Return whether a statement does nothing but call `….log(…)`: `context.log(f"{images} images")`."""
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Call)
        and isinstance(node.value.func, ast.Attribute)
        and node.value.func.attr == "log"
    )


def _is_version(node: object) -> bool:
    """Return whether a statement is `__version__ = …`: a release changes no result."""
    return (
        isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and node.targets[0].id == "__version__"
    )


def _is_docstring(node: ast.AST, body: list[ast.stmt]) -> bool:
    owners = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    first = body[0] if body else None
    return (
        isinstance(node, owners)
        and isinstance(first, ast.Expr)
        and isinstance(first.value, ast.Constant)
        and isinstance(first.value.value, str)
    )


def imported(tree: ast.AST) -> set[str]:
    """Return the dotted names that a module imports anywhere, in functions too."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


class SyntaxCache:
    """Facts by content, in memory and in a file that may be deleted at any time.

    The file holds what the last process that found something new in its sources asked for, so that
    it does not grow with every edit.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._known = _read(path)
        self._asked: dict[str, Facts] = {}
        self._in_file = set(self._known)

    def facts(self, source: bytes) -> Facts:
        """Return the facts of a source, parsed only if nobody did so before."""
        digest = hashlib.sha256(source).hexdigest()
        if digest not in self._known:
            self._known[digest] = facts_of(source)
        self._asked[digest] = self._known[digest]
        return self._asked[digest]

    def save(self) -> None:
        """Write what is new; where that is not possible, the next process parses again."""
        if self._in_file.issuperset(self._asked):
            return
        content = json.dumps(self._asked, separators=(",", ":")).encode()
        with contextlib.suppress(OSError):
            write_atomically(self.path, _digest(content) + b"\n" + content)
        self._in_file = set(self._asked)


def _read(path: Path) -> dict[str, Facts]:
    """Return what `save` wrote, or nothing where the file is missing or damaged."""
    try:
        digest, _, content = path.read_bytes().partition(b"\n")
    except OSError:
        return {}
    if _digest(content) != digest:
        return {}
    return {name: Facts(*facts) for name, facts in json.loads(content).items()}


def _digest(content: bytes) -> bytes:
    return hashlib.sha256(content).hexdigest().encode()


@cache
def syntax_cache() -> SyntaxCache:
    """Return the cache that a process keeps in the store."""
    makers = [Path(__file__).with_name(name).read_bytes() for name in MAKERS]
    digest = hashlib.sha256(b"\n".join(makers)).hexdigest()[:12]
    return SyntaxCache(STORE / "syntax" / f"python-{platform.python_version()}-{digest}.json")
