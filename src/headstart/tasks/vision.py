"""The datasets that torchvision knows, downloaded and unpacked by its own code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64, UInt8
from PIL.Image import Image

from headstart.params.datasets import Torchvision
from headstart.tasks import TaskError
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
        groups=cifar100_groups() if dataset.name == "CIFAR100" else {},
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


_LIVING = {
    "aquatic_mammals": "beaver dolphin otter seal whale",
    "fish": "aquarium_fish flatfish ray shark trout",
    "flowers": "orchid poppy rose sunflower tulip",
    "fruit_and_vegetables": "apple mushroom orange pear sweet_pepper",
    "insects": "bee beetle butterfly caterpillar cockroach",
    "large_carnivores": "bear leopard lion tiger wolf",
    "large_omnivores_and_herbivores": "camel cattle chimpanzee elephant kangaroo",
    "medium_mammals": "fox porcupine possum raccoon skunk",
    "non-insect_invertebrates": "crab lobster snail spider worm",
    "people": "baby boy girl man woman",
    "reptiles": "crocodile dinosaur lizard snake turtle",
    "small_mammals": "hamster mouse rabbit shrew squirrel",
    "trees": "maple_tree oak_tree palm_tree pine_tree willow_tree",
}
_NON_LIVING = {
    "food_containers": "bottle bowl can cup plate",
    "household_electrical_devices": "clock keyboard lamp telephone television",
    "household_furniture": "bed chair couch table wardrobe",
    "large_man-made_outdoor_things": "bridge castle house road skyscraper",
    "large_natural_outdoor_scenes": "cloud forest mountain plain sea",
    "vehicles_1": "bicycle bus motorcycle pickup_truck train",
    "vehicles_2": "lawn_mower rocket streetcar tank tractor",
}


def cifar100_groups() -> dict[str, tuple[str, ...]]:
    """Return the 20 superclasses of five classes, `living` (65 classes) and `non_living` (35).

    The division into living and non-living things is that of the configurations behind arXiv
    2106.11174.
    """
    superclasses = {name: tuple(text.split()) for name, text in (_LIVING | _NON_LIVING).items()}
    living = tuple(each for name in _LIVING for each in superclasses[name])
    non_living = tuple(each for name in _NON_LIVING for each in superclasses[name])
    return superclasses | {"living": living, "non_living": non_living}
