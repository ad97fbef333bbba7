"""Verdicts on the study's own measurements, and the commands that read them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from study_tables import EARLIER, FLAT, joined, measurements

from headstart import cli
from headstart.maintenance import presets
from headstart.statistics.words import format_interval
from headstart.studies.early_stopping.params import Statistics
from headstart.studies.early_stopping.verdicts.study_verdicts import study_verdicts, verdict_frame
from headstart.studies.early_stopping.verdicts.text import one_line, read_runs
from headstart.studies.early_stopping.verdicts.verdicts import verdict_table

ROOT = Path(__file__).parents[3]
PRIMARY = {"source": "latin", "model": "net", "target": "cyrillic", "arm": "finetune", "shots": 5}
ASKED = Statistics.model_validate({"primary": PRIMARY})


def two_arms() -> pd.DataFrame:
    return joined(measurements(EARLIER), measurements(FLAT, arm="gentle", seed=1))


def test_two_arms_of_one_mode_are_two_contrasts_and_the_primary_comes_first() -> None:
    verdicts = study_verdicts(two_arms(), ASKED)
    assert [v.contrast["mode"] for v in verdicts] == ["finetune", "gentle"]
    assert [v.primary for v in verdicts] == [True, False]
    assert verdicts[0].verdict == "earlier-better"
    frame = verdict_frame(verdicts, two_arms(), margin=2.0)
    assert frame[["arm", "mode"]].to_numpy().tolist() == [
        ["finetune", "finetune"],
        ["gentle", "finetune"],
    ]
    assert set(frame["margin"]) == {2.0}


def test_each_verdict_is_one_line_with_effect_interval_and_n() -> None:
    for verdict in study_verdicts(two_arms(), ASKED):
        line = one_line(verdict)
        assert "\n" not in line
        assert "n = 8 × 2" in line
        assert verdict.verdict in line
    assert one_line(study_verdicts(two_arms(), ASKED)[0]).endswith("primary")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda t: t[t["seed"] == 0], "1 source seed cannot give a p below"),
        (
            lambda t: t[~((t["seed"] == 1) & (t["draw"] == 1001) & (t["source_epoch"] == 2))],
            "crossed",
        ),
        (lambda t: t[t["mode"] != "pretrain"], "has no source accuracy"),
        (lambda t: t.assign(value=t["value"].where(t["source_epoch"] != 2)), "not numbers"),
        (lambda t: pd.concat([t, t.tail(1)]), "measure something that another row measures"),
        (lambda t: t.assign(value=t["value"] * 100), "fractions from 0 to 1"),
    ],
    ids=["one seed", "unbalanced", "no source", "nan", "duplicates", "percent"],
)
def test_what_cannot_be_judged_is_undetermined_with_its_reason(spoil, said: str) -> None:
    table = spoil(measurements())
    (verdict,) = study_verdicts(table, ASKED)
    assert verdict.verdict == "undetermined"
    assert verdict.primary
    assert said in verdict.reason
    assert len(verdict_frame([verdict], table)) == 1


def test_no_runs_give_an_empty_table_with_all_columns(tmp_path: Path) -> None:
    table = measurements()
    table = table[table["mode"] == "pretrain"]
    frame = verdict_frame(study_verdicts(table, Statistics()), table)
    full = verdict_frame(study_verdicts(two_arms(), ASKED), two_arms())
    assert frame.empty
    assert list(frame.columns) == list(full.columns)
    frame.to_parquet(tmp_path / "verdicts.parquet")


def said_by(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    with pytest.raises(SystemExit) as end:
        cli.main([str(argument) for argument in arguments])
    assert end.value.code == 0
    return capsys.readouterr().out


def refused(*arguments: object) -> str:
    with pytest.raises(SystemExit) as end:
        cli.main([str(argument) for argument in arguments])
    message = str(end.value.code)
    assert message.startswith("headstart: ")
    assert "\n" not in message
    return message


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_the_command_judges_a_file(kind: str, tmp_path: Path, capsys) -> None:
    file = tmp_path / f"runs.{kind}"
    table = two_arms()
    table.to_csv(file, index=False) if kind == "csv" else table.to_parquet(file)
    said = said_by(capsys, "verdict", file, "--primary", "arm=finetune", "shots=5")
    first = said.splitlines()[1]
    assert first.startswith("*")
    assert "earlier-better" in first
    assert "gentle" in said


def test_the_margin_of_the_command_reaches_the_verdict(tmp_path: Path, capsys) -> None:
    file = tmp_path / "runs.parquet"
    measurements(FLAT, seed_sd=0.008).to_parquet(file)
    assert "equivalent" not in said_by(capsys, "verdict", file, "--margin", "0.1").splitlines()[1]
    assert "equivalent" in said_by(capsys, "verdict", file, "--margin", "3").splitlines()[1]


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda t: t.drop(columns="draw"), "no column 'draw'"),
        (lambda t: pd.concat([t, t.tail(1)]), "rows measure something that another row measures"),
        (lambda t: t.assign(value=t["value"] * 100), "Divide percentages by 100"),
        (lambda t: t[t["mode"] == "pretrain"], "no fine-tuning runs"),
        (lambda t: t.iloc[:0], "no rows"),
    ],
    ids=["column", "duplicates", "percent", "no runs", "empty"],
)
def test_a_table_that_is_none_of_runs_is_one_line(spoil, said: str, tmp_path: Path) -> None:
    file = tmp_path / "runs.parquet"
    spoil(measurements()).to_parquet(file)
    assert said in refused("verdict", file)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda t: t[t["seed"] == 0], "1 source seed cannot"),
        (
            lambda t: t[~((t["seed"] == 1) & (t["draw"] == 1001) & (t["source_epoch"] == 2))],
            "crossed",
        ),
        (lambda t: t.assign(value=t["value"].where(t["source_epoch"] != 2, np.nan)), "not numbers"),
    ],
    ids=["one seed", "unbalanced", "nan"],
)
def test_runs_that_cannot_decide_are_undetermined_and_no_number_looks_sure(
    spoil, said: str, tmp_path: Path, capsys
) -> None:
    file = tmp_path / "runs.csv"
    spoil(measurements()).to_csv(file, index=False)
    text = said_by(capsys, "verdict", file)
    assert "undetermined" in text.splitlines()[1]
    assert said in " ".join(text.split())
    assert "nan" not in text


def test_wrong_arguments_are_one_line_each(tmp_path: Path) -> None:
    file = tmp_path / "runs.parquet"
    two_arms().to_parquet(file)
    assert "there is no file" in refused("verdict", tmp_path / "none.csv")
    assert "not of the form column=value" in refused("verdict", file, "--primary", "cyrillic")
    assert "is none" in refused("verdict", file, "--primary", "taget=cyrillic")
    assert "0 contrasts fit" in refused("verdict", file, "--primary", "target=greek")
    assert "2 contrasts fit" in refused("verdict", file, "--primary", "target=cyrillic")
    assert "--margin" in refused("verdict", file, "--margin", "-1")


def test_without_a_file_and_without_tables_the_command_says_what_to_run(project: Path) -> None:

    (project / "params.yaml").write_text(presets.complete_text(presets.find("smoke")))
    for command in ("verdict", "claims"):
        assert "not made yet; run `snakemake" in refused(command)


def test_photographs_decide_as_docs_early_stopping_says() -> None:
    runs = read_runs(ROOT / "published/photographs.csv")
    verdicts = verdict_table(runs, primary={"target": "vehicles", "shots": 10})
    found = {verdict.question: verdict for verdict in verdicts}
    assert found["tuned"].verdict == "learning-rate-dependent"
    fixed = found["fixed"]
    assert (fixed.verdict, fixed.learning_rate, fixed.n_seeds) == ("earlier-better", 0.8, 12)
    said = format_interval(fixed.effect, fixed.interval.low, fixed.interval.high, signed=True)
    assert said in (ROOT / "docs/early_stopping.md").read_text()
