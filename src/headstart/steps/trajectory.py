"""Step `trajectory`: train on a whole target set, from one source epoch, keeping weights on the way.

The networks that the knowledge and the invariance study look into. An artifact has the layout of one
of `pretrain`: checkpoints by target epoch, their manifest, the history, the normalisation.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from headstart.artifacts.keys import Job
from headstart.artifacts.seeds import derive_seed
from headstart.artifacts.store import JobContext
from headstart.networks.network import Network
from headstart.networks.reconstruction import reconstructor
from headstart.params.recipe import Selection
from headstart.params.trajectory import Trajectory
from headstart.steps.pretrain import EVALUATION_BATCH, Keeper, summary_of, write_normalization
from headstart.steps.progress import Reporter
from headstart.steps.sections import model_of, task_of, trajectory_of
from headstart.tasks.batches import EvaluationBatches, TrainBatches
from headstart.tasks.dataset import read
from headstart.tasks.task import Task, draw_shots, make_task
from headstart.training.checkpoint_series import Pretrained
from headstart.training.features import cached, head_only
from headstart.training.loop import Outcome, fit
from headstart.training.objectives import CLASSIFICATION, RECONSTRUCTION


def make(job: Job, context: JobContext) -> Mapping[str, Any]:
    """Train one network and write its checkpoints, their manifest and the history of all epochs."""
    options, data = trajectory_of(job.params), context.input("data")
    data.file("images.safetensors")
    task = make_task(job.wildcards["target"], task_of(job.params), read(data.path))
    shape = task.train.images.shape
    pretrained = Pretrained(context.input("pretrain"), model_of(job.params), shape, context.device)
    pretrained.normalize(options.normalization, task.train)
    source_epoch = pretrained.epoch(_number(job.wildcards["source_epoch"]))
    head_seed = options.head_seed + int(job.wildcards["target_seed"])
    network = pretrained.start(source_epoch, len(task.classes), head_seed)
    if options.mode == "reconstruct":
        network = reconstructor(network, shape[-3], head_seed)
    keeper = WholeKeeper(context.state / "checkpoints", job.params["keep"], network)
    context.log(
        f"{context.device}, from source epoch {source_epoch}, {options.epochs} epochs, "
        f"learning rate {options.learning_rate:g}"
    )
    outcome = _train(network, task, options, job, keeper, context, pretrained)
    keeper.finish(outcome, context.out)
    write_normalization(pretrained.normalization, task, context.out)
    summary = {**summary_of(outcome), "source_epoch": source_epoch}
    context.log(summary["text"])
    return {"seed": job.wildcards["seed"], "dtype": options.precision, "summary": summary}


class WholeKeeper(Keeper):
    """Keeps whole networks, also where the loop trains the head alone, on cached features."""

    def keep(self, epoch: int, state: Mapping[str, Any], steps: int, samples: int) -> None:
        """Write one checkpoint and what its entry in the manifest says."""
        super().keep(epoch, {**self.initial, **state}, steps, samples)


def _number(source_epoch: str) -> int | str:
    return source_epoch if source_epoch == "best" else int(source_epoch)


def _train(
    network: Network,
    task: Task,
    options: Trajectory,
    job: Job,
    keeper: WholeKeeper,
    context: JobContext,
    pretrained: Pretrained,
) -> Outcome:
    """Train; order and augmentation are shared by all source epochs and arms, to compare them in pairs."""
    names = [job.wildcards[name] for name in ("source", "model", "target", "seed", "target_seed")]
    statistics = pretrained.normalization
    train: Any = TrainBatches(
        draw_shots(task, options.shots, options.draw),
        statistics,
        options.batch_size,
        options.augmentation,
        context.device,
        derive_seed("trajectory", *names),
        options.channels_last,
    )
    validation: Any
    test: Any
    validation, test = (
        EvaluationBatches(part, statistics, EVALUATION_BATCH, context.device, options.channels_last)
        for part in (task.validation, task.test)
    )
    trained, draws = network, options.mode == "reconstruct"
    if options.mode == "probe":
        trained = head_only(network)
        train, validation, test = (cached(network, part) for part in (train, validation, test))
    return fit(
        trained,
        train,
        validation,
        test,
        options,
        options.learning_rate,
        derive_seed("training", *names),
        objective=RECONSTRUCTION if draws else CLASSIFICATION,
        selection=Selection(metric="loss" if draws else "accuracy"),
        test_epochs=keeper.epochs,
        keep=keeper,
        resume=context.state / "resume.pt",
        fingerprint=str(context.out),
        report=Reporter(context, options.epochs),
    )
