"""Speed, directness and stability of a run."""

import pytest
import torch
from over_images import over_images

from headstart.metrics.interactions.shares import directness, speed, stability, time_to

EPOCHS = torch.tensor([0, 1, 2, 4, 8])


def straight_path(images: int = 3) -> torch.Tensor:
    end = torch.randn(images, 16, generator=torch.Generator().manual_seed(0)).double()
    return torch.linspace(0, 1, 5, dtype=torch.float64)[:, None, None] * end


def test_a_straight_path_has_directness_one() -> None:
    assert over_images(directness(straight_path())).points.item() == pytest.approx(1)


def test_a_detour_halves_directness() -> None:
    start, end = torch.zeros(1, 4), torch.tensor([[0.0, 1.0, 0.0, 0.0]])
    detour = torch.stack([start, 1.5 * end, end])
    assert over_images(directness(detour)).points.item() == 0.5


def test_a_run_that_does_not_move_has_no_directness() -> None:
    path = torch.ones(3, 2, 8)
    path[2, 1] = 2
    value = over_images(directness(path))
    assert value.undefined.item() == 1
    assert value.points.item() == 1
    assert over_images(directness(torch.ones(3, 2, 8))).points.isnan().all()


def test_speed_is_the_area_over_epochs_scaled_to_one() -> None:
    assert speed(torch.ones(5), EPOCHS) == 1
    assert speed(EPOCHS / 8, EPOCHS) == pytest.approx(0.5)
    assert speed(EPOCHS / 8, 10 + 3 * EPOCHS) == pytest.approx(0.5)


def test_the_time_to_a_level_is_the_first_checkpoint_that_reaches_it() -> None:
    curve = torch.tensor([0.0, 0.5, 0.4, 0.7, 0.7])
    assert time_to(curve, EPOCHS, 0.5) == 1
    assert time_to(curve, EPOCHS, 0.6) == 4
    assert time_to(curve, EPOCHS, 0.8).isnan()


def test_stability_sums_all_drops() -> None:
    assert stability(torch.tensor([0.0, 0.5, 0.25, 0.75, 0.5])) == 0.5
    assert stability(torch.tensor([0.0, 0.5, 1.0])) == 0


def test_epochs_out_of_order_and_single_checkpoints_are_refused() -> None:
    with pytest.raises(ValueError, match="in rising order"):
        speed(torch.ones(3), torch.tensor([0, 2, 1]))
    with pytest.raises(ValueError, match="in rising order"):
        time_to(torch.ones(1), torch.tensor([0]), 0.5)
    with pytest.raises(ValueError, match="at least two checkpoints"):
        directness(torch.ones(1, 2, 8))
