"""What the rows of pre-training say of the source networks: whether they learnt anything, and what their epoch 0 is."""

from collections.abc import Iterator

import pandas as pd

from headstart.statistics.chance import by_guessing
from headstart.statistics.words import pluralize
from headstart.studies.early_stopping.verdicts.run_tables import PRETRAIN, SOURCE_ACCURACY

CLASSES, HELD_OUT, DISTANCE, GIVEN = "classes", "validation_images", "distance", "given_weights"
AT_CHANCE = "source-at-chance"
UNMOVED = 1e-3
"""Weights that moved by less (Euclidean distance over all of them) are those that they were."""


def source_rows(table: pd.DataFrame, source: object, model: object) -> pd.DataFrame:
    """Return the rows of mode "pretrain" of one source and model."""
    same = (table["source"] == source) & (table["model"] == model)
    return table[same & (table["mode"] == PRETRAIN)]


def stated(rows: pd.DataFrame, metric: str) -> float | None:
    """Return what rows of pre-training say of all their networks alike, such as the number of classes."""
    values = rows.loc[rows["metric"] == metric, "value"]
    return float(values.iloc[0]) if len(values) else None


def starts_given(rows: pd.DataFrame) -> bool:
    """Return whether source epoch 0 is a network with given weights: then nothing here is from scratch."""
    return bool(stated(rows, GIVEN))


def at_chance(rows: pd.DataFrame) -> Iterator[str]:
    """Yield a flag where source networks never tell their classes apart better than by guessing.

    It needs rows with the numbers of classes and of validation images, which the study's own tables have.
    """
    classes, images = stated(rows, CLASSES), stated(rows, HELD_OUT)
    held = (rows["metric"] == SOURCE_ACCURACY) & (rows["split"] == "validation")
    best = rows[held & (rows["source_epoch"] > 0)].groupby("seed")["value"].max().dropna()
    if not classes or not images or best.empty:
        return
    lost = best[best <= by_guessing(round(classes), round(images))]
    if len(lost):
        yield (
            f"{AT_CHANCE}: {len(lost)} of {pluralize(len(best), 'source network')} reach {lost.max():.1%} of "
            f"{images:.0f} validation images of their own task at most, as guessing among {classes:.0f} classes "
            "does: nothing shows that they learnt what could help"
        )


def unmoved(rows: pd.DataFrame) -> Iterator[str]:
    """Yield why checkpoints are no different starts, where pre-training did not move the weights."""
    moved = rows[(rows["metric"] == DISTANCE) & (rows["source_epoch"] > 0)]
    distances = moved.groupby("seed")["value"].agg(["min", "max", "size"])
    # Several files of equal weights are equally far from wherever distances begin.
    equal = (distances["size"] > 1) & (distances["min"] == distances["max"])
    still = distances.index[equal | (distances["max"] < UNMOVED)]
    if len(still):
        yield (
            f"pre-training does not move the weights of seed {still[0]}: its checkpoints are one network (a "
            "learning rate near 0, or one file for several epochs)"
        )
