"""Negative and positive controls of the judges: tables with and without what a claim says, and how often it is found.

Every control is a function of what the study measured. Networks are drawn anew, as many as the study
has, with its scatter between networks; a planted effect is ten times that scatter, and .2 at least.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any

import numpy as np
import pandas as pd

from headstart.artifacts.keys import Job
from headstart.artifacts.store import JobContext
from headstart.statistics.claim_results import Status
from headstart.statistics.control_results import FIRM, ControlResult
from headstart.statistics.errors import UndecidableError
from headstart.statistics.measurements import MEASURED
from headstart.steps.claims import StudyTables
from headstart.studies.invariance.claims import FUNCTIONS, ClaimEvaluator
from headstart.studies.invariance.columns import EMBEDDING, null
from headstart.studies.invariance.layer_dynamics import transients
from headstart.studies.invariance.network_tables import (
    CLASSIFY,
    RECONSTRUCT,
    RUN,
    SCRATCH,
    Array,
    Networks,
)

EPOCHS = 60
EARLIER = ("excess_over_random", f"excess_over_{EMBEDDING}", "excess_compression")


@dataclass(frozen=True)
class Planted(Networks):
    """Networks with values by what runs do and metric, in place of tables."""

    grids: dict[tuple[str, str, str], Array] = field(default_factory=dict)
    followed: dict[tuple[str, str], Array] = field(default_factory=dict)
    given: dict[tuple[str, str, str], Array] = field(default_factory=dict)
    """Like `grids`, of runs from given weights."""

    def grid(self, name: str, metric: str, condition: str = MEASURED) -> Array | None:
        """Return what was planted."""
        return self.grids.get((name, metric, condition))

    def curves(self, name: str, metric: str) -> tuple[tuple[int, ...], Array] | None:
        """Return what was planted over epochs."""
        found = self.followed.get((name, metric))
        return None if found is None else (tuple(range(1, found.shape[1] + 1)), found)

    def from_weights(self, given: bool) -> Planted:
        """Return the networks from given weights, or those from a source trained here."""
        return replace(self, grids=self.given) if given else self


class Laboratory:
    """What a study measured, as far as controls need it, and the scatter of new networks about it."""

    def __init__(self, networks: Networks, seed: int = 0) -> None:
        own = networks.grid(CLASSIFY, "stir_pt_given_pt")
        forgetting = networks.diagonal(CLASSIFY, "forgetting")
        if own is None or forgetting is None or not np.isfinite(forgetting).all():
            raise UndecidableError("no fine-tuned run whose forgetting is known at every layer")
        self.runs = networks.runs
        self.own, self.forgetting = own.mean(axis=0), forgetting.mean(axis=0)
        self.networks, self.layers = max(3, len(own)), own.shape[1]
        scatter = forgetting.std(axis=0, ddof=1).mean() if len(own) > 1 else 0.01
        self.scatter = float(np.clip(scatter, 0.002, 0.03))
        self.size = max(0.2, 10 * self.scatter)
        behind = networks.diagonal(CLASSIFY, "forgetting", null(EMBEDDING))
        self.behind = self.forgetting * 0 if behind is None else behind.mean(axis=0)
        swapped = networks.grid(CLASSIFY, "excess_compression", null(EMBEDDING))
        self.swapped = np.zeros_like(self.own) if swapped is None else swapped.mean(axis=0)
        self.random = np.random.default_rng(seed)

    def about(self, mean: Array | float, *shape: int) -> Array:
        """Return new networks that scatter about a mean."""
        shape = shape or np.shape(mean)
        return mean + self.random.normal(0, self.scatter, (self.networks, *shape))

    def planted(self, **profiles: Mapping[str, Array | float]) -> Planted:
        """Return networks with these profiles by metric, of runs that classify, reconstruct, or are from scratch.

        The pretrained network's own grid is one that tells depths apart, and its embedding forgets nothing.
        """
        grids: dict[tuple[str, str, str], Array] = {}
        for key, metrics in profiles.items():
            name = {"classify": CLASSIFY, "reconstruct": RECONSTRUCT, "scratch": SCRATCH}[key]
            grids[name, "stir_pt_given_pt", MEASURED] = self.about(self.own)
            grids[name, "forgetting", null(EMBEDDING)] = self.about(self.diagonal(0.0))
            for metric, profile in metrics.items():
                grids[name, metric, MEASURED] = self.about(self.diagonal(profile))
        return self.holding(grids)

    def diagonal(self, profile: Array | float) -> Array:
        """Return a grid whose diagonal is a profile over layers."""
        return np.diag(np.broadcast_to(profile, self.layers))

    def holding(self, grids: dict[tuple[str, str, str], Array], **more: Any) -> Planted:
        """Return networks with these grids."""
        columns = [*RUN, "family", "r", "part", "epochs"]
        return Planted(pd.DataFrame(), self.runs, more.pop("transients", pd.DataFrame()),
                       pd.DataFrame(columns=columns), grids, **more)  # fmt: skip

    @property
    def rise(self) -> Array:
        """Return a profile that rises from 0 to `size` over the layers."""
        return self.size * np.linspace(0, 1, self.layers)

    def cells(
        self, excess: Array | float, beyond_embedding: Array | float | None = None
    ) -> Planted:
        """Return networks with this excess compression, as much of it beyond each control.

        Of it, as much as said lies beyond the embedding alone.
        """
        grids = {(CLASSIFY, "stir_pt_given_pt", MEASURED): self.about(self.own)}
        for name in EARLIER:
            value = excess
            if name == f"excess_over_{EMBEDDING}" and beyond_embedding is not None:
                value = beyond_embedding
            grids[CLASSIFY, name, MEASURED] = self.about(value, *self.own.shape)
        return self.holding(grids)

    def over_epochs(self, curve: Array) -> Planted:
        """Return networks whose forgetting follows a curve at all layers."""
        shape = (self.networks, len(curve), self.layers)
        values = curve[:, None] + self.random.normal(0, self.scatter, shape)
        return self.holding({}, followed={(CLASSIFY, "forgetting"): values})

    def series(self, related: slice) -> Planted:
        """Return networks that share a series of forgetting and one of accuracy, alike in some epochs only.

        Both begin with the same transient.
        """
        tuned = self.runs[self.runs["mode"] == "finetune"].iloc[:1].assign(random_start=False)
        runs = pd.concat([tuned.assign(arm=arm) for arm in ("one", "other")])
        start, parts = 0.6 ** np.arange(EPOCHS), []
        x, y = self.random.normal(0, 0.1, (2, EPOCHS))
        y[related] = x[related]
        for seed in range(self.networks):
            noise = self.random.normal(0, 0.01, (2, EPOCHS))
            std, accuracy = np.array([x, y]) - start + noise
            run: dict[str, Any] = {name: tuned[name].iloc[0] for name in RUN} | {"seed": seed}
            values = {"target_epoch": np.arange(1, EPOCHS + 1), "std_forgetting": std,
                      "std_forgetting_paper": std, "robust_accuracy": accuracy}  # fmt: skip
            parts += [pd.DataFrame(values).assign(**{**run, "arm": arm}) for arm in runs["arm"]]
        followed = transients(pd.concat(parts, ignore_index=True))
        return replace(self.holding({}, transients=followed), runs=runs)


Build = Callable[[Laboratory], Networks]


@dataclass(frozen=True)
class Control:
    """Tables for one judge; `expected` is what it should say of a positive control, None of a negative one."""

    judge: str
    name: str
    build: Build
    expected: Status | None = None


def _unrelated(lab: Laboratory) -> Networks:
    """Return networks that share profiles which have nothing to do with each other."""
    drawn = lab.random.uniform(0, lab.size, (4, lab.layers))
    one = dict(zip(("learning", "forgetting"), drawn[:2], strict=True))
    return lab.planted(classify=one, reconstruct=dict(zip(one, drawn[2:], strict=True)))


def _flat(lab: Laboratory) -> Networks:
    """Return networks of which nothing differs: between layers, between what runs do, between sources."""
    flat = dict.fromkeys(("learning", "forgetting", "cka_divergence"), 0.2)
    here = lab.planted(classify=flat, reconstruct=flat, scratch=flat)
    return _from_both(here, lab.planted(classify=flat))


def _from_both(here: Planted, weights: Planted) -> Networks:
    """Return networks of two sources, one trained here, one given."""
    runs = pd.concat([here.runs.assign(given_weights=given) for given in (False, True)])
    return replace(here, runs=runs, given=weights.grids)


def _embedding_swapped(lab: Laboratory) -> Networks:
    """Return runs of two sources in which nothing but the embedding was replaced.

    They forget what the control forgets.
    """
    behind = {"forgetting": lab.behind, "learning": lab.behind, "cka_divergence": lab.behind}
    both = [lab.planted(classify=behind, reconstruct=behind, scratch=behind) for _ in range(2)]
    for found in both:
        for name in (CLASSIFY, RECONSTRUCT, SCRATCH):
            found.grids[name, "forgetting", null(EMBEDDING)] = lab.about(lab.diagonal(lab.behind))
    return _from_both(*both)


def _one_profile(lab: Laboratory) -> Networks:
    rise = 3 * lab.rise
    unlike = {"learning": rise[::-1], "forgetting": rise}
    return lab.planted(classify={"learning": rise, "forgetting": rise}, reconstruct=unlike)


def _more(lab: Laboratory) -> Networks:
    """Return networks of which every difference between what runs do holds, by the planted size."""
    low, high = lab.rise, 2 * lab.size + 2 * lab.rise
    less = {"learning": low, "forgetting": low, "cka_divergence": low}
    more = {"learning": high, "forgetting": high}
    here = lab.planted(classify={**more, "cka_divergence": low}, reconstruct=more, scratch=more)
    given = lab.planted(classify={**less, "cka_divergence": high})
    return _from_both(here, given)


def _less_here(lab: Laboratory) -> Networks:
    """Return networks that forget less when they classify than when they do anything else."""
    low, high = lab.rise, 2 * lab.size + 2 * lab.rise
    less = {"learning": low, "forgetting": low, "cka_divergence": low - lab.size}
    more = {"learning": high, "forgetting": high}
    return lab.planted(classify=less, reconstruct=more, scratch=more)


def _falling(lab: Laboratory) -> Networks:
    return lab.planted(classify=dict.fromkeys(("learning", "forgetting"), 2 * lab.rise[::-1]))


def _rising(lab: Laboratory) -> Networks:
    return lab.planted(classify=dict.fromkeys(("learning", "forgetting"), 2 * lab.rise))


def _embedding_cells(lab: Laboratory) -> Networks:
    """Return runs in which nothing but the embedding was replaced: they have what that control has."""
    return lab.cells(np.minimum(lab.swapped, 0), beyond_embedding=0.0)


def _deleted(lab: Laboratory) -> Networks:
    """Return runs that are pt without its middle block: from there on, a block does what the next one did."""
    first, shifted = lab.layers // 2, lab.own.copy()
    shifted[:, first - 1 : -1] = lab.own[:, first:]
    return lab.cells(shifted - lab.own)


def _one_cell(lab: Laboratory) -> Networks:
    values = np.full_like(lab.own, -0.04)
    values[-1, -2] = lab.size / 2
    return lab.cells(values)


def _bump(lab: Laboratory) -> Networks:
    return lab.over_epochs(lab.size * np.exp(-np.square(np.arange(12) - 5) / 4))


def _growing(lab: Laboratory) -> Networks:
    return lab.over_epochs(lab.size * np.linspace(0, 1, 12) ** 6)


def _unrelated_series(lab: Laboratory) -> Networks:
    return lab.series(slice(0))


def _related_series(lab: Laboratory) -> Networks:
    return lab.series(slice(None))


def _related_at_first(lab: Laboratory) -> Networks:
    return lab.series(slice(12))


SERIES = ("std_follows_robustness", "early_prefix_correlates_more", "holds_across_settings")
DEPTH = ("learning_is_not_forgetting", "early_layers_change", "low_level_task_forgets_earlier",
         "reusable_early_invariances", "large_source_helps_late")  # fmt: skip
BETWEEN = ("similar_yet_forgotten", "new_task_learns_more", "low_level_task_forgets_earlier",
           "reusable_early_invariances")  # fmt: skip
CONTROLS = (
    *(Control(judge, "only the embedding swapped", _embedding_swapped) for judge in DEPTH),
    Control("learning_is_not_forgetting", "unrelated profiles, shared by networks", _unrelated),
    *(Control(judge, "flat profiles", _flat) for judge in (*DEPTH[1:], *BETWEEN[:2], "cka_misses_it")),
    Control("compression", "only the embedding swapped", _embedding_cells),
    Control("compression", "unchanged networks", lambda lab: lab.cells(0.0)),
    Control("peak_on_the_way", "flat forgetting", lambda lab: lab.over_epochs(np.zeros(12))),
    *(Control(j, "unrelated series, shared by networks", _unrelated_series) for j in SERIES),
    Control("learning_is_not_forgetting", "one profile, and opposite ones", _one_profile, "supported"),
    Control("early_layers_change", "profiles that fall by twice the size", _falling, "supported"),
    Control("early_layers_change", "profiles that rise by twice the size", _rising, "contradicted"),
    *(Control(judge, "planted difference", _less_here, "supported") for judge in BETWEEN),
    *(Control(judge, "planted difference of sources", _more, "supported")
      for judge in ("large_source_helps_late", "cka_misses_it")),
    Control("compression", "a block deleted", _deleted, "supported"),
    Control("compression", "half the size in one cell, -.04 in all others", _one_cell, "supported"),
    Control("compression", "loss in every cell", lambda lab: lab.cells(-lab.size), "contradicted"),
    Control("peak_on_the_way", "a peak at half the epochs", _bump, "supported"),
    Control("peak_on_the_way", "forgetting that only grows", _growing, "contradicted"),
    *(Control(j, f"related series of {EPOCHS} epochs", _related_series, "supported")
      for j in (SERIES[0], SERIES[2])),
    Control(SERIES[1], f"related in the first 12 of {EPOCHS} epochs", _related_at_first, "supported"),
)  # fmt: skip


def controls(job: Job, context: JobContext) -> list[ControlResult]:
    """Return what every judge says of its controls; none where no run's forgetting is known at every layer."""
    networks = ClaimEvaluator(StudyTables(context.input("tables")), {}).networks
    try:
        return [*results(networks, CONTROLS, job.params["resamples"])]
    except UndecidableError as error:
        context.log(f"no controls: {error}")
        return []


def results(
    networks: Networks, chosen: Iterable[Control], resamples: int
) -> Iterator[ControlResult]:
    """Yield what the judge of each control says, resample by resample; a negative one allows no firm verdict.

    Raises:
        UndecidableError: no fine-tuned run whose forgetting is known at every layer.
    """
    judges = {judge.__name__: judge for judge in FUNCTIONS}
    for build, group in groupby(chosen, lambda control: control.build):
        mine, lab = [*group], Laboratory(networks)
        drawn = [build(lab) for _ in range(resamples)]
        for control in mine:
            found = [judges[control.judge](tables).status for tables in drawn]
            if control.expected:
                yield ControlResult(
                    control.judge, control.name, "planted", found, (control.expected,)
                )
            else:
                yield ControlResult(control.judge, control.name, "negative", found, FIRM)
