"""Shares of all networks of a comparison as rows: by source epoch, variant, images, order, null and ceiling."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from headstart.metrics.interactions.and_or import TOLERANCE
from headstart.metrics.interactions.resampling import Estimate, Resampling, difference, excess
from headstart.studies.knowledge.networks import SCRATCH, Networks, Place, seeded
from headstart.studies.knowledge.params import Analysis
from headstart.studies.knowledge.rows import NO_ROOM, UNDEFINED, Rows
from headstart.studies.knowledge.shares import (
    CEILINGS,
    FALLING,
    NULLS,
    RATIOS,
    RISING,
    Shares,
    and_or_variants,
    conditions,
    group_of,
    levels_of,
    variants,
)

MISSING = {
    "null_random_backbone": "no probe of a random backbone was evaluated",
    "ceiling_second_run": "no second run fine-tunes this source epoch",
    "ceiling_other_source": "no other source network was fine-tuned from this source epoch",
}
GIVEN = "the source networks are one: all begin with the same given weights"
OWN_BACKBONE = "the random backbone is that of this source network at epoch 0: there is no other"
UNSOLVED = f"above the tolerance of {TOLERANCE:g}: the AND-OR split did not converge on some image"
# Metrics for which a null's value is worth a row of its own, and an excess has a meaning.
RELATIVE = (*RATIOS, "similarity")

Estimates = dict[str, dict[str, Estimate]]
"""Condition -> metric -> estimate."""


class Comparer:
    """Adds rows of shares, with the same draws of images for all of them."""

    def __init__(
        self, networks: Networks, options: Analysis, resampling: Resampling, rows: Rows
    ) -> None:
        self.networks, self.options = networks, options
        self.resampling, self.rows = resampling, rows
        self.levels = levels_of(networks.count)
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
            for subset, looked in subsets.items():
                estimates = self._estimates([one[variant] for one in found], looked)
                self._add(estimates, looked, {**names, "subset": subset, "variant": variant})

    def _conditions(
        self, init_epoch: str, seed: int, names: dict[str, Any]
    ) -> dict[str, dict[str, Shares | None]]:
        """Return the conditions of one source network: variant -> condition -> metric."""
        found = variants(group_of(self.networks, self.networks.interactions, init_epoch, seed))
        if self.options.and_or:
            values = group_of(self.networks, self.networks.values, init_epoch, seed)
            split, gap = and_or_variants(values)
            found |= split
            described = {"seed": seed, "variant": "and_or", "condition": "measured", **names}
            largest = float(gap.max())
            reason = UNSOLVED if largest > TOLERANCE else ""
            self.rows.add_number("and_or_gap", largest, reason=reason, **described)
        generator = seeded("nulls", self.options.seed, seed, init_epoch)
        return {name: conditions(group, self.options, generator) for name, group in found.items()}

    def _estimates(self, found: list[dict[str, Shares | None]], looked: Tensor) -> Estimates:
        """Return all estimates over the images looked at [seeds, images].

        A network that is not there was not looked at; one without interactions was, and has no share.
        """
        estimates: Estimates = {}
        for condition in found[0]:
            made = [one[condition] for one in found]
            present = next((one for one in made if one is not None), None)
            estimates[condition] = {}
            for metric, shape in (present or {}).items():
                nothing = torch.full_like(shape.parts, torch.nan)
                pairs = [one[metric] if one else None for one in made]
                parts = torch.stack([pair.parts if pair else nothing for pair in pairs])
                wholes = torch.stack(
                    [pair.wholes.nan_to_num(0.0) if pair else nothing for pair in pairs]
                )
                wholes = wholes.where(looked.unsqueeze(-1), torch.nan)
                estimates[condition][metric] = self.resampling.ratio(parts, wholes)
                if condition == "measured" and metric in RATIOS:
                    means = estimates.setdefault("mean_of_ratios", {})
                    means[metric] = self.resampling.mean_of_ratios(parts, wholes)
        return estimates

    def _add(self, estimates: Estimates, looked: Tensor, names: dict[str, Any]) -> None:
        nobody = "" if bool(looked.any()) else "no image is right under all three networks"
        for condition, metrics in estimates.items():
            for metric, estimate in metrics.items():
                self._row(metric, estimate, condition, names, nobody or UNDEFINED)
            if not metrics:
                for metric in RELATIVE:
                    self._missing(metric, condition, names)
        for metric in (*RELATIVE, *(f"{name}_rise" for name in RISING)):
            for null in NULLS:
                self._relative(metric, null, estimates, names, nobody)

    def _relative(
        self, metric: str, null: str, estimates: Estimates, names: dict[str, Any], nobody: str
    ) -> None:
        """Add by how much a measure exceeds a null, and how far that is from the null to the ceiling."""
        base, kind = metric.removesuffix("_rise"), null.removeprefix("null_")
        measured, ceiling = estimates["measured"], estimates[CEILINGS[0]]
        if base not in measured or base not in estimates[null]:
            return
        pair = [_risen(metric, each[base]) for each in (measured, estimates[null])]
        over = difference(pair[0], pair[1])
        self._row(metric, over, f"over_{kind}", names, nobody or UNDEFINED)
        if metric in RELATIVE and base in ceiling:
            room = excess(pair[0], pair[1], ceiling[base], metric in FALLING)
            self._row(metric, room, f"excess_{kind}", names, nobody or NO_ROOM)

    def _row(
        self, metric: str, estimate: Estimate, condition: str, names: dict[str, Any], reason: str
    ) -> None:
        options: dict[str, Any] = {"condition": condition, "reason": reason, **names}
        options["note"] = self.alone if condition.endswith("random_backbone") else ""
        if estimate.points.shape[-1] == 1:
            self.rows.add(metric, estimate, **options)
            return
        kept = estimate.at(slice(len(self.levels)))
        self.rows.add(metric, kept, self.levels, **options)
        if metric in RISING and condition in ("measured", *NULLS):
            self.rows.add(f"{metric}_rise", rise(estimate), **options)

    def _missing(self, metric: str, condition: str, names: dict[str, Any]) -> None:
        reason = MISSING[condition]
        if condition == "ceiling_other_source" and self.networks.shares(str(names["init_epoch"])):
            reason = GIVEN
        self.rows.add_missing(metric, reason, condition=condition, **names)


def _risen(metric: str, estimate: Estimate) -> Estimate:
    return rise(estimate) if metric.endswith("_rise") else estimate


def rise(estimate: Estimate) -> Estimate:
    """Return a share over the upper half of orders minus that over the lower half."""
    return difference(estimate.at([-2]), estimate.at([-1]))


def right_under_all(networks: Networks, init_epoch: str, seed: int) -> Tensor:
    """Return which images the pretrained, the fine-tuned and the network from scratch classify rightly."""
    places = (
        Place("probe", seed, init_epoch),
        Place("finetuned", seed, init_epoch),
        Place("scratch", seed, SCRATCH),
    )
    found = [networks.right(place) for place in places]
    return torch.stack([right for right in found if right is not None]).all(0)
