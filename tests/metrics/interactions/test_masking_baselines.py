"""What hidden pixels show."""

import pytest
import torch

from headstart.metrics.interactions.masking import (
    blurred_baseline,
    bounded_shift_baseline,
    learned_baseline,
    zero_baseline,
)

IMAGES = torch.randn(4, 3, 12, 10, generator=torch.Generator().manual_seed(0))


def test_zero_is_a_pixel_of_every_channel() -> None:
    assert torch.equal(zero_baseline(IMAGES), torch.zeros(3, 1, 1))


def test_a_blur_keeps_constant_images_and_lowers_variation() -> None:
    constant = torch.full((1, 3, 12, 10), 0.7)
    torch.testing.assert_close(blurred_baseline(constant, 2.0), constant)
    blurred = blurred_baseline(IMAGES, 2.0)
    assert blurred.shape == IMAGES.shape
    assert blurred.std() < IMAGES.std() / 2


def test_a_blur_is_symmetric_in_rows_and_columns() -> None:
    blurred = blurred_baseline(IMAGES, 1.5)
    torch.testing.assert_close(blurred_baseline(IMAGES.mT, 1.5), blurred.mT)


def test_the_shift_moves_towards_the_mean_by_its_bound_and_never_past_it() -> None:
    images = torch.tensor([-3.0, -0.5, 0.0, 0.5, 3.0]).view(1, 1, 1, 5)
    shifted = bounded_shift_baseline(images, torch.zeros(1, 1, 1), 2.0)
    assert shifted.flatten().tolist() == [-1.0, 0.0, 0.0, 0.0, 1.0]
    unequal = bounded_shift_baseline(images, torch.zeros(1, 1, 1), torch.tensor([1.0] * 4 + [0.0]))
    assert unequal.flatten().tolist() == [-2.0, 0.0, 0.0, 0.0, 3.0]


def test_a_learned_baseline_is_given_back_in_the_shape_of_the_images() -> None:
    assert learned_baseline(IMAGES, torch.ones(3, 1, 1)).shape == IMAGES.shape


def test_baselines_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="its training diverged"):
        learned_baseline(IMAGES, torch.full((3, 1, 1), torch.nan))
    with pytest.raises(ValueError, match="positive number of pixels"):
        blurred_baseline(IMAGES, 0.0)
    with pytest.raises(ValueError, match="zero or more"):
        bounded_shift_baseline(IMAGES, torch.zeros(3, 1, 1), -1.0)
