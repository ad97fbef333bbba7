"""The choice of classes that makes a task out of a dataset."""

from __future__ import annotations

import difflib
from typing import Protocol, runtime_checkable

from headstart.tasks import TaskError


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
