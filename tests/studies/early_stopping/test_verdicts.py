import numpy as np
import pandas as pd
import pytest
from simulated_runs import (
    BUMP,
    EPOCHS,
    as_accuracies,
    merged,
    peak_at,
    planted_gain,
    runs_table,
    study,
)

from headstart.studies.early_stopping.verdicts.decision import seeds_needed
from headstart.studies.early_stopping.verdicts.evidence import interaction_test
from headstart.studies.early_stopping.verdicts.verdicts import verdict_on, verdict_table


def test_a_planted_gain_is_reported_with_effect_interval_and_reason():
    verdict = verdict_on(study())
    assert verdict.verdict == "earlier-better"
    assert verdict.chosen_epoch == 4
    assert verdict.effect == pytest.approx(3, abs=1)
    assert 0 < verdict.interval.low < verdict.effect < verdict.interval.high
    assert verdict.interval.method == "max-statistic"
    assert verdict.p <= 0.025
    assert verdict.p_floor == 2.0**-8
    assert (verdict.n_seeds, verdict.n_draws) == (8, 2)
    assert verdict.confirmation.n == 4
    assert "epoch 4" in verdict.reason
    assert verdict.reason.count(".") >= 1
    assert verdict.reason.endswith(".")


def test_a_gain_after_the_source_best_epoch_is_later_better():
    gains = np.r_[-0.02 * np.ones(4), 0, 0, 0, 0.03, 0, 0]
    verdict = verdict_on(study(gains, best=5))
    assert verdict.verdict == "later-better"
    assert verdict.chosen_epoch == 8


def test_where_both_sides_beat_source_best_the_larger_gain_is_reported():
    gains = np.r_[0, 0.02, 0, 0, 0, 0, 0, 0.05, 0, 0]
    assert verdict_on(study(gains, best=5)).verdict == "later-better"
    assert verdict_on(study(gains[::-1], best=6)).verdict == "earlier-better"


def test_a_gain_that_rests_on_some_of_the_draws_is_flagged_as_draw_sensitive():
    epochs, seeds = np.arange(1, 11), 8
    test, validation = planted_gain(0, np.zeros(10), n_draws=3, seed_sd=0.002, run_sd=0.001)
    steady = runs_table(
        epochs,
        test + BUMP[:, None, None, None],
        validation + BUMP[:, None, None, None],
        peak_at(epochs, 10, seeds),
    )
    for arrays in (test, validation):
        arrays[3] += np.array([0.15, -0.03, -0.03])[:, None]
    swinging = verdict_on(runs_table(epochs, test, validation, peak_at(epochs, 10, seeds)))
    assert swinging.verdict == "earlier-better"
    assert any(flag.startswith("draw-sensitive") for flag in swinging.flags)
    assert not any(flag.startswith("draw-sensitive") for flag in verdict_on(steady).flags)


def test_a_source_best_start_that_beats_every_other_is_called_source_best():
    verdict = verdict_on(study(np.r_[-0.05 * np.ones(9), 0]))
    assert verdict.verdict == "source-best"
    assert verdict.effect < -1
    assert verdict.interval.high < 0


def test_epochs_that_are_best_for_some_seeds_only_still_count_as_other_starts():
    test, validation = planted_gain(0, np.r_[-0.05 * np.ones(8), 0, 0], seed_sd=1e-3, run_sd=1e-3)
    source = peak_at(EPOCHS, 9, 8)
    source[9, ::2] = 0.95
    verdict = verdict_on(runs_table(EPOCHS, test, validation, source))
    assert sorted(set(verdict.source_best)) == [9, 10]
    assert verdict.verdict == "equivalent"


def test_equivalence_speaks_of_the_epoch_that_validation_prefers_be_it_earlier_or_later():
    """Every earlier start is 5 points worse, the later ones are level: equivalence is theirs."""
    gains = np.r_[-0.05 * np.ones(5), 0, 0, 0, 0, 0]
    verdict = verdict_on(study(gains, best=6, seed_sd=0.002, run_sd=0.002))
    assert verdict.verdict == "equivalent"
    assert verdict.chosen_epoch in (7, 8, 9, 10)
    assert f"epoch {verdict.chosen_epoch}, which validation prefers" in verdict.reason
    assert abs(verdict.effect) < 1


def test_starts_that_differ_by_little_are_equivalent_and_the_same_noise_is_not_enough_for_more():
    assert verdict_on(study(np.zeros(10), seed_sd=0.002, run_sd=0.002)).verdict == "equivalent"
    wide = verdict_on(study(np.zeros(10), seed_sd=0.03))
    assert wide.verdict == "undetermined"
    assert "neither a gain nor equivalence" in wide.reason


def test_a_gain_at_one_learning_rate_that_tuning_removes_depends_on_the_learning_rate():
    # Source-best loses eight points at the high rate only; tuned, it is as good as the rest.
    gains = np.stack([np.zeros(10), -0.09 * np.ones(10)], axis=1)
    gains[:9, 1] = -0.01
    verdict = verdict_on(study(gains, rates=(0.01, 0.1)))
    assert verdict.verdict == "learning-rate-dependent"
    assert "learning rate 0.1" in verdict.reason
    assert verdict.effect == pytest.approx(8, abs=2)
    assert verdict.p_interaction <= 0.05
    assert "differs between learning rates" in verdict.reason


def test_the_interaction_is_tested_on_both_sides():
    gains = np.zeros((6, 3))
    gains[1, 0] = 0.012
    p = []
    for sign in (1, -1):
        arrays = planted_gain(3, gains, n_rates=3)
        mirrored = [0.5 + sign * (array - 0.5) for array in arrays]
        p.append(interaction_test(as_accuracies(*mirrored, (0.01, 0.03, 0.1))))
    assert p[0] == p[1]
    assert 2 * 2.0**-8 <= p[0] < 1


def test_without_an_interaction_its_test_is_quiet():
    gains = np.repeat(BUMP[:, None], 2, axis=1)
    rejected = [
        verdict_on(study(gains, rates=(0.01, 0.1), seed=s)).p_interaction <= 0.05 for s in range(60)
    ]
    assert np.mean(rejected) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 60)


@pytest.mark.parametrize("n_seeds", [1, 2, 4, 5])
def test_too_few_seeds_decide_nothing_and_say_so_whatever_the_gain(n_seeds):
    verdict = verdict_on(study(BUMP * 5, n_seeds=n_seeds))
    assert verdict.verdict == "undetermined"
    assert f"cannot give a p below {2.0**-n_seeds:.3g}" in verdict.reason
    assert "6 seeds are the least" in verdict.reason
    assert np.isnan(verdict.interval.low) == (n_seeds == 1)


def test_six_seeds_can_decide():
    assert seeds_needed() == 6
    assert verdict_on(study(BUMP, n_seeds=6)).verdict == "earlier-better"


def test_without_validation_accuracies_a_clear_gain_is_described_and_not_decided():
    table = study()
    fine = table["mode"] != "pretrain"
    verdict = verdict_on(table[~fine | (table["split"] == "test")])
    assert verdict.descriptive
    assert verdict.verdict == "undetermined"
    assert verdict.reason.startswith("Described, not decided, because test data made choices")
    assert verdict.interval == verdict.pigeonhole


def test_relabelling_draws_and_shuffling_rows_leave_the_verdict_unchanged():
    table = study(n_draws=4)
    relabelled = table.assign(draw=table["draw"].map({0: 3, 1: 0, 2: 1, 3: 2}))
    assert verdict_on(relabelled.sample(frac=1, random_state=0)) == verdict_on(table)


def test_random_parts_are_reproducible_beyond_exact_sign_flips():
    table = study(n_seeds=14)
    assert verdict_on(table, seed=3) == verdict_on(table, seed=3)
    assert verdict_on(table).p_floor == 1e-4


def test_training_from_scratch_is_no_candidate_but_is_flagged_where_it_wins():
    gains = np.r_[0.1, np.zeros(9)]
    table = study(gains, seed_sd=0.002, run_sd=0.002)
    table["source_epoch"] = table["source_epoch"] - 1
    verdict = verdict_on(table)
    assert verdict.verdict == "equivalent"
    assert any(flag.startswith("negative-transfer") for flag in verdict.flags)


def test_learning_rates_at_the_edge_of_the_grid_are_flagged():
    def edge(best_rate):
        gains = np.zeros((10, 3))
        gains[:, best_rate] += 0.1
        flags = verdict_on(study(gains, rates=(0.01, 0.03, 0.1))).flags
        return any(flag.startswith("edge-of-grid") for flag in flags)

    assert [edge(0), edge(1), edge(2)] == [True, False, True]


def test_the_primary_contrast_comes_first_uncorrected_and_the_rest_by_holm():
    verdicts = verdict_table(merged(1, 5, 10), primary={"shots": 5})
    assert [v.contrast["shots"] for v in verdicts] == [5, 1, 10]
    assert [v.primary for v in verdicts] == [True, False, False]
    assert verdicts[0].p_adjusted == verdicts[0].p
    small = sorted(v.p for v in verdicts[1:])
    adjusted = sorted(v.p_adjusted for v in verdicts[1:])
    assert adjusted == pytest.approx([2 * small[0], max(2 * small[0], small[1])])


def test_eight_secondary_contrasts_need_nine_seeds():
    table = merged(*range(1, 9), n_seeds=8)
    verdicts = verdict_table(table)
    assert {v.verdict for v in verdicts} <= {"undetermined"}
    assert (
        "Holm's correction over 8 contrasts can reject only from 9 seeds on" in verdicts[0].reason
    )
    assert verdict_on(table, {"shots": 1}).verdict == "earlier-better"
    more = verdict_table(merged(*range(1, 9), n_seeds=9))
    assert "earlier-better" in {v.verdict for v in more}


def test_contrasts_of_too_few_seeds_are_not_paid_for_by_those_that_can_decide():
    few = [study(seed=s, n_seeds=3, contrast={"model": "vit", "shots": s}) for s in range(8)]
    rows = [few[0], *(part[part["mode"] != "pretrain"] for part in few[1:])]
    table = pd.concat([merged(1, 5), *rows], ignore_index=True)
    alone = {v.contrast["shots"]: v for v in verdict_table(merged(1, 5))}
    verdicts = verdict_table(table)
    for verdict in verdicts:
        if verdict.contrast["model"] == "net":
            assert verdict == alone[verdict.contrast["shots"]]
            assert verdict.verdict == "earlier-better"
        else:
            assert verdict.verdict == "undetermined"
            assert np.isnan(verdict.p_adjusted)
            assert verdict.p == 2.0**-3
            assert verdict.reason.endswith(
                "correction of the other contrasts does not count this one."
            )
    assert "does not count" not in verdict_on(few[0], {"shots": 0}).reason


def test_a_reason_says_when_far_worse_starts_leave_too_few_seeds_for_the_correction():
    # Flipping every seed turns the worst start into the best: p is 2 * 2^-8 at least.
    table = merged(*range(1, 5), gains=np.r_[-0.3, BUMP[1:]], n_seeds=8)
    verdicts = verdict_table(table)
    assert {v.p for v in verdicts} == {2 * 2.0**-8}
    assert {v.verdict for v in verdicts} == {"undetermined"}
    assert (
        "beside other starts so far below source-best p cannot fall below 0.00781, and Holm's "
        "correction over 4 contrasts can reject only from 9 seeds on"
    ) in verdicts[0].reason
    primary = verdict_on(study(np.r_[-0.3, BUMP[1:]], n_seeds=6))
    assert primary.p == 2 * 2.0**-6
    assert "and the test can reject only from 7 seeds on" in primary.reason
    assert verdict_on(study(np.r_[-0.3, BUMP[1:]], n_seeds=7)).verdict == "earlier-better"
