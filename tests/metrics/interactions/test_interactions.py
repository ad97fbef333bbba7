"""The Möbius transform against brute force, known games, other libraries, and its own laws."""

import itertools
from collections.abc import Callable

import pytest
import torch
from sympy import Integer
from sympy.discrete import inverse_mobius_transform
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from headstart.metrics.interactions.transform import (
    membership,
    mobius,
    or_interactions,
    or_values,
    order_profile,
    orders,
    shapley_values,
    walsh,
    walsh_values,
    zeta,
)


def random_games(players: int, games: int = 3, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(games, 2**players, generator=generator, dtype=torch.float64)


def game(players: int, score: Callable[[list[int]], float]) -> Tensor:
    rows = membership(players).T.int().tolist()
    return torch.tensor([score(row) for row in rows], dtype=torch.float64)


def subset(*players: int) -> int:
    return sum(1 << player for player in players)


def unanimity(players: int, terms: dict[int, float]) -> Tensor:
    """v(x_T) = Σ a_S over the terms S ⊆ T, directly."""
    return torch.tensor(
        [sum(a for s, a in terms.items() if s & t == s) for t in range(2**players)],
        dtype=torch.float64,
    )


def brute_force_and(values: Tensor) -> Tensor:
    result = torch.zeros_like(values)
    for s, t in itertools.product(range(values.shape[-1]), repeat=2):
        if t & s == t:
            result[..., s] += (-1) ** (s.bit_count() - t.bit_count()) * values[..., t]
    return result


def brute_force_or(values: Tensor) -> Tensor:
    whole = values.shape[-1] - 1
    result = torch.zeros_like(values)
    result[..., 0] = values[..., 0]
    for s, t in itertools.product(range(1, whole + 1), range(whole + 1)):
        if t & s == t:
            sign = -((-1) ** (s.bit_count() - t.bit_count()))
            result[..., s] += sign * values[..., whole ^ t]
    return result


@pytest.mark.parametrize("players", range(7))
def test_the_fast_transforms_equal_their_definitions(players: int) -> None:
    values = random_games(players)
    torch.testing.assert_close(mobius(values), brute_force_and(values))
    torch.testing.assert_close(or_interactions(values), brute_force_or(values))


@pytest.mark.parametrize("players", [0, 1, 5, 12])
def test_zeta_and_or_values_undo_their_transforms(players: int) -> None:
    values = random_games(players)
    torch.testing.assert_close(zeta(mobius(values)), values)
    torch.testing.assert_close(or_values(or_interactions(values)), values)


def test_or_values_equal_their_definition() -> None:
    interactions = random_games(4)
    expected = interactions[:, :1].expand(-1, 16).clone()
    for s, t in itertools.product(range(1, 16), range(16)):
        if s & t:
            expected[:, t] += interactions[:, s]
    torch.testing.assert_close(or_values(interactions), expected)


@pytest.mark.parametrize("players", [0, 1, 4])
def test_walsh_coefficients_equal_their_definition_and_are_undone(players: int) -> None:
    values = random_games(players)
    expected = torch.zeros_like(values)
    for s, t in itertools.product(range(2**players), repeat=2):
        expected[:, s] += (-1) ** (s & t).bit_count() * values[:, t] / 2**players
    torch.testing.assert_close(walsh(values), expected)
    torch.testing.assert_close(walsh_values(walsh(values)), values)


def test_squares_of_walsh_coefficients_are_shares_of_the_variance() -> None:
    values = random_games(6)
    torch.testing.assert_close(walsh(values)[:, 1:].square().sum(-1), values.var(-1, correction=0))


def test_and_interactions_follow_from_walsh_coefficients_and_back() -> None:
    values, n = random_games(4), 4
    sizes, dividends, coefficients = orders(n), mobius(values), walsh(values)
    for s in range(2**n):
        above = [u for u in range(2**n) if u & s == s]
        expected = (-2.0) ** int(sizes[s]) * coefficients[:, above].sum(-1)
        torch.testing.assert_close(dividends[:, s], expected)
        back = (-1.0) ** int(sizes[s]) * (dividends[:, above] * 2.0 ** -sizes[above].double()).sum(
            -1
        )
        torch.testing.assert_close(coefficients[:, s], back)


def test_the_transform_makes_n_passes_over_half_the_table() -> None:
    counts: list[int] = []

    class CountAdditions(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            result = func(*args, **(kwargs or {}))
            if func is torch.ops.aten.add_.Tensor:
                counts.append(result.numel())
            return result

    values = random_games(10, games=1)
    with CountAdditions():
        mobius(values)
    assert counts == [2**9] * 10


def test_integers_agree_exactly_with_sympy() -> None:
    values = torch.randint(-1000, 1000, (256,), generator=torch.Generator().manual_seed(0))
    expected = inverse_mobius_transform([Integer(value) for value in values.tolist()])
    assert mobius(values.double()).tolist() == [float(value) for value in expected]


@pytest.mark.parametrize("players", [2, 5, 8])
def test_dividends_and_shapley_values_agree_with_shapiq(players: int) -> None:
    shapiq = pytest.importorskip("shapiq")
    values = random_games(players, games=1)[0]

    def play(coalitions):  # type: ignore[no-untyped-def]
        return values[torch.as_tensor(coalitions).long() @ 2 ** torch.arange(players)].numpy()

    computer = shapiq.ExactComputer(play, players)
    theirs, dividends = computer("Moebius"), mobius(values)
    for size in range(1, players + 1):
        for coalition in itertools.combinations(range(players), size):
            assert dividends[subset(*coalition)] == pytest.approx(theirs[coalition], abs=1e-9)
    shapley = computer("SV").get_n_order_values(1)
    torch.testing.assert_close(shapley_values(dividends), torch.as_tensor(shapley))


def test_a_unanimity_game_has_one_interaction() -> None:
    dividends = mobius(unanimity(5, {subset(0, 2, 3): 2.5}))
    assert dividends.nonzero().tolist() == [[subset(0, 2, 3)]]
    assert dividends[subset(0, 2, 3)] == 2.5


def test_a_sum_of_unanimity_games_gives_back_its_coefficients() -> None:
    terms = {
        subset(1): 0.5,
        subset(0, 4): -2.0,
        subset(1, 2, 3): 4.0,
        subset(0, 1, 2, 3, 4, 5): 1.0,
    }
    expected = torch.zeros(64, dtype=torch.float64)
    for term, weight in terms.items():
        expected[term] = weight
    assert torch.equal(mobius(unanimity(6, terms)), expected)


def test_an_or_of_two_players_has_three_and_terms_or_one_or_term() -> None:
    values = game(2, lambda x: 3.0 * (x[0] or x[1]))
    assert mobius(values).tolist() == [0, 3, 3, -3]
    assert or_interactions(values).tolist() == [0, 0, 0, 3]


def test_an_and_of_three_players_alternates_by_order_in_or_terms() -> None:
    values = game(3, lambda x: 2.0 * (x[0] and x[1] and x[2]))
    assert or_interactions(values).tolist() == [0, 2, 2, -2, 2, -2, -2, 2]


def test_a_product_has_the_products_of_its_weights() -> None:
    weights = torch.tensor([0.5, -2.0, 3.0, 0.25], dtype=torch.float64)

    def product(x: list[int]) -> float:
        return float(torch.prod(1 + weights * torch.tensor(x)))

    expected = torch.where(membership(4), weights[:, None], 1.0).prod(0)
    torch.testing.assert_close(mobius(game(4, product)), expected)


def test_exclusive_or_has_powers_of_minus_two() -> None:
    values = game(6, lambda x: sum(x) % 2)
    sizes = orders(6)
    expected = torch.where(sizes > 0, (-2.0) ** (sizes - 1).double(), 0.0)
    assert torch.equal(mobius(values), expected)


def test_a_majority_of_three_in_four_has_orders_three_and_four() -> None:
    dividends = mobius(game(4, lambda x: float(sum(x) >= 3)))
    expected = torch.tensor([0.0, 0.0, 0.0, 1.0, -3.0], dtype=torch.float64)[orders(4)]
    assert torch.equal(dividends, expected)


def test_interactions_sum_to_the_gain_for_and_for_or_and_for_any_split() -> None:
    values, gamma = random_games(6), random_games(6, seed=1)
    gain = values[:, -1] - values[:, 0]
    split = mobius(values / 2 + gamma)[:, 1:] + or_interactions(values / 2 - gamma)[:, 1:]
    for interactions in (mobius(values)[:, 1:], or_interactions(values)[:, 1:], split):
        torch.testing.assert_close(interactions.sum(-1), gain)


def test_the_transform_is_linear() -> None:
    first, second = random_games(5), random_games(5, seed=1)
    torch.testing.assert_close(
        mobius(2 * first - 3 * second), 2 * mobius(first) - 3 * mobius(second)
    )


def test_a_dummy_player_is_in_no_interaction() -> None:
    values = random_games(4).unflatten(-1, (2, 2, 4))[:, :, :1].expand(-1, -1, 2, -1)
    dividends = mobius(values.flatten(1))
    assert dividends[:, membership(4)[2]].abs().max() == 0
    assert or_interactions(values.flatten(1))[:, membership(4)[2]].abs().max() < 1e-12


def test_symmetric_players_have_equal_interactions() -> None:
    dividends = mobius(game(4, lambda x: 1.7 ** (x[0] + x[1]) + x[2] * x[3] * (x[0] + x[1])))
    for others in (0, subset(2), subset(3), subset(2, 3)):
        assert dividends[others | 1] == pytest.approx(float(dividends[others | 2]))


def test_relabelled_players_have_relabelled_interactions() -> None:
    values, new_name = random_games(5), torch.tensor([3, 0, 4, 1, 2])
    renamed = (membership(5).long() * 2 ** new_name[:, None]).sum(0)
    relabelled = torch.empty_like(values)
    relabelled[:, renamed] = values
    torch.testing.assert_close(mobius(relabelled)[:, renamed], mobius(values))


def test_a_constant_changes_only_the_empty_set() -> None:
    values = random_games(5)
    for transform in (mobius, or_interactions):
        change = transform(values + 7) - transform(values)
        torch.testing.assert_close(change[:, 0], torch.full((3,), 7.0, dtype=torch.float64))
        assert change[:, 1:].abs().max() < 1e-12


def test_shapley_values_share_out_the_gain() -> None:
    values = random_games(7)
    total = shapley_values(mobius(values)).sum(-1)
    torch.testing.assert_close(total, values[:, -1] - values[:, 0])


def test_the_order_profile_sums_magnitudes_of_each_order_without_the_empty_set() -> None:
    dividends = torch.tensor([9.0, 1.0, -2.0, 0.5, 3.0, 0.0, -1.0, -4.0])
    assert order_profile(dividends).tolist() == [6.0, 1.5, 4.0]


def test_float32_scores_are_transformed_in_float64_and_left_as_they_are() -> None:
    values = random_games(6).float()
    before = values.clone()
    assert mobius(values).dtype == torch.float64
    assert torch.equal(values, before)


def test_the_transform_passes_gradients() -> None:
    values = random_games(3, games=2).requires_grad_()
    assert torch.autograd.gradcheck(mobius, (values,))


def test_a_table_that_is_no_power_of_two_is_refused() -> None:
    with pytest.raises(ValueError, match="12 entries, which is not a power of two"):
        mobius(torch.zeros(3, 12))


def test_more_than_sixteen_players_are_refused() -> None:
    with pytest.raises(ValueError, match="at most 16"):
        mobius(torch.zeros(1).expand(2**17))
    with pytest.raises(ValueError, match="choose fewer players"):
        orders(17)


def test_sixteen_players_are_accepted() -> None:
    assert mobius(random_games(16, games=1)).shape == (1, 2**16)
