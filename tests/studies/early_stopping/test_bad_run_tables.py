import numpy as np
import pandas as pd
import pytest
from simulated_runs import CONTRAST, merged, study

from headstart.statistics.errors import TableError
from headstart.studies.early_stopping.verdicts.verdicts import verdict_on, verdict_table


def test_a_contrast_that_cannot_be_read_does_not_stop_the_others():
    table = merged(1, 5)
    broken = (table["shots"] == 1) & (table["source_epoch"] == 3) & (table["split"] == "test")
    table.loc[broken, "value"] = np.nan
    first, second = verdict_table(table)
    assert first.verdict == "undetermined"
    assert first.reason.startswith("Not decided: 16 of 160 accuracies are not numbers")
    assert np.isnan([first.effect, first.p, first.interval.low]).all()
    assert second.verdict == "earlier-better"
    assert second.p_adjusted == second.p


def test_a_hole_in_the_crossing_of_seeds_and_draws_is_named():
    table = study()
    hole = (table["seed"] == 5) & (table["draw"] == 1) & (table["source_epoch"] == 7)
    verdict = verdict_on(table[~hole])
    assert verdict.verdict == "undetermined"
    assert "source_epoch 7 of seed 5 has 1 of 2 runs" in verdict.reason


def test_a_contrast_may_leave_shots_empty_where_the_whole_target_set_is_used():
    assert verdict_on(study(contrast={"shots": np.nan})).verdict == "earlier-better"


def test_a_single_checkpoint_leaves_nothing_to_compare():
    table = study()
    verdict = verdict_on(table[table["source_epoch"] == 10])
    assert verdict.verdict == "undetermined"
    assert "No pretrained epoch beside the source-best one" in verdict.reason


@pytest.mark.parametrize("column", ["seed", "split", "learning_rate", "value"])
def test_a_missing_column_is_an_error_that_names_it(column):
    with pytest.raises(TableError, match=f"no column '{column}'"):
        verdict_on(study().drop(columns=column))


def test_duplicate_rows_are_an_error_that_names_the_run():
    table = study()
    double = pd.concat([table, table.iloc[[3]].assign(value=0.1)])
    with pytest.raises(TableError, match=r"2 rows measure .* draw 1, learning_rate 0\.1"):
        verdict_on(double)


def test_text_where_numbers_belong_unknown_splits_and_broken_epochs_are_errors():
    table = study()
    words = table.assign(source_epoch=table["source_epoch"].astype(object))
    words.loc[4, "source_epoch"] = "best"
    with pytest.raises(TableError, match="row 4 holds 'best': write the number of the epoch"):
        verdict_on(words)
    with pytest.raises(TableError, match=r"'split' holds \['dev'\]"):
        verdict_on(table.replace({"split": {"validation": "dev"}}))
    with pytest.raises(TableError, match="whole epochs from 0 on"):
        verdict_on(table.assign(source_epoch=table["source_epoch"] - 1.5))
    with pytest.raises(TableError, match="no rows"):
        verdict_on(table.head(0))


def test_asking_for_a_contrast_that_is_absent_or_ambiguous_lists_what_there_is():
    table = merged(1, 5)
    with pytest.raises(TableError, match=r"0 contrasts fit .shots 7.*shots 1; source latin"):
        verdict_on(table, {"shots": 7})
    with pytest.raises(TableError, match=r"2 contrasts fit .no contrast named"):
        verdict_on(table)
    with pytest.raises(TableError, match="epoch is none"):
        verdict_table(table, primary={"epoch": 3})
    assert verdict_on(table, CONTRAST | {"shots": 1}).contrast["shots"] == 1
