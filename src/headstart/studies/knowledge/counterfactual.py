"""Does preserved knowledge matter? Scores rebuilt from parts of the knowledge, and without its players."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from headstart.artifacts.seeds import derive_seed
from headstart.metrics.interactions import strength
from headstart.metrics.knowledge import decompose
from headstart.metrics.knowledge_counterfactual import (
    player_strengths,
    random_part,
    reconstructed_scores,
    scores_without_players,
)
from headstart.metrics.resampling import Resampling, difference
from headstart.params import Analysis
from headstart.studies.knowledge.compare import source_epoch
from headstart.studies.knowledge.networks import Networks, Place
from headstart.studies.knowledge.rows import Rows

HIDDEN = 3
"""At most so many players are hidden."""
CONTRASTS = {
    "preserved_minus_random": ("preserved", "random_as_preserved"),
    "new_minus_random": ("new", "random_as_new"),
}


def add_counterfactuals(
    networks: Networks, options: Analysis, resampling: Resampling, start: str, rows: Rows
) -> None:
    """Add margin v̂(N) and the share of images with v̂(N) > 0 of every part, and with players hidden.

    The share is a lower bound on the accuracy where there are more than two classes.
    """
    margins, hidden = [], []
    for seed in networks.seeds:
        generator = torch.Generator().manual_seed(derive_seed("parts", options.seed, seed, start))
        tables = _tables(networks, seed, start)
        margins.append(_margins(*tables, options, generator))
        hidden.append(_hidden(*tables, options, generator))
    names = {"start": start, "network": "finetuned", "split": "test", "subset": "all"}
    names |= {"variant": "raw", "reading": "measured"}
    same: dict[str, Any] = {**names, "source_epoch": source_epoch(networks, start)}
    looked = torch.ones(len(networks.seeds), len(networks.labels), dtype=torch.bool)
    for measure in ("margin", "positive"):
        found = {
            part: resampling.mean(torch.stack([m[part][measure] for m in margins]), looked)
            for part in margins[0]
        }
        for part, estimate in found.items():
            rows.add(f"{measure}_of_{part}", estimate, **same)
        for name, (first, second) in CONTRASTS.items():
            rows.add(f"{measure}_of_{name}", difference(found[first], found[second]), **same)
    levels = [*range(1, hidden[0]["preserved"].shape[-1] + 1)]
    without = {
        which: resampling.mean(torch.stack([h[which] for h in hidden]), looked)
        for which in ("preserved", "random")
    }
    for which, estimate in without.items():
        rows.add(f"margin_without_{which}_players", estimate, levels, **same)
    gap = difference(without["preserved"], without["random"])
    rows.add("margin_without_preserved_minus_random_players", gap, levels, **same)


def _tables(networks: Networks, seed: int, start: str) -> tuple[Tensor, Tensor, Tensor]:
    """Return I_pre, I_ft and v_ft of one source network."""
    tuned = Place("finetuned", seed, start)
    pre, post = networks.made(Place("probe", seed, start)), networks.made(tuned)
    return pre, post, networks.scored(tuned)


def _margins(
    pre: Tensor, tuned: Tensor, values: Tensor, options: Analysis, generator: torch.Generator
) -> dict[str, dict[str, Tensor]]:
    """Return v̂(N), and whether it is positive, [images, 1], from every part of the knowledge."""
    parts, empty = decompose(pre, tuned), values[:, 0]
    found = {
        "everything": _ends([tuned], empty),
        "preserved": _ends([parts.preserved], empty),
        "new": _ends([parts.new], empty),
    }
    for name, part in (("preserved", parts.preserved), ("new", parts.new)):
        total = strength(part).clamp(max=strength(tuned))
        draws = [random_part(tuned, total, generator) for _ in range(options.permutations)]
        found[f"random_as_{name}"] = _ends(draws, empty)
    return found


def _ends(parts: list[Tensor], empty: Tensor) -> dict[str, Tensor]:
    margins = torch.stack([reconstructed_scores(part, empty)[:, -1:] for part in parts])
    return {"margin": margins.mean(0), "positive": (margins > 0).double().mean(0)}


def _hidden(
    pre: Tensor, tuned: Tensor, values: Tensor, options: Analysis, generator: torch.Generator
) -> dict[str, Tensor]:
    """Return v(x_T) without the k players strongest in K_preserve, and without k at random, by k."""
    ranking = player_strengths(decompose(pre, tuned).preserved)
    counts = range(1, min(HIDDEN, ranking.shape[-1]) + 1)
    random = [
        torch.rand(ranking.shape, generator=generator, dtype=torch.float64)
        for _ in range(options.permutations)
    ]

    def without(order: Tensor) -> Tensor:
        return torch.stack([scores_without_players(values, order, k) for k in counts], dim=-1)

    return {
        "preserved": without(ranking),
        "random": torch.stack([without(order) for order in random]).mean(0),
    }
