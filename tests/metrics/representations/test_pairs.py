"""Similarities beside CKA, and what a single image does to CKA."""

import pytest
import torch
from scipy import stats
from torch import Tensor

from headstart.metrics.representations.pairs import (
    by_depth,
    dissimilarities,
    invariance,
    leave_one_out,
    mutual_neighbours,
    neighbours,
    procrustes_grid,
)
from headstart.metrics.representations.similarity import cka_grid, linear_gram, linear_grams
from headstart.metrics.representations.transformations import TRANSFORMATIONS

FORMS = pytest.mark.parametrize("debiased", [True, False])


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def rotated(x: Tensor) -> Tensor:
    return 3 * x @ torch.linalg.qr(normal(x.shape[1], x.shape[1], seed=9)).Q + 1


def test_procrustes_is_one_after_a_rotation_and_equals_the_nuclear_norm_of_features() -> None:
    x, y = normal(30, 8), normal(30, 5, seed=1)
    found = procrustes_grid(linear_grams([x]), linear_grams([rotated(x), y]))[0]
    one, other = (z - z.mean(0) for z in (x, y))
    expected = torch.linalg.svdvals(one.T @ other).sum() / (one.norm() * other.norm())
    torch.testing.assert_close(
        found, torch.stack([torch.ones(()).double(), expected]), atol=1e-6, rtol=0
    )
    assert procrustes_grid(linear_grams([torch.ones(30, 2)]), linear_grams([x])).isnan().all()


def test_rsa_is_spearmans_correlation_of_dissimilarities() -> None:
    layers = [normal(20, 12), normal(20, 12) + normal(20, 12, seed=1)]
    places = torch.triu_indices(20, 20, 1)
    pairs = [(1 - torch.corrcoef(x))[tuple(places)].numpy() for x in layers]
    expected = stats.spearmanr(*pairs).statistic
    grid = dissimilarities(layers) @ dissimilarities(layers).T
    assert grid[0, 1].item() == pytest.approx(expected, abs=1e-12)
    assert grid[0, 0].item() == pytest.approx(1)


def test_neighbours_are_shared_by_chance_alone_between_unrelated_features() -> None:
    near = neighbours([normal(200, 30), normal(200, 30, seed=1), 2 * normal(200, 30)], 10)
    grid = mutual_neighbours(near, near)
    assert grid[0, 2].item() == pytest.approx(1)
    assert grid[0, 1].item() == pytest.approx(10 / 199, abs=0.02)
    with pytest.raises(ValueError, match="more than 5 images, found 5"):
        neighbours([normal(5, 3)], 5)


@FORMS
def test_cka_without_an_image_is_cka_of_the_others(debiased: bool) -> None:
    x, y = normal(12, 6) + 2, normal(12, 6) + normal(12, 6, seed=1)
    found = leave_one_out(linear_gram(x), linear_gram(y), debiased)
    for image in range(12):
        rest = [i for i in range(12) if i != image]
        expected = cka_grid(linear_grams([x[rest]]), linear_grams([y[rest]]), debiased)
        assert found[image].item() == pytest.approx(expected.item(), abs=1e-10)


def test_one_far_image_decides_biased_cka_and_leaving_it_out_finds_it() -> None:
    """Of 200 images, one moved by 20 standard deviations (of the whole cloud) in one representation."""
    x = normal(200, 50)
    y = x + 0.3 * normal(200, 50, seed=1)
    moved = y.clone()
    direction = normal(50, seed=2)
    moved[17] += (
        20 * (y - y.mean(0)).norm(dim=1).square().mean().sqrt() * direction / direction.norm()
    )
    k, l, outlying = linear_gram(x), linear_gram(y), linear_gram(moved)  # noqa: E741
    before, after = (cka_grid(k[None], gram[None], False).item() for gram in (l, outlying))
    assert before > 0.93
    assert after < 0.2
    without = leave_one_out(k, outlying, False)
    assert int((without - after).abs().argmax()) == 17
    assert without[17].item() == pytest.approx(before, abs=0.01)
    # Without the outlier in any of the representations no image matters.
    assert (leave_one_out(k, l, False) - before).abs().max() < 0.01


def test_what_a_representation_ignores_is_one_and_what_it_reads_is_less() -> None:
    images = torch.rand(40, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    flip, colour = TRANSFORMATIONS["flip"](images), TRANSFORMATIONS["colour"](images)
    torch.testing.assert_close(flip, images.flip(3), atol=1e-5, rtol=0)
    mean = lambda z: z.mean(3)  # noqa: E731
    assert invariance(mean(images), mean(flip)).item() == pytest.approx(1, abs=1e-4)
    assert abs(invariance(images, flip).item()) < 0.1
    assert abs(invariance(images, images.roll(1, 0)).item()) < 0.1
    assert (
        invariance(images.std((2, 3)) / images.mean((2, 3)), colour[:, :, :4, :4].mean((2, 3)))
        < 0.9
    )
    assert {tuple(t(images).shape) for t in TRANSFORMATIONS.values()} == {(40, 3, 16, 16)}
    assert invariance(torch.ones(5, 2), torch.ones(5, 2)).isnan()


def test_layers_are_matched_by_depth() -> None:
    assert by_depth(3, 3) == [(0, 0), (1, 1), (2, 2)]
    assert by_depth(2, 4) == [(0, 0), (0, 1), (1, 2), (1, 3)]
    assert by_depth(1, 2) == [(0, 0), (0, 1)]
