"""Loss and accuracy of a network, a function of its weights and each image alone."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from headstart.training.data import Batch


@dataclass(frozen=True)
class Evaluation:
    """Mean cross-entropy (nats) and accuracy (a fraction) over all images."""

    loss: float
    accuracy: float


class Tally:
    """Sums of loss and of correct predictions, kept on the device and read once."""

    def __init__(self, device: torch.device) -> None:
        self._loss = torch.zeros((), dtype=torch.float64, device=device)
        self._correct = torch.zeros((), dtype=torch.int64, device=device)
        self.images = 0

    def add(self, logits: Tensor, labels: Tensor, loss_sum: Tensor) -> None:
        """Count a batch: logits [b, classes], labels [b], and the sum of its losses."""
        self._loss += loss_sum.detach().double()
        self._correct += (logits.detach().argmax(dim=1) == labels).sum()
        self.images += len(labels)

    def read(self) -> Evaluation:
        """Return the means; this waits for the device."""
        return Evaluation(float(self._loss) / self.images, int(self._correct) / self.images)


def evaluate(network: nn.Module, batches: Iterable[Batch]) -> Evaluation:
    """Measure a network in evaluation mode and in float32, whatever precision it trains in.

    Batch normalisation uses its running statistics, so that an image's prediction does not depend
    on the batch that it comes in. The mode of every module is restored.
    """
    tally = Tally(device_of(network))
    with evaluation_mode(network), torch.inference_mode():
        for inputs, labels in batches:
            logits = network(inputs)
            tally.add(logits, labels, F.cross_entropy(logits, labels, reduction="sum"))
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
