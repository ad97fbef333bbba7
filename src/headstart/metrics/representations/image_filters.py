"""Batched image operations that corruptions are made of: filters, warps, random fields, blocks."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

Images = Float[Tensor, "images channels height width"]

# Luminance quantisation of the JPEG standard (ITU-T T.81, table K.1), for quality 50.
JPEG_TABLE = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)


def _grid(radius: int) -> tuple[Tensor, Tensor]:
    axis = torch.arange(-radius, radius + 1, dtype=torch.float32)
    rows, columns = torch.meshgrid(axis, axis, indexing="ij")
    return rows, columns


def gaussian(deviation: float) -> Float[Tensor, "1 size size"]:
    """Return a Gaussian kernel of sum one; deviation in pixels."""
    rows, columns = _grid(max(1, math.ceil(3 * deviation)))
    kernel = torch.exp(-(rows**2 + columns**2) / (2 * deviation**2))
    return (kernel / kernel.sum())[None]


def disk(radius: float) -> Float[Tensor, "1 size size"]:
    """Return a disk kernel of sum one with a rim one pixel wide; radius in pixels."""
    rows, columns = _grid(math.ceil(radius + 0.5))
    kernel = (radius + 0.5 - (rows**2 + columns**2).sqrt()).clamp(0, 1)
    return (kernel / kernel.sum())[None]


def lines(length: float, angles: Float[Tensor, " images"]) -> Float[Tensor, "images size size"]:
    """Return the line kernels of sum one, one per angle (radians); length in pixels."""
    rows, columns = (axis.to(angles) for axis in _grid(math.ceil(length / 2 + 0.5)))
    cosine, sine = angles.cos()[:, None, None], angles.sin()[:, None, None]
    along, across = columns * cosine + rows * sine, rows * cosine - columns * sine
    kernel = (length / 2 + 0.5 - along.abs()).clamp(0, 1) * (1 - across.abs()).clamp(0, 1)
    return kernel / kernel.sum((1, 2), keepdim=True)


def filtered(images: Images, kernels: Float[Tensor, "kernels size size"]) -> Images:
    """Return images filtered by one kernel, or each by its own; edges are repeated outwards."""
    count, channels, height, width = images.shape
    radius = kernels.shape[-1] // 2
    weight = kernels.to(images).expand(count, -1, -1).repeat_interleave(channels, 0)[:, None]
    padded = F.pad(images, [radius] * 4, mode="replicate").flatten(0, 1)[None]
    return F.conv2d(padded, weight, groups=count * channels).view(count, channels, height, width)


def resampled(images: Images, shifts: Float[Tensor, "images 2 height width"]) -> Images:
    """Return images read at positions moved by `shifts` pixels (columns, then rows), bilinearly."""
    height, width = images.shape[-2:]
    sides = torch.tensor([width, height]).to(images)
    identity = torch.eye(2, 3).to(images).expand(len(images), 2, 3)
    positions = F.affine_grid(identity, list(images.shape), align_corners=False)
    moved = positions + shifts.permute(0, 2, 3, 1) * 2 / sides
    return F.grid_sample(images, moved, padding_mode="border", align_corners=False)


def zoomed(images: Images, zoom: float) -> Images:
    """Return images magnified about their centre, cropped to their size."""
    matrix = (torch.eye(2, 3) / zoom).to(images).expand(len(images), 2, 3)
    positions = F.affine_grid(matrix, list(images.shape), align_corners=False)
    return F.grid_sample(images, positions, padding_mode="border", align_corners=False)


def pixelated(images: Images, block: float) -> Images:
    """Return images averaged over squares of about `block` pixels; pixels on a border mix both squares."""
    height, width = (
        _block_average(side, max(1, round(side / block))) for side in images.shape[-2:]
    )
    return height.to(images) @ images @ width.to(images).T


def _block_average(side: int, blocks: int) -> Tensor:
    """Return the matrix that replaces each pixel of a row by the mean of its block, weighted by overlap."""
    edges = torch.arange(blocks + 1, dtype=torch.float64)[:, None] * side / blocks
    pixel = torch.arange(side, dtype=torch.float64)[None]
    covered = (edges - pixel).clamp(0, 1)
    overlap = covered[1:] - covered[:-1]
    return overlap.T @ (overlap / overlap.sum(1, keepdim=True))


def smooth_noise(
    images: Images, generator: torch.Generator
) -> Float[Tensor, "images 1 height width"]:
    """Return cloudy random fields in [0, 1]: octaves of noise whose weight halves with their scale."""
    height, width = images.shape[-2:]
    field = torch.zeros(len(images), 1, height, width, device=generator.device)
    cells, weight = 2, 1.0
    while cells <= max(height, width):
        octave = torch.rand(len(images), 1, cells, cells, generator=generator, device=field.device)
        field += weight * F.interpolate(octave, (height, width), mode="bilinear")
        cells, weight = cells * 2, weight / 2
    low, high = field.amin((2, 3), keepdim=True), field.amax((2, 3), keepdim=True)
    return ((field - low) / (high - low).clamp_min(1e-6)).to(images)


def jpeg_quantized(images: Images, quality: float) -> Images:
    """Return rounded cosine coefficients of 8 × 8 blocks, each channel by the luminance table.

    What JPEG does to a grey image, without colour conversion, chroma subsampling and coding (which
    loses nothing). `quality` from 1 to 100 scales the table as libjpeg does.
    """
    height, width = images.shape[-2:]
    padded = F.pad(images, (0, -width % 8, 0, -height % 8), mode="replicate")
    scale = (5000 / quality if quality < 50 else 200 - 2 * quality) / 100
    steps = (torch.tensor(JPEG_TABLE) * scale).round().clamp(1, 255).to(images)
    cosines = _cosines().to(images)
    blocks = padded.unflatten(3, (-1, 8)).unflatten(2, (-1, 8)).transpose(3, 4) * 255 - 128
    coefficients = ((cosines @ blocks @ cosines.T) / steps).round() * steps
    restored = (cosines.T @ coefficients @ cosines + 128) / 255
    return restored.transpose(3, 4).flatten(4, 5).flatten(2, 3)[..., :height, :width]


def _cosines() -> Tensor:
    """Return the orthonormal 8-point discrete cosine transform; rows are frequencies."""
    position = torch.arange(8, dtype=torch.float64)
    matrix = torch.cos(math.pi / 8 * (position[None] + 0.5) * position[:, None]) / 2
    matrix[0] /= math.sqrt(2)
    return matrix
