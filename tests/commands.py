"""Headstart commands in this process: what is done, what is refused, and what may be left on disk."""

import sys
from pathlib import Path

import pytest

from headstart import cli


def done(*arguments: str) -> None:
    """Run a headstart command; it must succeed."""
    assert _exit(*arguments) == 0


def refused(*arguments: str, said: tuple[str, ...]) -> None:
    """Run a headstart command; it must end in one line that says all of this."""
    # Python prints the text to stderr, and the exit code is 1.
    message = str(_exit(*arguments))
    assert len(message.splitlines()) == 1, message
    assert message.startswith("headstart: ")
    assert all(words in message for words in said), message
    nothing_half_written(Path())


def _exit(*arguments: str) -> object:
    with pytest.raises(SystemExit) as caught:
        cli.main(list(arguments))
    # A job settles torch for its whole process, which here is that of other tests too.
    if "torch" in sys.modules:
        sys.modules["torch"].use_deterministic_algorithms(False)
    return caught.value.code


def one_line(output: str, *said: str) -> str:
    """Return the one line of an output that says all of this."""
    assert "Traceback" not in output, output
    lines = {line for line in output.splitlines() if all(words in line for words in said)}
    assert len(lines) == 1, f"{said}\n{output}"
    return lines.pop()


def nothing_half_written(project: Path) -> None:
    """Assert that no file is there but whole artifacts of data and of the check."""
    for name in ("results", "figures", ".store/partial", ".store/runs"):
        for path in (project / name).rglob("*") if (project / name).is_dir() else ():
            step, artifact = (
                path.relative_to(project / name).parts[:2] if path.is_file() else ("", "")
            )
            whole = name == "results" and step in ("data", "check")
            whole = whole and (project / name / step / artifact / "manifest.json").exists()
            assert whole or path.is_dir(), path
    assert not list((project / ".store" / "partial").glob("*"))
