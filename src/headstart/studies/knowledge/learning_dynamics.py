"""How fast, directly and stably networks approach their interactions at the end of training."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from headstart.metrics.interactions.decomposition import (
    match_scale,
    normalise,
    permute_within_orders,
    weighted_jaccard,
)
from headstart.metrics.interactions.resampling import Estimate, Resampling, difference, excess
from headstart.metrics.interactions.shares import directness, speed, stability, time_to
from headstart.studies.knowledge.compare import OWN_BACKBONE
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

Change = Callable[[Tensor], Tensor]
VARIANTS: dict[str, Change] = {"raw": lambda table: table, "normalised": normalise}
NULLS = ("null_permuted", "null_random_backbone")
Scalars = dict[str, dict[str, Estimate]]
"""Condition -> scalar of a curve -> estimate."""


class LearningDynamics:
    """Adds rows on the learning dynamics of the fine-tuned network from one source epoch, and of the one from scratch."""

    def __init__(
        self, networks: Networks, options: Analysis, resampling: Resampling, rows: Rows
    ) -> None:
        self.networks, self.options = networks, options
        self.resampling, self.rows = resampling, rows

    def add(self, init_epoch: str) -> None:
        """Add similarity by epoch, and the scalars of its curve, of both networks and their difference."""
        epochs = self._epochs(init_epoch)
        for variant, change in VARIANTS.items():
            names: dict[str, Any] = {"init_epoch": init_epoch, "variant": variant}
            scalars = {
                role: self._add_path(role, init_epoch, epochs[role], change, names)
                for role in PATHS
            }
            self._add_gaps(scalars, names)

    def _add_gaps(self, scalars: dict[Role, Scalars], names: dict[str, Any]) -> None:
        """Add fine-tuned minus scratch: as measured, under the nulls, and by how much over chance."""
        gaps = {
            condition: {
                metric: difference(tuned, scalars["scratch"][condition][metric])
                for metric, tuned in metrics.items()
            }
            for condition, metrics in scalars["finetuned"].items()
        }
        # What scale and order profile alone would show; an epoch never reached has no difference.
        gaps["over_permuted"] = {
            metric: difference(gap, gaps["null_permuted"][metric])
            for metric, gap in gaps["measured"].items()
            if not metric.startswith("epoch_of")
        }
        for condition, metrics in gaps.items():
            for metric, gap in metrics.items():
                where = {"role": "finetuned-scratch", "condition": condition, **names}
                self._scalar(metric, gap, where)

    def _epochs(self, init_epoch: str) -> dict[Role, list[int]]:
        """Return the epochs of both paths: those requested and the last; equal in number."""
        found: dict[Role, list[int]] = {}
        for role, first_epoch in zip(PATHS, (init_epoch, SCRATCH), strict=True):
            entry = self.networks.entry(Place(role, self.networks.seeds[0], first_epoch, "last"))
            last = {entry["target_epoch"]} if entry else set()
            found[role] = sorted({*self.networks.roles["target_epochs"], *last})
        return found

    def _add_path(
        self, role: Role, init_epoch: str, epochs: list[int], change: Change, names: dict[str, Any]
    ) -> Scalars:
        """Add the curves of one network, and its scalars; return them."""
        first_epoch = init_epoch if role == "finetuned" else SCRATCH
        seeds = self.networks.seeds
        by_epoch = [self._tables(role, first_epoch, epoch, seeds, change) for epoch in epochs]
        paths = [[tables[i] for tables in by_epoch if tables] for i in range(len(seeds))]
        common = [
            change(self.networks.made(Place("finetuned", seed, init_epoch, "last")))
            for seed in seeds
        ]
        targets = {"own_end": [path[-1] for path in paths], "common_target": common}
        scalars: Scalars = self._directness(init_epoch, paths)
        for target, ends in targets.items():
            curves = self._curves(init_epoch, paths, ends, change)
            second = self._tables("second", init_epoch, "last", seeds, change)
            if second and target == "common_target":
                curves["ceiling_second_run"] = self._still(second, paths, ends)
            self._add_curves(f"similarity_to_{target}", curves, epochs, {"role": role, **names})
            for condition in ("measured", *NULLS):
                if condition in curves:
                    found = self._scalars(target, curves[condition], epochs)
                    scalars[condition] = scalars.get(condition, {}) | found
        for condition, metrics in scalars.items():
            for metric, estimate in metrics.items():
                self._scalar(metric, estimate, {"role": role, "condition": condition, **names})
        return scalars

    def _add_curves(
        self, metric: str, curves: dict[str, Estimate], epochs: list[int], names: dict[str, Any]
    ) -> None:
        """Add curves, and their excess; a network is as similar as can be to its own end: 1."""
        measured = curves["measured"]
        ceiling = curves.get("ceiling_second_run")
        if metric.endswith("own_end"):
            ceiling = measured._replace(
                points=torch.ones_like(measured.points), draws=torch.ones_like(measured.draws)
            )
        found = dict(curves)
        for null in NULLS:
            if ceiling is not None and null in curves:
                kind = null.removeprefix("null_")
                found[f"excess_{kind}"] = excess(measured, curves[null], ceiling)
        for condition, curve in found.items():
            where: dict[str, Any] = {"condition": condition, "note": self._note(condition), **names}
            self.rows.add(metric, curve, epochs, where="target_epoch", **where)

    def _note(self, condition: str) -> str:
        alone = len(self.networks.seeds) == 1 and condition.endswith("random_backbone")
        return OWN_BACKBONE if alone else ""

    def _curves(
        self, init_epoch: str, paths: list[list[Tensor]], ends: list[Tensor], change: Change
    ) -> dict[str, Estimate]:
        """Return J by epoch [seeds, images, times]: as measured, and under the nulls."""
        generator = seeded("paths", self.options.seed, init_epoch)

        def permuted(table: Tensor, end: Tensor) -> Tensor:
            draws = [
                weighted_jaccard(permute_within_orders(table, generator), end)
                for _ in range(self.options.permutations)
            ]
            return torch.stack(draws).mean(0)

        found = {
            "measured": self._curve(paths, ends, weighted_jaccard),
            "null_permuted": self._curve(paths, ends, permuted),
        }
        unrelated = [self.networks.unrelated(seed) for seed in self.networks.seeds]
        if nulls := self._tables("null", SCRATCH, "best", unrelated, change):
            scaled = [match_scale(table, end) for table, end in zip(nulls, ends, strict=True)]
            found["null_random_backbone"] = self._still(scaled, paths, ends)
        return found

    def _tables(
        self, role: Role, first_epoch: str, epoch: Epoch, seeds: list[int], change: Change
    ) -> list[Tensor]:
        """Return the interactions of every source network, or nothing where one has none."""
        places = [Place(role, seed, first_epoch, epoch) for seed in seeds]
        tables = [self.networks.interactions(place) for place in places]
        found = [change(table) for table in tables if table is not None]
        return found if len(found) == len(seeds) else []

    def _still(
        self, tables: list[Tensor], paths: list[list[Tensor]], ends: list[Tensor]
    ) -> Estimate:
        """Return the curve of networks that do not change."""
        return self._curve([[table] * len(paths[0]) for table in tables], ends, weighted_jaccard)

    def _curve(
        self,
        paths: list[list[Tensor]],
        ends: list[Tensor],
        similarity: Callable[[Tensor, Tensor], Tensor],
    ) -> Estimate:
        values = torch.stack(
            [
                torch.stack([similarity(table, end) for table in path], dim=-1)
                for path, end in zip(paths, ends, strict=True)
            ]
        )
        return self.resampling.mean(values, torch.ones(values.shape[:2], dtype=torch.bool))

    def _directness(self, init_epoch: str, paths: list[list[Tensor]]) -> Scalars:
        """Return directness as measured, and of checkpoints that are each permuted within orders."""
        generator = seeded("detours", self.options.seed, init_epoch)
        permuted = [[permute_within_orders(table, generator) for table in path] for path in paths]
        found: Scalars = {}
        for condition, each in {"measured": paths, "null_permuted": permuted}.items():
            shares = [directness(torch.stack(path)) for path in each]
            parts, wholes = (torch.stack([share[i] for share in shares]) for i in (0, 1))
            found[condition] = {"directness": self.resampling.ratio(parts, wholes.nan_to_num(0.0))}
        return found

    def _scalars(self, target: str, curve: Estimate, epochs: list[int]) -> dict[str, Estimate]:
        times = torch.tensor(epochs)
        functions: dict[str, Callable[[Tensor], Tensor]] = {
            f"speed_to_{target}": partial(speed, epochs=times),
            f"epoch_of_half_{target}": partial(time_to, epochs=times, level=0.5),
            f"epoch_of_80_percent_{target}": partial(time_to, epochs=times, level=0.8),
            f"stability_to_{target}": stability,
        }
        found = {}
        for name, function in functions.items():
            points, draws = (function(each).unsqueeze(-1) for each in (curve.points, curve.draws))
            networks = curve.networks[:, -1:].where(~points.isnan(), 0)
            counts = curve.images[:, -1:], curve.undefined[:, -1:], networks
            found[name] = Estimate(points, draws, *counts)
        return found

    def _scalar(self, metric: str, estimate: Estimate, names: dict[str, Any]) -> None:
        """Add a scalar; an epoch that one network never reaches has no mean over networks."""
        epoch = metric.startswith("epoch_of")
        reason = NEVER if epoch else UNDEFINED
        note = self._note(str(names["condition"]))
        self.rows.add(metric, estimate, reason=reason, note=note, every=epoch, **names)
