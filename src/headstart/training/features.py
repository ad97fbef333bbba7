"""Probing: a head trained by the same loop on the features of a frozen backbone, computed once."""

from collections.abc import Iterable, Iterator
from typing import overload

import torch
from torch import Tensor, nn

from headstart.artifacts.keys import derive_seed
from headstart.metrics.passes import evaluation_mode
from headstart.networks.network import Network
from headstart.training.records import Batch, EvaluationData, TrainingBatches


def head_only(network: Network) -> Network:
    """Return a network from features [n, d] to logits whose head is that of `network`, shared.

    Training it trains the head of `network` and leaves the backbone alone. Its state dict holds
    `head.*` only.
    """
    return Network(nn.Identity(), network.head)


def cached_features(network: Network, batches: Iterable[Batch]) -> list[Batch]:
    """Return (features [b, d], labels [b]) of every batch, from the backbone in evaluation mode."""
    with evaluation_mode(network), torch.no_grad():
        return [(network.features(inputs), labels) for inputs, labels in batches]


class FeatureEvaluationBatches:
    """Cached features in place of images, for `evaluate` and `fit`."""

    def __init__(self, batches: list[Batch]) -> None:
        self._batches = batches
        self.num_images = sum(len(labels) for _, labels in batches)

    def __iter__(self) -> Iterator[Batch]:
        """Yield (features [b, d], labels [b]) of each batch."""
        return iter(self._batches)


class FeatureTrainingBatches:
    """Cached features in place of training images; the epoch decides their order.

    Batches have the sizes of those that the features came in.
    """

    def __init__(self, batches: list[Batch], num_classes: int) -> None:
        self._features: Tensor = torch.cat([features for features, _ in batches])
        self._labels: Tensor = torch.cat([labels for _, labels in batches])
        self._sizes = [len(labels) for _, labels in batches]
        self.num_images = len(self._labels)
        self.num_classes = num_classes
        self.steps = len(batches)

    def epoch(self, epoch: int) -> Iterator[Batch]:
        """Yield (features [b, d], labels [b]) of each step; every image comes once."""
        generator = torch.Generator().manual_seed(derive_seed("features", 0, epoch))
        order = torch.randperm(self.num_images, generator=generator).to(self._labels.device)
        for chosen in order.split(self._sizes):
            yield self._features[chosen], self._labels[chosen]


@overload
def cached(network: Network, batches: TrainingBatches) -> FeatureTrainingBatches: ...
@overload
def cached(network: Network, batches: EvaluationData) -> FeatureEvaluationBatches: ...
def cached(
    network: Network, batches: TrainingBatches | EvaluationData
) -> FeatureTrainingBatches | FeatureEvaluationBatches:
    """Return the features of training or evaluation batches, for a `head_only` network.

    Training images are read once, as epoch 0 gives them: augmentation would be drawn once per image
    and then stay, so it is best left off. The order of later epochs comes from that of epoch 0 and
    from its number.
    """
    if isinstance(batches, Iterable):
        return FeatureEvaluationBatches(cached_features(network, batches))
    return FeatureTrainingBatches(cached_features(network, batches.epoch(0)), batches.num_classes)
