"""The columns of the study's measurements."""

from __future__ import annotations

import pandas as pd

STUDY = "knowledge"
COLUMNS = {
    "study": "str",
    "source": "str",
    "model": "str",
    "target": "str",
    "network": "str",
    "seed": "Int64",
    "start": "str",
    "source_epoch": "Float64",
    "target_epoch": "Int64",
    "split": "str",
    "subset": "str",
    "metric": "str",
    "order": "Int64",
    "variant": "str",
    "reading": "str",
    "value": "float64",
    "low": "float64",
    "high": "float64",
    "n": "Int64",
    "seeds": "Int64",
    "undefined": "Int64",
    "reason": "str",
    "device": "str",
}
"""What identifies a measurement, then the measurement; `docs/knowledge.md` describes every column."""


def tidy(table: pd.DataFrame) -> pd.DataFrame:
    """Return rows with the columns of this study, texts empty where there is none, in a fixed order."""
    table = table.reindex(columns=list(COLUMNS))
    texts = [name for name, kind in COLUMNS.items() if kind == "str"]
    table[texts] = table[texts].fillna("")
    identity = list(COLUMNS)[: list(COLUMNS).index("value")]
    return table.astype(COLUMNS).sort_values(identity, kind="stable", ignore_index=True)
