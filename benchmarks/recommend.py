"""Regret of rules that choose a checkpoint, on networks, targets and recipes of a finished study that were held out.

    python benchmarks/recommend.py STUDY                          # a folder in which `snakemake` has ended
    python benchmarks/recommend.py --author-logs runs.csv         # the logs of the paper's first author

A rule sees one draw of the target images. It is read on half of the network's draws, and so is the checkpoint that
is best on test images of the other half (an oracle). Regret is the difference, in points of test accuracy; the noise
floor is what the oracle itself loses to the best run of the half that is read. What is held out is drawn by
`derive_seed` from the study's params. Costs are shares of the target epochs of fine-tuning every checkpoint at
every rate in question; the run that is wanted in the end is not counted, a pass without updates is a third of an
epoch.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from headstart.artifacts.files import read_json
from headstart.artifacts.keys import derive_seed
from headstart.artifacts.store import Artifact
from headstart.params.reading import read_yaml
from headstart.studies.early_stopping.recommend.atlas import CELL, NETWORK, halved
from headstart.studies.early_stopping.recommend.calibration import Calibration
from headstart.studies.early_stopping.recommend.judge import (
    BUDGET,
    KEPT,
    OTHER_DRAWS,
    TUNED,
    coverage,
    forecasts,
    judge,
    summary,
    with_reference,
    with_regime,
)
from headstart.studies.early_stopping.recommend.model import Prediction, cell_of
from headstart.studies.early_stopping.recommend.rules import RECOMMEND, with_rules
from headstart.studies.early_stopping.recommend.scores import SCORES as COLUMNS
from headstart.studies.early_stopping.recommend.search import highest
from headstart.studies.early_stopping.recommend.splits import held_out, primary, splits
from headstart.studies.early_stopping.recommend.study_runs import protocols

READ = ("data", "pretrain", "transfer", "plasticity", "scores")


def made(folder: Path) -> dict[str, list[Artifact]]:
    """Return the finished artifacts of a study that its current params ask for, by step."""
    found: dict[str, list[Artifact]] = {step: [] for step in READ}
    for step, artifacts in found.items():
        for path in sorted(folder.glob(f"results/{step}/*/manifest.json")):
            artifacts.append(Artifact(path.parent, read_json(path)))
    return found


def make_scores(
    artifacts: Mapping[str, Sequence[Artifact]], networks: Collection[str]
) -> pd.DataFrame:
    """Return the scores of the checkpoints of some networks on the images of every draw."""
    from headstart.steps.sections import model_of, read_task
    from headstart.studies.early_stopping.recommend.scores import score_table
    from headstart.tasks.task import draw_shots
    from headstart.training.checkpoint_series import CheckpointSeries
    from headstart.training.device import one_thread

    one_thread()
    by_key = {each.manifest["key"]: each for step in READ for each in artifacts[step]}
    parts = []
    for artifact in artifacts["transfer"]:
        manifest = artifact.manifest
        names, params = manifest["wildcards"], manifest["params"]
        if names["seed"] not in networks or params["transfer"]["mode"] != "finetune":
            continue
        inputs = [by_key[key] for key in manifest["inputs"]]
        (pretrain,) = (each for each in inputs if each.manifest["step"] == "pretrain")
        dataset = {"dataset": params["task"]["dataset"]}
        data = next(each for each in inputs if each.manifest["wildcards"] == dataset)
        task = read_task(names["target"], params, data)
        series = CheckpointSeries(pretrain, model_of(params), task.train.images.shape, "cpu")
        runs = pd.read_parquet(artifact.file("runs.parquet"))
        for _, rows in runs.groupby(["shots", "draw"]):
            shots, draw = int(rows["shots"].iloc[0]), int(rows["draw"].iloc[0])
            train = draw_shots(task, shots, draw)
            epochs = sorted(rows["source_epoch"].unique())
            table = score_table(series, epochs, train, task.validation, series.normalization)
            own = {name: names[name] for name in (*NETWORK, "target")}
            parts.append(table.assign(**own, shots=str(shots), draw=draw))
    return pd.concat(parts, ignore_index=True)


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
        generator = np.random.default_rng(derive_seed("random checkpoint", network))
        scores: dict[str, Any] = {
            "random": np.where(rows["source_epoch"] > 0, generator.random(len(rows)), -1.0),
            "last": rows["source_epoch"],
            "source-best": rows["source_epoch"] == SOURCE_BEST_EPOCHS[network],
            "epoch learned elsewhere": rows.join(means, on=["shots", "source_epoch"])["mean"],
            "taught, nothing tried": taught(rows),
        }
        rows = rows.assign(**scores).dropna(subset="elsewhere")
        rows = with_reference(rows, False, OTHER_DRAWS)
        for rule in scores:
            chosen = highest(rows, rows[rule].astype(float), rows["cell"])[KEPT]
            parts.append(chosen.assign(rule=rule, cost=0.0, tuned=False))
    choices = with_regime(pd.concat(parts, ignore_index=True))
    choices["regret"] = choices["reference"] - choices["read"]
    return choices.assign(regime=choices["shots"] + " shots")


def render(table: pd.DataFrame, title: str) -> str:
    """Return a summary as a table of Markdown, a section per question."""
    lines = [
        f"\n### {title}\n",
        "| rule | cost, % | mean regret | 95 % interval | within 1 point, % | cells |",
        "|---|---|---|---|---|---|",
    ]
    for regime, rows in table.groupby("regime", sort=False):
        lines.append(f"| **{regime}**, noise floor {rows['floor'].iloc[0]:.1f} | | | | | |")
        lines += [
            f"| {row.rule} | {row.cost:.1f} | {row.regret:.1f} | {row.low:.1f} to {row.high:.1f} | {row.within:.0f} "
            f"| {row.cells} |"
            for _, row in rows.iterrows()
        ]
    return "\n".join(lines)


def study_tables(folder: Path, cache: Path | None, log: Callable[[str], None]) -> None:
    """Print what was held out and the tables of every question, for each protocol of fine-tuning."""
    artifacts = made(folder)
    named = read_yaml(folder / "params.yaml").get("statistics", {}).get("primary")
    for protocol, runs in protocols(artifacts):
        atlas = halved(runs)
        if atlas["elsewhere"].isna().all():
            log(f"{protocol}: every network has one draw, and nothing to read a choice on")
            continue
        out = held_out(atlas, *primary(atlas, named))
        log(f"{protocol}: {len(atlas)} runs; held out: {out}")
        judged = atlas[atlas["seed"].isin(out.networks)]
        if "logme" not in atlas or judged["logme"].isna().any():
            # The study scored no checkpoint, or those of some models alone.
            atlas = atlas.drop(columns=[*COLUMNS], errors="ignore")
            atlas = atlas.merge(_scores(artifacts, cache, out.networks), on=SCORED, how="left")
        new = atlas["seed"].isin(out.networks)
        judged, rules = with_rules(atlas[new])
        atlas = pd.concat([judged, atlas[~new]])
        for split in splits(atlas, out, [out.networks], [out.networks]):
            choices = judge(atlas, split, rules, OTHER_DRAWS, in_parts=True)
            log(render(summary(choices), " ".join((split.question, split.left_out)).strip()))
            for fold in split.folds:
                log("\n" + _coverage(choices, atlas[fold.teaching]))


SCORED = [*CELL, "source_epoch"]


def _scores(
    artifacts: Mapping[str, Sequence[Artifact]], cache: Path | None, networks: Collection[str]
) -> pd.DataFrame:
    """Return the scores of checkpoints, from a file where they were kept."""
    if cache and cache.exists():
        scores = pd.read_parquet(cache)
    else:
        scores = make_scores(artifacts, networks)
        if cache:
            scores.to_parquet(cache)
    return scores.astype({"seed": str, "shots": str})


def _coverage(choices: pd.DataFrame, teaching: pd.DataFrame) -> str:
    """Return how well the recommender's intervals and probabilities held."""
    parts = []
    for tuned in (False, True):
        mine = choices[(choices["rule"] == RECOMMEND) & ((choices["regime"] == TUNED) == tuned)]
        parts.append(forecasts(mine, Calibration(teaching, tuned, BUDGET)))
    return coverage(pd.concat(parts, ignore_index=True)).round(2).to_string(index=False)


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
