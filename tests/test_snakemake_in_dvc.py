"""The example of docs/snakemake_in_dvc.md is what the page says of it."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest
from checkout import ROOT
from workflow import Project

PAGE = (ROOT / "docs/snakemake_in_dvc.md").read_text()
FILES = ("params.yaml", "Snakefile", "clean.py", "count.py", "dvc.yaml")


@pytest.fixture
def project(tmp_path: Path) -> Project:
    blocks = re.findall(r"^```(?:yaml|python)\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    for name, content in zip(FILES, blocks, strict=True):
        (tmp_path / name).write_text(content)
    (tmp_path / "raw.txt").write_text("one\ntwo words\nand three words\n")
    (tmp_path / ".gitignore").write_text("/.snakemake\n")
    made = Project(tmp_path)
    made.run("git", "init", "-q")
    made.run("dvc", "init", "-q")
    made.run("dvc", "config", "core.analytics", "false")
    made.run("dvc", "remote", "add", "-d", "shelf", str(tmp_path.parent / "shelf"))
    return made


def results(project: Project) -> dict[str, str]:
    return {path.name: path.read_text() for path in (project.folder / "results").iterdir()}


def test_existence_alone_decides_and_nothing_is_stale(project: Project, tmp_path: Path) -> None:
    (commands,) = re.findall(r"^```sh\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    first, commit, edit, back = commands.splitlines()
    project.run("bash", "-c", first)
    made = results(project)
    assert sorted(name.split("-")[0] for name in made) == ["clean", "count"]
    assert "2 lines\n" in made.values()
    project.run("bash", "-c", commit)
    said = project.run("bash", "-c", edit)
    assert set(results(project).values()) == {*made.values(), "2 rows\n"}
    assert len(results(project)) == 3
    assert "Running stage 'study'" in said
    times = {path: path.stat().st_mtime for path in (project.folder / "results").iterdir()}
    project.run("bash", "-c", back)
    assert {path: path.stat().st_mtime for path in times} == times
    project.run("git", "commit", "-qam", "back")
    project.run("dvc", "push", "-q")

    clone = Project(tmp_path / "clone")
    project.run("git", "clone", "-q", ".", str(clone.folder))
    clone.run("dvc", "pull", "-q")
    for age, path in enumerate(sorted((clone.folder / "results").iterdir())):
        path.chmod(0o644)
        os.utime(path, (age, age))
    (clone.folder / "raw.txt").touch()
    assert "Nothing to be done" in clone.run("snakemake", "-n", "--rerun-triggers", "mtime")
    # An edit of what it was made from asks for another name.
    clone.edit("clean.py", ">=", ">")
    said = clone.run("snakemake", "-n", "--rerun-triggers", "mtime")
    assert re.search(r"^clean +1$", said, re.MULTILINE)
    assert re.search(r"^count +1$", said, re.MULTILINE)
    shutil.rmtree(clone.folder)
