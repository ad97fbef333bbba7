"""Everything that a machine with a GPU is needed for, in one command of at most eight minutes.

    benchmarks/gpu.sh --out FOLDER

CUDA tests; a smoke study on the GPU against the CPU's tables; images per second in training against a
tight loop; a stack of small networks; values, inversions and CKA; host synchronisations; peak memory.
Without a GPU the same sections run on the CPU with a fraction of the work, to show that they run.

Sections are processes of their own: one that fails or takes too long does not stop the others, and keeps
the rows that it had. Those that time nothing run first, together, and compile what the others use.
FOLDER gets `gpu.json` with every row, `gpu.txt` with the table and `gpu.log` with what was printed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
GRID = HERE.parent / "grid.py"


@dataclass(frozen=True)
class Section:
    """A function `module.name` and the seconds that it may take."""

    name: str
    module: str
    cap: float
    compiling: bool = False
    """Whether it only compiles, for the section of the same name that follows."""

    @property
    def file(self) -> str:
        return f"{self.name}-compiling" if self.compiling else self.name


TOGETHER = (Section("tests", "study", 170), Section("study", "study", 170))
ALONE = (
    Section("wrn", "training", 75),
    Section("resnet", "training", 60),
    Section("check", "stacked", 30),
    Section("values", "measures", 55),
    Section("inversions", "measures", 30),
    Section("waiting", "measures", 40),
    Section("convnet", "training", 50),
    Section("precision", "measures", 30),
    Section("grid", "stacked", 60),
    Section("cka", "measures", 30),
)
COMPILING = tuple(Section(name, "training", 170, True) for name in ("wrn", "resnet", "convnet"))


class Sections:
    """Runs sections, and keeps what they found."""

    def __init__(self, out: Path, deadline: float) -> None:
        self.out, self.deadline, self.began = out, deadline, time.monotonic()
        self.folder = Path(tempfile.mkdtemp(prefix="headstart-gpu-"))
        self.found: dict[str, dict[str, Any]] = {}
        self.environment = {
            **os.environ,
            "TORCHINDUCTOR_CACHE_DIR": str(self.folder / "inductor"),
            "TRITON_CACHE_DIR": str(self.folder / "triton"),
            "PYTHONUNBUFFERED": "1",
        }

    def run(self, *groups: tuple[Section, ...], command: list[str] | None = None) -> None:
        """Run groups at the same time, each a process that does its sections in turn until their caps."""
        began = time.monotonic()
        running = {group: self._start(group, command) for group in groups if self._left() > 8}
        for group in groups:
            if group not in running:
                self._keep(group, "no time left")
        while running:
            time.sleep(0.1)
            taken = time.monotonic() - began
            for group, process in list(running.items()):
                late = taken > sum(section.cap for section in group) or self._left() < 0
                if late and process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
                if process.poll() is not None:
                    del running[group]
                    stopped = f"stopped after {taken:.0f} s" if late else ""
                    code = process.returncode
                    self._keep(group, stopped or (f"exit code {code}" if code else ""))

    def _left(self) -> float:
        return self.deadline - (time.monotonic() - self.began)

    def _start(
        self, group: tuple[Section, ...], command: list[str] | None
    ) -> subprocess.Popen[bytes]:
        names = " ".join(section.file for section in group)
        print(f"{time.monotonic() - self.began:4.0f} s  {names}", flush=True)
        wanted = [f"{section.module}.{section.name}" for section in group]
        own = [sys.executable, str(HERE), "--out", str(self.folder), "--sections", *wanted]
        environment = self.environment
        if group[0].compiling:
            own[3] = tempfile.mkdtemp(dir=self.folder)
            environment = environment | {"HEADSTART_ONLY_COMPILE": "1"}
        with (self.folder / f"{group[0].file}.log").open("wb") as log:
            return subprocess.Popen(
                command or own,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
            )

    def _keep(self, group: tuple[Section, ...], error: str) -> None:
        for section in group:
            if section.compiling:
                continue
            file = self.folder / f"{section.name}.json"
            content = {"rows": [], "errors": [], "seconds": 0.0}
            if file.exists():
                content = json.loads(file.read_text())
            content["errors"] += [error] if error else []
            self.found[section.name] = content
            for each in content["errors"]:
                print(f"!!! {section.name}: {each}", flush=True)
        self.write()

    def write(self) -> None:
        """Write rows, table and logs."""
        content = {**machine(), "seconds": round(time.monotonic() - self.began, 1)}
        content["sections"] = self.found
        (self.out / "gpu.json").write_text(json.dumps(content, indent=1))
        (self.out / "gpu.txt").write_text(table(content))
        with (self.out / "gpu.log").open("wb") as log:
            for path in sorted(self.folder.glob("*.log"), key=lambda path: path.stat().st_mtime):
                log.write(f"\n===== {path.stem}\n".encode() + path.read_bytes()[-2_000_000:])


def machine() -> dict[str, Any]:
    """Return what the numbers depend on."""
    import torch

    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    return {
        "gpu": gpu,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "cores": os.cpu_count(),
    }


def table(content: dict[str, Any]) -> str:
    """Return the table that is printed at the end."""
    lines = [
        f"GPU {content['gpu']}, torch {content['torch']}, Python {content['python']}, "
        f"{content['cores']} cores; {content['seconds']:.0f} s in all"
    ]
    for name, section in content["sections"].items():
        lines.append(f"\n{name} ({section['seconds']:.0f} s)")
        for row in section["rows"]:
            mark = {None: " ", True: "+", False: "!"}[row["passed"]]
            peak = f"{row['peak_mb']:7,.0f} MB" if row["peak_mb"] else ""
            lines.append(
                f" {mark} {row['name'][:58]:58} {row['value']:12,.5g} {row['unit']:10} {peak} {row['note']}"
            )
        lines += [f" ! {error}" for error in section["errors"]]
    return "\n".join(lines) + "\n"


def run_section(module: str, name: str, folder: Path) -> None:
    """Do one section in this process."""
    import importlib

    from measuring import Report

    report = Report(name, folder / f"{name}.json")
    try:
        getattr(importlib.import_module(module), name)(report)
    except Exception as error:
        traceback.print_exc()
        report.errors.append(f"{type(error).__name__}: {error}"[:2000])
    report.write()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("gpu"), help="folder for the results")
    parser.add_argument("--minutes", type=float, default=7.5, help="for all sections")
    parser.add_argument("--sections", nargs="+", metavar="MODULE.NAME", help="only these, in --out")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    if options.sections:
        for section in options.sections:
            run_section(*section.split("."), options.out)
        return 0
    sections = Sections(options.out, 60 * options.minutes)
    gpu = machine()["gpu"] != "none"
    if not gpu:
        sections.run(*((section,) for section in TOGETHER), ALONE)
    else:
        sections.run(*((section,) for section in (*TOGETHER, *COMPILING)))
        for section in ALONE:
            sections.run((section,))
    # What the study itself does with a grid; its numbers are in the log and in grid.json.
    command = [sys.executable, str(GRID), "--out", str(options.out)]
    command += [] if gpu else ["--runs", "1", "2", "--rounds", "1", "--vmap-up-to", "1"]
    sections.run((Section("grid.py", "", 90),), command=command)
    sections.write()
    print((options.out / "gpu.txt").read_text())
    wrong = [
        name
        for name, found in sections.found.items()
        if found["errors"] or not all(row["passed"] in (None, True) for row in found["rows"])
    ]
    print(f"not as required: {', '.join(wrong)}" if wrong else "everything is as required")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
