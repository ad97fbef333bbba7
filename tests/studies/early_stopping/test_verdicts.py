import re

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

from headstart.statistics.errors import TableError
from headstart.studies.early_stopping.verdicts.decision import seeds_needed
from headstart.studies.early_stopping.verdicts.evidence import interaction_test
from headstart.studies.early_stopping.verdicts.verdicts import verdict as verdict_on
from headstart.studies.early_stopping.verdicts.verdicts import verdict_table


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


def shared(seed, n_draws, draw_sd=0.0, gains=BUMP, n_seeds=8):
    """A study in which all networks share draws, which move epochs with this spread."""
    generator = np.random.default_rng(seed)
    arrays = planted_gain(seed, gains, n_seeds=n_seeds, n_draws=n_draws, seed_sd=0.005)
    moved = generator.normal(0, draw_sd, (len(EPOCHS), 1, n_draws, 1))
    source = peak_at(EPOCHS, 10, n_seeds)
    return runs_table(EPOCHS, *(array + moved for array in arrays), source, nested=False)


def test_few_draws_that_all_networks_share_decide_nothing_and_six_can():
    for n_draws in (1, 2, 5):
        verdict = verdict_on(shared(0, n_draws))
        assert verdict.verdict == "undetermined"
        assert f"all networks share {n_draws} draw" in verdict.reason
        assert "give each network its own" in verdict.reason
        assert np.isnan([verdict.interval.low, verdict.p]).all()
        assert verdict.pigeonhole.low < verdict.effect < verdict.pigeonhole.high
    six = verdict_on(shared(0, 6))
    assert six.verdict == "earlier-better"
    assert six.p_floor == 2.0**-6
    assert "6 blocks of 8 source seeds and 6 draws" in six.reason
    more = verdict_on(shared(0, 12))
    assert (more.verdict, more.p_floor) == ("earlier-better", 2.0**-8)


def test_six_shared_draws_that_move_epochs_do_not_make_them_look_better():
    studies = 60
    wrong = [
        verdict_on(shared(s, 6, draw_sd=0.02, gains=np.zeros(10))).verdict == "earlier-better"
        for s in range(studies)
    ]
    assert np.mean(wrong) <= 0.025 + 3 * np.sqrt(0.025 * 0.975 / studies)


def test_a_verdict_on_shared_test_images_holds_for_these_and_on_own_images_for_all():
    assert verdict_on(study()).reason.endswith("for these test images, which all networks share.")
    own = study()
    own["test_images"] = own["seed"].where(own["mode"] != "pretrain")
    assert "these test images" not in verdict_on(own).reason


def test_correctness_of_each_image_scores_every_network_on_images_of_its_own():
    generator = np.random.default_rng(0)
    epochs, images = np.arange(1, 4), 240
    chance = 0.5 + np.r_[0.25, 0, 0][:, None] + generator.normal(0, 0.02, (3, 8))
    # A fifth of the images is read by the second start alone, by every network.
    odd = np.arange(images) % 5 == 0
    correct = generator.random((3, 8, images)) < chance[..., None]
    correct[:, :, odd] = (epochs == 2)[:, None, None]
    test = correct.mean(axis=-1)[..., None, None]
    validation = np.broadcast_to(chance[..., None, None], test.shape)
    table = runs_table(epochs, test, validation, peak_at(epochs, 3, 8))
    read = table[(table["split"] == "test") & (table["mode"] != "pretrain")]
    rows = [
        read.assign(
            metric="correct",
            image=image,
            value=correct[read["source_epoch"] - 1, read["seed"], image].astype(float),
        )
        for image in range(images)
    ]
    verdict = verdict_on(pd.concat([table, *rows], ignore_index=True))
    assert "these test images" not in verdict.reason
    gaps = [100 * (correct[0, i, i::8].mean() - correct[2, i, i::8].mean()) for i in range(8)]
    assert verdict.effect == pytest.approx(np.mean(gaps))
    with pytest.raises(TableError, match="needs a column 'image'"):
        verdict_on(pd.concat([table, *rows], ignore_index=True).drop(columns="image"))


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
    assert re.search(r"learning rate 0.1 \(\+[6-9]", verdict.reason)
    assert "With every start tuned: " in verdict.reason
    assert verdict.effect == pytest.approx(0, abs=1)
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
    # No interval is shown as one that pays for the choice where none can.
    assert np.isnan(verdict.interval.low)
    assert np.isnan(verdict.pigeonhole.low) == (n_seeds == 1)
    assert ("at this spread six networks" in verdict.reason) == (n_seeds > 1)


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
    assert "(there are no validation accuracies on the target)" in verdict.reason
    assert verdict.interval == verdict.pigeonhole


def test_relabelling_draws_and_shuffling_rows_leave_the_verdict_unchanged():
    table = study(n_draws=4)
    relabelled = table.assign(draw=1000 * table["seed"] + (table["draw"] + 1) % 4)
    assert verdict_on(relabelled.sample(frac=1, random_state=0)) == verdict_on(table)
    crossed = shared(0, 7)
    relabelled = crossed.assign(draw=(3 * crossed["draw"] + 1) % 7)
    assert verdict_on(relabelled.sample(frac=1, random_state=0)) == verdict_on(crossed)


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


def test_starts_that_are_far_worse_ask_for_no_more_seeds():
    # Flipped, the worst start would be the best: it is screened out instead.
    table = merged(*range(1, 5), gains=np.r_[-0.3, BUMP[1:]], n_seeds=8)
    verdicts = verdict_table(table)
    assert {v.p for v in verdicts} == {2.0**-8}
    assert {v.verdict for v in verdicts} == {"earlier-better"}
    assert verdict_on(study(np.r_[-0.3, BUMP[1:]], n_seeds=6)).verdict == "earlier-better"


def test_an_undetermined_verdict_says_what_it_would_find_and_what_would_decide():
    verdict = verdict_on(study(np.zeros(10), seed_sd=0.02, run_sd=0.01))
    assert verdict.verdict == "undetermined"
    assert 1 < verdict.detectable < 6
    words = f"A gain of {verdict.detectable:.1f} points would be found with a power of 80 %"
    assert words in verdict.reason
    assert re.search(r"one of \d\.\d takes about \d+ networks", verdict.reason)
    assert "draws" in verdict.reason


def test_a_gain_of_the_detectable_size_is_found_in_about_four_of_five_studies():
    gains = 0.0 * BUMP
    typical = np.median([verdict_on(study(gains, seed=s)).detectable for s in range(15)])
    found = [
        verdict_on(study(typical / 100 * (BUMP == 0.03), seed=s)).verdict == "earlier-better"
        for s in range(50)
    ]
    assert 0.6 <= np.mean(found) <= 0.96


def test_runs_at_several_rates_have_a_verdict_at_tuned_rates_and_one_at_the_highest():
    gains = np.stack([np.zeros(10), -0.09 * np.ones(10)], axis=1)
    gains[:9, 1] = -0.01
    tuned, fixed = verdict_table(study(gains, rates=(0.01, 0.1)))
    assert (tuned.question, tuned.verdict) == ("tuned", "learning-rate-dependent")
    assert (fixed.question, fixed.learning_rate) == ("fixed", 0.1)
    assert (fixed.verdict, fixed.primary) == ("earlier-better", True)
    assert "at learning rate 0.1" in fixed.reason
    assert fixed.effect == pytest.approx(8, abs=2)
    assert not any(flag.startswith(("one-learning", "edge-of")) for flag in fixed.flags)
    (alone,) = verdict_table(study())
    assert (alone.question, alone.learning_rate) == ("fixed", 0.1)


def test_the_rate_to_add_is_named_for_every_start_that_prefers_an_extreme():
    gains = np.zeros((11, 3))
    gains[:, 1] += 0.05
    gains[0, 2] += 0.2
    table = runs_table(
        np.arange(11),
        *planted_gain(0, gains, n_rates=3),
        peak_at(np.arange(11), 10, 8),
        (0.05, 0.2, 0.8),
    )
    (flag,) = [f for f in verdict_on(table).flags if f.startswith("edge-of-grid")]
    assert flag == "edge-of-grid: scratch at 0.8 (8 of 8 networks): add learning rate 3"
