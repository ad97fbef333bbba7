"""Numbers that others published, beside what was measured here: a chapter of the report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from headstart.statistics.measurements import MEASURED

NOT_MEASURED = "not measured"


def expected_rows(expected: Mapping[str, Any], tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Return one row of text for each expected number of a study.

    Args:
        expected: entries of the params section `expected`, by name.
        tables: tables of the study, by name; empty where there are none.
    """
    rows = []
    for name, entry in expected.items():
        table = entry["table"]
        value = measured_value(entry, tables[table]) if table in tables else None
        near = value is not None and abs(value - entry["value"]) <= entry["tolerance"]
        rows.append(
            {
                "": name.replace("_", " "),
                "where": ", ".join(
                    f"{key} {each}" for key, each in entry["where"].items() if each is not None
                ),
                "expected": f"{entry['value']:.4g} ± {entry['tolerance']:.2g}",
                "source": entry["source"],
                f"{entry['statistic']} here": NOT_MEASURED if value is None else f"{value:.4g}",
                "within tolerance": "–" if value is None else "yes" if near else "no",
            }
        )
    return pd.DataFrame(rows).fillna("")


def measured_value(entry: Mapping[str, Any], table: pd.DataFrame) -> float | None:
    """Return the median or mean of the rows that an entry names; None where no row has a value."""
    where, column_of_values = dict(entry["where"]), entry["metric"]
    if "metric" in table:
        where, column_of_values = {"metric": entry["metric"], **where}, "value"
    if "condition" in table:
        where = {"condition": MEASURED, **where}
    rows = table
    if where.get("source_epoch") == "best":
        del where["source_epoch"]
        rows = _of_best_epochs(table)
    for column, value in where.items():
        if column not in rows:
            return None
        # Numbers of shots are text in some tables, so all are compared as text.
        texts = rows[column].astype(object).where(rows[column].notna(), "").astype(str)
        rows = rows[texts == ("" if value is None else str(value))]
    if column_of_values not in rows:
        return None
    values = rows[column_of_values].dropna()
    if values.empty:
        return None
    return float(values.median() if entry["statistic"] == "median" else values.mean())


def _of_best_epochs(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows at the source epoch that validation chose for their network (metric `best`)."""
    network = ["source", "model", "seed", "source_epoch"]
    chosen = table.loc[(table["metric"] == "best") & (table["value"] == 1), network]
    return table.merge(chosen.drop_duplicates(), on=network)
