"""Step `tables`: tidy tables of end measures and of curves over all networks and arms, and verdicts.

Inputs that were made from other bits than those on disk are refused, by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from headstart.artifacts.files import read_table, write_table
from headstart.artifacts.keys import Job
from headstart.artifacts.store import Artifact, JobContext
from headstart.studies.early_stopping.convergence import convergence_rows
from headstart.studies.early_stopping.params import Statistics
from headstart.studies.early_stopping.protocol import published_beside
from headstart.studies.early_stopping.settings import PROTOCOLS, VALUES, settings
from headstart.studies.early_stopping.trainability import trainability_rows
from headstart.studies.early_stopping.verdicts.study_verdicts import judge_study, verdict_frame
from headstart.studies.early_stopping.verdicts.text import one_line

STUDY = "early_stopping"
GRID = ["source_epoch", "shots", "draw", "learning_rate"]
# Columns of the tidy tables and what they hold, in order.
TYPES = {
    **dict.fromkeys(("study", "source", "model", "target", "arm", "mode"), "str"),
    "seed": "Int64",
    "source_epoch": "Int64",
    "shots": "str",
    "draw": "Int64",
    "learning_rate": "float64",
    "target_epoch": "Int64",
    **dict.fromkeys(("split", "metric"), "str"),
    "value": "float64",
    "device": "str",
}
COLUMNS = list(TYPES)
# Column of a run -> (metric, split that it is read on).
END_MEASURES = {
    "validation_accuracy": ("accuracy_at_validation_best", "validation"),
    "test_accuracy": ("accuracy_at_validation_best", "test"),
    "final_validation_accuracy": ("final_accuracy", "validation"),
    "final_test_accuracy": ("final_accuracy", "test"),
    "oracle_peak": ("oracle_peak", "test"),
    "diverged": ("diverged", "train"),
    "best_epoch": ("best_epoch", "validation"),
    "images": ("images", "train"),
}
CURVES = {
    "train_loss": ("loss", "train"),
    "train_accuracy": ("accuracy", "train"),
    "validation_loss": ("loss", "validation"),
    "validation_accuracy": ("accuracy", "validation"),
    "test_accuracy": ("accuracy", "test"),
}


def make(job: Job, context: JobContext) -> Mapping[str, Any]:
    """Write the tables of the study that the job is named by.

    Those on early stopping are measurements, curves, verdicts, settings and published values.
    Measurements are end measures, speed, trainability, source accuracies and plasticity. `settings.parquet` says
    how networks were trained, `published.parquet` holds the published values of the same protocol.
    """
    context.log(
        f"gathering {len(job.inputs['pretrain'])} networks and {len(job.inputs['transfer'])} bundles of runs"
    )
    pretrained = [_source_rows(artifact) for artifact in context.inputs["pretrain"]]
    ended = [_end_rows(artifact) for artifact in context.inputs["transfer"]]
    curves = _tidy([_curve_rows(artifact) for artifact in context.inputs["transfer"]])
    measured = [_plasticity_rows(artifact) for artifact in context.inputs["plasticity"]]
    of_curves = [convergence_rows(curves), trainability_rows(curves)]
    measurements = _tidy([*pretrained, *ended, *of_curves, *measured])
    write_table(context.out / "measurements.parquet", measurements)
    write_table(context.out / "curves.parquet", curves)
    statistics = Statistics.model_validate(job.params["statistics"])
    verdicts = judge_study(measurements, statistics)
    for verdict in verdicts:
        context.log(one_line(verdict))
        context.log(verdict.reason, detail=True)
    judged = verdict_frame(verdicts, measurements, statistics.margin)
    write_table(context.out / "verdicts.parquet", judged)
    described = settings(job.inputs["transfer"])
    write_table(context.out / "settings.parquet", described)
    published = published_beside(
        described, measurements, pd.read_csv(PROTOCOLS), pd.read_csv(VALUES)
    )
    write_table(context.out / "published.parquet", published)
    return {"summary": {"measurements": len(measurements), "verdicts": len(verdicts)}}


def _tidy(parts: list[pd.DataFrame]) -> pd.DataFrame:
    table = pd.concat([part for part in parts if not part.empty] or [pd.DataFrame(columns=COLUMNS)])
    table = table.reindex(columns=COLUMNS).astype(TYPES)
    return table.sort_values(COLUMNS[:-2], kind="stable").reset_index(drop=True)


def _source_rows(artifact: Artifact) -> pd.DataFrame:
    """Return the history of a pretrained network: its epochs are source epochs."""
    history = read_table(artifact.file("history.parquet"))
    history = history.rename(columns={"epoch": "source_epoch"})
    history["best"] = history["best"].astype(float)
    history["diverged"] = history["diverged"].astype(float)
    measures = {**CURVES, "best": ("best", "validation"), "diverged": ("diverged", "train")}
    names = artifact.manifest["wildcards"]
    return _melt(
        history,
        ["source_epoch"],
        measures,
        artifact,
        target=names["source"],
        arm="pretrain",
        mode="pretrain",
    )


def _end_rows(artifact: Artifact) -> pd.DataFrame:
    runs = read_table(artifact.file("runs.parquet")).astype({"diverged": float})
    # The chosen epoch is one of those where test accuracy was read, though no curve may hold it.
    runs["oracle_peak"] = runs[["oracle_peak", "test_accuracy"]].max(axis=1)
    return _melt(runs, GRID, END_MEASURES, artifact, **_arm(artifact))


def _curve_rows(artifact: Artifact) -> pd.DataFrame:
    curves = read_table(artifact.file("curves.parquet"))
    return _melt(curves, [*GRID, "target_epoch"], CURVES, artifact, **_arm(artifact))


def _plasticity_rows(artifact: Artifact) -> pd.DataFrame:
    """Return measures of checkpoints; a NaN stays, for a mean over the other networks misleads."""
    table = read_table(artifact.file("plasticity.parquet")).drop(columns=["reason", "images"])
    names = artifact.manifest["wildcards"]
    return table.assign(
        study=STUDY,
        source=names["source"],
        model=names["model"],
        seed=int(names["seed"]),
        device=artifact.manifest["device"],
        arm="plasticity",
        mode="plasticity",
        split="validation",
    )


def _arm(artifact: Artifact) -> dict[str, str]:
    names = artifact.manifest["wildcards"]
    mode = artifact.manifest["params"]["transfer"]["mode"]
    return {"target": names["target"], "arm": names["arm"], "mode": mode}


def _melt(
    table: pd.DataFrame,
    keys: list[str],
    measures: dict[str, tuple[str, str]],
    artifact: Artifact,
    **columns: str,
) -> pd.DataFrame:
    """Turn one column per measure into one row per measurement; measures that were not read have no row."""
    names = artifact.manifest["wildcards"]
    long = table.melt(id_vars=keys, value_vars=list(measures), var_name="measure").dropna(
        subset="value"
    )
    long["metric"] = long["measure"].map(
        {measure: metric for measure, (metric, _) in measures.items()}
    )
    long["split"] = long["measure"].map(
        {measure: split for measure, (_, split) in measures.items()}
    )
    return long.drop(columns="measure").assign(
        study=STUDY,
        source=names["source"],
        model=names["model"],
        seed=int(names["seed"]),
        device=artifact.manifest["device"],
        **columns,
    )
