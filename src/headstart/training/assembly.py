"""One training run, assembled from images and params: the same way for every arm.

Pre-training, transfer and trajectories differ in where their network starts, in the images, and in what
they keep. From there on a learning rate and a batch of images go one way, which is here.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from headstart.artifacts.keys import derive_seed
from headstart.networks.network import Network
from headstart.networks.stacked import stack
from headstart.params.recipe import Selection, Training
from headstart.tasks.batches import EvaluationBatches, Normalization, TrainBatches
from headstart.tasks.task import Task, TrainImages
from headstart.training.evaluation import CLASSIFICATION, RECONSTRUCTION
from headstart.training.features import cached, head_only
from headstart.training.interventions import recalibrate
from headstart.training.loop import EpochRecord, Keep, Outcome, complete, fit
from headstart.training.run import Run
from headstart.training.stacked import StackedBatches, StackedUpdates

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
    train: Any = _train_batches(images, training, seeds, device)
    evaluated: Any = _evaluation_batches(images, training, device)
    trained = network
    if mode == "probe":
        trained, train, evaluated = _probe(network, train, evaluated, training)
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


def train_group(
    networks: Sequence[Network],
    images: Sequence[RunImages],
    training: Training,
    rates: Sequence[float],
    seeds: Sequence[RunSeeds],
    slots: int,
    *,
    mode: str,
    device: str,
    selection: Selection,
    test_epochs: Collection[int] | Literal["all"],
    resume: Path,
    fingerprint: str,
    report: Callable[[list[EpochRecord]], None],
) -> list[tuple[Outcome, Network]] | None:
    """Train runs of one length as one program of so many slots; return how each ended, and its network.

    Runs may share a start and images, which are then prepared once. Each is trained as `train_run` would,
    to rounding; its bits depend on the number of slots, and on no other run. Networks that cannot be
    stacked give None.
    """
    shared = _evaluation_batches(images[0], training, device)
    streams: dict[Any, TrainBatches] = {}
    prepared: dict[Any, tuple[Network, Any, Any]] = {}
    runs: list[tuple[Network, Any, Any]] = []
    for network, part, names in zip(networks, images, seeds, strict=True):
        stream, start = (id(part.train), names), (id(part.train), names, id(network))
        if stream not in streams:
            streams[stream] = _train_batches(part, training, names, device)
        if start not in prepared:
            alone = network.to(device), streams[stream], shared
            prepared[start] = _probe(*alone, training) if mode == "probe" else alone
        runs.append(prepared[start])
    # What is left of the slots, the last run fills.
    rows = [min(row, len(runs) - 1) for row in range(slots)]
    train = StackedBatches([runs[row][1] for row in rows])
    inputs, _ = next(train.epoch(0))
    stacked = stack([runs[row][0] for row in rows], inputs, training.channels_last)
    if stacked is None:
        return None
    validation, test = (StackedBatches([runs[row][2][part] for row in rows]) for part in (0, 1))
    order = [seeds[row].of("training") for row in rows]
    updates = StackedUpdates(stacked, train, training, [rates[row] for row in rows], order)
    run = Run(updates, validation, test, selection, test_epochs)
    outcomes = complete(run, resume, fingerprint, None, report)
    trained = [copy.deepcopy(network) for network in networks]
    for row, network in enumerate(trained):
        moved = head_only(network) if mode == "probe" else network
        moved.load_state_dict({name: each[row] for name, each in stacked.state().items()})
    return list(zip(outcomes[: len(runs)], trained, strict=True))


def _train_batches(
    images: RunImages, training: Training, seeds: RunSeeds, device: str
) -> TrainBatches:
    return TrainBatches(
        images.train,
        images.normalization,
        training.batch_size,
        training.augmentation,
        device,
        seeds.of(seeds.purpose),
        training.channels_last,
    )


def _evaluation_batches(
    images: RunImages, training: Training, device: str
) -> list[EvaluationBatches]:
    """Return the batches of validation and of test images."""
    options = (EVALUATION_BATCH, device, training.channels_last)
    return [
        EvaluationBatches(part, images.normalization, *options)
        for part in (images.task.validation, images.task.test)
    ]


def _probe(
    network: Network, train: TrainBatches, evaluated: list[EvaluationBatches], training: Training
) -> tuple[Network, Any, Any]:
    """Return the head of a network, and the features of all batches under its frozen backbone."""
    if training.recalibrate_batch_norm:
        recalibrate(network, train.epoch(0))
    return head_only(network), cached(network, train), [cached(network, part) for part in evaluated]
