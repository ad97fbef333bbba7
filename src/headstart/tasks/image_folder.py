"""A dataset made of the images of a folder of class folders, or of parts with class folders in each."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import Int64, UInt8
from PIL.Image import Image

from headstart.artifacts.keys import derive_seed
from headstart.params.datasets import Background, ImageFolder
from headstart.tasks import TaskError
from headstart.tasks.image_survey import survey
from headstart.tasks.pictures import look, to_array
from headstart.tasks.storage import TEST, VALIDATION, Contents, stratified_test


def content_hash(folder: Path, background: Background | None = None) -> str:
    """Return the sha256 of an image folder: of the relative paths and the bytes of its images.

    Raises:
        TaskError: as `survey`.
    """
    return survey(folder, background).content_hash()


def make(path: str, dataset: ImageFolder) -> Contents:
    """Read all images of a folder whose content is the one that `headstart data add` noted.

    Classes are the sorted names of the class folders. Where the folder has no parts, `test_fraction`
    of each class becomes the test part.

    Args:
        path: the params key of the dataset, for error messages.
        dataset: its params.

    Raises:
        TaskError: as `survey`, or the folder changed.
    """
    if dataset.sha256 is None:
        raise TaskError(
            f"{path}.sha256: missing for the folder {dataset.path}; run {_command(path, dataset)}"
        )
    shape = (dataset.channels, dataset.size, dataset.size)
    every = np.empty((0, *shape), np.uint8)

    def pixels(picture: Image) -> UInt8[np.ndarray, "channels size size"]:
        return to_array(picture, dataset.channels, dataset.size, dataset.resize)

    def use(position: int, number: int, picture: Image) -> None:
        nonlocal every
        if not len(every):
            every = np.empty((number, *shape), np.uint8)
        every[position] = pixels(picture)

    # Where few of many images are kept, these are read once more, so that memory holds no others.
    few = bool(dataset.train_per_class or dataset.test_per_class)
    found = survey(Path(dataset.path), dataset.background, None if few else use)
    _verify(path, dataset, found.content_hash())
    labels = np.array([found.classes.index(file.class_name) for file in found.files], np.int64)
    copies, numbers = found.copies(), {"validation": VALIDATION, "test": TEST}
    test = np.array([numbers.get(file.part or "", 0) for file in found.files], np.uint8)
    if not test.any():
        test = stratified_test(labels, dataset.test_fraction, dataset.seed, copies)
    kept = _kept(dataset, labels, test)
    if few:
        every = np.empty((len(kept), *shape), np.uint8)
        for row, position in enumerate(kept):
            path_of = found.files[position].path
            every[row] = pixels(look(path_of, dataset.background or "white")[1])
    return Contents(
        images=every,
        labels=labels[kept],
        test=test[kept],
        copies=None if copies is None else copies[kept],
        classes=tuple(found.classes),
        groups=dataset.groups,
        licence="that of the images",
        source=f"image folder, sha256 {dataset.sha256[:12]}",
        findings=tuple(found.findings()),
    )


def _kept(
    dataset: ImageFolder, labels: Int64[np.ndarray, " files"], test: UInt8[np.ndarray, " files"]
) -> Int64[np.ndarray, " images"]:
    """Return the positions of the images that are kept, ascending; fewer are among more."""
    kept = []
    for part, limit in enumerate((dataset.train_per_class, dataset.test_per_class, None)):
        for label in np.unique(labels):
            members = np.flatnonzero((labels == label) & (test == part))
            seed = derive_seed("images of a class", dataset.seed, part, int(label))
            order = members if limit is None else np.random.default_rng(seed).permutation(members)
            kept.append(order[:limit])
    return np.sort(np.concatenate(kept))


def _command(path: str, dataset: ImageFolder) -> str:
    return f"`headstart data add {path.removeprefix('datasets.')} {dataset.path}`"


def _verify(path: str, dataset: ImageFolder, found: str) -> None:
    if dataset.sha256 != found:
        raise TaskError(
            f"{path}.sha256: the folder {dataset.path} changed since it was added, from "
            f"{str(dataset.sha256)[:12]}… to {found[:12]}…; undo that, or run {_command(path, dataset)} to accept it"
        )
