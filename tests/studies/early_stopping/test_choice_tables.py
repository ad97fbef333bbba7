"""Tables and figure of rules that choose a checkpoint: one network left out at a time, honest edges."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt
from planted_runs import choices, planted
from print_size import assert_fit_for_print

from headstart.figures.labels import caption_of
from headstart.studies.early_stopping.figures import choices as drawing
from headstart.studies.early_stopping.recommend.atlas import halved
from headstart.studies.early_stopping.recommend.calibration import Calibration
from headstart.studies.early_stopping.recommend.judge import OTHER_DRAWS, REGIMES
from headstart.studies.early_stopping.recommend.rules import EVERYTHING, LEARNED, RECOMMEND
from headstart.studies.early_stopping.recommend.splits import parts
from headstart.studies.early_stopping.recommend.tables import Subject

NAMES = {"source": "s", "model": "m", "arm": "finetune"}


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def subject(runs: pd.DataFrame) -> Subject:
    atlas = halved(runs).assign(source_best=30)
    return Subject(NAMES, atlas, atlas.index, None)


def test_words_of_the_figure_are_those_of_the_rules() -> None:
    assert set(drawing.REGIMES) == set(REGIMES)
    assert (drawing.OTHER_DRAWS, drawing.EVERYTHING) == (OTHER_DRAWS, EVERYTHING)
    assert (drawing.RECOMMEND, drawing.LEARNED) == (RECOMMEND, LEARNED)


def test_networks_are_left_out_in_parts_that_share_none() -> None:
    found = parts([str(number) for number in range(11)], 3)
    assert [len(part) for part in found] == [4, 4, 3]
    assert len({each for part in found for each in part}) == 11
    assert parts(["2", "10"], 5) == [("2",), ("10",)]


def test_two_networks_judge_no_rule_and_say_so() -> None:
    table, recommended = subject(planted(2)).tables()
    assert len(table) == 1
    assert "2 networks with several starts, 3 are the least" in table["reason"].item()
    assert recommended.empty


def test_what_is_recommended_for_a_network_is_taught_and_calibrated_by_the_others() -> None:
    runs = planted(14)
    mine = subject(runs)
    table, found = mine.tables()
    assert len(found) == 28
    assert set(found["source_epoch"]) <= {4, 8}
    assert (found["taught_by"] == 13).all()
    assert (found["low"] < found["expected"]).all()
    held = table[(table["rule"] == RECOMMEND) & (table["split"] == "new networks")]
    assert held["held"].between(80, 100).all()
    assert held["half_width"].between(0, 5).all()
    assert table.loc[table["rule"] != RECOMMEND, "held"].isna().all()
    # As the command says it, with all short runs that a calibration may make.
    others = mine.atlas[mine.atlas["seed"] != "3"]
    row = found[found["seed"] == "3"].iloc[0]
    said = Calibration(others, True, 0.1).forecast(row)
    assert (said.low, said.high) == pytest.approx((row["low"], row["high"]))
    assert said.within == pytest.approx(row["probability"])


def test_the_figure_draws_its_table_and_says_what_lies_beyond_its_axis() -> None:
    table = choices()
    high = (table["regime"] == "fixed, from 0.3 on") & (table["rule"] == "last")
    table.loc[high, ["regret", "low", "high"]] = [31.4, 30.0, 33.0]
    ((name, mine),) = drawing.subjects(table)
    assert name == "net"
    figure, drawn = drawing.choices_figure(mine, 0.95)
    assert_fit_for_print(figure)
    assert set(drawn["rule"]) <= set(drawing.SHOWN)
    costs = drawn[drawn["regime"] == "fixed, below 0.3"]["cost"]
    assert costs.is_monotonic_increasing
    texts = [text.get_text() for axis in figure.axes for text in axis.texts]
    assert texts.count("31.4") == 1
    assert "Arrow" in caption_of(figure)
    assert "noise floor" in caption_of(figure)
    assert all(axis.get_xlim()[1] < 13 for axis in figure.axes)
    assert figure.axes[0].get_xlabel().endswith("best on other draws")


def test_one_regime_makes_a_figure_of_one_column() -> None:
    table = choices()
    ((_, mine),) = drawing.subjects(table[table["regime"] == "tuned"])
    figure, _ = drawing.choices_figure(mine, 0.95)
    assert_fit_for_print(figure)


def test_one_draw_has_its_reference_on_the_axis_and_no_floor() -> None:
    table = choices().assign(reference=EVERYTHING, floor=np.nan)
    ((_, mine),) = drawing.subjects(table)
    figure, _ = drawing.choices_figure(mine, 0.95)
    assert figure.axes[0].get_xlabel().endswith(EVERYTHING)
    assert "noise floor" not in caption_of(figure)
    assert "validation after everything was fine-tuned" in drawing.sentence(mine)


def test_tables_for_people_have_a_row_per_rule_and_per_question() -> None:
    ((_, mine),) = drawing.subjects(choices())
    shown = drawing.summary(mine)
    assert shown["rule"].tolist()[-1] == EVERYTHING
    beyond = drawing.elsewhere(mine)
    assert {text.partition(":")[0] for text in beyond["left out"]} == {"new target", "new rates"}
    assert drawing.sentence(mine).startswith("latin, net: points of accuracy lost to")
