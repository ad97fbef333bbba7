"""Sheets of images, for people: one training image of each of some classes, and what studies show."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from safetensors import safe_open

from headstart.artifacts.store import Artifact
from headstart.tasks.storage import IMAGES_FILE, read_arrays, read_names

COLUMNS, ROWS = 12, 2
SIDE = 96
"""Pixels of an image on the sheet, at most; small ones are enlarged by a whole factor."""
GAP = 4


def draw_samples(data: Artifact, path: Path) -> None:
    """Write a PNG with one training image of each of at most 24 classes, at equal distances in their order."""
    labels, test = read_arrays(data.path, "labels", "test")
    classes, _ = read_names(data.path)
    shown = (test == 0) if (test == 0).any() else np.ones_like(test, bool)
    known = np.unique(labels[shown])
    chosen = known[np.unique(np.linspace(0, len(known) - 1, COLUMNS * ROWS).round().astype(int))]
    first = [int(np.flatnonzero((labels == label) & shown)[0]) for label in chosen]
    # One by one: a dataset may be larger than the memory.
    with safe_open(data.file(IMAGES_FILE), "np") as file:
        stored = file.get_slice("images")
        images = [scaled(stored[index : index + 1][0]) for index in first]
    name = data.manifest["name"]
    listed = ", ".join(classes[label] for label in chosen)
    about = f"The first image of {len(chosen)} of its {len(known)} classes, as stored: {listed}."
    write_sheet(path, images, COLUMNS, f"What are the images of {name}?", about)


def write_sheet(
    path: Path, images: Sequence[np.ndarray], columns: int, title: str, description: str
) -> None:
    """Write "height width 3" images, row by row, as a PNG with a title and a description."""
    height, width = (max(size) + GAP for size in zip(*(i.shape[:2] for i in images), strict=True))
    rows = -(-len(images) // columns)
    sheet = np.full((rows * height, min(len(images), columns) * width, 3), 255, np.uint8)
    for place, image in enumerate(images):
        top, left = place // columns * height, place % columns * width
        sheet[top : top + image.shape[0], left : left + image.shape[1]] = image
    about = PngInfo()
    about.add_itxt("Title", title)
    about.add_itxt("Description", description)
    dots = max(96, round(sheet.shape[1] / 6.9))
    Image.fromarray(sheet).save(path, dpi=(dots, dots), pnginfo=about)


def scaled(image: np.ndarray) -> np.ndarray:
    """Return a "channels height width" image as "height width 3", about `SIDE` pixels high."""
    pixels = np.repeat(image, 3, axis=0)[:3] if len(image) == 1 else image[:3]
    factor = max(1, SIDE // max(image.shape[1:]))
    larger = pixels.transpose(1, 2, 0).repeat(factor, 0).repeat(factor, 1)
    step = max(1, max(image.shape[1:]) // SIDE)
    return np.ascontiguousarray(larger[::step, ::step])
