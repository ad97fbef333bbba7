"""A browser without a window, for tests of the page; skipped where there is no Chromium."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

OPTIONS = ["--headless=new", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr"]
DARK = ("--blink-settings=preferredColorScheme=0",)
needs_chromium = pytest.mark.skipif(
    shutil.which("chromium") is None,
    reason="no chromium here; `apt-get install chromium` brings it on Debian",
)


def open_page(page: Path, options: Sequence[str]) -> str:
    """Open a page, and return what the browser writes; a message on its console is an error."""
    profile = f"--user-data-dir={page.with_suffix('.profile')}"
    done = subprocess.run(
        ["chromium", *OPTIONS, profile, *options, page.as_uri()],
        capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    said = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    assert not said, said
    return done.stdout


def ask(page: Path, text: str, question: str, options: Sequence[str] = ()) -> str:
    """Write a page with a script at its end, open it, and return what the script's expression is.

    The expression is evaluated once everything is loaded.
    """
    script = f"onload = () => document.documentElement.setAttribute('data-found', {question})"
    page.write_text(f"{text}<script>{script}</script>", encoding="utf-8")
    stdout = open_page(page, ["--dump-dom", *options])
    found = re.search(r'data-found="([^"]*)"', stdout)
    assert found, stdout[-500:]
    return found[1]


def printed_pictures(page: Path, text: str) -> int:
    """Print a page to a PDF, and return how many pictures that has."""
    page.write_text(text, encoding="utf-8")
    pdf = page.with_suffix(".pdf")
    open_page(page, [f"--print-to-pdf={pdf}"])
    return len(re.findall(rb"/Subtype\s*/Image", pdf.read_bytes()))
