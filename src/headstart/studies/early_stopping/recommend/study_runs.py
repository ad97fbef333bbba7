"""The fine-tuning runs of a study with what is known of their checkpoints, as one table per protocol."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from headstart.artifacts.files import read_json, read_table
from headstart.artifacts.store import Artifact
from headstart.studies.early_stopping.recommend.atlas import CELL, NETWORK, read_runs
from headstart.studies.early_stopping.recommend.rules import PLASTICITY

Artifacts = Mapping[str, Sequence[Artifact]]
PROTOCOL = ("arm", "epochs", "optimizer")
"""Runs that differ in none of these teach each other: others have other losses after an epoch, and other rates."""


def protocols(artifacts: Artifacts) -> Iterator[tuple[dict[str, str], pd.DataFrame]]:
    """Yield each arm of mode finetune that has several starts, with its runs.

    `artifacts` are those of the steps `transfer`, `pretrain` and, as far as there are any, `plasticity` and
    `scores`. Columns are those of `atlas.read_runs`, `source_best`, and what was measured of each checkpoint.
    """
    groups: dict[tuple[str, str, str], list[Artifact]] = {}
    for artifact in artifacts["transfer"]:
        options, names = artifact.manifest["params"]["transfer"], artifact.manifest["wildcards"]
        if options["mode"] == "finetune" and len(_starts(options)) > 1:
            protocol = names["arm"], str(options["epochs"]), options["optimizer"]["name"]
            groups.setdefault(protocol, []).append(artifact)
    for about, mine in groups.items():
        runs = pd.concat(
            [read_runs(each.path, each.manifest["wildcards"]) for each in mine], ignore_index=True
        )
        runs = runs.dropna(subset=["validation_accuracy", "test_accuracy"])
        runs = runs.reset_index(drop=True).astype({name: str for name in (*NETWORK, "shots")})
        yield dict(zip(PROTOCOL, about, strict=True)), with_checkpoints(runs, artifacts)


def _starts(options: Mapping[str, Any]) -> set[Any]:
    return {epoch for grid in (options, *options["also"]) for epoch in grid["source_epochs"]}


def with_checkpoints(runs: pd.DataFrame, artifacts: Artifacts) -> pd.DataFrame:
    """Add the source-best epoch, and scores and plasticity of checkpoints where they were measured."""
    best = [
        {**_names(each), "source_best": read_json(each.file("checkpoints.json"))["best"]}
        for each in artifacts["pretrain"]
    ]
    runs = runs.merge(pd.DataFrame(best).drop_duplicates(NETWORK), on=NETWORK, how="left")
    measured = (
        (_stacked(map(_plasticity, artifacts.get("plasticity", ()))), [*NETWORK, "source_epoch"]),
        (_stacked(map(_scores, artifacts.get("scores", ()))), [*CELL, "source_epoch"]),
    )
    for table, keys in measured:
        if len(table):
            runs = runs.merge(table, on=keys, how="left")
    return runs


def _plasticity(artifact: Artifact) -> pd.DataFrame:
    """Return the measures of a network's checkpoints on its own source, one column each."""
    table, names = read_table(artifact.file("plasticity.parquet")), _names(artifact)
    mine = table[(table["target"] == names["source"]) & table["metric"].isin(PLASTICITY)]
    wide = mine.pivot(index="source_epoch", columns="metric", values="value").reset_index()
    return wide.assign(**names)


def _scores(artifact: Artifact) -> pd.DataFrame:
    table = read_table(artifact.file("scores.parquet"))
    return table.astype({"shots": str}).assign(**_names(artifact))


def _names(artifact: Artifact) -> dict[str, str]:
    return {name: str(artifact.manifest["wildcards"][name]) for name in NETWORK}


def _stacked(tables: Iterable[pd.DataFrame]) -> pd.DataFrame:
    found = list(tables)
    return pd.concat(found, ignore_index=True) if found else pd.DataFrame()
