"""Letters drawn from the typefaces inside matplotlib, each image turned, slanted, sized and placed at random.

A letter is drawn white on black at four times the size, moved by one affine map, averaged down, and
given pixel noise. Its random numbers come from the dataset's seed, the letter and the part alone,
so that neither the other alphabets nor the order of work changes an image.

Whole families are kept apart: the test part is drawn from STIX General, a Times-like family of four
faces that no training image shows. Left out are matplotlib's placeholder (Last Resort), its display
and symbol faces, and the mathematical STIX faces, which hold no plain letters; Computer Modern
holds Latin letters only.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache, lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float64, UInt8
from PIL import Image, ImageFont

from headstart.artifacts.keys import derive_seed
from headstart.params.datasets import Glyphs
from headstart.tasks import TaskError
from headstart.tasks.storage import Contents

Alphabet = Literal["latin", "cyrillic", "greek"]
Part = Literal["train", "test"]

ALPHABETS: dict[Alphabet, str] = {
    "latin": "ABCDEFGHIJKLMNOPQRSTUVWXYZ",
    "cyrillic": "АБВГДЕЁЖЗИЙКЛМНОПРСТУФХЦЧШЩЪЫЬЭЮЯ",
    "greek": "ΑΒΓΔΕΖΗΘΙΚΛΜΝΞΟΠΡΣΤΥΦΧΨΩ",
}

_SUPERSAMPLING = 4
_RIM = 2  # dark pixels around a letter, so that its edge fades out
_EM_PER_LETTER = 1.35  # at this many pixels per em, a capital is about one pixel high or wide

_STYLES = ("", "-Bold", "-Oblique", "-BoldOblique")
_DEJAVU = (
    *(f"DejaVuSans{style}" for style in _STYLES),
    *(f"DejaVuSansMono{style}" for style in _STYLES),
    *(f"DejaVuSerif{style.replace('Oblique', 'Italic')}" for style in _STYLES),
)
_COMPUTER_MODERN = ("cmr10", "cmb10", "cmss10", "cmti10", "cmtt10", "cmmi10")
_STIX = ("STIXGeneral", "STIXGeneralBol", "STIXGeneralItalic", "STIXGeneralBolIta")

_COMPARED_AT = 96  # pixels per em; two letters are the same where they cover the same pixels


def typefaces(alphabet: Alphabet, part: Part) -> tuple[str, ...]:
    """Return the names of the faces that draw an alphabet in the training or the test part."""
    if part == "test":
        return _STIX
    return (*_DEJAVU, *_COMPUTER_MODERN) if alphabet == "latin" else _DEJAVU


def letters(alphabets: tuple[Alphabet, ...]) -> dict[Alphabet, tuple[str, ...]]:
    """Return the letters of each alphabet that look like no letter of an alphabet before it.

    A letter is left out if any typeface draws it with the same pixels as a Latin capital, such as
    Cyrillic В and Greek Β, or as a letter of an alphabet that stands earlier in `ALPHABETS` and is
    chosen too, such as Greek Π beside Cyrillic П. So no two classes of one dataset are the same
    picture.
    """
    kept: dict[Alphabet, tuple[str, ...]] = {}
    seen = ALPHABETS["latin"]
    for alphabet, capitals in ALPHABETS.items():
        if alphabet not in alphabets:
            continue
        taken = _lookalikes(capitals, seen) if alphabet != "latin" else frozenset()
        kept[alphabet] = tuple(letter for letter in capitals if letter not in taken)
        seen += "".join(kept[alphabet]) if alphabet != "latin" else ""
    return kept


@cache
def load_face(name: str, pixels: int) -> ImageFont.FreeTypeFont:
    """Open a typeface at `pixels` per em.

    Raises:
        TaskError: this matplotlib does not ship it.
    """
    import matplotlib

    path = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / f"{name}.ttf"
    try:
        return ImageFont.truetype(path, pixels, layout_engine=ImageFont.Layout.BASIC)
    except OSError:
        fix = "install the matplotlib version that the constraints file names"
        raise TaskError(f"{path}: matplotlib's typeface is missing or damaged; {fix}") from None


@cache
def _lookalikes(capitals: str, seen: str) -> frozenset[str]:
    found: set[str] = set()
    for name in (*_DEJAVU, *_STIX):
        pictures = {_picture(name, letter) for letter in seen}
        found |= {letter for letter in capitals if _picture(name, letter) in pictures}
    return frozenset(found)


def _picture(name: str, letter: str) -> tuple[tuple[int, int], bytes]:
    mask = load_face(name, _COMPARED_AT).getmask(letter)
    return mask.size, bytes(mask)


def make(dataset: Glyphs) -> Contents:
    """Draw every letter of the chosen alphabets; test images come from typefaces never trained on.

    Classes are named by their letter and groups by their alphabet (see `typefaces.letters` for the
    letters that are left out). Typefaces take equal turns within each class.
    """
    chosen = letters(dataset.alphabets)
    classes = [(alphabet, letter) for alphabet, members in chosen.items() for letter in members]
    numbers: dict[Part, int] = {"train": dataset.train_per_class, "test": dataset.test_per_class}
    images, labels, test = [], [], []
    for label, (alphabet, letter) in enumerate(classes):
        for part, number in numbers.items():
            images.append(_draw_class(dataset, alphabet, letter, part, number))
            labels += [label] * number
            test += [int(part == "test")] * number
    return Contents(
        images=np.concatenate(images),
        labels=np.array(labels, dtype=np.int64),
        test=np.array(test, dtype=np.uint8),
        classes=tuple(letter for _, letter in classes),
        groups={alphabet: members for alphabet, members in chosen.items()},
        licence="drawn from DejaVu, Computer Modern, STIX; see their licences in matplotlib",
        source="typefaces inside matplotlib",
    )


def _draw_class(
    dataset: Glyphs, alphabet: Alphabet, letter: str, part: Part, number: int
) -> UInt8[np.ndarray, "number 1 size size"]:
    random = np.random.default_rng(derive_seed("glyphs", dataset.seed, part, letter))
    faces = _equal_turns(typefaces(alphabet, part), number, random)
    maps = _random_maps(dataset, number, random)
    clean = np.stack(
        [
            _draw(_letter_picture(face, letter, dataset.size), affine, dataset.size)
            for face, affine in zip(faces, maps, strict=True)
        ]
    )
    noisy = clean + 255 * dataset.noise * random.standard_normal(clean.shape)
    return np.rint(np.clip(noisy, 0, 255)).astype(np.uint8)[:, None]


def _equal_turns(faces: tuple[str, ...], number: int, random: np.random.Generator) -> Iterator[str]:
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
def _letter_picture(face: str, letter: str, size: int) -> Image.Image:
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
