"""One row per measurement: estimates with their intervals become a tidy table."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from headstart.metrics.interactions.resampling import Estimate
from headstart.studies.knowledge.tables import SCHEMA

UNDEFINED = "0/0 on every image: nothing there to take a share of, or to compare"
NO_ROOM = "no room between chance and ceiling"
NEVER = "never reached"

Levels = Sequence[int | None]
SourceEpochs = Mapping[str, Mapping[int, int]]
"""Source epoch as requested (a number or `best`) -> source network -> its source epoch."""


class Rows:
    """Collects measurements of one comparison; `same` are columns of all rows that name no other."""

    def __init__(self, confidence: float, source_epochs: SourceEpochs, **same: Any) -> None:
        self.confidence, self.source_epochs = confidence, source_epochs
        self.same = {"split": "test", "subset": "all", **same}
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
        reasons: Mapping[int, str] | None = None,
        note: str = "",
        every: bool = False,
        **names: Any,
    ) -> None:
        """Add the mean over networks at every level, and each network's own where there is no level.

        `levels` stand in the column `where`, None for a whole. `reason` says why a value is missing
        (`reasons` at some levels), `note` what to know of one that is not. With `every` there is a mean
        only where all networks have a value; `undefined` then counts the networks that have none.
        """
        common = self.same | names | {"metric": metric}
        said = {level: (reasons or {}).get(level or 0, reason) for level in levels}
        self._add(estimate.pooled(every), levels, common, where, said, note)
        whole = [index for index, level in enumerate(levels) if level is None]
        # A measure that is pooled before it is formed, such as an excess, has no value of one network.
        if len(estimate.points) > 1 and whole:
            for place, seed in enumerate(self.source_epochs[names["init_epoch"]]):
                one = estimate.of(place).at(whole).pooled(every)
                self._add(one, (None,), common | {"seed": seed}, where, said, note)

    def _add(
        self,
        pooled: Estimate,
        levels: Levels,
        common: dict[str, Any],
        where: str,
        reasons: Mapping[int | None, str],
        note: str,
    ) -> None:
        interval, missing = pooled.interval(self.confidence), pooled.undefined_draws()
        for index, level in enumerate(levels):
            value, low = float(pooled.points[0, index]), float(interval[0, index])
            reason = reasons[level] if math.isnan(value) else note
            if math.isnan(low) and not math.isnan(value):
                reason = f"no interval: undefined in {float(missing[index]):.1%} of the draws"
            row = {
                where: level,
                "value": value,
                "low": low,
                "high": float(interval[1, index]),
                "n": int(pooled.images[0, index]),
                "networks": int(pooled.networks[0, index]),
                "undefined": int(pooled.undefined[0, index]),
                "reason": reason,
            }
            self._append(common | row)

    def add_missing(self, metric: str, reason: str, **names: Any) -> None:
        """Add a measurement that could not be made."""
        self.add_number(metric, math.nan, reason=reason, networks=0, **names)

    def add_number(self, metric: str, value: float, *, reason: str = "", **names: Any) -> None:
        """Add a number that has no interval over images, such as an accuracy from a history."""
        nothing = {"low": math.nan, "high": math.nan, "n": 0, "networks": 1, "undefined": 0}
        reason = reason or ("not read" if math.isnan(value) else "")
        row = {"metric": metric, "value": value, "reason": reason}
        self._append(self.same | nothing | names | row)

    def table(self) -> pd.DataFrame:
        """Return all rows."""
        return SCHEMA.tidy(self.rows)
