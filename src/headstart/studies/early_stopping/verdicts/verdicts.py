"""Verdicts on tables of runs: is the source-best checkpoint the best start for fine-tuning?"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from headstart.statistics.errors import UndecidableError
from headstart.statistics.hypotheses import holm
from headstart.statistics.intervals import Interval
from headstart.studies.early_stopping.verdicts.accuracies import accuracy_tensors
from headstart.studies.early_stopping.verdicts.decision import (
    Decision,
    VerdictName,
    can_decide,
    decide,
)
from headstart.studies.early_stopping.verdicts.evidence import Evidence, weigh
from headstart.studies.early_stopping.verdicts.run_tables import (
    DIVERGED,
    FINAL,
    HEADLINE,
    ORACLE,
    PRETRAIN,
    check_table,
    contrasts,
    find_contrast,
)

NAN_INTERVAL = Interval(np.nan, np.nan, np.nan, 0, "none", "nothing could be compared")


@dataclass(frozen=True)
class Verdict:
    """The verdict on one contrast, in percentage points of accuracy.

    `effect` is the mean test difference between the start that validation chose (`chosen_epoch`)
    and source-best. `interval` bounds the largest gain among all candidates from six seeds on;
    below that it is the t-interval at the chosen epoch, and for a descriptive verdict the
    pigeonhole bootstrap, as `interval.method` says. `p` belongs to `hypothesis`, `p_adjusted` is
    after Holm's correction over secondary contrasts (NaN for one that can decide nothing and is not
    counted there), `p_floor` the smallest p that a sign-flip test of `n_seeds` can give.
    `confirmation` is the effect on seeds that chose nothing, `pigeonhole` the interval that also
    resamples draws, `optimism` the part of the effect that choosing in-sample adds. `descriptive`
    marks tables in which test data made choices.
    """

    contrast: dict[str, object]
    verdict: VerdictName
    reason: str
    primary: bool = True
    descriptive: bool = False
    hypothesis: str = ""
    effect: float = float("nan")
    interval: Interval = NAN_INTERVAL
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


def verdict_on(
    table: pd.DataFrame,
    contrast: Mapping[str, object] | None = None,
    margin: float = 1.0,
    seed: int = 0,
) -> Verdict:
    """The verdict on one contrast of a tidy table, uncorrected for any other.

    Args:
        table: runs, as `docs/verdicts.md` describes them.
        contrast: values of source, model, target, mode, shots; may be left out where the table
            holds a single contrast.
        margin: of equivalence, in percentage points.
        seed: of the bootstrap, and of sign flips beyond 12 seeds.

    Raises:
        TableError: when the table cannot be read as runs, or the contrast is not one of its own.
    """
    check_table(table)
    found = contrasts(table)
    requested = find_contrast(found, contrast or {})
    return _verdicts(table, [requested], requested, margin, seed)[0]


def verdict_table(
    table: pd.DataFrame,
    primary: Mapping[str, object] | None = None,
    margin: float = 1.0,
    seed: int = 0,
) -> list[Verdict]:
    """Verdicts on all contrasts of a tidy table, in sorted order, the primary one first.

    `primary` names the one contrast that was chosen before looking: it is tested at the full
    level, all others by Holm's correction, each hypothesis over all secondary contrasts that can
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
    return _verdicts(table, ordered, chosen, margin, seed)


def _verdicts(
    table: pd.DataFrame,
    ordered: list[dict[str, object]],
    primary: dict[str, object] | None,
    margin: float,
    seed: int,
) -> list[Verdict]:
    needed = table["metric"].isin([HEADLINE, ORACLE, FINAL, DIVERGED]).to_numpy()
    table = table[needed | (table["mode"] == PRETRAIN).to_numpy()]
    weighed: list[Evidence | str] = []
    for contrast in ordered:
        try:
            weighed.append(weigh(accuracy_tensors(table, contrast), margin, seed))
        except UndecidableError as error:
            weighed.append(str(error))
    is_primary = [contrast == primary for contrast in ordered]
    adjusted, family = _adjust(weighed, is_primary)
    verdicts = []
    for i, (contrast, evidence, p) in enumerate(zip(ordered, weighed, adjusted, strict=True)):
        first = is_primary[i]
        if isinstance(evidence, str):
            verdicts.append(Verdict(contrast, "undetermined", f"Not decided: {evidence}.", first))
            continue
        decision = decide(evidence, p, margin, 1 if first else len(family) * (i in family))
        verdicts.append(_verdict(contrast, first, evidence, decision, p))
    return verdicts


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
    primary: bool,
    evidence: Evidence,
    decision: Decision,
    adjusted: Mapping[str, float],
) -> Verdict:
    gain = decision.gain
    pigeonhole = None if gain is None else gain.pigeonhole
    flags = evidence.flags
    decided = decision.verdict in ("earlier-better", "later-better", "learning-rate-dependent")
    if decided and pigeonhole is not None and pigeonhole.low <= 0:
        flags = (*flags, "draw-sensitive: resampling draws as well, the gain may be zero")
    interval = NAN_INTERVAL if gain is None else gain.interval
    if evidence.descriptive and pigeonhole is not None:
        interval = pigeonhole
    return Verdict(
        contrast=contrast,
        verdict=decision.verdict,
        reason=decision.reason,
        primary=primary,
        descriptive=evidence.descriptive,
        hypothesis=decision.hypothesis,
        effect=float("nan") if gain is None else gain.effect,
        interval=interval,
        p=evidence.p_values.get(decision.hypothesis, float("nan")),
        p_adjusted=adjusted.get(decision.hypothesis, float("nan")),
        p_floor=evidence.p_floor,
        p_interaction=evidence.p_interaction,
        n_seeds=evidence.n_seeds,
        n_draws=evidence.n_draws,
        chosen_epoch=None if gain is None else gain.epoch,
        source_best=evidence.source_best,
        optimism=float("nan") if gain is None else gain.optimism,
        confirmation=None if gain is None else gain.confirmation,
        pigeonhole=pigeonhole,
        flags=flags,
    )
