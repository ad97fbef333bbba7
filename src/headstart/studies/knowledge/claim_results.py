"""What the tables say of each claim on knowledge (arXiv 2410.08455): supported, contradicted or open.

Intervals are over images, for the networks at hand: a finding speaks of these networks. Interactions
are normalised by every network's strength, so that a difference in scale is no knowledge.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import pandas as pd

from headstart.statistics.claim_results import ClaimResult, Status
from headstart.statistics.hypotheses import ALPHA
from headstart.studies.knowledge.comparison_tables import Compared, Number
from headstart.studies.knowledge.gains import gains_and_ratios, rank_correlation

NULLS = {
    "permuted": "interactions dealt anew within their order",
    "other_image": "those of another image",
    "random_backbone": "a random backbone with a trained probe",
}
PUBLISHED = (13.0, 45.0)
NETWORKS_TO_CORRELATE = 20
EXPLAINED = 90.0
"""Per cent of the variance of v that few interactions must explain to be called a match."""


def little_survives(compared: Compared) -> ClaimResult:
    """K1: is less than half of the pretrained knowledge preserved, and more than chance?"""
    share = compared.number("preserved_of_pretrained")
    if share is None:
        return _unmeasured("The share of preserved knowledge")
    raw = compared.number("preserved_of_pretrained", variant="raw")
    text = f"{share.text()} of the pretrained knowledge is preserved"
    text += f" ({raw.text()} without normalising)." if raw else "."
    nulls, above = _against_nulls(compared, "preserved_of_pretrained")
    text = f"{text} {nulls}"
    ceiling = compared.number("preserved_of_pretrained", "ceiling_second_run")
    if ceiling:
        text += f" Two fine-tuning runs of the same start share {ceiling.text()} with each other."
    if share.low > 50:
        return _finding("contradicted", f"{text} More than half survives.", share)
    if not share.high < 50:
        return _finding("undetermined", f"{text} The interval is not all below one half.", share)
    if not above:
        return _finding(
            "undetermined", f"{text} What is shared cannot be told from every chance.", share
        )
    return _finding("supported", text, share)


def complex_is_discarded(compared: Compared) -> ClaimResult:
    """K2: does the discarded share rise with the order, beyond what chance within orders does?"""
    return _rising(compared, "discarded_of_pretrained", "discarded share")


def complex_is_new(compared: Compared) -> ClaimResult:
    """K3: is most of the fine-tuned knowledge new, and the more so the higher the order?"""
    share = compared.number("new_of_finetuned")
    risen = _rising(compared, "new_of_finetuned", "new share")
    if share is None or risen.status == "not measured here":
        return _unmeasured("The share of new knowledge")
    text = f"{share.text()} of the fine-tuned knowledge is new. {risen.reason}"
    status: Status = "undetermined"
    if share.high < 50 or risen.status == "contradicted":
        status = "contradicted"
    elif share.low > 50 and risen.status == "supported":
        status = "supported"
    return _finding(status, text, share)


def scratch_finds_little(compared: Compared) -> ClaimResult:
    """K4: is what training from scratch has of the preserved knowledge nearer to chance than to the ceiling?"""
    ratio = compared.number("exclusivity")
    if ratio is None:
        return _unmeasured("The exclusivity ratio")
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
        return _finding("undetermined", reason, ratio)
    text += (
        f" From chance (permuted) to the ceiling, a second fine-tuning run, it is {excess.text()} of "
        "the way."
    )
    return _finding(_below(excess, 50.0), text, ratio)


def finetuning_is_direct(compared: Compared) -> ClaimResult:
    """K5: does fine-tuning approach its end faster, more directly and more stably than scratch?

    Each by more than checkpoints whose interactions are dealt anew within their order, which keep
    scale and order profile: these alone let similarity drop less often.
    """
    wanted = {"speed_to_own_end": 1, "directness": 1, "stability_to_own_end": -1}
    words = ("speed", "directness", "drops")
    found = {metric: _of_ways(compared, metric) for metric in wanted}
    over = {metric: _of_ways(compared, metric, "over_permuted") for metric in wanted}
    signs, parts = [], []
    for word, (metric, sign) in zip(words, wanted.items(), strict=True):
        measured, beyond = found[metric], over[metric]
        if measured is None or beyond is None:
            return _unmeasured("The way of both networks to their end")
        signs.append(sign if beyond.low > 0 else -sign if beyond.high < 0 else 0)
        parts.append(f"{word} {_signed(measured)}, over chance {_signed(beyond)}")
    text = f"Fine-tuned minus scratch, to the own end: {'; '.join(parts)}."
    common = _of_ways(compared, "speed_to_common_target")
    if common is not None:
        text += f" Speed to the fine-tuned end for both: {_signed(common)}."
    status: Status = "undetermined"
    if all(sign > 0 for sign in signs):
        status = "supported"
    elif any(sign < 0 for sign in signs):
        status = "contradicted"
    speed = over["speed_to_own_end"]
    assert speed is not None
    return ClaimResult(status, text, speed.value, speed.low, speed.high)


def _of_ways(compared: Compared, metric: str, reading: str = "measured") -> Number | None:
    return compared.number(metric, reading, network="finetuned-scratch", factor=1.0)


def _signed(number: Number) -> str:
    return f"{number.value:+.3f} [{number.low:+.3f}, {number.high:+.3f}]"


def ratio_explains_accuracy(table: pd.DataFrame) -> ClaimResult:
    """K6: over source networks, does accuracy gain more where scratch finds less of what is preserved?"""
    points = gains_and_ratios(table)
    rho, p = rank_correlation(points)
    if len(points) < NETWORKS_TO_CORRELATE or math.isnan(rho):
        reason = (
            f"A correlation over source networks needs {NETWORKS_TO_CORRELATE} or more, here are "
            f"{len(points)} that have others of their model and source task beside them; and it would "
            "say nothing of causes."
        )
        return ClaimResult("undetermined", reason)
    text = (
        f"Spearman's ρ = {rho:+.2f} (p = {p:.3g}, whole source networks permuted within their model and "
        f"source task) between exclusivity ratio and gain in accuracy over scratch, {len(points)} source "
        "networks, deviations from the mean of each comparison; a correlation, which says nothing of causes."
    )
    if p > 2 * ALPHA:
        return ClaimResult("undetermined", text, rho)
    return ClaimResult("supported" if rho < 0 else "contradicted", text, rho)


def holds_everywhere(comparisons: Sequence[Compared]) -> ClaimResult:
    """K7: do K1 to K5 hold for every model and target at hand?"""
    if len(comparisons) < 2:
        return ClaimResult("not measured here", "There is one model and one target.")
    judges: dict[str, Callable[[Compared], ClaimResult]] = {
        "K1": little_survives,
        "K2": complex_is_discarded,
        "K3": complex_is_new,
        "K4": scratch_finds_little,
        "K5": finetuning_is_direct,
    }
    statuses: list[str] = []
    parts = []
    for compared in comparisons:
        found = {name: judge(compared).status for name, judge in judges.items()}
        statuses += found.values()
        parts.append(
            f"{compared.name()}: " + ", ".join(f"{name} {status}" for name, status in found.items())
        )
    text = "; ".join(parts) + "."
    if "contradicted" in statuses:
        return ClaimResult("contradicted", text)
    if set(statuses) == {"supported"}:
        return ClaimResult("supported", f"{text} Other networks and data than the published ones.")
    return ClaimResult("undetermined", text)


def few_and_matching(compared: Compared) -> ClaimResult:
    """K8: does a tenth of the interactions explain the scores of all masks, far better than by chance?"""
    metric = "explained_by_strongest_tenth"
    found = {
        network: (
            compared.number(metric, network=network, variant="raw"),
            compared.number(metric, "null_dealt_masks", network=network, variant="raw"),
        )
        for network in ("probe", "finetuned", "scratch")
    }
    measured = {name: pair[0] for name, pair in found.items() if pair[0] is not None}
    if not measured:
        return _unmeasured("The match of the strongest interactions")
    weakest = min(measured.values(), key=lambda number: number.value)
    nulls = [pair[1].value for pair in found.values() if pair[1] is not None]
    listed = ", ".join(f"{name} {number.text()}" for name, number in measured.items())
    text = (
        f"The strongest tenth of the interactions explains of the variance over masks: {listed}; "
        f"of scores dealt anew to the masks {_chance(nulls)}. A match is {EXPLAINED:.0f} % here."
    )
    return _finding(_above(weakest, EXPLAINED), text, weakest)


def _chance(nulls: Sequence[float]) -> str:
    """Say what few interactions explain of no structure; they can miss it by more than its mean does."""
    most = max(nulls, default=0.0)
    return f"at most {most:.1f} %" if most > 0 else "nothing"


def _rising(compared: Compared, metric: str, words: str) -> ClaimResult:
    measured = compared.number(f"{metric}_rise")
    over = compared.number(f"{metric}_rise", "over_permuted")
    if measured is None or over is None:
        return _unmeasured(f"The {words} by order")
    text = (
        f"The {words} over the upper half of orders minus that over the lower half is "
        f"{measured.text(' points')}; over interactions dealt anew within their order, "
        f"{over.text(' points')} more."
    )
    return _finding(_above(over, 0.0), text, over)


def _against_nulls(compared: Compared, metric: str) -> tuple[str, bool]:
    """Say by how much a share exceeds each null, and whether it exceeds all of them."""
    found = {null: compared.number(metric, f"over_{null}") for null in NULLS}
    parts = [
        f"{number.value:+.1f} [{number.low:+.1f}, {number.high:+.1f}] over {NULLS[null]}"
        for null, number in found.items()
        if number is not None
    ]
    above = all(number is not None and number.low > 0 for number in found.values())
    return f"In points: {', '.join(parts)}.", above


def _above(number: Number, limit: float) -> Status:
    if number.low > limit:
        return "supported"
    return "contradicted" if number.high < limit else "undetermined"


def _below(number: Number, limit: float) -> Status:
    if number.high < limit:
        return "supported"
    return "contradicted" if number.low > limit else "undetermined"


def _finding(status: Status, reason: str, number: Number) -> ClaimResult:
    return ClaimResult(status, reason, number.value, number.low, number.high)


def _unmeasured(what: str) -> ClaimResult:
    return ClaimResult(
        "not measured here", f"{what} is not in the tables, or undefined on every image."
    )
