"""Params files: what is right, what is wrong, and how it is said."""

import json
import re
import subprocess
from pathlib import Path

import pytest
from checkout import ROOT
from ruamel.yaml import YAML

from headstart.maintenance import generate, params_page, presets
from headstart.maintenance.generate import sections
from headstart.maintenance.params_words import MEANINGS
from headstart.params.reading import ParamsError
from headstart.params.types import canonical
from headstart.registry import load, parse

PRESETS = sorted((ROOT / "presets").glob("*.yaml"))


def smoke() -> dict:
    return presets.read(presets.find("smoke"))


def changed(path: str, value: object) -> dict:
    raw = smoke()
    *parents, last = path.split(".")
    place = raw
    for parent in parents:
        place = place[parent]
    place[last] = value
    return raw


@pytest.mark.parametrize("preset", PRESETS, ids=lambda path: path.stem)
def test_every_preset_is_valid(preset: Path) -> None:
    assert parse(presets.read(preset)).pretrain


def test_the_committed_params_file_is_the_default_preset() -> None:
    committed = subprocess.run(
        ["git", "show", "HEAD:params.yaml"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if committed.returncode:
        pytest.skip("not a git checkout")
    assert committed.stdout == (ROOT / "presets" / "default.yaml").read_text()


def test_every_key_of_the_params_reference_says_what_it_means() -> None:
    page = params_page.page()
    rows = re.findall(r"^\| `(\w+)` \|.*\| (.*) \|$", page, re.MULTILINE)
    assert len(rows) == len(re.findall(r"^\| `", page, re.MULTILINE)) > 250
    assert [name for name, meaning in rows if not meaning.strip()] == []
    used = set()
    for section in sections():
        for name, field in section.model_fields.items():
            own = f"{section.__name__}.{name}"
            used |= set() if field.description else {own if own in MEANINGS else name}
    assert set(MEANINGS) <= used


def test_the_committed_schema_is_the_one_of_the_typed_view() -> None:
    assert (ROOT / "workflow" / "schemas" / "params.schema.yaml").read_text() == generate.schema()
    assert json.loads(generate.schema())["additionalProperties"] is False


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (
            "pretrain.convnet.epohs",
            3,
            "pretrain.convnet.epohs: unknown key; did you mean 'epochs'?",
        ),
        (
            "pretrain.convnet.epochs",
            "many",
            "pretrain.convnet.epochs: input should be a whole number, found 'many'",
        ),
        ("pretrain.convnet.epochs", True, "a number is needed, not true or false, found True"),
        (
            "pretrain.convnet.epochs",
            -1,
            "pretrain.convnet.epochs: input should be greater than or equal to 0, found -1",
        ),
        (
            "transfer.convnet.finetune.epochs",
            0,
            "transfer.convnet.finetune.epochs: input should be greater than or equal to 1, found 0",
        ),
        (
            "pretrain.convnet.learning_rate",
            -1,
            "pretrain.convnet.learning_rate: input should be greater than 0",
        ),
        (
            "pretrain.convnet.sources",
            ["latinn"],
            "pretrain.convnet.sources: 'latinn' is not in `tasks`",
        ),
        ("pretrain.convnet.seeds", [1, 1], "pretrain.convnet.seeds: [1, 1] names something twice"),
        ("models.convnet.kind", "resnet", "models.convnet: input tag 'resnet'"),
        ("models.convnet", {"kind": "wrn", "depth": 27}, "depth 27 is not 6 n + 4"),
        (
            "tasks.latin.dataset",
            "glyph",
            "tasks.latin.dataset: 'glyph' is not in `datasets`; did you mean 'glyphs'?",
        ),
        (
            "transfer.convnet.finetune.targets",
            [],
            "mode finetune needs at least one task in `targets`",
        ),
        (
            "transfer.convnet.relearn.targets",
            ["latin"],
            "mode relearn trains on the source task again",
        ),
        (
            "transfer.convnet.finetune.source_epochs",
            [0, 3000],
            "[3000] are not kept by pre-training",
        ),
        (
            "transfer.convnet.finetune.shrink",
            1.5,
            "shrink: input should be less than or equal to 1",
        ),
        (
            "trajectory.vit.finetune.source_epochs",
            [3000],
            "trajectory.vit.finetune.source_epochs: [3000] are not kept by pre-training",
        ),
        ("trajectory.vit.finetune.seeds", [7], "no network is pre-trained from [7]; known are [0]"),
        (
            "trajectory.vit.finetune.target_epochs",
            [1, 9],
            "target_epochs: [9] lie after the last epoch, 2",
        ),
        (
            "trajectory.vit.finetune.targets",
            ["cyrilic"],
            "'cyrilic' is not in `tasks`; did you mean 'cyrillic'?",
        ),
        (
            "knowledge.convnet.players",
            {"kind": "grid", "rows": 5, "columns": 5},
            "25 players have 2^25 masked inputs: give `masks` so many of them",
        ),
        (
            "knowledge.convnet.players",
            {"kind": "grid", "rows": 2, "columns": 2, "cells": [[0, 0], [2, 0]]},
            "each belongs there once, within 2 rows and 2 columns",
        ),
        (
            "knowledge.convnet.players",
            {"kind": "masks", "path": "x", "sha256": "0" * 64, "players": 17},
            "17 players have 2^17 masked inputs: give `masks` so many of them",
        ),
        (
            "knowledge.convnet.baseline",
            {"kind": "learned"},
            "`path` and `sha256` belong to kind learned",
        ),
        (
            "knowledge.convnet.finetuned",
            "finetun",
            "knowledge.convnet.finetuned: trajectory.convnet has no arm 'finetun'; its arms: finetune",
        ),
        (
            "knowledge.convnet.probe",
            "scratch",
            "knowledge.convnet.probe: trajectory.convnet.scratch has mode finetune, probe is needed",
        ),
        (
            "knowledge.convnet.scratch",
            {"arm": "scratch", "model": "resnet"},
            "knowledge.convnet.scratch: trajectory.resnet has no arm 'scratch'; its arms: none",
        ),
        (
            "knowledge.convnet.source_epochs",
            [2],
            "knowledge.convnet.source_epochs: [2] are not run by the arm 'finetune'; there are [4]",
        ),
        (
            "knowledge.convnet.target_epochs",
            [0, 7],
            "knowledge.convnet.target_epochs: [7] are not kept by the arm 'finetune', which keeps",
        ),
        (
            "trajectory.convnet.probe.source_epochs",
            ["last"],
            "needs [0] in trajectory.convnet.probe.source_epochs, which has [4]",
        ),
        (
            "trajectory.convnet.scratch.epochs",
            3,
            "train 2 and 3 epochs; give both the same, to compare their paths",
        ),
        ("knowledge.convnet.images", 1, "images: input should be greater than or equal to 2"),
        ("knowledge.resnet", {}, "trajectory.resnet has no arm 'finetune'; its arms: none"),
        ("pretrain.convnet.repeats", 0, "pretrain.convnet.repeats: input should be greater"),
        ("transfer.convnet.finetune.test_epochs", [99], "[99] lie after the last epoch, 2"),
        ("transfer.resnet", {}, "transfer.resnet: 'resnet' is not in `pretrain`"),
        (
            "statistics.primary.target",
            "cyrilic",
            "statistics.primary.target: nothing is run for 'cyrilic'; did you mean 'cyrillic'?",
        ),
        (
            "statistics.primary.shots",
            5,
            "statistics.primary.shots: nothing is run for '5'; known are: 3",
        ),
        (
            "statistics.primary.model",
            "resnet",
            "statistics.primary.model: nothing is run for 'resnet'; known are: convnet, vit",
        ),
        ("statistics.margin", 0, "statistics.margin: input should be greater than 0, found 0"),
        (
            "runtime.device",
            "gpu",
            "runtime.device: input should be 'auto', 'cpu' or 'cuda', found 'gpu'",
        ),
        (
            "datasets.glyphs.alphabets",
            ["runes"],
            "datasets.glyphs.alphabets.0: input should be 'latin'",
        ),
    ],
)
def test_a_wrong_entry_is_named_with_its_path_and_value(
    path: str, value: object, said: str
) -> None:
    with pytest.raises(ParamsError) as error:
        parse(changed(path, value))
    assert said in str(error.value)
    assert "params.yaml" in str(error.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [1", "this is not YAML"),
        ("- 1", "sections such as `datasets:` are needed"),
        ("", "sections"),
    ],
)
def test_a_file_that_is_no_mapping_is_named(project: Path, text: str, said: str) -> None:
    (project / "params.yaml").write_text(text)
    with pytest.raises(ParamsError, match=said):
        load()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "\n".join(
                ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1]"]
                + [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 10)]
            ),
            "its anchors expand to more than 1,000,000 values",
        ),
        ("a: &a [*a]", "no anchor inside itself"),
        (f"a: {'[' * 3000}{']' * 3000}", "nested too deep"),
        ("datasets: {../../x: {kind: glyphs}}", "string should match pattern"),
        ("tasks: {'/tmp/x': {dataset: glyphs}}", "string should match pattern"),
    ],
    ids=["billion laughs", "itself", "brackets", "out of the project", "absolute"],
)
def test_a_hostile_file_is_refused_at_once(project: Path, text: str, said: str) -> None:
    (project / "params.yaml").write_text(text)
    with pytest.raises(ParamsError, match=said):
        load("params.yaml")


def test_a_missing_file_says_what_writes_one(project: Path) -> None:
    with pytest.raises(ParamsError, match="headstart use default"):
        load()


def test_numbers_and_strings_of_numbers_have_one_canonical_form(project: Path) -> None:
    forms = []
    for text in ("1e-3", "0.001", "1.0e-3", "'1e-3'"):
        raw = YAML(typ="safe", pure=True).load(f"learning_rate: {text}")
        parsed = parse(changed("pretrain.convnet.learning_rate", raw["learning_rate"]))
        forms.append(canonical(parsed.pretrain["convnet"]))
    assert all(form == forms[0] for form in forms)
    assert forms[0]["learning_rate"] == 0.001


def test_fields_at_their_default_are_left_out_of_the_canonical_form() -> None:
    implicit = parse(smoke())
    explicit = parse(changed("pretrain.convnet.label_smoothing", 0.0))
    assert canonical(implicit) == canonical(explicit)
    assert "label_smoothing" not in canonical(explicit.pretrain["convnet"])


def test_the_primary_contrast_may_relearn_the_source_task() -> None:
    relearn = {"source": "latin", "model": "convnet", "target": "latin", "arm": "relearn"}
    params = parse(changed("statistics.primary", {**relearn, "shots": 3}))
    asked = params.section("statistics").primary
    assert asked is not None
    assert asked.target == "latin"


def test_checkpoints_are_log_spaced_with_drops_and_both_ends() -> None:
    raw = changed("pretrain.convnet.epochs", 20)
    raw["pretrain"]["convnet"]["schedule"] = {"name": "step", "drops": [10]}
    raw["pretrain"]["convnet"]["checkpoints"] = {"every": 6, "epochs": [7]}
    kept = parse(raw).pretrain["convnet"].checkpoint_epochs()
    assert kept == (0, 1, 2, 4, 6, 7, 8, 9, 10, 11, 12, 16, 18, 20)
