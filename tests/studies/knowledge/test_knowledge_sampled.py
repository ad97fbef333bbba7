"""The study of knowledge with more players than a table holds: some masks, sparse coefficients, and a gate."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pandas as pd
import planted_knowledge as planted
import pytest
import torch
from planted_knowledge import IMAGES, maker, measured, whole
from tiny_study import STUDY
from torch import Tensor

from headstart.artifacts import store
from headstart.artifacts.files import read_json, read_table
from headstart.artifacts.keys import derive_seed
from headstart.metrics.interactions.sampled import draw_masks
from headstart.metrics.interactions.subsets import low_order_terms
from headstart.plan import Plan
from headstart.registry import Params
from headstart.statistics.measurements import select
from headstart.steps import controls, data, pretrain, trajectory
from headstart.steps.claims import evaluate, read_claims
from headstart.studies.knowledge import measure, values
from headstart.studies.knowledge.claims import ClaimEvaluator
from headstart.studies.knowledge.figures import exclusivity, learning_dynamics, orders, sparsity
from headstart.studies.knowledge.figures.summary import shares
from headstart.studies.knowledge.tables import comparisons
from headstart.training.checkpoints import load

mpl.use("Agg")
pytestmark = pytest.mark.usefixtures("project")
GRID = {"kind": "grid", "rows": 7, "columns": 7}
MASKS, TERMS = 700, 20
BASIS = low_order_terms(49, 2)
ALL_MASKS = "needs the scores of all 2^n masks"


def drawn_masks() -> Tensor:
    return draw_masks(49, MASKS, torch.Generator().manual_seed(0))


def ones(*blocks: range) -> Tensor:
    """Return coefficients of 1 on some numbered terms of each image, which are those of no other image."""
    table = torch.zeros(IMAGES, len(BASIS), dtype=torch.float64)
    for image, row in enumerate(table):
        order = torch.randperm(len(BASIS) - 1, generator=torch.Generator().manual_seed(image)) + 1
        for block in blocks:
            row[order[list(block)]] = 1
    return table


def sparse(arm: str, init_epoch: str, seed: int, epoch: int) -> Tensor:
    """Fine-tuned has 20 terms, a second run 15 of them; the pretrained network 5, scratch 2 of these."""
    own = range(100 + 40 * seed, 100 + 40 * seed + 20)
    if arm == "probe":
        kept = ones(range(5), own[:15]) if init_epoch == "best" else ones(own)
        return kept
    if arm.startswith("scratch"):
        return ones(range(2), own[:18]) * (0.5 + 0.1 * epoch)
    return ones(range(15), own[:5]) if arm.endswith("again") else ones(range(20))


def of_49(**options: Any) -> Plan:
    return planted.study(STUDY, players=GRID, masks=MASKS, max_order=2, **options)


@pytest.fixture(scope="module")
def sampled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a project in which planted networks of 49 players are compared."""
    folder = tmp_path_factory.mktemp("sampled")
    with contextlib.chdir(folder):
        measured(of_49(), maker(sparse, masks=drawn_masks(), terms=BASIS))
    return folder


@pytest.fixture(scope="module")
def table(sampled: Path) -> pd.DataFrame:
    with contextlib.chdir(sampled):
        return read_table(of_49().jobs("knowledge")[0].path / "measurements.parquet")


def test_planted_shares_of_49_players_come_out_as_computed_by_hand(table: pd.DataFrame) -> None:
    found = {
        condition: whole(table, "preserved_of_pretrained", condition, variant="walsh")["value"]
        for condition in ("measured", "ceiling_second_run", "null_other_image", "null_permuted")
    }
    assert found["measured"] == pytest.approx(5 / 20)
    assert found["ceiling_second_run"] == pytest.approx(15 / 20)
    assert found["null_permuted"] < 0.1
    assert whole(table, "exclusivity", variant="walsh")["value"] == pytest.approx(2 / 5)
    assert whole(table, "new_of_finetuned", variant="walsh")["value"] == pytest.approx(15 / 20)
    excess = whole(table, "preserved_of_pretrained", "excess_permuted", variant="walsh")["value"]
    chance = found["null_permuted"]
    assert excess == pytest.approx((0.25 - chance) / (0.75 - chance))


def test_what_needs_all_masks_says_so_and_r2_is_in_the_table(table: pd.DataFrame) -> None:
    rows = select(table, metric="explained_by_strongest_tenth")
    assert len(rows)
    assert rows["reason"].str.startswith(ALL_MASKS).all()
    assert select(table, metric="noise")["reason"].str.startswith(ALL_MASKS).all()
    unseen = select(table, metric="explained_unseen_masks", target_epoch=None, seed=None)
    assert set(unseen["role"]) == {
        *("finetuned", "probe", "scratch", "second", "second_scratch", "null")
    }
    assert unseen["value"].tolist() == pytest.approx([1.0] * len(unseen))
    missing = table[table["value"].isna()]
    assert (missing["reason"] != "").all()
    assert table["order"].dropna().max() == 3  # players hidden; interactions go up to 2
    assert select(table, metric="strength_preserved")["order"].dropna().max() == 2


def verdicts(table: pd.DataFrame) -> dict[str, Any]:
    return evaluate(read_claims(), "knowledge", ClaimEvaluator, {"measurements": table}, {})[1]


def test_claims_of_49_players_are_firm_where_masks_explain_and_never_where_they_do_not(
    table: pd.DataFrame,
) -> None:
    found = verdicts(table)
    assert found["K1"].status == "supported"
    assert found["K4"].status == "supported"
    for name in ("K2", "K3"):  # no order of 3 or more was fitted
        assert found[name].status == "not measured here"
    assert found["K8"].status == "not measured here"
    spoilt = table.copy()
    fine = (spoilt["metric"] == "explained_unseen_masks") & (spoilt["role"] == "probe")
    spoilt.loc[fine, "value"] = 0.4
    for name, result in verdicts(spoilt).items():
        assert result.status in ("undetermined", "not measured here"), name
    assert verdicts(spoilt)["K1"].reason.startswith(
        "Masks explain too little: of the variance over masks that the fit never saw, the "
        "coefficients explain 40.0"
    )


def test_networks_of_pure_noise_get_no_firm_verdict() -> None:
    def noise(arm: str, init_epoch: str, seed: int, epoch: int) -> Tensor:
        generator = torch.Generator().manual_seed(derive_seed("noise", arm, init_epoch, seed))
        return torch.randn(IMAGES, MASKS, generator=generator).double()

    plan = of_49(permutations=1, resamples=20)
    of_masks = maker(noise, masks=drawn_masks(), terms=None)
    table = read_table(measured(plan, of_masks).file("measurements.parquet"))
    unseen = select(table, metric="explained_unseen_masks", seed=None, target_epoch=None)
    assert (unseen["value"] < 0.1).all()
    for name, result in verdicts(table).items():
        assert result.status in ("undetermined", "not measured here"), name


def test_controls_of_sampled_masks_use_the_fits_that_were_made(
    sampled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(sampled)
    few = {**STUDY, "statistics": {"control_resamples": 3}}
    plan = planted.study(few, players=GRID, masks=MASKS, max_order=2)
    planted.tables(plan)
    (job,) = [job for job in plan.jobs("controls") if job.name == "knowledge"]
    monkeypatch.setattr("headstart.metrics.interactions.sampled.Design.fit", None)
    found = controls.read(store.run(job, controls.make))
    assert set(found["judge"]) >= {"little_survives", "scratch_finds_little"}
    assert "few_and_matching" not in set(found["judge"])


def smoke() -> Plan:
    """Return a study of twenty players on networks that train, with 120 of the 2^20 masks."""
    arm = {"targets": ["target"], "learning_rate": 0.1, "epochs": 2, "batch_size": 8}
    arms = {
        "finetune": {**arm, "source_epochs": ["best"], "target_seeds": [0, 1]},
        "scratch": {**arm, "source_epochs": [0], "target_seeds": [0, 1]},
        "probe": {**arm, "mode": "probe", "source_epochs": [0, "best"]},
    }
    options = {"images": 4, "players": {"kind": "grid", "rows": 4, "columns": 5}, "masks": 120}
    options |= {"max_order": 2, "permutations": 2, "resamples": 20}
    raw = {**STUDY, "transfer": {}, "trajectory": {"convnet": arms}}
    return Plan(Params.model_validate({**raw, "knowledge": {"convnet": options}}))


def test_twenty_players_go_from_masked_images_to_a_table_claims_and_figures() -> None:
    plan = smoke()
    functions = {"data": data.make, "pretrain": pretrain.make, "trajectory": trajectory.make}
    functions |= {"values": values.make, "knowledge": measure.make}
    for job in plan.jobs(*functions):
        store.run(job, functions[job.step])
    masks = [load(job.path / "images.safetensors")["masks"] for job in plan.jobs("values")]
    assert masks[0].shape == (120, 20)
    assert all(torch.equal(each, masks[0]) for each in masks)
    states = read_json(plan.jobs("values")[0].path / "states.json")["states"]
    scores = load(plan.jobs("values")[0].path / states[0]["file"])
    assert scores["values"].shape == (4, 120)
    found = planted.tables(plan)
    tables = {
        name: read_table(found.file(f"{name}.parquet"))
        for name in (
            "measurements",
            "sparsity",
            "shapley",
            "example_pixels",
            "example_interactions",
        )
    }
    results = verdicts(tables["measurements"])
    assert results["K1"].reason
    assert set(tables["shapley"]["player"]) == set(range(20))
    (name,) = comparisons(tables["measurements"])
    example = tables["example_pixels"], tables["example_interactions"]
    _, drawn = orders.orders_figure(tables["measurements"], *example, name, 0.95)
    assert drawn["order"].max() == 2
    _, drawn = sparsity.sparsity_figure(tables["sparsity"], 0.95)
    assert drawn["explained"].isna().all()
    assert drawn["explained_walsh"].notna().all()
    exclusivity.exclusivity_figure(tables["measurements"], 0.95)
    learning_dynamics.dynamics_figure(tables["measurements"], name, "best", 0.95)
    assert len(shares(tables["measurements"]))
