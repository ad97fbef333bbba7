"""Forgetting, learning, CKA divergence and accuracy while a run trains (figure 5)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib import colormaps
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from headstart.figures.facets import epoch_axis, position
from headstart.figures.labels import label_edge, write_caption, write_title
from headstart.figures.style import BLUE, TWO_COLUMNS, paper_style
from headstart.studies.invariance.figures.shared import (
    FALLBACK,
    FORM_WORDS,
    PUBLISHED,
    Published,
    beside,
    drawn_rows,
    in_published_form,
    named,
    sample_words,
    titled,
)
from headstart.studies.invariance.network_tables import complete_mean

METRICS = {
    "forgetting": "Forgetting, by block",
    "learning": "Learning, by block",
    "cka_divergence": "CKA divergence, by block",
}
ACCURACY = "accuracy"


def dynamics_figure(
    measurements: pd.DataFrame,
    robustness: pd.DataFrame,
    runs: pd.DataFrame,
    published: pd.DataFrame,
) -> tuple[Figure, pd.DataFrame] | None:
    """Draw a row of panels for each thing that runs to one target do, and one of published values.

    None where no run was measured before its end.
    """
    table = dynamics_table(measurements, robustness)
    if table.empty:
        return None
    theirs = published_table(published, str(runs["target"].iloc[0]))
    table = pd.concat([table, theirs], ignore_index=True)
    names = list(dict.fromkeys(table["series"]))
    panels = [*METRICS, ACCURACY]
    with paper_style():
        figure, axes = plt.subplots(
            len(names), len(panels), figsize=(TWO_COLUMNS, 0.6 + 1.5 * len(names)), squeeze=False
        )
        write_title(figure, titled(runs, "what is forgotten and learnt on the way?"))
        for (row, column), axis in np.ndenumerate(axes):
            mine = table[table["series"] == names[row]]
            epochs = sorted(int(epoch) for epoch in mine["target_epoch"].unique())
            _panel(axis, mine[mine["metric"] == panels[column]], panels[column], epochs)
            axis.set_title(
                "" if row else METRICS.get(panels[column], "Accuracy, by severity"), fontsize=7
            )
            axis.set_xlabel("target epoch" if row == len(names) - 1 else "")
            axis.set_ylabel("" if column else names[row])
        write_caption(figure, _caption(runs))
    return figure, table


def dynamics_table(measurements: pd.DataFrame, robustness: pd.DataFrame) -> pd.DataFrame:
    """Return means over runs by epoch: layers, and accuracy by severity (0: clean).

    Columns: drawn (here, or published form: ours with biased CKA and 1 for self-STIR), series, metric,
    target_epoch, level (layer or severity), levels, value, runs.
    """
    measured = drawn_rows(measurements, list(METRICS)).assign(drawn="here")
    compared = named(in_published_form(measurements)).assign(drawn="published form")
    rows = pd.concat([measured, compared], ignore_index=True)
    rows = rows[rows["layer"] == rows["reference_layer"]].assign(level=rows["layer"])
    accuracies = robustness.assign(metric=ACCURACY, level=robustness["severity"], drawn="here")
    accuracies = accuracies.merge(rows[["source", "model", "arm", "series"]].drop_duplicates())
    keys = ["drawn", "series", "metric", "target_epoch", "level"]
    accuracy = accuracies.groupby([*keys, "seed", "target_seed"])["value"].mean().reset_index()
    both = pd.concat([rows, accuracy], ignore_index=True)
    table = both.groupby(keys, as_index=False, sort=False).agg(
        value=("value", complete_mean), runs=("value", "size")
    )
    table["levels"] = table.groupby(["series", "metric"])["level"].transform("max")
    followed = table.groupby("series")["target_epoch"].transform("nunique") > 1
    return table[followed]


def published_table(published: pd.DataFrame, target: str) -> pd.DataFrame:
    """Return the published values over epochs of a target, or of CIFAR-10, in the same columns."""
    found = _published(target)
    parts = []
    for metric, figure in found.dynamics:
        rows = published[published["figure"] == figure]
        level = rows["series"].str.extract(r"(\d+)$")[0].fillna("0").astype(int)
        parts.append(rows.assign(metric=metric, level=level, target_epoch=rows["x"].astype(int)))
    table = pd.concat(parts, ignore_index=True).assign(
        drawn="published", series=f"published, ViT-B/32,\nImageNet to {found.words}"
    )
    table["levels"] = table.groupby("metric")["level"].transform("max")
    return table[["drawn", "series", "metric", "target_epoch", "level", "levels", "value"]]


def _published(target: str) -> Published:
    found = beside(target)
    return found if found.dynamics else PUBLISHED[FALLBACK]


def _panel(axis: Axes, table: pd.DataFrame, metric: str, epochs: list[int]) -> None:
    if table["value"].isna().all() or table["target_epoch"].nunique() < 2:
        words = "not measured\non the way" if metric in METRICS else "no classes"
        axis.text(
            0.5, 0.5, words, ha="center", va="center",
            transform=axis.transAxes, fontsize=7.5, color="#6E6E6E",
        )  # fmt: skip
        axis.set(xticks=[], yticks=[])
        return
    table = table.assign(
        x=position(table["target_epoch"].astype(float)), level=table["level"].astype(int)
    )
    levels = int(table["levels"].max())
    few, clean = _few(levels), metric == ACCURACY
    shades = {level: _shade(level, levels, clean) for level in sorted(table["level"].unique())}
    common = {"x": "x", "y": "value", "hue": "level", "palette": shades, "ax": axis}
    common |= {"estimator": None, "errorbar": None, "legend": False}
    thin = table["drawn"] == "published form"
    dashes = {level: (4, 2) if clean and level == 0 else "" for level in shades}
    sns.lineplot(table[~thin], style="level", dashes=dashes, linewidth=1.1, **common)
    # One more line for each of twelve blocks could not be told apart.
    if len(labelled := table[thin & table["level"].isin(few)]):
        sns.lineplot(labelled, linewidth=0.5, **common)
    ends: Any = (
        table[~thin & table["level"].isin(few)].sort_values("x").groupby("level")["value"].last()
    )
    epoch_axis(np.array([axis]), epochs)
    label_edge(
        axis, [(end, _label(level, metric), shades[level]) for level, end in ends.items()], lines=1
    )


def _few(levels: int) -> set[int]:
    """Return which of many lines get a label."""
    return set(range(levels + 1)) if levels <= 6 else {1, 2, 4, 6, 8, 10, levels}


def _shade(level: int, levels: int, accuracy: bool) -> str:
    if accuracy and level == 0:
        return BLUE
    return to_hex(colormaps["Greys"](0.35 + 0.6 * level / max(levels, 1)))


def _label(level: int, metric: str) -> str:
    return "clean" if metric == ACCURACY and not level else str(level)


def _caption(runs: pd.DataFrame) -> str:
    return (
        f"{sample_words(runs)}; means over networks. Grey lines: blocks, darker towards the output, or "
        "severities of corruption, darker where stronger; dashed: clean images. Learning on the way "
        f"needs inversions at every epoch and is measured where the params ask for it. {FORM_WORDS} "
        "Compare the thin ones with published values, by their shapes."
    )
