"""The joined study end to end on the smallest networks, and what its section refuses."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from tiny_study import STUDY, make_sources, runs

from headstart.artifacts import store
from headstart.artifacts.files import read_table
from headstart.networks.build import build
from headstart.networks.network import Network
from headstart.plan import Plan
from headstart.registry import Params, parse
from headstart.steps.check import Facts
from headstart.studies.early_stopping import transfer
from headstart.studies.joined import checks, measure

JOINED: dict[str, Any] = {
    "target": "target",
    "shots": 2,
    "source_epochs": [2, 4],
    "fixed_rate": 0.1,
    "images": 4,
    "rows": 2,
    "columns": 1,
    "permutations": 2,
    "inversions": {"images": 6, "steps": 3},
    "intervention": {"source_epoch": 2, "images": 4, "steps": 3, "batch_size": 8, "tuned": True},
}


def study(**options: Any) -> dict[str, Any]:
    raw = copy.deepcopy(STUDY)
    arm = raw["transfer"]["convnet"]["finetune"]
    arm |= {"source_epochs": [0, 2, 4], "draws": [0], "learning_rates": [0.1, 0.02]}
    return {**raw, "joined": {"convnet": {**JOINED, **options}}}


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return measurements of one source network, and the runs of its arm of transfer."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("joined"))
        plan = Plan(Params.model_validate(study()))
        make_sources(plan)
        tuned = plan.jobs("transfer")[0]
        store.run(tuned, transfer.make)
        job = plan.jobs("joined")[0]
        store.run(job, measure.make)
        return read_table(Path(job.path) / "joined.parquet"), runs(tuned)


def value(rows: pd.DataFrame, metric: str, epoch: int, **where: str) -> float:
    chosen = rows[(rows["metric"] == metric) & (rows["source_epoch"] == epoch)]
    for name in ("intervention", "rate"):
        chosen = chosen[chosen[name] == where.get(name, "")]
    (found,) = chosen["value"]
    return float(found)


def test_every_start_has_one_value_of_everything(
    measured: tuple[pd.DataFrame, pd.DataFrame],
) -> None:
    rows, _ = measured
    assert not rows.duplicated(["source_epoch", "intervention", "rate", "metric"]).any()
    assert set(rows["source_epoch"]) == {0, 2, 4}
    started = rows[(rows["intervention"] == "") & (rows["source_epoch"] > 0)]
    assert started.groupby("metric").size().eq(2).all()
    assert (rows.loc[rows["value"].isna(), "reason"] != "").all()
    assert rows["value"].notna().mean() > 0.9


def test_the_first_run_of_a_start_is_that_of_transfer_and_tuned_rates_are_those_of_validation(
    measured: tuple[pd.DataFrame, pd.DataFrame],
) -> None:
    rows, made = measured
    at_rate = made[made["learning_rate"] == 0.1].set_index("source_epoch")["test_accuracy"]
    for epoch in (0, 2, 4):
        between = value(rows, "between_runs", epoch) / 100
        first = value(rows, "accuracy_fixed", epoch) + between / 2
        assert first == pytest.approx(at_rate[epoch])
        mine = made[made["source_epoch"] == epoch]
        best = mine.loc[mine["validation_accuracy"] == mine["validation_accuracy"].max()]
        assert value(rows, "accuracy_tuned", epoch) in best["test_accuracy"].to_list()
    assert value(rows, "gain_tuned", 0) == 0.0
    scratch = value(rows, "accuracy_tuned", 0)
    assert value(rows, "gain_tuned", 2) == pytest.approx(
        100 * (value(rows, "accuracy_tuned", 2) - scratch)
    )


def test_one_start_is_changed_in_every_way_at_both_rates(
    measured: tuple[pd.DataFrame, pd.DataFrame],
) -> None:
    rows, made = measured
    changed = rows[(rows["intervention"] != "") & (rows["metric"] == "accuracy")]
    assert set(changed["source_epoch"]) == {2}
    ways = {"untouched", "preserved_removed", "random_removed", "nothing_removed"}
    ways |= {"rescaled", "shrink_perturb", "fresh_block", "recalibrated"}
    assert set(changed["intervention"]) == ways
    assert set(changed["rate"]) == {"fixed", "tuned"}
    last = made[(made["learning_rate"] == 0.1) & (made["source_epoch"] == 2)]["final_test_accuracy"]
    found = value(rows, "accuracy", 2, intervention="untouched", rate="fixed")
    assert found == pytest.approx(float(last.iloc[0]))
    left = rows[rows["metric"] == "knowledge_left"].set_index("intervention")["value"]
    assert set(left.index) == ways
    assert left["untouched"] > left.drop("untouched").mean()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"source_epochs": [2, 3]}, r"joined.convnet.source_epochs: \[3\] are not kept"),
        ({"source_epochs": [1, 2]}, r"does not fine-tune \[1\] on target with 2 shots"),
        ({"shots": 3}, r"does not fine-tune \[0, 2, 4\] on target with 3 shots"),
        ({"arm": "probe"}, "'probe' is no arm of transfer.convnet that fine-tunes"),
        ({"seeds": [7]}, r"joined.convnet.seeds: no network is pre-trained from \[7\]"),
        (
            {"intervention": {"source_epoch": 1}},
            r"intervention.source_epoch: 1 is not one of \[2, 4\]",
        ),
    ],
)
def test_what_is_asked_of_runs_that_are_not_there_is_refused(
    options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        parse(study(**options))


def test_players_smaller_than_a_pixel_and_networks_without_blocks_are_told_before_training() -> (
    None
):
    sections = {"joined": {"convnet": {**JOINED, "rows": 4}}}
    params = parse(study())
    facts = Facts(params, {}, {"glyphs": (1, 3, 3)})
    (problem,) = checks.data_problems(sections, facts)
    assert problem.startswith("joined.convnet: a grid of 4 rows and 1 columns on images of 3 × 3")
    blind = Network(torch.nn.Flatten(), torch.nn.Linear(9, 2))
    (problem,) = checks.network_problems(sections, facts, "convnet", blind)
    assert "has no blocks" in problem
    whole = build(params.models["convnet"], 1, 8, classes=2, seed=0)
    assert [*checks.network_problems(sections, facts, "convnet", whole)] == []


def test_a_model_without_source_networks_is_refused() -> None:
    raw = study()
    raw["joined"] = {"resnet": raw["joined"]["convnet"]}
    with pytest.raises(ValueError, match="'resnet' is not in `pretrain`"):
        parse(raw)
