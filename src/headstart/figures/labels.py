"""Words on figures: titles, labels at the edge, the sentence on numbers."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from headstart.statistics.words import pluralize

# Height on the axis, text, colour.
Label = tuple[float, str, str]
# Letters of a title that fit above the narrowest panel.
HEADING = 30


def panel_title(target: str, arm: str, mode: str) -> str:
    """Return what a panel shows, in words."""
    if mode == "relearn":
        return f"relearning {target}" + ("" if arm == "relearn" else f", {arm}")
    return f"to {target}" + ("" if arm == "finetune" else f", {arm}")


def shots_words(shots: str) -> str:
    """Return a number of images per class in words."""
    return {"1": "1 shot", "all": "all images"}.get(str(shots), f"{shots} shots")


def panel_heading(target: str, arm: str, mode: str, shots: str, *details: str) -> str:
    """Return what a panel shows and from how many images, in lines that fit above a panel."""
    # Lines break between parts, never inside one.
    parts = [part.replace(" ", "\xa0") for part in (shots_words(shots), *details)]
    words = ", ".join([panel_title(target, arm, mode), *parts])
    return textwrap.fill(words, HEADING).replace("\xa0", " ")


def question(source: str, targets: Iterable[str], model: str, words: str) -> str:
    """Return the title of a figure: `Cyrillic from latin (convnet): gain over scratch by source epoch`."""
    others = sorted(set(targets) - {source}) or [source]
    listed = " and ".join(others) if len(others) < 3 else f"{len(others)} targets"
    return f"{listed[0].upper()}{listed[1:]} from {source} ({model}): {words}"


def sample_size(seeds: int, draws: int | str | None = None) -> str:
    """Return `n = 8 source networks × 2 draws`, in the singular where it is one."""
    networks = f"n = {pluralize(seeds, 'source network')}"
    return networks if draws is None else f"{networks} × {draws} draw" + "s" * (draws != 1)


def within_percent(axis: Axes) -> None:
    """Let the vertical axis end at 0 and 100 %, whatever a band of few networks asks for."""
    bottom, top = axis.get_ylim()
    axis.set_ylim(max(bottom, -2), min(top, 102))


def spaced(positions: Sequence[float], gap: float) -> list[int]:
    """Return the indices of positions (ascending) to label, at least `gap` apart, first and last included."""
    kept = [0]
    for index in range(1, len(positions)):
        if positions[index] - positions[kept[-1]] > gap:
            kept.append(index)
    last = len(positions) - 1
    while kept[1:] and kept[-1] != last and positions[last] - positions[kept[-1]] <= gap:
        kept.pop()
    return kept if kept[-1] == last else [*kept, last]


def label_edge(axis: Axes, labels: list[Label], *, lines: int, beside: int = 4) -> None:
    """Write labels at the right edge, at their heights, moved apart where they would overlap.

    `beside` is their distance from the edge in points. Heights are those of the axis as it is now, so limits must be final.
    """
    bottom, top = axis.get_ylim()
    size = axis.get_window_extent().height / axis.figure.dpi * 72
    # A caption will take some of the height that is there now.
    gap = 1.15 * (top - bottom) * (8.5 * lines + 1) / max(size, 1)
    ordered = sorted(labels)
    steps = gap * np.arange(len(ordered))
    places = np.maximum.accumulate([height for height, *_ in ordered] - steps) + steps
    # What the last one has too much at the top, those below it give way for.
    places = np.minimum(places, top - steps[::-1])
    look: dict[str, Any] = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points"}
    look |= {"va": "center", "fontsize": 7.5, "linespacing": 0.95, "annotation_clip": False}
    for place, (_, text, colour) in zip(places, ordered, strict=True):
        axis.annotate(text, (1.0, place), xytext=(beside, 0), color=colour, **look)


def write_title(figure: Figure, words: str) -> None:
    """Write over a figure what it shows, of which source and target."""
    inches = figure.get_size_inches()[0]
    lines = textwrap.fill(words, int(13 * inches))
    figure.suptitle(lines, x=0.006, ha="left", fontsize=9.5, fontweight="bold")


def write_caption(figure: Figure, words: str) -> None:
    """Give a figure the caption that stands under it on a page; it is no part of the picture."""
    figure.set_label(" ".join(words.split()))


def caption_of(figure: Figure) -> str:
    """Return the caption of a figure."""
    return str(figure.get_label())


def band_words(seeds: int, confidence: float) -> str:
    """Return what bands are, or why there are none."""
    if seeds == 1:
        return "no bands, for one network has no spread"
    return f"bands: pointwise {confidence:.0%} t-intervals over source networks"
