"""Judges of J1 to J4 where nothing is to be found, and where something was planted."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from headstart.artifacts.files import read_table
from headstart.artifacts.keys import Job
from headstart.artifacts.store import JobContext
from headstart.statistics.claim_results import Status
from headstart.statistics.control_results import FIRM, ControlResult
from headstart.statistics.partial_correlation import Array, residual_ranks
from headstart.studies.joined.associations import (
    FIXED,
    INVARIANCE,
    KNOWLEDGE,
    TRAINABLE,
    Cells,
    comparisons,
    matched,
    of,
)
from headstart.studies.joined.claims import FEWEST, associated, differences, moved_more

JUDGES = {
    "knowledge_goes_with_gain": KNOWLEDGE,
    "invariance_goes_with_gain": INVARIANCE,
    "trainability_goes_with_gain": TRAINABLE,
}
PLANTED = 0.8
"""Correlation over cells, of measure and planted gain."""
POINTS, STARTS = 24, 4
"""Networks and starts, or repairs, that are drawn where the study has too few."""
Generator = np.random.Generator
Judge = Callable[[Generator], Status]


def controls(job: Job, context: JobContext) -> Iterator[ControlResult]:
    """Yield what every judge says of controls made from the study's own networks, or from drawn ones."""
    tables = context.input("tables")
    cells, changed = (read_table(tables.file(f"{name}.parquet")) for name in ("joined", "effects"))
    chosen = min(comparisons(cells), default=None)
    if chosen is None:
        return
    cells, changed = of(cells, chosen), of(changed, chosen)
    resamples = int(job.params["resamples"])
    for judge, measure in JUDGES.items():
        yield from _of_association(judge, measure, matched(cells, measure, FIXED), resamples)
    yield from _of_intervention(differences(changed, "accuracy").to_numpy(float), resamples)


def _of_association(
    judge: str, measure: str, cells: Cells, resamples: int
) -> Iterator[ControlResult]:
    networks, epochs = cells.measure.shape
    if networks < FEWEST or epochs < 2:
        drawn = np.random.default_rng(0).normal(size=(2, POINTS, STARTS))
        cells = Cells(drawn[0], drawn[1], list(range(STARTS)), "")

    def dealt(generator: Generator) -> Status:
        order = generator.permutation(len(cells.measure))
        return associated(cells._replace(measure=cells.measure[order]), measure).status

    def planted(generator: Generator) -> Status:
        gain = planted_gain(cells.measure, generator)
        return associated(cells._replace(outcome=gain), measure).status

    name = "the measures of whole networks permuted among networks"
    yield ControlResult(judge, name, "negative", _said(dealt, resamples), FIRM)
    name = f"planted: gain and measure correlate by {PLANTED:g} within networks, given epoch"
    yield ControlResult(judge, name, "planted", _said(planted, resamples))


def planted_gain(measure: Array, generator: Generator) -> Array:
    """Return gains (networks, epochs) whose cells correlate with a measure's ranks by `PLANTED`.

    They fall along epochs, as where late starts lose.
    """
    ranks = residual_ranks(measure)
    spread = ranks.std()
    signal = ranks / spread if spread > 0 else ranks
    noise = generator.normal(size=measure.shape)
    course = -10.0 * np.arange(measure.shape[1])
    return np.asarray(PLANTED * signal + np.sqrt(1 - PLANTED**2) * noise + course)


def _of_intervention(found: Array, resamples: int) -> Iterator[ControlResult]:
    """Yield controls of J4, from differences networks × repairs."""
    if len(found) < FEWEST:
        found = np.random.default_rng(1).normal(size=(POINTS, STARTS))
    centred = found - found.mean(axis=0)
    size = 2 * float(centred.std(axis=0, ddof=1).max())
    names = [f"repair {i}" for i in range(found.shape[1])]
    worked = np.linspace(0.2, 0.4, len(found))

    def judged(shift: float, removed: Array) -> Judge:
        def judge(generator: Generator) -> Status:
            # Whole networks, so that repairs of one stay together.
            signs = generator.choice([-1.0, 1.0], size=(len(found), 1))
            test = signs * centred + shift
            return moved_more(test, test, removed, names).status

        return judge

    def useless(generator: Generator) -> Status:
        signs = generator.choice([-1.0, 1.0], size=len(found))
        return moved_more(found + size, found + size, worked * signs, names).status

    judge = "repair_moves_more"
    name = "treated and untouched swapped by lot, whole networks"
    yield ControlResult(judge, name, "negative", _said(judged(0.0, worked), resamples), FIRM)
    name = "a removal that removes no more of the preserved than the random one"
    yield ControlResult(judge, name, "negative", _said(useless, resamples), FIRM)
    name = "planted: repairs move two standard deviations more"
    yield ControlResult(judge, name, "planted", _said(judged(size, worked), resamples))
    name = "planted: the removal costs two standard deviations more"
    against = _said(judged(-size, worked), resamples)
    yield ControlResult(judge, name, "planted", against, ("contradicted",))


def _said(judge: Judge, resamples: int) -> list[Status]:
    return [judge(np.random.default_rng(1000 + repeat)) for repeat in range(resamples)]
