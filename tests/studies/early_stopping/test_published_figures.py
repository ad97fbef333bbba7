"""Figures in the published form: medians, ranges and stems, with published values where they belong."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from matplotlib import pyplot as plt
from preset_tables import preset_tables
from study_tables import EARLIER, measurements

from headstart.figures import style
from headstart.figures.labels import caption_of
from headstart.studies.early_stopping.figures import curves, ranges, transfer
from headstart.studies.early_stopping.figures.prepare import networks, of_network
from headstart.studies.early_stopping.protocol import COLUMNS

NONE = pd.DataFrame(columns=COLUMNS)
OURS = measurements(EARLIER, rates=(0.01, 0.1)).copy()


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def mini() -> dict[str, pd.DataFrame]:
    return preset_tables("gutstein_mini")


def with_peaks(table: pd.DataFrame, more: float = 0.01) -> pd.DataFrame:
    chosen = (table["metric"] == "accuracy_at_validation_best") & (table["split"] == "test")
    peaks = table[chosen].assign(metric="oracle_peak", value=lambda rows: rows["value"] + more)
    return pd.concat([table, peaks], ignore_index=True)


def test_a_dot_is_the_median_and_its_bar_the_range_of_all_runs() -> None:
    table = measurements(EARLIER)
    figure, drawn = ranges.ranges_figure(table, NONE, "net")
    of_four = table[
        (table["source_epoch"] == 4)
        & (table["split"] == "test")
        & (table["metric"] == "accuracy_at_validation_best")
    ]["value"]
    row = drawn[(drawn["drawn"] == "runs") & (drawn["source_epoch"] == 4)].iloc[0]
    expected = [100 * of_four.median(), 100 * of_four.min(), 100 * of_four.max(), 16]
    assert row[["median", "low", "high", "runs"]].tolist() == pytest.approx(expected)
    words = caption_of(figure)
    assert "n = 8 source networks × 2 draws" in words
    assert "No published values: none has the protocol of these runs" in words
    assert not drawn["drawn"].str.startswith("published").any()


def test_published_values_stand_beside_runs_of_their_protocol_and_name_their_source(
    mini: dict[str, pd.DataFrame],
) -> None:
    table, published = mini["measurements"], mini["published"]
    found = {}
    for name, source, model in networks(table):
        mine, theirs = (of_network(one, source, model) for one in (table, published))
        figure, drawn = ranges.ranges_figure(mine, theirs, model)
        beside = drawn[drawn["drawn"].str.startswith("published")]
        found[name] = set(beside["experiment"])
        words = caption_of(figure)
        assert "published/early_stopping.csv" in words
        assert "arXiv 2106.11174" in words
        assert "largest target test accuracy (%)" in figure.axes[0].get_ylabel()
    assert found == {
        "artefacts_wrn": {"E2"},
        "artefacts_mini_wrn": {"E3 mini"},
        "wrn_repeats": {"E3 repeats"},
    }
    top = drawn[drawn["drawn"] == "published source-best"].iloc[0]
    assert (top["median"], top["source_epoch"]) == (12.46, 180)


def test_beside_published_values_runs_are_drawn_by_their_peaks(
    mini: dict[str, pd.DataFrame],
) -> None:
    mine, theirs = (
        of_network(mini[one], "artefacts", "wrn") for one in ("measurements", "published")
    )
    _, by_peak = ranges.ranges_figure(mine, theirs, "wrn")
    _, by_choice = ranges.ranges_figure(mine, theirs.iloc[:0], "wrn")
    both = [one[one["drawn"] == "runs"]["median"].to_numpy() for one in (by_peak, by_choice)]
    assert both[0] - both[1] == pytest.approx([0.8] * len(both[0]))


def test_stems_reach_from_scratch_to_the_peak_and_mark_what_validation_chose() -> None:
    _, drawn = transfer.stems_figure(with_peaks(OURS), "net")
    starts = drawn[drawn["drawn"] == "start"].set_index("source_epoch")
    assert list(starts.index) == [0, 1, 2, 4, 8]
    assert starts["peak"].to_numpy() - starts["test"].to_numpy() == pytest.approx([1.0] * 5)
    best = drawn[drawn["drawn"] == "source-best"].iloc[0]
    assert best["source_epoch"] == 8
    assert best["test"] == pytest.approx(starts.loc[8, "test"])


def test_a_model_with_two_sources_has_a_figure_for_each_with_its_own_runs() -> None:
    other = measurements(EARLIER, source="greek", seed=1)
    table = pd.concat([OURS, other], ignore_index=True)
    assert networks(table) == [("greek_net", "greek", "net"), ("latin_net", "latin", "net")]
    alone = ranges.ranges_figure(OURS, NONE, "net")[1]
    within = ranges.ranges_figure(of_network(table, "latin", "net"), NONE, "net")[1]
    pd.testing.assert_frame_equal(alone, within)


def test_drawing_twice_writes_equal_bytes(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        drawn = {
            "ranges": ranges.ranges_figure(OURS, NONE, "net"),
            "stems": transfer.stems_figure(with_peaks(OURS), "net"),
        }
        for name, (figure, table) in drawn.items():
            style.save(figure, name, table, tmp_path / folder, 60)
    first = {path.name: path.read_bytes() for path in (tmp_path / "one").iterdir()}
    assert first == {path.name: path.read_bytes() for path in (tmp_path / "two").iterdir()}
    assert len(first) == 8


def test_bands_of_few_networks_leave_no_accuracy_outside_0_to_100_percent() -> None:
    axis = plt.figure().add_subplot()
    axis.set_ylim(-80, 160)
    curves.within_percent(axis)
    assert axis.get_ylim() == (-2, 102)
