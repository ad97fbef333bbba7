"""Are interactions few, and do they match the scores of all masks? And how far does noise reach?"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from headstart.metrics.interactions.resampling import Estimate, Resampling, difference
from headstart.metrics.interactions.salience import (
    explained_by_and,
    explained_by_walsh,
    largest,
    noise_floor,
    sparsity_curve,
)
from headstart.metrics.interactions.shares import Share
from headstart.studies.knowledge.compare import Measures
from headstart.studies.knowledge.networks import SCRATCH, Networks, Place, Role, seeded
from headstart.studies.knowledge.params import Analysis
from headstart.studies.knowledge.rows import Rows

ROLES: tuple[Role, ...] = ("probe", "finetuned", "scratch")
POINTS = 24
"""Ranks at which the curve is read, evenly on a logarithmic scale."""
CURVE, MOST = 256, 512
"""So many terms are fitted for the curve, at most so many for a tenth."""
ALL_MASKS = (
    "needs the scores of all 2^n masks; some were scored, to which Walsh coefficients are fitted"
)
TENTH = "explained_by_strongest_tenth"
ABOVE = "above the salience threshold"
CONSTANT = "no salience threshold: constant on every image"
BASES: dict[str, Callable[[Tensor, list[int]], Tensor]] = {
    "raw": explained_by_and,
    "walsh": explained_by_walsh,
}
"""Variant of the interactions -> what k of them explain."""


def add_sparsity(
    networks: Networks, options: Analysis, resampling: Resampling, init_epoch: str, rows: Rows
) -> pd.DataFrame:
    """Return curves by number of interactions kept, and add what the strongest tenth explains.

    Columns: role, init_epoch, kept (the k strongest), images (of all networks, without
    those whose scores are constant), strength (|I| of rank k relative to the largest, median over
    them) with its quartiles; explained: the share of the variance of v over masks that k AND terms
    explain, fitted by least squares, with its interval; the same for scores permuted over masks, and
    (explained_walsh) for Walsh coefficients. Where some masks were scored, there are only Walsh
    coefficients, and what they explain is of the variance over masks that their fit never saw.
    """
    subsets = len(networks.subsets.sizes) - 1
    kept = ranks(subsets)
    tenth = kept.index(few(subsets))
    some = networks.masks is not None
    parts = []
    for role in ROLES:
        first_epoch = SCRATCH if role == "scratch" else init_epoch
        places = [Place(role, seed, first_epoch) for seed in networks.seeds]
        values = [networks.scored(place) for place in places]
        found, nulls = {}, {}
        if some:
            found["walsh"] = resampling.ratio(*explained_by_fits(networks, places, kept))
        else:
            generator = seeded("dealt", options.seed, role, init_epoch)
            permuted = [scores_permuted(table, generator) for table in values]
            found, nulls = (
                {name: resampling.ratio(*explained(tables, kept, name)) for name in BASES}
                for tables in (values, permuted)
            )
        interactions = [networks.subsets.mobius(table) for table in values]
        parts.append(_curve_table(interactions, kept, found, nulls, options.confidence))
        parts[-1] = parts[-1].assign(role=role, init_epoch=init_epoch)
        for variant in BASES:
            names: dict[str, Any] = {"init_epoch": init_epoch, "role": role, "variant": variant}
            if some:
                rows.add_missing(TENTH, ALL_MASKS, condition="measured", **names)
                continue
            pair = (each[variant].at([tenth]) for each in (found, nulls))
            for (metric, condition), one in of_a_tenth(*pair).items():
                rows.add(metric, one, condition=condition, **names)
    return pd.concat(parts, ignore_index=True)


def of_a_tenth(at: Estimate, by_chance: Estimate) -> Measures:
    """Return what the strongest tenth explains, of scores permuted over masks too, and the difference."""
    return {
        (TENTH, "measured"): at,
        (TENTH, "null_permuted_masks"): by_chance,
        (TENTH, "over_permuted_masks"): difference(at, by_chance),
    }


def few(subsets: int) -> int:
    """Return a tenth of the interactions, at most `MOST`."""
    return min(max(1, round(subsets / 10)), MOST)


def ranks(subsets: int) -> list[int]:
    """Return ranks from 1 on, evenly on a logarithmic scale, and a tenth of the subsets."""
    exponents = torch.linspace(0, 1, POINTS, dtype=torch.float64)
    found = {round(float(max(few(subsets), min(subsets, CURVE)) ** e)) for e in exponents}
    return sorted({*found, few(subsets)})


def explained(values: Sequence[Tensor], kept: list[int], basis: str) -> Share:
    """Return what k interactions explain of the variance of v over masks [seeds, images, kept]."""
    found = [torch.cat([BASES[basis](p, kept) for p in table.split(8)]) for table in values]
    wholes = [table.var(-1, correction=0).unsqueeze(-1).expand(-1, len(kept)) for table in values]
    return Share(torch.stack(found), torch.stack(wholes))


def explained_by_fits(networks: Networks, places: Sequence[Place], kept: list[int]) -> Share:
    """Return what the k largest fitted Walsh coefficients explain of the variance over unseen masks."""
    squares = [networks.scored(place)[:, 1:].square() for place in places]
    found = [each.sort(-1, descending=True).values.cumsum(-1) for each in squares]
    columns = [k - 1 for k in kept]
    wholes = torch.stack([networks.variance(place) for place in places])
    parts = torch.stack([each[:, columns] for each in found])
    return Share(parts, wholes.unsqueeze(-1).expand(-1, -1, len(kept)))


def scores_permuted(values: Tensor, generator: torch.Generator) -> Tensor:
    """Return every image's scores permuted at random over its masks."""
    return values.gather(-1, torch.rand(values.shape, generator=generator).argsort(-1))


def _curve_table(
    interactions: list[Tensor],
    kept: list[int],
    found: dict[str, Estimate],
    nulls: dict[str, Estimate],
    confidence: float,
) -> pd.DataFrame:
    curves = torch.cat([sparsity_curve(table)[:, [k - 1 for k in kept]] for table in interactions])
    there = curves[~curves.isnan().any(-1)]
    # A row of NaN has NaN for quartiles: that of no image.
    shown = there if len(there) else curves.new_full((1, len(kept)), torch.nan)
    quartiles = shown.quantile(shown.new_tensor([0.25, 0.5, 0.75]), dim=0)
    names = ("strength_low", "strength", "strength_high")
    numbers = dict(zip(names, quartiles, strict=True))
    named = {
        f"{permuted}explained{ending}": of.get(variant)
        for permuted, of in (("", found), ("permuted_", nulls))
        for variant, ending in (("raw", ""), ("walsh", "_walsh"))
    }
    for name, estimate in named.items():
        if estimate is None:
            nothing = torch.full((len(kept),), torch.nan)
            numbers |= dict.fromkeys((name, f"{name}_low", f"{name}_high"), nothing)
            continue
        numbers[name] = estimate.pooled().points[0]
        numbers[f"{name}_low"], numbers[f"{name}_high"] = estimate.interval(confidence)
    columns = {name: value.tolist() for name, value in numbers.items()}
    return pd.DataFrame({"kept": kept, "images": len(there), **columns})


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
            once = "no image was evaluated twice (repeat_images: 0)"
            rows.add_missing("noise", once if networks.masks is None else ALL_MASKS, **names)
            continue
        for order, noise in enumerate(torch.stack(floors).amax(0).tolist(), start=1):
            reason = constant or (ABOVE if noise > threshold else "")
            rows.add_number("noise", noise, order=order, reason=reason, **names)
