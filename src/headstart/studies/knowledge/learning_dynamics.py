"""How fast, directly and stably networks approach the interactions at the end of training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from headstart.metrics.interactions.decomposition import (
    match_scale,
    permute_within_orders,
    weighted_jaccard,
)
from headstart.metrics.interactions.resampling import Estimate, Resampling, difference
from headstart.metrics.interactions.shares import (
    directness,
    interpolated,
    speed,
    stability,
    time_to,
)
from headstart.studies.knowledge.compare import OWN_BACKBONE, Measures
from headstart.studies.knowledge.networks import (
    PATHS,
    SCRATCH,
    Epoch,
    Networks,
    Place,
    Role,
    seeded,
)
from headstart.studies.knowledge.params import Analysis
from headstart.studies.knowledge.rows import NEVER, UNDEFINED, Rows
from headstart.studies.knowledge.shares import variants

Change = Callable[[Tensor], Tensor]
TARGETS = ("own_end", "second_end", "common_end")
"""A run's own end; the end of a second run of the same start; that of a second fine-tuning run, for all."""
NULLS = ("null_permuted", "null_random_backbone")
SECOND: dict[Role, Role] = {"finetuned": "second", "scratch": "second_scratch"}


class Path(NamedTuple):
    """What one network does on its way, at all of its epochs."""

    epochs: list[int]
    curves: dict[tuple[str, str], Tensor]
    """(target, condition) -> J [seeds, images, times]."""
    straight: dict[str, tuple[Tensor, Tensor]]
    """Condition -> part and whole of directness [seeds, images, 1]."""


def path_of(
    networks: Networks,
    options: Analysis,
    role: Role,
    init_epoch: str,
    change: Change,
    towards: Sequence[str] = TARGETS,
) -> Path:
    """Return the curves of the fine-tuned network from a source epoch, or of the one from scratch."""
    first_epoch, seeds = init_epoch if role == "finetuned" else SCRATCH, networks.seeds
    epochs = _epochs(networks, role, first_epoch)

    def tables(role: Role, first_epoch: str, epoch: Epoch) -> list[Tensor]:
        found = [networks.values(Place(role, seed, first_epoch, epoch)) for seed in seeds]
        there = [change(values) for values in found if values is not None]
        return there if len(there) == len(seeds) else []

    by_epoch = [tables(role, first_epoch, epoch) for epoch in epochs]
    paths = [[each[i] for each in by_epoch if each] for i in range(len(seeds))]
    targets = {
        "own_end": [path[-1] for path in paths],
        "second_end": tables(SECOND[role], first_epoch, "last"),
        "common_end": tables("second", init_epoch, "last"),
    }
    nulls = [networks.values(Place("null", networks.unrelated(s), SCRATCH)) for s in seeds]
    still = [change(values) for values in nulls if values is not None]
    curves = {}
    for target, ends in targets.items():
        if not ends or target not in towards:
            continue
        generator = seeded("paths", options.seed, init_epoch)
        curves[target, "measured"] = _curve(paths, ends, weighted_jaccard)
        permuted = partial(
            _permuted,
            draws=options.permutations,
            generator=generator,
            sizes=networks.subsets.sizes,
        )
        curves[target, "null_permuted"] = _curve(paths, ends, permuted)
        if len(still) == len(seeds):
            scaled = [match_scale(one, end) for one, end in zip(still, ends, strict=True)]
            standing = [[table] * len(epochs) for table in scaled]
            curves[target, "null_random_backbone"] = _curve(standing, ends, weighted_jaccard)
    generator = seeded("detours", options.seed, init_epoch)
    sizes = networks.subsets.sizes
    detours = [[permute_within_orders(table, generator, sizes) for table in path] for path in paths]
    straight = {"measured": _directness(paths), "null_permuted": _directness(detours)}
    return Path(epochs, curves, straight)


def _epochs(networks: Networks, role: Role, first_epoch: str) -> list[int]:
    """Return the epochs requested and the last."""
    entry = networks.entry(Place(role, networks.seeds[0], first_epoch, "last"))
    last = {entry["target_epoch"]} if entry else set()
    return sorted({*networks.roles["target_epochs"], *last})


def _curve(
    paths: list[list[Tensor]], ends: list[Tensor], similarity: Callable[[Tensor, Tensor], Tensor]
) -> Tensor:
    pairs = zip(paths, ends, strict=True)
    return torch.stack(
        [torch.stack([similarity(table, end) for table in path], dim=-1) for path, end in pairs]
    )


def _permuted(
    table: Tensor, end: Tensor, draws: int, generator: torch.Generator, sizes: Tensor
) -> Tensor:
    permuted = (permute_within_orders(table, generator, sizes) for _ in range(draws))
    return torch.stack([weighted_jaccard(each, end) for each in permuted]).mean(0)


def _directness(paths: list[list[Tensor]]) -> tuple[Tensor, Tensor]:
    shares = [directness(torch.stack(path)) for path in paths]
    parts, wholes = (torch.stack([share[i] for share in shares]) for i in (0, 1))
    return parts, wholes.nan_to_num(0.0)


def scalars(path: Path, resampling: Resampling) -> Measures:
    """Return speed, the first epochs at a level, directness and stability, as measured and under nulls.

    `progress_…` is the area under (J_t − chance_t) / (J_end − chance_end): how much of the way to where
    it ends a network has behind it, on average over epochs, whether its end is like that of another run
    or not. `interpolated_…` is by how much that could be off between checkpoints.
    """
    times, made = torch.tensor(path.epochs), {}
    for condition, (parts, wholes) in path.straight.items():
        made["directness", condition] = resampling.ratio(parts, wholes)
    for (target, condition), values in path.curves.items():
        curve = resampling.mean(values)
        made[f"speed_to_{target}", condition] = curve.map(partial(speed, epochs=times))
        for name, level in (("half", 0.5), ("80_percent", 0.8)):
            reached = curve.map(partial(time_to, epochs=times, level=level))
            made[f"epoch_of_{name}_{target}", condition] = reached
        made[f"stability_to_{target}", condition] = curve.map(stability)
        if condition == "measured":
            by_chance = resampling.mean(path.curves[target, "null_permuted"])
            progress = _of_its_end(difference(curve, by_chance))
            made[f"progress_to_{target}", condition] = progress.map(partial(speed, epochs=times))
            unseen = progress.map(partial(interpolated, epochs=times))
            made[f"interpolated_to_{target}", condition] = unseen
    return made


def _of_its_end(curve: Estimate) -> Estimate:
    """Return a curve over its last value, NaN where that is not positive: an end that is by chance."""
    points, draws = (
        each / each[..., -1:].where(each[..., -1:] > 0, torch.nan)
        for each in (curve.points, curve.draws)
    )
    return curve._replace(points=points, draws=draws)


def gaps(tuned: Measures, scratch: Measures) -> Measures:
    """Return fine-tuned minus scratch: as measured, under the nulls, and by how much over chance."""
    made = {key: difference(tuned[key], scratch[key]) for key in tuned if key in scratch}
    for metric, condition in [*made]:
        # What scale and order profile alone would show; an epoch never reached has no difference.
        chance = (metric, "null_permuted") in made
        if condition == "measured" and chance and not metric.startswith("epoch_of"):
            measured, null = made[metric, condition], made[metric, "null_permuted"]
            made[metric, "over_permuted"] = difference(measured, null)
    return made


class LearningDynamics:
    """Adds rows on the learning dynamics of the network fine-tuned from a source epoch, and of the one from scratch."""

    def __init__(
        self, networks: Networks, options: Analysis, resampling: Resampling, rows: Rows
    ) -> None:
        self.networks, self.options = networks, options
        self.resampling, self.rows = resampling, rows

    def add(self, init_epoch: str) -> None:
        """Add similarity by epoch, and the scalars of its curve, of both networks and their difference."""
        for variant, change in variants(self.networks.subsets).items():
            names: dict[str, Any] = {"init_epoch": init_epoch, "variant": variant}
            found = {}
            for role in PATHS:
                path = path_of(self.networks, self.options, role, init_epoch, change)
                for (target, condition), values in path.curves.items():
                    curve, where = self.resampling.mean(values), {"role": role, **names}
                    self._row(f"similarity_to_{target}", curve, condition, where, path.epochs)
                found[role] = scalars(path, self.resampling)
                self._add(found[role], {"role": role, **names})
            self._add(gaps(*found.values()), {"role": "finetuned-scratch", **names})

    def _add(self, made: Measures, names: dict[str, Any]) -> None:
        for (metric, condition), estimate in made.items():
            self._row(metric, estimate, condition, names)

    def _row(
        self,
        metric: str,
        estimate: Estimate,
        condition: str,
        names: dict[str, Any],
        epochs: list[int] | None = None,
    ) -> None:
        """Add a measure; an epoch that one network never reaches has no mean over networks."""
        alone = len(self.networks.seeds) == 1 and condition.endswith("random_backbone")
        never = metric.startswith("epoch_of")
        self.rows.add(
            metric,
            estimate,
            epochs or (None,),
            where="target_epoch" if epochs else "order",
            condition=condition,
            reason=NEVER if never else UNDEFINED,
            note=OWN_BACKBONE if alone else "",
            every=never,
            **names,
        )
