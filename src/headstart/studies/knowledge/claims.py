"""The claims on knowledge (arXiv 2410.08455): which function evaluates which, and K5, K7 and K8."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import pandas as pd

from headstart.statistics.claim_results import ClaimResult, Status
from headstart.statistics.errors import TableError
from headstart.statistics.measurements import select
from headstart.statistics.words import pluralize
from headstart.studies.knowledge import share_claims
from headstart.studies.knowledge.gains import ratio_explains_accuracy
from headstart.studies.knowledge.tables import (
    ComparedNetworks,
    Comparison,
    Number,
    above,
    comparisons,
    main_init_epoch,
    of,
    result,
    unmeasured,
)

EXPLAINED = 90.0
"""Per cent of the variance of v that few interactions must explain to be called a match."""


def finetuning_is_direct(compared: ComparedNetworks) -> ClaimResult:
    """K5: does fine-tuning approach its end faster, more directly and more stably than scratch?

    Each by more than checkpoints whose interactions are permuted within their order, which keep
    scale and order profile: these alone let similarity drop less often.
    """
    wanted = {"speed_to_own_end": 1, "directness": 1, "stability_to_own_end": -1}
    labels = ("speed", "directness", "drops")
    found = {metric: _of_dynamics(compared, metric) for metric in wanted}
    over = {metric: _of_dynamics(compared, metric, "over_permuted") for metric in wanted}
    signs, parts = [], []
    for label, (metric, sign) in zip(labels, wanted.items(), strict=True):
        measured, beyond = found[metric], over[metric]
        if measured is None or beyond is None:
            return unmeasured("Learning dynamics of both networks")
        signs.append(sign if beyond.low > 0 else -sign if beyond.high < 0 else 0)
        parts.append(f"{label} {_signed(measured)}, over chance {_signed(beyond)}")
    text = f"Fine-tuned minus scratch, to the own end: {'; '.join(parts)}."
    common = _of_dynamics(compared, "speed_to_common_target")
    if common is not None:
        text += f" Speed to the fine-tuned end for both: {_signed(common)}."
    status: Status = "undetermined"
    if all(sign > 0 for sign in signs):
        status = "supported"
    elif any(sign < 0 for sign in signs):
        status = "contradicted"
    speed = over["speed_to_own_end"]
    assert speed is not None
    return result(status, text, speed)


def _of_dynamics(
    compared: ComparedNetworks, metric: str, condition: str = "measured"
) -> Number | None:
    return compared.number(metric, condition, role="finetuned-scratch", factor=1.0)


def _signed(number: Number) -> str:
    return number.text("", digits=3, signed=True)


def few_and_matching(compared: ComparedNetworks) -> ClaimResult:
    """K8: does a tenth of the interactions explain the scores of all masks, far better than by chance?"""
    metric = "explained_by_strongest_tenth"
    found = {
        role: (
            compared.number(metric, role=role, variant="raw"),
            compared.number(metric, "null_permuted_masks", role=role, variant="raw"),
        )
        for role in ("probe", "finetuned", "scratch")
    }
    measured = {name: pair[0] for name, pair in found.items() if pair[0] is not None}
    if not measured:
        return unmeasured("The match of the strongest interactions")
    weakest = min(measured.values(), key=lambda number: number.value)
    nulls = [pair[1].value for pair in found.values() if pair[1] is not None]
    listed = ", ".join(f"{name} {number.text()}" for name, number in measured.items())
    text = (
        f"The strongest tenth of the interactions explains of the variance over masks: {listed}; "
        f"of scores permuted over masks {_chance(nulls)}. A match is {EXPLAINED:.0f} % here."
    )
    return result(above(weakest, EXPLAINED), text, weakest)


def _chance(nulls: Sequence[float]) -> str:
    """Say what few interactions explain of no structure; they can miss it by more than its mean does."""
    most = max(nulls, default=0.0)
    return f"at most {most:.1f} %" if most > 0 else "nothing"


EVERYWHERE: dict[str, Callable[[ComparedNetworks], ClaimResult]] = {
    "K1": share_claims.little_survives,
    "K2": share_claims.complex_is_discarded,
    "K3": share_claims.complex_is_new,
    "K4": share_claims.scratch_finds_little,
    "K5": finetuning_is_direct,
}
ON_ONE = (*EVERYWHERE.values(), few_and_matching)


def holds_everywhere(comparisons: Sequence[ComparedNetworks]) -> ClaimResult:
    """K7: do K1 to K5 hold for every model and target at hand?"""
    if len(comparisons) < 2:
        return ClaimResult("not measured here", "There is one model and one target.")
    statuses: list[str] = []
    parts = []
    for compared in comparisons:
        found = {name: evaluate(compared).status for name, evaluate in EVERYWHERE.items()}
        statuses += found.values()
        parts.append(
            f"{compared.title}: " + ", ".join(f"{name} {status}" for name, status in found.items())
        )
    text = "; ".join(parts) + "."
    if "contradicted" in statuses:
        return ClaimResult("contradicted", text)
    if set(statuses) == {"supported"}:
        return ClaimResult("supported", f"{text} Other networks and data than the published ones.")
    return ClaimResult("undetermined", text)


def _on_one(
    function: Callable[[ComparedNetworks], ClaimResult],
) -> Callable[[ClaimEvaluator], ClaimResult]:
    return lambda opened: function(opened.compared)


class ClaimEvaluator:
    """All comparisons at hand, and the one that most claims are evaluated on: that requested, or the first.

    Raises:
        TableError: no comparison is as requested.
    """

    evaluators: ClassVar[Mapping[str, Callable[[ClaimEvaluator], ClaimResult]]] = {
        **{function.__name__: _on_one(function) for function in ON_ONE},
        "ratio_explains_accuracy": lambda opened: ratio_explains_accuracy(opened.table),
        "holds_everywhere": lambda opened: holds_everywhere(opened.all),
    }

    def __init__(
        self,
        tables: Mapping[str, pd.DataFrame],
        params: Mapping[str, Any],
        requested: Mapping[str, object] | None = None,
    ) -> None:
        self.table: pd.DataFrame = tables["measurements"]
        wanted = {
            name: value for name, value in (requested or {}).items() if name in Comparison._fields
        }
        self.all: list[ComparedNetworks] = _compared(self.table)
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
            f"Evaluated on: {self.compared.title}, fine-tuned from source epoch {self.compared.init_epoch}, "
            f"{pluralize(seeds, 'source network')}, {images} test images. Intervals are "
            "over images and speak for these networks; the published ones are larger, on photographs and "
            "text: whatever holds here supports or contradicts a claim elsewhere, and replicates nothing."
        )


def _compared(table: pd.DataFrame) -> list[ComparedNetworks]:
    parts = [of(table, comparison) for comparison in sorted(comparisons(table))]
    return [ComparedNetworks(part, main_init_epoch(part)) for part in parts]
