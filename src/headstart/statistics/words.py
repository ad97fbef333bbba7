"""Numbers for people: intervals and plurals are written in one way everywhere."""

from __future__ import annotations

import math


def format_interval(
    value: float,
    low: float = math.nan,
    high: float = math.nan,
    *,
    digits: int = 1,
    signed: bool = False,
    unit: str = "",
) -> str:
    """Return a number with its interval: `+0.6 [-2.6, +2.8]`, `30.6 % [29.3, 32.0]`; `–` where there is none."""
    if math.isnan(value):
        return "–"
    # z: what is rounded to zero has no minus.
    spec = f"{'+' if signed else ''}z.{digits}f"
    text = f"{value:{spec}}" + (f" {unit}" if unit else "")
    if math.isnan(low) or math.isnan(high):
        return text
    return f"{text} [{low:{spec}}, {high:{spec}}]"


def pluralize(number: int, noun: str, plural: str = "") -> str:
    """Return a number with its noun: `1 network`, `3 networks`, `2 classes`."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"
