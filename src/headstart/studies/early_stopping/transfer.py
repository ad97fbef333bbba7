"""Step `transfer`: from every requested checkpoint, over shots, draws and learning rates.

Source epoch 0 is the untrained network: training from scratch, bit for bit. A job bundles all runs of
one source seed; each finished run is kept under its own key, so a wider grid trains only what is new.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import chain, product
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from headstart.artifacts.files import write_json, write_table
from headstart.artifacts.keys import Job, sha256_of
from headstart.artifacts.runs import read_run, run_key, run_path, write_run
from headstart.artifacts.store import JobContext, package_versions
from headstart.networks.build import fresh_backbone
from headstart.networks.network import Network
from headstart.params.recipe import Selection
from headstart.steps.progress import Reporter, duration
from headstart.steps.sections import model_of, read_task
from headstart.studies.early_stopping.kept_networks import KeptNetworks
from headstart.studies.early_stopping.params import Transfer
from headstart.tasks.batches import EvaluationBatches
from headstart.tasks.task import Task, draw_shots
from headstart.training.assembly import (
    EVALUATION_BATCH,
    RunImages,
    RunSeeds,
    train_group,
    train_run,
)
from headstart.training.checkpoint_series import CheckpointSeries
from headstart.training.evaluation import evaluate
from headstart.training.interventions import shrink_perturb
from headstart.training.records import Outcome, State

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
    kept = KeptNetworks(bundle.options.keep, context.state)
    _train(bundle, missing, keys, kept)
    found = {run: _required(keys[run]) for run in runs}
    if again := kept.lacking(found):
        context.log(f"{len(again)} runs once more, whose networks were not kept when they ended")
        _train(bundle, again, keys, kept)
    records = [{**asdict(run), **found[run]} for run in runs]
    if bundle.options.keep != "none":
        kept.finish(found, context.out)
        head = {**bundle.normalization.to_dict(), "classes": list(bundle.task.classes)}
        write_json(context.out / "normalization.json", head)
    write_table(context.out / "runs.parquet", runs_table(records))
    write_table(context.out / "curves.parquet", curves_table(records))
    diverged = sum(record["diverged"] for record in records)
    return {
        "seed": job.wildcards["seed"],
        "dtype": bundle.options.precision,
        "summary": {"runs": len(runs), "trained_now": len(missing), "diverged": diverged},
    }


def _train(
    bundle: Bundle, runs: Sequence[Run], keys: Mapping[Run, str], kept: KeptNetworks
) -> None:
    """Train runs, write the record of each under its key, and offer its network to be kept."""
    context, started, number = bundle.context, time.monotonic(), 0
    for group in bundle.groups(runs):
        name = sha256_of([keys[run] for run in group])
        ended = bundle.train(group, context.state / f"{name}.pt")
        for run, (record, state) in zip(group, ended, strict=True):
            number += 1
            kept.offer(run, record, state)
            write_run(keys[run], record)
            left = (time.monotonic() - started) / number * (len(runs) - number)
            text = f"run {number}/{len(runs)}  {_describe(run, record)}  {duration(left)} left"
            context.log(text, detail=number % max(1, len(runs) // 4) > 0)


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
        self.task: Task = read_task(job.wildcards["target"], job.params, data)
        self.data_digests = {"data": data.digest}
        self.model = model_of(job.params)
        shape = self.task.train.images.shape
        self.source = CheckpointSeries(context.input("pretrain"), self.model, shape, context.device)
        by = self.options.normalization
        self.normalization = self.source.normalization_by(by, self.task.train)
        self._drawn: dict[Any, RunImages] = {}
        self.source_held = self._source_held() if self.options.source_accuracy else None

    def grid(self) -> Iterator[Run]:
        """Yield the runs of all grids, those of one checkpoint together; `best` where it is an epoch of its own."""
        draws = self.options.draws_of(int(self.job.wildcards["seed"]))
        points = (
            product(
                map(self.source.epoch, grid.source_epochs), grid.shots, draws, grid.learning_rates
            )
            for grid in self.options.grids()
        )
        runs = dict.fromkeys(Run(*point) for point in chain.from_iterable(points))
        yield from sorted(runs, key=lambda run: run.source_epoch)

    def identity(self, run: Run) -> dict[str, Any]:
        """Return all that decides a run's result: the weights it starts from by content, not by origin."""
        grid = ("source_epochs", "shots", "draws", "nested_draws", "learning_rates", "also")
        given = self.job.keyed["transfer"].items()
        options = {name: value for name, value in given if name not in (*grid, "keep")}
        return {
            "code": self.job.code,
            "wildcards": dict(self.job.wildcards),
            "params": {**self.job.keyed, "transfer": options},
            "weights": self.source.entry(run.source_epoch)["sha256"],
            "normalization": self.normalization.to_dict(),
            **self.data_digests,
            "device": self.context.device.partition(":")[0],
            "packages": package_versions(),
            "run": {**asdict(run), "source_epoch": None},
        }

    def groups(self, runs: Sequence[Run]) -> Iterator[list[Run]]:
        """Yield runs that are trained together: as many as there are slots, on as many images."""
        slots = self.options.slots or 1
        for shots in dict.fromkeys(run.shots for run in runs):
            alike = [run for run in runs if run.shots == shots]
            yield from (alike[start : start + slots] for start in range(0, len(alike), slots))

    def train(self, runs: list[Run], resume: Path) -> list[tuple[dict[str, Any], State]]:
        """Train runs; return the record of each, and its weights at the epoch that validation chose."""
        ended = self._together(runs, resume) if self.options.slots else None
        if ended is None:
            ended = [
                self._alone(run, resume.with_stem(f"{resume.stem}-{i}"))
                for i, run in enumerate(runs)
            ]
        resume.unlink(missing_ok=True)
        left = self._source_accuracies(runs, [network for _, network in ended])
        images = [len(self._images(run).train.labels) for run in runs]
        # The best state of a probe is that of its head.
        return [
            (record_of(outcome, number) | more, {**network.state_dict(), **outcome.best_state})
            for (outcome, network), number, more in zip(ended, images, left, strict=True)
        ]

    def _alone(self, run: Run, resume: Path) -> tuple[Outcome, Network]:
        network, options = self._start(run), self.options
        outcome = train_run(
            network,
            self._images(run),
            options,
            run.learning_rate,
            self._seeds(run),
            report=self._reporter(),
            fingerprint=resume.name,
            resume=resume,
            **self._rules(),
        )
        resume.unlink(missing_ok=True)
        return outcome, network

    def _together(self, runs: list[Run], resume: Path) -> list[tuple[Outcome, Network]] | None:
        starts: dict[Any, Network] = {}
        for run in runs:
            alike = replace(run, learning_rate=0.0)
            starts[alike] = starts.get(alike) or self._start(run)
        report = self._reporter()
        return train_group(
            [starts[replace(run, learning_rate=0.0)] for run in runs],
            [self._images(run) for run in runs],
            self.options,
            [run.learning_rate for run in runs],
            [self._seeds(run) for run in runs],
            self.options.slots or 1,
            report=lambda records: report(max(records, key=lambda each: each.validation_accuracy)),
            fingerprint=resume.name,
            resume=resume,
            **self._rules(),
        )

    def _rules(self) -> dict[str, Any]:
        requested = self.options.test_epochs
        return {
            "mode": self.options.mode,
            "device": self.context.device,
            "selection": Selection(),
            "test_epochs": "all" if requested == "all" else {*requested, self.options.epochs},
        }

    def _reporter(self) -> Reporter:
        return Reporter(self.context, self.options.epochs, quiet_seconds=QUIET_SECONDS)

    def _start(self, run: Run) -> Network:
        """Return the network that a run starts from."""
        options = self.options
        network = self.source.start(run.source_epoch, len(self.task.classes), options.head_seed)
        # Source epoch 0, the control of every other, is perturbed too.
        if options.shrink != 1 or options.perturb:
            shape = self.task.train.images.shape
            noise = fresh_backbone(self.model, shape, self._seeds(run).of("perturb"))
            shrink_perturb(network.backbone, noise, options.shrink, options.perturb)
        return network

    def _images(self, run: Run) -> RunImages:
        """Return the images of a run, the same object for all runs of a draw."""
        drawn = run.shots, run.draw
        if drawn not in self._drawn:
            images = draw_shots(self.task, *drawn)
            self._drawn[drawn] = RunImages(images, self.task, self.normalization)
        return self._drawn[drawn]

    def _source_held(self) -> EvaluationBatches:
        """Return the validation images of the source, as the source network saw them."""
        data = self.context.input("source_data")
        self.data_digests["source_data"] = data.digest
        task = read_task(
            self.job.wildcards["source"], {"task": self.job.params["source_task"]}, data
        )
        return EvaluationBatches(
            task.validation,
            self.source.normalization,
            EVALUATION_BATCH,
            self.context.device,
            self.options.channels_last,
        )

    def _source_accuracies(self, runs: list[Run], trained: list[Network]) -> list[dict[str, float]]:
        """Return what is left of the source: each trained backbone under the head of its checkpoint."""
        if self.source_held is None:
            return [{} for _ in runs]
        networks = [self.source.network(run.source_epoch) for run in runs]
        for network, moved in zip(networks, trained, strict=True):
            network.backbone.load_state_dict(moved.backbone.state_dict())
        return [
            {"source_accuracy": evaluate(network, self.source_held).accuracy}
            for network in networks
        ]

    def _seeds(self, run: Run) -> RunSeeds:
        """Return seeds that all source epochs and learning rates share, so that they are compared in pairs."""
        names = [self.job.wildcards[name] for name in ("source", "model", "target", "seed")]
        return RunSeeds("transfer", (*names, run.shots, run.draw))


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
