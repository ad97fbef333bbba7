"""Step `trajectory`: train on a whole target set, from one source epoch, keeping weights on the way.

The networks that the knowledge and the invariance study look into. An artifact has the layout of one
of `pretrain`: checkpoints by target epoch, their manifest, the history, the normalisation.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from headstart.artifacts.keys import Job
from headstart.artifacts.store import JobContext
from headstart.networks.reconstruction import reconstructor
from headstart.params.recipe import Selection
from headstart.steps.progress import Reporter
from headstart.steps.run_files import finish_run
from headstart.steps.sections import model_of, read_task, trajectory_of
from headstart.tasks.task import draw_shots
from headstart.training.assembly import RunImages, RunSeeds, train_run
from headstart.training.checkpoint_series import CheckpointSeries, Keeper

SHARED = ("source", "model", "target", "seed", "target_seed")
"""Wildcards that seed order and augmentation: all source epochs and arms are compared in pairs."""


def make(job: Job, context: JobContext) -> Mapping[str, Any]:
    """Train one network and write its checkpoints, their manifest and the history of all epochs."""
    options = trajectory_of(job.params)
    task = read_task(job.wildcards["target"], job.params, context.input("data"))
    shape = task.train.images.shape
    source = CheckpointSeries(
        context.input("pretrain"), model_of(job.params), shape, context.device
    )
    source_epoch = source.epoch(job.wildcards["source_epoch"])
    head_seed = options.head_seed + int(job.wildcards["target_seed"])
    network = source.start(source_epoch, len(task.classes), head_seed)
    reconstructs = options.mode == "reconstruct"
    if reconstructs:
        network = reconstructor(network, shape[-3], head_seed)
    keeper = Keeper(context.state / "checkpoints", job.params["keep"], network)
    context.log(
        f"{context.device}, from source epoch {source_epoch}, {options.epochs} epochs, "
        f"learning rate {options.learning_rate:g}"
    )
    images = RunImages(
        draw_shots(task, options.shots, options.draw),
        task,
        source.normalization_by(options.normalization, task.train),
    )
    outcome = train_run(
        network,
        images,
        options,
        options.learning_rate,
        RunSeeds("trajectory", tuple(job.wildcards[name] for name in SHARED)),
        mode=options.mode,
        device=context.device,
        selection=Selection(metric="loss" if reconstructs else "accuracy"),
        test_epochs=keeper.epochs,
        resume=context.state / "resume.pt",
        fingerprint=str(context.out),
        report=Reporter(context, options.epochs),
        keep=keeper,
    )
    summary = {**finish_run(outcome, keeper, images, context), "source_epoch": source_epoch}
    return {"seed": job.wildcards["seed"], "dtype": options.precision, "summary": summary}
