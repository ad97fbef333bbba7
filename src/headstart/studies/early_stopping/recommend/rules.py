"""Rules that choose a checkpoint: static ones, scores of checkpoints, short and whole runs, what others teach."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from headstart.artifacts.keys import derive_seed
from headstart.studies.early_stopping.recommend.atlas import CELL, FOLLOWED
from headstart.studies.early_stopping.recommend.model import numbered
from headstart.studies.early_stopping.recommend.search import training_speed

FORWARD = 1 / 3
"""Of an epoch with updates: a pass without them."""
SCORES = {
    "logme": "LogME",
    "leep": "LEEP",
    "ridge_probe": "ridge probe",
    "knn_probe": "kNN probe",
    "source_accuracy": "source accuracy",
}
"""Columns of `scores.score_table`, and the rules that take the checkpoint with the largest value."""
FREE = ("source_accuracy",)
"""What is known without a pass over images of the target."""
PLASTICITY = {
    "effective_rank": (1, "effective rank"),
    "redo_dormant_fraction": (-1, "dormant units (ReDo)"),
    "squared_weight_norm": (-1, "weight norm"),
    "gradient_norm": (1, "gradient norm"),
    "random_label_loss": (-1, "random-label loss"),
}
"""Measures of a checkpoint, and whether more (1) or less (-1) of it is to be preferred."""
LEARNED = "epoch learned elsewhere"
EVERYTHING = "validation of everything"
RECOMMEND = "recommend"


@dataclass(frozen=True)
class Rule:
    """A column to be maximised, and its cost at a fixed rate and over rates: shares of the epochs of everything."""

    name: str
    fixed: float
    tuned: float


def with_rules(rows: pd.DataFrame) -> tuple[pd.DataFrame, list[Rule]]:
    """Return runs with one more column per rule that looks at no other network, and these rules.

    A rule that picks an epoch alone takes, over all rates, the one that validation prefers after all of
    them were tried from that epoch. A score that a cell has of no candidate at all is no rule.
    """
    epochs = int(rows["epochs"].iloc[0])
    starts = float(rows.groupby(CELL)["source_epoch"].nunique().median())
    cells = rows.groupby(CELL).ngroup()
    columns, rules = {}, []
    for name, (values, passes) in _epoch_alone(rows, epochs).items():
        if values.notna().groupby(cells).any().all():
            ranks = values.groupby(cells).rank(method="dense").fillna(0.0)
            columns[name] = ranks + rows["validation_accuracy"] / 2
            rules.append(Rule(name, passes, passes + 1 / starts))
    for number in (1, 2, 4, FOLLOWED):
        if number < epochs and f"train_loss_{number}" in rows:
            speed, validation = (
                f"{what}, {number} epoch" + "s" * (number > 1)
                for what in ("training speed", "validation")
            )
            columns[speed] = pd.Series(training_speed(rows, number), rows.index)
            columns[validation] = rows[f"validation_accuracy_{number}"]
            rules += [Rule(name, number / epochs, number / epochs) for name in (speed, validation)]
    columns[EVERYTHING] = rows["validation_accuracy"]
    rules.append(Rule(EVERYTHING, 1.0, 1.0))
    return rows.assign(**columns), rules


def _epoch_alone(rows: pd.DataFrame, epochs: int) -> dict[str, tuple[pd.Series, float]]:
    """Return the values of every rule that picks an epoch, and the share of a run that they cost."""
    generator = np.random.default_rng(derive_seed("random checkpoint"))
    starts = rows.groupby([*CELL, "source_epoch"]).ngroup()
    order = pd.Series(generator.random(int(starts.max()) + 1)[starts], rows.index)
    best = (rows["source_epoch"] == rows["source_best"]).astype(float)
    own = best.groupby([rows[name] for name in CELL]).transform("max") > 0
    found = {
        "random": (order.where(rows["source_epoch"] > 0, -1.0), 0.0),
        "last": (rows["source_epoch"].astype(float), 0.0),
        "source-best": (best.where(own), 0.0),
    }
    for name, words in SCORES.items():
        if name in rows:
            found[words] = (rows[name], 0.0 if name in FREE else FORWARD / epochs)
    for name, (sign, words) in PLASTICITY.items():
        if name in rows:
            found[words] = (sign * rows[name], 0.0)
    return found


def learned_epoch(rows: pd.DataFrame, teaching: pd.DataFrame) -> pd.Series:
    """Return the mean test accuracy of other networks at an epoch, source-best being one of its own.

    It is that of runs as alike as there are any: of model, target, shots and rate, or fewer of these.
    """
    kinds = [["model", "target", "shots"], ["model", "target"], ["model"], ["target"], []]
    rows, teaching = (
        each.assign(
            place=each["source_epoch"].where(each["source_epoch"] != each["source_best"], -1)
        )
        for each in (rows, teaching)
    )
    found = pd.Series(np.nan, rows.index)
    # A cell is judged by means of one kind: the closest that knows any of its candidates.
    cells = numbered(rows, [*CELL, "learning_rate"])
    for kind in [[*kind, *rate] for rate in (["learning_rate"], []) for kind in kinds]:
        keys = [*kind, "place"]
        means = teaching.groupby(keys)["test_accuracy"].mean().rename("mean")
        exact = rows[keys].join(means, on=keys)["mean"]
        known = found.notna().groupby(cells).transform("any")
        if known.all():
            break
        found = found.where(known, exact)
    return found
