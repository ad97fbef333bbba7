"""How networks are trained: the sections `pretrain` and `trajectory`, and what every training has."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from headstart.params.models import Pixels
from headstart.params.types import (
    Ascending,
    Count,
    Fraction,
    Name,
    Natural,
    NonNegative,
    Positive,
    Section,
    Sha256,
    TrajectoryEpoch,
    located,
    no_boolean,
)


class Augmentation(Section):
    """Random changes of training images, drawn anew for every batch. All off by default."""

    shift: Natural = Field(default=0, description="largest shift in pixels; edges are repeated")
    flip: bool = Field(default=False, description="mirror half of the images left to right")
    crop_scale: Ascending | None = Field(
        default=None, description="random resized crop: smallest and largest share of the area"
    )
    colour_jitter: NonNegative = Field(
        default=0.0, description="strength for brightness, contrast, saturation"
    )
    rotation: NonNegative = Field(default=0.0, description="largest rotation, degrees")

    @model_validator(mode="after")
    def _share(self) -> Augmentation:
        if self.crop_scale and self.crop_scale[1] > 1:
            raise ValueError(
                f"crop_scale {list(self.crop_scale)}: a share of the area is at most 1"
            )
        return self


class Schedule(Section):
    """The learning rate over epochs, as a factor on the optimiser's rate."""

    name: Literal["constant", "step", "cosine"] = "constant"
    drops: tuple[Natural, ...] = Field(
        default=(), description="step: epochs (from 0) at which it drops"
    )
    factor: Positive = Field(default=0.1, description="step: what each drop multiplies it with")
    warmup_epochs: NonNegative = Field(
        default=0.0, description="linear rise from 0, counted in epochs"
    )


class Optimizer(Section):
    """SGD with Nesterov momentum, or AdamW; no weight decay on norms and biases."""

    name: Literal["sgd", "adamw"] = "sgd"
    momentum: NonNegative = 0.9
    nesterov: bool = True
    betas: tuple[Fraction, Fraction] = (0.9, 0.999)
    weight_decay: NonNegative = 0.0
    decay_head: bool = Field(default=True, description="false: no weight decay on the head either")


class Training(Section):
    """What pre-training and fine-tuning have in common, the learning rate apart."""

    epochs: Count
    batch_size: Count = 128
    optimizer: Optimizer = Optimizer()
    schedule: Schedule = Schedule()
    augmentation: Augmentation = Augmentation()
    label_smoothing: Annotated[float, BeforeValidator(no_boolean), Field(ge=0, lt=1)] = 0.0
    clip_norm: Positive | None = None
    precision: Literal["float32", "bfloat16"] = Field(
        default="float32", description="bfloat16: autocast on CUDA"
    )
    channels_last: bool = False
    compile: bool | Literal["cuda_graphs"] = Field(
        default=False,
        description="by torch.compile; cuda_graphs: captured as well, for small networks on CUDA",
    )
    recalibrate_batch_norm: bool = Field(
        default=False,
        description="before each evaluation, estimate running statistics on the training images",
    )

    @model_validator(mode="after")
    def _rises(self) -> Training:
        warmup = self.schedule.warmup_epochs
        if self.schedule.name == "cosine" and 0 < self.epochs <= warmup:
            raise ValueError(
                f"schedule.warmup_epochs: {warmup:g} of {self.epochs} epochs leave the cosine none to "
                f"fall in; warm up for less, such as {self.epochs / 10:g}"
            )
        return self


class Checkpoints(Section):
    """Which epochs are kept, besides 0, the last, and the one that `selection` picks."""

    log_spaced: bool = Field(default=True, description="1, 2, 4, 8, …")
    every: Count | None = None
    around_drops: Natural | None = Field(
        default=1, description="epochs before and after each drop of the rate"
    )
    epochs: tuple[Natural, ...] = ()


class Selection(Section):
    """The early-stopping rule that picks `best` among all epochs; it never ends the run."""

    metric: Literal["accuracy", "loss"] = "accuracy"
    patience: Count | None = Field(
        default=None, description="stop looking after so many epochs without a gain"
    )


class GivenCheckpoint(Section):
    """One checkpoint of a run that was trained elsewhere, as `headstart import` writes it."""

    epoch: Natural
    path: str = located("a safetensors file of the network's own names")
    sha256: Sha256


class Pretrain(Training):
    """Pre-training of one model: on which source tasks, from which seeds, what is kept."""

    sources: tuple[Name, ...] = Field(min_length=1)
    seeds: tuple[Natural, ...] = Field(min_length=1)
    epochs: Natural = Field(
        description="0: no training; the one checkpoint is epoch 0, given `weights` or random ones"
    )
    learning_rate: Positive
    repeats: Count = Field(
        default=1, description="an epoch goes over the training images so many times"
    )
    normalization: Literal["source", "weights"] | Pixels | None = Field(
        default=None,
        description="null: that of given weights where it is stated or timm states it, else `source`, by the "
        "source's training images",
    )
    series: dict[Natural, tuple[GivenCheckpoint, ...]] = Field(
        default_factory=dict,
        description="by seed, the checkpoints of a run that was trained elsewhere, in place of training; "
        "`headstart import` writes them",
    )
    checkpoints: Checkpoints = Checkpoints()
    selection: Selection = Selection()
    test_at_checkpoints: bool = Field(
        default=True, description="read test accuracy at each checkpoint"
    )

    @model_validator(mode="before")
    @classmethod
    def _given_epochs(cls, values: Any) -> Any:
        """A series has its own epochs, and learns at no rate."""
        if not isinstance(values, dict) or not values.get("series"):
            return values
        runs = [run for run in values["series"].values() if isinstance(run, list | tuple) and run]
        epochs = [each.get("epoch", 0) for run in runs for each in run if isinstance(each, dict)]
        return {"epochs": max(epochs, default=0), "learning_rate": 1.0, **values}

    @model_validator(mode="after")
    def _whole_series(self) -> Pretrain:
        if not self.series:
            return self
        if sorted(self.series) != sorted(self.seeds):
            raise ValueError(
                f"series has the runs {sorted(self.series)}, seeds are {sorted(self.seeds)}; name the same"
            )
        for seed, run in self.series.items():
            epochs = [each.epoch for each in run]
            if sorted(set(epochs)) != epochs or not epochs:
                raise ValueError(
                    f"series.{seed}: epochs {epochs} do not ascend; give each one once"
                )
        return self

    def checkpoint_epochs(self) -> tuple[int, ...]:
        """Return the epochs whose weights are kept whatever happens, ascending, 0 and the last included."""
        if self.series:
            runs = [{each.epoch for each in run} for run in self.series.values()]
            return tuple(sorted({0} | set.intersection(*runs)))
        kept = {0, self.epochs, *self.checkpoints.epochs}
        if self.checkpoints.log_spaced:
            kept |= {2**power for power in range(self.epochs.bit_length())}
        if self.checkpoints.every:
            kept |= set(range(0, self.epochs + 1, self.checkpoints.every))
        if self.schedule.name == "step" and self.checkpoints.around_drops is not None:
            reach = self.checkpoints.around_drops
            kept |= {drop + d for drop in self.schedule.drops for d in range(-reach, reach + 1)}
        return tuple(sorted(epoch for epoch in kept if 0 <= epoch <= self.epochs))


NormalizedBy = Annotated[
    Literal["source", "target", "weights"] | Pixels,
    Field(
        description="what gives the mean and standard deviation of each channel. source: as in pre-training, "
        "by the source's training images unless it has given weights; target: its training images; weights: "
        "those that given weights were trained with; or the numbers"
    ),
]


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
