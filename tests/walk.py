"""A random walk over all that a person does between two runs, and what must hold after each.

Hypothesis chooses the steps and shrinks what fails. The study is one of stand-in steps (`stand_in.py`).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import re
import shutil
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from stand_in import PARAMS, StandIn, restored

EDITS = {
    "rate": ("learning_rates: [0.1]", "learning_rates: [0.2]"),
    "images": ("train_per_class: 10", "train_per_class: 11"),
    "dots": ("dots_per_inch: 100", "dots_per_inch: 90"),
    "seeds": ("seeds: [0, 1]", "seeds: [0, 2]"),
}
STAGES = ("data", "check", "pretrain", "transfer", "plasticity", "tables", "figures", "report")
ENGINES = ("snakemake --cores 2", "dvc repro -q")
Params = dict[str, bool]


def is_damaged(path: Path) -> bool:
    """Return whether a folder is there and not as its manifest says, without asking the project."""
    if not path.exists():
        return False
    try:
        files = json.loads((path / "manifest.json").read_text())["files"]
        return any(
            hashlib.sha256((path / name).read_bytes()).hexdigest() != described["sha256"]
            for name, described in files.items()
        )
    except (OSError, ValueError, LookupError):
        return True


@dataclass
class Tally:
    """What all walks did, for those that count."""

    sequences: int = 0
    steps: dict[str, int] = field(default_factory=dict)


class Walk(RuleBasedStateMachine):
    """One sequence; `project` and `tally` belong to all of them."""

    project: StandIn
    tally: Tally
    reports: dict[tuple[bool, ...], bytes]

    @initialize()
    def begin(self) -> None:
        """Begin with a finished study, recorded and committed."""
        restored(self.project, self.project.home / "template")
        self.params: Params = dict.fromkeys(EDITS, False)
        self.commits = [(self.head(), dict(self.params))]
        self.recorded = True
        self.damaged: set[Path] = set()
        self.may: dict[str, int] = {}
        self.tally.sequences += 1

    # What is known beside the project's own word.

    def head(self) -> str:
        return self.project.run("git", "rev-parse", "HEAD").strip()

    def present(self) -> set[str]:
        """Return the keys of artifacts in results and store."""
        found = set()
        for root in ("results", ".store/artifacts"):
            for path in (self.project.folder / root).glob("*/*/manifest.json"):
                found.add(path.parent.name.rpartition("-")[2])
        return found

    def refusal(self, *command: str) -> str:
        """Run a command; return what it printed where it refused, and nothing where it did not."""
        try:
            self.project.run(*command)
        except AssertionError as error:
            return str(error)
        return ""

    def may_be_made(self, keys: set[str]) -> None:
        """Allow these to be made once more: the person took them away, or spoilt them."""
        for key in keys:
            self.may[key] = self.may.get(key, 0) + 1

    def count(self, name: str) -> None:
        self.tally.steps[name] = self.tally.steps.get(name, 0) + 1

    def write(self) -> None:
        text = PARAMS
        for name, other in self.params.items():
            old, new = EDITS[name]
            text = text.replace(old, new) if other else text
        (self.project.folder / "params.yaml").write_text(text)

    def nothing_twice(self) -> None:
        """Assert that nothing was made again that was there."""
        keys = [line.split()[2][:12] for line in self.project.made()]
        first = self.project.home / "template-made.txt"
        keys += [line.split()[2][:12] for line in first.read_text().splitlines()]
        for key in set(keys):
            assert keys.count(key) <= 1 + self.may.get(key, 0), f"made twice: {key}"

    def is_right(self) -> None:
        """Assert that what is published is what the params ask for, and that verify agrees."""
        state = tuple(self.params.values())
        report = (self.project.folder / "report.html").read_bytes()
        assert self.reports.setdefault(state, report) == report, "another study's report"
        assert len([k for k, v in self.reports.items() if v == report]) == 1
        dots = 90 if self.params["dots"] else 100
        names = {path.name for path in (self.project.folder / "figures").glob("transfer*")}
        assert names == {"transfer.png", f"transfer_{dots}.csv"}, "a stale figure"
        self.project.headstart("verify")

    def engine(self, *command: str, whole: bool = True) -> None:
        """Run an engine to its end; with damage about it may refuse, never lose or repeat."""
        self.count(" ".join(command[:2]))
        before = self.present()
        refusal = self.refusal(*command)
        assert self.damaged or not refusal, refusal
        assert "Traceback" not in refusal, refusal
        if whole and not self.damaged:
            self.is_right()
        assert before <= self.present() | self.may.keys(), "finished work is lost"
        self.nothing_twice()

    # What a person does.

    @rule(name=st.sampled_from(sorted(EDITS)))
    def edit_or_back(self, name: str) -> None:
        """Change a value of the params, or set it back."""
        self.count("edit")
        self.params[name] = not self.params[name]
        self.recorded = False
        self.write()

    @rule()
    def snakemake(self) -> None:
        """Run all."""
        self.engine("snakemake", "--cores", "2")

    @rule()
    def repro(self) -> None:
        """Run and record all."""
        self.engine("dvc", "repro", "-q")
        if not self.damaged:
            assert "up to date" in self.project.run("dvc", "status")
            self.recorded = True

    @rule(stage=st.sampled_from(STAGES))
    def repro_one(self, stage: str) -> None:
        """Run and record one stage, with what it needs."""
        self.engine("dvc", "repro", "-q", stage, whole=False)

    @rule(
        engine=st.sampled_from(ENGINES),
        victim=st.sampled_from(["snakemake", "job", "dvc", "record"]),
        sign=st.sampled_from([signal.SIGKILL, signal.SIGTERM]),
        seconds=st.floats(0, 1),
    )
    def kill(self, engine: str, victim: str, sign: signal.Signals, seconds: float) -> None:
        """Kill a process of a run at some moment."""
        if victim in ("dvc", "record"):
            engine = ENGINES[1]
        self.count(f"kill {victim}")
        before = self.present()
        with self.project.start(*engine.split(), STAND_IN_SECONDS="0.1") as command:
            while command.poll() is None and not self.project.running(victim):
                time.sleep(0.01)
            time.sleep(seconds * 0.5)
            for process in self.project.running(victim)[:1]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, sign)
        self.project.settle()
        # A job may be killed between its last line and its end.
        made = {line.split()[2][:12] for line in self.project.made()}
        self.may_be_made(made - self.present() - before)
        self.recorded = False
        assert before <= self.present() | self.may.keys(), "finished work is lost"

    @rule(name=st.sampled_from(sorted(EDITS)), engine=st.sampled_from(ENGINES))
    def edit_while_running(self, name: str, engine: str) -> None:
        """Change a value while an engine runs."""
        self.count("edit while running")
        with self.project.start(*engine.split(), STAND_IN_SECONDS="0.1"):
            time.sleep(0.3)
            self.edit_or_back(name)
        self.project.settle()
        self.nothing_twice()

    @precondition(lambda self: self.recorded and not self.damaged)
    @rule()
    def commit(self) -> None:
        """Commit what was recorded."""
        self.count("commit")
        self.project.run("git", "add", "-A")
        self.project.run("git", "commit", "-qm", "more", "--allow-empty")
        self.commits.append((self.head(), dict(self.params)))

    @rule(number=st.integers(0, 3))
    def checkout(self, number: int) -> None:
        """Go to an earlier commit and its results; DVC refuses where it would lose what it does not have."""
        self.count("checkout")
        before = self.present()
        commit, params = self.commits[number % len(self.commits)]
        self.project.run("git", "checkout", "-qf", commit)
        self.params = dict(params)
        assert "Traceback" not in self.refusal("dvc", "checkout", "-q")
        self.recorded = False
        # What is damaged may be whole again, or not.
        lost = before - self.present()
        assert not lost - self.may.keys(), "finished work is lost"

    @precondition(lambda self: not self.damaged)
    @rule()
    def push_and_pull(self) -> None:
        """Push what is recorded, lose a folder, and pull."""
        self.count("push and pull")
        self.refusal("dvc", "push", "-q")
        before = self.present()
        assert "Traceback" not in self.refusal("dvc", "pull", "-q")
        assert before <= self.present() | self.may.keys()

    @rule(engine=st.sampled_from(ENGINES))
    def full_disk(self, engine: str) -> None:
        """Let every job end on a full disk."""
        self.count("full disk")
        before = self.present()
        said = self.project.run(
            "sh", "-c", f"{engine}; true", STAND_IN_LOG="/dev/full", PYTHONWARNINGS="ignore"
        )
        assert "Traceback" not in said
        assert before <= self.present() | self.may.keys()
        self.recorded = False

    @rule()
    def gc(self) -> None:
        """Let DVC collect its garbage."""
        self.count("gc")
        before = self.present()
        self.project.run("dvc", "gc", "-w", "-f", "-q")
        del self.commits[:-1]
        assert before == self.present()

    @rule()
    def park(self) -> None:
        """Park what the params do not ask for."""
        self.count("park")
        before = self.present()
        self.project.headstart("park", *STAGES)
        assert before == self.present()

    @rule()
    def prune(self) -> None:
        """Delete what the params do not ask for."""
        self.count("prune")
        before = self.present()
        self.project.headstart("prune", "--yes")
        self.may_be_made(before - self.present())

    @rule(seed=st.integers(0, 99))
    def delete(self, seed: int) -> None:
        """Delete an artifact."""
        self.count("delete")
        found = sorted((self.project.folder / "results").glob("*/*/"))
        if found:
            before = self.present()
            chosen = random.Random(seed).choice(found)
            shutil.rmtree(chosen)
            self.damaged.discard(chosen)
            self.recorded = False
            self.may_be_made(before - self.present())

    @rule(seed=st.integers(0, 999), cut=st.booleans())
    def damage(self, seed: int, cut: bool) -> None:
        """Flip a bit of a file, or cut it."""
        self.count("damage")
        folder = self.project.folder
        found = [
            *folder.glob("results/*/*/*"),
            *folder.glob("figures/*"),
            *folder.glob("figures/.*"),
        ]
        found += [folder / name for name in ("report.html", "claims.json")]
        found = sorted(path for path in found if path.is_file() and path.stat().st_size)
        if not found:
            return
        path = random.Random(seed).choice(found)
        content = bytearray(path.read_bytes())
        content[seed % len(content)] ^= 1
        path.chmod(0o644)
        path.write_bytes(content[: len(content) // 2] if cut else content)
        self.recorded = False
        if "results" in path.parts:
            self.damaged.add(path.parent)
            self.may_be_made({path.parent.name.rpartition("-")[2]})

    @precondition(lambda self: self.damaged)
    @rule()
    def heal(self) -> None:
        """Do what verify prints, until it has nothing more to say of damage."""
        self.count("heal")
        for _ in range(30):
            said = self.project.run("sh", "-c", "headstart verify; true")
            deleted = re.findall(r"delete ([^\s,]+)", said)
            if not deleted:
                break
            before = self.present()
            for name in set(deleted):
                shutil.rmtree(self.project.folder / name, ignore_errors=True)
            self.may_be_made(before - self.present())
            for again in re.findall(r"then `(dvc checkout [^`]+)`", said):
                self.project.run("sh", "-c", f"{again} -q; true")
        else:
            raise AssertionError("verify never ends to complain")
        # What the params do not ask for, verify does not look at; a person deletes it who asks for it again.
        for path in (path for path in self.damaged if is_damaged(path)):
            shutil.rmtree(path)
        self.damaged = set()

    def teardown(self) -> None:
        """End every walk where all is well again."""
        if not hasattr(self, "params"):
            return
        if self.damaged:
            self.heal()
        self.snakemake()
        assert "Nothing to be done" in self.project.snakemake("-n")
