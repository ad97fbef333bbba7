"""`headstart export`: trained networks leave the study whole, and are read by timm or plain torch alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from commands import done
from safetensors import safe_open
from torch import nn

from headstart import cli
from headstart.artifacts.files import read_table
from headstart.artifacts.keys import Job
from headstart.plan import Plan
from headstart.registry import load
from headstart.steps.sections import task_of
from headstart.tasks.task import make_task, read

pytestmark = pytest.mark.usefixtures("project")
PARAMS = """
datasets:
  glyphs: {kind: glyphs, size: SIZE, train_per_class: 12, test_per_class: 9}
tasks:
  letters: {dataset: glyphs, classes: [A, B, C], validation_per_class: 4}
  others: {dataset: glyphs, classes: [D, E, F, G], validation_per_class: 4}
models:
  net: MODEL
pretrain:
  net: {sources: [letters], seeds: [0, 1], epochs: 2, batch_size: 8, learning_rate: 0.05}
transfer:
  net:
    finetune:
      {mode: MODE, targets: [others], source_epochs: [0, 2], shots: [4], keep: best,
       draws: [0], learning_rates: [0.05, 0.01], epochs: 3, batch_size: 8}
plasticity: {enabled: false}
"""
MODELS = {
    "convnet": "{kind: convnet, width: 4}",
    "wrn": "{kind: wrn, depth: 10, width: 1, dropout: 0.1}",
    "timm": "{kind: timm, name: resnet18}",
    "transformer": "{kind: timm, name: vit_tiny_patch16_224, kwargs: {patch_size: 4, depth: 2}}",
    # Two classifiers, of two tokens.
    "distilled": "{kind: timm, name: deit_tiny_distilled_patch16_224, kwargs: {patch_size: 4, depth: 2}}",
    # A classifier that is a convolution of 1 × 1.
    "convolution": "{kind: timm, name: resnetv2_50, kwargs: {layers: [1, 1, 1, 1]}}",
    # A classifier with batch normalisation, which falls with it: the study's network is read as it is.
    "normalised": "{kind: timm, name: repvit_m0_9}",
    "own": "{kind: file, path: nets.py, function: build, sha256: SHA, kwargs: {width: 6}}",
}
OWN = """
from torch import nn

def build(channels, image_size, width):
    return nn.Sequential(nn.Flatten(), nn.Linear(channels * image_size**2, width), nn.ReLU())
"""


def write(model: str = MODELS["convnet"], mode: str = "finetune", size: int = 8) -> None:
    text = PARAMS.replace("MODEL", model).replace("MODE", mode).replace("SIZE", str(size))
    Path("params.yaml").write_text(text)


def make(*steps: str) -> list[Job]:
    """Do all jobs of these steps; return those of the last."""
    plan = Plan(load("params.yaml"))
    for job in plan.jobs(*steps):
        if not job.manifest.exists():
            done(job.step, job.key)
    return plan.jobs(steps[-1])


def refused(*arguments: str, said: tuple[str, ...]) -> None:
    """Run a command that ends in one line, after networks were trained."""
    with pytest.raises(SystemExit) as caught:
        cli.main([*arguments])
    message = str(caught.value.code)
    assert len(message.splitlines()) == 1
    assert all(words in message for words in said), message
    assert not Path("a.safetensors").exists()


def loaded(text: str) -> Any:
    """Run the lines that `export` printed, as a person would, and return the network."""
    names: dict[str, Any] = {}
    exec(text.partition("\n\n")[2], names)
    return names["network"].eval()


def accuracy_of(network: nn.Module, file: Path, job: Job) -> float:
    """Return the accuracy of a network on the job's test images, by the metadata of its file alone."""
    with safe_open(file, "pt") as opened:
        about = opened.metadata()
    task = make_task("any", task_of(job.params), read(job.inputs["data"][0].path))
    assert json.loads(about["classes"]) == list(task.classes)
    mean, std = (torch.tensor(json.loads(about[each])).view(-1, 1, 1) for each in ("mean", "std"))
    with torch.no_grad():
        logits = network((task.test.images / 255 - mean) / std)
    return float((logits.argmax(1) == task.test.labels).float().mean())


@pytest.mark.parametrize("kind", MODELS)
def test_two_lines_read_the_best_network_without_the_study(
    kind: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("nets.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(Path.cwd()))
    write(MODELS[kind].replace("SHA", "a" * 64), size=32 if kind == "normalised" else 8)
    if kind == "own":
        done("data", "add", "net", "nets.py:build")
    jobs = make("data", "check", "pretrain", "transfer")
    tables = [read_table(job.path / "runs.parquet") for job in jobs]
    best = max(float(table["validation_accuracy"].max()) for table in tables)
    capsys.readouterr()
    done("export", "letters-net-others-finetune-*", "--to", "best.safetensors")
    text = capsys.readouterr().out
    network = loaded(text)
    with safe_open("best.safetensors", "pt") as opened:
        about = opened.metadata()
    (job,) = (each for each in jobs if each.full_key == about["key"])
    assert float(about["validation_accuracy"]) == best
    found = accuracy_of(network, Path("best.safetensors"), job)
    assert found == pytest.approx(float(about["test_accuracy"]))
    assert json.loads(about["architecture"])["kind"] in MODELS[kind]
    assert ("timm.create_model" in text) == (kind not in ("convnet", "wrn", "own"))
    # All but the imports: one line for timm, two for plain torch.
    code = [line for line in text.partition("\n\n")[2].splitlines() if "import" not in line]
    assert len(code) == (1 if "checkpoint_path" in text else 2)
    assert ("checkpoint_path" in text) == (
        kind in ("timm", "transformer", "distilled", "convolution")
    )


def test_a_source_network_of_any_kept_epoch_is_exported(capsys: pytest.CaptureFixture[str]) -> None:
    write()
    (job, _) = make("data", "check", "pretrain")
    history = read_table(job.path / "history.parquet").set_index("epoch")
    for word, epoch in (("epoch=1", 1), ("epoch=0", 0), ("epoch=best", None), ("", None)):
        epoch = int(history.index[history["best"]][0]) if epoch is None else epoch
        capsys.readouterr()
        done("export", str(job.path), *word.split(), "--to", "source.safetensors")
        network = loaded(capsys.readouterr().out)
        found = accuracy_of(network, Path("source.safetensors"), job)
        assert found == pytest.approx(history.loc[epoch, "test_accuracy"])
    refused("export", job.name, "epoch=9", "--to", "a.safetensors", said=("epoch=9", "0, 1, 2"))
    refused("export", job.name, "shots=5", "--to", "a.safetensors", said=("['epoch']",))


def test_an_exported_network_comes_back_with_its_pixels_and_its_head(
    capsys: pytest.CaptureFixture[str],
) -> None:
    write()
    (job, _) = make("data", "check", "pretrain")
    done("export", job.name, "--to", "source.safetensors")
    done("set", "pretrain.net.epochs=0", "transfer={}", "pretrain.net.seeds=[0]")
    capsys.readouterr()
    done("data", "add", "net", "source.safetensors")
    assert "its pixels: mean" in capsys.readouterr().out
    (again,) = make("data", "check", "pretrain")
    before, after = (read_table(each.path / "history.parquet") for each in (job, again))
    best = before.loc[before["best"], "test_accuracy"].item()
    assert after["test_accuracy"].item() == best


def test_what_is_asked_for_later_trains_that_run_again_with_the_same_bits(
    capsys: pytest.CaptureFixture[str],
) -> None:
    write()
    done("set", "transfer.net.finetune.keep=none")
    (plain, _) = make("data", "check", "pretrain", "transfer")
    assert not list(plain.path.glob("networks/*"))
    name, to = "letters-net-others-finetune-seed0", ("--to", "a.safetensors")
    refused("export", name, *to, said=("keeps no trained networks", "finetune.keep=best"))
    for keep, number, again in (("best", 1, 1), ("all", 4, 4)):
        done("set", f"transfer.net.finetune.keep={keep}")
        capsys.readouterr()
        (job, _) = make("transfer")
        assert f"{again} runs once more" in capsys.readouterr().out
        assert len(list(job.path.glob("networks/*"))) == number
        for table in ("runs", "curves"):
            same = (job.path / f"{table}.parquet").read_bytes()
            assert same == (plain.path / f"{table}.parquet").read_bytes()
    rows = read_table(job.path / "runs.parquet")
    for row in rows.to_dict("records"):
        words = [f"source_epoch={row['source_epoch']}", f"learning_rate={row['learning_rate']}"]
        capsys.readouterr()
        done("export", job.name, *words, *to)
        network = loaded(capsys.readouterr().out)
        assert accuracy_of(network, Path("a.safetensors"), job) == pytest.approx(
            row["test_accuracy"]
        )


@pytest.mark.parametrize("slots", ["null", "8"])
def test_a_probe_keeps_its_backbone_and_runs_trained_together_are_kept_alike(
    slots: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write(mode="probe")
    done("set", "transfer.net.finetune.keep=all", f"transfer.net.finetune.slots={slots}")
    (job, _) = make("data", "check", "pretrain", "transfer")
    for row in read_table(job.path / "runs.parquet").to_dict("records"):
        words = [f"source_epoch={row['source_epoch']}", f"learning_rate={row['learning_rate']}"]
        capsys.readouterr()
        done("export", job.name, *words, "--to", "a.safetensors")
        network = loaded(capsys.readouterr().out)
        assert accuracy_of(network, Path("a.safetensors"), job) == pytest.approx(
            row["test_accuracy"]
        )


def test_names_that_fit_nothing_or_several_things_are_refused() -> None:
    write()
    to = ("--to", "a.safetensors")
    refused("export", "leters-net-seed0", *to, said=("did you mean 'letters-net-seed0'",))
    refused("export", "letters-*", *to, said=("fits several things", "pretrain letters net"))
    refused("export", "letters-net-seed0", *to, said=("not made yet",))
    refused("export", "letters-net-seed0", "--to", "a.pt", said=("ends in .safetensors",))


def test_keeping_networks_changes_no_key_unless_it_is_asked_for() -> None:
    write()
    keys = {}
    for keep in (None, "none", "best"):
        if keep:
            done("set", f"transfer.net.finetune.keep={keep}")
        else:
            text = Path("params.yaml").read_text()
            Path("params.yaml").write_text(text.replace("keep: best,", ""))
        keys[keep] = {job.name: job.full_key for job in Plan(load("params.yaml")).jobs("transfer")}
    assert keys[None] == keys["none"]
    assert not set(keys["best"].values()) & set(keys["none"].values())
