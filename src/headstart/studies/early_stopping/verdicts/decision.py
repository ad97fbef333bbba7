"""From evidence to one verdict and its reason, at one level: one-sided 2.5 %.

What decides "earlier-better" is the sign-flip test of whole seed vectors over all seeds, with
validation's choice of the epoch repeated in every sign pattern. It is exact at any number of
seeds, covers the choice, and keeps all seeds; the split into discovery and confirmation seeds is
as honest but loses half of them (power 0.72 against 0.98 for a gain of 2 at one of 15 checkpoints,
seed SD 1, eight seeds), so it is reported beside the verdict and decides nothing.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from headstart.statistics.hypotheses import ALPHA
from headstart.statistics.words import format_interval
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
    return not evidence.descriptive and evidence.p_floor <= ALPHA


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
    rejected = [name for name, p in adjusted.items() if p <= ALPHA]
    for names in (DIRECTIONS, [d + FIXED for d in DIRECTIONS]):
        won = [name for name in names if name in rejected]
        if won:
            best = max(won, key=lambda name: evidence.gains[name].effect)
            return _better(evidence, best, adjusted[best])
    if "equivalent" in rejected:
        gains = [evidence.gains[d] for d in DIRECTIONS if d in evidence.gains]
        spoken = next((gain for gain in gains if gain.epoch == evidence.preferred), described)
        reason = (
            f"No other epoch gains {_points(margin)} over source-best, and epoch {evidence.preferred}, "
            f"which validation prefers, loses less than that (p = {adjusted['equivalent']:.3g}, "
            f"{evidence.n_seeds} source seeds)."
        )
        return Decision("equivalent", "equivalent", spoken, reason)
    if "source-best" in rejected:
        reason = (
            "Every other pretrained epoch is worse than source-best "
            f"(p = {adjusted['source-best']:.3g}, {evidence.n_seeds} source seeds); "
            f"the best {described.direction} one, {gain_text(described)}."
        )
        return Decision("source-best", "source-best", described, reason)
    reason = _undetermined(evidence, described, adjusted[main], margin, tests)
    return Decision("undetermined", main, described, reason)


def gain_text(gain: Gain) -> str:
    """Epoch, effect and interval of a gain in words."""
    rate = "" if gain.learning_rate is None else f" at learning rate {gain.learning_rate:g}"
    ends = gain.interval.low, gain.interval.high
    effect = format_interval(gain.effect, *ends, signed=True, unit="points from it")
    return f"epoch {gain.epoch}{rate}, is {effect}"


def _better(evidence: Evidence, hypothesis: str, p: float) -> Decision:
    gain = evidence.gains[hypothesis]
    numbers = (
        f"{gain.effect:+.1f} points at epoch {gain.epoch}, largest gain within "
        f"[{gain.interval.low:+.1f}, {gain.interval.high:+.1f}], p = {p:.3g}, "
        f"{evidence.n_seeds} source seeds"
    )
    if hypothesis in DIRECTIONS:
        verdict: VerdictName = "earlier-better" if gain.direction == "earlier" else "later-better"
        start = "an earlier" if gain.direction == "earlier" else "a later"
        reason = (
            f"With the learning rate tuned for every start, {start} one beats source-best "
            f"({numbers})."
        )
        return Decision(verdict, hypothesis, gain, reason)
    p_interaction = 1.0 if evidence.p_interaction is None else evidence.p_interaction
    interaction = "differs" if p_interaction <= 2 * ALPHA else "is not shown to differ"
    reason = (
        f"The {gain.direction} start beats source-best only where both use learning rate "
        f"{gain.learning_rate:g} ({numbers}), not where each is tuned; the gain {interaction} "
        f"between learning rates (p = {p_interaction:.3g})."
    )
    return Decision("learning-rate-dependent", hypothesis, gain, reason)


def _why_not(evidence: Evidence, gain: Gain, *, counted: bool) -> str:
    causes = []
    if evidence.descriptive:
        causes.append("test data made choices that validation should make")
    if evidence.p_floor > ALPHA:
        n, seeds = evidence.n_seeds, "source seed" if evidence.n_seeds == 1 else "source seeds"
        causes.append(
            f"{n} {seeds} cannot give a p below {evidence.p_floor:.3g}, where {ALPHA:g} is requested "
            f"for and {seeds_needed()} seeds are the least"
        )
    kind = "Described, not decided" if evidence.descriptive else "Not decided"
    interval = gain.pigeonhole
    spread = (
        ""
        if np.isnan(interval.low)
        else f" [{interval.low:+.1f}, {interval.high:+.1f}], resampling seeds and draws"
    )
    if spread and evidence.p_floor > ALPHA:
        spread += ", which is too narrow with so few seeds"
    holm = "" if counted else " Holm's correction of the other contrasts does not count this one."
    return (
        f"{kind}, because {' and '.join(causes)}; the best {gain.direction} start of these runs, "
        f"epoch {gain.epoch}, is {gain.effect:+.1f} points from source-best{spread}.{holm}"
    )


def _undetermined(evidence: Evidence, gain: Gain, p: float, margin: float, tests: int) -> str:
    return (
        f"{evidence.n_seeds} source seeds show neither a gain nor equivalence within "
        f"±{_points(margin)}: the best {gain.direction} start, {gain_text(gain)}, "
        f"p = {p:.3g}{_too_few(evidence, gain, tests)}."
    )


def _too_few(evidence: Evidence, gain: Gain, tests: int) -> str:
    """Say how many seeds the deciding test would need, where it has too few of them."""
    if gain.p_beside * tests <= ALPHA:
        return ""
    test, needed = "the test", seeds_needed(tests)
    if tests > 1:
        test = f"Holm's correction over {tests} contrasts"
    if gain.p_beside > evidence.p_floor:
        needed = seeds_needed(2 * tests)
        test = (
            "beside other starts so far below source-best p cannot fall below "
            f"{gain.p_beside:.3g}, and {test}"
        )
    return f"; {test} can reject only from {needed} seeds on"


def _points(margin: float) -> str:
    return "1 point" if margin == 1 else f"{margin:g} points"
