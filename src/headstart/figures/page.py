"""A self-contained HTML page: paragraphs, tables and pictures, readable on screen and on paper."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pandas as pd
from PIL import Image

SECONDS = "computing time"
"""The column that differs from one run of a study to the next."""
STYLE = """
body { max-width: 62rem; margin: 2rem auto; padding: 0 1rem; color: #1c1c1c; background: #fff;
       font: 16px/1.5 "Segoe UI", "Helvetica Neue", Arial, sans-serif; }
h1 { font-size: 1.7rem; margin-bottom: 0; }
h2 { font-size: 1.3rem; margin-top: 2.2rem; border-bottom: 1px solid #bbb; }
h3 { font-size: 1.05rem; margin: 1.6rem 0 .4rem; }
p.primary { border-left: 4px solid #0072B2; padding-left: .8rem; }
p.note, figcaption { color: #555; font-size: .85rem; }
div.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .82rem; margin: .6rem 0; }
th, td { text-align: left; vertical-align: top; padding: .25rem .6rem .25rem 0; border-bottom: 1px solid #ddd; }
th { border-bottom: 1px solid #777; white-space: nowrap; }
td.supported, td.contradicted { font-weight: bold; }
figure { margin: 1rem 0 1.6rem; break-inside: avoid; }
figure img { max-width: 100%; height: auto; }
figcaption b { color: #1c1c1c; }
"""


def escape(text: object) -> str:
    """Return text as HTML."""
    return html.escape(str(text), quote=True)


def whole(title: str, parts: Iterable[str]) -> str:
    """Return the page."""
    body = "\n".join(parts)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def section(title: str, parts: Iterable[str]) -> Iterator[str]:
    """Yield a heading and what stands under it."""
    yield f"<h3>{escape(title)}</h3>"
    yield from parts


def table(frame: pd.DataFrame, name: str = "") -> str:
    """Return a table of text; `name` is its class, and a decided claim stands out."""
    head = "".join(f"<th>{escape(column)}</th>" for column in frame.columns)
    rows = []
    for row in frame.itertuples(index=False, name=None):
        cells = "".join(
            f"<td{_class(column, cell)}>{escape(cell)}</td>"
            for column, cell in zip(frame.columns, row, strict=True)
        )
        rows.append(f"<tr>{cells}</tr>")
    body = "\n".join(rows)
    kind = f' class="{name}"' if name else ""
    return f"<div class=wide><table{kind}>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>"


def picture(path: Path, words: str, files: Sequence[str]) -> str:
    """Return a PNG inside the page at its size in inches, its title, and links to the files in `figures/`."""
    data = base64.b64encode(path.read_bytes()).decode()
    links = " · ".join(f'<a href="figures/{escape(name)}">{escape(name)}</a>' for name in files)
    with Image.open(path) as image:
        width = image.width / image.info.get("dpi", (200, 200))[0]
    return (
        f'<figure><figcaption><b>{escape(words)}</b></figcaption>\n<img alt="{escape(words)}" '
        f'style="width: {width:.2f}in" src="data:image/png;base64,{data}">\n<figcaption>{links}</figcaption></figure>'
    )


def _class(column: object, cell: object) -> str:
    if column == SECONDS:
        return ' class="seconds"'
    return f' class="{cell}"' if cell in ("supported", "contradicted") else ""
