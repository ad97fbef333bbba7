"""The columns of the tables that the invariance study measures: one schema for each."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pandas as pd

from headstart.statistics.measurements import Schema

Row = dict[str, Any]
# Of the run that a row belongs to.
RUN = {"random_start": "bool", "given_weights": "bool", "target_seed": "Int64"}
MEASUREMENTS = Schema(
    "invariance",
    {
        **RUN,
        "tokens": "str",
        "kind": "str",
        "form": "str",
        "reference_layer": "Int64",
        "layer": "Int64",
        "first_replaced": "Int64",
    },
)
RESIDUALS = Schema(
    "invariance",
    {
        **RUN,
        "network": "str",
        "tokens": "str",
        "kind": "str",
        "form": "str",
        "inversion_seed": "Int64",
        "layer": "Int64",
        "group": "Int64",
        "residual": "float64",
    },
)
ROBUSTNESS = Schema("invariance", {**RUN, "corruption": "str", "severity": "Int64"})
OUTCOMES = (
    "train_loss",
    "validation_loss",
    "train_accuracy",
    "validation_accuracy",
    "test_accuracy",
)
ON_SOURCE = ("pretrained_source_accuracy", "source_accuracy")
RUNS = {
    **dict.fromkeys(("study", "source", "model", "target", "arm", "mode"), "str"),
    **dict.fromkeys(("seed", "source_epoch", "target_epoch"), "Int64"),
    **RUN,
    **dict.fromkeys((*OUTCOMES, *ON_SOURCE), "float64"),
    "source_reason": "str",
    **dict.fromkeys(("images", "inversion_seeds", "layers"), "Int64"),
    **dict.fromkeys(("broken_pt", "broken_ft"), "float64"),
    "device": "str",
}


def _runs(rows: Iterable[Row]) -> pd.DataFrame:
    """Return one row per run, with what it reached and what speaks against its inversions."""
    return pd.DataFrame([*rows]).reindex(columns=list(RUNS)).astype(RUNS)


TABLES: dict[str, Callable[[Iterable[Row]], pd.DataFrame]] = {
    "runs": _runs,
    "measurements": MEASUREMENTS.tidy,
    "residuals": RESIDUALS.tidy,
    "robustness": ROBUSTNESS.tidy,
}
"""How rows become each table."""


EMBEDDING = "embedding"
"""The control that is the pretrained network behind the embedding of the run, its first block 0."""


def null(control: str) -> str:
    """Return the condition of a network that shares all but a part with pt, as its control says."""
    return f"null_{control}"
