"""What runs that are compared have in common, and what test images can never touch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.numpy import load_file, save_file
from tiny_study import STUDY, make_sources, plan, runs
from torch import Tensor

from headstart.artifacts import store
from headstart.artifacts.files import read_json, read_table
from headstart.artifacts.keys import Job, derive_seed
from headstart.params.recipe import Selection, Training
from headstart.plan import Plan
from headstart.registry import Params
from headstart.steps import data, pretrain
from headstart.steps.sections import model_of, pretrain_of, task_of
from headstart.studies.early_stopping import tables, transfer
from headstart.studies.early_stopping.verdicts.accuracies import accuracy_tensors
from headstart.studies.early_stopping.verdicts.run_tables import check_table, contrasts
from headstart.studies.early_stopping.verdicts.selection import tune_learning_rate
from headstart.tasks.batches import EvaluationBatches, Normalization, TrainBatches, normalization
from headstart.tasks.task import Task, make_task, read
from headstart.training import assembly
from headstart.training.checkpoint_series import CheckpointSeries
from headstart.training.loop import Outcome, fit

pytestmark = pytest.mark.usefixtures("project")


@pytest.fixture
def trained_on(monkeypatch: pytest.MonkeyPatch) -> list[TrainBatches]:
    """Return the batches that networks train on, run after run."""
    seen: list[TrainBatches] = []

    def noted(*arguments: Any) -> TrainBatches:
        seen.append(TrainBatches(*arguments))
        return seen[-1]

    monkeypatch.setattr(assembly, "TrainBatches", noted)
    return seen


def pixels(batches: TrainBatches) -> Tensor:
    return torch.cat([images for images, _ in batches.epoch(0)])


def task_on(job: Job) -> Task:
    name = job.wildcards.get("target", job.wildcards["source"])
    (of_data,) = job.inputs["data"]
    return make_task(name, task_of(job.params), read(of_data.path))


def test_networks_of_all_source_seeds_are_fine_tuned_on_equal_draws_of_images(
    trained_on: list[TrainBatches],
) -> None:
    of = plan(source_epochs=[0, 2], shots=[1, 2], draws=[0, 1], epochs=1)
    make_sources(of)
    trained_on.clear()
    for job in of.jobs("transfer"):
        store.run(job, transfer.make)
    half = len(trained_on) // 2
    assert half == 2 * 2 * 2
    assert {job.wildcards["seed"] for job in of.jobs("transfer")} == {"0", "1"}
    for first, second in zip(trained_on[:half], trained_on[half:], strict=True):
        assert torch.equal(first._images, second._images)
        assert torch.equal(first._labels, second._labels)
    draws = {each._images.numpy().tobytes() for each in trained_on}
    assert len(draws) == 2 * 2


@pytest.mark.parametrize("by", ["source", "target"])
def test_images_of_a_target_are_normalised_as_its_source_unless_params_say_otherwise(
    by: str, trained_on: list[TrainBatches]
) -> None:
    options = {"normalization": "target"} if by == "target" else {}
    of = plan(source_epochs=[0], shots=["all"], draws=[0], epochs=1, **options)
    make_sources(of)
    trained_on.clear()
    job = of.jobs("transfer")[0]
    store.run(job, transfer.make)
    (source,) = job.inputs["pretrain"]
    of_source = Normalization.from_dict(read_json(source.path / "normalization.json"))
    of_target = normalization(task_on(job).train)
    assert of_source == normalization(task_on(source).train) != of_target
    mean, std = pixels(trained_on[0]).mean().item(), pixels(trained_on[0]).std().item()
    assert (mean == pytest.approx(0, abs=1e-4)) == (by == "target")
    assert (std == pytest.approx(1, abs=1e-3)) == (by == "target")
    expected = of_target if by == "target" else of_source
    images = task_on(job).train.images.float()
    assert mean == pytest.approx(expected.apply(images).mean().item(), abs=1e-5)


def test_a_choice_of_normalisation_changes_no_key_of_those_who_do_not_make_it() -> None:
    one, same, other = (
        plan(**options).jobs("transfer")[0].key
        for options in ({}, {"normalization": "source"}, {"normalization": "target"})
    )
    assert one == same != other


def continued(job: Job, pretrained: CheckpointSeries, epoch: int) -> Outcome:
    """Go on from a checkpoint with its own head, as it was pre-trained, at a learning rate of 0."""
    part, options = task_on(job), pretrain_of(job.params)
    statistics = pretrained.normalization
    names = (job.wildcards["source"], job.wildcards["model"], job.wildcards["seed"])
    seed = derive_seed("pretrain", *names)
    train = TrainBatches(
        part.train, statistics, options.batch_size, options.augmentation, "cpu", seed
    )
    validation, test = (
        EvaluationBatches(images, statistics, 256, "cpu") for images in (part.validation, part.test)
    )
    training = Training(
        epochs=2, batch_size=8, recalibrate_batch_norm=options.recalibrate_batch_norm
    )
    network = pretrained.network(epoch)
    rules: dict[str, Any] = {"selection": Selection(), "test_epochs": "all"}
    return fit(network, train, validation, test, training, 0.0, 0, **rules)


def measured(row: Any) -> tuple[float, float, float]:
    return row.validation_accuracy, row.validation_loss, row.test_accuracy


@pytest.mark.parametrize("recalibrated", [False, True])
def test_a_convnet_checkpoint_with_its_own_head_returns_the_accuracy_of_its_history(
    recalibrated: bool,
) -> None:
    """Running statistics move with every batch, so without recalibration only before the first."""
    options = {"seeds": [0], "recalibrate_batch_norm": recalibrated}
    part = {"convnet": {**STUDY["pretrain"]["convnet"], **options}}
    of = Plan(Params.model_validate({**STUDY, "transfer": {}, "pretrain": part}))
    make_sources(of)
    (job,) = of.jobs("pretrain")
    shape = task_on(job).train.images.shape
    pretrained = CheckpointSeries(store.open_artifact(job), model_of(job.params), shape, "cpu")
    history = {row.epoch: row for row in read_table(job.path / "history.parquet").itertuples()}
    epochs = [entry["epoch"] for entry in pretrained.entries]
    assert len({measured(history[epoch]) for epoch in epochs}) == len(epochs)
    for epoch in epochs:
        outcome = continued(job, pretrained, epoch)
        for record in outcome.history:
            same = measured(record) == measured(history[epoch])
            assert same == (recalibrated or record.epoch == 0)


def with_other_test_labels(job: Job, context: store.JobContext) -> Mapping[str, Any]:
    """Make a dataset whose test images have each other's labels."""
    summary = data.make(job, context)
    path = context.out / "images.safetensors"
    arrays = load_file(path)
    tested = np.flatnonzero(arrays["test"])
    order = np.random.default_rng(0).permutation(tested)
    arrays["labels"][tested] = arrays["labels"][order]
    save_file(arrays, path)
    return summary


CHOSEN = ["source_epoch", "learning_rate", "best_epoch", "validation_accuracy"]


def study_with(make_data: store.Function) -> dict[str, Any]:
    """Do the whole study; return what validation chose in it, and what was read on test images."""
    of = plan(source_epochs=[0, 2, 4, "best"], draws=[0], learning_rates=[0.1, 0.03])
    steps = {"data": make_data, "pretrain": pretrain.make, "transfer": transfer.make}
    for step, make in {**steps, "tables": tables.make}.items():
        for job in of.jobs(step):
            store.run(job, make)
    pretrained, (table,) = of.jobs("pretrain"), of.jobs("tables")
    measurements = check_table(read_table(table.path / "measurements.parquet"))
    (contrast,) = contrasts(measurements)
    accuracies = accuracy_tensors(measurements, contrast)
    read_on_test = pd.concat([runs(job)["test_accuracy"] for job in of.jobs("transfer")])
    return {
        "weights": [
            [entry["sha256"] for entry in read_json(job.path / "checkpoints.json")["checkpoints"]]
            for job in pretrained
        ],
        "best": [read_json(job.path / "checkpoints.json")["best"] for job in pretrained],
        "runs": [runs(job)[CHOSEN].to_dict() for job in of.jobs("transfer")],
        "source_best": accuracies.source_best.tolist(),
        "rates": tune_learning_rate(accuracies.validation).tolist(),
        "test": read_on_test.tolist(),
    }


def test_other_labels_of_test_images_change_no_epoch_learning_rate_or_weight(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for make_data in (data.make, with_other_test_labels):
        folder = tmp_path / make_data.__name__
        folder.mkdir()
        monkeypatch.chdir(folder)
        found.append(study_with(make_data))
    plain, permuted = found
    assert plain.pop("test") != permuted.pop("test")
    assert len({rate for epoch in plain["rates"] for rate in epoch}) > 1
    assert plain == permuted
