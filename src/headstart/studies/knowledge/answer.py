"""What the study of knowledge answers: what is kept, and whether training from scratch finds it too."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from headstart.statistics.answers import (
    YES_OR_NO,
    Claims,
    Statement,
    by_evaluator,
    over_networks,
    undecided,
)
from headstart.studies.knowledge.tables import (
    ComparedNetworks,
    Number,
    comparisons,
    main_init_epoch,
    networks_text,
    of,
)


def answer(tables: Mapping[str, pd.DataFrame], claims: Claims) -> Iterator[Statement]:
    """Yield the statements on the comparison that claims are evaluated on."""
    found = by_evaluator(claims)
    measurements = tables["measurements"]
    name = min(comparisons(measurements), default=None)
    if name is None:
        return
    rows = of(measurements, name)
    compared = ComparedNetworks(rows, main_init_epoch(rows))
    n = int(rows["seed"].nunique())
    about = f"{name.title}, {over_networks(n) if n == 1 else networks_text(n, rows)}"
    if share := compared.number("preserved_of_pretrained"):
        text, numbers = _of_chance(
            share, compared, "preserved_of_pretrained", found["little_survives"]
        )
        text = f"{{}} of the pretrained interactions' strength{text} ({about})."
        yield Statement("kept", text, numbers, f"knowledge_orders_{name.file}")
    if share := compared.number("exclusivity"):
        text, numbers = _of_chance(share, compared, "exclusivity", found["scratch_finds_little"])
        text = f"Of the kept, training from scratch finds {{}} too{text}."
        yield Statement("why", text, numbers, "knowledge_exclusivity")
    reason = found["ratio_explains_accuracy"]
    if reason["status"] != "not measured here":
        text = "Whether what scratch does not find is why accuracy is better: {}."
        verdict = YES_OR_NO.get(reason["status"], reason["status"])
        yield Statement("why", text, [(verdict, reason["claim"])])
    given = "run" in networks_text(n, rows)
    yield from undecided(claims, n, "fine-tuning runs" if given else "networks")


def _of_chance(
    share: Number, compared: ComparedNetworks, metric: str, claim: Mapping[str, Any]
) -> tuple[str, list[tuple[str, str]]]:
    """Return how far a share is from chance to what two runs share, nothing without room, and the numbers."""
    numbers = [(share.text(), claim["claim"])]
    excess = compared.number(metric, "excess_permuted")
    if excess is None:
        return "", numbers
    text = ", {} of the way from chance to what two runs share"
    return text, [*numbers, (excess.text(), claim["claim"])]
