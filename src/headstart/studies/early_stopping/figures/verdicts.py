"""Verdicts for a person to read: a table with n and intervals, and the reasons."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from headstart.figures.labels import sample_size, shots_words
from headstart.statistics.words import format_interval

CONTRAST = ["source", "model", "target", "arm", "shots"]
WIDTH = 100


def summary(verdicts: pd.DataFrame) -> pd.DataFrame:
    """Return one row of text per verdict: effect and interval in points, corrected p, n, epoch."""
    bounds = zip(verdicts["interval_low"], verdicts["interval_high"], strict=True)
    sizes = zip(verdicts["n_seeds"], verdicts["n_draws"], strict=True)
    return pd.DataFrame(
        {
            "": ["primary" if first else "" for first in verdicts["primary"]],
            **{name: verdicts[name].tolist() for name in CONTRAST},
            "verdict": verdicts["verdict"].tolist(),
            "effect": [_number(value, "+.1f") for value in verdicts["effect"]],
            "interval": [f"[{a:+.1f}, {b:+.1f}]" if np.isfinite(a) else "–" for a, b in bounds],
            "p": [_number(value, ".3g") for value in verdicts["p_adjusted"]],
            "n": [f"{seeds} × {draws}" for seeds, draws in sizes],
            "epoch": ["–" if pd.isna(e) else str(e) for e in verdicts["chosen_epoch"]],
        }
    )


def sentence(row: Mapping[Any, Any]) -> str:
    """Return one verdict as a sentence with effect, interval and n, then its reason."""
    words = f"{row['source']} to {row['target']}, {row['model']}, {row['arm']}, {shots_words(row['shots'])}: {row['verdict']}"
    if np.isfinite(row["effect"]):
        numbers = (row["effect"], row["interval_low"], row["interval_high"])
        effect = format_interval(*numbers, signed=True, unit="points")
        words += f", {effect} from epoch {row['chosen_epoch']}"
    size = sample_size(row["n_seeds"], row["n_draws"])
    first = "Primary contrast. " if row["primary"] else ""
    return f"{first}{words} ({size}). {row['reason']}"


def reasons(verdicts: pd.DataFrame) -> str:
    """Return the reason of every verdict, with what to beware of, as wrapped text."""
    lines = []
    for row in verdicts.to_dict("records"):
        name = ", ".join(str(row[column]) for column in CONTRAST)
        lines += textwrap.wrap(f"{name} shots: {row['verdict']}. {row['reason']}", WIDTH)
        for flag in filter(None, str(row["flags"]).split("; ")):
            lines += textwrap.wrap(
                f"- {flag}", WIDTH, initial_indent="  ", subsequent_indent="    "
            )
        lines.append("")
    return "\n".join(lines) or "No contrast was run."


def _number(value: float, spec: str) -> str:
    return format(value, spec) if np.isfinite(value) else "–"
