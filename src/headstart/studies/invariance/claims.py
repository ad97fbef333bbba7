"""The evaluator of the claims on invariances: on which runs, and which function speaks on which claim."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, ClassVar

import pandas as pd

from headstart.statistics.claim_results import ClaimResult
from headstart.statistics.errors import TableError
from headstart.studies.invariance import dynamics_claims, layer_claims
from headstart.studies.invariance.network_tables import Networks

GROUP = ["source", "model", "target"]
Function = Callable[[Networks], ClaimResult]
ON_SOURCES: tuple[Function, ...] = (
    layer_claims.large_source_helps_late,
    layer_claims.cka_misses_it,
)
FUNCTIONS: tuple[Function, ...] = (
    layer_claims.learning_is_not_forgetting,
    layer_claims.similar_yet_forgotten,
    layer_claims.early_layers_change,
    layer_claims.new_task_learns_more,
    layer_claims.low_level_task_forgets_earlier,
    layer_claims.reusable_early_invariances,
    *ON_SOURCES,
    layer_claims.compression,
    layer_claims.expansion,
    dynamics_claims.peak_on_the_way,
    dynamics_claims.std_follows_robustness,
    dynamics_claims.early_prefix_correlates_more,
    dynamics_claims.holds_across_settings,
)


def _evaluator(function: Function) -> Callable[[Any], ClaimResult]:
    """Return a function of the evaluator that reads the runs which a claim is about."""

    def evaluate(opened: ClaimEvaluator) -> ClaimResult:
        found = function(opened.of_target if function in ON_SOURCES else opened.networks)
        return replace(found, reason=opened.in_unit(found.reason))

    return evaluate


class ClaimEvaluator:
    """The runs from one source of one model to one target: those requested, or the first.

    First are the runs that do the most different things, then those from given weights, then by name.
    Claims on sources compare all sources of the target.
    """

    evaluators: ClassVar[Mapping[str, Callable[[Any], ClaimResult]]] = {
        function.__name__: _evaluator(function) for function in FUNCTIONS
    }

    def __init__(
        self,
        tables: Mapping[str, pd.DataFrame],
        params: Mapping[str, Any],
        requested: Mapping[str, object] | None = None,
    ) -> None:
        runs = tables["runs"]
        for name in GROUP:
            if requested and name in requested:
                runs = runs[runs[name] == requested[name]]
        if runs.empty:
            raise TableError(f"no run of the invariance study has {dict(requested or {})}")
        *_, self.source, self.model, self.target = min(_ranked(runs))
        names = ("measurements", "runs", "transients", "correlations")
        everything = Networks(*(by_run(tables[name], tables["runs"]) for name in names))
        self.of_target = everything.where(target=self.target)
        self.networks = self.of_target.where(source=self.source, model=self.model)

    def in_unit(self, text: str) -> str:
        """Return a text about source networks that names the unit which intervals are over."""
        if not self.networks.runs["one_backbone"].all():
            return text
        return re.sub(r"source network(s?)", r"fine-tuning run\1 of one backbone", text)

    def about(self) -> str:
        """Return which runs speak."""
        runs = self.networks.runs
        others = self.of_target.runs[["source", "model"]].drop_duplicates()
        beside = (
            "" if len(others) == 1 else f", I7 and I8 on all {len(others)} sources of this target"
        )
        return self.in_unit(
            f"Evaluated on: {self.source} → {self.target}, {self.model}, {runs['layers'].max()} blocks, "
            f"{runs['seed'].nunique()} source networks, {runs['images'].max()} images{beside}. "
            "Intervals are 95 % t-intervals over source networks. The "
            "published runs are of ViT-B/32 on photographs: whatever holds here supports or contradicts "
            "a claim elsewhere, and replicates nothing."
        )


def by_run(table: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """Return a table in which runs from one given backbone count one by one, by `seed`; `one_backbone` says so.

    Given weights are a single source network: further seeds of it are runs that differ in head and order,
    whether they are called `target_seeds` or seeds of the source.
    """
    given = runs[runs["given_weights"]]
    several = given.groupby(["source", "model"])["target_seed"].nunique()
    names = pd.MultiIndex.from_frame(table[["source", "model"]])
    counted = names.isin(several[several > 1].index)
    seed = table["seed"].mask(counted, 1000 * table["seed"] + table["target_seed"])
    backbone = names.isin(several.index)
    return table.assign(seed=seed, one_backbone=backbone)


def _ranked(runs: pd.DataFrame) -> Iterator[tuple[int, bool, str, str, str]]:
    for _, rows in runs.groupby(GROUP):
        kinds = len(rows[["mode", "random_start"]].drop_duplicates())
        first = rows.iloc[0]
        yield -kinds, not first["given_weights"], first["source"], first["model"], first["target"]
