"""Random walks over edits, runs, kills, checkouts and damage: nothing stale, nothing lost, nothing made twice."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test
from stand_in import finished_stand_in
from walk import Tally, Walk

SEQUENCES = int(os.environ.get("HEADSTART_WALKS", "40"))
"""With more than CI's, other sequences each time: `HEADSTART_WALKS=1000 pytest -n 0 tests/test_random_walk.py`."""
STEPS = 5


def test_whatever_a_person_does_nothing_is_stale_lost_or_made_twice(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("walks")
    with finished_stand_in(folder) as project:

        class OneWalk(Walk):
            pass

        OneWalk.project, OneWalk.tally, OneWalk.reports = project, Tally(), {}
        run_state_machine_as_test(
            OneWalk,
            settings=settings(
                max_examples=SEQUENCES,
                stateful_step_count=STEPS,
                derandomize=SEQUENCES <= 40,
                database=None,
                deadline=None,
                suppress_health_check=list(HealthCheck),
                print_blob=False,
            ),
        )
        assert OneWalk.tally.sequences >= SEQUENCES
        told = os.environ.get("HEADSTART_WALKS_TOLD")
        if told:
            Path(told).write_text(json.dumps(vars(OneWalk.tally), indent=1))
