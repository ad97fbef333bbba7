"""The one training loop of every arm: pre-training, fine-tuning, probing, relearning, scratch."""

import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Literal

import torch

from headstart.networks.network import Network
from headstart.params.recipe import Selection, Training
from headstart.training import TrainingError
from headstart.training.evaluation import CLASSIFICATION, Objective
from headstart.training.optimizers import Updates
from headstart.training.records import (
    EpochRecord,
    EvaluationData,
    Outcome,
    Progress,
    TrainingBatches,
)
from headstart.training.run import Run, read_state, write_state

__all__ = ["EpochRecord", "Outcome", "Progress", "fit"]

SAVE_EVERY_SECONDS = 30.0
Keep = Callable[[int, Network, Progress], None]
Report = Callable[[EpochRecord], None]
Records = Callable[[list[EpochRecord]], None]


def fit(
    network: Network,
    train: TrainingBatches,
    validation: EvaluationData,
    test: EvaluationData | None,
    training: Training,
    learning_rate: float,
    seed: int,
    *,
    objective: Objective = CLASSIFICATION,
    selection: Selection,
    test_epochs: Collection[int] | Literal["all"],
    keep: Keep | None = None,
    resume: Path | None = None,
    fingerprint: str = "",
    report: Report | None = None,
    save_every_seconds: float | None = None,
) -> Outcome:
    """Train a network in place for `training.epochs` epochs, always all of them.

    Validation is read after every epoch, and before the first as epoch 0; `selection` picks the
    best epoch from it. Test accuracy is read at `test_epochs`, after the last epoch, and with the
    weights of the best one; it decides nothing. A run that diverged is trained on, and its best
    epoch is its last, so that no single lucky epoch can win. The network ends with the weights of
    the last epoch.

    The network and its data are on one device. Randomness inside the network, such as dropout,
    comes from `seed` and the epoch; torch's global generators are given back as they were.

    Args:
        objective: what is minimised; one without classes has NaN for accuracies.
        keep: called at epoch 0 and after every epoch, so that the caller can save checkpoints.
        resume: a file for the state of an unfinished run, written between epochs at most every
            `save_every_seconds`. Where it exists and fits, training goes on from it and ends in the
            same weights and history (on the CPU bit for bit); otherwise it is deleted. `keep` and
            `report` are called for the epochs after it only. The caller deletes it in the end.
        fingerprint: what the state depends on besides the arguments: code, data, first weights.
        report: called with the record of each epoch.

    Raises:
        TrainingError: `bfloat16` without CUDA, or a head that does not fit the number of classes.
    """
    if head_mismatch := objective.head_mismatch(network, train.num_classes):
        raise TrainingError(head_mismatch)
    updates = Updates(network, train, training, learning_rate, seed, objective)
    run = Run(updates, validation, test, selection, test_epochs)

    def kept(records: list[EpochRecord]) -> None:
        if keep:
            keep(records[0].epoch, network, run.progress())

    def reported(records: list[EpochRecord]) -> None:
        if report:
            report(records[0])

    return complete(run, resume, fingerprint, kept, reported, save_every_seconds)[0]


def complete(
    run: Run,
    resume: Path | None,
    fingerprint: str,
    keep: Records | None,
    report: Records,
    save_every_seconds: float | None = None,
) -> list[Outcome]:
    """Do what is left of a run, or of stacked runs, and return how each ended; see `fit`."""
    device = run.updates.device
    fingerprint = f"{fingerprint}\n{run.identity()}"
    state = read_state(resume, fingerprint, device) if resume else None
    if state:
        run.restore(state)
    saved, wait = time.monotonic(), SAVE_EVERY_SECONDS
    wait = wait if save_every_seconds is None else save_every_seconds
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        while not run.finished:
            records = run.advance()
            if keep:
                keep(records)
            if resume and records[0].epoch and time.monotonic() - saved >= wait:
                write_state(resume, fingerprint, run.state())
                saved = time.monotonic()
            report(records)
        return run.outcomes()
