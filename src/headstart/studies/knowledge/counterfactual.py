"""Does preserved knowledge matter? Scores rebuilt from parts of the knowledge, and without its players."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from headstart.metrics.interactions.counterfactual import (
    player_strengths,
    positive,
    random_part,
)
from headstart.metrics.interactions.decomposition import Decomposition, decompose, match_scale
from headstart.metrics.interactions.resampling import Estimate, Resampling, difference
from headstart.metrics.interactions.subsets import AllSubsets
from headstart.studies.knowledge.networks import Networks, Place, seeded
from headstart.studies.knowledge.params import Analysis
from headstart.studies.knowledge.rows import Rows

HIDDEN = 3
"""At most so many players are hidden."""
VARIANTS = ("raw", "normalised")
Margins = dict[str, Tensor]
"""Part of the knowledge, or hidden players -> v̂(N) of every draw [draws, images, levels]."""
CONTRASTS = {
    "of_preserved_minus_random": ("of_preserved", "of_random_as_preserved"),
    "of_new_minus_random": ("of_new", "of_random_as_new"),
    "without_preserved_minus_random_players": (
        "without_preserved_players",
        "without_random_players",
    ),
}


def add_counterfactuals(
    networks: Networks, options: Analysis, resampling: Resampling, init_epoch: str, rows: Rows
) -> None:
    """Add margin v̂(N) and the share of images with v̂(N) > 0 of every part, and with players hidden.

    The share is a lower bound on the accuracy where there are more than two classes. `normalised`
    brings the pretrained network to the scale of the fine-tuned one before both are compared.
    """
    for variant in VARIANTS:
        found = []
        for seed in networks.seeds:
            generator = seeded("parts", options.seed, seed, init_epoch)
            place = Place("finetuned", seed, init_epoch)
            tuned, values = networks.made(place), networks.scored(place)
            pretrained = networks.made(place._replace(role="probe"))
            if variant == "normalised":
                pretrained = match_scale(pretrained, tuned)
            parts, draws = decompose(pretrained, tuned), options.permutations
            subsets = networks.subsets
            found.append(
                _rebuilt(subsets, parts, tuned, values, draws, generator)
                | _hidden(subsets, parts, values, draws, generator)
            )
        names = {"init_epoch": init_epoch, "role": "finetuned"}
        names |= {"variant": variant, "condition": "measured"}
        changes: dict[str, Callable[[Tensor], Tensor]] = {
            "margin": torch.clone,
            "positive": positive,
        }
        for measure, change in changes.items():
            _add(
                {
                    name: resampling.mean_of_draws(
                        change(torch.stack([one[name] for one in found], dim=1))
                    )
                    for name in found[0]
                },
                measure,
                rows,
                names,
            )


def _add(estimates: dict[str, Estimate], measure: str, rows: Rows, names: dict[str, Any]) -> None:
    for name, (first, second) in CONTRASTS.items():
        estimates[name] = difference(estimates[first], estimates[second])
    for name, estimate in estimates.items():
        hidden = range(1, estimate.points.shape[-1] + 1)
        levels = [*hidden] if name.startswith("without") else [None]
        rows.add(f"{measure}_{name}", estimate, levels, **names)


def _rebuilt(
    subsets: AllSubsets,
    parts: Decomposition,
    tuned: Tensor,
    values: Tensor,
    draws: int,
    generator: torch.Generator,
) -> Margins:
    """Return v̂(N) from every part of the knowledge, and from random interactions as strong."""

    empty = subsets.empty(values)

    def ends(tables: list[Tensor]) -> Tensor:
        return torch.stack([subsets.rebuilt(table, empty) for table in tables])

    found = {"of_everything": ends([tuned])}
    for name in ("preserved", "new"):
        part = getattr(parts, name)
        random = [random_part(tuned, part, generator, subsets.sizes) for _ in range(draws)]
        found |= {f"of_{name}": ends([part]), f"of_random_as_{name}": ends(random)}
    return found


def _hidden(
    subsets: AllSubsets,
    parts: Decomposition,
    values: Tensor,
    draws: int,
    generator: torch.Generator,
) -> Margins:
    """Return v(x_T) without the k players strongest in K_preserve, and without k at random, by k."""
    ranking = player_strengths(parts.preserved, subsets.members)
    counts = range(1, min(HIDDEN, ranking.shape[-1]) + 1)

    def without(order: Tensor) -> Tensor:
        scores = [subsets.without(values, order, k) for k in counts]
        missing = order.isnan().any(-1, keepdim=True)
        return torch.stack(scores, dim=-1).masked_fill(missing, torch.nan)

    random = [
        without(torch.rand(ranking.shape, generator=generator, dtype=torch.float64))
        for _ in range(draws)
    ]
    return {
        "without_preserved_players": without(ranking).unsqueeze(0),
        "without_random_players": torch.stack(random),
    }
