"""The first author's run logs (repository smgutstein/DNN_Expts) as a tidy table.

The logs hold no validation accuracies: the source-best epochs were chosen on source test data and
the scores are peaks over test epochs, so verdicts on them are descriptive.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from headstart.statistics.errors import TableError
from headstart.studies.early_stopping.verdicts.run_tables import (
    DIVERGED,
    FINAL,
    ORACLE,
    PRETRAIN,
    SOURCE_BEST,
)

SOURCE_BEST_EPOCHS = {"alt08": 172, "alt09": 194, "alt10": 197}
"""Best-source epochs, matched to the networks in the order in which the logs list both."""

LOG_COLUMNS = [
    "experiment",
    "spc",
    "ckpt",
    "src_net",
    "draw",
    "peak_test_acc",
    "final_test_acc",
    "mean_last10_test_acc",
    "max_train_loss",
    "invalid_per_spec",
]
SOURCE, MODEL, CLASSES, LEARNING_RATE = "cifar100-living", "wrn-28-10", 35, 0.1
LAST_10 = "last10_accuracy"


def read_author_runs(path: str | Path) -> pd.DataFrame:
    """Read the per-run summary of the logs into the tidy form; accuracies become fractions.

    Rows with `invalid_per_spec` = 1 (relearning logs in which nearly every run diverged, "peaks"
    being flukes of single epochs) are left out. A run counts as diverged above 10 × ln 35 training
    loss, or not finite; its starting loss is not in the file. Learning rate 0.1 throughout.

    Raises:
        TableError: when a column is missing, or a network is not one of the three known.
    """
    logs = pd.read_csv(path)
    missing = [name for name in LOG_COLUMNS if name not in logs.columns]
    if missing:
        raise TableError(f"the author's run table has no column {', '.join(missing)}")
    logs = logs[logs["invalid_per_spec"] == 0]
    unknown = sorted(set(logs["src_net"]) - set(SOURCE_BEST_EPOCHS))
    if unknown:
        raise TableError(f"no best-source epoch is known for source nets {', '.join(unknown)}")
    limit = 10 * np.log(CLASSES)
    runs = _keys(logs)
    measures = {
        ORACLE: logs["peak_test_acc"] / 100,
        FINAL: logs["final_test_acc"] / 100,
        LAST_10: logs["mean_last10_test_acc"] / 100,
        DIVERGED: (~(logs["max_train_loss"] <= limit)).astype(float),
    }
    parts = [runs.assign(split="test", metric=name, value=v) for name, v in measures.items()]
    return pd.concat([*parts, _source_rows()], ignore_index=True)


def _keys(logs: pd.DataFrame) -> pd.DataFrame:
    best = logs["src_net"].map(SOURCE_BEST_EPOCHS)
    epoch = pd.to_numeric(logs["ckpt"], errors="coerce").where(logs["ckpt"] != "best", best)
    return pd.DataFrame(
        {
            "study": "author-logs",
            "source": SOURCE,
            "model": MODEL,
            "target": logs["experiment"],
            "mode": "finetune",
            "seed": logs["src_net"],
            "source_epoch": epoch,
            "shots": logs["spc"],
            "draw": logs["draw"],
            "learning_rate": LEARNING_RATE,
        }
    )


def _source_rows() -> pd.DataFrame:
    names, epochs = list(SOURCE_BEST_EPOCHS), list(SOURCE_BEST_EPOCHS.values())
    rows = {"source": SOURCE, "model": MODEL, "mode": PRETRAIN, "seed": names}
    best = {"source_epoch": epochs, "split": "test", "metric": SOURCE_BEST, "value": epochs}
    return pd.DataFrame({"study": "author-logs", **rows, **best})
