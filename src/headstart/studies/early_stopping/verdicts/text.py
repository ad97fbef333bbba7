"""Read a table of runs from a file, and write verdicts for a person to read."""

import math
import textwrap
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import pandas as pd

from headstart.statistics.words import format_interval
from headstart.studies.early_stopping.end_measures import add_end_measures
from headstart.studies.early_stopping.verdicts.run_tables import (
    CONTRAST_KEY,
    arms_as_modes,
    check_table,
)
from headstart.studies.early_stopping.verdicts.source_networks import AT_CHANCE
from headstart.studies.early_stopping.verdicts.table_files import read_table_file
from headstart.studies.early_stopping.verdicts.verdicts import Verdict

NOTHING = (AT_CHANCE, "equal-starts")
COLUMNS = [
    "",
    *CONTRAST_KEY,
    "rate",
    "verdict",
    "effect",
    "interval",
    "detectable",
    "p",
    "n",
    "epoch",
]


def read_runs(path: str | Path, classes: int | None = None) -> pd.DataFrame:
    """Read a tidy table of runs from a file as `table_files` reads them, and check its columns.

    Where the file holds per-epoch curves and no end measures, these are computed; `classes` of
    the target lets training losses tell which runs diverged. Where it has a column `arm`, the
    arm's name takes the place of the mode.

    Raises:
        TableError: when the file cannot be read as a table of runs; the message says why.
    """
    table = read_table_file(Path(path))
    return add_end_measures(check_table(arms_as_modes(table)), classes)


def to_frame(verdicts: Sequence[Verdict]) -> pd.DataFrame:
    """One row per verdict, intervals as two columns, for saving; the columns do not depend on rows."""
    nothing = Verdict(dict.fromkeys(CONTRAST_KEY, ""), "undetermined", "")
    frame = pd.DataFrame([_record(verdict) for verdict in (nothing, *verdicts)])
    types = {"chosen_epoch": "Int64", "p_interaction": "float64", "learning_rate": "float64"}
    return frame.iloc[1:].astype(types).astype({"shots": str}).reset_index(drop=True)


def one_line(verdict: Verdict) -> str:
    """Contrast, rate, verdict, effect with interval and n in one line, and which learning rate to add."""
    contrast = verdict.contrast
    effect = ""
    if not math.isnan(verdict.effect):
        ends = (verdict.interval.low, verdict.interval.high) if not verdict.descriptive else ()
        effect = f" {format_interval(verdict.effect, *ends, signed=True, unit='points')}"
        effect += f" at epoch {verdict.chosen_epoch},"
    return (
        f"{contrast['source']} → {contrast['target']}, {contrast['model']}, {contrast['mode']}, "
        f"{contrast['shots']} shots, rate {rate_words(verdict.question, verdict.learning_rate)}: "
        f"{verdict.words},{effect} n = {verdict.n_seeds} × {verdict.n_draws} (source seeds × draws)"
        + "".join(
            f", {flag}" for flag in verdict.flags if flag.startswith(("edge-of-grid", *NOTHING))
        )
        + (", primary" if verdict.primary else "")
    )


def of_nothing(flags: str) -> list[str]:
    """Return those of a row's flags that say that nothing was learnt, or nothing differs."""
    return [flag for flag in flags.split("; ") if flag.startswith(NOTHING)]


def render(verdicts: Sequence[Verdict], width: int = 100) -> str:
    """Verdicts as text: an aligned table, then the reason and the flags of each.

    The first column marks the primary contrast by "*" and a descriptive verdict by "d". Effects,
    intervals and the smallest detectable gain are percentage points.
    """
    cells = [COLUMNS, *(_cells(verdict) for verdict in verdicts)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(COLUMNS))]
    lines = [
        "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip()
        for row in cells
    ]
    for number, verdict in enumerate(verdicts, start=1):
        lines += ["", *_wrap(f"{number}. {verdict.words}: {verdict.reason}", width, "   ")]
        for flag in verdict.flags:
            lines += _wrap(f"   - {flag}", width, "     ")
    return "\n".join(lines) + "\n"


def _cells(verdict: Verdict) -> list[str]:
    mark = ("*" if verdict.primary else "") + ("d" if verdict.descriptive else "")
    names = [str(verdict.contrast.get(name, "")) for name in CONTRAST_KEY]
    return [
        mark,
        *names,
        rate_words(verdict.question, verdict.learning_rate),
        verdict.words,
        _number(verdict.effect, "+.1f"),
        _interval(verdict),
        _number(verdict.detectable, ".1f"),
        _number(verdict.p_adjusted, ".3g"),
        f"{verdict.n_seeds}×{verdict.n_draws}",
        "–" if verdict.chosen_epoch is None else str(verdict.chosen_epoch),
    ]


def rate_words(question: str, learning_rate: float | None) -> str:
    """Return the learning rate that a verdict is about: `tuned`, or the one of all starts."""
    known = learning_rate is not None and not math.isnan(learning_rate)
    return f"{learning_rate:g}" if known and question == "fixed" else question


def _record(verdict: Verdict) -> dict[str, object]:
    record = asdict(verdict)
    contrast = record.pop("contrast")
    for name in ("interval", "confirmation", "pigeonhole"):
        interval = record.pop(name)
        if name == "interval" and verdict.descriptive:
            interval = None
        for end in ("estimate", "low", "high"):
            if name != "interval" or end != "estimate":
                record[f"{name}_{end}"] = math.nan if interval is None else interval[end]
    record["interval_method"] = verdict.interval.method
    record["source_best"] = " ".join(map(str, verdict.source_best))
    record["flags"] = "; ".join(verdict.flags)
    return {**contrast, **record}


def _number(value: float, spec: str) -> str:
    return format(value, spec) if math.isfinite(value) else "–"


def _interval(verdict: Verdict) -> str:
    """Return the interval of the effect; one that only describes stands in the reason."""
    low, high = verdict.interval.low, verdict.interval.high
    return "–" if math.isnan(low) or verdict.descriptive else f"[{low:+.1f}, {high:+.1f}]"


def _wrap(text: str, width: int, indent: str) -> list[str]:
    return textwrap.wrap(text, width, subsequent_indent=indent)


def detectable_words(detectable: float) -> str:
    """Say which difference would be found: about 1.4 half-widths of a 95 % interval at a power of 80 %."""
    if not math.isfinite(detectable):
        return "No difference is detectable like this."
    return f"A difference of {detectable:.1f} points would be found with a power of 80 %."
