"""Presets are overrides of a base; `headstart use` writes the complete file."""

from __future__ import annotations

from pathlib import Path

import pytest
from checkout import ROOT
from commands import refused
from workflow import new_project

from headstart.maintenance import presets
from headstart.maintenance.presets import find, merge, read, use
from headstart.params.reading import ParamsError
from headstart.registry import load, parse

NAMES = sorted(path.stem for path in (ROOT / "presets").glob("*.yaml"))


def test_mappings_merge_other_values_replace_and_null_takes_away() -> None:
    base = {"a": {"b": 1, "c": [1, 2]}, "d": {"e": 1}}
    overrides = {"a": {"c": [3]}, "d": None, "f": {"g": None}}
    assert merge(base, overrides) == {"a": {"b": 1, "c": [3]}, "f": {"g": None}}


@pytest.mark.parametrize("name", NAMES)
def test_use_writes_a_complete_file_that_says_the_same(name: str, project: Path) -> None:
    use(name, project / "params.yaml")
    assert load(project / "params.yaml") == parse(read(find(name)))
    assert "\nbase:" not in (project / "params.yaml").read_text()


def test_use_keeps_the_earlier_file_and_takes_a_file_of_overrides(project: Path) -> None:
    use("default", project / "params.yaml")
    (project / "mine.yaml").write_text("# Mine.\nbase: default\nfigures: {dots_per_inch: 50}\n")
    said = use("mine.yaml", project / "params.yaml")
    assert "the earlier file is kept as .store/params/" in said
    written = load(project / "params.yaml")
    assert written.figures.dots_per_inch == 50
    assert written.pretrain == load(ROOT / "presets" / "default.yaml").pretrain
    assert (project / "params.yaml").read_text().startswith("# Mine.\n\ndatasets:\n")


def test_an_unknown_preset_base_or_key_is_one_line(project: Path) -> None:
    refused("use", "defalt", said=("'defalt' is no preset", "default"))
    (project / "mine.yaml").write_text("base: nothing\n")
    refused("use", "mine.yaml", said=("mine.yaml: base: 'nothing' is no preset",))
    (project / "mine.yaml").write_text("base: smoke\nfigures: {dpi: 3}\n")
    refused("use", "mine.yaml", said=("mine.yaml: figures.dpi: unknown key",))


def test_a_circle_of_bases_is_named(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presets, "PRESETS", project)
    (project / "one.yaml").write_text("base: two\n")
    (project / "two.yaml").write_text("base: one\n")
    with pytest.raises(ParamsError, match="one -> two -> one is a circle"):
        read(project / "one.yaml")


def test_an_entry_starts_from_another_and_follows_what_a_preset_changes_there(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(presets, "PRESETS", project)
    (project / "base").mkdir()
    (project / "base" / "paper.yaml").write_text(
        "runs: {a: {x: {n: 1, m: 2}}, b: {base: a}, c: {y: {base: a.x, m: null}}}\n"
        "kept: {one: {kwargs: {base: anything}}}\n"
    )
    (project / "data.yaml").write_text("kept: {two: 2}\nexpected: {value: 1}\n")
    (project / "mine.yaml").write_text("base: [paper, data]\nruns: {a: {x: {n: 5}}}\n")
    changed = {"x": {"n": 5, "m": 2}}
    assert read(project / "mine.yaml") == {
        "runs": {"a": changed, "b": changed, "c": {"y": {"n": 5}}},
        "kept": {"one": {"kwargs": {"base": "anything"}}, "two": 2},
    }


@pytest.mark.parametrize(
    ("entries", "said"),
    [("{a: {base: b}, b: {base: a}}", "circle"), ("{a: {base: z.y}}", "no entry 'z.y'")],
)
def test_an_entry_without_an_end_or_a_start_is_refused(
    entries: str, said: str, project: Path
) -> None:
    (project / "mine.yaml").write_text(f"runs: {entries}\n")
    with pytest.raises(ParamsError, match=f"mine.yaml: base: .*{said}"):
        read(project / "mine.yaml")


@pytest.mark.parametrize("name", [name for name in NAMES if name != "default"])
def test_a_preset_has_a_base_and_10_to_60_lines(name: str) -> None:
    text = find(name).read_text()
    assert "\nbase: " in text
    assert 10 <= len(text.splitlines()) <= 60


def test_dvc_plans_every_preset_without_an_error(tmp_path: Path) -> None:
    project = new_project(tmp_path / "project")
    project.begin_versioning()
    for name in NAMES:
        project.headstart("use", name)
        output = project.run("dvc", "repro", "--dry", "--force")
        assert "Running stage 'publish'" in output, name
