"""The networks that are compared, and their shares as measured, under the nulls and at the ceilings."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from headstart.metrics.interactions.and_or import and_or_split
from headstart.metrics.interactions.decomposition import (
    decompose,
    match_scale,
    normalise,
    pair_other_image,
    permute_within_orders,
    weighted_jaccard,
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
from headstart.metrics.interactions.subsets import AllSubsets
from headstart.metrics.interactions.transform import Sizes
from headstart.studies.knowledge.networks import SCRATCH, Networks, Place, there
from headstart.studies.knowledge.params import Analysis


@dataclass(frozen=True)
class Group:
    """Tables of the networks of one source epoch and source network; None where there is no such network.

    Tables are [images, subsets], or [images, 2, subsets] with AND and OR interactions; `sizes` are the
    orders of their columns.
    """

    pretrained: Tensor
    finetuned: Tensor
    scratch: Tensor
    sizes: Sizes
    null: Tensor | None = None
    second: Tensor | None = None
    others: Sequence[Tensor] = ()
    """Fine-tuned networks of other source networks, from the same source epoch."""

    def map(self, change: Callable[[Tensor], Tensor]) -> Group:
        """Return the group with every network's table changed."""
        return Group(
            change(self.pretrained),
            change(self.finetuned),
            change(self.scratch),
            self.sizes,
            None if self.null is None else change(self.null),
            None if self.second is None else change(self.second),
            [change(table) for table in self.others],
        )


def group_of(networks: Networks, init_epoch: str, seed: int) -> Group:
    """Return the values of all networks of one source epoch and source network.

    The random backbone is that of another source network, where there is one. A source epoch whose
    weights all source networks share has no other source.
    """
    table, tuned = networks.values, Place("finetuned", seed, init_epoch)
    others = [] if networks.shares(init_epoch) else [s for s in networks.seeds if s != seed]
    elsewhere = [table(tuned._replace(seed=other)) for other in others]
    return Group(
        there(table(Place("probe", seed, init_epoch)), tuned),
        there(table(tuned), tuned),
        there(table(Place("scratch", seed, SCRATCH)), tuned),
        networks.subsets.sizes,
        table(Place("null", networks.unrelated(seed), SCRATCH)),
        table(Place("second", seed, init_epoch)),
        [other for other in elsewhere if other is not None],
    )


def variants(subsets: AllSubsets) -> Mapping[str, Callable[[Tensor], Tensor]]:
    """Return AND interactions as they are, normalised by every network's strength, and Walsh coefficients alike."""
    return {
        "raw": subsets.mobius,
        "normalised": lambda values: normalise(subsets.mobius(values)),
        "walsh": lambda values: normalise(subsets.walsh(values)),
    }


def and_or_variants(values: Group, options: Analysis) -> tuple[dict[str, Group], Tensor]:
    """Return AND and OR interactions [images, 2, 2^n], raw and normalised, and the largest duality gap.

    Every network has a γ of its own: one γ for all would take out what the networks share.
    """
    gaps = []

    def split(table: Tensor) -> Tensor:
        solved = and_or_split(table, options.residual)
        gaps.append(solved.gap.max())
        return torch.stack([solved.and_interactions, solved.or_interactions], 1)

    both = values.map(split)
    return {"and_or": both, "and_or_normalised": both.map(normalise)}, torch.stack(gaps).max()


Shares = dict[str, Share]
"""Metric -> part and whole of every image; the levels are those of `by_level`."""
NULLS = ("null_permuted", "null_other_image", "null_random_backbone")
CEILINGS = ("ceiling_second_run", "ceiling_other_source")
RISING = ("preserved_of_pretrained", "discarded_of_pretrained", "new_of_finetuned")
"""Shares that are compared between complex and simple orders."""
FALLING = ("discarded_of_pretrained", "new_of_finetuned", "scratch_only")
"""Shares of what is not in common: lower the more networks share."""
RATIOS = (*RISING, "preserved_of_finetuned", "exclusivity", "exclusivity_by_count", "scratch_only")
GENERALISING = ("generalising_preserved", "generalising_new")
"""Shares of the preserved and the new that a second run, or another source network, has too."""


def conditions(
    group: Group,
    options: Analysis,
    generator: torch.Generator,
    wanted: Sequence[str] = (*NULLS, *CEILINGS),
) -> dict[str, Shares | None]:
    """Return every share as measured, under the nulls and at the ceilings; None where it cannot be.

    A null takes the place of the fine-tuned network (permuted, other image) or of the pretrained one
    (random backbone), and of the network from scratch; a ceiling is a second fine-tuned network in
    place of the pretrained one and of the one from scratch.
    """
    pre, tuned, scratch, second = group.pretrained, group.finetuned, group.scratch, group.second

    def shares(first: Tensor, other_tuned: Tensor, other: Tensor, again: Tensor | None) -> Shares:
        found = _decomposition(first, other_tuned, options, group.sizes)
        found |= _of_scratch(group, other, options)
        return found if again is None else found | _generalising(group, again)

    def drawn(change: Callable[..., Tensor], *more: Sizes) -> Shares:
        return _mean(
            [
                shares(
                    pre,
                    change(tuned, generator, *more),
                    change(scratch, generator, *more),
                    None if second is None else change(second, generator, *more),
                )
                for _ in range(options.permutations)
            ]
        )

    def random_backbone(null: Tensor) -> Shares:
        return shares(match_scale(null, pre), tuned, match_scale(null, scratch), None)

    def other_sources() -> Shares:
        return _mean([shares(other, tuned, other, other) for other in group.others])

    null = group.null
    found: dict[str, Callable[[], Shares | None]] = {
        "null_permuted": lambda: drawn(permute_within_orders, group.sizes),
        "null_other_image": lambda: drawn(pair_other_image),
        "null_random_backbone": lambda: None if null is None else random_backbone(null),
        "ceiling_second_run": lambda: (
            None if second is None else shares(second, tuned, second, None)
        ),
        "ceiling_other_source": lambda: other_sources() if group.others else None,
    }
    measured = shares(pre, tuned, scratch, second) | _strengths(group, options)
    return {"measured": measured} | {name: found[name]() for name in wanted}


def _decomposition(pre: Tensor, tuned: Tensor, options: Analysis, sizes: Sizes) -> Shares:
    salience = options.salience
    pre, tuned = keep_salient(pre, tuned, options.filter, salience.fraction, salience.scope)
    parts = decompose(pre, tuned)
    found = {
        "preserved_of_pretrained": share(parts.preserved, pre, sizes),
        "discarded_of_pretrained": share(parts.discarded, pre, sizes),
        "preserved_of_finetuned": share(parts.preserved, tuned, sizes),
        "new_of_finetuned": share(parts.new, tuned, sizes),
    }
    for name, part in parts._asdict().items():
        found[f"strength_{name}"] = _each(by_level(part, sizes))
    if pre.ndim == 2:
        found["similarity"] = _each(weighted_jaccard(pre, tuned).unsqueeze(-1))
    return found


def _of_scratch(group: Group, other: Tensor, options: Analysis) -> Shares:
    """Return what `other`, the network from scratch or what stands in for it, has of K_preserve."""
    salience = options.salience
    pair = group.pretrained, group.finetuned
    kept = keep_salient(*pair, options.filter, salience.fraction, salience.scope)
    preserved = decompose(*kept).preserved
    by_count = exclusivity_by_count(
        preserved, other, salience.fraction, salience.scope, group.sizes
    )
    return {
        "exclusivity": exclusivity(preserved, other, group.sizes),
        "exclusivity_by_count": by_count,
        "scratch_only": scratch_only(*pair, other, group.sizes),
    }


def _generalising(group: Group, again: Tensor) -> Shares:
    """Return what `again`, a second run or another source network, has of the preserved and the new."""
    parts = decompose(group.pretrained, group.finetuned)
    found = (exclusivity(part, again, group.sizes) for part in (parts.preserved, parts.new))
    return dict(zip(GENERALISING, found, strict=True))


def _strengths(group: Group, options: Analysis) -> Shares:
    salience, sizes = options.salience, group.sizes
    found = {}
    for name in ("pretrained", "finetuned", "scratch"):
        table = getattr(group, name)
        found[f"strength_{name}"] = _each(by_level(table, sizes))
        counted = salient_count(table, salience.fraction, salience.scope, sizes)
        found[f"salient_{name}"] = _each(counted)
    return found


def _each(values: Tensor) -> Share:
    return Share(values, torch.ones_like(values))


def _mean(draws: Sequence[Shares]) -> Shares:
    return {
        name: Share(*(torch.stack([draw[name][i] for draw in draws]).mean(0) for i in (0, 1)))
        for name in draws[0]
    }
