"""What a run minimises: the cross-entropy of classes, or the distance to the image itself."""

import math
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from headstart.networks.network import Network


class Objective(Protocol):
    """The loss of a batch, and what the loop must know of it."""

    classifies: bool
    """Whether outputs are logits of classes; otherwise accuracies are NaN."""

    def loss(self, outputs: Tensor, inputs: Tensor, labels: Tensor, smoothing: float) -> Tensor:
        """Return the mean loss of a batch, which is minimised."""

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
        return F.cross_entropy(outputs, labels, label_smoothing=smoothing)

    def loss_sum(self, outputs: Tensor, inputs: Tensor, labels: Tensor) -> Tensor:
        """Return the sum of cross-entropies."""
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
