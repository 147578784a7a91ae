"""How Tera reads a path that is a value: the `attribute` of a filter, or what stands in brackets."""

from __future__ import annotations

import re
from typing import Any, Final

from flowdsl.language.templates.failures import RenderFailure, Stop
from flowdsl.language.templates.values import json_float, kind, number, steps

_ODD: Final = re.compile(r"""[^ -~]|["'\[\]\\~]""")
"""Characters that Tera misreads in a path that it puts together: some it drops, at some it crashes."""


def member(value: Any, path: str) -> Any:
    """What a dotted path leads to inside a value, or `NOTHING`; no path leads to the value itself."""
    if _ODD.search(path):
        raise Stop(f"the path {path!r} is misread by Tera")
    return steps(value, tuple(part for part in path.split(".") if part))


def bracket_names(value: Any, text: str) -> tuple[str, ...]:
    """The names that a value in brackets stands for: a text is one, and a fraction is two."""
    if isinstance(value, str):
        if not value or _ODD.search(value):
            raise Stop(f"the value of `{text}`, {value!r}, is misread by Tera as a key")
        return (value,)
    found = number(value)
    if found is None:
        raise RenderFailure(f"`{text}` is {kind(value)}, which is no key")
    written = json_float(found) if isinstance(found, float) else str(found)
    return tuple(part for part in written.split(".") if part)
