"""Curves of training on the target are those of the runs that validation chose."""

from __future__ import annotations

import pandas as pd
import pytest
from matplotlib import pyplot as plt
from study_tables import BEST, EPOCHS, TARGET_EPOCHS, curves, measurements

from headstart.figures.labels import caption_of
from headstart.studies.early_stopping.figures.curves import curve_panels_figure, curves_figure
from headstart.studies.early_stopping.figures.prepare import SOURCE_BEST
from headstart.studies.early_stopping.params import Statistics
from headstart.studies.early_stopping.verdicts.study_verdicts import study_verdicts, verdict_frame

MEASURED = measurements(n_seeds=2)
JUDGED = verdict_frame(study_verdicts(MEASURED, Statistics()), MEASURED)
VALIDATION = curves(n_seeds=2)
TRAINING = VALIDATION.assign(split="train", value=VALIDATION["value"] / 0.8)
BOTH = pd.concat([VALIDATION, TRAINING], ignore_index=True)


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def test_every_start_has_a_panel_with_training_and_held_out_images() -> None:
    figure, table = curve_panels_figure(MEASURED, BOTH, "net", 0.95)
    titles = [axis.get_title(loc="center") for axis in figure.axes]
    assert titles == ["scratch", "epoch 1", "epoch 2", "epoch 4", "epoch 8", SOURCE_BEST]
    assert [len(axis.get_lines()) for axis in figure.axes] == [2] * (len(EPOCHS) + 1)
    assert "Solid: validation images" in caption_of(figure)
    assert "n = 2 source networks × 2 draws" in caption_of(figure)
    ends = table[table["target_epoch"] == TARGET_EPOCHS].set_index(["start", "split"])["mean"]
    planted = VALIDATION[VALIDATION["target_epoch"] == TARGET_EPOCHS].groupby("source_epoch")
    for epoch, value in planted["value"].mean().items():
        assert ends[str(epoch), "validation"] == pytest.approx(100 * value)
    # Every network of this table is best at its last epoch.
    assert ends[SOURCE_BEST, "train"] == ends[str(BEST), "train"]


def test_test_accuracy_is_drawn_where_it_was_read_at_every_epoch() -> None:
    read = pd.concat([BOTH, VALIDATION.assign(split="test", value=0.5)], ignore_index=True)
    figure, table = curve_panels_figure(MEASURED, read, "net", 0.95)
    assert set(table["split"]) == {"train", "test"}
    assert "Solid: test images" in caption_of(figure)


def test_three_starts_are_compared_in_one_panel_with_their_names_at_its_edge() -> None:
    figure, table = curves_figure(MEASURED, VALIDATION, JUDGED, "net", 0.95)
    (axis,) = figure.axes
    assert {text.get_text() for text in axis.texts} == {"scratch", "source-best", "from epoch 2"}
    assert axis.get_ylabel() == "target validation accuracy (%)"
    assert axis.get_xlabel() == "target epoch"
    scratch = table[(table["start"] == "scratch") & (table["target_epoch"] == TARGET_EPOCHS)]
    assert scratch["source_epoch"].item() == 0
