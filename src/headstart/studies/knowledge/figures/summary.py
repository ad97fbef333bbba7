"""What the study of knowledge found, as tables that a person reads."""

from __future__ import annotations

from itertools import product

import pandas as pd

from headstart.studies.knowledge.figures.select import (
    PERCENT,
    Comparison,
    comparisons,
    of,
    pick,
    start_words,
    starts,
)

SHARES = {
    "preserved_of_pretrained": "of the pretrained knowledge, preserved",
    "preserved_of_finetuned": "of the fine-tuned knowledge, preserved",
    "exclusivity": "of the preserved, found from scratch too",
    "scratch_only": "of the knowledge from scratch, in neither",
}
READINGS = {
    "measured": "here",
    "mean_of_ratios": "mean of ratios",
    "null_permuted": "chance: permuted",
    "null_other_image": "chance: other image",
    "null_random_backbone": "chance: random backbone",
    "ceiling_second_run": "second run",
    "excess_permuted": "excess",
}
VARIANTS = {"raw": "as they are", "normalised": "normalised"}
MARGINS = {
    "margin_of_everything": "all interactions",
    "margin_of_preserved": "preserved alone",
    "margin_of_random_as_preserved": "random, as strong as preserved",
    "margin_of_preserved_minus_random": "preserved − random",
    "margin_of_new": "new alone",
    "margin_of_random_as_new": "random, as strong as new",
    "margin_of_new_minus_random": "new − random",
    "margin_without_preserved_minus_random_players": "hidden: preserved − random players",
}


def shares(measurements: pd.DataFrame) -> pd.DataFrame:
    """Return one row per comparison, start and share, in percent with intervals."""
    rows = []
    for name in comparisons(measurements):
        part = of(measurements, name)
        for start in starts(part):
            chosen = pick(part, start=start, variant="normalised", subset="all", order=None)
            rows += [
                _row(name, start, words, chosen[chosen["metric"] == metric], READINGS, PERCENT)
                for metric, words in SHARES.items()
            ]
    return pd.DataFrame(rows)


def counterfactual(measurements: pd.DataFrame) -> pd.DataFrame:
    """Return mean log-odds of whole images, rebuilt from parts or with one player hidden.

    A part is what both networks share as they are, or normalised: the pretrained one brought to scale.
    """
    rows = []
    for name in comparisons(measurements):
        part = of(measurements, name)
        for start, (variant, words) in product(starts(part), VARIANTS.items()):
            chosen = pick(
                part, start=start, metric=list(MARGINS), variant=variant, reading="measured"
            )
            chosen = chosen[chosen["order"].isna() | (chosen["order"] == 1)]
            row: dict[str, object] = {"comparison": name.words, "start": start_words(start)}
            row["interactions"] = words
            for metric, heading in MARGINS.items():
                row[heading] = _text(chosen[chosen["metric"] == metric], 1.0)
            rows.append(row)
    return pd.DataFrame(rows)


def _row(
    name: Comparison,
    start: str,
    words: str,
    rows: pd.DataFrame,
    readings: dict[str, str],
    factor: float,
) -> dict[str, object]:
    row: dict[str, object] = {"comparison": name.words, "start": start_words(start), "share": words}
    for reading, heading in readings.items():
        row[heading] = _text(rows[rows["reading"] == reading], factor)
    return row


def _text(rows: pd.DataFrame, factor: float) -> str:
    if rows.empty or rows["value"].isna().all():
        return "–"
    value, low, high = (float(rows[name].iloc[0]) * factor for name in ("value", "low", "high"))
    return f"{value:.1f} [{low:.1f}, {high:.1f}]"
