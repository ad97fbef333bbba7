"""What a person sees while Snakemake works: a live overview on a terminal, plain lines elsewhere.

Snakemake's records come here; its own lines about selecting and starting jobs are left out. On a terminal the
whole study is one bar, with every running job and the last line of its log below it, and jobs write to their
logs alone. Without one, jobs print their own lines, and how much is done stands between them.
"""

from __future__ import annotations

import atexit
import logging
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from headstart.artifacts.log import duration
from headstart.maintenance.engines import Run
from headstart.maintenance.time_left import TimeLeft

CHATTER = (
    "Assuming unrestricted",
    "Building DAG",
    "Elapsed time",
    "Execute ",
    "Select jobs",
    "Touching output",
    "Using shell",
)
"""How lines of Snakemake begin that say nothing about the study."""
SILENT = ("progress", "job_finished", "job_started", "resources_info")
SECONDS = 10
"""Between two lines that say how much is done."""
TAIL = 2_000
"""Bytes at the end of a log in which its last line is looked for."""


def at_a_time(workflow: Any) -> int:
    """Return how many jobs Snakemake runs together: on cores of this machine, or on a cluster."""
    known = workflow.global_resources["_cores" if workflow.local_exec else "_nodes"]
    number = getattr(known, "value", known)
    return number if isinstance(number, int) else 1


def is_watched() -> bool:
    """Return whether a person looks at a terminal that can be written over."""
    streams = (sys.stdout, sys.stderr)
    return os.environ.get("TERM") != "dumb" and all(stream.isatty() for stream in streams)


@dataclass
class Running:
    """A job under way."""

    key: str
    name: str
    log: Path
    started: float = field(default_factory=time.monotonic)


class Overview(logging.Handler):
    """Follows the jobs of one run by Snakemake's records."""

    def __init__(self, run: Run, cores: int, *, live: bool) -> None:
        super().__init__()
        self.left = TimeLeft(run, cores)
        self.live = live
        self.running: dict[int, Running] = {}
        self.done = self.total = 0
        self.started = self.said = time.monotonic()
        self.screen: Any = None

    def attach(self, logger: logging.Logger) -> None:
        """Take part in what a logger of Snakemake gets, and keep its terminal free of chatter."""
        for handler in logger.handlers:
            file = isinstance(handler, logging.FileHandler)
            if isinstance(handler, logging.StreamHandler) and not file:
                handler.addFilter(self.keeps)
        logger.addHandler(self)
        atexit.register(self.close)

    def keeps(self, record: logging.LogRecord) -> bool:
        """Return whether Snakemake itself shows a record; while the overview is there, none."""
        if self.screen is not None:
            return False
        chatter = str(record.msg).startswith(CHATTER) and record.levelno == logging.INFO
        return not chatter and getattr(record, "event", None) not in SILENT

    def emit(self, record: logging.LogRecord) -> None:
        """Follow one record."""
        event = str(getattr(record, "event", None) or "")
        about: Mapping[str, Any] = vars(record)
        if event == "job_info" and about["log"]:
            mine, rule = about["wildcards"], about["rule_name"]
            name = " ".join(dict.fromkeys((rule, mine.get("name", rule))))
            log = Path(about["log"][0])
            self.running[about["jobid"]] = Running(mine.get("key", ""), name, log)
            self._show()
        elif event == "run_info":
            self.total = about["stats"]["total"]
        elif event == "job_finished":
            if job := self.running.pop(about["job_id"], None):
                self.left.finished(job.key, time.monotonic() - job.started)
        elif event == "job_error":
            self._failed(self.running.pop(about["jobid"], None))
        elif event == "progress":
            self.done, self.total = about["done"], about["total"]
            self._say()
        elif record.levelno >= logging.WARNING and self.screen is not None:
            self.screen.console.print(
                record.getMessage(), style="yellow", markup=False, highlight=False
            )

    def close(self) -> None:
        """Take the overview away; what is printed afterwards stands where it was."""
        screen, self.screen = self.screen, None
        if screen is not None:
            screen.stop()
        atexit.unregister(self.close)
        super().close()

    def words(self) -> str:
        """Return how much is done, since when, and how long it may still take."""
        share = f", {self.done / max(self.total, 1):.0%}"
        now = time.monotonic()
        left = self.left.seconds({job.key: now - job.started for job in [*self.running.values()]})
        rest = "" if left is None or self.done == self.total else f", about {duration(left)} left"
        return f"{self.done} of {self.total} jobs{share}, {duration(now - self.started)}{rest}"

    def took(self) -> str:
        """Return how long the whole run took, for its last line."""
        after = f"in {duration(time.monotonic() - self.started)}"
        # Of a quiet run (`snakemake -q`) nobody counts the jobs.
        return f"{self.done} jobs {after}" if self.done else f"All {after}"

    def _say(self) -> None:
        """Print how much is done, not too often, where nobody sees the overview."""
        if not self.live and time.monotonic() - self.said > SECONDS:
            self.said = time.monotonic()
            print(f"[study] {self.words()}", flush=True)

    def _show(self) -> None:
        if self.live and self.screen is None:
            from rich.live import Live

            self.screen = Live(get_renderable=self._picture, refresh_per_second=4, transient=True)
            self.screen.start()

    def _picture(self) -> Any:
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        head, jobs = Table.grid(padding=(0, 2)), Table.grid(padding=(0, 2))
        bar = ProgressBar(total=max(self.total, 1), completed=self.done, width=30)
        head.add_row(bar, Text(self.words(), no_wrap=True))
        for job in [*self.running.values()]:
            said = Text(last_line(job.log), no_wrap=True, overflow="ellipsis")
            jobs.add_row(Text(job.name, style="bold", no_wrap=True), said)
        return Group(head, jobs)

    def _failed(self, job: Running | None) -> None:
        """Say above the overview why a job failed; elsewhere it said so itself."""
        if job is None or self.screen is None:
            return
        said = [line for line in _tail(job.log) if line.startswith("headstart: ")]
        text = "\n".join([f"{job.name} failed; log: {job.log}", *said])
        self.screen.console.print(text, style="red", markup=False, highlight=False)


def last_line(log: Path) -> str:
    """Return what a job's log says last, without the time of day."""
    lines = _tail(log)
    return lines[-1][len("00:00:00 ") :] if lines else ""


def _tail(log: Path) -> list[str]:
    try:
        with log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL))
            return file.read().decode(errors="replace").splitlines()
    except OSError:
        return []
