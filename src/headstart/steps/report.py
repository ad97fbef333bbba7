"""Step `report`: one page with verdicts, claims, figures and what ran, for a person to send to another.

Everything is inside the page, pictures too; links to the files that the pictures came from work where
the page lies beside `figures/`. The same artifacts give the same bytes: the page holds no time of day.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from headstart.artifacts.files import read_json
from headstart.artifacts.keys import Job
from headstart.artifacts.store import Artifact, JobContext, open_artifact
from headstart.figures import page
from headstart.figures.page import escape, picture, section, table
from headstart.statistics.control_results import readable
from headstart.steps.claims import StudyTables
from headstart.steps.controls import read
from headstart.steps.expected import expected_rows
from headstart.steps.step import incomplete_text, resolve

TITLE = "Why and when does pre-training help?"
KINDS = {
    "negative": "controls that hold nothing, judges stayed silent",
    "planted": "controls that hold the effect, they found it",
}


def make(job: Job, context: JobContext) -> Mapping[str, Any]:
    """Write `report.html`."""
    studies, drawn, evaluated, controls = (
        dict(zip([one.name for one in job.inputs[role]], context.inputs[role], strict=True))
        for role in ("tables", "figures", "claims", "controls")
    )
    claims = {name: read_json(one.file("claims.json")) for name, one in evaluated.items()}
    parts = [f"<h1>{TITLE}</h1>", *_incomplete(job), *_first(claims)]
    for name, described in job.params["studies"].items():
        parts.append(f"<h2>{escape(described['question'])}</h2>")
        parts += _of_study(described["opening"], studies.get(name))
        parts += _claims(claims.get(name))
        parts += _controls(controls.get(name), claims.get(name))
        parts += _expected(name, job.params.get("expected", {}), studies.get(name))
        parts += _figures(drawn.get(name), described["figures"])
        parts += _of_study(described["closing"], studies.get(name))
    artifacts = [open_artifact(one) for one in job.ancestors()]
    parts += _what_ran(artifacts, job.params["steps"])
    text = page.whole(TITLE, parts)
    (context.out / "report.html").write_text(text, encoding="utf-8")
    return {"summary": {"bytes": len(text.encode())}}


def _incomplete(job: Job) -> Iterator[str]:
    if words := incomplete_text(job.params):
        note = f"{words}. The page shows what was finished; `snakemake --cores all` makes the rest."
        yield f"<p class=primary><b>{escape(note.capitalize())}</b></p>"


def _of_study(function: str, tables: Artifact | None) -> Iterator[str]:
    """Yield what a study itself shows of its tables; `function` is empty where it shows nothing."""
    if function and tables is not None:
        yield from resolve(function)(StudyTables(tables))


def _first(claims: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Yield what is found of the first claim of every study that has results."""
    for content in claims.values():
        for claim in content["claims"][:1]:
            head = f"{claim['claim']} {claim['status']}: {claim['statement']}"
            yield f"<p class=primary><b>{escape(head)}</b> {escape(_why(claim))}</p>"


def _why(claim: Mapping[str, Any]) -> str:
    """Return the reason of a result, and what its controls say against it."""
    beware = claim["control"] and f" Beware: {claim['control']}."
    return f"{claim['reason']}{beware}"


def _claims(content: Mapping[str, Any] | None) -> Iterator[str]:
    if content is None or not content["claims"]:
        return
    mine = content["claims"]
    rows = pd.DataFrame(
        {
            "": [claim["claim"] for claim in mine],
            "claim": [claim["statement"] for claim in mine],
            "published": [f"{claim['published']} ({claim['source']})" for claim in mine],
            "here": [_ours(claim) for claim in mine],
            "result": [claim["status"] for claim in mine],
            "why": [_why(claim) for claim in mine],
        }
    )
    paper = f"<p class=note>{escape(content['paper'])}</p>"
    about = f"<p>{escape(content['evaluated_on'])}</p>"
    yield from section("Claims of the paper", [paper, about, table(rows, "claims")])


def _controls(made: Artifact | None, claims: Mapping[str, Any] | None) -> Iterator[str]:
    """Yield how often the study's judges said yes to what nothing is in, and to what was planted."""
    found = read(made) if made else pd.DataFrame()
    if found.empty:
        return
    names = {one["evaluated_by"]: one["claim"] for one in (claims or {}).get("claims", [])}
    sentences = []
    for kind, words in KINDS.items():
        mine = found[found["kind"] == kind]
        failed = sorted({names.get(each, each) for each in mine.loc[~mine["passes"], "judge"]})
        listed = f"; failed by {', '.join(failed)}" if failed else ""
        sentences.append(f"In {mine['passes'].sum()} of {len(mine)} {words}{listed}.")
    note = (
        "Every judge of a claim is asked about tables without what the claim says, made from the study's own "
        "networks, and about tables in which it was planted. A judge fails where its count contradicts the limit "
        "(binomial test, one-sided 5 %); beware of its verdict then."
    )
    shown = [f"<p>{escape(' '.join(sentences))}</p>", table(readable(found, names), "controls")]
    yield from section("Controls", [*shown, f"<p class=note>{note}</p>"])


def _expected(study: str, expected: Mapping[str, Any], tables: Artifact | None) -> Iterator[str]:
    mine = {name: entry for name, entry in expected.items() if entry["study"] == study}
    if not mine:
        return
    measured: Mapping[str, pd.DataFrame] = StudyTables(tables) if tables else {}
    note = "Published numbers stand here for comparison; a value within the tolerance replicates nothing by itself."
    yield from section(
        "Expected and measured",
        [table(expected_rows(mine, measured)), f"<p class=note>{note}</p>"],
    )


def _ours(claim: Mapping[str, Any]) -> str:
    if claim["value"] is None:
        return "–"
    digits = 1 if claim["unit"] == "points" else 2
    number = f"{claim['value']:+.{digits}f}"
    if claim["low"] is not None and claim["high"] is not None:
        number += f" [{claim['low']:+.{digits}f}, {claim['high']:+.{digits}f}]"
    return f"{number} {claim['unit']}"


def _figures(drawn: Artifact | None, titles: Mapping[str, str]) -> Iterator[str]:
    if drawn is None:
        return
    names = [name.removesuffix(".png") for name in drawn.manifest["files"] if name.endswith(".png")]
    kinds = list(titles)

    def place(name: str) -> tuple[int, str]:
        found = [i for i, kind in enumerate(kinds) if name.startswith(kind)]
        return (found[0] if found else len(kinds)), name

    shown = []
    for name in sorted(names, key=place):
        index = place(name)[0]
        kind = kinds[index] if index < len(kinds) else ""
        title = titles.get(kind, name.replace("_", " "))
        rest = name.removeprefix(kind).strip("_").replace("_", " ")
        words = f"{title} – {rest}" if kind and rest else title
        files = [f"{name}.{end}" for end in ("pdf", "svg", "png", "csv")]
        links = [file for file in files if file in drawn.manifest["files"]]
        shown.append(picture(drawn.file(f"{name}.png"), words, links))
    yield from section("Figures", shown)


def _what_ran(artifacts: list[Artifact], order: list[str]) -> Iterator[str]:
    """Say what the page was made from: jobs, devices, versions, and how long all of it computed."""
    manifests = [artifact.manifest for artifact in artifacts]
    frame = pd.DataFrame(
        {
            "step": [manifest["step"] for manifest in manifests],
            "device": [manifest["device"] for manifest in manifests],
            "seconds": [float(manifest["seconds"]) for manifest in manifests],
        }
    )
    rows = []
    for step in [step for step in order if step in set(frame["step"])]:
        part = frame[frame["step"] == step]
        rows.append(
            {
                "step": step,
                "jobs": str(len(part)),
                "device": ", ".join(sorted(part["device"].unique())),
                page.SECONDS: _duration(part["seconds"].sum()),
            }
        )
    versions: dict[str, set[str]] = {}
    for manifest in manifests:
        for package, version in manifest["packages"].items():
            versions.setdefault(package, set()).add(version)
    listed = ", ".join(f"{name} {' and '.join(sorted(v))}" for name, v in sorted(versions.items()))
    note = (
        "Times are those of each job on one thread, summed over jobs, whenever they ran. Every job's "
        "folder in results/ has a manifest with its params, inputs, seeds, versions and checksums."
    )
    yield from section(
        "What ran",
        [table(pd.DataFrame(rows), "ran"), f"<p>{escape(listed)}</p>", f"<p class=note>{note}</p>"],
    )


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 90 else f"{minutes / 60:.1f} h"
