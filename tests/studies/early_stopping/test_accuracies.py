import pandas as pd
import pytest
from simulated_runs import CONTRAST, fine_tuning, small_table

from headstart.statistics.errors import TableError, UndecidableError
from headstart.studies.early_stopping.verdicts.accuracies import accuracy_tensors
from headstart.studies.early_stopping.verdicts.selection import tune_learning_rate


def spiked(with_final_validation=True):
    """One run at epoch 1 diverged: 31/65 at a lucky epoch, 1/65 at the end."""
    table, _, _ = small_table(n_seeds=2, n_draws=1, rates=(0.01, 0.1))
    # Seeds that are equal everywhere would be one network.
    table.loc[fine_tuning(table), "value"] = 0.3 + 0.001 * table["seed"].astype(float)
    lucky = fine_tuning(table) & (table["source_epoch"] == 1) & (table["learning_rate"] == 0.1)
    table.loc[lucky, "value"] = 31 / 65
    runs = table[lucky]
    told = table[fine_tuning(table) & (table["split"] == "test")].assign(metric="diverged")
    told["value"] = ((told["source_epoch"] == 1) & (told["learning_rate"] == 0.1)).astype(float)
    parts = [table, told]
    splits = ["test", "validation"] if with_final_validation else ["test"]
    ends = runs[runs["split"].isin(splits)].assign(metric="final_accuracy", value=1 / 65)
    ends.loc[ends["split"] == "validation", "value"] = 2 / 65
    return pd.concat([*parts, ends], ignore_index=True)


@pytest.mark.parametrize("with_final_validation", [True, False])
def test_a_diverged_run_is_scored_by_its_end_and_cannot_win_by_a_lucky_epoch(with_final_validation):
    tensors = accuracy_tensors(spiked(with_final_validation), CONTRAST)
    position = tensors.epochs.tolist().index(1)
    assert tensors.test[position, :, 0, 1].tolist() == [1 / 65, 1 / 65]
    held = 2 / 65 if with_final_validation else 0.0
    assert tensors.validation[position, :, 0, 1].tolist() == [held, held]
    assert (tune_learning_rate(tensors.validation)[position] == 0).all()
    assert tensors.flags[0].startswith("diverged: 2 runs, scored by their final accuracy")
    assert ("on validation by zero" in tensors.flags[0]) == (not with_final_validation)


def test_without_the_divergence_flag_the_lucky_epoch_would_have_won():
    table = spiked()
    tensors = accuracy_tensors(table[table["metric"] != "diverged"], CONTRAST)
    assert (tune_learning_rate(tensors.validation)[:-1][tensors.epochs == 1] == 1).all()
    assert tensors.flags == (
        "divergence-unchecked: nothing tells whether 20 of 20 runs diverged; a lucky epoch of such a "
        "run may have won",
    )


def test_a_diverged_run_without_a_final_accuracy_is_a_reason_not_to_decide():
    table = spiked()
    with pytest.raises(UndecidableError, match="diverged and has no final_accuracy"):
        accuracy_tensors(table[table["metric"] != "final_accuracy"], CONTRAST)


def test_percentages_are_refused_with_advice():
    table, _, _ = small_table()
    table.loc[fine_tuning(table), "value"] *= 100
    with pytest.raises(TableError, match="Divide percentages by 100"):
        accuracy_tensors(table, CONTRAST)


def test_a_run_with_one_of_its_two_accuracies_is_named():
    table, _, _ = small_table()
    drop = (table["split"] == "validation") & (table["source_epoch"] == 2) & (table["draw"] == 1)
    with pytest.raises(
        UndecidableError, match=r"source_epoch 2, seed 0, draw 1, learning_rate 0\.01"
    ):
        accuracy_tensors(table[~(drop & fine_tuning(table))], CONTRAST)


def test_a_seed_without_source_accuracies_is_named():
    table, _, _ = small_table()
    with pytest.raises(UndecidableError, match="seed 2 has no source accuracy"):
        accuracy_tensors(table[fine_tuning(table) | (table["seed"] != 2)], CONTRAST)


def test_a_stated_source_best_epoch_must_be_one_that_was_started_from():
    table, _, _ = small_table(n_seeds=1)
    stated = table[~fine_tuning(table)].head(1).assign(metric="source_best_epoch")
    both = pd.concat([table, stated.assign(value=4)])
    assert accuracy_tensors(both, CONTRAST).descriptive
    with pytest.raises(UndecidableError, match="needs one source_best_epoch"):
        accuracy_tensors(pd.concat([table, stated.assign(value=5)]), CONTRAST)
