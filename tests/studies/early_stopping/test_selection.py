import numpy as np
import pandas as pd
import pytest
from simulated_runs import (
    CONTRAST,
    STARTS,
    fine_tuning,
    peak_at,
    planted_gain,
    runs_table,
    small_table,
)

from headstart.statistics.errors import UndecidableError
from headstart.studies.early_stopping.figures.prepare import tuned_runs
from headstart.studies.early_stopping.tables import tidy
from headstart.studies.early_stopping.verdicts.accuracies import accuracy_tensors
from headstart.studies.early_stopping.verdicts.evidence import weigh
from headstart.studies.early_stopping.verdicts.selection import (
    at_learning_rate,
    differences,
    held_out_effects,
    selection_optimism,
    split_seeds,
    tune_learning_rate,
    tuned_rates,
)
from headstart.studies.early_stopping.verdicts.source_best import earliest_best, source_best_epochs


def test_the_arrays_hold_every_accuracy_at_its_place_whatever_the_order_of_rows():
    table, test, validation = small_table()
    shuffled = table.sample(frac=1, random_state=1)
    tensors = accuracy_tensors(shuffled, CONTRAST)
    assert np.array_equal(tensors.test[:-1], test)
    assert np.array_equal(tensors.validation[:-1], validation)
    assert np.array_equal(tensors.test[-1], test[3])
    assert tensors.source_best.tolist() == [4, 4, 4]
    assert tensors.learning_rates == (0.01, 0.1)


def test_a_source_best_epoch_of_one_seed_needs_no_runs_of_the_others():
    table, test, _ = small_table(n_seeds=2)
    source = peak_at(STARTS, 4, 2)
    source[4, 1] = 0.99
    table = runs_table(STARTS, test, test, source, (0.01, 0.1))
    keep = ~((table["source_epoch"] == 8) & (table["seed"] == 0) & fine_tuning(table))
    tensors = accuracy_tensors(table[keep], CONTRAST)
    assert tensors.source_best.tolist() == [4, 8]
    assert tensors.epochs.tolist() == [0, 1, 2, 4]
    assert np.array_equal(tensors.test[-1], np.stack([test[3, 0], test[4, 1]]))
    assert [flag.split(":")[0] for flag in tensors.flags] == ["divergence-unchecked"]


def test_an_epoch_that_some_seeds_lack_is_left_out_and_said():
    table, _, _ = small_table()
    keep = ~((table["source_epoch"] == 2) & (table["seed"] == 0) & fine_tuning(table))
    tensors = accuracy_tensors(table[keep], CONTRAST)
    assert tensors.epochs.tolist() == [0, 1, 4, 8]
    assert any(flag.startswith("left-out: source epochs 2 ") for flag in tensors.flags)


def test_ties_in_source_accuracy_go_to_the_earliest_epoch():
    assert earliest_best([4, 1, 2], [0.9, 0.9, 0.1]) == 1


def test_the_source_best_epoch_is_chosen_on_validation_and_among_started_epochs():
    table, _, _ = small_table(n_seeds=1, best=4)
    liar = table[~fine_tuning(table)].assign(split="test", value=lambda t: 1 - t["value"])
    started = {0: np.array([1, 2, 4])}
    result = source_best_epochs(pd.concat([table, liar]), "latin", "net", started)
    assert result.epochs.tolist() == [4]
    assert result.from_validation


def source_of(accuracies, **others):
    """Rows of one source network, seed 0, one value an epoch from 1 on; others are metric: values."""
    rows = pd.DataFrame({"source_epoch": range(1, len(accuracies) + 1)}).assign(
        seed=0, source="latin", model="net", mode="pretrain"
    )
    split = {"diverged": "train"}
    return pd.concat(
        rows.assign(metric=metric, split=split.get(metric, "validation"), value=values)
        for metric, values in {"accuracy": accuracies, **others}.items()
    )


def test_the_epoch_that_the_network_chose_itself_goes_before_the_highest_accuracy():
    # As by loss, or with patience: the figures start from this one too.
    table = source_of([0.5, 0.6, 0.7, 0.9], best=[0.0, 0.0, 1.0, 0.0])
    result = source_best_epochs(table, "latin", "net", {0: np.array([1, 2, 3, 4])})
    assert (result.epochs.tolist(), result.from_validation, result.flags) == ([3], True, ())
    with pytest.raises(
        UndecidableError, match="seed 0 was not fine-tuned from its own source-best epoch, 3"
    ):
        source_best_epochs(table, "latin", "net", {0: np.array([1, 2, 4])})
    twice = source_of([0.5, 0.6], best=[1.0, 1.0])
    with pytest.raises(UndecidableError, match="seed 0 has 2 epochs with metric 'best'"):
        source_best_epochs(twice, "latin", "net", {0: np.array([1, 2])})


def test_a_source_network_that_diverged_counts_by_its_last_epoch_and_not_by_a_lucky_one():
    table = source_of([0.5, 0.9, 0.1, 0.1], diverged=[1.0] * 4)
    started = {0: np.array([1, 2, 4])}
    result = source_best_epochs(table, "latin", "net", started)
    assert result.epochs.tolist() == [4]
    assert result.flags == (
        "diverged-source: seeds 0 diverged on the source and count by their last epoch",
    )
    healthy = source_of([0.5, 0.9, 0.1, 0.1], diverged=[0.0] * 4)
    assert source_best_epochs(healthy, "latin", "net", started).epochs.tolist() == [2]


def test_without_source_validation_the_choice_on_test_makes_the_table_descriptive():
    table, _, _ = small_table()
    table.loc[~fine_tuning(table), "split"] = "test"
    tensors = accuracy_tensors(table, CONTRAST)
    assert tensors.descriptive
    assert any(flag.startswith("source-best-on-test") for flag in tensors.flags)


def test_the_learning_rate_is_tuned_on_the_mean_over_draws_and_ties_go_to_the_smallest():
    validation = np.zeros((2, 1, 2, 3))
    validation[0, 0] = [[0.9, 0.5, 0.0], [0.0, 0.5, 0.8]]
    index = tune_learning_rate(validation)
    assert index.tolist() == [[1], [0]]
    rounded = np.array([[[[0.1, 0.3], [0.2, 0.3], [0.3, 0.0]]]])
    assert rounded.mean(axis=2)[0, 0].tolist() != [0.2, 0.2]
    assert tune_learning_rate(rounded).tolist() == tune_learning_rate(rounded[..., ::-1]).tolist()
    test = np.arange(12.0).reshape(2, 1, 2, 3)
    assert at_learning_rate(test, index)[:, 0].tolist() == [[1, 4], [6, 9]]


def test_earlier_means_the_epoch_or_source_best_where_that_comes_first():
    epochs, best = np.array([0, 1, 2, 3, 4]), np.array([2, 4, 4])
    accuracies = np.arange(15.0).reshape(5, 3)[:, :, None]
    source = accuracies[best, np.arange(3)][None]
    stack = np.concatenate([accuracies, source])
    at, gaps = differences(stack, epochs, best, "earlier")
    assert at.tolist() == [1, 2, 3]
    assert gaps[..., 0].tolist() == [[-3, 0, 0], [-9, -6, -3], [-9, -6, -3]]
    late, _ = differences(stack, epochs, best, "later")
    assert late.tolist() == []


def test_confirmation_seeds_judge_the_epoch_that_the_discovery_seeds_picked():
    test, validation = planted_gain(0, np.zeros(4), seed_sd=0, run_sd=1e-4)
    # Epoch 1 is the choice of the first four seeds, epoch 2 that of the last four and of all.
    for arrays in (test, validation):
        arrays[0, :4] += 0.02
        arrays[1, 4:] += 0.05
    table = runs_table(np.arange(1, 5), test, validation, peak_at(np.arange(1, 5), 4, 8))
    gain = weigh(accuracy_tensors(table, CONTRAST)).gains["earlier"]
    assert gain.epoch == 2
    assert gain.effect == pytest.approx(2.5, abs=0.05)
    assert gain.confirmation.estimate == pytest.approx(0, abs=0.05)
    assert gain.confirmation.n == 4


def test_seeds_are_split_from_eight_on_and_never_shared():
    assert split_seeds(7) is None
    for n in (8, 9, 12):
        discovery, confirmation = split_seeds(n)
        seeds = list(range(n))
        assert seeds[discovery] + seeds[confirmation] == seeds
        assert min(len(seeds[discovery]), len(seeds[confirmation])) >= 4


def test_held_out_effects_let_the_other_seeds_pick():
    gaps = np.array([[5.0, 0.0, 1.0], [0.0, 2.0, 1.0], [0.0, 3.0, 1.0]])
    assert held_out_effects(gaps, gaps).tolist() == [0.0, 0.0, 0.0]
    assert selection_optimism(gaps, gaps) == pytest.approx(5 / 3)
    assert np.isnan(selection_optimism(gaps[:1], gaps[:1]))


def test_permuting_test_accuracies_changes_nothing_that_is_chosen():
    # All starts and learning rates are alike: each choice hangs on the noise of its split.
    test, validation = planted_gain(0, np.zeros(10), n_rates=3, seed_sd=0, run_sd=0.02)
    rates, epochs = (0.01, 0.03, 0.1), np.arange(1, 11)
    chosen = []
    for order in (np.arange(test.size), np.random.default_rng(1).permutation(test.size)):
        scrambled = test.ravel()[order].reshape(test.shape)
        table = runs_table(epochs, scrambled, validation, peak_at(epochs, 8, 8), rates)
        tensors = accuracy_tensors(table, CONTRAST)
        gains_found = weigh(tensors).gains
        picks = {name: (gain.epoch, gain.learning_rate) for name, gain in gains_found.items()}
        chosen.append(
            (picks, tune_learning_rate(tensors.validation).tolist(), tensors.source_best.tolist())
        )
    assert len(chosen[0][0]) == 4
    assert np.unique(chosen[0][1]).size == 3
    assert chosen[0] == chosen[1]


def test_figures_and_verdicts_choose_the_same_rate_where_rates_tie_but_for_rounding():
    shape = (len(STARTS), 2, 3, 2)
    tied = np.array([[0.1, 0.2, 0.3], [0.3, 0.2, 0.1]]).T
    assert tied.mean(axis=0)[0] != tied.mean(axis=0)[1]
    validation = np.broadcast_to(tied, shape).copy()
    validation[-1, 0, 0] = [0.5, 0.6]
    rates = (0.1, 0.01) if tied.mean(axis=0)[0] > tied.mean(axis=0)[1] else (0.01, 0.1)
    table = runs_table(STARTS, validation, validation, peak_at(STARTS, 4, 2), rates)
    runs = accuracy_tensors(table, CONTRAST)
    by_verdicts = np.array(runs.learning_rates)[tune_learning_rate(runs.validation[:-1])]
    drawn = tuned_runs(tidy([table.assign(arm="finetune")]), "net")
    by_figures = drawn.drop_duplicates(["source_epoch", "seed"]).pivot(
        index="source_epoch", columns="seed", values="learning_rate"
    )
    assert by_figures.index.tolist() == STARTS.tolist()
    assert np.array_equal(by_figures, by_verdicts)
    assert set(by_verdicts[:-1].ravel()) == {0.01}


def test_a_rate_that_was_not_run_from_a_start_is_not_its_best():
    rows = [(0, 0, 0.01, 0.2), (0, 0, 0.1, 0.3), (1, 0, 0.01, 0.0)]
    runs = pd.DataFrame(rows, columns=["source_epoch", "draw", "learning_rate", "validation"])
    assert tuned_rates(runs, ["source_epoch"])["learning_rate"].tolist() == [0.1, 0.01]
