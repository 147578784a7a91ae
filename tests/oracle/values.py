"""JSON values: paths through them, what counts as an id, and when two keys are the same."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Sequence
from typing import Any

from flowdsl.values.json_types import MISSING

# the end of the year 9999: no later moment can be written
LAST_MOMENT = (
    dt.datetime.max.replace(tzinfo=dt.UTC) - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
) // dt.timedelta(microseconds=1)
EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


class FailedError(Exception):
    """This context fails at this step."""


def look_up(variables: dict[str, Any], path: Sequence[str]) -> Any:
    """The value at a path, which steps through objects only (rule 8)."""
    value: Any = variables
    for part in path:
        if not isinstance(value, dict) or part not in value:
            return MISSING
        value = value[part]
    return value


def id_of(value: Any) -> str | None:
    """Ids are text that is not empty; an integer counts as its decimal text (rule 1)."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value if isinstance(value, str) and value else None


def canonical(value: Any) -> str:
    """Text that is the same for the same JSON value, whatever the order of keys; 1, 1.0 and true stay apart."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def key_of(value: Any) -> str:
    """Text that is the same for keys that are equal as typed values: 1 and 1.0 are, 1 and true are not (rule 13)."""
    return canonical(_with_equal_numbers_alike(value))


def _with_equal_numbers_alike(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [_with_equal_numbers_alike(v) for v in value]
    if isinstance(value, dict):
        return {k: _with_equal_numbers_alike(v) for k, v in value.items()}
    return value


def moment_text(microseconds: int) -> str:
    """RFC 3339 in UTC, with milliseconds or microseconds only where they are not zero."""
    moment = EPOCH + dt.timedelta(microseconds=microseconds)
    digits = (
        "microseconds" if microseconds % 1000 else "milliseconds" if microseconds % 1_000_000 else "seconds"
    )
    return moment.isoformat(timespec=digits).replace("+00:00", "Z")


def microseconds(text: str) -> int:
    """Microseconds since 1970 of an RFC 3339 text."""
    return (dt.datetime.fromisoformat(text) - EPOCH) // dt.timedelta(microseconds=1)
