"""The real command in a real process, ended as a machine that goes down ends it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from checkout import ROOT
from tiny_study import STUDY, make_sources

from headstart.artifacts import store
from headstart.artifacts.keys import STORE
from headstart.plan import Plan
from headstart.registry import load

EPOCHS = 30
# The command `headstart`, but that its state is saved after every epoch and not twice a minute.
HEADSTART = """
import sys
from headstart import cli
from headstart.training import loop
loop.fit.__kwdefaults__["save_every_seconds"] = 0.0
cli.main(sys.argv[1:])
"""


@pytest.fixture
def study(project: Path) -> Plan:
    """Return the plan of a params file whose networks are trained already."""
    convnet = {**STUDY["pretrain"]["convnet"], "seeds": [0], "epochs": EPOCHS}
    raw = {**STUDY, "transfer": {}, "pretrain": {"convnet": convnet}}
    (project / "params.yaml").write_text(json.dumps(raw))
    of = Plan(load("params.yaml"))
    make_sources(of)
    return of


def started(*arguments: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.Popen(
        [sys.executable, "-c", HEADSTART, *arguments],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )


def test_a_training_process_that_is_killed_and_started_again_ends_in_the_same_bits(
    study: Plan,
) -> None:
    (job,) = study.jobs("pretrain")
    whole = store.open_artifact(job).manifest["files"]
    assert {"history.parquet", "epoch-0000.safetensors", "epoch-0030.safetensors"} <= set(whole)
    shutil.rmtree(job.path)

    with started("pretrain", job.key) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if f"epoch   3/{EPOCHS}" in line:
                process.kill()
        assert process.wait() == -signal.SIGKILL
    assert not job.path.exists()
    assert (STORE / "partial" / job.full_key / "state" / "resume.pt").exists()

    with started("pretrain", job.key) as process:
        told, _ = process.communicate()
        assert process.returncode == 0
    assert f"epoch   2/{EPOCHS}" not in told
    assert f"epoch  {EPOCHS}/{EPOCHS}" in told
    assert store.open_artifact(job).manifest["files"] == whole
    assert not list((STORE / "partial").iterdir())
