"""Step `tables`: tidy tables of end measures and of curves over all networks and arms, and verdicts.

Inputs that were made from other bits than those on disk are refused, by name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from headstart.artifacts.files import read_json, read_table, write_table
from headstart.artifacts.keys import Job
from headstart.artifacts.store import Artifact, JobContext
from headstart.statistics.measurements import Schema
from headstart.studies.early_stopping.convergence import convergence_rows
from headstart.studies.early_stopping.data_transferred import (
    data_transferred,
    equal_source_accuracy,
)
from headstart.studies.early_stopping.params import Statistics
from headstart.studies.early_stopping.pretraining import pretraining_table
from headstart.studies.early_stopping.protocol import published_beside
from headstart.studies.early_stopping.recommend.tables import choice_tables
from headstart.studies.early_stopping.settings import PROTOCOLS, VALUES, settings
from headstart.studies.early_stopping.trainability import trainability_rows
from headstart.studies.early_stopping.verdicts.source_networks import (
    CLASSES,
    DISTANCE,
    GIVEN,
    HELD_OUT,
)
from headstart.studies.early_stopping.verdicts.study_verdicts import study_verdicts, verdict_frame
from headstart.studies.early_stopping.verdicts.text import one_line

GRID = ["source_epoch", "shots", "draw", "learning_rate"]
SCHEMA = Schema("early_stopping", {"shots": "str", "draw": "Int64", "learning_rate": "float64"})
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
    "source_accuracy": ("source_accuracy", "validation"),
}
CURVES = {
    "train_loss": ("loss", "train"),
    "train_accuracy": ("accuracy", "train"),
    "validation_loss": ("loss", "validation"),
    "validation_accuracy": ("accuracy", "validation"),
    "test_accuracy": ("accuracy", "test"),
}


def make(job: Job, context: JobContext) -> Mapping[str, Any]:
    """Write the tables on early stopping: measurements, curves, verdicts, settings, published values.

    Measurements are end measures, speed, trainability, source accuracies and plasticity;
    `pretraining.parquet` has the gain of the best start over training from scratch,
    `data_transferred.parquet` the target images that each start is worth, and
    `equal_source_accuracy.parquet` compares source trainings where their source accuracy is equal.
    `choices.parquet` says what rules that choose a checkpoint lose out of sample, `recommendations.parquet`
    what the recommender names for every network.
    `settings.parquet` says how networks were trained, `published.parquet` holds the published values
    of the same protocol.
    """
    context.log(
        f"gathering {len(job.inputs['pretrain'])} networks and {len(job.inputs['transfer'])} bundles of runs"
    )
    curves = tidy([_curve_rows(artifact) for artifact in context.inputs["transfer"]])
    sources = tidy([_source_rows(artifact) for artifact in context.inputs["pretrain"]])
    measurements = tidy(
        [
            sources,
            *(_end_rows(artifact) for artifact in context.inputs["transfer"]),
            *(_plasticity_rows(artifact) for artifact in context.inputs["plasticity"]),
            convergence_rows(curves, set(sources.loc[sources["metric"] == GIVEN, "model"])),
            trainability_rows(curves),
        ]
    )
    statistics = Statistics.model_validate(job.params["statistics"])
    verdicts = study_verdicts(measurements, statistics)
    for verdict in verdicts:
        context.log(one_line(verdict))
        context.log(verdict.reason, detail=True)
    described = settings(job.inputs["transfer"])
    published = published_beside(
        described, measurements, pd.read_csv(PROTOCOLS), pd.read_csv(VALUES)
    )
    transferred = data_transferred(measurements)
    pretraining = pretraining_table(measurements, transferred, statistics.seed, described)
    for row in pretraining.to_dict("records"):
        names = (
            f"{row['source']} → {row['target']}, {row['model']}, {row['arm']}, {row['shots']} shots"
        )
        context.log(f"{names}: {row['reason']}", detail=True)
    choices, recommendations = choice_tables(context.inputs, statistics.primary, context.log)
    tables = {
        "measurements": measurements,
        "curves": curves,
        "verdicts": verdict_frame(verdicts, measurements, statistics.margin),
        "settings": described,
        "published": published,
        "data_transferred": transferred,
        "pretraining": pretraining,
        "equal_source_accuracy": equal_source_accuracy(measurements, described),
        "choices": choices,
        "recommendations": recommendations,
    }
    for name, table in tables.items():
        write_table(context.out / f"{name}.parquet", table)
    return {"summary": {"measurements": len(measurements), "verdicts": len(verdicts)}}


def tidy(parts: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """Return all rows as measurements of this study."""
    filled = [part for part in parts if not part.empty]
    return SCHEMA.tidy(pd.concat(filled, ignore_index=True) if filled else [])


def _source_rows(artifact: Artifact) -> pd.DataFrame:
    """Return the history of a pretrained network: its epochs are source epochs."""
    history = read_table(artifact.file("history.parquet"))
    history = history.rename(columns={"epoch": "source_epoch"})
    history = history.astype({"best": float, "diverged": float})
    metrics = {**CURVES, "best": ("best", "validation"), "diverged": ("diverged", "train")}
    rows = pd.concat([_melt(history, ["source_epoch"], metrics), _facts(artifact)])
    same = artifact.manifest["wildcards"]["source"]
    return _named(rows, artifact, target=same, arm="pretrain", mode="pretrain")


def _facts(artifact: Artifact) -> pd.DataFrame:
    """Return what is known of a pretrained network beside its history: how far it moved, what it began with."""
    params = artifact.manifest["params"]
    kept = read_json(artifact.file("checkpoints.json"))["checkpoints"]
    classes = len(read_json(artifact.file("normalization.json"))["classes"])
    # Checkpoints of a run trained elsewhere begin with random weights, unless it has an epoch 0.
    series = params.get("series") or ()
    own = series[0]["epoch"] == 0 if series else params["model"].get("weights")
    rows = [(each["epoch"], DISTANCE, each["distance"]) for each in kept]
    held_out = classes * params["task"]["validation_per_class"]
    rows += [(0, CLASSES, classes), (0, HELD_OUT, held_out)] + [(0, GIVEN, 1)] * bool(own)
    return pd.DataFrame(rows, columns=["source_epoch", "metric", "value"]).assign(split="train")


def _end_rows(artifact: Artifact) -> pd.DataFrame:
    runs = read_table(artifact.file("runs.parquet")).astype({"diverged": float})
    # The chosen epoch is one of those where test accuracy was read, though no curve may hold it.
    runs["oracle_peak"] = runs[["oracle_peak", "test_accuracy"]].max(axis=1)
    return _of_arm(_melt(runs, GRID, END_MEASURES), artifact)


def _curve_rows(artifact: Artifact) -> pd.DataFrame:
    curves = read_table(artifact.file("curves.parquet"))
    return _of_arm(_melt(curves, [*GRID, "target_epoch"], CURVES), artifact)


def _plasticity_rows(artifact: Artifact) -> pd.DataFrame:
    """Return measures of checkpoints; a NaN stays, for a mean over the other networks misleads."""
    table = read_table(artifact.file("plasticity.parquet"))
    return _named(table, artifact, arm="plasticity", mode="plasticity", split="validation")


def _melt(
    table: pd.DataFrame, keys: list[str], metrics: dict[str, tuple[str, str]]
) -> pd.DataFrame:
    """Turn one column per metric into one row per measurement; what was not read has no row."""
    columns = [name for name in metrics if name in table]
    long = table.melt(id_vars=keys, value_vars=columns, var_name="column")
    long = long.dropna(subset="value")
    for index, name in enumerate(("metric", "split")):
        long[name] = long["column"].map({column: names[index] for column, names in metrics.items()})
    return long


def _of_arm(rows: pd.DataFrame, artifact: Artifact) -> pd.DataFrame:
    names = artifact.manifest["wildcards"]
    mode = artifact.manifest["params"]["transfer"]["mode"]
    return _named(rows, artifact, target=names["target"], arm=names["arm"], mode=mode)


def _named(rows: pd.DataFrame, artifact: Artifact, **columns: str) -> pd.DataFrame:
    """Return rows with the network that they are about, and the device that computed them."""
    names = artifact.manifest["wildcards"]
    return rows.assign(
        source=names["source"],
        model=names["model"],
        seed=int(names["seed"]),
        device=artifact.manifest["device"],
        **columns,
    )
