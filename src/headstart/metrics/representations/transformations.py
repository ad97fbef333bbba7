"""Transformations of images that a network may or may not ignore: natural ones, beside inverted images."""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

Images = Float[Tensor, "images channels height width"]


def affine(images: Images, matrix: Float[Tensor, "2 3"]) -> Images:
    """Return images read at linearly moved positions, bilinearly; the centre is 0, a border 1, edges repeat."""
    matrix = matrix.to(images).expand(len(images), 2, 3)
    positions = F.affine_grid(matrix, list(images.shape), align_corners=False)
    return F.grid_sample(images, positions, padding_mode="border", align_corners=False)


def _affine(*rows: tuple[float, float, float]) -> Callable[[Images], Images]:
    return lambda images: affine(images, torch.tensor(rows))


def _colour(images: Images) -> Images:
    """Return images halfway to grey, and darker by a fifth."""
    return 0.8 * (images + images.mean(1, keepdim=True)) / 2


COSINE, SINE = math.cos(math.pi / 12), math.sin(math.pi / 12)
TRANSFORMATIONS: dict[str, Callable[[Images], Images]] = {
    "shift": _affine((1, 0, 0.25), (0, 1, 0.25)),
    "flip": _affine((-1, 0, 0), (0, 1, 0)),
    "rotation": _affine((COSINE, -SINE, 0), (SINE, COSINE, 0)),
    "crop": _affine((0.8, 0, 0), (0, 0.8, 0)),
    "colour": _colour,
}
"""Shift by an eighth of both sides, mirror, turn by 15 degrees, enlarge the middle 80 %, colour."""
