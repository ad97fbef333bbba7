"""Fine-tuning runs whose best start is known."""

from __future__ import annotations

from itertools import product

import numpy as np
import pandas as pd

from headstart.studies.early_stopping.recommend.atlas import halved
from headstart.studies.early_stopping.recommend.tables import CHOICES, Subject

EPOCHS = [0, 1, 2, 4, 8, 16, 30]
RATES = [0.01, 0.1, 1.0]


def planted(networks: int, best: float = 3.0, spread: float = 0.004, seed: int = 0) -> pd.DataFrame:
    """Return runs whose accuracy peaks at log2(1 + epoch) = `best`, the more sharply the higher the rate.

    Losses of the first epochs fall with accuracy.
    """
    generator = np.random.default_rng(seed)
    rows = []
    for network, draw, epoch, rate in product(range(networks), (0, 1), EPOCHS, RATES):
        distance = np.log2(1 + epoch) - best
        true = 0.8 - (0.01 + 0.02 * (rate >= 0.3)) * distance**2 - 0.02 * abs(np.log10(rate) + 1)
        row = {"source": "s", "model": "m", "seed": str(network), "target": "t", "shots": "5"}
        row |= {"draw": draw, "source_epoch": epoch, "learning_rate": rate, "epochs": 16}
        row["test_accuracy"] = true + spread * generator.normal()
        row["validation_accuracy"] = row["test_accuracy"]
        for number in range(1, 9):
            row[f"train_loss_{number}"] = 3 * (1 - true) / number
            row[f"validation_loss_{number}"] = 3 * (1 - true)
            row[f"validation_accuracy_{number}"] = true / 2
        rows.append(row)
    return pd.DataFrame(rows)


def choices(source: str = "latin", model: str = "net") -> pd.DataFrame:
    """Return the table of rules, judged on planted runs of six networks and two targets."""
    runs = [planted(6, seed=number).assign(target=target) for number, target in enumerate("tu")]
    atlas = halved(pd.concat(runs, ignore_index=True))
    atlas = atlas.assign(source=source, model=model, source_best=30)
    names = {"source": source, "model": model, "arm": "finetune"}
    table, _ = Subject(names, atlas, atlas.index, None).tables()
    return table.assign(**names).reindex(columns=CHOICES)
