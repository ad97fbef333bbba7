"""What `pretrain` and `trajectory` leave behind: checkpoints, history, normalisation, a summary."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pandas as pd

from headstart.artifacts.files import write_json, write_table
from headstart.artifacts.store import JobContext
from headstart.statistics.chance import by_guessing
from headstart.steps.progress import format_validation
from headstart.training.assembly import RunImages
from headstart.training.checkpoint_series import Keeper
from headstart.training.records import Outcome


def finish_run(
    outcome: Outcome, keeper: Keeper, images: RunImages, context: JobContext
) -> dict[str, Any]:
    """Write all files of a run; return what its manifest says of its end."""
    keeper.finish(outcome, context.out)
    write_table(context.out / "history.parquet", history_table(outcome))
    statistics, classes = images.normalization.to_dict(), list(images.task.classes)
    write_json(context.out / "normalization.json", {**statistics, "classes": classes})
    summary = summary_of(outcome)
    held_out, best = len(images.task.validation.labels), outcome.best
    trained = outcome.history[-1].epoch > 0
    if trained and best.validation_accuracy <= by_guessing(len(classes), held_out):
        summary["text"] += (
            f"; BEWARE: as guessing among {len(classes)} classes on {held_out} images"
        )
    context.log(summary["text"])
    return summary


def history_table(outcome: Outcome) -> pd.DataFrame:
    """Return one row per epoch; test accuracy where it was read, at the chosen epoch too."""
    table = pd.DataFrame([asdict(record) for record in outcome.history]).drop(columns="seconds")
    table["test_accuracy"] = table["test_accuracy"].astype("float64")
    if outcome.test_accuracy_at_best is not None:
        table.loc[table["epoch"] == outcome.best_epoch, "test_accuracy"] = (
            outcome.test_accuracy_at_best
        )
    return table.assign(best=table["epoch"] == outcome.best_epoch, diverged=outcome.diverged)


def summary_of(outcome: Outcome) -> dict[str, Any]:
    """Return the best and the last epoch of a run, and whether it diverged."""
    best, last = outcome.best, outcome.history[-1]
    text = f"best epoch {best.epoch}: validation {format_validation(best)}; "
    text += f"last epoch {last.epoch}: validation {format_validation(last)}"
    if outcome.diverged:
        text += f"; DIVERGED ({outcome.reason}), scored by its last epoch"
    return {"best_epoch": best.epoch, "diverged": outcome.diverged, "text": text}
