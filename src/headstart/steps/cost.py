"""What a job takes, said from its params alone: for estimates before anything runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from headstart.artifacts.keys import Job
from headstart.params.core import CoreParams
from headstart.tasks.nominal import Size, dataset_size, task_size

# Per epoch of a training run: one row of its history.
ROW = 100


@dataclass(frozen=True)
class Cost:
    """What one job takes.

    Attributes:
        runs: networks that it trains, or asks.
        files: beside checkpoints, the manifest among them.
        disk: bytes beside checkpoints and what any file takes.
        checkpoints: weights that it keeps.
        held: bytes of images in memory.
        model: name of the model in the params; empty where no network is used.
        size: shape of its images.
        batch: images per pass, of each network.
        slots: networks that are trained together, as one program.
        trained: images that go forward and backward, over all runs.
        evaluated: images that go forward alone.
        guessed: whether the number of images is unknown.
        seconds: beside the network's, on one core of a server of 2024.
    """

    runs: int = 0
    files: int = 2
    disk: float = 0
    checkpoints: int = 0
    held: float = 0
    model: str = ""
    size: Size | None = None
    batch: int = 1
    slots: int = 1
    trained: float = 0
    evaluated: float = 0
    guessed: bool = False
    seconds: float = 0


def asked(job: Job, params: CoreParams, task: str, **more: Any) -> Cost:
    """Return the cost of a job that holds the dataset of a task and uses the model of its wildcards."""
    size = task_size(job.wildcards[task], params)
    whole = dataset_size(params.datasets[params.tasks[job.wildcards[task]].dataset])
    return Cost(
        held=whole.images * whole.pixels,
        model=job.wildcards["model"],
        size=size,
        guessed=size.guessed,
        **more,
    )


def recalibrated(options: Mapping[str, Any], images: int) -> int:
    """Return the images that every epoch shows once more, to estimate running statistics anew."""
    return images if options["recalibrate_batch_norm"] else 0


def data(job: Job, params: CoreParams) -> Cost:
    """Return the cost of a dataset: one byte per number of an image, read and written."""
    size = dataset_size(params.datasets[job.wildcards["dataset"]])
    held = size.images * size.pixels
    return Cost(files=3, disk=held, held=2 * held, guessed=size.guessed)


def pretrain(job: Job, params: CoreParams) -> Cost:
    """Return the cost of a source network: every epoch is validated, the best and the last are tested."""
    options, size = job.params["pretrain"], task_size(job.wildcards["source"], params)
    epochs = options["epochs"]
    return asked(
        job,
        params,
        "source",
        runs=1,
        files=4,
        disk=ROW * epochs,
        checkpoints=len(job.params["keep"]),
        batch=options["batch_size"],
        trained=0 if job.params.get("series") else epochs * options["repeats"] * size.images,
        evaluated=(epochs + 1) * (size.validation + recalibrated(options, size.images))
        + size.images
        + 2 * size.test,
    )


def trajectory(job: Job, params: CoreParams) -> Cost:
    """Return the cost of a run whose checkpoints are kept; a probe trains a head on cached features."""
    options, size = job.params["trajectory"], task_size(job.wildcards["target"], params)
    epochs, shots = options["epochs"], options["shots"]
    images = size.images if shots == "all" else min(size.images, shots * size.classes)
    probe = options["mode"] == "probe"
    every = 1 if probe else epochs + 1
    return asked(
        job,
        params,
        "target",
        runs=1,
        files=4,
        disk=ROW * epochs,
        checkpoints=len(job.params["keep"]),
        batch=options["batch_size"],
        trained=0 if probe else epochs * images,
        evaluated=images
        + every * (size.validation + recalibrated(options, images))
        + 2 * size.test,
    )


def tables(_: Job, __: CoreParams) -> Cost:
    """Return the cost of the tables of a study."""
    return Cost(files=7, disk=150_000)


def controls(job: Job, _: CoreParams) -> Cost:
    """Return the cost of the controls of a study: about a second for each resample of all."""
    return Cost(files=3, disk=6_000, seconds=job.params["resamples"])


def figures(_: Job, __: CoreParams) -> Cost:
    """Return the cost of the figures of a study: about ten, in three formats, and its notebook."""
    return Cost(files=40, disk=2_500_000, seconds=12)


def products(job: Job, _: CoreParams) -> Cost:
    """Return the cost of the report, or of the copies of figures and report that a person opens."""
    drawn = len(job.inputs["figures"])
    # The report holds its pictures as they are, the copies every format.
    return Cost(files=2 + 40 * drawn * (job.step == "publish"), disk=2_000_000 * drawn)
