"""The state of one training run, how it moves on by an epoch, and its file: whole or ignored."""

import hashlib
import io
import logging
import math
import os
import time
from collections.abc import Collection
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal

import torch

from headstart.networks.network import Network
from headstart.params.recipe import Selection, Training
from headstart.training import TrainingError
from headstart.training.evaluation import Evaluation, evaluate
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


class Run:
    """A network and its history; `advance` does one epoch, the first time epoch 0."""

    def __init__(
        self,
        network: Network,
        updates: Updates,
        validation: EvaluationData,
        test: EvaluationData | None,
        selection: Selection,
        test_epochs: Collection[int] | Literal["all"],
    ) -> None:
        self.network, self.updates = network, updates
        self.train: TrainingBatches = updates.train
        self.validation, self.test, self.selection = validation, test, selection
        self.epochs = updates.training.epochs
        self.test_epochs = range(self.epochs) if test_epochs == "all" else test_epochs
        # A probe's network has no norm: its features were cached by one that has.
        requested = updates.training.recalibrate_batch_norm
        self.recalibrates = requested and bool(batch_norms(network))
        self.history: list[EpochRecord] = []
        self.best_state: State = {}
        self.lost_at: int | None = None
        self.objective = updates.objective
        if head_mismatch := self.objective.head_mismatch(network, self.train.num_classes):
            raise TrainingError(head_mismatch)

    @property
    def finished(self) -> bool:
        """Return whether all epochs are done."""
        return len(self.history) > self.epochs

    def identity(self) -> str:
        """Return a text of all that the run's state depends on, data and first weights apart."""
        updates = self.updates
        # Of a subclass, such as Transfer, only what training reads: a longer grid changes no run.
        training = {name: getattr(updates.training, name) for name in Training.model_fields}
        rules = (training, self.selection, sorted(self.test_epochs), updates.rate, updates.seed)
        goal = type(self.objective).__name__
        return f"{goal} {rules} torch {torch.__version__} {updates.device.type}"

    def advance(self) -> EpochRecord:
        """Train one epoch, or none the first time, and measure."""
        epoch, started = len(self.history), time.monotonic()
        if self.lost_at is not None and epoch > self.lost_at + 1:
            last = self.history[-1]
            train = Evaluation(last.train_loss, last.train_accuracy)
            validation = Evaluation(last.validation_loss, last.validation_accuracy)
        else:
            train = self._train(epoch)
            validation = evaluate(self.network, self.validation, self.objective)
        record = self._record(epoch, train, validation)
        record = replace(record, seconds=time.monotonic() - started)
        self.history.append(record)
        if self.lost_at is None and self._lost(train):
            self.lost_at = epoch
        if best_epoch(self.history, self.selection) == epoch:
            self.best_state = self._weights()
        return record

    def progress(self) -> Progress:
        """Return how far the run is, for whoever keeps checkpoints."""
        best, reason = self._verdict()
        return Progress(tuple(self.history), best, bool(reason))

    def state(self) -> dict[str, Any]:
        """Return all that `restore` needs."""
        return {
            "network": self.network.state_dict(),
            "optimizer": self.updates.optimizer.state_dict(),
            "history": [asdict(record) for record in self.history],
            "best_state": self.best_state,
            "lost_at": self.lost_at,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to a state of the same run."""
        self.network.load_state_dict(state["network"])
        self.updates.optimizer.load_state_dict(state["optimizer"])
        self.history = [EpochRecord(**record) for record in state["history"]]
        self.best_state, self.lost_at = state["best_state"], state["lost_at"]

    def outcome(self) -> Outcome:
        """Return the end of the run; the network keeps the weights of its last epoch."""
        last, (best, reason) = self.history[-1], self._verdict()
        final = self._weights()
        state = final if best == last.epoch else self.best_state
        accuracy = self.history[best].test_accuracy
        if self.test is not None and accuracy is None:
            self.network.load_state_dict(state)
            accuracy = evaluate(self.network, self.test, self.objective).accuracy
            self.network.load_state_dict(final)
        state = {name: tensor.cpu() for name, tensor in state.items()}
        history = tuple(self.history)
        return Outcome(history, best, state, accuracy, last.test_accuracy, bool(reason), reason)

    def _verdict(self) -> tuple[int, str]:
        """Return the best epoch, and why the run counts as diverged; then the best is the last."""
        reason = divergence(self.history, self.train.num_classes, self.objective)
        best = self.history[-1].epoch if reason else best_epoch(self.history, self.selection)
        return best, reason

    def _train(self, epoch: int) -> Evaluation:
        """Do the updates of an epoch, none at epoch 0, and make the network ready to be evaluated."""
        train = self.updates.epoch(epoch - 1) if epoch else None
        if self.recalibrates:
            recalibrate(self.network, self.train.epoch(0))
        return train or self._measure_start()

    def _measure_start(self) -> Evaluation:
        """Measure the first epoch's batches before any update, in evaluation mode."""
        return evaluate(self.network, self.train.epoch(0), self.objective)

    def _record(self, epoch: int, train: Evaluation, validation: Evaluation) -> EpochRecord:
        return EpochRecord(
            epoch=epoch,
            learning_rate=self.updates.rate_at(epoch - 1, 0) if epoch else 0.0,
            train_loss=train.loss,
            train_accuracy=train.accuracy,
            validation_loss=validation.loss,
            validation_accuracy=validation.accuracy,
            test_accuracy=self._read_test(epoch),
            steps=epoch * self.train.steps,
            samples=epoch * self.train.num_images,
            seconds=0.0,
        )

    def _read_test(self, epoch: int) -> float | None:
        if self.test is None or (epoch not in self.test_epochs and epoch < self.epochs):
            return None
        return evaluate(self.network, self.test, self.objective).accuracy

    def _lost(self, train: Evaluation) -> bool:
        """Return whether every logit is NaN, for every image and for ever.

        A weight that is NaN stays NaN under any update, and makes its logit NaN. Once each row of
        the head has one, losses and predictions no longer change, so that later epochs (from the
        second on: the one that follows measures the training images) need not be computed.
        """
        if math.isfinite(train.loss):
            return False
        return bool(self.network.head.weight.isnan().any(dim=1).all())

    def _weights(self) -> State:
        return {
            name: tensor.detach().clone(memory_format=torch.contiguous_format)
            for name, tensor in self.network.state_dict().items()
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
