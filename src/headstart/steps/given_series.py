"""Checkpoints of a run that was trained elsewhere, as an artifact of `pretrain`: nothing is trained here.

Epoch 0 is the network as it is built, with random weights, unless the series has an epoch 0 of its own.
Checkpoints that have the head of the source's classes are read with it; of others no accuracy is known.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor

from headstart.artifacts.files import file_sha256
from headstart.artifacts.store import JobContext
from headstart.networks.network import Network, NetworkError
from headstart.networks.weights import state_digest
from headstart.params.recipe import GivenCheckpoint, Selection
from headstart.tasks.batches import EvaluationBatches
from headstart.training.assembly import EVALUATION_BATCH, RunImages
from headstart.training.checkpoint_series import Keeper
from headstart.training.checkpoints import distance
from headstart.training.evaluation import Evaluation, evaluate
from headstart.training.records import EpochRecord, Outcome, Progress
from headstart.training.rules import best_epoch

HEAD = "head."


def read_series(
    network: Network,
    series: Sequence[GivenCheckpoint],
    images: RunImages,
    keeper: Keeper,
    selection: Selection,
    context: JobContext,
) -> Outcome:
    """Put every checkpoint of a series into an artifact, with its accuracies where it has a head.

    Raises:
        NetworkError: a file is missing, is not the one that the params name, or of another network.
    """
    network.to(context.device)
    states = {each.epoch: read_state(each, network) for each in series}
    for line in series_problems(states):
        context.log(f"BEWARE: {line}")
    states.setdefault(0, {})
    history: list[EpochRecord] = []
    for epoch, state in sorted(states.items()):
        network.load_state_dict({**network.state_dict(), **state})
        # An untrained head, on a backbone whose own is not known, says nothing.
        read = not state or f"{HEAD}weight" in state
        record = _record(epoch, network, images, context.device) if read else _unread(epoch)
        history.append(record)
        keeper(epoch, network, Progress(tuple(history), epoch, diverged=False))
    return _outcome(history, network, selection, context)


def series_problems(states: dict[int, dict[str, Tensor]]) -> Iterator[str]:
    """Yield which checkpoints of a series have equal weights, or do not move away from the first one."""
    epochs = sorted(states)
    digests = {epoch: state_digest(states[epoch]) for epoch in epochs}
    for following in epochs:
        same = [each for each in epochs if each < following and digests[each] == digests[following]]
        if same:
            yield f"epochs {same[0]} and {following} have the same weights: one of them is another's file"
    moved = {epoch: distance(states[epochs[0]], states[epoch]) for epoch in epochs[1:]}
    for epoch, following in pairwise(moved):
        if moved[following] <= moved[epoch]:
            yield (
                f"the distance from epoch {epochs[0]} does not grow from epoch {epoch} ({moved[epoch]:.4g}) "
                f"to {following} ({moved[following]:.4g}): see that no two files are swapped"
            )


def read_state(given: GivenCheckpoint, network: Network) -> dict[str, Tensor]:
    """Return the weights of one checkpoint, its head only where it fits the network's.

    Raises:
        NetworkError: the file is missing, is not the one that the params name, or of another network.
    """
    path = Path(given.path)
    try:
        if (found := file_sha256(path)) != given.sha256:
            raise NetworkError(
                f"{path}: its content has sha256 {found}, but the params say {given.sha256}; restore the "
                "file, or run `headstart import` again"
            )
    except OSError as error:
        raise NetworkError(f"{path}: this checkpoint cannot be read: {error.strerror}") from None
    state, own = load_file(path), network.state_dict()
    if any(state[name].shape != own[name].shape for name in own if name in state and HEAD in name):
        state = {name: value for name, value in state.items() if not name.startswith(HEAD)}
    wrong = [name for name in own if not name.startswith(HEAD) and name not in state]
    wrong += [name for name in state if name not in own or state[name].shape != own[name].shape]
    if wrong:
        raise NetworkError(f"{path}: a checkpoint of another network: {wrong[0]} does not fit")
    return state


def _record(epoch: int, network: Network, images: RunImages, device: str) -> EpochRecord:
    parts: tuple[Any, ...] = (images.train, images.task.validation, images.task.test)
    train, validation, test = (
        evaluate(network, EvaluationBatches(part, images.normalization, EVALUATION_BATCH, device))
        for part in parts
    )
    return _as_record(epoch, train, validation, test.accuracy)


def _unread(epoch: int) -> EpochRecord:
    nothing = Evaluation(math.nan, math.nan)
    return _as_record(epoch, nothing, nothing, math.nan)


def _as_record(epoch: int, train: Evaluation, validation: Evaluation, test: float) -> EpochRecord:
    numbers = (train.loss, train.accuracy, validation.loss, validation.accuracy)
    return EpochRecord(epoch, 0.0, *numbers, test, steps=0, samples=0, seconds=0.0)


def _outcome(
    history: list[EpochRecord], network: Network, selection: Selection, context: JobContext
) -> Outcome:
    read = [record for record in history if not math.isnan(record.validation_accuracy)]
    best = best_epoch(read, selection) if len(read) > 1 else history[-1].epoch
    if len(read) < len(history):
        context.log(
            f"{len(history) - len(read)} checkpoints have no head for the source's classes: their source "
            "accuracy is not known" + ("; `best` is the last epoch" if len(read) < 2 else "")
        )
    at_best = next(record for record in history if record.epoch == best)
    return Outcome(
        tuple(history), best, network.state_dict(), at_best.test_accuracy, None, False, ""
    )
