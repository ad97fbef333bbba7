"""How fast, directly and stably a run's interactions approach a target, from checkpoints of the
run.

arXiv 2410.08455 compares every run with its own end state, so that each of its curves ends at 1. A
target common to all runs, such as the fine-tuned end state, makes the curves comparable; report
both.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from headstart.metrics.interactions.shares import Share
from headstart.metrics.interactions.transform import strength

Trajectory = Float[Tensor, "times images subsets"]
Curves = Float[Tensor, "*batch times"]
Epochs = Float[Tensor, " times"] | Int[Tensor, " times"]


def speed(similarity: Curves, epochs: Epochs) -> Float[Tensor, "*batch"]:
    """Return the area under J over epochs scaled to [0, 1], by trapezoids; NaN propagates."""
    _check_epochs(epochs)
    times = (epochs - epochs[0]) / (epochs[-1] - epochs[0])
    return torch.trapezoid(similarity, times.to(similarity))


def time_to(similarity: Curves, epochs: Epochs, level: float) -> Float[Tensor, "*batch"]:
    """Return the epoch of the first checkpoint with J ≥ level (the study uses 0.5 and 0.8); NaN if
    none has.
    """
    _check_epochs(epochs)
    reached = similarity >= level
    first = epochs.to(similarity)[reached.to(torch.int8).argmax(-1)]
    return first.where(reached.any(-1), torch.nan)


def stability(similarity: Curves) -> Float[Tensor, "*batch"]:
    """Return Σ_t max(0, J_t − J_{t+1}), the sum of all drops; 0 for a curve that never falls, lower
    is better.
    """
    return -similarity.diff().clamp(max=0).sum(-1)


def directness(trajectory: Trajectory) -> Share:
    """Return ‖I_end − I_0‖₁ of Σ_t ‖I_{t+1} − I_t‖₁ for every image [images, 1]: their ratio is 1 for
    a straight path, undefined for no movement.

    More checkpoints show more of the detours: compare runs with the same checkpoints only.
    """
    if len(trajectory) < 2:
        raise ValueError("a path needs at least two checkpoints")
    steps = strength(trajectory.diff(dim=0)).sum(0)
    return Share(strength(trajectory[-1] - trajectory[0]).unsqueeze(-1), steps.unsqueeze(-1))


def _check_epochs(epochs: Tensor) -> None:
    if len(epochs) < 2 or not bool((epochs.diff() > 0).all()):
        raise ValueError(f"the epochs are {epochs.tolist()}: give two or more, in rising order")
