"""The section `trajectory`: whole target sets, with checkpoints on the way."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from headstart.params.recipe import NormalizedBy, Training
from headstart.params.types import Count, Name, Natural, Positive, TrajectoryEpoch


class Trajectory(Training):
    """One arm of training on a target task that keeps its weights at chosen target epochs."""

    mode: Literal["finetune", "probe", "reconstruct"] = Field(
        default="finetune",
        description="finetune: everything learns (source epoch 0 is scratch); probe: the head alone; "
        "reconstruct: everything learns to draw the image again from the patch tokens",
    )
    targets: tuple[Name, ...] = Field(min_length=1)
    source_epochs: tuple[TrajectoryEpoch, ...] = Field(
        min_length=1, description="epochs of pre-training to start from, `best` or `last`"
    )
    seeds: tuple[Natural, ...] = Field(
        default=(), description="source networks, by seed; none: all that are pre-trained"
    )
    target_seeds: tuple[Natural, ...] = Field(
        default=(0,), min_length=1, description="runs from one checkpoint: new head, new order"
    )
    shots: Count | Literal["all"] = "all"
    draw: Natural = 0
    learning_rate: Positive
    target_epochs: tuple[Natural, ...] = Field(
        default=(),
        description="epochs whose weights are kept besides 0, the last and the best; "
        "none: 1, 2, 3, 5, 8, … (a probe keeps none)",
    )
    normalization: NormalizedBy = "source"
    head_seed: Natural = Field(
        default=1453, description="of the new head of target seed 0; each other adds itself"
    )

    @model_validator(mode="after")
    def _epochs(self) -> Trajectory:
        late = [epoch for epoch in self.target_epochs if epoch > self.epochs]
        if late:
            raise ValueError(f"target_epochs: {late} lie after the last epoch, {self.epochs}")
        return self

    def kept_epochs(self) -> tuple[int, ...]:
        """Return the target epochs whose weights are kept whatever happens, ascending."""
        asked = self.target_epochs or (() if self.mode == "probe" else _fibonacci(self.epochs))
        return tuple(sorted({0, *asked, self.epochs}))


def _fibonacci(last: int) -> tuple[int, ...]:
    """Return 1, 2, 3, 5, 8, … up to `last`: dense where a network changes fast."""
    found, following = [], (1, 2)
    while following[0] <= last:
        found.append(following[0])
        following = following[1], sum(following)
    return tuple(found)
