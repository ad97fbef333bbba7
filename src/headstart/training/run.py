"""The state of a training run or of several stacked ones, how it moves on by an epoch, and its file: whole or ignored."""

import hashlib
import io
import logging
import math
import os
import time
from collections.abc import Collection
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import torch

from headstart.networks.network import Network
from headstart.networks.stacked import Stacked
from headstart.params.recipe import Selection, Training
from headstart.training.evaluation import Evaluation, evaluate_each
from headstart.training.interventions import batch_norms, recalibrate
from headstart.training.optimizers import Updates
from headstart.training.records import (
    EpochRecord,
    EvaluationData,
    Outcome,
    Progress,
    State,
    TrainingBatches,
)
from headstart.training.rules import best_epoch, divergence

DIGEST_BYTES = 32
logger = logging.getLogger(__name__)


@dataclass
class Slot:
    """What is known of one run: a record of every epoch, and since when all its logits are NaN."""

    history: list[EpochRecord] = field(default_factory=list)
    lost_at: int | None = None

    def lost(self, epoch: int) -> bool:
        """Return whether an epoch need not be measured: its losses and predictions are those before."""
        return self.lost_at is not None and epoch > self.lost_at + 1

    def last(self) -> tuple[Evaluation, Evaluation]:
        """Return what the last epoch measured on training and on validation images."""
        last = self.history[-1]
        train = Evaluation(last.train_loss, last.train_accuracy)
        return train, Evaluation(last.validation_loss, last.validation_accuracy)


class Run:
    """A network, or stacked ones, and the history of each; `advance` does one epoch, the first time epoch 0."""

    def __init__(
        self,
        updates: Updates,
        validation: EvaluationData,
        test: EvaluationData | None,
        selection: Selection,
        test_epochs: Collection[int] | Literal["all"],
    ) -> None:
        self.network, self.updates = updates.network, updates
        self.train: TrainingBatches = updates.train
        self.validation, self.test, self.selection = validation, test, selection
        self.epochs = updates.training.epochs
        self.test_epochs = range(self.epochs) if test_epochs == "all" else test_epochs
        # A probe's network has no norm: its features were cached by one that has.
        requested = updates.training.recalibrate_batch_norm
        self.recalibrates = requested and bool(batch_norms(self.network))
        self.slots = [Slot() for _ in updates.rates]
        self.best_state: State = {}
        self.objective = updates.objective

    @property
    def epoch(self) -> int:
        """Return the epoch that comes next."""
        return len(self.slots[0].history)

    @property
    def finished(self) -> bool:
        """Return whether all epochs are done."""
        return self.epoch > self.epochs

    def identity(self) -> str:
        """Return a text of all that the run's state depends on, data and first weights apart."""
        updates = self.updates
        # Of a subclass, such as Transfer, only what training reads: a longer grid changes no run.
        training = {name: getattr(updates.training, name) for name in Training.model_fields}
        rules = (training, self.selection, sorted(self.test_epochs), updates.rates, updates.seeds)
        goal = type(self.objective).__name__
        return f"{goal} {rules} torch {torch.__version__} {updates.device.type}"

    def advance(self) -> list[EpochRecord]:
        """Train one epoch, or none the first time, and measure; return a record of each network."""
        epoch, started = self.epoch, time.monotonic()
        lost = [slot.lost(epoch) for slot in self.slots]
        measured: Any = [None]
        # Of several, none stops before the others: its weights would depend on them.
        if len(self.slots) > 1 or not all(lost):
            train = self._train(epoch)
            validation = evaluate_each(self.network, self.validation, self.objective)
            measured = list(zip(train, validation, strict=True))
        both = [
            slot.last() if gone else each
            for slot, gone, each in zip(self.slots, lost, measured, strict=True)
        ]
        rates = self.updates.rates_at(epoch - 1, 0) if epoch else [0.0] * len(self.slots)
        records = [
            self._record(epoch, *values)
            for values in zip(rates, both, self._read_test(epoch), strict=True)
        ]
        seconds = time.monotonic() - started
        for slot, record in zip(self.slots, records, strict=True):
            slot.history.append(replace(record, seconds=seconds))
        self._note_lost(epoch)
        self._keep_best(epoch)
        return [slot.history[-1] for slot in self.slots]

    def progress(self) -> Progress:
        """Return how far the first run is, for whoever keeps checkpoints."""
        best, reason = self._verdict(self.slots[0])
        return Progress(tuple(self.slots[0].history), best, bool(reason))

    def state(self) -> dict[str, Any]:
        """Return all that `restore` needs."""
        return {
            "network": state_of(self.network),
            "optimizer": self.updates.optimizer.state_dict(),
            "histories": [[asdict(record) for record in slot.history] for slot in self.slots],
            "lost_at": [slot.lost_at for slot in self.slots],
            "best_state": self.best_state,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to a state of the same run."""
        load_state(self.network, state["network"])
        self.updates.optimizer.load_state_dict(state["optimizer"])
        for slot, history, lost_at in zip(
            self.slots, state["histories"], state["lost_at"], strict=True
        ):
            slot.history, slot.lost_at = [EpochRecord(**each) for each in history], lost_at
        self.best_state = state["best_state"]

    def outcomes(self) -> list[Outcome]:
        """Return the end of each run; the network keeps the weights of its last epoch."""
        verdicts = [self._verdict(slot) for slot in self.slots]
        ends = [
            slot.history[-1].epoch == best
            for slot, (best, _) in zip(self.slots, verdicts, strict=True)
        ]
        final = copied(state_of(self.network))
        accuracies = self._accuracies_at_best(verdicts, final)
        outcomes = []
        for row, (slot, (best, reason)) in enumerate(zip(self.slots, verdicts, strict=True)):
            state = final if ends[row] else self.best_state
            stacked = isinstance(self.network, Stacked)
            one = {name: (each[row] if stacked else each).cpu() for name, each in state.items()}
            history, last = tuple(slot.history), slot.history[-1].test_accuracy
            outcomes.append(
                Outcome(history, best, one, accuracies[row], last, bool(reason), reason)
            )
        return outcomes

    def _accuracies_at_best(
        self, verdicts: list[tuple[int, str]], final: State
    ) -> list[float | None]:
        """Return test accuracy at each best epoch, measured now where it was not read then."""
        read = [
            slot.history[best].test_accuracy
            for slot, (best, _) in zip(self.slots, verdicts, strict=True)
        ]
        if self.test is None or None not in read:
            return read
        load_state(self.network, self.best_state)
        found = [each.accuracy for each in evaluate_each(self.network, self.test, self.objective)]
        load_state(self.network, final)
        return [new if old is None else old for old, new in zip(read, found, strict=True)]

    def _verdict(self, slot: Slot) -> tuple[int, str]:
        """Return the best epoch, and why the run counts as diverged; then the best is the last."""
        reason = divergence(slot.history, self.train.num_classes, self.objective)
        best = slot.history[-1].epoch if reason else best_epoch(slot.history, self.selection)
        return best, reason

    def _train(self, epoch: int) -> list[Evaluation]:
        """Do the updates of an epoch, none at epoch 0, and make the network ready to be evaluated."""
        train = self.updates.epoch(epoch - 1) if epoch else None
        if self.recalibrates:
            recalibrate(self.network, self.train.epoch(0))
        # Before any update, the first epoch's batches in evaluation mode.
        return train or evaluate_each(self.network, self.train.epoch(0), self.objective)

    def _record(
        self,
        epoch: int,
        rate: float,
        measured: tuple[Evaluation, Evaluation],
        test_accuracy: float | None,
    ) -> EpochRecord:
        train, validation = measured
        return EpochRecord(
            epoch=epoch,
            learning_rate=rate,
            train_loss=train.loss,
            train_accuracy=train.accuracy,
            validation_loss=validation.loss,
            validation_accuracy=validation.accuracy,
            test_accuracy=test_accuracy,
            steps=epoch * self.train.steps,
            samples=epoch * self.train.num_images,
            seconds=0.0,
        )

    def _read_test(self, epoch: int) -> list[float | None]:
        if self.test is None or (epoch not in self.test_epochs and epoch < self.epochs):
            return [None] * len(self.slots)
        return [each.accuracy for each in evaluate_each(self.network, self.test, self.objective)]

    def _note_lost(self, epoch: int) -> None:
        """Note which networks have a NaN in every logit, for every image and for ever.

        A weight that is NaN stays NaN under any update, and makes its logit NaN. Once each row of
        the head has one, losses and predictions no longer change, so that later epochs (from the
        second on: the one that follows measures the training images) need not be computed.
        """
        finite = [math.isfinite(slot.history[-1].train_loss) for slot in self.slots]
        if all(finite):
            return
        head = state_of(self.network)["head.weight"]
        lost = head.isnan().any(-1).all(-1).reshape(-1).tolist()
        for slot, gone, fine in zip(self.slots, lost, finite, strict=True):
            if slot.lost_at is None and gone and not fine:
                slot.lost_at = epoch

    def _keep_best(self, epoch: int) -> None:
        """Copy the weights of the networks whose best epoch so far this one is."""
        rows = [
            row
            for row, slot in enumerate(self.slots)
            if best_epoch(slot.history, self.selection) == epoch
        ]
        state = state_of(self.network)
        if len(rows) == len(self.slots):
            self.best_state = copied(state)
        elif rows:
            for name, tensor in state.items():
                self.best_state[name][rows] = tensor[rows]


def state_of(network: Network | Stacked) -> State:
    """Return parameters and buffers, of stacked networks [K, ...]."""
    return network.state() if isinstance(network, Stacked) else network.state_dict()


def load_state(network: Network | Stacked, state: State) -> None:
    """Take over what `state_of` returned."""
    if isinstance(network, Stacked):
        network.load(state)
    else:
        network.load_state_dict(state)


def copied(state: State) -> State:
    """Return copies of tensors, contiguous in memory."""
    return {
        name: tensor.detach().clone(memory_format=torch.contiguous_format)
        for name, tensor in state.items()
    }


def write_state(path: Path, fingerprint: str, state: dict[str, Any]) -> None:
    """Write tensors, numbers and texts for `read_state`; replaces the file in one step.

    The file begins with the sha256 of the rest, as torch reads damaged tensors without complaint.
    """
    buffer = io.BytesIO()
    torch.save({"fingerprint": fingerprint, "state": state}, buffer)
    content = buffer.getbuffer()
    partial = path.with_name(f".{path.name}.partial")
    try:
        with partial.open("wb") as file:
            file.write(hashlib.sha256(content).digest())
            file.write(content)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def read_state(path: Path, fingerprint: str, device: torch.device) -> dict[str, Any] | None:
    """Return what `write_state` wrote, or None where there is nothing that may be used.

    A file that is damaged, or was written under another fingerprint, is deleted.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    digest, content = content[:DIGEST_BYTES], content[DIGEST_BYTES:]
    problem = "it is damaged"
    if hashlib.sha256(content).digest() == digest:
        saved = torch.load(io.BytesIO(content), map_location=device, weights_only=True)
        if saved["fingerprint"] == fingerprint:
            return saved["state"]
        problem = "it is of other code, params, versions or device"
    logger.info("%s: this partial state is discarded, because %s", path, problem)
    path.unlink()
    return None
