"""Given weights meet pixels as they were trained on them, so that an untouched network keeps its accuracy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tiny_study
import torch
import torch.nn.functional as F
from pydantic import ValidationError
from safetensors.torch import save_file

from headstart.artifacts import store
from headstart.artifacts.files import file_sha256, read_json, read_table
from headstart.networks.build import build
from headstart.params.reading import ParamsError
from headstart.params.recipe import Augmentation, Pretrain
from headstart.plan import Plan
from headstart.registry import Params, parse
from headstart.steps import data, pretrain, trajectory
from headstart.tasks.batches import EvaluationBatches, Normalization, TrainBatches
from headstart.tasks.task import Task, make_task, read
from headstart.training.evaluation import evaluate

CONVNET = {"kind": "convnet", "width": 8}
VIT = {
    "kind": "timm",
    "name": "vit_tiny_patch16_224",
    "kwargs": {"patch_size": 4, "embed_dim": 24, "depth": 2, "num_heads": 2},
}
THEIRS = Normalization((0.5,), (0.5,))
PIXELS = {"mean": 0.5, "deviation": 0.5}


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def study(model: dict[str, Any], **options: Any) -> dict[str, Any]:
    given = {"sources": ["source"], "seeds": [0], "epochs": 0, "learning_rate": 0.1, **options}
    return {
        **tiny_study.STUDY,
        "datasets": {
            "glyphs": {"kind": "glyphs", "size": 16, "train_per_class": 60, "test_per_class": 20}
        },
        "models": {"convnet": model},
        "pretrain": {"convnet": given},
        "transfer": {},
    }


def their_network(model: dict[str, Any], task: Task) -> tuple[torch.nn.Module, float]:
    """Train a network on pixels in [-1, 1], as AugReg's transformers were; return it and its test accuracy."""
    torch.manual_seed(0)
    typed = Params.model_validate(study(model)).models["convnet"]
    network = build(typed, 1, 16, len(task.classes), 0)
    batches = TrainBatches(task.train, THEIRS, 32, Augmentation(), "cpu", 0)
    optimizer = torch.optim.AdamW(network.parameters(), 3e-3)
    for epoch in range(12 if model["kind"] == "convnet" else 60):
        network.train()
        for images, labels in batches.epoch(epoch):
            optimizer.zero_grad()
            F.cross_entropy(network(images), labels).backward()
            optimizer.step()
    return network, evaluate(network, EvaluationBatches(task.test, THEIRS, 64, "cpu")).accuracy


def accuracy_through_the_study(model: dict[str, Any], **options: Any) -> float:
    """Return the test accuracy of a given network that pre-training leaves untouched."""
    plan = Plan(Params.model_validate(study(model, **options)))
    for step, module in (("data", data), ("pretrain", pretrain)):
        for job in plan.jobs(step):
            if not job.manifest.exists():
                store.run(job, module.make)
    (job,) = plan.jobs("pretrain")
    return float(read_table(job.path / "history.parquet")["test_accuracy"].iloc[0])


def source_task(model: dict[str, Any]) -> Task:
    plan = Plan(Params.model_validate(study(model)))
    (job,) = plan.jobs("data")
    store.run(job, data.make)
    return make_task("source", plan.params.tasks["source"], read(job.path))


@pytest.mark.parametrize(
    ("model", "stated"), [(CONVNET, PIXELS), (VIT, None)], ids=["convnet", "timm"]
)
def test_an_untouched_network_keeps_its_accuracy(
    model: dict[str, Any], stated: dict[str, float] | None
) -> None:
    """timm states how its transformer's pixels were normalised, of a file the params do."""
    network, accuracy = their_network(model, source_task(model))
    assert accuracy > 0.8
    save_file({k: v.contiguous() for k, v in network.state_dict().items()}, "theirs.safetensors")
    weights = {"path": "theirs.safetensors", "sha256": file_sha256(Path("theirs.safetensors"))}
    given = {**model, "weights": {**weights, **({"pixels": stated} if stated else {})}}
    assert accuracy_through_the_study(given) == pytest.approx(accuracy, abs=0.001)
    assert accuracy_through_the_study(given, normalization="weights") == pytest.approx(accuracy)
    assert accuracy_through_the_study(
        {**model, "weights": weights}, normalization=PIXELS
    ) == pytest.approx(accuracy)
    # The source's own statistics are others, and the network sees other pixels under them.
    assert accuracy_through_the_study(given, normalization="source") < accuracy - 0.1


def test_an_arm_states_numbers_and_its_images_are_normalised_by_them() -> None:
    options = {
        **{"targets": ["target"], "source_epochs": [0], "learning_rate": 0.1, "epochs": 1},
        "normalization": {"mean": 0.25, "deviation": 0.125},
    }
    params = study(CONVNET) | {"trajectory": {"convnet": {"finetune": options}}}
    plan = Plan(Params.model_validate(params))
    for step, module in (("data", data), ("pretrain", pretrain), ("trajectory", trajectory)):
        store.run(plan.jobs(step)[0], module.make)
    found = read_json(plan.jobs("trajectory")[0].path / "normalization.json")
    assert (found["mean"], found["std"]) == ([0.25], [0.125])


@pytest.mark.parametrize(
    ("model", "section", "said"),
    [
        (CONVNET, "pretrain", "pretrain.convnet.normalization: weights, but models.convnet has no"),
        (CONVNET, "trajectory", "trajectory.convnet.finetune.normalization: weights, but models"),
        (CONVNET, "transfer", "transfer.convnet.finetune.normalization: weights, but models"),
        (
            {**CONVNET, "weights": {"path": "w.safetensors", "sha256": "0" * 64}},
            "pretrain",
            "models.convnet.weights does not state it",
        ),
    ],
)
def test_the_normalisation_of_weights_that_state_none_is_refused(
    model: dict[str, Any], section: str, said: str
) -> None:
    params = study(model)
    arm = {"targets": ["target"], "source_epochs": [0], "epochs": 1, "normalization": "weights"}
    if section == "pretrain":
        params["pretrain"]["convnet"]["normalization"] = "weights"
    elif section == "trajectory":
        params["trajectory"] = {"convnet": {"finetune": {**arm, "learning_rate": 0.1}}}
    else:
        grid = {"mode": "finetune", "shots": [2], "draws": [0], "learning_rates": [0.1]}
        params["transfer"] = {"convnet": {"finetune": {**arm, **grid}}}
    with pytest.raises(ParamsError, match=said):
        parse(params, Path("params.yaml"))


@pytest.mark.parametrize("warmup", [3, 3.5, 10])
def test_a_cosine_that_would_never_learn_is_refused(warmup: float) -> None:
    options = {"sources": ["a"], "seeds": [0], "learning_rate": 0.1}
    schedule = {"name": "cosine", "warmup_epochs": warmup}
    with pytest.raises(ValidationError, match=r"schedule\.warmup_epochs: .* of 3 epochs leave"):
        Pretrain.model_validate({**options, "epochs": 3, "schedule": schedule})
    assert Pretrain.model_validate({**options, "epochs": 0, "schedule": schedule})
    assert Pretrain.model_validate({**options, "epochs": 11, "schedule": schedule})
