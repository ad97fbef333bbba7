"""How far to trust an inversion: residuals, self-STIR, and STIR among well and badly inverted images."""

from __future__ import annotations

import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from headstart.figures.facets import width_of
from headstart.figures.labels import write_caption, write_title
from headstart.figures.style import GREY, ORANGE, paper_style
from headstart.studies.invariance.figures.shared import LOOKS as RUNS
from headstart.studies.invariance.figures.shared import (
    Look,
    draw_lines,
    drawn_rows,
    legend_handles,
    looks_of,
    named,
    sample_words,
    start_names,
    titled,
)
from headstart.studies.invariance.network_tables import NETWORK, at_end, of_form

METRICS = {
    "residual": ("Residual", "median share of the\ndistance to other images"),
    "pass_rate": ("Pass rate", "images that converged (share)"),
    "self_stir": ("Self-STIR", "STIR of a network given itself"),
}
PANELS = {**METRICS, "group": ("Self-STIR by residual", "self-STIR")}
FLAT = 0.03
"""What spans less over all blocks and series is said in the caption, not drawn."""
COLUMNS = {
    **{f"{name}_{net}": (name, net) for name in ("residual", "pass_rate") for net in ("pt", "ft")},
    **{f"stir_{net}_given_{net}": ("self_stir", net) for net in ("pt", "ft")},
}
LOOKS: dict[str, Look] = {**RUNS, "pretrained": (GREY, "D"), "random": (ORANGE, "v")}


def trust_figure(
    measurements: pd.DataFrame, residuals: pd.DataFrame, runs: pd.DataFrame
) -> tuple[Figure, pd.DataFrame]:
    """Draw residuals, pass rates and self-STIR by block, and self-STIR by quantile of the residual."""
    table = trust_table(measurements, residuals, runs)
    looks = looks_of(table, LOOKS)
    spans = table.groupby("metric")["value"].agg(["min", "max"])
    flat = spans[spans["max"] - spans["min"] < FLAT].drop("residual", errors="ignore")
    shown = [name for name in PANELS if name not in flat.index]
    with paper_style():
        figure, axes = plt.subplots(
            1,
            len(shown),
            figsize=(width_of(len(shown)), 2.5 if len(shown) > 1 else 3.0),
            squeeze=False,
        )
        write_title(figure, titled(runs, "how well were the networks inverted?"))
        for axis, metric in zip(axes[0], shown, strict=True):
            _panel(axis, table[table["metric"] == metric], metric, looks)
        figure.legend(
            handles=legend_handles(looks, 4),
            loc="outside lower center",
            ncols=5 if len(shown) > 1 else 2,
        )
        same = [
            f"{PANELS[name][0]} is {spans['min'][name]:.3g} to {spans['max'][name]:.3g} everywhere."
            for name in PANELS
            if name in flat.index
        ]
        write_caption(figure, " ".join([_caption(runs), *same]))
    return figure, table


def _panel(axis: Axes, table: pd.DataFrame, metric: str, looks: dict[str, Look]) -> None:
    title, unit = PANELS[metric]
    x = "group" if metric == "group" else "layer"
    draw_lines(axis, table, looks, x, linewidth=1.2)
    axis.set(title=title, ylabel=unit, xlabel="block")
    if metric == "group":
        axis.set(xlabel="best to worst inverted images", xticks=[])
    else:
        axis.set_xticks(sorted(table["layer"].astype(int).unique()))
    if metric == "residual":
        axis.set_yscale("log")


def trust_table(
    measurements: pd.DataFrame, residuals: pd.DataFrame, runs: pd.DataFrame
) -> pd.DataFrame:
    """Return means over networks. Columns: series, does, metric, layer or group, value, networks."""
    rows = at_end(drawn_rows(measurements, list(COLUMNS)), runs)
    rows = rows[rows["layer"] == rows["reference_layer"]]
    renamed = pd.DataFrame([COLUMNS[each] for each in rows["metric"]], index=rows.index)
    rows = rows.assign(metric=renamed[0], network=renamed[1])
    groups = named(of_form(residuals))
    groups = groups.assign(metric="group", layer=float("nan"))
    both = pd.concat([rows, groups], ignore_index=True)
    start = both["network"] == "pt"
    both["does"] = (
        both["does"].mask(start, "pretrained").mask(start & both["random_start"], "random")
    )
    both["series"] = both["series"].mask(start, start_names(both))
    both["of"] = both[NETWORK].astype(str).agg("-".join, axis=1)
    keys = ["series", "does", "metric", "layer", "group"]
    return both.groupby(keys, as_index=False, dropna=False).agg(
        value=("value", "mean"), networks=("of", "nunique")
    )


def _caption(runs: pd.DataFrame) -> str:
    return (
        f"{sample_words(runs)}; means over networks. With exact inversions self-STIR is 1 and the "
        "residual 0; forgetting and learning are differences to the self-STIR measured here. "
        f"{_flagged(runs)}"
    )


def _flagged(runs: pd.DataFrame) -> str:
    """Return which arms break what exact inversions guarantee: that a later block sees nothing new."""
    worst = runs.groupby("arm")[["broken_pt", "broken_ft"]].max().max(axis=1)
    listed = ", ".join(f"{arm} ({share:.0%})" for arm, share in worst[worst > 0].items())
    if not listed:
        return "No arm breaks the data-processing check."
    return f"Flagged by the data-processing check, with the largest share of its cells: {listed}."
