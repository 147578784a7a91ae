"""Functions of conditions over the local time of timestamps: hour, minute, weekday and date."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

from flowdsl.expressions.conditions.declaration import Function
from flowdsl.expressions.conditions.semantics import OperandTypeError, kind
from flowdsl.expressions.conditions.typecheck import EvaluationError, Scalar, clip_text
from flowdsl.moments import to_micros
from flowdsl.registry import lazy_function
from flowdsl.values.missing import MISSING

_TIMESTAMP: Final = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt ]([0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.([0-9]{1,6})[0-9]*)?"
    r"([Zz]|[+-][0-9]{2}:?[0-9]{2})?"
)
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def moment_of(text: str) -> int | None:
    """Parse an RFC 3339 text to µs since 1970, as UTC if it has no zone; None if it is not valid.

    >>> moment_of("1970-01-01T01:00:00.000002+01:00"), moment_of("1970-01-01")
    (2, None)
    """
    found = _TIMESTAMP.fullmatch(text)
    if found is None:
        return None
    day, time, fraction, zone = found.groups()
    try:
        moment = datetime.fromisoformat(f"{day}T{time}.{(fraction or '0'):<06}{(zone or 'Z').upper()}")
    except ValueError:
        return None
    return to_micros(moment)


def zone_problem(tz: Scalar) -> str | None:
    """Return what is wrong with a constant as a time zone; None if nothing is."""
    # conditions are written without loading NumPy
    from flowdsl.values.zones import zone_number

    if isinstance(tz, str) and zone_number(tz) is not None:
        return None
    return f"{clip_text(tz)!r} is not a time zone; 'Europe/Berlin' is one"


def _scalar(name: str) -> Callable[[Any, Any], Any]:
    def evaluate(timestamp: Any, tz: Any) -> Any:
        from flowdsl.expressions.conditions.local_parts import part_of

        # a missing zone fails (rule 25), a missing timestamp only makes the result missing
        for position, value in ((1, tz), (0, timestamp)):
            if not isinstance(value, str) and (position or value is not MISSING):
                raise OperandTypeError(name, ("text",), position, kind(value))
        if timestamp is MISSING:
            return MISSING
        moment = moment_of(timestamp)
        if moment is None:
            raise EvaluationError(
                f"{name} needs a timestamp such as 2026-05-01T12:00:00Z, not {clip_text(timestamp)!r}"
            )
        part = part_of(name, moment, tz)
        if part is None:
            raise EvaluationError(f"{clip_text(tz)!r} is not a time zone")
        return part

    return evaluate


def _function(name: str, doc: str, usage: str, least: int = 0, most: int | None = None) -> Function:
    number = most is not None
    return Function(
        name,
        doc,
        usage,
        {"timestamp": ("text",), "tz": ("text",)},
        "number" if number else "text",
        _scalar(name),
        lazy_function("flowdsl.expressions.conditions.time_columns", name),
        defaults={"tz": "UTC"},
        constants={"tz": zone_problem},
        with_missing=True,
        natural=number,
        within=(lambda *_: (least, most)) if number else None,
        form=None if number else _DATE,
    )


TIME_FUNCTIONS: Final = (
    _function(
        "hour",
        "Return the hour of the local time at a timestamp, from 0 to 23.",
        'hour(event.timestamp, "Europe/Berlin")',
        most=23,
    ),
    _function(
        "minute",
        "Return the minute of the local time at a timestamp, from 0 to 59.",
        'minute(event.timestamp, "Asia/Kolkata")',
        most=59,
    ),
    _function(
        "weekday",
        "Return the local weekday at a timestamp, from 1 for Monday to 7.",
        'weekday(event.timestamp, "Europe/Berlin")',
        1,
        7,
    ),
    _function(
        "date",
        "Return the local date at a timestamp, such as `2026-05-01`.",
        'date(event.timestamp, "Europe/Berlin")',
    ),
)
