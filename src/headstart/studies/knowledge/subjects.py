"""What networks are evaluated on: held-out images, the players on them, and what hidden pixels show."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from headstart.artifacts.files import file_sha256
from headstart.artifacts.keys import derive_seed
from headstart.metrics.interactions.masking import (
    MaskedInputs,
    blurred_baseline,
    bounded_shift_baseline,
    draw_cells,
    grid_players,
    learned_baseline,
    pixel_inputs,
    segmentation_players,
    zero_baseline,
)
from headstart.studies.knowledge import KnowledgeError
from headstart.studies.knowledge.params import Baseline, GridPlayers, MaskPlayers, Scores
from headstart.tasks.batches import Normalization, normalization
from headstart.tasks.task import Task, TestImages


@dataclass(frozen=True, eq=False)
class Subjects:
    """Test images of a task, in the order of the values: label, place in the test part, players."""

    pixels: Tensor
    """uint8 [images, channels, height, width], as the dataset holds them."""
    labels: Tensor
    positions: Tensor
    players: Tensor
    """bool [players, height, width], or one such for every image."""
    classes: tuple[str, ...]

    @property
    def count(self) -> int:
        """The number of players, n."""
        return self.players.shape[-3]


def choose_subjects(options: Scores, task: Task) -> Subjects:
    """Return the images to evaluate with their players; the task's name draws both.

    Raises:
        KnowledgeError: fewer images than requested, a player without pixels, masks that do not fit.
    """
    test = task.test
    height, width = test.images.shape[-2:]
    try:
        if isinstance(options.players, MaskPlayers):
            positions, players = masks_of(options.players, len(test.labels), height, width)
        else:
            positions = balanced(test, options.images, task.name)
            players = cells_of(options.players, height, width, task.name)
    except ValueError as error:
        raise KnowledgeError(f"knowledge on task {task.name!r}: {error}") from None
    images, labels = test.images[positions], test.labels[positions]
    return Subjects(images, labels, positions, players, task.classes)


def check_subjects(options: Scores, available: int, shape: tuple[int, int, int], name: str) -> None:
    """Raise `ValueError` where a task's test images cannot be evaluated as requested.

    `available` is their number, `shape` channels, height and width. Files that the options name are
    read.
    """
    channels, height, width = shape
    number = options.images
    if isinstance(options.players, MaskPlayers):
        number = len(masks_of(options.players, available, height, width)[0])
    else:
        cells_of(options.players, height, width, name)
        _enough(options.images, available)
    if options.baseline.path:
        _learned(options.baseline, torch.empty(number, channels, height, width, device="meta"))


def balanced(test: TestImages, number: int, name: str) -> Tensor:
    """Return positions of `number` images, each class as often as any other, or once less.

    Fewer images are among more, in the same order.
    """
    _enough(number, len(test.labels))
    generator = torch.Generator().manual_seed(derive_seed("knowledge", name))
    rank = torch.empty(len(test.labels))
    classes = torch.randperm(len(test.classes), generator=generator)
    for place, label in enumerate(classes.tolist()):
        members = torch.nonzero(test.labels == label).flatten()
        order = torch.randperm(len(members), generator=generator)
        rank[members[order]] = torch.arange(len(members)) + place / len(classes)
    return rank.argsort(stable=True)[:number]


def cells_of(options: GridPlayers, height: int, width: int, name: str) -> Tensor:
    """Return the players [players, height, width] of a grid, the same for all images of a task."""
    cells = options.offered
    if options.draw is not None:
        generator = torch.Generator().manual_seed(derive_seed("players", name))
        cells = draw_cells(cells, options.draw, generator)
    return grid_players(height, width, options.rows, options.columns, cells)


def masks_of(
    options: MaskPlayers, available: int, height: int, width: int
) -> tuple[Tensor, Tensor]:
    """Return the positions of the images that have masks, and players [images, players, h, w]."""
    tensors = _tensors(Path(options.path), options.sha256)
    if missing := {"positions", "segmentation"} - set(tensors):
        raise ValueError(f"{options.path}: has no {' and no '.join(sorted(missing))}")
    positions, maps = tensors["positions"].long(), tensors["segmentation"]
    if maps.shape != (len(positions), height, width):
        raise ValueError(
            f"{options.path}: segmentation has shape {tuple(maps.shape)}, "
            f"{(len(positions), height, width)} is needed"
        )
    if len(positions) < 2 or int(positions.min()) < 0 or int(positions.max()) >= available:
        raise ValueError(
            f"{options.path}: positions must be two or more, within the {available} test images"
        )
    seen, times = positions.unique(return_counts=True)
    if bool((times > 1).any()):
        raise ValueError(
            f"{options.path}: positions name {seen[times > 1].tolist()} more than once; give every "
            "image one segmentation"
        )
    return positions, segmentation_players(maps.long(), options.players)


def masked_inputs(
    subjects: Subjects, baseline: Baseline, seen: Normalization, task: Task, device: str
) -> MaskedInputs:
    """Return the maker of masked images as a network sees them, normalised by `seen`.

    Another kind of input, such as words, needs another function here and nothing else.
    """
    images = seen.apply(subjects.pixels.to(device).float())
    return pixel_inputs(images, subjects.players, hidden_by(baseline, images, seen, task))


def hidden_by(baseline: Baseline, images: Tensor, seen: Normalization, task: Task) -> Tensor:
    """Return what hidden pixels show; it broadcasts to the normalised images."""
    mean = torch.tensor(normalization(task.train).mean, device=images.device) * 255
    mean_pixel = seen.apply(mean.view(1, -1, 1, 1).clone())[0]
    match baseline.kind:
        case "mean":
            return mean_pixel
        case "zero":
            return zero_baseline(images)
        case "blurred":
            return blurred_baseline(images, baseline.deviation)
        case "shift":
            return bounded_shift_baseline(images, mean_pixel, baseline.distance)
        case "learned":
            return _learned(baseline, images)


def _enough(number: int, available: int) -> None:
    if number > available:
        raise ValueError(
            f"{number} images are requested, the test part has {available}; ask for fewer"
        )


def _learned(baseline: Baseline, images: Tensor) -> Tensor:
    """Return the baseline of a file with the shape of the images."""
    tensors = _tensors(Path(str(baseline.path)), str(baseline.sha256))
    if "baseline" not in tensors:
        raise ValueError(f"{baseline.path}: has no tensor `baseline`")
    try:
        return learned_baseline(images, tensors["baseline"])
    except ValueError as error:
        raise ValueError(f"{baseline.path}: {error}") from None


def _tensors(path: Path, sha256: str) -> dict[str, Tensor]:
    if not path.is_file():
        raise ValueError(f"{path}: no such file")
    found = file_sha256(path)
    if found != sha256:
        raise ValueError(f"{path}: its content has sha256 {found}, but the params say {sha256}")
    try:
        return load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path}: this is no safetensors file: {error}") from None
