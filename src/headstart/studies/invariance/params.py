"""The section `invariance`: which networks are inverted, how, and what is measured on them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, Field, model_validator

from headstart.params.core import CoreParams, repeated, suggest
from headstart.params.recipe import Trajectory
from headstart.params.types import (
    Count,
    Fraction,
    Name,
    Natural,
    Positive,
    Section,
    Share,
    no_boolean,
)

MINIMUM_IMAGES = 4
Images = Annotated[int, BeforeValidator(no_boolean), Field(ge=MINIMUM_IMAGES)]
Severity = Annotated[int, BeforeValidator(no_boolean), Field(ge=1, le=5)]
Tokens = Literal["class", "mean", "all"]
SeedKind = Literal["noise", "same_noise", "other_image", "white", "black"]


class InversionOptimizer(Section):
    """How the pixels of an image move in an inversion."""

    steps: Count
    step_size: Positive = Field(
        default=0.5, description="length of a step per image, L2; per pixel for adam"
    )
    method: Literal["normalized", "momentum", "adam"] = "normalized"
    decay: bool = Field(default=False, description="the step size falls along a half cosine")


class Inversions(Section):
    """Inputs with the same representation: of which images, from which seeds, how they are found."""

    images: Images = Field(default=500, description="of the target task, drawn for each seed")
    part: Literal["validation", "test"] = "test"
    seeds: tuple[Natural, ...] = Field(
        default=(0, 1, 2), min_length=1, description="resamples: other images and other noise"
    )
    kinds: tuple[SeedKind, ...] = Field(
        default=("noise",), min_length=1, description="what an inversion starts from"
    )
    tokens: tuple[Tokens, ...] = Field(
        default=("all",),
        min_length=1,
        description="what is read of a block: class token, mean over patches (of maps: over places), "
        "all of it. The first of those given, in this order, decides; others are measured at the end",
    )
    layers: tuple[Count, ...] = Field(
        default=(), description="blocks, counted from 1; none: all of them"
    )
    optimizer: Literal["paper", "long", "fast"] | InversionOptimizer = Field(
        default="fast", description="paper: 50 steps of length 0.5; long: 500; fast: Adam, 200"
    )
    precision: Literal["float16", "float32"] = Field(
        default="float16", description="of the stored pixels; residuals are those of what is stored"
    )
    tf32: bool = Field(
        default=False,
        description="descend with matrix products in TF32, on an NVIDIA GPU; residuals stay those of float32",
    )
    batch_size: Count = Field(default=256, description="images per pass; changes no result")

    @property
    def readings(self) -> tuple[Tokens, ...]:
        """Return what is read, the one that decides first."""
        return tuple(each for each in get_args(Tokens) if each in self.tokens)


class ConvergenceCriterion(Section):
    """When an inversion counts as converged."""

    threshold: Positive = Field(default=0.05, description="largest residual, as a share")
    strict: Positive = Field(default=0.01, description="a second threshold, reported only")
    relative_to: Literal["other", "seed", "features"] = Field(
        default="other", description="of the distance to other images, to the seed, or plain"
    )
    minimum_pass_rate: Share = Field(default=0.9, description="share of images that must pass")
    unconverged: Literal["nan", "keep"] = Field(
        default="nan", description="what becomes of values that rest on a layer that fails"
    )


class Dynamics(Section):
    """What is measured on the way, besides the end."""

    epochs: tuple[Natural, ...] = Field(
        default=(),
        description="target epochs, kept by every arm that lasts so long; none: the end alone",
    )
    learning: tuple[Name, ...] = Field(
        default=(), description="arms whose networks are inverted at each of these epochs too"
    )


class Robustness(Section):
    """Accuracy under corruption, at the epochs of `dynamics`."""

    corruptions: tuple[Name, ...] = Field(default=(), description="none: nothing is corrupted")
    severities: tuple[Severity, ...] = Field(default=(1, 2, 3, 4, 5), min_length=1)
    images: Count = Field(default=67, description="test images, the same for every corruption")
    side: Count | None = Field(
        default=None,
        description="side at which images are corrupted, for datasets that enlarge them (CIFAR: 32); null: as they are",
    )


class Invariance(Section):
    """What fine-tuning forgets, learns and moves between the layers of one model."""

    arms: tuple[Name, ...] = Field(min_length=1, description="arms of `trajectory`")
    scratch: tuple[Name, ...] = Field(
        default=(), description="those of them whose start must be random, which is verified"
    )
    end: Literal["last", "best"] = Field(
        default="last", description="target epoch that counts as the end of a run"
    )
    inversions: Inversions = Inversions()
    convergence: ConvergenceCriterion = ConvergenceCriterion()
    control: tuple[Literal["random", "scratch"], ...] = Field(
        default=("random",),
        description="late blocks that replace those of the pretrained network: fresh ones, or "
        "those of a scratch run",
    )
    components: Count = Field(default=10, description="directions of the subspace similarity")
    groups: Count = Field(default=4, description="quantiles of the residual")
    resamples: Count = Field(default=200, description="half-samples of the images, for intervals")
    confidence: Fraction = 0.95
    dynamics: Dynamics = Dynamics()
    robustness: Robustness = Robustness()

    @model_validator(mode="after")
    def _arms(self) -> Invariance:
        unknown = [name for name in self.scratch if name not in self.arms]
        if unknown:
            raise ValueError(f"scratch: {unknown} are not in `arms`; name them there too")
        if "scratch" in self.control and not self.scratch:
            raise ValueError("control: scratch needs an arm in `scratch`, or leave it out")
        strange = [name for name in self.dynamics.learning if name not in self.arms]
        if strange:
            raise ValueError(f"dynamics.learning: {strange} are not in `arms`; name them there too")
        if self.components >= self.inversions.images:
            raise ValueError(
                f"components: {self.components} directions need more than as many images, and "
                f"inversions.images is {self.inversions.images}; ask for fewer directions"
            )
        return self


SECTIONS: dict[str, Any] = {
    "invariance": (dict[Name, Invariance], Field(default_factory=dict)),
}


def find_problems(params: CoreParams) -> list[str]:
    """List arms that do not exist, scratch arms that are not random, and epochs that no run keeps."""
    problems = []
    sections: Mapping[str, Invariance] = params.section("invariance")
    for model, part in sections.items():
        path, arms = f"invariance.{model}", params.trajectory.get(model, {})
        problems += repeated(path, part, ("arms", "scratch", "control"))
        problems += repeated(
            f"{path}.inversions", part.inversions, ("seeds", "kinds", "tokens", "layers")
        )
        problems += repeated(f"{path}.dynamics", part.dynamics, ("epochs",))
        problems += repeated(f"{path}.robustness", part.robustness, ("corruptions", "severities"))
        if not arms:
            fix = suggest(model, list(params.trajectory))
            problems.append(f"{path}: no arm of `trajectory` has the model {model!r}; {fix}")
            continue
        for arm in part.arms:
            problems += _arm_problems(path, model, arm, arms, part)
        random = params.models[model].weights is None if model in params.models else True
        for arm in part.scratch:
            if arm in arms and (set(arms[arm].source_epochs) != {0} or not random):
                problems.append(
                    f"{path}.scratch: {arm!r} does not start from random weights; "
                    "it needs source_epochs [0] and a model without `weights`"
                )
    return problems


def _arm_problems(
    path: str, model: str, arm: str, arms: Mapping[str, Trajectory], part: Invariance
) -> list[str]:
    if arm not in arms:
        fix = suggest(arm, list(arms))
        return [f"{path}.arms: {arm!r} is not in `trajectory.{model}`; {fix}"]
    kept = arms[arm].kept_epochs()
    reached = [epoch for epoch in part.dynamics.epochs if epoch <= arms[arm].epochs]
    missing = [epoch for epoch in reached if epoch not in kept]
    if not missing:
        return []
    return [
        f"{path}.dynamics.epochs: {missing} are not kept by trajectory.{model}.{arm}, "
        f"which keeps {list(kept)}; add them to `target_epochs` there"
    ]
