"""One row per measurement: estimates with their intervals become a tidy table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd

from headstart.metrics.resampling import Estimate
from headstart.studies.knowledge.columns import tidy

UNDEFINED = "0/0 on every image: nothing there to take a share of, or to compare"
NO_ROOM = "the ceiling is not above the null"

Levels = Sequence[int | None]


class Rows:
    """Collects measurements of one comparison; `same` are the columns that all its rows share."""

    def __init__(self, level: float, seeds: Sequence[int], **same: Any) -> None:
        self.level, self.seeds, self.same = level, list(seeds), same
        self.rows: list[dict[str, Any]] = []

    def add(
        self,
        metric: str,
        estimate: Estimate,
        levels: Levels = (None,),
        *,
        where: str = "order",
        reason: str = UNDEFINED,
        **names: Any,
    ) -> None:
        """Add the mean over networks at every level, and each network's own where there is no level.

        `levels` stand in the column `where`, None for a whole.
        """
        whole = [index for index, level in enumerate(levels) if level is None]
        self._add(metric, estimate, levels, where, reason, len(self.seeds), names)
        if len(estimate.points) > 1 and whole:
            for place, seed in enumerate(self.seeds):
                one = Estimate(*(part[..., whole] for part in estimate.of(place)))
                self._add(metric, one, (None,), where, reason, 1, {**names, "seed": seed})

    def _add(
        self,
        metric: str,
        estimate: Estimate,
        levels: Levels,
        where: str,
        reason: str,
        networks: int,
        names: dict[str, Any],
    ) -> None:
        pooled, interval = estimate.pooled(), estimate.interval(self.level)
        for index, level in enumerate(levels):
            value = float(pooled.points[0, index])
            row = {
                "metric": metric,
                where: level,
                "value": value,
                "low": float(interval[0, index]),
                "high": float(interval[1, index]),
                "n": int(pooled.images[0, index]),
                "seeds": networks,
                "undefined": int(pooled.undefined[0, index]),
                "reason": reason if math.isnan(value) else "",
            }
            self.rows.append(self.same | names | row)

    def add_missing(self, metric: str, reason: str, **names: Any) -> None:
        """Add a measurement that could not be made."""
        nothing = dict.fromkeys(("value", "low", "high"), math.nan)
        counts = {"n": 0, "seeds": 0, "undefined": 0, "reason": reason}
        self.rows.append(self.same | names | nothing | counts | {"metric": metric})

    def add_number(self, metric: str, value: float, **names: Any) -> None:
        """Add a number that has no interval over images, such as an accuracy from a history."""
        nothing = {"low": math.nan, "high": math.nan, "n": 0, "seeds": 1, "undefined": 0}
        reason = "not read" if math.isnan(value) else ""
        row = {"metric": metric, "value": value, "reason": reason}
        self.rows.append(self.same | nothing | names | row)

    def table(self) -> pd.DataFrame:
        """Return all rows."""
        return tidy(pd.DataFrame(self.rows))
