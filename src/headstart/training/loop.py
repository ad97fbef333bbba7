"""The one training loop of every arm: pre-training, fine-tuning, probing, relearning, scratch."""

import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Literal

import torch

from headstart.networks.network import Network
from headstart.params.recipe import Selection, Training
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

Keep = Callable[[int, Network, Progress], None]
Report = Callable[[EpochRecord], None]


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
    save_every_seconds: float = 30.0,
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
    updates = Updates(network, train, training, learning_rate, seed, objective)
    run = Run(network, updates, validation, test, selection, test_epochs)
    fingerprint = f"{fingerprint}\n{run.identity()}"
    state = read_state(resume, fingerprint, updates.device) if resume else None
    if state:
        run.restore(state)
    saved = time.monotonic()
    devices = [updates.device] if updates.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        while not run.finished:
            record = run.advance()
            if keep:
                keep(record.epoch, network, run.progress())
            if resume and record.epoch and time.monotonic() - saved >= save_every_seconds:
                write_state(resume, fingerprint, run.state())
                saved = time.monotonic()
            if report:
                report(record)
        return run.outcome()
