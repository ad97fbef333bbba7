"""Step `check`: what the params promise is compared with the data before any network trains.

Every study adds a module (`Study.checks`) with two functions:

- `data_problems(sections, facts)`: what its sections ask of datasets that these do not have;
- `network_problems(sections, facts, model, network)`: what they ask of a network that it cannot give.

`sections` are the params as a file spells them, of which a study reads its own.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from headstart.artifacts.files import write_json
from headstart.artifacts.keys import Job
from headstart.artifacts.store import JobContext
from headstart.networks.build import build
from headstart.networks.network import Network, NetworkError
from headstart.networks.reconstruction import reconstruction_problem
from headstart.params.core import CoreParams
from headstart.params.recipe import Pretrain, Training
from headstart.steps.given_series import read_state
from headstart.steps.trial_step import step_problems, weight_problems
from headstart.tasks import TaskError
from headstart.tasks.classes import find_problems
from headstart.tasks.storage import ClassCounts, count
from headstart.training.device import choose_device
from headstart.training.interventions import batch_norms

Shape = tuple[int, ...]
Sections = Mapping[str, Any]


@dataclass(frozen=True)
class Facts:
    """The shared params, and what the datasets at hand hold."""

    params: CoreParams
    counts: Mapping[str, ClassCounts]
    """Images per class, by dataset."""
    shapes: Mapping[str, Shape]
    """(channels, height, width), by dataset."""

    def shape(self, task: str) -> Shape:
        """Return the shape of a task's images."""
        return self.shapes[self.params.tasks[task].dataset]

    def counted(self, task: str) -> ClassCounts:
        """Return the images per class of a task's dataset."""
        return self.counts[self.params.tasks[task].dataset]


def make(job: Job, context: JobContext) -> Mapping[str, Any]:
    """Write what was checked; every problem stands on a line of its own.

    Raises:
        TaskError: something that the params ask for cannot be done with these data on this machine.
    """
    sections: Sections = job.params["sections"]
    core = {name: sections[name] for name in CoreParams.model_fields if name in sections}
    counts, shapes = {}, {}
    for data_job, artifact in zip(job.inputs["data"], context.inputs["data"], strict=True):
        artifact.file("images.safetensors")
        name = data_job.wildcards["dataset"]
        counts[name] = count(artifact.path)
        shapes[name] = tuple(artifact.manifest["summary"]["shape"])
        for finding in artifact.manifest["summary"].get("findings", ()):
            context.log(f"datasets.{name}: {finding}")
    facts = Facts(CoreParams.model_validate(core), counts, shapes)
    studies = [importlib.import_module(name) for name in job.params["checks"]]
    problems = [*_device_problems(facts.params), *_task_problems(facts)]
    for study in studies:
        problems += study.data_problems(sections, facts)
    problems += [] if problems else _network_problems(sections, facts, studies)
    if problems:
        raise TaskError("\n".join(dict.fromkeys(problems)))
    tasks, models = list(facts.params.tasks), list(facts.params.models)
    context.log(f"{len(tasks)} tasks, {len(models)} models: all that the params ask for is there")
    write_json(context.out / "check.json", {"tasks": tasks, "models": models})
    return {}


def _device_problems(params: CoreParams) -> list[str]:
    try:
        choose_device(params.runtime.device)
    except ValueError as error:
        return [str(error)]
    return []


def _task_problems(facts: Facts) -> list[str]:
    """Return what is wrong with source tasks and with the targets of `trajectory`."""
    problems = []
    for model, pretrain in facts.params.pretrain.items():
        for source in pretrain.sources:
            problems += find_problems(
                source, facts.params.tasks[source], facts.counted(source), None, ""
            )
        for arm, part in facts.params.trajectory.get(model, {}).items():
            path = f"trajectory.{model}.{arm}"
            shots = None if part.shots == "all" else part.shots
            problems += target_problems(path, model, part.targets, shots, facts)
    return problems


def target_problems(
    path: str, model: str, targets: Sequence[str], shots: int | None, facts: Facts
) -> Iterator[str]:
    """Yield what is wrong with the targets of an arm: classes, shots, images of another shape."""
    sources = facts.params.pretrain[model].sources
    for target in targets:
        task = facts.params.tasks[target]
        yield from find_problems(target, task, facts.counted(target), shots, f"{path}.shots")
        for source in sources:
            here, there = facts.shape(target), facts.shape(source)
            if here != there:
                yield (
                    f"{path}.targets: {target} has images of {here} (channels, height, width), "
                    f"its source {source} of {there}; give both datasets the same `size` and `channels`"
                )


def _network_problems(sections: Sections, facts: Facts, studies: Iterable[Any]) -> list[str]:
    """Return networks that cannot be built for their source images; weights and user files are compared."""
    problems = []
    for model, pretrain in facts.params.pretrain.items():
        for source in pretrain.sources:
            channels, height, _ = facts.shape(source)
            try:
                network = build(facts.params.models[model], channels, height, classes=2, seed=0)
            except ValueError as error:
                problems.append(f"models.{model}: {error}")
                continue
            if found := [f"models.{model}: {each}" for each in weight_problems(network)]:
                problems += found
                continue
            problems += _training_problems(model, network, facts, source)
            problems += _series_problems(model, network, pretrain)
            for study in studies:
                problems += study.network_problems(sections, facts, model, network)
    return problems


def _series_problems(model: str, network: Network, pretrain: Pretrain) -> Iterator[str]:
    """Yield which checkpoints of runs that were trained elsewhere cannot be read."""
    for seed, run in pretrain.series.items():
        for each in run:
            try:
                read_state(each, network)
            except NetworkError as error:
                yield f"pretrain.{model}.series.{seed}: {error}"
                break  # the others are likely to have the same cause


def _training_problems(model: str, network: Network, facts: Facts, source: str) -> Iterator[str]:
    """Yield what pre-training and trajectories ask of a network that it cannot give."""
    arms, pretrain = facts.params.trajectory.get(model, {}), facts.params.pretrain[model]
    parts: dict[str, Training] = {f"pretrain.{model}": pretrain}
    parts |= {f"trajectory.{model}.{arm}": part for arm, part in arms.items()}
    yield from recalibration_problems(model, network, parts)
    if pretrain.series or not pretrain.epochs:
        del parts[f"pretrain.{model}"]
    yield from step_problems(network, trained_whole(parts), facts.shape(source))
    problem = reconstruction_problem(network.backbone)
    for arm, part in arms.items():
        if part.mode == "reconstruct" and problem:
            yield f"trajectory.{model}.{arm}.mode: {problem}"


def trained_whole(parts: Mapping[str, Any]) -> dict[str, Training]:
    """Return the trainings that move all weights: of a probe the head alone sees batches."""
    return {
        path: part for path, part in parts.items() if getattr(part, "mode", "finetune") != "probe"
    }


def recalibration_problems(
    model: str, network: Network, parts: Mapping[str, Training]
) -> Iterator[str]:
    """Yield where a network without batch normalisation is to estimate its statistics."""
    if batch_norms(network):
        return
    for path, part in parts.items():
        if part.recalibrate_batch_norm:
            yield (
                f"{path}.recalibrate_batch_norm: true, but {model} has no batch normalisation; "
                "leave it out"
            )
