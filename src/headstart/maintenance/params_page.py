"""docs/params.md: every key of a params file, from the classes that check it."""

from __future__ import annotations

import inspect
import json
import types
from collections.abc import Iterator
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from headstart.maintenance import params_words
from headstart.params.types import current_default
from headstart.registry import STUDIES, Params

HEAD = """\
# Params

Every key that may stand in `params.yaml`, written by `headstart generate` from the classes that check it. A key
without a default is needed. `headstart use PRESET` writes a complete file to start from.
"""


def page() -> str:
    """Return the reference of all sections, each class once, where it is first needed."""
    owners = {name: study.name for study in STUDIES for name in study.sections}
    lines, seen = [HEAD], set[str]()
    for name, field in Params.model_fields.items():
        owner = f" ({owners[name].replace('_', ' ')})" if name in owners else ""
        lines += [f"## `{name}`{owner}", "", f"{_type(field.annotation)}.", ""]
        for section in _sections(field.annotation):
            lines += _described(section, seen)
    return "\n".join(lines).rstrip("\n") + "\n"


def _described(section: type[BaseModel], seen: set[str]) -> Iterator[str]:
    if section.__name__ in seen:
        return
    seen.add(section.__name__)
    yield f"### {section.__name__}"
    yield ""
    yield inspect.cleandoc(section.__doc__ or "")
    yield ""
    yield "| key | value | default | meaning |"
    yield "|---|---|---|---|"
    for name, field in section.model_fields.items():
        meaning = _cell(params_words.meaning(section, name))
        yield f"| `{name}` | {_cell(_type(field.annotation))} | {_default(section, name, field)} | {meaning} |"
    yield ""
    for field in section.model_fields.values():
        for inner in _sections(field.annotation):
            yield from _described(inner, seen)


def _default(section: type[BaseModel], name: str, field: FieldInfo) -> str:
    if field.is_required():
        return ""
    value = field.get_default(call_default_factory=True)
    if isinstance(value, BaseModel):
        shown = current_default(section, name)
        return f"`{_cell(json.dumps(shown, ensure_ascii=False))}`" if shown else "its defaults"
    return f"`{_cell(json.dumps(current_default(section, name), ensure_ascii=False))}`"


def _sections(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yield the classes of params that a type is made of."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _sections(part)


def _type(annotation: Any) -> str:
    """Return a type as a person who writes YAML reads it."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _type(parts[0])
    if origin is Literal:
        return " or ".join(f"`{part}`" for part in parts)
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(_type(part) for part in parts))
    if origin is dict:
        return f"by name: {_type(parts[1])}"
    if origin is tuple:
        inner = dict.fromkeys(_type(part) for part in parts if part is not ...)
        return (
            "list of " + ", ".join(inner)
            if ... in parts
            else "[" + ", ".join(map(_type, parts)) + "]"
        )
    names: dict[object, str] = {str: "text", int: "whole number", float: "number"}
    names |= {bool: "true or false", Any: "anything"}
    if annotation in names:
        return names[annotation]
    if annotation is types.NoneType:
        return "null"
    return (
        f"[{annotation.__name__}](#{annotation.__name__.lower()})"
        if isinstance(annotation, type)
        else "anything"
    )


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
