"""What a start is worth: in target images that training from scratch would need, and against an equal source.

Both read test accuracies at the learning rate that validation chose for each network and start.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from headstart.statistics.intervals import mean_interval
from headstart.studies.early_stopping.verdicts.run_tables import BEST, HEADLINE, PRETRAIN
from headstart.studies.early_stopping.verdicts.selection import tuned_rates
from headstart.studies.early_stopping.verdicts.source_networks import GIVEN

Array = npt.NDArray[np.float64]
ARM = ["source", "model", "target", "arm"]
START = [*ARM, "shots", "seed", "source_epoch"]
SOURCE_BEST = "source-best"
POINTS = 100
WORTH = [*ARM, "shots", "start", "worth", "low", "high", "n", "beyond", "reason"]
PAIRED = [
    *("source", "model", "other", "target", "arm", "shots", "start"),
    *("source_accuracy", "difference", "low", "high", "n"),
]


def data_transferred(measurements: pd.DataFrame, confidence: float = 0.95) -> pd.DataFrame:
    """Return how many images per class training from scratch needs to do as well as each start.

    The effective data of Hernandez et al. (2021, arXiv 2102.01293), read off the shots axis: of each
    source network, scratch's test accuracy is made a curve over shots that never falls, linear in log
    shots, and `worth` is where it reaches the accuracy of the start. Beyond the shots that were run
    nothing is extrapolated: such a network counts as more (or fewer) than all of them. `worth` is the
    median over networks, with the interval of order statistics (a sign test), which needs no number
    where a network is beyond the range; `beyond` counts those. A bound outside the range is infinite, or
    0. Rows: source, model, target, arm, shots, and start (a source epoch, or source-best).

    Args:
        measurements: the study's table of that name.
        confidence: of the interval; six networks are the least that have one of 95 %.
    """
    runs = tuned_accuracies(measurements)
    given = set(measurements.loc[measurements["metric"] == GIVEN, "model"])
    runs = runs[runs["shots"].str.isdigit() & ~runs["model"].isin(given)]
    rows = []
    for names, arm in runs.groupby(ARM, sort=True):
        scratch = arm[arm["source_epoch"] == 0].groupby("seed")
        levels = {seed: _curve(mine) for seed, mine in scratch if mine["shots"].nunique() > 1}
        starts = _with_source_best(arm[arm["source_epoch"] > 0], measurements)
        for (shots, start), mine in starts.groupby(["shots", "start"], sort=False):
            known = mine[mine["seed"].isin(list(levels))]
            if len(known):
                worth = [
                    _reached(*levels[s], a)
                    for s, a in zip(known["seed"], known["test"], strict=True)
                ]
                rows.append((*names, shots, start, *_median(np.array(worth), confidence)))
    return pd.DataFrame(rows, columns=WORTH).sort_values(
        [*ARM, "shots"], key=lambda c: c.astype(int) if c.name == "shots" else c,
        kind="stable", ignore_index=True,
    )  # fmt: skip


def equal_source_accuracy(
    measurements: pd.DataFrame, settings: pd.DataFrame, tolerance: float = 0.02
) -> pd.DataFrame:
    """Return what two source trainings of one network are worth to a target at equal source accuracy.

    Models that share network, source, target and arm are compared, such as one with a constant and one
    with a decayed rate. Each start of `model` meets, within its source network, the start of `other`
    whose source validation accuracy is nearest, at most `tolerance` away; `difference` is the target
    accuracy of the first minus that of the second in points, with its t-interval over the `n`
    networks that have such a pair. Starts are named as in `data_transferred`; scratch is none.

    Args:
        measurements: the study's table of that name.
        settings: the study's table of that name; says which models are one network.
        tolerance: the largest difference in source accuracy, a fraction.
    """
    runs = tuned_accuracies(measurements).merge(settings[[*ARM, "network"]])
    starts = runs[runs["source_epoch"] > 0].merge(_source_accuracies(measurements))
    keys = ["network", "source", "target", "arm", "shots"]
    rows = []
    for (_, source, target, arm, shots), group in starts.groupby(keys, sort=True):
        for model, other in _pairs(group):
            mine = group[group["model"] == model]
            near = _nearest(mine, group[group["model"] == other], tolerance)
            named = _with_source_best(mine, measurements).merge(near, on=["seed", "source_epoch"])
            for start, pairs in named.groupby("start", sort=False):
                gap = mean_interval(POINTS * pairs["difference"].to_numpy())
                level = float(pairs["source_accuracy"].mean())
                numbers = (level, gap.estimate, gap.low, gap.high, gap.n)
                rows.append((source, model, other, target, arm, shots, start, *numbers))
    return pd.DataFrame(rows, columns=PAIRED)


def tuned_accuracies(measurements: pd.DataFrame) -> pd.DataFrame:
    """Return the test accuracy of every start at its tuned rate, mean over draws; keys are `START`."""
    rows = measurements[(measurements["metric"] == HEADLINE) & measurements["draw"].notna()]
    keys = [*START, "draw", "learning_rate"]
    runs = rows.pivot_table("value", keys, "split").reset_index()
    if not {"validation", "test"} <= set(runs.columns):
        return pd.DataFrame(columns=[*START, "test"])
    runs = runs.merge(tuned_rates(runs, START), on=[*START, "learning_rate"])
    return runs.groupby(START)["test"].mean().reset_index()


def _with_source_best(starts: pd.DataFrame, measurements: pd.DataFrame) -> pd.DataFrame:
    """Return starts by name: the epochs that all networks share, and each network's own best."""
    networks = starts["seed"].nunique()
    shared = starts.groupby(["shots", "source_epoch"])["seed"].transform("nunique") == networks
    best = measurements.loc[
        (measurements["mode"] == PRETRAIN) & (measurements["metric"] == BEST) & (measurements["value"] > 0),
        ["source", "model", "seed", "source_epoch"],
    ]  # fmt: skip
    epochs = starts[shared].sort_values("source_epoch", kind="stable")
    return pd.concat(
        [
            epochs.assign(start=epochs["source_epoch"].astype(str)),
            starts.merge(best).assign(start=SOURCE_BEST),
        ]
    )


def _curve(scratch: pd.DataFrame) -> tuple[Array, Array]:
    """Return log shots and scratch's accuracy of one network, as a curve that never falls."""
    ordered = scratch.assign(n=scratch["shots"].astype(int)).sort_values("n")
    return np.log(ordered["n"].to_numpy(float)), np.maximum.accumulate(
        ordered["test"].to_numpy(float)
    )


def _reached(log_shots: Array, accuracy: Array, wanted: float) -> float:
    """Return the first number of shots at which the curve has an accuracy; 0 or infinite beyond it."""
    if wanted < accuracy[0]:
        return 0.0
    if wanted > accuracy[-1]:
        return math.inf
    after = int(np.searchsorted(accuracy, wanted))
    if after == 0:
        return float(np.exp(log_shots[0]))
    rise = accuracy[after] - accuracy[after - 1]
    share = (wanted - accuracy[after - 1]) / rise
    return float(np.exp(log_shots[after - 1] + share * (log_shots[after] - log_shots[after - 1])))


def _median(worth: Array, confidence: float) -> tuple[float, float, float, int, int, str]:
    """Return the median with the interval of order statistics, n, and how many are beyond the shots."""
    ordered = np.sort(worth)
    n, middle = len(ordered), float(ordered[len(ordered) // 2])
    if n % 2 == 0:
        lower, upper = ordered[n // 2 - 1], ordered[n // 2]
        # Half way in log shots; where one of the two is beyond the range, so is the median.
        middle = math.sqrt(lower * upper) if np.isfinite([lower, upper]).all() else float(upper)
    beyond = int(((worth == 0) | np.isinf(worth)).sum())
    interval: Any = stats.quantile_test(ordered).confidence_interval(confidence)
    if math.isnan(interval.low) or math.isnan(interval.high):
        return middle, math.nan, math.nan, n, beyond, f"{n} networks are too few for an interval"
    return middle, float(interval.low), float(interval.high), n, beyond, ""


def _source_accuracies(measurements: pd.DataFrame) -> pd.DataFrame:
    rows = measurements[
        (measurements["mode"] == PRETRAIN)
        & (measurements["metric"] == "accuracy")
        & (measurements["split"] == "validation")
    ]
    named = rows.rename(columns={"value": "source_accuracy"})
    return named[["source", "model", "seed", "source_epoch", "source_accuracy"]]


def _pairs(group: pd.DataFrame) -> list[tuple[str, str]]:
    models = sorted(group["model"].unique())
    return [(one, other) for place, one in enumerate(models) for other in models[place + 1 :]]


def _nearest(mine: pd.DataFrame, others: pd.DataFrame, tolerance: float) -> pd.DataFrame:
    """Return each start of `mine` with the difference to the start of equal source accuracy."""
    columns = ["seed", "source_epoch", "source_accuracy", "test"]
    both = mine[columns].merge(others[columns], on="seed", suffixes=("", "_other"))
    both["distance"] = (both["source_accuracy"] - both["source_accuracy_other"]).abs()
    near = both[both["distance"] <= tolerance].sort_values(["distance", "source_epoch_other"])
    near = near.drop_duplicates(["seed", "source_epoch"])
    near = near.assign(difference=near["test"] - near["test_other"])
    return near[["seed", "source_epoch", "difference"]]
