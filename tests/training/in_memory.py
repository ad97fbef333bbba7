"""A small task in memory: four planted patterns under noise, through the loop's protocols."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from headstart.artifacts.keys import derive_seed
from headstart.networks.build import build
from headstart.networks.network import Network
from headstart.params.models import ConvNet, Model, Timm, WideResNet
from headstart.params.recipe import Selection, Training
from headstart.training.loop import Outcome, fit

CLASSES = 4
CONVNET = ConvNet(kind="convnet", width=4)
WRN = WideResNet(kind="wrn", depth=10, width=1, dropout=0.3)
VIT = Timm(
    kind="timm",
    name="vit_tiny_patch16_224",
    kwargs={"patch_size": 4, "embed_dim": 16, "depth": 2, "num_heads": 2},
)
SELECTION = Selection()


@dataclass
class Batches:
    """Both protocols: `epoch` shuffles by seed and epoch, iteration keeps the order."""

    images: Tensor
    labels: Tensor
    batch_size: int = 16
    seed: int = 0
    num_classes: int = CLASSES

    @property
    def num_images(self) -> int:
        return len(self.labels)

    @property
    def steps(self) -> int:
        return -(-self.num_images // self.batch_size)

    def to(self, device: str) -> "Batches":
        return replace(self, images=self.images.to(device), labels=self.labels.to(device))

    def epoch(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        generator = torch.Generator().manual_seed(derive_seed(self.seed, epoch))
        order = torch.randperm(self.num_images, generator=generator)
        for chosen in order.split(self.batch_size):
            yield self.images[chosen], self.labels[chosen]


class Double(Batches):
    """The planted task in double precision, for training and evaluation."""

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return self.epoch(0)


class Evaluation:
    """Batches in order, for evaluation only."""

    def __init__(self, batches: Batches) -> None:
        self.batches, self.num_images = batches, batches.num_images

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        size = self.batches.batch_size
        return zip(self.batches.images.split(size), self.batches.labels.split(size), strict=True)


def planted(per_class: int, seed: int, noise: float = 1.0) -> Batches:
    patterns = torch.randn(CLASSES, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(derive_seed("planted", seed))
    labels = torch.arange(CLASSES).repeat(per_class)
    images = patterns[labels] + noise * torch.randn(len(labels), 1, 8, 8, generator=generator)
    return Batches(images, labels)


def training(epochs: int = 4, **options: Any) -> Training:
    return Training(epochs=epochs, **options)


def network(model: Model = CONVNET, seed: int = 0) -> Network:
    return build(model, 1, 8, CLASSES, seed)


def run(
    net: Network | None = None,
    options: Training | None = None,
    rate: float = 0.05,
    train: Batches | None = None,
    device: str = "cpu",
    **arguments: Any,
) -> Outcome:
    """Fit the planted task, with defaults for what a test does not speak of."""
    defaults: dict[str, Any] = {"selection": SELECTION, "test_epochs": ()}
    return fit(
        net or network().to(device),
        train or planted(8, seed=1).to(device),
        Evaluation(planted(6, seed=2).to(device)),
        Evaluation(planted(10, seed=3).to(device)),
        options or training(),
        rate,
        0,
        **(defaults | arguments),
    )
