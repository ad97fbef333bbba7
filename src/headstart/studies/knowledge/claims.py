"""The tables of the study of knowledge, and which function of the statistics judges which claim."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import pandas as pd

from headstart.statistics.claim_results import ClaimResult
from headstart.statistics.errors import TableError
from headstart.studies.knowledge import claim_results as findings
from headstart.studies.knowledge.comparison_tables import Compared, main_start

NAMES = ["source", "model", "target"]


class ClaimEvaluator:
    """All comparisons at hand, and the one that most claims are judged on: that requested for, or the first.

    Raises:
        TableError: no comparison is as requested.
    """

    evaluators: ClassVar[Mapping[str, Callable[[ClaimEvaluator], ClaimResult]]]

    def __init__(
        self,
        tables: Mapping[str, pd.DataFrame],
        params: Mapping[str, Any],
        requested: Mapping[str, object] | None = None,
    ) -> None:
        self.table = tables["measurements"]
        parts = [part for _, part in self.table.groupby(NAMES)]
        self.all = [Compared(part, main_start(part)) for part in parts]
        wanted = {name: value for name, value in (requested or {}).items() if name in NAMES}
        fitting = [
            compared
            for compared in self.all
            if all(compared.table[name].iloc[0] == value for name, value in wanted.items())
        ]
        if not fitting:
            raise TableError(f"no comparison of the study of knowledge has {wanted}")
        self.compared = fitting[0]

    def about(self) -> str:
        """Return which comparison speaks."""
        table = self.compared.table
        seeds = int(table["seed"].nunique())
        whole = table[(table["seeds"] > 0) & table["value"].notna()]
        images = int((whole["n"] / whole["seeds"]).max()) if len(whole) else 0
        return (
            f"Judged on: {self.compared.name()}, fine-tuned from source epoch {self.compared.start}, "
            f"{seeds} source network{'' if seeds == 1 else 's'}, {images} test images. Intervals are "
            "over images and speak for these networks; the published ones are larger, on photographs and text: whatever holds "
            "here supports or contradicts a claim elsewhere, and replicates nothing."
        )


def _on_one(function: Callable[[Compared], ClaimResult]) -> Callable[[ClaimEvaluator], ClaimResult]:
    return lambda claims: function(claims.compared)


EVALUATORS: dict[str, Callable[[ClaimEvaluator], ClaimResult]] = {
    function.__name__: _on_one(function)
    for function in (
        findings.little_survives,
        findings.complex_is_discarded,
        findings.complex_is_new,
        findings.scratch_finds_little,
        findings.finetuning_is_direct,
        findings.few_and_matching,
    )
} | {
    "ratio_explains_accuracy": lambda claims: findings.ratio_explains_accuracy(claims.table),
    "holds_everywhere": lambda claims: findings.holds_everywhere(claims.all),
}
ClaimEvaluator.evaluators = EVALUATORS
