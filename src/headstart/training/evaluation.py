"""Loss and accuracy of a network, a function of its weights and each image alone."""

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from headstart.training.objectives import CLASSIFICATION, Objective
from headstart.training.records import Batch


@dataclass(frozen=True)
class Evaluation:
    """Mean loss (cross-entropy in nats) and accuracy (a fraction) over all images.

    Accuracy is NaN where the objective knows no classes.
    """

    loss: float
    accuracy: float


class Tally:
    """Sums of loss and of correct predictions, kept on the device and read once."""

    def __init__(self, device: torch.device, classifies: bool = True) -> None:
        self._classifies = classifies
        self._loss = torch.zeros((), dtype=torch.float64, device=device)
        self._correct = torch.zeros((), dtype=torch.int64, device=device)
        self.images = 0

    def add(self, logits: Tensor, labels: Tensor, loss_sum: Tensor) -> None:
        """Count a batch: logits [b, classes], labels [b], and the sum of its losses."""
        self._loss += loss_sum.detach().double()
        if self._classifies:
            self._correct += (logits.detach().argmax(dim=1) == labels).sum()
        self.images += len(labels)

    def read(self) -> Evaluation:
        """Return the means; this waits for the device."""
        accuracy = int(self._correct) / self.images if self._classifies else math.nan
        return Evaluation(float(self._loss) / self.images, accuracy)


def evaluate(
    network: nn.Module, batches: Iterable[Batch], objective: Objective = CLASSIFICATION
) -> Evaluation:
    """Measure a network in evaluation mode and in float32, whatever precision it trains in.

    Batch normalisation uses its running statistics, so that an image's prediction does not depend
    on the batch that it comes in. The mode of every module is restored.
    """
    tally = Tally(device_of(network), objective.classifies)
    with evaluation_mode(network), torch.inference_mode():
        for inputs, labels in batches:
            logits = network(inputs)
            tally.add(logits, labels, objective.loss_sum(logits, inputs, labels))
    return tally.read()


@contextmanager
def evaluation_mode(network: nn.Module) -> Iterator[None]:
    """Put a network into evaluation mode, and every module back into the mode it had."""
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def device_of(network: nn.Module) -> torch.device:
    """Return where a network's weights are."""
    return next(network.parameters()).device
