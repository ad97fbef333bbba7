"""Shares of all networks of a comparison as rows: by start, variant, images, order, null and ceiling."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from headstart.artifacts.seeds import derive_seed
from headstart.metrics.resampling import Estimate, Resampling, difference, excess
from headstart.params import Analysis
from headstart.studies.knowledge.networks import SCRATCH, Networks, Place, there
from headstart.studies.knowledge.rows import NO_ROOM, UNDEFINED, Rows
from headstart.studies.knowledge.shares import (
    CEILINGS,
    NULLS,
    RISING,
    Group,
    Parts,
    levels_of,
    readings,
    variants,
)

MISSING = {
    "null_random_backbone": "no probe of a random backbone was evaluated",
    "ceiling_second_run": "no second run fine-tunes this start",
    "ceiling_other_source": "no other source network was fine-tuned from this start",
}
# Metrics for which a null's value is worth a row of its own, and an excess has a meaning.
RELATIVE = (
    "preserved_of_pretrained",
    "preserved_of_finetuned",
    "discarded_of_pretrained",
    "new_of_finetuned",
    "exclusivity",
    "exclusivity_by_count",
    "similarity",
)


class Comparer:
    """Adds rows of shares, with the same draws of images for all of them."""

    def __init__(
        self, networks: Networks, options: Analysis, resampling: Resampling, rows: Rows
    ) -> None:
        self.networks, self.options = networks, options
        self.resampling, self.rows = resampling, rows
        self.levels = levels_of(networks.count)

    def add(self, start: str) -> None:
        """Add all shares of one start."""
        found = [self._readings(start, seed) for seed in self.networks.seeds]
        right = torch.stack([right_under_all(self.networks, start, s) for s in self.networks.seeds])
        subsets = {"all": torch.ones_like(right), "correct": right}
        for variant in found[0]:
            for subset, looked in subsets.items():
                names = {
                    "start": start,
                    "source_epoch": source_epoch(self.networks, start),
                    "network": "finetuned",
                    "split": "test",
                    "subset": subset,
                    "variant": variant,
                }
                self._add(self._estimates([one[variant] for one in found], looked), looked, names)

    def _readings(self, start: str, seed: int) -> dict[str, dict[str, Parts | None]]:
        """Return the readings of one source network: variant -> reading -> metric."""
        group = group_of(self.networks, self.networks.interactions, start, seed)
        values = group_of(self.networks, self.networks.values, start, seed)
        generator = torch.Generator().manual_seed(
            derive_seed("nulls", self.options.seed, seed, start)
        )
        return {
            name: readings(tables, self.options, generator)
            for name, tables in variants(values, group, self.options).items()
        }

    def _estimates(
        self, found: list[dict[str, Parts | None]], looked: Tensor
    ) -> dict[str, dict[str, Estimate]]:
        """Return reading -> metric -> estimate over the images looked at [seeds, images]."""
        estimates: dict[str, dict[str, Estimate]] = {}
        for reading in found[0]:
            made = [one[reading] for one in found]
            present = next((one for one in made if one is not None), None)
            estimates[reading] = {}
            for metric, (shape, _) in (present or {}).items():
                nothing = torch.full_like(shape, torch.nan)
                pairs = [one[metric] if one else (nothing, nothing) for one in made]
                parts, wholes = (torch.stack([pair[i] for pair in pairs]) for i in (0, 1))
                wholes = wholes.where(looked.unsqueeze(-1), torch.nan)
                estimates[reading][metric] = self.resampling.ratio(parts, wholes)
        return estimates

    def _add(
        self, estimates: dict[str, dict[str, Estimate]], looked: Tensor, names: dict[str, object]
    ) -> None:
        nobody = "" if bool(looked.any()) else "no image is right under all three networks"
        for reading, metrics in estimates.items():
            for metric, estimate in metrics.items():
                self._row(metric, estimate, reading, names, nobody or UNDEFINED)
            if not metrics:
                for metric in RELATIVE:
                    self.rows.add_missing(metric, MISSING[reading], reading=reading, **names)
        measured, ceilings = estimates["measured"], [estimates[name] for name in CEILINGS]
        for metric in (*RELATIVE, *(f"{name}_rise" for name in RISING)):
            base = metric.removesuffix("_rise")
            if base not in measured:
                continue
            for null in NULLS:
                if base not in estimates[null]:
                    continue
                kind = null.removeprefix("null_")
                pair = [self._risen(metric, each[base]) for each in (measured, estimates[null])]
                over = difference(pair[0], pair[1])
                self._row(metric, over, f"over_{kind}", names, nobody or UNDEFINED)
                if metric in RELATIVE and base in ceilings[0]:
                    room = excess(pair[0], pair[1], ceilings[0][base])
                    self._row(metric, room, f"excess_{kind}", names, nobody or NO_ROOM)

    def _risen(self, metric: str, estimate: Estimate) -> Estimate:
        return rise(estimate) if metric.endswith("_rise") else estimate

    def _row(
        self, metric: str, estimate: Estimate, reading: str, names: dict[str, object], reason: str
    ) -> None:
        options = {"reading": reading, "reason": reason, **names}
        if estimate.points.shape[-1] == 1:
            self.rows.add(metric, estimate, **options)  # type: ignore[arg-type]
            return
        kept = Estimate(*(part[..., : len(self.levels)] for part in estimate))
        self.rows.add(metric, kept, self.levels, **options)  # type: ignore[arg-type]
        if metric in RISING and reading in ("measured", *NULLS):
            self.rows.add(f"{metric}_rise", rise(estimate), **options)  # type: ignore[arg-type]


def rise(estimate: Estimate) -> Estimate:
    """Return a share over the upper half of orders minus that over the lower half."""
    upper, lower = (Estimate(*(part[..., [index]] for part in estimate)) for index in (-2, -1))
    return difference(upper, lower)


def group_of(
    networks: Networks, table: Callable[[Place], Tensor | None], start: str, seed: int
) -> Group:
    """Return the tables of all networks of one start and source network."""
    tuned = Place("finetuned", seed, start)
    elsewhere = [table(tuned._replace(seed=other)) for other in networks.seeds if other != seed]
    return Group(
        there(table(Place("probe", seed, start)), tuned),
        there(table(tuned), tuned),
        there(table(Place("scratch", seed, SCRATCH)), tuned),
        table(Place("null", seed, SCRATCH)),
        table(Place("second", seed, start)),
        [other for other in elsewhere if other is not None],
    )


def right_under_all(networks: Networks, start: str, seed: int) -> Tensor:
    """Return which images the pretrained, the fine-tuned and the network from scratch classify rightly."""
    places = (
        Place("probe", seed, start),
        Place("finetuned", seed, start),
        Place("scratch", seed, SCRATCH),
    )
    found = [networks.right(place) for place in places]
    return torch.stack([right for right in found if right is not None]).all(0)


def source_epoch(networks: Networks, start: str) -> float:
    """Return the source epoch of a start, its mean over source networks where they differ (`best`)."""
    entries = [networks.entry(Place("finetuned", seed, start)) for seed in networks.seeds]
    epochs = [entry["source_epoch"] for entry in entries if entry]
    return sum(epochs) / len(epochs)
