import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from headstart.metrics.representations import layer_cka
from headstart.metrics.representations.similarity import (
    cka_grid,
    double_centered,
    linear_gram,
    linear_grams,
    rank_reason,
    subspace_similarity,
    u_centered,
    undefined_reason,
)

FORMS = pytest.mark.parametrize("debiased", [True, False])
seeds = st.integers(0, 2**31)


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)


def linear_cka(x: Tensor, y: Tensor, debiased: bool = True) -> Tensor:
    return cka_grid(linear_grams([x]), linear_grams([y]), debiased)[0, 0]


def related(images: int, features: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Two representations that share some but not all of their variation."""
    x = normal(images, features, seed=seed)
    return x, x @ normal(features, features, seed=seed + 1) + 3 * normal(
        images, features, seed=seed + 2
    )


def song_hsic(k: Tensor, l: Tensor) -> float:  # noqa: E741
    """Song et al. (2012), as Nguyen et al. (2021) write it: sums over zero-diagonal Grams."""
    n = len(k)
    k, l = k.clone().fill_diagonal_(0), l.clone().fill_diagonal_(0)  # noqa: E741
    total = (k @ l).trace() + k.sum() * l.sum() / ((n - 1) * (n - 2)) - 2 * (k @ l).sum() / (n - 2)
    return float(total / (n * (n - 3)))


def song_cka(x: Tensor, y: Tensor) -> float:
    k, l = x @ x.T, y @ y.T  # noqa: E741
    return song_hsic(k, l) / math.sqrt(song_hsic(k, k) * song_hsic(l, l))


@FORMS
def test_a_representation_is_similar_to_itself_by_exactly_one(debiased: bool) -> None:
    x = normal(20, 7)
    assert linear_cka(x, x, debiased).item() == pytest.approx(1, abs=1e-12)


@FORMS
@given(seed=seeds, images=st.integers(5, 20), features=st.integers(1, 8))
@settings(max_examples=20, deadline=None)
def test_cka_ignores_rotation_scale_and_translation_and_is_symmetric(
    debiased: bool, seed: int, images: int, features: int
) -> None:
    x, y = related(images, features, seed)
    rotation = torch.linalg.qr(normal(features, features, seed=seed + 3)).Q
    moved = 0.3 * x @ rotation + normal(features, seed=seed + 4)
    expected = linear_cka(x, y, debiased)
    torch.testing.assert_close(linear_cka(moved, y, debiased), expected, atol=1e-8, rtol=0)
    torch.testing.assert_close(linear_cka(y, x, debiased), expected, atol=1e-8, rtol=0)


@FORMS
def test_cka_notices_a_general_invertible_map(debiased: bool) -> None:
    x = normal(200, 4)
    stretched = x * torch.tensor([1.0, 1, 1, 20], dtype=torch.float64)
    assert linear_cka(x, stretched, debiased) < 0.6


@given(seed=seeds, images=st.integers(4, 20), features=st.integers(2, 9))
@settings(max_examples=20, deadline=None)
def test_debiased_hsic_of_u_centred_grams_equals_songs_formula(
    seed: int, images: int, features: int
) -> None:
    x, y = related(images, features, seed)
    k, l = linear_gram(x), linear_gram(y)  # noqa: E741
    inner = (u_centered(k) * u_centered(l)).sum() / (images * (images - 3))
    assert inner.item() == pytest.approx(song_hsic(x @ x.T, y @ y.T), rel=1e-8, abs=1e-9)


def test_cka_equals_songs_formula_on_uncentred_grams() -> None:
    x, y = related(30, 6)
    assert linear_cka(x, y, True).item() == pytest.approx(song_cka(x, y), abs=1e-12)


@FORMS
def test_a_grid_equals_its_pairs(debiased: bool) -> None:
    xs = [normal(25, width, seed=width) for width in (3, 9, 40)]
    ys = [xs[0], normal(25, 6), normal(25, 2, 3, seed=5)]
    pairs = torch.tensor([[linear_cka(x, y, debiased) for y in ys] for x in xs])
    grid = cka_grid(linear_grams(xs), linear_grams(ys), debiased)
    torch.testing.assert_close(grid, pairs.double())


@pytest.mark.parametrize("images", [50, 250, 500])
def test_independent_data_reads_zero_debiased_and_near_one_biased(images: int) -> None:
    generator = torch.Generator().manual_seed(images)
    x, y = (linear_gram(torch.randn(images, 38400, generator=generator)) for _ in range(2))
    debiased, biased = (cka_grid(x[None], y[None], form).item() for form in (True, False))
    assert abs(debiased) < 4 / images
    assert biased > 0.98
    if images == 250:
        assert biased == pytest.approx(0.994, abs=0.002)


def test_debiased_cka_of_independent_data_averages_to_zero() -> None:
    values = torch.stack(
        [linear_cka(normal(20, 384, seed=s), normal(20, 384, seed=s + 999)) for s in range(60)]
    )
    assert abs(values.mean()) < 4 * values.std() / math.sqrt(60)


def test_a_debiased_value_may_lie_below_zero() -> None:
    values = [linear_cka(normal(8, 30, seed=s), normal(8, 30, seed=s + 99)) for s in range(9)]
    assert min(values) < 0


@FORMS
@pytest.mark.parametrize("offset", [10.0, 1000.0])
def test_a_common_offset_in_float32_changes_nothing(debiased: bool, offset: float) -> None:
    x, y = (z.float() for z in related(100, 20))
    expected = linear_cka(x, y, debiased)
    shifted = linear_cka(x + offset, y + offset, debiased)
    torch.testing.assert_close(shifted, expected, atol=1e-4, rtol=0)


@FORMS
def test_constant_features_are_nan_with_a_reason(debiased: bool) -> None:
    constant = torch.full((10, 3), 0.1)
    assert linear_cka(constant, normal(10, 4), debiased).isnan()
    assert linear_cka(normal(10, 4), constant, debiased).isnan()
    assert "constant features" in str(undefined_reason(linear_gram(constant), debiased))
    assert undefined_reason(linear_gram(normal(10, 3)), debiased) is None


def test_rounding_noise_around_a_constant_counts_as_constant() -> None:
    noisy = 100 + 1e-6 * normal(10, 50, dtype=torch.float32)
    assert linear_cka(noisy, noisy).isnan()


def test_equally_distant_images_are_nan_debiased_and_one_biased() -> None:
    one_hot = torch.eye(6)
    assert linear_cka(one_hot, one_hot, True).isnan()
    assert "equally similar" in str(undefined_reason(linear_gram(one_hot)))
    assert linear_cka(one_hot, one_hot, False).item() == pytest.approx(1)


def test_values_that_are_not_finite_are_nan_with_a_reason() -> None:
    x = normal(10, 3)
    x[2, 1] = torch.inf
    assert linear_cka(x, normal(10, 3)).isnan()
    assert "not finite" in str(undefined_reason(linear_gram(x)))


def test_one_constant_layer_makes_only_its_own_row_nan() -> None:
    layers = [normal(12, 4), torch.ones(12, 4), normal(12, 4, seed=2)]
    grid = cka_grid(linear_grams(layers), linear_grams(layers[::2]))
    assert grid.isnan().tolist() == [[False, False], [True, True], [False, False]]


@pytest.mark.parametrize("images", [1, 2, 3])
def test_fewer_than_four_images_are_an_error_that_says_how_many_were_found(images: int) -> None:
    x = normal(images, 5)
    with pytest.raises(ValueError, match=f"at least 4 images, found {images}"):
        linear_cka(x, x)


def test_centring_leaves_zero_row_sums() -> None:
    gram = linear_gram(normal(9, 4)) + 2
    assert u_centered(gram).sum(1).abs().max() < 1e-12
    assert u_centered(gram).diagonal().abs().max() == 0
    assert double_centered(gram).sum(1).abs().max() < 1e-12


def test_subspaces_that_share_some_axes_are_similar_by_the_shared_fraction() -> None:
    x, y = torch.zeros(100, 8), torch.zeros(100, 8)
    x[:, :4], y[:, 2:6] = normal(100, 4).float(), normal(100, 4, seed=1).float()
    assert subspace_similarity(x, y, 4).item() == pytest.approx(0.5, abs=1e-6)
    assert subspace_similarity(x, 5 * x + 1, 4).item() == pytest.approx(1, abs=1e-6)
    assert subspace_similarity(x, x.roll(4, 1), 4).item() == pytest.approx(0, abs=1e-6)


def test_random_subspaces_are_similar_by_their_share_of_the_features() -> None:
    values = [subspace_similarity(normal(60, 30, seed=s), normal(60, 30, seed=s + 99), 6)
              for s in range(30)]  # fmt: skip
    assert torch.stack(values).mean().item() == pytest.approx(6 / 30, abs=0.02)


def test_too_few_directions_are_nan_with_a_reason_and_impossible_requests_an_error() -> None:
    flat = torch.zeros(20, 8)
    flat[:, :2] = normal(20, 2).float()
    assert subspace_similarity(flat, normal(20, 8).float(), 3).isnan()
    assert rank_reason(flat, 3) == "the features span 2 directions, fewer than the 3 requested"
    assert rank_reason(flat, 2) is None
    assert "constant features" in str(rank_reason(torch.ones(20, 8), 2))
    with pytest.raises(ValueError, match="have 1 to 8"):
        subspace_similarity(flat, flat, 9)
    with pytest.raises(ValueError, match="8 and 5 features"):
        subspace_similarity(flat, flat[:, :5], 2)


def grid_by(route: str, xs: list[Tensor], ys: list[Tensor], debiased: bool) -> Tensor:
    """The grid by one route, whatever it costs."""
    layers = [*xs, *ys]
    products, squared, _ = getattr(layer_cka, f"_by_{route}")(layers, len(xs), debiased)
    lengths = squared.sqrt()
    return products / torch.outer(lengths[: len(xs)], lengths[len(xs) :])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@FORMS
@pytest.mark.parametrize("offset", [0.0, 100.0])
@pytest.mark.parametrize(("images", "widths"), [(40, (300, 7)), (300, (20, 33)), (700, (5, 5))])
def test_both_routes_of_a_grid_equal_the_grid_of_float64_grams(
    debiased: bool, offset: float, images: int, widths: tuple[int, int], dtype: torch.dtype
) -> None:
    xs = [normal(images, width, seed=width).to(dtype) + offset for width in (*widths, 9)]
    ys = [xs[0] + normal(images, widths[0], seed=1).to(dtype), 2 * xs[1]]
    ys.append(normal(images, 4).to(dtype))
    expected = cka_grid(linear_grams(xs), linear_grams(ys), debiased)
    for route in ("grams", "features"):
        found = grid_by(route, xs, ys, debiased)
        torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)
    torch.testing.assert_close(layer_cka.layer_cka(xs, ys, debiased), expected, atol=1e-6, rtol=0)


def test_the_cheaper_route_is_taken_and_knows_what_is_undefined() -> None:
    grams, features = layer_cka.costs(5000, [64] * 12, [64] * 12)
    assert features < grams
    grams, features = layer_cka.costs(100, [40_000] * 4, [40_000] * 4)
    assert grams < features
    layers = [normal(40, 50).float(), torch.full((40, 3), 0.1), torch.eye(40)]
    for debiased, expected in ((True, [False, True, True]), (False, [False, True, False])):
        grid = layer_cka.layer_cka(layers, layers[:1], debiased)
        assert grid.isnan()[:, 0].tolist() == expected
    with pytest.raises(ValueError, match="at least 4 images, found 3"):
        layer_cka.layer_cka([normal(3, 5)], [normal(3, 5)])
