"""Writes text as a slug: small letters, digits and hyphens.

Production writes any script in ASCII, by a table of some fifty thousand entries. Here are the letters of Latin
and Cyrillic scripts and common punctuation, each as that table has it; what else there is fails.
"""

from __future__ import annotations

import unicodedata
from typing import Final

_LATIN = dict(
    zip(
        "ÆÐ×ØÞßæðøþĐđĦħıĸŁłŊŋŒœŦŧ",
        [
            "ae",
            "d",
            "x",
            "o",
            "th",
            "ss",
            "ae",
            "d",
            "o",
            "th",
            "d",
            "d",
            "h",
            "h",
            "i",
            "k",
            "l",
            "l",
            "ng",
            "ng",
            "oe",
            "oe",
            "t",
            "t",
        ],
        strict=True,
    )
)
_CYRILLIC = dict(
    zip(
        "абвгдежзийклмнопрстуфхцчшщыэюяёії",
        [
            "a",
            "b",
            "v",
            "g",
            "d",
            "e",
            "zh",
            "z",
            "i",
            "i",
            "k",
            "l",
            "m",
            "n",
            "o",
            "p",
            "r",
            "s",
            "t",
            "u",
            "f",
            "kh",
            "ts",
            "ch",
            "sh",
            "shch",
            "y",
            "e",
            "iu",
            "ia",
            "io",
            "i",
            "yi",
        ],
        strict=True,
    )
)
_SPELLED: Final = {
    **_LATIN,
    **_CYRILLIC,
    **{letter.upper(): spelling for letter, spelling in _CYRILLIC.items()},
    **dict.fromkeys("‐–—‘’“”„‚…«»¿¡·•", "-"),
}


def slug(text: str) -> str | None:
    """The slug of a text, or None where a letter's spelling is not known here.

    >>> slug("Crème Brûlée, à la carte")
    'creme-brulee-a-la-carte'
    """
    out: list[str] = []
    for letter in text:
        spelled = letter if letter.isascii() else _SPELLED.get(letter) or _without_accents(letter)
        if spelled is None:
            return None
        for char in spelled:
            if char.isalnum():
                out.append(char.lower())
            elif out and out[-1] != "-":
                out.append("-")
    return "".join(out).rstrip("-")


def _without_accents(letter: str) -> str | None:
    if not (letter < "\u0250" or "\u1e00" <= letter < "\u1f00"):
        return None
    bare = "".join(part for part in unicodedata.normalize("NFKD", letter) if not unicodedata.combining(part))
    return bare if bare and bare.isascii() else None
