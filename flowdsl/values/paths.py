"""Dotted paths: `owner.address.city` steps through JSON objects, from a variable down."""

from __future__ import annotations

from flowdsl.errors import BuildError

Path = tuple[str, ...]


def parse_path(text: object) -> Path:
    """The parts of a dotted path, as production splits it: at every dot, letters and signs taken as they are.

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
    """The path as it is written."""
    return ".".join(path)
