"""Step `inversions`: inputs that a network represents as it does given images, layer by layer.

One job inverts one network (or one run at several epochs) at all layers and from all seeds; every
comparison of that network with another reads them from here. What is finished survives a kill,
layer by layer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from jaxtyping import Float32, Int64
from safetensors import safe_open
from torch import Tensor

from headstart.artifacts.files import write_table
from headstart.artifacts.keys import Job, derive_seed
from headstart.artifacts.store import JobContext
from headstart.metrics.representations.inversion import (
    FAST,
    LONG,
    PAPER,
    Inversion,
    InversionOptimizer,
    Represent,
    invert,
    seed_images,
    tensor_float_32,
)
from headstart.steps.sections import model_of, read_task
from headstart.studies.invariance.params import Inversions
from headstart.tasks import TaskError
from headstart.tasks.task import Task
from headstart.training.checkpoint_series import CheckpointSeries, Pixels
from headstart.training.checkpoints import load, save

PRESETS = {"paper": PAPER, "long": LONG, "fast": FAST}
RESIDUALS = ("residual", "seed_residual", "other_residual")


def make(job: Job, context: JobContext) -> Mapping[str, Any]:
    """Invert a network; write pixels [layers, images, …] per epoch, kind and seed, and residuals."""
    options = Inversions.model_validate(job.params["inversions"])
    task = read_task(job.wildcards["target"], job.params, context.input("data"))
    reference = draw_reference_images(task, options)
    checkpoints = CheckpointSeries(
        context.input("network"), model_of(job.params), reference.pixels.shape, context.device
    )
    epochs = dict.fromkeys(checkpoints.epoch(requested) for requested in job.params["epochs"])
    context.log(
        f"{context.device}, {len(epochs)} networks, {options.images} images, "
        f"{len(options.seeds)} seeds, {optimizer_of(options).steps} steps"
    )
    end, parts = checkpoints.epoch(job.params["epochs"][-1]), []
    for epoch in epochs:
        # On the way only the reading that decides is followed.
        for tokens in options.readings if epoch == end else options.readings[:1]:
            network = checkpoints.pixels(epoch, options.layers, tokens)
            for kind, index in product(options.kinds, range(len(options.seeds))):
                bundle = Bundle(network, reference, options, epoch, kind, index, context)
                parts.append(bundle.write(context.out / bundle.name))
        context.log(_describe(epoch, parts[-1]), detail=epoch != list(epochs)[-1])
    table = pd.concat(parts, ignore_index=True)
    write_table(context.out / "residuals.parquet", table)
    return {
        "seed": job.wildcards["seed"],
        "dtype": "float32",
        "summary": {"epochs": list(epochs), "layers": list(network.layers)},
    }


def optimizer_of(options: Inversions) -> InversionOptimizer:
    """Return the optimizer of pixels that the params name."""
    if isinstance(options.optimizer, str):
        return PRESETS[options.optimizer]
    return InversionOptimizer(**options.optimizer.model_dump())


@dataclass(frozen=True)
class ReferenceImages:
    """Images X of every seed, with their positions in the part of the task that they come from."""

    positions: Int64[Tensor, "seeds images"]
    pixels: Float32[Tensor, "seeds images channels height width"]


def draw_reference_images(task: Task, options: Inversions) -> ReferenceImages:
    """Draw the images of every seed, the same for all networks, fewer of them among more of them.

    Raises:
        TaskError: the part of the task has fewer images than requested.
    """
    part = task.test if options.part == "test" else task.validation
    if options.images > len(part.labels):
        raise TaskError(
            f"inversions.images: {options.images} are requested, but {task.name} has "
            f"{len(part.labels)} {options.part} images; ask for fewer"
        )
    positions = torch.stack(
        [_order(len(part.labels), task.name, seed)[: options.images] for seed in options.seeds]
    )
    return ReferenceImages(positions, part.images[positions].float() / 255)


def _order(number: int, task: str, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(derive_seed("invariance images", task, seed))
    return torch.randperm(number, generator=generator)


def cell_name(epoch: int, tokens: str, kind: str, seed: int) -> str:
    """Return the file name of the inversions of one network, read in one way, from one seed."""
    return f"epoch-{epoch:04d}-{tokens}-{kind}-seed{seed}.safetensors"


def stored_pixels(file: Path, index: int) -> Tensor:
    """Return the inverted images of one layer, by its place in the file; the others are not read."""
    with safe_open(file, "pt") as tensors:
        part: Tensor = tensors.get_slice("pixels")[index]
        return part


class Bundle:
    """All layers of one network from one kind and seed of starting points."""

    def __init__(
        self,
        network: Pixels,
        reference: ReferenceImages,
        options: Inversions,
        epoch: int,
        kind: str,
        index: int,
        context: JobContext,
    ) -> None:
        self.network, self.options, self.context = network, options, context
        self.epoch, self.kind, self.seed = epoch, kind, options.seeds[index]
        self.name = cell_name(epoch, network.tokens, kind, self.seed)
        self.positions = reference.positions[index]
        self.pixels = reference.pixels[index].to(context.device)

    def write(self, path: Path) -> pd.DataFrame:
        """Write the pixels of all layers; return one row per layer and image."""
        found = dict(self._layers())
        stored = torch.stack([cell["pixels"] for cell in found.values()])
        save({"pixels": stored}, path)
        rows = [
            pd.DataFrame(
                {
                    "target_epoch": self.epoch,
                    "tokens": self.network.tokens,
                    "kind": self.kind,
                    "inversion_seed": self.seed,
                    "layer": layer,
                    "image": self.positions.numpy(),
                    **{name: cell[name].double().cpu().numpy() for name in RESIDUALS},
                }
            )
            for layer, cell in found.items()
        ]
        return pd.concat(rows, ignore_index=True)

    def _layers(self) -> Iterator[tuple[int, dict[str, Tensor]]]:
        for layer in self.network.layers:
            kept = self.context.state / self.name.replace(".", f"-layer{layer:02d}.")
            if not kept.exists():
                save(self._invert(layer), kept)
            yield layer, load(kept)

    def _invert(self, layer: int) -> dict[str, Tensor]:
        """Return what is stored of one layer, with the residuals of just that."""
        # The same starting points for all networks and layers: they are compared in pairs.
        generator = torch.Generator().manual_seed(derive_seed("inversion", self.kind, self.seed))
        starts = seed_images(self.pixels, self.kind, generator)  # type: ignore[arg-type]
        represent, size = self.network.until(layer), self.options.batch_size
        targets = representations(represent, self.pixels, size)
        precision = tensor_float_32 if self.options.tf32 else nullcontext
        found = invert(represent, targets, starts, optimizer_of(self.options), size, precision)
        stored = found.images.to(getattr(torch, self.options.precision))
        shown = representations(represent, stored.float(), size)
        cell = dict(zip(RESIDUALS, _residuals(found, shown, targets), strict=True))
        return {"pixels": stored, **cell}


def _residuals(found: Inversion, shown: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    flat = targets.flatten(1)
    of_stored = (shown.flatten(1) - flat).norm(dim=1) / flat.norm(dim=1)
    return of_stored, found.seed_residual, found.other_residual


def representations(represent: Represent, images: Tensor, batch_size: int) -> Tensor:
    """Return the features of images, batch by batch, without gradients."""
    with torch.no_grad():
        return torch.cat([represent(part) for part in images.split(batch_size)])


def _describe(epoch: int, table: pd.DataFrame) -> str:
    share = table["residual"] / table["other_residual"]
    by_layer = share.groupby(table["layer"]).median()
    listed = ", ".join(f"{value:.3f}" for value in by_layer)
    return f"epoch {epoch}: median residual by layer, of the distance to other images: {listed}"
