"""Tables of runs as spreadsheets and scripts write them: read alike, or refused with one true line."""

import importlib.util
import time
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from simulated_runs import EPOCHS, peak_at, runs_table

from headstart.statistics.errors import TableError
from headstart.studies.early_stopping.verdicts import table_files
from headstart.studies.early_stopping.verdicts.text import read_runs
from headstart.studies.early_stopping.verdicts.verdicts import Verdict, verdict_table

COLUMNS = "source model target mode seed source_epoch shots draw learning_rate split metric value"


def study(n_seeds=8, source="cub", test_is_validation=False):
    """Return a table in which starting early is worth 3 points, with its columns in the order of the docs."""
    rng = np.random.default_rng(0)
    gains = np.where(EPOCHS == 5, 0.03, 0.0)[:, None, None, None]
    base = 0.7 + gains + rng.normal(0, 0.005, (len(EPOCHS), n_seeds, 2, 2))
    other = base if test_is_validation else base + rng.normal(0, 0.005, base.shape)
    table = runs_table(
        EPOCHS, base, other, peak_at(EPOCHS, 10, n_seeds), (0.01, 0.1), source=source
    )
    return table.reindex(columns=COLUMNS.split())


def key(verdicts: list[Verdict]):
    return [(v.contrast["source"], v.verdict, round(v.effect, 6), v.n_seeds) for v in verdicts]


def of(file, table, write):
    write(table, file)
    return verdict_table(read_runs(file))


WAYS = {
    "plain.csv": lambda t, f: t.to_csv(f, index=False),
    "european.csv": lambda t, f: t.to_csv(f, index=False, sep=";", decimal=","),
    "semicolons.csv": lambda t, f: t.to_csv(f, index=False, sep=";"),
    "quoted_commas.csv": lambda t, f: t.to_csv(f, index=False, decimal=","),
    "tabs.tsv": lambda t, f: t.to_csv(f, index=False, sep="\t"),
    "tabs.csv": lambda t, f: t.to_csv(f, index=False, sep="\t"),
    "bom.csv": lambda t, f: t.to_csv(f, index=False, encoding="utf-8-sig"),
    "utf16.csv": lambda t, f: t.to_csv(f, index=False, encoding="utf-16"),
    "indexed.csv": lambda t, f: t.to_csv(f),
    "lines.jsonl": lambda t, f: t.to_json(f, orient="records", lines=True),
    "packed.csv.gz": lambda t, f: t.to_csv(f, index=False),
    "packed.csv.zip": lambda t, f: t.to_csv(f, index=False),
    "table.parquet": lambda t, f: t.to_parquet(f),
    "na.csv": lambda t, f: t.to_csv(f, index=False, na_rep="NA"),
    "upper.csv": lambda t, f: t.assign(split=t["split"].str.upper()).to_csv(f, index=False),
    "titles.csv": lambda t, f: t.rename(columns=lambda c: c.replace("_", " ").title()).to_csv(
        f, index=False
    ),
    "spaces.csv": lambda t, f: t.assign(mode=" " + t["mode"] + " ").to_csv(f, index=False),
}


@pytest.mark.parametrize("name", WAYS)
def test_every_way_of_writing_a_table_gives_the_same_verdicts(tmp_path: Path, name):
    expected = key(verdict_table(study()))
    assert expected[0][1] == "earlier-better"
    assert key(of(tmp_path / name, study(), WAYS[name])) == expected


@pytest.mark.parametrize("source", ["None", "NA", "null", "nan", "1"])
def test_a_source_may_be_called_what_elsewhere_means_missing(tmp_path: Path, source):
    (first, *_) = of(tmp_path / "runs.csv", study(source=source), WAYS["plain.csv"])
    assert str(first.contrast["source"]) == source
    assert first.verdict == "earlier-better"


def test_western_text_without_a_mark_is_read(tmp_path: Path):
    file = tmp_path / "latin1.csv"
    study(source="Käfer").to_csv(file, index=False, encoding="cp1252")
    assert read_runs(file)["source"].unique().tolist() == ["Käfer"]


@pytest.mark.parametrize("in_source_rows", [True, False])
def test_best_may_stand_for_an_epoch(tmp_path: Path, in_source_rows):
    table = study().astype({"source_epoch": object})
    best = table["source_epoch"] == 10
    if not in_source_rows:
        best &= table["mode"] != "pretrain"
    table.loc[best, "source_epoch"] = "best"
    (first, *_) = of(tmp_path / "best.csv", table, WAYS["plain.csv"])
    assert first.verdict == "earlier-better"
    # Of the numbered epochs 1 to 9 the last is 9; where pre-training says it, the number is known.
    assert set(first.source_best) == {10}


def test_best_of_an_unknown_epoch_is_described(tmp_path: Path):
    table = study().astype({"source_epoch": object})
    table = table[table["mode"] != "pretrain"]
    table["source_epoch"] = table["source_epoch"].replace({10: "Best"})
    (first, *_) = of(tmp_path / "best.csv", table, WAYS["plain.csv"])
    assert first.descriptive
    assert first.chosen_epoch == 5
    assert "no validation accuracies on the source" in first.reason


def test_equal_values_under_several_seeds_are_one_unit():
    table = study()
    runs = table[(table["mode"] != "pretrain") & (table["seed"] == 0)]
    more = [runs.assign(seed=seed, draw=runs["draw"] + 1000 * seed) for seed in (8, 9)]
    source = table[table["mode"] == "pretrain"]
    high = [
        source[source["seed"] == 0].assign(seed=s, value=lambda t, s=s: t["value"] - 1e-4 * s)
        for s in (8, 9)
    ]
    (first, *_) = verdict_table(pd.concat([table, *more, *high], ignore_index=True))
    assert first.n_seeds == 8
    assert any("equal-seeds: seeds 8, 9 have the accuracies" in flag for flag in first.flags)


def test_validation_that_equals_test_only_describes():
    (first, *_) = verdict_table(study(test_is_validation=True))
    assert first.descriptive
    assert first.verdict == "undetermined"
    assert "validation and test accuracies are equal in every run" in first.reason


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda t: t.assign(learning_rate=t["learning_rate"].map(lambda x: f"lr={x}")),
            "'learning_rate' must hold numbers; row 0 holds 'lr=",
        ),
        (
            lambda t: t.replace({"accuracy_at_validation_best": "top1"}),
            "the fine-tuning rows have metric 'top1'; 'accuracy_at_validation_best' is needed",
        ),
        (lambda t: t.assign(source=t["source"].mask(t.index == 7)), "'source' is empty in row 7"),
        (lambda t: t.drop(columns="draw"), "no column 'draw'"),
        (lambda t: t.assign(value=t["value"].astype(str) + " %"), "'value' must hold numbers"),
        (
            lambda t: t.assign(value=t["value"].where(t["mode"] != "pretrain", t["value"] * 100)),
            "accuracies are fractions from 0 to 1; those of the source are .* Divide percentages",
        ),
        (lambda t: t.assign(Value=1.0), "two columns are called 'value'"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_one_line(tmp_path: Path, change, said):
    change(study()).to_csv(tmp_path / "runs.csv", index=False)
    with pytest.raises(TableError, match=said) as caught:
        read_runs(tmp_path / "runs.csv")
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("empty.csv", b"", "empty.csv is empty"),
        ("picture.csv", b"\x89PNG\r\n\0\0\0\0", "is no text"),
        ("runs.docx", b"PK", "no table that can be read; save it as .csv"),
        ("runs.parquet", b"PAR1", "cannot be read as a table"),
        ("runs.jsonl", b"{", "cannot be read as a table"),
    ],
)
def test_files_without_a_table_are_named(tmp_path: Path, name, content, said):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(TableError, match=said):
        read_runs(tmp_path / name)


def test_a_spreadsheet_is_read(tmp_path: Path):
    pytest.importorskip("openpyxl", reason="reads .xlsx: pip install 'headstart[tables]'")
    file = tmp_path / "runs.xlsx"
    study().to_excel(file, index=False)
    assert key(verdict_table(read_runs(file))) == key(verdict_table(study()))
    with pd.ExcelWriter(file) as book:
        pd.DataFrame({"notes": ["as of March"]}).to_excel(book, sheet_name="Notes", index=False)
        study().to_excel(book, sheet_name="Runs", index=False)
    assert key(verdict_table(read_runs(file))) == key(verdict_table(study()))


def test_a_file_that_is_no_spreadsheet_or_whose_reader_is_absent_is_one_line(tmp_path: Path):
    file = tmp_path / "runs.xlsx"
    file.write_bytes(b"PK")
    absent = r"runs\.xlsx: .* openpyxl, which is not installed: `pip install openpyxl`, or save"
    there = importlib.util.find_spec("openpyxl") is not None
    with pytest.raises(TableError, match="is no spreadsheet" if there else absent):
        read_runs(file)


@pytest.mark.parametrize("suffix", ["csv.zip", "csv.gz", "csv.xz", "xlsx"])
def test_a_small_archive_of_a_huge_table_is_refused_before_it_fills_the_memory(
    tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(table_files, "LARGEST", 10_000)
    file = tmp_path / f"bomb.{suffix}"
    zeros = pd.DataFrame({"value": np.zeros(20_000)})
    if suffix == "xlsx":
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("xl/worksheets/sheet1.xml", "0" * 20_000)
    else:
        zeros.to_csv(file)
    assert file.stat().st_size < 80_000
    with pytest.raises(TableError, match="holds more than 10,000 bytes"):
        read_runs(file)


def test_signs_that_command_a_terminal_are_only_shown(tmp_path: Path):
    study(source="\x1b[31mcub\x1b]0;title\x07\nnew").to_csv(tmp_path / "runs.csv", index=False)
    (source,) = read_runs(tmp_path / "runs.csv")["source"].unique()
    assert source == r"\x1b[31mcub\x1b]0;title\x07\nnew"


def test_many_rows_are_read_within_seconds(tmp_path: Path):
    """A million rows take less than ten seconds; a fifth of them is tried here."""
    table = study(n_seeds=40)
    many = pd.concat([table.assign(target=f"t{i}") for i in range(200_000 // len(table))])
    many.to_csv(tmp_path / "many.csv", index=False)
    started = time.process_time()
    assert len(read_runs(tmp_path / "many.csv")) > 190_000
    assert time.process_time() - started < 10
