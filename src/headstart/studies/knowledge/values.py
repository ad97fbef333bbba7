"""Step `values`: the score v(x_T) of every masked image, for the states of one arm's trajectories.

Everything that the study of knowledge defines is computed from these values, so that a definition can
change without a forward pass. Each part, some images of one state, is kept under its own key as soon
as it is done: a killed job goes on there, and more images or states compute what is new.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import torch
from torch import Tensor

from headstart.artifacts.files import read_table, write_json, write_table
from headstart.artifacts.keys import Job, derive_seed, sha256_of
from headstart.artifacts.runs import RUNS, run_key
from headstart.artifacts.store import JobContext, package_versions
from headstart.metrics.interactions.masking import MaskedInputs
from headstart.metrics.interactions.sampled import draw_masks
from headstart.metrics.interactions.scores import subset_scores
from headstart.metrics.passes import full_precision, precise_evaluation_mode
from headstart.params.types import canonical
from headstart.steps.sections import model_of, read_task
from headstart.studies.knowledge import KnowledgeError
from headstart.studies.knowledge.params import Scores
from headstart.studies.knowledge.subjects import choose_subjects, masked_inputs
from headstart.training import TrainingError
from headstart.training.checkpoint_series import CheckpointSeries
from headstart.training.checkpoints import load, save

PART = 16
"""Images whose values are kept together."""


class State(NamedTuple):
    """One network to evaluate: a target epoch of one trajectory."""

    trajectory: int
    target_epoch: int
    digest: str
    best: bool
    last: bool


def make(job: Job, context: JobContext) -> Mapping[str, Any]:
    """Write one file of values per network, the images, the histories and what each file is."""
    evaluation = Evaluation(job, context)
    subjects = evaluation.subjects
    states = evaluation.states()
    context.log(
        f"{context.device}, {len({state.digest for state in states})} networks × {len(subjects.labels)} "
        f"images × {evaluation.number:,} masks"
    )
    entries = []
    for index, state in enumerate(states):
        name = f"state-{index:03d}.safetensors"
        tensors = evaluation.values(state)
        save(tensors, context.out / name)
        entries.append(evaluation.entry(state, name))
        accuracy = float((tensors["logits"].argmax(-1) == subjects.labels).float().mean())
        # ∅ and N are the first two of sampled masks.
        margin = float(tensors["values"][:, -1 if evaluation.masks is None else 1].mean())
        context.log(
            f"{index + 1}/{len(states)}  source epoch {entries[-1]['init_epoch']}, run "
            f"{entries[-1]['target_seed']}, target epoch {state.target_epoch}: {accuracy:.1%} of the "
            f"images right, mean log-odds {margin:+.2f}",
            detail=index + 1 < len(states),
        )
    write_json(context.out / "states.json", {"classes": subjects.classes, "states": entries})
    images = {"pixels": subjects.pixels, "labels": subjects.labels}
    images |= {"positions": subjects.positions, "players": subjects.players.to(torch.uint8)}
    if evaluation.masks is not None:
        images["masks"] = evaluation.masks.to(torch.uint8)
    save(images, context.out / "images.safetensors")
    write_table(context.out / "history.parquet", evaluation.histories())
    return {"seed": job.wildcards["seed"], "dtype": "float32", "summary": {"states": len(states)}}


class Evaluation:
    """The trajectories of a job, the images, and the values of any state on them."""

    def __init__(self, job: Job, context: JobContext) -> None:
        self.job, self.context = job, context
        self.options = Scores.model_validate(job.params["scores"])
        self.task = read_task(job.wildcards["target"], job.params, context.input("data"))
        self.subjects = choose_subjects(self.options, self.task)
        self.labels = self.subjects.labels.to(context.device)
        self.masks: Tensor | None = None
        if self.options.masks is not None:
            # The same for all networks of a comparison, and fewer are among more.
            generator = torch.Generator().manual_seed(derive_seed("masks", self.subjects.count))
            self.masks = draw_masks(self.subjects.count, self.options.masks, generator)
        shape, model = self.subjects.pixels.shape, model_of(job.params)
        self.trajectories = [
            CheckpointSeries(artifact, model, shape, context.device)
            for artifact in context.inputs["trajectory"]
        ]
        for trajectory in self.trajectories:
            if trajectory.classes != self.subjects.classes:
                raise KnowledgeError(
                    f"{trajectory.artifact.path}: was trained on the classes {trajectory.classes}, the "
                    f"images have {self.subjects.classes}; compare networks of the same task"
                )
        self.normalization = self.trajectories[0].normalization
        self.inputs: MaskedInputs = masked_inputs(
            self.subjects, self.options.baseline, self.normalization, self.task, context.device
        )

    @property
    def number(self) -> int:
        """The number of masks."""
        return self.options.masks or 2**self.subjects.count

    def states(self) -> list[State]:
        """Return the states requested, `best` and `last` as numbers, each once."""
        found = []
        for index, (trajectory, requested) in enumerate(
            zip(self.trajectories, self.job.params["epochs"], strict=True)
        ):
            best, last = trajectory.best, trajectory.last
            for epoch in sorted({trajectory.epoch(each) for each in requested}):
                digest = trajectory.entry(epoch)["sha256"]
                found.append(State(index, epoch, digest, epoch == best, epoch == last))
        return found

    def entry(self, state: State, name: str) -> dict[str, Any]:
        """Return what `states.json` says of a file."""
        manifest = self.trajectories[state.trajectory].artifact.manifest
        wildcards = manifest["wildcards"]
        return {
            "file": name,
            "init_epoch": wildcards["source_epoch"],
            "source_epoch": int(manifest["summary"]["source_epoch"]),
            "target_seed": int(wildcards["target_seed"]),
            "target_epoch": state.target_epoch,
            "best": state.best,
            "last": state.last,
            "sha256": state.digest,
        }

    def histories(self) -> pd.DataFrame:
        """Return the histories of all trajectories, with `init_epoch` and `target_seed`."""
        parts = []
        for trajectory in self.trajectories:
            wildcards = trajectory.artifact.manifest["wildcards"]
            names = {"init_epoch": wildcards["source_epoch"]}
            names["target_seed"] = int(wildcards["target_seed"])
            history = read_table(trajectory.artifact.file("history.parquet"))
            parts.append(history.assign(**names))
        return pd.concat(parts, ignore_index=True)

    def values(self, state: State) -> dict[str, Tensor]:
        """Return `values` [images, masks], `logits` of whole images, and for the best epoch `repeat`.

        `repeat` holds the values of the first images with another chunk size, of all masks.
        """
        images = torch.arange(len(self.subjects.labels))
        parts = [self._part(state, part, self.options.chunk_size) for part in images.split(PART)]
        found = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
        if state.best and self.options.repeat_images and self.masks is None:
            chunk = another_chunk(self.options.chunk_size)
            again = self._part(state, images[: self.options.repeat_images], chunk)
            found["repeat"] = again["values"]
        return found

    def _part(self, state: State, images: Tensor, chunk: int) -> dict[str, Tensor]:
        path = self._place(state, images, chunk)
        try:
            return load(path)
        except TrainingError:
            part = self._compute(state, images, chunk)
        path.parent.mkdir(parents=True, exist_ok=True)
        save(part, path)
        return part

    def _place(self, state: State, images: Tensor, chunk: int) -> Path:
        """Return where a part is kept: by the content of network and images, not by their names."""
        pixels = self.subjects.pixels[images].numpy().tobytes().hex()
        players = self.subjects.players
        masks = players if players.ndim == 3 else players[images]
        identity = {
            "code": self.job.code,
            "model": self.job.keyed["model"],
            "network": state.digest,
            "images": sha256_of([pixels, self.subjects.labels[images].tolist()]),
            "players": sha256_of(masks.to(torch.uint8).numpy().tobytes().hex()),
            "normalization": self.normalization.to_dict(),
            # The images that the baseline may depend on: those of the task.
            "mean": self.context.input("data").digest + sha256_of(self.job.keyed["task"]),
            "options": canonical(self.options.baseline),
            "chunk": chunk,
            "channels_last": self.job.params.get("channels_last", False),
            "device": self.context.device.partition(":")[0],
            "packages": package_versions(),
        }
        if self.options.masks is not None:
            identity["masks"] = self.options.masks
        key = run_key(identity)
        return RUNS / key[:2] / f"{key}.safetensors"

    def _compute(self, state: State, images: Tensor, chunk: int) -> dict[str, Tensor]:
        trajectory, device = self.trajectories[state.trajectory], self.context.device
        network = trajectory.network(state.target_epoch)
        if self.job.params.get("channels_last", False):
            network.to(memory_format=torch.channels_last)

        def inputs(samples: Tensor, subsets: Tensor) -> Tensor:
            return self.inputs(images.to(samples.device)[samples], subsets)

        labels, count = self.labels[images.to(device)], self.subjects.count
        try:
            values = subset_scores(
                network, inputs, labels, count, chunk, len(self.subjects.classes), self.masks
            )
        except ValueError as error:
            where = f"{trajectory.artifact.path}, epoch {state.target_epoch}"
            raise KnowledgeError(f"{where}: {error}") from None
        everything = torch.ones(1, count, dtype=torch.bool, device=device)
        with (
            torch.no_grad(),
            precise_evaluation_mode(network),
            full_precision(torch.device(device)),
        ):
            logits = network(inputs(torch.arange(len(images), device=device), everything))
        return {"values": values.cpu(), "logits": logits.cpu()}


def another_chunk(size: int) -> int:
    """Return a third of a chunk size, or twice that of 1: the same size again would show no noise."""
    return max(1, size // 3) if size > 1 else 2
