"""Salience, sparsity, match and noise."""

import pytest
import torch
from jaxtyping import TypeCheckError
from over_images import independent_noise

from headstart.metrics.interactions.salience import (
    explained_by_and,
    explained_by_walsh,
    keep_salient,
    noise_floor,
    salience_threshold,
    salient,
    sparsity_curve,
)
from headstart.metrics.interactions.transform import mobius, orders, walsh, zeta

TABLE = torch.tensor([[50.0, 10.0, 0.5, -0.6], [50.0, 0.1, 1.0, 0.0]])


def test_the_maximum_runs_over_all_samples_or_over_each_alone() -> None:
    assert salience_threshold(TABLE, 0.05, "model").squeeze().tolist() == [0.5, 0.5]
    torch.testing.assert_close(
        salience_threshold(TABLE, 0.05, "sample").squeeze(), torch.tensor([0.5, 0.05])
    )
    assert salient(TABLE, 0.05, "sample").tolist()[1] == [False, True, True, False]


def test_an_interaction_at_the_threshold_and_the_empty_set_are_not_salient() -> None:
    assert salient(TABLE).tolist() == [[False, True, False, True], [False, False, True, False]]


def test_nothing_is_salient_in_a_constant_network() -> None:
    assert not salient(torch.zeros(2, 8)).any()


def test_filters_keep_what_is_salient_in_either_or_in_both() -> None:
    first, second = torch.tensor([[1.0, 5.0, 0.0, 5.0]]), torch.tensor([[1.0, 0.1, 5.0, 4.0]])
    assert keep_salient(first, second, "none") == (first, second)
    assert [table.tolist() for table in keep_salient(first, second, "either")] == [
        [[0, 5, 0, 5]],
        [[0, pytest.approx(0.1), 5, 4]],
    ]
    assert [table.tolist() for table in keep_salient(first, second, "both")] == [
        [[0, 0, 0, 5]],
        [[0, 0, 0, 4]],
    ]


def test_unknown_scopes_filters_and_fractions_are_refused() -> None:
    with pytest.raises((ValueError, TypeCheckError)):
        salient(TABLE, scope="image")  # type: ignore[arg-type]
    with pytest.raises((ValueError, TypeCheckError)):
        keep_salient(TABLE, TABLE, rule="any")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="fraction is 5"):
        salient(TABLE, fraction=5.0)


def test_the_sparsity_curve_falls_from_one_and_is_nan_for_a_constant_network() -> None:
    curve = sparsity_curve(torch.stack([TABLE[0], torch.zeros(4)]))
    torch.testing.assert_close(curve[0], torch.tensor([1.0, 0.06, 0.05]))
    assert curve[1].isnan().all()


def test_and_terms_are_fitted_by_least_squares_on_all_masks() -> None:
    values = torch.randn(3, 32, generator=torch.Generator().manual_seed(0)).double()
    found = explained_by_and(values, [1, 4, 31])
    sizes, masks = orders(5), torch.arange(32)
    strengths = mobius(values).abs() * 2.0 ** (-sizes.double() / 2)
    for image in range(3):
        chosen = [0, *(strengths[image, 1:].topk(4).indices + 1).tolist()]
        terms = torch.stack([((masks & s) == s).double() for s in chosen], dim=1)
        fitted = terms @ torch.linalg.lstsq(terms, values[image, :, None]).solution
        expected = values[image].var(correction=0) - (values[image] - fitted[:, 0]).square().mean()
        assert found[image, 1] == pytest.approx(float(expected))
    torch.testing.assert_close(found[:, 2], values.var(-1, correction=0))


def test_walsh_coefficients_explain_their_squares_and_in_the_end_all_of_the_variance() -> None:
    values = torch.randn(3, 32, generator=torch.Generator().manual_seed(0)).double()
    found = explained_by_walsh(values, [1, 31])
    torch.testing.assert_close(found[:, 0], walsh(values)[:, 1:].square().amax(-1))
    torch.testing.assert_close(found[:, 1], values.var(-1, correction=0))


def test_few_planted_terms_are_found_and_explain_everything() -> None:
    dividends = torch.zeros(1, 64, dtype=torch.float64)
    dividends[0, [3, 12, 48]] = torch.tensor([2.0, -1.0, 1.5]).double()
    values = zeta(dividends)
    assert float(explained_by_and(values, [3])) == pytest.approx(float(values.var(correction=0)))


def test_independent_noise_grows_by_root_two_with_every_order() -> None:
    noise = 0.1 * torch.randn(2000, 256, generator=torch.Generator().manual_seed(0)).double()
    dividends, expected = mobius(noise), independent_noise(0.1, 8)
    for order in range(1, 9):
        measured = dividends[:, orders(8) == order].std()
        assert float(measured / expected[order - 1]) == pytest.approx(1, abs=0.05)


def test_the_noise_floor_of_two_evaluations_is_that_of_one() -> None:
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(2000, 64, generator=generator).double()
    first, second = (
        values + 0.01 * torch.randn(2000, 64, generator=generator).double() for _ in range(2)
    )
    ratio = noise_floor(first, second) / independent_noise(0.01, 6)
    torch.testing.assert_close(ratio, torch.ones(6).double(), atol=0.05, rtol=0)
    assert noise_floor(first, first).abs().max() == 0


def test_two_evaluations_of_different_images_are_refused() -> None:
    with pytest.raises((ValueError, TypeCheckError)):
        noise_floor(torch.zeros(3, 8), torch.zeros(2, 8))
