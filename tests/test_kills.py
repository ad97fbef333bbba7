"""Killed at a random moment, the next run makes nothing finished again and comes to the same digests."""

import sys
from pathlib import Path

from checkout import ROOT
from stand_in import finished_stand_in

sys.path.insert(0, str(ROOT / "benchmarks"))
from kills import VICTIMS, outcomes


def test_a_few_kills_lose_and_change_nothing(tmp_path: Path) -> None:
    """Ten of each are `python benchmarks/kills.py`."""
    with finished_stand_in(tmp_path / "study") as project:
        found = outcomes(project, VICTIMS, kills=1, seed=3)
    assert len(found) == 8
    assert sum(one.found for one in found.values()) >= 4
    assert {who: one for who, one in found.items() if one.again or one.different} == {}
