"""What the figures of the early-stopping study draw: tables with one row per dot or per point of a line."""

from __future__ import annotations

import pandas as pd

from headstart.figures.labels import panel_heading
from headstart.statistics.intervals import mean_interval
from headstart.studies.early_stopping.verdicts.selection import tuned_rates

PANEL = ["target", "arm", "mode", "shots"]
RUN = ["seed", "source_epoch", "draw", "learning_rate"]
PERCENT = 100.0
SOURCE_BEST = "source-best"


def panels_of(table: pd.DataFrame) -> list[tuple[tuple[str, ...], pd.DataFrame]]:
    """Return target, arm, mode and shots of every panel with its rows; few shots come before many."""
    panels = [(tuple(map(str, names)), part) for names, part in table.groupby(PANEL)]
    return sorted(panels, key=lambda panel: (*panel[0][:3], by_number(panel[0][3])))


def headed(table: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """Return the heading of every panel with its rows."""
    return [(panel_heading(*names), part) for names, part in panels_of(table)]


def by_number(shots: str) -> float:
    """Return a number of shots for sorting; all images come last."""
    return float(shots) if str(shots).isdigit() else float("inf")


def networks(measurements: pd.DataFrame, mode: str | None = None) -> list[tuple[str, str, str]]:
    """Return name, source and model of all that has rows of this mode, or was fine-tuned, sorted.

    The name is the model's; where a model was pre-trained on several sources, both.
    """
    about = measurements["draw"].notna() if mode is None else measurements["mode"] == mode
    rows = measurements[about]
    pairs = sorted(set(zip(rows["source"], rows["model"], strict=True)))
    models = [model for _, model in pairs]
    return sorted(
        (model if models.count(model) == 1 else f"{source}_{model}", source, model)
        for source, model in pairs
    )


def of_network(table: pd.DataFrame, source: str, model: str) -> pd.DataFrame:
    """Return the rows of one source and model."""
    return table[(table["source"] == source) & (table["model"] == model)]


def all_runs(measurements: pd.DataFrame, model: str) -> pd.DataFrame:
    """Return one row per run of a model, at every learning rate.

    Columns: target, arm, mode, shots, seed, source_epoch, draw, learning_rate, validation, test
    (accuracies at the epoch that validation chose, in percent).
    """
    ended = measurements[
        (measurements["model"] == model) & (measurements["metric"] == "accuracy_at_validation_best")
    ]
    runs = ended.pivot_table(index=PANEL + RUN, columns="split", values="value").reset_index()
    runs[["validation", "test"]] *= PERCENT
    return runs


def tuned_runs(measurements: pd.DataFrame, model: str) -> pd.DataFrame:
    """Return one row per run of a model, at the learning rate that target validation chose.

    The rate is chosen for each source network and source epoch, by the mean validation accuracy over
    draws; ties go to the smaller rate. Columns are those of `all_runs`.
    """
    runs = all_runs(measurements, model)
    cell = [*PANEL, "seed", "source_epoch"]
    chosen = tuned_rates(runs, cell)
    return runs.merge(chosen, on=[*cell, "learning_rate"]).sort_values(
        PANEL + RUN, ignore_index=True
    )


def with_peaks(runs: pd.DataFrame, measurements: pd.DataFrame, model: str) -> pd.DataFrame:
    """Return runs with `peak`, the largest test accuracy among the epochs where it was read, in percent."""
    rows = measurements[
        (measurements["model"] == model) & (measurements["metric"] == "oracle_peak")
    ]
    peaks = rows[PANEL + RUN].assign(peak=rows["value"] * PERCENT)
    return runs.merge(peaks, on=PANEL + RUN, how="left")


def source_history(measurements: pd.DataFrame, model: str) -> pd.DataFrame:
    """Return accuracies of the pretrained networks on their source, in percent, and which epoch is best."""
    rows = measurements[(measurements["model"] == model) & (measurements["mode"] == "pretrain")]
    table = rows.assign(column=rows["metric"] + "_" + rows["split"]).pivot_table(
        index=["source", "seed", "source_epoch"], columns="column", values="value"
    )
    table = table.reset_index().rename(columns={"best_validation": "best"})
    table[["accuracy_train", "accuracy_validation"]] *= PERCENT
    return table[
        ["source", "seed", "source_epoch", "accuracy_train", "accuracy_validation", "best"]
    ]


def mean_over_seeds(
    runs: pd.DataFrame, keys: list[str], value: str, confidence: float
) -> pd.DataFrame:
    """Return the mean over source seeds with its t-interval; draws are averaged within a seed first."""
    per_seed = runs.groupby([*keys, "seed"], as_index=False)[value].mean()
    rows = []
    for names, group in per_seed.groupby(keys):
        interval = mean_interval(group[value].to_numpy(float), confidence)
        rows.append((*names, interval.estimate, interval.low, interval.high, interval.n))
    return pd.DataFrame(rows, columns=[*keys, "mean", "low", "high", "seeds"])


def at_source_best(runs: pd.DataFrame, history: pd.DataFrame) -> pd.DataFrame:
    """Return the runs that started from each source network's own best epoch."""
    best = history.loc[history["best"] == 1, ["seed", "source_epoch"]]
    return runs.merge(best, on=["seed", "source_epoch"])


def common_epochs(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the runs from epochs that every source network was fine-tuned from."""
    seeds = runs.groupby([*PANEL, "source_epoch"])["seed"].transform("nunique")
    every = runs.groupby(PANEL)["seed"].transform("nunique")
    return runs[seeds == every]


def by_start(runs: pd.DataFrame, history: pd.DataFrame) -> pd.DataFrame:
    """Return runs with `start`: a source epoch that all networks share, as text, or `source-best`.

    Epochs come in their order and source-best last; a run from its network's best epoch stands twice
    where that epoch is a shared one.
    """
    shared = common_epochs(runs).sort_values("source_epoch", kind="stable")
    starts = (
        shared.assign(start=shared["source_epoch"].astype(str)),
        at_source_best(runs, history).assign(start=SOURCE_BEST),
    )
    return pd.concat(starts, ignore_index=True)
