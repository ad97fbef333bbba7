"""Whether a run follows a published protocol, and the published values that may stand beside it."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from headstart.studies.early_stopping.settings import COLUMNS as SETTINGS

NAMES = SETTINGS[:4]
COMPARED = (*SETTINGS[4:], "shots", "learning_rate")
"""All of these must agree; names of tasks, models and arms are free."""
COLUMNS = [
    *NAMES,
    "mode",
    "shots",
    "learning_rate",
    "experiment",
    "checkpoint",
    "statistic",
    "value",
    "n",
    "note",
]


def same_protocol(run: Mapping[Any, object], published: Mapping[Any, object]) -> bool:
    """Return whether a run has the published protocol: every column of `COMPARED` is equal.

    Numbers are compared as numbers, so that 10 and "10" are one. A column that either side lacks
    is a difference.
    """
    return all(
        name in run and name in published and _plain(run[name]) == _plain(published[name])
        for name in COMPARED
    )


def published_beside(
    settings: pd.DataFrame,
    measurements: pd.DataFrame,
    protocols: pd.DataFrame,
    values: pd.DataFrame,
) -> pd.DataFrame:
    """Return the published values (percent) whose protocol is that of runs in the measurements.

    Args:
        settings: one row per source, model, target and arm, with the columns of `COMPARED` that
            are not in the measurements.
        measurements: tidy runs; says which shots and learning rates were run.
        protocols: one row per published experiment, with a `note` on what is unknown of it.
        values: published values by experiment, spc (shots) and checkpoint.
    """
    wanted = [*NAMES, "shots", "learning_rate"]
    run = measurements[measurements["draw"].notna()]
    ran = run[wanted].drop_duplicates().merge(settings, on=NAMES).to_dict("records")
    known = values.rename(columns={"spc": "shots"}).merge(protocols, on="experiment")
    kinds = known.drop_duplicates(["experiment", "shots"]).to_dict("records")
    found = []
    for mine in ran:
        for theirs in kinds:
            if same_protocol(mine, theirs):
                same = (known["experiment"] == theirs["experiment"]) & (
                    known["shots"] == theirs["shots"]
                )
                fixed = {name: mine[name] for name in [*wanted, "mode"]}
                found.append(known[same].assign(**fixed)[COLUMNS])
    types = dict.fromkeys(("checkpoint", "shots", "note"), "str")
    table = pd.concat(found, ignore_index=True) if found else pd.DataFrame(columns=COLUMNS)
    return table.fillna({"note": ""}).astype(types | {"value": "float64", "n": "Int64"})


def _plain(value: object) -> object:
    try:
        return float(str(value))
    except ValueError:
        return str(value)
