"""One zip with all that a person reads of a study, which is an RO-Crate: `ro-crate-metadata.json` describes it.

The description follows RO-Crate 1.1 and the profile Workflow Run Crate 0.5: the workflow, what it was run on,
when, with which software, and what came out. The same study gives the same bytes.
"""

from __future__ import annotations

import hashlib
import mimetypes
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from headstart import __version__
from headstart.artifacts.files import ArtifactError, json_bytes, read_json, shared
from headstart.artifacts.keys import Job
from headstart.artifacts.store import Artifact, open_artifact
from headstart.plan import Plan
from headstart.registry import load
from headstart.steps.publish import FOLDER, published_problems
from headstart.steps.report import title_and_caption

CRATE = "ro-crate-metadata.json"
CONTEXT = "https://w3id.org/ro/crate/1.1/context"
PROFILES = (
    "https://w3id.org/ro/wfrun/process/0.5",
    "https://w3id.org/ro/wfrun/workflow/0.5",
    "https://w3id.org/workflowhub/workflow-ro-crate/1.0",
)
DESCRIBED = {
    "report.html": "The page: answer, verdicts, claims, figures, data, what ran.",
    "claims.json": "Every claim with its status, value, interval and reason.",
    "metrics.json": "Values of the main claims.",
    "params.yaml": "Settings of the study.",
    "claims.yaml": "The published claims, each with its source.",
    "Snakefile": "The workflow.",
}
TYPES = {
    ".parquet": "application/vnd.apache.parquet",
    ".yaml": "application/yaml",
    ".smk": "text/x-python",
    "": "text/x-python",
}
SNAKEMAKE = "https://w3id.org/workflowhub/workflow-ro-crate#snakemake"
MIT = "https://spdx.org/licenses/MIT"


@dataclass(frozen=True)
class Entry:
    """A file of the zip."""

    name: str
    content: bytes
    about: str = ""


def pack(params: Path, to: Path, licence: str) -> str:
    """Write the zip; return what it holds.

    Raises:
        ArtifactError: the study is not published, or what lies there is not what was published.
    """
    (last,) = Plan(load(params)).jobs("publish")
    if problems := published_problems(last):
        raise ArtifactError("\n".join(problems))
    artifacts = [open_artifact(job) for job in last.ancestors()]
    entries = [*_entries(last, params, artifacts)]
    described = json_bytes(_crate(entries, artifacts, licence or "not stated"))
    with zipfile.ZipFile(to, "w", zipfile.ZIP_DEFLATED) as archive:
        for entry in (Entry(CRATE, described), *entries):
            # The date that a ZipInfo has by itself: the same study gives the same bytes.
            archive.writestr(zipfile.ZipInfo(entry.name), entry.content, zipfile.ZIP_DEFLATED)
    return f"{to}: {len(entries)} files, {to.stat().st_size / 1e6:.1f} MB; open report.html in it"


def _entries(last: Job, params: Path, artifacts: Iterable[Artifact]) -> Iterator[Entry]:
    """Yield page, figures and tables, what they were made by, and a manifest of every artifact."""
    for name in ("report.html", "claims.json", "metrics.json"):
        yield Entry(name, Path(name).read_bytes(), DESCRIBED[name])
    for name in sorted(read_json(FOLDER / f".{last.key}")):
        if not name.startswith(".."):
            path = FOLDER / name
            yield Entry(path.as_posix(), path.read_bytes(), _caption(path.with_suffix(".png")))
    for artifact in artifacts:
        manifest = artifact.manifest
        if manifest["step"] == "tables":
            for name in manifest["files"]:
                where = f"tables/{manifest['name']}/{name}"
                yield Entry(where, artifact.file(name).read_bytes(), f"Table of {manifest['name']}")
    yield Entry("params.yaml", params.read_bytes(), DESCRIBED["params.yaml"])
    for name in ("claims.yaml", "Snakefile"):
        yield Entry(name, shared(name).read_bytes(), DESCRIBED[name])
    folder = shared("workflow")
    for path in sorted(folder.rglob("*.*")):
        yield Entry(f"workflow/{path.relative_to(folder).as_posix()}", path.read_bytes())
    for artifact in sorted(artifacts, key=lambda one: one.path):
        where = f"manifests/{artifact.manifest['step']}/{artifact.path.name}.json"
        yield Entry(where, (artifact.path / "manifest.json").read_bytes())


def _caption(picture: Path) -> str:
    return " ".join(title_and_caption(picture)).strip() if picture.exists() else ""


def _crate(entries: list[Entry], artifacts: list[Artifact], licence: str) -> dict[str, Any]:
    """Return the description as JSON-LD: one flat list of entities that refer to each other by `@id`."""
    manifests = [one.manifest for one in artifacts]
    begun = [datetime.fromisoformat(one["started"]) for one in manifests]
    seconds = [timedelta(seconds=float(one["seconds"])) for one in manifests]
    ended = max(map(datetime.__add__, begun, seconds)).isoformat(timespec="seconds")
    answer = " ".join(read_json(Path("claims.json"))["answer"])
    software = [*_software(manifests)]
    datasets = [*_datasets(manifests)]
    results = [entry.name for entry in entries if entry.name.startswith(("figures/", "tables/"))]
    results += ["report.html", "claims.json", "metrics.json"]
    root = {
        "@id": "./",
        "@type": "Dataset",
        "name": "Why and when does pre-training help? A study by headstart",
        "description": answer,
        "datePublished": ended,
        "license": licence,
        "conformsTo": [_to(one) for one in PROFILES],
        "hasPart": [_to(entry.name) for entry in entries],
        "mainEntity": _to("Snakefile"),
        "mentions": [_to("#run")],
    }
    run = {
        "@id": "#run",
        "@type": "CreateAction",
        "name": "Run of the study",
        "startTime": min(begun).isoformat(timespec="seconds"),
        "endTime": ended,
        "instrument": _to("Snakefile"),
        "object": [_to("params.yaml"), _to("claims.yaml"), *(_to(one["@id"]) for one in datasets)],
        "result": [_to(name) for name in results],
    }
    head = {
        "@id": CRATE,
        "@type": "CreativeWork",
        "about": _to("./"),
        "conformsTo": [_to("https://w3id.org/ro/crate/1.1"), _to(PROFILES[-1])],
    }
    profiles = [{"@id": one, "@type": "CreativeWork", "name": one} for one in PROFILES]
    files = [_file(entry, software) for entry in entries]
    graph = [head, root, run, *files, *software, *datasets, *profiles, LICENCE]
    return {"@context": CONTEXT, "@graph": graph}


LICENCE = {"@id": MIT, "@type": "CreativeWork", "name": "MIT License"}


def _to(name: str) -> dict[str, str]:
    return {"@id": name}


def _file(entry: Entry, software: list[dict[str, Any]]) -> dict[str, Any]:
    suffix = Path(entry.name).suffix
    kind = TYPES.get(suffix) or mimetypes.guess_type(entry.name)[0] or "application/octet-stream"
    found: dict[str, Any] = {
        "@id": entry.name,
        "@type": "File",
        "name": Path(entry.name).name,
        "contentSize": str(len(entry.content)),
        "encodingFormat": kind,
        "sha256": hashlib.sha256(entry.content).hexdigest(),
    }
    if entry.about:
        found["description"] = entry.about
    if entry.name == "Snakefile":
        found |= {
            "@type": ["File", "SoftwareSourceCode", "ComputationalWorkflow"],
            "name": "headstart",
            "license": _to(MIT),
            "programmingLanguage": _to(SNAKEMAKE),
            "softwareRequirements": [_to(one["@id"]) for one in software],
        }
    return found


def _software(manifests: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield headstart, Snakemake and every package with the versions that artifacts were made with."""
    versions: dict[str, set[str]] = {"headstart": {__version__}}
    for manifest in manifests:
        for package, version in manifest["packages"].items():
            versions.setdefault(package, set()).add(version)
        if manifest.get("commit"):
            versions["headstart"].add(f"commit {manifest['commit']}")
    for name, known in sorted(versions.items()):
        one = {"@id": f"#{name}", "@type": "SoftwareApplication", "name": name}
        yield {**one, "softwareVersion": ", ".join(sorted(known))}
    language = {"@id": "#snakemake", "@type": "ComputerLanguage", "name": "Snakemake"}
    yield {
        **language,
        "identifier": _to("https://w3id.org/workflowhub/workflow-ro-crate#snakemake"),
    }


def _datasets(manifests: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield every dataset, whose images are not in the zip, with its source and licence."""
    for manifest in manifests:
        if manifest["step"] == "data":
            known = manifest["summary"]
            found = {"@id": f"#data-{manifest['name']}", "@type": "Dataset"}
            found |= {"name": manifest["name"], "identifier": manifest["digest"]}
            found |= {"license": str(known.get("licence", "not stated"))}
            yield {**found, "description": f"{known['images']} images: {known.get('source', '')}"}
