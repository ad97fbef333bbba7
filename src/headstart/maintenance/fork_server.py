"""A process that has loaded torch once and forks into the jobs of one Snakemake run.

Starting Python with torch takes two seconds, more than many a job. The Snakefile starts this server;
`python -m headstart` hands its command over where there is one, and runs it itself where there is none.
Nothing of headstart is loaded before the fork, so a job never runs source that was edited since. A job
keeps the terminal, folder and environment of its command, and ends with it.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import selectors
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Sequence
from typing import Any

SOCKET = "HEADSTART_FORK_SERVER"
"""Environment variable with the path of the server's socket."""
LOADED = ("torch", "pandas", "pyarrow.parquet", "safetensors.torch", "scipy.stats")
LENGTH = struct.Struct("!Q")
CODE = struct.Struct("!i")
POLL_SECONDS = 1.0


def start(more: Sequence[str] = ()) -> None:
    """Start a server for this process and its children; it ends soon after this process does.

    Args:
        more: further packages that many jobs load, such as timm.
    """
    folder = tempfile.mkdtemp(prefix="headstart-")
    path = os.path.join(folder, "socket")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    environment["OPENBLAS_NUM_THREADS"] = "1"
    subprocess.Popen(
        [sys.executable, "-m", "headstart.maintenance.fork_server", path, *LOADED, *more],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.environ[SOCKET] = path


def hand_over(arguments: Sequence[str]) -> int | None:
    """Let the server run a headstart command; return its exit code, or None where there is no server."""
    path = os.environ.get(SOCKET)
    if not path:
        return None
    command = {"arguments": list(arguments), "folder": os.getcwd(), "environment": {**os.environ}}
    content = json.dumps(command).encode()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        try:
            server.connect(path)
        except OSError:
            return None
        # The job gets the terminal's interrupt itself, and says what there is to say.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        socket.send_fds(server, [LENGTH.pack(len(content))], [0, 1, 2])
        server.sendall(content)
        answer = _receive(server, CODE.size)
    if answer is None:
        print("headstart: the process that ran this job is gone; run it again", file=sys.stderr)
        return 1
    (code,) = CODE.unpack(answer)
    return int(code) if code >= 0 else 128 - int(code)


def serve(path: str, modules: Sequence[str]) -> None:
    """Load modules, then fork into every command that comes, until the process that started this ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    starter = os.getppid()
    for module in modules:
        importlib.import_module(module)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(path)
        listener.listen()
        _Server(listener).run(starter)
    with contextlib.suppress(OSError):
        os.unlink(path)
        os.rmdir(os.path.dirname(path))


class _Server:
    """The loop: new commands, jobs that ended, commands that were killed."""

    def __init__(self, listener: socket.socket) -> None:
        self.listener = listener
        self.clients: dict[int, socket.socket] = {}
        self.selector = selectors.DefaultSelector()
        self.selector.register(listener, selectors.EVENT_READ)
        wake, woken = socket.socketpair()
        woken.setblocking(False)
        self.wake = wake
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(woken.fileno(), warn_on_full_buffer=False)
        self.woken = woken
        self.selector.register(wake, selectors.EVENT_READ)

    def run(self, starter: int) -> None:
        while os.getppid() == starter or self.clients:
            for key, _ in self.selector.select(POLL_SECONDS):
                if key.fileobj is self.listener:
                    self._accept()
                elif key.fileobj is self.wake:
                    self.wake.recv(4096)
                else:
                    self._lost(key.data)
            self._reap()

    def _accept(self) -> None:
        client, _ = self.listener.accept()
        head, descriptors, _, _ = socket.recv_fds(client, LENGTH.size, 3)
        content = _receive(client, LENGTH.unpack(head)[0]) if len(head) == LENGTH.size else None
        if content is None or len(descriptors) != 3:
            client.close()
            return
        pid = os.fork()
        if not pid:
            _become(json.loads(content), descriptors)
        for descriptor in descriptors:
            os.close(descriptor)
        self.clients[pid] = client
        self.selector.register(client, selectors.EVENT_READ, pid)

    def _lost(self, pid: int) -> None:
        """End the job of a command that was killed."""
        self.selector.unregister(self.clients[pid])
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)

    def _reap(self) -> None:
        while self.clients:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            client = self.clients.pop(pid)
            with contextlib.suppress(KeyError):
                self.selector.unregister(client)
            with contextlib.suppress(OSError), client:
                client.sendall(CODE.pack(os.waitstatus_to_exitcode(status)))


def _become(command: dict[str, Any], descriptors: Sequence[int]) -> None:
    """Turn this forked process into the command, and end with its exit code."""
    code = 1
    try:
        for target, descriptor in enumerate(descriptors):
            os.dup2(descriptor, target)
        os.closerange(3, max(descriptors) + 64)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.environ.clear()
        os.environ.update(command["environment"])
        os.environ.pop(SOCKET, None)
        os.chdir(command["folder"])
        sys.argv = ["headstart", *command["arguments"]]
        sys.stdin = os.fdopen(0)
        sys.stdout = os.fdopen(1, "w", buffering=1)
        sys.stderr = os.fdopen(2, "w", buffering=1, errors="backslashreplace")
        importlib.import_module("headstart.cli").main(command["arguments"])
        code = 0
    except SystemExit as end:
        code = _code_of(end)
    except BaseException:
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):
                stream.flush()
        os._exit(code)


def _code_of(end: SystemExit) -> int:
    """Return the exit code that Python gives for a SystemExit, after printing its message."""
    if end.code is None or isinstance(end.code, int):
        return int(end.code or 0)
    print(end.code, file=sys.stderr)
    return 1


def _receive(source: socket.socket, size: int) -> bytes | None:
    """Return so many bytes, or None where the other end is gone before."""
    content = b""
    while len(content) < size:
        part = source.recv(size - len(content))
        if not part:
            return None
        content += part
    return content


if __name__ == "__main__":
    serve(sys.argv[1], sys.argv[2:])
