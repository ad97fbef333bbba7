"""What the tables say of the claims on shares of knowledge (arXiv 2410.08455), K1 to K4.

Intervals are over images, for the networks at hand: a result speaks of these networks. Interactions
are normalised by every network's strength, so that a difference in scale is no knowledge.
"""

from __future__ import annotations

from headstart.statistics.claim_results import ClaimResult, Status
from headstart.studies.knowledge.tables import ComparedNetworks, above, result, unmeasured

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
