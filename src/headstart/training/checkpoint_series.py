"""The checkpoints of one training run: how they are kept, and how later steps meet them.

The one home of an artifact's layout: `epoch-0000.safetensors` per kept epoch, `checkpoints.json` with an
entry for each and the epoch that validation chose, `normalization.json` with the classes of the head.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from headstart.artifacts.files import read_json, write_json
from headstart.artifacts.store import Artifact
from headstart.networks.build import build, new_head
from headstart.networks.network import (
    Network,
    Tokens,
    every_block,
    number_of_blocks,
    read_tokens,
    truncated,
)
from headstart.networks.weights import state_digest
from headstart.params.models import Model
from headstart.params.models import Pixels as PixelParams
from headstart.tasks.batches import Normalization, normalization, stated_normalization
from headstart.tasks.task import TrainImages
from headstart.training.checkpoints import distance, load, save
from headstart.training.records import Outcome, Progress

BACKBONE = "backbone."


def checkpoint_name(epoch: int) -> str:
    """Return the file name of an epoch's weights."""
    return f"epoch-{epoch:04d}.safetensors"


class Keeper:
    """Writes the checkpoints of a run, and can go on where a killed run stopped."""

    def __init__(self, folder: Path, epochs: Collection[int], network: Network) -> None:
        """Prepare to keep `epochs` of a network; distances are measured from its weights now."""
        self.folder, self.epochs, self.network = folder, set(epochs), network
        folder.mkdir(parents=True, exist_ok=True)
        self.initial = {
            name: value.detach().cpu().clone() for name, value in network.state_dict().items()
        }

    def __call__(self, epoch: int, trained: Network, progress: Progress) -> None:
        """Keep the weights of this epoch where the params ask for them."""
        if epoch in self.epochs:
            self.keep(epoch, trained.state_dict(), progress.steps, progress.samples)

    def keep(self, epoch: int, trained: Mapping[str, Tensor], steps: int, samples: int) -> None:
        """Write one checkpoint and its entry in the manifest.

        `trained` may be the head alone, as in a probe; the rest is as it stands in the network.
        """
        complete = {**self.network.state_dict(), **trained}
        state = {name: value.detach().cpu().contiguous() for name, value in complete.items()}
        save(state, self.folder / checkpoint_name(epoch))
        entry = {
            "epoch": epoch,
            "steps": steps,
            "samples": samples,
            "sha256": state_digest(state),
            "distance": distance(state, self.initial),
        }
        write_json(self.folder / f"epoch-{epoch:04d}.json", entry)

    def finish(self, outcome: Outcome, out: Path) -> None:
        """Put all checkpoints into the artifact, `best` among them, and write their manifest."""
        best = outcome.best
        if outcome.best_epoch not in self.epochs:
            self.keep(outcome.best_epoch, outcome.best_state, best.steps, best.samples)
        kept = sorted(self.epochs | {outcome.best_epoch})
        entries = [read_json(self.folder / f"epoch-{epoch:04d}.json") for epoch in kept]
        for epoch in kept:
            shutil.copyfile(self.folder / checkpoint_name(epoch), out / checkpoint_name(epoch))
        write_json(out / "checkpoints.json", {"best": outcome.best_epoch, "checkpoints": entries})


class CheckpointSeries:
    """The checkpoints of one artifact of `pretrain` or `trajectory`, and networks made of them.

    Weights come from the checkpoints alone: a file of given weights is read by pre-training only.

    Attributes:
        entries: what the manifest says of each checkpoint, by ascending epoch.
        best: the epoch that validation chose.
        last: the last kept epoch.
        normalization: how images were normalised for the network.
        classes: what its head tells apart.
    """

    def __init__(
        self, artifact: Artifact, model: Model, image_shape: Sequence[int], device: str
    ) -> None:
        """Read what was kept, for images [..., channels, size, size]."""
        self.artifact, self.device = artifact, device
        self._model = model.model_copy(update={"weights": None})
        self._channels, self._size = image_shape[-3], image_shape[-1]
        manifest = read_json(artifact.file("checkpoints.json"))
        self.entries: list[dict[str, Any]] = manifest["checkpoints"]
        self.best = int(manifest["best"])
        self.last = max(int(entry["epoch"]) for entry in self.entries)
        source = read_json(artifact.file("normalization.json"))
        self.normalization = Normalization.from_dict(source)
        self.classes: tuple[str, ...] = tuple(source["classes"])
        self._loaded: tuple[int, dict[str, Tensor]] | None = None

    def epoch(self, requested: int | str) -> int:
        """Return an epoch as a number; `best` is what validation chose, `last` the end."""
        return int({"best": self.best, "last": self.last}.get(str(requested), requested))

    def entry(self, epoch: int) -> dict[str, Any]:
        """Return what the manifest says of an epoch."""
        return next(entry for entry in self.entries if entry["epoch"] == epoch)

    def normalization_by(self, by: str | PixelParams, images: TrainImages) -> Normalization:
        """Return what images are normalised by: as in pre-training, a target's own statistics, or numbers."""
        if isinstance(by, PixelParams):
            return stated_normalization(by.mean, by.deviation, self._channels)
        return normalization(images) if by == "target" else self.normalization

    def state(self, epoch: int) -> dict[str, Tensor]:
        """Return all weights of an epoch; those of the last request are remembered."""
        if self._loaded is None or self._loaded[0] != epoch:
            self._loaded = epoch, load(self.artifact.file(checkpoint_name(epoch)))
        return self._loaded[1]

    def backbone_state(self, epoch: int) -> dict[str, Tensor]:
        """Return the weights of an epoch's backbone, under the backbone's own names."""
        return {
            name.removeprefix(BACKBONE): value
            for name, value in self.state(epoch).items()
            if name.startswith(BACKBONE)
        }

    def network(self, epoch: int) -> Network:
        """Return the network of an epoch with the head that it was trained with."""
        network = self._random()
        network.load_state_dict(self.state(epoch))
        return network.to(self.device)

    def start(self, epoch: int, classes: int, head_seed: int) -> Network:
        """Return the network of an epoch with a new head, the same for every epoch and run."""
        network = self.network(epoch)
        new_head(network, classes, head_seed)
        return network

    def backbone(self, epoch: int) -> nn.Module:
        """Return the backbone of an epoch, whatever head it was trained with, frozen."""
        backbone = self._random().backbone
        backbone.load_state_dict(self.backbone_state(epoch))
        return _frozen(backbone.to(self.device))

    def classifier(self, epoch: int) -> Network:
        """Return the network of an epoch with the head that it was trained with, frozen."""
        network = self.network(epoch)
        _frozen(network)
        return network

    def pixels(self, epoch: int, layers: Sequence[int] = (), tokens: Tokens = "all") -> Pixels:
        """Return the backbone of an epoch as a function of pixels, for some of its blocks or all."""
        backbone = self.backbone(epoch)
        chosen = tuple(layers) or tuple(range(1, number_of_blocks(backbone) + 1))
        return Pixels(backbone, self.normalization, chosen, tokens)

    def _random(self) -> Network:
        return build(self._model, self._channels, self._size, len(self.classes), seed=0)


@dataclass(frozen=True)
class Pixels:
    """A frozen backbone as a function of pixels in [0, 1].

    `layers` are its blocks, counted from 1; `tokens` says what is read of them.
    """

    backbone: nn.Module
    normalization: Normalization
    layers: tuple[int, ...]
    tokens: Tokens = "all"

    def until(self, layer: int) -> Callable[[Tensor], Tensor]:
        """Return the function from pixels to what is read of one block, which evaluates no later one."""
        block = truncated(self.backbone, layer - 1)
        return lambda pixels: read_tokens(
            self.backbone, block(self.normalized(pixels)), self.tokens
        )

    def every_layer(self, pixels: Tensor) -> Sequence[Tensor]:
        """Return what is read of `layers`, in one pass."""
        outputs = every_block(self.backbone)(self.normalized(pixels))
        return [read_tokens(self.backbone, outputs[i - 1], self.tokens) for i in self.layers]

    def normalized(self, pixels: Tensor) -> Tensor:
        """Return what the network was trained on; nothing is clamped, so that gradients pass."""
        mean, std = (
            pixels.new_tensor(values).view(-1, 1, 1)
            for values in (self.normalization.mean, self.normalization.std)
        )
        return (pixels - mean) / std


def same_weights(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    """Return whether two state dicts have the same names and values, bit for bit."""
    return one.keys() == other.keys() and all(
        torch.equal(value, other[name]) for name, value in one.items()
    )


def _frozen(module: nn.Module) -> nn.Module:
    return module.eval().requires_grad_(False)
