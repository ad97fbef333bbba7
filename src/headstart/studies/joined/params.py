"""The section `joined`: what is measured of every start, and what is done to one of them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from headstart.params.core import CoreParams, not_kept, repeated, unknown_names
from headstart.params.types import (
    Count,
    Name,
    Natural,
    NonNegative,
    Positive,
    Section,
    Share,
    no_boolean,
)

Several = Annotated[int, BeforeValidator(no_boolean), Field(ge=4)]
Players = Annotated[int, BeforeValidator(no_boolean), Field(ge=1, le=4)]


class FeatureInversions(Section):
    """Images that a network cannot tell from given ones, by the features that its head sees."""

    images: Several = Field(default=48, description="test images of the target")
    steps: Count = Field(default=80, description="of Adam, with a rate that falls to zero")
    step_size: Positive = Field(default=0.1, description="of Adam, per pixel")


class Intervention(Section):
    """What is removed from one start, and how it is repaired."""

    source_epoch: Count = Field(description="of the start; one of `source_epochs`")
    images: Several = Field(
        default=64, description="training images whose interactions are removed"
    )
    steps: Count = Field(default=150, description="of the targeted fine-tuning, by Adam")
    batch_size: Count = Field(default=128, description="masked images per step")
    learning_rate: Positive = 3e-3
    shrink: Share = Field(default=0.8, description="λ of shrink and perturb")
    perturb: NonNegative = Field(default=0.2, description="σ of shrink and perturb")
    tuned: bool = Field(
        default=False, description="true: fine-tune at the start's tuned rate as well"
    )


class Joined(Section):
    """One row of everything for every source network and source epoch of one model."""

    arm: Name = Field(default="finetune", description="arm of `transfer` that fine-tunes")
    target: Name
    shots: Count | Literal["all"]
    source_epochs: tuple[Count, ...] = Field(
        min_length=2, description="starts to compare; scratch, epoch 0, is measured too"
    )
    fixed_rate: Positive = Field(description="the one learning rate of all starts")
    seeds: tuple[Natural, ...] = Field(default=(), description="none: all source networks")
    probe_rate: Positive = Field(
        default=0.3, description="of the head that reads a start's knowledge"
    )
    images: Several = Field(default=24, description="test images whose interactions are compared")
    rows: Players = Field(default=4, description="of the grid whose cells are the players")
    columns: Players = 2
    permutations: Count = Field(default=4, description="draws of chance")
    inversions: FeatureInversions = FeatureInversions()
    intervention: Intervention | None = Field(
        default=None, description="none: nothing is removed or repaired"
    )


SECTIONS: dict[str, Any] = {"joined": (dict[Name, Joined], Field(default_factory=dict))}


def find_problems(params: CoreParams) -> list[str]:
    """List what the section asks of runs that are not there."""
    problems = []
    for model, options in params.section("joined").items():
        path = f"joined.{model}"
        arms = params.section("transfer").get(model, {})
        problems += unknown_names(path, [model], "pretrain", params)
        problems += repeated(path, options, ("source_epochs", "seeds"))
        if model not in params.pretrain:
            continue
        problems += not_kept(path, options.source_epochs, params.pretrain[model])
        problems += _unmade(path, options, params.pretrain[model].seeds)
        arm = arms.get(options.arm)
        if arm is None or arm.mode != "finetune":
            known = [name for name, each in arms.items() if each.mode == "finetune"]
            problems.append(
                f"{path}.arm: {options.arm!r} is no arm of transfer.{model} that fine-tunes; "
                f"known are {known}"
            )
            continue
        problems += _untransferred(path, options, model, arm)
    return problems


def _unmade(path: str, options: Joined, seeds: tuple[int, ...]) -> list[str]:
    problems = []
    if unknown := [seed for seed in options.seeds if seed not in seeds]:
        problems.append(
            f"{path}.seeds: no network is pre-trained from {unknown}; known are {list(seeds)}"
        )
    chosen = options.intervention
    if chosen and chosen.source_epoch not in options.source_epochs:
        problems.append(
            f"{path}.intervention.source_epoch: {chosen.source_epoch} is not one of "
            f"{list(options.source_epochs)}"
        )
    return problems


def _untransferred(path: str, options: Joined, model: str, arm: Any) -> list[str]:
    """Return which starts the arm does not tune, of the target and shots in question."""
    tuned = {
        epoch
        for grid in arm.grids()
        if options.target in grid.targets and options.shots in grid.shots
        for epoch in grid.source_epochs
    }
    missing = [epoch for epoch in (0, *options.source_epochs) if epoch not in tuned]
    if not missing:
        return []
    return [
        f"{path}: transfer.{model}.{options.arm} does not fine-tune {missing} on {options.target} "
        f"with {options.shots} shots; add them there, since its rates are tuned by it"
    ]
