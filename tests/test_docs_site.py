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
