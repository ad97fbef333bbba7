"""Controls of judges: how often each says what it should where nothing is in, and where something was planted.

A judge is the evaluator of a claim. On a negative control, a table without what the claim says, it may
give the counted verdict in one of twenty resamples, as intervals of 95 % do by chance; on a planted
effect it must in four of five. Few resamples tell a rate loosely, so that a judge fails only where its
count contradicts the limit: binomial test, one-sided 5 %.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

import pandas as pd
from scipy.stats import binom

from headstart.statistics.claim_results import CONTROL_FAILED, Status

Kind = Literal["negative", "planted"]
LIMITS: dict[Kind, float] = {"negative": 0.05, "planted": 0.8}
LEVEL = 0.05
FIRM: tuple[Status, ...] = ("supported", "contradicted")
SHARES = ["supported", "contradicted", "undetermined"]
COLUMNS = [
    *("study", "comparison", "judge", "control", "kind", "counted", "resamples"),
    *(*SHARES, "limit", "passes"),
]


class ControlResult(NamedTuple):
    """What one judge said of one control, resample by resample.

    `counted` are the verdicts that a negative control must not get, or that a planted effect must; a
    judge named for another claim of the same networks may also have a `comparison`.
    """

    judge: str
    control: str
    kind: Kind
    statuses: Sequence[Status]
    counted: tuple[Status, ...] = ("supported",)
    comparison: str = ""


def control_table(study: str, found: Iterable[ControlResult]) -> pd.DataFrame:
    """Return one row per control and judge, with shares of its verdicts; those never measured are left out."""
    return pd.DataFrame(
        [_row(study, one) for one in found if set(one.statuses) - {"not measured here"}],
        columns=COLUMNS,
    )


def _row(study: str, one: ControlResult) -> dict[str, object]:
    n = len(one.statuses)
    decided = {str(s): sum(each == s for each in one.statuses) / n for s in FIRM}
    counted, limit = sum(each in one.counted for each in one.statuses), LIMITS[one.kind]
    edge = edge_count(one.kind, limit, n)
    passes = counted <= edge if one.kind == "negative" else counted >= edge
    return {
        **{"study": study, "comparison": one.comparison, "judge": one.judge},
        **{"control": one.control, "kind": one.kind, "counted": " or ".join(one.counted)},
        **{"resamples": n, **decided, "undetermined": 1 - sum(decided.values())},
        **{"limit": limit, "passes": passes},
    }


def counts(table: pd.DataFrame) -> pd.Series:
    """Return in how many resamples of each row the counted verdict was given."""
    shares = [
        sum(row[name] for name in row["counted"].split(" or ")) for row in table.to_dict("records")
    ]
    return (pd.Series(shares, table.index, dtype=float) * table["resamples"]).round().astype(int)


Failures = Mapping[tuple[str, str], str]
"""(judge, kind of control) -> which of its controls a judge failed, and how often."""


def failures(table: pd.DataFrame) -> Failures:
    """Return what the failed controls of each judge say, for people."""
    said: dict[tuple[str, str], list[str]] = {}
    failed = table[~table["passes"].astype(bool)]
    for row, n in zip(failed.to_dict("records"), counts(failed), strict=True):
        where = f" ({row['comparison']})" if row["comparison"] else ""
        text = f"{row['control']}{where}: {row['counted']} in {n} of {row['resamples']}"
        said.setdefault((row["judge"], row["kind"]), []).append(text)
    return {key: "; ".join(parts) for key, parts in said.items()}


def warning(failed: Failures, judge: str, status: Status) -> str:
    """Return what the controls say against a verdict; empty where nothing does.

    A judge that says yes to what nothing is in is not to be believed at all; one that misses what was
    planted may have missed the effect, where it did not support the claim.
    """
    parts = []
    if nothing := failed.get((judge, "negative")):
        parts.append(f"{CONTROL_FAILED}, there nothing is in: {nothing}")
    if status != "supported" and (planted := failed.get((judge, "planted"))):
        parts.append(f"what was planted is not found: {planted}")
    return "; ".join(parts)


def bound_words(kind: str, counted: str, limit: float, resamples: int) -> str:
    """Return what the counted verdict's share must keep, and which counts do not contradict it."""
    sign, edge = ("≤", "at most") if kind == "negative" else ("≥", "at least")
    count = edge_count(kind, limit, resamples)
    return f"{counted} {sign} {limit:.0%}: {edge} {count} of {resamples}"


def edge_count(kind: str, limit: float, resamples: int) -> int:
    """Return the largest count of a negative control, or the smallest of a planted one, that a binomial test allows."""
    bound = binom.isf if kind == "negative" else binom.ppf
    return int(bound(LEVEL, resamples, limit))


def readable(table: pd.DataFrame, names: Mapping[str, str] | None = None) -> pd.DataFrame:
    """Return the table as text: shares in per cent, judges by the claims in `names`, failures first."""
    ordered = table.sort_values("passes", kind="stable")
    shown = pd.DataFrame({"claim": [(names or {}).get(j, "") for j in ordered["judge"]]})
    for name in ("judge", "comparison", "control", "kind", "resamples"):
        shown[name] = ordered[name].astype(str).tolist()
    for name in SHARES:
        shown[name] = [f"{share:.0%}" for share in ordered[name]]
    bounds = zip(
        *(ordered[name] for name in ("kind", "counted", "limit", "resamples")), strict=True
    )
    shown["limit"] = [bound_words(*bound) for bound in bounds]
    shown["passes"] = ["yes" if passed else "NO" for passed in ordered["passes"]]
    return shown.drop(columns=[c for c in ("claim", "comparison") if not shown[c].any()])
