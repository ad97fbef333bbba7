"""The commands of docs/own_checkpoints.md do what the page says, as they are written there."""

import re
import shlex
from pathlib import Path

import pytest
import torch
from checkout import ROOT
from commands import done
from pictures import fill

from headstart.networks.own import backbone
from headstart.plan import Plan
from headstart.registry import load

pytestmark = pytest.mark.usefixtures("project")
PAGE = (ROOT / "docs" / "own_checkpoints.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    found = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    return [block for of, block in found if of == language]


def test_the_commands_of_the_page_run_as_written() -> None:
    (code,) = blocks("python")
    Path("lenet.py").write_text(code)
    wanted = [shlex.split(line) for block in blocks("") for line in block.splitlines()]
    wanted = [words[1:] for words in wanted if words[0] == "headstart"]
    assert [words[0] for words in wanted] == ["start", "import", "set", "start", "data"]
    fill(Path("letters"), tuple("ABCDEF"), 8)
    fill(Path("digits"), tuple("0123"), 8)
    Path("run").mkdir()
    done(*wanted[0])
    network = backbone(load("params.yaml").models["lenet"], 3, 32)
    head = {"fc2.weight": torch.ones(6, 84), "fc2.bias": torch.zeros(6)}
    for epoch in (1, 5, 20):
        state = {name: epoch * tensor for name, tensor in network.state_dict().items()}
        torch.save(state | head, f"run/net_{epoch}.pt")
    for words in wanted[1:3]:
        done(*words)
    params = load("params.yaml")
    assert params.pretrain["lenet"].checkpoint_epochs() == (0, 1, 5, 20)
    assert params.pretrain["lenet"].normalization.mean == 0.5
    arm = params.section("transfer")["lenet"]["finetune"]
    assert arm.source_epochs == (0, 1, 5, 20, "best")
    assert len(arm.draws) == 6
    assert len(Plan(params).jobs("transfer")) == 1
    Path("run/net_5.pt").rename("weights.pt")
    done(*wanted[3])
    assert set(load("params.yaml").models) == {"lenet", "lenet_scratch"}
    done(*wanted[4])
    assert load("params.yaml").models["lenet"].weights is not None
