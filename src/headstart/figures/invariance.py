"""What the figures of the invariance study share: which rows are drawn, colours, words."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from headstart.figures.style import BLUE, GREEN, ORANGE, PURPLE, VERMILION

RUN = ["source", "model", "target", "arm", "mode", "seed", "source_epoch", "random_start"]
Look = tuple[str, str]
# Colour and marker of what a run does; all differ in lightness or shape, too.
LOOKS: dict[str, Look] = {
    "fine-tuned": (BLUE, "o"),
    "reconstructing": (VERMILION, "s"),
    "from scratch": (GREEN, "^"),
    "probed": (PURPLE, "D"),
}
SPARE: tuple[Look, ...] = ((ORANGE, "v"), (PURPLE, "P"), ("#222222", "X"))


def drawn_rows(measurements: pd.DataFrame, measures: Sequence[str]) -> pd.DataFrame:
    """Return the end values of measures: debiased where there is a choice, of the first kind of seed."""
    kinds = [kind for kind in measurements["kind"].unique() if kind]
    table = measurements[
        measurements["measure"].isin(measures)
        & measurements["form"].isin(["", "debiased"])
        & measurements["kind"].isin(["", *kinds[:1]])
    ]
    return table.assign(series=series_names(table))


def at_end(table: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """Return the rows at the end of each run."""
    keys = [*RUN, "target_seed", "target_epoch"]
    return table.merge(runs[keys], on=keys)


def series_names(table: pd.DataFrame) -> pd.Series:
    """Return what each row's run does, in words; the arm's own name where two arms would share them."""
    words = table["mode"].map(
        {"finetune": "fine-tuned", "reconstruct": "reconstructing", "probe": "probed"}
    )
    words = words.mask(table["random_start"], "from scratch")
    models = table["model"].nunique() > 1 or table["source"].nunique() > 1
    if models:
        words = words + " (" + table["source"] + ", " + table["model"] + ")"
    shared = table.assign(words=words).groupby("words")["arm"].nunique()
    return words.where(words.map(shared) == 1, table["arm"])


def looks_of(names: Sequence[str]) -> dict[str, Look]:
    """Return colour and marker of every series."""
    spare = iter(SPARE * len(names))
    return {name: LOOKS[name] if name in LOOKS else next(spare) for name in names}


def in_words(number: int, thing: str) -> str:
    """Return a number of things."""
    return f"{number} {thing}" + ("" if number == 1 else "s")


def sample_words(runs: pd.DataFrame) -> str:
    """Return the sentence on numbers that stands under a figure."""
    networks = in_words(runs["seed"].nunique(), "source network")
    return (
        f"n = {networks}, {runs['images'].max()} test images × "
        f"{in_words(int(runs['inversion_seeds'].max()), 'inversion seed')}"
    )
