"""The datasets that torchvision knows, downloaded and unpacked by its own code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64, UInt8
from PIL.Image import Image

from headstart.params.datasets import Torchvision
from headstart.tasks import TaskError, cifar100
from headstart.tasks.downloads import archives, unpacking_root
from headstart.tasks.pictures import channels_first, resized, with_channels
from headstart.tasks.storage import Contents, stratified_test

_GREY = ("MNIST", "FashionMNIST", "KMNIST", "EMNIST")
_MANY_SIZES = ("OxfordIIITPet", "Flowers102", "Caltech101")

_LICENCES = {
    "MNIST": "CC BY-SA 3.0",
    "FashionMNIST": "MIT",
    "KMNIST": "CC BY-SA 4.0",
    "SVHN": "non-commercial use only",
    "EuroSAT": "MIT",
    "OxfordIIITPet": "CC BY-SA 4.0",
    "Caltech101": "CC BY 4.0",
}

Part = tuple[Any, bool]  # a torchvision dataset, and whether it is a test part


def make(path: str, dataset: Torchvision) -> Contents:
    """Download a dataset if its archives are not in `folder` yet, and read its labelled images.

    Test parts are the published ones; EuroSAT and Caltech101 have none, so `test_fraction` of each
    class becomes one. The training part of Flowers102 is its published train and validation parts
    together. EMNIST, which is published lying on its side, is turned upright. Caltech101 comes
    without its background class.

    Args:
        path: the params key of the dataset, for error messages.
        dataset: its params.

    Raises:
        TaskError: no network, a wrong checksum, or no `size` for a dataset whose images have many.
    """
    if dataset.size is None and dataset.name in _MANY_SIZES:
        raise TaskError(
            f"{path}.size: null, but the images of {dataset.name} have many "
            "sizes; give one, such as 64"
        )
    with unpacking_root(path, dataset) as root:
        parts = _open(path, dataset, root)
        images, labels = zip(*(_read(dataset, part) for part, _ in parts), strict=True)
        names = _class_names(dataset, parts[0][0])
    test = np.repeat(
        np.array([is_test for _, is_test in parts], np.uint8), [len(x) for x in labels]
    )
    used, compact = np.unique(np.concatenate(labels), return_inverse=True)
    if not test.any():
        test = stratified_test(compact, dataset.test_fraction, dataset.seed)
    return Contents(
        images=np.concatenate(images),
        labels=compact.astype(np.int64),
        test=test,
        classes=tuple(names[label] for label in used),
        groups=cifar100.groups() if dataset.name == "CIFAR100" else {},
        licence=_LICENCES.get(dataset.name, "not stated by its authors"),
        source=archives(dataset.name)[0].urls[0],
    )


def _open(path: str, dataset: Torchvision, root: Path) -> list[Part]:
    """Unpack and open the parts of a dataset whose archives lie under `root`."""
    from torchvision import datasets

    kind = getattr(datasets, dataset.name)
    try:
        return [
            (kind(root, download=True, **arguments), is_test)
            for arguments, is_test in _arguments(dataset)
        ]
    except (OSError, RuntimeError, ValueError) as error:
        raise TaskError(
            f"{path}: {dataset.name} could not be unpacked in {root.parent} ({error}); make "
            "room there, or delete its files to have them downloaded again"
        ) from None


def _arguments(dataset: Torchvision) -> list[tuple[dict[str, Any], bool]]:
    """Return the arguments that request each part, and whether it is a test part."""
    if dataset.name in ("EuroSAT", "Caltech101"):
        return [({}, False)]
    if dataset.name in ("SVHN", "STL10"):
        return [({"split": "train"}, False), ({"split": "test"}, True)]
    if dataset.name == "OxfordIIITPet":
        return [({"split": "trainval"}, False), ({"split": "test"}, True)]
    if dataset.name == "Flowers102":
        return [({"split": "train"}, False), ({"split": "val"}, False), ({"split": "test"}, True)]
    chosen = {"split": dataset.emnist_split} if dataset.name == "EMNIST" else {}
    return [({"train": True, **chosen}, False), ({"train": False, **chosen}, True)]


def _read(
    dataset: Torchvision, part: Any
) -> tuple[UInt8[np.ndarray, "n channels height width"], Int64[np.ndarray, " n"]]:
    """Return all images of a part in one array, and their labels."""
    pairs = (part[index] for index in range(len(part)))
    first, label = next(pairs)
    pixels = _pixels(dataset, first)
    images = np.empty((len(part), *pixels.shape), dtype=np.uint8)
    labels = np.empty(len(part), dtype=np.int64)
    images[0], labels[0] = pixels, label
    for index, (image, label) in enumerate(pairs, start=1):
        images[index], labels[index] = _pixels(dataset, image), label
    return images, labels


def _pixels(dataset: Torchvision, image: Image) -> UInt8[np.ndarray, "channels h w"]:
    channels = dataset.channels or (1 if dataset.name in _GREY else 3)
    image = with_channels(image, channels)
    if dataset.size is not None:
        image = resized(image, dataset.size, dataset.resize)
    pixels = channels_first(image)
    return pixels.swapaxes(1, 2) if dataset.name == "EMNIST" else pixels


def _class_names(dataset: Torchvision, part: Any) -> list[str]:
    if dataset.name == "SVHN":
        return [str(digit) for digit in range(10)]
    if dataset.name == "Caltech101":
        return list(part.categories)
    return list(part.classes)
