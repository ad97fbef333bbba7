"""Losses and accuracies of all runs of a comparison, by target epoch."""

from __future__ import annotations

from typing import Any

from headstart.studies.knowledge.networks import PATHS, SCRATCH, TRAINED, Networks, Place, Role
from headstart.studies.knowledge.rows import Rows


def add_histories(networks: Networks, starts: list[str], rows: Rows) -> None:
    """Add losses and accuracies of all runs by epoch, and at the epoch that validation chose."""
    places: list[tuple[Role, str]] = [("scratch", SCRATCH), ("null", SCRATCH)]
    places += [(role, start) for start in starts for role in TRAINED]
    for role, start in places:
        for seed in networks.seeds:
            entry = networks.entry(Place(role, seed, start))
            if entry is None:
                continue
            names: dict[str, Any] = {"network": role, "start": start, "seed": seed}
            names |= {"subset": "all", "source_epoch": entry["source_epoch"]}
            history = networks.history(role, seed, start)
            for record in history.to_dict("records"):
                _add_epoch(rows, role, record, names)
            best = history[history["best"]].iloc[0]
            rows.add_number(
                "accuracy_at_validation_best",
                float(best["test_accuracy"]),
                split="test",
                target_epoch=int(best["epoch"]),
                **names,
            )


def _add_epoch(rows: Rows, role: Role, record: dict[Any, Any], names: dict[str, Any]) -> None:
    if role not in PATHS:
        return
    for split in ("train", "validation", "test"):
        for metric in ("loss", "accuracy"):
            value = record.get(f"{split}_{metric}")
            if value is not None and value == value:
                rows.add_number(
                    metric, float(value), split=split, target_epoch=int(record["epoch"]), **names
                )
