"""A study of stand-in steps through a real Slurm on this machine; `tests/slurm.py` runs the smoke study."""

from __future__ import annotations

from pathlib import Path

import pytest
from slurm import missing, run, scheduler
from stand_in import JOBS, StandIn

from headstart.registry import STEPS


@pytest.mark.skipif(bool(missing()), reason=missing() or "here")
def test_a_study_runs_through_slurm_and_a_bad_job_is_reported_with_its_log(tmp_path: Path) -> None:
    project = StandIn.new(tmp_path / "study")
    bad = "latin-convnet-cyrillic-finetune-seed1"
    with scheduler(tmp_path / "slurm") as slurm:
        said = run(project, slurm, fails=True, STAND_IN_FAILS=f"transfer {bad}")
        assert f"logs/transfer/{bad}" in said
        assert len(project.made()) == JOBS - 6, "a bad network stopped others"
        failed = [one for one in slurm.record() if one["JobState"] != "COMPLETED"]
        assert len(failed) == 1
        run(project, slurm)
        ended = [one for one in slurm.record() if one["JobState"] == "COMPLETED"]
    keys = [line.split()[2] for line in project.made()]
    assert len(keys) == len(set(keys)) == JOBS
    # Data and check share an allocation, as does all that a person reads.
    alone = sum(
        line.split()[0] in ("pretrain", "transfer", "plasticity") for line in project.made()
    )
    assert len(ended) == alone + 2
    asked = {
        (f"mem={STEPS[name].memory_mb}M", STEPS[name].minutes)
        for name in ("transfer", "plasticity")
    }
    granted = {(one["Tres"].split(",")[1], int(one["TimeLimit"])) for one in ended}
    assert asked <= granted
