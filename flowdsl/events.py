"""Events: the five kinds, the columns of an event table, and events written by hand.

An event is a mapping in production's JSON form: the inner object (`{"kind": "link", "action": "created",
…}`), or the envelope around it (`{"id", "timestamp", "event": {…}, "seq_no"}`). A row of an event table
written as a mapping (`{"kind": "link.created", "timestamp": …, "source_id": …}`) is taken too. Nothing heavy
is imported here.
"""

from __future__ import annotations

import enum
import json
import re
import uuid
from collections.abc import Mapping
from datetime import UTC, date, datetime, time
from numbers import Number
from typing import Any, Final, Literal, NamedTuple, NoReturn, get_args

from flowdsl.calls import answered
from flowdsl.errors import DataError, did_you_mean, warn
from flowdsl.moments import to_micros, to_moment
from flowdsl.text import short_repr
from flowdsl.values.far_numbers import FAR, far_number, infinity
from flowdsl.values.python_values import encode_json, from_numpy, is_missing, is_whole_number

EventKind = Literal["link.created", "link.deleted", "entity.created", "entity.updated", "entity.deleted"]
KINDS: Final[tuple[EventKind, ...]] = get_args(EventKind)
EVENT_COLUMNS: Final = (
    "seq_no",
    "event_id",
    "timestamp",
    "kind",
    "entity_type",
    "entity_id",
    "link_type",
    "link_id",
    "source_id",
    "target_id",
    "data",
    "metadata",
)
TEXT_COLUMNS: Final = ("event_id", *EVENT_COLUMNS[4:10])
JSON_COLUMNS: Final = ("data", "metadata")

_LINK = ("link_type", "source_id", "target_id")
_ENTITY = ("entity_type", "entity_id")
_FIRST_US, _LAST_US = -62_135_596_800_000_000, 253_402_300_799_999_999
_RFC3339 = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:\.(\d{1,6})\d*)?([Zz]|[+-]\d\d:?\d\d)?", re.ASCII
)


def refuse_constant(name: str) -> NoReturn:
    """Refuse `NaN` and the infinities, which Python's decoder would take."""
    raise ValueError(f"{name} is not JSON")


# integers from here on are not ids
LONGEST_ID: Final = 10**1000
# shared, as json.loads would build a decoder for each text
_decode = json.JSONDecoder(parse_constant=refuse_constant).decode


# JSON nested deeper is rejected, as in production
MAX_NESTING: Final = 128
_BRACKETS: Final = re.compile(r'"(?:[^"\\]|\\.)*"|[\[{\]}]', re.DOTALL)


class EventRow(NamedTuple):
    """Event as a row of an event table, without its `seq_no`

    `timestamp` counts microseconds since 1970-01-01 UTC (None: not known); `data` and `metadata` are JSON
    text.
    """

    event_id: str | None
    timestamp: int | None
    kind: str
    entity_type: str | None
    entity_id: str | None
    link_type: str | None
    link_id: str | None
    source_id: str | None
    target_id: str | None
    data: str | None
    metadata: str | None


@answered
def link_created(
    link_type: str,
    source_id: str | int,
    target_id: str | int,
    link_id: str | int | None = None,
    metadata: Any = None,
) -> dict[str, Any]:
    """Return the event of a new link.

    Parameters
    ----------
    link_type
        The type of the link.
    source_id, target_id
        The ids at its ends: non-empty text, or integers, which stand for their decimal text.
    link_id
        The id of the link.
    metadata
        Any JSON value.

    Returns
    -------
    dict
        The event in production's JSON form.

    Raises
    ------
    DataError
        If an argument is not valid.

    Examples
    --------
    >>> link_created("likes", "ann", "post-1")
    {'kind': 'link', 'action': 'created', 'link_type': 'likes', 'source_id': 'ann', 'target_id': 'post-1'}
    """
    return _make(
        "link",
        "created",
        link_type=link_type,
        link_id=link_id,
        source_id=source_id,
        target_id=target_id,
        metadata=metadata,
    )


@answered
def link_deleted(
    link_type: str | None = None,
    source_id: str | int | None = None,
    target_id: str | int | None = None,
    link_id: str | int | None = None,
) -> dict[str, Any]:
    """Return the event of a deleted link, named by its id, or by its type and both ends.

    Parameters
    ----------
    link_type
        The type of the link.
    source_id, target_id
        The ids at its ends.
    link_id
        The id of the link.

    Returns
    -------
    dict
        The event in production's JSON form.

    Raises
    ------
    DataError
        If neither is complete, or an argument is not valid.

    Examples
    --------
    >>> link_deleted("likes", "ann", "post-1")["action"]
    'deleted'
    >>> link_deleted(link_id="l7")
    {'kind': 'link', 'action': 'deleted', 'link_id': 'l7'}
    """
    return _make(
        "link", "deleted", link_type=link_type, link_id=link_id, source_id=source_id, target_id=target_id
    )


@answered
def entity_created(entity_type: str, entity_id: str | int, data: Any) -> dict[str, Any]:
    """Return the event of a new entity.

    Parameters
    ----------
    entity_type
        The type of the entity.
    entity_id
        Its id: non-empty text, or an integer, which stands for its decimal text.
    data
        All of its data: any JSON value, usually an object.

    Returns
    -------
    dict
        The event in production's JSON form.

    Raises
    ------
    DataError
        If an argument is not valid.

    Examples
    --------
    >>> entity_created("user", 7, {"name": "Ann"})["entity_id"]
    '7'
    """
    return _make("entity", "created", entity_type=entity_type, entity_id=entity_id, data=data)


@answered
def entity_updated(entity_type: str, entity_id: str | int, data: Any) -> dict[str, Any]:
    """Return the event that replaces the data of an entity.

    Parameters
    ----------
    entity_type
        The type of the entity.
    entity_id
        Its id.
    data
        All of its new data.

    Returns
    -------
    dict
        The event in production's JSON form.

    Raises
    ------
    DataError
        If an argument is not valid.

    Examples
    --------
    >>> entity_updated("user", "ann", {"name": "Ann B."})["data"]
    {'name': 'Ann B.'}
    """
    return _make("entity", "updated", entity_type=entity_type, entity_id=entity_id, data=data)


@answered
def entity_deleted(entity_type: str, entity_id: str | int) -> dict[str, Any]:
    """Return the event of a deleted entity.

    Parameters
    ----------
    entity_type
        The type of the entity.
    entity_id
        Its id.

    Returns
    -------
    dict
        The event in production's JSON form.

    Raises
    ------
    DataError
        If an argument is not valid.

    Examples
    --------
    >>> entity_deleted("user", "ann")
    {'kind': 'entity', 'action': 'deleted', 'entity_type': 'user', 'entity_id': 'ann'}
    """
    return _make("entity", "deleted", entity_type=entity_type, entity_id=entity_id)


def event_row(event: Mapping[str, Any], *, place: str | None = None) -> EventRow:
    """Convert an event mapping to a row of an event table. Raises `DataError` if it is invalid.

    `place` (`events.jsonl:12`) goes into the error. The mapping's own `seq_no` is not looked at.

    >>> event_row({"timestamp": "2024-01-01T00:00:00Z", "event": link_created("likes", 1, 2)}).source_id
    '1'
    """
    if not isinstance(event, Mapping):
        raise _refusal(
            f"an event is a mapping, not {type(event).__name__}", place, 'like {"kind": "link", …}'
        )
    inner = event.get("event")
    if isinstance(inner, Mapping):
        event_id, timestamp = event.get("id"), event.get("timestamp")
    else:
        inner, event_id, timestamp = event, event.get("event_id", event.get("id")), event.get("timestamp")
    kind, json_is_text = _kind_of(inner, place)
    texts = {name: id_text(inner.get(name), name, place) for name in (*_ENTITY, *_LINK, "link_id")}
    gap = missing_field(kind, texts)
    if gap:
        raise _refusal(f"{kind} without {gap}", place, f"{kind} needs {needs_of(kind)}")
    as_json = _check_text if json_is_text else json_text
    return EventRow(
        event_id=id_text(event_id, "event_id", place),
        timestamp=None if timestamp is None else timestamp_us(timestamp, place=place),
        kind=kind,
        data=as_json(inner.get("data"), "data", place),
        metadata=as_json(inner.get("metadata"), "metadata", place),
        **texts,
    )


def event_mapping(row: EventRow, seq_no: int) -> dict[str, Any]:
    """Return a row as production writes it: `{"id", "timestamp", "event": {…}, "seq_no"}`

    >>> row = event_row({"timestamp": "2024-01-01T00:00:00Z", "event": entity_deleted("user", "ann")})
    >>> event_mapping(row, 3)["timestamp"], event_mapping(row, 3)["event"]["action"]
    ('2024-01-01T00:00:00Z', 'deleted')
    """
    family, action = row.kind.split(".")
    inner: dict[str, Any] = {"kind": family, "action": action}
    names = ("link_type", "link_id", "source_id", "target_id") if family == "link" else _ENTITY
    inner |= {name: getattr(row, name) for name in names}
    inner |= {name: json.loads(text) for name in JSON_COLUMNS if (text := getattr(row, name)) is not None}
    stamp = None if row.timestamp is None else timestamp_text(row.timestamp)
    return {"id": row.event_id, "timestamp": stamp, "event": inner, "seq_no": seq_no}


def needs_of(kind: str) -> str:
    """Return the required fields of an event of this kind, in words.

    >>> needs_of("link.deleted")
    'link_id, or link_type, source_id and target_id'
    """
    if kind == "link.deleted":
        return "link_id, or link_type, source_id and target_id"
    return "link_type, source_id and target_id" if kind.startswith("link.") else "entity_type and entity_id"


def missing_field(kind: str, row: Mapping[str, Any]) -> str | None:
    """Return the first required field that is null or empty in the row, or None.

    >>> missing_field("link.created", {"link_type": "likes", "source_id": None, "target_id": "b"})
    'source_id'
    """
    if kind == "link.deleted" and row.get("link_id"):
        return None
    needed = _LINK if kind.startswith("link.") else _ENTITY
    return next((name for name in needed if not row.get(name)), None)


def id_text(value: Any, name: str, place: str | None = None) -> str | None:
    """Return an id or type as text; text is unchanged, an integer becomes decimal text, None stays None, as
    do NaN and other missing values.

    >>> id_text(12, "source_id"), id_text("Ünal ", "source_id")
    ('12', 'Ünal ')
    """
    if isinstance(value, enum.Enum):
        value = value.value
    if isinstance(value, str):
        if not value:
            raise _refusal(f"{name} is empty", place, "any non-empty text will do")
        return _unicode(value, name, place)
    if is_missing(value):
        return None
    if is_whole_number(value):
        if not -LONGEST_ID < value < LONGEST_ID:
            raise _refusal(f"{name} is a number of more than 1,000 digits", place, "write it as text")
        return str(int(value))
    if isinstance(value, uuid.UUID):
        return str(value)
    raise _refusal(
        f"{name} is {type(value).__name__} {short_repr(value, 40)}, not text or an integer",
        place,
        "write it as text",
    )


def json_text(value: Any, name: str = "data", place: str | None = None) -> str | None:
    """Return a value as compact JSON text, or None for no value. Raises `DataError` if it is not JSON.

    >>> json_text({"n": 1, "tags": ["a"]})
    '{"n":1,"tags":["a"]}'
    """
    if value is None:
        return None
    try:
        text = encode_json(value, name)
    except (TypeError, ValueError, RecursionError) as error:
        # a value that contains itself would never end
        path = infinity(value, name) if str(error).startswith("Out of range float") else None
        if path is not None:
            raise _refusal(f"{path} {FAR}", place, "write it as text") from None
        raise _refusal(
            f"{name} is not a JSON value ({error})",
            place,
            "use text, numbers, booleans, dates, lists and mappings",
        ) from None
    if text == "null":
        # NaN, and other missing values of pandas
        return None
    # nothing is nested too deep in a short text, and the only numbers too large are whole ones of 309 digits
    return _normalize_json(text, name, place) if len(text) > 2 * MAX_NESTING else _unicode(text, name, place)


def nesting_of(text: str) -> int:
    """Return the nesting depth of arrays and objects in a JSON text.

    >>> nesting_of('{"a": [1, "[["]}')
    2
    """
    depth = deepest = 0
    for found in _BRACKETS.finditer(text):
        bracket = found.group()
        if bracket in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif bracket in "]}":
            depth -= 1
    return deepest


def too_deep(text: str) -> bool:
    """Return True if a JSON text is nested deeper than the limit."""
    if len(text) <= 2 * MAX_NESTING or text.count("[") + text.count("{") <= MAX_NESTING:
        return False
    return nesting_of(text) > MAX_NESTING


def _shallow(text: str, name: str, place: str | None) -> str:
    if too_deep(text):
        raise _refusal(
            f"{name} is nested deeper than {MAX_NESTING} levels", place, "keep deep values as text"
        )
    return text


def json_value(text: str) -> Any:
    """Parse a JSON text. Raises `ValueError` if it is not JSON (NaN and Infinity are not)

    >>> json_value('{"a": [1]}')
    {'a': [1]}
    """
    return _decode(text)


def timestamp_us(value: Any, *, place: str | None = None) -> int:
    """Return microseconds since 1970 of a datetime or RFC 3339 text; finer digits are truncated; the default
    zone is UTC.

    >>> timestamp_us("1970-01-01T01:00:00.0000019+01:00")
    1
    """
    given = value
    if isinstance(value, str):
        value = _parse(value, place)
    elif type(value).__module__ == "numpy":
        value = from_numpy(value)
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime.combine(value, time())
    # NaT of pandas is a datetime, and alone in not being equal to itself
    if not isinstance(value, datetime) or value != value:
        raise _refusal(
            f"timestamp is {type(given).__name__} {short_repr(given, 40)}, not a datetime or RFC 3339 text",
            place,
            "a count of seconds has a unit that only you know: read_events(…, time_unit='s')"
            if isinstance(value, Number)
            else "like 2024-05-01T12:00:00Z",
        )
    if value.tzinfo is None:
        warn("timestamps without a zone are taken as UTC")
        value = value.replace(tzinfo=UTC)
    micros = int(to_micros(value))
    if not _FIRST_US <= micros <= _LAST_US:
        # because of its time zone
        raise _refusal(
            f"timestamp {value.isoformat()} is beyond the years 1 to 9999 of UTC",
            place,
            "like 2024-05-01T12:00:00Z",
        )
    return micros


def timestamp_text(microseconds: int) -> str:
    """Format microseconds since 1970 as RFC 3339.

    >>> timestamp_text(1_500_000)
    '1970-01-01T00:00:01.500000Z'
    """
    return to_moment(microseconds).isoformat().replace("+00:00", "Z")


def _make(family: str, action: str, **fields: Any) -> dict[str, Any]:
    event: dict[str, Any] = {"kind": family, "action": action}
    for name, value in fields.items():
        if name not in JSON_COLUMNS:
            value = id_text(value, name)
        if value is not None or name == "data":
            event[name] = value
    event_row(event)
    return event


def _plain(value: object) -> str:
    return value if isinstance(value, str) else short_repr(value)


def _kind_of(inner: Mapping[str, Any], place: str | None) -> tuple[str, bool]:
    """Return the kind, and True if `data` and `metadata` are JSON text (rows of an event table, not
    production's form)
    """
    named = inner.get("kind")
    kind = f"{_plain(named)}.{_plain(inner['action'])}" if "action" in inner else named
    if isinstance(kind, str) and kind in KINDS:
        return str(kind), "action" not in inner
    hint = did_you_mean(kind, KINDS) or 'like {"kind": "link", "action": "created", …}'
    what = "an event without kind" if named is None else f"unknown kind {short_repr(kind)}"
    raise DataError(what, place=place, allowed=", ".join(KINDS), hint=hint)


def _check_text(value: Any, name: str, place: str | None) -> str | None:
    if not isinstance(value, str):
        return json_text(value, name, place)
    _shallow(value, name, place)
    try:
        json_value(value)
    except ValueError as error:
        raise _refusal(
            f"{name} is text that is not JSON ({error})", place, "in a row of an event table it is JSON text"
        ) from None
    return _normalize_json(value, name, place)


def _normalize_json(text: str, name: str, place: str | None) -> str:
    """Return JSON text in the form that events keep."""
    path = far_number(_shallow(text, name, place), name)
    if path is not None:
        raise _refusal(f"{path} {FAR}", place, "write it as text")
    return _unicode(text, name, place)


def _parse(text: str, place: str | None) -> datetime:
    found = _RFC3339.fullmatch(text)
    if found:
        day, time, fraction, zone = found.groups()
        try:
            return datetime.fromisoformat(f"{day}T{time}.{(fraction or '0'):<06}{(zone or '').upper()}")
        except ValueError:
            pass
    raise _refusal(
        f"timestamp {short_repr(text)} is not RFC 3339",
        place,
        "like 2024-05-01T12:00:00Z; or read_events(time_format=…)",
    )


def _unicode(text: str, name: str, place: str | None) -> str:
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise _refusal(
                f"{name} holds half a surrogate pair, which is not Unicode text", place, "repair the text"
            ) from None
    return text


def _refusal(what: str, place: str | None, hint: str) -> DataError:
    return DataError(what, place=place, hint=hint)
