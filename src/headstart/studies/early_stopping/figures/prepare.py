"""What the figures of the early-stopping study draw: tables with one row per dot or per point of a line."""

from __future__ import annotations

from typing import Any

import pandas as pd

from headstart.figures.labels import band_words, panel_heading, question, sample_size
from headstart.statistics.intervals import mean_interval
from headstart.statistics.measurements import select
from headstart.statistics.ties import first_best
from headstart.studies.early_stopping.verdicts.run_tables import IMAGES
from headstart.studies.early_stopping.verdicts.selection import tuned_rates
from headstart.studies.early_stopping.verdicts.source_networks import CLASSES, starts_given

PANEL = ["target", "arm", "mode", "shots"]
CONTRAST = ["source", "model", "target", "arm", "shots"]
RUN = ["seed", "source_epoch", "draw", "learning_rate"]
PERCENT = 100.0
SOURCE_BEST = "source-best"
# Column of a run -> metric and split that it is read from; all but the last three are accuracies.
READ = {
    "test": ("accuracy_at_validation_best", "test"),
    "validation": ("accuracy_at_validation_best", "validation"),
    "peak": ("oracle_peak", "test"),
    "train": ("final_accuracy", "train"),
    "final_test": ("final_accuracy", "test"),
    "final_validation": ("final_accuracy", "validation"),
    "when_fitted": ("accuracy_when_fitted", "test"),
    "time": ("time_to_scratch", "validation"),
    "reached": ("reached_scratch", "validation"),
    "diverged": ("diverged", "train"),
}


def panels_of(table: pd.DataFrame) -> list[tuple[tuple[str, ...], pd.DataFrame]]:
    """Return target, arm, mode and shots of every panel with its rows; few shots come before many."""
    panels = [(tuple(map(str, names)), part) for names, part in table.groupby(PANEL)]
    return sorted(panels, key=lambda panel: (*panel[0][:3], by_number(panel[0][3])))


def headed(table: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """Return the heading of every panel with its rows."""
    return [(panel_heading(*names), part) for names, part in panels_of(table)]


def by_number(shots: str) -> float:
    """Return a number of shots, or a start, for sorting; what is no number comes last."""
    return float(shots) if str(shots).isdigit() else float("inf")


def networks(measurements: pd.DataFrame, mode: str | None = None) -> list[tuple[str, str, str]]:
    """Return name, source and model of all that has rows of this mode, or was fine-tuned, sorted.

    The name is the model's; where a model was pre-trained on several sources, both.
    """
    about = measurements["draw"].notna() if mode is None else measurements["mode"] == mode
    pairs = measurements.loc[about, ["source", "model"]].drop_duplicates()
    several = pairs["model"].duplicated(keep=False)
    names = pairs["model"].where(~several, pairs["source"] + "_" + pairs["model"])
    return sorted(zip(names, pairs["source"], pairs["model"], strict=True))


def of_network(table: pd.DataFrame, source: str, model: str) -> pd.DataFrame:
    """Return the rows of one source and model."""
    return select(table, source=source, model=model)


def all_runs(measurements: pd.DataFrame, model: str) -> pd.DataFrame:
    """Return one row per run of a model, at every learning rate.

    Columns: target, arm, mode, shots, seed, source_epoch, draw, learning_rate, and those of `READ`,
    NaN where not read. `test` and `validation` belong to the epoch that validation chose, `peak` is
    the largest test accuracy that was read; accuracies are percentages. A diverged run is scored by
    its final accuracies, as in verdicts. `own_draw` numbers the draws of each network.
    """
    rows = select(measurements, model=model, metric=[metric for metric, _ in READ.values()])
    runs = rows.pivot_table("value", PANEL + RUN, ["metric", "split"])
    runs = runs.reindex(columns=list(READ.values())).set_axis(list(READ), axis=1).reset_index()
    runs[list(READ)[:-3]] *= PERCENT
    lost = runs["diverged"] > 0
    runs["test"] = runs["test"].mask(lost, runs["final_test"])
    runs["validation"] = runs["validation"].mask(lost, runs["final_validation"].fillna(0.0))
    runs["own_draw"] = runs.groupby([*PANEL, "seed"])["draw"].rank(method="dense")
    return runs


def titled(runs: pd.DataFrame, history: pd.DataFrame, model: str, words: str) -> str:
    """Return the title of a figure of these runs."""
    return question(str(history["source"].iloc[0]), runs["target"].astype(str), model, words)


def favourites(verdicts: pd.DataFrame) -> pd.DataFrame:
    """Return the epoch that the verdict on each contrast speaks of: the one favourite of all figures.

    That of tuned rates where a contrast has it. Columns: target, arm, shots, source_epoch, all as in runs.
    """
    known = verdicts[verdicts["chosen_epoch"].notna()]
    known = known.sort_values("question", ascending=False).drop_duplicates(CONTRAST)
    found = known[["target", "arm", "shots"]].astype(str)
    return found.assign(source_epoch=known["chosen_epoch"].astype("Int64"))


def best_of_each(values: pd.Series, group: pd.Series) -> list[Any]:
    """Return the index of each group's largest value, the first of those that tie but for rounding."""
    groups = values.groupby(group)
    return [part.index[int(first_best(part.to_numpy(float)))] for _, part in groups]


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


def source_history(measurements: pd.DataFrame, model: str) -> pd.DataFrame:
    """Return accuracies of the pretrained networks on their source, in percent, and which epoch is best."""
    rows = select(measurements, model=model, mode="pretrain")
    table = rows.pivot_table("value", ["source", "seed", "source_epoch"], ["metric", "split"])
    table.columns = table.columns.map("_".join)
    accuracies = ["accuracy_train", "accuracy_validation"]
    table = table.rename(columns={"best_validation": "best"})[[*accuracies, "best"]].reset_index()
    table[accuracies] *= PERCENT
    return table


def epoch_zero(measurements: pd.DataFrame, model: str) -> str:
    """Return what source epoch 0 of a model is: scratch, or the network with given weights."""
    rows = select(measurements, model=model, mode="pretrain")
    return "given network" if starts_given(rows) else "scratch"


def chance_levels(measurements: pd.DataFrame, model: str) -> pd.DataFrame:
    """Return what guessing reaches, in percent: a row for each panel of shots, and one of the source.

    `drawn` is `chance` or `source chance`. Where all images of a target are used, nothing tells its classes.
    """
    rows = select(measurements, model=model)
    source = rows[rows["metric"] == CLASSES].head(1).assign(drawn="source chance")
    trained = rows[(rows["metric"] == IMAGES) & rows["shots"].str.isdigit()]
    trained = trained.drop_duplicates(PANEL).assign(drawn="chance")
    classes = [source["value"], trained["value"] / trained["shots"].astype(float)]
    levels = pd.concat([source[["drawn"]], trained[["drawn", *PANEL]]])
    return levels.assign(mean=PERCENT / pd.concat(classes)).reset_index(drop=True)


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
    return runs.merge(history.loc[history["best"] == 1, ["seed", "source_epoch"]])


def common_epochs(runs: pd.DataFrame, keys: list[str] = PANEL) -> pd.DataFrame:
    """Return the runs from epochs that every source network was fine-tuned from."""
    seeds = runs.groupby([*keys, "source_epoch"])["seed"].transform("nunique")
    return runs[seeds == runs.groupby(keys)["seed"].transform("nunique")]


def by_start(
    runs: pd.DataFrame,
    history: pd.DataFrame,
    shared: str = "",
    keys: list[str] = PANEL,
    place: str | None = "mean",
) -> pd.DataFrame:
    """Return runs by where they started: a source epoch that all networks share, or `source-best`.

    `start` is the epoch as text, or source-best, `drawn` is `shared` or source-best. At source-best
    `source_epoch` becomes the mean, or what `place` names, of the networks' best epochs, and stays as
    it is where that is None. Epochs come in their order, source-best last; a run from its network's
    best epoch stands twice where that epoch is a shared one.
    """
    epochs = common_epochs(runs, keys).sort_values("source_epoch", kind="stable")
    epochs = epochs.assign(start=epochs["source_epoch"].astype(str), drawn=shared)
    best = at_source_best(runs, history).assign(start=SOURCE_BEST, drawn=SOURCE_BEST)
    if place:
        middle = history.loc[history["best"] == 1, "source_epoch"].agg(place)
        best = best.assign(source_epoch=float(middle))
    every = pd.concat([epochs, best], ignore_index=True)
    return every.astype({"source_epoch": float}) if place else every


def size_words(runs: pd.DataFrame) -> str:
    """Return the numbers of source networks and of draws of runs: `n = 8 source networks × 2 draws`."""
    draws = runs.groupby(PANEL)["own_draw"].nunique()
    low, high = int(draws.min()), int(draws.max())
    return sample_size(runs["seed"].nunique(), low if low == high else f"{low} to {high}")


def caption(runs: pd.DataFrame, confidence: float) -> str:
    """Return the sentence on numbers that stands under a figure."""
    return (
        f"{size_words(runs)} of the target images; {band_words(runs['seed'].nunique(), confidence)}; "
        "learning rate and epoch chosen on validation images."
    )
