"""Are interactions few, and do they match the scores of all masks? And how far does noise reach?"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from headstart.metrics.interactions.resampling import Estimate, Resampling, difference
from headstart.metrics.interactions.salience import (
    largest,
    match_error,
    noise_floor,
    sparsity_curve,
)
from headstart.metrics.interactions.transform import mobius
from headstart.studies.knowledge.networks import SCRATCH, Networks, Place, Role, seeded
from headstart.studies.knowledge.params import Analysis
from headstart.studies.knowledge.rows import Rows

ROLES: tuple[Role, ...] = ("probe", "finetuned", "scratch")
POINTS = 24
"""Ranks at which the curve is read, evenly on a logarithmic scale."""
TENTH = "explained_by_strongest_tenth"
ABOVE = "above the salience threshold"
CONSTANT = "no salience threshold: constant on every image"


def add_sparsity(
    networks: Networks, options: Analysis, resampling: Resampling, init_epoch: str, rows: Rows
) -> pd.DataFrame:
    """Return curves by number of interactions kept, and add what the strongest tenth explains.

    Columns: role, init_epoch, kept (the k strongest), images (of all networks, without
    those whose scores are constant), strength (|I| of rank k relative to the largest, median over
    them) with its quartiles, explained (share of the variance of v over masks that they explain) with
    its interval, and the same for scores permuted over masks.
    """
    subsets = 2**networks.count - 1
    kept = ranks(subsets)
    tenth = kept.index(max(1, round(subsets / 10)))
    parts = []
    for role in ROLES:
        first_epoch = SCRATCH if role == "scratch" else init_epoch
        values = [networks.scored(Place(role, seed, first_epoch)) for seed in networks.seeds]
        curves = torch.stack([sparsity_curve(mobius(v))[:, [k - 1 for k in kept]] for v in values])
        generator = seeded("dealt", options.seed, role, init_epoch)
        explained = _explained(values, kept, resampling, lambda v: v)
        permuted = _explained(values, kept, resampling, lambda v, g=generator: _permuted(v, g))  # type: ignore[misc]
        parts.append(
            _curve_table(role, init_epoch, kept, curves, explained, permuted, options.confidence)
        )
        names: dict[str, Any] = {"init_epoch": init_epoch, "role": role, "variant": "raw"}
        at, null = explained.at([tenth]), permuted.at([tenth])
        rows.add(TENTH, at, condition="measured", **names)
        rows.add(TENTH, null, condition="null_permuted_masks", **names)
        rows.add(TENTH, difference(at, null), condition="over_permuted_masks", **names)
    return pd.concat(parts, ignore_index=True)


def ranks(subsets: int) -> list[int]:
    """Return ranks 1 … subsets, evenly on a logarithmic scale, and a tenth of them."""
    exponents = torch.linspace(0, 1, POINTS, dtype=torch.float64)
    found = {round(float(subsets**e)) for e in exponents}
    return sorted({*found, max(1, round(subsets / 10))})


def _explained(
    values: list[Tensor],
    kept: list[int],
    resampling: Resampling,
    change: Callable[[Tensor], Tensor],
) -> Estimate:
    """Return 1 − Σ error² / Σ (v − mean)² over masks and images, for every number kept."""
    parts, wholes = [], []
    for table in values:
        table = change(table)
        variance = table.var(-1, correction=0).unsqueeze(-1)
        dividends = mobius(table)
        error = torch.cat([match_error(part, kept) for part in dividends.split(8)])
        # I(∅) is kept but k = 0 leaves the mean square around v(x_∅): the variance is the smaller yardstick.
        parts.append(variance - error.square())
        wholes.append(variance.expand_as(error))
    return resampling.ratio(torch.stack(parts), torch.stack(wholes))


def _permuted(values: Tensor, generator: torch.Generator) -> Tensor:
    """Return every image's scores permuted at random over its masks."""
    return values.gather(-1, torch.rand(values.shape, generator=generator).argsort(-1))


def _curve_table(
    role: Role,
    init_epoch: str,
    kept: list[int],
    curves: Tensor,
    explained: Estimate,
    permuted: Estimate,
    confidence: float,
) -> pd.DataFrame:
    flat = curves.flatten(0, 1)
    flat = flat[~flat.isnan().any(-1)]
    # A row of NaN has NaN for quartiles: that of no image.
    shown = flat if len(flat) else flat.new_full((1, flat.shape[-1]), torch.nan)
    quartiles = shown.quantile(shown.new_tensor([0.25, 0.5, 0.75]), dim=0)
    table = {"role": role, "init_epoch": init_epoch, "kept": kept, "images": len(flat)}
    names = ("strength_low", "strength", "strength_high")
    numbers = dict(zip(names, quartiles, strict=True))
    for name, estimate in (("explained", explained), ("permuted_explained", permuted)):
        numbers[name] = estimate.pooled().points[0]
        numbers[f"{name}_low"], numbers[f"{name}_high"] = estimate.interval(confidence)
    return pd.DataFrame(table | {name: value.tolist() for name, value in numbers.items()})


def add_noise(networks: Networks, options: Analysis, init_epoch: str, rows: Rows) -> None:
    """Add the noise of every order and the threshold of salience; an order above it says nothing.

    The threshold is the lowest of the networks, and of the images where each has its own (scope
    `sample`); constant networks and images have none.
    """
    salience = options.salience
    for role in ROLES:
        first_epoch = SCRATCH if role == "scratch" else init_epoch
        places = [Place(role, seed, first_epoch) for seed in networks.seeds]
        floors = [noise_floor(*pair) for pair in map(networks.repeated, places) if pair]
        found = torch.stack([largest(networks.made(place), salience.scope) for place in places])
        varied = found[found > 0]
        threshold = salience.fraction * float(varied.min()) if len(varied) else math.nan
        names = {"init_epoch": init_epoch, "role": role}
        names |= {"variant": "raw", "condition": "measured"}
        constant = "" if len(varied) else CONSTANT
        rows.add_number("salience_threshold", threshold, reason=constant, **names)
        if not floors:
            rows.add_missing("noise", "no image was evaluated twice (repeat_images: 0)", **names)
            continue
        for order, noise in enumerate(torch.stack(floors).amax(0).tolist(), start=1):
            reason = constant or (ABOVE if noise > threshold else "")
            rows.add_number("noise", noise, order=order, reason=reason, **names)
