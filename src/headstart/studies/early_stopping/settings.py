"""How networks were trained, in words: one row per source, model, target and arm.

Rows are made from the jobs alone. They say which runs differ in one thing only, and which have the
protocol of a published experiment.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

import pandas as pd

from headstart.artifacts.files import shared
from headstart.artifacts.keys import Job, sha256_of

PUBLISHED = shared("published")
VALUES = PUBLISHED / "early_stopping.csv"
PROTOCOLS = PUBLISHED / "early_stopping_protocols.csv"

# The grid of runs, what has a column of its own, and what changes speed or bookkeeping only.
GRID = {
    *("sources", "seeds", "targets"),
    *("source_epochs", "shots", "draws", "nested_draws", "learning_rates", "also"),
}
OWN_COLUMN = {"mode", "repeats"}
NO_EFFECT = {
    *("channels_last", "compile", "checkpoints", "selection", "test_at_checkpoints"),
    *("source_accuracy", "keep"),
}
# Where a dataset lies; which of its classes are used has a column of its own.
PLACE = {"path", "sha256", "folder", "groups"}
COLUMNS = [
    *("source", "model", "target", "arm", "mode", "network"),
    *("source_dataset", "source_classes", "source_images", "source_repeats", "source_training"),
    *("target_dataset", "target_classes", "target_training"),
]
"""Names, which are free, then what makes the protocol of a run."""


def settings(transfers: Iterable[Job]) -> pd.DataFrame:
    """Return the settings of transfer jobs, one row per source, model, target and arm, in words.

    Fields at their default are left out of the words, as they are of keys.
    """
    rows = (_row(job) for job in transfers)
    return pd.DataFrame(rows, columns=COLUMNS).drop_duplicates(ignore_index=True)


def scratch_model(settings: pd.DataFrame, names: Mapping[str, object]) -> str | None:
    """Return the model that is one with given weights but for these, so that its epoch 0 is from scratch.

    `names` say source, model, target and arm of the one with weights.
    """
    of = settings[(settings[COLUMNS[:4]] == [names[name] for name in COLUMNS[:4]]).all(axis=1)]
    if of.empty:
        return None
    parts = str(of["network"].iloc[0]).split(", ")
    plain = ", ".join(part for part in parts if not part.startswith("weights."))
    same = ["source", "target", "arm", "target_training"]
    twins = settings[(settings[same] == of[same].iloc[0]).all(axis=1)]
    found = twins.loc[twins["network"] == plain, "model"]
    return str(found.iloc[0]) if len(found) else None


def words(values: Mapping[str, Any], without: Collection[str] = ()) -> str:
    """Return params as words: `epochs 200, schedule.name step, schedule.drops 60 120 160`."""
    kept = {name: value for name, value in values.items() if name not in without}
    return ", ".join(_flat(kept, ""))


def _row(job: Job) -> dict[str, Any]:
    names = {name: job.wildcards[name] for name in COLUMNS[:4]}
    (pretrain,), (data,) = job.inputs["pretrain"], job.inputs["data"]
    (source_data,) = pretrain.inputs["data"]
    task, training = pretrain.keyed["task"], pretrain.keyed["pretrain"]
    images = task.get("train_per_class")
    without = GRID | OWN_COLUMN | NO_EFFECT
    return {
        **names,
        "mode": job.keyed["transfer"]["mode"],
        "network": words(job.keyed["model"]),
        "source_dataset": words(source_data.keyed, PLACE),
        "source_classes": _classes(task, source_data.keyed),
        "source_images": f"{images} per class" if images else "all",
        "source_repeats": int(training.get("repeats", 1)),
        "source_training": words(training, without),
        "target_dataset": words(data.keyed, PLACE),
        "target_classes": _classes(job.keyed["task"], data.keyed),
        "target_training": words(job.keyed["transfer"], without),
    }


def _classes(task: Mapping[str, Any], dataset: Mapping[str, Any]) -> str:
    """Return a dataset's own name of classes, or for a list their number and a digest of the names."""
    chosen = task.get("classes", "all")
    groups = dataset.get("groups", {})
    if isinstance(chosen, str) and chosen not in groups:
        return chosen
    listed = [chosen] if isinstance(chosen, str) else chosen
    names = sorted({name for one in listed for name in groups.get(one, [one])})
    return f"{len(names)} classes {sha256_of(names)[:8]}"


def _flat(values: Mapping[str, Any], path: str) -> Iterator[str]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{path}{name}.")
        else:
            yield f"{path}{name} {_spell(value)}"


def _spell(value: Any) -> str:
    if isinstance(value, list | tuple):
        return " ".join(map(_spell, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)
