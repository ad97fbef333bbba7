"""What a person sees while jobs run: an overview on a terminal, plain lines without one."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from stand_in import JOBS, StandIn

from headstart.maintenance import time_left
from headstart.maintenance.terminal import last_line
from headstart.maintenance.time_left import TimeLeft, Work

CHATTER = ("Select jobs", "Execute ", "Touching output", "Finished jobid", "steps (", "Using shell")


@pytest.fixture
def project(tmp_path: Path) -> Iterator[StandIn]:
    made = StandIn.new(tmp_path)
    made.begin()
    yield made
    made.end()


def on_a_terminal(project: StandIn, **variables: str) -> str:
    """Return what snakemake writes to a terminal 100 columns wide."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, **project.variables(), "TERM": "xterm", "COLUMNS": "100"}
    command = ["snakemake", "--cores", "2"]
    process = subprocess.Popen(
        command,
        cwd=project.folder,
        env={**environment, "LINES": "40", **variables},
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    said = b""
    while True:
        try:
            part = os.read(ours, 4096)
        except OSError:  # how Linux says that nobody writes any more
            break
        if not part:
            break
        said += part
    os.close(ours)
    process.wait()
    return said.decode()


def test_on_a_terminal_a_bar_the_running_jobs_and_the_time_stand_in_place_of_lines(
    project: StandIn,
) -> None:
    said = on_a_terminal(project, STAND_IN_SECONDS="0.4")
    assert len(project.made()) == JOBS
    assert re.search(r"━.* [1-9]\d? of 15 jobs, \d+%, \d+ s, about \d+ s left", said)
    assert "\x1b[1mpretrain latin-convnet-seed0" in said
    assert "\x1b[2K" in said  # written over, not below each other
    last = said[said.rindex("\x1b[?25h") :]  # the cursor is back
    assert "On one page: report.html" in last
    assert re.search(r"15 jobs in \d+ s", last)
    assert "━" not in last
    for words in (*CHATTER, "[publish", "[pretrain"):
        assert words not in said
    (log,) = (project.folder / "logs/publish").iterdir()
    assert log.read_text().count("files in figures/") == 1


def test_on_a_terminal_a_job_that_fails_is_named_with_its_log_and_its_reason(
    project: StandIn,
) -> None:
    said = on_a_terminal(project, STAND_IN_FAILS="pretrain latin-convnet-seed1")
    plain = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", said)
    assert re.search(r"pretrain latin-convnet-seed1 failed; log: logs/pretrain/latin-conv", plain)
    assert "A job failed" in plain[plain.rindex("━") :]


def test_without_a_terminal_jobs_print_lines_and_snakemake_keeps_quiet(project: StandIn) -> None:
    said = project.snakemake()
    assert "[publish all] " in said
    assert re.search(r"^pretrain +2$", said, re.MULTILINE)
    assert re.search(r"15 jobs in \d+ s", said)
    for words in (*CHATTER, "\x1b[", "━"):
        assert words not in said
    assert "Nothing to be done" in project.snakemake("-n")


def test_what_goes_to_the_log_anyway_is_written_there_once(tmp_path: Path) -> None:
    log = tmp_path / "job.log"
    code = (
        "from pathlib import Path; from headstart.artifacts.log import JobLog; "
        f"log = JobLog('job', Path({str(log)!r})); log('here'); log('more', detail=True)"
    )
    with log.open("a") as file:
        subprocess.run([sys.executable, "-c", code], stdout=file, check=True)
    assert [line.partition(" ")[2] for line in log.read_text().splitlines()] == ["here", "more"]
    assert last_line(log) == "more"
    assert last_line(tmp_path / "none.log") == ""
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout == f"[job] here; log: {log}\n"


def left(work: dict[str, Work], cores: int) -> TimeLeft:
    made = TimeLeft(SimpleNamespace(), cores)  # type: ignore[arg-type]
    made.__dict__["work"] = work
    return made


def test_the_time_that_is_left_follows_passes_and_cores() -> None:
    work = {"a": Work("net", 100, 0), "b": Work("net", 300, 5), "c": Work("", 0, 7)}
    two = left(work, 2)
    assert two.seconds({}) is None
    two.finished("a", 10.0)  # a tenth of a second per pass: b takes 35 s, c 7 s
    assert two.seconds({}) == 35
    assert two.seconds({"b": 20.0}) == 15
    one = left(work, 1)
    one.finished("a", 10.0)
    assert one.seconds({}) == 42
    one.finished("b", 35.0)
    assert one.seconds({"c": 100.0}) == time_left.LEAST
    one.finished("c", 7.0)
    assert one.seconds({}) == 0


def test_a_model_that_has_not_run_yet_goes_at_the_pace_of_the_others() -> None:
    made = left({"a": Work("net", 100, 0), "b": Work("vit", 50, 0), "c": Work("vit", 10, 0)}, 1)
    made.finished("a", 10.0)
    assert made.seconds({}) == pytest.approx(6)
    made.finished("b", 50.0)
    assert made.seconds({}) == pytest.approx(10)
