"""Rows of the knowledge study's tables, as its figures need them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import pandas as pd

PERCENT = 100.0
NAMES = {"probe": "pretrained", "finetuned": "fine-tuned", "scratch": "from scratch"}
"""Networks in words; the pretrained one is seen through its probe."""


class Comparison(NamedTuple):
    """What is compared: one model, from one source task to one target task."""

    source: str
    model: str
    target: str

    @property
    def words(self) -> str:
        """Return it in words."""
        return f"{self.model}, {self.source} → {self.target}"

    @property
    def file(self) -> str:
        """Return it as part of a file's name."""
        return "_".join(self)


def comparisons(table: pd.DataFrame) -> Iterator[Comparison]:
    """Yield the comparisons in a table, in its order."""
    names = table[list(Comparison._fields)].drop_duplicates()
    yield from (Comparison(*row) for row in names.itertuples(index=False, name=None))


def of(table: pd.DataFrame, comparison: Comparison) -> pd.DataFrame:
    """Return the rows of one comparison."""
    return table[(table[list(Comparison._fields)] == list(comparison)).all(axis=1)]


def pick(table: pd.DataFrame, *, pooled: bool = True, **where: object) -> pd.DataFrame:
    """Return rows with these values; a list allows any of them, None asks for an empty cell."""
    chosen = table["seed"].isna() if pooled else pd.Series(True, index=table.index)
    for column, value in where.items():
        cells = table[column]
        if value is None:
            chosen &= cells.isna()
        elif isinstance(value, (list, tuple)):
            chosen &= cells.isin(list(value))
        else:
            chosen &= (cells == value).fillna(False)
    return table[chosen]


def starts(table: pd.DataFrame) -> list[str]:
    """Return the starts of fine-tuning, by source epoch, `best` where its mean epoch stands."""
    rows = table[(table["network"] == "finetuned") & table["source_epoch"].notna()]
    order = rows.groupby("start")["source_epoch"].mean()
    return sorted(order.index, key=lambda start: (float(order[start]), start != "best"))


def start_words(start: str) -> str:
    """Return a start in words."""
    return "source-best" if start == "best" else f"epoch {start}"


def counted(rows: pd.DataFrame) -> str:
    """Return how many networks and images speak, for a caption."""
    seeds, n = int(rows["seeds"].max()), int(rows["n"].max())
    networks = f"{seeds} source network" + ("s" if seeds > 1 else "")
    return f"n = {networks} × {n // max(seeds, 1)} test images"
