"""A pre-trained source network as later steps meet it: its checkpoints, and networks that start there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from torch import Tensor

from headstart.artifacts.files import read_json
from headstart.artifacts.store import Artifact
from headstart.networks.build import build, new_head
from headstart.networks.network import Network
from headstart.params.models import Model
from headstart.steps.pretrain import checkpoint_name
from headstart.tasks.batches import Normalization, normalization
from headstart.tasks.task import TrainImages
from headstart.training.checkpoints import load


class Pretrained:
    """The checkpoints of one network, as one `Network` object that takes the weights of any of them.

    `normalization` is that of its source task, until `normalize` says otherwise.
    """

    def __init__(
        self, artifact: Artifact, model: Model, image_shape: Sequence[int], device: str
    ) -> None:
        """Build the network for images [..., channels, size, size]."""
        self.artifact, self.device = artifact, device
        self.checkpoints: dict[str, Any] = read_json(artifact.file("checkpoints.json"))
        source = read_json(artifact.file("normalization.json"))
        self.normalization = Normalization.from_dict(source)
        self.classes: tuple[str, ...] = tuple(source["classes"])
        self.network: Network = build(
            model, image_shape[-3], image_shape[-1], len(self.classes), seed=0
        )
        self._state: tuple[int, dict[str, Tensor]] | None = None

    def normalize(self, by: Literal["source", "target"], images: TrainImages) -> None:
        """Choose whose statistics images are normalised by: the source's, or those of a target's images."""
        if by == "target":
            self.normalization = normalization(images)

    def epoch(self, asked: int | str) -> int:
        """Return a source epoch as a number; `best` is the one that validation chose."""
        return int(self.checkpoints["best"] if asked == "best" else asked)

    def entry(self, epoch: int) -> dict[str, Any]:
        """Return what the manifest of checkpoints says of an epoch."""
        return next(entry for entry in self.checkpoints["checkpoints"] if entry["epoch"] == epoch)

    def at(self, epoch: int) -> Network:
        """Return the network of a source epoch with the head that it was pre-trained with."""
        if self._state is None or self._state[0] != epoch:
            self._state = epoch, load(self.artifact.file(checkpoint_name(epoch)))
        new_head(self.network, len(self.classes), seed=0)
        self.network.load_state_dict(self._state[1])
        return self.network.to(self.device)

    def start(self, epoch: int, classes: int, head_seed: int) -> Network:
        """Return the network of a source epoch with a new head, the same for every epoch and run."""
        new_head(self.at(epoch), classes, head_seed)
        return self.network.to(self.device)
