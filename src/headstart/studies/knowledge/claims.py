"""The tables of the study of knowledge, and which function evaluates which claim."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import pandas as pd

from headstart.statistics.claim_results import ClaimResult
from headstart.statistics.errors import TableError
from headstart.statistics.measurements import select
from headstart.statistics.words import pluralize
from headstart.studies.knowledge import claim_results, gains
from headstart.studies.knowledge.comparison_tables import (
    ComparedNetworks,
    Comparison,
    comparisons,
    main_init_epoch,
    of,
)


class ClaimEvaluator:
    """All comparisons at hand, and the one that most claims are evaluated on: that requested, or the first.

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
        wanted = {
            name: value for name, value in (requested or {}).items() if name in Comparison._fields
        }
        self.all = _compared(self.table)
        fitting = _compared(select(self.table, **wanted))
        if not fitting:
            raise TableError(f"no comparison of the study of knowledge has {wanted}")
        self.compared = fitting[0]

    def about(self) -> str:
        """Return which comparison speaks."""
        table = self.compared.table
        seeds = int(table["seed"].nunique())
        whole = table[(table["networks"] > 0) & table["value"].notna()]
        images = int((whole["n"] / whole["networks"]).max()) if len(whole) else 0
        return (
            f"Judged on: {self.compared.title}, fine-tuned from source epoch {self.compared.init_epoch}, "
            f"{pluralize(seeds, 'source network')}, {images} test images. Intervals are "
            "over images and speak for these networks; the published ones are larger, on photographs and "
            "text: whatever holds here supports or contradicts a claim elsewhere, and replicates nothing."
        )


def _compared(table: pd.DataFrame) -> list[ComparedNetworks]:
    parts = [of(table, comparison) for comparison in sorted(comparisons(table))]
    return [ComparedNetworks(part, main_init_epoch(part)) for part in parts]


def _on_one(
    function: Callable[[ComparedNetworks], ClaimResult],
) -> Callable[[ClaimEvaluator], ClaimResult]:
    return lambda claims: function(claims.compared)


EVALUATORS: dict[str, Callable[[ClaimEvaluator], ClaimResult]] = {
    function.__name__: _on_one(function)
    for function in (
        claim_results.little_survives,
        claim_results.complex_is_discarded,
        claim_results.complex_is_new,
        claim_results.scratch_finds_little,
        claim_results.finetuning_is_direct,
        claim_results.few_and_matching,
    )
} | {
    "ratio_explains_accuracy": lambda claims: gains.ratio_explains_accuracy(claims.table),
    "holds_everywhere": lambda claims: claim_results.holds_everywhere(claims.all),
}
ClaimEvaluator.evaluators = EVALUATORS
