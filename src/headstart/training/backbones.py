"""Checkpoints of `pretrain` and `trajectory` as functions of pixels, block by block."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from headstart.artifacts.files import read_json
from headstart.artifacts.store import Artifact
from headstart.networks.blocks import every_block, number_of_blocks, truncated
from headstart.networks.build import build
from headstart.networks.network import Network
from headstart.params.models import Model
from headstart.steps.pretrain import checkpoint_name
from headstart.tasks.batches import Normalization
from headstart.training.checkpoints import load

PREFIX = "backbone."


@dataclass(frozen=True)
class Pixels:
    """A frozen backbone as a function of pixels in [0, 1]; `layers` are its blocks, counted from 1."""

    backbone: nn.Module
    normalization: Normalization
    layers: tuple[int, ...]

    def until(self, layer: int) -> Callable[[Tensor], Tensor]:
        """Return the function from pixels to the output of one block, which evaluates no later one."""
        represent = truncated(self.backbone, layer - 1)
        return lambda pixels: represent(self.normalized(pixels))

    def every_layer(self, pixels: Tensor) -> Sequence[Tensor]:
        """Return the outputs of `layers`, in one pass."""
        outputs = every_block(self.backbone)(self.normalized(pixels))
        return [outputs[layer - 1] for layer in self.layers]

    def normalized(self, pixels: Tensor) -> Tensor:
        """Return what the network was trained on; nothing is clamped, so that gradients pass."""
        mean, std = (
            pixels.new_tensor(values).view(-1, 1, 1)
            for values in (self.normalization.mean, self.normalization.std)
        )
        return (pixels - mean) / std


class Checkpoints:
    """The checkpoints of one artifact, whatever head they were trained with."""

    def __init__(
        self, artifact: Artifact, model: Model, image_shape: Sequence[int], device: str
    ) -> None:
        """Read what was kept, for images [..., channels, size, size]."""
        self.artifact, self.model, self.shape, self.device = artifact, model, image_shape, device
        self.manifest: dict[str, Any] = read_json(artifact.file("checkpoints.json"))
        source = read_json(artifact.file("normalization.json"))
        self.normalization = Normalization.from_dict(source)
        self.classes: tuple[str, ...] = tuple(source["classes"])

    def epoch(self, asked: str | int) -> int:
        """Return an epoch as a number; `best` is what validation chose, `last` the end."""
        if asked == "best":
            return int(self.manifest["best"])
        if asked == "last":
            return max(int(entry["epoch"]) for entry in self.manifest["checkpoints"])
        return int(asked)

    def state(self, epoch: int) -> dict[str, Tensor]:
        """Return the weights of an epoch's backbone, under the backbone's own names."""
        whole = load(self.artifact.file(checkpoint_name(epoch)))
        return {
            name.removeprefix(PREFIX): value
            for name, value in whole.items()
            if name.startswith(PREFIX)
        }

    def backbone(self, epoch: int) -> nn.Module:
        """Return the backbone of an epoch, frozen and in evaluation mode."""
        made = self._random().backbone
        made.load_state_dict(self.state(epoch))
        return made.to(self.device).eval().requires_grad_(False)

    def pixels(self, epoch: int, layers: Sequence[int] = ()) -> Pixels:
        """Return the backbone of an epoch as a function of pixels, for some of its blocks or all."""
        backbone = self.backbone(epoch)
        chosen = tuple(layers) or tuple(range(1, number_of_blocks(backbone) + 1))
        return Pixels(backbone, self.normalization, chosen)

    def classifier(self, epoch: int) -> Network:
        """Return the network of an epoch with the head that it was trained with, frozen."""
        network = self._random()
        network.load_state_dict(load(self.artifact.file(checkpoint_name(epoch))))
        return network.to(self.device).eval().requires_grad_(False)

    def _random(self) -> Network:
        model = self.model.model_copy(update={"weights": None})
        return build(model, self.shape[-3], self.shape[-1], len(self.classes), seed=0)


def same_weights(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    """Return whether two state dicts have the same names and values, bit for bit."""
    return one.keys() == other.keys() and all(
        torch.equal(value, other[name]) for name, value in one.items()
    )
