"""Shapes of rows that `read_events` recognises by itself, and those that other packages add
(`flowdsl.rows`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from flowdsl.events import JSON_COLUMNS, json_text
from flowdsl.log.cloudevents import cloud_fields, is_cloud_event
from flowdsl.registry import Registry, instance_problem

Fields = Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class RowFormat:
    """Declaration of a shape of rows.

    Parameters
    ----------
    name
        the name of the shape
    matches
        the function that tells whether a row has it
    fields
        the function from such a row to the fields of an event table; raises `DataError` where it cannot be
        read

    >>> ROW_FORMATS["cloudevents"].matches({"specversion": "1.0", "type": "link.created"})
    True
    """

    name: str
    matches: Callable[[dict[str, Any]], bool]
    fields: Callable[[dict[str, Any]], Fields]


def with_json_text(fields: Fields) -> Fields:
    """Return fields whose values of any type are written as JSON text, as an event table has them."""
    return {**fields, **{name: json_text(fields.get(name), name) for name in JSON_COLUMNS}}


def _envelope_fields(row: dict[str, Any]) -> Fields:
    outer = {"event_id": row.get("id"), "timestamp": row.get("timestamp"), "seq_no": row.get("seq_no")}
    return _with_action({**row["event"], **outer})


def _with_action(fields: dict[str, Any]) -> Fields:
    if "action" not in fields:
        return fields
    if isinstance(fields.get("kind"), str):
        fields["kind"] = f"{fields['kind']}.{fields['action']}"
    # in production's form a text is a JSON value; a row of an event table holds JSON text
    return with_json_text(fields)


_OWN: Final = (
    RowFormat("cloudevents", is_cloud_event, lambda row: with_json_text(cloud_fields(row))),
    RowFormat("envelope", lambda row: isinstance(row.get("event"), Mapping), _envelope_fields),
    RowFormat(
        "event",
        lambda row: "action" in row and "kind" in row,
        lambda row: _with_action({**row, "event_id": row.get("event_id", row.get("id"))}),
    ),
)
ROW_FORMATS: Final[Registry[RowFormat]] = Registry(
    "flowdsl.rows", {known.name: known for known in _OWN}, instance_problem(RowFormat)
)
"""The shapes by name, in the order in which they are tried."""


def known_fields(row: dict[str, Any], shapes: Sequence[RowFormat]) -> Fields:
    """Return the fields of a row by the first shape that it has; one that has none is a row of an event
    table.
    """
    for shape in shapes:
        if shape.matches(row):
            return shape.fields(row)
    return {**row, "event_id": row.get("event_id")}
