"""One training run, assembled from images and params: the same way for every arm.

Pre-training, transfer and trajectories differ in where their network starts, in the images, and in what
they keep. From there on a learning rate and a batch of images go one way, which is here.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from headstart.artifacts.keys import derive_seed
from headstart.networks.network import Network
from headstart.params.recipe import Selection, Training
from headstart.tasks.batches import EvaluationBatches, Normalization, TrainBatches
from headstart.tasks.task import Task, TrainImages
from headstart.training.evaluation import CLASSIFICATION, RECONSTRUCTION
from headstart.training.features import cached, head_only
from headstart.training.interventions import recalibrate
from headstart.training.loop import EpochRecord, Keep, Outcome, fit

# Larger ones leave the cache of a CPU core, and take longer per image.
EVALUATION_BATCH = 256


@dataclass(frozen=True)
class RunImages:
    """What a run sees: training images, those of its task to evaluate on, and their normalisation."""

    train: TrainImages
    task: Task
    normalization: Normalization


@dataclass(frozen=True)
class RunSeeds:
    """What decides a run's randomness; runs of the same names are compared in pairs.

    Attributes:
        purpose: which part of the study trains, in the seed of the order of images.
        names: source, model, seed and the like.
    """

    purpose: str
    names: tuple[Any, ...]

    def of(self, purpose: str) -> int:
        """Return the seed of one purpose."""
        return derive_seed(purpose, *self.names)


def train_run(
    network: Network,
    images: RunImages,
    training: Training,
    learning_rate: float,
    seeds: RunSeeds,
    *,
    mode: str,
    device: str,
    selection: Selection,
    test_epochs: Collection[int] | Literal["all"],
    resume: Path,
    fingerprint: str,
    report: Callable[[EpochRecord], None],
    keep: Keep | None = None,
) -> Outcome:
    """Train a network in place, on the device.

    In mode `probe` only its head moves, on features that the frozen backbone gives once, after its
    running statistics were estimated anew where the params want that; in mode `reconstruct` it gives
    images. Every other mode trains all weights to tell classes apart. The rest is as `fit` says.
    """
    network.to(device)
    train: Any = TrainBatches(
        images.train,
        images.normalization,
        training.batch_size,
        training.augmentation,
        device,
        seeds.of(seeds.purpose),
        training.channels_last,
    )
    evaluated: Iterable[Any] = (
        EvaluationBatches(
            part, images.normalization, EVALUATION_BATCH, device, training.channels_last
        )
        for part in (images.task.validation, images.task.test)
    )
    trained = network
    if mode == "probe":
        if training.recalibrate_batch_norm:
            recalibrate(network, train.epoch(0))
        trained, train = head_only(network), cached(network, train)
        evaluated = [cached(network, part) for part in evaluated]
    validation, test = evaluated
    return fit(
        trained,
        train,
        validation,
        test,
        training,
        learning_rate,
        seeds.of("training"),
        objective=RECONSTRUCTION if mode == "reconstruct" else CLASSIFICATION,
        selection=selection,
        test_epochs=test_epochs,
        keep=keep,
        resume=resume,
        fingerprint=fingerprint,
        report=report,
    )
