"""Regret of rules that choose a checkpoint, on networks, targets and recipes of a finished study that were held out.

    python benchmarks/recommend.py STUDY                          # a folder in which `snakemake` has ended
    python benchmarks/recommend.py --author-logs runs.csv         # the logs of the paper's first author

A rule sees one draw of the target images and is read on the network's other draw; so is the checkpoint that is
best on test images of the first draw (an oracle). Regret is the difference, in points of test accuracy; the noise
floor is what the oracle itself loses to the best run of the second draw. What is held out is drawn by
`derive_seed` from the study's params. Costs are shares of the target epochs of fine-tuning every checkpoint at
every rate in question; the run that is wanted in the end is not counted, a pass without updates is a third of an
epoch.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from headstart.artifacts.keys import derive_seed
from headstart.params.reading import read_yaml
from headstart.studies.early_stopping.recommend.atlas import (
    CANDIDATE,
    CELL,
    FOLLOWED,
    NETWORK,
    gather,
    halved,
)
from headstart.studies.early_stopping.recommend.calibration import HIGH, WITHIN, Calibration
from headstart.studies.early_stopping.recommend.model import Prediction, Teacher, cell_of
from headstart.studies.early_stopping.recommend.search import (
    replayed,
    search,
    training_speed,
    with_regret,
)

PRIMARY = {"target": "cyrillic", "model": "convnet", "shots": "5"}
FORWARD = 1 / 3
"""Of an epoch with updates: a pass without them."""
BUDGET = 0.1
PLASTICITY = {
    "effective_rank": 1,
    "redo_dormant_fraction": -1,
    "squared_weight_norm": -1,
    "gradient_norm": 1,
    "random_label_loss": -1,
}
"""Measures of a checkpoint, and whether more (1) or less (-1) of it is to be preferred."""
SCORES = ("logme", "leep", "ridge_probe", "knn_probe", "source_accuracy")


@dataclass(frozen=True)
class HeldOut:
    """What is judged and was not to be seen while building."""

    networks: tuple[str, ...]
    targets: tuple[str, ...]
    shots: str
    rates: tuple[float, ...]
    model: str


def held_out(models: Sequence[str], seeds: Sequence[int], rates: Sequence[float]) -> HeldOut:
    """Draw a third of the networks, a target, a number of shots, a low and a high rate, a source recipe."""

    def draw(name: str, options: Sequence[Any], number: int = 1) -> list[Any]:
        generator = np.random.default_rng(derive_seed("recommend held out", name))
        return [options[place] for place in generator.permutation(len(options))[:number]]

    networks = draw("networks", seeds, max(1, round(0.3 * len(seeds))))
    low, high = [r for r in rates if r < 0.3], [r for r in rates if r >= 0.3]
    return HeldOut(
        tuple(sorted(map(str, networks), key=int)),
        tuple(draw("target", ["cyrillic", "digits"])),
        str(draw("shots", [1, 20])[0]),
        (*draw("low rate", low), *draw("high rate", high)),
        draw("source recipe", [name for name in models if name != PRIMARY["model"]])[0],
    )


def read_study(folder: Path) -> pd.DataFrame:
    """Return the fine-tuning runs of a study's networks that have two draws of their own."""
    return gather(bundles(folder))


def bundles(folder: Path) -> list[tuple[Path, dict[str, str]]]:
    """Return the folders of these runs, with source, model, target and seed of each."""
    found = []
    for path in sorted(folder.glob("results/transfer/*/manifest.json")):
        manifest = json.loads(path.read_text())
        draws = manifest["params"]["transfer"]["draws"]
        if manifest["wildcards"]["arm"] == "finetune" and len(draws) > 1:
            found.append((path.parent, manifest["wildcards"]))
    return found


def make_scores(folder: Path, networks: Collection[str]) -> pd.DataFrame:
    """Return the scores of the checkpoints of some networks on the images of every draw."""
    from headstart.artifacts.store import Artifact
    from headstart.steps.sections import model_of, read_task
    from headstart.studies.early_stopping.recommend.scores import score_table
    from headstart.tasks.task import draw_shots
    from headstart.training.checkpoint_series import CheckpointSeries
    from headstart.training.device import one_thread

    one_thread()
    made = {}
    for path in folder.glob("results/*/*/manifest.json"):
        manifest = json.loads(path.read_text())
        made[manifest["key"]] = Artifact(path.parent, manifest)
    parts = []
    for path, names in bundles(folder):
        if names["seed"] in networks:
            manifest = json.loads((path / "manifest.json").read_text())
            inputs = [made[key] for key in manifest["inputs"]]
            (pretrain,) = (each for each in inputs if each.manifest["step"] == "pretrain")
            dataset = {"dataset": manifest["params"]["task"]["dataset"]}
            data = next(each for each in inputs if each.manifest["wildcards"] == dataset)
            task = read_task(names["target"], manifest["params"], data)
            model, shape = model_of(manifest["params"]), task.train.images.shape
            series = CheckpointSeries(pretrain, model, shape, "cpu")
            runs = pd.read_parquet(path / "runs.parquet")
            for (shots, draw), rows in runs.groupby(["shots", "draw"]):
                train = draw_shots(task, int(shots), int(draw))
                epochs = sorted(rows["source_epoch"].unique())
                table = score_table(series, epochs, train, task.validation, series.normalization)
                own = {name: names[name] for name in (*NETWORK, "target")}
                parts.append(table.assign(**own, shots=str(shots), draw=draw))
    return pd.concat(parts, ignore_index=True)


def with_scores(atlas: pd.DataFrame, folder: Path, scores: pd.DataFrame) -> pd.DataFrame:
    """Add the scores of checkpoints, their plasticity, and the source-best epoch."""
    scores = scores.astype({"seed": str, "shots": str})
    atlas = atlas.merge(scores, on=[*CELL, "source_epoch"], how="left")
    parts = []
    for path in sorted(folder.glob("results/plasticity/*/manifest.json")):
        names = json.loads(path.read_text())["wildcards"]
        table = pd.read_parquet(path.parent / "plasticity.parquet")
        mine = table[(table["target"] == names["source"]) & table["metric"].isin(PLASTICITY)]
        wide = mine.pivot(index="source_epoch", columns="metric", values="value").reset_index()
        parts.append(wide.assign(**{name: names[name] for name in NETWORK}))
    if parts:
        plastic = pd.concat(parts, ignore_index=True)
        atlas = atlas.merge(plastic, on=[*NETWORK, "source_epoch"], how="left")
    best = []
    for path in sorted(folder.glob("results/pretrain/*/checkpoints.json")):
        names = json.loads((path.parent / "manifest.json").read_text())["wildcards"]
        epoch = json.loads(path.read_text())["best"]
        best.append({**{name: names[name] for name in NETWORK}, "source_best": epoch})
    return atlas.merge(pd.DataFrame(best), on=NETWORK, how="left")


@dataclass(frozen=True)
class Rule:
    """A column to be maximised, with what it costs of `epochs` at `starts` checkpoints, fixed and tuned."""

    name: str
    fixed: float
    tuned: float


def add_rules(rows: pd.DataFrame, teaching: pd.DataFrame) -> list[Rule]:
    """Add one column per rule to the judged rows, and return the rules; `teaching` are runs of other networks.

    A rule that picks an epoch alone takes, over all rates, the one that validation prefers after all of
    them were tried from that epoch. A score that is missing for a candidate is no rule.
    """
    epochs = int(rows["epochs"].iloc[0])
    starts = float(rows.groupby(CELL)["source_epoch"].nunique().median())
    generator = np.random.default_rng(derive_seed("random checkpoint"))
    order = rows.groupby([*CELL, "source_epoch"])["epochs"].transform(lambda _: generator.random())
    alone = {
        "random": order.where(rows["source_epoch"] > 0, -1.0),
        "last": rows["source_epoch"].astype(float),
        "source-best": (rows["source_epoch"] == rows["source_best"]).astype(float),
    }
    alone |= {name: rows[name] for name in SCORES if name in rows}
    alone |= {name: sign * rows[name] for name, sign in PLASTICITY.items() if name in rows}
    rules = []
    for name, values in alone.items():
        if values.notna().all():
            ranks = values.groupby([rows[each] for each in CELL]).rank(method="dense")
            rows[name] = ranks + rows["validation_accuracy"] / 2
            passes = FORWARD / epochs if name in SCORES[:4] else 0.0
            rules.append(Rule(name, passes, passes + 1 / starts))
    rows["learned epoch"] = learned_epoch(rows, teaching)
    rules.append(Rule("learned epoch", 0.0, 0.0))
    for number in (1, 2, 4, FOLLOWED):
        name, share = f"training speed, {number} epochs", number / epochs
        rows[name] = training_speed(rows, number)
        rows[f"validation, {number} epochs"] = rows[f"validation_accuracy_{number}"]
        rules += [Rule(name, share, share), Rule(f"validation, {number} epochs", share, share)]
    rows["validation, all epochs"] = rows["validation_accuracy"]
    return [*rules, Rule("validation, all epochs", 1.0, 1.0)]


def learned_epoch(rows: pd.DataFrame, teaching: pd.DataFrame) -> pd.Series:
    """Return the mean test accuracy of other networks at an epoch, source-best being one of its own.

    It is that of runs as alike as there are any: of model, target, shots and rate, or fewer of these.
    """
    kinds = [["model", "target", "shots"], ["model", "target"], ["model"], ["target"], []]
    rows, teaching = (
        each.assign(
            place=each["source_epoch"].where(each["source_epoch"] != each["source_best"], -1)
        )
        for each in (rows, teaching)
    )
    found = pd.Series(np.nan, rows.index)
    for kind in [[*kind, *rate] for rate in (["learning_rate"], []) for kind in kinds]:
        keys = [*kind, "place"]
        means = teaching.groupby(keys)["test_accuracy"].mean().rename("mean")
        exact = rows[keys].join(means, on=keys)["mean"]
        # A cell is judged by means of one kind: the closest that knows any of its candidates.
        cells = [rows[name] for name in (*CELL, "learning_rate")]
        found = found.where(found.notna().groupby(cells).transform("any"), exact)
    return found


def judged(rows: pd.DataFrame, rules: list[Rule], teaching: pd.DataFrame | None) -> pd.DataFrame:
    """Return one row per rule and cell: regime, regret, and what the oracle loses; draws are averaged.

    With runs of other networks the recommender is judged too, before and after it tries anything.
    """
    rows = halved(rows)
    parts = []
    for tuned in (False, True):
        for rule in rules:
            cost = rule.tuned if tuned else rule.fixed
            chosen = highest(rows, rule.name, tuned)
            parts.append(with_regret(chosen, rows, tuned).assign(rule=rule.name, cost=cost))
        if teaching is not None:
            teacher = Teacher(teaching, tuned)
            rows["taught"] = teacher.rank(rows, False)
            before = with_regret(highest(rows, "taught", tuned), rows, tuned)
            parts.append(before.assign(rule="taught, nothing tried", cost=0.0))
            short = Teacher(teaching, tuned, recall=False)
            for name, each in (("taught, short runs", short), ("**recommend**", teacher)):
                found = with_regret(search(rows, replayed, each, BUDGET), rows, tuned)
                parts.append(found.assign(rule=name))
    chosen = with_regime(pd.concat(parts, ignore_index=True))
    fixed, tuned_best = (
        chosen.join(rows.groupby(cell_of(kind))["elsewhere"].max().rename("most"), on=cell_of(kind))
        for kind in (False, True)
    )
    chosen["floor"] = (
        tuned_best["most"].where(chosen["tuned"], fixed["most"]) - chosen["best_elsewhere"]
    )
    chosen["rate"] = chosen["learning_rate"].where(~chosen["tuned"], -1.0)
    cell = [*NETWORK, "target", "shots", "regime", "rate"]
    return (
        chosen.groupby(["rule", *cell], sort=False)[["regret", "floor", "cost"]]
        .mean()
        .reset_index()
    )


def highest(rows: pd.DataFrame, score: str, tuned: bool) -> pd.DataFrame:
    """Return the candidate of the highest score in every cell; ties go to the earliest epoch, NaN comes last."""
    ordered = rows.sort_values(CANDIDATE)
    values = ordered[score].fillna(-np.inf)
    return ordered.loc[
        values.groupby([ordered[name] for name in cell_of(tuned)], sort=False).idxmax()
    ]


def with_regime(chosen: pd.DataFrame) -> pd.DataFrame:
    """Add whether a choice was over rates, at a fixed high rate, or at a fixed low one."""
    fixed = np.where(chosen["learning_rate"] >= HIGH, "fixed, from .3 on", "fixed, below .3")
    return chosen.assign(regime=np.where(chosen["tuned"], "tuned", fixed))


def summary(cells: pd.DataFrame) -> pd.DataFrame:
    """Return mean regret in points, cells within one point, the noise floor and cost, by regime and rule."""
    cells = cells.assign(
        within=cells["regret"] <= WITHIN + 1e-9,
        regret=100 * cells["regret"],
        floor=100 * cells["floor"],
    )
    grouped = cells.groupby(["regime", "rule"], sort=False)
    table = grouped.agg(
        regret=("regret", "mean"),
        within=("within", lambda values: 100 * values.mean()),
        floor=("floor", "mean"),
        cost=("cost", lambda values: 100 * values.mean()),
        cells=("regret", "size"),
    )
    # Cells of a network are not independent: the standard error is that of means of networks.
    networks = cells.groupby(["regime", "rule", "seed"], sort=False)["regret"].mean()
    table["error"] = networks.groupby(["regime", "rule"], sort=False).sem()
    return table.reset_index()


def coverage(rows: pd.DataFrame, teaching: pd.DataFrame) -> pd.DataFrame:
    """Return how many forecasts were given, how many hold the accuracy that was reached, by regime."""
    rows, records = halved(rows), []
    for tuned in (False, True):
        calibration = Calibration(teaching, tuned, BUDGET)
        found = search(rows, replayed, Teacher(teaching, tuned), BUDGET)
        chosen = with_regime(with_regret(found, rows, tuned))
        for _, row in chosen.iterrows():
            said = calibration.forecast(row)
            record = {"regime": row["regime"], "given": not np.isnan(said.low)}
            record["held"] = said.low <= row["test_accuracy"] <= said.high
            record["half width, points"] = 50 * (said.high - said.low)
            record["said within 1 point"] = said.within
            record["was within 1 point"] = row["regret"] <= WITHIN + 1e-9
            record["error, points"] = 100 * abs(row["test_accuracy"] - row["expected"])
            records.append(record)
    table = pd.DataFrame(records)
    return (
        table.groupby("regime").mean().assign(choices=table.groupby("regime").size()).reset_index()
    )


def splits(atlas: pd.DataFrame, out: HeldOut) -> Iterator[tuple[str, pd.DataFrame, pd.DataFrame]]:
    """Yield the name of a question, the runs that teach, and those of held-out networks that are judged."""
    new = atlas["seed"].isin(out.networks)
    rate = atlas["learning_rate"].isin(out.rates)
    few, recipe = atlas["shots"] == out.shots, atlas["model"] == out.model
    yield "new networks", atlas[~new], atlas[new]
    plain = (atlas["shots"] == PRIMARY["shots"]) & (atlas["model"] == PRIMARY["model"])
    for target in sorted(atlas["target"].unique(), key=lambda name: name not in out.targets):
        mine = atlas["target"] == target
        yield f"and a new target, {target}", atlas[~new & ~mine & plain], atlas[new & mine & plain]
    yield f"and new rates, {out.rates}", atlas[~new & ~rate], atlas[new & rate]
    yield f"and new shots, {out.shots}", atlas[~new & ~few], atlas[new & few]
    yield f"and a new source recipe, {out.model}", atlas[~new & ~recipe], atlas[new & recipe]


def author_logs(path: Path) -> pd.DataFrame:
    """Return regrets on the authors' logs: chosen by two networks, judged on the third, draws in turn."""
    from headstart.studies.early_stopping.author_runs import (
        SOURCE_BEST_EPOCHS,
        read_author_runs,
    )

    table = read_author_runs(path)
    keys = [*CELL, "source_epoch", "learning_rate"]
    runs = table[(table["mode"] == "finetune") & (table["metric"] == "oracle_peak")]
    atlas = runs.groupby(keys)["value"].mean().rename("test_accuracy").reset_index()
    atlas["shots"] = atlas["shots"].map("{:g}".format)
    parts = []
    for network in sorted(atlas["seed"].unique()):
        rows = halved(atlas[atlas["seed"] == network])
        others = atlas[atlas["seed"] != network]
        taught = Prediction(others, False, cell_of(False))
        means = others.groupby(["shots", "source_epoch"])["test_accuracy"].mean().rename("mean")
        rows["taught, nothing tried"] = taught(rows)
        rows["learned epoch"] = rows.join(means, on=["shots", "source_epoch"])["mean"]
        rows["last"] = rows["source_epoch"].astype(float)
        rows["source-best"] = (rows["source_epoch"] == SOURCE_BEST_EPOCHS[network]).astype(float)
        generator = np.random.default_rng(derive_seed("random checkpoint", network))
        rows["random"] = np.where(rows["source_epoch"] > 0, generator.random(len(rows)), -1.0)
        rules = ["random", "last", "source-best", "learned epoch", "taught, nothing tried"]
        parts.append(judged(rows, [Rule(name, 0.0, 0.0) for name in rules], None))
    cells = pd.concat(parts, ignore_index=True)
    return cells[cells["regime"] != "tuned"].assign(regime=lambda each: each["shots"] + " shots")


def render(table: pd.DataFrame, title: str) -> str:
    """Return a summary as a table of Markdown, a section per question."""
    lines = [
        f"\n### {title}\n",
        "| rule | cost, % | mean regret | ± | within 1 point, % | cells |",
        "|---|---|---|---|---|---|",
    ]
    for regime, rows in table.groupby("regime", sort=False):
        lines.append(f"| **{regime}**, noise floor {rows['floor'].iloc[0]:.1f} | | | | | |")
        lines += [
            f"| {row.rule} | {row.cost:.1f} | {row.regret:.1f} | {row.error:.1f} | {row.within:.0f} | {row.cells} |"
            for _, row in rows.iterrows()
        ]
    return "\n".join(lines)


def study_tables(folder: Path, cache: Path | None, log: Callable[[str], None]) -> None:
    """Print what was held out and the tables of every question."""
    params, atlas = read_yaml(folder / "params.yaml"), read_study(folder)
    models = [name for name in params["transfer"] if name in set(atlas["model"])]
    rates = atlas[atlas["shots"] == PRIMARY["shots"]]["learning_rate"].unique().tolist()
    out = held_out(models, sorted(map(int, atlas["seed"].unique())), sorted(rates))
    log(f"{len(atlas)} runs; held out: {out}")
    known = bool(cache and cache.exists())
    scores = pd.read_parquet(cache) if known and cache else make_scores(folder, out.networks)
    if cache and not known:
        scores.to_parquet(cache)
    atlas = with_scores(atlas, folder, scores)
    for title, teaching, rows in splits(atlas, out):
        rows = rows.reset_index(drop=True)
        rules = add_rules(rows, teaching)
        log(render(summary(judged(rows, rules, teaching)), title))
        log("\n" + coverage(rows, teaching).round(2).to_string(index=False))


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("study", type=Path, nargs="?", help="folder of a finished study")
    parser.add_argument(
        "--scores", type=Path, help="keep the scores of checkpoints here, or take them"
    )
    parser.add_argument("--author-logs", type=Path, help="runs of the paper's first author")
    options = parser.parse_args()
    if options.study:
        study_tables(options.study, options.scores, print)
    if options.author_logs:
        print(render(summary(author_logs(options.author_logs)), "The authors' logs"))


if __name__ == "__main__":
    main()
