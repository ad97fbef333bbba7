"""The documentation is one site, built without a network and without a warning."""

import re
import subprocess
import sys
from pathlib import Path

import headstart.metrics
import headstart.statistics

DOCS = Path(__file__).parents[1] / "docs"


def test_the_site_is_built_from_every_page_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "sphinx", "-q", "-E", "-W", "--keep-going", str(DOCS)]
    built = subprocess.run([*build, str(tmp_path)], capture_output=True, text=True)
    assert (built.returncode, built.stderr) == (0, "")
    pages = {page.stem for page in DOCS.glob("*.md")}
    assert pages <= {page.stem for page in tmp_path.glob("*.html")}
    for page in tmp_path.glob("*.html"):
        loaded = re.findall(
            r"<(?:script|link|img)[^>]*(?:src|href)=\"(https?:[^\"]*)", page.read_text()
        )
        assert not loaded, page.name
    api = (tmp_path / "api.html").read_text()
    for name in [*headstart.metrics.__all__, *headstart.statistics.__all__]:
        assert re.search(rf'id="headstart\.[\w.]*\b{name}"', api), name


def test_every_picture_is_small_and_shown_with_words_that_say_what_it_is() -> None:
    shown = {}
    for page in (*DOCS.glob("*.md"), DOCS.parent / "README.md"):
        for words, path in re.findall(r"!\[([^\]]*)\]\(([^)]*)\)", page.read_text()):
            assert len(words.split()) > 3, (page.name, path)
            shown[(page.parent / path).resolve()] = words
    pictures = {path.resolve() for path in (DOCS / "pictures").iterdir()}
    assert set(shown) == pictures
    for path in pictures:
        assert path.stat().st_size <= 60_000, path.name
