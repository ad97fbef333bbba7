"""The commands of docs/own_images.md do what the page says, as they are written there."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

from checkout import ROOT
from pictures import fill, noise
from PIL import Image
from workflow import new_project

from headstart.registry import load

PAGE = ROOT / "docs" / "own_images.md"
CLASSES = ("ant", "bee at work", "Käfer", "dog", "elk")
# Of the study that the page makes; the tests have seconds.
SMALLER = {
    "epochs: 16": "epochs: 1",
    "drops: [8, 13]": "drops: []",
    "seeds: [0, 1, 2, 3, 4, 5, 6]": "seeds: [0, 1]",
    "source_epochs: [0, 1, 2, 4, 8, 16, best]": "source_epochs: [0, best]",
    "draws: [0, 1]": "draws: [0]",
    "learning_rates: [0.2, 0.05, 0.01]": "learning_rates: [0.05]",
    "epochs: 30": "epochs: 1",
    "plasticity: {images: 256}": "plasticity: {enabled: false}",
}


def commands() -> list[list[str]]:
    lines = [shlex.split(line) for block in blocks("") for line in block.splitlines()]
    return [words for words in lines if words[0] in ("headstart", "snakemake")]


def blocks(language: str) -> list[str]:
    text = PAGE.read_text(encoding="utf-8")
    found = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return [block for of, block in found if of == language]


def an_ugly_folder(folder: Path) -> Path:
    """Mixed sizes and formats, grey with transparency, turned photographs, what systems leave behind."""
    fill(folder, CLASSES, 8)
    for index, name in enumerate(CLASSES):
        noise(index, 20, (48, 33)).save(folder / name / "wide.gif")
        grey = noise(index, 21).convert("LA")
        grey.paste((0, 0), (0, 0, 5, 5))
        grey.save(folder / name / "grey.png")
        exif = Image.Exif()
        exif[0x0112] = 6
        noise(index, 22).save(folder / name / "photo 1 ü.jpg", exif=exif)
    (folder / "ant" / ".DS_Store").write_bytes(b"x")
    (folder / "labels.csv").write_text("1,2")
    return folder


def test_the_commands_of_the_page_run_as_written(tmp_path: Path) -> None:
    project = new_project(tmp_path / "project")
    photos = an_ugly_folder(project.folder / "photos")
    start, *rest = commands()
    wanted = [["snakemake", "--cores", "all"], ["headstart", "verdict"], ["headstart", "start"]]
    wanted += [["headstart", "set"], wanted[0], ["headstart", "export"], ["headstart", "data"]]
    assert [words[: len(each)] for words, each in zip(rest, wanted, strict=False)] == wanted
    photos.joinpath("elk", "broken.jpg").write_bytes(b"no image")
    photos.joinpath("yak").mkdir()
    said = project.headstart(*start[1:], fails=True)
    assert "photos/yak: no image of this class" in said
    assert "photos/elk/broken.jpg: this image does not decode" in said
    photos.joinpath("elk", "broken.jpg").unlink()
    photos.joinpath("yak").rmdir()

    said = project.headstart(*start[1:])
    for words in ("5 images turned upright", "5 images transparent", "1 .csv", "Shorter with:"):
        assert words in said
    for old, new in SMALLER.items():
        project.edit("params.yaml", old, new)
    project.run(*rest[0])
    assert (project.folder / "report.html").stat().st_size > 100_000
    assert (project.folder / "figures" / "transfer_resnet18.png").exists()
    assert "resnet18" in project.headstart(*rest[1][1:])

    keep, again, export = rest[3:6]
    project.headstart(*keep[1:])
    assert "runs once more" in project.run(*again)
    said = project.headstart(*export[1:])
    (code,) = blocks("python")
    assert code.strip() in said
    project.run("python", "-c", f"{code}assert network.fc.out_features == 2")

    shutil.copytree(photos, project.folder / "drawings")
    for file in (project.folder / "drawings").rglob("*.gif"):
        file.unlink()
    assert "of these images are in photos too" in project.headstart(*rest[2][1:])
    assert load(project.folder / "params.yaml").datasets["target_photos"].path == "drawings"
    before = (project.folder / "params.yaml").read_text()
    project.headstart(*rest[6][1:])
    assert (project.folder / "params.yaml").read_text() == before
