"""Controls of the judges of early starts: tables on which they must say no, and planted effects for a yes.

Every control is made from what the study measured and goes the whole way, from a table of runs through
verdicts to claims. Negative: within each network and contrast accuracies are permuted over the
pretrained starts, the whole starts ("shuffled epochs") or every run by itself ("exchangeable
checkpoints"); for "pre-training helps" over scratch too. Levelling starts to scratch at every rate would
be no null there: a start whose accuracy varies more gains more by the choice of its rate. Planted: all
starts are levelled to source-best (or scratch), what is left of each network is kept or turned in sign,
and those starts gain points of which the claim speaks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from headstart.artifacts.keys import Job
from headstart.artifacts.store import JobContext
from headstart.statistics.claim_results import Status
from headstart.statistics.control_results import ControlResult, Kind
from headstart.statistics.errors import TableError, UndecidableError
from headstart.steps.claims import StudyTables
from headstart.studies.early_stopping.claims import EVALUATORS, ClaimEvaluator, Contrast
from headstart.studies.early_stopping.verdicts.comparable import comparable
from headstart.studies.early_stopping.verdicts.run_tables import (
    BEST,
    CONTRAST_KEY,
    DIVERGED,
    FINAL,
    HEADLINE,
    IMAGES,
    PRETRAIN,
    REQUIRED_COLUMNS,
    SOURCE_ACCURACY,
    SOURCE_BEST,
    rows_of,
)
from headstart.studies.early_stopping.verdicts.source_best import source_best_epochs

SHUFFLED = "shuffled epochs"
NETWORK = ["source", "model", "seed"]
RUN = [*CONTRAST_KEY, "seed", "draw", "learning_rate", "split"]
MARKS = ["best", "scratch", "early", "late", "fixed", "last"]
Rows = pd.DataFrame
Change = Callable[[Rows, np.random.Generator], Rows]


@dataclass(frozen=True)
class Effect:
    """What is planted for some judges: points that certain pretrained starts gain over source-best."""

    name: str
    judges: tuple[str, ...]
    gaining: Callable[[Rows], pd.Series[bool]]
    points: tuple[float, ...] = (5.0,)
    over: str = "best"
    """The mark of the runs that all pretrained starts are levelled to."""


PRETRAINING = Effect(
    "an early start over scratch", ("pretraining_helps",), lambda r: r["early"], over="scratch"
)
EARLIER = Effect(
    "an earlier start", ("earlier_start", "earlier_start_tuned"), lambda r: r["early"], (2.0, 5.0)
)
RELEARNING = Effect("an earlier start", ("relearning", "relearning_tuned"), lambda r: r["early"])
FALL = Effect("all starts before the last", ("late_fall", "late_fall_tuned"), lambda r: ~r["late"])
RATE = Effect(
    "an earlier start at the fixed rate alone",
    ("learning_rate",),
    lambda r: r["early"] & r["fixed"],
)
AMOUNT = Effect(
    "an earlier start after one amount of source training alone",
    ("source_amount",),
    lambda r: r["early"] & r["last"],
)
SHOTS = Effect(
    "an earlier start with most images alone", ("target_size",), lambda r: r["early"] & r["last"]
)


@dataclass(frozen=True)
class Part:
    """Runs that some judges read together, and the effects that they look for in them.

    `table` has columns of marks: a run from its network's source-best epoch, from the earlier epoch
    that effects are planted at, from the last epoch; at the fixed rate; of the last contrast.
    """

    table: Rows
    contrast: Contrast
    effects: tuple[Effect, ...]

    @property
    def judges(self) -> tuple[str, ...]:
        """All judges of the part."""
        return tuple(judge for effect in self.effects for judge in effect.judges)

    @property
    def negative(self) -> Mapping[str, Change]:
        """Changes that leave nothing to find: of permuted starts, all may still be better than scratch."""
        if PRETRAINING in self.effects:
            return {"scratch and pretrained starts change places": _permuted(scratch=True)}
        return NEGATIVE if EARLIER in self.effects else {SHUFFLED: NEGATIVE[SHUFFLED]}


def controls(job: Job, context: JobContext) -> list[ControlResult]:
    """Return what every judge says of its controls; of judges whose runs allow no comparison, nothing."""
    tables = StudyTables(context.input("tables"))
    return [*results(tables, job.params, job.params["resamples"])]


def results(
    tables: Mapping[str, Rows], params: Mapping[str, Any], resamples: int
) -> Iterator[ControlResult]:
    """Yield what the judges say of the controls of every part, resample by resample."""
    try:
        opened = ClaimEvaluator(tables, params, verdicts=[])
    except TableError:
        return
    generator = np.random.default_rng(opened.statistics.seed)
    more = {name: tables[name] for name in ("settings",) if name in tables}

    def judged(
        part: Part, judges: Sequence[str], control: str, kind: Kind, change: Change
    ) -> Iterator[ControlResult]:
        found: dict[str, list[Status]] = {judge: [] for judge in judges}
        for _ in range(resamples):
            table = change(part.table, generator).drop(columns=MARKS)
            for judge, status in _statuses({**more, "measurements": table}, part, judges, params):
                found[judge].append(status)
        for judge, statuses in found.items():
            yield ControlResult(judge, control, kind, statuses)

    for part in parts(opened):
        for name, change in part.negative.items():
            yield from judged(part, part.judges, name, "negative", change)
        for effect in part.effects:
            for points in effect.points:
                name = f"{points:g} points for {effect.name}"
                change = _planting(points, effect)
                yield from judged(part, effect.judges, name, "planted", change)


def _statuses(
    tables: Mapping[str, Rows], part: Part, judges: Sequence[str], params: Mapping[str, Any]
) -> Iterator[tuple[str, Status]]:
    """Yield what judges say of one table; only those of verdicts wait for them."""
    reading = {*EARLIER.judges, *RELEARNING.judges} & set(judges)
    opened = ClaimEvaluator(tables, params, part.contrast, None if reading else [])
    for judge in judges:
        try:
            yield judge, EVALUATORS[judge](opened).status
        except UndecidableError:
            yield judge, "undetermined"


def parts(opened: ClaimEvaluator) -> Iterator[Part]:
    """Yield the runs of the contrast that claims speak of, of its relearning, and of what it is compared with."""
    mine, again = opened.contrast, opened.relearnt()[:1]
    from_scratch = bool((rows_of(opened.table, mine)["source_epoch"] == 0).any())
    compared = [*opened.by_amount().values()][::-1], [*opened.by_shots().values()]
    wanted: list[tuple[Contrast, list[Contrast], tuple[Effect, ...]]] = [
        (mine, [mine], (EARLIER, FALL, RATE)),
        *[(mine, [mine], (PRETRAINING,))] * from_scratch,
        *((contrast, [contrast], (RELEARNING,)) for contrast in again),
        *((mine, c, (e,)) for c, e in zip(compared, (AMOUNT, SHOTS), strict=True) if len(c) > 1),
    ]
    for contrast, contrasts, effects in wanted:
        try:
            yield Part(_marked(opened, contrasts), contrast, effects)
        except UndecidableError:
            continue


def _marked(opened: ClaimEvaluator, compared: Sequence[Contrast]) -> Rows:
    """Return the rows of contrasts and of their source networks that decide, with marks.

    Raises:
        UndecidableError: some runs allow no comparison, or have no earlier start.
    """
    table = opened.table
    metrics = [HEADLINE, FINAL, DIVERGED, IMAGES]
    if not table.loc[table["metric"] == DIVERGED, "value"].any():
        metrics = [HEADLINE, IMAGES]  # no run is scored by its last epoch
    kept = table.loc[table["metric"].isin(metrics), REQUIRED_COLUMNS]
    kept = kept[(kept["metric"] != IMAGES) | ~kept.duplicated([*CONTRAST_KEY, "metric"])]
    found = []
    for contrast in compared:
        runs = comparable(table, contrast, opened.statistics.fixed_rate)
        rows = rows_of(kept, contrast)
        fixed = rows["learning_rate"] == runs.learning_rates[runs.fixed_index]
        late = rows["source_epoch"] == rows["source_epoch"].max()
        best, last = _from_best(table, rows), contrast == compared[-1]
        scratch = rows["source_epoch"] == 0
        found.append(rows.assign(best=best, scratch=scratch, late=late, fixed=fixed, last=last))
    earlier = set.intersection(
        *({*rows.loc[_pretrained(rows) & ~rows["best"], "source_epoch"]} for rows in found)
    )
    if not earlier:
        raise UndecidableError("no earlier start that all contrasts share")
    early = sorted(earlier)[len(earlier) // 2 - (len(earlier) > 1)]
    runs_of = pd.concat(found, ignore_index=True)
    runs_of = runs_of.assign(early=(runs_of["source_epoch"] == early) & ~runs_of["best"])
    both = pd.concat([runs_of, _sources(table, runs_of)], ignore_index=True)
    return both.assign(**{mark: both[mark].eq(True) for mark in MARKS})


def _sources(table: Rows, runs: Rows) -> Rows:
    """Return of the histories of source networks, which were compared before, what verdicts and claims need."""
    started = runs[[*NETWORK, "source_epoch"]].drop_duplicates()
    rows = table.loc[table["mode"] == PRETRAIN, REQUIRED_COLUMNS].merge(started)
    if not (rows["metric"] == BEST).any():
        return rows
    last = rows["source_epoch"] == rows["source_epoch"].max()
    fitted = (rows["metric"] == SOURCE_ACCURACY) & (rows["split"] == "train") & last
    return rows[rows["metric"].isin([BEST, DIVERGED, SOURCE_BEST]) | fitted]


def _from_best(table: Rows, rows: Rows) -> pd.Series[bool]:
    """Return which rows of a contrast are runs from their network's source-best epoch."""
    source, model = rows[["source", "model"]].iloc[0]
    started: dict[object, Any] = {
        seed: mine.unique().astype(int) for seed, mine in rows.groupby("seed")["source_epoch"]
    }
    best = source_best_epochs(table, source, model, started)
    return rows["source_epoch"] == rows["seed"].map(dict(zip(started, best.epochs, strict=True)))


def _pretrained(table: Rows) -> pd.Series[bool]:
    """Return which rows are runs from a pretrained start."""
    return (table["mode"] != PRETRAIN) & (table["source_epoch"] > 0)


def _permuted(*more: str, scratch: bool = False) -> Change:
    """Return the change that permutes starts of a network and contrast, or of each of its runs.

    Pretrained ones alone, or `scratch` too.
    """
    cell = [*CONTRAST_KEY, "seed", *more]

    def change(table: Rows, generator: np.random.Generator) -> Rows:
        names = [*cell, "source_epoch"]
        runs = table["mode"] != PRETRAIN if scratch else _pretrained(table)
        starts = table.loc[runs, names].drop_duplicates()
        order = starts.assign(key=generator.random(len(starts))).sort_values([*cell, "key"])
        moved = starts.sort_values(names).assign(moved=order["source_epoch"].to_numpy())
        new = table.loc[runs, names].merge(moved, on=names, how="left")["moved"]
        changed = table.copy()
        changed.loc[runs, "source_epoch"] = new.to_numpy()
        return changed

    return change


NEGATIVE: Mapping[str, Change] = {
    "exchangeable checkpoints": _permuted("draw", "learning_rate"),
    SHUFFLED: _permuted(),
}


def _planting(points: float, effect: Effect) -> Change:
    """Return the change that levels all starts and plants a gain at some of them."""

    def change(table: Rows, generator: np.random.Generator) -> Rows:
        scored = table[(table["mode"] != PRETRAIN) & (table["metric"] == HEADLINE)]
        runs = scored[_pretrained(scored)]
        runs = runs.assign(value=_levelled(runs, scored, effect.over, generator))
        value = runs["value"] + points / 100 * effect.gaining(runs)
        changed = table[~table["metric"].isin([DIVERGED, FINAL])].copy()
        changed.loc[value.index, "value"] = value.clip(0, 1)
        return changed

    return change


def _levelled(
    runs: Rows, scored: Rows, over: str, generator: np.random.Generator
) -> pd.Series[float]:
    """Return accuracies of which no start's mean differs from the runs of a mark, signs by network."""
    reference = scored[scored[over]].set_index(RUN)["value"]
    level = runs["value"].astype(float)
    level[:] = reference.reindex(pd.MultiIndex.from_frame(runs[RUN])).to_numpy(float)
    gap = runs["value"] - level
    cells = [*CONTRAST_KEY, "source_epoch", "learning_rate", "split"]
    rest = gap - gap.groupby([runs[name] for name in cells]).transform("mean")
    numbers = runs.groupby(NETWORK).ngroup()
    signs = generator.choice((-1.0, 1.0), numbers.max() + 1)[numbers]
    return level + (rest * signs).where(~runs[over], 0.0)
