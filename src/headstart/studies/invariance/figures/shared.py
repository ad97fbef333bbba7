"""What the figures of the invariance study share: which rows are drawn, lines, colours, words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from headstart.figures.labels import sample_size
from headstart.figures.style import BLUE, GREEN, GREY, ORANGE, PURPLE, VERMILION
from headstart.statistics.words import pluralize
from headstart.studies.invariance.network_tables import NETWORK, of_form

Look = tuple[str, str]
# Colour and marker of what a run does; all differ in lightness or shape, too.
LOOKS: dict[str, Look] = {
    "fine-tuned": (BLUE, "o"),
    "reconstructing": (VERMILION, "s"),
    "from scratch": (GREEN, "^"),
    "probed": (PURPLE, "D"),
}
SPARE: tuple[Look, ...] = (
    (ORANGE, "v"),
    (PURPLE, "P"),
    ("#222222", "X"),
    (BLUE, "<"),
    (VERMILION, ">"),
    (GREEN, "p"),
    (GREY, "h"),
)


def drawn_rows(measurements: pd.DataFrame, metrics: Sequence[str]) -> pd.DataFrame:
    """Return the values of metrics: debiased where there is a choice, of one kind of seed."""
    return named(of_form(measurements[measurements["metric"].isin(metrics)]))


def named(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table with what each row's run does, `does`, and the name it is drawn under, `series`."""
    words = table["mode"].map(
        {"finetune": "fine-tuned", "reconstruct": "reconstructing", "probe": "probed"}
    )
    words = words.mask(table["random_start"], "from scratch")
    does = table.assign(does=words)
    return does.assign(series=_distinct(does) + _start(table))


def _distinct(table: pd.DataFrame) -> pd.Series:
    """Return what each run does, or its arm's own name where two arms of a model do the same."""
    shared = table.groupby(["source", "model", "does"])["arm"].transform("nunique")
    return table["does"].where(shared == 1, table["arm"])


def _start(table: pd.DataFrame) -> pd.Series:
    """Return source and model in brackets, where there is more than one; else nothing."""
    if len(table[["source", "model"]].drop_duplicates()) < 2:
        return pd.Series("", index=table.index)
    return " (" + table["source"] + ", " + table["model"] + ")"


def start_names(table: pd.DataFrame) -> pd.Series:
    """Return how the network that each row's run started from is drawn: pretrained, or random."""
    words = pd.Series("pretrained", index=table.index).mask(table["random_start"], "random")
    return words + _start(table)


def looks_of(table: pd.DataFrame, looks: Mapping[str, Look] = LOOKS) -> dict[str, Look]:
    """Return colour and marker of every series: those of what it does, to the first that does it."""
    found: dict[str, Look] = {}
    spare = iter(SPARE * (1 + len(table)))
    for series, does in table[["series", "does"]].drop_duplicates().itertuples(index=False):
        look = looks.get(does)
        found[series] = look if look and look not in found.values() else next(spare)
    return found


def draw_lines(
    axis: Axes,
    table: pd.DataFrame,
    looks: Mapping[str, Look],
    x: str,
    y: str = "value",
    *,
    marked: bool = True,
    **options: Any,
) -> None:
    """Draw the values of every series as they stand in the table, in its colour and with its marker."""
    if table.empty:
        return
    if marked:
        markers = {name: marker for name, (_, marker) in looks.items()}
        options = {"markersize": 4, "markeredgewidth": 0, **options}
        options |= {"style": "series", "markers": markers, "dashes": False}
    sns.lineplot(
        table.astype({x: float, y: float}),
        x=x,
        y=y,
        hue="series",
        palette={name: colour for name, (colour, _) in looks.items()},
        estimator=None,
        errorbar=None,
        legend=False,
        ax=axis,
        **options,
    )


def legend_handles(looks: Mapping[str, Look], size: float) -> list[Line2D]:
    """Return an entry of the legend for every series."""
    return [
        Line2D([], [], color=colour, marker=marker, markersize=size, label=name)
        for name, (colour, marker) in looks.items()
    ]


def sample_words(runs: pd.DataFrame) -> str:
    """Return the sentence on numbers that stands under a figure."""
    networks = len(runs[NETWORK].drop_duplicates())
    seeds = pluralize(int(runs["inversion_seeds"].max()), "inversion seed")
    return f"{sample_size(networks)}, {runs['images'].max()} test images × {seeds}"
