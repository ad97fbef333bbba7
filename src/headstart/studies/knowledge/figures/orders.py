"""Preserved, discarded and new interactions by order, with an image and its strongest interactions."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec, SubplotSpec

from headstart.figures.labels import Label, label_edge, write_caption
from headstart.figures.style import BLUE, GREY, ORANGE, VERMILION, paper_style
from headstart.studies.knowledge.comparison_tables import main_start
from headstart.studies.knowledge.figures.select import (
    PERCENT,
    Comparison,
    counted,
    of,
    pick,
    start_words,
)

PARTS = {"preserved": BLUE, "discarded": ORANGE, "new": VERMILION}
SHARES = {
    "measured": (BLUE, "-", "measured"),
    "ceiling_second_run": ("black", "--", "two runs"),
    "null_random_backbone": (GREY, "-.", "random\nbackbone"),
    "null_other_image": (GREY, (0, (1, 1)), "other image"),
    "null_permuted": (GREY, "-", "permuted"),
}


def orders_figure(
    measurements: pd.DataFrame,
    pixels: pd.DataFrame,
    strongest: pd.DataFrame,
    comparison: Comparison,
    confidence: float,
) -> tuple[Figure, pd.DataFrame]:
    """Draw one comparison from its main start; return the figure and the table of what it draws."""
    table = orders_table(of(measurements, comparison))
    start = str(table["start"].iloc[0])
    with paper_style():
        figure = plt.figure(figsize=(8.4, 5.2))
        grid = GridSpec(2, 3, figure=figure, height_ratios=[1, 1.45])
        _draw_example(figure, grid[0, :], of(pixels, comparison), of(strongest, comparison))
        lower = [figure.add_subplot(grid[1, column]) for column in range(3)]
        _mirrored(lower[0], table, "discarded", "Pretrained network")
        _mirrored(lower[1], table, "new", "Fine-tuned network")
        limit = max(abs(value) for axis in lower[:2] for value in axis.get_ylim())
        for axis in lower[:2]:
            axis.set_ylim(-limit, limit)
        labels = _shares(lower[2], table)
        words = (
            f"{comparison.words}, fine-tuned from {start_words(start)}; bars and curves: every network's "
            f"interactions divided by its mean Σ|I|. {counted(table)}; {confidence:.0%} bootstrap intervals "
            "over images. Two runs: what two fine-tuning runs of the start share. Chance: the fine-tuned "
            "network's interactions dealt anew within their order. Above: the strongest interactions of "
            "one image in each part, in log-odds and not normalised; what is not among their players is "
            "dimmed."
        )
        write_caption(figure, words)
        figure.draw_without_rendering()
        label_edge(lower[2], labels, lines=1)
    return figure, table


def orders_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Return strengths and shares by order in percent, normalised, of the main start and all images."""
    rows = pick(
        rows[rows["order"].notna()], start=main_start(rows), variant="normalised", subset="all"
    )
    bars = pick(rows, metric=[f"strength_{part}" for part in PARTS])
    bars = bars[bars["reading"].isin(["measured", "null_permuted"])]
    shares = pick(rows, metric="preserved_of_pretrained", reading=list(SHARES))
    table = pd.concat([bars, shares], ignore_index=True)
    table[["value", "low", "high"]] *= PERCENT
    columns = ["start", "metric", "reading", "order", "value", "low", "high", "n", "seeds"]
    return table[[*columns, "undefined"]]


def _mirrored(axis: Axes, table: pd.DataFrame, other: str, title: str) -> None:
    """Draw preserved strength upwards and the rest of a network's strength downwards, by order."""
    for part, sign in (("preserved", 1), (other, -1)):
        rows = pick_rows(table, f"strength_{part}", "measured")
        order, value = rows["order"].to_numpy(float), rows["value"].to_numpy()
        spread = np.abs(np.stack([value - rows["low"], rows["high"] - value]))
        axis.bar(
            order,
            sign * value,
            width=0.75,
            color=PARTS[part],
            hatch="" if sign > 0 else "///",
            edgecolor="white",
            linewidth=0.3,
        )
        axis.errorbar(
            order,
            sign * value,
            yerr=spread,
            fmt="none",
            ecolor="black",
            elinewidth=0.8,
            capsize=1.5,
        )
        null = pick_rows(table, f"strength_{part}", "null_permuted")
        axis.hlines(
            sign * null["value"],
            null["order"].to_numpy(float) - 0.45,
            null["order"].to_numpy(float) + 0.45,
            color="black",
            linewidth=1.2,
            linestyle=(0, (2, 1)),
        )
        axis.annotate(
            part,
            (0.98, 0.95 if sign > 0 else 0.05),
            xycoords="axes fraction",
            ha="right",
            va="top" if sign > 0 else "bottom",
            color="black",
            fontsize=8,
            bbox={"facecolor": PARTS[part], "alpha": 0.35, "edgecolor": "none", "pad": 2},
        )
    axis.annotate(
        "dashes: by chance",
        (0.02, 0.95),
        xycoords="axes fraction",
        va="top",
        fontsize=7,
        color=GREY,
    )
    axis.axhline(0, color="black", linewidth=0.8)
    axis.yaxis.set_major_formatter(lambda value, _: f"{abs(value):g}")
    axis.set_title(title)
    axis.set_ylabel("% of the network's strength")
    _orders(axis, table)


def pick_rows(table: pd.DataFrame, metric: str, reading: str) -> pd.DataFrame:
    """Return the rows of one metric and reading, by order."""
    rows = table[(table["metric"] == metric) & (table["reading"] == reading)]
    return rows.sort_values("order")


def _shares(axis: Axes, table: pd.DataFrame) -> list[Label]:
    """Draw which share of the pretrained strength is preserved, between nulls and ceiling."""
    labels: list[Label] = []
    for reading, (colour, style, name) in SHARES.items():
        rows = pick_rows(table, "preserved_of_pretrained", reading)
        rows = rows[rows["value"].notna()]
        if rows.empty:
            continue
        order = rows["order"].to_numpy(float)
        width = 2.0 if reading == "measured" else 1.2
        axis.plot(order, rows["value"], color=colour, linestyle=style, linewidth=width)
        if reading == "measured":
            axis.fill_between(
                order, rows["low"], rows["high"], color=colour, alpha=0.2, linewidth=0
            )
        labels.append((float(rows["value"].iloc[-1]), name, colour))
    axis.set_title("Preserved share")
    axis.set_ylabel("% of pretrained strength of the order")
    axis.set_ylim(0, None)
    _orders(axis, table)
    return labels


def _orders(axis: Axes, table: pd.DataFrame) -> None:
    last = int(table["order"].max())
    axis.set_xlabel("order (players in an interaction)")
    axis.set_xticks(range(1, last + 1))
    axis.grid(axis="x", visible=False)


def _draw_example(
    figure: Figure, place: SubplotSpec, pixels: pd.DataFrame, strongest: pd.DataFrame
) -> None:
    """Draw an image and, beside it, the players of its strongest interactions in each part."""
    shown = strongest[strongest["rank"] <= 2]
    image, players = _image(pixels)
    inner = place.subgridspec(1, 1 + 2 * len(PARTS), wspace=0.08)
    whole = figure.add_subplot(inner[0, 0])
    _show(whole, image)
    label = str(strongest["label"].iloc[0]) if len(strongest) else ""
    whole.set_title(f"“{label}”" if label else "image", loc="center", fontsize=8.5)
    _outline(whole, players)
    for index, part in enumerate(PARTS):
        rows = shown[shown["part"] == part].sort_values("rank")
        for rank in range(2):
            axis = figure.add_subplot(inner[0, 1 + 2 * index + rank])
            if rank >= len(rows):
                axis.set_axis_off()
                continue
            row = rows.iloc[rank]
            members = [int(number) for number in str(row["players"]).split()]
            _show(axis, _dimmed(image, np.isin(players, members)))
            colour = PARTS[part]
            for spine in axis.spines.values():
                spine.set(visible=True, color=colour, linewidth=2.2)
            axis.set_title(
                f"{part}\n{row['value']:+.2f}, order {row['order']}".replace("-", "−"),
                loc="center",
                fontsize=7.5,
            )


def _image(pixels: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Return the image [height, width, 3] between 0 and 1, and the player of each pixel."""
    channels = sorted(name for name in pixels.columns if name.startswith("channel_"))
    channels = [name for name in channels if pixels[name].notna().all()]
    shape = int(pixels["row"].max()) + 1, int(pixels["column"].max()) + 1
    ordered = pixels.sort_values(["row", "column"])
    planes = [ordered[name].to_numpy(float).reshape(shape) / 255 for name in channels]
    image = np.stack(planes if len(planes) == 3 else planes[:1] * 3, axis=-1)
    return image, ordered["player"].to_numpy(int).reshape(shape)


def _dimmed(image: np.ndarray, kept: np.ndarray) -> np.ndarray:
    return np.where(kept[..., None], image, 0.25 * image + 0.6)


def _show(axis: Axes, image: np.ndarray) -> None:
    axis.imshow(image, vmin=0, vmax=1, interpolation="nearest")
    axis.set_xticks([])
    axis.set_yticks([])
    axis.grid(visible=False)


def _outline(axis: Axes, players: np.ndarray) -> None:
    """Draw the borders between players."""
    height, width = players.shape
    for row in range(height):
        for column in range(1, width):
            if players[row, column] != players[row, column - 1]:
                axis.plot([column - 0.5] * 2, [row - 0.5, row + 0.5], color=ORANGE, linewidth=0.7)
    for row in range(1, height):
        for column in range(width):
            if players[row, column] != players[row - 1, column]:
                axis.plot(
                    [column - 0.5, column + 0.5], [row - 0.5] * 2, color=ORANGE, linewidth=0.7
                )
