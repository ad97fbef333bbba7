"""The step `scores`: one row per start and set of target images, of arms that fine-tune several starts."""

from __future__ import annotations

import copy
from pathlib import Path

import pandas as pd
import pytest
from tiny_study import STUDY, make_sources

from headstart.artifacts import store
from headstart.plan import Plan
from headstart.registry import Params
from headstart.studies.early_stopping import scores
from headstart.studies.early_stopping.cost import scores as cost


def plan(**options: object) -> Plan:
    study = copy.deepcopy(STUDY) | {"scores": {"enabled": True, **options}}
    study["transfer"]["convnet"]["finetune"]["nested_draws"] = True
    study["transfer"]["convnet"]["finetune"]["also"] = [{"shots": [3], "source_epochs": [0, 1]}]
    study["transfer"]["convnet"]["relearn"] = {
        **{k: v for k, v in study["transfer"]["convnet"]["finetune"].items() if k != "targets"},
        "mode": "relearn",
    }
    return Plan(Params.model_validate(study))


def test_every_start_is_scored_on_the_images_of_its_draws(project: Path) -> None:
    of = plan()
    make_sources(of)
    jobs = of.jobs("scores")
    assert [job.name for job in jobs] == ["source-convnet-seed0", "source-convnet-seed1"]
    for job in jobs:
        store.run(job, scores.make)
        table = pd.read_parquet(store.open_artifact(job).file("scores.parquet"))
        seed = int(job.wildcards["seed"])
        assert set(table["draw"]) == {1000 * seed, 1000 * seed + 1}
        assert set(table["target"]) == {"target"}
        starts = table.groupby(["shots", "draw"])["source_epoch"].agg(list)
        assert all(0 in each and 2 in each for each in starts["2"])
        assert starts["3"].tolist() == [[0, 1], [0, 1]]
        assert (
            table[["logme", "leep", "ridge_probe", "knn_probe", "source_accuracy"]]
            .notna()
            .all(axis=None)
        )
        assert cost(job, of.params).runs == 2 * 3 + 2 * 2


def test_scores_are_switched_on_and_have_the_models_that_are_named() -> None:
    assert not Plan(Params.model_validate(STUDY)).jobs("scores")
    assert len(plan(models=["convnet"]).jobs("scores")) == 2


def test_scores_change_no_key_of_what_they_read() -> None:
    on, off = plan(), plan(enabled=False)
    for step in ("data", "pretrain", "transfer"):
        assert [job.key for job in on.jobs(step)] == [job.key for job in off.jobs(step)]


def test_a_model_that_nothing_pretrains_is_refused() -> None:
    with pytest.raises(ValueError, match=r"scores\.models"):
        plan(models=["vit"])
