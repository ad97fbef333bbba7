"""AND–OR split: the fewest AND and OR interactions, by L1 norm, that together explain a score.

With v' = v − δ and v_and = v'/2 + γ, v_or = v'/2 − γ, the split minimises ‖I_and‖₁ + ‖I_or‖₁ over
S ≠ ∅, subject to |δ_T| ≤ ε = fraction · |v(N) − v(∅)|. Every network has a γ of its own.
In interaction space, with w = Mv' (M the Möbius transform), θ = MPγ (P the complement) and S ≠ ∅,

    I_and = w/2 + Qθ    and    I_or = θ − Qw/2,    where (Qx)(S) = (−1)^|S| Σ_{T⊇S} x(T).

Source: the AND–OR extension by the authors of arXiv 2410.08455.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from headstart.metrics.interactions.and_or_solver import Problem, solve
from headstart.metrics.interactions.transform import count_players, mobius, orders

TOLERANCE = 1e-3
"""The relative duality gap up to which a split counts as solved."""


class AndOrSplit(NamedTuple):
    """The split of every game in the batch, and how near it is to the optimum."""

    and_interactions: Float64[Tensor, "*batch subsets"]
    """I_and, with all singletons and the constant v'(∅) merged into it."""
    or_interactions: Float64[Tensor, "*batch subsets"]
    """I_or, zero at S = ∅ and at singletons, where AND and OR are the same function."""
    residual: Float64[Tensor, "*batch subsets"]
    """δ, the part of v that neither explains."""
    objective: Float64[Tensor, "*batch"]
    """The L1 norm reached, before singletons are merged."""
    gap: Float64[Tensor, "*batch"]
    """(objective − lower bound) / objective; above the tolerance, the split did not converge."""
    iterations: int


def and_or_split(
    values: Float[Tensor, "*batch subsets"],
    residual_fraction: float = 0.0,
    tolerance: float = TOLERANCE,
    max_iterations: int = 5000,
) -> AndOrSplit:
    """Return the AND–OR split of v(x_T) of every game, each with its own γ.

    The solver stops when the relative duality gap of every game is within the tolerance, else after
    `max_iterations`; `gap` tells. Published settings of ε/|v(N) − v(∅)| lie between 0.02 and 0.04;
    0 switches δ off.
    """
    if residual_fraction < 0 or tolerance <= 0 or max_iterations < 1:
        raise ValueError(
            "the residual fraction must be 0 or more, tolerance and iterations positive"
        )
    if not bool(values.isfinite().all()):
        raise ValueError("the scores hold NaN or infinite values: leave those games out")
    players = count_players(values)
    table = values.to(torch.float64)
    scale = _scale(table)
    centred = (table - table[..., :1]) / scale
    bound = residual_fraction * centred[..., -1:].abs()
    problem = Problem(centred, bound, residual_fraction == 0)
    certificate, iterations = solve(problem, tolerance, max_iterations)
    sizes = orders(players).to(table.device)
    conjunctions = certificate.and_interactions * scale
    disjunctions = certificate.or_interactions * scale
    conjunctions = torch.where(sizes == 1, conjunctions + disjunctions, conjunctions)
    explained = certificate.scores * scale + table[..., :1]
    return AndOrSplit(
        torch.cat([explained[..., :1], conjunctions[..., 1:]], dim=-1),
        disjunctions.where(sizes > 1, 0),
        table - explained,
        certificate.norm * scale[..., 0],
        certificate.gap,
        iterations,
    )


def _scale(table: Tensor) -> Tensor:
    """The mean |I_and(S)| of a game without a split, 1 where it is zero: the solver's unit."""
    if table.shape[-1] == 1:
        raise ValueError("a game without players has nothing to split: give at least one player")
    mean = mobius(table)[..., 1:].abs().mean(-1, keepdim=True)
    return torch.where(mean > 0, mean, 1.0)
