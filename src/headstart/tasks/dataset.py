"""A stored dataset in memory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

from headstart.tasks.storage import read_arrays, read_names


@dataclass(frozen=True)
class StoredDataset:
    """All images of a dataset, training and test part together.

    `labels` index `classes`; `test` is 1 for images of the test part; `groups` name sets of
    classes.
    """

    images: UInt8[Tensor, "images channels height width"]
    labels: Int64[Tensor, " images"]
    test: UInt8[Tensor, " images"]
    classes: tuple[str, ...]
    groups: dict[str, tuple[str, ...]]


def read(folder: Path) -> StoredDataset:
    """Read a dataset that `headstart.tasks.build.build` made.

    Raises:
        TaskError: a file is missing or damaged.
    """
    classes, groups = read_names(folder)
    images, labels, test = map(torch.from_numpy, read_arrays(folder, "images", "labels", "test"))
    return StoredDataset(images, labels, test, classes, groups)
