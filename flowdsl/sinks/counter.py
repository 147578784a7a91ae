"""Counter sink: numbers by entity and field."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final, NamedTuple

from flowdsl.arguments import is_number, is_text_in
from flowdsl.errors import SinkError
from flowdsl.graph.snapshot import EntityGraph
from flowdsl.graph.snapshot_lookup import entities_of
from flowdsl.operators.options import Option, text_schema
from flowdsl.sinks.base import Delivery, Failure, json_text, storable
from flowdsl.sinks.database import Database, insert, parts_of, seal_rows
from flowdsl.sinks.sqlite_sink import CHECKED, KEYS, PATH, KeptSink, StoredKey
from flowdsl.text import short_repr, type_text

if TYPE_CHECKING:
    import pandas as pd

Number = int | float
INCREMENT, DECREMENT, SET = "increment", "decrement", "set"
OPERATIONS: Final = {
    INCREMENT: INCREMENT,
    "inc": INCREMENT,
    "add": INCREMENT,
    DECREMENT: DECREMENT,
    "dec": DECREMENT,
    "sub": DECREMENT,
    "subtract": DECREMENT,
    SET: SET,
}
_SCHEMA: Final = (
    """create table if not exists counts (
        entity_type text, entity_id text, field text, value not null, crc integer not null,
        primary key (entity_type, entity_id, field)
    ) without rowid""",
    *KEYS,
)
_CHECKED: Final = {"counts": "entity_type, entity_id, field, value", **CHECKED}
_KEYED: Final = "where entity_type = ? and entity_id = ? and field = ?"

# numbers that are looked for in one statement
_AT_ONCE: Final = 300
_MOST: Final = 1.7976931348623157e308

Key = tuple[str, str, str]


class Change(NamedTuple):
    """Effect of one delivery on one number."""

    key: Key
    operation: str
    value: Number


class Counter(KeptSink[Change]):
    """Count deliveries in a SQLite file, by entity type, entity id and field.

    The payload's `entity_type` and `entity_id` say what is counted, or else the event's. `field` and
    `operation` come from the payload, or else from the options below; `value` (default 1) from the payload.
    Each batch is one transaction, and each delivery counts once. `decrement` stops at 0. Integers beyond 64
    bits become floats. Threads and processes may share a file.

    Parameters
    ----------
    path
        The SQLite file; None keeps all counters in memory.
    field
        The field to count, for payloads without `field`.
    operation
        `"increment"` or `"decrement"`, for payloads without `operation`.
    graph
        Where counters start: a counter of an entity starts at that field if it is a number, and at 0
        otherwise.

    Raises
    ------
    SinkError
        If an option is of the wrong type, or the file cannot be opened.

    Examples
    --------
    >>> likes = Counter(field="likes", graph=EntityGraph({"post": {"p1": {"likes": 41}}}))
    >>> likes.deliver([Delivery({"entity_type": "post", "entity_id": "p1"})])
    [None]
    >>> likes.value("post", "p1", "likes")
    42
    """

    type: ClassVar[str] = "counter"
    portable: ClassVar[bool] = True
    summary: ClassVar[str] = "numbers that go up and down, by entity and field"
    options: ClassVar[tuple[Option, ...]] = (
        PATH,
        Option("field", "what is counted, where the payload does not say it", text_schema("likes")),
        Option(
            "operation",
            "what is done, where the payload does not say it",
            {"enum": list(OPERATIONS), "default": INCREMENT, "examples": [DECREMENT]},
        ),
    )

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        field: str | None = None,
        operation: str = INCREMENT,
        graph: EntityGraph | None = None,
    ) -> None:
        if field is not None and (not isinstance(field, str) or not field):
            raise SinkError(f"field is {short_repr(field)}", allowed="text that is not empty, or None")
        if not is_text_in(operation, OPERATIONS):
            raise SinkError.unknown(f"operation {short_repr(operation)} is not known", operation, OPERATIONS)
        if graph is not None and not isinstance(graph, EntityGraph):
            raise SinkError(f"graph is {type_text(graph)}", allowed="an EntityGraph, or None")
        super().__init__(Database(path, "counter", _SCHEMA, _CHECKED))
        self._field = field
        self._operation = operation
        self._graph = graph

    def value(self, entity_type: str, entity_id: str, field: str | None = None) -> Number:
        """Return the current value of a counter.

        Parameters
        ----------
        entity_type
            The type of the entity.
        entity_id
            The id of the entity.
        field
            The field; may be omitted if the sink has a `field` option.

        Returns
        -------
        int or float
            The value; 0, or the graph's number, if nothing was counted yet.

        Raises
        ------
        SinkError
            If no field is given and the sink has none.

        Examples
        --------
        >>> Counter(field="likes").value("post", "p1")
        0
        """
        named = field if field is not None else self._field
        if named is None:
            raise SinkError("no field is named", hint="value(entity_type, entity_id, field)")
        key = (entity_type, entity_id, named)
        rows = self._database.rows("counts", _KEYED, key)
        found: Number = rows[0][3] if rows else self._start(key)
        return found

    def values(self) -> pd.DataFrame:
        """Return all counters that were changed.

        Returns
        -------
        pandas.DataFrame
            One row per counter, sorted, with the columns `entity_type, entity_id, field, value`.

        Examples
        --------
        >>> Counter().values().columns.tolist()
        ['entity_type', 'entity_id', 'field', 'value']
        """
        import pandas as pd

        rows = self._database.rows("counts", "order by 1, 2, 3")
        return pd.DataFrame(rows, columns=["entity_type", "entity_id", "field", "value"])

    def _row(self, delivery: Delivery, key: StoredKey) -> Change | Failure:
        payload = delivery.payload if isinstance(delivery.payload, dict) else {}
        counted = self._counted(payload, delivery)
        if isinstance(counted, Failure):
            return counted
        operation = payload.get("operation") or self._operation
        if not is_text_in(operation, OPERATIONS):
            return Failure(
                f"counter has no operation {_format(operation)}: it has {', '.join(OPERATIONS)}",
                permanent=True,
            )
        value = payload.get("value")
        value = 1 if value is None else value
        if not (is_number(value) and abs(value) <= _MOST):
            return Failure(
                f"counter: the value {_format(value)} is not a number that it can count",
                permanent=True,
            )
        return Change(counted, OPERATIONS[operation], value)

    def _counted(self, payload: Mapping[str, Any], delivery: Delivery) -> Key | Failure:
        """Return what is counted, or why it is not known."""
        given = {
            "entity_type": payload.get("entity_type") or delivery.entity_type,
            "entity_id": payload.get("entity_id") or delivery.entity_id,
            "field": payload.get("field") or self._field,
        }
        for name, one in given.items():
            if isinstance(one, bool) or not isinstance(one, (str, int)):
                found = "there is none" if one is None else f"it is {_format(one)}"
                return Failure(f"counter needs the {name}, and {found}", permanent=True)
        entity_type, entity_id, field = (storable(str(one)) for one in given.values())
        return entity_type, entity_id, field

    def _write(self, connection: sqlite3.Connection, rows: Sequence[Change]) -> Sequence[Any]:
        values: dict[Key, Number] = {}
        keys = list(dict.fromkeys(row.key for row in rows))
        for some in parts_of(keys, _AT_ONCE):
            among = (
                f"where (entity_type, entity_id, field) in (values {', '.join(['(?, ?, ?)'] * len(some))})"
            )
            given = [part for key in some for part in key]
            for *named, value in self._database.rows_in(connection, "counts", among, given):
                values[named[0], named[1], named[2]] = value
        for key in keys:
            if key not in values:
                values[key] = self._start(key)
        undos = []
        for row in rows:
            before = values[row.key]
            values[row.key] = after = _apply(before, row)
            undos.append((row.key, before, after))
        self._put(connection, values)
        return undos

    def _take_back(self, connection: sqlite3.Connection, key: StoredKey, undo: Any) -> None:
        counted, before, after = undo
        named: Key = (counted[0], counted[1], counted[2])
        found = self._database.rows_in(connection, "counts", _KEYED, named)
        if found:
            self._put(connection, {named: _store(_sum(found[0][3], _sum(before, -after)))})

    def _put(self, connection: sqlite3.Connection, values: Mapping[Key, Number]) -> None:
        insert(
            connection,
            "insert or replace into counts",
            seal_rows((*key, value) for key, value in values.items()),
        )

    def _start(self, key: Key) -> Number:
        """Return where a number starts: at what the graph has, or at 0."""
        if self._graph is None:
            return 0
        entity_type, entity_id, field = key
        found = entities_of(self._graph, [entity_id]).get(entity_id, {}).get(entity_type, {}).get(field)
        return found if is_number(found) else 0


def _apply(old: Number, change: Change) -> Number:
    if change.operation == SET:
        new = change.value
    elif change.operation == INCREMENT:
        new = _sum(old, change.value)
    else:
        # it stops at 0, and what was below 0 already does not rise
        new = max(_sum(old, -change.value), min(old, 0))
    return _store(new)


def _store(number: Number) -> Number:
    """Return a number as it can be kept: whole ones beyond 64 bits as floats."""
    return float(number) if isinstance(number, int) and not -(2**63) <= number < 2**63 else number


def _sum(one: Number, other: Number) -> Number:
    """Return the sum; of floats whose sum is beyond all floats, the greatest one."""
    if isinstance(one, int) and isinstance(other, int):
        return one + other
    return min(max(float(one) + float(other), -_MOST), _MOST)


def _format(value: object) -> str:
    try:
        return f"{json_text(value):.60}"
    except SinkError:
        return short_repr(value, 60)
