"""Which letters a `glyphs` dataset has, and which typefaces draw them for training and for testing.

Without `fonts` they are the faces inside matplotlib: left out are its placeholder (Last Resort), its display and
symbol faces, and the mathematical STIX faces, which hold no plain letters. Whole families are kept apart: the
test part is drawn from STIX General, a Times-like family, where it has the letters, else as from a folder.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from PIL import ImageFont

from headstart.artifacts.files import file_sha256, package_files
from headstart.artifacts.keys import derive_seed
from headstart.params.datasets import Alphabet, Fonts, Glyphs
from headstart.tasks import TaskError
from headstart.tasks.alphabets import ALPHABETS

Part = Literal["train", "test"]

SUFFIXES = (".ttf", ".otf")
MOST = 0.8
"""A face draws an alphabet if it has this share of its letters."""
TEST_SHARE = 5
"""One in so many families of a folder is for testing, where the alphabets allow it."""

_STYLES = ("", "-Bold", "-Oblique", "-BoldOblique")
_DEJAVU = (
    *(f"DejaVuSans{style}" for style in _STYLES),
    *(f"DejaVuSansMono{style}" for style in _STYLES),
    *(f"DejaVuSerif{style.replace('Oblique', 'Italic')}" for style in _STYLES),
)
_COMPUTER_MODERN = ("cmr10", "cmb10", "cmss10", "cmti10", "cmtt10", "cmmi10")
_STIX = ("STIXGeneral", "STIXGeneralBol", "STIXGeneralItalic", "STIXGeneralBolIta")
_TESTED = "STIXGeneral"

_COMPARED_AT = 96  # pixels per em; two letters are the same where they cover the same pixels
_NO_LETTER = "\U0010fffd"  # no face has it, so that it shows what a face draws for an absent letter


@dataclass(frozen=True)
class Face:
    """A typeface: its file, and the family that the file names."""

    path: Path
    family: str


@dataclass(frozen=True)
class Lettering:
    """The letters of each alphabet, and the faces that draw it in each part."""

    letters: dict[Alphabet, tuple[str, ...]]
    faces: dict[tuple[Alphabet, Part], tuple[Face, ...]]

    def lines(self) -> tuple[str, ...]:
        """Return a line for each alphabet: how many letters, and the families of both parts."""

        def families(alphabet: Alphabet, part: Part) -> str:
            return ", ".join(sorted({face.family for face in self.faces[alphabet, part]}))

        return tuple(
            f"{alphabet}: {len(letters)} letters ({''.join(letters)}), trained on "
            f"{families(alphabet, 'train')}, tested on {families(alphabet, 'test')}"
            for alphabet, letters in self.letters.items()
        )


def lettering(dataset: Glyphs, key: str = "fonts") -> Lettering:
    """Return the letters of a dataset's alphabets that every face of them has and that look like no other.

    A face draws an alphabet if it has most of its letters. A letter is left out if one of these faces lacks
    it, or draws it with the same pixels as a Latin capital, such as Cyrillic В and Greek Β, as an earlier
    letter of its alphabet, or as a letter of an alphabet that stands earlier in `ALPHABETS` and is chosen
    too, such as Greek Π beside Cyrillic П. So no two classes of one dataset are the same picture.

    Raises:
        TaskError: a face cannot be read, or too few families have the letters; begins with `key`.
    """
    return _lettering(faces(dataset.fonts, key), dataset, key)


def faces(fonts: Fonts | None, key: str = "fonts") -> tuple[Face, ...]:
    """Return the faces of a folder or a package, those inside matplotlib for None.

    Raises:
        TaskError: there is no such folder or package, no face in it, or one that cannot be read.
    """
    if fonts is None:
        names = (*_DEJAVU, *_COMPUTER_MODERN, *_STIX)
        paths = [_matplotlib_folder() / f"{name}.ttf" for name in names]
        return tuple(
            Face(path, "Computer Modern" if path.name.startswith("cm") else _facts(path)[0])
            for path in paths
        )
    found = tuple(Face(path, _facts(path)[0]) for path in _files(fonts, key).values())
    if not found:
        raise TaskError(
            f"{key}: {_place(fonts)} holds no typeface, no file that ends in .ttf or .otf"
        )
    return found


def content_hash(fonts: Fonts, key: str = "fonts") -> str:
    """Return the sha256 of the relative paths and the bytes of all faces of a folder or package."""
    lines = (f"{name}\0{file_sha256(path)}\n" for name, path in _files(fonts, key).items())
    return hashlib.sha256("".join(lines).encode()).hexdigest()


@cache
def load_face(path: Path, pixels: int) -> ImageFont.FreeTypeFont:
    """Open a typeface at `pixels` per em.

    Raises:
        TaskError: it cannot be read; of matplotlib's, this matplotlib does not ship it.
    """
    try:
        return ImageFont.truetype(path, pixels, layout_engine=ImageFont.Layout.BASIC)
    except OSError:
        raise _damaged(path) from None


def _damaged(path: Path) -> TaskError:
    if path.is_relative_to(_matplotlib_folder()):
        fix = "install the matplotlib version that the constraints file names"
        return TaskError(f"{path}: matplotlib's typeface is missing or damaged; {fix}")
    return TaskError(f"{path}: this typeface is missing or damaged; restore it, or take it away")


@cache
def _facts(path: Path) -> tuple[str, frozenset[int]]:
    """Return the family that a file names, and the characters that it maps to glyphs."""
    from matplotlib.ft2font import FT2Font

    try:
        font = FT2Font(path)
        return font.family_name, frozenset(
            code for code, glyph in font.get_charmap().items() if glyph
        )
    except (OSError, RuntimeError):
        raise _damaged(path) from None


def _files(fonts: Fonts, key: str) -> dict[str, Path]:
    if fonts.package is not None:
        try:
            return {
                str(file): Path(str(file.locate()))
                for file in package_files(fonts.package, SUFFIXES)
            }
        except LookupError as error:
            raise TaskError(f"{key}.package: {error}") from None
    folder = Path(fonts.path or "")
    if not folder.is_dir():
        raise TaskError(f"{key}.path: {folder}: no such folder")
    found = (path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    return {path.relative_to(folder).as_posix(): path for path in sorted(found) if path.is_file()}


def _place(fonts: Fonts | None) -> str:
    if fonts is None:
        return "matplotlib"
    return str(fonts.path) if fonts.package is None else f"the package {fonts.package}"


def _matplotlib_folder() -> Path:
    import matplotlib

    return Path(matplotlib.get_data_path()) / "fonts" / "ttf"


@cache
def _lettering(every: tuple[Face, ...], dataset: Glyphs, key: str) -> Lettering:
    chosen = _able(every, dataset, key)
    tested = _test_families([*chosen.values()], dataset)
    if tested is None:
        raise TaskError(
            f"{key}: no choice among the families of {_place(dataset.fonts)} leaves one for training and one for "
            f"testing to each of {', '.join(chosen)}; add typefaces, or make datasets of fewer alphabets"
        )
    parts: dict[tuple[Alphabet, Part], tuple[Face, ...]] = {}
    for alphabet, mine in chosen.items():
        parts[alphabet, "train"] = tuple(face for face in mine if face.family not in tested)
        parts[alphabet, "test"] = tuple(face for face in mine if face.family in tested)
    letters: dict[Alphabet, tuple[str, ...]] = {}
    for alphabet, mine in chosen.items():
        others = [*letters.values(), tuple(ALPHABETS["latin"])] if alphabet != "latin" else []
        seen = frozenset(letter for each in others for letter in each)
        letters[alphabet] = _distinct(alphabet, tuple(face.path for face in mine), seen)
        if len(letters[alphabet]) < 2:
            raise TaskError(
                f"{key}: the {len(mine)} faces of {_place(dataset.fonts)} that have letters of {alphabet} share "
                f"fewer than two that look like no other; leave {alphabet} out of `alphabets`"
            )
    return Lettering(letters, parts)


def _able(every: tuple[Face, ...], dataset: Glyphs, key: str) -> dict[Alphabet, tuple[Face, ...]]:
    """Return the faces that have most letters of each alphabet.

    Raises:
        TaskError: they are of fewer than two families.
    """
    able: dict[Alphabet, tuple[Face, ...]] = {}
    for alphabet, letters in ALPHABETS.items():
        if alphabet not in dataset.alphabets:
            continue
        least = MOST * len(letters)
        able[alphabet] = tuple(face for face in every if len(_held(face.path, alphabet)) >= least)
        families = sorted({face.family for face in able[alphabet]})
        if len(families) < 2:
            raise TaskError(
                f"{key}: {len(families)} of the families of {_place(dataset.fonts)} have the letters of {alphabet}"
                f"{''.join(f' ({name})' for name in families)}; two are needed, for one is kept for testing: "
                f"add typefaces, or leave {alphabet} out of `alphabets`"
            )
    return able


def _test_families(drawn: Sequence[tuple[Face, ...]], dataset: Glyphs) -> frozenset[str] | None:
    """Choose by the dataset's seed: of each alphabet at least one family is tested, at least one trained on."""
    needed = sorted((frozenset(face.family for face in mine) for mine in drawn), key=len)
    usual = frozenset([_TESTED])
    if dataset.fonts is None and all(usual & each and each - usual for each in needed):
        return usual
    order = sorted(frozenset[str]().union(*needed))
    random.Random(derive_seed("glyphs", dataset.seed, "test families")).shuffle(order)

    def spared(taken: frozenset[str]) -> bool:
        return all(each - taken for each in needed)

    def search(taken: frozenset[str]) -> frozenset[str] | None:
        unserved = next((each for each in needed if not each & taken), None)
        if unserved is None:
            return taken
        further = (taken | {name} for name in order if name in unserved)
        return next(filter(None, (search(more) for more in further if spared(more))), None)

    found = search(frozenset())
    for name in order:
        if found and len(found) < len(order) // TEST_SHARE and spared(found | {name}):
            found |= {name}
    return found


@cache
def _distinct(alphabet: Alphabet, paths: tuple[Path, ...], seen: frozenset[str]) -> tuple[str, ...]:
    """Return the letters that each face has and none draws as one of `seen`."""
    left = ALPHABETS[alphabet]
    for path in paths:
        pictures = {_picture(path, letter) for letter in seen if ord(letter) in _facts(path)[1]}
        held = _held(path, alphabet)
        left = "".join(x for x in left if x in held and _picture(path, x) not in pictures)
    return tuple(left)


@cache
def _held(path: Path, alphabet: Alphabet) -> frozenset[str]:
    """Return the letters that a face has: mapped, with ink, no box, no picture of an earlier one."""
    characters = _facts(path)[1]
    if sum(ord(letter) in characters for letter in ALPHABETS[alphabet]) < 2:
        return frozenset()
    known = {None, _picture(path, _NO_LETTER)}
    held = set()
    for letter in ALPHABETS[alphabet]:
        picture = _picture(path, letter)
        if ord(letter) in characters and picture not in known:
            known.add(picture)
            held.add(letter)
    return frozenset(held)


@cache
def _picture(path: Path, letter: str) -> tuple[tuple[int, int], bytes] | None:
    """Return what tells a letter's picture from others, its size and a digest; None where there is no ink."""
    mask = load_face(path, _COMPARED_AT).getmask(letter)
    return (mask.size, hashlib.sha256(bytes(mask)).digest()) if mask.getbbox() else None
