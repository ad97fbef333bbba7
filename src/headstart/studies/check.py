"""Step `check`: what the params promise is compared with the data before any network trains."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from headstart.artifacts.files import write_json
from headstart.artifacts.keys import Job
from headstart.artifacts.store import Work
from headstart.networks.build import build
from headstart.params import Params, Training, Trajectory, Transfer, parse
from headstart.studies import block_checks
from headstart.studies.knowledge.subjects import check_subjects
from headstart.tasks.checks import find_problems
from headstart.tasks.classes import resolve_classes
from headstart.tasks.errors import TaskError
from headstart.tasks.storage import ClassCounts, count
from headstart.training.device import choose_device
from headstart.training.interventions import batch_norms

Shape = tuple[int, ...]


def make(job: Job, work: Work) -> Mapping[str, Any]:
    """Write what was checked; every problem stands on a line of its own.

    Raises:
        TaskError: something that the params ask for cannot be done with these data on this machine.
    """
    params = parse(dict(job.params))
    counts, shapes = {}, {}
    for data_job, artifact in zip(job.inputs["data"], work.inputs["data"], strict=True):
        artifact.file("images.safetensors")
        name = data_job.wildcards["dataset"]
        counts[name], shapes[name] = (
            count(artifact.path),
            tuple(artifact.manifest["summary"]["shape"]),
        )
    problems = [
        *_device_problems(params),
        *_task_problems(params, counts),
        *_shape_problems(params, shapes),
        *_knowledge_problems(params, counts, shapes),
        *block_checks.image_problems(params, counts),
    ]
    problems += [] if problems else _network_problems(params, shapes)
    if problems:
        raise TaskError("\n".join(dict.fromkeys(problems)))
    work.say(
        f"{len(params.tasks)} tasks, {len(params.models)} models: all that the params ask for is there"
    )
    write_json(
        work.out / "check.json", {"tasks": list(params.tasks), "models": list(params.models)}
    )
    return {}


def _device_problems(params: Params) -> list[str]:
    try:
        choose_device(params.runtime.device)
    except ValueError as error:
        return [str(error)]
    return []


def _task_problems(params: Params, counts: Mapping[str, ClassCounts]) -> list[str]:
    """Return classes that do not exist, and classes with too few images for the shots asked of them."""
    asked: list[tuple[str, int | None, str]] = [
        (source, None, "") for part in params.pretrain.values() for source in part.sources
    ]
    for model, arms in params.transfer.items():
        for arm, transfer in arms.items():
            most = max((number for number in transfer.shots if number != "all"), default=None)
            targets = transfer.targets or params.pretrain[model].sources
            asked += [(target, most, f"transfer.{model}.{arm}.shots") for target in targets]
    for model, trajectories in params.trajectory.items():
        for arm, part in trajectories.items():
            most = None if part.shots == "all" else part.shots
            asked += [(name, most, f"trajectory.{model}.{arm}.shots") for name in part.targets]
    problems = []
    for name, shots, path in asked:
        task = params.tasks[name]
        problems += find_problems(name, task, counts[task.dataset], shots, path)
    return problems


def _shape_problems(params: Params, shapes: Mapping[str, Shape]) -> list[str]:
    """Return targets whose images have another shape than those of the source."""
    problems = []
    for path, model, part in _arms(params):
        for source in params.pretrain[model].sources:
            there = shapes[params.tasks[source].dataset]
            for target in part.targets:
                here = shapes[params.tasks[target].dataset]
                if here != there:
                    problems.append(
                        f"{path}.targets: {target} has images of {here} (channels, height, width), "
                        f"its source {source} of {there}; give both datasets the same `size` and `channels`"
                    )
    return problems


def _knowledge_problems(
    params: Params, counts: Mapping[str, ClassCounts], shapes: Mapping[str, Shape]
) -> list[str]:
    """Return players and images that the study of knowledge asks for and a target does not have."""
    problems = []
    for model, options in params.knowledge.items():
        for target in options.targets or params.trajectory[model][options.finetuned].targets:
            task = params.tasks[target]
            try:
                classes = resolve_classes(task.classes, counts[task.dataset], "")
            except TaskError:  # said of the task already
                continue
            available = sum(counts[task.dataset].test[name] for name in classes)
            channels, height, width = shapes[task.dataset]
            try:
                check_subjects(options, available, (channels, height, width), target)
            except ValueError as error:
                problems.append(f"knowledge.{model}: on {target}: {error}")
    return problems


def _arms(params: Params) -> Iterator[tuple[str, str, Transfer | Trajectory]]:
    """Yield the path in the params, the model and the section of every arm that starts from a checkpoint."""
    for name in ("transfer", "trajectory"):
        for model, arms in getattr(params, name).items():
            for arm, part in arms.items():
                yield f"{name}.{model}.{arm}", model, part


def _network_problems(params: Params, shapes: Mapping[str, Shape]) -> list[str]:
    """Return networks that cannot be built for their source images; weights and user files are compared."""
    problems = []
    for model, pretrain in params.pretrain.items():
        for source in pretrain.sources:
            channels, height, _ = shapes[params.tasks[source].dataset]
            try:
                network = build(params.models[model], channels, height, classes=2, seed=0)
            except ValueError as error:
                problems.append(f"models.{model}: {error}")
                continue
            problems += block_checks.network_problems(params, model, network)
            problems += [] if batch_norms(network) else _nothing_to_recalibrate(params, model)
    return problems


def _nothing_to_recalibrate(params: Params, model: str) -> list[str]:
    """Return where a network without batch normalisation is asked for its statistics."""
    parts: dict[str, Training] = {f"pretrain.{model}": params.pretrain[model]}
    parts |= {path: part for path, of, part in _arms(params) if of == model}
    return [
        f"{path}.recalibrate_batch_norm: true, but {model} has no batch normalisation; leave it out"
        for path, part in parts.items()
        if part.recalibrate_batch_norm
    ]
