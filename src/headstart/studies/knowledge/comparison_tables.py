"""The table of one comparison of the study of knowledge, as its findings and figures read it."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

PERCENT = 100.0


@dataclass(frozen=True)
class Number:
    """A measurement with its interval over images, in percent where it is a share."""

    value: float
    low: float
    high: float

    def text(self, unit: str = " %") -> str:
        """Return it as a person reads it."""
        return f"{self.value:.1f}{unit} [{self.low:.1f}, {self.high:.1f}]"


@dataclass(frozen=True)
class Compared:
    """The measurements of one comparison (source, model, target), and the start that is judged by."""

    table: pd.DataFrame
    start: str

    def number(
        self,
        metric: str,
        reading: str = "measured",
        network: str = "finetuned",
        variant: str = "normalised",
        factor: float = PERCENT,
    ) -> Number | None:
        """Return a measurement over all orders, images and networks; None where it is undefined."""
        table = self.table
        rows = table[
            (table["metric"] == metric)
            & (table["reading"] == reading)
            & (table["network"] == network)
            & (table["variant"] == variant)
            & (table["start"] == self.start)
            & (table["subset"] == "all")
            & table["order"].isna()
            & table["seed"].isna()
            & table["target_epoch"].isna()
        ]
        if rows.empty or rows["value"].isna().all():
            return None
        row = rows.iloc[0]
        value, low, high = (factor * float(row[name]) for name in ("value", "low", "high"))
        return Number(value, low, high)

    def name(self) -> str:
        """Return the comparison in words."""
        row = self.table.iloc[0]
        return f"{row['model']}, {row['source']} → {row['target']}"


def main_start(table: pd.DataFrame) -> str:
    """Return the start to judge by and to show: `best`, else the one of the last source epoch."""
    rows = table[(table["network"] == "finetuned") & table["source_epoch"].notna()]
    known = rows.groupby("start")["source_epoch"].mean()
    return "best" if "best" in known.index else str(known.idxmax())
