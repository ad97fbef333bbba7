"""The claims on knowledge (arXiv 2410.08455): what the tables say of K1 to K5, K7 and K8.

A share is read as an excess, (value − null) / (ceiling − null): 0 is what interactions permuted within
their order share, 1 what two fine-tuning runs of the same checkpoint share. Independent networks share
much by chance, and two runs differ much by their seeds, so that a share itself says nothing. Intervals
are over networks and images. Interactions are normalised by every network's strength, so that a
difference in scale is no knowledge.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial, wraps
from typing import Any, ClassVar

import pandas as pd

from headstart.statistics.claim_results import ClaimResult, Status
from headstart.statistics.errors import TableError
from headstart.statistics.measurements import select
from headstart.studies.knowledge.gains import ratio_explains_accuracy
from headstart.studies.knowledge.tables import (
    FITTED,
    LEAST,
    UNSEEN,
    UNSEEN_ON_PATH,
    ComparedNetworks,
    Comparison,
    Measured,
    Number,
    above,
    comparisons,
    headline_of,
    main_init_epoch,
    networks_text,
    of,
    result,
    unmeasured,
)

VARIANTS = {"walsh": "Walsh coefficients", "normalised": "AND interactions"}
PATHS = ("finetuned", "scratch")
PUBLISHED = (13.0, 45.0)
HALF = 50.0
"""Per cent of what can be shared: a claim that little or much is shared is decided there."""
SMALLEST = 2.0
"""The smallest difference between networks, in points, that a claim may rest on: single networks that
differ by their seed alone differ by one or two."""


def little_survives(compared: Measured) -> ClaimResult:
    """K1: of what a second run shares beyond chance, has the pretrained network less than half?"""
    share = compared.number("preserved_of_pretrained")
    if share is None:
        return unmeasured("The share of preserved knowledge")
    text = f"{share.text()} of the pretrained knowledge is preserved"
    status, reason, number = _by_excess(compared, "preserved_of_pretrained", share)
    return result(status, f"{text}; {reason}", number)


def complex_is_discarded(compared: Measured) -> ClaimResult:
    """K2: is more of the complex pretrained interactions discarded than of the simple, beyond what two runs lose?"""
    return _complex_above_all(compared, "discarded_of_pretrained", "discarded share")


def complex_is_new(compared: Measured) -> ClaimResult:
    """K3: is most of the fine-tuned knowledge new, and the more so the more complex it is?"""
    share = compared.number("new_of_finetuned")
    if share is None:
        return unmeasured("The share of new knowledge")
    much, reason, number = _by_excess(compared, "new_of_finetuned", share)
    risen = _complex_above_all(compared, "new_of_finetuned", "new share")
    text = f"{share.text()} of the fine-tuned knowledge is new; {reason} {risen.reason}"
    statuses = {much, risen.status}
    status: Status = "undetermined"
    if "contradicted" in statuses:
        status = "contradicted"
    elif "not measured here" in statuses:
        status = "not measured here"
    elif statuses == {"supported"}:
        status = "supported"
    return result(status, text, number)


def scratch_finds_little(compared: Measured) -> ClaimResult:
    """K4: has scratch less than half of what a second run has of the preserved, and less than another source network?"""
    ratio = compared.number("exclusivity")
    if ratio is None:
        return unmeasured("The exclusivity ratio")
    low, high = PUBLISHED
    inside = "inside" if low <= ratio.value <= high else "outside"
    text = (
        f"Training from scratch has {ratio.text()} of the preserved knowledge, {inside} the published "
        f"{low:.0f} to {high:.0f} %"
    )
    status, reason, number = _by_excess(compared, "exclusivity", ratio)
    other = compared.number("exclusivity", "over_other_source")
    text = f"{text}; {reason}"
    if other is None:
        text += " No other source network is there, pre-trained and fine-tuned, to compare it with."
        return result("undetermined" if status == "supported" else status, text, number)
    text += (
        " Minus what another source network, pre-trained and fine-tuned alike, has of it: "
        f"{other.text('points', signed=True)}."
    )
    if status == "supported":
        status = above(other, -SMALLEST, below=True)
    return result(status, text, number)


def _by_excess(compared: Measured, metric: str, share: Number) -> tuple[Status, str, Number]:
    """Return whether less than half of what can be shared is, in words, and the number that decides."""
    null, ceiling = (
        compared.number(metric, condition) for condition in ("null_permuted", "ceiling_second_run")
    )
    if null is None or ceiling is None:
        return "undetermined", "without a second fine-tuning run there is no ceiling.", share
    text = f"{null.value:.1f} % by chance, {ceiling.value:.1f} % between two runs of one checkpoint"
    room, excess = (compared.number(metric, f"{name}_permuted") for name in ("room", "excess"))
    if excess is None:
        wide = f": {room.text('points')}" if room else ""
        return "undetermined", f"{text}: no room between chance and ceiling{wide}.", share
    text = f"{text}. From chance to ceiling it is {excess.text()} of the way."
    return above(excess, HALF, below=True), text, excess


def _complex_above_all(compared: Measured, metric: str, words: str) -> ClaimResult:
    """Return whether a share of what is lost is larger for complex orders, beyond that of two runs.

    Supported where it exceeds that of two runs over complex orders, and rises more from simple to
    complex ones: a network that differs from the fine-tuned one by noise alone loses its weakest
    interactions first, which are the complex ones, and yet less of them than a second run.
    """
    rise, over = (
        compared.number(f"{metric}_rise", condition)
        for condition in ("measured", "over_second_run")
    )
    complex_over = compared.number(f"{metric}_complex", "over_second_run")
    room = compared.number(f"{metric}_complex", "room_permuted")
    if rise is None:
        return unmeasured(f"The {words} by order")
    text = f"The {words} of complex orders (3 and more) minus that of simple ones is {rise.text('points')}"
    if over is None or complex_over is None or room is None:
        return result("undetermined", f"{text}; without a second run there is no ceiling.", rise)
    text = (
        f"{text}, {over.text('points', signed=True)} more than between two runs; of complex orders "
        f"alone, {complex_over.text('points', signed=True)} more."
    )
    if compared.number(f"{metric}_complex", "excess_permuted") is None:
        text += f" Undetermined: no room between chance and ceiling: {room.text('points')}."
        return result("undetermined", text, over)
    statuses = {above(over, SMALLEST), above(complex_over, 0.0)}
    status: Status = "undetermined"
    if over.high < 0:
        status = "contradicted"
    elif statuses == {"supported"}:
        status = "supported"
    return result(status, text, over)


EXPLAINED = 90.0
"""Per cent of the variance of v that few interactions must explain to be called a match."""


DIRECT = (
    ("progress", "progress_to_second_end", 1, ("measured",)),
    ("directness", "directness", 1, ("measured", "over_permuted")),
    ("drops", "stability_to_second_end", -1, ("measured", "over_permuted")),
)
"""Words, metric, the sign that the claim expects, and the conditions under which it must hold."""


def finetuning_is_direct(compared: Measured) -> ClaimResult:
    """K5: does fine-tuning approach its end faster, more directly and more stably than scratch?

    The end is that of a second run of the same start: a run's own end makes every curve end at 1.
    Directness and drops differ by more than those of checkpoints whose interactions are permuted
    within their order, which keep scale and order profile: these alone let similarity drop less often.
    Progress is above chance already; it must differ by more than lines between checkpoints can hide.
    """
    number = partial(compared.number, factor=1.0)
    signs, parts = [], []
    for label, metric, sign, needed in DIRECT:
        found = [number(metric, condition, role="finetuned-scratch") for condition in needed]
        there = [each for each in found if each is not None]
        if len(there) < len(found):
            return unmeasured("How far both networks are from the end of a second run of each")
        up, down = all(each.low > 0 for each in there), all(each.high < 0 for each in there)
        signs.append(sign if up else -sign if down else 0)
        parts.append(f"{label} {', over chance '.join(map(_signed, there))}")
    hidden = [number("interpolated_to_second_end", role=role) for role in ("finetuned", "scratch")]
    unseen = sum(each.value for each in hidden if each)
    text = (
        f"Fine-tuned minus scratch, each to the end of its second run: {'; '.join(parts)}. Between "
        f"checkpoints, straight lines leave up to ±{unseen:.3f} of progress open."
    )
    common = number("speed_to_common_end", role="finetuned-scratch")
    if common is not None:
        text += f" Speed to the end of a second fine-tuning run for both: {_signed(common)}."
    progress = number("progress_to_second_end", role="finetuned-scratch")
    assert progress is not None
    status: Status = "undetermined"
    if any(sign < 0 for sign in signs):
        status = "contradicted"
    elif all(sign > 0 for sign in signs) and progress.low > unseen:
        status = "supported"
    return result(status, text, progress)


def _signed(number: Number) -> str:
    return number.text("", digits=3, signed=True)


def few_and_matching(compared: Measured) -> ClaimResult:
    """K8: does a tenth of the interactions explain the scores of all masks, fitted by least squares?"""
    parts, weakest = [], None
    for variant, words in (("raw", "AND interactions"), ("walsh", "Walsh coefficients")):
        number = partial(compared.number, "explained_by_strongest_tenth", variant=variant)
        found = {role: number(role=role) for role in ("probe", "finetuned", "scratch")}
        measured = {role: each for role, each in found.items() if each is not None}
        if not measured:
            continue
        nulls = [number("null_permuted_masks", role=role) for role in measured]
        chance = max((null.value for null in nulls if null), default=0.0)
        listed = ", ".join(f"{role} {each.text()}" for role, each in measured.items())
        parts.append(f"{words}: {listed}; of scores permuted over masks {chance:.1f} %")
        # Evaluated on AND interactions, of which the claim speaks.
        weakest = weakest or min(measured.values(), key=lambda each: each.value)
    if weakest is None:
        return unmeasured("What the strongest interactions explain")
    text = (
        "The strongest tenth, fitted by least squares, explains of the variance over masks: "
        f"{'. '.join(parts)}. A match is {EXPLAINED:.0f} % here."
    )
    return result(above(weakest, EXPLAINED), text, weakest)


OnOne = Callable[[Measured], ClaimResult]


def unexplained(compared: Measured, on_path: bool = False) -> str:
    """Say that coefficients fitted to some masks explain too little of others; empty where they do not, or all were scored."""
    number = partial(compared.number, variant="walsh")
    least = number(LEAST)
    found = {role: number(UNSEEN, role=role) for role in FITTED}
    if on_path:
        found |= {f"{role} at its worst epoch": number(UNSEEN_ON_PATH, role=role) for role in PATHS}
    there = {role: each for role, each in found.items() if each is not None}
    if least is None or not there:
        return ""
    role, worst = min(there.items(), key=lambda one: one[1].value)
    if worst.value >= least.value:
        return ""
    return (
        f"Masks explain too little: of the variance over masks that the fit never saw, the coefficients "
        f"explain {worst.text()} ({role}), {least.value:.0f} % are needed (`least_r2`); give more `masks` or a "
        "higher `max_order`."
    )


def where_explained(judge: OnOne, on_path: bool = False) -> OnOne:
    """Return a judge that gives no firm verdict where masks explain too little."""

    @wraps(judge)
    def evaluated(compared: Measured) -> ClaimResult:
        found, why = judge(compared), unexplained(compared, on_path)
        if not why or found.status == "not measured here":
            return found
        return replace(found, status="undetermined", reason=f"{why} {found.reason}")

    return evaluated


EVERYWHERE: dict[str, OnOne] = {
    "K1": where_explained(little_survives),
    "K2": where_explained(complex_is_discarded),
    "K3": where_explained(complex_is_new),
    "K4": where_explained(scratch_finds_little),
    "K5": where_explained(finetuning_is_direct, on_path=True),
}
ON_ONE = (*EVERYWHERE.values(), few_and_matching)


def holds_everywhere(comparisons: Sequence[Measured]) -> ClaimResult:
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
    if "not measured here" in statuses:
        return ClaimResult("not measured here", text)
    if set(statuses) == {"supported"}:
        return ClaimResult("supported", f"{text} Other networks and data than the published ones.")
    return ClaimResult("undetermined", text)


def _ratio_explains_accuracy(opened: ClaimEvaluator) -> ClaimResult:
    """Return K6, which is undetermined where masks explain too little of a network of any comparison."""
    found = ratio_explains_accuracy(opened.table)
    whys = [f"{each.title}: {why}" for each in opened.all if (why := unexplained(each))]
    if not whys:
        return found
    return replace(found, status="undetermined", reason=f"{whys[0]} {found.reason}")


def _on_one(function: OnOne) -> Callable[[ClaimEvaluator], ClaimResult]:
    return lambda opened: function(opened.compared)


class ClaimEvaluator:
    """All comparisons at hand, and the one that most claims are evaluated on: that requested, or the first.

    Raises:
        TableError: no comparison is as requested.
    """

    evaluators: ClassVar[Mapping[str, Callable[[ClaimEvaluator], ClaimResult]]] = {
        **{function.__name__: _on_one(function) for function in ON_ONE},
        "ratio_explains_accuracy": _ratio_explains_accuracy,
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
            f"{networks_text(seeds, table)}, {images} test images, "
            f"{VARIANTS[headline_of(self.table)]}. Intervals are over networks and images; the published networks are larger, on photographs and "
            "text: whatever holds here supports or contradicts a claim elsewhere, and replicates nothing."
        )


def _compared(table: pd.DataFrame) -> list[ComparedNetworks]:
    parts = [of(table, comparison) for comparison in sorted(comparisons(table))]
    return [ComparedNetworks(part, main_init_epoch(part)) for part in parts]
