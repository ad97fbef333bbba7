"""A study whose networks learnt nothing says so: in verdicts, claims, figures and the report."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt
from study_tables import EARLIER, EPOCHS, measurements
from tiny_study import STUDY

from headstart.artifacts import store
from headstart.artifacts.files import read_json, read_table
from headstart.plan import Plan
from headstart.registry import Params, function_of
from headstart.statistics.chance import by_guessing
from headstart.studies.early_stopping import report
from headstart.studies.early_stopping.claims import ClaimEvaluator
from headstart.studies.early_stopping.data_transferred import data_transferred
from headstart.studies.early_stopping.figures import transfer
from headstart.studies.early_stopping.params import Statistics
from headstart.studies.early_stopping.pretraining import pretraining_table
from headstart.studies.early_stopping.tables import tidy
from headstart.studies.early_stopping.verdicts.study_verdicts import study_verdicts, verdict_frame
from headstart.studies.early_stopping.verdicts.text import one_line

RATES = {"rates": (0.01, 0.1, 1.0)}
CLASSES, HELD_OUT = 10, 100


def of_study(accuracy: float | None = None, moved: float = 20.0) -> pd.DataFrame:
    """Return a study's measurements whose source networks reach an accuracy and move so far at most."""
    table = measurements(EARLIER, **RATES)
    sources = (table["mode"] == "pretrain") & (table["metric"] == "accuracy")
    if accuracy is not None:
        noise = np.random.default_rng(0).normal(0, 0.01, int(sources.sum()))
        table.loc[sources, "value"] = (accuracy + noise).clip(0, 1)
    names = table.loc[sources, ["source", "model", "target", "arm", "mode"]].iloc[0].to_dict()
    facts = [
        {
            **names,
            "seed": seed,
            "source_epoch": epoch,
            "split": "train",
            "metric": name,
            "value": value,
        }
        for seed in range(8)
        for epoch, name, value in [
            (0, "classes", CLASSES),
            (0, "validation_images", HELD_OUT),
            *((epoch, "distance", moved * epoch / EPOCHS[-1]) for epoch in EPOCHS),
        ]
    ]
    images = table[(table["split"] == "test") & (table["mode"] == "finetune")]
    images = images.assign(metric="images", split="train", value=5.0 * CLASSES)
    return tidy([table, pd.DataFrame(facts), images]).assign(device="cpu")


def verdicts(table: pd.DataFrame) -> pd.DataFrame:
    return verdict_frame(study_verdicts(table, Statistics()), table)


def test_guessing_is_told_from_knowing_by_the_number_of_images() -> None:
    assert 0.1 < by_guessing(10, 1000) < 0.12
    assert by_guessing(10, 20) > 0.2
    generator = np.random.default_rng(0)
    guesses = generator.binomial(100, 0.1, 2000) / 100
    assert 0.01 < (guesses > by_guessing(10, 100)).mean() < 0.05


def test_source_networks_at_chance_are_flagged_wherever_a_start_is_judged() -> None:
    table = of_study(accuracy=0.1)
    rows = verdicts(table)
    words = "source-at-chance: 8 of 8 source networks reach"
    assert rows["flags"].str.contains(words).all()
    assert "as guessing among 10 classes does" in rows["flags"].iloc[0]
    assert all(words in one_line(verdict) for verdict in study_verdicts(table, Statistics()))
    pretraining = pretraining_table(table, data_transferred(table))
    assert words in pretraining["flags"].item()
    assert (
        words in ClaimEvaluator({"measurements": table}, {}, verdicts=[]).pretraining_helps().reason
    )
    page = "".join(report.opening({"verdicts": rows, "pretraining": pretraining}))
    assert page.count(f"Beware: {words}") == len(rows) + len(pretraining)


def test_source_networks_that_learnt_are_not_flagged() -> None:
    table = of_study(accuracy=0.6)
    rows = verdicts(table)
    assert not rows["flags"].str.contains("chance").any()
    assert (rows["verdict"] != "undetermined").any()
    assert "guessing" not in pretraining_table(table, data_transferred(table))["flags"].item()


@pytest.mark.parametrize("moved", [0.0, 1e-5])
def test_checkpoints_that_do_not_differ_decide_nothing(moved: float) -> None:
    rows = verdicts(of_study(moved=moved))
    assert (rows["verdict"] == "undetermined").all()
    assert rows["reason"].str.contains("pre-training does not move the weights of seed 0").all()


def test_one_file_under_several_epochs_decides_nothing() -> None:
    table = of_study()
    distances = (table["metric"] == "distance") & (table["source_epoch"] > 0) & (table["seed"] == 3)
    table.loc[distances, "value"] = 12.5
    rows = verdicts(table)
    assert rows["reason"].str.contains("the weights of seed 3").all()


def test_starts_with_equal_accuracies_in_all_runs_are_named() -> None:
    table = of_study(accuracy=0.6)
    assert not verdicts(table)["flags"].str.contains("equal-starts").any()
    runs = table["mode"] == "finetune"
    keys = ["seed", "draw", "learning_rate", "split", "metric"]
    earlier = table[runs & (table["source_epoch"] == 1)].set_index(keys)["value"]
    later = runs & (table["source_epoch"] == 4)
    places = pd.MultiIndex.from_frame(table.loc[later, keys])
    table.loc[later, "value"] = earlier.loc[places].to_numpy()
    flags = verdicts(table)["flags"]
    assert flags.str.contains("equal-starts: source epochs 1 and 4 have the same accuracies").all()


def test_a_target_at_chance_decides_nothing_and_says_so() -> None:
    table = of_study(accuracy=0.6)
    runs = (table["mode"] == "finetune") & (table["metric"] != "images")
    table.loc[runs, "value"] = 0.1 + 0.02 * (table.loc[runs, "value"] - 0.7)
    rows = verdicts(table)
    assert (rows["verdict"] == "undetermined").all()
    assert rows["reason"].str.contains("every start stays at chance").all()


def test_the_figure_has_a_line_at_chance_on_target_and_source() -> None:
    figure, table = transfer.transfer_figure(of_study(), "net", 0.95)
    levels = table.set_index("drawn")["mean"]
    assert levels["chance"] == levels["source chance"] == 100 / CLASSES
    for axis in figure.axes:
        lines = [line.get_ydata() for line in axis.lines if line.get_linestyle() == ":"]
        assert any(np.allclose(line, 100 / CLASSES) for line in lines)
        assert "chance" in " ".join(text.get_text() for text in axis.texts)
    plt.close("all")
    # Without the numbers of classes nothing is drawn that nobody knows.
    assert "chance" not in set(
        transfer.transfer_figure(measurements(EARLIER), "net", 0.95)[1]["drawn"]
    )
    plt.close("all")


@pytest.mark.usefixtures("project")
def test_a_study_whose_rate_is_next_to_nothing_says_so_at_every_step() -> None:
    said: list[str] = []
    pretrain = {**STUDY["pretrain"]["convnet"], "learning_rate": 1e-12, "seeds": [0, 1, 2]}
    plan = Plan(Params.model_validate({**STUDY, "pretrain": {"convnet": pretrain}}))
    for job in plan.jobs("data", "check", "pretrain", "transfer", "tables"):
        if job.step != "tables" or job.name == "early_stopping":
            store.run(job, function_of(job), log=lambda text, **_: said.append(text))
    assert sum("BEWARE: as guessing among 3 classes on 9 images" in line for line in said) == 3
    tables = next(job for job in plan.jobs("tables") if job.name == "early_stopping").path
    rows = read_table(tables / "verdicts.parquet")
    assert rows["reason"].str.contains("pre-training does not move the weights of seed 0").all()
    assert (
        "pre-training does not move" in read_table(tables / "pretraining.parquet")["reason"].item()
    )
    distances = [
        entry["distance"]
        for job in plan.jobs("pretrain")
        for entry in read_json(job.path / "checkpoints.json")["checkpoints"]
    ]
    assert max(distances) < 1e-6
