"""Shares of knowledge: preserved, discarded, new, and what training from scratch finds of it too."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from headstart.metrics.and_or import and_or_split
from headstart.metrics.interactions import order_profile
from headstart.metrics.knowledge import (
    decompose,
    normalise,
    shared_effect,
    weighted_jaccard,
)
from headstart.metrics.knowledge_nulls import (
    match_scale,
    pair_other_image,
    permute_within_orders,
)
from headstart.metrics.salience import keep_salient, salient
from headstart.params import Analysis

Parts = dict[str, tuple[Tensor, Tensor]]
"""Metric -> part and whole of every image [images, levels]; the levels are those of `levels_of`."""
NULLS = ("null_permuted", "null_other_image", "null_random_backbone")
CEILINGS = ("ceiling_second_run", "ceiling_other_source")
RISING = ("preserved_of_pretrained", "discarded_of_pretrained", "new_of_finetuned")
"""Shares whose rise with the order is measured: over the upper half of orders minus the lower."""


@dataclass(frozen=True)
class Group:
    """Interactions of the networks of one start and source network; None where there is none.

    Tables are [images, 2^n], or [images, 2, 2^n] with AND and OR interactions.
    """

    pretrained: Tensor
    finetuned: Tensor
    scratch: Tensor
    null: Tensor | None = None
    second: Tensor | None = None
    others: Sequence[Tensor] = ()
    """Fine-tuned networks of other source networks, from the same start."""

    def map(self, change: Callable[[Tensor], Tensor]) -> Group:
        """Return the group with every network's table changed."""
        return Group(
            change(self.pretrained),
            change(self.finetuned),
            change(self.scratch),
            None if self.null is None else change(self.null),
            None if self.second is None else change(self.second),
            [change(table) for table in self.others],
        )


def levels_of(players: int) -> list[int | None]:
    """Return the levels of all parts: the whole, orders 1 … n; two more follow, the halves of orders."""
    return [None, *range(1, players + 1)]


def variants(values: Group, group: Group, options: Analysis) -> Mapping[str, Group]:
    """Return the interactions as they are, normalised by strength, and split into AND and OR if asked."""
    found = {"raw": group, "normalised": group.map(normalise)}
    if options.and_or:
        found["and_or"] = split(values)
    return found


def split(values: Group) -> Group:
    """Return AND and OR interactions [images, 2, 2^n] of every network, all with one γ per image."""
    tables = [
        table
        for table in (
            values.pretrained,
            values.finetuned,
            values.scratch,
            values.null,
            values.second,
            *values.others,
        )
        if table is not None
    ]
    solved = and_or_split(torch.stack(tables, dim=1))
    both = iter(torch.stack([solved.and_interactions, solved.or_interactions], 2).unbind(1))
    return values.map(lambda _: next(both))


def readings(
    group: Group, options: Analysis, generator: torch.Generator
) -> dict[str, Parts | None]:
    """Return every share as measured, under the nulls and at the ceilings; None where it cannot be.

    A null takes the place of the fine-tuned network (permuted, other image) or of the pretrained one
    (random backbone), and of the network from scratch; a ceiling is a second fine-tuned network in
    place of the pretrained one and of the one from scratch.
    """
    pre, tuned, scratch = group.pretrained, group.finetuned, group.scratch

    def shares(first: Tensor, second: Tensor, other: Tensor) -> Parts:
        return {
            **_decomposition(first, second, options),
            **_exclusivity(group, other, options),
        }

    def drawn(change: Callable[[Tensor, torch.Generator], Tensor]) -> Parts:
        draws = [
            shares(pre, change(tuned, generator), change(scratch, generator))
            for _ in range(options.permutations)
        ]
        return _mean(draws)

    found: dict[str, Parts | None] = {
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


def _decomposition(pre: Tensor, tuned: Tensor, options: Analysis) -> Parts:
    salience = options.salience
    pre, tuned = keep_salient(pre, tuned, options.filter, salience.fraction, salience.scope)
    preserved, discarded, new = (_levels(part) for part in decompose(pre, tuned))
    whole, end = _levels(pre), _levels(tuned)
    found = {
        "preserved_of_pretrained": (preserved, whole),
        "discarded_of_pretrained": (discarded, whole),
        "preserved_of_finetuned": (preserved, end),
        "new_of_finetuned": (new, end),
        "strength_preserved": _each(preserved),
        "strength_discarded": _each(discarded),
        "strength_new": _each(new),
    }
    if pre.ndim == 2:
        found["similarity"] = _each(weighted_jaccard(pre, tuned).unsqueeze(-1))
    return found


def _exclusivity(group: Group, other: Tensor, options: Analysis) -> Parts:
    """Return what `other`, the network from scratch or what stands in for it, has of K_preserve."""
    salience = options.salience
    preserved = decompose(
        *keep_salient(
            group.pretrained,
            group.finetuned,
            options.filter,
            salience.fraction,
            salience.scope,
        )
    ).preserved
    kept = salient(preserved, salience.fraction, salience.scope)
    found = kept & salient(other, salience.fraction, salience.scope)
    found = found & (preserved.sign() == other.sign())
    known = torch.maximum(
        shared_effect(other, group.pretrained).abs(), shared_effect(other, group.finetuned).abs()
    )
    return {
        "exclusivity": (_levels(shared_effect(preserved, other)), _levels(preserved)),
        "exclusivity_by_count": (_levels(found.double()), _levels(kept.double())),
        "scratch_only": (_levels(other.abs() - known), _levels(other)),
    }


def _strengths(group: Group, options: Analysis) -> Parts:
    salience = options.salience
    found = {}
    for name in ("pretrained", "finetuned", "scratch"):
        table = getattr(group, name)
        chosen = salient(table, salience.fraction, salience.scope)
        found[f"strength_{name}"] = _each(_levels(table))
        found[f"salient_{name}"] = _each(_levels(chosen.double()))
    return found


def _levels(table: Tensor) -> Tensor:
    """Return Σ|I(S)| of every image [images, levels]: over all S ≠ ∅, by order, and over both halves."""
    profile = order_profile(table)
    profile = profile.sum(1) if profile.ndim == 3 else profile
    half = profile.shape[-1] // 2
    sums = [profile.sum(-1), profile[:, half:].sum(-1), profile[:, :half].sum(-1)]
    whole, upper, lower = (total.unsqueeze(-1) for total in sums)
    return torch.cat([whole, profile, upper, lower], dim=-1)


def _each(values: Tensor) -> tuple[Tensor, Tensor]:
    return values, torch.ones_like(values)


def _mean(draws: Sequence[Parts]) -> Parts:
    return {
        name: (
            torch.stack([draw[name][0] for draw in draws]).mean(0),
            torch.stack([draw[name][1] for draw in draws]).mean(0),
        )
        for name in draws[0]
    }
