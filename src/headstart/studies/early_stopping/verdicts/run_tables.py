"""The tidy table of runs: its columns, its checks, and the contrasts that it holds.

One row is one measurement. A fine-tuning run is keyed by `RUN_KEY`; rows with mode "pretrain" or
"plasticity" describe a source network and leave shots, draw and learning rate empty.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from headstart.statistics.errors import TableError

CONTRAST_KEY = ["source", "model", "target", "mode", "shots"]
RUN_KEY = [
    "source",
    "model",
    "target",
    "mode",
    "seed",
    "source_epoch",
    "shots",
    "draw",
    "learning_rate",
]
REQUIRED_COLUMNS = [*RUN_KEY, "split", "metric", "value"]
PRETRAIN = "pretrain"
PLASTICITY = "plasticity"
SOURCE_MODES = (PRETRAIN, PLASTICITY)
SPLITS = ("train", "validation", "test")

HEADLINE = "accuracy_at_validation_best"
ORACLE = "oracle_peak"
FINAL = "final_accuracy"
DIVERGED = "diverged"
CORRECT = "correct"
IMAGES = "images"
SOURCE_ACCURACY = "accuracy"
SOURCE_BEST = "source_best_epoch"
BEST = "best"


def arms_as_modes(table: pd.DataFrame) -> pd.DataFrame:
    """The table with the name of the arm as its mode, wherever an arm is named.

    Two arms of one mode, for example with and without warm-up, are two contrasts; without their
    names they would be duplicates.
    """
    if "arm" not in table.columns or "mode" not in table.columns:
        return table
    named = table["arm"].notna() & (table["arm"] != "") & (table["mode"] != PRETRAIN)
    return table.assign(mode=table["mode"].astype(object).where(~named, table["arm"]))


def check_table(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table when it can be read as runs.

    Raises:
        TableError: for missing columns, text where numbers belong, unknown splits, broken epochs,
            or two rows for one measurement.
    """
    missing = [name for name in REQUIRED_COLUMNS if name not in table.columns]
    if missing:
        raise TableError(
            f"the table has no column {', '.join(map(repr, missing))}; it has "
            f"{', '.join(map(repr, table.columns))}. Needed are {', '.join(REQUIRED_COLUMNS)}."
        )
    if table.empty:
        raise TableError("the table has no rows")
    for name in ("value", "source_epoch", "learning_rate"):
        if not pd.api.types.is_numeric_dtype(table[name]):
            _refuse_text(table, name)
    _check_names_are_there(table)
    if (table["metric"] == CORRECT).any() and "image" not in table.columns:
        raise TableError(f"metric {CORRECT!r} needs a column 'image' that names the test image")
    _check_epochs(table)
    unknown = sorted(set(table["split"].dropna().unique()) - set(SPLITS), key=str)
    if unknown:
        raise TableError(f"column 'split' holds {unknown}; it may hold {', '.join(SPLITS)}")
    _check_duplicates(table)
    # Only their order counts, so that any score is an accuracy here; percentages are a slip.
    own = table.loc[(table["mode"] == PRETRAIN) & (table["metric"] == SOURCE_ACCURACY), "value"]
    if 10 < own.median() <= 100:
        raise TableError(
            "accuracies are fractions from 0 to 1; those of the source are "
            f"{own.median():g} in the median. Divide percentages by 100."
        )
    return table


def contrasts(table: pd.DataFrame) -> list[dict[str, object]]:
    """The (source, model, target, mode, shots) that were fine-tuned, in sorted order."""
    keys = table.loc[~table["mode"].isin(SOURCE_MODES), CONTRAST_KEY].drop_duplicates()
    ordered = keys.sort_values(CONTRAST_KEY, ignore_index=True)
    rows = ordered.to_dict("records")
    return [{str(name): _plain(value) for name, value in row.items()} for row in rows]


def find_contrast(
    found: list[dict[str, object]], requested: Mapping[str, object]
) -> dict[str, object]:
    """The one contrast among `found` that agrees with all that is `requested`, 5 being equal to "5".

    Raises:
        TableError: when none or several agree, or a key is no contrast column.
    """
    _check_names(requested)
    named = {name: str(_plain(value)) for name, value in requested.items()}
    matching = [c for c in found if all(str(c[name]) == value for name, value in named.items())]
    if len(matching) != 1:
        known = "; ".join(describe(c) for c in found[:8]) or "none at all"
        raise TableError(
            f"{len(matching)} contrasts fit ({describe(requested) or 'no contrast named'}), one is "
            f"needed. The table has: {known}."
        )
    return matching[0]


def rows_of(table: pd.DataFrame, contrast: Mapping[str, Any]) -> pd.DataFrame:
    """The fine-tuning rows of one contrast.

    Raises:
        TableError: when a key is no contrast column, or no row fits.
    """
    _check_names(contrast)
    keep = ~table["mode"].isin(SOURCE_MODES).to_numpy()
    for name, value in contrast.items():
        same = table[name].isna() if pd.isna(value) else table[name] == value
        keep = keep & same.to_numpy()
    if not keep.any():
        raise TableError(f"the table has no fine-tuning rows for {describe(contrast)}")
    return table[keep]


def describe(contrast: Mapping[str, object]) -> str:
    """One line that names a contrast, for errors and tables."""
    return ", ".join(f"{name} {_plain(value)}" for name, value in contrast.items())


def _plain(value: object) -> object:
    """Empty cells elsewhere turn a column of counts into floats; show 5, not 5.0."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _check_names(contrast: Mapping[str, object]) -> None:
    unknown = sorted(set(contrast) - set(CONTRAST_KEY))
    if unknown:
        raise TableError(
            f"a contrast is named by {', '.join(CONTRAST_KEY)}; {', '.join(unknown)} is none"
        )


def _refuse_text(table: pd.DataFrame, name: str) -> None:
    texts = table[name].notna() & pd.to_numeric(table[name], errors="coerce").isna()
    if name == "learning_rate" and not texts.any():
        return
    row = int(texts.to_numpy().argmax())
    advice = {
        "source_epoch": "write the number of the epoch",
        "learning_rate": "write the rate as a number, for example 0.1",
        "value": "write a fraction such as 0.5, and leave it empty if missing",
    }.get(name, "leave it empty if missing")
    raise TableError(
        f"column {name!r} must hold numbers; row {row} holds {table[name].iloc[row]!r}: {advice}"
    )


def _check_names_are_there(table: pd.DataFrame) -> None:
    """Refuse rows that do not say what they are of."""
    for name in ("source", "model", "mode", "seed", "split", "metric"):
        if (empty := table[name].isna().to_numpy()).any():
            row = int(empty.argmax())
            raise TableError(f"column {name!r} is empty in row {row}; every row needs its {name}")
    runs = ~table["mode"].isin(SOURCE_MODES).to_numpy()
    if runs.any() and not table.loc[runs, "metric"].isin([HEADLINE, ORACLE]).any():
        if "target_epoch" in table.columns:
            return
        found = ", ".join(map(repr, sorted(table.loc[runs, "metric"].unique())[:6]))
        raise TableError(
            f"the fine-tuning rows have metric {found}; {HEADLINE!r} is needed on validation and test, or "
            f"{ORACLE!r} on test, or accuracies per `target_epoch`"
        )


def _check_epochs(table: pd.DataFrame) -> None:
    epochs = table["source_epoch"].to_numpy(dtype=float)
    wrong = ~(np.isfinite(epochs) & (epochs >= 0) & (epochs == np.round(epochs)))
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise TableError(
            f"column 'source_epoch' must hold whole epochs from 0 on; row {row} holds {epochs[row]}"
        )


def _check_duplicates(table: pd.DataFrame) -> None:
    more = [name for name in ("target_epoch", "image") if name in table.columns]
    keys = [*RUN_KEY, *more, "split", "metric"]
    repeated = table.duplicated(keys, keep=False).to_numpy()
    if repeated.any():
        first = {name: table.loc[repeated, name].iloc[0] for name in keys}
        raise TableError(
            f"{int(repeated.sum())} rows measure something that another row measures too, first "
            f"{describe(first)}. Each run, split and metric may stand once."
        )
