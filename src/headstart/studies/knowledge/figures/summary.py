"""What the study of knowledge found, as tables that a person reads."""

from __future__ import annotations

from itertools import product

import pandas as pd

from headstart.statistics.measurements import MEASURED, select
from headstart.studies.knowledge.figures.drawing import VARIANTS as BASES
from headstart.studies.knowledge.tables import (
    PERCENT,
    comparisons,
    headline_of,
    init_epoch_title,
    init_epochs,
    number,
    of,
)

SHARES = {
    "preserved_of_pretrained": "of the pretrained knowledge, preserved",
    "preserved_of_finetuned": "of the fine-tuned knowledge, preserved",
    "exclusivity": "of the preserved, found from scratch too",
    "scratch_only": "of the knowledge from scratch, in neither",
    "generalising_preserved": "of the preserved, in a second run too",
    "generalising_new": "of the new, in a second run too",
}
CONDITIONS = {
    "measured": "here",
    "mean_of_ratios": "mean of ratios",
    "null_permuted": "chance: permuted",
    "null_other_image": "chance: other image",
    "null_random_backbone": "chance: random backbone",
    "ceiling_second_run": "second run",
    "ceiling_other_source": "other source",
    "room_permuted": "room",
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
    """Return one row per comparison, source epoch, share and basis, in percent with intervals."""
    rows = []
    for name in comparisons(measurements):
        part = of(measurements, name)
        epochs = init_epochs(part)
        part = select(part, subset="all", order=None, seed=None)
        bases = sorted(BASES.items(), key=lambda basis: basis[0] != headline_of(measurements))
        for init_epoch, (variant, basis), (metric, share) in product(epochs, bases, SHARES.items()):
            chosen = select(part, init_epoch=init_epoch, metric=metric, variant=variant)
            row = {"comparison": name.title, "source epoch": init_epoch_title(init_epoch)}
            row |= {"of": basis, "share": share}
            for condition, heading in CONDITIONS.items():
                row[heading] = _text(select(chosen, condition=condition), PERCENT)
            rows.append(row)
    return pd.DataFrame(rows)


def counterfactual(measurements: pd.DataFrame) -> pd.DataFrame:
    """Return mean log-odds of whole images, rebuilt from parts or with one player hidden.

    A part is what both networks share as they are, or normalised: the pretrained one brought to scale.
    """
    rows = []
    for name in comparisons(measurements):
        part = of(measurements, name)
        epochs = init_epochs(part)
        part = select(part, metric=list(MARGINS), condition=MEASURED, seed=None)
        part = part[part["order"].isna() | (part["order"] == 1)]
        for init_epoch, (variant, interactions) in product(epochs, VARIANTS.items()):
            chosen = select(part, init_epoch=init_epoch, variant=variant)
            row = {"comparison": name.title, "source epoch": init_epoch_title(init_epoch)}
            row["interactions"] = interactions
            for metric, heading in MARGINS.items():
                row[heading] = _text(select(chosen, metric=metric), 1.0)
            rows.append(row)
    return pd.DataFrame(rows)


def _text(rows: pd.DataFrame, factor: float) -> str:
    found = number(rows, factor)
    return found.text("") if found else "–"
