"""What a person gets wrong ends before any training, with one line that says what to do."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from workflow import Project, new_project

FOLDER = """
datasets:
  photos: {kind: image_folder, path: photos, size: 12, channels: 1}
tasks:
  birds: {dataset: photos, classes: [crow, gull], validation_per_class: 2}
  fish: {dataset: photos, classes: [carp, pike], validation_per_class: 2}
models:
  convnet: {kind: convnet, width: 4}
pretrain:
  convnet: {sources: [birds], seeds: [0], epochs: 1, learning_rate: 0.1}
transfer:
  convnet:
    finetune:
      mode: finetune
      targets: [fish]
      source_epochs: [0, best]
      shots: [2]
      draws: [0]
      learning_rates: [0.1]
      epochs: 1
"""


def write_photos(folder: Path) -> None:
    generator = np.random.default_rng(0)
    for name in ("crow", "gull", "carp", "pike"):
        (folder / name).mkdir(parents=True)
        for index in range(12):
            pixels = generator.integers(0, 256, (14, 16, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{index}.png")


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Return a project whose images are a folder of PNG files."""
    project = new_project(tmp_path / "project")
    (project.folder / "params.yaml").write_text(FOLDER)
    write_photos(project.folder / "photos")
    return project


def refused(project: Project, *said: str, command: str = "snakemake") -> str:
    """Run, and assert that it failed with these words and that nothing was trained or left behind."""
    output = (
        project.snakemake(fails=True)
        if command == "snakemake"
        else project.headstart(command, fails=True)
    )
    for words in said:
        assert words in output, output
    assert "Traceback" not in output, output
    for step in ("pretrain", "transfer", "tables"):
        assert not list((project.folder / "results" / step).glob("*/manifest.json"))
    return output


def test_a_folder_of_images_is_added_and_used(project: Project) -> None:
    said = project.headstart("data", "add", "photos", "photos")
    assert "datasets.photos" in said
    assert "sha256" in (project.folder / "params.yaml").read_text()
    project.snakemake()
    assert list((project.folder / "figures").glob("transfer_convnet.png"))


def test_a_folder_without_its_sha256_says_the_command_that_writes_it(project: Project) -> None:
    refused(project, "headstart data add photos")


def test_a_folder_that_changed_is_refused(project: Project) -> None:
    project.headstart("data", "add", "photos", "photos")
    (project.folder / "photos" / "crow" / "0.png").unlink()
    refused(project, "photos", "changed", "headstart data add")


def test_an_image_that_does_not_decode_is_named(project: Project) -> None:
    (project.folder / "photos" / "gull" / "3.png").write_bytes(b"no image")
    project.headstart("data", "add", "photos", "photos")
    refused(project, "photos/gull/3.png")
    assert not list((project.folder / "results" / "data").glob("*/manifest.json"))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "epochs: 1, learning",
            "epohs: 1, learning",
            "pretrain.convnet.epohs: unknown key; did you mean 'epochs'?",
        ),
        ("seeds: [0]", "seeds: [zero]", "pretrain.convnet.seeds.0"),
        (
            "targets: [fish]",
            "targets: [fysh]",
            "transfer.convnet.finetune.targets: 'fysh' is not in `tasks`",
        ),
    ],
)
def test_a_wrong_params_file_is_refused_before_anything_runs(
    project: Project, old: str, new: str, said: str
) -> None:
    project.edit("params.yaml", old, new)
    refused(project, said, "params.yaml")
    assert not (project.folder / "results").exists()


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("[carp, pike]", "[carp, pyke]", ["tasks.fish.classes", "'pyke'", "pike"]),
        ("shots: [2]", "shots: [50]", ["transfer.convnet.finetune.shots", "50"]),
        ("[carp, pike]", "[]", ["tasks.fish.classes"]),
        ("[carp, pike]", "[carp]", ["tasks.fish.classes", "two classes"]),
        (
            "{dataset: photos, classes: [carp, pike], validation_per_class: 2}",
            "{dataset: photos, classes: [carp, pike], validation_per_class: 20}",
            ["tasks.fish", "20"],
        ),
        ("models:", "runtime: {device: cuda}\nmodels:", ["runtime.device", "'cuda'", "no GPU"]),
        (
            "{kind: convnet, width: 4}",
            "{kind: timm, name: vit_tinny_patch16_224}",
            ["models.convnet", "vit_tiny"],
        ),
    ],
)
def test_what_the_data_or_the_machine_cannot_give_is_said_before_training(
    project: Project, old: str, new: str, said: list[str]
) -> None:
    project.headstart("data", "add", "photos", "photos")
    project.edit("params.yaml", old, new)
    refused(project, *said)


def test_a_user_network_that_changed_is_refused(project: Project) -> None:
    project.headstart("data", "add", "photos", "photos")
    network = project.folder / "nets.py"
    network.write_text(
        "from torch import nn\n\n\ndef build(channels, image_size):\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(channels * image_size**2, 8), nn.ReLU())\n"
    )
    project.headstart("data", "add", "convnet", "nets.py:build")
    project.snakemake("--", "stage_check")
    network.write_text(network.read_text() + "# edited\n")
    for folder in (project.folder / "results" / "check").iterdir():
        shutil.rmtree(folder)
    refused(project, "nets.py", "headstart data add")


def test_a_damaged_dataset_is_named_with_its_remedy(project: Project) -> None:
    project.headstart("data", "add", "photos", "photos")
    project.snakemake("--", "stage_data")
    (file,) = (project.folder / "results" / "data").glob("*/images.safetensors")
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    refused(project, "images.safetensors: damaged", "delete results/data/photos")
    assert "images.safetensors: damaged" in project.headstart("verify", fails=True)


def test_a_folder_that_cannot_be_written_is_named(project: Project) -> None:
    (project.folder / ".store").write_text("a file where a folder is needed")
    refused(project, ".store", "check that")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("version", "figures", "--same"), "'figures' is not one of data, pretrain, transfer"),
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
    output = project.headstart(*arguments, fails=True)
    assert said in output
    assert "Traceback" not in output
    assert len(output.strip().splitlines()) == 1
