"""Keys say what decides a result and nothing else: real edits of the source, and the same study elsewhere."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from checkout import ROOT

from headstart.maintenance import generate, presets
from headstart.params.types import DEFAULTS, current_default
from headstart.plan import Plan
from headstart.registry import load, parse

LIST = (
    "import json; from headstart.plan import Plan; from headstart.registry import load; "
    "print(json.dumps([[job.step, job.name, job.full_key] for job in Plan(load('params.yaml')).jobs()]))"
)
DEFAULT = ROOT / "presets" / "default.yaml"


class Source:
    """A copy of the source that a test edits, and the keys of the default study under it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("src", "notebooks", "published"):
            ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
            shutil.copytree(ROOT / name, folder / name, ignore=ignored)
        shutil.copy(ROOT / "claims.yaml", folder / "claims.yaml")
        shutil.copy(DEFAULT, folder / "params.yaml")

    def edit(self, module: str, old: str, new: str) -> None:
        path = self.folder / "src" / "headstart" / module
        text = path.read_text()
        assert old in text, f"{old!r} is not in {module}"
        path.write_text(text.replace(old, new))

    def keys(self) -> dict[tuple[str, str], str]:
        environment = {**os.environ, "PYTHONPATH": str(self.folder / "src")}
        done = subprocess.run(
            [sys.executable, "-c", LIST],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return {(step, name): key for step, name, key in json.loads(done.stdout)}


@pytest.fixture(scope="module")
def known() -> dict[tuple[str, str], str]:
    return {(job.step, job.name): job.full_key for job in Plan(load(DEFAULT)).jobs()}


@pytest.fixture
def source(tmp_path: Path) -> Source:
    return Source(tmp_path)


@pytest.mark.parametrize(
    ("module", "old", "new"),
    [
        pytest.param(
            "studies/invariance/params.py",
            "does not start from random weights",
            "begins with weights that are not random",
            id="a word in an error message of a study's params",
        ),
        pytest.param(
            "studies/knowledge/params.py",
            "SECTIONS: dict[str, Any] = {",
            'SECTIONS: dict[str, Any] = {\n    "trial": (dict[Name, Arm], Field(default_factory=dict)),',
            id="a new optional section",
        ),
        pytest.param(
            "params/recipe.py",
            "    channels_last: bool = False\n",
            "    channels_last: bool = False\n    trial: bool = False\n",
            id="a new field with a default",
        ),
        pytest.param(
            "steps/pretrain.py",
            "learning rate {",
            "at a rate of {",
            id="a word that is logged",
        ),
    ],
)
def test_an_edit_that_decides_no_result_changes_no_key(
    source: Source, known: dict[tuple[str, str], str], module: str, old: str, new: str
) -> None:
    source.edit(module, old, new)
    assert source.keys() == known


def test_a_changed_default_changes_the_keys_of_all_that_relied_on_it(
    source: Source, known: dict[tuple[str, str], str]
) -> None:
    source.edit("params/recipe.py", "momentum: NonNegative = 0.9", "momentum: NonNegative = 0.8")
    edited = source.keys()
    different = {name for name in known if edited[name] != known[name]}
    relied = {name for name in known if name[0] in ("pretrain", "transfer", "trajectory")}
    assert relied <= different
    assert not {name for name in different if name[0] == "data"}


def test_a_study_that_states_the_old_default_keeps_its_keys(
    source: Source, known: dict[tuple[str, str], str]
) -> None:
    source.edit("params/recipe.py", "nesterov: bool = True", "nesterov: bool = False")
    params = source.folder / "params.yaml"
    params.write_text(params.read_text().replace("{name: sgd", "{name: sgd, nesterov: true"))
    edited = source.keys()
    stated = {n for n in known if n[0] in ("pretrain", "transfer") and "-convnet-" in n[1]}
    assert stated
    assert {name for name in stated if edited[name] != known[name]} == set()


def test_every_default_is_recorded() -> None:
    recorded = json.loads(DEFAULTS.read_text())
    for section in generate.sections():
        for name, field in section.model_fields.items():
            if not field.is_required():
                assert f"{section.__name__}.{name}" in recorded, "run `headstart generate`"
                assert current_default(section, name) == recorded[f"{section.__name__}.{name}"]


def test_classes_of_params_have_names_of_their_own() -> None:
    """Defaults are recorded by the name of the class."""
    sections = generate.sections()
    assert len({section.__name__ for section in sections}) == len(sections)


def folder_study(images: str, weights: str, network: str, downloads: str) -> dict:
    raw = presets.read(presets.find("smoke"))
    for name in ("trajectory", "knowledge", "invariance"):
        raw.pop(name, None)
    raw["datasets"]["glyphs"] = {
        "kind": "image_folder",
        "path": images,
        "sha256": "1" * 64,
        "size": 16,
        "groups": {"latin": ["a", "b"], "cyrillic": ["c", "d"]},
    }
    raw["datasets"]["more"] = {"kind": "torchvision", "name": "CIFAR10", "folder": downloads}
    raw["models"]["convnet"] = {
        "kind": "file",
        "path": network,
        "function": "build",
        "sha256": "2" * 64,
        "weights": {"path": weights, "sha256": "3" * 64},
    }
    return raw


def test_where_files_lie_is_in_no_key() -> None:
    """Spellings of one path, and the paths of two machines."""
    here = folder_study("photos", "w.safetensors", "nets.py", "downloads")
    elsewhere = folder_study(
        "/data/../data/photos/", "./w.safetensors", "/home/me/nets.py", "/scratch/downloads"
    )
    keys, others = ([job.full_key for job in Plan(parse(raw)).jobs()] for raw in (here, elsewhere))
    assert keys == others


def test_what_files_hold_is_in_the_keys() -> None:
    here = folder_study("photos", "w.safetensors", "nets.py", "downloads")
    keys = {job.full_key for job in Plan(parse(here)).jobs("data", "pretrain")}
    for change in (
        lambda raw: raw["datasets"]["glyphs"].update(sha256="4" * 64),
        lambda raw: raw["models"]["convnet"].update(sha256="5" * 64),
        lambda raw: raw["models"]["convnet"]["weights"].update(sha256="6" * 64),
    ):
        other = folder_study("photos", "w.safetensors", "nets.py", "downloads")
        change(other)
        assert {job.full_key for job in Plan(parse(other)).jobs("data", "pretrain")} != keys


def test_a_job_gets_the_places_that_its_key_leaves_out() -> None:
    plan = Plan(parse(folder_study("photos", "w.safetensors", "nets.py", "downloads")))
    job = next(job for job in plan.jobs("pretrain") if job.wildcards["model"] == "convnet")
    assert job.params["model"]["path"] == "nets.py"
    assert job.params["model"]["weights"]["path"] == "w.safetensors"
    assert "path" not in job.keyed["model"]
    assert job.params["pretrain"]["batch_size"] == 64
