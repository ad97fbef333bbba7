"""Does a part of the knowledge matter? Scores rebuilt from it alone, and scores without its
players.
"""

import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from headstart.metrics.interactions.transform import (
    count_players,
    shapley_values,
    strength,
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
    interactions: Table, total: Float[Tensor, "*batch"], generator: torch.Generator
) -> Table:
    """Return randomly chosen interactions with Σ|I(S)| equal to `total` in every sample.

    Subsets enter whole in random order until the total is reached; the last one enters in part.
    With the fine-tuned network's interactions and the strength of K_preserve it is the control for
    K_preserve.
    """
    count_players(interactions)
    available = strength(interactions)
    if bool((total > available * (1 + 1e-9)).any()):
        raise ValueError(
            "more strength is requested than the interactions have: compare with a part of them"
        )
    keys = torch.rand(
        interactions.shape, generator=generator, dtype=torch.float64, device=generator.device
    )
    order = keys.argsort(-1).to(interactions.device)
    candidates = without_empty_set(interactions).gather(-1, order)
    magnitudes = candidates.abs()
    before = magnitudes.cumsum(-1) - magnitudes
    entering = torch.minimum((total.unsqueeze(-1) - before).clamp(min=0), magnitudes)
    return torch.zeros_like(interactions).scatter(-1, order, candidates.sign() * entering)


def player_strengths(part: Table) -> Float64[Tensor, "*batch players"]:
    """Return Σ_{S∋i} |K(S)|/|S| for every player i: its share of a part of the knowledge."""
    return shapley_values(part.abs())


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
