"""The sheet of a dataset shows the images of its classes, as they are stored."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file

from headstart.steps import samples


def stored(folder: Path, classes: int, channels: int, side: int) -> SimpleNamespace:
    """Write a dataset whose images are all of one value: twice their class, or 255 for test images."""
    labels = np.repeat(np.arange(classes), 3)
    test = np.tile(np.array([1, 0, 0], np.uint8), classes)
    values = np.where(test == 1, 255, 2 * labels).astype(np.uint8)
    shape = (len(labels), channels, side, side)
    images = np.ascontiguousarray(np.broadcast_to(values[:, None, None, None], shape))
    save_file({"images": images, "labels": labels, "test": test}, folder / "images.safetensors")
    names = {"classes": [f"c{label}" for label in range(classes)], "groups": {}}
    (folder / "classes.json").write_text(json.dumps(names))
    return SimpleNamespace(
        path=folder, manifest={"name": "shapes"}, file=lambda name: folder / name
    )


@pytest.mark.parametrize(("classes", "channels", "side"), [(5, 1, 8), (100, 3, 40), (30, 3, 300)])
def test_the_sheet_has_a_training_image_of_every_class_that_it_names(
    tmp_path: Path, classes: int, channels: int, side: int
) -> None:
    data = stored(tmp_path, classes, channels, side)
    samples.draw_samples(data, tmp_path / "sheet.png")  # type: ignore[arg-type]
    with Image.open(tmp_path / "sheet.png") as sheet:
        pixels, about, dots = np.asarray(sheet), sheet.info["Description"], sheet.info["dpi"][0]
    listed = about.partition(": ")[2].rstrip(".").split(", ")
    assert len(listed) == min(classes, 24)
    assert f"{len(listed)} of its {classes} classes" in about
    assert (listed[0], listed[-1]) == ("c0", f"c{classes - 1}")
    cell = pixels.shape[1] // min(len(listed), samples.COLUMNS)
    assert cell - samples.GAP <= 1.5 * samples.SIDE
    for place, name in enumerate(listed):
        row, column = divmod(place, samples.COLUMNS)
        middle = pixels[row * cell + cell // 2, column * cell + cell // 2]
        assert middle.tolist() == [2 * int(name[1:])] * 3
    assert pixels.shape[1] / dots <= 6.95


def test_sheets_of_masked_images_hide_more_and_more_of_the_players_and_nothing_else(
    tmp_path: Path,
) -> None:
    from headstart.studies.knowledge.samples import COLUMNS, kept_players

    kept = kept_players(10)
    assert [int(mask.sum()) for mask in kept] == [10, 8, 6, 4, 2, 0]
    assert len(kept) == COLUMNS
    for more, fewer in pairwise(kept):
        assert bool((more | ~fewer).all())
    assert [int(mask.sum()) for mask in kept_players(3)][0::5] == [3, 0]
