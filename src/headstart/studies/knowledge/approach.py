"""How fast, directly and stably networks approach their interactions at the end of training."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from headstart.artifacts.seeds import derive_seed
from headstart.metrics.interactions import strength
from headstart.metrics.knowledge import normalise, weighted_jaccard
from headstart.metrics.knowledge_dynamics import speed, stability, time_to
from headstart.metrics.knowledge_nulls import match_scale, permute_within_orders
from headstart.metrics.resampling import Estimate, Resampling, difference, excess
from headstart.params import Analysis
from headstart.studies.knowledge.compare import source_epoch
from headstart.studies.knowledge.networks import SCRATCH, Epoch, Networks, Place, Role
from headstart.studies.knowledge.rows import Rows

PATHS: tuple[Role, ...] = ("finetuned", "scratch")
TRAINED: tuple[Role, ...] = ("finetuned", "second", "probe")
Change = Callable[[Tensor], Tensor]
VARIANTS: dict[str, Change] = {"raw": lambda table: table, "normalised": normalise}


class Follower:
    """Adds rows on the way of the fine-tuned network of one start, and of the one from scratch."""

    def __init__(
        self, networks: Networks, options: Analysis, resampling: Resampling, rows: Rows
    ) -> None:
        self.networks, self.options = networks, options
        self.resampling, self.rows = resampling, rows

    def add(self, start: str) -> None:
        """Add similarity by epoch, and the scalars of its curve, of both networks and their difference."""
        epochs = self._epochs(start)
        for variant, change in VARIANTS.items():
            names: dict[str, Any] = {"start": start, "variant": variant, "split": "test"}
            names |= {"subset": "all", "source_epoch": source_epoch(self.networks, start)}
            scalars = {
                role: self._add_path(role, start, epochs[role], change, names) for role in PATHS
            }
            for metric in scalars["finetuned"]:
                gap = difference(*(scalars[role][metric] for role in PATHS))
                self.rows.add(metric, gap, network="finetuned-scratch", reading="measured", **names)

    def _epochs(self, start: str) -> dict[Role, list[int]]:
        """Return the epochs of both paths: those asked for and the last; equal in number."""
        found: dict[Role, list[int]] = {}
        for role in PATHS:
            begin = start if role == "finetuned" else SCRATCH
            entry = self.networks.entry(Place(role, self.networks.seeds[0], begin, "last"))
            last = {entry["target_epoch"]} if entry else set()
            found[role] = sorted({*self.networks.roles["target_epochs"], *last})
        return found

    def _add_path(
        self, role: Role, start: str, epochs: list[int], change: Change, names: dict[str, Any]
    ) -> dict[str, Estimate]:
        """Add the curves of one network; return its scalars."""
        begin = start if role == "finetuned" else SCRATCH
        paths = [self._path(role, begin, seed, epochs, change) for seed in self.networks.seeds]
        common = [self._end("finetuned", start, seed, change) for seed in self.networks.seeds]
        targets = {"own_end": [path[-1] for path in paths], "common_target": common}
        scalars: dict[str, Estimate] = {"directness": self._directness(paths)}
        for target, ends in targets.items():
            metric = f"similarity_to_{target}"
            curves = self._curves(start, paths, ends, change)
            for reading, curve in curves.items():
                self._row(metric, curve, epochs, network=role, reading=reading, **names)
            measured = curves["measured"]
            ceiling = curves.get("ceiling_second_run") if target == "common_target" else None
            if target == "own_end":
                ceiling = measured._replace(
                    points=torch.ones_like(measured.points), draws=torch.ones_like(measured.draws)
                )
            for null in ("permuted", "random_backbone"):
                if ceiling is not None and f"null_{null}" in curves:
                    room = excess(measured, curves[f"null_{null}"], ceiling)
                    self._row(metric, room, epochs, network=role, reading=f"excess_{null}", **names)
            scalars |= self._scalars(target, measured, epochs)
        for metric, estimate in scalars.items():
            self.rows.add(metric, estimate, network=role, reading="measured", **names)
        return scalars

    def _path(
        self, role: Role, start: str, seed: int, epochs: list[int], change: Change
    ) -> list[Tensor]:
        tables = [self.networks.interactions(Place(role, seed, start, epoch)) for epoch in epochs]
        return [change(table) for table in tables if table is not None]

    def _end(self, role: Role, start: str, seed: int, change: Change) -> Tensor:
        return change(self.networks.made(Place(role, seed, start, "last")))

    def _curves(
        self, start: str, paths: list[list[Tensor]], ends: list[Tensor], change: Change
    ) -> dict[str, Estimate]:
        """Return J by epoch [seeds, images, times]: as measured, under nulls, and at the ceiling."""
        generator = torch.Generator().manual_seed(derive_seed("paths", self.options.seed, start))

        def dealt(table: Tensor, end: Tensor) -> Tensor:
            draws = [
                weighted_jaccard(permute_within_orders(table, generator), end)
                for _ in range(self.options.permutations)
            ]
            return torch.stack(draws).mean(0)

        found = {
            "measured": self._curve(paths, ends, weighted_jaccard),
            "null_permuted": self._curve(paths, ends, dealt),
        }
        stand_ins: dict[str, tuple[Role, str, Epoch]] = {
            "null_random_backbone": ("null", SCRATCH, "best"),
            "ceiling_second_run": ("second", start, "last"),
        }
        for reading, (role, begin, epoch) in stand_ins.items():
            places = [Place(role, seed, begin, epoch) for seed in self.networks.seeds]
            tables = [self.networks.interactions(place) for place in places]
            if any(table is None for table in tables):
                continue
            stands = [change(table) for table in tables if table is not None]
            if role == "null":
                stands = [match_scale(t, end) for t, end in zip(stands, ends, strict=True)]
            same = [[stand] * len(paths[0]) for stand in stands]
            found[reading] = self._curve(same, ends, weighted_jaccard)
        return found

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

    def _directness(self, paths: list[list[Tensor]]) -> Estimate:
        """Return ‖I_end − I_0‖₁ / Σ_t ‖I_{t+1} − I_t‖₁ over images."""
        straight, walked = [], []
        for path in paths:
            walked.append(torch.stack([strength(b - a) for a, b in pairwise(path)]).sum(0))
            straight.append(strength(path[-1] - path[0]))
        parts, wholes = (torch.stack(each).unsqueeze(-1) for each in (straight, walked))
        return self.resampling.ratio(parts, wholes)

    def _scalars(self, target: str, curve: Estimate, epochs: list[int]) -> dict[str, Estimate]:
        times = torch.tensor(epochs)
        functions: dict[str, Callable[[Tensor], Tensor]] = {
            f"speed_to_{target}": partial(speed, epochs=times),
            f"epoch_of_half_{target}": partial(time_to, epochs=times, level=0.5),
            f"epoch_of_80_percent_{target}": partial(time_to, epochs=times, level=0.8),
            f"stability_to_{target}": stability,
        }
        return {
            name: Estimate(
                function(curve.points).unsqueeze(-1),
                function(curve.draws).unsqueeze(-1),
                curve.images[:, -1:],
                curve.undefined[:, -1:],
            )
            for name, function in functions.items()
        }

    def _row(self, metric: str, estimate: Estimate, epochs: list[int], **names: Any) -> None:
        self.rows.add(metric, estimate, epochs, where="target_epoch", **names)


def add_histories(networks: Networks, starts: list[str], rows: Rows) -> None:
    """Add losses and accuracies of all runs by epoch, and at the epoch that validation chose."""
    places: list[tuple[Role, str]] = [("scratch", SCRATCH), ("null", SCRATCH)]
    places += [(role, start) for start in starts for role in TRAINED]
    for role, start in places:
        for seed in networks.seeds:
            entry = networks.entry(Place(role, seed, start))
            if entry is None:
                continue
            names = {"network": role, "start": start, "seed": seed, "subset": "all"}
            names["source_epoch"] = entry["source_epoch"]
            history = networks.history(role, seed, start)
            for record in history.to_dict("records"):
                _add_epoch(rows, role, record, names)
            best = history[history["best"]].iloc[0]
            rows.add_number(
                "accuracy_at_validation_best",
                float(best["test_accuracy"]),
                split="test",
                target_epoch=int(best["epoch"]),
                **names,
            )


def _add_epoch(rows: Rows, role: Role, record: dict[Any, Any], names: dict[str, Any]) -> None:
    if role not in PATHS:
        return
    for split in ("train", "validation", "test"):
        for metric in ("loss", "accuracy"):
            value = record.get(f"{split}_{metric}")
            if value is not None and value == value:
                rows.add_number(
                    metric, float(value), split=split, target_epoch=int(record["epoch"]), **names
                )
