"""What is wrong with a task can be said from counts alone, before anything is trained."""

from __future__ import annotations

from typing import Literal

from headstart.params.datasets import Task
from headstart.tasks import TaskError
from headstart.tasks.classes import resolve_classes
from headstart.tasks.storage import ClassCounts


def find_problems(
    name: str,
    task: Task,
    counts: ClassCounts,
    shots: int | Literal["all"] | None = None,
    shots_path: str = "shots",
) -> list[str]:
    """List what keeps a task from being trained on, one line each.

    Args:
        name: the task's key under `tasks:`.
        task: its params.
        counts: what its dataset holds, by `headstart.tasks.storage.count`.
        shots: the largest number of images per class that is requested.
        shots_path: the params key where that number stands.
    """
    path = f"tasks.{name}"
    try:
        classes = resolve_classes(task.classes, counts, f"{path}.classes")
    except TaskError as error:
        return [str(error)]
    if len(classes) < 2:
        return [f"{path}.classes: only {classes[0]!r}; a task needs two classes or more"]
    found = [_no_test(path, classes, counts), _too_few_to_validate(path, task, classes, counts)]
    if isinstance(shots, int) and not found[1]:
        found.append(_too_few_shots(name, task, classes, counts, shots, shots_path))
    return [problem for problem in found if problem]


def _no_test(path: str, classes: list[str], counts: ClassCounts) -> str | None:
    missing = [each for each in classes if not counts.test[each]]
    if not missing:
        return None
    return f"{path}.classes: {_some(missing)} has no test image; leave it out or add some"


def _too_few_to_validate(
    path: str, task: Task, classes: list[str], counts: ClassCounts
) -> str | None:
    held_out = task.validation_per_class
    scarce = [each for each in classes if counts.train[each] <= held_out]
    if not scarce:
        return None
    return (
        f"{path}.validation_per_class: {held_out} of the {counts.train[scarce[0]]} training images "
        f"of {_some(scarce)} leave none to train on; hold out fewer"
    )


def _too_few_shots(
    name: str,
    task: Task,
    classes: list[str],
    counts: ClassCounts,
    shots: int,
    shots_path: str,
) -> str | None:
    smallest = min(classes, key=lambda each: counts.train[each])
    available = counts.train[smallest] - task.validation_per_class
    if task.train_per_class is not None:
        available = min(available, task.train_per_class)
    if shots <= available:
        return None
    return (
        f"{shots_path}: {shots} images per class are requested, but task {name!r} has {available} "
        f"training images of {smallest!r}; ask for fewer"
    )


def _some(names: list[str]) -> str:
    others = f" (and {len(names) - 1} more)" if len(names) > 1 else ""
    return f"{names[0]!r}{others}"
