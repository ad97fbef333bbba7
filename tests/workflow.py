"""A project folder that Snakemake and DVC really run in, as a user would."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from checkout import copy_project

from headstart.artifacts.files import alone

# What the smoke study has there, for tests that edit it.
LEARNING_RATES = "learning_rates: [0.1, 0.02]"
LINES = re.compile(r"^\[(?P<step>\w+) (?P<name>[\w-]+)\] (?P<said>.*)$")


class Project:
    """A folder with params, workflow and source; commands run in it with its own source."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def run(self, *command: str, fails: bool = False, **variables: str) -> str:
        """Run a command, with these environment variables too, and return all that it printed."""
        scripts = str(Path(sys.executable).parent)
        environment = {
            **os.environ,
            "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(self.folder / "src"),
            "PYTHONDONTWRITEBYTECODE": "1",
            # What the tests expect holds on the CPU, on a machine with a GPU too.
            "CUDA_VISIBLE_DEVICES": "",
            "GIT_AUTHOR_NAME": "t",
            "GIT_AUTHOR_EMAIL": "t@example.org",
            "GIT_COMMITTER_NAME": "t",
            "GIT_COMMITTER_EMAIL": "t@example.org",
        }
        for name in ("DVC_STAGE", "DVC_ROOT", "PYTHONWARNINGS"):
            environment.pop(name, None)
        environment |= variables
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert (done.returncode != 0) == fails, f"{' '.join(command)}\n{done.stdout}"
        return done.stdout

    def snakemake(self, *arguments: str, fails: bool = False, **variables: str) -> str:
        """Run snakemake on all cores unless told otherwise."""
        cores = () if "--cores" in arguments else ("--cores", "all")
        return self.run("snakemake", *cores, *arguments, fails=fails, **variables)

    def headstart(self, *arguments: str, fails: bool = False) -> str:
        """Run a headstart command."""
        return self.run(sys.executable, "-m", "headstart", *arguments, fails=fails)

    def begin_versioning(self) -> None:
        """Make the folder a git repository with DVC, as a clone is."""
        self.run("git", "init", "-q")
        self.run("dvc", "init", "-q")
        self.run("dvc", "config", "core.analytics", "false")
        self.run("git", "add", "-A")
        self.run("git", "commit", "-qm", "project")

    def edit(self, path: str, old: str, new: str) -> None:
        """Replace a text that stands in a file."""
        file = self.folder / path
        text = file.read_text()
        assert old in text, f"{old!r} is not in {path}"
        file.write_text(text.replace(old, new))

    def manifests(self, step: str) -> dict[str, dict]:
        """Return the manifests of a step's artifacts, by folder name."""
        found = sorted((self.folder / "results" / step).glob("*/manifest.json"))
        return {path.parent.name: json.loads(path.read_text()) for path in found}

    def digests(self) -> dict[str, str]:
        """Return the digest of every artifact."""
        return {
            name: manifest["digest"]
            for step in (
                "data",
                "pretrain",
                "transfer",
                "trajectory",
                "plasticity",
                "scores",
                "values",
                "knowledge",
                "inversions",
                "invariance",
                "joined",
                "tables",
                "controls",
                "figures",
                "claims",
            )
            for name, manifest in self.manifests(step).items()
        }

    def figures(self) -> dict[str, bytes]:
        """Return the bytes of all published figures and tables."""
        return {
            path.name: path.read_bytes() for path in sorted((self.folder / "figures").iterdir())
        }

    def copy(self, folder: Path) -> Project:
        """Return a copy with all results and records; times of files are new."""
        shutil.copytree(self.folder, folder, symlinks=True, copy_function=shutil.copyfile)
        return Project(folder)


def new_project(folder: Path, preset: str = "smoke") -> Project:
    """Return a project without results."""
    folder.mkdir(parents=True, exist_ok=True)
    return Project(copy_project(folder, preset))


def finished_study(shared: Path) -> Project:
    """Return a project whose smoke study has run once, under Snakemake alone.

    The workers of one test run share the folder: one makes it, and the others wait.
    """
    project = Project(shared / "finished" / "project")
    with alone(shared / "finished.lock", print):
        if not (project.folder / "output.txt").exists():
            shutil.rmtree(project.folder, ignore_errors=True)
            new_project(project.folder).begin_versioning()
            output = project.snakemake()
            (project.folder / "output.txt").write_text(output)
    return project


def trained(output: str) -> list[str]:
    """Return the jobs that trained something, from what was printed."""
    found = []
    for line in output.splitlines():
        match = LINES.match(line)
        if (
            match
            and match["step"] in ("pretrain", "transfer", "trajectory")
            and "epoch" in match["said"]
        ):
            found.append(f"{match['step']} {match['name']}")
    return sorted(set(found))


def planned(output: str) -> dict[str, int]:
    """Return how many jobs of each rule a dry run lists."""
    return {name: int(count) for name, count in re.findall(r"^(\w+) +(\d+)$", output, flags=re.M)}
