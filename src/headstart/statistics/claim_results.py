"""What the tables say of a claim: its status, its number with an interval, and the reason."""

from dataclasses import dataclass
from typing import Literal

from headstart.statistics.intervals import Interval

CONTROL_FAILED = "its control failed"
"""How a warning begins that the judge of a claim says yes where nothing is."""
Status = Literal[
    "supported", "contradicted", "undetermined", "not identifiable here", "not measured here"
]


@dataclass(frozen=True)
class ClaimResult:
    """The status of a claim, its number with a 95 % interval, and the reason.

    NaN where nothing was measured, or the runs allow no interval; the claim says in which unit. Not
    identifiable: measured, but these networks could not show it either way.
    """

    status: Status
    reason: str
    value: float = float("nan")
    low: float = float("nan")
    high: float = float("nan")


def bounded(status: Status, reason: str, interval: Interval) -> ClaimResult:
    """Return a result whose number is the estimate of an interval."""
    return ClaimResult(status, reason, interval.estimate, interval.low, interval.high)
