"""What the early-stopping study answers: what pre-training is worth, and whether an earlier start is better."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from headstart.statistics.answers import (
    YES_OR_NO,
    Claims,
    Statement,
    by_evaluator,
    needed_units,
    over_networks,
    units_needed,
)
from headstart.statistics.words import format_interval
from headstart.studies.early_stopping.figures.choices import SUBJECT, lost_words, subjects
from headstart.studies.early_stopping.figures.prepare import CONTRAST
from headstart.studies.early_stopping.verdicts.decision import seeds_needed
from headstart.studies.early_stopping.verdicts.run_tables import BEST, HEADLINE, PRETRAIN
from headstart.studies.early_stopping.verdicts.text import rate_words

TUNED, FIXED = "earlier_start_tuned", "earlier_start"


def answer(tables: Mapping[str, pd.DataFrame], claims: Claims) -> Iterator[Statement]:
    """Yield the statements on the primary contrast, or on the one that claims are evaluated on."""
    found = by_evaluator(claims)
    contrast = contrast_of(tables["verdicts"])
    if contrast is None:
        return
    verdicts = {str(r["question"]): r for r in _rows(tables["verdicts"], contrast)}
    pretraining = [*_rows(tables["pretraining"], contrast)]
    for row in pretraining:
        yield _help(row, found["pretraining_helps"])
    for question, evaluator in (("fixed", FIXED), ("tuned", TUNED)):
        if question in verdicts:
            yield _start(verdicts[question], found[evaluator], tables["measurements"])
    yield from _choose(tables["choices"], contrast)
    rate = found["learning_rate"]
    if rate["status"] == "supported":
        number = format_interval(
            rate["value"], rate["low"], rate["high"], signed=True, unit="points"
        )
        text = "An earlier start's gain shrinks by {} from the highest rate to the lowest."
        yield Statement("why", text, [(number, rate["claim"])], "learning_rates")
    if "tuned" in verdicts and found[TUNED]["status"] == "undetermined":
        yield from _decide(verdicts["tuned"], found[TUNED]["claim"])


def contrast_of(verdicts: pd.DataFrame) -> dict[str, str] | None:
    """Return the primary contrast; where none is named, the first on another task than its source."""
    if verdicts.empty:
        return None
    other = verdicts["target"] != verdicts["source"]
    found = next(
        part for part in (verdicts[verdicts["primary"]], verdicts[other], verdicts) if len(part)
    )
    return {name: str(found.iloc[0][name]) for name in CONTRAST}


def _rows(table: pd.DataFrame, contrast: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    mine = (table[CONTRAST].astype(str) == contrast).all(axis=1)
    for row in table[mine].to_dict("records"):
        yield {str(name): value for name, value in row.items()}


def _help(row: Mapping[str, Any], claim: Mapping[str, Any]) -> Statement:
    """Return the gain over scratch, and how many images of each class it is worth."""
    if pd.isna(row["gain"]):
        return Statement("help", f"{{}}: {row['reason']}", [("Not decided", claim["claim"])])
    gain = format_interval(row["gain"], row["low"], row["high"], signed=True, unit="points")
    numbers = [(gain, claim["claim"])]
    text = (
        f"{YES_OR_NO[row['status']].capitalize()}, {{}} over tuned training from scratch ({row['source']} to "
        f"{row['target']}, {row['model']}, {row['arm']}, {row['shots']} images per class, {over_networks(int(row['n']))})"
    )
    if row["worth"]:
        worth, _, _ = row["worth"].partition(" target images")
        text += ", worth {} images per class"
        numbers.append((worth, claim["claim"]))
    beware = f" Beware: {row['flags']}." if row["flags"] else ""
    return Statement("help", f"{text}.{beware}", numbers, f"transfer_{row['model']}")


def _start(row: Mapping[str, Any], claim: Mapping[str, Any], runs: pd.DataFrame) -> Statement:
    """Return the verdict on one question about the start."""
    rate = rate_words(row["question"], row["learning_rate"])
    where = "With rates tuned" if rate == "tuned" else f"At the highest learning rate, {rate}"
    text = f"{where}: {YES_OR_NO.get(claim['status'], claim['status'])}"
    numbers = []
    if not pd.isna(row["effect"]):
        ends = row["interval_low"], row["interval_high"]
        effect = format_interval(row["effect"], *ends, signed=True, unit="points")
        text += f", {{}} from epoch {row['chosen_epoch']}"
        numbers.append((effect, claim["claim"]))
    reached = "" if rate == "tuned" else _reached(row, runs)
    return Statement("start", f"{text}.{reached}", numbers, f"gains_{row['model']}")


def _choose(choices: pd.DataFrame, contrast: Mapping[str, str]) -> Iterator[Statement]:
    """Yield what rules lose that choose a checkpoint for the networks and the arm of a contrast."""
    for name, mine in subjects(choices):
        first = mine.iloc[0]
        if all(str(first[key]) == contrast[key] for key in SUBJECT):
            words = lost_words(mine)
            yield Statement("choose", f"{words[0].upper()}{words[1:]}", (), f"choices_{name}")


def _reached(row: Mapping[str, Any], runs: pd.DataFrame) -> str:
    """Return which test accuracies a gain at a fixed rate lies between, training from scratch beside them."""
    if pd.isna(row["chosen_epoch"]):
        return ""
    best = runs[(runs["mode"] == PRETRAIN) & (runs["metric"] == BEST) & (runs["value"] > 0)]
    runs = runs[(runs["metric"] == HEADLINE) & (runs["split"] == "test")]
    for name in CONTRAST:
        runs = runs[runs[name].astype(str) == str(row[name])]
    runs = runs[runs["learning_rate"] == row["learning_rate"]]
    start = runs["source_epoch"]
    keys = ["source", "model", "seed", "source_epoch"]
    parts = {
        "source-best": runs.merge(best[keys].drop_duplicates(), on=keys),
        f"epoch {row['chosen_epoch']}": runs[start == int(row["chosen_epoch"])],
        "training from scratch": runs[start == 0],
    }
    listed = [
        f"{name} {100 * mine['value'].mean():.1f} %" for name, mine in parts.items() if len(mine)
    ]
    return f" There: {', '.join(listed)}."


def _decide(row: Mapping[str, Any], claim: str) -> Iterator[Statement]:
    """Yield how many networks would find the gain that matters."""
    n, least = 1 if row["one_network"] else int(row["n_seeds"]), seeds_needed()
    if 1 < n < least:
        text = f"{{}}: {{}} source networks at least, for a test to decide ({n} here)."
        yield Statement("decide", text, [(claim, claim), (str(least), claim)])
        return
    detectable, target = float(row["detectable"]), max(float(row["margin"]), float(row["effect"]))
    if n == 1 or detectable > target:
        needed = units_needed(n, detectable, target)
        yield needed_units(claim, needed, n, f"a gain of {target:.1f} points")
