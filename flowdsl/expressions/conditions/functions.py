"""The functions of the condition language by name; other packages add some (`flowdsl.functions`)."""

from __future__ import annotations

from typing import Any, Final

from flowdsl.errors import did_you_mean
from flowdsl.expressions.conditions.declaration import ANY, PATH, Function, Vectorized
from flowdsl.expressions.conditions.graph_functions import GRAPH_FUNCTIONS
from flowdsl.expressions.conditions.semantics import OperandTypeError, equal, kind
from flowdsl.expressions.conditions.time_functions import TIME_FUNCTIONS
from flowdsl.expressions.conditions.value_functions import VALUE_FUNCTIONS
from flowdsl.registry import Registry, instance_problem, lazy_function
from flowdsl.values.missing import MISSING


def _contains(whole: Any, part: Any, *, name: str = "contains", position: int = 1) -> bool:
    if isinstance(whole, str):
        if not isinstance(part, str):
            raise OperandTypeError(name, ("text",), position, kind(part))
        return part in whole
    return any(equal(item, part) for item in whole)


def _find_added(now: Any, before: Any) -> list[Any]:
    if now is MISSING or now is None:
        return []
    if not isinstance(now, list):
        raise OperandTypeError("added", ("array",), 0, kind(now))
    known = before if isinstance(before, list) else []
    return [item for item in now if not any(equal(item, one) for one in known)]


def _column(name: str) -> Vectorized:
    return lazy_function("flowdsl.expressions.conditions.function_columns", name)


_OWN: Final = (
    Function(
        "exists",
        "Test whether a path has a value; null is one.",
        "exists(owner.email)",
        {"path": PATH},
        "boolean",
        lambda value: value is not MISSING,
        _column("exists"),
        portable=True,
    ),
    Function(
        "len",
        "Return the number of characters of text, items of an array, or fields of an object.",
        "len(data.tags)",
        {"value": ("text", "array", "object")},
        "number",
        len,
        _column("length"),
        natural=True,
    ),
    Function(
        "lower",
        "Convert text to lower case.",
        "lower(owner.name)",
        {"text": ("text",)},
        "text",
        str.lower,
        _column("lower"),
    ),
    Function(
        "upper",
        "Convert text to upper case.",
        "upper(owner.name)",
        {"text": ("text",)},
        "text",
        str.upper,
        _column("upper"),
    ),
    Function(
        "startswith",
        "Test whether a text starts with another.",
        'startswith(owner.name, "a")',
        {"text": ("text",), "prefix": ("text",)},
        "boolean",
        str.startswith,
        _column("startswith"),
    ),
    Function(
        "endswith",
        "Test whether a text ends with another.",
        'endswith(owner.name, "z")',
        {"text": ("text",), "suffix": ("text",)},
        "boolean",
        str.endswith,
        _column("endswith"),
    ),
    Function(
        "contains",
        "Test whether a text contains another text, or an array a value.",
        'contains(data.tags, "new")',
        {"whole": ("text", "array"), "part": ANY},
        "boolean",
        _contains,
        _column("contains"),
    ),
    *VALUE_FUNCTIONS,
    *TIME_FUNCTIONS,
    *GRAPH_FUNCTIONS,
    Function(
        "changed",
        "Test whether a field of an entity has another value than before the event.",
        "changed(data.status)",
        {"field": PATH},
        "boolean",
        lambda now, before: not equal(now, before),
        _column("changed"),
        with_before=True,
    ),
    Function(
        "added",
        "Return the elements of a list that it had not before the event, in order.",
        "added(data.mentions)",
        {"field": PATH},
        "array",
        _find_added,
        _column("added"),
        with_before=True,
    ),
)
FUNCTIONS: Final[Registry[Function]] = Registry(
    "flowdsl.functions", {function.name: function for function in _OWN}, instance_problem(Function)
)
"""The functions by name, those of other packages behind flowdsl's own."""

MEMBERSHIP: Final = Function(
    "'in'",
    "Test whether a value is in an array, or part of a text.",
    "data.kind in data.kinds",
    {"part": ANY, "whole": ("array", "text")},
    "boolean",
    lambda part, whole: _contains(whole, part, name="'in'", position=0),
    _column("within"),
)
"""The operator `in`, which is `contains` turned around."""

_ELSEWHERE: Final = {
    **dict.fromkeys(
        ("int", "float", "number", "numeric", "tonumber", "parseint", "parsefloat", "decimal", "cast"),
        "read_events(…, types={'total': float}) reads texts as numbers",
    ),
    **dict.fromkeys(
        ("now", "today", "utcnow", "currenttimestamp"),
        "event.timestamp is when the event was, and wait(…) lets time pass",
    ),
    **dict.fromkeys(
        ("match", "matches", "regex", "regexp", "like", "includes", "search"),
        "write startswith(x, s), endswith(x, s) or contains(x, s)",
    ),
    **dict.fromkeys(
        ("isnull", "isnone", "isna", "notnull", "isnotnull", "defined", "has", "isempty"),
        "write x == null, exists(path) or not exists(path)",
    ),
    **dict.fromkeys(("ifnull", "nvl", "default", "if", "iff"), "write coalesce(a, b)"),
    **dict.fromkeys(("size", "length"), "write len(x)"),
    **dict.fromkeys(("strip", "lstrip", "rstrip"), "write trim(x)"),
    **dict.fromkeys(("tolowercase", "casefold"), "write lower(x)"),
    **dict.fromkeys(("touppercase",), "write upper(x)"),
    **dict.fromkeys(("year", "month", "dayofweek"), "write date(x) or weekday(x)"),
    **dict.fromkeys(("floor", "ceil", "trunc"), "write round(x)"),
}


def guess_function(name: str) -> str | None:
    """Return a hint for the name of a function that does not exist, such as one of another language; None if
    no function is similar.

    >>> guess_function("startsWith"), guess_function("is_null")
    ("did you mean 'startswith'?", 'write x == null, exists(path) or not exists(path)')
    """
    return _ELSEWHERE.get(name.replace("_", "").casefold()) or did_you_mean(name, FUNCTIONS)
