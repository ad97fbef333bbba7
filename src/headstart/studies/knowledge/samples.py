"""Masked images as networks see them, for people."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from headstart.artifacts.files import read_json
from headstart.artifacts.keys import Job, derive_seed
from headstart.artifacts.store import open_artifact
from headstart.steps.samples import scaled, write_sheet
from headstart.steps.sections import read_task
from headstart.studies.knowledge.params import Scores
from headstart.studies.knowledge.subjects import choose_subjects, masked_inputs
from headstart.tasks.batches import Normalization

ROWS, COLUMNS = 4, 6


def draw(jobs: Iterable[Job], folder: Path) -> Iterator[Path]:
    """Write a sheet of masked images for every task whose masked images were scored; yield its path."""
    scored = {job.wildcards["target"]: job for job in jobs if job.step == "values"}
    for target, job in sorted(scored.items()):
        yield _draw(job, target, folder / f"masked_{target}.png")


def _draw(job: Job, target: str, path: Path) -> Path:
    options = Scores.model_validate(job.params["scores"])
    run = open_artifact(job.inputs["trajectory"][0])
    seen = Normalization.from_dict(read_json(run.file("normalization.json")))
    task = read_task(target, job.params, open_artifact(job.inputs["data"][0]))
    subjects = choose_subjects(options, task)
    n, rows = subjects.count, min(ROWS, len(subjects.labels))
    masks = kept_players(n)
    masked = masked_inputs(subjects, options.baseline, seen, task, "cpu")(torch.arange(rows), masks)
    mean, std = (torch.tensor(each).view(-1, 1, 1) for each in (seen.mean, seen.std))
    pixels = ((masked * std + mean) * 255).round().clamp(0, 255).to(torch.uint8)
    about = (
        f"Test images of {target}. From left to right {', '.join(map(str, masks.sum(1).tolist()))} of {n} players are visible; "
        f"what is hidden shows the baseline ({options.baseline.kind})."
    )
    images = [scaled(image) for image in pixels.numpy()]
    write_sheet(path, images, COLUMNS, f"What do networks see of masked {target} images?", about)
    return path


def kept_players(n: int) -> Bool[Tensor, "columns n"]:
    """Return which of n players are visible in each column: all, fewer and fewer of them, none."""
    generator = torch.Generator().manual_seed(derive_seed("sheet of masked images", n))
    order = torch.randperm(n, generator=generator)
    masks = torch.zeros(COLUMNS, n, dtype=torch.bool)
    for mask, count in zip(masks, np.linspace(n, 0, COLUMNS).round().astype(int), strict=True):
        mask[order[:count]] = True
    return masks
