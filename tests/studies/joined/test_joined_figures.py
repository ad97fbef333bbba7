"""The figures of the joined study, drawn from tables with known content."""

from __future__ import annotations

import pandas as pd
import pytest
from joined_tables import EPOCHS, tables
from print_size import assert_fit_for_print

from headstart.studies.joined.associations import MEASURES, comparisons
from headstart.studies.joined.figures.causes import associations_figure, interventions_figure
from headstart.studies.joined.figures.epochs import PANELS, epochs_figure


@pytest.fixture(scope="module")
def made() -> dict[str, pd.DataFrame]:
    return tables(networks=8)


def test_all_measures_stand_on_one_axis_of_source_epochs(made: dict[str, pd.DataFrame]) -> None:
    (comparison,) = comparisons(made["joined"])
    figure, table = epochs_figure(made["joined"], comparison, 0.95)
    assert_fit_for_print(figure)
    assert len(figure.axes) == len(PANELS)
    assert set(table["source_epoch"]) == set(EPOCHS)
    gains = table[table["metric"] == "gain_fixed"].set_index("source_epoch")
    assert gains["mean"].is_monotonic_decreasing
    assert (gains["low"] < gains["mean"]).all()
    assert "n = 8 source networks" in str(figure.get_label())


def test_associations_are_drawn_for_every_measure(made: dict[str, pd.DataFrame]) -> None:
    (comparison,) = comparisons(made["joined"])
    figure, table = associations_figure(made["associations"], comparison)
    assert_fit_for_print(figure)
    (axis,) = figure.axes
    assert [text.get_text() for text in axis.get_yticklabels()] == [*MEASURES.values()]
    assert len(table) == 2 * len(MEASURES)


def test_interventions_are_drawn_where_there_are_any(made: dict[str, pd.DataFrame]) -> None:
    (comparison,) = comparisons(made["joined"])
    drawn = interventions_figure(made["effects"], comparison, 0.95)
    assert drawn
    figure, table = drawn
    assert_fit_for_print(figure)
    changes = table[table["metric"] == "accuracy"].set_index("intervention")["middle"]
    assert changes["rescaled"] > 5 > 0 > changes["preserved_removed"]
    assert interventions_figure(made["effects"].iloc[:0], comparison, 0.95) is None
