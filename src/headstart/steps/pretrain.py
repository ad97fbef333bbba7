"""Step `pretrain`: train one network on its source task, always to the end, and keep checkpoints.

With `epochs: 0` there is nothing to train: the network as it is built, with the weights that the params
name or with random ones, is the one checkpoint, epoch 0 and best.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from headstart.artifacts.files import read_json, write_json, write_table
from headstart.artifacts.keys import Job
from headstart.artifacts.seeds import derive_seed
from headstart.artifacts.store import JobContext
from headstart.networks.build import build
from headstart.networks.network import Network
from headstart.networks.weights import state_digest
from headstart.params.recipe import Pretrain
from headstart.steps.progress import Reporter, in_words
from headstart.steps.sections import model_of, pretrain_of, task_of
from headstart.tasks.batches import EvaluationBatches, Normalization, TrainBatches, normalization
from headstart.tasks.dataset import read
from headstart.tasks.task import Task, make_task, repeated
from headstart.training.checkpoints import distance, save
from headstart.training.loop import Outcome, Progress, fit

# Larger ones leave the cache of a CPU core, and take longer per image.
EVALUATION_BATCH = 256


def make(job: Job, context: JobContext) -> Mapping[str, Any]:
    """Train one network and write its checkpoints, their manifest and the history of all epochs."""
    options, name = pretrain_of(job.params), job.wildcards["source"]
    data = context.input("data")
    data.file("images.safetensors")
    task = make_task(name, task_of(job.params), read(data.path))
    channels, size = task.train.images.shape[1], task.train.images.shape[2]
    names = (name, job.wildcards["model"], job.wildcards["seed"])
    network = build(
        model_of(job.params),
        channels,
        size,
        len(task.classes),
        derive_seed("initial weights", *names),
    )
    keeper = Keeper(context.state / "checkpoints", job.params["keep"], network)
    context.log(
        f"{context.device}, {len(task.train.labels):,} images of {len(task.classes)} classes, "
        f"{options.epochs} epochs, learning rate {options.learning_rate:g}"
    )
    outcome = _train(network, task, options, names, keeper, context)
    keeper.finish(outcome, context.out)
    write_normalization(normalization(task.train), task, context.out)
    summary = summary_of(outcome)
    context.log(summary["text"])
    return {"seed": job.wildcards["seed"], "dtype": options.precision, "summary": summary}


class Keeper:
    """Writes the checkpoints of a run, and can go on where a killed run stopped."""

    def __init__(self, folder: Path, epochs: Collection[int], network: Network) -> None:
        self.folder, self.epochs = folder, set(epochs)
        folder.mkdir(parents=True, exist_ok=True)
        self.initial = {
            name: value.detach().cpu().clone() for name, value in network.state_dict().items()
        }

    def __call__(self, epoch: int, network: Network, progress: Progress) -> None:
        """Keep the weights of this epoch where the params ask for them."""
        if epoch in self.epochs:
            self.keep(epoch, network.state_dict(), progress.steps, progress.samples)

    def keep(self, epoch: int, state: Mapping[str, Any], steps: int, samples: int) -> None:
        """Write one checkpoint and what its entry in the manifest says."""
        state = {name: value.detach().cpu().contiguous() for name, value in state.items()}
        save(state, self.folder / checkpoint_name(epoch))
        entry = {
            "epoch": epoch,
            "steps": steps,
            "samples": samples,
            "sha256": state_digest(state),
            "distance": distance(state, self.initial),
        }
        write_json(self.folder / f"epoch-{epoch:04d}.json", entry)

    def finish(self, outcome: Outcome, out: Path) -> None:
        """Put all checkpoints into the artifact, `best` among them, and write their manifest."""
        best = outcome.history[outcome.best_epoch]
        if outcome.best_epoch not in self.epochs:
            self.keep(outcome.best_epoch, outcome.best_state, best.steps, best.samples)
        kept = sorted(self.epochs | {outcome.best_epoch})
        entries = [read_json(self.folder / f"epoch-{epoch:04d}.json") for epoch in kept]
        for epoch in kept:
            shutil.copyfile(self.folder / checkpoint_name(epoch), out / checkpoint_name(epoch))
        write_json(out / "checkpoints.json", {"best": outcome.best_epoch, "checkpoints": entries})
        write_table(out / "history.parquet", history_table(outcome))


def checkpoint_name(epoch: int) -> str:
    """Return the file name of an epoch's weights."""
    return f"epoch-{epoch:04d}.safetensors"


def history_table(outcome: Outcome) -> pd.DataFrame:
    """Return one row per epoch; test accuracy where it was read, at the chosen epoch too."""
    table = pd.DataFrame([asdict(record) for record in outcome.history]).drop(columns="seconds")
    table["test_accuracy"] = table["test_accuracy"].astype("float64")
    if outcome.test_accuracy_at_best is not None:
        table.loc[table["epoch"] == outcome.best_epoch, "test_accuracy"] = (
            outcome.test_accuracy_at_best
        )
    return table.assign(best=table["epoch"] == outcome.best_epoch, diverged=outcome.diverged)


def _train(
    network: Network,
    task: Task,
    options: Pretrain,
    names: tuple[str, ...],
    keeper: Keeper,
    context: JobContext,
) -> Outcome:
    statistics = normalization(task.train)
    train = TrainBatches(
        repeated(task.train, options.repeats),
        statistics,
        options.batch_size,
        options.augmentation,
        context.device,
        derive_seed("pretrain", *names),
        options.channels_last,
    )
    validation, test = (
        EvaluationBatches(part, statistics, EVALUATION_BATCH, context.device, options.channels_last)
        for part in (task.validation, task.test)
    )
    return fit(
        network.to(context.device),
        train,
        validation,
        test,
        options,
        options.learning_rate,
        derive_seed("training", *names),
        selection=options.selection,
        test_epochs=keeper.epochs if options.test_at_checkpoints else (),
        keep=keeper,
        resume=context.state / "resume.pt",
        fingerprint=str(context.out),
        report=Reporter(context, options.epochs),
    )


def write_normalization(statistics: Normalization, task: Task, out: Path) -> None:
    """Write how images are normalised for a network, and the classes that its head tells apart."""
    write_json(out / "normalization.json", {**statistics.to_dict(), "classes": list(task.classes)})


def summary_of(outcome: Outcome) -> dict[str, Any]:
    """Return what a run's manifest says of its end."""
    best = outcome.history[outcome.best_epoch]
    last = outcome.history[-1]
    text = f"best epoch {best.epoch}: validation {in_words(best)}; last epoch {last.epoch}: "
    text += f"validation {in_words(last)}"
    if outcome.diverged:
        text += f"; DIVERGED ({outcome.reason}), scored by its last epoch"
    return {"best_epoch": best.epoch, "diverged": outcome.diverged, "text": text}
