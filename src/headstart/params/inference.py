"""What the statistics are asked: the contrast that was chosen before looking, and the margin."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from headstart.params.training import Transfer
from headstart.params.types import Count, Name, Natural, Positive, Section


class Contrast(Section):
    """One arm on one target: earlier (or later) starts against the source-best one."""

    source: Name
    model: Name
    target: Name
    arm: Name
    shots: Count | Literal["all"]


class Statistics(Section):
    """How verdicts are reached."""

    primary: Contrast | None = Field(
        default=None,
        description="the one contrast chosen before looking; all others are corrected by Holm",
    )
    margin: Positive = Field(default=1.0, description="of equivalence, percentage points")
    seed: Natural = Field(default=0, description="of the bootstrap, and of sign flips beyond 12")


def unknown_primary(
    primary: Contrast,
    sources: Mapping[str, tuple[str, ...]],
    transfer: Mapping[str, Mapping[str, Transfer]],
) -> tuple[str, str, list[str]] | None:
    """Return field, value and known values of the first name in `primary` that nothing is run for.

    `sources` are the source tasks of every model, `transfer` its arms.
    """
    arms = transfer.get(primary.model, {})
    arm = arms.get(primary.arm)
    known: dict[str, list[str]] = {
        "model": [model for model in transfer if model in sources],
        "source": list(sources.get(primary.model, ())),
        "arm": list(arms),
        "target": list(arm.targets or (primary.source,)) if arm else [],
        "shots": [str(shots) for shots in arm.shots] if arm else [],
    }
    for field, names in known.items():
        value = str(getattr(primary, field))
        if value not in names:
            return field, value, names
    return None
