"""As many runs as the published study has at most: read, judged and drawn while a person waits."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow
from matplotlib import pyplot as plt
from pyarrow import csv

from headstart.figures import style
from headstart.studies.early_stopping.figures import ranges, transfer
from headstart.studies.early_stopping.figures import verdicts as figures_of_verdicts
from headstart.studies.early_stopping.protocol import COLUMNS
from headstart.studies.early_stopping.tables import tidy
from headstart.studies.early_stopping.verdicts.study_verdicts import verdict_frame
from headstart.studies.early_stopping.verdicts.text import read_runs
from headstart.studies.early_stopping.verdicts.verdicts import verdict_table

STARTS, SEEDS, DRAWS, EPOCHS = 11, 10, 5, 200


def curves() -> pd.DataFrame:
    """Accuracies and losses of every epoch of 550 runs; starts from source epoch 20 are best."""
    generator = np.random.default_rng(0)
    axes = [10 * np.arange(STARTS), range(SEEDS), range(DRAWS), range(1, EPOCHS + 1)]
    grid = [axis.ravel() for axis in np.meshgrid(*axes, indexing="ij")]
    runs = pd.DataFrame(
        dict(zip(["source_epoch", "seed", "draw", "target_epoch"], grid, strict=True))
    ).assign(learning_rate=0.1, target="non_living", arm="finetune", mode="finetune", shots=10)
    runs["draw"] += 1000 * runs["seed"]
    level = 0.5 + 0.05 * (runs["source_epoch"] == 20) * (runs["target_epoch"] > 1)
    parts = [
        runs.assign(
            split=split, metric="accuracy", value=level + generator.normal(0, 0.01, len(runs))
        )
        for split in ("test", "validation")
    ]
    parts.append(runs.assign(split="train", metric="loss", value=2 / runs["target_epoch"]))
    source = pd.MultiIndex.from_product([axes[0], axes[1]], names=["source_epoch", "seed"])
    networks = source.to_frame(index=False).assign(mode="pretrain", target="living")
    for metric, split, values in (
        ("accuracy", "train", networks["source_epoch"] / 100),
        ("accuracy", "validation", networks["source_epoch"] / 125 - networks["seed"] / 1e4),
        ("best", "validation", (networks["source_epoch"] == 100).astype(float)),
    ):
        parts.append(networks.assign(split=split, metric=metric, value=values))
    return pd.concat(parts, ignore_index=True).assign(source="living", model="wrn")


def test_550_runs_of_200_epochs_load_are_judged_and_drawn_within_20_seconds(tmp_path: Path) -> None:
    table = curves()
    assert (table["mode"] == "finetune").sum() == 550 * 200 * 3
    # Ten times as fast as pandas; what is timed comes after it.
    csv.write_csv(pyarrow.Table.from_pandas(table, preserve_index=False), tmp_path / "runs.csv")
    start = time.process_time()
    runs = tidy([read_runs(tmp_path / "runs.csv", classes=35)])
    verdicts = verdict_table(runs)
    judged = verdict_frame(verdicts, runs)
    drawn = {
        "transfer": transfer.transfer_figure(runs, "wrn", 0.95),
        "gains": figures_of_verdicts.gains_figure(runs, judged, "wrn", 0.95),
        "ranges": ranges.ranges_figure(runs, pd.DataFrame(columns=COLUMNS), "wrn"),
        "stems": transfer.stems_figure(runs, "wrn"),
    }
    for name, (figure, values) in drawn.items():
        style.save(figure, name, values, tmp_path / "figures", 200)
        plt.close(figure)
    seconds = time.process_time() - start
    assert (verdicts[0].verdict, verdicts[0].chosen_epoch) == ("earlier-better", 20)
    dots = drawn["transfer"][1]
    assert (dots["drawn"] == "run").sum() == 550
    assert len(list((tmp_path / "figures").iterdir())) == 4 * 4
    assert seconds < 20
