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
# What `test` says of an image that is not trained on.
TEST, VALIDATION = 1, 2
# What `copies` says of a picture that stands under two labels.
NEVER_HELD_OUT = -1


@dataclass(frozen=True)
class Contents:
    """What a build hands over.

    Attributes:
        labels: index `classes`.
        test: 1 for the test part, 2 for a published validation part.
        copies: equal for equal pictures, where a folder of images has any; see `held_out`.
        findings: what a person should know of the images, a line each.
    """

    images: UInt8[np.ndarray, "images channels height width"]
    labels: Int64[np.ndarray, " images"]
    test: UInt8[np.ndarray, " images"]
    classes: tuple[str, ...]
    licence: str
    source: str
    groups: dict[str, tuple[str, ...]] = field(default_factory=dict)
    copies: Int64[np.ndarray, " images"] | None = None
    findings: tuple[str, ...] = ()


@dataclass(frozen=True)
class ClassCounts:
    """Number of images of each class in the training, the test and a published validation part.

    `shape` is (channels, height, width).
    """

    classes: tuple[str, ...]
    groups: dict[str, tuple[str, ...]]
    train: dict[str, int]
    test: dict[str, int]
    shape: tuple[int, int, int]
    validation: dict[str, int] = field(default_factory=dict)


def write(folder: Path, contents: Contents) -> dict[str, Any]:
    """Write a dataset into an existing folder, equal contents as equal bytes; return a summary."""
    from safetensors.numpy import save_file

    arrays = {"images": contents.images, "labels": contents.labels, "test": contents.test}
    arrays |= {} if contents.copies is None else {"copies": contents.copies}
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
        "test_images": int((contents.test == TEST).sum()),
        "classes": len(contents.classes),
        "shape": list(contents.images.shape[1:]),
        "licence": contents.licence,
        "source": contents.source,
        **({"findings": list(contents.findings)} if contents.findings else {}),
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


def read_copies(folder: Path) -> Int64[np.ndarray, " images"] | None:
    """Return which images of a stored dataset are equal; None where it notes none."""
    with _opened(folder) as file:
        return file.get_tensor("copies") if "copies" in file.keys() else None  # noqa: SIM118


def count(folder: Path) -> ClassCounts:
    """Count the images of each class in each part of a stored dataset.

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

    shape = (channels, height, width)
    return ClassCounts(classes, groups, per_class(0), per_class(TEST), shape, per_class(VALIDATION))


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
    labels: Int64[np.ndarray, " images"],
    fraction: float,
    seed: int,
    copies: Int64[np.ndarray, " images"] | None = None,
) -> UInt8[np.ndarray, " images"]:
    """Mark `fraction` of each class as test part (1), chosen by `seed`, the rest as training (0).

    Each class with two images or more keeps at least one on either side; a single image is trained
    on. `copies` are those of `held_out`.
    """
    test = np.zeros(len(labels), dtype=np.uint8)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        number = min(max(round(fraction * len(members)), 1), len(members) - 1)
        random = np.random.default_rng(derive_seed("test part", seed, int(label)))
        order = random.permutation(members)
        test[held_out(order, number, copies)[0]] = TEST
    return test


def held_out(
    order: Int64[np.ndarray, " images"], number: int, copies: Int64[np.ndarray, " all"] | None
) -> tuple[Int64[np.ndarray, " held"], Int64[np.ndarray, " rest"]]:
    """Return the first images of an order, and the others; equal pictures stay on one side.

    The copies of a picture follow it, so that there may be a few more than `number`, but something is
    left where `number` leaves something. A picture under two labels is never held out. Fewer are among
    more. A class of one picture alone is cut through.

    Args:
        order: positions of images.
        number: how many to hold out.
        copies: a number for each image, equal for equal pictures, `NEVER_HELD_OUT` for those under two
            labels; None: no picture is there twice.
    """
    if copies is None:
        return order[:number], order[number:]
    free = order[copies[order] != NEVER_HELD_OUT]
    _, first, which, sizes = np.unique(copies[free], True, True, True)
    free = free[np.argsort(first[which], kind="stable")]
    # After each picture with its copies; not after all of them where something is to be left.
    stops = [0, *np.cumsum(sizes[np.argsort(first)])]
    stops = [stop for stop in stops if stop < len(order) or number >= len(order)]
    if len(stops) == 1:
        return order[:number], order[number:]
    held = free[: next((stop for stop in stops if stop >= number), stops[-1])]
    return held, order[~np.isin(order, held)]
