"""What the figures of the invariance study share: rows, lines, colours and words, and published series beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from headstart.figures.labels import question, sample_size
from headstart.figures.style import BLUE, GREEN, GREY, ORANGE, PURPLE, VERMILION
from headstart.statistics.words import pluralize
from headstart.studies.invariance.network_tables import NETWORK, RECONSTRUCT, SCRATCH, of_form

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


def titled(runs: pd.DataFrame, words: str) -> str:
    """Return the title of a figure of runs to one target."""
    named = [" and ".join(sorted(runs[name].unique())) for name in ("source", "target", "model")]
    return question(named[0], [named[1]], named[2], words)


def sample_words(runs: pd.DataFrame) -> str:
    """Return the sentence on numbers that stands under a figure."""
    networks = len(runs[NETWORK].drop_duplicates())
    seeds = pluralize(int(runs["inversion_seeds"].max()), "inversion seed")
    return f"{sample_size(networks)}, {runs['images'].max()} test images × {seeds}"


# The published form of a metric: biased CKA, as in the authors' code, and 1 in place of self-STIR.
PAPER_FORM = {
    "forgetting_paper": "forgetting",
    "learning_paper": "learning",
    "cka_divergence": "cka_divergence",
}
FORM_WORDS = (
    "Thin: ours in the published form, biased CKA and 1 in place of self-STIR; other lines: debiased "
    "CKA, self-STIR measured."
)


@dataclass(frozen=True)
class Published:
    """The published figures on one target, by the names that they have in `published/`.

    Attributes:
        words: the target.
        tasks: figures of forgetting and learning, and of CKA divergence, with the series classify and
            reconstruct.
        starts: the same with the series other_cifar and random; empty where there are none.
        flow: figures of flow with what the runs do.
        dynamics: figures over epochs by metric.
    """

    words: str
    tasks: tuple[str, ...]
    starts: tuple[str, ...] = ()
    flow: tuple[tuple[str, str], ...] = ()
    dynamics: tuple[tuple[str, str], ...] = ()


PUBLISHED = {
    "cifar10": Published(
        "CIFAR-10",
        ("fig1_cifar10_a", "fig1_cifar10_b"),
        ("fig2a_cifar10", "fig3a_cifar10"),
        (
            ("fig4a_flow_cifar10_classify", "classifying"),
            ("fig4b_flow_cifar10_reconstruct", "reconstructing"),
        ),
        (
            ("forgetting", "fig5b_forgetting_cifar10"),
            ("learning", "fig5a_learning_cifar10"),
            ("cka_divergence", "fig12a_ckadiv_cifar10"),
            ("accuracy", "fig5c_accuracy_cifar10"),
        ),
    ),
    "cifar100": Published(
        "CIFAR-100",
        ("fig7_cifar100_a", "fig7_cifar100_b"),
        ("fig2b_cifar100", "fig3b_cifar100"),
        (
            ("fig10a_flow_cifar100_classify", "classifying"),
            ("fig10b_flow_cifar100_reconstruct", "reconstructing"),
        ),
        (
            ("forgetting", "fig11b_forgetting_cifar100"),
            ("learning", "fig11a_learning_cifar100"),
            ("cka_divergence", "fig12b_ckadiv_cifar100"),
            ("accuracy", "fig13_accuracy_cifar100"),
        ),
    ),
    "eurosat": Published("EuroSAT", ("fig8_eurosat_a", "fig8_eurosat_b")),
    "pet": Published("Oxford-IIIT Pet", ("fig9_pets_a", "fig9_pets_b")),
}
# Beside targets that the paper does not have, the one that it shows first.
FALLBACK = "cifar10"


def beside(target: str) -> Published:
    """Return the published figures on a target, or those on CIFAR-10."""
    return PUBLISHED.get(target, PUBLISHED[FALLBACK])


def layer_series(published: pd.DataFrame, run: pd.Series) -> pd.DataFrame:
    """Return the published values over layers that compare with a run; empty where there are none.

    `run` has `does`, source, target and given_weights. Columns: metric, layer, value, start.
    """
    found = beside(str(run["target"]))
    figures, series, start = found.tasks, "classify", "ImageNet"
    if run["does"] == RECONSTRUCT:
        series = "reconstruct"
    elif run["does"] == SCRATCH:
        figures, series, start = found.starts, "random", "random weights"
    elif not run["given_weights"] and {run["source"], run["target"]} == {"cifar10", "cifar100"}:
        figures, series, start = found.starts, "other_cifar", "the other CIFAR"
    names = {f"{series}.{metric}": metric for metric in PAPER_FORM.values()}
    rows = published[published["figure"].isin(figures) & published["series"].isin(list(names))]
    return rows.assign(
        metric=rows["series"].map(names), layer=rows["x"].astype(float).astype(int), start=start
    )[["metric", "layer", "value", "start"]]


def in_published_form(measurements: pd.DataFrame) -> pd.DataFrame:
    """Return our values in the published form, under the names of the measured one."""
    rows = of_form(measurements[measurements["metric"].isin(list(PAPER_FORM))], "biased")
    return rows.assign(metric=rows["metric"].map(PAPER_FORM))
