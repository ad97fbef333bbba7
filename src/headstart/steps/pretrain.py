"""Step `pretrain`: train one network on its source task, always to the end, and keep checkpoints.

With `epochs: 0` there is nothing to train: the network as it is built, with the weights that the params
name or with random ones, is the one checkpoint, epoch 0 and best.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from headstart.artifacts.keys import Job
from headstart.artifacts.store import JobContext
from headstart.networks.build import build
from headstart.networks.network import NetworkError
from headstart.networks.weights import given_pixels
from headstart.params.models import Model, Pixels
from headstart.params.recipe import Pretrain
from headstart.steps.given_series import read_series
from headstart.steps.progress import Reporter
from headstart.steps.run_files import finish_run
from headstart.steps.sections import model_of, pretrain_of, read_task
from headstart.tasks.batches import Normalization, normalization, stated_normalization
from headstart.tasks.task import TrainImages, repeated
from headstart.training.assembly import RunImages, RunSeeds, train_run
from headstart.training.checkpoint_series import Keeper


def source_normalization(model: Model, options: Pretrain, images: TrainImages) -> Normalization:
    """Return how pixels are normalised: as given weights were trained, or by the images of the source.

    Raises:
        NetworkError: the params ask for that of the weights, and nothing states it.
    """
    by, channels = options.normalization, images.images.shape[1]
    if isinstance(by, Pixels):
        return stated_normalization(by.mean, by.deviation, channels)
    given = None if by == "source" else given_pixels(model)
    if given:
        return stated_normalization(*given, channels)
    if by == "weights":
        raise NetworkError(
            "pretrain.normalization: weights, but nothing states it; give `weights.pixels`"
        )
    return normalization(images)


def make(job: Job, context: JobContext) -> Mapping[str, Any]:
    """Train one network and write its checkpoints, their manifest and the history of all epochs."""
    options, source = pretrain_of(job.params), job.wildcards["source"]
    task = read_task(source, job.params, context.input("data"))
    channels, size = task.train.images.shape[1:3]
    seeds = RunSeeds("pretrain", (source, job.wildcards["model"], job.wildcards["seed"]))
    network = build(
        model_of(job.params), channels, size, len(task.classes), seeds.of("initial weights")
    )
    keeper = Keeper(context.state / "checkpoints", job.params["keep"], network)
    if options.series:
        context.log(f"{context.device}, {len(task.train.labels):,} images, trained elsewhere")
    else:
        context.log(
            f"{context.device}, {len(task.train.labels):,} images of {len(task.classes)} classes, "
            f"{options.epochs} epochs, learning rate {options.learning_rate:g}"
        )
    images = RunImages(
        repeated(task.train, options.repeats),
        task,
        source_normalization(model_of(job.params), options, task.train),
    )
    if series := options.series:
        keeper.epochs |= {each.epoch for each in series[0]}
        outcome = read_series(network, series[0], images, keeper, options.selection, context)
        summary = finish_run(outcome, keeper, images, context)
        return {"seed": job.wildcards["seed"], "dtype": options.precision, "summary": summary}
    outcome = train_run(
        network,
        images,
        options,
        options.learning_rate,
        seeds,
        mode="pretrain",
        device=context.device,
        selection=options.selection,
        test_epochs=keeper.epochs if options.test_at_checkpoints else (),
        resume=context.state / "resume.pt",
        fingerprint=str(context.out),
        report=Reporter(context, options.epochs),
        keep=keeper,
    )
    summary = finish_run(outcome, keeper, images, context)
    return {"seed": job.wildcards["seed"], "dtype": options.precision, "summary": summary}
