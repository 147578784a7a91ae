"""Grapheme clusters: characters as readers see them, with accents and skin tones.

Tera splits text this way for `truncate` and for loops over text. Its tables, of Unicode 10, are in the file
beside this module.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from pathlib import Path
from typing import Final

_TABLES: Final = json.loads(Path(__file__).with_suffix(".json").read_text("utf-8"))
_JOINER: Final = "\u200d"


class _Class:
    """Set of characters as ranges of code points, by its name in the tables."""

    def __init__(self, name: str) -> None:
        pairs = [part.split("-") for part in " ".join(_TABLES[name]).split()]
        self.firsts = [int(pair[0], 16) for pair in pairs]
        self.lasts = [int(pair[-1], 16) for pair in pairs]

    def __contains__(self, char: str) -> bool:
        index = bisect_right(self.firsts, ord(char)) - 1
        return index >= 0 and ord(char) <= self.lasts[index]


_MARKS, _BEFORE, _BREAKS = _Class("extend"), _Class("prepend"), _Class("control")
_FACES, _JOINED, _FLAGS, _SKINS = _Class("base"), _Class("after_joiner"), _Class("flag"), _Class("skin")
_L, _V, _T, _LVT = _Class("leading"), _Class("vowel"), _Class("trailing"), _Class("syllable")
_SPACE_TAKING = _Class("spacing")


def graphemes(text: str) -> list[str]:
    r"""Split a text into grapheme clusters.

    >>> len(graphemes("ne\u0301e"))
    3
    """
    if text.isascii() and "\r" not in text:
        return list(text)
    clusters: list[str] = []
    previous, flags, face = "", 0, False
    for char in text:
        if previous and _belong_together(previous, char, flags % 2 == 1, face):
            clusters[-1] += char
        else:
            clusters.append(char)
        flags = flags + 1 if char in _FLAGS else 0
        face = char in _FACES or (face and _follows_face(char))
        previous = char
    return clusters


def _follows_face(char: str) -> bool:
    """Return True for a mark after which a skin tone still belongs to the face before it."""
    return char in _MARKS and char != _JOINER and char not in _SPACE_TAKING


def _belong_together(previous: str, char: str, half_flag: bool, face: bool) -> bool:
    """Return True if two consecutive characters belong together."""
    if previous == "\r" or char in _BREAKS or previous in _BREAKS:
        return previous == "\r" and char == "\n"
    if char in _MARKS or previous in _BEFORE:
        return True
    if char in _FLAGS:
        return half_flag
    if char in _SKINS:
        return face
    if previous == _JOINER:
        return char in _JOINED
    return _hangul(previous, char)


def _hangul(previous: str, char: str) -> bool:
    if char in _T:
        return previous in _T or previous in _V or previous in _LVT
    if char in _V:
        # a syllable takes a vowel only if it has no trailing consonant yet
        return previous in _L or previous in _V or (previous in _LVT and (ord(previous) - 0xAC00) % 28 == 0)
    return previous in _L and (char in _L or char in _LVT)
