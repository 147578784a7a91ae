"""Paths that Tera reads as text: the `attribute` of a filter, or a path with brackets.

Tera keeps a path as text. It replaces each pair of brackets by the value of the path inside, and then splits
the text into names at dots, brackets and quotes, with code that counts letters where it should count bytes.
Most keys survive this, and are looked up here directly; others (with quotes, brackets, backslashes, `~`,
letters beyond ASCII, or empty) become other names, or crash production's process.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, Final

from flowdsl.expressions.templates.failures import RenderCrashError, RenderError
from flowdsl.expressions.templates.values import NOTHING, json_float, kind, number, step, steps

ODD_KEY: Final = re.compile(r"""[^ -~]|["'\[\]\\~]|^$""")
"""What is in a key that does not come out of the text as it went in."""


def member(value: Any, path: str) -> Any:
    """Return the value at a dotted path inside a value, or `NOTHING`; the empty path stands for the value
    itself.
    """
    if path and ODD_KEY.search(path):
        return follow_path(value, path)
    return steps(value, tuple(part for part in path.split(".") if part))


def follow_path(value: Any, path: str) -> Any:
    """Return the value at a path inside a value, or `NOTHING`, with Tera's misreadings."""
    for name in _names(path.encode(errors="surrogatepass")):
        value = step(value, name.replace("~1", "/").replace("~0", "~"))
        if value is NOTHING:
            return NOTHING
    return value


def cannot_be_cut(path: str) -> bool:
    """Return True if Tera crashes when it splits the path."""
    try:
        for _ in _names(path.encode(errors="surrogatepass")):
            pass
    except RenderCrashError:
        return True
    return False


def key_text(value: Any, text: str) -> str:
    """Return the text that is inserted into a path for a value in brackets; `text` is for the error."""
    if isinstance(value, str):
        return f'"{value}"'
    found = number(value)
    if found is None:
        raise RenderError(f"`{text}` is {kind(value)}, which is not a key")
    return json_float(found) if isinstance(found, float) else str(found)


def bracket_names(value: Any, text: str) -> tuple[str, ...] | None:
    """Return the names that a value in brackets stands for: one for text, two for a fraction, None if
    misread.
    """
    if isinstance(value, str):
        return None if ODD_KEY.search(value) else (value,)
    return tuple(part for part in key_text(value, text).split(".") if part)


def inner_paths(text: str) -> list[str]:
    """Return the texts that Tera takes for paths inside brackets: all that do not start with a quote and are
    not numbers.
    """
    found: list[str] = []
    at = 0
    while at < len(text):
        if text[at] != "[":
            at += 1
            continue
        start = at + 1
        if start == len(text):
            raise RenderCrashError(f"Tera cannot take apart the path `{text}`")
        at = start + 1
        if text[start] in "\"'":
            continue
        open_brackets, end = 1, at
        while end < len(text) and open_brackets:
            open_brackets += {"[": 1, "]": -1}.get(text[end], 0)
            end += 1
        at = end
        if not open_brackets and not _is_index(text[start : end - 1]):
            found.append(text[start : end - 1])
    return found


def _is_index(text: str) -> bool:
    digits = text.removeprefix("+")
    return digits.isascii() and digits.isdigit() and int(digits[:40]) < 2**64


def put_together(text: str, look_up: Callable[[str], Any]) -> str:
    """Return the path with the values of its brackets inserted; raise `RenderError` if one is not a key."""
    path = text
    for inner in inner_paths(text):
        before, _, after = path.partition(f"[{inner}]")
        path = f"{before}.{key_text(look_up(inner), inner)}{after}"
    for old, new in (
        ("/", "~1"),
        ("['", '."'),
        ('["', '."'),
        ("[", "."),
        ("']", '"'),
        ('"]', '"'),
        ("]", ""),
    ):
        path = path.replace(old, new)
    return path


def _names(path: bytes) -> Iterator[str]:
    """Split a path into names like Tera's reader, which keeps its state of quotes from name to name."""
    quotes = _Quotes()
    begin = 0
    while True:
        skipped, name = 0, None
        for i, character in enumerate(_cut(path, begin, len(path))):
            end = quotes.ends_name(character, at_start=i == skipped)
            if end:
                name = _cut(path, begin + skipped, begin + i)
                begin += i + 1
                if name:
                    # after a name, Tera's reader keeps the state of `escaped`
                    break
            elif end is not None:
                skipped += 1
            quotes.escaped = character == "\\"
        else:
            if begin + skipped < len(path):
                name = _cut(path, begin + skipped, len(path))
                begin = len(path)
        if not name:
            return
        yield name


class _Quotes:
    """State of Tera's reader of paths between two characters."""

    def __init__(self) -> None:
        self.open = {"'": False, '"': False}
        self.escaped = False

    def ends_name(self, character: str, *, at_start: bool) -> bool | None:
        """Return True if a character ends a name, False if it is skipped before one, None if it is part
        of one.
        """
        if character in self.open and not self.escaped:
            self.open[character] = not self.open[character]
            return not at_start
        if self.escaped or any(self.open.values()) or character not in "[].":
            return None
        if character == ".":
            return not at_start
        return character == "["


def _cut(path: bytes, start: int, end: int) -> str:
    """Return a part of a path; production crashes if it starts or ends inside a letter or out of bounds."""
    try:
        if not start <= end <= len(path):
            raise ValueError(start)
        # decode the rest too: this raises if the part ends within a letter
        path[end:].decode(errors="surrogatepass")
        return path[start:end].decode(errors="surrogatepass")
    except ValueError as error:
        raise RenderCrashError(
            f"Tera cannot take apart the path `{path.decode(errors='replace')}`"
        ) from error
