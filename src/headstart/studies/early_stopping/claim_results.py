"""What a table says of one claim about early starts: supported, contradicted or undetermined, and why."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from headstart.statistics.claim_results import ClaimResult, Status, bounded
from headstart.statistics.hypotheses import ALPHA
from headstart.statistics.intervals import Interval, mean_interval
from headstart.statistics.permutation import max_statistic_test
from headstart.statistics.words import format_interval, pluralize
from headstart.studies.early_stopping.verdicts.accuracies import Accuracies
from headstart.studies.early_stopping.verdicts.gains import POINTS, Gain, gain_of
from headstart.studies.early_stopping.verdicts.selection import differences, tune_learning_rate
from headstart.studies.early_stopping.verdicts.source_size import compare_amounts
from headstart.studies.early_stopping.verdicts.text import detectable_words
from headstart.studies.early_stopping.verdicts.verdicts import Verdict

Array = npt.NDArray[np.float64]
TWO_SIDED = 2 * ALPHA


def earlier_start(verdict: Verdict) -> ClaimResult:
    """C1 and C5: is an earlier start better than source-best? The verdict on the question says it."""
    status: Status = "undetermined"
    if verdict.verdict == "earlier-better":
        status = "supported"
    elif verdict.hypothesis in ("source-best", "equivalent"):
        status = "contradicted"
    reason = verdict.reason
    if verdict.verdict == "later-better":
        reason += (
            " That speaks of later starts, and leaves open whether an earlier one is better too."
        )
    if "later" in verdict.hypothesis:
        # Its number is no gain of an earlier start.
        return ClaimResult(status, reason)
    return ClaimResult(status, reason, verdict.effect, verdict.interval.low, verdict.interval.high)


def late_fall(
    runs: Accuracies, source_accuracy: float, margin: float, seed: int = 0
) -> ClaimResult:
    """C2: do starts from before the last source epoch beat it, once the source is fitted?

    `source_accuracy` is the mean training accuracy of the source networks at the last epoch.
    """
    if np.isnan(source_accuracy):
        reason = "The table lacks the source networks' training accuracy at the last epoch."
        return ClaimResult("not measured here", reason)
    if source_accuracy < 0.999:
        reason = (
            f"The source networks end at {source_accuracy:.1%} training accuracy, below 99.9 %: "
            "the fall is said to come after that."
        )
        return ClaimResult("not measured here", reason)
    gain = _gain_over(runs, int(runs.epochs.max()), seed)
    if gain is None:
        return ClaimResult("not measured here", "Only one pretrained epoch was fine-tuned from.")
    text = (
        f"The best earlier start, epoch {gain.epoch}, is {gain.effect:+.1f} points from the last "
        f"one, epoch {runs.epochs.max()} ({_numbers(gain, runs)})."
    )
    if open_question := _undecidable(runs):
        return bounded("undetermined", f"{text} {open_question}", gain.interval)
    if gain.p <= ALPHA:
        return bounded("supported", text, gain.interval)
    if gain.interval.high < margin:
        return bounded("contradicted", f"{text} A fall of {margin:g} is ruled out.", gain.interval)
    return bounded("undetermined", f"{text} {detectable_words(gain.detectable)}", gain.interval)


def source_amount(by_amount: Mapping[str, Accuracies], margin: float, seed: int = 0) -> ClaimResult:
    """C3: does the gain of an earlier start differ between amounts of source training?"""
    if len(by_amount) < 2:
        amount = next(iter(by_amount), "no source training")
        reason = f"Every source network that could be compared has one amount of source training: {amount}."
        return ClaimResult("not measured here", reason)
    found = compare_amounts(by_amount, seed)
    if found is None:
        reason = "Each amount needs two source networks and a shared epoch before source-best."
        return ClaimResult("not measured here", reason)
    first, second = found.pair
    listed = "; ".join(
        f"{name}: {effect:+.1f} from epoch {found.epochs[name]}"
        for name, effect in found.effects.items()
    )
    numbers = " + ".join(str(len(runs.seeds)) for runs in by_amount.values())
    text = f"Points over source-best by source training: {listed}. "
    pair = (
        f"{first} and {second} differ"
        if len(by_amount) == 2
        else f"{first} and {second} differ most,"
    )
    interval = found.interval
    text += (
        f"{pair} by {format_interval(interval.estimate, interval.low, interval.high, signed=True)} "
        f"(p = {found.p:.3g}, two-sided, {numbers} source networks)."
    )
    for runs in by_amount.values():
        if runs.descriptive or runs.shared_draws:
            reason = f"{text} {_not_decided(runs.undecidable[:1])}"
            return bounded("undetermined", reason, found.interval)
    if found.p_floor > TWO_SIDED:
        return bounded("undetermined", f"{text} So few networks cannot decide.", found.interval)
    if found.p <= TWO_SIDED:
        return bounded("supported", text, found.interval)
    if found.widest < margin:
        reason = f"{text} A difference of {margin:g} is ruled out."
        return bounded("contradicted", reason, found.interval)
    half = (found.interval.high - found.interval.low) / 2
    reason = f"{text} {detectable_words(1.4 * half)}"
    return bounded("undetermined", reason, found.interval)


def learning_rate(runs: Accuracies, seed: int = 0) -> ClaimResult:
    """C4: is the gain of an earlier start smaller at the lowest learning rate than at the fixed one?

    The epoch is the one that validation prefers at the fixed rate, picked inside the sign flips.
    """
    if runs.fixed_index == 0:
        rate = runs.learning_rates[0]
        return ClaimResult("not measured here", f"No run has a learning rate below {rate:g}.")
    asked: tuple[Any, ...] = (runs.epochs, runs.source_best, "earlier", runs.first_start)
    epochs, gaps = differences(runs.test * POINTS, *asked)
    _, held = differences(runs.validation * POINTS, *asked)
    if not len(epochs):
        return ClaimResult("not measured here", "No epoch before source-best was fine-tuned from.")
    by_rate = runs.by_unit(gaps)
    top = runs.fixed_index
    low, high = by_rate[..., 0], by_rate[..., top]
    preferred = runs.by_unit(held)[..., top]
    shrinks = max_statistic_test(high - low, preferred, seed=seed)
    grows = max_statistic_test(low - high, preferred, seed=seed)
    at_high, at_low = (float(gap[:, shrinks.chosen].mean()) for gap in (high, low))
    p = min(1.0, 2 * min(shrinks.p, grows.p))
    text = (
        f"At epoch {epochs[shrinks.chosen]} the gain over source-best is {at_high:+.1f} points at "
        f"learning rate {runs.learning_rates[top]:g} and {at_low:+.1f} at "
        f"{runs.learning_rates[0]:g} (p = {p:.3g}, two-sided, {_seeds(runs)})."
    )
    change = mean_interval((high - low)[:, shrinks.chosen])
    if at_high <= 0:
        reason = f"{text} There is no gain that a lower rate could shrink."
        return bounded("undetermined", reason, change)
    return _two_sided(change, p, runs, text)


def target_size(by_shots: Mapping[int, Accuracies], seed: int = 0) -> ClaimResult:
    """C6: is the gain of the best earlier start larger with more shots than with the fewest?"""
    if len(by_shots) < 2:
        shots = ", ".join(map(str, by_shots)) or "no number of"
        return ClaimResult("not measured here", f"Every run has {shots} images per class.")
    gains = {shots: _tuned(runs, seed) for shots, runs in sorted(by_shots.items())}
    seeds = {runs.seeds for runs in by_shots.values()}
    if any(gain is None for gain in gains.values()) or len(seeds) > 1:
        reason = "Not every number of shots has an earlier start from the same source networks."
        return ClaimResult("not measured here", reason)
    per_seed = np.stack([gain.per_unit for gain in gains.values() if gain], axis=1)
    change = per_seed[:, 1:] - per_seed[:, :1]
    test = max_statistic_test(change, two_sided=True, seed=seed)
    # One table without validation is enough to make the comparison a description.
    weakest = max(by_shots.values(), key=lambda runs: len(runs.undecidable))
    listed = ", ".join(f"{g.effect:+.1f} with {shots}" for shots, g in gains.items() if g)
    text = (
        f"Points over source-best by images per class: {listed} "
        f"(p = {test.p:.3g}, two-sided, {_seeds(weakest)})."
    )
    return _two_sided(mean_interval(change[:, test.chosen]), test.p, weakest, text)


def _two_sided(change: Interval, p: float, runs: Accuracies, text: str) -> ClaimResult:
    if open_question := _undecidable(runs):
        return bounded("undetermined", f"{text} {open_question}", change)
    if p > TWO_SIDED:
        half = (change.high - change.low) / 2
        return bounded("undetermined", f"{text} {detectable_words(1.4 * half)}", change)
    return bounded("supported" if change.estimate > 0 else "contradicted", text, change)


def _undecidable(runs: Accuracies) -> str:
    """Say why these runs can decide nothing, if so."""
    return _not_decided(runs.undecidable)


def _not_decided(causes: Sequence[str]) -> str:
    return f"Not decided, because {' and '.join(causes)}." if causes else ""


def _numbers(gain: Gain, runs: Accuracies) -> str:
    low, high = gain.interval.low, gain.interval.high
    interval = "" if np.isnan(low) else f"[{low:+.1f}, {high:+.1f}], "
    return f"{interval}p = {gain.p:.3g}, {_seeds(runs)}"


def _seeds(runs: Accuracies) -> str:
    return pluralize(len(runs.seeds), "source seed")


def _tuned(runs: Accuracies, seed: int) -> Gain | None:
    return gain_of(runs, tune_learning_rate(runs.validation), "earlier", seed)


def _gain_over(runs: Accuracies, epoch: int, seed: int) -> Gain | None:
    """The gain of the best start before `epoch` over the start from it, in place of source-best."""
    index = int(np.searchsorted(runs.epochs, epoch))

    def referred(values: Array) -> Array:
        return np.concatenate([values[:-1], values[index][None]])

    return _tuned(runs.changed(referred, source_best=np.full(len(runs.seeds), epoch)), seed)
