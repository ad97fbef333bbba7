"""The images that are inverted, and what is stored of their inversions."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float32, Int64
from torch import Tensor

from headstart.artifacts.seeds import derive_seed
from headstart.studies.invariance.params import Inversions
from headstart.tasks import TaskError
from headstart.tasks.task import Task


@dataclass(frozen=True)
class ReferenceImages:
    """Images X of every seed, with their positions in the part of the task that they come from."""

    positions: Int64[Tensor, "seeds images"]
    pixels: Float32[Tensor, "seeds images channels height width"]


def draw_reference_images(task: Task, options: Inversions) -> ReferenceImages:
    """Draw the images of every seed, the same for all networks, fewer of them among more of them.

    Raises:
        TaskError: the part of the task has fewer images than asked for.
    """
    part = task.test if options.part == "test" else task.validation
    if options.images > len(part.labels):
        raise TaskError(
            f"inversions.images: {options.images} are asked for, but {task.name} has "
            f"{len(part.labels)} {options.part} images; ask for fewer"
        )
    positions = torch.stack(
        [_order(len(part.labels), task.name, seed)[: options.images] for seed in options.seeds]
    )
    return ReferenceImages(positions, part.images[positions].float() / 255)


def _order(number: int, task: str, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(derive_seed("invariance images", task, seed))
    return torch.randperm(number, generator=generator)


def cell_name(epoch: int, kind: str, seed: int) -> str:
    """Return the file name of the inversions of one network from one seed."""
    return f"epoch-{epoch:04d}-{kind}-seed{seed}.safetensors"
