"""Emitter of YAML text that every reader reads alike: PyYAML (1.1), ruamel.yaml (1.2) and production's.

Written by hand and not by a library, so that the same value is the same bytes whatever versions are
installed. Text is without quotes only where it is a word, a path or a simple sentence that no version of
YAML takes for anything else; text of several lines is a block where that keeps every character.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

# without quotes: words of letters, digits and . _ - that begin with a letter, and == and != between them
_PLAIN: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*(?: (?:[A-Za-z0-9_][A-Za-z0-9_.-]*|==|!=))*")
_DURATION: Final = re.compile(r"[0-9]+(?:ms|s|m|h)")
# text that some version of YAML, or some reader, takes for a boolean, null or number
_WORDS: Final = frozenset(
    ("y", "n", "yes", "no", "on", "off", "true", "false", "null", "nan", "inf", "infinity", "none")
)
# characters that are written as they are: no controls, nothing invisible, nothing that turns the direction
_SHOWN: Final = re.compile(
    "[ -~\xa1-\xac\xae-\u1fff\u200c\u200d\u2010-\u2027\u2030-\u205e\u2070-\ud7ff\ue000-\ufefe\uff00-\uffef"
    "\U00010000-\U0001fffd\U00020000-\U0002fffd\U00030000-\U0003fffd]*"
)
_ESCAPED: Final = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r", "\0": "\\0"}
# a block of lines: none ends in a space, the first begins with none, and none is only spaces
_BLOCK: Final = re.compile(r"(?![\s#])(?:[^\n]*\S\n+)*[^\n]*\S\n?")
# well below the limit of YAML readers for the length of a key without a question mark before it
_KEY: Final = 500


def block_lines(value: Any) -> Iterator[str]:
    """Return the lines of a value in block style, without indentation.

    >>> print("\\n".join(block_lines({"name": "on", "steps": [{"a": 1.0, "b": None}, []]})))
    name: "on"
    steps:
      - a: 1.0
        b: null
      - []
    """
    if isinstance(value, str) and is_block(value):
        yield "|" if value.endswith("\n") else "|-"
        yield from indent(value.removesuffix("\n").split("\n"))
    elif not has_parts(value):
        yield inline(value)
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _entry(key, inner)
    else:
        for inner in value:
            lines = block_lines(inner)
            yield f"- {next(lines)}"
            yield from lines if isinstance(inner, str) else indent(lines)


def has_parts(value: Any) -> bool:
    """Return True for a mapping or list that is not empty."""
    return isinstance(value, (Mapping, Sequence)) and not isinstance(value, str) and bool(value)


def _entry(key: str, value: Any) -> Iterator[str]:
    name = scalar(key)
    lines = block_lines(value)
    if len(name) > _KEY:
        yield f"? {name}"
        yield f": {next(lines)}"
        yield from lines if isinstance(value, str) else indent(lines)
    elif has_parts(value):
        yield f"{name}:"
        yield from indent(lines)
    else:
        yield f"{name}: {next(lines)}"
        yield from lines


def indent(lines: Iterable[str]) -> Iterator[str]:
    """Yield lines two columns further in; empty ones stay empty."""
    return (f"  {line}" if line else "" for line in lines)


def inline(value: Any) -> str:
    """Return a value on one line, in a form that is valid anywhere.

    >>> inline({"from": "target_id", "count": 3, "items": ["a b", "{{ x }}"]})
    '{from: target_id, count: 3, items: [a b, "{{ x }}"]}'
    """
    if isinstance(value, Mapping):
        parts = (
            f"{'? ' if len(scalar(key)) > _KEY else ''}{scalar(key)}: {inline(inner)}"
            for key, inner in value.items()
        )
        return "{" + ", ".join(parts) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(inline, value)) + "]"
    return scalar(value)


def scalar(value: str | float | bool | None) -> str:
    """Return a scalar on one line.

    >>> [scalar(value) for value in ("owner.id", "yes", "1:30", "5m", "a: b", 'x == "y"', 1e21, True, None)]
    ['owner.id', '"yes"', '"1:30"', '5m', '"a: b"', '\\'x == "y"\\'', '1.0e+21', 'true', 'null']
    """
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _text(value)
    return _float(value) if isinstance(value, float) else str(value)


def _float(value: float) -> str:
    if not math.isfinite(value):
        return {"nan": ".nan", "inf": ".inf", "-inf": "-.inf"}[str(value)]
    # YAML 1.1 knows a float by its dot, and an exponent by its sign
    mantissa, mark, exponent = repr(value).partition("e")
    return f"{mantissa}{'' if '.' in mantissa else '.0'}{mark}{exponent}"


def is_block(text: str) -> bool:
    """Return True if multi-line text survives as a block scalar."""
    if "\n" not in text.rstrip("\n") or not _BLOCK.fullmatch(text):
        return False
    return all(map(_SHOWN.fullmatch, text.split("\n")))


def _text(text: str) -> str:
    if _stands_alone(text):
        return text
    if ('"' in text or "\\" in text) and "'" not in text and _SHOWN.fullmatch(text):
        return f"'{text}'"
    return f'"{"".join(map(_escape, text))}"'


def _stands_alone(text: str) -> bool:
    """Return True if text needs no quotes."""
    if _DURATION.fullmatch(text):
        return len(text) < 20
    return bool(_PLAIN.fullmatch(text)) and text.lower() not in _WORDS and len(text) < 200


def _escape(character: str) -> str:
    if character in _ESCAPED:
        return _ESCAPED[character]
    if _SHOWN.fullmatch(character):
        return character
    code = ord(character)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
