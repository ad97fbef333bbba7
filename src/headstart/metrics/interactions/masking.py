"""Players of an image, the 2^n images in which some of them are hidden, and what hidden pixels show.

Which baseline arXiv 2410.08455 uses is unknown. Every one takes images [images, channels, height,
width], in whatever units the network sees, and returns a tensor that broadcasts to them.
"""

import math
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

MaskedInputs = Callable[[Tensor, Tensor], Tensor]
"""Makes network inputs for every pair of the given samples and subsets, sample by sample.

It takes sample indices [samples] and subset indices [subsets], bit i of which says whether player i
is visible, or masks [subsets, players] of any number of players, and returns inputs [samples · subsets, …]. Players need not be pixels: words do as well.
"""


def grid_players(
    height: int, width: int, rows: int, columns: int, cells: Sequence[tuple[int, int]]
) -> Bool[Tensor, "players height width"]:
    """Return one player for each (row, column) in `cells` of a rows × columns grid over the image.

    Cells differ by at most one pixel where the grid does not divide the image. Pixels of cells that
    are not named belong to no player and stay visible.
    """
    players = torch.zeros(len(cells), height, width, dtype=torch.bool)
    for player, (row, column) in zip(players, cells, strict=True):
        if not (0 <= row < rows and 0 <= column < columns):
            raise ValueError(
                f"cell {(row, column)} lies outside the grid of {rows} rows × {columns} columns"
            )
        top, bottom = row * height // rows, (row + 1) * height // rows
        left, right = column * width // columns, (column + 1) * width // columns
        player[top:bottom, left:right] = True
    check_players(players)
    return players


def draw_cells(
    cells: Sequence[tuple[int, int]], count: int, generator: torch.Generator
) -> tuple[tuple[int, int], ...]:
    """Return `count` different cells at random, in the order of `cells`."""
    if count > len(cells):
        raise ValueError(
            f"{count} cells are requested, the grid offers {len(cells)}: use a finer grid"
        )
    drawn = torch.randperm(len(cells), generator=generator)[:count].sort().values
    return tuple(cells[index] for index in drawn.tolist())


def segmentation_players(
    segmentation: Int[Tensor, "*images height width"], players: int
) -> Bool[Tensor, "*images players height width"]:
    """Return players 1 … n of a segmentation map; pixels of other numbers belong to no player."""
    numbers = torch.arange(1, players + 1, device=segmentation.device)
    masks = segmentation.unsqueeze(-3) == numbers[:, None, None]
    check_players(masks)
    return masks


def check_players(players: Bool[Tensor, "*images players height width"]) -> None:
    """Raise `ValueError` for no players, one without pixels, or pixels with two."""
    count = players.shape[-3]
    if not count:
        raise ValueError("there are no players: name at least one cell or one mask")
    empty = (~players.any(dim=(-2, -1))).nonzero().tolist()
    if empty:
        *image, player = empty[0]
        place = f" in image {image[0]}" if image else ""
        raise ValueError(
            f"player {player}{place} has no pixels ({len(empty)} such in all): "
            "leave it out, or use a coarser grid or a larger part"
        )
    shared = int((players.sum(-3) > 1).sum())
    if shared:
        raise ValueError(f"{shared} pixels belong to more than one player: make the masks disjoint")


def _keep(players: Tensor, subsets: Tensor, dtype: torch.dtype) -> Tensor:
    """Return 1 at pixels of x_T that are those of x (players in T, and outside all), 0 at others; exact."""
    visible = subsets.to(players.device)
    if visible.dtype != torch.bool:
        visible = (visible[:, None] >> torch.arange(players.shape[-3], device=players.device)) & 1
    hidden = 1 - visible.to(dtype)
    pixels = players.flatten(-2).to(dtype)
    return (1 - hidden @ pixels).unflatten(-1, players.shape[-2:])


def pixel_inputs(
    images: Float[Tensor, "images channels height width"],
    players: Bool[Tensor, "*images_or_none players height width"],
    baseline: Float[Tensor, "..."],
) -> MaskedInputs:
    """Return the maker of masked images x_T = m·x + (1 − m)·b, where m is 1 on visible pixels.

    Players are the same for all images [players, height, width] or differ [images, players, height,
    width]. The baseline b broadcasts to the images. All masks of a chunk are applied by one fused
    broadcast multiply-add; x_N equals x and hidden pixels equal b to the last bit.
    """
    check_players(players)
    if players.shape[-2:] != images.shape[-2:] or players.shape[:-3] not in ((), images.shape[:1]):
        raise ValueError(
            f"players of shape {tuple(players.shape)} do not fit "
            f"images of shape {tuple(images.shape)}: "
            "give [players, height, width], or one such for every image"
        )
    players = players.to(images.device)
    hidden_by = expand_baseline(images, baseline)

    def masked_images(samples: Tensor, subsets: Tensor) -> Tensor:
        chosen = players if players.ndim == 3 else players[samples]
        keep = _keep(chosen, subsets, images.dtype).unsqueeze(-3)
        return (
            hidden_by[samples].unsqueeze(1).lerp(images[samples].unsqueeze(1), keep).flatten(0, 1)
        )

    return masked_images


def expand_baseline(
    images: Float[Tensor, "images channels height width"], baseline: Float[Tensor, "..."]
) -> Float[Tensor, "images channels height width"]:
    """Return the baseline with the images' shape, type and device, or refuse one that does not fit."""
    try:
        return baseline.to(images).expand_as(images)
    except RuntimeError:
        raise ValueError(
            f"a baseline of shape {tuple(baseline.shape)} does not fit "
            f"images of shape {tuple(images.shape)}: "
            "give a pixel [channels, 1, 1], an image [channels, height, width], "
            "or one for every image"
        ) from None


Images = Float[Tensor, "images channels height width"]


def zero_baseline(images: Images) -> Float[Tensor, "channels 1 1"]:
    """Return zero, the mean pixel where images are normalised by the data set's mean."""
    return images.new_zeros(images.shape[1], 1, 1)


def blurred_baseline(images: Images, deviation: float) -> Images:
    """Return the images blurred by a Gaussian of the given standard deviation in pixels."""
    if deviation <= 0:
        raise ValueError(
            f"the blur's standard deviation is {deviation}: give a positive number of pixels"
        )
    radius = math.ceil(3 * deviation)
    offsets = torch.arange(-radius, radius + 1, dtype=images.dtype, device=images.device)
    kernel = torch.softmax(-0.5 * (offsets / deviation) ** 2, dim=0)
    channels = images.shape[1]
    vertical = kernel.view(1, 1, -1, 1).expand(channels, 1, -1, 1)
    padded = F.pad(images, [radius] * 4, mode="replicate")
    return F.conv2d(F.conv2d(padded, vertical, groups=channels), vertical.mT, groups=channels)


def bounded_shift_baseline(
    images: Images, mean: Float[Tensor, "..."], shift: float | Float[Tensor, "..."]
) -> Images:
    """Return every pixel moved towards the mean μ, by at most `shift` (τ) and never past it.

    b_i = max(x_i − τ, μ_i) where x_i > μ_i, else min(x_i + τ, μ_i). τ is in the units of the
    images: for τ standard deviations of unscaled images give τ times their deviation. Source: the
    authors' group's settings for image data (τ = 2 standard deviations).
    """
    if bool((torch.as_tensor(shift) < 0).any()):
        raise ValueError(f"the shift is {shift}: give a distance, zero or more")
    return torch.clamp(expand_baseline(images, mean), images - shift, images + shift)


def learned_baseline(images: Images, learned: Float[Tensor, "..."]) -> Images:
    """Return a baseline that was learned elsewhere, checked for shape and for finite values."""
    if not bool(learned.isfinite().all()):
        raise ValueError("the learned baseline holds NaN or infinite values: its training diverged")
    return expand_baseline(images, learned)
