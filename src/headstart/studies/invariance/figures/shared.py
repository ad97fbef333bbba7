"""What the figures of the invariance study share: which rows are drawn, colours, words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from headstart.figures.style import BLUE, GREEN, GREY, ORANGE, PURPLE, VERMILION
from headstart.studies.invariance.network_tables import NETWORK, of_form

Look = tuple[str, str]
# Colour and marker of what a run does; all differ in lightness or shape, too.
LOOKS: dict[str, Look] = {
    "fine-tuned": (BLUE, "o"),
    "reconstructing": (VERMILION, "s"),
    "from scratch": (GREEN, "^"),
    "probed": (PURPLE, "D"),
}
SPARE: tuple[Look, ...] = (
    (ORANGE, "v"),
    (PURPLE, "P"),
    ("#222222", "X"),
    (BLUE, "<"),
    (VERMILION, ">"),
    (GREEN, "p"),
    (GREY, "h"),
)


def drawn_rows(measurements: pd.DataFrame, metrics: Sequence[str]) -> pd.DataFrame:
    """Return the values of metrics: debiased where there is a choice, of the first kind of seed."""
    return named(of_form(measurements[measurements["metric"].isin(metrics)]))


def named(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table with what each row's run does, `does`, and the name it is drawn under, `series`."""
    words = table["mode"].map(
        {"finetune": "fine-tuned", "reconstruct": "reconstructing", "probe": "probed"}
    )
    words = words.mask(table["random_start"], "from scratch")
    does = table.assign(does=words)
    return does.assign(series=_distinct(does) + _start(table))


def _distinct(table: pd.DataFrame) -> pd.Series:
    """Return what each run does, or its arm's own name where two arms of a model do the same."""
    shared = table.groupby(["source", "model", "does"])["arm"].transform("nunique")
    return table["does"].where(shared == 1, table["arm"])


def _start(table: pd.DataFrame) -> pd.Series:
    """Return source and model in brackets, where there is more than one; else nothing."""
    if len(table[["source", "model"]].drop_duplicates()) < 2:
        return pd.Series("", index=table.index)
    return " (" + table["source"] + ", " + table["model"] + ")"


def start_names(table: pd.DataFrame) -> pd.Series:
    """Return how the network that each row's run started from is drawn: pretrained, or random."""
    words = pd.Series("pretrained", index=table.index).mask(table["random_start"], "random")
    return words + _start(table)


def looks_of(table: pd.DataFrame, looks: Mapping[str, Look] = LOOKS) -> dict[str, Look]:
    """Return colour and marker of every series: those of what it does, to the first that does it."""
    found: dict[str, Look] = {}
    spare = iter(SPARE * (1 + len(table)))
    for series, does in table[["series", "does"]].drop_duplicates().itertuples(index=False):
        look = looks.get(does)
        found[series] = look if look and look not in found.values() else next(spare)
    return found


def in_words(number: int, thing: str) -> str:
    """Return a number of things."""
    return f"{number} {thing}" + ("" if number == 1 else "s")


def sample_words(runs: pd.DataFrame) -> str:
    """Return the sentence on numbers that stands under a figure."""
    networks = in_words(len(runs[NETWORK].drop_duplicates()), "source network")
    return (
        f"n = {networks}, {runs['images'].max()} test images × "
        f"{in_words(int(runs['inversion_seeds'].max()), 'inversion seed')}"
    )
