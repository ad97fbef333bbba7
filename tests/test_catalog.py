"""Where people look for workflows: the catalog's files, a container's recipe."""

from __future__ import annotations

import re
from pathlib import Path

from checkout import ROOT
from ruamel.yaml import YAML
from stand_in import StandIn
from workflow import planned

from headstart.cli import app


def test_the_catalogs_snakefile_is_the_workflow_itself(tmp_path: Path) -> None:
    project = StandIn.new(tmp_path)
    project.begin()
    try:
        own = planned(project.snakemake("-n"))
        assert own["all"] == 1
        assert own["pretrain"] == 2
        assert planned(project.snakemake("-s", "workflow/Snakefile", "-n")) == own
    finally:
        project.end()


def test_the_catalog_finds_what_its_standard_asks_for() -> None:
    usage = YAML(typ="safe").load(ROOT / ".snakemake-workflow-catalog.yml")["usage"]
    assert set(usage) == {"mandatory-flags", "software-stack-deployment", "report"}
    assert usage["report"] is True
    assert not any(usage["software-stack-deployment"].values())
    text = (ROOT / "config/README.md").read_text()
    for name in re.findall(r"`((?:docs|workflow|profiles|presets)/[\w./]*)`", text):
        assert (ROOT / name).exists(), name
    for command in re.findall(r"`headstart (\w+)", text):
        assert app[command]


def test_recipes_of_containers_name_what_is_there() -> None:
    for name in ("container/Dockerfile", "container/headstart.def"):
        text = (ROOT / name).read_text()
        assert "-c constraints.txt -e ." in text
        assert (ROOT / name).is_file()
        assert "headstart init" in text
        for path in re.findall(r"container/[\w.]+", text):
            assert (ROOT / path).exists(), path
