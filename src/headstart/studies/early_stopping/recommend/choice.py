"""Choose a checkpoint and a learning rate for a target, within a budget of target epochs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd

from headstart.studies.early_stopping.params import Transfer
from headstart.studies.early_stopping.recommend.calibration import (
    Calibration,
    Forecast,
    hesitation,
)
from headstart.studies.early_stopping.recommend.model import Teacher
from headstart.studies.early_stopping.recommend.search import LONG, Follow, search, training_speed
from headstart.studies.early_stopping.recommend.short_runs import ShortRuns
from headstart.training.assembly import RunImages, RunSeeds
from headstart.training.checkpoint_series import CheckpointSeries

NOTHING = Forecast(np.nan, np.nan, np.nan, 0)


@dataclass(frozen=True)
class Recommendation:
    """A checkpoint and a rate, what is expected of them, and what it took to say so.

    Attributes:
        expected: accuracy on images not seen, a fraction; NaN without other networks.
        forecast: its 90 % interval and the probability to be within 1 point of the best candidate.
        cost: target epochs that were trained, of `all_epochs` that fine-tuning every candidate takes.
        hesitation: why it would rather not say, empty otherwise.
    """

    source_epoch: int
    learning_rate: float
    expected: float
    forecast: Forecast
    cost: int
    all_epochs: int
    hesitation: str


def recommend(
    series: CheckpointSeries,
    images: RunImages,
    options: Transfer,
    names: Mapping[str, Any],
    atlas: pd.DataFrame,
    *,
    budget: float,
    rates: Sequence[float] = (),
    report: Callable[[str], None] = lambda _: None,
) -> Recommendation:
    """Return the checkpoint and the rate to fine-tune with, after a few short runs on the target.

    Args:
        series: the checkpoints; those that `options` names are candidates.
        images: of the target, training images as many as there will be.
        options: how the target is trained; `rates` replace its learning rates, one rate is a fixed one.
        names: source, model, seed, target, shots and draw, as in the atlas.
        atlas: finished runs of other networks; may be empty.
        budget: share of the target epochs of fine-tuning every candidate.
        report: called with a line after each short run.
    """
    rates = tuple(rates) or options.learning_rates
    tuned = len(rates) > 1
    epochs = sorted({series.epoch(each) for each in options.source_epochs})
    rows = pd.DataFrame(product(epochs, rates), columns=["source_epoch", "learning_rate"])
    rows = rows.assign(epochs=options.epochs, **{name: str(value) for name, value in names.items()})
    order = RunSeeds("transfer", tuple(str(names[name]) for name in NAMES))
    atlas = atlas[atlas["seed"].astype(str) != str(names["seed"])]
    with TemporaryDirectory() as folder:
        runs = ShortRuns(series, images, options, order, Path(folder), report)
        if atlas.empty:
            return _untaught(rows, runs, budget)
        chosen = search(rows, runs, Teacher(atlas, tuned), budget).iloc[0]
    said = Calibration(atlas, tuned, budget).forecast(chosen)
    return _recommendation(chosen, said, runs, rows, hesitation(said, str(names["target"])))


NAMES = ("source", "model", "target", "seed", "shots", "draw")


def _untaught(rows: pd.DataFrame, runs: ShortRuns, budget: float) -> Recommendation:
    """Follow every candidate as long as the budget allows, and let training speed decide."""
    whole = int(rows["epochs"].iloc[0])
    number = max(1, min(int(budget * whole + 1e-9), whole))
    follow: Follow = runs
    tried = follow(rows, number)
    speeds = training_speed(tried, number)
    chosen = tried.iloc[int(np.argmax(speeds))].copy()
    chosen["expected"] = np.nan
    reason = "no other networks were fine-tuned: nothing tells how far such a choice is off"
    if number < min(LONG, whole):
        reason += (
            f", and {number} target epoch{'s' * (number > 1)} of each candidate mislead at low rates; "
            f"a budget of {min(LONG, whole) / whole:.0%} gives each of them {min(LONG, whole)}"
        )
    return _recommendation(chosen, NOTHING, runs, rows, reason)


def _recommendation(
    chosen: pd.Series, said: Forecast, runs: ShortRuns, rows: pd.DataFrame, reason: str
) -> Recommendation:
    return Recommendation(
        int(chosen["source_epoch"]),
        float(chosen["learning_rate"]),
        float(chosen["expected"]),
        said,
        runs.target_epochs,
        int(rows["epochs"].sum()),
        reason,
    )


def render(found: Recommendation, about: str) -> str:
    """Return a recommendation as lines for a person; `about` says of what."""
    said = found.forecast
    lines = [
        f"{about}: fine-tune epoch {found.source_epoch} at learning rate {found.learning_rate:g}"
    ]
    if not np.isnan(said.low):
        lines += [
            f"  accuracy {found.expected:.1%} expected, 90 % interval {said.low:.1%} to {said.high:.1%}, "
            f"calibrated by {said.networks} other networks",
            f"  within 1 point of the best candidate with a probability of {said.within:.0%}",
        ]
    elif not np.isnan(found.expected):
        lines.append(f"  accuracy {found.expected:.1%} expected, with no interval")
    share = found.cost / found.all_epochs
    lines.append(f"  cost: {found.cost} of {found.all_epochs} target epochs, {share:.1%}")
    if found.hesitation:
        lines.append(f"  BEWARE: it would rather not say: {found.hesitation}")
    return "\n".join(lines)
