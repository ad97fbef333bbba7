"""One zip to send, which is an RO-Crate."""

from __future__ import annotations

import copy
import hashlib
import json
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from workflow import LEARNING_RATES, Project

from headstart.maintenance.pack import CONTEXT, CRATE

ROOT = ("name", "description", "datePublished", "license", "hasPart", "mainEntity", "conformsTo")


@pytest.fixture(scope="module")
def packed(finished: Project, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    path = tmp_path_factory.mktemp("packed") / "study.zip"
    said = finished.headstart("pack", "--to", str(path), "--licence", "CC BY 4.0")
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    assert f"{len(files) - 1} files" in said
    again = path.with_name("again.zip")
    finished.headstart("pack", "--to", str(again), "--licence", "CC BY 4.0")
    assert again.read_bytes() == path.read_bytes()
    return files


def references(value: Any) -> Iterator[str]:
    """Yield every `@id` that a value of an entity refers to."""
    if isinstance(value, list):
        for one in value:
            yield from references(one)
    elif isinstance(value, Mapping):
        assert set(value) == {"@id"}
        yield value["@id"]


def problems(crate: Mapping[str, Any], files: Mapping[str, bytes]) -> list[str]:
    """Return what of RO-Crate 1.1 the description of these files breaks."""
    found = [] if crate["@context"] == CONTEXT else ["context"]
    entities = {one["@id"]: one for one in crate["@graph"]}
    if len(entities) != len(crate["@graph"]):
        found.append("two entities of one @id")
    for one in crate["@graph"]:
        if "@type" not in one:
            found.append(f"{one['@id']}: no type")
        found += [
            f"{one['@id']}: {name} leads nowhere"
            for key, value in one.items()
            for name in references(value)
            if name not in entities and not name.startswith("https://")
        ]
    head, root = entities.get(CRATE, {}), entities.get("./", {})
    if head.get("about") != {"@id": "./"} or head.get("@type") != "CreativeWork":
        found.append("no description of the root")
    found += [f"./: no {key}" for key in ROOT if not root.get(key)]
    parts = {one["@id"] for one in root.get("hasPart", [])}
    found += [f"{name}: not described" for name in sorted(set(files) - parts - {CRATE})]
    for name in sorted(parts):
        content, one = files.get(name), entities.get(name, {})
        if content is None or "File" not in one.get("@type", ""):
            found.append(f"{name}: no such file")
        elif one["sha256"] != hashlib.sha256(content).hexdigest():
            found.append(f"{name}: other content")
        elif int(one["contentSize"]) != len(content):
            found.append(f"{name}: other size")
    if "ComputationalWorkflow" not in entities.get("Snakefile", {}).get("@type", ""):
        found.append("no workflow")
    return found


def test_the_zip_holds_page_figures_tables_and_what_they_were_made_by(
    finished: Project, packed: dict[str, bytes]
) -> None:
    assert packed["report.html"] == (finished.folder / "report.html").read_bytes()
    for name, content in finished.figures().items():
        if not name.startswith("."):
            assert packed[f"figures/{name}"] == content
    for study in ("early_stopping", "knowledge", "invariance"):
        assert packed[f"tables/{study}/measurements.parquet"][:4] == b"PAR1"
    assert packed["params.yaml"] == (finished.folder / "params.yaml").read_bytes()
    assert b"rule all" in packed["Snakefile"]
    assert "workflow/rules/steps.smk" in packed
    made = {name for name in packed if name.startswith("manifests/pretrain/")}
    assert len(made) == len(finished.manifests("pretrain"))


def test_the_description_is_an_ro_crate_of_a_run_of_a_workflow(packed: dict[str, bytes]) -> None:
    crate = json.loads(packed[CRATE])
    assert problems(crate, packed) == []
    entities = {one["@id"]: one for one in crate["@graph"]}
    run = entities["#run"]
    assert run["@type"] == "CreateAction"
    assert run["instrument"] == {"@id": "Snakefile"}
    assert {"@id": "report.html"} in run["result"]
    assert run["startTime"] < run["endTime"] == entities["./"]["datePublished"]
    assert entities["./"]["license"] == "CC BY 4.0"
    assert "Does pre-training help?" in entities["./"]["description"]
    assert "star: source-best" in entities["figures/transfer_convnet.png"]["description"]
    assert entities["#torch"]["softwareVersion"]
    assert entities["#data-digits"]["license"] == "CC BY 4.0"


def test_a_broken_description_is_noticed(packed: dict[str, bytes]) -> None:
    crate = json.loads(packed[CRATE])
    places = {one["@id"]: place for place, one in enumerate(crate["@graph"])}

    def broken(name: str, **changed: Any) -> list[str]:
        other = copy.deepcopy(crate)
        other["@graph"][places[name]] |= changed
        return problems(other, packed)

    assert broken("#run", object=[{"@id": "#nothing"}]) == ["#run: #nothing leads nowhere"]
    assert broken("./", datePublished="") == ["./: no datePublished"]
    assert broken("params.yaml", sha256="0") == ["params.yaml: other content"]
    assert broken("Snakefile", **{"@type": "File"}) == ["no workflow"]
    assert broken("#torch", **{"@id": "#numpy"})
    assert problems(crate, {**packed, "more.txt": b""}) == ["more.txt: not described"]


def test_a_study_that_is_not_published_as_the_params_ask_is_not_packed(
    finished: Project, tmp_path: Path
) -> None:
    project = finished.copy(tmp_path / "project")
    project.edit("params.yaml", LEARNING_RATES, "learning_rates: [0.1, 0.03]")
    said = project.headstart("pack", "--to", str(tmp_path / "study.zip"), fails=True)
    assert "run `snakemake --cores all`" in said
    assert not (tmp_path / "study.zip").exists()
