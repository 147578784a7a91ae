"""Numbers in JSON text that no 64-bit float holds: production refuses them, and so does Arrow.

What cannot be read there as a number is not an event here: `10**400` would come back as infinity, or as text.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any, Final

FAR: Final = "holds a number beyond ±1.8e308, which no 64-bit float can hold"
# what may be too much: an exponent of three digits behind what begins a number, or so many digits that one of
# two will do
MAY_BE_FAR: Final = r"(?:^|[\[:,\s])-?(?:[0-9][0-9.]*[eE]\+?[0-9]{3}|[0-9]{200})"
_MAY_BE_FAR: Final = re.compile(MAY_BE_FAR)
_WORD: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# 0.5 more than the largest float rounds to in its last place
_FIRST_BEYOND: Final = 2**1024 - 2**970


def far_number(text: str, name: str = "") -> str | None:
    """Return the path to the first number of a JSON text that no 64-bit float holds; None where there is
    none.

    >>> far_number('{"a": [1, {"b": 1e400}]}', "data")
    'data.a[1].b'
    >>> far_number('{"a": "1e400", "b": 1e308}')
    """
    if _MAY_BE_FAR.search(text) is None:
        return None
    # whole numbers of thousands of digits would take long to read, or be refused
    return infinity(json.loads(text, parse_int=_whole), name)


def infinity(value: object, name: str = "") -> str | None:
    """Return the path to the first number in dictionaries and lists that is not finite; None where it is
    NaN, or
    there is none.
    """
    pending: list[tuple[str, Any]] = [(name, value)]
    while pending:
        path, inner = pending.pop()
        if isinstance(inner, dict):
            pending += reversed([(_member(path, str(key)), one) for key, one in inner.items()])
        elif isinstance(inner, (list, tuple)):
            pending += reversed([(f"{path}[{n}]", one) for n, one in enumerate(inner)])
        elif isinstance(inner, float) and not math.isfinite(inner):
            return path if math.isinf(inner) else None
    return None


def _whole(digits: str) -> float:
    """Infinity for a whole number that no float holds."""
    if len(digits) <= 308:
        return 0.0
    return math.inf if len(digits) > 310 or abs(int(digits)) >= _FIRST_BEYOND else 0.0


def _member(path: str, key: str) -> str:
    if _WORD.fullmatch(key):
        return f"{path}.{key}" if path else key
    return f"{path}[{json.dumps(key)}]"
