"""Preserved, discarded and new interactions by order, with an image and its strongest interactions."""

from __future__ import annotations

from typing import Any

import pandas as pd
import seaborn as sns
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec

from headstart.figures.facets import with_bars
from headstart.figures.labels import Label, label_edge, write_caption, write_title
from headstart.figures.style import BLUE, GREY, TWO_COLUMNS, paper_style
from headstart.statistics.measurements import MEASURED, select
from headstart.studies.knowledge.figures.drawing import (
    PARTS,
    VARIANTS,
    draw_bands,
    draw_example,
    draw_lines,
    titled,
    write,
)
from headstart.studies.knowledge.tables import (
    PERCENT,
    Comparison,
    headline_of,
    init_epoch_title,
    main_init_epoch,
    of,
    sample_size,
)

SHARES: dict[str, tuple[str, tuple[float, ...], str]] = {
    "measured": (BLUE, (), "measured"),
    "ceiling_second_run": ("black", (4, 1.5), "two runs"),
    "null_random_backbone": (GREY, (4, 1, 1, 1), "random\nbackbone"),
    "null_other_image": (GREY, (1, 1), "other image"),
    "null_permuted": (GREY, (), "permuted"),
}
NUMBERS = ["value", "low", "high"]


def orders_figure(
    measurements: pd.DataFrame,
    pixels: pd.DataFrame,
    strongest: pd.DataFrame,
    comparison: Comparison,
    confidence: float,
) -> tuple[Figure, pd.DataFrame]:
    """Draw one comparison from its main source epoch; return the figure and the table of what it draws."""
    headline = headline_of(measurements)
    table = orders_table(of(measurements, comparison))
    leading = select(table, variant=headline)
    with paper_style():
        figure = plt.figure(figsize=(TWO_COLUMNS, 5.9))
        write_title(
            figure, titled(comparison, "which interactions does fine-tuning keep, by order?")
        )
        grid = GridSpec(3, 2, figure=figure, height_ratios=[0.8, 1, 1])
        draw_example(figure, grid[0, :], of(pixels, comparison), of(strongest, comparison))
        lower = [figure.add_subplot(grid[1 + place // 2, place % 2]) for place in range(4)]
        for axis, other, title in zip(
            lower, ("discarded", "new"), ("Pretrained network", "Fine-tuned network"), strict=False
        ):
            _draw_mirrored(axis, leading, other)
            axis.set_title(title)
        limit = max(abs(value) for axis in lower[:2] for value in axis.get_ylim())
        for axis in lower[:2]:
            axis.set_ylim(-limit, limit)
        labels = [
            _draw_shares(axis, select(table, variant=variant), words)
            for axis, (variant, words) in zip(lower[2:], VARIANTS.items(), strict=True)
        ]
        write_caption(
            figure,
            f"{comparison.title}, fine-tuned from {init_epoch_title(str(table['init_epoch'].iloc[0]))}; bars: "
            f"{VARIANTS[headline]}; every network's divided by its mean sum of magnitudes. "
            f"{sample_size(table, measurements)}; {confidence:.0%} bootstrap intervals over both. Below: share of the "
            "pretrained network's that is preserved. Two runs: what two fine-tuning runs from it share. "
            "Chance: the fine-tuned network's permuted within their order; of order n there is one, and "
            "no chance. Above: the strongest AND interactions of one image in each part, in log-odds and "
            "not normalised; what is not among their players is dimmed.",
        )
        figure.draw_without_rendering()
        for axis, edge in zip(lower[2:], labels, strict=True):
            label_edge(axis, edge, lines=1)
    return figure, table


def orders_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Return strengths and shares by order in percent, of the main source epoch and all images."""
    rows = select(
        rows[rows["order"].notna()],
        init_epoch=main_init_epoch(rows),
        variant=list(VARIANTS),
        subset="all",
        seed=None,
    )
    strengths = [f"strength_{part}" for part in PARTS]
    bars = select(rows, metric=strengths, condition=[MEASURED, "null_permuted"])
    shares = select(rows, metric="preserved_of_pretrained", condition=list(SHARES))
    table = pd.concat([bars, shares], ignore_index=True)
    table[NUMBERS] *= PERCENT
    names = ["init_epoch", "variant", "metric", "condition", "order"]
    return table[[*names, *NUMBERS, "n", "networks", "undefined"]]


def _draw_mirrored(axis: Axes, table: pd.DataFrame, other: str) -> None:
    """Draw preserved strength upwards and the rest of a network's strength downwards, by order."""
    signs = {"preserved": 1, other: -1}
    table = table.assign(part=table["metric"].str.removeprefix("strength_"))
    table = table[table["part"].isin(signs)].sort_values("order").astype({"order": float})
    table[NUMBERS] = table[NUMBERS].mul(table["part"].map(signs), axis="index")
    measured, null = (select(table, condition=c) for c in (MEASURED, "null_permuted"))
    look: dict[str, Any] = {"dodge": False, "native_scale": True, "errorbar": None, "legend": False}
    look |= {"hue": "part", "hue_order": list(signs), "palette": PARTS, "saturation": 1}
    sns.barplot(measured, x="order", y="value", ax=axis, edgecolor="white", linewidth=0.3, **look)
    for bar in axis.containers[1]:
        bar.set_hatch("///")
    bars = {"fmt": "none", "ecolor": "black", "elinewidth": 0.8, "capsize": 1.5}
    with_bars(axis, measured["order"], measured, "value", **bars)
    ends = null["order"] - 0.45, null["order"] + 0.45
    axis.hlines(null["value"], *ends, color="black", linewidth=1.2, linestyle=(0, (2, 1)))
    for part, y in zip(signs, (0.95, 0.05), strict=True):
        box = {"facecolor": PARTS[part], "alpha": 0.35, "pad": 2, "edgecolor": "none"}
        write(axis, part, 0.98, y, bbox=box, fontsize=8)
    write(axis, "dashes: by chance", 0.38, 0.8, color=GREY)
    axis.axhline(0, color="black", linewidth=0.8)
    axis.yaxis.set_major_formatter(lambda value, _: f"{abs(value):g}")
    axis.set_ylabel("% of the network's strength")
    _label_orders(axis, table)


def _draw_shares(axis: Axes, table: pd.DataFrame, title: str) -> list[Label]:
    """Draw which share of the pretrained strength is preserved, between nulls and ceiling."""
    table = select(table, metric="preserved_of_pretrained").astype({"order": float})
    table = table[table["value"].notna()].sort_values("order")
    if table.empty:
        return []
    colours = {condition: colour for condition, (colour, *_) in SHARES.items()}
    look = {of: "condition" for of in ("hue", "style", "size")}
    dashes = {condition: dashes for condition, (_, dashes, _) in SHARES.items()}
    sizes = {condition: 2.0 if condition == MEASURED else 1.2 for condition in SHARES}
    draw_lines(axis, table, x="order", palette=colours, dashes=dashes, sizes=sizes, **look)
    draw_bands(axis, select(table, condition=MEASURED), "order", colours, of="condition")
    axis.set(title=f"Preserved {title}", ylabel="% of the order's strength", ylim=(0, None))
    _label_orders(axis, table)
    ends = table.groupby("condition")["value"].last()
    return [
        (float(ends[condition]), label, colour)
        for condition, (colour, _, label) in SHARES.items()
        if condition in ends
    ]


def _label_orders(axis: Axes, table: pd.DataFrame) -> None:
    axis.set_xlabel("order (players in an interaction)")
    axis.set_xticks(range(1, int(table["order"].max()) + 1) if len(table) else [])
    axis.grid(axis="x", visible=False)
