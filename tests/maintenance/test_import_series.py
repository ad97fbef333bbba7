"""Checkpoints of runs that were trained elsewhere become source networks; one run is answered for itself."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torch.nn.functional as F
from commands import done, refused
from safetensors.torch import load_file, save_file
from torch import nn

from headstart import cli
from headstart.artifacts.files import read_json, read_table
from headstart.networks import timm_models
from headstart.networks.build import build
from headstart.params.recipe import Augmentation
from headstart.plan import Plan
from headstart.registry import load
from headstart.tasks.batches import TrainBatches, normalization
from headstart.tasks.task import make_task, read

pytestmark = pytest.mark.usefixtures("project")
PARAMS = """
datasets:
  glyphs: {kind: glyphs, size: 8, train_per_class: 30, test_per_class: 10}
tasks:
  letters: {dataset: glyphs, classes: [A, B, C], validation_per_class: 8}
  others: {dataset: glyphs, classes: [D, E, F, G], validation_per_class: 8}
models:
  # mine, of another program
  net: {kind: convnet, width: 4}
pretrain:
  net: {sources: [letters], seeds: [0], epochs: 1, learning_rate: 0.1}
transfer:
  net:
    finetune:
      {mode: finetune, targets: [others], source_epochs: [0, 1], shots: [2],
       draws: [0, 1], learning_rates: [0.1], epochs: 1, batch_size: 8}
plasticity: {enabled: false}
"""
EPOCHS = (1, 5, 20)


@pytest.fixture(autouse=True)
def params(project: Path) -> None:
    Path("params.yaml").write_text(PARAMS)


class Theirs(nn.Module):
    """A network of somebody who never heard of this project: the same convolutions and a linear layer."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        network = build(load("params.yaml").models["net"], 1, 8, 3, seed)
        self.body, self.fc = network.backbone, nn.Linear(16, 3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.fc(self.body(images))


def train(folder: str, seed: int = 0, epochs: tuple[int, ...] = EPOCHS) -> Path:
    """Train a plain PyTorch run and save it as people do."""
    plan = Plan(load("params.yaml"))
    if not plan.jobs("data")[0].manifest.exists():
        done("data", plan.jobs("data")[0].key)
    task = make_task("letters", plan.params.tasks["letters"], read(plan.jobs("data")[0].path))
    torch.manual_seed(seed)
    network = Theirs(seed)
    batches = TrainBatches(task.train, normalization(task.train), 16, Augmentation(), "cpu", seed)
    optimizer = torch.optim.SGD(network.parameters(), 0.05)
    Path(folder).mkdir(parents=True)
    for epoch in range(1, epochs[-1] + 1):
        for images, labels in batches.epoch(epoch):
            optimizer.zero_grad()
            F.cross_entropy(network(images), labels).backward()
            optimizer.step()
        if epoch in epochs:
            torch.save(network.state_dict(), Path(folder, f"net_{epoch}.pt"))
    return Path(folder)


def imported(*arguments: str, capsys: pytest.CaptureFixture[str]) -> str:
    done("import", *arguments)
    return capsys.readouterr().out


def pretrained() -> list[Path]:
    plan = Plan(load("params.yaml"))
    for step in ("data", "check", "pretrain"):
        for job in plan.jobs(step):
            if not job.manifest.exists():
                done(step, job.key)
    return [job.path for job in plan.jobs("pretrain")]


def test_a_plain_run_becomes_one_source_network_with_its_epochs_and_its_head(
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = train("run")
    text = imported("run", capsys=capsys)
    assert "epochs 1, 5, 20" in text
    assert "BEWARE" not in text
    assert "# mine, of another program" in Path("params.yaml").read_text()
    (path,) = pretrained()
    history = read_table(path / "history.parquet").set_index("epoch")
    assert list(history.index) == [0, *EPOCHS]
    assert history.loc[20, "validation_accuracy"] > history.loc[0, "validation_accuracy"] + 0.3
    theirs = torch.load(run / "net_20.pt", weights_only=True)
    ours = load_file(path / "epoch-0020.safetensors")
    assert torch.equal(ours["head.weight"], theirs["fc.weight"])
    first = "stage1.block1.convolution.weight"
    assert torch.equal(ours[f"backbone.{first}"], theirs[f"body.{first}"])
    manifest = read_json(path / "checkpoints.json")
    assert [each["epoch"] for each in manifest["checkpoints"]] == [0, *EPOCHS]
    # Transfer asks its question over these epochs.
    done("set", "transfer.net.finetune.source_epochs=[0, 1, 5, 20, best]")
    plan = Plan(load("params.yaml"))
    (job,) = plan.jobs("transfer")
    done("transfer", job.key)
    assert set(read_table(job.path / "runs.parquet")["source_epoch"]) == {0, *EPOCHS}


def test_arms_start_from_the_epochs_of_the_run_where_they_named_others(
    capsys: pytest.CaptureFixture[str],
) -> None:
    train("run")
    done("set", "pretrain.net.epochs=8", "transfer.net.finetune.source_epochs=[0, 1, 2, 8, best]")
    assert "transfer.net.finetune.source_epochs: [0, 1, 5, 20, 'best']" in imported(
        "run", capsys=capsys
    )
    arm = load("params.yaml").section("transfer")["net"]["finetune"]
    assert arm.source_epochs == (0, 1, 5, 20, "best")
    # What the run has is left as it was.
    done("set", "transfer.net.finetune.source_epochs=[5, 20]")
    capsys.readouterr()
    assert "source_epochs" not in imported("run", capsys=capsys)


def test_folders_are_runs_and_each_is_a_source_network(capsys: pytest.CaptureFixture[str]) -> None:
    train("runs/a"), train("runs/b", seed=1)
    assert "series has 2 runs" in imported("runs/*", "--epochs", "1", "20", capsys=capsys)
    assert load("params.yaml").pretrain["net"].seeds == (0, 1)
    assert load("params.yaml").pretrain["net"].checkpoint_epochs() == (0, 1, 20)
    before = [job.key for job in Plan(load("params.yaml")).jobs("pretrain")]
    train("runs/c", seed=2)
    imported("runs/*", "--epochs", "1", "20", capsys=capsys)
    keys = [job.key for job in Plan(load("params.yaml")).jobs("pretrain")]
    # A further run changes the key of no other.
    assert keys[:2] == before
    assert len(keys) == 3


def test_epochs_are_given_to_files_in_their_order(capsys: pytest.CaptureFixture[str]) -> None:
    run = train("run")
    for letter, epoch in zip("abc", EPOCHS, strict=True):
        (run / f"net_{epoch}.pt").rename(run / f"{letter}.pt")
    refused("import", "run", said=("the 3 checkpoints (a, b, c)", "give as many epochs"))
    assert "epochs 1, 5, 20" in imported("run", "--epochs", "1", "5", "20", capsys=capsys)


def test_the_folder_of_timms_saver_is_read(capsys: pytest.CaptureFixture[str]) -> None:
    run = train("run", epochs=(1, 2))
    for epoch, name in ((1, "checkpoint-0"), (2, "checkpoint-1"), (2, "model_best"), (2, "last")):
        state = torch.load(run / f"net_{epoch}.pt", weights_only=True)
        saved: Mapping[str, Any] = {
            "epoch": epoch - 1,
            "arch": "net",
            "state_dict": state,
            "args": argparse.Namespace(lr=0.1),
        }
        torch.save(saved, run / f"{name}.pth.tar")
    for epoch in (1, 2):
        (run / f"net_{epoch}.pt").unlink()
    assert "run 0: epochs 1, 2\n" in imported("run", capsys=capsys)


def test_swapped_and_equal_checkpoints_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    run = train("run")
    swapped = {5: 20, 20: 5}
    for epoch, other in swapped.items():
        (run / f"net_{epoch}.pt").rename(run / f"moved_{other}.pt")
    assert "does not grow from epoch 5" in imported("run", capsys=capsys)
    (run / "moved_20.pt").write_bytes((run / "net_1.pt").read_bytes())
    assert "epochs 1 and 20 have the same weights" in imported("run", capsys=capsys)
    pretrained()
    assert "BEWARE: epochs 1 and 20 have the same weights" in capsys.readouterr().out


def test_checkpoints_without_a_head_are_read_and_this_is_said(
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = train("run")
    for epoch in EPOCHS:
        state = torch.load(run / f"net_{epoch}.pt", weights_only=True)
        body = {name: value for name, value in state.items() if name.startswith("body.")}
        save_file(body, run / f"net_{epoch}.safetensors")
        (run / f"net_{epoch}.pt").unlink()
    assert "no head is known of epochs [1, 5, 20]" in imported("run", capsys=capsys)
    (path,) = pretrained()
    history = read_table(path / "history.parquet").set_index("epoch")
    assert history.loc[list(EPOCHS), "validation_accuracy"].isna().all()
    assert read_json(path / "checkpoints.json")["best"] == 20


def test_a_checkpoint_that_changed_or_is_of_another_network_is_refused(
    capsys: pytest.CaptureFixture[str],
) -> None:
    train("run")
    imported("run", capsys=capsys)
    done("set", "models.net.width=8")
    for step in ("data", "check"):
        key = Plan(load("params.yaml")).jobs(step)[0].key
        if step == "data":
            done(step, key)
    refused("check", key, said=("pretrain.net.series.0", "a checkpoint of another network"))
    done("set", "models.net.width=4")
    file = Path("weights/net/seed0/epoch-0005.safetensors")
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    key = Plan(load("params.yaml")).jobs("check")[0].key
    refused("check", key, said=("epoch-0005.safetensors: its content has sha256",))


def test_tags_of_timm_with_their_epochs_are_a_run(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is downloaded is made here: a network of each tag, further from the first with every epoch."""
    tags = {"resnet18.a3_in1k": 1, "resnet18.a2_in1k": 5, "resnet18.a1_in1k": 20}
    torch.manual_seed(0)
    first = timm.create_model("resnet18")
    made, asked = timm.create_model, list[str]()

    def create(name: str, *, pretrained: bool = False, **options: Any) -> nn.Module:
        if not pretrained:
            return made(name, **options)
        asked.append(name)
        network = made(name, **options)
        state = {
            k: v + 0.1 * tags[name] if k.endswith("conv1.weight") else v
            for k, v in first.state_dict().items()
        }
        network.load_state_dict(state)
        return network

    monkeypatch.setattr(timm, "create_model", create)
    monkeypatch.setattr(timm_models, "_check_connection", lambda *_: None)
    text = Path("params.yaml").read_text()
    text = text.replace("{kind: convnet, width: 4}", "{kind: timm, name: resnet18}")
    Path("params.yaml").write_text(text)
    said = imported(*tags, "--epochs", "1", "5", "20", capsys=capsys)
    assert asked == list(tags)
    assert "epochs 1, 5, 20" in said
    assert "BEWARE" not in said
    pretrain = load("params.yaml").pretrain["net"]
    assert pretrain.normalization.mean == (0.485, 0.456, 0.406)
    epoch = load_file(pretrain.series[0][2].path)
    # One channel: timm sums over the colours.
    expected = (first.state_dict()["conv1.weight"] + 2.0).sum(1, keepdim=True)
    torch.testing.assert_close(epoch["backbone.conv1.weight"], expected)
    refused("import", *tags, "--epochs", "1", "5", said=("give as many epochs as checkpoints",))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nowhere",), "nowhere: no such file or folder"),
        (("run", "--model", "other"), "--model: name one of `models`: net"),
        (("run", "--epochs", "3"), "are of epochs [1, 5, 20]"),
    ],
)
def test_what_cannot_be_imported_is_one_line(arguments: tuple[str, ...], said: str) -> None:
    train("run")
    with pytest.raises(SystemExit) as caught:
        cli.main(["import", *arguments])
    assert said in str(caught.value.code)
    assert "series" not in Path("params.yaml").read_text()
