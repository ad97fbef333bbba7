"""One schema of measurements, one way to select rows, one way to write an interval."""

import math

import pandas as pd
import pytest

from headstart.statistics.measurements import IDENTITY, VALUE, Schema, select
from headstart.statistics.words import format_interval, pluralize

SCHEMA = Schema("trial", {"layer": "Int64", "variant": "str"})
ROWS = [
    {"metric": "cka", "seed": 1, "layer": 2, "value": 0.5, "variant": "raw"},
    {"metric": "cka", "layer": 1, "value": 0.25},
    {"metric": "stir", "seed": 0, "value": 0.75, "condition": "null_permuted", "extra": 3},
]


def test_a_table_has_the_shared_columns_then_the_studys_own_then_the_value() -> None:
    table = SCHEMA.tidy(ROWS)
    assert list(table) == [*IDENTITY, "layer", "variant", *VALUE]
    assert set(table["study"]) == {"trial"}
    assert sorted(table["condition"]) == ["measured", "measured", "null_permuted"]
    assert table["reason"].tolist() == ["", "", ""]


def test_rows_come_in_the_same_order_whatever_their_order_was() -> None:
    pd.testing.assert_frame_equal(SCHEMA.tidy(ROWS), SCHEMA.tidy(ROWS[::-1]))


def test_select_takes_values_lists_and_what_is_missing() -> None:
    table = SCHEMA.tidy(ROWS)
    assert select(table, metric="cka", seed=1)["value"].tolist() == [0.5]
    assert select(table, metric="cka", seed=None)["value"].tolist() == [0.25]
    assert select(table, seed=[0, 1])["value"].tolist() == [0.75, 0.5]
    assert select(table, variant=None)["value"].tolist() == [0.75, 0.25]
    assert select(table, metric="none").empty


def test_a_column_that_does_not_exist_is_an_error() -> None:
    with pytest.raises(KeyError, match="measure"):
        select(SCHEMA.tidy(ROWS), measure="cka")


def test_intervals_and_plurals() -> None:
    assert format_interval(0.61, -2.6, 2.84, signed=True) == "+0.6 [-2.6, +2.8]"
    assert format_interval(30.6, 29.3, 32, unit="%") == "30.6 % [29.3, 32.0]"
    assert format_interval(1.25, digits=2) == "1.25"
    assert format_interval(math.nan) == "–"
    assert pluralize(1, "network") == "1 network"
    assert pluralize(2, "class", "classes") == "2 classes"
    assert pluralize(1234, "value") == "1,234 values"
