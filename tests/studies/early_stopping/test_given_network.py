"""Source epoch 0 of a model with given weights is that network: nothing of it is called scratch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt
from study_tables import EARLIER, curves, measurements
from tiny_study import STUDY

from headstart.artifacts import store
from headstart.artifacts.files import file_sha256, read_table
from headstart.networks.build import build
from headstart.plan import Plan
from headstart.registry import Params, function_of
from headstart.studies.early_stopping.claims import ClaimEvaluator
from headstart.studies.early_stopping.convergence import convergence_rows
from headstart.studies.early_stopping.data_transferred import data_transferred
from headstart.studies.early_stopping.figures import curves as curve_figures
from headstart.studies.early_stopping.figures import ranges, transfer
from headstart.studies.early_stopping.params import Statistics
from headstart.studies.early_stopping.pretraining import gain_over_scratch, pretraining_table
from headstart.studies.early_stopping.protocol import COLUMNS
from headstart.studies.early_stopping.settings import scratch_model
from headstart.studies.early_stopping.verdicts.comparable import comparable
from headstart.studies.early_stopping.verdicts.run_tables import arms_as_modes, contrasts
from headstart.studies.early_stopping.verdicts.study_verdicts import study_verdicts, verdict_frame
from headstart.training.checkpoints import save

RATES = {"rates": (0.01, 0.1, 1.0)}
# The given network, epoch 0, is the best start of all.
GIVEN = {0: 6.0, 1: -10.0, 2: 3.0, 4: 1.0, 8: 0.0}


def given(gains: dict[int, float] | None = None, **names: str) -> pd.DataFrame:
    table = measurements(gains or GIVEN, **RATES, **names)
    return pd.concat([table, _row(table)], ignore_index=True)


def _row(table: pd.DataFrame) -> pd.DataFrame:
    first = table[(table["mode"] == "pretrain") & (table["source_epoch"] == 0)]
    return first.drop_duplicates("seed").assign(metric="given_weights", split="train", value=1.0)


def words_of_figures(table: pd.DataFrame) -> str:
    """Return all that figures of starts write, with the texts of the tables that they draw."""
    training, judged = curves(), verdict_frame(study_verdicts(table, Statistics()), table)
    published = pd.DataFrame(columns=COLUMNS)
    drawn = [
        transfer.transfer_figure(table, "net", 0.95),
        transfer.stems_figure(table, "net"),
        ranges.ranges_figure(table, published, "net"),
        curve_figures.curves_figure(table, training, judged, "net", 0.95),
        curve_figures.curve_panels_figure(table, training, "net", 0.95),
    ]
    texts = [text.get_text() for figure, _ in drawn for text in figure.findobj(plt.Text)]
    plt.close("all")
    return " ".join([*texts, *(part.to_csv() for _, part in drawn)])


def test_figures_call_it_the_given_network_and_scratch_only_what_is() -> None:
    words = words_of_figures(given())
    assert "scratch" not in words
    assert words.count("given network") >= 5
    plain = words_of_figures(measurements(EARLIER, **RATES))
    assert plain.count("scratch") >= 5
    assert "given" not in plain


def test_it_is_a_start_like_any_other_and_may_win() -> None:
    (tuned, _) = study_verdicts(given(), Statistics())
    assert (tuned.verdict, tuned.chosen_epoch) == ("earlier-better", 0)
    assert not any("scratch" in text for text in (tuned.reason, *tuned.flags))
    (tuned, _) = study_verdicts(measurements(GIVEN, **RATES), Statistics())
    assert tuned.chosen_epoch == 2
    assert any("training from scratch beats" in flag for flag in tuned.flags)


def test_nothing_is_measured_against_it_as_if_it_were_scratch() -> None:
    table = pd.concat([given(), given(shots="25")], ignore_index=True).drop_duplicates()
    assert data_transferred(table).empty
    assert not data_transferred(table[table["metric"] != "given_weights"]).empty
    assert "time_to_scratch" in set(convergence_rows(curves())["metric"])
    measured = set(convergence_rows(curves(), {"net"})["metric"])
    assert measured == {"area_under_curve", "jumpstart", "last10_accuracy"}
    claim = ClaimEvaluator({"measurements": given()}, {}, verdicts=[]).pretraining_helps()
    assert claim.status == "not measured here"
    assert "source epoch 0 is the given network" in claim.reason
    assert pretraining_table(given(), data_transferred(given())).empty


def test_scratch_is_the_second_model_of_the_same_architecture() -> None:
    mine = given({0: 6.0, 1: 0.0, 2: 0.0, 4: 0.0, 8: 0.0})
    plain = measurements({**EARLIER, 0: -20.0}, **RATES, seed=1, model="net_scratch")
    table = pd.concat([mine, plain], ignore_index=True)
    network = "kind timm, name resnet18"
    names = {
        "source": "latin",
        "target": "cyrillic",
        "arm": "finetune",
        "target_training": "epochs 3",
    }
    settings = pd.DataFrame(
        [
            {**names, "model": "net", "network": f"{network}, weights.path a.pt, weights.sha256 b"},
            {**names, "model": "other", "network": "kind timm, name resnet34"},
            {**names, "model": "net_scratch", "network": network},
        ]
    )
    (row,) = (
        pretraining_table(table, data_transferred(table), 0, settings)
        .query("model == 'net'")
        .to_dict("records")
    )
    assert (row["status"], row["start"]) == ("supported", "0")
    assert row["gain"] == pytest.approx(26, abs=1.5)
    assert row["low"] < 26 < row["high"]
    words = "The start that validation prefers, the given network, is"
    assert f"{words} {row['gain']:+.1f}" in row["reason"]
    # A claim about networks rests on several of them.
    tables = {"measurements": table, "settings": settings}
    contrast = {"model": "net", "target": "cyrillic"}
    claim = ClaimEvaluator(tables, {}, contrast, verdicts=[]).pretraining_helps()
    assert claim.status == "undetermined"
    assert claim.value == row["gain"]
    assert "needs several of them" in claim.reason
    # The negative control: against itself it gains nothing.
    (one,) = [each for each in contrasts(arms_as_modes(table)) if each["model"] == "net"]
    runs = comparable(arms_as_modes(table), one)
    same = gain_over_scratch(runs, 0, runs)
    assert same is not None
    assert abs(same.gain.effect) < 1e-9 or same.gain.p > 0.025
    assert scratch_model(settings.iloc[:2], one | {"arm": "finetune"}) is None


@pytest.mark.usefixtures("project")
def test_a_study_of_given_weights_and_its_own_scratch_arm() -> None:
    model: dict[str, Any] = {"kind": "convnet", "width": 2}
    weights = build(Params.model_validate(STUDY).models["convnet"], 1, 8, 3, seed=77).state_dict()

    save(weights, Path("given.safetensors"))
    sha256 = file_sha256(Path("given.safetensors"))
    models = {
        "net": model | {"weights": {"path": "given.safetensors", "sha256": sha256}},
        "net_scratch": model,
    }
    pretrain = {**STUDY["pretrain"]["convnet"], "epochs": 0}
    arm = {**STUDY["transfer"]["convnet"]["finetune"], "source_epochs": [0], "nested_draws": True}
    study = {
        **STUDY,
        "models": models,
        "pretrain": dict.fromkeys(models, pretrain),
        "transfer": {name: {"finetune": arm} for name in models},
    }
    plan = Plan(Params.model_validate(study))
    for job in plan.jobs("data", "check", "pretrain", "transfer", "tables"):
        if job.step != "tables" or job.name == "early_stopping":
            store.run(job, function_of(job))
    tables = next(job for job in plan.jobs("tables") if job.name == "early_stopping").path
    (row,) = read_table(tables / "pretraining.parquet").to_dict("records")
    table = read_table(tables / "measurements.parquet")
    assert row["model"] == "net"
    assert row["start"] == "0"
    assert "Every source network is the given one: this speaks of it alone." in row["reason"]
    runs = table[(table["metric"] == "accuracy_at_validation_best") & (table["split"] == "test")]
    means = runs.groupby("model")["value"].mean()
    assert row["gain"] == pytest.approx(100 * (means["net"] - means["net_scratch"]))
    times = table[table["metric"] == "time_to_scratch"]
    assert set(times["model"]) == {"net_scratch"}
    assert np.isfinite(times["value"]).all()
