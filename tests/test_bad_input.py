"""What a person gets wrong ends before any training, with one line that says what to do."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from checkout import ROOT
from commands import done, refused
from photos import PARAMS, write_photos
from workflow import Project

from headstart import cli
from headstart.artifacts.files import file_sha256
from headstart.maintenance import external
from headstart.plan import Plan
from headstart.registry import load


@pytest.fixture(scope="module")
def added(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a project whose images are a folder of PNG files, added and made into a dataset."""
    folder = tmp_path_factory.mktemp("added")
    (folder / "params.yaml").write_text(PARAMS)
    write_photos(folder / "photos")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert "datasets.photos" in external.add("photos", "photos", None, Path("params.yaml"))
        assert "sha256" in Path("params.yaml").read_text()
        done("data", key_of("data"))
    return folder


@pytest.fixture
def project(added: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """Return a copy of it that is the current folder."""
    shutil.copytree(added, tmp_path / "project")
    monkeypatch.chdir(tmp_path / "project")
    return Project(tmp_path / "project")


def key_of(step: str) -> str:
    return Plan(load("params.yaml")).jobs(step)[0].key


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "epochs: 1, learning",
            "epochs: 1, epohs: 1, learning",
            ["pretrain.convnet.epohs", "unknown key", "did you mean 'epochs'?"],
        ),
        (
            "seeds: [0]",
            "seeds: [zero]",
            ["pretrain.convnet.seeds.0", "should be a whole number", "found 'zero'"],
        ),
        (
            "source_epochs: [0, best]",
            "source_epochs: [0, bset]",
            ["finetune.source_epochs.1", "should be a whole number or 'best'", "found 'bset'"],
        ),
        (
            "classes: [carp, pike]",
            "classes: null",
            ["tasks.fish.classes", "should be text or a list", "found None"],
        ),
        ("targets: [fish]", "targets: []", ["convnet.finetune", "at least one task in `targets`"]),
        (
            "targets: [fish]",
            "targets: [fysh]",
            ["transfer.convnet.finetune.targets", "'fysh' is not in `tasks`", "mean 'fish'?"],
        ),
    ],
)
def test_a_wrong_params_file_is_refused_by_every_command(
    project: Project, old: str, new: str, said: list[str]
) -> None:
    project.edit("params.yaml", old, new)
    refused("data", "0" * 12, said=("params.yaml", *said))
    refused("verify", said=("params.yaml", *said))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("[carp, pike]", "[carp, pyke]", ["tasks.fish.classes", "'pyke'", "did you mean 'pike'?"]),
        ("[carp, pike]", "none", ["tasks.fish.classes", "'none'", "known are: carp, crow"]),
        ("[carp, pike]", "[]", ["tasks.fish.classes", "[] chooses no class", "name a class"]),
        ("[carp, pike]", "[carp]", ["tasks.fish.classes", "only 'carp'", "two classes or more"]),
        (
            "shots: [2]",
            "shots: [50]",
            ["transfer.convnet.finetune.shots", "50", "'fish' has 8", "ask for fewer"],
        ),
        (
            "classes: [carp, pike], validation_per_class: 2",
            "classes: [carp, pike], validation_per_class: 20",
            ["tasks.fish.validation_per_class", "20 of the 10", "hold out fewer"],
        ),
        (
            "models:",
            "runtime: {device: cuda}\nmodels:",
            ["runtime.device", "'cuda'", "no GPU", "use auto or cpu"],
        ),
        (
            "{kind: convnet, width: 4}",
            "{kind: timm, name: vit_tinny_patch16_224}",
            ["models.convnet", "vit_tinny_patch16_224", "did you mean vit_tiny_patch16"],
        ),
    ],
)
def test_what_the_data_or_the_machine_cannot_give_is_said_by_the_check_before_training(
    project: Project, old: str, new: str, said: list[str]
) -> None:
    project.edit("params.yaml", old, new)
    refused("check", key_of("check"), said=tuple(said))


def test_a_user_network_that_changed_is_refused(project: Project) -> None:
    network = project.folder / "nets.py"
    network.write_text(
        "from torch import nn\n\n\ndef build(channels, image_size):\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(channels * image_size**2, 8), nn.ReLU())\n"
    )
    external.add("convnet", "nets.py:build", None, Path("params.yaml"))
    done("check", key_of("check"))
    network.write_text(network.read_text() + "# edited\n")
    shutil.rmtree(project.folder / "results" / "check")
    said = ("models.convnet: nets.py: its sha256 is", "undo the edit, or", "headstart data add")
    refused("check", key_of("check"), said=said)


def test_weights_in_a_package_are_added_by_its_name_and_what_is_known_of_them_stays(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = project.folder / "theirs.pth"
    theirs.write_bytes(b"weights")
    monkeypatch.setattr("headstart.networks.weights.file_of", lambda package: theirs)
    known = "{kind: convnet, width: 4, weights: {path: old.pth, sha256: %s, in_order: true}}" % (
        "a" * 64
    )
    project.edit("params.yaml", "{kind: convnet, width: 4}", known)
    external.add("convnet", "package:their-weights", None, Path("params.yaml"))
    weights = load("params.yaml").models["convnet"].weights
    assert weights.model_dump(exclude_defaults=True) == {
        "package": "their-weights",
        "sha256": file_sha256(theirs),
        "in_order": True,
    }


@pytest.mark.parametrize("step", ["check", "pretrain"])
def test_a_damaged_dataset_is_named_with_its_fix(
    project: Project, step: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (file,) = (project.folder / "results" / "data").glob("*/images.safetensors")
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    said = (f"{file.relative_to(project.folder)}: damaged", "delete results/data/photos-")
    refused(step, key_of(step), said=said)
    with pytest.raises(SystemExit, match="1"):
        cli.main(["verify"])
    assert said[0] in capsys.readouterr().out


@pytest.mark.parametrize("name", ["results", ".store", "logs"])
def test_a_file_in_place_of_a_folder_is_named(project: Project, name: str) -> None:
    key = key_of("check")
    shutil.rmtree(project.folder / name, ignore_errors=True)
    (project.folder / name).write_text("a file where a folder is needed")
    arguments = ("--log", "logs/check.log") if name == "logs" else ()
    if name == "results":  # the dataset is gone with its folder
        refused("data", key_of("data"), *arguments, said=(name, "check that this place"))
    else:
        refused("check", key, *arguments, said=(name, "check that this place can be written"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ("version", "figures", "--same"),
            "'figures' is not one of data, pretrain, trajectory, transfer",
        ),
        (("version", "data"), "say either --same or --bump"),
        (("data", "add", "photos", "nowhere"), "nowhere: no such file or folder"),
        (("data", "add", "new", "photos"), "such as --size 32"),
        (("pretrain", "0" * 12), "no job has the key 000000000000"),
        (("verifi",), "verify"),
    ],
)
def test_a_wrong_command_is_one_line(
    project: Project, arguments: tuple[str, ...], said: str
) -> None:
    refused(*arguments, said=(said,))


def test_a_refusal_is_printed_to_the_person_and_its_exit_code_is_not_0(project: Project) -> None:
    source = {"PYTHONPATH": str(ROOT / "src")}
    output = project.run("python", "-m", "headstart", "pretrain", "0" * 12, fails=True, **source)
    assert output.startswith("headstart: no job has the key 000000000000")
    assert len(output.splitlines()) == 1
