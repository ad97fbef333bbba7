"""The choice of classes that makes a task out of a dataset, and what is wrong with it, by counts alone."""

from __future__ import annotations

import difflib
from typing import Literal, Protocol, runtime_checkable

from headstart.params.datasets import Task
from headstart.tasks import TaskError
from headstart.tasks.storage import ClassCounts


@runtime_checkable
class NamesClasses(Protocol):
    """Anything that knows a dataset's class names and its named groups of classes."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Return the class names, in the order of their labels."""

    @property
    def groups(self) -> dict[str, tuple[str, ...]]:
        """Return the groups: name to class names."""


def resolve_classes(choice: str | tuple[str, ...], dataset: NamesClasses, path: str) -> list[str]:
    """Return the chosen classes, each once, in the dataset's order.

    Args:
        choice: 'all', the name of a class or of a group, or a tuple of these.
        dataset: a `StoredDataset` or its `ClassCounts`.
        path: the params key the choice stands under, for the error message.

    Raises:
        TaskError: a name is neither a class nor a group, or nothing is chosen.
    """
    names = (choice,) if isinstance(choice, str) else choice
    chosen: set[str] = set()
    for name in names:
        chosen |= set(_expand(name, dataset, path))
    if not chosen:
        raise TaskError(
            f"{path}: {list(names)} chooses no class; name a class or a group, or write 'all'"
        )
    return [name for name in dataset.classes if name in chosen]


def _expand(name: str, dataset: NamesClasses, path: str) -> tuple[str, ...]:
    if name == "all":
        return dataset.classes
    if name in dataset.classes:
        return (name,)
    if name in dataset.groups:
        return dataset.groups[name]
    raise TaskError(
        f"{path}: {name!r} is no class or group of this dataset; {_suggest(name, dataset)}"
    )


def _suggest(name: str, dataset: NamesClasses) -> str:
    known = [*dataset.groups, *dataset.classes]
    folded = {each.casefold(): each for each in reversed(known)}
    close = difflib.get_close_matches(name.casefold(), folded, n=1)
    if close:
        return f"did you mean {folded[close[0]]!r}?"
    shown = ", ".join(known[:20])
    return f"known are: {shown}" + (f" and {len(known) - 20} more" if len(known) > 20 else "")


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
    drawn = [each for each in classes if not counts.validation.get(each)]
    scarce = [each for each in drawn if counts.train[each] <= held_out]
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
    held_out = 0 if counts.validation.get(smallest) else task.validation_per_class
    available = counts.train[smallest] - held_out
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
