"""Tables of runs as people's programs write them: separators, decimal commas, encodings, missing values, spelling.

Only what one reading allows is put right; everything else is left for `check_table` to refuse.
"""

from __future__ import annotations

import gzip
import io
import lzma
import re
import zipfile
from bz2 import BZ2File
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pandas as pd

from headstart.statistics.errors import TableError
from headstart.studies.early_stopping.verdicts.run_tables import (
    BEST,
    PRETRAIN,
    REQUIRED_COLUMNS,
    SOURCE_BEST,
)

NUMBERS = ("value", "source_epoch", "learning_rate", "target_epoch", "image")
# How spreadsheets and programs write that a number is missing.
MISSING = ["", "NA", "N/A", "n/a", "#N/A", "NaN", "nan", "None", "null", "NULL", "-", "–"]
SEPARATORS = (",", ";", "\t", "|")
TEXTS = (".csv", ".tsv", ".txt")
COMPRESSED: dict[str, Callable[[Path], BinaryIO]] = {
    ".gz": gzip.open,  # type: ignore[dict-item]
    ".xz": lzma.open,  # type: ignore[dict-item]
    ".bz2": BZ2File,  # type: ignore[dict-item]
}
# Bytes: a hundred million cells; a small archive may hold what fills the memory.
LARGEST = 2**31
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
FORMS = ".csv, .tsv, .txt (also .gz, .xz, .bz2, .zip), .parquet, .jsonl, .json or .xlsx"


def read_table_file(file: Path) -> pd.DataFrame:
    """Return the table in a file, its columns by their own names, cells as they are meant.

    Raises:
        TableError: there is no such file, or no table can be read from it.
    """
    if not file.is_file():
        raise TableError(f"there is no file {file}")
    try:
        table = _read(file)
    except (ValueError, OSError, EOFError, KeyError, pd.errors.ParserError) as error:
        if isinstance(error, TableError):
            raise
        reason = " ".join(str(error).split())
        raise TableError(f"{file.name} cannot be read as a table: {reason}") from error
    return with_best_epochs(_spelled(table))


def _read(file: Path) -> pd.DataFrame:
    name = file.name.lower()
    if name.endswith((".parquet", ".pq")):
        return pd.read_parquet(file)
    if name.endswith((".jsonl", ".json")):
        return pd.read_json(file, orient="records", lines=name.endswith("l"))
    if name.endswith((".xlsx", ".xlsm")):
        return _spreadsheet(file)
    plain = name.removesuffix(file.suffix.lower()) if file.suffix.lower() != ".csv" else name
    if not name.endswith(TEXTS) and not plain.endswith(TEXTS):
        raise TableError(f"{file.name} is no table that can be read; save it as {FORMS}")
    return _text(file)


def _spreadsheet(file: Path) -> pd.DataFrame:
    try:
        with zipfile.ZipFile(file) as archive:
            _check_size(sum(each.file_size for each in archive.infolist()), file)
        with pd.ExcelFile(file) as book:
            return pd.read_excel(
                book, sheet_name=_sheet(book), keep_default_na=False, na_values=[""]
            )
    except TableError:
        raise
    except ImportError:
        raise TableError(
            f"{file.name}: spreadsheets are read by openpyxl, which is not installed: `pip install openpyxl`, "
            "or save it as .csv"
        ) from None
    # The reader has errors of its own and of the archive's for a file that is no spreadsheet.
    except Exception as error:
        raise TableError(
            f"{file.name} is no spreadsheet: {' '.join(str(error).split())}"
        ) from error


def _sheet(book: pd.ExcelFile) -> Any:
    """Return the first sheet with a column of metrics; the first of all where none has one."""
    for name in book.sheet_names:
        if "metric" in {
            _column(str(each)) for each in pd.read_excel(book, sheet_name=name, nrows=0)
        }:
            return name
    return 0


def _text(file: Path) -> pd.DataFrame:
    content = _content(file)
    encoding = _encoding(content, file)
    head = content[:65536].decode(encoding, errors="ignore").splitlines()
    first = next((line for line in head if line.strip()), "")
    if not first:
        raise TableError(f"{file.name} is empty")
    separator = max(SEPARATORS, key=first.count)
    names = [str(each) for each in pd.read_csv(io.StringIO(first), sep=separator).columns]
    numbers = {each: MISSING for each in names if _column(each) in NUMBERS}
    return pd.read_csv(
        io.BytesIO(content),
        sep=separator,
        encoding=encoding,
        decimal="," if separator != "," else ".",
        keep_default_na=False,
        na_values={**{each: [""] for each in names}, **numbers},
        low_memory=False,
    ).pipe(_both_points, numbers)


def _both_points(table: pd.DataFrame, columns: Any) -> pd.DataFrame:
    """Read numbers with the decimal sign that does not go with the separator of the file."""
    for name in columns:
        if not pd.api.types.is_numeric_dtype(table[name]):
            texts = table[name].astype(str).str.replace(",", ".", regex=False)
            numbers = pd.to_numeric(texts, errors="coerce")
            if bool((numbers.notna() | table[name].isna()).all()):
                table[name] = numbers
    return table


def _content(file: Path) -> bytes:
    suffix = file.suffix.lower()
    if suffix == ".zip":
        with zipfile.ZipFile(file) as archive:
            names = archive.namelist()
            if len(names) != 1:
                raise TableError(f"{file.name} holds {len(names)} files; one is needed")
            with archive.open(names[0]) as opened:
                content = opened.read(LARGEST + 1)
    else:
        with COMPRESSED.get(suffix, lambda path: path.open("rb"))(file) as opened:
            content = opened.read(LARGEST + 1)
    _check_size(len(content), file)
    return content


def _check_size(size: int, file: Path) -> None:
    if size > LARGEST:
        raise TableError(
            f"{file.name} holds more than {LARGEST:,} bytes once unpacked; cut it, or save it as .parquet"
        )


def _encoding(content: bytes, file: Path) -> str:
    """Return the encoding of a text: by its byte order mark, UTF-8, or else that of Western Windows."""
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "utf-16"
    if b"\0" in content[:1000]:
        raise TableError(f"{file.name} is no text; save it as {FORMS}")
    try:
        content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return "cp1252"
    return "utf-8-sig"


def _column(name: str) -> str:
    """Return the column that a heading means: `Source Epoch` is source_epoch."""
    return "_".join(name.strip().lower().replace("-", " ").split())


def _spelled(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table with headings and words in one spelling, without spaces around them."""
    known = {*REQUIRED_COLUMNS, *NUMBERS, "arm", "device", "study", "test_images"}
    names = {each: _column(str(each)) for each in table.columns}
    table = table.rename(columns={k: v for k, v in names.items() if v in known})
    if not table.columns.is_unique:
        twice = table.columns[table.columns.duplicated()][0]
        raise TableError(f"two columns are called {twice!r}; leave one out")
    for name in table.columns.intersection([*known]):
        if table[name].dtype != object and not isinstance(table[name].dtype, pd.StringDtype):
            continue
        lower = name in ("split", "metric")
        values = {each: each.strip() for each in table[name].unique() if isinstance(each, str)}
        values = {each: word.lower() if lower else word for each, word in values.items()}
        # A name is printed to terminals, where such signs are commands.
        values = {k: CONTROL.sub(lambda sign: ascii(sign[0])[1:-1], v) for k, v in values.items()}
        if changed := {each: word for each, word in values.items() if each != word}:
            table[name] = table[name].replace(changed)
    return table


def with_best_epochs(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table in which `best` as a source epoch became a number.

    It is the epoch of the network's best validation accuracy where the table has accuracies of numbered
    epochs alone. Else its number is not known: it counts as an epoch after all numbered ones, and where
    no accuracy stands beside it, it is the stated best one.
    """
    if "source_epoch" not in table.columns or pd.api.types.is_numeric_dtype(table["source_epoch"]):
        return table
    words = table["source_epoch"].map(lambda each: str(each).strip().lower())
    marked = (words == BEST).to_numpy()
    numbers = pd.to_numeric(table["source_epoch"], errors="coerce")
    if not marked.any() or (numbers.isna() & ~marked).any():
        return table
    table = table.assign(source_epoch=numbers)
    behind = (0 if numbers.isna().all() else int(numbers.max())) + 1
    source = (table["mode"] == PRETRAIN).to_numpy()
    read = table[
        source & ~marked & (table["metric"] == "accuracy") & (table["split"] == "validation")
    ]
    added: list[dict[str, object]] = []
    keys = ["source", "model", "seed"]
    accuracies: dict[Any, pd.DataFrame] = dict(iter(read.groupby(keys, sort=False)))
    stated = set(table.loc[source & marked, keys].itertuples(index=False, name=None))
    groups: dict[Any, pd.DataFrame] = dict(iter(table[marked].groupby(keys, sort=False)))
    for name, rows in groups.items():
        known = accuracies.get(name)
        if name not in stated and known is not None:
            best = int(known["value"].to_numpy(float).argmax())
            table.loc[rows.index, "source_epoch"] = known["source_epoch"].iloc[best]
            continue
        table.loc[rows.index, "source_epoch"] = behind
        if name not in stated:
            row = dict(zip(keys, name, strict=True))
            row |= {"mode": PRETRAIN, "split": "validation", "metric": SOURCE_BEST}
            added.append({**row, "source_epoch": behind, "value": float(behind)})
    if added:
        more = pd.DataFrame(added).reindex(columns=table.columns)
        table = pd.concat([table, more.astype(object)], ignore_index=True).infer_objects()
        table["value"] = pd.to_numeric(table["value"])
        table["learning_rate"] = pd.to_numeric(table["learning_rate"])
    return table.astype({"source_epoch": np.float64})
