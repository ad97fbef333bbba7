"""The process that forks into jobs: a job looks the same from outside, and ends when its command does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from checkout import ROOT

STARTER = """
import sys
from headstart.maintenance import fork_server

fork_server.LOADED = ("json",)
fork_server.start()
print(__import__("os").environ[fork_server.SOCKET], flush=True)
sys.stdin.read()
"""


def within(seconds: float, condition: Callable[[], bool]) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return False


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[dict[str, str]]:
    """Yield the environment of jobs beside a running server; its starter ends afterwards, and it too."""
    found = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "PYTHONDONTWRITEBYTECODE": "1"}
    starter = subprocess.Popen(
        [sys.executable, "-c", STARTER],
        env=found,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert starter.stdin
    assert starter.stdout
    path = Path(starter.stdout.readline().strip())
    assert within(20, path.exists)
    yield {**found, "HEADSTART_FORK_SERVER": str(path)}
    starter.stdin.close()
    starter.stdout.close()
    assert starter.wait(10) == 0
    assert within(10, lambda: not path.parent.exists()), "the server outlives who started it"


def run(environment: dict[str, str], folder: Path, *arguments: str) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-m", "headstart", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def test_a_command_prints_and_ends_as_it_does_alone(
    environment: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "params.yaml").write_text("no: study\n")
    alone = {**environment, "HEADSTART_FORK_SERVER": str(tmp_path / "nobody")}
    for arguments in (
        ["generate", "x"],
        ["verify"],
        ["use"],
        ["data", "add", "x", "nowhere"],
        ["--help"],
    ):
        there, here = (run(which, tmp_path, *arguments) for which in (environment, alone))
        assert there == here
    assert run(environment, tmp_path, "verify")[0] == 1
    assert "unknown key" in run(environment, tmp_path, "verify")[2]


def test_a_job_ends_with_the_command_that_asked_for_it(
    environment: dict[str, str], tmp_path: Path
) -> None:
    """The job reads its params from a pipe that never ends, and is its only reader."""
    pipe = tmp_path / "params.yaml"
    os.mkfifo(pipe)
    command = subprocess.Popen(
        [sys.executable, "-m", "headstart", "verify"], cwd=tmp_path, env=environment
    )
    found: list[int] = []

    def read() -> bool:
        try:
            found.append(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK))
        except OSError:
            return False
        return True

    def unread() -> bool:
        try:
            os.write(found[0], b"#")
        except BrokenPipeError:
            return True
        return False

    assert within(20, read)
    assert not unread()
    command.send_signal(signal.SIGKILL)
    command.wait()
    assert within(5, unread), "the job still reads"
    os.close(found[0])
