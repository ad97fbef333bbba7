"""The published protocol of the invariance study: what it plans, and that all of it runs, reduced."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from matplotlib import pyplot as plt
from reduced import TRANSFORMER, network_problems, read, reduced
from workflow import new_project

from headstart.artifacts import store
from headstart.artifacts.files import file_sha256
from headstart.maintenance import presets
from headstart.networks.build import build
from headstart.params.core import CoreParams
from headstart.params.models import Timm
from headstart.params.recipe import Augmentation
from headstart.plan import Plan
from headstart.registry import function_of, parse
from headstart.statistics.claim_results import ClaimResult
from headstart.studies.invariance.claims import ClaimEvaluator
from headstart.studies.invariance.figures import dynamics as invariance_dynamics
from headstart.studies.invariance.figures import flow as invariance_flow
from headstart.studies.invariance.figures import layers as invariance_layers
from headstart.studies.invariance.figures import robustness as invariance_robustness
from headstart.studies.invariance.figures import shared as invariance
from headstart.studies.invariance.figures import trust as invariance_trust
from headstart.training.checkpoints import save

OPEN = {"undetermined", "not identifiable here", "not measured here"}
NAMES = ("merlin_paper", "merlin_code", "merlin_dynamics")
DONE = ("data", "check", "pretrain", "trajectory", "inversions", "invariance", "tables")


def one_run(name: str) -> dict[str, Any]:
    """Return a reduced preset with one run of each arm, for time; claims over several are tested on tables."""
    raw = reduced(read(name))
    for arms in raw["trajectory"].values():
        for arm in arms.values():
            arm["target_seeds"] = [0]
    return raw


def preset(name: str) -> CoreParams:
    return parse(presets.read(presets.find(name)))


def test_the_published_settings_are_those_of_the_text_and_of_the_code() -> None:
    paper, code = preset("merlin_paper"), preset("merlin_code")
    for params, steps, decay in ((paper, "paper", 1e-4), (code, "long", 5e-4)):
        for part in params.section("invariance").values():
            inversions = part.inversions
            assert (inversions.optimizer, inversions.images) == (steps, 500)
            assert len(inversions.seeds) == 3
        arm = params.trajectory["imagenet"]["finetune"]
        assert (arm.epochs, arm.learning_rate, arm.optimizer.momentum) == (100, 1e-3, 0.9)
        assert (arm.optimizer.weight_decay, arm.optimizer.nesterov) == (decay, False)
    assert code.trajectory["imagenet"]["finetune"].clip_norm == 1
    assert paper.trajectory["imagenet"]["reconstruct"].mode == "reconstruct"
    targets = [job.wildcards["target"] for job in Plan(paper).jobs("trajectory")]
    assert {name: targets.count(name) for name in set(targets)} == {
        "cifar10": 8,
        "cifar100": 8,
        "pet": 6,
        "eurosat": 6,
    }


def test_three_runs_of_given_weights_are_the_unit() -> None:
    for name in ("merlin_paper", "merlin_code"):
        arms = preset(name).trajectory
        assert {arm.target_seeds for arm in arms["imagenet"].values()} == {(0, 1, 2)}
        assert {arm.target_seeds for arm in arms["from_cifar10"].values()} == {(0,)}


def test_figure_15_has_five_settings_of_adam_without_weight_decay() -> None:
    arms = preset("merlin_dynamics").trajectory["imagenet"]
    adam = {name: arm for name, arm in arms.items() if name.startswith("adam")}
    assert [arm.learning_rate for arm in adam.values()] == [1e-5, 2e-5, 5e-5, 1e-3, 1e-3]
    assert {(arm.optimizer.name, arm.optimizer.weight_decay) for arm in adam.values()} == {
        ("adamw", 0)
    }
    assert [arm.augmentation == Augmentation() for arm in adam.values()] == [False] * 4 + [True]


def test_the_dynamics_keep_every_epoch_and_the_20_of_each_setting_of_sgd() -> None:
    params = preset("merlin_dynamics")
    arms = params.trajectory["imagenet"]
    assert arms["finetune"].kept_epochs() == (*range(101),)
    assert {arm.kept_epochs() for name, arm in arms.items() if name != "finetune"} == {
        (*range(21),)
    }
    inverted = Plan(params).jobs("inversions")
    epochs = {job.name.split("-")[3]: len(job.params["epochs"]) for job in inverted}
    assert (epochs["finetune"], epochs["sgd_1e5"], epochs["pretrained"]) == (101, 1, 1)


@pytest.mark.parametrize("name", NAMES)
def test_random_weights_do_not_pass_for_those_of_imagenet(name: str) -> None:
    weights = preset(name).models["imagenet"].weights
    assert weights is not None
    assert weights.sha256 == "0" * 64


@pytest.mark.parametrize("name", NAMES)
def test_every_preset_plans_each_comparison_with_what_it_reads(name: str) -> None:
    plan = Plan(preset(name))
    for job in plan.jobs("invariance"):
        arms = {run.wildcards["arm"] for run in job.inputs["trajectory"]}
        inverted = {one.wildcards["arm"] for one in job.inputs["inversions"]}
        assert inverted == arms | {"pretrained"}
        assert arms <= set(plan.params.section("invariance")[job.wildcards["model"]].arms)
    assert len(plan.jobs("invariance")) == {"merlin_paper": 6, "merlin_code": 4}.get(name, 2)


def test_snakemake_plans_the_protocol_without_data_or_weights(tmp_path: Path) -> None:
    planned = new_project(tmp_path / "project", "merlin_paper")
    output, plan = planned.snakemake("-n"), Plan(preset("merlin_paper"))
    for step in ("trajectory", "inversions", "invariance"):
        assert re.search(rf"^{step} +{len(plan.jobs(step))}$", output, re.MULTILINE)


def with_weights(raw: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Give the model of ImageNet weights of its own, in place of those that timm publishes."""
    model = Timm(kind="timm", name="vit_base_patch32_224", kwargs=TRANSFORMER)
    path = folder / "weights.safetensors"
    save(build(model, 1, 12, 3, seed=77).state_dict(), path)
    raw["models"]["imagenet"]["weights"] = {"path": str(path), "sha256": file_sha256(path)}
    return raw


def tables_of(plan: Plan) -> dict[str, pd.DataFrame]:
    for job in plan.jobs(*DONE):
        if job.step != "tables" or job.name == "invariance":
            artifact = store.run(job, function_of(job))
    return {path.stem: pd.read_parquet(path) for path in artifact.path.glob("*.parquet")}


def draw(tables: dict[str, pd.DataFrame]) -> None:
    """Draw every figure of every target."""
    published = tables["published"]
    for target in tables["runs"]["target"].unique():
        mine = {n: t[t["target"] == target] for n, t in tables.items() if "target" in t}
        measured, runs, robust = (mine[n] for n in ("measurements", "runs", "robustness"))
        does = sorted(set(invariance.named(runs)["does"]))
        layers = invariance_layers.layers_figure(measured, runs, published, does)
        assert layers is not None
        assert set(layers[1]["drawn"]) == {"here", "run", "published form", "published"}
        assert invariance_flow.flow_figure(measured, runs) is not None
        invariance_trust.trust_figure(measured, mine["residuals"], runs)
        invariance_dynamics.dynamics_figure(measured, robust, runs, published)
        courses = (mine[n] for n in ("aggregate", "transients", "correlations"))
        invariance_robustness.robustness_figure(*courses, runs, published)
        plt.close("all")


def judged(tables: dict[str, pd.DataFrame], model: str) -> dict[str, ClaimResult]:
    """Judge every claim on one model."""
    opened = ClaimEvaluator(tables, {}, {"model": model})
    return {name: evaluate(opened) for name, evaluate in ClaimEvaluator.evaluators.items()}


def test_the_protocol_reduced_runs_from_given_weights_from_a_source_and_from_scratch(
    project: Path,
) -> None:
    tables = tables_of(Plan(parse(with_weights(one_run("merlin_paper"), project))))
    runs = tables["runs"].set_index(["model", "arm"])
    assert runs["given_weights"].to_dict() == {
        ("imagenet", "finetune"): True,
        ("imagenet", "reconstruct"): True,
        ("from_cifar10", "finetune"): False,
        ("from_cifar10", "scratch"): False,
        ("from_cifar100", "finetune"): False,
        ("from_cifar100", "scratch"): False,
    }
    assert runs.index[runs["random_start"]].get_level_values("arm").unique().tolist() == ["scratch"]
    assert runs["test_accuracy"].isna().sum() == 1
    assert pd.isna(runs.at[("imagenet", "reconstruct"), "test_accuracy"])
    found = tables["measurements"]
    kept = found[(found["metric"] == "forgetting") & found["value"].notna()]
    # Two steps invert nothing: what was published so is kept, and said.
    assert kept["reason"].str.contains("did not converge").all()
    draw(tables)
    given = judged(tables, "imagenet")
    # Every model has one network, which decides nothing; but each claim finds its runs, and only those.
    assert {each.status for each in given.values()} == OPEN
    assert given["new_task_learns_more"].status == "undetermined"
    assert given["reusable_early_invariances"].status == "not measured here"
    scratch = judged(tables, "from_cifar10")
    assert scratch["new_task_learns_more"].status == "not measured here"
    # All tokens of one network: measured, but no profile over depth.
    assert scratch["reusable_early_invariances"].status == "not identifiable here"


def test_the_code_reduced_ends_at_the_best_epoch_by_validation(project: Path) -> None:
    raw = with_weights(one_run("merlin_code"), project)
    for section in ("models", "pretrain", "trajectory", "invariance"):
        raw[section] = {"imagenet": raw[section]["imagenet"]}
    tables = tables_of(Plan(parse(raw)))
    found, runs = tables["measurements"], tables["runs"].set_index("arm")
    for arm, name, best in (
        ("finetune", "validation_accuracy", max),
        ("reconstruct", "validation_loss", min),
    ):
        (path,) = project.glob(f"results/trajectory/*-{arm}-*/history.parquet")
        reached = pd.read_parquet(path).set_index("epoch")[name]
        assert runs.at[arm, name] == reached[runs.at[arm, "target_epoch"]] == best(reached)
        ended = found[(found["arm"] == arm) & (found["metric"] == "excess_compression")]
        assert set(ended["target_epoch"]) == {runs.at[arm, "target_epoch"]}
    draw(tables)
    assert {each.status for each in judged(tables, "imagenet").values()} == OPEN


def test_the_dynamics_reduced_follow_every_arm_and_correlate_it(project: Path) -> None:
    tables = tables_of(Plan(parse(with_weights(one_run("merlin_dynamics"), project))))
    arms = {"finetune", "sgd_1e5", "sgd_5e5", "sgd_1e3", "sgd_1e3_plain", "adam_1e5", "adam_2e5",
            "adam_5e5", "adam_1e3", "adam_1e3_plain"}  # fmt: skip
    robustness = tables["robustness"]
    assert set(robustness["arm"]) == arms
    assert set(robustness["target_epoch"]) == {1, 2}
    learnt = tables["measurements"].query("metric == 'learning' and target_epoch == 1")
    assert set(learnt["arm"]) == {"finetune"}
    draw(tables)
    judged(tables, "imagenet")
    assert tables["correlations"].empty  # two epochs correlate with anything


PLAIN = """
from torch import nn

class Plain(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.filters = nn.Conv2d(channels, 2, 3)

    def forward(self, images):
        return self.filters(images).flatten(1)

def build(channels, image_size):
    return Plain(channels)
"""


def test_reconstruction_and_blocks_need_a_transformer(project: Path) -> None:
    raw = one_run("merlin_paper")
    (project / "nets.py").write_text(PLAIN)
    sha256 = file_sha256(project / "nets.py")
    own = {"kind": "file", "path": "nets.py", "function": "build", "sha256": sha256}
    raw["models"]["imagenet"] = own
    raw["invariance"]["from_cifar10"]["inversions"]["layers"] = [1, 7]
    problems = network_problems(raw, (1, 12, 12))
    assert problems == [
        "trajectory.imagenet.reconstruct.mode: Plain gives no patch tokens, which mode reconstruct "
        "draws the image from; choose a vision transformer of timm",
        "invariance.imagenet: Plain has no blocks to invert; choose a model of timm, or a network that "
        "states `block_names`",
        "invariance.from_cifar10.inversions.layers: [7] do not exist: the network has layers 1 to 3",
    ]
