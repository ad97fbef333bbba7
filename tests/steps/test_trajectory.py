"""Trajectories start where they say, keep the requested epochs, and are compared in pairs."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_study import STUDY, make_sources

from headstart.artifacts import store
from headstart.artifacts.files import file_sha256, read_json, read_table
from headstart.artifacts.keys import Job
from headstart.networks.build import build
from headstart.params.models import ConvNet
from headstart.params.recipe import Trajectory
from headstart.plan import Plan
from headstart.registry import Params
from headstart.steps import trajectory
from headstart.steps.sections import task_of
from headstart.studies.early_stopping import transfer
from headstart.tasks.batches import Normalization, normalization
from headstart.tasks.task import make_task, read
from headstart.training import assembly
from headstart.training.checkpoints import BUFFERS, load, save

pytestmark = pytest.mark.usefixtures("project")
ARM: dict[str, Any] = {
    "targets": ["target"],
    "source_epochs": [0, 2, "last"],
    "seeds": [0],
    "learning_rate": 0.1,
    "epochs": 4,
    "batch_size": 8,
    "augmentation": {"shift": 1},
}


def plan(**options: Any) -> Plan:
    """Return a plan whose sources are made, with one arm of trajectories."""
    arms = {"convnet": {"arm": {**ARM, **options}}}
    of = Plan(Params.model_validate({**STUDY, "transfer": {}, "trajectory": arms}))
    make_sources(of)
    return of


def weights(job: Job, epoch: int) -> dict[str, torch.Tensor]:
    return load(job.path / f"epoch-{epoch:04d}.safetensors")


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor], part: str) -> bool:
    names = [name for name in a if name.startswith(part)]
    assert names
    return all(torch.equal(a[name], b[name]) for name in names)


def test_kept_epochs_are_dense_where_a_network_changes_fast() -> None:
    options = {**ARM, "epochs": 20}
    assert Trajectory.model_validate(options).kept_epochs() == (0, 1, 2, 3, 5, 8, 13, 20)
    chosen = Trajectory.model_validate({**options, "target_epochs": [4]})
    assert chosen.kept_epochs() == (0, 4, 20)
    probe = Trajectory.model_validate({**options, "mode": "probe"})
    assert probe.kept_epochs() == (0, 20)


def test_a_trajectory_starts_at_its_source_checkpoint_with_one_new_head_for_all() -> None:
    of = plan()
    (source, _), jobs = of.jobs("pretrain"), of.jobs("trajectory")
    assert [job.wildcards["source_epoch"] for job in jobs] == ["0", "2", "5"]
    for job in jobs:
        artifact = store.run(job, trajectory.make)
        entries = read_json(artifact.file("checkpoints.json"))["checkpoints"]
        assert {0, 1, 2, 3, 4} == {entry["epoch"] for entry in entries}
        start = weights(source, int(job.wildcards["source_epoch"]))
        assert same(weights(job, 0), start, "backbone.")
        assert same(weights(job, 0), weights(jobs[0], 0), "head.")
        assert not same(weights(job, 4), weights(job, 0), "backbone.")
    history = read_table(jobs[0].path / "history.parquet")
    assert history["test_accuracy"].notna().all()
    assert read_json(jobs[0].path / "normalization.json")["classes"] == ["D", "E", "F", "G"]


def test_another_target_seed_has_another_head_and_another_end() -> None:
    first, second = plan(source_epochs=["best"], target_seeds=[0, 1]).jobs("trajectory")
    for job in (first, second):
        store.run(job, trajectory.make)
    assert same(weights(first, 0), weights(second, 0), "backbone.")
    assert not same(weights(first, 0), weights(second, 0), "head.")
    assert not same(weights(first, 4), weights(second, 4), "backbone.")


def test_a_probe_keeps_the_backbone_and_moves_the_head() -> None:
    (job,) = plan(source_epochs=[2], mode="probe", augmentation={}).jobs("trajectory")
    store.run(job, trajectory.make)
    assert same(weights(job, 0), weights(job, 4), "backbone.")
    assert not same(weights(job, 0), weights(job, 4), "head.")


def test_a_killed_trajectory_goes_on_and_ends_in_the_same_bits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (job,) = plan(source_epochs=[2]).jobs("trajectory")
    whole = store.run(job, trajectory.make).manifest["files"]
    shutil.rmtree(job.path)
    real = assembly.fit

    def saves_every_epoch(*arguments: Any, **options: Any) -> Any:
        return real(*arguments, **options, save_every_seconds=0.0)

    def killed(text: str, *, detail: bool = False) -> None:
        if "epoch   3/4" in text:
            raise KeyboardInterrupt

    monkeypatch.setattr(assembly, "fit", saves_every_epoch)
    with pytest.raises(KeyboardInterrupt):
        store.run(job, trajectory.make, log=killed)
    lines: list[str] = []
    again = store.run(job, trajectory.make, log=lambda text, detail=False: lines.append(text))
    assert not any("epoch   1/4" in text for text in lines)
    assert again.manifest["files"] == whole


@pytest.mark.parametrize("by", ["source", "target"])
def test_images_are_normalised_by_the_source_unless_the_target_is_asked_for(by: str) -> None:
    of = plan(source_epochs=[2], epochs=1, normalization=by)
    (job,) = of.jobs("trajectory")
    (source,) = job.inputs["pretrain"]
    artifact = store.run(job, trajectory.make)
    used = Normalization.from_dict(read_json(artifact.file("normalization.json")))
    (images,) = job.inputs["data"]
    target = normalization(make_task("target", task_of(job.params), read(images.path)).train)
    theirs = Normalization.from_dict(read_json(source.path / "normalization.json"))
    assert used == {"source": theirs, "target": target}[by]
    assert theirs != target


@pytest.mark.parametrize("mode", ["finetune", "probe"])
def test_recalibrated_statistics_are_those_of_the_target_and_are_kept(mode: str) -> None:
    """They are estimated before the features of a probe are read, and lie in its checkpoints."""
    options = {"source_epochs": [2], "mode": mode, "augmentation": {}, "shots": 4}
    found = {}
    for recalibrates in (False, True):
        (job,) = plan(**options, recalibrate_batch_norm=recalibrates).jobs("trajectory")
        store.run(job, trajectory.make)
        found[recalibrates] = job
    (source, _) = plan().jobs("pretrain")
    plain, changed = weights(found[False], 0), weights(found[True], 0)
    assert same(plain, weights(source, 2), "backbone.")
    moved = {name for name in plain if not torch.equal(plain[name], changed[name])}
    assert {name.rpartition(".")[2] for name in moved} >= {"running_mean", "running_var"}
    assert all(name.rpartition(".")[2] in BUFFERS for name in moved)
    first = {
        key: read_table(job.path / "history.parquet")["validation_loss"][0]
        for key, job in found.items()
    }
    assert first[False] != first[True]


def test_given_weights_are_read_by_pre_training_only(project: Path) -> None:
    model: dict[str, Any] = {"kind": "convnet", "width": 2}
    given = project / "given.safetensors"
    save(build(ConvNet.model_validate(model), 1, 8, 3, seed=77).state_dict(), given)
    model["weights"] = {"path": given.name, "sha256": file_sha256(given)}
    part = {**STUDY["pretrain"]["convnet"], "seeds": [0]}
    transfers = {
        "finetune": {**STUDY["transfer"]["convnet"]["finetune"], "shrink": 0.5, "perturb": 0.1}
    }
    study = {
        **STUDY,
        "models": {"convnet": model},
        "pretrain": {"convnet": part},
        "transfer": {"convnet": transfers},
        "trajectory": {"convnet": {"arm": ARM}},
    }
    of = Plan(Params.model_validate(study))
    make_sources(of)
    given.unlink()
    for step, make in (("transfer", transfer.make), ("trajectory", trajectory.make)):
        for job in of.jobs(step):
            store.run(job, make)
    (source,) = of.jobs("pretrain")
    start = of.jobs("trajectory")[0]
    assert same(weights(start, 0), weights(source, 0), "backbone.")
