"""Forgetting, learning, CKA divergence and accuracy while a run trains (figure 5)."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from headstart.figures.epochs import epoch_axis, position
from headstart.figures.invariance import drawn_rows, sample_words
from headstart.figures.labels import label_edge, write_caption
from headstart.figures.style import BLUE, paper_style

MEASURES = {
    "forgetting": "Forgetting (STIR lost)",
    "learning": "Learning (STIR gained)",
    "cka_divergence": "CKA divergence",
}
ACCURACY = "accuracy"
PUBLISHED = {
    "forgetting": "fig5b_forgetting_cifar10",
    "learning": "fig5a_learning_cifar10",
    "cka_divergence": "fig12a_ckadiv_cifar10",
    ACCURACY: "fig5c_accuracy_cifar10",
}
PUBLISHED_NAME = "published, ViT-B/32,\nImageNet to CIFAR-10"


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
    table = pd.concat([table, _published(published)], ignore_index=True)
    names = list(dict.fromkeys(table["series"]))
    panels = [*MEASURES, ACCURACY]
    with paper_style():
        figure, axes = plt.subplots(
            len(names), len(panels), figsize=(10.4, 0.5 + 2.1 * len(names)), squeeze=False
        )
        for (row, column), axis in np.ndenumerate(axes):
            mine = table[table["series"] == names[row]]
            epochs = sorted(int(epoch) for epoch in mine["target_epoch"].unique())
            _panel(axis, mine[mine["measure"] == panels[column]], panels[column], epochs)
            axis.set_title("" if row else MEASURES.get(panels[column], "Accuracy"), fontsize=8.5)
            axis.set_xlabel("target epoch" if row == len(names) - 1 else "")
            axis.set_ylabel("" if column else names[row])
        write_caption(figure, _caption(runs))
    return figure, table


def dynamics_table(measurements: pd.DataFrame, robustness: pd.DataFrame) -> pd.DataFrame:
    """Return means over runs by epoch: layers, and accuracy by severity (0: clean).

    Columns: series, measure, target_epoch, level (layer or severity), levels, value, runs.
    """
    rows = drawn_rows(measurements, list(MEASURES))
    rows = rows[rows["layer"] == rows["reference_layer"]].assign(level=rows["layer"])
    named = robustness.assign(measure=ACCURACY, level=robustness["severity"])
    named = named.merge(rows[["source", "model", "arm", "series"]].drop_duplicates())
    run = ["series", "measure", "seed", "target_seed", "target_epoch", "level"]
    accuracy = named.groupby(run)["value"].mean().reset_index()
    both = pd.concat([rows, accuracy], ignore_index=True)
    keys = ["series", "measure", "target_epoch", "level"]
    table = both.groupby(keys, as_index=False, sort=False).agg(
        value=("value", lambda values: values.mean(skipna=False)), runs=("value", "size")
    )
    table["levels"] = table.groupby(["series", "measure"])["level"].transform("max")
    followed = table.groupby("series")["target_epoch"].transform("nunique") > 1
    return table[followed]


def _published(published: pd.DataFrame) -> pd.DataFrame:
    parts = []
    for measure, figure in PUBLISHED.items():
        rows = published[published["figure"] == figure]
        level = rows["series"].str.extract(r"(\d+)$")[0].fillna("0").astype(int)
        parts.append(rows.assign(measure=measure, level=level, target_epoch=rows["x"].astype(int)))
    table = pd.concat(parts, ignore_index=True).assign(series=PUBLISHED_NAME)
    table["levels"] = table.groupby("measure")["level"].transform("max")
    return table[["series", "measure", "target_epoch", "level", "levels", "value"]]


def _panel(axis: Axes, table: pd.DataFrame, measure: str, epochs: list[int]) -> None:
    if table["value"].isna().all() or table["target_epoch"].nunique() < 2:
        words = "not measured\non the way" if measure in MEASURES else "no classes"
        axis.text(
            0.5, 0.5, words, ha="center", va="center",
            transform=axis.transAxes, fontsize=7.5, color="#6E6E6E",
        )  # fmt: skip
        axis.set(xticks=[], yticks=[])
        return
    labels = []
    few = _few(int(table["levels"].max()))
    for level, part in table.groupby("level"):
        line = part.sort_values("target_epoch")
        colour, style = _look(int(str(level)), int(part["levels"].max()), measure)
        axis.plot(position(line["target_epoch"]), line["value"], style, color=colour, linewidth=1.1)
        last = float(line["value"].iloc[-1])
        if level in few and last == last:
            labels.append((last, _label(int(str(level)), measure), colour))
    epoch_axis(np.array([axis]), epochs)
    label_edge(axis, labels, lines=1)


def _few(levels: int) -> set[int]:
    """Return which of many lines get a label."""
    return set(range(levels + 1)) if levels <= 6 else {1, 2, 4, 6, 8, 10, levels}


def _look(level: int, levels: int, measure: str) -> tuple[str, str]:
    if measure == ACCURACY and level == 0:
        return BLUE, "--"
    shade = 0.35 + 0.6 * level / max(levels, 1)
    return to_hex(colormaps["Greys"](shade)), "-"


def _label(level: int, measure: str) -> str:
    if measure == ACCURACY:
        return f"severity {level}" if level else "clean"
    return f"block {level}"


def _caption(runs: pd.DataFrame) -> str:
    return (
        f"{sample_words(runs)}; means over networks. Grey lines: blocks, darker towards the output, or "
        "severities of corruption, darker where stronger; dashed: clean images. Learning on the way "
        "needs inversions at every epoch and is measured where the params ask for it."
    )
