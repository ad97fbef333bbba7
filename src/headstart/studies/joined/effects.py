"""What each intervention did to accuracy and knowledge of a start, network by network; tables alone."""

from __future__ import annotations

import pandas as pd

from headstart.studies.joined.associations import NETWORK

UNTOUCHED = "untouched"
REMOVED, RANDOM, SHAM = "preserved_removed", "random_removed", "nothing_removed"
REPAIRS = {
    "rescaled": "weights as long as at first",
    "shrink_perturb": "shrunk and perturbed",
    "fresh_block": "fresh last block",
    "recalibrated": "fresh statistics at the end",
}
INTERVENTIONS = {
    UNTOUCHED: "untouched",
    REMOVED: "preserved removed",
    RANDOM: "as many at random removed",
    SHAM: "nothing removed",
    **REPAIRS,
}
LEFT = ("knowledge_left", "preserved_taken", "knowledge_taken", "regression_r2")
COLUMNS = [*NETWORK, "source_epoch", "intervention", "rate", "metric", "value"]


def effects(measurements: pd.DataFrame) -> pd.DataFrame:
    """Return one row for each network, intervention, rate and metric.

    `accuracy` and `validation_accuracy` are changes in points against the untouched start;
    `knowledge_left` is the share of the start's interactions that the changed start still has, above chance;
    `preserved_taken` and `knowledge_taken` the share of the preserved, and of all, that a removal took;
    `regression_r2` how well it fitted.
    """
    rows = measurements[measurements["intervention"] != ""]
    accuracy = rows[rows["metric"].isin(["accuracy", "validation_accuracy"])]
    keys = [*NETWORK, "source_epoch", "rate", "metric"]
    base = accuracy[accuracy["intervention"] == UNTOUCHED]
    both = accuracy.merge(base[[*keys, "value"]], on=keys, suffixes=("", "_untouched"))
    both["value"] = 100 * (both["value"] - both["value_untouched"])
    changed = both[both["intervention"] != UNTOUCHED]
    left = rows[rows["metric"].isin(LEFT)]
    return pd.concat([changed[COLUMNS], left[COLUMNS]], ignore_index=True)


def by_network(table: pd.DataFrame, metric: str, rate: str = "") -> pd.DataFrame:
    """Return networks × interventions of one comparison; networks that lack one are left out."""
    rows = table[(table["metric"] == metric) & (table["rate"] == rate)]
    return rows.pivot(index="seed", columns="intervention", values="value").dropna()
