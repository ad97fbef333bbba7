"""What `snakemake --report` shows of every published figure: where it stands, its title and its caption."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from headstart.artifacts.files import ArtifactError, write_atomically
from headstart.artifacts.keys import STORE, Job
from headstart.artifacts.store import open_artifact
from headstart.steps.publish import FOLDER
from headstart.steps.report import arranged, title_and_caption

CAPTIONS = STORE / "captions"
TABLE = "The table that it draws lies beside it in ``{}``."


def pictures(publish: Job) -> Iterator[dict[str, Any]]:
    """Yield the arguments of Snakemake's `report` for the figures that are there, in the page's order."""
    (report,) = publish.inputs["report"]
    for drawn in publish.inputs["figures"]:
        described = report.params["studies"][drawn.name]
        try:
            made = open_artifact(drawn).manifest["files"]
        except ArtifactError:
            continue
        names = [Path(name).stem for name in made if (FOLDER / name).suffix == ".png"]
        for heading, mine in arranged(names, described):
            for name, words in mine:
                path = FOLDER / f"{name}.png"
                if path.exists():
                    place = {"category": described["question"], "subcategory": heading}
                    yield {"value": path.as_posix(), **place, **_described(path, words)}


def _described(path: Path, words: str) -> dict[str, Any]:
    """Return caption and labels of a figure; the caption is a file that Snakemake reads."""
    title, caption = title_and_caption(path)
    table = path.with_suffix(".csv")
    text = [_as_rst(caption), *([TABLE.format(table)] if table.exists() else [])]
    kept = CAPTIONS / f"{path.stem}.rst"
    write_atomically(kept, "\n\n".join(filter(None, text)).encode())
    return {"caption": str(kept.resolve()), "labels": {"figure": title or words}}


def _as_rst(text: str) -> str:
    """Return plain text as reStructuredText; Snakemake fills in what stands in double braces first."""
    return re.sub(r"([\\*`_|{}])", r"\\\1", text)
