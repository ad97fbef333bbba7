"""The smallest study that trains: three letters, four others, a network of a few hundred weights."""

from __future__ import annotations

from typing import Any

import pandas as pd

from headstart.artifacts import store
from headstart.artifacts.files import read_table
from headstart.artifacts.keys import Job
from headstart.plan import Plan
from headstart.registry import Params
from headstart.steps import data, pretrain

STUDY: dict[str, Any] = {
    "plasticity": {"enabled": False},
    "datasets": {
        "glyphs": {"kind": "glyphs", "size": 8, "train_per_class": 10, "test_per_class": 3}
    },
    "tasks": {
        "source": {"dataset": "glyphs", "classes": ["A", "B", "C"], "validation_per_class": 3},
        "target": {"dataset": "glyphs", "classes": ["D", "E", "F", "G"], "validation_per_class": 3},
    },
    "models": {"convnet": {"kind": "convnet", "width": 2}},
    "pretrain": {
        "convnet": {
            "sources": ["source"],
            "seeds": [0, 1],
            "epochs": 5,
            "batch_size": 8,
            "learning_rate": 0.1,
            "augmentation": {"shift": 1},
        }
    },
    "transfer": {
        "convnet": {
            "finetune": {
                "mode": "finetune",
                "targets": ["target"],
                "source_epochs": [0, 2, "best"],
                "shots": [2],
                "draws": [0, 1],
                "learning_rates": [0.1],
                "epochs": 3,
                "batch_size": 4,
            }
        }
    },
}


def plan(**transfer_options: Any) -> Plan:
    study = {
        **STUDY,
        "transfer": {"convnet": {"finetune": {**STUDY["transfer"]["convnet"]["finetune"]}}},
    }
    study["transfer"]["convnet"]["finetune"].update(transfer_options)
    return Plan(Params.model_validate(study))


def make_sources(of: Plan) -> None:
    for job in of.jobs("data"):
        store.run(job, data.make)
    for job in of.jobs("pretrain"):
        store.run(job, pretrain.make)


def runs(job: Job) -> pd.DataFrame:
    return read_table(job.path / "runs.parquet")
