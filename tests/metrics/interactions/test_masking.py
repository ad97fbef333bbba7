"""Players, the images in which some of them are hidden, and what hidden pixels show."""

import pytest
import torch
from jaxtyping import TypeCheckError
from torch import Tensor

from headstart.metrics.interactions.masking import (
    blurred_baseline,
    bounded_shift_baseline,
    draw_cells,
    grid_players,
    learned_baseline,
    pixel_inputs,
    segmentation_players,
    zero_baseline,
)

IMAGES = torch.randn(3, 2, 9, 8, generator=torch.Generator().manual_seed(0))
BASELINE = torch.randn(2, 9, 8, generator=torch.Generator().manual_seed(1))


def cells(rows: int, columns: int, corners: bool = True) -> list[tuple[int, int]]:
    every = [(row, column) for row in range(rows) for column in range(columns)]
    return [
        cell
        for cell in every
        if corners or not (cell[0] in (0, rows - 1) and cell[1] in (0, columns - 1))
    ]


def players() -> Tensor:
    return grid_players(9, 8, 3, 3, cells(3, 3, corners=False))


def all_masked(images: Tensor, masks: Tensor, baseline: Tensor) -> Tensor:
    samples, subsets = torch.arange(len(images)), torch.arange(2 ** masks.shape[-3])
    made = pixel_inputs(images, masks, baseline)(samples, subsets)
    return made.unflatten(0, (len(samples), len(subsets)))


def test_all_cells_of_a_grid_cover_every_pixel_once_also_where_it_does_not_divide() -> None:
    masks = grid_players(9, 8, 3, 3, cells(3, 3))
    assert torch.equal(masks.sum(0), torch.ones(9, 8, dtype=torch.int64))


def test_drawn_cells_are_different_and_come_from_the_generator() -> None:
    offered = cells(6, 6)
    first = draw_cells(offered, 10, torch.Generator().manual_seed(5))
    assert first == draw_cells(offered, 10, torch.Generator().manual_seed(5))
    assert first != draw_cells(offered, 10, torch.Generator().manual_seed(6))
    assert len(set(first)) == 10
    with pytest.raises(ValueError, match="the grid offers 36"):
        draw_cells(offered, 37, torch.Generator())


def test_a_segmentation_map_gives_one_player_for_each_number() -> None:
    segmentation = torch.tensor([[[0, 1], [2, 2]], [[2, 1], [1, 9]]])
    masks = segmentation_players(segmentation, 2)
    assert masks.sum((-2, -1)).tolist() == [[1, 2], [2, 1]]


def test_a_player_without_pixels_is_refused() -> None:
    with pytest.raises(ValueError, match="player 2 in image 1 has no pixels"):
        segmentation_players(torch.tensor([[[1, 2], [3, 3]], [[1, 2], [2, 2]]]), 3)
    with pytest.raises(ValueError, match="player 0 has no pixels"):
        grid_players(2, 2, 4, 4, [(0, 0)])


def test_overlapping_missing_and_outlying_players_are_refused() -> None:
    with pytest.raises(ValueError, match="16 pixels belong to more than one player"):
        grid_players(8, 8, 2, 2, [(0, 0), (0, 0)])
    with pytest.raises(ValueError, match="no players"):
        grid_players(8, 8, 2, 2, [])
    with pytest.raises(ValueError, match=r"\(2, 0\) lies outside the grid"):
        grid_players(8, 8, 2, 2, [(2, 0)])


def test_the_full_mask_returns_the_image_to_the_last_bit() -> None:
    extreme = IMAGES * torch.logspace(-30, 30, 8)
    masked = all_masked(extreme, players(), BASELINE)
    assert torch.equal(masked[:, -1].view(torch.int32), extreme.view(torch.int32))


def test_the_empty_mask_shows_the_baseline_on_players_and_keeps_the_background() -> None:
    masked = all_masked(IMAGES, players(), BASELINE)[:, 0]
    background = ~players().any(0)
    assert torch.equal(masked[..., background], IMAGES[..., background])
    assert torch.equal(masked[0][..., ~background], BASELINE[..., ~background])


def test_every_mask_equals_the_choice_of_pixel_or_baseline() -> None:
    masked = all_masked(IMAGES, players(), BASELINE)
    bits = torch.arange(32)[:, None] >> torch.arange(5) & 1
    hidden = torch.einsum("sp,phw->shw", 1 - bits, players().long()) > 0
    visible = ~hidden
    expected = torch.where(visible[None, :, None], IMAGES[:, None], BASELINE)
    assert torch.equal(masked, expected)


def test_bit_i_of_a_subset_shows_player_i() -> None:
    masks = players()
    visible = all_masked(torch.ones(1, 1, 9, 8), masks, torch.zeros(1, 1, 1))[0, 0b00101, 0] > 0
    assert [bool(visible[mask].all()) for mask in masks] == [True, False, True, False, False]


def test_players_may_differ_between_images() -> None:
    segmentation = torch.randint(1, 4, (3, 9, 8), generator=torch.Generator().manual_seed(2))
    masks = segmentation_players(segmentation, 3)
    together = all_masked(IMAGES, masks, BASELINE)
    for image in range(3):
        alone = all_masked(IMAGES[image : image + 1], masks[image], BASELINE)
        assert torch.equal(together[image], alone[0])


def test_a_baseline_may_be_a_pixel_or_one_for_every_image() -> None:
    pixel = torch.tensor([1.0, -1.0])[:, None, None]
    expected = all_masked(IMAGES, players(), pixel.expand(2, 9, 8))
    assert torch.equal(all_masked(IMAGES, players(), pixel), expected)
    own = all_masked(IMAGES, players(), IMAGES.flip(0))
    mask = players().any(0)
    assert torch.equal(own[0, 0][..., mask], IMAGES[2][..., mask])


def test_players_and_baselines_that_do_not_fit_are_refused() -> None:
    with pytest.raises((ValueError, TypeCheckError)):
        pixel_inputs(IMAGES, players()[:, :8], BASELINE)
    with pytest.raises((ValueError, TypeCheckError)):
        pixel_inputs(IMAGES, players().expand(2, -1, -1, -1), BASELINE)
    with pytest.raises(ValueError, match=r"baseline of shape \(5, 1, 1\) does not fit"):
        pixel_inputs(IMAGES, players(), torch.zeros(5, 1, 1))


PICTURES = torch.randn(4, 3, 12, 10, generator=torch.Generator().manual_seed(0))


def test_zero_is_a_pixel_of_every_channel() -> None:
    assert torch.equal(zero_baseline(PICTURES), torch.zeros(3, 1, 1))


def test_a_blur_keeps_constant_images_and_lowers_variation() -> None:
    constant = torch.full((1, 3, 12, 10), 0.7)
    torch.testing.assert_close(blurred_baseline(constant, 2.0), constant)
    blurred = blurred_baseline(PICTURES, 2.0)
    assert blurred.shape == PICTURES.shape
    assert blurred.std() < PICTURES.std() / 2


def test_a_blur_is_symmetric_in_rows_and_columns() -> None:
    blurred = blurred_baseline(PICTURES, 1.5)
    torch.testing.assert_close(blurred_baseline(PICTURES.mT, 1.5), blurred.mT)


def test_the_shift_moves_towards_the_mean_by_its_bound_and_never_past_it() -> None:
    images = torch.tensor([-3.0, -0.5, 0.0, 0.5, 3.0]).view(1, 1, 1, 5)
    shifted = bounded_shift_baseline(images, torch.zeros(1, 1, 1), 2.0)
    assert shifted.flatten().tolist() == [-1.0, 0.0, 0.0, 0.0, 1.0]
    unequal = bounded_shift_baseline(images, torch.zeros(1, 1, 1), torch.tensor([1.0] * 4 + [0.0]))
    assert unequal.flatten().tolist() == [-2.0, 0.0, 0.0, 0.0, 3.0]


def test_a_learned_baseline_is_given_back_in_the_shape_of_the_images() -> None:
    assert learned_baseline(PICTURES, torch.ones(3, 1, 1)).shape == PICTURES.shape


def test_baselines_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="its training diverged"):
        learned_baseline(PICTURES, torch.full((3, 1, 1), torch.nan))
    with pytest.raises(ValueError, match="positive number of pixels"):
        blurred_baseline(PICTURES, 0.0)
    with pytest.raises(ValueError, match="zero or more"):
        bounded_shift_baseline(PICTURES, torch.zeros(3, 1, 1), -1.0)
