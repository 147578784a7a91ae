"""Text helpers that every layer may use."""

from __future__ import annotations


def clip(text: str, most: int) -> str:
    """Return the text, cut to at most `most` characters with `…` at its end.

    >>> clip("a long text", 6), clip("short", 6)
    ('a lon…', 'short')
    """
    return text if len(text) <= most else text[: most - 1] + "…"
