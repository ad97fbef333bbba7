"""Slurm on this machine alone, for a test: munge, slurmctld and slurmd with settings in a folder of their own.

    python tests/slurm.py [--preset smoke]

runs a study through it, with profiles/slurm, and prints the scheduler's own record. It needs root, and
`apt-get install --no-install-recommends slurmctld slurmd slurm-client munge`.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from workflow import Project, new_project

DAEMONS = ("munged", "slurmctld", "slurmd", "sbatch")
CLIENTS = ("sbatch", "srun", "squeue", "scontrol", "scancel", "sinfo")
PLUGIN = "snakemake_executor_plugin_slurm"
SETTINGS = """\
ClusterName=here
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmdPort={other}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
JobCompType=jobcomp/filetxt
JobCompLoc={folder}/jobs.txt
ReturnToService=2
MailProg=/bin/true
# More memory and cores than there are: jobs ask for what the largest studies need, and an allocation that
# makes what a person reads of three studies for six cores.
SlurmdParameters=config_overrides
MinJobAge=3600
NodeName={host} NodeAddr=127.0.0.1 CPUs=8 RealMemory=64000
PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""
OVERRIDES = (
    "--slurm-no-account",
    "--slurm-status-command",
    "squeue",
    "--slurm-init-seconds-before-status-checks",
    "1",
    "--seconds-between-status-checks",
    "2",
    "--latency-wait",
    "5",
)
"""Of the profile, on one machine that keeps no accounts."""


def missing() -> str:
    """Return why Slurm cannot run here, and nothing where it can."""
    absent = [name for name in DAEMONS if not shutil.which(name, path=PATH)]
    if importlib.util.find_spec(PLUGIN) is None:
        absent.append(PLUGIN)
    if os.geteuid():
        absent.append("root")
    return f"no {', '.join(absent)} here" if absent else ""


PATH = f"{os.environ['PATH']}:/usr/sbin:/sbin"


class Slurm:
    """A scheduler that runs; `variables` are those by which its commands find it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.variables = {"SLURM_CONF": str(folder / "slurm.conf"), "PATH": f"{folder}/bin:{PATH}"}
        # The plugin clears variables of Slurm, by which an own place of its settings would be known.
        (folder / "bin").mkdir()
        for name in CLIENTS:
            script = folder / "bin" / name
            conf = self.variables["SLURM_CONF"]
            script.write_text(f'#!/bin/sh\nSLURM_CONF={conf} exec {shutil.which(name)} "$@"\n')
            script.chmod(0o755)

    def command(self, *words: str) -> str:
        environment = {**os.environ, **self.variables}
        done = subprocess.run(
            words, env=environment, capture_output=True, text=True, timeout=60, check=False
        )
        return done.stdout + done.stderr

    def record(self) -> list[dict[str, str]]:
        """Return what the scheduler wrote down of every job that ended."""
        path = self.folder / "jobs.txt"
        lines = path.read_text().splitlines() if path.exists() else []
        return [dict(word.split("=", 1) for word in line.split() if "=" in word) for line in lines]


@contextlib.contextmanager
def scheduler(folder: Path, port: int = 16817) -> Iterator[Slurm]:
    """Start the daemons, and end them."""
    for name in ("state", "spool"):
        (folder / name).mkdir(parents=True)
    host = os.uname().nodename
    settings = SETTINGS.format(folder=folder, host=host, port=port, other=port + 1)
    (folder / "slurm.conf").write_text(settings)
    # The key lies where only munge reads it.
    folder.chmod(0o755)
    (folder / "munge.key").write_bytes(os.urandom(1024))
    (folder / "munge.key").chmod(0o400)
    slurm, started = Slurm(folder), []
    munge = ["munged", "--foreground", "--force", f"--socket={folder}/munge.socket"]
    munge += [f"--{kind}-file={folder}/munge.{end}" for kind, end in MUNGE.items()]
    try:
        for words in (munge, ["slurmctld", "-D"], ["slurmd", "-D", "-N", host]):
            with (folder / f"{words[0]}.said").open("wb") as said:
                environment = {**os.environ, **slurm.variables}
                started.append(subprocess.Popen(words, env=environment, stdout=said, stderr=said))
            time.sleep(1)
        for _ in range(60):
            slurm.command("scontrol", "update", f"nodename={host}", "state=resume")
            if "idle" in (found := slurm.command("sinfo", "--noheader", "--format=%t")):
                break
            time.sleep(1)
        else:
            said = "".join(path.read_text()[-2000:] for path in folder.glob("*.said"))
            raise RuntimeError(f"no idle node: {found}\n{said}")
        yield slurm
    finally:
        for process in reversed(started):
            process.terminate()
        for process in started:
            process.wait(20)


MUNGE = {"key": "key", "pid": "pid", "log": "log", "seed": "seed"}


def run(project: Project, slurm: Slurm, *arguments: str, fails: bool = False, **more: str) -> str:
    """Run a project's study through the scheduler, with the profile as it is."""
    profile = ("--workflow-profile", "profiles/slurm", *OVERRIDES)
    source = project.folder / "src"
    source = source if source.exists() else project.folder.parent / "src"
    known = os.environ.get("PYTHONPATH", "")
    python = {"PYTHONPATH": f"{source}{os.pathsep}{known}", "HEADSTART_FORK_SERVER": ""}
    command = (sys.executable, "-m", "snakemake", *profile, *arguments)
    return project.run(*command, fails=fails, **{**slurm.variables, **python, **more})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--preset", default="smoke")
    options = parser.parse_args()
    if reason := missing():
        sys.exit(reason)
    with tempfile.TemporaryDirectory() as folder, scheduler(Path(folder) / "slurm") as slurm:
        project = new_project(Path(folder) / "project", options.preset)
        started = time.monotonic()
        print(run(project, slurm)[-1500:])
        print(f"{time.monotonic() - started:.0f} s")
        for one in slurm.record():
            asked = ("JobId", "JobState", "Name", "TimeLimit", "NodeCnt", "ProcCnt", "Tres")
            print({name: one[name] for name in asked if name in one})


if __name__ == "__main__":
    main()
