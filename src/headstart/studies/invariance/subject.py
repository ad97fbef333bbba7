"""One source network, its images, clean and corrupted, its stored inversions, and all that its runs share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import pandas as pd
import torch
import torch.nn.functional as F
from jaxtyping import UInt8
from torch import Tensor, nn

from headstart.artifacts.files import read_table
from headstart.artifacts.keys import Job, derive_seed
from headstart.artifacts.store import Artifact, JobContext
from headstart.metrics.representations.comparison import Stir, measured
from headstart.metrics.representations.corruptions import corrupt
from headstart.metrics.representations.half_samples import FEWEST, half_samples
from headstart.metrics.representations.inversion import Inversion
from headstart.metrics.representations.stir import TargetGrams, layer_grams
from headstart.networks.network import Network
from headstart.statistics.measurements import select
from headstart.steps.sections import model_of, read_task
from headstart.studies.invariance.inversions import (
    ReferenceImages,
    cell_name,
    draw_reference_images,
    stored_pixels,
)
from headstart.studies.invariance.params import (
    ConvergenceCriterion,
    Invariance,
    Inversions,
    Robustness,
    Tokens,
)
from headstart.tasks.batches import EvaluationBatches, Normalization
from headstart.tasks.task import Task, TestImages
from headstart.training.assembly import EVALUATION_BATCH
from headstart.training.checkpoint_series import CheckpointSeries, Pixels
from headstart.training.evaluation import evaluate


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

    def stir(
        self,
        network: Pixels,
        reference: ReferenceImages,
        epoch: int,
        kind: str,
        members: Tensor | None = None,
    ) -> Stir:
        """Return STIR of a network given this one, with half-samples of the images where `members` say so."""
        return measured(self._grams(network, reference, epoch, kind), members)

    def _grams(
        self, network: Pixels, reference: ReferenceImages, epoch: int, kind: str
    ) -> Iterator[TargetGrams]:
        """Yield the Grams of a network on X and on the X′ of this one, one inverted layer at a time."""
        device = next(network.backbone.parameters()).device
        like = reference.pixels[:1].to(device)

        def grams(images: Iterable[Tensor]) -> Tensor:
            every, size = network.every_layer, self.batch_size
            return torch.stack([layer_grams(every, x, like, size) for x in images])

        originals = grams(reference.pixels)
        names = [cell_name(epoch, network.tokens, kind, seed) for seed in self.options.seeds]
        files = [self.artifact.file(name) for name in names]
        for j in range(len(network.layers)):
            inverted = grams(stored_pixels(file, j) for file in files)
            yield TargetGrams(originals, inverted[:, None])

    def convergence(
        self, epoch: int, tokens: str, kind: str, criterion: ConvergenceCriterion
    ) -> dict[int, Convergence]:
        """Return, for every layer, how many images of all seeds meet the criterion."""
        mine = select(self.residuals, target_epoch=epoch, tokens=tokens, kind=kind)
        return {
            int(str(layer)): _convergence(rows, criterion) for layer, rows in mine.groupby("layer")
        }

    def residual(self, epoch: int, seed: int, layer: int, **reading: str) -> Tensor:
        """Return the relative residuals of the images of one seed and layer, in their order."""
        cell = {"target_epoch": epoch, "inversion_seed": seed, "layer": layer, **reading}
        rows = select(self.residuals, **cell)
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


PRETRAINED = "pretrained"
"""Where a run's name would stand, the network that runs start from."""
RUN = ("arm", "source_epoch", "target_seed")


class Subject:
    """One source network, the images, and everything that its runs share."""

    def __init__(self, job: Job, context: JobContext) -> None:
        self.job, self.context = job, context
        self.options = Invariance.model_validate(job.params["invariance"])
        self.model = model_of(job.params)
        self.task = read_task(job.wildcards["target"], job.params, context.input("data"))
        self.reference = draw_reference_images(self.task, self.options.inversions)
        self.shape = self.reference.pixels.shape
        self.source = self.checkpoints(context.input("pretrain"))
        self.inverted = {
            tuple(one.manifest["wildcards"][name] for name in RUN): Inverted(
                one, self.options.inversions, self.options.inversions.batch_size
            )
            for one in context.inputs["inversions"]
        }
        self.corrupted = CorruptedImages(self.task, self.options.robustness)
        self.pretrained_stir = cache(self._pretrained_stir)

    def checkpoints(self, artifact: Artifact) -> CheckpointSeries:
        """Return the checkpoints of a network of this model."""
        return CheckpointSeries(artifact, self.model, self.shape, self.context.device)

    def pixels(self, checkpoints: CheckpointSeries, epoch: int, tokens: Tokens) -> Pixels:
        """Return a checkpoint as a function of pixels, for the layers that are compared."""
        return checkpoints.pixels(epoch, self.options.inversions.layers, tokens)

    def inversions(self, arm: str, source_epoch: str, target_seed: str) -> Inverted:
        """Return the stored inversions of a run, or of the network that runs start from."""
        return self.inverted[arm, source_epoch, target_seed]

    @cached_property
    def source_images(self) -> TestImages | None:
        """Return the test images of the source; None where nothing was trained on it here."""
        if "source_task" not in self.job.params:
            return None
        params = {"task": self.job.params["source_task"]}
        return read_task(
            self.job.wildcards["source"], params, self.context.input("source_data")
        ).test

    def source_accuracy(
        self, backbone: nn.Module, epoch: int, normalization: Normalization
    ) -> float:
        """Return accuracy on the test images of the source under the head of a source epoch; NaN without one."""
        history = read_table(self.source.artifact.file("history.parquet"))
        known = select(history, epoch=epoch)["validation_accuracy"].notna().any()
        if self.source_images is None or not epoch or not known:
            return float("nan")
        network = self.source.classifier(epoch)
        network.backbone = backbone
        batches = EvaluationBatches(
            self.source_images, normalization, EVALUATION_BATCH, self.context.device
        )
        return evaluate(network, batches).accuracy

    @cached_property
    def members(self) -> Tensor | None:
        """Return the half-samples of the images, the same for all networks; None for too few images."""
        images = self.reference.pixels.shape[1]
        if images < FEWEST:
            return None
        generator = torch.Generator().manual_seed(derive_seed("invariance half-samples"))
        drawn = half_samples(images, generator, self.options.resamples)
        return drawn.to(self.context.device)

    def _pretrained_stir(self, source_epoch: str, tokens: Tokens, kind: str) -> Stir:
        epoch = self.source.epoch(source_epoch)
        network = self.pixels(self.source, epoch, tokens)
        inverted = self.inversions(PRETRAINED, source_epoch, "0")
        return inverted.stir(network, self.reference, epoch, kind, self.members)


CLEAN = "clean"


class CorruptedImages:
    """Test images of a task, clean and under every corruption and severity, as 8-bit pixels."""

    def __init__(self, task: Task, options: Robustness) -> None:
        generator = torch.Generator().manual_seed(derive_seed("robustness images", task.name))
        chosen = torch.randperm(len(task.test.labels), generator=generator)[: options.images]
        test = task.test
        self.clean = TestImages(test.images[chosen], test.labels[chosen], test.classes)
        self.side = options.side
        self.variants = {(CLEAN, 0): self.clean} | {
            (name, severity): self._corrupted(name, severity)
            for name in options.corruptions
            for severity in options.severities
        }

    def accuracy(
        self, network: Network, normalization: Normalization, device: str
    ) -> Iterator[dict[str, Any]]:
        """Yield one row per corruption and severity."""
        for (name, severity), images in self.variants.items():
            batches = EvaluationBatches(images, normalization, EVALUATION_BATCH, device)
            yield {
                "split": "test",
                "metric": "accuracy",
                "corruption": name,
                "severity": severity,
                "value": evaluate(network, batches).accuracy,
                "n": len(images.labels),
            }

    def _corrupted(self, name: str, severity: int) -> TestImages:
        generator = torch.Generator().manual_seed(derive_seed("corruption", name, severity))
        images, size = self.clean.images, self.clean.images.shape[-1]
        if self.side not in (None, size):
            images = resized(images, self.side)
        pixels: Tensor = corrupt(images.float() / 255, name, severity, generator)
        # As in the published sets, corrupted images are pictures of 8 bits.
        stored = resized((pixels * 255).round().to(torch.uint8), size)
        return TestImages(stored, self.clean.labels, self.clean.classes)


def resized(images: UInt8[Tensor, "b c h w"], side: int) -> UInt8[Tensor, "b c side side"]:
    """Return images of another side: enlarged as datasets are, bicubic; made smaller to undo just that.

    Enlarging by an odd factor keeps every pixel in the middle of its square, where it is read again.
    """
    size = images.shape[-1]
    if side == size:
        return images
    factor, rest = divmod(size, side)
    if factor % 2 and not rest:
        return images[..., factor // 2 :: factor, factor // 2 :: factor].contiguous()
    found = F.interpolate(images.float(), (side, side), mode="bicubic", antialias=True)
    return found.round().clamp(0, 255).to(torch.uint8)
