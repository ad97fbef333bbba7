"""A whole params file, and what one section says of another."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Literal

from pydantic import Field, model_validator

from headstart.params import comparison
from headstart.params.datasets import Dataset, Task
from headstart.params.inference import Statistics, unknown_primary
from headstart.params.invariance import Invariance
from headstart.params.knowledge import Knowledge
from headstart.params.models import Model
from headstart.params.plasticity import Plasticity
from headstart.params.training import Pretrain, Transfer
from headstart.params.trajectory import Trajectory
from headstart.params.types import Count, Fraction, Name, Section


class Figures(Section):
    """How the figures are drawn."""

    confidence: Fraction = Field(default=0.95, description="of the intervals, over source seeds")
    dots_per_inch: Count = 200


class Runtime(Section):
    """Where things run. Not part of any key: a result is valid wherever it was made."""

    device: Literal["auto", "cpu", "cuda"] = "auto"


class Params(Section):
    """A whole params file."""

    datasets: dict[Name, Dataset]
    tasks: dict[Name, Task]
    models: dict[Name, Model]
    pretrain: dict[Name, Pretrain]
    transfer: dict[Name, dict[Name, Transfer]] = Field(default_factory=dict)
    trajectory: dict[Name, dict[Name, Trajectory]] = Field(default_factory=dict)
    invariance: dict[Name, Invariance] = Field(default_factory=dict)
    plasticity: Plasticity = Plasticity()
    knowledge: dict[Name, Knowledge] = Field(default_factory=dict)
    statistics: Statistics = Statistics()
    figures: Figures = Figures()
    runtime: Runtime = Runtime()

    @model_validator(mode="after")
    def _references(self) -> Params:
        for problem in _broken_references(self):
            raise ValueError(problem)
        return self


def _broken_references(params: Params) -> list[str]:
    """List what one section says of another that is not so."""
    problems = []

    def known(path: str, name: str, section: str) -> None:
        names = list(getattr(params, section))
        if name not in names:
            problems.append(f"{path}: {name!r} is not in `{section}`; {suggest(name, names)}")

    for name, task in params.tasks.items():
        known(f"tasks.{name}.dataset", task.dataset, "datasets")
    for model, pretrain in params.pretrain.items():
        known(f"pretrain.{model}", model, "models")
        for source in pretrain.sources:
            known(f"pretrain.{model}.sources", source, "tasks")
        problems += _repeated(f"pretrain.{model}", pretrain, ("sources", "seeds"))
    for model, arms in params.transfer.items():
        known(f"transfer.{model}", model, "pretrain")
        for arm, transfer in arms.items():
            path = f"transfer.{model}.{arm}"
            for target in transfer.targets:
                known(f"{path}.targets", target, "tasks")
            problems += _repeated(
                path, transfer, ("targets", "source_epochs", "shots", "draws", "learning_rates")
            )
            if model in params.pretrain:
                problems += _missing_epochs(path, transfer, params.pretrain[model])
    problems += _trajectory_problems(params)
    problems += _invariance_problems(params)
    for model in params.plasticity.models:
        known("plasticity.models", model, "pretrain")
    problems += _repeated("plasticity", params.plasticity, ("models",))
    for model, knowledge in params.knowledge.items():
        lists = ("targets", "seeds", "source_epochs", "followed", "target_epochs")
        problems += _repeated(f"knowledge.{model}", knowledge, lists)
    # Names that are wrong elsewhere would be named here a second time.
    return (
        problems
        or comparison.find_problems(params.knowledge, params.trajectory, params.pretrain)
        or _primary_problems(params)
    )


def _trajectory_problems(params: Params) -> list[str]:
    problems = []
    for model, arms in params.trajectory.items():
        if model not in params.pretrain:
            remedy = suggest(model, list(params.pretrain))
            problems.append(f"trajectory.{model}: {model!r} is not in `pretrain`; {remedy}")
            continue
        for arm, part in arms.items():
            path, pretrain = f"trajectory.{model}.{arm}", params.pretrain[model]
            for target in part.targets:
                if target not in params.tasks:
                    remedy = suggest(target, list(params.tasks))
                    problems.append(f"{path}.targets: {target!r} is not in `tasks`; {remedy}")
            problems += _repeated(
                path, part, ("targets", "source_epochs", "seeds", "target_seeds", "target_epochs")
            )
            problems += _not_kept(path, part.source_epochs, pretrain)
            unknown = [seed for seed in part.seeds if seed not in pretrain.seeds]
            if unknown:
                problems.append(
                    f"{path}.seeds: no network is pre-trained from {unknown}; "
                    f"known are {list(pretrain.seeds)}"
                )
    return problems


def _invariance_problems(params: Params) -> list[str]:
    """List arms that do not exist, scratch arms that are not random, and epochs that no run keeps."""
    problems = []
    for model, part in params.invariance.items():
        path, arms = f"invariance.{model}", params.trajectory.get(model, {})
        problems += _repeated(path, part, ("arms", "scratch", "control"))
        problems += _repeated(f"{path}.inversions", part.inversions, ("seeds", "kinds", "layers"))
        problems += _repeated(f"{path}.dynamics", part.dynamics, ("epochs",))
        problems += _repeated(f"{path}.robustness", part.robustness, ("corruptions", "severities"))
        if not arms:
            remedy = suggest(model, list(params.trajectory))
            problems.append(f"{path}: no arm of `trajectory` has the model {model!r}; {remedy}")
            continue
        for arm in part.arms:
            if arm not in arms:
                remedy = suggest(arm, list(arms))
                problems.append(f"{path}.arms: {arm!r} is not in `trajectory.{model}`; {remedy}")
                continue
            kept = arms[arm].kept_epochs()
            reached = [epoch for epoch in part.dynamics.epochs if epoch <= arms[arm].epochs]
            missing = [epoch for epoch in reached if epoch not in kept]
            if missing:
                problems.append(
                    f"{path}.dynamics.epochs: {missing} are not kept by trajectory.{model}.{arm}, "
                    f"which keeps {list(kept)}; add them to `target_epochs` there"
                )
        random = params.models[model].weights is None if model in params.models else True
        for arm in part.scratch:
            if arm in arms and (set(arms[arm].source_epochs) != {0} or not random):
                problems.append(
                    f"{path}.scratch: {arm!r} does not start from random weights; "
                    "it needs source_epochs [0] and a model without `weights`"
                )
    return problems


def _primary_problems(params: Params) -> list[str]:
    primary = params.statistics.primary
    if primary is None:
        return []
    sources = {model: tuple(pretrain.sources) for model, pretrain in params.pretrain.items()}
    problem = unknown_primary(primary, sources, params.transfer)
    if problem is None:
        return []
    field, value, names = problem
    remedy = suggest(value, names) if names else "there are no runs of transfer"
    return [
        f"statistics.primary.{field}: nothing is run for {value!r}; {remedy}. "
        "Or leave `primary` out: then every contrast is corrected"
    ]


def _repeated(path: str, section: Section, fields: tuple[str, ...]) -> list[str]:
    lists = {field: getattr(section, field) for field in fields}
    return [
        f"{path}.{field}: {list(values)} names something twice; each belongs there once"
        for field, values in lists.items()
        if len(set(values)) < len(values)
    ]


def _not_kept(path: str, epochs: Sequence[int | str], pretrain: Pretrain) -> list[str]:
    kept = pretrain.checkpoint_epochs()
    missing = [epoch for epoch in epochs if isinstance(epoch, int) and epoch not in kept]
    if not missing:
        return []
    return [
        f"{path}.source_epochs: {missing} are not kept by pre-training, which keeps {list(kept)}; "
        "add them to `checkpoints.epochs` there"
    ]


def _missing_epochs(path: str, transfer: Transfer, pretrain: Pretrain) -> list[str]:
    late = [
        epoch
        for epoch in transfer.test_epochs
        if isinstance(epoch, int) and epoch > transfer.epochs
    ]
    problems = _not_kept(path, transfer.source_epochs, pretrain)
    if late:
        problems.append(f"{path}.test_epochs: {late} lie after the last epoch, {transfer.epochs}")
    return problems


def suggest(name: str, names: list[str]) -> str:
    """Say which known name was probably meant."""
    close = difflib.get_close_matches(name, names, n=1)
    return f"did you mean {close[0]!r}?" if close else f"known are: {', '.join(names)}"
