"""Step `plasticity`: how well every kept checkpoint of a network can still learn.

Images are validation images: of the source task, and of the targets that the model transfers to,
normalised as the source was. Nothing is chosen by them here.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from headstart.artifacts.files import write_table
from headstart.artifacts.keys import Job, derive_seed
from headstart.artifacts.log import duration
from headstart.artifacts.store import JobContext
from headstart.metrics.plasticity.noise import weight_scales
from headstart.networks.build import new_head
from headstart.networks.network import Network
from headstart.params.recipe import Pretrain
from headstart.steps.sections import model_of, pretrain_of, read_tasks
from headstart.studies.early_stopping.checkpoint_measurements import (
    Measurement,
    measure_features,
    measure_noise,
    measure_random_labels,
    measure_source,
    measure_start,
    measure_weights,
)
from headstart.studies.early_stopping.params import Plasticity
from headstart.tasks.batches import Batch, EvaluationBatches, TrainBatches
from headstart.tasks.task import Task as Images
from headstart.tasks.task import ValidationImages
from headstart.training.assembly import EVALUATION_BATCH
from headstart.training.checkpoint_series import CheckpointSeries
from headstart.training.rules import learning_rate


def make(job: Job, context: JobContext) -> Mapping[str, Any]:
    """Measure every kept checkpoint and write one row per measurement."""
    subject = Subject(job, context)
    epochs = subject.epochs
    tasks = ", ".join(f"{len(held.labels)} of {name}" for name, held in subject.held.items())
    context.log(f"{context.device}, {len(epochs)} checkpoints, validation images: {tasks}")
    parts, started = [], time.monotonic()
    for number, epoch in enumerate(epochs, 1):
        parts.append(subject.measure(epoch))
        left = (time.monotonic() - started) / number * (len(epochs) - number)
        context.log(
            f"{_describe(epoch, parts[-1], subject.source)}  {duration(left)} left",
            detail=number % max(1, len(epochs) // 4) > 0,
        )
    table = pd.concat(parts, ignore_index=True)
    write_table(context.out / "plasticity.parquet", table)
    undefined = int(table["value"].isna().sum())
    context.log(f"{len(table)} measurements, {undefined} of them undefined, with the reason beside")
    return {
        "seed": job.wildcards["seed"],
        "dtype": "float32",
        "summary": {"measurements": len(table), "undefined": undefined},
    }


class Subject:
    """A network, its checkpoints, and the images that it is measured on."""

    def __init__(self, job: Job, context: JobContext) -> None:
        self.job, self.context = job, context
        self.options = Plasticity.model_validate(job.params["plasticity"])
        self.pretrain = pretrain_of(job.params)
        self.source = job.wildcards["source"]
        tasks = read_tasks(job, context)
        self.held = {name: drawn(task, self.options.images) for name, task in tasks.items()}
        shape = self.held[self.source].images.shape
        self.checkpoints = CheckpointSeries(
            context.input("pretrain"), model_of(job.params), shape, context.device
        )
        self.epochs: list[int] = [entry["epoch"] for entry in self.checkpoints.entries]
        self.batches = {name: self._batches(images) for name, images in self.held.items()}
        self.source_held = self._batches(tasks[self.source].validation)
        self.source_train = TrainBatches(
            tasks[self.source].train,
            self.checkpoints.normalization,
            self.pretrain.batch_size,
            self.pretrain.augmentation,
            context.device,
            derive_seed("statistics", self.source),
            self.pretrain.channels_last,
        )
        self.scales = weight_scales(self.checkpoints.network(0))

    def measure(self, epoch: int) -> pd.DataFrame:
        """Return all measurements of one checkpoint.

        Columns: source_epoch, target (the task whose images were read; the source for measures of
        weights alone), metric, value, reason (of a NaN), images (how many were read).
        """
        network = self.checkpoints.network(epoch)
        pair = self.batches[self.source][0][0][:2]
        weights = measure_weights(network.backbone, pair, rate_at(self.pretrain, epoch))
        rows = [(self.source, 0, measurement) for measurement in weights]
        rows += self._measure_source(network)
        for name, images in self.held.items():
            measurements = self._measure_task(network, name)
            rows += [(name, len(images.labels), measurement) for measurement in measurements]
        probed = self._probed()
        rows += [
            (self.source, len(probed), measurement)
            for measurement in self._fit_random_labels(network, probed)
        ]
        return pd.DataFrame(
            [(epoch, target, *measurement, number) for target, number, measurement in rows],
            columns=["source_epoch", "target", "metric", "value", "reason", "images"],
        )

    def _measure_source(self, network: Network) -> list[tuple[str, int, Measurement]]:
        """Measure what the network knows of its source, with the head that it was trained with."""
        held = sum(len(labels) for _, labels in self.source_held)
        found = measure_source(network, self.source_held, self.source_train.epoch(0))
        rows = [(self.source, held, measurement) for measurement in found]
        if self.options.weight_noise:
            seed = derive_seed("weight noise", self.source, *self._names())
            batches = self.batches[self.source]
            disturbed = measure_noise(network, batches, self.scales, self.options, seed)
            rows += [(self.source, len(self.held[self.source].labels), each) for each in disturbed]
        return rows

    def _names(self) -> tuple[str, str]:
        return self.job.wildcards["model"], self.job.wildcards["seed"]

    def _measure_task(self, network: Network, name: str) -> list[Measurement]:
        batches = self.batches[name]
        self._give_new_head(network, name)
        return [
            *measure_features(network, batches, self.options.tau),
            *measure_start(network, batches, self.options.hessian),
        ]

    def _probed(self) -> Tensor:
        images = torch.cat([images for images, _ in self.batches[self.source]])
        return images[: self.options.random_labels.images]

    def _fit_random_labels(self, network: Network, images: Tensor) -> list[Measurement]:
        """Fit labels that all checkpoints of a network share and that differ between networks."""
        self._give_new_head(network, self.source)
        seed = derive_seed("random labels", self.source, *self._names())
        return measure_random_labels(network, images, self.options.random_labels, seed)

    def _give_new_head(self, network: Network, name: str) -> None:
        """Give a network the head that transfer to a task starts with."""
        new_head(network, len(self.held[name].classes), self.options.head_seed)

    def _batches(self, images: ValidationImages) -> list[Batch]:
        return list(
            EvaluationBatches(
                images,
                self.checkpoints.normalization,
                EVALUATION_BATCH,
                self.context.device,
                self.pretrain.channels_last,
            )
        )


def drawn(task: Images, number: int) -> ValidationImages:
    """Return at most so many validation images of a task, drawn by a seed made of the task's name.

    Fewer are among more, in the same order, and every network is measured on the same ones.
    """
    whole = task.validation
    generator = torch.Generator().manual_seed(derive_seed("plasticity", task.name))
    chosen = torch.randperm(len(whole.labels), generator=generator)[:number]
    return ValidationImages(whole.images[chosen], whole.labels[chosen], whole.classes)


def rate_at(options: Pretrain, epoch: int) -> float:
    """Return the learning rate in the middle of the epoch that ended with a checkpoint.

    For the untrained network, epoch 0, it is that of the first epoch; of a run that was trained elsewhere
    it is not known.
    """
    if options.series:
        return math.nan
    return learning_rate(
        options.schedule, options.learning_rate, max(epoch, 1) - 0.5, options.epochs
    )


def _describe(epoch: int, table: pd.DataFrame, source: str) -> str:
    values = table[table["target"] == source].set_index("metric")["value"]
    return (
        f"source epoch {epoch}: effective rank {values['effective_rank']:.1f}, "
        f"dormant (ReDo) {values['redo_dormant_fraction']:.1%}, "
        f"gradient norm {values['gradient_norm']:.3g}, "
        f"random-label loss {values['random_label_loss']:.3f}"
    )
