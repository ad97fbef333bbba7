"""The section `plasticity`: what is measured on the kept checkpoints of pre-training."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from headstart.params.types import Count, Name, Natural, NonNegative, Positive, Section, no_boolean

Several = Annotated[int, BeforeValidator(no_boolean), Field(ge=2)]


class RandomLabels(Section):
    """The random-label probe: a short training on source images whose labels are drawn at random."""

    images: Several = Field(default=256, description="source validation images, all if fewer")
    batch_size: Several = 64
    steps: Count = 100
    optimizer: Literal["sgd", "adam"] = Field(
        default="adam", description="sgd without momentum, or Adam; no weight decay"
    )
    learning_rate: Positive = 1e-3


class Plasticity(Section):
    """Ranks, dormant units, weight norms, gradients and a random-label probe of every checkpoint."""

    enabled: bool = Field(default=True, description="false: no jobs, and an empty results folder")
    models: tuple[Name, ...] = Field(default=(), description="none named: all pretrained models")
    images: Several = Field(
        default=256, description="validation images of each task, all if it has fewer"
    )
    tau: NonNegative = Field(
        default=0.025, description="ReDo: dormant below this share of the layer's mean activity"
    )
    random_labels: RandomLabels = RandomLabels()
    hessian: bool = Field(
        default=False, description="top eigenvalue too: some 10 to 100 gradients per checkpoint"
    )
    head_seed: Natural = Field(default=1453, description="of the new heads; as in transfer")
