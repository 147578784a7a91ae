"""Text widths from a table instead of an installed font, so that a picture is the same everywhere.

The widths are those of DejaVu Sans, the widest of the fonts that a browser may choose; in other fonts, text
needs less room than it has.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

from flowdsl.expressions.templates.graphemes import graphemes
from flowdsl.text import clip

# characters by their width in hundredths of the font size
_BY_WIDTH: Final = {
    27: "'",
    28: "ijl",
    29: "IJ",
    32: " ,.",
    34: "/:;\\|",
    35: "f",
    36: "-",
    39: "()[]t",
    40: "!",
    41: "r",
    46: '"',
    50: "*_`",
    52: "sz",
    53: "?",
    55: "c",
    56: "L",
    58: "Fk",
    59: "vxy",
    60: "P",
    61: "TYao",
    62: "e",
    63: "ESbdghnpqu",
    64: "$0123456789{}",
    66: "K",
    68: "AV",
    69: "BRXZ",
    70: "C",
    73: "U",
    75: "HN",
    77: "DG",
    78: "&",
    79: "OQ",
    82: "w",
    84: "#+<=>^~",
    86: "M",
    95: "%",
    97: "m",
    99: "W",
    100: "@",
}
_SANS: Final = {sign: hundredths / 100 for hundredths, signs in _BY_WIDTH.items() for sign in signs}
_MONO: Final = 0.605
_BOLD: Final = 1.12
_OTHER: Final = 0.72
# C1 controls, separators, direction marks, surrogates, and code points without a character
_INVISIBLE: Final = [
    *range(0x80, 0xA0),
    *(0x2028, 0x2029),
    *(0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)),
    *range(0xD800, 0xE000),
    *range(0xFDD0, 0xFDF0),
    *(plane << 16 | last for plane in range(17) for last in (0xFFFE, 0xFFFF)),
]
# Unicode has pictures of the C0 controls
_VISIBLE: Final = {
    **dict.fromkeys(_INVISIBLE, "\ufffd"),
    **{code: chr(0x2400 + code) for code in range(0x20)},
    0x7F: "\u2421",
    **dict.fromkeys(map(ord, "\n\t"), " "),
}
_PILE: Final = re.compile(
    r"([\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]{3})"
    r"[\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]+"
)
_MOST: Final = 2_000


def printable(text: str, most: int = _MOST) -> str:
    """Return text in which visible characters replace invisible ones and those that change its direction.

    >>> printable("a\\x00b\\nc\\u202ed")
    'a␀b c�d'
    """
    seen = clip(text, most).replace("\r\n", "\n").translate(_VISIBLE)
    # no letter needs more accents; a pile of them would extend far beyond its line
    return seen if seen.isascii() else _PILE.sub(r"\1", seen)


def width(text: str, size: float, *, mono: bool = False, bold: bool = False) -> float:
    """Return the width of text at a font size, in pixels."""
    if mono:
        return size * _MONO * sum(map(_cells, text))
    return size * sum(map(_sans, text)) * (_BOLD if bold else 1)


def elide_text(text: str, room: float, size: float, *, mono: bool = False, bold: bool = False) -> str:
    """Return the text if it fits, else as much of its beginning as fits, followed by `…`."""
    text = printable(text)
    if width(text, size, mono=mono, bold=bold) <= room:
        return text
    room -= width("…", size, mono=mono, bold=bold)
    kept: list[str] = []
    for sign in graphemes(text):
        room -= width(sign, size, mono=mono, bold=bold)
        if room < 0:
            break
        kept.append(sign)
    return "".join(kept).rstrip() + "…"


def wrap_text(text: str, room: float, size: float, lines: int, *, mono: bool = False) -> list[str]:
    """Return the text in at most `lines` lines, broken at spaces, the last one elided."""
    words = printable(text).split(" ")
    done: list[str] = []
    line = ""
    for number, word in enumerate(words):
        longer = f"{line} {word}" if line else word
        if not line or width(longer, size, mono=mono) <= room:
            line = longer
            continue
        if len(done) == lines - 1:
            line = " ".join([line, *words[number:]])
            break
        done.append(line)
        line = word
    return [elide_text(one, room, size, mono=mono) for one in (*done, line)]


def _cells(sign: str) -> float:
    if sign < "\x7f":
        return 1
    if unicodedata.combining(sign) or unicodedata.category(sign) in ("Mn", "Me", "Cf"):
        return 0
    wide = unicodedata.east_asian_width(sign) in "WF" or sign >= "\U0001f000"
    return 2 if wide else 1.2 if sign >= "\u0590" and not "\u2000" <= sign < "\u2400" else 1


def _sans(sign: str) -> float:
    if sign in _SANS:
        return _SANS[sign]
    cells = _cells(sign)
    return 1.15 if cells == 2 else 0 if cells == 0 else 1.0 if sign in "…—←→" else _OTHER
