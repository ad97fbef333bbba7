"""Step `report`: one page with verdicts, claims, figures and what ran, for a person to send to another.

Everything is inside the page, pictures too; links to the files that the pictures came from work where
the page lies beside `figures/`. The same artifacts give the same bytes: the page holds no time of day.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from headstart import __version__
from headstart.artifacts.files import read_json
from headstart.artifacts.keys import SHORT, Job
from headstart.artifacts.log import duration
from headstart.artifacts.store import Artifact, JobContext, is_made, open_artifact
from headstart.figures import page
from headstart.figures.page import escape, link, picture, section, table
from headstart.figures.page import title_and_caption as title_and_caption
from headstart.statistics.answers import QUESTIONS, Statement, by_question
from headstart.statistics.control_results import readable
from headstart.statistics.words import format_interval
from headstart.steps.claims import StudyTables
from headstart.steps.controls import read
from headstart.steps.expected import expected_rows
from headstart.steps.samples import draw_samples
from headstart.steps.step import incomplete_text, resolve

TITLE = "Why and when does pre-training help?"
WORDS = (
    "Words. Source network: a network as it was pre-trained on the source task; n counts them. Source-best: its "
    "checkpoint that validation on the source prefers. From scratch: source epoch 0, random weights. Shots: training "
    "images per class. Tuned: at the learning rate that validation on the target prefers. Arm: one way to train on "
    "the target, such as finetune. Not identifiable: networks like these could not show it either way."
)
KINDS = {
    "negative": "controls that hold nothing, judges said so no more often than chance allows",
    "planted": "controls that hold an effect, they found it often enough",
}


def make(job: Job, context: JobContext) -> Mapping[str, Any]:
    """Write `report.html`."""
    studies, drawn, evaluated, controls = (
        dict(zip([one.name for one in job.inputs[role]], context.inputs[role], strict=True))
        for role in ("tables", "figures", "claims", "controls")
    )
    claims = {name: read_json(one.file("claims.json")) for name, one in evaluated.items()}
    # Of an incomplete study something may be gone that finished work was made from.
    whole = not incomplete_text(job.params)
    jobs = [one for one in job.ancestors() if whole or is_made(one)]
    artifacts = [open_artifact(one) for one in jobs]
    head = [f"<h1>{TITLE}</h1>", *_incomplete(job), *_made_by(artifacts)]
    first = [*head, *_answer(claims, drawn)]
    parts = []
    for name, described in job.params["studies"].items():
        parts.append(f"<h2>{escape(described['question'])}</h2>")
        parts += _of_study(described["opening"], studies.get(name))
        parts += _claims(claims.get(name))
        shown = [*_figures(drawn.get(name), described)]
        parts += shown[0] if shown else []
        parts += _controls(controls.get(name), claims.get(name))
        parts += _expected(name, job.params.get("expected", {}), studies.get(name))
        parts += [part for more in shown[1:] for part in more]
        parts += _of_study(described["closing"], studies.get(name))
    parts.append("<h2>What was it made from?</h2>")
    samples = [one["samples"] for one in job.params["studies"].values() if one["samples"]]
    parts += _data(jobs, samples, context.state)
    parts += _what_ran(artifacts, job.params["steps"])
    text = page.whole(TITLE, first, parts)
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


def _made_by(artifacts: list[Artifact]) -> Iterator[str]:
    """Yield by which version, on which devices and in what time all of it was made."""
    manifests = [artifact.manifest for artifact in artifacts]
    commits = sorted({str(one["commit"])[:7] for one in manifests if one.get("commit")})
    row = {
        "headstart": __version__,
        "commit": ", ".join(commits) or "–",
        "devices": ", ".join(sorted({one["device"] for one in manifests})),
        "jobs": str(len(manifests)),
        page.SECONDS: duration(sum(float(one["seconds"]) for one in manifests)),
    }
    yield table(pd.DataFrame([row]), "made")


def _answer(
    claims: Mapping[str, Mapping[str, Any]], drawn: Mapping[str, Artifact]
) -> Iterator[str]:
    """Yield what was found, in a few lines; numbers lead to the rows of their claims, lines to their figures."""
    figures = [name for one in drawn.values() for name in _pictures(one)]
    yield "<dl class=answer>"
    for topic, mine in by_question(claims.values()).items():
        yield f"<dt>{escape(QUESTIONS[topic])}</dt>"
        yield f"<dd>{' '.join(_statement(one, figures) for one in mine)}</dd>"
    yield f"</dl><p class=note>{WORDS}</p>"


def _statement(one: Statement, figures: list[str]) -> str:
    numbers = [link(number, claim) for number, claim in one.numbers]
    text = replace(one, text=escape(one.text)).with_numbers(numbers)
    shown = next((name for name in figures if one.figure and name.startswith(one.figure)), "")
    return f"{text} ({link('figure', f'figure-{shown}')})" if shown else text


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
    shown = table(rows, "claims", [claim["claim"] for claim in mine])
    yield from section("Claims", [paper, about, shown])


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
        "(binomial test, one-sided 5 %); beware of its verdict then. Where a control makes the opposite of a claim true, "
        "contradicted is right."
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
    numbers = [float("nan") if claim[n] is None else claim[n] for n in ("value", "low", "high")]
    digits = 1 if claim["unit"] in ("points", "%") else 3
    return format_interval(*numbers, digits=digits, signed=True, unit=claim["unit"])


def _pictures(drawn: Artifact) -> list[str]:
    return [name.removesuffix(".png") for name in drawn.manifest["files"] if name.endswith(".png")]


def arranged(
    names: Iterable[str], described: Mapping[str, Any]
) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Yield the headings under which figures stand, each with the names and titles of its figures.

    They come in the order in which a reader wants them, those of the appendix apart. `described` is what
    the report's params say of a study.
    """
    titles, kinds = described["figures"], [*described["figures"]]

    def place(name: str) -> tuple[int, str]:
        # The longest of the beginnings that fit: `curves` is none of `curve_panels`.
        found = [kind for kind in kinds if name.startswith(kind)]
        return (kinds.index(max(found, key=len)) if found else len(kinds)), name

    shown: dict[str, list[tuple[str, str]]] = {"Figures": [], "Appendix: more figures": []}
    for name in sorted(names, key=place):
        kind = kinds[place(name)[0]] if place(name)[0] < len(kinds) else ""
        rest = name.removeprefix(kind).strip("_").replace("_", " ")
        words = " – ".join(filter(None, (titles.get(kind, ""), rest)))
        where = "Appendix: more figures" if kind in described["appendix"] else "Figures"
        shown[where].append((name, words))
    yield from ((heading, mine) for heading, mine in shown.items() if mine)


def _figures(drawn: Artifact | None, described: Mapping[str, Any]) -> Iterator[list[str]]:
    """Yield a section for each heading; under the first one stands what drew them."""
    if drawn is None:
        return
    key = str(drawn.manifest["key"])[:SHORT]
    note = f"Drawn by the job {key} from the study's tables; <code>headstart figures {key}</code> draws them again."
    first = [f"<p class=note>{note}</p>"]
    for heading, mine in arranged(_pictures(drawn), described):
        figures = [_figure(drawn, name, words) for name, words in mine]
        yield [*section(heading, [*first, *figures])]
        first = []


def _figure(drawn: Artifact, name: str, words: str) -> str:
    links = [f"{name}.{end}" for end in ("pdf", "svg", "png", "csv")]
    links = [file for file in links if file in drawn.manifest["files"]]
    return picture(drawn.file(f"{name}.png"), words, links, headed=True)


def _data(jobs: list[Job], samples: Iterable[str], folder: Path) -> Iterator[str]:
    """Yield a sample of the images of every dataset, and of what studies make of them."""
    sheets = []
    for one in jobs:
        if one.step == "data":
            sheets.append(folder / f"data_{one.name}.png")
            draw_samples(open_artifact(one), sheets[-1])
    for function in samples:
        sheets += resolve(function)(jobs, folder)
    if sheets:
        yield from section("Data", map(picture, sheets))


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
                page.SECONDS: duration(part["seconds"].sum()),
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
