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
from headstart.params.models import Model
from headstart.steps.progress import Reporter
from headstart.steps.run_files import finish_run
from headstart.steps.sections import model_of, pretrain_of, read_task
from headstart.tasks.batches import Normalization, normalization
from headstart.tasks.task import repeated
from headstart.training.assembly import RunImages, RunSeeds, train_run
from headstart.training.checkpoint_series import Keeper


def given_normalization(model: Model, channels: int) -> Normalization | None:
    """Return how pixels were normalised for given weights; None: as the source's images say."""
    pixels = model.weights and model.weights.pixels
    if not pixels:
        return None
    return Normalization((pixels.mean,) * channels, (pixels.deviation,) * channels)


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
    context.log(
        f"{context.device}, {len(task.train.labels):,} images of {len(task.classes)} classes, "
        f"{options.epochs} epochs, learning rate {options.learning_rate:g}"
    )
    given = given_normalization(model_of(job.params), channels)
    images = RunImages(
        repeated(task.train, options.repeats), task, given or normalization(task.train)
    )
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
