import numpy as np
import pandas as pd
import pytest
from simulated_runs import BUMP, CONTRAST, merged, study

from headstart.statistics.errors import TableError
from headstart.studies.early_stopping.verdicts.verdicts import verdict as verdict_on
from headstart.studies.early_stopping.verdicts.verdicts import verdict_table


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
    hole = (table["seed"] == 5) & (table["draw"] == 5001) & (table["source_epoch"] == 7)
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
    with pytest.raises(TableError, match=r"2 rows measure .* draw 1001, learning_rate 0\.1"):
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
    rates = table.assign(learning_rate=table["learning_rate"].map({0.1: "high"}))
    with pytest.raises(TableError, match="'high': write the rate as a number"):
        verdict_on(rates)
    with pytest.raises(TableError, match="no rows"):
        verdict_on(table.head(0))


def of_runs(table):
    return table["mode"] != "pretrain"


def one_network_under_eight_names(table):
    first = table[(table["mode"] == "pretrain") & (table["seed"] == 0)]
    return pd.concat([table[of_runs(table)], *(first.assign(seed=seed) for seed in range(8))])


def with_value(value, rows=of_runs):
    return lambda table: table.assign(value=table["value"].mask(rows(table), value(table)))


def at_chance(table):
    noise = np.random.default_rng(0).binomial(750, 1 / 30, len(table)) / 750
    return table.assign(value=table["value"].mask(of_runs(table), noise))


def with_classes(table):
    runs = table[of_runs(table) & (table["split"] == "test")]
    return pd.concat([table, runs.assign(metric="images", split="train", value=10.0)])


def diverged(table):
    runs = table[of_runs(table) & (table["split"] == "test")]
    lost = runs.assign(metric="diverged", split="train", value=(runs["source_epoch"] > 3) * 1.0)
    return pd.concat([table, lost, runs.assign(metric="final_accuracy", value=0.03)])


def without_best_start(table):
    return table[~(of_runs(table) & (table["seed"] == 3) & (table["source_epoch"] == 10))]


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (one_network_under_eight_names, "seeds 0, 1, 2, 3, 4, 5, 6, 7 have equal source histories"),
        (at_chance, "as at chance with"),
        (
            lambda t: with_classes(t.assign(value=t["value"].mask(of_runs(t), 0.505))),
            "chance, 50.5% at most with 2 classes",
        ),
        (with_value(lambda t: 1.0), "every start reaches 100.0% or more"),
        (diverged, "73% of the runs diverged"),
        (
            with_value(lambda t: 0.8 - 0.001 * t["seed"], lambda t: ~of_runs(t)),
            "seed 0 has the same source accuracy at all epochs",
        ),
        (without_best_start, "seed 3 was not fine-tuned from its own source-best epoch, 10"),
    ],
    ids=["one network", "chance", "classes", "ceiling", "diverged", "flat", "no t*"],
)
def test_runs_that_would_decide_on_nothing_are_refused_with_one_line(spoil, said):
    table = study()
    assert verdict_on(table).verdict == "earlier-better"
    (verdict,) = verdict_table(spoil(table).reset_index(drop=True))
    assert verdict.verdict == "undetermined"
    assert said in verdict.reason
    assert verdict.reason.startswith("Not decided: ")
    assert np.isnan([verdict.effect, verdict.p, verdict.interval.low]).all()


def test_a_highest_rate_at_which_nothing_learns_leaves_the_tuned_question():
    table = study(rates=(0.01, 0.1, 1.0), gains=np.repeat(BUMP[:, None], 3, axis=1))
    lost = (table["learning_rate"] == 1.0) & of_runs(table)
    noise = np.random.default_rng(0).binomial(750, 1 / 30, len(table)) / 750
    tuned, fixed = verdict_table(table.assign(value=table["value"].mask(lost, noise)))
    assert (tuned.question, tuned.verdict) == ("tuned", "earlier-better")
    assert (fixed.question, fixed.verdict) == ("fixed", "undetermined")
    assert "as at chance" in fixed.reason


def test_asking_for_a_contrast_that_is_absent_or_ambiguous_lists_what_there_is():
    table = merged(1, 5)
    with pytest.raises(TableError, match=r"0 contrasts fit .shots 7.*shots 1; source latin"):
        verdict_on(table, {"shots": 7})
    with pytest.raises(TableError, match=r"2 contrasts fit .no contrast named"):
        verdict_on(table)
    with pytest.raises(TableError, match="epoch is none"):
        verdict_table(table, primary={"epoch": 3})
    assert verdict_on(table, CONTRAST | {"shots": 1}).contrast["shots"] == 1
