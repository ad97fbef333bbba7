"""What the figures over source epochs show: every run, the marks, units, numbers of networks and draws."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from print_size import assert_fit_for_print
from study_tables import EARLIER, EPOCHS, curves, measurements

from headstart.figures import style
from headstart.figures.facets import position
from headstart.figures.labels import caption_of
from headstart.studies.early_stopping.figures import curves as curve_figures
from headstart.studies.early_stopping.figures import (
    learning_rates,
    plasticity,
    ranges,
    transfer,
    verdicts,
)
from headstart.studies.early_stopping.params import Statistics
from headstart.studies.early_stopping.protocol import COLUMNS
from headstart.studies.early_stopping.verdicts.study_verdicts import study_verdicts, verdict_frame

OURS = measurements(EARLIER)
SHOTS = pd.concat([OURS, *(measurements(EARLIER, shots=s, seed=1) for s in ("1", "25"))])
SHOTS = SHOTS.drop_duplicates(subset=[c for c in OURS.columns if c != "value"], ignore_index=True)


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    yield
    plt.close("all")


def of_marker(axis: Axes, marker: str) -> list[tuple[float, float]]:
    """Return all points that an axis shows with this marker and no line."""
    lines = [line for line in axis.lines if line.get_marker() == marker]
    return [
        point for line in lines if line.get_linestyle() == "None" for point in line.get_xydata()
    ]


def words_of(axis: Axes) -> str:
    return " ".join(text.get_text() for text in axis.texts)


def test_the_transfer_figure_has_a_dot_for_every_run_and_marks_scratch_and_source_best() -> None:
    figure, table = transfer.transfer_figure(OURS, "net", 0.95)
    above, below = figure.axes
    runs = table[table["drawn"] == "run"]
    assert len(runs) == len(EPOCHS) * 8 * 2
    dots = np.array(of_marker(above, "o"))
    assert sorted(dots[:, 1]) == pytest.approx(sorted(runs["test"]))
    # Networks stand beside each other, within a quarter of the way to the next epoch.
    assert (
        abs(np.sort(dots[:, 0]) - np.sort(position(runs["source_epoch"].astype(float)))).max()
        < 0.13
    )
    means = table[table["drawn"] == "mean"].set_index("source_epoch")["mean"]
    assert f"scratch\n{means[0]:.1f}" in words_of(above)
    assert f"source-best\n{means[8]:.1f}" in words_of(above)
    levels = [line.get_ydata()[0] for line in above.lines if len(line.get_xdata()) == 2]
    assert means[0] in levels
    ((x, y),) = of_marker(above, "*")
    assert (x, y) == pytest.approx((position(pd.Series([8.0])).item(), means[8]))
    assert len(of_marker(below, "*")) == 8


def test_the_transfer_figure_names_units_and_numbers() -> None:
    figure, _ = transfer.transfer_figure(OURS, "net", 0.95)
    above, below = figure.axes
    assert above.get_ylabel() == "target test accuracy (%)"
    assert below.get_ylabel() == "source accuracy (%)"
    assert below.get_xlabel() == "source epoch"
    words = caption_of(figure)
    assert words.startswith("n = 8 source networks × 2 draws of the target images")
    assert "95% t-intervals over source networks" in words


def measured() -> pd.DataFrame:
    """Return measurements with plasticity of two tasks, linear in the epoch and the seed."""
    rows = [
        (task, panel.metric, epoch, seed, 0.01 * (1 + epoch) + 0.001 * seed)
        for task in ("latin", "cyrillic")
        for panel in plasticity.PANELS
        for epoch in EPOCHS
        for seed in range(8)
    ]
    names = ["target", "metric", "source_epoch", "seed", "value"]
    same = {"source": "latin", "model": "net", "mode": "plasticity", "split": "validation"}
    return pd.concat([OURS, pd.DataFrame(rows, columns=names).assign(**same)], ignore_index=True)


def test_the_plasticity_figure_draws_every_measure_and_task_and_the_source_best() -> None:
    figure, table = plasticity.plasticity_figure(measured(), "net", 0.95)
    for panel, axis in zip(plasticity.PANELS, figure.axes, strict=False):
        expected = [panel.factor * (0.01 * (1 + e) + 0.0035) for e in EPOCHS]
        drawn = [line for line in axis.lines if line.get_marker() != "*"]
        assert len(drawn) == 2
        for line in drawn:
            assert line.get_ydata() == pytest.approx(expected)
        assert [y for _, y in of_marker(axis, "*")] == pytest.approx([expected[-1]] * 2)
        assert axis.get_title(loc="left") == panel.title
        assert axis.get_ylabel() == panel.label
        assert axis.get_xlabel() == "source epoch"
    assert "%" in figure.axes[1].get_ylabel()
    assert "(nats)" in figure.axes[4].get_ylabel()
    words = caption_of(figure)
    assert words.startswith("n = 8 source networks; bands: pointwise 95% t-intervals")
    legend = [text.get_text() for text in figure.axes[-1].get_legend().get_texts()]
    assert legend[:2] == ["latin images (source)", "cyrillic images"]
    assert legend[-1] == "source-best epoch"
    assert (table["seeds"] == 8).all()


def lightness(colour: object) -> float:
    """CIE L* of a colour, 0 to 100."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]
    return 116 * float(np.dot([0.2126, 0.7152, 0.0722], linear)) ** (1 / 3) - 16


def test_the_lightness_of_white_black_and_mid_grey_is_as_defined() -> None:
    assert [lightness(c) for c in ("white", "#777777")] == pytest.approx([100, 50], abs=0.1)


def drawings() -> dict[str, Figure]:
    none = pd.DataFrame(columns=COLUMNS)
    peaks = OURS[(OURS["metric"] == "accuracy_at_validation_best") & (OURS["split"] == "test")]
    with_peaks = pd.concat([OURS, peaks.assign(metric="oracle_peak")], ignore_index=True)
    return {
        "transfer": transfer.transfer_figure(SHOTS, "net", 0.95)[0],
        "ranges": ranges.ranges_figure(OURS, none, "net")[0],
        "stems": transfer.stems_figure(with_peaks, "net")[0],
        "plasticity": plasticity.plasticity_figure(measured(), "net", 0.95)[0],
    }


def test_stems_without_runs_from_scratch_do_not_speak_of_it_as_their_beginning() -> None:
    peaks = OURS[(OURS["metric"] == "accuracy_at_validation_best") & (OURS["split"] == "test")]
    every = pd.concat([OURS, peaks.assign(metric="oracle_peak")], ignore_index=True)
    figure, _ = transfer.stems_figure(every, "net")
    assert "above scratch?" in " ".join(figure.get_suptitle().split())
    assert caption_of(figure).endswith("Stems begin at training from scratch.")
    later = every[(every["source_epoch"] > 0) | (every["mode"] == "pretrain")]
    figure, _ = transfer.stems_figure(later, "net")
    assert "above" not in figure.get_suptitle()
    assert caption_of(figure).endswith("Stems begin at 0: training from scratch was not run.")


def test_colours_of_a_panel_that_are_close_in_lightness_differ_in_marker_or_line_style() -> None:
    # A grey printer keeps blue and grey, or vermilion and green, hardly apart.
    assert abs(lightness(style.VERMILION) - lightness(style.GREEN)) < 10
    compared = 0
    for name, figure in drawings().items():
        for axis in figure.axes:
            for one, other in combinations(axis.lines, 2):
                colours = [to_rgb(line.get_color()) for line in (one, other)]
                apart = abs(lightness(colours[0]) - lightness(colours[1]))
                if colours[0] == colours[1] or apart >= 10:
                    continue
                compared += 1
                looks = [(line.get_marker(), line.get_linestyle()) for line in (one, other)]
                assert looks[0] != looks[1], (name, axis.get_title(loc="left"), colours)
    assert compared >= 8


def test_every_figure_is_fit_for_print() -> None:
    judged = verdict_frame(study_verdicts(SHOTS, Statistics()), SHOTS)
    rates = measurements(EARLIER, rates=(0.01, 0.1, 1.0))
    also = {
        "gains": verdicts.gains_figure(SHOTS, judged, "net", 0.95),
        "rates": learning_rates.rates_figure(rates, judged, "net"),
        "curves": curve_figures.curves_figure(OURS, curves(8), judged, "net", 0.95),
        "curve_panels": curve_figures.curve_panels_figure(OURS, curves(8), "net", 0.95),
    }
    for figure in [*drawings().values(), *(drawn[0] for drawn in also.values() if drawn)]:
        assert_fit_for_print(figure)
