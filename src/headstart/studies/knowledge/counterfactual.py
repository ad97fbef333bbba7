"""Does preserved knowledge matter? Scores rebuilt from parts of the knowledge, and without its players."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from headstart.metrics.interactions.counterfactual import (
    player_strengths,
    positive,
    random_part,
    reconstructed_scores,
    scores_without_players,
)
from headstart.metrics.interactions.decomposition import Decomposition, decompose, match_scale
from headstart.metrics.interactions.resampling import Estimate, Resampling, difference
from headstart.studies.knowledge.networks import Networks, Place, seeded
from headstart.studies.knowledge.params import Analysis
from headstart.studies.knowledge.rows import Rows

HIDDEN = 3
"""At most so many players are hidden."""
CONTRASTS = {
    "preserved_minus_random": ("preserved", "random_as_preserved"),
    "new_minus_random": ("new", "random_as_new"),
}
VARIANTS = ("raw", "normalised")
MEASURES = ("margin", "positive")
Measures = dict[str, dict[str, Tensor]]
"""Part of the knowledge, or players -> margin and positive -> [draws, images, levels]."""


def add_counterfactuals(
    networks: Networks, options: Analysis, resampling: Resampling, init_epoch: str, rows: Rows
) -> None:
    """Add margin v̂(N) and the share of images with v̂(N) > 0 of every part, and with players hidden.

    The share is a lower bound on the accuracy where there are more than two classes. `normalised`
    brings the pretrained network to the scale of the fine-tuned one before both are compared.
    """
    for variant in VARIANTS:
        names = {"init_epoch": init_epoch, "role": "finetuned"}
        names |= {"variant": variant, "condition": "measured"}
        rebuilt, hidden = [], []
        for seed in networks.seeds:
            generator = seeded("parts", options.seed, seed, init_epoch)
            place = Place("finetuned", seed, init_epoch)
            tuned, values = networks.made(place), networks.scored(place)
            pretrained = networks.made(place._replace(role="probe"))
            if variant == "normalised":
                pretrained = match_scale(pretrained, tuned)
            parts = decompose(pretrained, tuned)
            rebuilt.append(_rebuilt(parts, tuned, values[:, 0], options, generator))
            hidden.append(_hidden(parts, values, options, generator))
        _add_rebuilt(_estimates(rebuilt, resampling), rows, names)
        _add_hidden(_estimates(hidden, resampling), rows, names)


def _estimates(found: list[Measures], resampling: Resampling) -> dict[str, dict[str, Estimate]]:
    """Return measure -> part -> mean over draws and images."""
    return {
        measure: {
            name: resampling.mean_of_draws(
                torch.stack([one[name][measure] for one in found], dim=1)
            )
            for name in found[0]
        }
        for measure in MEASURES
    }


def _add_rebuilt(found: dict[str, dict[str, Estimate]], rows: Rows, names: dict[str, Any]) -> None:
    for measure, parts in found.items():
        for part, estimate in parts.items():
            rows.add(f"{measure}_of_{part}", estimate, **names)
        for name, (first, second) in CONTRASTS.items():
            rows.add(f"{measure}_of_{name}", difference(parts[first], parts[second]), **names)


def _add_hidden(found: dict[str, dict[str, Estimate]], rows: Rows, names: dict[str, Any]) -> None:
    for measure, without in found.items():
        levels = [*range(1, without["preserved"].points.shape[-1] + 1)]
        for which, estimate in without.items():
            rows.add(f"{measure}_without_{which}_players", estimate, levels, **names)
        gap = difference(without["preserved"], without["random"])
        rows.add(f"{measure}_without_preserved_minus_random_players", gap, levels, **names)


def _rebuilt(
    parts: Decomposition,
    tuned: Tensor,
    empty: Tensor,
    options: Analysis,
    generator: torch.Generator,
) -> Measures:
    """Return v̂(N), and whether it is positive, [images, 1], from every part of the knowledge."""
    found = {
        "everything": _ends([tuned], empty),
        "preserved": _ends([parts.preserved], empty),
        "new": _ends([parts.new], empty),
    }
    for name, part in (("preserved", parts.preserved), ("new", parts.new)):
        draws = [random_part(tuned, part, generator) for _ in range(options.permutations)]
        found[f"random_as_{name}"] = _ends(draws, empty)
    return found


def _ends(parts: list[Tensor], empty: Tensor) -> dict[str, Tensor]:
    return _both([reconstructed_scores(part, empty)[:, -1:] for part in parts])


def _hidden(
    parts: Decomposition, values: Tensor, options: Analysis, generator: torch.Generator
) -> Measures:
    """Return the same of v(x_T) without the k players strongest in K_preserve, and without k at
    random, by k."""
    ranking = player_strengths(parts.preserved)
    counts = range(1, min(HIDDEN, ranking.shape[-1]) + 1)
    random = [
        torch.rand(ranking.shape, generator=generator, dtype=torch.float64)
        for _ in range(options.permutations)
    ]

    def without(order: Tensor) -> Tensor:
        scores = [scores_without_players(values, order, k) for k in counts]
        return torch.stack(scores, dim=-1).masked_fill(
            order.isnan().any(-1, keepdim=True), torch.nan
        )

    return {
        "preserved": _both([without(ranking)]),
        "random": _both([without(order) for order in random]),
    }


def _both(margins: list[Tensor]) -> dict[str, Tensor]:
    """Return the margins of every draw [draws, images, levels], and whether they are positive."""
    draws = torch.stack(margins)
    return {"margin": draws, "positive": positive(draws)}
