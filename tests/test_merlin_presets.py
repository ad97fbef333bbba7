"""The published protocol of the invariance study: what it plans, and that all of it runs, shrunken."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from checkout import ROOT
from shrunken import TRANSFORMER, read, shrunken
from workflow import new_project

from headstart.artifacts import store
from headstart.artifacts.files import file_sha256
from headstart.networks.build import build
from headstart.params import Params, load, parse
from headstart.params.models import Timm
from headstart.plan import STEPS, Plan
from headstart.studies.check import _network_problems
from headstart.training.checkpoints import save

NAMES = ("merlin_paper", "merlin_code", "merlin_dynamics")
DONE = ("data", "check", "pretrain", "trajectory", "inversions", "invariance", "tables")


def preset(name: str) -> Params:
    return load(ROOT / "presets" / f"{name}.yaml")


def test_the_published_settings_are_those_of_the_text_and_of_the_code() -> None:
    paper, code = preset("merlin_paper"), preset("merlin_code")
    for params, steps, decay in ((paper, "paper", 1e-4), (code, "long", 5e-4)):
        for part in params.invariance.values():
            inversions = part.inversions
            assert (inversions.descent, inversions.images) == (steps, 500)
            assert len(inversions.seeds) == 3
        arm = params.trajectory["imagenet"]["finetune"]
        assert (arm.epochs, arm.learning_rate, arm.optimizer.momentum) == (100, 1e-3, 0.9)
        assert (arm.optimizer.weight_decay, arm.optimizer.nesterov) == (decay, False)
    assert code.trajectory["imagenet"]["finetune"].clip_norm == 1
    assert paper.trajectory["imagenet"]["reconstruct"].mode == "reconstruct"
    targets = [job.wildcards["target"] for job in Plan(paper).jobs("trajectory")]
    assert {name: targets.count(name) for name in set(targets)} == {
        "cifar10": 4,
        "cifar100": 4,
        "pet": 2,
        "eurosat": 2,
    }


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
        module, _, function = STEPS[job.step].function.partition(":")
        if job.step != "tables" or job.name == "invariance":
            artifact = store.run(job, getattr(importlib.import_module(module), function))
    names = ("runs", "measurements", "robustness", "correlations")
    return {name: pd.read_parquet(artifact.file(f"{name}.parquet")) for name in names}


def test_the_protocol_shrunken_runs_from_given_weights_from_a_source_and_from_scratch(
    project: Path,
) -> None:
    tables = tables_of(Plan(parse(with_weights(shrunken(read("merlin_paper")), project))))
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
    kept = found[(found["measure"] == "forgetting") & found["value"].notna()]
    # Two steps invert nothing: what was published so is kept, and said.
    assert kept["reason"].str.contains("did not converge").all()


def test_the_dynamics_shrunken_follow_every_arm_and_correlate_it(project: Path) -> None:
    tables = tables_of(Plan(parse(with_weights(shrunken(read("merlin_dynamics")), project))))
    arms = {"finetune", "sgd_1e5", "sgd_5e5", "sgd_1e3", "sgd_1e3_plain"}
    robustness = tables["robustness"]
    assert set(robustness["arm"]) == arms
    assert set(robustness["target_epoch"]) == {1, 2}
    learnt = tables["measurements"].query("measure == 'learning' and target_epoch == 1")
    assert set(learnt["arm"]) == {"finetune"}
    assert tables["correlations"].empty  # two epochs correlate with anything


def test_reconstruction_and_blocks_need_a_transformer() -> None:
    raw = shrunken(read("merlin_paper"))
    raw["models"]["imagenet"] = {"kind": "convnet", "width": 2}
    raw["invariance"]["from_cifar10"]["inversions"]["layers"] = [1, 7]
    problems = _network_problems(parse(raw), dict.fromkeys(raw["datasets"], (1, 12, 12)))
    assert problems == [
        "trajectory.imagenet.reconstruct.mode: ConvNet gives no patch tokens, which mode reconstruct "
        "draws the image from; choose a vision transformer of timm",
        "invariance.imagenet: ConvNet has no numbered blocks to invert; choose a vision transformer "
        "of timm, or a network that is an nn.Sequential",
        "invariance.from_cifar10.inversions.layers: [7] do not exist: the network has layers 1 to 3",
    ]
