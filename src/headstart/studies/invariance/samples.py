"""Inverted images beside those that a network represents alike, for people."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import torch

from headstart.artifacts.keys import Job
from headstart.artifacts.store import open_artifact
from headstart.steps.samples import scaled, write_sheet
from headstart.steps.sections import read_task
from headstart.studies.invariance.inversions import (
    cell_name,
    draw_reference_images,
    stored_pixels,
)
from headstart.studies.invariance.params import Inversions

COLUMNS, LAYERS = 8, 6


def draw(jobs: Iterable[Job], folder: Path) -> Iterator[Path]:
    """Write a sheet of inverted images for every task with fine-tuned networks; yield its path."""
    inverted = [job for job in jobs if job.step == "inversions"]
    tuned = {job.wildcards["target"]: job for job in inverted if job.wildcards["arm"] == "finetune"}
    for target, job in sorted(tuned.items()):
        yield _draw(job, target, folder / f"inverted_{target}.png")


def _draw(job: Job, target: str, path: Path) -> Path:
    inverted, options = open_artifact(job), Inversions.model_validate(job.params["inversions"])
    task = read_task(target, job.params, open_artifact(job.inputs["data"][0]))
    reference = draw_reference_images(task, options).pixels[0, :COLUMNS]
    summary = inverted.manifest["summary"]
    layers, epoch = summary["layers"], summary["epochs"][-1]
    places = torch.linspace(0, len(layers) - 1, min(LAYERS, len(layers))).round().int().tolist()
    name = cell_name(epoch, options.readings[0], options.kinds[0], options.seeds[0])
    file = inverted.file(name)
    rows = [reference, *(stored_pixels(file, place)[:COLUMNS].float() for place in places)]
    pixels = (torch.cat(rows) * 255).round().clamp(0, 255).to(torch.uint8)
    listed = ", ".join(str(layers[place]) for place in places)
    about = (
        f"Above: {options.part} images of {target}. Below: images that the fine-tuned network represents as it "
        f"does the one above, after block {listed}, found from {options.kinds[0]}. How exactly, the figure of "
        "residuals says; values beyond black and white are cut."
    )
    images = [scaled(image) for image in pixels.numpy()]
    columns = len(reference)
    write_sheet(
        path, images, columns, f"Which images are alike to a network that learnt {target}?", about
    )
    return path
