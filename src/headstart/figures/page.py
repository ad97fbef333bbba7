"""A self-contained HTML page: paragraphs, tables and pictures, readable on screen, phone and paper, light and dark."""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pandas as pd
from PIL import Image, UnidentifiedImageError

SECONDS = "computing time"
"""The column that differs from one run of a study to the next."""
STYLE = """
:root { color-scheme: light dark; --ink: #1c1c1c; --paper: #fff; --soft: #555; --line: #c4c4c4; --link: #005a94;
        --yes: #00674c; --no: #a23c00; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e6e6; --paper: #16181a; --soft: #aeb4ba; --line: #4a4f54; --link: #7cc0f0; --yes: #55c9a4;
          --no: #f09a62; } }
body { max-width: 66rem; margin: 2rem auto; padding: 0 1rem; color: var(--ink); background: var(--paper);
       font: 16px/1.5 "Segoe UI", "Helvetica Neue", Arial, sans-serif; overflow-wrap: break-word; }
a { color: var(--link); }
h1 { font-size: 1.7rem; line-height: 1.25; margin-bottom: .4rem; }
h2 { font-size: 1.3rem; line-height: 1.3; margin-top: 2.4rem; border-bottom: 1px solid var(--line); }
h3 { font-size: 1.05rem; margin: 1.6rem 0 .4rem; }
p.primary, dl.answer { border-left: 4px solid var(--link); padding-left: .8rem; }
dl.answer dt { font-weight: bold; margin-top: .5rem; }
dl.answer dd { margin: 0; }
p.note, figcaption, nav { color: var(--soft); font-size: .85rem; }
nav ul { columns: 17rem; margin: 0; padding-left: 1.2rem; }
nav li li { margin-left: -.6rem; }
div.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .82rem; margin: .6rem 0; }
th, td { text-align: left; vertical-align: top; padding: .25rem .7rem .25rem 0; border-bottom: 1px solid var(--line); }
td { min-width: 2rem; }
th { border-bottom: 2px solid var(--line); white-space: nowrap; }
table.claims td:nth-child(6) { min-width: 16rem; }
table.claims td:is(:nth-child(2), :nth-child(3)) { min-width: 10rem; }
table.verdicts td:last-child { min-width: 9rem; }
table.gains td:nth-child(8), table.claims td:nth-child(4), table.verdicts td:is(:nth-child(10), :nth-child(13)),
table.controls td:nth-last-child(2) { white-space: nowrap; }
th button { all: unset; cursor: pointer; }
th button:focus-visible { outline: 2px solid var(--link); }
th[aria-sort=ascending] button::after { content: " ▲"; }
th[aria-sort=descending] button::after { content: " ▼"; }
td.supported, td.contradicted { font-weight: bold; }
td.supported { color: var(--yes); }
td.contradicted { color: var(--no); }
tr:target, figure:target { outline: 3px solid var(--link); outline-offset: 3px; }
figure { margin: 1rem 0 1.8rem; break-inside: avoid; }
figure img { max-width: 100%; height: auto; background: #fff; }
figcaption { max-width: 46rem; }
figcaption b { color: var(--ink); }
@media (max-width: 40rem) { body { margin-top: 1rem; } figure img { max-width: none; } }
@media print {
  :root { color-scheme: light; --ink: #000; --paper: #fff; --soft: #444; --line: #999; --link: #000; --yes: #000;
          --no: #000; }
  body { max-width: none; margin: 0; font-size: 10pt; }
  div.wide { overflow: visible; }
  table { font-size: 6.5pt; width: 100%; }
  th { white-space: normal; }
  th, td { min-width: 0 !important; overflow-wrap: break-word; padding-right: .3rem; }
  tr, figure { break-inside: avoid; }
  h2, h3 { break-after: avoid; }
  figure img { max-width: 100%; max-height: 22cm; }
  a { text-decoration: none; }
}
"""
SCRIPT = """
for (const table of document.querySelectorAll("table")) {
  const body = table.tBodies[0];
  for (const head of body.rows.length > 2 ? table.tHead.rows[0].cells : []) {
    const button = document.createElement("button");
    button.append(...head.childNodes);
    head.append(button);
    button.onclick = () => {
      const up = head.getAttribute("aria-sort") !== "ascending";
      for (const other of head.parentNode.cells) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const text = row => row.cells[head.cellIndex].textContent;
      const number = row => parseFloat(text(row).replace("[", ""));
      const rows = [...body.rows].sort((one, other) =>
        number(one) - number(other) || text(one).localeCompare(text(other), "en", { numeric: true }));
      body.append(...(up ? rows : rows.reverse()));
    };
  }
}
"""
"""Heads of tables become buttons that sort, by mouse and keyboard; without it the page is complete."""


def escape(text: object) -> str:
    """Return text as HTML."""
    return html.escape(str(text), quote=True)


def whole(title: str, first: Iterable[str], parts: Iterable[str]) -> str:
    """Return the page: what comes first, a list of contents, then all parts, whose headings get anchors."""
    body, contents = _with_anchors("\n".join(parts))
    start = "\n".join(first)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n{start}\n{contents}\n"
        f"{body}\n<script>{SCRIPT}</script>\n</body>\n</html>\n"
    )


def _with_anchors(body: str) -> tuple[str, str]:
    """Return a body with an anchor before every heading, and the list of contents."""
    chapter, listed = "", list[str]()

    def anchor(found: re.Match[str]) -> str:
        nonlocal chapter
        level, words = found[1], found[2]
        slug = re.sub(r"\W+", "-", html.unescape(words).lower()).strip("-")
        chapter = slug if level == "2" else chapter
        name = slug if level == "2" else f"{chapter}--{slug}"
        entry = f'<a href="#{name}">{words}</a>'
        listed.append(entry if level == "2" else f"<ul><li>{entry}</ul>")
        return f'<a id="{name}"></a>{found[0]}'

    body = re.sub(r"<h([23])>(.*?)</h\1>", anchor, body)
    items = "\n".join(f"<li>{entry}" if entry[1] == "a" else entry for entry in listed)
    return body, f'<nav aria-label="Contents"><p>Contents</p>\n<ul>\n{items}\n</ul></nav>'


def section(title: str, parts: Iterable[str]) -> Iterator[str]:
    """Yield a heading and what stands under it."""
    yield f"<h3>{escape(title)}</h3>"
    yield from parts


def link(words: str, anchor: str) -> str:
    """Return words that lead to a place on the page; words alone without a place."""
    return f'<a href="#{escape(anchor)}">{escape(words)}</a>' if anchor else escape(words)


def table(frame: pd.DataFrame, name: str = "", rows: Sequence[str] = ()) -> str:
    """Return a table of text; `name` is its class, `rows` are anchors of its rows; a decided claim stands out."""
    head = "".join(f'<th scope="col">{escape(column)}</th>' for column in frame.columns)
    anchors = [f' id="{escape(row)}"' for row in rows] or [""] * len(frame)
    lines = []
    for anchor, row in zip(anchors, frame.itertuples(index=False, name=None), strict=True):
        cells = "".join(
            f"<td{_class(column, cell)}>{escape(cell)}</td>"
            for column, cell in zip(frame.columns, row, strict=True)
        )
        lines.append(f"<tr{anchor}>{cells}</tr>")
    body = "\n".join(lines)
    kind = f' class="{name}"' if name else ""
    return f"<div class=wide><table{kind}>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>"


def title_and_caption(path: Path) -> tuple[str, str]:
    """Return what the metadata of a PNG say of it; nothing of a file that is no picture."""
    try:
        with Image.open(path) as image:
            about = image.info
    except UnidentifiedImageError:
        about = {}
    title, caption = (" ".join(str(about.get(k, "")).split()) for k in ("Title", "Description"))
    return title, caption


def picture(path: Path, title: str = "", files: Sequence[str] = (), *, headed: bool = False) -> str:
    """Return a PNG inside the page at its size in inches, and links to the files in `figures/`.

    Its title, before `title`, and its caption are those in its metadata; both together say what is seen. The
    title stands above it, unless it has one of its own that it shows itself (`headed`).
    """
    data = base64.b64encode(path.read_bytes()).decode()
    links = " · ".join(f'<a href="figures/{escape(name)}">{escape(name)}</a>' for name in files)
    own, caption = title_and_caption(path)
    above = "" if own and headed else f"<figcaption><b>{escape(own or title)}</b></figcaption>"
    title = own or title
    with Image.open(path) as image:
        width = image.width / image.info.get("dpi", (200, 200))[0]
    seen = " ".join(filter(None, (title if title[-1:] in ("", ".", "?") else f"{title}.", caption)))
    return (
        f'<figure id="figure-{escape(path.stem)}">{above}\n'
        f'<div class=wide><img alt="{escape(seen)}" style="width: {width:.2f}in" '
        f'src="data:image/png;base64,{data}"></div>\n'
        f"<figcaption>{escape(caption)} {links}</figcaption></figure>"
    )


def _class(column: object, cell: object) -> str:
    if column == SECONDS:
        return ' class="seconds"'
    return f' class="{cell}"' if cell in ("supported", "contradicted") else ""
