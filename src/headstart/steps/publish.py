"""Step `publish`: copy figures, report and claims to plain paths, and stamp the figures with their key."""

from __future__ import annotations

import csv
import io
import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from headstart.artifacts.files import (
    file_sha256,
    json_bytes,
    read_json,
    write_atomically,
    write_json,
)
from headstart.artifacts.job_list import INCOMPLETE
from headstart.artifacts.keys import Job
from headstart.artifacts.store import check_lineage, open_artifact

FOLDER = Path("figures")
REPORT, CLAIMS, METRICS = BESIDE = "../report.html", "../claims.json", "../metrics.json"
CURVES, VERDICTS = "dvc-curves.csv", "dvc-verdicts.csv"
CURVE = ("network", "target", "arm", "shots", "source_epoch", "mean", "low", "high")
VERDICT = ("study", "claim", "status", "unit", "value", "low", "high")
STAMPS, UNFINISHED = ".[0-9a-f]*", ".unfinished"


def publish(job: Job, log: Callable[[str], None], folder: Path = FOLDER) -> None:
    """Make `folder` hold exactly the files of the figure artifacts, and renew report and claims beside it.

    Files of other origin stay. The stamp `.<key>` comes last and lists what was published, by path
    from the folder, so that the next publication knows which files are its own to take away. Until it
    is there, `.unfinished` lists what a publication that was stopped may have left.
    """
    check_lineage(job)
    contents = dict(_contents(job))
    folder.mkdir(parents=True, exist_ok=True)
    stamps = list(folder.glob(STAMPS))
    mine = {*contents, *_listed(folder / UNFINISHED)}.union(*map(_listed, stamps))
    write_json(folder / UNFINISHED, sorted(mine))
    for stamp in stamps:
        stamp.unlink()
    listed: dict[str, str] = {}
    for name, content in contents.items():
        write_atomically(_place(folder, name), content)
        listed[name] = file_sha256(_place(folder, name))
    for name in mine - set(listed):
        _place(folder, name).unlink(missing_ok=True)
    write_json(stamp_of(job, folder), listed)
    (folder / UNFINISHED).unlink()
    figures = sum(not name.startswith("..") for name in listed)
    log(f"{figures} files in {folder}/; report.html, claims.json, metrics.json")


def stamp_of(job: Job, folder: Path = FOLDER) -> Path:
    """Return the stamp that lists what a job has published."""
    return folder / f".{job.key}"


def published_problems(job: Job, folder: Path = FOLDER) -> list[str]:
    """List what is not as the job publishes it; without any problem it has nothing to do."""
    fix = "run `snakemake --cores all`, which publishes anew"
    stamp = stamp_of(job, folder)
    others = {*folder.glob(STAMPS), folder / UNFINISHED} - {stamp}
    beside = [] if stamp.exists() else [_place(folder, name) for name in BESIDE]
    for path in (*sorted(others), *beside):
        if path.exists():
            return [
                f"{path}: of other params or source than those at hand, or drawn of a part; {fix}"
            ]
    if not stamp.exists():
        return [f"{folder}/: not published yet; {fix}"]
    listed = _listed(stamp)
    if not all(name in listed for name in BESIDE):
        return [f"{stamp}: damaged; {fix}"]
    return [
        f"{_place(folder, name)}: not as published; {fix}"
        for name, sha256 in listed.items()
        if not _place(folder, name).is_file() or file_sha256(_place(folder, name)) != sha256
    ]


def _contents(job: Job) -> Iterator[tuple[str, bytes]]:
    """Yield where every file goes, seen from the folder of figures, and what it holds."""
    # Not at the top: every command imports this module, and nothing else of it needs scipy.
    from headstart.statistics.answers import lines

    for one in job.inputs["figures"]:
        artifact = open_artifact(one)
        for name in artifact.manifest["files"]:
            yield name, artifact.file(name).read_bytes()
    (report,) = job.inputs["report"]
    yield REPORT, open_artifact(report).file("report.html").read_bytes()
    found = {
        one.name: read_json(open_artifact(one).file("claims.json")) for one in job.inputs["claims"]
    }
    claims = [claim for one in found.values() for claim in one["claims"]]
    merged = {
        "answer": lines(found.values()),
        "papers": {study: one["paper"] for study, one in found.items()},
        "evaluated_on": {study: one["evaluated_on"] for study, one in found.items()},
        "claims": claims,
    }
    missing = {step: of - made for step, (made, of) in job.params.get(INCOMPLETE, {}).items()}
    marked = {INCOMPLETE: missing} if missing else {}
    yield CLAIMS, json_bytes(merged | marked)
    columns = {
        study: _columns(one["claims"], job.params["metrics"][study]) for study, one in found.items()
    }
    yield METRICS, json_bytes(columns | marked)
    yield from _plotted(job, claims)


def _plotted(job: Job, claims: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, bytes]]:
    """Yield the tables that `dvc plots` draws, whose names are those of no figure's table."""
    values = [{name: claim[name] for name in VERDICT} for claim in claims]
    yield VERDICTS, _csv(VERDICT, [one for one in values if one["value"] is not None])
    rows = []
    for one in job.inputs["figures"]:
        artifact, first = open_artifact(one), job.params["curves"].get(one.name)
        for name in artifact.manifest["files"] if first else ():
            if name.startswith(first) and name.endswith(".csv"):
                network = name.removeprefix(first).removesuffix(".csv")
                with artifact.file(name).open(encoding="utf-8", newline="") as file:
                    rows += [row | {"network": network} for row in csv.DictReader(file)]
    yield CURVES, _csv(CURVE, [row for row in rows if row["drawn"] == "mean"])


def _csv(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def _columns(claims: list[dict[str, Any]], metrics: Mapping[str, str]) -> dict[str, float | int]:
    """Return what `dvc exp show` lists of a study: the values of some claims, and how many have which verdict."""
    values = {claim["claim"]: claim["value"] for claim in claims}
    shown = {name: values.get(claim) for name, claim in metrics.items()}
    counted = Counter(claim["status"] for claim in claims)
    return {name: value for name, value in shown.items() if value is not None} | {
        verdict: counted[verdict] for verdict in ("supported", "contradicted", "undetermined")
    }


def _place(folder: Path, name: str) -> Path:
    return Path(os.path.normpath(folder / name))


def _listed(stamp: Path) -> dict[str, str]:
    """Return the checksums of files by name; of a stamp that is cut or was edited, what can be read."""
    try:
        text = stamp.read_bytes().decode(errors="replace")
    except OSError:
        return {}
    try:
        found = json.loads(text)
    except ValueError:
        found = re.findall(r'"([^"\n]+)": "[0-9a-f]{64}"', text)
    listed = found if isinstance(found, dict) else dict.fromkeys(found, "")
    return {name: str(sha256) for name, sha256 in listed.items() if _is_mine(name)}


def _is_mine(name: object) -> bool:
    """Return whether a stamp, which is a file like any other, may speak of this file."""
    return isinstance(name, str) and (name in BESIDE or Path(name).name == name)
