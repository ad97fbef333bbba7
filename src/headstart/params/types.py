"""The types of single values, and what every section has in common."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
)
from pydantic.fields import FieldInfo

DEFAULTS = Path(__file__).with_name("defaults.json")


def no_boolean(value: object) -> object:
    """Refuse true and false where a number is needed; Python counts them as 1 and 0."""
    if isinstance(value, bool):
        raise ValueError("a number is needed, not true or false")
    return value


def ascending(pair: tuple[float, float]) -> tuple[float, float]:
    """Refuse a range whose first number is the larger one."""
    if pair[0] > pair[1]:
        raise ValueError("the smaller number comes first")
    return pair


Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$")]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Count = Annotated[int, BeforeValidator(no_boolean), Field(ge=1)]
Natural = Annotated[int, BeforeValidator(no_boolean), Field(ge=0)]
Positive = Annotated[float, BeforeValidator(no_boolean), Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, BeforeValidator(no_boolean), Field(ge=0, allow_inf_nan=False)]
Fraction = Annotated[float, BeforeValidator(no_boolean), Field(gt=0, lt=1)]
Share = Annotated[float, BeforeValidator(no_boolean), Field(ge=0, le=1)]
Ascending = Annotated[tuple[Positive, Positive], AfterValidator(ascending)]
SourceEpoch = Natural | Literal["best"]
TrajectoryEpoch = Natural | Literal["best", "last"]


class Section(BaseModel):
    """Base of every section: unknown keys are errors, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def located(description: str, **options: Any) -> Any:
    """Return a field that says where something lies: no part of any key, its content is."""
    return Field(description=description, json_schema_extra={"location": True}, **options)


def is_location(field: FieldInfo) -> bool:
    """Return whether a field says where something lies."""
    extra = field.json_schema_extra
    return isinstance(extra, dict) and bool(extra.get("location"))


@dataclass(frozen=True)
class Without:
    """A section without some of its fields, such as those that list jobs."""

    section: Section
    names: tuple[str, ...]


def without(section: Section, *names: str) -> Without:
    """Return a section without the fields that say which jobs there are."""
    return Without(section, names)


def complete(value: Any) -> Any:
    """Return typed values as JSON, every field with its value: what a job gets."""
    if isinstance(value, Without):
        return {k: v for k, v in complete(value.section).items() if k not in value.names}
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, Mapping):
        return {name: complete(each) for name, each in value.items()}
    return [complete(each) for each in value] if isinstance(value, tuple | list) else value


def canonical(value: Any) -> Any:
    """Return typed values as JSON without defaults and places: what a key is made of.

    A field is left out where it has its *recorded* default (`defaults.json`), so that neither a new field
    nor a default that changes makes one key mean two things.
    """
    if isinstance(value, Without):
        return {k: v for k, v in canonical(value.section).items() if k not in value.names}
    if isinstance(value, BaseModel):
        return dict(_explicit(value))
    if isinstance(value, Mapping):
        return {name: canonical(each) for name, each in value.items()}
    return [canonical(each) for each in value] if isinstance(value, tuple | list) else value


def _explicit(section: BaseModel) -> Iterator[tuple[str, Any]]:
    for name, field in type(section).model_fields.items():
        if is_location(field):
            continue
        value = canonical(getattr(section, name))
        if field.is_required() or value != recorded_default(type(section), name):
            yield name, value


def recorded_default(section: type[BaseModel], name: str) -> Any:
    """Return the default that keys leave out: the recorded one, or that of a field not recorded yet."""
    recorded = _recorded().get(f"{section.__name__}.{name}", ...)
    return current_default(section, name) if recorded is ... else recorded


def current_default(section: type[BaseModel], name: str) -> Any:
    """Return the default of a field as keys spell it."""
    return canonical(section.model_fields[name].get_default(call_default_factory=True))


@cache
def _recorded() -> dict[str, Any]:
    return dict(json.loads(DEFAULTS.read_text(encoding="utf-8"))) if DEFAULTS.exists() else {}
