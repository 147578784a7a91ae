"""Case conversion and regular expressions as in Tera, by way of Polars, which uses the same Rust crates.

Python's differ in what a letter is, in the time that a pattern may take, and in the version of Unicode.
Polars is imported at the first use, since most texts are ASCII and do not need it.
"""

from __future__ import annotations

import re
from typing import Any, Final

WORDS: Final = r"\b[\w'][\w']*\b"
TAGS: Final = r"<!--.*?-->|<[^>]*>"
SPACE_BETWEEN_TAGS: Final = r">\s+<"


def _column(text: str) -> Any:
    import polars as pl

    return pl.Series([text], dtype=pl.String)


def upper(text: str) -> str:
    """Convert to upper case."""
    return text.upper() if text.isascii() else str(_column(text).str.to_uppercase()[0])


def lower(text: str) -> str:
    """Convert to lower case."""
    return text.lower() if text.isascii() else str(_column(text).str.to_lowercase()[0])


def replace_all(text: str, pattern: str, by: str) -> str:
    """Replace every match."""
    return str(_column(text).str.replace_all(pattern, by)[0])


def find_all(text: str, pattern: str) -> list[str]:
    """Return every match in order."""
    if text.isascii():
        return re.findall(pattern, text, re.ASCII)
    matches: list[str] = _column(text).str.extract_all(pattern)[0].to_list()
    return matches


def matches(text: str, pattern: str) -> bool | None:
    """Return True if the pattern matches anywhere, or None if it is not a valid pattern."""
    found = _column(text).str.contains(pattern, strict=False)[0]
    return None if found is None else bool(found)
