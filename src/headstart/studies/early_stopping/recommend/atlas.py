"""Finished runs of other networks as one table: what they reached, and what their first epoch looked like."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

NETWORK = ["source", "model", "seed"]
CELL = [*NETWORK, "target", "shots", "draw"]
"""What a person has: a network, a task and some images of it. Runs of a cell differ in `CANDIDATE`."""
CANDIDATE = ["source_epoch", "learning_rate"]
EARLY = ("train_loss", "validation_loss", "validation_accuracy")
"""Read after each of the first target epochs, as columns `train_loss_1` and so on."""
FOLLOWED = 8


def read_runs(folder: Path, names: Mapping[str, str]) -> pd.DataFrame:
    """Return one row per run of a bundle of `transfer`, of the network and target that `names` say.

    Columns: `CELL`, `CANDIDATE`, `epochs` (of the whole run), `validation_accuracy` and `test_accuracy` (at
    the epoch that validation chose), and those of `EARLY` for the first 8 epochs.
    """
    runs = pd.read_parquet(folder / "runs.parquet")
    curves = pd.read_parquet(folder / "curves.parquet")
    keys = ["source_epoch", "shots", "draw", "learning_rate"]
    kept = runs[[*keys, "validation_accuracy", "test_accuracy"]].set_index(keys)
    kept["epochs"] = int(curves["target_epoch"].max())
    first = curves[curves["target_epoch"].between(1, FOLLOWED)]
    wide = first.pivot(index=keys, columns="target_epoch", values=list(EARLY))
    # The pivoted columns are pairs of a measure and an epoch.
    pairs = (wide.columns.get_level_values(level) for level in (0, 1))
    wide.columns = pd.Index([f"{measure}_{epoch}" for measure, epoch in zip(*pairs, strict=True)])
    table = kept.join(wide).reset_index()
    return table.assign(**{name: names[name] for name in (*NETWORK, "target")})


def gather(bundles: Iterable[tuple[Path, Mapping[str, str]]]) -> pd.DataFrame:
    """Return the runs of several bundles as one table, empty where there is none."""
    tables = [read_runs(folder, names) for folder, names in bundles]
    columns = [*CELL, *CANDIDATE, "epochs", "validation_accuracy", "test_accuracy"]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=columns)


def numbers(shots: pd.Series) -> pd.Series:
    """Return numbers of images per class as numbers; all images count as the largest number there is."""
    numbers = pd.to_numeric(shots, errors="coerce")
    return numbers.fillna(numbers.max() if numbers.notna().any() else 1.0)


def halved(table: pd.DataFrame) -> pd.DataFrame:
    """Return, for each run, mean test accuracies over two halves of its network's draws, as `own` and `elsewhere`.

    For the draw at place i of n the own half is the ⌊n / 2⌋ draws from i on, cyclically, and the rest are
    elsewhere: with two draws this one and the other. A candidate that was not run in every draw of its network,
    target and number of shots has NaN, for means over different draws do not compare; so has a single draw.
    """
    group = [*NETWORK, "target", "shots"]
    places = table.groupby(group)["draw"].rank(method="dense").astype(int) - 1
    number = table.groupby(group)["draw"].transform("nunique")
    runs = table.groupby([*group, *CANDIDATE], sort=False).ngroup()
    wide = np.full(
        (int(runs.max()) + 1 if len(runs) else 0, int(number.max() if len(runs) else 0)), np.nan
    )
    wide[runs, places] = table["test_accuracy"]
    found = pd.DataFrame(np.nan, table.index, ["own", "elsewhere"])
    for _, rows in table.groupby([number, places]):
        many, place = int(number[rows.index[0]]), int(places[rows.index[0]])
        order = (place + np.arange(many)) % many
        mine = wide[runs[rows.index]]
        if many > 1:
            halves = np.split(order, [many // 2])
            means = np.stack([mine[:, half].mean(axis=1) for half in halves], axis=1)
            found.loc[rows.index] = np.where(
                np.isnan(means).any(axis=1, keepdims=True), np.nan, means
            )
    return table.assign(own=found["own"], elsewhere=found["elsewhere"])
