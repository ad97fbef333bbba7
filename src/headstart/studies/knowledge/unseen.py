"""What coefficients that were fitted to some masks explain of masks that the fit never saw."""

from __future__ import annotations

from typing import Any

import torch

from headstart.metrics.interactions.resampling import Estimate, Resampling
from headstart.studies.knowledge.networks import PATHS, SCRATCH, Epoch, Networks, Place, Role
from headstart.studies.knowledge.params import Analysis
from headstart.studies.knowledge.rows import Rows
from headstart.studies.knowledge.tables import FITTED, LEAST, UNSEEN, UNSEEN_ON_PATH


def add_unseen(
    networks: Networks, options: Analysis, resampling: Resampling, init_epoch: str, rows: Rows
) -> None:
    """Add R² over unseen masks of every network, at its worst epoch and at all of its path, and the least that is needed."""
    where: dict[str, Any] = {"init_epoch": init_epoch, "variant": "walsh", "condition": "measured"}
    rows.add_number(LEAST, options.least_r2, role="finetuned", **where)
    for role in FITTED:
        if found := _explained(networks, resampling, role, init_epoch, ["best"]):
            rows.add(UNSEEN, found, role=role, **where)
    if init_epoch not in networks.roles["followed"]:
        return
    epochs: list[int] = networks.roles["target_epochs"]
    for role in PATHS:
        if found := _explained(networks, resampling, role, init_epoch, [*epochs]):
            rows.add(UNSEEN, found, epochs, where="target_epoch", role=role, **where)
            worst = int(found.pooled().points[0].nan_to_num(torch.inf).argmin())
            rows.add(UNSEEN_ON_PATH, found.at([worst]), role=role, **where)


def _explained(
    networks: Networks, resampling: Resampling, role: Role, init_epoch: str, epochs: list[Epoch]
) -> Estimate | None:
    """Return R² of a role at some epochs, the ratio of sums over images; None where a network is not there."""
    first_epoch = SCRATCH if role in ("scratch", "second_scratch", "null") else init_epoch
    last: list[Epoch] = ["last"] if role == "second_scratch" else epochs
    found = [
        [networks.unseen(Place(role, seed, first_epoch, epoch)) for epoch in last]
        for seed in networks.seeds
    ]
    pairs = [[pair for pair in of_seed if pair is not None] for of_seed in found]
    if any(len(pair) < len(last) for pair in pairs):
        return None
    parts, wholes = (
        torch.stack([torch.stack([pair[i] for pair in of_seed], -1) for of_seed in pairs])
        for i in (0, 1)
    )
    return resampling.ratio(parts, wholes)
