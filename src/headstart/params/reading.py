"""From a file to typed params; every problem is one line that names the file and the key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from headstart.params.study import Params, suggest
from headstart.params.types import Section


class ParamsError(ValueError):
    """A params file that cannot be used; the message names the file, the key, the value and the remedy."""


def load(path: Path | str = "params.yaml") -> Params:
    """Read and check a params file.

    Raises:
        ParamsError: the file is missing, is no YAML, or holds a wrong key or value. Every problem
            stands on a line of its own.
    """
    path = Path(path)
    try:
        raw = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ParamsError(
            f"{path}: no such file; `headstart use default` writes the default study"
        ) from None
    except (YAMLError, UnicodeDecodeError) as error:
        raise ParamsError(f"{path}: this is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(raw, dict):
        raise ParamsError(
            f"{path}: sections such as `datasets:` are needed, found {type(raw).__name__}"
        )
    return parse(raw, path)


def parse(raw: dict[str, Any], path: Path | str = "params.yaml") -> Params:
    """Check a params file that has been read already."""
    try:
        return Params.model_validate(raw)
    except ValidationError as error:
        problems = list(dict.fromkeys(_explain(problem) for problem in error.errors()))
        raise ParamsError("\n".join(f"{path}: {problem}" for problem in problems)) from None


def _explain(problem: ErrorDetails) -> str:
    parts = _readable(problem["loc"])
    path, value = ".".join(parts), problem["input"]
    if problem["type"] == "extra_forbidden":
        if parts[-1] in _every_field():
            return f"{path}: this key does not belong here"
        return f"{path}: unknown key; {suggest(parts[-1], _every_field())}"
    if problem["type"] == "missing":
        return f"{path}: this key is missing"
    if problem["type"] == "value_error" and not parts:
        return problem["msg"].removeprefix("Value error, ")
    reason = problem["msg"].removeprefix("Value error, ")
    shown = "" if isinstance(value, dict | BaseModel) else f", found {value!r}"
    return f"{path}: {reason[0].lower()}{reason[1:]}{shown}"


def _readable(location: tuple[int | str, ...]) -> list[str]:
    """Drop what is the validator's and not the file's: the kind behind a name, the branch of a union."""
    parts = [str(part) for part in location]
    if len(parts) > 2 and parts[0] in ("datasets", "models"):
        del parts[2]
    return [part for part in parts if not any(mark in part for mark in "[(-")]


def _every_field() -> list[str]:
    """Return the names of all keys that any section knows."""
    sections: list[type[BaseModel]] = [Section]
    names: set[str] = set()
    while sections:
        section = sections.pop()
        sections.extend(section.__subclasses__())
        names |= set(section.model_fields)
    return sorted(names)
