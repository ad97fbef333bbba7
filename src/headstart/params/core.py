"""The sections that every study shares, and what one of them says of another."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import Any, Literal

from pydantic import Field

from headstart.params.datasets import Dataset, Task
from headstart.params.models import Model
from headstart.params.recipe import Pretrain, Trajectory
from headstart.params.types import Count, Fraction, Name, NonNegative, Section


class Figures(Section):
    """How the figures are drawn."""

    confidence: Fraction = Field(default=0.95, description="of the intervals, over source networks")
    dots_per_inch: Count = 200


class Runtime(Section):
    """Where things run. Not part of any key: a result is valid wherever it was made."""

    device: Literal["auto", "cpu", "cuda"] = "auto"


class Expected(Section):
    """A number that others published, to stand beside the measured one. Not part of a result's key."""

    study: Name = Field(description="whose table holds the number")
    table: Name = "measurements"
    metric: str = Field(description="of the measurements; of another table, a column")
    where: dict[Name, str | int | float | None] = Field(
        default_factory=dict,
        description="columns of the table and their values; null: no value; source_epoch best: the one "
        "that each network chose by validation",
    )
    statistic: Literal["median", "mean"] = Field(
        default="median", description="over the rows that are left, such as networks and draws"
    )
    value: float = Field(description="in the unit of the table")
    tolerance: NonNegative = Field(description="how far a measured value may be away")
    source: str = Field(min_length=1, description="where the number was published")


class CoreParams(Section):
    """What every study reads of a params file; `headstart.registry` adds the sections of the studies."""

    datasets: dict[Name, Dataset]
    tasks: dict[Name, Task]
    models: dict[Name, Model]
    pretrain: dict[Name, Pretrain]
    trajectory: dict[Name, dict[Name, Trajectory]] = Field(default_factory=dict)
    figures: Figures = Figures()
    runtime: Runtime = Runtime()
    expected: dict[Name, Expected] = Field(default_factory=dict)

    def section(self, name: str) -> Any:
        """Return the section of a study, whose type that study knows."""
        return getattr(self, name)


def find_problems(params: CoreParams) -> list[str]:
    """List what one of the shared sections says of another that is not so."""
    problems = []
    for name, task in params.tasks.items():
        problems += unknown_names(f"tasks.{name}.dataset", [task.dataset], "datasets", params)
    for model, pretrain in params.pretrain.items():
        problems += unknown_names(f"pretrain.{model}", [model], "models", params)
        problems += unknown_names(f"pretrain.{model}.sources", pretrain.sources, "tasks", params)
        problems += repeated(f"pretrain.{model}", pretrain, ("sources", "seeds"))
        problems += no_weights(f"pretrain.{model}", pretrain, model, params)
    for model, arms in params.trajectory.items():
        unknown = unknown_names(f"trajectory.{model}", [model], "pretrain", params)
        if unknown:
            problems += unknown
            continue
        for arm, part in arms.items():
            path = f"trajectory.{model}.{arm}"
            problems += unknown_names(f"{path}.targets", part.targets, "tasks", params)
            lists = ("targets", "source_epochs", "seeds", "target_seeds", "target_epochs")
            problems += repeated(path, part, lists)
            problems += not_kept(path, part.source_epochs, params.pretrain[model])
            problems += _unknown_seeds(path, part, params.pretrain[model])
            problems += no_weights(path, part, model, params)
    return problems


def no_weights(
    path: str, section: Pretrain | Trajectory | Any, model: str, params: CoreParams
) -> list[str]:
    """Return a line where pixels are to be normalised for given weights, and there are none."""
    network, pretrain = params.models.get(model), params.pretrain.get(model)
    if section.normalization != "weights" or network is None or pretrain is None:
        return []
    fix = "state it in `weights.pixels`, or leave `normalization` out"
    if network.weights is None:
        return [f"{path}.normalization: weights, but models.{model} has no given weights; {fix}"]
    if not network.weights.pixels and network.kind != "timm":
        return [
            f"{path}.normalization: weights, but models.{model}.weights does not state it; {fix}"
        ]
    if pretrain.normalization not in (None, "weights"):
        return [
            f"{path}.normalization: weights, but pretrain.{model}.normalization is another; "
            "give both the same"
        ]
    return []


def _unknown_seeds(path: str, part: Trajectory, pretrain: Pretrain) -> list[str]:
    unknown = [seed for seed in part.seeds if seed not in pretrain.seeds]
    if not unknown:
        return []
    return [
        f"{path}.seeds: no network is pre-trained from {unknown}; known are {list(pretrain.seeds)}"
    ]


def unknown_names(path: str, names: Iterable[str], section: str, params: CoreParams) -> list[str]:
    """Return a line for every name that a section does not hold, with the one that was probably meant."""
    known = list(params.section(section))
    return [
        f"{path}: {name!r} is not in `{section}`; {suggest(name, known)}"
        for name in names
        if name not in known
    ]


def repeated(path: str, section: Section, fields: tuple[str, ...]) -> list[str]:
    """Return a line for every list of a section that names something twice."""
    lists = {field: getattr(section, field) for field in fields}
    return [
        f"{path}.{field}: {list(values)} names something twice; each belongs there once"
        for field, values in lists.items()
        if len(set(values)) < len(values)
    ]


def not_kept(path: str, epochs: Sequence[int | str], pretrain: Pretrain) -> list[str]:
    """Return a line where requested source epochs are not kept by pre-training."""
    kept = pretrain.checkpoint_epochs()
    missing = [epoch for epoch in epochs if isinstance(epoch, int) and epoch not in kept]
    if not missing:
        return []
    return [
        f"{path}.source_epochs: {missing} are not kept by pre-training, which keeps {list(kept)}; "
        "add them to `checkpoints.epochs` there"
    ]


def suggest(name: str, names: list[str]) -> str:
    """Say which known name was probably meant."""
    close = nearest(name, names)
    return f"did you mean {close!r}?" if close else f"known are: {', '.join(names)}"


def nearest(name: str, names: list[str], alike: float = 0.6) -> str:
    """Return the known name that is most like one, if it is that much alike, from 0 to 1; else an empty text."""
    return next(iter(difflib.get_close_matches(name, names, n=1, cutoff=alike)), "")
