"""The measurements of every study have one schema: the same names for the same things, and one way to select rows.

One row is one measurement. A study adds columns of its own between what identifies a measurement and
what was measured; texts that do not apply are empty, numbers are missing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

IDENTITY = {
    "study": "str",
    "source": "str",
    "model": "str",
    "target": "str",
    "arm": "str",
    "mode": "str",
    "seed": "Int64",
    "source_epoch": "Int64",
    "target_epoch": "Int64",
    "split": "str",
    "metric": "str",
    "condition": "str",
}
"""What identifies a measurement in every study.

`seed` is the source network, missing for a mean over networks. `source_epoch` is a number, missing where
networks of a mean differ. `condition` is "measured", or the null or ceiling that stands in for it.
"""
VALUE = {
    "value": "float64",
    "low": "float64",
    "high": "float64",
    "n": "Int64",
    "reason": "str",
    "device": "str",
}
"""What was measured: with its interval, the number it rests on, and why a value or interval is missing."""
MEASURED = "measured"


@dataclass(frozen=True)
class Schema:
    """The measurements of one study: the shared columns and its own, in order."""

    study: str
    own: Mapping[str, str] = field(default_factory=dict)

    @property
    def columns(self) -> dict[str, str]:
        """The pandas type of every column."""
        return {**IDENTITY, **self.own, **VALUE}

    @property
    def keys(self) -> list[str]:
        """The columns that identify a row."""
        return [*IDENTITY, *self.own]

    def tidy(self, rows: pd.DataFrame | Iterable[Mapping[str, Any]]) -> pd.DataFrame:
        """Return rows with the columns of this study, in a fixed order; other columns are left out."""
        table = rows if isinstance(rows, pd.DataFrame) else pd.DataFrame([*rows])
        table = table.reindex(columns=list(self.columns))
        table["study"] = self.study
        table["condition"] = table["condition"].astype(object).fillna(MEASURED)
        texts = [name for name, kind in self.columns.items() if kind == "str"]
        table[texts] = table[texts].astype(object).fillna("")
        table = table.astype(self.columns)
        return table.sort_values(self.keys, kind="stable", ignore_index=True)


def select(table: pd.DataFrame, **where: object) -> pd.DataFrame:
    """Return the rows whose columns have the given values.

    None selects rows where the column is missing or empty, a list, tuple or set any of its values.

    Example:
        `select(table, metric="accuracy", seed=None, condition=["measured", "null_permuted"])`
    """
    chosen = pd.Series(True, index=table.index)
    for name, value in where.items():
        column = table[name]
        if value is None:
            chosen &= column.isna() | (column.astype(object) == "")
        elif isinstance(value, list | tuple | set | frozenset):
            chosen &= column.isin(list(value))
        else:
            chosen &= (column == value).fillna(False).astype(bool)
    return table[chosen]
