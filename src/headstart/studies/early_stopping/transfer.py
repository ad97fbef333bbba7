"""Step `transfer`: from every checkpoint asked for, over crossed shots, draws and learning rates.

Source epoch 0 is the untrained network: training from scratch, bit for bit. A job bundles all runs of
one source seed; each finished run is kept under its own key, so a wider grid trains only what is new.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import product
from typing import Any, Literal

import pandas as pd

from headstart.artifacts.files import write_table
from headstart.artifacts.keys import Job
from headstart.artifacts.runs import read_run, run_key, run_path, write_run
from headstart.artifacts.seeds import derive_seed
from headstart.artifacts.store import JobContext, package_versions
from headstart.networks.build import fresh_backbone
from headstart.networks.network import Network
from headstart.params.recipe import Selection
from headstart.steps.pretrain import EVALUATION_BATCH
from headstart.steps.progress import Reporter, duration
from headstart.steps.sections import model_of, task_of
from headstart.studies.early_stopping.params import Transfer
from headstart.tasks.batches import EvaluationBatches, TrainBatches
from headstart.tasks.dataset import read
from headstart.tasks.task import (
    Task,
    TestImages,
    TrainImages,
    ValidationImages,
    draw_shots,
    make_task,
)
from headstart.training.checkpoint_series import Pretrained
from headstart.training.features import cached, head_only
from headstart.training.interventions import recalibrate, shrink_perturb
from headstart.training.loop import Outcome, fit

QUIET_SECONDS = 10.0


@dataclass(frozen=True)
class Run:
    """One point of the grid."""

    source_epoch: int
    shots: int | Literal["all"]
    draw: int
    learning_rate: float


def make(job: Job, context: JobContext) -> Mapping[str, Any]:
    """Train every run of the bundle that is not finished yet, and write one table of all."""
    bundle = Bundle(job, context)
    runs = list(bundle.grid())
    keys = {run: run_key(bundle.identity(run)) for run in runs}
    missing = [run for run in runs if read_run(keys[run]) is None]
    context.log(
        f"{context.device}, {len(runs)} runs of {bundle.options.epochs} epochs, {len(runs) - len(missing)} of them "
        f"finished before, {len(bundle.task.validation.labels):,} validation and "
        f"{len(bundle.task.test.labels):,} test images"
    )
    started = time.monotonic()
    for number, run in enumerate(missing, start=1):
        record = bundle.train(run, context.state / f"{keys[run]}.pt")
        write_run(keys[run], record)
        left = (time.monotonic() - started) / number * (len(missing) - number)
        context.log(f"run {number}/{len(missing)}  {_describe(run, record)}  {duration(left)} left")
    records = [{**asdict(run), **_required(keys[run])} for run in runs]
    write_table(context.out / "runs.parquet", runs_table(records))
    write_table(context.out / "curves.parquet", curves_table(records))
    diverged = sum(record["diverged"] for record in records)
    return {
        "seed": job.wildcards["seed"],
        "dtype": bundle.options.precision,
        "summary": {"runs": len(runs), "trained_now": len(missing), "diverged": diverged},
    }


def transfer_of(job: Job) -> Transfer:
    """Return the training of a job; its target is a wildcard of the job."""
    targets = [] if job.params["transfer"]["mode"] == "relearn" else ["target"]
    return Transfer.model_validate({**job.params["transfer"], "targets": targets})


class Bundle:
    """The networks and images that the runs of one job share."""

    def __init__(self, job: Job, context: JobContext) -> None:
        self.job, self.context = job, context
        self.options: Transfer = transfer_of(job)
        data = context.input("data")
        data.file("images.safetensors")
        self.task: Task = make_task(job.wildcards["target"], task_of(job.params), read(data.path))
        self.data_digest = data.digest
        self.model = model_of(job.params)
        shape = self.task.train.images.shape
        self.pretrained = Pretrained(context.input("pretrain"), self.model, shape, context.device)
        self.pretrained.normalize(self.options.normalization, self.task.train)
        self.normalization = self.pretrained.normalization

    def grid(self) -> Iterator[Run]:
        """Yield all runs, those of one checkpoint together; `best` where it names no epoch asked for already."""
        epochs = {self.pretrained.epoch(epoch) for epoch in self.options.source_epochs}
        lists = (
            sorted(epochs),
            self.options.shots,
            self.options.draws,
            self.options.learning_rates,
        )
        for source_epoch, shots, draw, learning_rate in product(*lists):
            yield Run(source_epoch, shots, draw, learning_rate)

    def identity(self, run: Run) -> dict[str, Any]:
        """Return all that decides a run's result: the weights it starts from by content, not by origin."""
        grid = ("source_epochs", "shots", "draws", "learning_rates")
        options = {
            name: value for name, value in self.job.keyed["transfer"].items() if name not in grid
        }
        return {
            "code": self.job.code,
            "wildcards": dict(self.job.wildcards),
            "params": {**self.job.keyed, "transfer": options},
            "weights": self.pretrained.entry(run.source_epoch)["sha256"],
            "normalization": self.normalization.to_dict(),
            "data": self.data_digest,
            "device": self.context.device.partition(":")[0],
            "packages": package_versions(),
            "run": {**asdict(run), "source_epoch": None},
        }

    def train(self, run: Run, resume: Any) -> dict[str, Any]:
        """Train one run and return its record."""
        classes, head_seed = len(self.task.classes), self.options.head_seed
        network = self.pretrained.start(run.source_epoch, classes, head_seed)
        train, validation, test = self._batches(run)
        self._intervene(network, train, run)
        module: Any = network
        if self.options.mode == "probe":
            module = head_only(network)
            train, validation, test = (cached(network, part) for part in (train, validation, test))
        outcome = fit(
            module,
            train,
            validation,
            test,
            self.options,
            run.learning_rate,
            self._seed("training", run),
            selection=Selection(),
            test_epochs=self._test_epochs(),
            resume=resume,
            fingerprint=resume.name,
            report=Reporter(self.context, self.options.epochs, quiet_seconds=QUIET_SECONDS),
        )
        resume.unlink(missing_ok=True)
        return record_of(outcome, train.num_images)

    def _test_epochs(self) -> set[int] | Literal["all"]:
        asked = self.options.test_epochs
        return "all" if asked == "all" else {*asked, self.options.epochs}

    def _intervene(self, network: Network, train: TrainBatches, run: Run) -> None:
        """Do what the arm does between source and target; source epoch 0, its control, gets it too."""
        options = self.options
        if options.shrink != 1 or options.perturb:
            seed = self._seed("perturb", run)
            backbone = fresh_backbone(self.model, self.task.train.images.shape, seed)
            shrink_perturb(network.backbone, backbone, options.shrink, options.perturb)
        if options.recalibrate_batch_norm and options.mode == "probe":
            recalibrate(network, train.epoch(0))

    def _seed(self, purpose: str, run: Run) -> int:
        """Return a seed that all source epochs and learning rates share, so that they are compared in pairs."""
        names = self.job.wildcards
        return derive_seed(
            purpose,
            names["source"],
            names["model"],
            names["target"],
            names["seed"],
            run.shots,
            run.draw,
        )

    def _batches(self, run: Run) -> tuple[Any, Any, Any]:
        images: TrainImages = draw_shots(self.task, run.shots, run.draw)
        train = TrainBatches(
            images,
            self.normalization,
            self.options.batch_size,
            self.options.augmentation,
            self.context.device,
            self._seed("transfer", run),
            self.options.channels_last,
        )
        return train, self._evaluation(self.task.validation), self._evaluation(self.task.test)

    def _evaluation(self, images: ValidationImages | TestImages) -> EvaluationBatches:
        return EvaluationBatches(
            images,
            self.normalization,
            EVALUATION_BATCH,
            self.context.device,
            self.options.channels_last,
        )


def record_of(outcome: Outcome, images: int) -> dict[str, Any]:
    """Return the end measures and the curve of a run.

    The headline is the accuracy at the epoch that validation chose. A diverged run is scored by its
    last epoch. `oracle_peak` is the largest test accuracy among the epochs at which it was read, as
    published studies report it: it chooses on test data and is for comparison only.
    """
    best, last = outcome.history[outcome.best_epoch], outcome.history[-1]
    read = [record.test_accuracy for record in outcome.history if record.test_accuracy is not None]
    return {
        "images": images,
        "best_epoch": outcome.best_epoch,
        "diverged": outcome.diverged,
        "reason": outcome.reason or "",
        "validation_accuracy": best.validation_accuracy,
        "test_accuracy": outcome.test_accuracy_at_best,
        "final_validation_accuracy": last.validation_accuracy,
        "final_test_accuracy": last.test_accuracy,
        "oracle_peak": max(read),
        "curve": [asdict(record) for record in outcome.history],
    }


def runs_table(records: list[dict[str, Any]]) -> pd.DataFrame:
    """Return one row per run, its curve left out."""
    rows = [
        {name: value for name, value in record.items() if name != "curve"} for record in records
    ]
    return pd.DataFrame(rows).astype({"shots": str})


def curves_table(records: list[dict[str, Any]]) -> pd.DataFrame:
    """Return one row per run and epoch."""
    grid = ("source_epoch", "shots", "draw", "learning_rate")
    rows = [
        {**{name: record[name] for name in grid}, **epoch}
        for record in records
        for epoch in record["curve"]
    ]
    table = pd.DataFrame(rows).rename(
        columns={"epoch": "target_epoch", "learning_rate": "rate_now"}
    )
    table["learning_rate"] = [
        record["learning_rate"] for record in records for _ in record["curve"]
    ]
    return table.drop(columns="seconds").astype({"shots": str, "test_accuracy": "float64"})


def _required(key: str) -> dict[str, Any]:
    record = read_run(key)
    if record is None:
        raise RuntimeError(f"{run_path(key)}: this finished run is gone; run the command again")
    return record


def _describe(run: Run, record: Mapping[str, Any]) -> str:
    shots = "all images" if run.shots == "all" else f"{run.shots} shots"
    return (
        f"source epoch {run.source_epoch}, {shots}, draw {run.draw}, rate {run.learning_rate:g}: "
        f"validation {record['validation_accuracy']:.1%}, test {record['test_accuracy']:.1%} "
        f"(epoch {record['best_epoch']})" + (", DIVERGED" if record["diverged"] else "")
    )
