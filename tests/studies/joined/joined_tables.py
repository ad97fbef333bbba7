"""Tables of a joined study as its step would make them, with what is planted in them."""

from __future__ import annotations

import numpy as np
import pandas as pd

from headstart.studies.joined.associations import MEASURES, associations, wide
from headstart.studies.joined.effects import INTERVENTIONS, RANDOM, REMOVED, effects
from headstart.studies.joined.tables import SCHEMA

EPOCHS = (0, 1, 4, 8, 30)
NAMES = {"source": "latin", "model": "convnet", "target": "cyrillic", "shots": "5"}
NAMES |= {"arm": "joined", "mode": "finetune", "split": "test", "device": "cpu", "n": 1}
CEILINGS = {"preserved": 0.5, "preserved_chance": 0.3, "preserved_ceiling": 0.6}
CEILINGS |= {"invariance_self": 0.9, "invariance_chance": 0.2, "source_accuracy": 0.8}


def tables(
    networks: int = 12,
    cause: str = "random_label_accuracy",
    repaired: float = 8.0,
    cost: float = 1.0,
    removed: float = 0.2,
    room: float = 0.7,
    seed: int = 0,
) -> dict[str, pd.DataFrame]:
    """Return the tables of so many networks whose gain at the fixed rate follows one measure within epochs.

    Args:
        cause: the measure that the gain follows; every other is drawn on its own.
        repaired: points that every repair adds.
        cost: points that removal of the preserved interactions costs beyond a random removal.
        removed: by how much more of them it takes.
        room: between chance and ceiling of STIR.
    """
    generator = np.random.default_rng(seed)
    rows = []
    for network in range(networks):
        for place, epoch in enumerate(EPOCHS):
            values = dict(zip(MEASURES, generator.normal(size=len(MEASURES)), strict=True))
            gain = 30 - 5 * place + 4 * values[cause] + generator.normal()
            values |= {"gain_fixed": gain, "gain_tuned": 20 + generator.normal()} | CEILINGS
            values["invariance_self"] = CEILINGS["invariance_chance"] + room
            rows += [
                {"seed": network, "source_epoch": epoch, "metric": name, "value": value}
                for name, value in values.items()
            ]
        rows += _intervened(network, generator, repaired, cost, removed)
    measurements = SCHEMA.tidy(pd.DataFrame(rows).assign(**NAMES))
    cells = wide(measurements)
    found = {"measurements": measurements, "joined": cells}
    return found | {"associations": associations(cells), "effects": effects(measurements)}


def _intervened(
    network: int, generator: np.random.Generator, repaired: float, cost: float, removed: float
) -> list[dict[str, object]]:
    changes = dict.fromkeys(INTERVENTIONS, repaired)
    changes |= {RANDOM: -5.0, REMOVED: -5.0 - cost, "nothing_removed": 0.0, "untouched": 0.0}
    left = {RANDOM: 0.4, REMOVED: 0.4 + removed}
    rows: list[dict[str, object]] = []
    for name, change in changes.items():
        values = {
            "accuracy": 0.4 + (change + generator.normal()) / 100,
            "validation_accuracy": 0.4 + (change + generator.normal()) / 100,
        }
        rows += [
            {"metric": metric, "value": value, "rate": "fixed"} for metric, value in values.items()
        ]
        if name in left:
            shares = {"preserved_taken": left[name], "knowledge_taken": 0.3, "knowledge_left": 0.6}
            rows += [
                {"metric": metric, "value": share + 0.02 * generator.normal(), "rate": ""}
                for metric, share in shares.items()
            ]
        for row in rows:
            row.setdefault("intervention", name)
    return [{"seed": network, "source_epoch": 4, **row} for row in rows]
