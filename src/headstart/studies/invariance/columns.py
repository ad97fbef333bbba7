"""The columns of the tables of the invariance study, and how rows become such a table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pandas as pd

from headstart.studies.invariance.rows import Row

TABLES = ("runs", "measurements", "residuals", "robustness")
PLACE = {
    **dict.fromkeys(("study", "source", "model", "target", "arm", "mode"), "str"),
    **dict.fromkeys(("seed", "source_epoch"), "int64"),
    "random_start": "bool",
    "given_weights": "bool",
    "target_seed": "int64",
}
OUTCOMES = (
    "train_loss",
    "validation_loss",
    "train_accuracy",
    "validation_accuracy",
    "test_accuracy",
)
RUNS = {
    **PLACE,
    "target_epoch": "int64",
    **dict.fromkeys(OUTCOMES, "float64"),
    **dict.fromkeys(("images", "inversion_seeds", "layers"), "int64"),
    **dict.fromkeys(("broken_pt", "broken_ft"), "float64"),
    "device": "str",
}
MEASUREMENTS = {
    **PLACE,
    "target_epoch": "int64",
    **dict.fromkeys(("kind", "form", "measure"), "str"),
    **dict.fromkeys(("reference_layer", "layer"), "int64"),
    "first_replaced": "Int64",
    **dict.fromkeys(("value", "low", "high"), "float64"),
    "n": "int64",
    **dict.fromkeys(("reason", "device"), "str"),
}
RESIDUALS = {
    **PLACE,
    **dict.fromkeys(("network", "kind", "form"), "str"),
    **dict.fromkeys(("inversion_seed", "layer", "group"), "int64"),
    **dict.fromkeys(("residual", "value"), "float64"),
    "n": "int64",
    **dict.fromkeys(("reason", "device"), "str"),
}
ROBUSTNESS = {
    **PLACE,
    "target_epoch": "int64",
    "corruption": "str",
    "severity": "int64",
    "value": "float64",
    "n": "int64",
    "device": "str",
}


def frame(types: Mapping[str, str], rows: Iterator[Row], columns: Row) -> pd.DataFrame:
    """Return rows as a table with the columns of a run; texts that are missing are empty."""
    table = pd.DataFrame(list(rows)).assign(**columns).reindex(columns=list(types))
    texts = [name for name, kind in types.items() if kind == "str"]
    table[texts] = table[texts].fillna("")
    return table.astype(dict(types))
