"""Make a dataset: read or draw its images and write them as one tensor.

Digits are those inside scikit-learn: real images that need no network.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from headstart.params.datasets import Dataset, Digits, Glyphs, ImageFolder
from headstart.tasks import TaskError
from headstart.tasks.storage import Contents, stratified_test, write

_BRIGHTEST = 16  # the pixels of load_digits count ink from 0 to 16


def build(name: str, dataset: Dataset, folder: Path) -> dict[str, Any]:
    """Make a dataset and write it into an existing, empty folder.

    The folder gets `images.safetensors` (`images` uint8 [N, C, H, W], `labels` int64 [N], `test`
    uint8 [N], 1 = test part) and `classes.json` (classes, groups, licence, source). Equal params
    give equal bytes.

    Args:
        name: the dataset's key under `datasets:`, for error messages.
        dataset: its params.
        folder: where to write.

    Returns:
        A summary: numbers of images, test images and classes, image shape, licence, source.

    Raises:
        TaskError: an image, a file, a download or a param cannot be used.
    """
    contents = _make(f"datasets.{name}", dataset)
    check_groups(f"datasets.{name}.groups", contents.classes, contents.groups)
    return write(Path(folder), contents)


def _make(path: str, dataset: Dataset) -> Contents:
    """Import the one kind of dataset that is needed, for their libraries are slow to import."""
    if isinstance(dataset, Glyphs):
        from headstart.tasks import glyphs

        return glyphs.make(dataset, path)
    if isinstance(dataset, Digits):
        return make_digits(dataset)
    if isinstance(dataset, ImageFolder):
        from headstart.tasks import image_folder

        return image_folder.make(path, dataset)
    from headstart.tasks import vision

    return vision.make(path, dataset)


def make_digits(dataset: Digits) -> Contents:
    """Return the 1,797 digits, scaled to 0..255 and enlarged from 8 × 8 to `size` (bicubic)."""
    from PIL import Image
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    small = np.rint(pixels.reshape(-1, 8, 8) * (255 / _BRIGHTEST)).astype(np.uint8)
    side = (dataset.size, dataset.size)
    images = np.stack(
        [np.asarray(Image.fromarray(each).resize(side, Image.Resampling.BICUBIC)) for each in small]
    )
    labels = labels.astype(np.int64)
    return Contents(
        images=images[:, None],
        labels=labels,
        test=stratified_test(labels, dataset.test_fraction, dataset.seed),
        classes=tuple(str(digit) for digit in range(10)),
        licence="CC BY 4.0",
        source="Alpaydin & Kaynak (1998), Optical Recognition of Handwritten Digits, UCI",
    )


def check_groups(path: str, classes: Sequence[str], groups: Mapping[str, tuple[str, ...]]) -> None:
    """Refuse groups of classes that are not there, and those that are called like a class.

    Raises:
        TaskError: names the group, below `path` in the params.
    """
    for group, members in groups.items():
        unknown = [name for name in members if name not in classes]
        if unknown:
            known = ", ".join(classes[:20])
            raise TaskError(f"{path}.{group}: {unknown[0]!r} is no class; known are: {known}")
        if group == "all" or group in classes:
            raise TaskError(
                f"{path}.{group}: this name is a class or means all of them; choose another"
            )
