"""`headstart export`: one trained network as a file of its own, which timm or plain PyTorch reads."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pandas as pd
import timm
import torch
from safetensors.torch import save
from torch import Tensor, nn

from headstart.artifacts.files import read_json, read_table, write_atomically
from headstart.artifacts.keys import Job
from headstart.artifacts.store import open_artifact
from headstart.networks import timm_models
from headstart.networks.build import build
from headstart.networks.network import Network
from headstart.params.core import suggest
from headstart.params.models import Model, OwnNetwork, Timm
from headstart.params.reading import ParamsError
from headstart.plan import Plan
from headstart.registry import load
from headstart.steps.sections import model_of
from headstart.studies.early_stopping.kept_networks import network_file
from headstart.tasks.nominal import Size, dataset_size
from headstart.training import checkpoints
from headstart.training.checkpoint_series import checkpoint_name

SUFFIX = ".safetensors"
TRANSFER = "transfer"
STEPS = ("pretrain", "trajectory", TRANSFER)
ACCURACIES = ["validation_accuracy", "test_accuracy"]
# Wildcards that tell runs of one task apart.
REPEATED = ("seed", "target_seed", "source_epoch")
GRID = ["source_epoch", "shots", "draw", "learning_rate"]


def export(name: str, where: Sequence[str], to: Path, params: Path) -> str:
    """Write the network that validation likes best of those that are named; return how to read it.

    `name` is a job's name, key or folder, or a pattern that fits several of one task; `where` are words
    such as `source_epoch=8`. The file holds what is known of the network as metadata.

    Raises:
        ParamsError: no such job, or none of its networks is named or kept.
        ArtifactError: it is not made yet, or damaged.
    """
    if to.suffix != SUFFIX:
        raise ParamsError(f"export: --to {to}: give a name that ends in {SUFFIX}")
    loaded = load(params)
    jobs = _jobs(Plan(loaded), name)
    rows = pd.concat([_networks(job).assign(job=i) for i, job in enumerate(jobs)])
    row = _best(_named(rows, where), jobs[0])
    job, artifact = jobs[row["job"]], open_artifact(jobs[row["job"]])
    head = read_json(artifact.file("normalization.json"))
    task = loaded.tasks[job.wildcards["source" if job.step == "pretrain" else "target"]]
    size = dataset_size(loaded.datasets[task.dataset])
    model = model_of(job.params).model_copy(update={"weights": None})
    network = build(model, size.channels, size.side, len(head["classes"]), seed=0)
    network.load_state_dict(checkpoints.load(artifact.file(row["file"])))
    state, lines = _portable(network.eval(), model, size, to)
    facts = {
        "architecture": model.model_dump(exclude={"weights"}),
        "image": {"channels": size.channels, "size": size.side},
        **head,
        **{each: None if pd.isna(row[each]) else float(row[each]) for each in ACCURACIES},
        "run": {each: str(row[each]) for each in ("epoch", *GRID) if each in row},
    }
    metadata = {each: json.dumps(value) for each, value in facts.items()}
    metadata |= {"key": job.full_key, "job": f"{job.step} {job.name}", "load": "\n".join(lines)}
    tensors = {each: value.contiguous().clone() for each, value in state.items()}
    write_atomically(to, save(tensors, {"format": "pt", **metadata}))
    return "\n".join([*_said(to, job, facts), "", *lines])


def _jobs(plan: Plan, name: str) -> list[Job]:
    """Return the jobs that a name, a key, a folder or a pattern stands for, all of one task."""
    wanted = Path(name).name
    # What draws images tells no classes apart.
    known = [
        job
        for job in plan.jobs(*STEPS)
        if job.params.get("trajectory", {}).get("mode") != "reconstruct"
    ]
    found = [
        job
        for job in known
        if any(fnmatchcase(each, wanted) for each in (job.name, job.label, job.key))
    ]
    if not found:
        names = [job.name for job in known]
        raise ParamsError(f"export: {name!r} is no job that trains; {suggest(wanted, names)}")
    kinds = {
        (job.step, *(v for k, v in job.wildcards.items() if k not in REPEATED)) for job in found
    }
    if len(kinds) > 1:
        listed = ", ".join(" ".join(kind) for kind in sorted(kinds))
        raise ParamsError(f"export: {name!r} fits several things: {listed}; name one of them")
    return found


def _networks(job: Job) -> pd.DataFrame:
    """Return a row for each network that a job keeps: its file, accuracies, and what names it."""
    artifact = open_artifact(job)
    if job.step == TRANSFER:
        rows = read_table(artifact.file("runs.parquet"))
        rows["file"] = [network_file(row) for row in rows.to_dict("records")]
    else:
        rows = read_table(artifact.file("history.parquet"))
        rows["file"] = [checkpoint_name(epoch) for epoch in rows["epoch"]]
    return rows[rows["file"].isin(artifact.manifest["files"])]


def _named(rows: pd.DataFrame, where: Sequence[str]) -> pd.DataFrame:
    """Return the rows that words name; of a series of checkpoints without any, those that validation chose."""
    columns = ["epoch"] if "epoch" in rows else GRID
    words = dict(word.partition("=")[::2] for word in where)
    if "epoch" in rows and not words:
        words = {"epoch": "best"}
    for column, value in words.items():
        if column not in columns or not value:
            example = f"{columns[0]}={rows[columns[0]].iloc[-1]}" if len(rows) else columns[0]
            raise ParamsError(f"export: {column}={value}: name networks by {columns}, as {example}")
        if (column, value) == ("epoch", "best"):
            kept = rows["best"]
        else:
            kept = rows[column].map(lambda each, value=value: _same(each, value))
        if not kept.any():
            known = sorted({str(each) for each in rows[column]})
            raise ParamsError(f"export: {column}={value} is not kept; known are {', '.join(known)}")
        rows = rows[kept]
    return rows


def _same(value: Any, word: str) -> bool:
    try:
        return float(value) == float(word)
    except ValueError:
        return str(value) == word


def _best(rows: pd.DataFrame, job: Job) -> dict[str, Any]:
    if rows.empty:
        place = f"transfer.{job.wildcards['model']}.{job.wildcards.get('arm')}.keep=best"
        raise ParamsError(
            f"export: {job.name} keeps no trained networks; `headstart set {place}` and "
            "`snakemake --cores all` train the best run of each source network once more and keep it"
        )
    ordered = rows.sort_values(["diverged", ACCURACIES[0]], ascending=[True, False], kind="stable")
    return {str(each): value for each, value in ordered.iloc[0].items()}


def _portable(
    network: Network, model: Model, size: Size, to: Path
) -> tuple[dict[str, Tensor], list[str]]:
    """Return weights under the names of timm's own network where it gives the same logits, and how to read them."""
    head, shape = network.head, (size.channels, size.side)
    if isinstance(model, Timm):
        arguments = timm_models.arguments(model, *shape, head.out_features)
        if state := _under_timms_names(network, timm.create_model(model.name, **arguments), shape):
            call = _call("timm.create_model", model.name, arguments | {"checkpoint_path": str(to)})
            return state, ["import timm", f"network = {call}"]
    imported, backbone = _backbone_words(model, *shape)
    layers = f"torch.nn.Linear({head.in_features}, {head.out_features})"
    return network.state_dict(), [
        "from collections import OrderedDict",
        "import safetensors.torch, torch",
        imported,
        f"network = torch.nn.Sequential(OrderedDict(backbone={backbone}, head={layers}))",
        f"network.load_state_dict(safetensors.torch.load_file({str(to)!r}))",
    ]


def _under_timms_names(
    network: Network, built: nn.Module, shape: tuple[int, int]
) -> dict[str, Tensor]:
    """Return a network's weights as timm's with a classifier has them; nothing where the two differ."""
    places, state = built.state_dict(), dict(network.backbone.state_dict())
    for root in timm_models.classifiers(built):
        for name, value in network.head.state_dict().items():
            place = places.get(f"{root}.{name}")
            if place is not None and place.numel() == value.numel():
                state[f"{root}.{name}"] = value.reshape(place.shape)
    if state.keys() != places.keys():
        return {}
    built.load_state_dict(state)
    channels, side = shape
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(4, channels, side, side, generator=generator)
    with torch.no_grad():
        same = torch.allclose(network(images), built.eval()(images), rtol=1e-4, atol=1e-4)
    return state if same else {}


def _backbone_words(model: Model, channels: int, side: int) -> tuple[str, str]:
    """Return the import and the call that make the backbone of a network in plain PyTorch."""
    match model:
        case Timm():
            arguments = timm_models.arguments(model, channels, side, 0)
            return "import timm", _call("timm.create_model", model.name, arguments)
        case OwnNetwork():
            module = ".".join(Path(model.path).with_suffix("").parts)
            arguments = {"channels": channels, "image_size": side, **model.kwargs}
            return f"from {module} import {model.function}", _call(model.function, None, arguments)
    name = {"convnet": "ConvNet", "wrn": "WideResNet"}[model.kind]
    arguments = {"channels": channels, **model.model_dump(exclude={"kind", "weights"})}
    return f"from headstart.networks.convnet import {name}", _call(name, None, arguments)


def _call(function: str, first: str | None, arguments: Mapping[str, Any]) -> str:
    given = [repr(first)] if first else []
    return f"{function}({', '.join([*given, *(f'{k}={v!r}' for k, v in arguments.items())])})"


def _said(to: Path, job: Job, facts: dict[str, Any]) -> Iterator[str]:
    """Yield what was written, for a person."""
    run = ", ".join(f"{name} {value}" for name, value in facts["run"].items())
    accuracies = [facts[each] for each in ACCURACIES]
    yield f"{to}: {job.step} {job.name}, {run}"
    if None in accuracies:
        yield "no accuracy is known of it: its head was not trained on these classes"
    else:
        yield "accuracy: validation {:.1%}, test {:.1%}".format(*accuracies)
    yield f"classes: {', '.join(facts['classes'])}"
    yield f"pixels: 0 to 1, then mean {facts['mean']} and standard deviation {facts['std']}"
