"""Whether a run fitted its training images, apart from how well it then generalises."""

import pandas as pd

from headstart.studies.early_stopping.convergence import CONTRAST, RUN
from headstart.studies.early_stopping.verdicts.run_tables import FINAL

FITTED = "accuracy_when_fitted"


def trainability_rows(table: pd.DataFrame) -> pd.DataFrame:
    """Final training accuracy of every run, and the others' accuracy where that is 100 %.

    `table` is tidy, with the arm's name in `arm` and the epoch in `target_epoch`. Rows: metric
    final_accuracy on split "train", the accuracy over the updates of a run's last epoch; and metric
    accuracy_when_fitted on "validation" and "test", the final accuracy there of those runs whose
    final training accuracy is 1. A run that never fits its images has no such row: what it gets
    wrong on test images may be what it could not learn, not what does not generalise.
    """
    accuracies = table[table["metric"] == "accuracy"]
    keys = [*CONTRAST, *RUN]
    last = accuracies.groupby(keys)["target_epoch"].transform("max")
    ended = accuracies[accuracies["target_epoch"] == last].drop(columns="target_epoch")
    train = ended[ended["split"] == "train"].assign(metric=FINAL)
    fitted = train.loc[train["value"] > 1 - 1e-9, keys]
    held = ended[ended["split"] != "train"].merge(fitted, on=keys).assign(metric=FITTED)
    return pd.concat([train, held], ignore_index=True)
