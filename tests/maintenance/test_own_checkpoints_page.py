"""The commands of docs/own_checkpoints.md do what the page says, as they are written there."""

import re
import shlex
from pathlib import Path

import pytest
import torch
from checkout import ROOT
from commands import done
from test_import_series import PARAMS, train

from headstart.registry import load

pytestmark = pytest.mark.usefixtures("project")
PAGE = ROOT / "docs" / "own_checkpoints.md"


def commands() -> list[list[str]]:
    blocks = re.findall(r"```\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    return [shlex.split(line) for block in blocks for line in block.splitlines()]


def test_the_commands_of_the_page_run_as_written() -> None:
    Path("params.yaml").write_text(PARAMS)
    run = train("run")
    wanted = [words[1:] for words in commands() if words[0] == "headstart"]
    assert [words[0] for words in wanted] == ["import", "set", "data"]
    for words in wanted[:2]:
        done(*words)
    params = load("params.yaml")
    assert params.pretrain["net"].checkpoint_epochs() == (0, 1, 5, 20)
    arm = params.section("transfer")["net"]["finetune"]
    assert arm.source_epochs == (0, 1, 5, 20, "best")
    assert len(arm.draws) == 6
    state = torch.load(run / "net_5.pt", weights_only=True)
    torch.save(state, "weights.pt")
    done(*wanted[2])
    assert load("params.yaml").models["net"].weights is not None
