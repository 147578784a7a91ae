"""Types of YAML scalars: by YAML 1.2, and in production's reader."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any, Final

from flowdsl.text import short_repr, with_article

_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,18})")
_BASED = re.compile(r"0x[0-9a-fA-F]{1,15}|0o[0-7]{1,20}")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|(?:0|[1-9][0-9]*)(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_SIGNED_BASED: Final = re.compile(r"([-+]?)0(?:x([0-9a-fA-F]+)|o([0-7]+)|b([01]+))")
_DECIMAL: Final = re.compile(r"[-+]?[0-9]+")
# digits after a leading zero are text
_ZEROS: Final = re.compile(r"[-+]?0[0-9]+")
_RUST_FLOAT: Final = re.compile(r"[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")
NULLS: Final = frozenset(("~", "null", "Null", "NULL"))
NAMED: Final[dict[str, Any]] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), math.inf),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), -math.inf),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), math.nan),
}
TAG: Final = "tag:yaml.org,2002:"
SCALAR_TAGS: Final[dict[str, tuple[type, ...]]] = {
    f"{TAG}int": (int,),
    f"{TAG}float": (float, int),
    f"{TAG}bool": (bool,),
    f"{TAG}null": (type(None),),
}


def plain_scalar(text: str) -> Any:
    """Return the value of an unquoted scalar as YAML 1.2 has it; leading zeros make it text, as in
    production.

    >>> [
    ...     plain_scalar(text)
    ...     for text in ("on", "yes", "010", "12", "1e3", "null", "0x1f", "2026-01-01", "12:30")
    ... ]
    ['on', 'yes', '010', 12, 1000.0, None, 31, '2026-01-01', '12:30']
    """
    if text in NAMED:
        return NAMED[text]
    if len(text) > 400:
        return text
    if _INTEGER.fullmatch(text):
        return int(text)
    if _BASED.fullmatch(text):
        return int(text, 0)
    return float(text) if _FLOAT.fullmatch(text) else text


def production_scalar(text: str) -> Any:
    """Return the value of an unquoted, untagged scalar in production, which accepts more number formats than
    YAML 1.2.

    >>> [production_scalar(text) for text in ("0b11", "-0x1f", "00.5", "1.", "010", "1e400", "12", "1_000")]
    [3, -31, 0.5, 1.0, '010', '1e400', 12, '1_000']
    """
    if text in NAMED:
        return NAMED[text]
    number: int | float | None = _whole(text)
    if number is None and not _ZEROS.fullmatch(text):
        number = _float(text)
    return text if number is None else number


def production_value(text: str, tag: str | None, style: str) -> tuple[Any, str | None]:
    """Return the value of a scalar where production accepts any value, or why it rejects it.

    A tag of YAML's own decides, in quotes too; with any other the text is text.
    """
    if tag is None or tag.startswith("!"):
        return (text if style else production_scalar(text)), None
    kind = tag.removeprefix(TAG)
    if kind == "null":
        return (None, None) if text in NULLS else (text, f"{short_repr(text)} is not null")
    if kind not in _TAGGED:
        return text, None
    found = _TAGGED[kind](text)
    return (text, f"{short_repr(text)} is not {with_article(kind)}") if found is None else (found, None)


def production_count(text: str) -> int | None:
    """Return a non-negative integer as production reads one; a minus sign is rejected, even before 0."""
    return None if text.startswith("-") else _whole(text)


def _whole(text: str) -> int | None:
    based = _SIGNED_BASED.fullmatch(text)
    if based:
        sign, *digits = based.groups()
        number = next(int(part, base) for part, base in zip(digits, (16, 8, 2), strict=True) if part)
        number = -number if sign == "-" else number
    elif len(text) < 60 and _DECIMAL.fullmatch(text) and not _ZEROS.fullmatch(text):
        number = int(text)
    else:
        return None
    return number if -(2**127) <= number < 2**128 else None


def _float(text: str) -> float | None:
    # too large for a float is text
    found = float(text) if _RUST_FLOAT.fullmatch(text) else math.inf
    return found if math.isfinite(found) else None


def _tagged_bool(text: str) -> bool | None:
    named = NAMED.get(text)
    return named if isinstance(named, bool) else None


def _tagged_float(text: str) -> float | None:
    named = NAMED.get(text)
    return named if isinstance(named, float) else _float(text)


_TAGGED: Final[dict[str, Callable[[str], Any]]] = {
    "bool": _tagged_bool,
    "int": _whole,
    "float": _tagged_float,
}
