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
        networks = len(self.seeds)
        whole = [index for index, level in enumerate(levels) if level is None]
        self._add(metric, estimate, levels, range(len(levels)), where, reason, networks, names)
        if len(estimate.points) > 1:
            for place, seed in enumerate(self.seeds):
                own = {**names, "seed": seed}
                self._add(metric, estimate.of(place), levels, whole, where, reason, 1, own)

    def _add(
        self,
        metric: str,
        estimate: Estimate,
        levels: Levels,
        chosen: Sequence[int],
        where: str,
        reason: str,
        networks: int,
        names: dict[str, Any],
    ) -> None:
        pooled, interval = estimate.pooled(), estimate.interval(self.level)
        for index in chosen:
            value = float(pooled.points[0, index])
            row = {
                "metric": metric,
                where: levels[index],
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
