"""Rules that choose a checkpoint, judged: known regrets, no regret among equals, what is left out teaches nothing."""

from __future__ import annotations

from itertools import product

import numpy as np
import pandas as pd
import pytest
from planted_runs import EPOCHS, planted

from headstart.studies.early_stopping.recommend.atlas import halved
from headstart.studies.early_stopping.recommend.judge import (
    HIGH_RATES,
    LOW_RATES,
    OTHER_DRAWS,
    TUNED,
    judge,
    judgeable,
    reference_of,
    summary,
)
from headstart.studies.early_stopping.recommend.model import Recall, learned
from headstart.studies.early_stopping.recommend.rules import (
    EVERYTHING,
    LEARNED,
    RECOMMEND,
    with_rules,
)
from headstart.studies.early_stopping.recommend.splits import (
    held_out,
    parts,
    primary,
    splits,
)


def study(
    networks: int = 6,
    targets: tuple[str, ...] = ("t",),
    shots: tuple[str, ...] = ("5",),
    models: tuple[str, ...] = ("m",),
    **options: float,
) -> pd.DataFrame:
    """Return planted runs of several targets, shots and models, each with noise of its own."""
    tables = [
        planted(networks, seed=number, **options).assign(target=target, shots=count, model=model)
        for number, (target, count, model) in enumerate(product(targets, shots, models))
    ]
    return pd.concat(tables, ignore_index=True).assign(source_best=30)


def judged(atlas: pd.DataFrame, question: str = "new networks") -> pd.DataFrame:
    """Return the summary of one question, networks left out in turn."""
    atlas, rules = with_rules(halved(atlas))
    alone = parts(list(atlas["seed"].unique()), 100)
    out = held_out(atlas, *primary(atlas, None))
    (split,) = (each for each in splits(atlas, out, alone, alone) if each.question == question)
    return summary(judge(atlas, split, rules, reference_of(atlas))).set_index(["regime", "rule"])


def test_the_regret_of_the_last_checkpoint_is_what_was_planted() -> None:
    """Without noise: epoch 30 loses .01 (1.95² − .17²) at low and .03 of it at high rates to epoch 8."""
    table = judged(study(spread=0.0))
    lost = (np.log2(31) - 3) ** 2 - (np.log2(9) - 3) ** 2
    for regime, share in ((LOW_RATES, 1.0), (HIGH_RATES, 3.0), (TUNED, 1.0)):
        row = table.loc[regime, "last"]
        assert row["regret"] == pytest.approx(share * lost)
        assert row["low"] == pytest.approx(row["high"])
        assert row["floor"] == pytest.approx(0.0, abs=1e-9)
        for rule in (LEARNED, RECOMMEND, EVERYTHING):
            assert table.loc[regime, rule]["regret"] == pytest.approx(0.0, abs=1e-9)
    assert table["networks"].eq(6).all()
    assert table.loc[(LOW_RATES, "last"), "cells"] == 12
    assert table.loc[(TUNED, "last"), "cells"] == 6


def test_costs_are_shares_of_fine_tuning_everything() -> None:
    table = judged(study())["cost"]
    assert table[LOW_RATES, "last"] == 0
    assert table[TUNED, "last"] == pytest.approx(100 / len(EPOCHS))
    assert table[LOW_RATES, "training speed, 4 epochs"] == pytest.approx(25)
    assert table[TUNED, EVERYTHING] == 100


def test_among_equals_intervals_hold_zero_as_often_as_they_say() -> None:
    """The negative control: accuracies are noise, so no rule is better or worse than another."""
    outside = []
    for seed in range(8):
        mine = judged(equals(5, seed)).drop(index=EVERYTHING, level="rule")
        outside.append(((mine["low"] > 0) | (mine["high"] < 0)).to_numpy())
    assert np.mean(outside) < 0.1


def equals(networks: int, seed: int) -> pd.DataFrame:
    """Return runs whose accuracies and losses say nothing of each other."""
    generator, atlas = np.random.default_rng(seed), study(networks)
    for name in atlas.columns:
        if name.startswith(("test", "validation", "train")):
            atlas[name] = 0.5 + 0.03 * generator.normal(size=len(atlas))
    return atlas


def test_where_late_checkpoints_collapse_at_high_rates_what_others_teach_beats_the_last() -> None:
    atlas = study(12)
    collapsed = (atlas["source_epoch"] > 4) & (atlas["learning_rate"] >= 0.3)
    for name in ("test_accuracy", "validation_accuracy"):
        atlas[name] = atlas[name].mask(collapsed, 0.1)
    table = judged(atlas)
    for rule in (LEARNED, RECOMMEND):
        assert table.loc[(HIGH_RATES, rule), "high"] < 1
        assert table.loc[(HIGH_RATES, "last"), "low"] > 50


def test_one_draw_is_compared_with_validation_of_everything() -> None:
    atlas = halved(study().query("draw == 0"))
    assert reference_of(atlas) == EVERYTHING
    assert judgeable(atlas, EVERYTHING).all()
    assert not judgeable(atlas, OTHER_DRAWS).any()
    table = judged(study(spread=0.0).query("draw == 0"))
    assert table["floor"].isna().all()
    everything = table.xs(EVERYTHING, level="rule")[["regret", "low", "high"]]
    assert (everything == 0).all(axis=None)
    assert table.loc[(HIGH_RATES, "last"), "regret"] > 5


def test_networks_may_differ_in_their_number_of_draws() -> None:
    atlas = study(8)
    more = atlas[atlas["seed"].isin(["0", "1"])]
    table = judged(pd.concat([atlas, more.assign(draw=more["draw"] + 2)], ignore_index=True))
    assert table["networks"].eq(8).all()
    assert table["regret"].notna().all()


def test_a_start_alone_is_no_choice() -> None:
    atlas = halved(study().query("source_epoch == 4 or target != 't'"))
    assert not judgeable(atlas, OTHER_DRAWS).any()


def test_what_is_left_out_is_taught_by_nothing_of_its_kind() -> None:
    atlas = halved(study(6, tuple("abcdefghij"), ("1", "5", "20"), ("m", "n")))
    out = held_out(atlas, "m", "5")
    assert len(out.targets) == 3
    assert len(out.networks) == 2
    assert (out.new_shots, out.recipe) in {("1", "n"), ("20", "n")}
    assert out.rates == (0.1,)
    alone = parts(list(atlas["seed"].unique()), 3)
    found = {each.question: each for each in splits(atlas, out, alone, alone)}
    assert list(found) == ["new networks", "new target", "new rates", "new shots", "new recipe"]
    columns = {"new target": "target", "new shots": "shots", "new recipe": "model"}
    columns["new rates"] = "learning_rate"
    for question, split in found.items():
        for fold in split.folds:
            taught, asked = atlas[fold.teaching], atlas[fold.judged]
            for name in {"seed", columns.get(question, "seed")}:
                assert not set(taught[name]) & set(asked[name])
            assert len(asked["seed"].unique()) == 2


def test_what_was_held_out_of_the_study_that_rules_were_built_on_stays_so() -> None:
    """Drawn before any table of the preset `thorough` was opened, see docs/recommend.md."""
    rates = [0.01, 0.03, 0.1, 0.3, 0.6, 1.0]
    grid = product(range(20), ("cyrillic", "digits"), ("1", "5", "20"), rates)
    atlas = pd.DataFrame(grid, columns=["seed", "target", "shots", "learning_rate"])
    models = ("convnet", "convnet_few", "convnet_constant")
    atlas = pd.concat(
        [atlas.assign(model=model, seed=atlas["seed"].astype(str)) for model in models]
    )
    out = held_out(atlas, "convnet", "5")
    assert out.networks == ("3", "6", "11", "12", "13", "15")
    assert out.targets == ("cyrillic",)
    assert (out.new_shots, out.recipe) == ("1", "convnet_constant")
    assert out.rates == (0.1, 0.3)


def test_the_first_contrast_is_the_one_that_the_params_name() -> None:
    atlas = study(2, shots=("1", "5"), models=("m", "n"))
    assert primary(atlas, {"model": "n", "shots": 5}) == ("n", "5")
    few = atlas.drop(atlas.query("model == 'm' and shots == '1'").index[:4])
    assert primary(few, None) == ("n", "5")


@pytest.mark.parametrize("left_out", [(), ("3",), ("3", "4")])
def test_recalled_means_are_those_of_the_other_networks(left_out: tuple[str, ...]) -> None:
    atlas = study(12, ("t", "u"))
    atlas = atlas.drop(atlas.query("seed == '2' and target == 'u'").index).reset_index(drop=True)
    recall = Recall(atlas).without(*left_out)
    for network in ("0", "7"):
        mine = atlas["seed"] == network
        others = atlas[~mine & ~atlas["seed"].isin(left_out)]
        expected = learned(atlas[mine], others)
        pd.testing.assert_series_equal(recall[mine], expected, check_names=False)
