"""One row per measurement: estimates with their intervals become a tidy table."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd

from headstart.metrics.interactions.resampling import Estimate
from headstart.studies.knowledge.tables import SCHEMA

UNDEFINED = "0/0 on every image: nothing there to take a share of, or to compare"
NO_ROOM = "the ceiling is not above the null"
NEVER = "never reached"

Levels = Sequence[int | None]
SourceEpochs = Mapping[str, Mapping[int, int]]
"""Source epoch as requested (a number or `best`) -> source network -> its source epoch."""


class Description(NamedTuple):
    """What the rows of one measurement have in common: see `Rows.add`."""

    where: str
    reason: str
    note: str
    every: bool

    def reason_for(self, value: float, low: float, missing: float) -> str:
        """Return why a value or its interval is missing, or what to know of it."""
        if math.isnan(value):
            return self.reason
        if math.isnan(low):
            return f"no interval: undefined in {missing:.1%} of the draws of images"
        return self.note


class Rows:
    """Collects measurements of one comparison; `same` are the columns that all its rows share."""

    def __init__(self, confidence: float, source_epochs: SourceEpochs, **same: Any) -> None:
        self.confidence, self.source_epochs, self.same = confidence, source_epochs, same
        self.rows: list[dict[str, Any]] = []

    def _append(self, row: dict[str, Any]) -> None:
        """Add a row with its source epoch: its network's own, or that of all networks where they agree."""
        epochs = self.source_epochs[row["init_epoch"]]
        own = {epochs[row["seed"]]} if "seed" in row else set(epochs.values())
        self.rows.append({**row, "source_epoch": own.pop() if len(own) == 1 else None})

    def add(
        self,
        metric: str,
        estimate: Estimate,
        levels: Levels = (None,),
        *,
        where: str = "order",
        reason: str = UNDEFINED,
        note: str = "",
        every: bool = False,
        **names: Any,
    ) -> None:
        """Add the mean over networks at every level, and each network's own where there is no level.

        `levels` stand in the column `where`, None for a whole. `reason` says why a value is missing,
        `note` what to know of one that is not. With `every` there is a mean only where all networks
        have a value; `undefined` then counts the networks that have none.
        """
        whole = [index for index, level in enumerate(levels) if level is None]
        described = Description(where, reason, note, every)
        self._add(metric, estimate, levels, described, names)
        if len(estimate.points) > 1 and whole:
            for place, seed in enumerate(self.source_epochs[names["init_epoch"]]):
                one = Estimate(*(part[..., whole] for part in estimate.of(place)))
                self._add(metric, one, (None,), described, {**names, "seed": seed})

    def _add(
        self,
        metric: str,
        estimate: Estimate,
        levels: Levels,
        described: Description,
        names: dict[str, Any],
    ) -> None:
        pooled = estimate.pooled(described.every)
        interval, missing = pooled.interval(self.confidence), pooled.undefined_draws()
        for index, level in enumerate(levels):
            value, low = float(pooled.points[0, index]), float(interval[0, index])
            row = {
                "metric": metric,
                described.where: level,
                "value": value,
                "low": low,
                "high": float(interval[1, index]),
                "n": int(pooled.images[0, index]),
                "networks": int(pooled.networks[0, index]),
                "undefined": int(pooled.undefined[0, index]),
                "reason": described.reason_for(value, low, float(missing[index])),
            }
            self._append(self.same | names | row)

    def add_missing(self, metric: str, reason: str, **names: Any) -> None:
        """Add a measurement that could not be made."""
        nothing = dict.fromkeys(("value", "low", "high"), math.nan)
        counts = {"n": 0, "networks": 0, "undefined": 0, "reason": reason}
        self._append(self.same | names | nothing | counts | {"metric": metric})

    def add_number(self, metric: str, value: float, *, reason: str = "", **names: Any) -> None:
        """Add a number that has no interval over images, such as an accuracy from a history."""
        nothing = {"low": math.nan, "high": math.nan, "n": 0, "networks": 1, "undefined": 0}
        reason = reason or ("not read" if math.isnan(value) else "")
        row = {"metric": metric, "value": value, "reason": reason}
        self._append(self.same | nothing | names | row)

    def table(self) -> pd.DataFrame:
        """Return all rows."""
        return SCHEMA.tidy(self.rows)
