"""From a file to typed params; every problem is one line that names the file and the key."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from headstart.params.core import CoreParams, nearest, suggest
from headstart.params.types import Section

VALUES, DEEPEST = 1_000_000, 100
"""No study has as many values in its params file, or as deep ones."""
TOO_DEEP = "its values are nested too deep; use fewer brackets, and no anchor inside itself"
SHOULD_BE = "input should be "
# How pydantic calls what may stand in a file, and how a person who wrote the file does.
WORDS = {
    "a valid integer": "a whole number",
    "a valid number": "a number",
    "a valid string": "text",
    "a valid boolean": "true or false",
    "a valid tuple": "a list",
    "a valid list": "a list",
    "unable to extract tag using discriminator": "this section needs the key",
}
# What the path of an error says of a union: the branch that did not fit.
BRANCHES = ("str", "int", "float", "bool")


P = TypeVar("P", bound=CoreParams)


class ParamsError(ValueError):
    """A params file that cannot be used; the message names the file, the key, the value and what to do."""


def load(model: type[P], path: Path | str) -> P:
    """Read and check a params file, as a model of all its sections.

    Raises:
        ParamsError: the file is missing, is no YAML, or holds a wrong key or value. Every problem
            stands on a line of its own.
    """
    return parse(model, read_yaml(Path(path)), path)


def read_yaml(path: Path) -> dict[str, Any]:
    """Read the sections of a YAML file, whoever wrote it.

    Raises:
        ParamsError: the file is missing, is no YAML, or is made to take all memory.
    """
    try:
        raw = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ParamsError(
            f"{path}: no such file; `headstart use default` writes the default study"
        ) from None
    except RecursionError:
        raise ParamsError(f"{path}: {TOO_DEEP}") from None
    except (YAMLError, UnicodeDecodeError) as error:
        raise ParamsError(f"{path}: this is not YAML: {' '.join(str(error).split())}") from None
    if reason := _bomb(raw):
        raise ParamsError(f"{path}: {reason}")
    if not isinstance(raw, dict):
        raise ParamsError(
            f"{path}: sections such as `datasets:` are needed, found {type(raw).__name__}"
        )
    return raw


def _bomb(raw: object) -> str:
    """Return why a file holds more or deeper values than any study, as where anchors repeat each other."""
    queue, seen = [(raw, 0)], 0
    while queue:
        value, depth = queue.pop()
        inside = list(value.values()) if isinstance(value, dict) else value
        if isinstance(inside, list):
            seen += len(inside)
            if seen > VALUES:
                return f"its anchors expand to more than {VALUES:,} values; write them out"
            if depth > DEEPEST:
                return TOO_DEEP
            queue += [(each, depth + 1) for each in inside]
    return ""


def parse(model: type[P], raw: dict[str, Any], path: Path | str) -> P:
    """Check a params file that has been read already."""
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        problems = _explain(error.errors())
        raise ParamsError("\n".join(f"{path}: {problem}" for problem in problems)) from None


def _explain(problems: list[ErrorDetails]) -> list[str]:
    """Return one line for each value that does not fit, in however many ways."""
    places: dict[tuple[str, str], list[str]] = {}
    for problem in problems:
        if problem["type"] == "too_short" and problem["input"]:
            continue  # of a list with wrong items, each of which has its own line
        path, reason, found = _place(problem)
        reasons = places.setdefault((path, found), [])
        reasons += [] if reason in reasons else [reason]
    return [
        f"{path}: {_either(reasons)}{found}" if path else _either(reasons)
        for (path, found), reasons in places.items()
    ]


def _place(problem: ErrorDetails) -> tuple[str, str, str]:
    """Return the path in the file, what is wrong there, and what was found where that is said."""
    parts, value = _readable(problem["loc"]), problem["input"]
    path = ".".join(parts)
    if problem["type"] == "extra_forbidden":
        known = _every_field()
        if parts[-1] in known:
            close = nearest(parts[-1], [name for name in known if name != parts[-1]], alike=0.85)
            hint = f"; was {close!r} meant?" if close else ""
            return path, f"this key does not belong here{hint}", ""
        return path, f"unknown key; {suggest(parts[-1], known)}", ""
    if problem["type"] == "missing":
        return path, "this key is missing", ""
    reason = problem["msg"].removeprefix("Value error, ")
    if not parts:
        return path, reason, ""
    reason = f"{reason[0].lower()}{reason[1:]}".partition(", unable to parse")[0]
    for pydantics, ours in WORDS.items():
        reason = reason.replace(pydantics, ours)
    return path, reason, "" if isinstance(value, dict | BaseModel) else f", found {value!r}"


def _either(reasons: list[str]) -> str:
    """Join what may stand in a place: `input should be a whole number or 'best'`."""
    first, *others = reasons
    return " or ".join([first, *(other.removeprefix(SHOULD_BE) for other in others)])


def _readable(location: tuple[int | str, ...]) -> list[str]:
    """Drop what is the validator's and not the file's: the kind behind a name, the branch of a union."""
    parts = [str(part) for part in location]
    if len(parts) > 2 and parts[0] in ("datasets", "models"):
        del parts[2]
    if parts and parts[-1] in BRANCHES:
        del parts[-1]
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
