"""How many images a dataset or task has, as far as the params tell; nothing is read or downloaded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from headstart.params.core import CoreParams
from headstart.params.datasets import Dataset, Glyphs
from headstart.tasks import TaskError
from headstart.tasks.alphabets import ALPHABETS
from headstart.tasks.image_files import find_images
from headstart.tasks.typefaces import lettering
from headstart.tasks.vision import cifar100_groups

# Images, classes, channels and side, as the distributors state them; EMNIST by its split `letters`.
TORCHVISION = {
    "CIFAR10": (60_000, 10, 3, 32),
    "CIFAR100": (60_000, 100, 3, 32),
    "MNIST": (70_000, 10, 1, 28),
    "FashionMNIST": (70_000, 10, 1, 28),
    "KMNIST": (70_000, 10, 1, 28),
    "EMNIST": (145_600, 26, 1, 28),
    "SVHN": (99_289, 10, 3, 32),
    "STL10": (13_000, 10, 3, 96),
    "EuroSAT": (27_000, 10, 3, 64),
    "OxfordIIITPet": (7_349, 37, 3, 224),
    "Flowers102": (8_189, 102, 3, 224),
    "Caltech101": (8_677, 101, 3, 224),
}
DIGITS = 1797
# Of a folder that is not there: a guess, which the table says.
UNKNOWN = (10_000, 100)


@dataclass(frozen=True)
class Size:
    """Images and classes of a dataset or a task, and the shape of an image."""

    images: int
    classes: int
    channels: int
    side: int
    guessed: bool = False
    validation: int = 0
    test: int = 0

    @property
    def pixels(self) -> int:
        """Return the numbers in an image."""
        return self.channels * self.side**2


def dataset_size(dataset: Dataset) -> Size:
    """Return the size of a dataset, all parts together."""
    match dataset.kind:
        case "glyphs":
            letters, guessed = _letters(dataset)
            classes = sum(map(len, letters.values()))
            images = classes * (dataset.train_per_class + dataset.test_per_class)
            return Size(images, classes, 1, dataset.size, guessed)
        case "digits":
            return Size(DIGITS, 10, 1, dataset.size)
        case "torchvision":
            images, classes, channels, side = TORCHVISION[dataset.name]
            return Size(images, classes, dataset.channels or channels, dataset.size or side)
    try:
        files = find_images(Path(dataset.path)).files
    except TaskError:
        return Size(*UNKNOWN, dataset.channels, dataset.size, guessed=True)
    classes = len({file.class_name for file in files})
    limits = dataset.train_per_class, dataset.test_per_class
    most = classes * sum(limit or len(files) for limit in limits)
    return Size(min(len(files), most), classes, dataset.channels, dataset.size)


def _letters(dataset: Glyphs) -> tuple[dict[str, tuple[str, ...]], bool]:
    """Return the letters of each alphabet; all of them, as a guess, where its fonts are not there."""
    try:
        found = lettering(dataset).letters
        return {str(name): letters for name, letters in found.items()}, False
    except TaskError:
        return {name: tuple(ALPHABETS[name]) for name in dataset.alphabets}, True


def task_size(name: str, params: CoreParams) -> Size:
    """Return the training, validation and test images of a task; where no share is known, a sixth is for testing."""
    task = params.tasks[name]
    dataset = params.datasets[task.dataset]
    whole = dataset_size(dataset)
    classes = _classes(task.classes, dataset, whole.classes)
    share = getattr(dataset, "test_fraction", None) or 1 / 6
    each = whole.images / max(whole.classes, 1)
    train, test = each * (1 - share), each * share
    if dataset.kind in ("glyphs", "image_folder"):
        train, test = dataset.train_per_class or train, dataset.test_per_class or test
    held = task.validation_per_class
    train = max(1, min(int(train) - held, task.train_per_class or int(train)))
    found = (round(each * classes) for each in (train, held, test))
    images, validation, tested = found
    return Size(images, classes, whole.channels, whole.side, whole.guessed, validation, tested)


def _classes(chosen: str | tuple[str, ...], dataset: Dataset, every: int) -> int:
    groups: dict[str, tuple[str, ...]] = {"all": ("",) * every}
    if dataset.kind == "glyphs":
        groups |= _letters(dataset)[0]
    elif dataset.kind == "image_folder":
        groups |= dataset.groups
    elif dataset.name == "CIFAR100" if dataset.kind == "torchvision" else False:
        groups |= cifar100_groups()
    names = (chosen,) if isinstance(chosen, str) else chosen
    return sum(len(groups.get(name, (name,))) for name in names)
