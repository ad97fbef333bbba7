"""How interactions approach those at the end of training, with loss and accuracy on the way."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from headstart.figures.facets import epoch_axis, facets, position
from headstart.figures.labels import Label, label_edge, write_caption, write_title
from headstart.figures.style import GREY, paper_style
from headstart.statistics.measurements import MEASURED, select
from headstart.studies.knowledge.figures.drawing import (
    COLOURS,
    DASHES,
    MARKERS,
    VARIANTS,
    draw_bands,
    draw_lines,
    titled,
)
from headstart.studies.knowledge.tables import (
    PERCENT,
    ROLES,
    Comparison,
    headline_of,
    init_epoch_title,
    of,
    sample_size,
)

DRAWN = ["finetuned", "scratch"]
TARGETS = {
    "similarity_to_own_end": "Similarity to its own end",
    "similarity_to_second_end": "To the end of a second run",
}
HISTORY = {
    "loss": ("Loss", "validation loss (nats)"),
    "accuracy": ("Accuracy", "validation accuracy (%)"),
}
LOOK = {"x": "x", "hue": "role", "palette": COLOURS}


def dynamics_figure(
    measurements: pd.DataFrame, comparison: Comparison, init_epoch: str, confidence: float
) -> tuple[Figure, pd.DataFrame]:
    """Draw similarity, loss and accuracy by target epoch from one source epoch; return what is drawn."""
    rows = of(measurements, comparison)
    curves, history = curve_table(rows, init_epoch), history_table(rows, init_epoch)
    with paper_style():
        figure, axes = facets(2, rows=2, height=1.8, sharex=True)
        title = f"how directly are interactions learnt from {init_epoch_title(init_epoch)}?"
        write_title(figure, titled(comparison, title))
        labels = []
        for axis, (metric, title) in zip(axes[0], TARGETS.items(), strict=True):
            labels.append(_draw_similarity(axis, select(curves, metric=metric)))
            axis.set(title=title, ylim=(0, 1.03), xlabel="", ylabel="weighted Jaccard J")
        axes[0, 1].set_ylabel("")
        for axis, (metric, (title, unit)) in zip(axes[1], HISTORY.items(), strict=True):
            labels.append(_draw_history(axis, select(history, metric=metric)))
            axis.set(title=title, ylabel=unit, xlabel="target epoch")
        epochs = sorted({int(epoch) for epoch in history["target_epoch"]})
        epoch_axis(axes, [e for e in epochs if e & (e - 1) == 0 or e == epochs[-1]])
        write_caption(
            figure,
            f"{comparison.title}, fine-tuned from {init_epoch_title(init_epoch)} against from scratch. "
            f"{sample_size(curves, rows)}; {VARIANTS[headline_of(rows)]}, normalised; bands: {confidence:.0%} "
            "bootstrap intervals over both. A second run starts alike, with batches in another order. "
            "Dotted: by chance, permuted within orders. Below: thin lines are single networks, thick ones "
            "their mean.",
        )
        figure.draw_without_rendering()
        for axis, edge in zip(axes.flat, labels, strict=True):
            label_edge(axis, edge, lines=1)
    return figure, pd.concat([curves, history], ignore_index=True)


def curve_table(rows: pd.DataFrame, init_epoch: str) -> pd.DataFrame:
    """Return J by target epoch of both networks: measured, and by chance."""
    rows = select(
        rows,
        metric=list(TARGETS),
        init_epoch=init_epoch,
        variant=headline_of(rows),
        condition=[MEASURED, "null_permuted"],
        seed=None,
    )
    columns = ["init_epoch", "role", "metric", "condition", "target_epoch"]
    numbers = ["value", "low", "high", "n", "networks", "undefined"]
    return rows[[*columns, *numbers]].sort_values(columns, ignore_index=True)


def history_table(rows: pd.DataFrame, init_epoch: str) -> pd.DataFrame:
    """Return validation loss and accuracy (%) by target epoch, a row per source network."""
    rows = select(rows, metric=list(HISTORY), split="validation", role=DRAWN)
    rows = rows[(rows["role"] == "scratch") | (rows["init_epoch"] == init_epoch)]
    factor = rows["metric"].map({"loss": 1.0, "accuracy": PERCENT})
    columns = ["init_epoch", "role", "seed", "metric", "target_epoch"]
    table = rows[[*columns, "value"]].assign(value=rows["value"] * factor)
    return table.sort_values(columns, ignore_index=True)


def followed(measurements: pd.DataFrame, comparison: Comparison) -> list[str]:
    """Return the source epochs whose learning dynamics were measured."""
    rows = select(of(measurements, comparison), metric="similarity_to_own_end")
    return sorted(rows["init_epoch"].unique())


def _draw_similarity(axis: Axes, table: pd.DataFrame) -> list[Label]:
    """Draw J of both networks, and chance."""
    table = table.dropna(subset="value").assign(x=position(table["target_epoch"].astype(float)))
    measured = select(table, condition=MEASURED)
    marks = {"style": "role", "markers": MARKERS, "dashes": DASHES}
    draw_lines(axis, measured, markersize=4, **marks, **LOOK)
    draw_bands(axis, measured, "x", COLOURS, of="role")
    null = select(table, condition="null_permuted")
    draw_lines(axis, null, linestyle=":", linewidth=1.1, **LOOK)
    by_chance = select(null, role="finetuned")["value"].tail(1)
    return [*_ends(measured), *((float(value), "chance", GREY) for value in by_chance)]


def _draw_history(axis: Axes, table: pd.DataFrame) -> list[Label]:
    table = table.assign(x=position(table["target_epoch"].astype(float)))
    draw_lines(axis, table, units="seed", estimator=None, alpha=0.35, linewidth=0.8, **LOOK)
    draw_lines(axis, table, style="role", dashes=DASHES, **LOOK)
    return _ends(table.groupby(["role", "x"])["value"].mean().reset_index())


def _ends(table: pd.DataFrame) -> list[Label]:
    """Return the labels of the networks, at the heights where their curves end."""
    ends = table.sort_values("x").groupby("role")["value"].last()
    return [(float(value), ROLES[str(role)], COLOURS[str(role)]) for role, value in ends.items()]
