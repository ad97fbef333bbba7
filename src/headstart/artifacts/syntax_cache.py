"""Facts of sources that were parsed before, so that a job knows its key without parsing the package.

Facts are found by the sha256 of a source's bytes: no time, name or place of a file counts, and an edited
file is a file that was never seen. A cache belongs to one version of Python, whose syntax trees are its
own, and to one way of making facts.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import platform
from functools import cache
from pathlib import Path

from headstart.artifacts.files import write_atomically
from headstart.artifacts.keys import STORE
from headstart.artifacts.syntax import Facts, facts_of

MAKERS = ("keys.py", "syntax.py")


class SyntaxCache:
    """Facts by content, in memory and in a file that may be deleted at any time.

    The file holds what the last process that found something new in its sources asked for, so that
    it does not grow with every edit.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._known = _read(path)
        self._asked: dict[str, Facts] = {}
        self._in_file = set(self._known)

    def facts(self, source: bytes) -> Facts:
        """Return the facts of a source, parsed only if nobody did so before."""
        digest = hashlib.sha256(source).hexdigest()
        if digest not in self._known:
            self._known[digest] = facts_of(source)
        self._asked[digest] = self._known[digest]
        return self._asked[digest]

    def save(self) -> None:
        """Write what is new; where that is not possible, the next process parses again."""
        if self._in_file.issuperset(self._asked):
            return
        content = json.dumps(self._asked, separators=(",", ":")).encode()
        with contextlib.suppress(OSError):
            write_atomically(self.path, _digest(content) + b"\n" + content)
        self._in_file = set(self._asked)


def _read(path: Path) -> dict[str, Facts]:
    """Return what `save` wrote, or nothing where the file is missing or damaged."""
    try:
        digest, _, content = path.read_bytes().partition(b"\n")
    except OSError:
        return {}
    if _digest(content) != digest:
        return {}
    return {name: Facts(*facts) for name, facts in json.loads(content).items()}


def _digest(content: bytes) -> bytes:
    return hashlib.sha256(content).hexdigest().encode()


@cache
def syntax_cache() -> SyntaxCache:
    """Return the cache that a process keeps in the store."""
    makers = [Path(__file__).with_name(name).read_bytes() for name in MAKERS]
    digest = hashlib.sha256(b"\n".join(makers)).hexdigest()[:12]
    return SyntaxCache(STORE / "syntax" / f"python-{platform.python_version()}-{digest}.json")
