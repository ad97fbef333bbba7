"""What a job tells the person who waits: lines with its name in front, and a log with all of them."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path


class JobLog:
    """Prints to the terminal and to a log file; `detail` lines go to the log alone, if there is one.

    Where the log is what this process prints to, nothing is printed twice.
    """

    def __init__(self, name: str, log: Path | None) -> None:
        self.name, self.log, self.begun = name, log, False
        if log is not None:
            log.parent.mkdir(parents=True, exist_ok=True)
            log.write_text("")

    def __call__(self, text: str, *, detail: bool = False) -> None:
        """Say one line; the first one names the log."""
        self._write(text)
        if self.log is None or (not detail and not self._prints_to_log()):
            where = f"; log: {self.log}" if self.log is not None and not self.begun else ""
            self.begun = True
            print(f"[{self.name}] {text}{where}", flush=True)

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Write the whole trace of an error into the log; what the terminal shows is decided elsewhere."""
        try:
            yield
        except BaseException as error:
            self._write("".join(traceback.format_exception(error)))
            if self.log is not None and not isinstance(error, KeyboardInterrupt):
                print(f"[{self.name}] failed; log: {self.log}", file=sys.stderr, flush=True)
            raise

    def _prints_to_log(self) -> bool:
        try:
            return self.log is not None and os.path.samestat(os.fstat(1), self.log.stat())
        except OSError:
            return False

    def _write(self, text: str) -> None:
        if self.log is not None:
            with self.log.open("a", encoding="utf-8") as file:
                file.write(f"{datetime.now():%H:%M:%S} {text}\n")


def duration(seconds: float) -> str:
    """Return a time that a person reads at a glance."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
