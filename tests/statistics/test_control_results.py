"""What judges said of controls becomes a table, and a judge fails where its count contradicts the limit."""

from __future__ import annotations

import pytest

from headstart.statistics.control_results import (
    COLUMNS,
    FIRM,
    ControlResult,
    control_table,
    counts,
    failures,
    readable,
    warning,
)


def said(kind, supported: int, contradicted: int = 0, n: int = 20, **more) -> ControlResult:
    rest = n - supported - contradicted
    statuses = ["supported"] * supported + ["contradicted"] * contradicted
    return ControlResult("judge", "noise", kind, statuses + ["undetermined"] * rest, **more)


@pytest.mark.parametrize(
    ("one", "passes"),
    [
        (said("negative", 3), True),
        (said("negative", 4), False),
        (said("negative", 0, 20), True),
        (said("negative", 0, 20, counted=FIRM), False),
        (said("negative", 1, n=2), True),
        (said("negative", 2, n=2), False),
        (said("planted", 13), True),
        (said("planted", 12), False),
        (said("planted", 20, counted=("contradicted",)), False),
        (said("planted", 0, n=2), False),
        (said("negative", 17, n=200), False),
        (said("planted", 140, n=200), False),
    ],
)
def test_a_judge_fails_where_its_count_contradicts_the_limit(one, passes: bool) -> None:
    (row,) = control_table("study", [one]).to_dict("records")
    assert list(row) == COLUMNS
    assert row["passes"] is passes
    assert row["supported"] + row["contradicted"] + row["undetermined"] == pytest.approx(1)


def test_what_is_never_measured_has_no_row_and_what_is_not_identifiable_is_undetermined() -> None:
    silent = ControlResult("a", "noise", "negative", ["not measured here"] * 3)
    open_ = ControlResult("b", "noise", "negative", ["not identifiable here"] * 3)
    table = control_table("study", [silent, open_])
    assert table["judge"].tolist() == ["b"]
    assert table["undetermined"].tolist() == [1.0]


def test_failures_say_how_often_and_the_table_shows_them_first() -> None:
    either = said("negative", 3, 2, counted=FIRM, comparison="net, a → b")
    table = control_table("study", [said("planted", 20), either, said("planted", 5)])
    assert counts(table).tolist() == [20, 5, 5]
    failed = failures(table)
    assert failed == {
        ("judge", "negative"): "noise (net, a → b): supported or contradicted in 5 of 20",
        ("judge", "planted"): "noise: supported in 5 of 20",
    }
    always = "its control failed, there nothing is in: noise (net, a → b): supported or contradicted in 5 of 20"
    assert warning(failed, "judge", "supported") == always
    for status in ("contradicted", "undetermined"):
        planted = "what was planted is not found: noise: supported in 5 of 20"
        assert warning(failed, "judge", status) == f"{always}; {planted}"
    assert warning(failed, "other", "supported") == ""
    shown = readable(table, {"judge": "K1"})
    assert shown["passes"].tolist() == ["NO", "NO", "yes"]
    assert shown["claim"].tolist() == ["K1"] * 3
    assert shown["limit"][0] == "supported or contradicted ≤ 5%: at most 3 of 20"
    assert "claim" not in readable(table)
