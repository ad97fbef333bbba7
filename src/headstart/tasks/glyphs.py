"""Letters drawn from typefaces, each image turned, slanted, sized and placed at random.

A letter is drawn white on black at four times the size, moved by one affine map, averaged down, and
given pixel noise. Its random numbers come from the dataset's seed, the letter and the part alone,
so that neither the other alphabets nor the order of work changes an image.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np
from jaxtyping import Float64, UInt8
from PIL import Image

from headstart.artifacts.keys import derive_seed
from headstart.params.datasets import Fonts, Glyphs
from headstart.tasks import TaskError
from headstart.tasks.storage import Contents
from headstart.tasks.typefaces import Face, Part, content_hash, lettering, load_face

_SUPERSAMPLING = 4
_RIM = 2  # dark pixels around a letter, so that its edge fades out
_EM_PER_LETTER = 1.35  # at this many pixels per em, a capital is about one pixel high or wide


def make(dataset: Glyphs, key: str = "datasets.glyphs") -> Contents:
    """Draw every letter of the chosen alphabets; test images come from families never trained on.

    Classes are named by their letter and groups by their alphabet (see `lettering` for the letters that are
    left out). Typefaces take equal turns within each class.

    Raises:
        TaskError: as `lettering`, or the fonts are not those that `headstart data add` noted.
    """
    drawn = lettering(dataset, f"{key}.fonts")
    licence = "drawn from DejaVu, Computer Modern, STIX; see their licences in matplotlib"
    source = "typefaces inside matplotlib"
    if dataset.fonts:
        _verify(key, dataset.fonts)
        licence, source = "that of the fonts", f"fonts, sha256 {str(dataset.fonts.sha256)[:12]}"
    numbers: dict[Part, int] = {"train": dataset.train_per_class, "test": dataset.test_per_class}
    classes = [(name, letter) for name, letters in drawn.letters.items() for letter in letters]
    images, labels, test = [], [], []
    for label, (alphabet, letter) in enumerate(classes):
        for part, number in numbers.items():
            faces = drawn.faces[alphabet, part]
            images.append(_draw_class(dataset, faces, letter, part, number))
            labels += [label] * number
            test += [int(part == "test")] * number
    return Contents(
        images=np.concatenate(images),
        labels=np.array(labels, dtype=np.int64),
        test=np.array(test, dtype=np.uint8),
        classes=tuple(letter for _, letter in classes),
        groups={alphabet: members for alphabet, members in drawn.letters.items()},
        licence=licence,
        source=source,
        findings=drawn.lines(),
    )


def _verify(key: str, fonts: Fonts) -> None:
    found = content_hash(fonts, f"{key}.fonts")
    if fonts.sha256 != found:
        where = fonts.path if fonts.package is None else f"package:{fonts.package}"
        known = f"{fonts.sha256[:12]}… when they were added" if fonts.sha256 else "not noted yet"
        raise TaskError(
            f"{key}.fonts.sha256: the typefaces of {where} are {found[:12]}…, {known}; undo the change, or "
            f"accept them with `headstart data add {key.removeprefix('datasets.')} {where}`"
        )


def _draw_class(
    dataset: Glyphs, faces: tuple[Face, ...], letter: str, part: Part, number: int
) -> UInt8[np.ndarray, "number 1 size size"]:
    random = np.random.default_rng(derive_seed("glyphs", dataset.seed, part, letter))
    turns = _equal_turns(faces, number, random)
    maps = _random_maps(dataset, number, random)
    clean = np.stack(
        [
            _draw(_letter_picture(face.path, letter, dataset.size), affine, dataset.size)
            for face, affine in zip(turns, maps, strict=True)
        ]
    )
    noisy = clean + 255 * dataset.noise * random.standard_normal(clean.shape)
    return np.rint(np.clip(noisy, 0, 255)).astype(np.uint8)[:, None]


def _equal_turns(
    faces: tuple[Face, ...], number: int, random: np.random.Generator
) -> Iterator[Face]:
    """Yield `number` faces in random order, each as often as any other, give or take one."""
    rounds = -(-number // len(faces))
    order = np.concatenate([random.permutation(len(faces)) for _ in range(rounds)])
    return (faces[index] for index in order[:number])


def _random_maps(
    dataset: Glyphs, number: int, random: np.random.Generator
) -> Float64[np.ndarray, "number 2 3"]:
    """Draw affine maps of a letter whose middle is 0 and whose larger side is 1.

    They give places in the image, from its middle and in units of its side.
    """
    angle = np.deg2rad(random.uniform(-dataset.rotation, dataset.rotation, number))
    shear = random.uniform(-dataset.shear, dataset.shear, number)
    scale = random.uniform(*dataset.scale, number)
    shift = random.uniform(-dataset.shift, dataset.shift, (2, number))
    cos, sin = np.cos(angle), np.sin(angle)
    rows = [
        [scale * cos, scale * (shear * cos - sin), shift[0]],
        [scale * sin, scale * (shear * sin + cos), shift[1]],
    ]
    return np.moveaxis(np.array(rows), -1, 0)


@lru_cache(maxsize=32)  # one letter in every typeface: classes are drawn one after the other
def _letter_picture(face: Path, letter: str, size: int) -> Image.Image:
    """Draw a letter upright, cut to its ink with a dark rim."""
    font = load_face(face, round(_EM_PER_LETTER * _SUPERSAMPLING * size))
    mask = font.getmask(letter)
    ink = np.frombuffer(bytes(mask), dtype=np.uint8).reshape(mask.size[::-1])
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    cut = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return Image.fromarray(np.pad(cut, _RIM))


def _draw(
    picture: Image.Image, affine: Float64[np.ndarray, "2 3"], size: int
) -> UInt8[np.ndarray, "size size"]:
    """Place a letter in a square image by an affine map of `_random_maps`."""
    side = _SUPERSAMPLING * size
    inner = np.array(picture.size) - 2 * _RIM
    (a, b), (c, d) = affine[:, :2] * (side / inner.max())
    inverse = np.array([[d, -b], [-c, a]]) / (a * d - b * c)
    offset = np.array(picture.size) / 2 - inverse @ (side / 2 + side * affine[:, 2])
    coefficients = (*inverse[0], offset[0], *inverse[1], offset[1])
    large = picture.transform(
        (side, side), Image.Transform.AFFINE, coefficients, Image.Resampling.BILINEAR
    )
    return np.asarray(large.reduce(_SUPERSAMPLING))
