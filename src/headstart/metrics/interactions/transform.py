"""Game-theoretic interactions: Möbius and Walsh transforms of a score on all 2^n masked inputs.

A table over subsets keeps its 2^n entries on the last axis; bit i of an entry's index says whether
player i belongs to the subset. Entry 0 is the empty set, entry 2^n − 1 the whole set N. Leading
axes are batch axes.
"""

import torch
from jaxtyping import Bool, Float, Float64, Int64
from torch import Tensor

MAX_PLAYERS = 16


def count_players(table: Tensor) -> int:
    """Return n for a table over 2^n subsets; raise `ValueError` for other lengths and n > 16."""
    subsets = table.shape[-1] if table.ndim else 0
    if subsets < 1 or subsets & (subsets - 1):
        raise ValueError(
            f"the last axis has {subsets} entries, which is not a power of two: "
            "give one value for each of the 2^n subsets of n players"
        )
    players = subsets.bit_length() - 1
    check_player_count(players)
    return players


def check_player_count(players: int) -> None:
    """Raise `ValueError` unless 0 ≤ n ≤ 16: a table over subsets doubles with every player."""
    if not 0 <= players <= MAX_PLAYERS:
        raise ValueError(
            f"{players} players are requested, at most {MAX_PLAYERS} are possible "
            "(2^n masked inputs each): choose fewer players, or join neighbouring ones"
        )


def orders(players: int) -> Int64[Tensor, " subsets"]:
    """Return the order m = |S| of every subset of n players, in the order of a table."""
    check_player_count(players)
    sizes = torch.zeros(1, dtype=torch.int64)
    for _ in range(players):
        sizes = torch.cat([sizes, sizes + 1])
    return sizes


def membership(players: int) -> Bool[Tensor, "players subsets"]:
    """Return for every player i and subset S whether i ∈ S."""
    check_player_count(players)
    subsets = torch.arange(2**players)
    return (subsets >> torch.arange(players)[:, None]) & 1 == 1


Sizes = Int64[Tensor, " subsets"] | None
"""The order of every column of a table, ∅ first and the highest last; None: of all 2^n subsets."""


def orders_of(table: Tensor, sizes: Sizes = None) -> Int64[Tensor, " subsets"]:
    """Return the orders of a table's columns, on its device."""
    return (orders(count_players(table)) if sizes is None else sizes).to(table.device)


def mobius(values: Float[Tensor, "*batch subsets"]) -> Float64[Tensor, "*batch subsets"]:
    """Return the AND interactions (Harsanyi dividends) I(S) = Σ_{T⊆S} (−1)^{|S|−|T|} v(x_T).

    `values` holds v(x_T), the score with the players in T visible; I(∅) = v(x_∅). The transform
    runs in float64 with n·2^(n−1) subtractions per table. Units are those of v. Source: arXiv
    2410.08455, eq. 2.
    """
    return _add_lower_half(values, -1)


def zeta(dividends: Float[Tensor, "*batch subsets"]) -> Float64[Tensor, "*batch subsets"]:
    """Return the scores v(x_T) = Σ_{S⊆T} I(S), the inverse of `mobius`."""
    return _add_lower_half(dividends, 1)


def _add_lower_half(table: Tensor, factor: int) -> Tensor:
    players = count_players(table)
    result = table.to(torch.float64, copy=True, memory_format=torch.contiguous_format)
    for player in range(players):
        pairs = result.view(*table.shape[:-1], -1, 2, 2**player)
        pairs[..., 1, :].add_(pairs[..., 0, :], alpha=factor)
    return result


def walsh(values: Float[Tensor, "*batch subsets"]) -> Float64[Tensor, "*batch subsets"]:
    """Return the Walsh (Fourier) coefficients ŵ(S) = 2^{−n} Σ_T (−1)^{|S∩T|} v(x_T).

    Their basis is orthogonal: Σ_{S≠∅} ŵ(S)² is the variance of v over masks, and independent noise σ
    in v has variance 2^{−n}σ² in every ŵ(S), where it has 2^{|S|}σ² in I(S) = (−2)^{|S|} Σ_{U⊇S} ŵ(U).
    """
    players = count_players(values)
    result = values.to(torch.float64, copy=True, memory_format=torch.contiguous_format)
    for player in range(players):
        pairs = result.view(*values.shape[:-1], -1, 2, 2**player)
        low, high = pairs[..., 0, :].clone(), pairs[..., 1, :].clone()
        pairs[..., 0, :], pairs[..., 1, :] = (low + high) / 2, (low - high) / 2
    return result


def walsh_values(
    coefficients: Float[Tensor, "*batch subsets"],
) -> Float64[Tensor, "*batch subsets"]:
    """Return the scores v(x_T) = Σ_S (−1)^{|S∩T|} ŵ(S), the inverse of `walsh`."""
    return walsh(coefficients) * coefficients.shape[-1]


def or_interactions(values: Float[Tensor, "*batch subsets"]) -> Float64[Tensor, "*batch subsets"]:
    """Return I_or(S) = −Σ_{T⊆S} (−1)^{|S|−|T|} v(x_{N∖T}), and I_or(∅) = v(x_∅).

    The index of N∖T is the complement of that of T, so this is the negated transform of the
    reversed table. Source: the AND–OR extension by the authors' group, which arXiv 2410.08455
    builds on.
    """
    interactions = -mobius(values.flip(-1))
    return torch.cat([values[..., :1].to(torch.float64), interactions[..., 1:]], dim=-1)


def or_values(interactions: Float[Tensor, "*batch subsets"]) -> Float64[Tensor, "*batch subsets"]:
    """Return v_or(x_T) = I_or(∅) + Σ_{S∩T≠∅} I_or(S), the inverse of `or_interactions`."""
    untouched = zeta(without_empty_set(interactions)).flip(-1)  # Σ over ∅ ≠ S ⊆ N∖T
    return interactions[..., :1] + untouched[..., :1] - untouched


def without_empty_set(table: Float[Tensor, "*batch subsets"]) -> Float[Tensor, "*batch subsets"]:
    """Return the table with the entry of S = ∅ set to zero; no measure of knowledge counts I(∅)."""
    return torch.cat([torch.zeros_like(table[..., :1]), table[..., 1:]], dim=-1)


def strength(interactions: Float[Tensor, "*batch subsets"]) -> Float[Tensor, "*batch"]:
    """Return Σ_{S≠∅} |I(S)|."""
    return without_empty_set(interactions).abs().sum(-1)


def order_profile(
    interactions: Float[Tensor, "*batch subsets"], sizes: Sizes = None
) -> Float[Tensor, "*batch order"]:
    """Return Σ_{|S|=m} |I(S)| for m = 1 … n; the column of order m has index m − 1.

    With K_preserve, K_discard or K_new in place of I, the mean over images is Preserve^(m),
    Discard^(m) or New^(m) of arXiv 2410.08455. For the positive and the negative part alone, clamp
    the table first.
    """
    sizes = orders_of(interactions, sizes)
    sums = interactions.new_zeros(*interactions.shape[:-1], int(sizes[-1]) + 1)
    return sums.index_add(-1, sizes, interactions.abs())[..., 1:]


def shapley_values(
    dividends: Float[Tensor, "*batch subsets"],
    members: Bool[Tensor, "players subsets"] | None = None,
) -> Float64[Tensor, "*batch players"]:
    """Return φ_i = Σ_{S∋i} I(S)/|S|; their sum is v(N) − v(∅). Source: Harsanyi (1963).

    `members` says which players a column has, where the table is not over all 2^n subsets.
    """
    members = membership(count_players(dividends)) if members is None else members
    share = dividends.to(torch.float64) / members.sum(0).clamp(min=1).to(dividends.device)
    return share @ members.to(share).mT
