"""`headstart recommend`: a network of the params, a target task or a folder of images, and what others teach."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from headstart.artifacts.keys import STORE, Job, derive_seed
from headstart.artifacts.store import is_made, open_artifact
from headstart.params.datasets import ImageFolder
from headstart.params.reading import ParamsError
from headstart.plan import Plan
from headstart.registry import load
from headstart.steps.sections import model_of, read_task
from headstart.studies.early_stopping.params import Transfer
from headstart.studies.early_stopping.recommend.atlas import gather
from headstart.studies.early_stopping.recommend.choice import recommend, render
from headstart.studies.early_stopping.transfer import transfer_of
from headstart.tasks import image_folder
from headstart.tasks.storage import VALIDATION, Contents, held_out
from headstart.tasks.task import Task, TestImages, TrainImages, ValidationImages, draw_shots
from headstart.tasks.task import read as read_dataset
from headstart.training.assembly import RunImages
from headstart.training.checkpoint_series import CheckpointSeries
from headstart.training.device import choose_device, one_thread

HELD_SHARE = 0.2
"""Of the images of a class in a folder without a validation part: held out to choose by."""


class Request(NamedTuple):
    """What is asked for: a source network by its job's name, a target, and how much may be spent."""

    checkpoints: str
    target: str
    budget: float = 0.1
    shots: int | None = None
    draw: int = 0
    rates: tuple[float, ...] = ()


def budget_of(text: str) -> float:
    """Return a budget, such as 10% or 0.1, as a share.

    Raises:
        ParamsError: it is no share between 0 and 1.
    """
    found = re.fullmatch(r"\s*([0-9.]+)\s*(%?)\s*", text)
    try:
        share = float(found[1]) / (100 if found[2] else 1) if found else np.nan
    except ValueError:
        share = np.nan
    if not 0 < share <= 1:
        raise ParamsError(
            f"--budget: {text!r} is no share of the target epochs, such as 10% or 0.1"
        )
    return share


def recommend_text(request: Request, params: Path, report: Callable[[str], None]) -> str:
    """Return which checkpoint of a finished network to fine-tune on a target, and at which rate."""
    plan = Plan(load(params))
    source = _network(plan, request.checkpoints)
    arms = [job for job in plan.jobs("transfer") if job.params["transfer"]["mode"] == "finetune"]
    own = [job for job in arms if job.inputs["pretrain"] == (source,)]
    if not own:
        raise ParamsError(
            f"--checkpoints: {source.name} has no arm of mode finetune in `transfer`, which says how a target is trained"
        )
    one_thread()
    device = choose_device(plan.params.runtime.device, locks=STORE / "devices")
    shape = read_dataset(open_artifact(source.inputs["data"][0]).path).images.shape
    network = CheckpointSeries(open_artifact(source), model_of(source.params), shape, str(device))
    known = [job for job in own if job.wildcards["target"] == request.target]
    options = transfer_of((known or own)[0])
    task = _task(plan, known, request, shape)
    shots = request.shots or _shots(options, task)
    train = draw_shots(task, shots, request.draw)
    images = RunImages(train, task, network.normalization_by(options.normalization, train))
    # Runs of another length or optimiser have other losses after an epoch, and other rates.
    taught = [
        (open_artifact(job).path, job.wildcards)
        for job in arms
        if _protocol(job) == (options.epochs, options.optimizer.name) and is_made(job)
    ]
    names = {name: source.wildcards[name] for name in ("source", "model", "seed")}
    names |= {"target": task.name, "shots": str(shots), "draw": str(request.draw)}
    found = recommend(
        network,
        images,
        options,
        names,
        gather(taught),
        budget=request.budget,
        rates=request.rates,
        report=report,
    )
    return render(found, f"{source.name} on {task.name}, {len(train.labels)} training images")


def _protocol(job: Job) -> tuple[int, str]:
    transfer = job.params["transfer"]
    return transfer["epochs"], transfer["optimizer"]["name"]


def _network(plan: Plan, name: str) -> Job:
    """Return the finished job that made a source network; its folder's name will do, too."""
    jobs = plan.jobs("pretrain")
    wanted = Path(name).name
    chosen = [job for job in jobs if wanted in (job.name, job.path.name)]
    if not chosen:
        names = [job.name for job in jobs]
        shown = ", ".join(names[:6]) + (", …" if len(names) > 6 else "")
        raise ParamsError(
            f"--checkpoints: no network of the params is called {name!r}; there are {shown}. "
            "Checkpoints that were trained elsewhere are added by `headstart import`"
        )
    if not is_made(chosen[0]):
        raise ParamsError(
            f"--checkpoints: {chosen[0].name} is not trained yet; run `snakemake --cores all -- stage_pretrain`"
        )
    return chosen[0]


def _task(plan: Plan, known: Sequence[Job], request: Request, shape: Sequence[int]) -> Task:
    """Return the images of a task of the params, or of a folder of class folders."""
    target = request.target
    if known:
        (data,) = known[0].inputs["data"]
        return read_task(target, known[0].params, open_artifact(data))
    tasks: dict[str, Any] = plan.params.tasks
    if target in tasks:
        (data,) = (job for job in plan.jobs("data") if job.name == tasks[target].dataset)
        return read_task(target, {"task": tasks[target]}, open_artifact(data))
    if not Path(target).is_dir():
        raise ParamsError(
            f"--target: {target!r} is neither a task of the params ({', '.join(tasks)}) nor a folder"
        )
    return _folder_task(Path(target), shape)


def _folder_task(folder: Path, shape: Sequence[int]) -> Task:
    """Return all images of a folder as training and validation images, as large as the source's."""
    options = ImageFolder.model_validate(
        {
            "kind": "image_folder",
            "path": str(folder),
            "sha256": image_folder.content_hash(folder),
            "size": shape[-1],
            "channels": shape[-3],
        }
    )
    contents = image_folder.make("--target", options)
    held = _held(contents)
    if not held.any():
        raise ParamsError(
            f"--target: {folder} has no class of two images, so that none can be held out"
        )
    images, labels = torch.from_numpy(contents.images), torch.from_numpy(contents.labels)

    def part(chosen: np.ndarray) -> tuple[torch.Tensor, torch.Tensor, tuple[str, ...]]:
        return images[chosen], labels[chosen], contents.classes

    # Nothing here reads test images: what was to be one is trained on.
    kept = ValidationImages(*part(held))
    return Task(
        folder.name, contents.classes, TrainImages(*part(~held)), kept, TestImages(*part(held))
    )


def _held(contents: Contents) -> np.ndarray:
    """Return which images validate: the folder's own validation part, or a fifth of each class."""
    published = contents.test == VALIDATION
    if published.any():
        return published
    held = np.zeros(len(contents.labels), bool)
    for label, name in enumerate(contents.classes):
        members = np.flatnonzero(contents.labels == label)
        order = np.random.default_rng(derive_seed("validation", "recommend", name)).permutation(
            members
        )
        number = min(max(1, round(HELD_SHARE * len(members))), len(members) - 1)
        held[held_out(order, number, contents.copies)[0]] = True
    return held


def _shots(options: Transfer, task: Task) -> Any:
    """Return the first number of shots of an arm that the task has images for, or all."""
    fewest = int(task.train.labels.bincount().min())
    fitting = [shots for shots in options.shots if shots == "all" or shots <= fewest]
    return fitting[0] if fitting else "all"
