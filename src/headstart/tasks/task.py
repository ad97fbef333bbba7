"""A stored dataset in memory, and a task: chosen classes of it, in parts that never overlap and differ by type."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

from headstart.artifacts.keys import derive_seed
from headstart.params.datasets import Task as TaskParams
from headstart.tasks import TaskError
from headstart.tasks.classes import resolve_classes
from headstart.tasks.storage import (
    TEST,
    VALIDATION,
    held_out,
    read_arrays,
    read_copies,
    read_names,
)


@dataclass(frozen=True)
class StoredDataset:
    """All images of a dataset, training and test part together.

    `labels` index `classes`; `test` is 1 for images of the test part, 2 for those of a published
    validation part; `groups` name sets of classes; `copies` are those of `storage.held_out`.
    """

    images: UInt8[Tensor, "images channels height width"]
    labels: Int64[Tensor, " images"]
    test: UInt8[Tensor, " images"]
    classes: tuple[str, ...]
    groups: dict[str, tuple[str, ...]]
    copies: Int64[np.ndarray, " images"] | None = None


def read(folder: Path) -> StoredDataset:
    """Read a dataset that `headstart.tasks.build.build` made.

    Raises:
        TaskError: a file is missing or damaged.
    """
    classes, groups = read_names(folder)
    images, labels, test = map(torch.from_numpy, read_arrays(folder, "images", "labels", "test"))
    return StoredDataset(images, labels, test, classes, groups, read_copies(folder))


@dataclass(frozen=True, eq=False)
class LabelledImages:
    """Images with labels in 0..k-1 that index `classes`; subclasses say what they are used for."""

    images: UInt8[Tensor, "n channels height width"]
    labels: Int64[Tensor, " n"]
    classes: tuple[str, ...]


class TrainImages(LabelledImages):
    """Images to train on."""


class ValidationImages(LabelledImages):
    """Images to choose epochs and learning rates by."""


class TestImages(LabelledImages):
    """Images to report accuracy on. They choose nothing."""

    __test__ = False  # pytest is not to collect this class


@dataclass(frozen=True, eq=False)
class Task:
    """Chosen classes of a dataset; the three parts have no image in common."""

    name: str
    classes: tuple[str, ...]
    train: TrainImages
    validation: ValidationImages
    test: TestImages


@dataclass(frozen=True, eq=False)
class Split:
    """Positions of a task's images in its dataset, ascending in each part."""

    train: Int64[Tensor, " train"]
    validation: Int64[Tensor, " validation"]
    test: Int64[Tensor, " test"]


def make_task(name: str, task: TaskParams, dataset: StoredDataset) -> Task:
    """Take the chosen classes out of a dataset and hold validation images out of its training part.

    Args:
        name: the task's key under `tasks:`.
        task: its params.
        dataset: the dataset that the params name.

    Raises:
        TaskError: an unknown class, fewer than two classes, or a part that would be empty.
    """
    classes = resolve_classes(task.classes, dataset, f"tasks.{name}.classes")
    if len(classes) < 2:
        raise TaskError(
            f"tasks.{name}.classes: only {classes[0]!r}; a task needs two classes or more"
        )
    split = split_images(name, task, dataset)
    new_label = torch.full((len(dataset.classes),), -1)
    new_label[[dataset.classes.index(each) for each in classes]] = torch.arange(len(classes))

    def part(chosen: Tensor) -> tuple[Tensor, Tensor, tuple[str, ...]]:
        return dataset.images[chosen], new_label[dataset.labels[chosen]], tuple(classes)

    return Task(
        name=name,
        classes=tuple(classes),
        train=TrainImages(*part(split.train)),
        validation=ValidationImages(*part(split.validation)),
        test=TestImages(*part(split.test)),
    )


def split_images(name: str, task: TaskParams, dataset: StoredDataset) -> Split:
    """Divide the images of a task's classes into training, validation and test images.

    Which images validate depends on the names of the dataset and of the class only, so that a class
    has the same validation images in every task, and fewer of them are among more of them. Of a class
    with published validation images, these validate.

    Raises:
        TaskError: as `make_task`.
    """
    train, validation, test = [], [], []
    for each in resolve_classes(task.classes, dataset, f"tasks.{name}.classes"):
        of_class = dataset.labels == dataset.classes.index(each)
        available = torch.nonzero(of_class & (dataset.test == 0)).flatten()
        published = torch.nonzero(of_class & (dataset.test == VALIDATION)).flatten()
        number = 0 if len(published) else task.validation_per_class
        order = available[_permutation(len(available), "validation", task.dataset, each)]
        held, rest = map(torch.from_numpy, held_out(order.numpy(), number, dataset.copies))
        if not len(rest):
            raise TaskError(
                f"tasks.{name}.validation_per_class: {task.validation_per_class} of the "
                f"{len(available)} training images of {each!r} leave none to "
                "train on; hold out fewer"
            )
        validation.append(published if len(published) else held)
        train.append(rest[: task.train_per_class])
        test.append(torch.nonzero(of_class & (dataset.test == TEST)).flatten())
        if not len(test[-1]):
            raise TaskError(
                f"tasks.{name}.classes: {each!r} has no test image; leave it out or add some"
            )
    return Split(*(torch.cat(part).sort().values for part in (train, validation, test)))


def draw_shots(task: Task, shots: int | Literal["all"], draw: int) -> TrainImages:
    """Draw `shots` training images of each class, or return all of them.

    The draw depends on the task's name, the class and `draw` only, so it is the same for every
    source network; the images of fewer shots are among those of more shots.

    Raises:
        TaskError: a class has fewer images than requested.
    """
    if shots == "all":
        return task.train
    chosen = []
    for label, name in enumerate(task.classes):
        members = torch.nonzero(task.train.labels == label).flatten()
        if shots > len(members):
            raise TaskError(
                f"shots: {shots} of {name!r} are requested, but task {task.name!r} has "
                f"{len(members)} training images of it; ask for fewer"
            )
        chosen.append(members[_permutation(len(members), "shots", task.name, draw, name)[:shots]])
    positions = torch.cat(chosen).sort().values
    return TrainImages(task.train.images[positions], task.train.labels[positions], task.classes)


def repeated(images: TrainImages, times: int) -> TrainImages:
    """Return every image so many times over, so that an epoch has as many updates as a larger set.

    Copies are shuffled and augmented like images of their own.
    """
    if times == 1:
        return images
    return TrainImages(
        images.images.repeat(times, 1, 1, 1), images.labels.repeat(times), images.classes
    )


def _permutation(number: int, *names: str | int) -> Int64[Tensor, " number"]:
    return torch.from_numpy(np.random.default_rng(derive_seed(*names)).permutation(number))
