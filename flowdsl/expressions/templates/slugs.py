"""Slugs: lower case letters, digits and hyphens.

Production transliterates any script to ASCII by a table of some fifty thousand entries. The file beside this
module has the same table, a line for each letter from U+0080 on, recorded from `slugify` by
`tests/slug_table.py`.
"""

from __future__ import annotations

import gzip
from functools import cache
from pathlib import Path
from typing import Final

_FIRST: Final = 0x80
_SURROGATES: Final = range(0xD800, 0xE000)


def slug(text: str) -> str:
    """Return the slug of a text.

    >>> slug("Crème Brûlée, à la carte"), slug("北京 🎉")
    ('creme-brulee-a-la-carte', 'bei-jing-tada')
    """
    out: list[str] = []
    for letter in text:
        for char in letter if letter.isascii() else _spell(letter):
            if char.isalnum():
                out.append(char.lower())
            elif out and out[-1] != "-":
                out.append("-")
    return "".join(out).rstrip("-")


def _spell(letter: str) -> str:
    point = ord(letter)
    if point in _SURROGATES:
        return "-"
    at = point - _FIRST - (len(_SURROGATES) if point >= _SURROGATES.stop else 0)
    table = _table()
    return table[at] if at < len(table) else "-"


@cache
def _table() -> list[str]:
    packed = Path(__file__).with_name("slugs.txt.gz").read_bytes()
    return gzip.decompress(packed).decode("ascii").split("\n")
