"""Tables as a preset's runs would fill them, with made-up accuracies of a known shape."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import numpy as np
import pandas as pd

from headstart.artifacts.keys import Job
from headstart.maintenance import presets
from headstart.plan import Plan
from headstart.registry import parse
from headstart.steps.sections import pretrain_of
from headstart.studies.early_stopping.protocol import published_beside
from headstart.studies.early_stopping.settings import PROTOCOLS, VALUES, settings
from headstart.studies.early_stopping.tables import tidy
from headstart.studies.early_stopping.transfer import transfer_of

# Points of a start over source-best: (source, model, epoch as a share of pre-training).
Gain = Callable[[str, str, float], float]


def preset_tables(
    preset: str, gain: Gain = lambda *_: 0.0, best: float = 0.9, seed_sd: float = 0.5
) -> dict[str, pd.DataFrame]:
    """Return measurements, settings and published values for all runs that a preset plans.

    Every network is source-best at the kept epoch next to the share `best` of its pre-training;
    `seed_sd`, in points, is the spread of a start over source networks.
    """
    jobs = Plan(parse(presets.read(presets.find(preset)))).jobs("transfer")
    generator = np.random.default_rng(0)
    parts, done = [], set()
    for job in jobs:
        (pretrain,) = job.inputs["pretrain"]
        parts.append(_runs(job, pretrain, gain, best, seed_sd, generator))
        if pretrain.key not in done:
            done.add(pretrain.key)
            parts.append(_source(pretrain, best))
    measurements = tidy(parts).assign(device="cpu")
    described = settings(jobs)
    values = pd.read_csv(PROTOCOLS), pd.read_csv(VALUES)
    published = published_beside(described, measurements, *values)
    return {"measurements": measurements, "settings": described, "published": published}


def best_epoch(pretrain: Job, best: float) -> int:
    """Return the epoch at which the networks are source-best."""
    options = pretrain_of(pretrain.params)
    return min(options.checkpoint_epochs(), key=lambda epoch: abs(epoch - best * options.epochs))


def _runs(
    job: Job, pretrain: Job, gain: Gain, best: float, seed_sd: float, generator: np.random.Generator
) -> pd.DataFrame:
    options, names = transfer_of(job), job.wildcards
    top, epochs = best_epoch(pretrain, best), pretrain_of(pretrain.params).epochs
    # Draws of each network's own, whatever the preset asks for: shared ones decide nothing.
    draws = [1000 * int(names["seed"]) + draw for draw in options.draws]
    points = dict.fromkeys(
        (top if epoch == "best" else epoch, *others)
        for grid in options.grids()
        for epoch, *others in product(grid.source_epochs, grid.shots, draws, grid.learning_rates)
    )
    starts = sorted({epoch for epoch, *_ in points})
    network = {epoch: generator.normal(0, seed_sd) for epoch in starts}
    rows = []
    for epoch, shots, draw, rate in sorted(points, key=lambda point: point[0]):
        level = 25 + 8 * np.log2(1 + int(shots)) - 18 * (epoch == 0)
        points = 0 if epoch in (0, top) else gain(names["source"], names["model"], epoch / epochs)
        truth = level + points + network[epoch] + generator.normal(0, 0.3)
        for metric, split, more in (
            ("accuracy_at_validation_best", "validation", 0.2),
            ("accuracy_at_validation_best", "test", 0.0),
            ("oracle_peak", "test", 0.8),
        ):
            rows.append((epoch, str(shots), draw, rate, metric, split, (truth + more) / 100))
    columns = ["source_epoch", "shots", "draw", "learning_rate", "metric", "split", "value"]
    chosen = {name: names[name] for name in ("source", "model", "target", "arm")}
    table = pd.DataFrame(rows, columns=columns)
    return table.assign(**chosen, mode=options.mode, seed=int(names["seed"]))


def _source(pretrain: Job, best: float) -> pd.DataFrame:
    options, names = pretrain_of(pretrain.params), pretrain.wildcards
    top = best_epoch(pretrain, best)
    epochs = np.arange(options.epochs + 1)
    learned = 1 - np.exp(-epochs / (0.1 * options.epochs))
    # Equal histories would be one network under several names.
    held = 0.75 * learned - 0.0004 * np.abs(epochs - top) - 1e-4 * int(names["seed"])
    parts = []
    for metric, split, values in (
        ("accuracy", "validation", held.clip(0)),
        ("accuracy", "train", learned.clip(0, 0.9999)),
        ("best", "validation", (epochs == top).astype(float)),
    ):
        rows = {"source_epoch": epochs, "value": values}
        parts.append(pd.DataFrame(rows).assign(metric=metric, split=split))
    same = {"source": names["source"], "target": names["source"], "model": names["model"]}
    seeded = pd.concat(parts).assign(seed=int(names["seed"]), arm="pretrain", mode="pretrain")
    return seeded.assign(**same)
