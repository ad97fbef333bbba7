"""Why and when does pre-training help? A reproducible study in four parts."""

from __future__ import annotations

import ast
import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

__version__ = "0.2.0.dev0"


def from_stub(package: str) -> tuple[Callable[[str], Any], list[str]]:
    """Return `__getattr__` (PEP 562) and `__all__` of a package, from the imports in its stub.

    So `from headstart.metrics import stir_grid` works and is typed, while importing the package loads
    neither torch nor pandas, and no module becomes part of a step's code because a package exports it.
    """
    stub = Path(str(sys.modules[package].__file__)).with_suffix(".pyi")
    imports = [n for n in ast.parse(stub.read_text()).body if isinstance(n, ast.ImportFrom)]
    modules = {alias.name: str(node.module) for node in imports for alias in node.names}

    def find(name: str) -> Any:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(modules[name]), name)

    return find, sorted(modules)
