"""A user's own matplotlib settings change no byte of any figure, in a process and in a notebook."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from nbformat import write
from nbformat.v4 import new_code_cell, new_notebook

from headstart.steps import figures

USERS = """
backend: TkAgg
text.usetex: True
figure.facecolor: black
figure.dpi: 37
axes.facecolor: 333333
axes.linewidth: 3
axes.prop_cycle: cycler("color", ["k"])
text.color: white
text.hinting: none
font.family: serif
mathtext.fontset: cm
lines.linewidth: 4
lines.markersize: 14
path.sketch: 5, 100, 2
savefig.bbox: tight
savefig.transparent: True
savefig.facecolor: red
svg.fonttype: path
svg.hashsalt: other
pdf.compression: 0
"""
DRAW = """
import pandas as pd
import seaborn as sns
from pathlib import Path
from headstart.figures import labels, style

table = pd.DataFrame({"x": [1, 2, 1, 2], "y": [0.1, 0.4, 0.3, 0.2], "of": ["a", "a", "b", "b"]})
with style.paper_style():
    grid = sns.relplot(table, x="x", y="y", col="of", kind="line", marker="o", errorbar=None)
    labels.label_edge(grid.axes.flat[1], [(0.2, "here $x_i$", style.BLUE)], lines=1)
    labels.write_caption(grid.figure, "A caption.")
style.save(grid.figure, "drawn", table, Path(FOLDER), 50)
"""


@pytest.fixture
def users(tmp_path: Path) -> Path:
    path = tmp_path / "matplotlibrc"
    path.write_text(USERS)
    return path


def drawn_in_a_process(folder: Path, settings: Path | None) -> dict[str, bytes]:
    kept = {k: v for k, v in os.environ.items() if k not in ("MPLBACKEND", "MATPLOTLIBRC")}
    environment = kept | ({"MATPLOTLIBRC": str(settings)} if settings else {})
    code = f"FOLDER = {str(folder)!r}\n{DRAW}"
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_users_matplotlibrc_changes_no_byte_of_any_format(tmp_path: Path, users: Path) -> None:
    plain = drawn_in_a_process(tmp_path / "plain", None)
    assert set(plain) == {"drawn.png", "drawn.pdf", "drawn.svg", "drawn.csv"}
    assert drawn_in_a_process(tmp_path / "users", users) == plain


def test_a_users_matplotlibrc_changes_no_byte_of_a_notebooks_page(
    tmp_path: Path, users: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells = [new_code_cell("FOLDER = 'out'", metadata={"tags": ["parameters"]})]
    # As the notebooks of the studies begin.
    cells += [new_code_cell("from headstart.figures import style\nstyle.use_theme()")]
    cells += [new_code_cell(DRAW), new_code_cell(DRAW)]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    path = tmp_path / "page.ipynb"
    write(new_notebook(cells=cells, metadata=kernel), path)
    pages = []
    for name, settings in (("plain", None), ("users", users)):
        monkeypatch.delenv("MATPLOTLIBRC", raising=False)
        if settings:
            monkeypatch.setenv("MATPLOTLIBRC", str(settings))
            monkeypatch.setenv("MPLBACKEND", "pdf")
        folder = tmp_path / name
        executed = figures.execute(path, {"FOLDER": str(folder)}, tmp_path / "failed.ipynb")
        pictures = [o for cell in executed.cells for o in cell.get("outputs", []) if "data" in o]
        assert sum("image/png" in picture["data"] for picture in pictures) == 2
        pages.append(
            (
                figures.html(executed, "page").replace(str(folder), ""),
                (folder / "drawn.svg").read_bytes(),
            )
        )
    assert pages[0] == pages[1]
