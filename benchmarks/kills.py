"""Kill Snakemake, a job, the fork server and `dvc repro` at random moments, and see what the next run makes of it.

    python benchmarks/kills.py [--kills 10] [--seed 0] [--victims snakemake job server dvc]

A study of stand-in steps is finished, recorded, edited so that all its jobs are to be made, run, and killed at a
moment between start and end. Prints for each victim and signal how many kills found it, how many jobs were
finished then, and in how many cases the next run made a finished one again or came to other digests than a run
that nobody disturbed; both must be 0.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from stand_in import StandIn, finished_stand_in, restored

VICTIMS = ("snakemake", "job", "server", "dvc")
SIGNALS = (signal.SIGKILL, signal.SIGTERM)
EDIT = ("train_per_class: 10", "train_per_class: 11")
LENGTH = "0.15"
"""Seconds that a stand-in job takes."""


@dataclass
class Outcome:
    """What kills of one victim by one signal came to."""

    found: int = 0
    finished: list[int] = field(default_factory=list)
    again: int = 0
    different: int = 0


class Kills:
    """A finished study whose edit is made under kills."""

    def __init__(self, project: StandIn) -> None:
        self.project = project
        self.restore()
        # Of the params before the edit: DVC parks these, Snakemake leaves them.
        self.earlier = set(project.digests())
        started = time.monotonic()
        self.begin("snakemake").wait()
        self.seconds = time.monotonic() - started
        self.digests = self.state()

    def restore(self) -> None:
        restored(self.project, self.project.home / "template")
        self.project.edit("params.yaml", *EDIT)

    def begin(self, victim: str):
        # The server to kill is Snakemake's own, and not the one that runs this study's commands.
        own = {"HEADSTART_FORK_SERVER": ""} if victim == "server" else {}
        engine = ["dvc", "repro"] if victim == "dvc" else ["snakemake", "--cores", "2"]
        if victim == "server":
            engine = [sys.executable, "-m", *engine]
        return self.project.start(*engine, STAND_IN_SECONDS=LENGTH, **own)

    def state(self) -> dict[str, str]:
        made = self.project.digests()
        return {n: made[n] for n in made if n not in self.earlier} | self.project.figures()

    def present(self) -> set[str]:
        found = (self.project.folder / "results").glob("*/*/manifest.json")
        return {path.parent.name.rpartition("-")[2] for path in found}

    def processes(self, victim: str) -> list[int]:
        return self.fork_servers()[:1] if victim == "server" else self.project.running(victim)

    def kill(self, victim: str, sign: signal.Signals, chance: random.Random, to: Outcome) -> None:
        """Kill one process at a moment of a run, then run anew and count."""
        self.restore()
        with self.begin(victim) as engine:
            until = time.monotonic() + chance.uniform(0, self.seconds)
            while time.monotonic() < until or not self.processes(victim):
                if engine.poll() is not None:
                    break
                time.sleep(0.01)
            for process in self.processes(victim)[:1]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, sign)
                    to.found += 1
        self.settle()
        finished, made = self.present(), len(self.project.made())
        to.finished.append(made)
        self.again(["dvc", "repro"] if victim == "dvc" else ["snakemake", "--cores", "2"])
        to.again += any(line.split()[2][:12] in finished for line in self.project.made()[made:])
        to.different += self.state() != self.digests

    def again(self, engine: list[str]) -> None:
        """Run an engine anew, without a dvc.lock that DVC was killed over: docs/dvc.md says so."""
        try:
            self.project.run(*engine)
        except AssertionError as error:
            if "dvc.lock" not in str(error):
                raise
            (self.project.folder / "dvc.lock").unlink()
            self.project.run(*engine)

    def settle(self) -> None:
        while self.fork_servers():
            time.sleep(0.02)
        self.project.settle()

    def fork_servers(self) -> list[int]:
        """Return Snakemake's fork server, the oldest, and the jobs that it became."""
        found = []
        for path in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                words = (path / "cmdline").read_bytes().split(b"\0")
                mine = (path / "cwd").resolve() == self.project.folder.resolve()
                if b"headstart.maintenance.fork_server" in words and mine:
                    found.append(int(path.name))
        return sorted(found)


def outcomes(
    project: StandIn, victims: Sequence[str], kills: int, seed: int
) -> dict[tuple[str, str], Outcome]:
    """Return what so many kills of each victim by each signal came to."""
    study, found = Kills(project), {}
    for victim in victims:
        for sign in SIGNALS:
            chance = random.Random(f"{seed}/{victim}/{sign.name}")
            found[victim, sign.name] = outcome = Outcome()
            for _ in range(kills):
                study.kill(victim, sign, chance, outcome)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=10, help="of each victim by each signal")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--victims", nargs="+", choices=VICTIMS, default=VICTIMS)
    options = parser.parse_args()
    print(
        f"{'victim':<10} {'signal':<8} kills  found  jobs finished then  made again  other digests"
    )
    with (
        tempfile.TemporaryDirectory() as folder,
        finished_stand_in(Path(folder)) as project,
    ):
        every = outcomes(project, options.victims, options.kills, options.seed)
        for (victim, sign), one in every.items():
            then = f"{min(one.finished)} to {max(one.finished)}"
            print(
                f"{victim:<10} {sign:<8} {options.kills:>5}  {one.found:>5}  {then:>18}  {one.again:>10}  {one.different:>13}"
            )
    if any(one.again or one.different for one in every.values()):
        sys.exit("finished work was made again, or came out different")


if __name__ == "__main__":
    main()
