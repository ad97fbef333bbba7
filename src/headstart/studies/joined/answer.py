"""What the joined study answers: which of kept knowledge, kept invariances and trainability goes with the gain."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pandas as pd

from headstart.statistics.answers import YES_OR_NO, Claims, Statement, by_evaluator
from headstart.statistics.words import format_interval, pluralize
from headstart.studies.joined.associations import comparisons, of

GOES_WITH = {
    "knowledge_goes_with_gain": "preserved knowledge",
    "invariance_goes_with_gain": "kept invariances",
    "trainability_goes_with_gain": "trainability",
}


def answer(tables: Mapping[str, pd.DataFrame], claims: Claims) -> Iterator[Statement]:
    """Yield what goes with the gain of a start at the fixed rate, and what the intervention says."""
    cells = tables["joined"]
    chosen = min(comparisons(cells), default=None)
    if chosen is None:
        return
    found, n = by_evaluator(claims), int(of(cells, chosen)["seed"].nunique())
    parts, numbers = [], []
    for judge, name in GOES_WITH.items():
        claim = found[judge]
        if claim["status"] == "not measured here":
            continue
        verdict = YES_OR_NO.get(claim["status"], claim["status"])
        rho = "" if claim["value"] is None else f", ρ {claim['value']:+.2f}"
        parts.append(f"{name} {{}}")
        numbers.append((f"{verdict}{rho}", claim["claim"]))
    if parts:
        text = "At the fixed rate of the joined study and a given epoch, what goes with the gain of a start: "
        text += f"{'; '.join(parts)} ({pluralize(n, 'source network')})."
        yield Statement("why", text, numbers, "joined_epochs")
    claim = found["repair_moves_more"]
    if claim["status"] in YES_OR_NO and claim["value"] is not None:
        numbers_of = [
            float("nan") if claim[k] is None else claim[k] for k in ("value", "low", "high")
        ]
        points = format_interval(*numbers_of, signed=True, unit="points")
        text = "Repairing the start moves it more than removing its preserved knowledge: {}, {}."
        verdict = YES_OR_NO[claim["status"]]
        named = [(verdict, claim["claim"]), (points, claim["claim"])]
        yield Statement("why", text, named, "joined_interventions")
