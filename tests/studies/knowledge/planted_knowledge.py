"""Values artifacts with planted interactions, in place of networks that were trained and masked."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from headstart.artifacts import store
from headstart.artifacts.files import write_json, write_table
from headstart.artifacts.keys import Job, derive_seed
from headstart.metrics.interactions.sampled import signs
from headstart.metrics.interactions.transform import zeta
from headstart.plan import Plan
from headstart.registry import Params
from headstart.steps.tables import make as gather
from headstart.studies.knowledge import measure
from headstart.training.checkpoints import save

PLAYERS = 4
IMAGES = 12
BEST = 2
EPOCHS = (0, 1, 2, 3)
Plant = Callable[[str, str, int, int], Tensor]
"""(arm, start, seed, target epoch) -> interactions [images, 2^n]."""


def study(
    base: dict[str, Any], init_epochs: Sequence[int | str] = ("best",), **knowledge: Any
) -> Plan:
    """Return the plan of a study of knowledge with two source networks, fine-tuned from `starts`."""
    arm = {"targets": ["target"], "learning_rate": 0.1, "epochs": 3, "batch_size": 8}
    arm["target_epochs"] = [1, 2]
    arms = {
        "finetune": {**arm, "source_epochs": [*init_epochs], "target_seeds": [0, 1]},
        "scratch": {**arm, "source_epochs": [0], "target_seeds": [0, 1]},
        "probe": {**arm, "mode": "probe", "source_epochs": [0, "best"]},
    }
    options = {"images": IMAGES, "players": {"kind": "grid", "rows": 2, "columns": 2}}
    options |= {"permutations": 4, "resamples": 60, **knowledge}
    raw = {**base, "transfer": {}, "trajectory": {"convnet": arms}}
    return Plan(Params.model_validate({**raw, "knowledge": {"convnet": options}}))


def random_table(*names: Any) -> Tensor:
    """Return independent Gaussian interactions [images, 2^n], drawn by names."""
    generator = torch.Generator().manual_seed(derive_seed("planted", *names))
    return torch.randn(IMAGES, 2**PLAYERS, generator=generator, dtype=torch.float64)


def states_of(job: Job) -> list[dict[str, Any]]:
    """Return the states that a values job would evaluate."""
    found = []
    for trajectory in job.inputs["trajectory"]:
        names = trajectory.wildcards
        kept = EPOCHS if names["arm"] != "probe" else (BEST,)
        for epoch in kept:
            same = {"init_epoch": names["source_epoch"], "target_seed": int(names["target_seed"])}
            known = {"target_epoch": epoch, "best": epoch == BEST, "last": epoch == EPOCHS[-1]}
            source_epoch = 5 if names["source_epoch"] == "best" else int(names["source_epoch"])
            found.append({**same, **known, "source_epoch": source_epoch})
    return found


def history(job: Job) -> pd.DataFrame:
    """Return histories in which everything learns alike."""
    rows = [
        {
            "epoch": epoch,
            "init_epoch": trajectory.wildcards["source_epoch"],
            "target_seed": int(trajectory.wildcards["target_seed"]),
            "best": epoch == BEST,
            **{f"{split}_accuracy": 0.1 * epoch for split in ("train", "validation", "test")},
            **{f"{split}_loss": 1.0 - 0.1 * epoch for split in ("train", "validation")},
        }
        for trajectory in job.inputs["trajectory"]
        for epoch in EPOCHS
    ]
    return pd.DataFrame(rows)


def maker(
    plant: Plant,
    right: bool = True,
    change: Mapping[str, Any] | None = None,
    best_source_epochs: Mapping[int, int] | None = None,
    masks: Tensor | None = None,
    terms: Tensor | None = None,
) -> Any:
    """Return a function that makes values artifacts; `change` replaces what they say of the images, `best_source_epochs` those of each source network.

    With `masks` [masks, players], planted are their scores, or the Walsh coefficients of some `terms`.
    """
    count = PLAYERS if masks is None else masks.shape[1]
    side = math.isqrt(count)

    def scores(planted: Tensor) -> Tensor:
        if masks is None:
            return zeta(planted)
        return planted if terms is None else planted @ signs(terms, masks).T

    def make(job: Job, context: store.JobContext) -> dict[str, Any]:
        arm, seed = job.wildcards["arm"], int(job.wildcards["seed"])
        labels = torch.arange(IMAGES) % 4
        entries = []
        for index, state in enumerate(states_of(job)):
            name = f"state-{index:03d}.safetensors"
            run = f"{arm}-again" if state["target_seed"] else arm
            values = scores(plant(run, state["init_epoch"], seed, state["target_epoch"]))
            logits = torch.eye(4)[labels if right else (labels + 1) % 4]
            tensors = {"values": values, "logits": logits.contiguous()}
            tensors |= {"repeat": values[:2] * (1 + 1e-6)} if state["best"] else {}
            save(tensors, context.out / name)
            if state["init_epoch"] == "best" and best_source_epochs:
                state["source_epoch"] = best_source_epochs[seed]
            entries.append({**state, "file": name})
        odd = dict(change or {}) if arm == "scratch" else {}
        classes = odd.pop("classes", ["D", "E", "F", "G"])
        write_json(context.out / "states.json", {"classes": classes, "states": entries})
        pixels = torch.zeros(IMAGES, 1, side, side, dtype=torch.uint8)
        images = {"pixels": pixels, "labels": labels}
        if masks is not None:
            images["masks"] = masks.to(torch.uint8)
        players = torch.eye(count, dtype=torch.uint8).view(count, side, side)
        images |= {"positions": torch.arange(IMAGES), "players": players, **odd}
        save(images, context.out / "images.safetensors")
        write_table(context.out / "history.parquet", history(job))
        return {}

    return make


def measured(plan: Plan, make: Any) -> store.Artifact:
    """Make all values by `make`, and return the artifact of the one comparison."""
    for job in plan.jobs("data", "pretrain", "trajectory"):
        store.run(job, lambda job, context: {})
    for job in plan.jobs("values"):
        store.run(job, make)
    (job,) = plan.jobs("knowledge")
    return store.run(job, measure.make)


def tables(plan: Plan) -> store.Artifact:
    """Return the tables of the study."""
    (job,) = [job for job in plan.jobs("tables") if job.name == "knowledge"]
    return store.run(job, gather)


def shared_with(base: Tensor, part: float, other: Tensor) -> Tensor:
    """Return a table that has the first `part` of the subsets of `base`, and `other` elsewhere."""
    number = round(part * (base.shape[-1] - 1))
    return torch.cat([other[:, :1], base[:, 1 : 1 + number], other[:, 1 + number :]], dim=-1)


def subsets_of_order(order: int) -> list[int]:
    """Return the indices of all subsets of an order."""
    members = itertools.combinations(range(PLAYERS), order)
    return [sum(2**player for player in each) for each in members]


def whole(table: pd.DataFrame, metric: str, condition: str = "measured", **where: Any) -> pd.Series:
    """Return the one row over all orders and networks, of all images unless `where` says otherwise."""
    where = {"variant": "raw", "subset": "all", "role": "finetuned", **where}
    rows = table[(table["metric"] == metric) & (table["condition"] == condition)]
    for column, value in where.items():
        rows = rows[rows[column] == value]
    rows = rows[rows["order"].isna() & rows["seed"].isna() & rows["target_epoch"].isna()]
    assert len(rows) == 1, rows
    return rows.iloc[0]


def ones(number: int) -> Tensor:
    """Return interactions of 1 on the first `number` non-empty subsets, 0 elsewhere."""
    table = torch.zeros(IMAGES, 2**PLAYERS, dtype=torch.float64)
    table[:, 1 : 1 + number] = 1
    return table


def growing(arm: str, init_epoch: str, seed: int, epoch: int) -> Tensor:
    """Pretrained on 10 subsets, fine-tuned on 15, scratch on 3 of those; on the way there, weaker.

    One random backbone has 5 subsets, the other 2 of three times the weight.
    """
    time = (epoch + 1) / EPOCHS[-1] if epoch < BEST else 1.0
    if arm == "probe":
        return ones(10) if init_epoch == "best" else (ones(5), 3 * ones(2))[seed]
    return time * (ones(15) if arm.startswith("finetune") else ones(3))


def independent(arm: str, init_epoch: str, seed: int, epoch: int) -> Tensor:
    return random_table(arm, init_epoch, seed, epoch)
