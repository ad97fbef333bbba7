"""A study of stand-in steps under the real engines: keys, store, rules and stages are the project's own.

Every job but `publish` takes milliseconds and writes what it read and its key, so that equal work is equal
bits. Engines and jobs are forked from one process that has loaded them, which saves seconds for each.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from checkout import copy_project
from workflow import Project

PARAMS = """\
datasets:
  glyphs: {kind: glyphs, size: 8, train_per_class: 10, test_per_class: 3}
tasks:
  latin: {dataset: glyphs, classes: [A, B, C], validation_per_class: 3}
  cyrillic: {dataset: glyphs, classes: [D, E, F, G], validation_per_class: 3}
models:
  convnet: {kind: convnet, width: 2}
pretrain:
  convnet: {sources: [latin], seeds: [0, 1], epochs: 5, batch_size: 8, learning_rate: 0.1}
transfer:
  convnet:
    finetune:
      {mode: finetune, targets: [cyrillic], source_epochs: [0, best], shots: [2], draws: [0], learning_rates: [0.1], epochs: 3, batch_size: 4}
figures: {dots_per_inch: 100}
"""
JOBS = 13
"""Of this study, `publish` apart."""

STEP = '''
"""Stand-in of every step."""

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from headstart.artifacts.store import check_lineage


def make(job, context):
    if job.step == "tables":
        check_lineage(job)
    read = {}
    for one, artifact in zip(job.every_input(), sum(context.inputs.values(), ()), strict=True):
        read[one.full_key] = {name: artifact.file(name).read_text() for name in artifact.manifest["files"]}
    log = Path(os.environ["STAND_IN_LOG"])
    time.sleep(float(os.environ.get("STAND_IN_SECONDS", "0")))
    text = json.dumps({"key": job.full_key, "read": sorted(read)})
    if f"{job.step} {job.name}" == os.environ.get("STAND_IN_FAILS"):
        raise RuntimeError("this network fails")
    if job.step == "figures":
        (context.out / "transfer.png").write_text(text)
        columns = "drawn,target,arm,shots,source_epoch,mean,low,high,key"
        rows = f"{columns}\\nmean,cyrillic,finetune,2,0,5,4,6,{job.key}\\nrun,,,,,,,,\\n"
        dots = job.params["figures"]["dots_per_inch"]
        (context.out / f"transfer_{dots}.csv").write_text(rows)
    elif job.step == "claims":
        claim = {"study": job.name, "claim": "C0", "status": "supported", "unit": "points"}
        claim |= {"value": 5, "low": 4, "high": 6, "reason": "", "control": ""}
        content = {"paper": "p", "evaluated_on": "", "claims": [claim], "key": job.full_key}
        (context.out / "claims.json").write_text(json.dumps(content))
    elif job.step == "report":
        (context.out / "report.html").write_text(text)
    else:
        (context.out / "result.json").write_text(text)
    with log.open("a") as file:
        file.write(f"{job.step} {job.name} {job.full_key}\\n")
    return {}
'''
DEVICE = '''
"""Stand-in: no torch."""


def choose_device(name, locks=None):
    return "cpu"


def one_thread():
    pass


def reproducible(device):
    pass
'''
# Hands a command over to the server; nothing is loaded for it, not even the modules of `site`.
SNAKEMAKE = """\
#!{python} -IS
import json, os, socket, struct, sys
with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
    server.connect(os.environ["HEADSTART_FORK_SERVER"])
    environment = {{**os.environ}}
    command = {{"arguments": [{command}*sys.argv[1:]], "folder": os.getcwd(), "environment": environment}}
    content = json.dumps(command).encode()
    socket.send_fds(server, [struct.pack("!Q", len(content))], [0, 1, 2])
    server.sendall(content)
    answer = server.recv(4)
sys.exit(abs(struct.unpack("!i", answer)[0]) if answer else 1)
"""
SERVER = """
import importlib, os, sys
from headstart import cli
from headstart.maintenance import engines, fork_server
import headstart.plan, headstart.maintenance.housekeeping
import snakemake.cli, snakemake.api, snakemake.workflow, snakemake.dag, snakemake.scheduling.greedy
import dvc.cli, dvc.repo, dvc.commands.repro, dvc.commands.status, dvc.commands.checkout, dvc.commands.gc

own = cli.main


def main(arguments):
    # Jobs are handed over to this server, too.
    os.environ[fork_server.SOCKET] = SOCKET
    kind, *rest = arguments
    here = os.path.join(os.path.dirname(SOCKET), "running", str(os.getpid()))
    os.makedirs(os.path.dirname(here), exist_ok=True)
    with open(here, "w") as file:
        file.write(kind if kind in ("snakemake", "dvc", "record") else "job")
    if kind == "snakemake":
        sys.argv = ["snakemake", *rest]
        snakemake.cli.main(rest)
    elif kind == "dvc":
        sys.argv = ["dvc", *rest]
        sys.exit(dvc.cli.main(rest))
    else:
        own(arguments)


SOCKET = sys.argv[1]
cli.main = main
fork_server.serve(SOCKET, [])
"""


class StandIn(Project):
    """A project of stand-in steps, whose commands a server runs that lives as long as this object."""

    server: subprocess.Popen[bytes] | None = None

    @classmethod
    def new(cls, folder: Path, most: int = 1000) -> StandIn:
        """Return a project without results and versioning; of a step Snakemake gets so many jobs at most."""
        project = folder / "project"
        project.mkdir(parents=True)
        copy_project(project)
        for name in ("src", "presets", "notebooks", "published", "claims.yaml"):
            shutil.move(project / name, folder / name)
        package = folder / "src" / "headstart"
        (package / "stand_in.py").write_text(STEP)
        (package / "training" / "device.py").write_text(DEVICE)
        _edit(package / "registry.py", "return resolve(STEPS[job.step].run)", CHOOSE)
        _edit(
            package / "registry.py",
            'NAMES = ("early_stopping", "knowledge", "invariance", "joined")',
            ONE,
        )
        _edit(package / "maintenance/fork_server.py", "    folder = tempfile.mkd", START)
        _edit(package / "maintenance/fork_server.py", LOADED, 'LOADED = ("json",)')
        _edit(package / "maintenance/engines.py", "MOST = 1_000", f"MOST = {most}")
        (project / "params.yaml").write_text(PARAMS)
        made = cls(project)
        made.run(sys.executable, "-c", WRITE_STAGES)
        for name in ("snakemake", "dvc", "headstart"):
            script = folder / "bin" / name
            script.parent.mkdir(exist_ok=True)
            command = "" if name == "headstart" else f"{name!r}, "
            script.write_text(SNAKEMAKE.format(python=sys.executable, command=command))
            script.chmod(0o755)
        return made

    @property
    def home(self) -> Path:
        """What lies beside the project: the server's socket, commands, the log of what was made."""
        return self.folder.parent

    def begin(self) -> None:
        """Start the server."""
        socket = self.home / "socket"
        environment = {
            **os.environ,
            "PYTHONPATH": str(self.home / "src"),
            "PYTHONDONTWRITEBYTECODE": "1",
            "DVC_NO_ANALYTICS": "1",
            "CUDA_VISIBLE_DEVICES": "",
        }
        self.server = subprocess.Popen(
            [sys.executable, "-c", SERVER, str(socket)], env=environment, cwd=self.folder
        )
        while not socket.exists():
            assert self.server.poll() is None
            time.sleep(0.02)

    def end(self) -> None:
        """Stop the server."""
        if self.server:
            self.server.kill()
            self.server.wait()
            (self.home / "socket").unlink(missing_ok=True)

    def variables(self) -> dict[str, str]:
        """Return the environment of commands."""
        return {
            "PATH": f"{self.home / 'bin'}{os.pathsep}{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "HEADSTART_FORK_SERVER": str(self.home / "socket"),
            "STAND_IN_LOG": str(self.home / "made.txt"),
            "PYTHONPATH": str(self.home / "src"),
        }

    def run(self, *command: str, fails: bool = False, **variables: str) -> str:
        """Run a command; the engines are forked from the server."""
        return super().run(*command, fails=fails, **{**self.variables(), **variables})

    def headstart(self, *arguments: str, fails: bool = False) -> str:
        """Run a headstart command."""
        return self.run("headstart", *arguments, fails=fails)

    def running(self, kind: str = "") -> list[int]:
        """Return the processes of a kind that run: snakemake, dvc, record (a stage), job."""
        found = []
        for path in (self.home / "running").glob("*"):
            state = Path(f"/proc/{path.name}/stat")
            alive = state.exists() and state.read_text().rpartition(")")[2].split()[0] != "Z"
            if not alive:
                path.unlink(missing_ok=True)
            elif path.read_text().startswith(kind):
                found.append(int(path.name))
        return found

    def start(self, *command: str, **variables: str) -> subprocess.Popen[bytes]:
        """Start a command and return its process, which may be killed without the command's own."""
        with (self.home / "said.txt").open("wb") as said:
            return subprocess.Popen(
                command,
                cwd=self.folder,
                env={**os.environ, **self.variables(), **variables},
                stdout=said,
                stderr=said,
            )

    def said(self) -> str:
        """Return what the command printed that was started last."""
        return (self.home / "said.txt").read_text()

    def settle(self) -> None:
        """Wait until nothing runs, and unlock the folder as a person does after a kill."""
        while self.running():
            time.sleep(0.02)
        locks = self.folder / ".snakemake" / "locks"
        if locks.is_dir() and any(locks.iterdir()):
            self.run("snakemake", "--unlock")

    def made(self) -> list[str]:
        """Return every job that was done, in order, each as often as it was."""
        log = self.home / "made.txt"
        return log.read_text().splitlines() if log.exists() else []


CHOOSE = """if job.step == "publish":
        return resolve(STEPS[job.step].run)
    return resolve("headstart.stand_in:make")"""
ONE = 'NAMES = ("early_stopping",)'
START = """    if os.environ.get(SOCKET):
        return
    folder = tempfile.mkd"""
LOADED = 'LOADED = ("torch", "pandas", "pyarrow.parquet", "safetensors.torch", "scipy.stats")'
WRITE_STAGES = (
    "from pathlib import Path; from headstart.maintenance.generate import dvc_yaml; "
    "Path('dvc.yaml').write_text(dvc_yaml(source=False))"
)


def _edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert text.count(old) == 1, (path, old)
    path.write_text(text.replace(old, new))


@contextmanager
def finished_stand_in(folder: Path) -> Iterator[StandIn]:
    """Yield a finished study, recorded and committed, with a copy of it beside as `template`."""
    project = StandIn.new(folder)
    project.begin()
    try:
        project.snakemake()
        assert len(project.made()) == JOBS
        project.begin_versioning()
        project.run("dvc", "remote", "add", "-d", "shelf", str(project.home / "shelf"))
        project.run("dvc", "repro", "-q")
        assert len(project.made()) == JOBS
        project.run("git", "add", "-A")
        project.run("git", "commit", "-qm", "results")
        shutil.copytree(project.folder, project.home / "template", symlinks=True)
        shutil.copy(project.home / "made.txt", project.home / "template-made.txt")
        yield project
    finally:
        project.end()


def restored(project: StandIn, template: Path) -> None:
    """Make the project's folder what it was in the template; the server goes on."""
    for name in ("project", "running", "made.txt"):
        subprocess.run(["rm", "-rf", str(project.home / name)], check=True)
    shutil.copytree(template, project.folder, symlinks=True)
