"""The tables of the invariance study, and which function of the statistics judges which claim."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pandas as pd

from headstart.params import Statistics
from headstart.statistics import invariance_findings as findings
from headstart.statistics.findings import Finding
from headstart.statistics.tables import TableError


class Judge:
    """The runs of one model to one target: those asked for, or the first."""

    def __init__(
        self,
        tables: Mapping[str, pd.DataFrame],
        statistics: Statistics,
        asked: Mapping[str, object] | None = None,
    ) -> None:
        runs = tables["runs"]
        pairs = runs[["model", "target"]].drop_duplicates().sort_values(["model", "target"])
        for name in ("model", "target"):
            if asked and name in asked:
                pairs = pairs[pairs[name] == asked[name]]
        if pairs.empty:
            raise TableError(f"no run of the invariance study has {dict(asked or {})}")
        self.model, self.target = pairs.iloc[0]
        # Claims on sources compare models too, one with given weights and one without.
        self.networks = findings.Networks(
            *(
                tables[name][tables[name]["target"] == self.target]
                for name in ("measurements", "runs", "transients")
            )
        )

    def about(self) -> str:
        """Return which runs speak."""
        runs = self.networks.runs
        return (
            f"Judged on: {', '.join(sorted(runs['source'].unique()))} → {self.target}, "
            f"{', '.join(sorted(runs['model'].unique()))}, {runs['layers'].max()} blocks, "
            f"{runs['seed'].nunique()} source networks, {runs['images'].max()} images. The published "
            "runs are of ViT-B/32 on photographs: whatever holds here supports or contradicts a claim "
            "elsewhere, and replicates nothing."
        )


def _judge(function: Callable[[findings.Networks], Finding]) -> Callable[[Judge], Finding]:
    return lambda judge: function(judge.networks)


JUDGES: dict[str, Callable[[Judge], Finding]] = {
    function.__name__: _judge(function)
    for function in (
        findings.learning_is_not_forgetting,
        findings.similar_yet_forgotten,
        findings.early_layers_change,
        findings.new_task_learns_more,
        findings.low_level_task_forgets_earlier,
        findings.reusable_early_invariances,
        findings.large_source_helps_late,
        findings.cka_misses_it,
        findings.compression,
        findings.expansion,
        findings.peak_on_the_way,
        findings.std_follows_robustness,
        findings.early_prefix_correlates_more,
        findings.holds_across_settings,
    )
}
