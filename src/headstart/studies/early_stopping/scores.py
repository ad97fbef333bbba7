"""Step `scores`: what is known of every start of fine-tuning before anything is trained on the target.

Scores read training images of the draw, probes learn from them and are read on validation images. Test images are
not read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from headstart.artifacts.files import write_table
from headstart.artifacts.keys import Job
from headstart.artifacts.store import JobContext
from headstart.steps.sections import model_of, read_tasks
from headstart.studies.early_stopping.recommend.scores import score_table
from headstart.tasks.task import draw_shots
from headstart.training.checkpoint_series import CheckpointSeries

Cell = tuple[str, Any, int]
"""Target, shots and draw."""


def make(job: Job, context: JobContext) -> Mapping[str, Any]:
    """Score every start on the images of every cell, and write one row each."""
    tasks = read_tasks(job, context)
    shape = next(iter(tasks.values())).train.images.shape
    series = CheckpointSeries(
        context.input("pretrain"), model_of(job.params), shape, context.device
    )
    cells = starts(job.params["scores"]["cells"], series)
    context.log(f"{context.device}, {len(cells)} sets of target images")
    parts = []
    for (target, shots, draw), epochs in cells.items():
        task = tasks[target]
        train = draw_shots(task, shots, draw)
        table = score_table(series, epochs, train, task.validation, series.normalization)
        parts.append(table.assign(target=target, shots=str(shots), draw=draw))
        context.log(f"{target}, {shots} shots, draw {draw}: {len(table)} checkpoints", detail=True)
    table = pd.concat(parts, ignore_index=True)
    write_table(context.out / "scores.parquet", table)
    undefined = int(table["logme"].isna().sum())
    context.log(
        f"{len(table)} checkpoints scored, {undefined} of them with features that are not finite"
    )
    return {
        "seed": job.wildcards["seed"],
        "dtype": "float32",
        "summary": {"scored": len(table), "undefined": undefined},
    }


def starts(
    cells: Mapping[str, list[Mapping[str, Any]]], series: CheckpointSeries
) -> dict[Cell, list[int]]:
    """Return the source epochs of every target, number of shots and draw, over all grids that have them."""
    found: dict[Cell, set[int]] = {}
    for target, grids in cells.items():
        for grid in grids:
            epochs = {series.epoch(each) for each in grid["source_epochs"]}
            for shots in grid["shots"]:
                for draw in grid["draws"]:
                    found.setdefault((target, shots, draw), set()).update(epochs)
    return {cell: sorted(epochs) for cell, epochs in found.items()}
