"""Does a part of the knowledge matter? Scores rebuilt from it alone, and scores without its players."""

import torch
from jaxtyping import Bool, Float, Float64, Int
from torch import Tensor

from headstart.metrics.interactions.transform import (
    Sizes,
    count_players,
    order_profile,
    orders_of,
    shapley_values,
    without_empty_set,
    zeta,
)

Table = Float[Tensor, "*batch subsets"]


def reconstructed_scores(
    part: Table, empty_score: Float[Tensor, "*batch"]
) -> Float64[Tensor, "*batch subsets"]:
    """Return v̂(x_T) = v(x_∅) + Σ_{∅≠S⊆T} K(S), the log-odds if the network knew nothing but K.

    The last entry is the reconstructed log-odds of the complete input, its margin.
    """
    return zeta(without_empty_set(part)) + empty_score.unsqueeze(-1)


def positive(scores: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Return 1 where v > 0, that is p(y*|x) > 1/2, else 0; NaN where v is.

    Its mean over images is the accuracy with two classes, a lower bound on it with more.
    """
    return (scores > 0).to(scores).masked_fill(scores.isnan(), torch.nan)


def random_part(
    interactions: Table, part: Table, generator: torch.Generator, sizes: Sizes = None
) -> Table:
    """Return randomly chosen interactions as strong as a part of the knowledge, Σ|·|, at every order.

    Subsets of an order enter whole in random order until the strength of the part at that order, or all
    that there is, is reached; the last one enters in part. With the fine-tuned network's interactions
    it is the control for K_preserve and K_new: interactions of high order cancel each other, so a
    control of equal total strength at other orders would differ for that alone.
    """
    sizes = orders_of(interactions, sizes)
    keys = torch.rand(
        interactions.shape, generator=generator, dtype=torch.float64, device=generator.device
    )
    order = (keys.to(sizes.device) + sizes).argsort(-1)
    candidates = without_empty_set(interactions).gather(-1, order)
    magnitudes = candidates.abs()
    # Both sums run over orders one after the other: an order begins where all lower ones end.
    available = torch.nn.functional.pad(order_profile(interactions, sizes), (1, 0))
    wanted = torch.nn.functional.pad(order_profile(part, sizes), (1, 0)).minimum(available)
    begun = (available.cumsum(-1) - available)[..., sizes.sort().values]
    before = magnitudes.cumsum(-1) - magnitudes - begun
    room = (wanted[..., sizes.sort().values] - before).clamp(min=0)
    return torch.zeros_like(interactions).scatter(
        -1, order, candidates.sign() * torch.minimum(room, magnitudes)
    )


def player_strengths(
    part: Table, members: Bool[Tensor, "players subsets"] | None = None
) -> Float64[Tensor, "*batch players"]:
    """Return Σ_{S∋i} |K(S)|/|S| for every player i: its share of a part of the knowledge."""
    return shapley_values(part.abs(), members)


def scores_without_players(
    values: Table, ranking: Float[Tensor, "*batch players"], count: int
) -> Float[Tensor, "*batch"]:
    """Return v(x_T) where T lacks the `count` players that rank highest; no forward pass is needed.

    Rank by `player_strengths` of K_preserve, and by random numbers for the control.
    """
    players = count_players(values)
    if ranking.shape[-1] != players or not 0 <= count <= players:
        raise ValueError(
            f"{ranking.shape[-1]} players are ranked and {count} are to be hidden, "
            f"but the scores are those of {players} players"
        )
    hidden: Int[Tensor, "*batch count"] = ranking.topk(count, dim=-1).indices
    remaining = values.shape[-1] - 1 - (2**hidden).sum(-1)
    return values.gather(-1, remaining.unsqueeze(-1)).squeeze(-1)
