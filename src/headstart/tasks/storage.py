"""The files of a stored dataset: handed over and written by a build, counted without reading an image.

A stored dataset is a folder with `images.safetensors` (images, labels, test flags) and
`classes.json` (class names, named groups of classes, licence, source). Nothing here needs torch.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64, UInt8

from headstart.artifacts.keys import derive_seed
from headstart.tasks import TaskError

IMAGES_FILE = "images.safetensors"
CLASSES_FILE = "classes.json"


@dataclass(frozen=True)
class Contents:
    """What a build hands over: images, labels into `classes`, and 1 in `test` for the test part."""

    images: UInt8[np.ndarray, "images channels height width"]
    labels: Int64[np.ndarray, " images"]
    test: UInt8[np.ndarray, " images"]
    classes: tuple[str, ...]
    licence: str
    source: str
    groups: dict[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class ClassCounts:
    """Number of images of each class in the training and the test part.

    `shape` is (channels, height, width).
    """

    classes: tuple[str, ...]
    groups: dict[str, tuple[str, ...]]
    train: dict[str, int]
    test: dict[str, int]
    shape: tuple[int, int, int]


def write(folder: Path, contents: Contents) -> dict[str, Any]:
    """Write a dataset into an existing folder, equal contents as equal bytes; return a summary."""
    from safetensors.numpy import save_file

    arrays = {"images": contents.images, "labels": contents.labels, "test": contents.test}
    save_file({name: np.ascontiguousarray(a) for name, a in arrays.items()}, folder / IMAGES_FILE)
    names = {
        "classes": list(contents.classes),
        "groups": {group: list(classes) for group, classes in contents.groups.items()},
        "licence": contents.licence,
        "source": contents.source,
    }
    text = json.dumps(names, ensure_ascii=False, indent=1, sort_keys=True)
    (folder / CLASSES_FILE).write_text(text + "\n", encoding="utf-8")
    return {
        "images": len(contents.labels),
        "test_images": int(contents.test.sum()),
        "classes": len(contents.classes),
        "shape": list(contents.images.shape[1:]),
        "licence": contents.licence,
        "source": contents.source,
    }


def read_names(folder: Path) -> tuple[tuple[str, ...], dict[str, tuple[str, ...]]]:
    """Return the class names and the groups of a stored dataset.

    Raises:
        TaskError: the file is missing or is not what `write` makes.
    """
    path = Path(folder) / CLASSES_FILE
    try:
        names = json.loads(path.read_text(encoding="utf-8"))
        groups = {group: tuple(classes) for group, classes in names["groups"].items()}
        return tuple(names["classes"]), groups
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _damaged(path, error) from None


def read_arrays(folder: Path, *names: str) -> list[np.ndarray]:
    """Return the named arrays (images, labels, test) of a stored dataset; the others are not read.

    Raises:
        TaskError: the file is missing, cut short, or lacks one of them.
    """
    with _opened(folder) as file:
        return [file.get_tensor(name) for name in names]


def count(folder: Path) -> ClassCounts:
    """Count the images of each class in the training and the test part of a stored dataset.

    Raises:
        TaskError: a file is missing or damaged.
    """
    classes, groups = read_names(folder)
    with _opened(folder) as file:
        labels, test = file.get_tensor("labels"), file.get_tensor("test")
        _, channels, height, width = file.get_slice("images").get_shape()

    def per_class(part: int) -> dict[str, int]:
        numbers = np.bincount(labels[test == part], minlength=len(classes))
        return {name: int(number) for name, number in zip(classes, numbers, strict=True)}

    return ClassCounts(classes, groups, per_class(0), per_class(1), (channels, height, width))


@contextmanager
def _opened(folder: Path) -> Iterator[Any]:
    """Open the tensors of a stored dataset; what cannot be read from them is a `TaskError` too."""
    from safetensors import SafetensorError, safe_open

    path = Path(folder) / IMAGES_FILE
    try:
        with safe_open(path, framework="np") as file:
            yield file
    except (OSError, SafetensorError) as error:
        raise _damaged(path, error) from None


def _damaged(path: Path, error: Exception) -> TaskError:
    reason = "missing" if isinstance(error, FileNotFoundError) else f"damaged ({error})"
    return TaskError(
        f"{path}: {reason}; delete this dataset's folder and run `snakemake` to make it again"
    )


def stratified_test(
    labels: Int64[np.ndarray, " images"], fraction: float, seed: int
) -> UInt8[np.ndarray, " images"]:
    """Mark `fraction` of each class as test part (1), chosen by `seed`, the rest as training (0).

    Each class with two images or more keeps at least one on either side; a single image is trained
    on.
    """
    test = np.zeros(len(labels), dtype=np.uint8)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        number = min(max(round(fraction * len(members)), 1), len(members) - 1)
        random = np.random.default_rng(derive_seed("test part", seed, int(label)))
        test[random.permutation(members)[:number]] = 1
    return test
