"""One source network: its checkpoints, the images that it is measured on, and runs from its starts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from headstart.artifacts.files import read_table
from headstart.artifacts.keys import Job, derive_seed
from headstart.artifacts.store import JobContext
from headstart.metrics import grid_players
from headstart.networks.network import Network
from headstart.params.recipe import Selection, Training
from headstart.steps.sections import model_of, read_task
from headstart.studies.joined.params import Joined
from headstart.tasks.batches import EvaluationBatches, TrainBatches
from headstart.tasks.task import LabelledImages, TrainImages, draw_shots
from headstart.training.assembly import (
    EVALUATION_BATCH,
    RunImages,
    RunSeeds,
    train_group,
    train_run,
)
from headstart.training.checkpoint_series import CheckpointSeries
from headstart.training.loop import Outcome

FIRST, SECOND, RANDOM_LABELS = "first", "second", "random labels"
"""Runs of every start: the one that `transfer` makes too, the same in another order, and on labels that say nothing."""


@dataclass(frozen=True)
class Planned:
    """A run to be made: from which network, on which images, in which order, at which rate."""

    start: Network
    images: RunImages
    order: str
    learning_rate: float


@dataclass(frozen=True)
class Ended:
    """A run that ended: its records, and its network after the last epoch."""

    outcome: Outcome
    network: Network

    @property
    def accuracy(self) -> float:
        """Return the test accuracy at the epoch that validation chose."""
        return float(self.outcome.test_accuracy_at_best or 0.0)


@dataclass(frozen=True)
class Masked:
    """Images of which interactions are read: normalised pixels, and labels."""

    images: Float[Tensor, "images channels height width"]
    labels: Int64[Tensor, " images"]


class SourceNetwork:
    """The checkpoints, images and runs of one job."""

    def __init__(self, job: Job, context: JobContext) -> None:
        self.job, self.context, self._groups = job, context, 0
        target = job.wildcards["target"]
        self.options = Joined.model_validate({**job.params["joined"], "target": target})
        self.training = Training.model_validate(job.params["training"])
        self.task = read_task(target, job.params, context.input("data"))
        source = {"task": job.params["source_task"]}
        self.source_task = read_task(job.wildcards["source"], source, context.input("source_data"))
        shape = self.task.train.images.shape
        self.model = model_of(job.params)
        self.series = CheckpointSeries(context.input("pretrain"), self.model, shape, context.device)
        self.normalization = self.series.normalization_by(
            job.params["normalization"], self.task.train
        )
        drawn = draw_shots(self.task, self.options.shots, job.params["draw"])
        self.images = RunImages(drawn, self.task, self.normalization)
        self.unlearnable = RunImages(self._permuted(drawn), self.task, self.normalization)
        self.players = grid_players(
            shape[-2], shape[-1], self.options.rows, self.options.columns, self._cells()
        )

    def start(self, epoch: int) -> Network:
        """Return a checkpoint with the head that all its runs begin with."""
        return self.series.start(epoch, len(self.task.classes), self.job.params["head_seed"])

    def tuned_rates(self) -> dict[int, tuple[float, float]]:
        """Return by source epoch the rate that validation images prefer, and its test accuracy."""
        runs = read_table(self.context.input("transfer").file("runs.parquet"))
        mine = (runs["shots"] == str(self.options.shots)) & (
            runs["draw"] == self.job.params["draw"]
        )
        best = runs[mine].sort_values("validation_accuracy", kind="stable")
        best = best.drop_duplicates("source_epoch", keep="last")
        rows = best[["source_epoch", "learning_rate", "test_accuracy"]].itertuples(index=False)
        return {int(epoch): (float(rate), float(accuracy)) for epoch, rate, accuracy in rows}

    def train(self, runs: Mapping[Any, Planned], mode: str = "finetune") -> dict[Any, Ended]:
        """Make runs, as many together as there are slots."""
        names, slots = list(runs), self.job.params["slots"] or 1
        ended: dict[Any, Ended] = {}
        for begun in range(0, len(names), slots):
            group = names[begun : begun + slots]
            planned = [runs[name] for name in group]
            together = self._together(planned, slots, mode) if slots > 1 else None
            found = together or [self._alone(each, mode) for each in planned]
            ended |= dict(zip(group, found, strict=True))
        return ended

    def heads(self, starts: Mapping[Any, Network]) -> dict[Any, Network]:
        """Return networks whose heads were trained on their frozen features: what a start knows of the target."""
        rate = self.options.probe_rate
        runs = {name: Planned(start, self.images, FIRST, rate) for name, start in starts.items()}
        return {name: each.network for name, each in self.train(runs, "probe").items()}

    def masked(self, images: LabelledImages, number: int, purpose: str) -> Masked:
        """Return so many images as networks see them, the same of every source network."""
        pixels, labels = self._drawn(images, number, purpose)
        device = self.context.device
        return Masked(self.normalization.apply(pixels.to(device)), labels.to(device))

    def unit_pixels(self, number: int) -> Float[Tensor, "images channels height width"]:
        """Return so many test images with pixels in [0, 1], the same of every source network."""
        return self._drawn(self.task.test, number, "inversions")[0].to(self.context.device) / 255

    def _drawn(self, images: LabelledImages, number: int, purpose: str) -> tuple[Tensor, Tensor]:
        generator = torch.Generator().manual_seed(derive_seed("joined", purpose, self.task.name))
        chosen = torch.randperm(len(images.labels), generator=generator)[:number]
        return images.images[chosen].float(), images.labels[chosen]

    def source_batches(self) -> tuple[EvaluationBatches, TrainBatches]:
        """Return the source's validation images, and its training images in shuffled batches."""
        options = (EVALUATION_BATCH, self.context.device, self.training.channels_last)
        held = EvaluationBatches(self.source_task.validation, self.series.normalization, *options)
        return held, self._shuffled(self.source_task.train, self.series.normalization)

    def training_batches(self) -> TrainBatches:
        """Return the target's training images in shuffled batches: what statistics are estimated on."""
        return self._shuffled(self.images.train, self.normalization)

    def held_batches(self) -> tuple[EvaluationBatches, EvaluationBatches]:
        """Return the target's validation and test images."""
        options = (EVALUATION_BATCH, self.context.device, self.training.channels_last)
        validation, test = (
            EvaluationBatches(part, self.normalization, *options)
            for part in (self.task.validation, self.task.test)
        )
        return validation, test

    def seed(self, purpose: str) -> int:
        """Return the seed of one purpose of this network."""
        return derive_seed("joined", purpose, *self.job.wildcards.values())

    def _shuffled(self, images: TrainImages, normalization: Any) -> TrainBatches:
        training = self.training
        return TrainBatches(
            images,
            normalization,
            max(training.batch_size, 2),
            training.augmentation,
            self.context.device,
            derive_seed("joined", "statistics", self.task.name),
            training.channels_last,
        )

    def _permuted(self, images: TrainImages) -> TrainImages:
        """Return images with labels dealt out anew: nothing can be learnt but each image by heart."""
        seed = derive_seed("joined", "random labels", *self.job.wildcards.values())
        order = torch.randperm(len(images.labels), generator=torch.Generator().manual_seed(seed))
        return TrainImages(images.images, images.labels[order], images.classes)

    def _cells(self) -> Sequence[tuple[int, int]]:
        rows, columns = self.options.rows, self.options.columns
        return [(row, column) for row in range(rows) for column in range(columns)]

    def _rules(self, mode: str) -> dict[str, Any]:
        self._groups += 1
        return {
            "mode": mode,
            "device": self.context.device,
            "selection": Selection(),
            "test_epochs": {self.training.epochs},
            "resume": self.context.state / f"run-{self._groups}.pt",
            "fingerprint": f"{self.context.out} {self._groups}",
            "report": lambda _: None,
        }

    def _seeds(self, planned: Iterable[Planned]) -> list[RunSeeds]:
        """Return seeds: of the first order they are those of the same run of `transfer`."""
        names = [self.job.wildcards[name] for name in ("source", "model", "target", "seed")]
        run = (*names, self.options.shots, self.job.params["draw"])
        again = {FIRST: ()}
        return [
            RunSeeds("transfer", (*run, *again.get(each.order, (each.order,)))) for each in planned
        ]

    def _together(self, runs: list[Planned], slots: int, mode: str) -> list[Ended] | None:
        rules = self._rules(mode)
        found = train_group(
            [each.start for each in runs],
            [each.images for each in runs],
            self.training,
            [each.learning_rate for each in runs],
            self._seeds(runs),
            slots,
            **rules,
        )
        rules["resume"].unlink(missing_ok=True)
        return [Ended(*each) for each in found] if found else None

    def _alone(self, run: Planned, mode: str) -> Ended:
        network, rules = deepcopy(run.start), self._rules(mode)
        (seeds,) = self._seeds([run])
        rate = run.learning_rate
        outcome = train_run(network, run.images, self.training, rate, seeds, **rules)
        rules["resume"].unlink(missing_ok=True)
        return Ended(outcome, network)
