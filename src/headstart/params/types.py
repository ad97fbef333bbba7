"""The types of single values, and what every section has in common."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
)


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


def canonical(section: BaseModel) -> dict[str, Any]:
    """Return typed values with fields at their default left out, so that a new option changes no key."""
    return section.model_dump(mode="json", exclude_defaults=True)
