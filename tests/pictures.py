"""Pictures for tests of image folders: noise around one colour per class, and shapes."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

COLOURS = [(200, 60, 60), (60, 200, 60), (60, 60, 200)]


def noise(colour: int, seed: int, size: tuple[int, int] = (20, 16)) -> Image.Image:
    """Return a picture that no other seed or colour gives."""
    random = np.random.default_rng([colour, seed]).integers(-40, 40, (size[1], size[0], 3))
    return Image.fromarray((np.array(COLOURS[colour % 3]) + random).clip(0, 255).astype(np.uint8))


def fill(
    folder: Path,
    classes: tuple[str, ...] = ("ant", "bee"),
    number: int = 6,
    suffix: str = "png",
    start: int = 0,
) -> Path:
    """Write so many different pictures of each class."""
    for colour, name in enumerate(classes):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for index in range(number):
            noise(colour, start + index).save(folder / name / f"{index}.{suffix}")
    return folder


def cut_out(folder: Path, colour: int = 0, number: int = 5) -> Path:
    """Write discs and squares that are there in the alpha channel alone, all of one grey."""
    for kind in ("disc", "square"):
        (folder / kind).mkdir(parents=True)
        for index in range(number):
            alpha = Image.new("L", (20, 20), 0)
            draw = ImageDraw.Draw(alpha)
            shape = draw.ellipse if kind == "disc" else draw.rectangle
            shape((2 + index, 2 + index, 14 + index, 14 + index), fill=255)
            image = Image.new("RGB", alpha.size, (colour,) * 3)
            image.putalpha(alpha)
            image.save(folder / kind / f"{index}.png")
    return folder
