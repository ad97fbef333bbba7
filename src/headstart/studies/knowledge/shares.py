"""All conditions of the shares of knowledge: as measured, under the nulls, and at the ceilings."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from headstart.metrics.interactions.decomposition import decompose, weighted_jaccard
from headstart.metrics.interactions.nulls import (
    match_scale,
    pair_other_image,
    permute_within_orders,
)
from headstart.metrics.interactions.salience import keep_salient
from headstart.metrics.interactions.shares import (
    Share,
    by_level,
    exclusivity,
    exclusivity_by_count,
    salient_count,
    scratch_only,
    share,
)
from headstart.studies.knowledge.groups import Group
from headstart.studies.knowledge.params import Analysis

Shares = dict[str, Share]
"""Metric -> part and whole of every image; the levels are those of `levels_of` and two more."""
NULLS = ("null_permuted", "null_other_image", "null_random_backbone")
CEILINGS = ("ceiling_second_run", "ceiling_other_source")
RISING = ("preserved_of_pretrained", "discarded_of_pretrained", "new_of_finetuned")
"""Shares whose rise with the order is measured: over the upper half of orders minus the lower."""
FALLING = ("discarded_of_pretrained", "new_of_finetuned", "scratch_only")
"""Shares of what is not in common: lower the more networks share."""
RATIOS = (
    *RISING,
    "preserved_of_finetuned",
    "exclusivity",
    "exclusivity_by_count",
    "scratch_only",
)


def levels_of(players: int) -> list[int | None]:
    """Return the levels of all shares: the whole, orders 1 … n; two more follow, the halves of orders."""
    return [None, *range(1, players + 1)]


def conditions(
    group: Group, options: Analysis, generator: torch.Generator
) -> dict[str, Shares | None]:
    """Return every share as measured, under the nulls and at the ceilings; None where it cannot be.

    A null takes the place of the fine-tuned network (permuted, other image) or of the pretrained one
    (random backbone), and of the network from scratch; a ceiling is a second fine-tuned network in
    place of the pretrained one and of the one from scratch.
    """
    pre, tuned, scratch = group.pretrained, group.finetuned, group.scratch

    def shares(first: Tensor, second: Tensor, other: Tensor) -> Shares:
        return {**_decomposition(first, second, options), **_of_scratch(group, other, options)}

    def drawn(change: Callable[[Tensor, torch.Generator], Tensor]) -> Shares:
        draws = [
            shares(pre, change(tuned, generator), change(scratch, generator))
            for _ in range(options.permutations)
        ]
        return _mean(draws)

    found: dict[str, Shares | None] = {
        "measured": shares(pre, tuned, scratch) | _strengths(group, options),
        "null_permuted": drawn(permute_within_orders),
        "null_other_image": drawn(pair_other_image),
    }
    null, second = group.null, group.second
    found["null_random_backbone"] = (
        None if null is None else shares(match_scale(null, pre), tuned, match_scale(null, scratch))
    )
    found["ceiling_second_run"] = None if second is None else shares(second, tuned, second)
    found["ceiling_other_source"] = (
        _mean([shares(other, tuned, other) for other in group.others]) if group.others else None
    )
    return found


def _decomposition(pre: Tensor, tuned: Tensor, options: Analysis) -> Shares:
    salience = options.salience
    pre, tuned = keep_salient(pre, tuned, options.filter, salience.fraction, salience.scope)
    parts = decompose(pre, tuned)
    found = {
        "preserved_of_pretrained": share(parts.preserved, pre),
        "discarded_of_pretrained": share(parts.discarded, pre),
        "preserved_of_finetuned": share(parts.preserved, tuned),
        "new_of_finetuned": share(parts.new, tuned),
    }
    found |= {f"strength_{name}": _each(by_level(part)) for name, part in parts._asdict().items()}
    if pre.ndim == 2:
        found["similarity"] = _each(weighted_jaccard(pre, tuned).unsqueeze(-1))
    return found


def _of_scratch(group: Group, other: Tensor, options: Analysis) -> Shares:
    """Return what `other`, the network from scratch or what stands in for it, has of K_preserve."""
    salience = options.salience
    pair = group.pretrained, group.finetuned
    kept = keep_salient(*pair, options.filter, salience.fraction, salience.scope)
    preserved = decompose(*kept).preserved
    return {
        "exclusivity": exclusivity(preserved, other),
        "exclusivity_by_count": exclusivity_by_count(
            preserved, other, salience.fraction, salience.scope
        ),
        "scratch_only": scratch_only(*pair, other),
    }


def _strengths(group: Group, options: Analysis) -> Shares:
    salience = options.salience
    found = {}
    for name in ("pretrained", "finetuned", "scratch"):
        table = getattr(group, name)
        found[f"strength_{name}"] = _each(by_level(table))
        found[f"salient_{name}"] = _each(salient_count(table, salience.fraction, salience.scope))
    return found


def _each(values: Tensor) -> Share:
    return Share(values, torch.ones_like(values))


def _mean(draws: Sequence[Shares]) -> Shares:
    return {
        name: Share(
            torch.stack([draw[name].parts for draw in draws]).mean(0),
            torch.stack([draw[name].wholes for draw in draws]).mean(0),
        )
        for name in draws[0]
    }
