"""Dotted paths: `owner.address.city` leads from a variable down through JSON objects."""

from __future__ import annotations

from flowdsl.errors import BuildError

Path = tuple[str, ...]


def parse_path(text: object) -> Path:
    """Split a dotted path at every dot, as production does; all other characters are kept.

    >>> parse_path("owner.address.city")
    ('owner', 'address', 'city')
    """
    if not isinstance(text, str):
        raise BuildError(
            f"a path is text such as 'owner.id', not {type(text).__name__}",
            allowed="names joined by dots",
        )
    parts = tuple(text.split("."))
    if not text.strip() or "" in parts:
        raise BuildError(f"{text!r} is not a path", allowed="names joined by dots, such as 'owner.id'")
    return parts


def path_text(path: Path) -> str:
    """Return the text of a path."""
    return ".".join(path)
