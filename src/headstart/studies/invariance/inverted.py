"""Stored inversions as the comparisons read them: pixels, residuals, and whether they converged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from headstart.artifacts.files import read_table
from headstart.artifacts.store import Artifact
from headstart.metrics.representations.inversion import Inversion
from headstart.metrics.representations.stir import TargetGrams, target_grams
from headstart.statistics.measurements import select
from headstart.studies.invariance.inversions import ReferenceImages, cell_name
from headstart.studies.invariance.params import ConvergenceCriterion, Inversions
from headstart.training.checkpoint_series import Pixels
from headstart.training.checkpoints import load


@dataclass(frozen=True)
class Convergence:
    """How well one layer of one network was inverted, over all its seeds."""

    pass_rate: float
    strict_pass_rate: float
    residual: float
    """Median, as a share of what the criterion compares with."""
    reason: str | None
    """Why the layer should not be trusted; None where enough images pass."""


class Inverted:
    """The inversions of one network, or of one run at several epochs."""

    def __init__(self, artifact: Artifact, options: Inversions, batch_size: int) -> None:
        self.artifact, self.options, self.batch_size = artifact, options, batch_size
        self.residuals: pd.DataFrame = read_table(artifact.file("residuals.parquet"))
        summary: dict[str, Any] = artifact.manifest["summary"]
        self.epochs: list[int] = summary["epochs"]

    def grams(
        self, network: Pixels, reference: ReferenceImages, epoch: int, kind: str
    ) -> TargetGrams:
        """Return the Grams of a network on X and on the X′ of this one, seed by seed."""
        parts = []
        for index, seed in enumerate(self.options.seeds):
            stored = load(self.artifact.file(cell_name(epoch, kind, seed)))["pixels"]
            device = next(network.backbone.parameters()).device
            x, inverted = reference.pixels[index].to(device), stored.float().to(device)
            parts.append(
                target_grams(network.every_layer, x[None], inverted[None], self.batch_size)
            )
        return TargetGrams(
            torch.cat([part.originals for part in parts]),
            torch.cat([part.inverted for part in parts]),
        )

    def convergence(
        self, epoch: int, kind: str, criterion: ConvergenceCriterion
    ) -> dict[int, Convergence]:
        """Return, for every layer, how many images of all seeds meet the criterion."""
        mine = select(self.residuals, target_epoch=epoch, kind=kind)
        return {
            int(str(layer)): _convergence(rows, criterion) for layer, rows in mine.groupby("layer")
        }

    def residual(self, epoch: int, kind: str, seed: int, layer: int) -> Tensor:
        """Return the relative residuals of the images of one seed and layer, in their order."""
        rows = select(
            self.residuals, target_epoch=epoch, kind=kind, inversion_seed=seed, layer=layer
        )
        return torch.from_numpy(rows["residual"].to_numpy(copy=True))


def _convergence(rows: pd.DataFrame, criterion: ConvergenceCriterion) -> Convergence:
    names = ("residual", "seed_residual", "other_residual")
    values = [torch.from_numpy(rows[name].to_numpy(copy=True)) for name in names]
    # The criterion reads residuals only.
    found = Inversion(torch.empty(len(rows), 0), *values)
    scale = {"features": torch.ones_like(values[0]), "seed": values[1], "other": values[2]}
    return Convergence(
        found.pass_rate(criterion.threshold, criterion.relative_to),
        found.pass_rate(criterion.strict, criterion.relative_to),
        float((values[0] / scale[criterion.relative_to]).median()),
        found.unconverged_reason(
            criterion.minimum_pass_rate, criterion.threshold, criterion.relative_to
        ),
    )
