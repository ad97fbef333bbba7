"""The letters of each alphabet that a `glyphs` dataset can have, by their ranges in Unicode.

Capitals where a script has them, else plain letters: no marks, no ligatures, of Arabic the isolated forms, of
Ethiopic the first order. Kana are without their small and voiced forms.
"""

from __future__ import annotations

from headstart.params.datasets import Alphabet


def _ranges(*ranges: tuple[int, int], step: int = 1) -> str:
    """Return the characters of ranges, both ends included."""
    return "".join(chr(code) for first, last in ranges for code in range(first, last + 1, step))


ALPHABETS: dict[Alphabet, str] = {
    "latin": "ABCDEFGHIJKLMNOPQRSTUVWXYZ",
    "cyrillic": "АБВГДЕЁЖЗИЙКЛМНОПРСТУФХЦЧШЩЪЫЬЭЮЯ",
    "greek": "ΑΒΓΔΕΖΗΘΙΚΛΜΝΞΟΠΡΣΤΥΦΧΨΩ",
    "latin_small": "abcdefghijklmnopqrstuvwxyz",
    "greek_small": "αβγδεζηθικλμνξοπρστυφχψω",
    "numerals": "0123456789",
    "armenian": _ranges((0x531, 0x556)),
    "armenian_small": _ranges((0x561, 0x586)),
    "georgian": _ranges((0x10D0, 0x10F0)),
    "hebrew": _ranges((0x5D0, 0x5EA)),
    "arabic": _ranges((0x627, 0x628), (0x62A, 0x63A), (0x641, 0x648), (0x64A, 0x64A)),
    "ethiopic": _ranges((0x1200, 0x1240), (0x1260, 0x1280), (0x1290, 0x12A8), step=8)
    + _ranges((0x12B8, 0x12B8), (0x12C8, 0x12F0), (0x1300, 0x1308), (0x1320, 0x1350), step=8),
    "cherokee": _ranges((0x13A0, 0x13F4)),
    "tifinagh": _ranges((0x2D30, 0x2D65)),
    "devanagari": _ranges((0x915, 0x928), (0x92A, 0x930), (0x932, 0x933), (0x935, 0x939)),
    "bengali": _ranges((0x995, 0x9A8), (0x9AA, 0x9B0), (0x9B2, 0x9B2), (0x9B6, 0x9B9)),
    "tamil": "கஙசஜஞடணதநனபமயரறலளழவஷஸஹ",
    "thai": _ranges((0xE01, 0xE23), (0xE25, 0xE25), (0xE27, 0xE2E)),
    "lao": "ກຂຄງຈຊຍດຕຖທນບປຜຝພຟມຢຣລວສຫອຮ",
    "khmer": _ranges((0x1780, 0x179C), (0x179F, 0x17A2)),
    "hiragana": "あいうえおかきくけこさしすせそたちつてとなにぬねのはひふへほまみむめもやゆよらりるれろわをん",
    "katakana": "アイウエオカキクケコサシスセソタチツテトナニヌネノハヒフヘホマミムメモヤユヨラリルレロワヲン",
}
