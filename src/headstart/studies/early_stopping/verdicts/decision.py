"""From evidence to one verdict and its reason, at one level: one-sided 2.5 %.

What decides "earlier-better" is the sign-flip test of whole seed vectors over all seeds, with
validation's choice of the epoch repeated in every sign pattern. It is exact at any number of
seeds, covers the choice, and keeps all seeds; the split into discovery and confirmation seeds is
as honest but loses half of them (power 0.72 against 0.98 for a gain of 2 at one of 15 checkpoints,
seed SD 1, eight seeds), so it is reported beside the verdict and decides nothing.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from headstart.statistics.answers import MOST, reach, units_needed
from headstart.statistics.hypotheses import ALPHA
from headstart.statistics.words import format_interval, pluralize
from headstart.studies.early_stopping.verdicts.evidence import DIRECTIONS, FIXED, Evidence
from headstart.studies.early_stopping.verdicts.gains import Gain

VerdictName = Literal[
    "earlier-better",
    "later-better",
    "learning-rate-dependent",
    "equivalent",
    "source-best",
    "undetermined",
]


@dataclass(frozen=True)
class Decision:
    """A verdict, the hypothesis that carries it, the gain that it speaks of, and the reason."""

    verdict: VerdictName
    hypothesis: str
    gain: Gain | None
    reason: str


def seeds_needed(tests: int = 1, alpha: float = ALPHA) -> int:
    """Source seeds below which a sign flip, corrected for `tests` tests, cannot reach `alpha`."""
    return math.ceil(math.log2(tests / alpha) - 1e-12)


def can_decide(evidence: Evidence) -> bool:
    """Whether any outcome of the tests could reject; numbers of seeds and kind of table say it.

    Nothing measured takes part, so a family of hypotheses may leave out those that cannot.
    """
    return not evidence.causes


def decide(
    evidence: Evidence, adjusted: Mapping[str, float], margin: float = 1.0, tests: int = 1
) -> Decision:
    """Choose the verdict of one contrast.

    Args:
        evidence: all tests of the contrast.
        adjusted: its p-values after Holm's correction, by hypothesis.
        margin: of equivalence, in points.
        tests: how many contrasts the correction covers; 0 where this one is not counted.
    """
    main = next((d for d in DIRECTIONS if d in evidence.gains), "")
    described = evidence.gains.get(main)
    if described is None:
        reason = "No pretrained epoch beside the source-best one was fine-tuned from every seed."
        return Decision("undetermined", "", None, reason)
    if not can_decide(evidence):
        reason = _why_not(evidence, described, counted=tests > 0)
        return Decision("undetermined", main, described, reason)
    these = " This holds for these test images, which all networks share."
    if evidence.one_network:
        these = (
            " It is an answer for this one network, over draws of the target on these test images: it says "
            "nothing of other networks."
        )
    decision = _gain(evidence, adjusted, DIRECTIONS)
    if decision is None:
        decision = _no_gain(evidence, adjusted, described, margin) or Decision(
            "undetermined",
            main,
            described,
            _undetermined(evidence, described, adjusted[main], margin, tests),
        )
        fixed = _gain(evidence, adjusted, [d + FIXED for d in DIRECTIONS])
        if fixed:
            reason = f"{fixed.reason} With every start tuned: {decision.reason}"
            decision = replace(decision, verdict=fixed.verdict, reason=reason)
        elif decision.verdict == "undetermined":
            return decision
    return replace(decision, reason=decision.reason + these * evidence.shared_images)


def _gain(
    evidence: Evidence, adjusted: Mapping[str, float], names: Sequence[str]
) -> Decision | None:
    """Return the gain that a test shows, the larger of two."""
    won = [name for name in names if adjusted.get(name, 1.0) <= ALPHA]
    if not won:
        return None
    best = max(won, key=lambda name: evidence.gains[name].effect)
    return _better(evidence, best, adjusted[best])


def _no_gain(
    evidence: Evidence, adjusted: Mapping[str, float], described: Gain, margin: float
) -> Decision | None:
    """Return what rules a gain out: starts that are equivalent, or all of them worse."""
    rejected = [name for name, p in adjusted.items() if p <= ALPHA]
    units = _units(evidence)
    if "equivalent" in rejected:
        gains = [evidence.gains[d] for d in DIRECTIONS if d in evidence.gains]
        spoken = next((gain for gain in gains if gain.epoch == evidence.preferred), described)
        reason = (
            f"No other epoch gains {_points(margin)} over source-best, and epoch {evidence.preferred}, "
            f"which validation prefers, loses less than that (p = {adjusted['equivalent']:.3g}, {units})."
        )
        return Decision("equivalent", "equivalent", spoken, reason)
    if "source-best" in rejected:
        reason = (
            "Every other pretrained epoch is worse than source-best "
            f"(p = {adjusted['source-best']:.3g}, {units}); "
            f"the best {described.direction} one, {gain_text(described)}."
        )
        return Decision("source-best", "source-best", described, reason)
    return None


def gain_text(gain: Gain) -> str:
    """Epoch, effect and interval of a gain in words."""
    rate = "" if gain.learning_rate is None else f" at learning rate {gain.learning_rate:g}"
    ends = gain.interval.low, gain.interval.high
    effect = format_interval(gain.effect, *ends, signed=True, unit="points from it")
    return f"epoch {gain.epoch}{rate}, is {effect}"


def _better(evidence: Evidence, hypothesis: str, p: float) -> Decision:
    gain = evidence.gains[hypothesis]
    ends = gain.interval.low, gain.interval.high
    effect = format_interval(gain.effect, *ends, signed=True, unit="points")
    numbers = f"{effect} at epoch {gain.epoch}, p = {p:.3g}, {_units(evidence)}"
    if FIXED not in hypothesis:
        verdict: VerdictName = "earlier-better" if gain.direction == "earlier" else "later-better"
        where = (
            ""
            if evidence.learning_rate is None
            else f" at learning rate {evidence.learning_rate:g}"
        )
        reason = f"The {gain.direction} start beats source-best{where}: {numbers}."
        return Decision(verdict, hypothesis, gain, reason)
    p_interaction = 1.0 if evidence.p_interaction is None else evidence.p_interaction
    interaction = "differs" if p_interaction <= 2 * ALPHA else "is not shown to differ"
    reason = (
        f"The {gain.direction} start beats source-best only where both use learning rate "
        f"{gain.learning_rate:g} ({numbers}); the gain {interaction} between learning rates "
        f"(p = {p_interaction:.3g})."
    )
    return Decision("learning-rate-dependent", hypothesis, gain, reason)


def _why_not(evidence: Evidence, gain: Gain, *, counted: bool) -> str:
    kind = "Described, not decided" if evidence.descriptive else "Not decided"
    interval, spread = gain.pigeonhole, ""
    if interval is not None and not np.isnan(interval.low):
        spread = f" [{interval.low:+.1f}, {interval.high:+.1f}], resampling seeds and draws"
    if spread and evidence.p_floor > ALPHA:
        spread += ", which is too narrow with so few seeds"
    holm = "" if counted else " Holm's correction of the other contrasts does not count this one."
    found = "No gain is detectable like this"
    if not np.isnan(gain.sd):
        six = gain.sd * reach(6)
        found += (
            f"; at this spread six networks with draws of their own would find {six:.1f} points"
        )
    return (
        f"{kind}, because {' and '.join(evidence.causes)}; the best {gain.direction} start of these runs, "
        f"epoch {gain.epoch}, is {gain.effect:+.1f} points from source-best{spread}. {found}.{holm}"
    )


def _undetermined(evidence: Evidence, gain: Gain, p: float, margin: float, tests: int) -> str:
    return (
        f"{_units(evidence)} show neither a gain nor equivalence within "
        f"±{_points(margin)}: the best {gain.direction} start, {gain_text(gain)}, "
        f"p = {p:.3g}{_too_few(evidence, tests)}. {_would_take(evidence, gain, margin)}"
    )


def _too_few(evidence: Evidence, tests: int) -> str:
    """Say how many seeds the deciding test would need, where it has too few of them."""
    if evidence.p_floor * tests <= ALPHA:
        return ""
    needed = seeds_needed(tests)
    return f"; Holm's correction over {tests} contrasts can reject only from {needed} seeds on"


def _would_take(evidence: Evidence, gain: Gain, margin: float) -> str:
    """Say which gain these runs would find, and what it would take to find the one that matters."""
    if not np.isfinite(gain.detectable):
        return "No gain is detectable like this."
    found = f"A gain of {gain.detectable:.1f} points would be found with a power of 80 %"
    if evidence.one_network:
        return f"{found} for this one network; further draws would tell smaller ones."
    target = max(margin, gain.effect)
    if gain.detectable <= target:
        return f"{found}, so more networks would decide."
    networks = units_needed(evidence.n_units, gain.detectable, target) or MOST
    return f"{found}; one of {target:.1f} takes about {networks} networks{_or_more(gain, target)}."


def _or_more(gain: Gain, target: float) -> str:
    """Say whether more draws or test images would do, in place of networks."""
    allowed = (gain.sd * target / gain.detectable) ** 2
    images = ""
    if not np.isnan(gain.sd_images):
        share = min(1.0, (gain.sd_images / gain.sd) ** 2)
        images = f" (counting test images makes up to {share:.0%} of the variance)"
    if np.isnan(gain.sd_draws):
        return f", or several draws of each network's own in place of one{images}"
    rest = allowed - max(gain.sd**2 - gain.sd_draws**2 / gain.n_draws, 0.0)
    if rest <= 0:
        return f"; more draws alone would not do{images}"
    return f", or {math.ceil(gain.sd_draws**2 / rest)} draws of each in place of {gain.n_draws}{images}"


def _units(evidence: Evidence) -> str:
    if evidence.one_network:
        return f"{evidence.n_units} draws of the target, one source network"
    if evidence.n_units == evidence.n_seeds:
        return pluralize(evidence.n_seeds, "source seed")
    return (
        f"{evidence.n_units} blocks of {evidence.n_seeds} source seeds and {evidence.n_draws} draws"
    )


def _points(margin: float) -> str:
    return "1 point" if margin == 1 else f"{margin:g} points"
