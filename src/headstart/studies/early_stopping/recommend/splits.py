"""What is left out before a rule is judged: networks, and with them targets, rates, numbers of shots, recipes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from headstart.artifacts.keys import derive_seed
from headstart.studies.early_stopping.recommend.calibration import HIGH

SHARE = 0.3
"""Of networks and of targets that are held out."""
TOGETHER = 3
"""Parts of the networks that are left out one after the other, where more than networks are left out."""


@dataclass(frozen=True)
class HeldOut:
    """What is judged and was not to be seen while building; empty where a study has too little to hold any out.

    `model` and `shots` are the ones that a new target is judged at.
    """

    networks: tuple[str, ...]
    targets: tuple[str, ...]
    new_shots: str
    rates: tuple[float, ...]
    recipe: str
    model: str
    shots: str


@dataclass(frozen=True)
class Fold:
    """Which runs teach, and which are judged, as masks of an atlas."""

    teaching: pd.Series
    judged: pd.Series


@dataclass(frozen=True)
class Split:
    """One question, such as `new target`, what it leaves out beside networks, and its folds."""

    question: str
    left_out: str
    folds: tuple[Fold, ...]


def held_out(atlas: pd.DataFrame, model: str, shots: str) -> HeldOut:
    """Draw a third of networks and targets, a number of shots, a low and a high rate, and a source recipe.

    `model` and `shots` are the primary ones, which are not held out.
    """

    def draw(name: str, options: Sequence[Any], number: int = 1) -> list[Any]:
        generator = np.random.default_rng(derive_seed("recommend held out", name))
        return [options[place] for place in generator.permutation(len(options))[:number]]

    seeds = sorted(map(int, atlas["seed"].unique()))
    networks = draw("networks", seeds, max(1, round(SHARE * len(seeds))))
    targets = sorted(atlas["target"].unique())
    number = max(1, round(SHARE * len(targets))) if len(targets) > 1 else 0
    rates = sorted(atlas.loc[atlas["shots"] == shots, "learning_rate"].unique().tolist())
    kinds = {
        "low rate": [r for r in rates if r < HIGH],
        "high rate": [r for r in rates if r >= HIGH],
    }
    drawn = [draw(name, kind)[0] for name, kind in kinds.items() if len(kind) > 1]
    counts = sorted((each for each in atlas["shots"].unique() if each != shots), key=_number)
    recipes = [name for name in atlas["model"].unique() if name != model]
    return HeldOut(
        tuple(sorted(map(str, networks), key=int)),
        tuple(sorted(draw("target", targets, number))),
        draw("shots", counts)[0] if counts else "",
        tuple(drawn),
        draw("source recipe", recipes)[0] if recipes else "",
        model,
        shots,
    )


def primary(atlas: pd.DataFrame, named: Any) -> tuple[str, str]:
    """Return the model and the number of shots of a study's primary contrast, or those with most runs."""
    found = []
    for name in ("model", "shots"):
        given = str((named or {}).get(name, ""))
        known = given in set(atlas[name])
        found.append(given if known else str(atlas[name].value_counts().index[0]))
    return found[0], found[1]


def parts(seeds: Sequence[str], most: int) -> list[tuple[str, ...]]:
    """Return networks in at most so many parts, to be left out one after the other."""
    ordered = sorted(seeds, key=int)
    number = min(most, len(ordered))
    return [tuple(ordered[start::number]) for start in range(number)]


def splits(
    atlas: pd.DataFrame,
    out: HeldOut,
    alone: Sequence[Sequence[str]],
    together: Sequence[Sequence[str]],
) -> Iterator[Split]:
    """Yield every question that a study can answer.

    `alone` are the networks that are left out where only networks are, part by part; `together` those that
    are left out with a target, with rates, with a number of shots, or with a recipe.
    """
    everything = pd.Series(True, atlas.index)
    yield _split(atlas, "new networks", "", ~everything, everything, alone)
    plain = (atlas["shots"] == out.shots) & (atlas["model"] == out.model)
    targets = sorted(atlas.loc[plain, "target"].unique())
    others = tuple(name for name in targets if name not in out.targets)
    # Of two targets each teaches the other.
    for left_out in (out.targets, others) if len(targets) == 2 else (out.targets,):
        mine = atlas["target"].isin(left_out)
        if (plain & mine).any() and others:
            name = ", ".join(left_out)
            yield _split(atlas, "new target", name, mine | ~plain, mine & plain, together)
    questions = {
        "new rates": (", ".join(f"{rate:g}" for rate in out.rates), "learning_rate", out.rates),
        "new shots": (out.new_shots, "shots", [out.new_shots]),
        "new recipe": (out.recipe, "model", [out.recipe]),
    }
    for question, (name, column, values) in questions.items():
        mine = atlas[column].isin(values)
        if mine.any():
            yield _split(atlas, question, name, mine, mine, together)


def _split(
    atlas: pd.DataFrame,
    question: str,
    left_out: str,
    unknown: pd.Series,
    asked: pd.Series,
    networks: Sequence[Sequence[str]],
) -> Split:
    folds = []
    for part in networks:
        new = atlas["seed"].isin(part)
        folds.append(Fold(~new & ~unknown, new & asked))
    kept = [fold for fold in folds if fold.teaching.any() and fold.judged.any()]
    return Split(question, left_out, tuple(kept))


def _number(shots: str) -> float:
    return float(shots) if shots.isdigit() else float("inf")
