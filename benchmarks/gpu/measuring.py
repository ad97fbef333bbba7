"""What every section uses: where it runs, how long something takes, and the rows that it reports."""

from __future__ import annotations

import contextlib
import gc
import json
import os
import statistics
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

GPU = torch.cuda.is_available()
DEVICE = torch.device("cuda" if GPU else "cpu")

ONLY_COMPILE = "HEADSTART_ONLY_COMPILE" in os.environ
"""Whether this process only fills torch's cache of compiled code, for another one that takes times."""


def sized(full: Any, reduced: Any) -> Any:
    """Return what is meant for a GPU, or its reduced form for the CPU."""
    return full if GPU else reduced


def wait() -> None:
    """Wait until the device has done all its work."""
    if GPU:
        torch.cuda.synchronize()


@dataclass(frozen=True)
class Row:
    """One number of the table; `passed` is None where nothing is required of it."""

    section: str
    name: str
    value: float
    unit: str
    note: str = ""
    peak_mb: float | None = None
    passed: bool | None = None


@dataclass
class Report:
    """The rows of a section, written after each, so that one that is stopped keeps what it has."""

    section: str
    file: Path
    rows: list[Row] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)

    def add(self, name: str, value: float, unit: str, note: str = "", **more: Any) -> None:
        """Report a number, and print it."""
        peak = torch.cuda.max_memory_allocated() / 2**20 if GPU else None
        row = Row(self.section, name, float(value), unit, note, peak, **more)
        self.rows.append(row)
        print(f"{name}: {row.value:,.4g} {unit} {note}", flush=True)
        self.write()

    @contextlib.contextmanager
    def attempt(self, name: str) -> Iterator[None]:
        """Go on after an error, and keep it; memory is given back and its peak counted anew."""
        gc.collect()
        if GPU:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        try:
            yield
        except Exception as error:
            self.errors.append(f"{name}: {type(error).__name__}: {error}"[:2000])
            self.write()
            traceback.print_exc()

    def write(self) -> None:
        """Write what there is so far."""
        content: dict[str, Any] = {
            "rows": [asdict(row) for row in self.rows],
            "errors": self.errors,
        }
        content["seconds"] = round(time.monotonic() - self.began, 1)
        self.file.write_text(json.dumps(content))


def seconds(call: Callable[[], object], at_least: float = 0.5, warm_ups: int = 2) -> float:
    """Return the median time of a call, over at least three and over `at_least` seconds."""
    for _ in range(sized(warm_ups, 1)):
        call()
    wait()
    if ONLY_COMPILE:
        return float("nan")
    taken: list[float] = []
    while len(taken) < sized(3, 1) or sum(taken) < sized(at_least, 0.0):
        start = time.perf_counter()
        call()
        wait()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


def captured(step: Callable[[], object]) -> Callable[[], object]:
    """Return a step as one CUDA graph; where there is no GPU, the step itself."""
    if not GPU:
        return step
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay
