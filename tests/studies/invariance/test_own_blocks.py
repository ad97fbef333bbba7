"""A user's own network goes through the invariance study by the blocks that it names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tiny_study import STUDY, make_sources

from headstart.artifacts import store
from headstart.artifacts.files import file_sha256, read_table
from headstart.plan import Plan
from headstart.registry import Params, function_of

NETWORK = """
from torch import nn

class Mine(nn.Module):
    block_names = ("body.first", "body.second")

    def __init__(self, channels):
        super().__init__()
        self.stem = nn.Conv2d(channels, 4, 3, padding=1)
        self.body = nn.ModuleDict({
            "second": nn.Sequential(nn.ReLU(inplace=True), nn.Conv2d(4, 4, 3, padding=1)),
            "first": nn.Conv2d(4, 4, 3, padding=1),
        })

    def forward(self, images):
        maps = self.body["second"](self.body["first"](self.stem(images)))
        return maps.relu().mean(dim=(2, 3))

def build(channels, image_size):
    return Mine(channels)
"""
ARM: dict[str, Any] = {"targets": ["target"], "learning_rate": 0.1, "epochs": 2, "batch_size": 8}
INVARIANCE: dict[str, Any] = {
    "arms": ["finetune", "scratch"],
    "scratch": ["scratch"],
    "inversions": {
        "images": 6,
        "seeds": [0],
        "optimizer": {"steps": 20, "step_size": 0.1, "method": "adam", "decay": True},
    },
    "control": ["random", "scratch"],
    "components": 2,
    "groups": 2,
    "resamples": 5,
    "dynamics": {"epochs": [1], "learning": ["finetune"]},
    "robustness": {"corruptions": [], "images": 6},
}


@pytest.mark.usefixtures("project")
def test_a_users_network_is_inverted_and_compared_at_the_blocks_that_it_names(
    project: Path,
) -> None:
    (project / "nets.py").write_text(NETWORK)
    sha256 = file_sha256(project / "nets.py")
    own = {"kind": "file", "path": "nets.py", "function": "build", "sha256": sha256}
    arms = {
        "finetune": {**ARM, "seeds": [0], "source_epochs": [2]},
        "scratch": {**ARM, "seeds": [0], "source_epochs": [0]},
    }
    pretrained = {**STUDY["pretrain"]["convnet"], "seeds": [0]}
    of = Plan(
        Params.model_validate(
            {
                **STUDY,
                "models": {"mine": own},
                "pretrain": {"mine": pretrained},
                "transfer": {},
                "trajectory": {"mine": arms},
                "invariance": {"mine": INVARIANCE},
            }
        )
    )
    make_sources(of)
    for job in of.jobs("trajectory", "inversions", "invariance"):
        store.run(job, function_of(job))
    assert {
        tuple(store.open_artifact(job).manifest["summary"]["layers"])
        for job in of.jobs("inversions")
    } == {(1, 2)}
    (job,) = of.jobs("invariance")
    measured = read_table(store.open_artifact(job).file("measurements.parquet"))
    pairs = set(zip(measured["reference_layer"], measured["layer"], strict=True))
    assert pairs >= {(1, 1), (1, 2), (2, 2)}
    assert measured["value"].notna().any()
