"""What a run minimises, and loss and accuracy of a network: functions of its weights and each image alone."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from headstart.metrics.passes import evaluation_mode
from headstart.networks.network import Network
from headstart.training.records import Batch

STACKED = 3
"""Dimensions of the logits of stacked networks, [K, b, classes]."""


class Objective(Protocol):
    """The loss of a batch, and what the loop must know of it."""

    classifies: bool
    """Whether outputs are logits of classes; otherwise accuracies are NaN."""

    def loss(self, outputs: Tensor, inputs: Tensor, labels: Tensor, smoothing: float) -> Tensor:
        """Return the mean loss of a batch, which is minimised; [K] of K stacked networks."""

    def loss_sum(self, outputs: Tensor, inputs: Tensor, labels: Tensor) -> Tensor:
        """Return the sum of the losses of a batch, without label smoothing."""

    def chance_loss(self, classes: int) -> tuple[float, str]:
        """Return the loss of a network that knows nothing, and how that is written."""

    def head_mismatch(self, network: Network, classes: int) -> str:
        """Return why a network's head cannot serve, or an empty text."""


class Classification:
    """Cross-entropy, in nats."""

    classifies = True

    def loss(self, outputs: Tensor, inputs: Tensor, labels: Tensor, smoothing: float) -> Tensor:
        """Return the mean cross-entropy, with label smoothing."""
        if outputs.ndim == STACKED:
            return _losses(outputs, labels, smoothing).mean(1)
        return F.cross_entropy(outputs, labels, label_smoothing=smoothing)

    def loss_sum(self, outputs: Tensor, inputs: Tensor, labels: Tensor) -> Tensor:
        """Return the sum of cross-entropies."""
        if outputs.ndim == STACKED:
            return _losses(outputs, labels, 0.0).sum(1)
        return F.cross_entropy(outputs, labels, reduction="sum")

    def chance_loss(self, classes: int) -> tuple[float, str]:
        """Return that of equal probabilities."""
        return math.log(classes), f"ln {classes}"

    def head_mismatch(self, network: Network, classes: int) -> str:
        """Compare the head with the number of classes."""
        outputs = network.head.out_features
        if outputs == classes:
            return ""
        return f"the head has {outputs} classes, the images have {classes}; give it a new head"


def _losses(outputs: Tensor, labels: Tensor, smoothing: float) -> Tensor:
    """Return the cross-entropy [K, b] of each image under each of K networks."""
    flat = outputs.flatten(0, 1), labels.flatten()
    losses = F.cross_entropy(*flat, reduction="none", label_smoothing=smoothing)
    return losses.view(labels.shape)


class Reconstruction:
    """Mean absolute difference to the normalised image that the network saw (arXiv 2307.06006)."""

    classifies = False

    def loss(self, outputs: Tensor, inputs: Tensor, labels: Tensor, smoothing: float) -> Tensor:
        """Return the mean over all values of a batch."""
        return F.l1_loss(outputs, inputs)

    def loss_sum(self, outputs: Tensor, inputs: Tensor, labels: Tensor) -> Tensor:
        """Return the sum over images of the mean over an image's values."""
        return torch.linalg.vector_norm((outputs - inputs).flatten(1), 1) / inputs[0].numel()

    def chance_loss(self, classes: int) -> tuple[float, str]:
        """Return a bound on that of the mean image: values have a standard deviation of 1."""
        return 1.0, "1, of the mean image"

    def head_mismatch(self, network: Network, classes: int) -> str:
        """Any network that gives images will do; another fails at the first batch."""
        return ""


CLASSIFICATION = Classification()
RECONSTRUCTION = Reconstruction()


@dataclass(frozen=True)
class Evaluation:
    """Mean loss (cross-entropy in nats) and accuracy (a fraction) over all images.

    Accuracy is NaN where the objective knows no classes.
    """

    loss: float
    accuracy: float


class Tally:
    """Sums of loss and of correct predictions, kept on the device and read once.

    Of stacked networks every tensor has a first axis of K, and so has what is read.
    """

    def __init__(self, device: torch.device, classifies: bool = True) -> None:
        self._classifies = classifies
        self._loss = torch.zeros((), dtype=torch.float64, device=device)
        self._correct = torch.zeros((), dtype=torch.int64, device=device)
        self.images = 0

    def add(self, logits: Tensor, labels: Tensor, loss_sum: Tensor) -> None:
        """Count a batch: logits [b, classes], labels [b], and the sum of its losses."""
        self._loss = self._loss + loss_sum.detach().double()
        if self._classifies:
            self._correct = self._correct + (logits.detach().argmax(-1) == labels).sum(-1)
        self.images += labels.shape[-1]

    def read(self) -> list[Evaluation]:
        """Return the means of each network; this waits for the device."""
        losses = self._loss.reshape(-1).tolist()
        correct = self._correct.reshape(-1).tolist() if self._classifies else [math.nan]
        return [
            Evaluation(loss / self.images, right / self.images)
            for loss, right in zip(losses, correct, strict=True)
        ]


def evaluate(
    network: nn.Module, batches: Iterable[Batch], objective: Objective = CLASSIFICATION
) -> Evaluation:
    """Measure a network in evaluation mode and in float32, whatever precision it trains in.

    Batch normalisation uses its running statistics, so that an image's prediction does not depend
    on the batch that it comes in. The mode of every module is restored.
    """
    return evaluate_each(network, batches, objective)[0]


def evaluate_each(
    network: nn.Module, batches: Iterable[Batch], objective: Objective = CLASSIFICATION
) -> list[Evaluation]:
    """Measure each of stacked networks, or the one, as `evaluate` does."""
    tally = Tally(device_of(network), objective.classifies)
    with evaluation_mode(network), torch.inference_mode():
        for inputs, labels in batches:
            logits = network(inputs)
            tally.add(logits, labels, objective.loss_sum(logits, inputs, labels))
    return tally.read()


def device_of(network: nn.Module) -> torch.device:
    """Return where a network's weights are."""
    return next(network.parameters()).device
