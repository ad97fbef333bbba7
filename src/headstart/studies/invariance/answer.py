"""What the invariance study answers: what is forgotten at which depth, and what is used again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pandas as pd

from headstart.statistics.answers import (
    Claims,
    Statement,
    by_evaluator,
    over_networks,
    undecided,
)
from headstart.statistics.words import format_interval
from headstart.studies.invariance.claims import ClaimEvaluator
from headstart.studies.invariance.identifiability import not_identifiable
from headstart.studies.invariance.network_tables import CLASSIFY


def answer(tables: Mapping[str, pd.DataFrame], claims: Claims) -> Iterator[Statement]:
    """Yield the statements on the runs that claims are evaluated on."""
    if tables["runs"].empty:
        return
    found = by_evaluator(claims)
    opened = ClaimEvaluator(tables, {})
    forgetting = opened.networks.diagonal(CLASSIFY, "forgetting")
    depth = found["low_level_task_forgets_earlier"]
    if forgetting is not None:
        means = forgetting.mean(axis=0)
        blocks = _shown(len(means))
        listed = ", ".join(f"block {block} {{}}" for block in blocks)
        numbers = [
            (format_interval(means[block - 1], digits=2), depth["claim"]) for block in blocks
        ]
        about = f"{opened.source} to {opened.target}, {opened.model}, {opened.in_unit(over_networks(len(forgetting)))}"
        text = f"Of shared invariances (STIR, at most 1) are lost: {listed} ({about})."
        if not_identifiable(opened.networks, CLASSIFY):
            text += " That it depends on depth is not identifiable."
        yield Statement("forgotten", text, numbers, f"invariance_tasks_{opened.target}")
    reused = found["reusable_early_invariances"]
    if reused["status"] == "supported":
        number = format_interval(reused["value"], reused["low"], reused["high"], digits=2)
        text = "Early blocks of a pretrained start change by {} (STIR) less than those of scratch."
        figure = f"invariance_starts_{opened.target}"
        yield Statement("why", text, [(number, reused["claim"])], figure)
    n = int(opened.networks.runs["seed"].nunique())
    given = bool(opened.networks.runs["one_backbone"].all())
    yield from undecided(claims, n, "fine-tuning runs" if given else "networks")


def _shown(blocks: int) -> list[int]:
    """Return a few of many blocks: the first, the last, and some at equal distances."""
    return sorted({1 + round(place * (blocks - 1) / 3) for place in range(4)})
