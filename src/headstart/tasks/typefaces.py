"""The typefaces inside matplotlib that letters are drawn from, and the letters worth drawing.

Whole families are kept apart: the test part is drawn from STIX General, a Times-like family of four
faces that no training image shows. Left out are matplotlib's placeholder (Last Resort), its display
and symbol faces, and the mathematical STIX faces, which hold no plain letters; Computer Modern
holds Latin letters only.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Literal

from PIL import ImageFont

from headstart.tasks import TaskError

Alphabet = Literal["latin", "cyrillic", "greek"]
Part = Literal["train", "test"]

ALPHABETS: dict[Alphabet, str] = {
    "latin": "ABCDEFGHIJKLMNOPQRSTUVWXYZ",
    "cyrillic": "АБВГДЕЁЖЗИЙКЛМНОПРСТУФХЦЧШЩЪЫЬЭЮЯ",
    "greek": "ΑΒΓΔΕΖΗΘΙΚΛΜΝΞΟΠΡΣΤΥΦΧΨΩ",
}

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
