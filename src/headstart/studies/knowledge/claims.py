"""The claims on knowledge (arXiv 2410.08455): what the tables say of K1 to K5, K7 and K8.

Intervals are over images, for the networks at hand: a result speaks of these networks. Interactions
are normalised by every network's strength, so that a difference in scale is no knowledge.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

import pandas as pd

from headstart.statistics.claim_results import ClaimResult, Status
from headstart.statistics.errors import TableError
from headstart.statistics.measurements import select
from headstart.statistics.words import pluralize
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

NULLS = {
    "permuted": "interactions permuted within their order",
    "other_image": "those of another image",
    "random_backbone": "a random backbone with a trained probe",
}
PUBLISHED = (13.0, 45.0)


def little_survives(compared: ComparedNetworks) -> ClaimResult:
    """K1: is less than half of the pretrained knowledge preserved, and more than chance?"""
    share = compared.number("preserved_of_pretrained")
    if share is None:
        return unmeasured("The share of preserved knowledge")
    raw = compared.number("preserved_of_pretrained", variant="raw")
    text = f"{share.text()} of the pretrained knowledge is preserved"
    text += f" ({raw.text()} without normalising)." if raw else "."
    nulls, over_all = _against_nulls(compared, "preserved_of_pretrained")
    text = f"{text} {nulls}"
    ceiling = compared.number("preserved_of_pretrained", "ceiling_second_run")
    if ceiling:
        text += (
            f" Two fine-tuning runs of the same checkpoint share {ceiling.text()} with each other."
        )
    if share.low > 50:
        return result("contradicted", f"{text} More than half survives.", share)
    if not share.high < 50:
        return result("undetermined", f"{text} The interval is not all below one half.", share)
    if not over_all:
        return result(
            "undetermined", f"{text} What is shared cannot be told from every chance.", share
        )
    return result("supported", text, share)


def complex_is_discarded(compared: ComparedNetworks) -> ClaimResult:
    """K2: does the discarded share rise with the order, beyond what chance within orders does?"""
    return _rising(compared, "discarded_of_pretrained", "discarded share")


def complex_is_new(compared: ComparedNetworks) -> ClaimResult:
    """K3: is most of the fine-tuned knowledge new, and the more so the higher the order?"""
    share = compared.number("new_of_finetuned")
    risen = _rising(compared, "new_of_finetuned", "new share")
    if share is None or risen.status == "not measured here":
        return unmeasured("The share of new knowledge")
    text = f"{share.text()} of the fine-tuned knowledge is new. {risen.reason}"
    status: Status = "undetermined"
    if share.high < 50 or risen.status == "contradicted":
        status = "contradicted"
    elif share.low > 50 and risen.status == "supported":
        status = "supported"
    return result(status, text, share)


def scratch_finds_little(compared: ComparedNetworks) -> ClaimResult:
    """K4: is what training from scratch has of the preserved knowledge nearer to chance than to the ceiling?"""
    ratio = compared.number("exclusivity")
    if ratio is None:
        return unmeasured("The exclusivity ratio")
    nulls, _ = _against_nulls(compared, "exclusivity")
    low, high = PUBLISHED
    inside = "inside" if low <= ratio.value <= high else "outside"
    text = (
        f"Training from scratch has {ratio.text()} of the preserved knowledge, {inside} the published "
        f"{low:.0f} to {high:.0f} %. {nulls}"
    )
    excess = compared.number("exclusivity", "excess_permuted")
    if excess is None:
        reason = f"{text} Without a second fine-tuning run there is no ceiling to read it against."
        return result("undetermined", reason, ratio)
    text += (
        f" From chance (permuted) to the ceiling, a second fine-tuning run, it is {excess.text()} of "
        "the way."
    )
    return result(above(excess, 50.0, below=True), text, ratio)


def _rising(compared: ComparedNetworks, metric: str, words: str) -> ClaimResult:
    measured = compared.number(f"{metric}_rise")
    over = compared.number(f"{metric}_rise", "over_permuted")
    if measured is None or over is None:
        return unmeasured(f"The {words} by order")
    text = (
        f"The {words} over the upper half of orders minus that over the lower half is "
        f"{measured.text('points')}; over interactions permuted within their order, "
        f"{over.text('points')} more."
    )
    return result(above(over, 0.0), text, over)


def _against_nulls(compared: ComparedNetworks, metric: str) -> tuple[str, bool]:
    """Say by how much a share exceeds each null, and whether it exceeds all of them."""
    found = {null: compared.number(metric, f"over_{null}") for null in NULLS}
    parts = [
        f"{number.text('', signed=True)} over {NULLS[null]}"
        for null, number in found.items()
        if number is not None
    ]
    over_all = all(number is not None and number.low > 0 for number in found.values())
    return f"In points: {', '.join(parts)}.", over_all


EXPLAINED = 90.0
"""Per cent of the variance of v that few interactions must explain to be called a match."""


def finetuning_is_direct(compared: ComparedNetworks) -> ClaimResult:
    """K5: does fine-tuning approach its end faster, more directly and more stably than scratch?

    Each by more than checkpoints whose interactions are permuted within their order, which keep
    scale and order profile: these alone let similarity drop less often.
    """
    wanted = {"speed_to_own_end": 1, "directness": 1, "stability_to_own_end": -1}
    labels = ("speed", "directness", "drops")
    number = partial(compared.number, role="finetuned-scratch", factor=1.0)
    found = {metric: number(metric) for metric in wanted}
    over = {metric: number(metric, "over_permuted") for metric in wanted}
    signs, parts = [], []
    for label, (metric, sign) in zip(labels, wanted.items(), strict=True):
        measured, beyond = found[metric], over[metric]
        if measured is None or beyond is None:
            return unmeasured("Learning dynamics of both networks")
        signs.append(sign if beyond.low > 0 else -sign if beyond.high < 0 else 0)
        parts.append(f"{label} {_signed(measured)}, over chance {_signed(beyond)}")
    text = f"Fine-tuned minus scratch, to the own end: {'; '.join(parts)}."
    common = number("speed_to_common_target")
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


OnOne = Callable[[ComparedNetworks], ClaimResult]
EVERYWHERE: dict[str, OnOne] = {
    "K1": little_survives,
    "K2": complex_is_discarded,
    "K3": complex_is_new,
    "K4": scratch_finds_little,
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


def _on_one(function: OnOne) -> Callable[[ClaimEvaluator], ClaimResult]:
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
