"""How far to trust an inversion: residuals, self-STIR, and STIR among well and badly inverted images."""

from __future__ import annotations

import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from headstart.figures.labels import write_caption
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
)
from headstart.studies.invariance.network_tables import NETWORK, at_end, of_form

METRICS = {
    "residual": ("Residual", "median share of the\ndistance to other images"),
    "pass_rate": ("Pass rate", "images that converged (share)"),
    "self_stir": ("Self-STIR", "STIR of a network given itself"),
}
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
    with paper_style():
        figure, axes = plt.subplots(1, 4, figsize=(10.4, 3.1), squeeze=False)
        for axis, (metric, (title, unit)) in zip(axes[0], METRICS.items(), strict=False):
            draw_lines(axis, table[table["metric"] == metric], looks, "layer", linewidth=1.2)
            axis.set(title=title, ylabel=unit, xlabel="block")
            axis.set_xticks(sorted(table["layer"].dropna().astype(int).unique()))
        last = axes[0, -1]
        draw_lines(last, table[table["metric"] == "group"], looks, "group", linewidth=1.2)
        last.set(title="… by residual", ylabel="self-STIR", xlabel="best to worst inverted images")
        last.set_xticks([])
        axes[0, 0].set_yscale("log")
        axes[0, 1].set_ylim(-0.03, 1.03)
        for axis in axes[0, 2:]:
            # Differences of a millionth are nothing to look at.
            axis.set_ylim(min(0.95, axis.get_ylim()[0]), 1.003)
        figure.legend(handles=legend_handles(looks, 4), loc="outside upper center", ncols=5)
        write_caption(figure, _caption(runs))
    return figure, table


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
