"""Shares over images, made as the study makes them; random interactions to make them of."""

from __future__ import annotations

import torch
from torch import Tensor

from headstart.metrics.interactions.resampling import Estimate, Resampling
from headstart.metrics.interactions.shares import Share


def over_images(found: Share) -> Estimate:
    """Return the ratio of sums at every level."""
    resampling = Resampling(len(found.parts), 1, torch.Generator())
    return resampling.ratio(*(table.unsqueeze(0) for table in found))


def total(found: Share) -> float:
    """Return the ratio of sums over all orders."""
    return float(over_images(found).points[0, 0])


def mean(found: Share) -> float:
    """Return the mean of ratios over all orders."""
    resampling = Resampling(len(found.parts), 1, torch.Generator())
    return float(resampling.mean_of_ratios(*(table.unsqueeze(0) for table in found)).points[0, 0])


def random_tables(count: int, images: int = 5, players: int = 6, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, images, 2**players, generator=generator, dtype=torch.float64)


def independent_noise(deviation: float, players: int) -> Tensor:
    """Return σ·2^{m/2} for m = 1 … n: the deviation of I(S) under independent noise σ in every v(x_T)."""
    return deviation * 2 ** (torch.arange(1, players + 1, dtype=torch.float64) / 2)
