"""Shares of all networks of a comparison: over null, up to the ceiling, complex against simple, as rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from headstart.metrics.interactions.and_or import TOLERANCE
from headstart.metrics.interactions.resampling import (
    Estimate,
    Resampling,
    difference,
    excess,
    pooled_together,
)
from headstart.metrics.interactions.shares import Share
from headstart.studies.knowledge.networks import SCRATCH, Networks, Place, seeded
from headstart.studies.knowledge.params import Analysis
from headstart.studies.knowledge.rows import NO_ROOM, UNDEFINED, Rows
from headstart.studies.knowledge.shares import (
    CEILINGS,
    FALLING,
    GENERALISING,
    NULLS,
    RATIOS,
    RISING,
    Shares,
    and_or_variants,
    conditions,
    group_of,
    variants,
)
from headstart.studies.knowledge.tables import GIVEN

MISSING = {
    "null_random_backbone": "no probe of a random backbone was evaluated",
    "ceiling_second_run": "no second run fine-tunes this source epoch",
    "ceiling_other_source": "no other source network was fine-tuned from this source epoch",
}
OWN_BACKBONE = "the random backbone is that of this source network at epoch 0: there is no other"
UNSOLVED = f"above the tolerance of {TOLERANCE:g}: the AND-OR split did not converge on some image"
IDENTITY = "an order has one interaction of all players: permuted, it is the same"
# Metrics for which a null's value is worth a row of its own, and an excess has a meaning.
RELATIVE = (*RATIOS, "similarity")
COMPLEX = tuple(f"{metric}_{part}" for metric in RISING for part in ("complex", "rise"))

Collected = dict[str, Shares]
"""Condition -> metric -> part and whole [seeds, images, levels]; NaN of a network that is not there."""
Measures = dict[tuple[str, str], Estimate]
"""(metric, condition) -> estimate."""


def collect(found: Sequence[Mapping[str, Shares | None]]) -> Collected:
    """Return the conditions of all source networks in one.

    A network that is not there was not looked at; one without interactions was, and has no share.
    """
    return {condition: dict(_stacked([one[condition] for one in found])) for condition in found[0]}


def _stacked(made: list[Shares | None]) -> Iterator[tuple[str, Share]]:
    present = next((one for one in made if one is not None), {})
    for metric, shape in present.items():
        nothing = Share(*(torch.full_like(shape.parts, torch.nan),) * 2)
        pairs = [one[metric] if one else nothing for one in made]
        wholes = [
            pair.wholes.nan_to_num(0.0) if one else pair.wholes
            for one, pair in zip(made, pairs, strict=True)
        ]
        yield metric, Share(torch.stack([pair.parts for pair in pairs]), torch.stack(wholes))


def measures(
    found: Collected,
    resampling: Resampling,
    room: float,
    looked: Tensor | None = None,
    alone: bool = True,
) -> Measures:
    """Return all shares, and what they say of each other, over the images looked at [seeds, images].

    `alone` says that the highest order has one interaction, of all players.

    Beside each share: `…_complex` and `…_rise`, the share over complex orders and by how much it is above
    that over simple ones; `over_…`, the share minus a null or a ceiling; `room_…`, from null to
    ceiling; `excess_…`, how much of that the share is above the null, where there is room.
    """
    made: Measures = {}
    for condition, metrics in found.items():
        for metric, (parts, wholes) in metrics.items():
            if looked is not None:
                wholes = wholes.where(looked.unsqueeze(-1), torch.nan)
            estimate = resampling.ratio(parts, wholes)
            if metric in RISING:
                made[f"{metric}_complex", condition] = estimate.at([-2])
                made[f"{metric}_rise", condition] = difference(estimate.at([-2]), estimate.at([-1]))
            made[metric, condition] = _without_identity(estimate, condition) if alone else estimate
            if condition == "measured" and metric in RATIOS:
                made[metric, "mean_of_ratios"] = resampling.mean_of_ratios(parts, wholes)
    for condition in ("measured", "null_permuted", CEILINGS[1]):
        if all((metric, condition) in made for metric in GENERALISING):
            gap = difference(*(made[metric, condition] for metric in GENERALISING))
            made["generalising_preserved_minus_new", condition] = gap
    for metric in (*RELATIVE, *COMPLEX, *GENERALISING, "generalising_preserved_minus_new"):
        made |= _relative(made, metric, room)
    return made


def _relative(made: Measures, metric: str, room: float) -> Measures:
    """Return by how much a measure exceeds each stand-in, and its place between null and ceiling."""
    found: Measures = {}
    measured, ceiling = made.get((metric, "measured")), made.get((metric, CEILINGS[0]))
    if measured is None:
        return found
    for stand_in in (*NULLS, *CEILINGS):
        if (metric, stand_in) in made:
            kind = stand_in.partition("_")[2]
            found[metric, f"over_{kind}"] = difference(measured, made[metric, stand_in])
    for null in NULLS:
        if ceiling is None or (metric, null) not in made or metric.endswith("_rise"):
            continue
        kind, falling = null.removeprefix("null_"), metric.startswith(FALLING)
        terms = pooled_together(ceiling, made[metric, null])
        found[metric, f"room_{kind}"] = wide = difference(*(terms[::-1] if falling else terms))
        reached = excess(measured, made[metric, null], ceiling, falling)
        found[metric, f"excess_{kind}"] = reached.only(wide.points >= room)
    return found


def _without_identity(estimate: Estimate, condition: str) -> Estimate:
    """Return an estimate without that of order n, where permuting within the order changes nothing."""
    if condition != "null_permuted" or estimate.points.shape[-1] == 1:
        return estimate
    kept = torch.ones_like(estimate.points, dtype=torch.bool)
    kept[:, -3] = False
    return estimate.only(kept)


class Comparer:
    """Adds rows of shares, with the same draws of images and networks for all of them."""

    def __init__(
        self, networks: Networks, options: Analysis, resampling: Resampling, rows: Rows
    ) -> None:
        self.networks, self.options = networks, options
        self.resampling, self.rows = resampling, rows
        self.levels = [None, *range(1, networks.subsets.highest + 1)]
        self.identity = networks.subsets.highest == networks.count
        self.alone = OWN_BACKBONE if len(networks.seeds) == 1 else ""

    def add(self, init_epoch: str) -> None:
        """Add all shares of one source epoch."""
        names = {"init_epoch": init_epoch, "role": "finetuned"}
        found = [self._conditions(init_epoch, seed, names) for seed in self.networks.seeds]
        right = torch.stack(
            [right_under_all(self.networks, init_epoch, s) for s in self.networks.seeds]
        )
        subsets = {"all": torch.ones_like(right), "correct": right}
        for variant in found[0]:
            collected = collect([one[variant] for one in found])
            for subset, looked in subsets.items():
                nobody = "" if bool(looked.any()) else "no image is right under all three networks"
                where = {**names, "subset": subset, "variant": variant}
                made = measures(
                    collected, self.resampling, self.options.room, looked, self.identity
                )
                for (metric, condition), estimate in made.items():
                    self._row(metric, estimate, condition, where, nobody)
                for condition in (each for each, metrics in collected.items() if not metrics):
                    for metric in RELATIVE:
                        reason = self._missing(condition, init_epoch)
                        self.rows.add_missing(metric, reason, condition=condition, **where)

    def _conditions(
        self, init_epoch: str, seed: int, names: dict[str, Any]
    ) -> dict[str, dict[str, Shares | None]]:
        """Return the conditions of one source network: variant -> condition -> metric."""
        values = group_of(self.networks, init_epoch, seed)
        found = {
            name: values.map(change) for name, change in variants(self.networks.subsets).items()
        }
        if self.options.and_or:
            split, gap = and_or_variants(values, self.options)
            found |= split
            described = {"seed": seed, "variant": "and_or", "condition": "measured", **names}
            reason = UNSOLVED if float(gap) > TOLERANCE else ""
            self.rows.add_number("and_or_gap", float(gap), reason=reason, **described)
        generator = seeded("nulls", self.options.seed, seed, init_epoch)
        return {name: conditions(group, self.options, generator) for name, group in found.items()}

    def _row(
        self, metric: str, estimate: Estimate, condition: str, names: dict[str, Any], nobody: str
    ) -> None:
        reason = nobody or (NO_ROOM if condition.startswith("excess") else UNDEFINED)
        options: dict[str, Any] = {"condition": condition, "reason": reason, **names}
        options["note"] = self.alone if condition.endswith("random_backbone") else ""
        if estimate.points.shape[-1] == 1:
            self.rows.add(metric, estimate, **options)
            return
        if condition.endswith("permuted") and not nobody and self.identity:
            options["reasons"] = {self.networks.count: IDENTITY}
        self.rows.add(metric, estimate.at(slice(len(self.levels))), self.levels, **options)

    def _missing(self, condition: str, init_epoch: str) -> str:
        if condition == "ceiling_other_source" and self.networks.shares(init_epoch):
            return GIVEN
        return MISSING[condition]


def right_under_all(networks: Networks, init_epoch: str, seed: int) -> Tensor:
    """Return which images the pretrained, the fine-tuned and the network from scratch classify rightly."""
    places = (
        Place("probe", seed, init_epoch),
        Place("finetuned", seed, init_epoch),
        Place("scratch", seed, SCRATCH),
    )
    found = [networks.right(place) for place in places]
    return torch.stack([right for right in found if right is not None]).all(0)
