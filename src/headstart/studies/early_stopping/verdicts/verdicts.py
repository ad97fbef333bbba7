"""Verdicts on tables of runs: is the source-best checkpoint the best start for fine-tuning?"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import get_args

import numpy as np
import pandas as pd

from headstart.statistics.errors import UndecidableError
from headstart.statistics.hypotheses import holm
from headstart.statistics.intervals import Interval
from headstart.studies.early_stopping.verdicts.accuracies import LEAST_UNITS
from headstart.studies.early_stopping.verdicts.comparable import comparable
from headstart.studies.early_stopping.verdicts.decision import VerdictName, can_decide, decide
from headstart.studies.early_stopping.verdicts.evidence import Evidence, Question, questions, weigh
from headstart.studies.early_stopping.verdicts.run_tables import (
    CORRECT,
    DIVERGED,
    FINAL,
    HEADLINE,
    IMAGES,
    ORACLE,
    PRETRAIN,
    check_table,
    contrasts,
    find_contrast,
)

NAN_INTERVAL = Interval(np.nan, np.nan, np.nan, 0, "none", "nothing could be compared")


@dataclass(frozen=True)
class Verdict:
    """The verdict on one question about one contrast, in percentage points of accuracy.

    `question` is "tuned", every start at its own learning rate as in practice, or "fixed", all at
    one rate, `learning_rate`, as in the paper's protocol; runs at one rate have that question alone.
    `effect` is the mean test difference between the start that validation chose (`chosen_epoch`)
    and source-best. `interval` is its 95 % interval, adjusted for that choice, over units that are
    independent: networks, or blocks of networks and shared draws. It is NaN where nothing can be
    decided; for a descriptive verdict it is that of the pigeonhole bootstrap, as `interval.method`
    says. `detectable` is the gain that such runs would find with a power of 80 %. `p` belongs to
    `hypothesis`, `p_adjusted` is after Holm's correction over secondary contrasts (NaN for one that
    can decide nothing and is not counted there), `p_floor` the smallest p that a sign-flip test of
    these units can give. `confirmation` is the effect on seeds that chose nothing, `pigeonhole`
    resamples networks and draws where nothing can be decided, `optimism` the part of the effect that
    choosing in-sample adds. `one_network` marks an answer for a single source network, whose units are
    draws of the target. `descriptive` marks tables in which test data made choices.
    """

    contrast: dict[str, object]
    verdict: VerdictName
    reason: str
    primary: bool = True
    question: Question = "fixed"
    learning_rate: float | None = None
    descriptive: bool = False
    hypothesis: str = ""
    effect: float = float("nan")
    interval: Interval = NAN_INTERVAL
    detectable: float = float("nan")
    p: float = float("nan")
    p_adjusted: float = float("nan")
    p_floor: float = float("nan")
    p_interaction: float | None = None
    n_seeds: int = 0
    n_draws: int = 0
    chosen_epoch: int | None = None
    source_best: tuple[int, ...] = ()
    optimism: float = float("nan")
    confirmation: Interval | None = None
    pigeonhole: Interval | None = None
    flags: tuple[str, ...] = ()
    one_network: bool = False

    @property
    def words(self) -> str:
        """Return the verdict for a person."""
        return verdict_words(self.verdict, self.one_network)


def verdict_words(verdict: str, one_network: bool) -> str:
    """Return a verdict for a person: where it is of one network, it says so."""
    decided = one_network and verdict != "undetermined"
    return f"{verdict} (this network)" if decided else verdict


def verdict(
    table: pd.DataFrame,
    contrast: Mapping[str, object] | None = None,
    margin: float = 1.0,
    seed: int = 0,
    question: Question = "tuned",
    fixed_rate: float | None = None,
) -> Verdict:
    """The verdict on one contrast of a tidy table, uncorrected for any other.

    Args:
        table: runs, as `docs/verdicts.md` describes them.
        contrast: values of source, model, target, mode, shots; may be left out where the table
            holds a single contrast.
        margin: of equivalence, in percentage points.
        seed: of the bootstrap, and of sign flips beyond 12 seeds.
        question: where runs have several learning rates.
        fixed_rate: of the question "fixed"; the largest up to it that was run, the highest if None.

    Raises:
        TableError: when the table cannot be read as runs, or the contrast is not one of its own.
    """
    check_table(table)
    found = contrasts(table)
    requested = find_contrast(found, contrast or {})
    verdicts = _verdicts(table, [requested], requested, margin, seed, fixed_rate)
    return next((one for one in verdicts if one.question == question), verdicts[0])


def verdict_table(
    table: pd.DataFrame,
    primary: Mapping[str, object] | None = None,
    margin: float = 1.0,
    seed: int = 0,
    fixed_rate: float | None = None,
) -> list[Verdict]:
    """Verdicts on all contrasts of a tidy table, in sorted order, the primary one first.

    Each contrast has a verdict at tuned rates and one at a fixed rate, or one where it has a single
    rate. `primary` names the one contrast that was chosen before looking: both its questions
    are tested at the full level, all others by Holm's correction, each hypothesis of a question over all secondary contrasts that can
    decide anything: one of too few seeds, or described only, rejects nothing and need not be paid
    for. Without `primary`, and with more than one contrast, all are secondary.

    Raises:
        TableError: when the table cannot be read as runs, or `primary` does not name one contrast.
    """
    check_table(table)
    found = contrasts(table)
    chosen = found[0] if len(found) == 1 else None
    if primary is not None:
        chosen = find_contrast(found, primary)
    ordered = sorted(found, key=lambda c: c != chosen)
    return _verdicts(table, ordered, chosen, margin, seed, fixed_rate)


def _verdicts(
    table: pd.DataFrame,
    ordered: list[dict[str, object]],
    primary: dict[str, object] | None,
    margin: float,
    seed: int,
    fixed_rate: float | None,
) -> list[Verdict]:
    read = [HEADLINE, ORACLE, FINAL, DIVERGED, CORRECT, IMAGES]
    needed = table["metric"].isin(read).to_numpy()
    table = table[needed | (table["mode"] == PRETRAIN).to_numpy()]
    weighed: dict[str, list[tuple[int, Evidence | str]]] = {"tuned": [], "fixed": []}
    for i, contrast in enumerate(ordered):
        for question, evidence in _weighed(table, contrast, margin, seed, fixed_rate):
            weighed[question].append((i, evidence))
    verdicts: list[tuple[int, Verdict]] = []
    for question in get_args(Question):
        where = [i for i, _ in weighed[question]]
        found = [evidence for _, evidence in weighed[question]]
        firsts = [ordered[i] == primary for i in where]
        adjusted, family = _adjust(found, firsts)
        for k, (i, evidence, p) in enumerate(zip(where, found, adjusted, strict=True)):
            tests = 1 if firsts[k] else len(family) * (k in family)
            verdict = _verdict(ordered[i], question, firsts[k], evidence, p, margin, tests)
            verdicts.append((i, verdict))
    return [verdict for _, verdict in sorted(verdicts, key=lambda pair: pair[0])]


def _weighed(
    table: pd.DataFrame,
    contrast: dict[str, object],
    margin: float,
    seed: int,
    fixed_rate: float | None,
) -> Iterator[tuple[Question, Evidence | str]]:
    """Yield each question that the runs of a contrast can be asked with its evidence, or why there is none."""
    try:
        runs = comparable(table, contrast, fixed_rate)
        if len(runs.seeds) == 1 and len(runs.draws) >= LEAST_UNITS:
            runs = runs.of_one_network()
    except UndecidableError as error:
        rates = table.loc[table["metric"].isin([HEADLINE, ORACLE]), "learning_rate"].nunique()
        for question in get_args(Question) if rates > 1 else ("fixed",):
            yield question, str(error)
        return
    for question in questions(runs):
        try:
            yield question, weigh(runs, margin, seed, question)
        except UndecidableError as error:
            yield question, str(error)


def _adjust(
    weighed: list[Evidence | str], is_primary: list[bool]
) -> tuple[list[dict[str, float]], list[int]]:
    """p-values after Holm's correction, hypothesis by hypothesis, and which contrasts it covers.

    Which do is a matter of their numbers of seeds, so that the error of the family is kept. The
    other secondary ones have no corrected p.
    """
    adjusted: list[dict[str, float]] = []
    family: list[int] = []
    for i, evidence in enumerate(weighed):
        found = {} if isinstance(evidence, str) else dict(evidence.p_values)
        if not is_primary[i] and not isinstance(evidence, str):
            if can_decide(evidence):
                family.append(i)
            else:
                found = dict.fromkeys(found, np.nan)
        adjusted.append(found)
    for name in {name for i in family for name in adjusted[i]}:
        p = holm([adjusted[i].get(name, np.nan) for i in family])
        for i, value in zip(family, p, strict=True):
            if name in adjusted[i]:
                adjusted[i][name] = float(value)
    return adjusted, family


def _verdict(
    contrast: dict[str, object],
    question: Question,
    primary: bool,
    evidence: Evidence | str,
    adjusted: Mapping[str, float],
    margin: float,
    tests: int,
) -> Verdict:
    if isinstance(evidence, str):
        reason = f"Not decided: {evidence}."
        return Verdict(contrast, "undetermined", reason, primary, question)
    decision = decide(evidence, adjusted, margin, tests)
    gain = decision.gain
    described = Verdict(
        contrast=contrast,
        verdict=decision.verdict,
        reason=decision.reason,
        primary=primary,
        question=question,
        learning_rate=evidence.learning_rate,
        descriptive=evidence.descriptive,
        hypothesis=decision.hypothesis,
        p=evidence.p_values.get(decision.hypothesis, float("nan")),
        p_adjusted=adjusted.get(decision.hypothesis, float("nan")),
        p_floor=evidence.p_floor,
        p_interaction=evidence.p_interaction,
        n_seeds=evidence.n_seeds,
        n_draws=evidence.n_draws,
        source_best=evidence.source_best,
        flags=evidence.flags,
        one_network=evidence.one_network,
    )
    if gain is None:
        return described
    return replace(
        described,
        effect=gain.effect,
        interval=gain.pigeonhole if evidence.descriptive and gain.pigeonhole else gain.interval,
        detectable=gain.detectable,
        chosen_epoch=gain.epoch,
        optimism=gain.optimism,
        confirmation=gain.confirmation,
        pigeonhole=gain.pigeonhole,
    )
