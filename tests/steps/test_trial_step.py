"""Networks that cannot be trained, copied or measured are refused by the check, before any training."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from commands import done, refused
from tiny_study import STUDY

from headstart.artifacts import store
from headstart.artifacts.files import read_table
from headstart.networks.own import read_source
from headstart.plan import Plan
from headstart.registry import Params, function_of
from headstart.tasks import TaskError

pytestmark = pytest.mark.usefixtures("project")
NETS = """
import torch
from torch import nn


def old_norm(channels, image_size):
    return nn.Sequential(nn.Flatten(), nn.utils.weight_norm(nn.Linear(channels * image_size**2, 8)), nn.ReLU())


def new_norm(channels, image_size):
    layer = nn.utils.parametrizations.weight_norm(nn.Linear(channels * image_size**2, 8))
    return nn.Sequential(nn.Flatten(), layer, nn.ReLU())


def none(channels, image_size):
    return nn.Sequential(nn.Flatten())


class Waves(nn.Module):
    def __init__(self, inputs):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(inputs, 8, dtype=torch.complex64))

    def forward(self, images):
        return (images.flatten(1).to(torch.complex64) @ self.weight).abs()


def waves(channels, image_size):
    return Waves(channels * image_size**2)


class Keeps(nn.Module):
    def __init__(self, inputs):
        super().__init__()
        self.layer = nn.Linear(inputs, 8)

    def forward(self, images):
        self.last = self.layer(images.flatten(1))
        return self.last


def keeps(channels, image_size):
    return Keeps(channels * image_size**2)
"""


def study(function: str | None = None, size: int = 8, **batches: int) -> Plan:
    """Return the tiny study with a network of one's own, other sides of images, or other batches by section."""
    changed: dict[str, Any] = copy.deepcopy(STUDY)
    changed["datasets"]["glyphs"]["size"] = size
    changed["plasticity"] = {
        "images": 8,
        "random_labels": {"images": 8, "batch_size": 4, "steps": 2},
    }
    if function:
        Path("nets.py").write_text(NETS)
        sha256 = read_source(Path("nets.py")).sha256
        own = {"kind": "file", "path": "nets.py", "function": function, "sha256": sha256}
        changed["models"]["convnet"] = own
    for section, batch_size in batches.items():
        part = changed[section]["convnet"]
        part = part["finetune"] if section == "transfer" else part
        part["batch_size"] = batch_size
    return Plan(Params.model_validate(changed))


def run(plan: Plan, *steps: str) -> None:
    for job in plan.jobs(*steps):
        if not job.manifest.exists():
            store.run(job, function_of(job))


@pytest.mark.parametrize(
    ("function", "said"),
    [
        ("old_norm", "transfer.convnet.finetune: no copy of it|parametrizations.weight_norm"),
        ("keeps", "no copy of it can be made"),
        ("none", "models.convnet: the network has no weights"),
        ("waves", "models.convnet: weight: complex weights"),
    ],
)
def test_a_network_that_cannot_go_through_the_study_is_refused_before_training(
    function: str, said: str
) -> None:
    plan = study(function)
    run(plan, "data")
    with pytest.raises(TaskError, match=said):
        run(plan, "check")
    assert not Path("results/pretrain").exists()


def test_the_norm_that_can_be_copied_goes_through_the_whole_study() -> None:
    plan = study("new_norm")
    run(plan, "data", "check", "pretrain", "transfer", "plasticity")
    table = read_table(plan.jobs("plasticity")[0].path / "plasticity.parquet")
    assert table["value"].notna().any()


@pytest.mark.parametrize("section", ["pretrain", "transfer"])
def test_batches_of_one_on_maps_of_one_pixel_are_refused(section: str) -> None:
    plan = study(size=4, **{section: 1})
    run(plan, "data")
    with pytest.raises(TaskError, match=rf"{section}.convnet.*a step on 1 image fails.*larger"):
        run(plan, "check")


def test_batches_of_one_on_larger_maps_and_of_two_on_one_pixel_are_trained() -> None:
    for size, batch in ((8, 1), (4, 2)):
        plan = study(size=size, pretrain=batch, transfer=batch)
        run(plan, "data", "check", "pretrain", "transfer")
        assert all(job.manifest.exists() for job in plan.jobs("transfer"))


def test_the_refusal_of_a_command_is_one_line() -> None:
    plan = study(size=4, pretrain=1)
    Path("params.yaml").write_text(plan.params.model_dump_json())
    done("data", plan.jobs("data")[0].key)
    refused("check", plan.jobs("check")[0].key, said=("batch_size", "1 image"))
