"""What a person gets wrong, as Snakemake shows it: exit code, one line for each thing, no training."""

from __future__ import annotations

from pathlib import Path

import pytest
from commands import nothing_half_written, one_line
from photos import PARAMS, write_photos
from workflow import Project, new_project

from headstart.tasks.image_folder import content_hash

# Every request ends here at once, as where there is no network.
NO_NETWORK = {"http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}
PHOTOS = "photos: {kind: image_folder, path: photos, size: 12, channels: 1"
OTHERS = """
  unknown: {{kind: image_folder, path: photos, size: 12}}
  edited: {{kind: image_folder, path: edited, size: 12, sha256: {edited}}}
  broken: {{kind: image_folder, path: broken, size: 12, sha256: {broken}}}
  remote: {{kind: torchvision, name: KMNIST, size: 12}}
  spoilt: {{kind: torchvision, name: FashionMNIST, size: 12}}
"""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Return a project whose images are a folder of PNG files."""
    project = new_project(tmp_path / "project")
    write_photos(project.folder / "photos")
    sha256 = content_hash(project.folder / "photos")
    params = PARAMS.replace(PHOTOS, f"{PHOTOS}, sha256: {sha256}")
    assert sha256 in params
    (project.folder / "params.yaml").write_text(params)
    return project


def test_a_wrong_params_file_is_refused_before_anything_runs(project: Project) -> None:
    project.edit("params.yaml", "epochs: 1, learning", "epochs: 1, epohs: 1, learning")
    project.edit("params.yaml", "seeds: [0]", "seeds: [zero]")
    output = project.snakemake(fails=True)
    one_line(output, "params.yaml: pretrain.convnet.epohs: unknown key; did you mean 'epochs'?")
    one_line(output, "params.yaml: pretrain.convnet.seeds.0: ", "a whole number, found 'zero'")
    assert not (project.folder / "results").exists()
    nothing_half_written(project.folder)


@pytest.mark.parametrize("option", ["--config", "--configfile"])
def test_snakemakes_own_config_is_refused_for_params_are_the_study(
    project: Project, option: str
) -> None:
    (project.folder / "other.yaml").write_text("seeds: [3]\n")
    value = "seeds=3" if option == "--config" else "other.yaml"
    output = project.snakemake("-n", option, value, fails=True)
    one_line(output, "--config and --configfile (seeds) are not read", "headstart set")


def test_files_in_place_of_folders_are_named_before_anything_runs(project: Project) -> None:
    names = ("results", "figures", "logs", ".store")
    for name in names[:-1]:
        (project.folder / name).write_text("a file where a folder is needed")
    (project.folder / ".store").symlink_to("nowhere")
    output = project.snakemake(fails=True)
    for name in names[:-1]:
        one_line(output, f"{name}: a file stands where a folder is needed; move it away")
    one_line(output, ".store: a link to nowhere stands where a folder is needed; move it away")


def test_datasets_that_cannot_be_made_are_named_and_nothing_trains(project: Project) -> None:
    """Without its sha256, changed since, not an image, no network, a wrong checksum."""
    for name in ("edited", "broken"):
        write_photos(project.folder / name)
    added = {name: content_hash(project.folder / name) for name in ("edited", "broken")}
    (project.folder / "broken" / "gull" / "3.png").write_bytes(b"no image")
    (project.folder / "edited" / "crow" / "0.png").unlink()
    project.edit("params.yaml", "\ntasks:", f"{OTHERS.format(**added)}tasks:")
    spoilt = project.folder / "downloads" / "FashionMNIST" / "train-images-idx3-ubyte.gz"
    spoilt.parent.mkdir(parents=True)
    spoilt.write_bytes(b"cut off")

    output = project.snakemake(fails=True, **NO_NETWORK)
    one_line(output, "datasets.unknown.sha256: missing", "run `headstart data add unknown photos`")
    one_line(
        output, "datasets.edited.sha256", "changed since", "`headstart data add edited edited`"
    )
    one_line(output, "broken/gull/3.png: this image does not decode", "replace the file or remove")
    by_hand = ("http://codh.rois.ac.jp/kmnist", "elsewhere and put it into downloads/KMNIST/")
    one_line(output, "datasets.remote: cannot download http://codh.rois.ac.jp/kmnist", *by_hand)
    where = spoilt.relative_to(project.folder).as_posix()
    one_line(output, f"{where}: its md5 is ", "delete the file to have it downloaded")
    nothing_half_written(project.folder)
    assert len(project.manifests("data")) == 1
    assert not project.manifests("check")
    assert [path for path in (project.folder / "downloads").rglob("*") if path.is_file()] == [
        spoilt
    ]


def test_all_that_the_data_or_the_machine_cannot_give_is_said_at_once_and_nothing_trains(
    project: Project,
) -> None:
    project.edit("params.yaml", "[carp, pike]", "[carp, pyke]")
    project.edit("params.yaml", "classes: [crow, gull], validation_per_class: 2", "classes: []")
    project.edit("params.yaml", "models:", "runtime: {device: cuda}\nmodels:")
    output = project.snakemake(fails=True)
    one_line(output, "headstart: tasks.fish.classes: 'pyke'", "did you mean 'pike'?")
    one_line(output, "headstart: tasks.birds.classes: [] chooses no class; name a class")
    one_line(output, "headstart: runtime.device: 'cuda'", "no GPU; use auto or cpu")
    assert "log: logs/check/study-" in output
    nothing_half_written(project.folder)
    assert len(project.manifests("data")) == 1
    assert not project.manifests("check")


def test_a_folder_of_images_is_added_and_used(project: Project) -> None:
    (project.folder / "params.yaml").write_text(PARAMS)
    said = project.headstart("data", "add", "photos", "photos")
    assert "datasets.photos" in said
    assert "sha256" in (project.folder / "params.yaml").read_text()
    project.snakemake()
    assert list((project.folder / "figures").glob("transfer_convnet.png"))
