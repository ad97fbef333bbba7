"""What of a source counts as code: its syntax tree without docstrings and logging, and what it imports."""

from __future__ import annotations

import ast
from typing import Any, NamedTuple

from headstart.artifacts.keys import sha256_of


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
