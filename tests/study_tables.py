"""Tables such as the study writes, of runs with planted gains."""

from __future__ import annotations

import numpy as np
import pandas as pd

from headstart.studies.early_stopping.convergence import convergence_rows
from headstart.studies.early_stopping.tables import tidy

EPOCHS = (0, 1, 2, 4, 8)
BEST = 8
# Points over the source-best start, by source epoch.
EARLIER = {0: -30.0, 1: -10.0, 2: 3.0, 4: 1.0, 8: 0.0}
FLAT = {0: -30.0, 1: 0.0, 2: 0.0, 4: 0.0, 8: 0.0}
TARGET_EPOCHS = 12


def measurements(
    gains: dict[int, float] | None = None,
    n_seeds: int = 8,
    rates: tuple[float, ...] = (0.1,),
    drop_at_last_rate: float = 0.0,
    seed_sd: float = 0.005,
    seed: int = 0,
    **names: str,
) -> pd.DataFrame:
    """Return end measures and source accuracies; `drop_at_last_rate` lowers source-best alone there."""
    generator = np.random.default_rng(seed)
    gains = gains or EARLIER
    runs = _grid(n_seeds, rates)
    network = generator.normal(0, seed_sd, (n_seeds, len(EPOCHS)))
    where = runs["source_epoch"].map({epoch: i for i, epoch in enumerate(EPOCHS)})
    truth = 0.7 + runs["source_epoch"].map(gains) / 100 + network[runs["seed"], where]
    weak = (runs["source_epoch"] == BEST) & (runs["learning_rate"] == rates[-1])
    truth -= weak * drop_at_last_rate / 100
    keys = {"source": "latin", "model": "net", "target": "cyrillic", "arm": "finetune"}
    keys |= {"mode": "finetune", "shots": "5", **names}
    parts = [
        runs.assign(
            **keys,
            split=split,
            metric="accuracy_at_validation_best",
            value=(truth + generator.normal(0, 0.002, len(runs))).clip(0, 1),
        )
        for split in ("validation", "test")
    ]
    return tidy([*parts, _source(n_seeds, keys)]).assign(device="cpu")


def joined(*tables: pd.DataFrame) -> pd.DataFrame:
    """Return tables of several contrasts on the same source networks as one."""
    return pd.concat(tables, ignore_index=True).drop_duplicates(
        subset=[c for c in tables[0].columns if c != "value"], ignore_index=True
    )


def curves(n_seeds: int = 2, slowest: float = 30.0) -> pd.DataFrame:
    """Return validation curves 0.8 (1 − e^{−t/τ}), τ falling from `slowest` for scratch."""
    runs = _grid(n_seeds, (0.1,))
    tau = slowest / (1 + runs["source_epoch"])
    parts = [
        runs.assign(target_epoch=t, value=0.8 * (1 - np.exp(-t / tau)))
        for t in range(TARGET_EPOCHS + 1)
    ]
    return tidy(parts).assign(
        source="latin",
        model="net",
        target="cyrillic",
        arm="finetune",
        mode="finetune",
        shots="5",
        split="validation",
        metric="accuracy",
        device="cpu",
    )


def with_speed(table: pd.DataFrame, n_seeds: int) -> pd.DataFrame:
    """Return measurements with the convergence measures of `curves` added."""
    return pd.concat([table, convergence_rows(curves(n_seeds))], ignore_index=True)


def _grid(n_seeds: int, rates: tuple[float, ...]) -> pd.DataFrame:
    axes = [EPOCHS, range(n_seeds), (0, 1), rates]
    columns = [axis.ravel() for axis in np.meshgrid(*axes, indexing="ij")]
    names = ("source_epoch", "seed", "draw", "learning_rate")
    runs = pd.DataFrame(dict(zip(names, columns, strict=True)))
    return runs.assign(draw=runs["draw"] + 1000 * runs["seed"])


def _source(n_seeds: int, keys: dict[str, str]) -> pd.DataFrame:
    parts = []
    for epoch in range(BEST + 1):
        values = {"accuracy": 0.5 + 0.05 * epoch, "best": float(epoch == BEST)}
        for metric, value in values.items():
            rows = pd.DataFrame({"seed": range(n_seeds)}).assign(metric=metric, value=value)
            # Equal histories would be one network under several names.
            rows["value"] -= 1e-4 * rows["seed"] * (metric == "accuracy")
            parts.append(rows.assign(source_epoch=epoch, split="validation"))
        rows = pd.DataFrame({"seed": range(n_seeds)}).assign(metric="accuracy", split="train")
        parts.append(rows.assign(source_epoch=epoch, value=min(1.0, 0.6 + 0.05 * epoch)))
    same = {"source": keys["source"], "target": keys["source"], "model": keys["model"]}
    return pd.concat(parts).assign(**same, arm="pretrain", mode="pretrain")
