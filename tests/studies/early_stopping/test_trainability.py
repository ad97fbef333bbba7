import pandas as pd
import pytest
from study_tables import TARGET_EPOCHS, curves

from headstart.studies.early_stopping.trainability import trainability_rows


def run(train, test, epoch):
    """Curves of one run from a source epoch, three target epochs long, by split."""
    one = curves(1)
    one = one[(one["source_epoch"] == epoch) & (one["draw"] == 0) & (one["target_epoch"] > 0)]
    one = one[one["target_epoch"] <= len(train)]
    return [
        one.assign(split=split, value=values)
        for split, values in (("train", train), ("test", test))
    ]


def test_generalisation_is_told_apart_for_runs_that_end_at_100_percent_training_accuracy():
    table = pd.concat(
        [
            *run([0.5, 1.0, 1.0], [0.3, 0.6, 0.5], epoch=1),
            *run([0.5, 1.0, 0.9], [0.3, 0.8, 0.7], epoch=2),
            *run([0.1, 0.1, 0.2], [0.2, 0.2, 0.1], epoch=4),
        ]
    )
    rows = trainability_rows(table.sample(frac=1, random_state=0))
    train = rows[rows["split"] == "train"].set_index("source_epoch")["value"]
    assert train.sort_index().to_dict() == {1: 1.0, 2: 0.9, 4: 0.2}
    fitted = rows[rows["metric"] == "accuracy_when_fitted"]
    assert fitted[["source_epoch", "split", "value"]].to_numpy().tolist() == [[1, "test", 0.5]]
    assert set(rows.loc[rows["split"] == "train", "metric"]) == {"final_accuracy"}
    assert "target_epoch" not in rows


def test_without_training_curves_nothing_is_fitted():
    assert trainability_rows(curves(1)).empty
    assert trainability_rows(curves(1).iloc[:0]).empty


def test_the_last_epoch_is_that_of_each_run():
    long, short = curves(1), curves(1).assign(arm="short")
    table = pd.concat([long, short[short["target_epoch"] <= 3]]).assign(split="train")
    rows = trainability_rows(table)
    scratch = rows[(rows["source_epoch"] == 0) & (rows["draw"] == 0)].set_index("arm")["value"]
    ends = long[(long["source_epoch"] == 0) & (long["draw"] == 0)].set_index("target_epoch")[
        "value"
    ]
    assert scratch["finetune"] == pytest.approx(ends[TARGET_EPOCHS])
    assert scratch["short"] == pytest.approx(ends[3])
