"""CloudEvents 1.0 in structured JSON, as fields of an event table."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any, Final

from flowdsl.errors import DataError
from flowdsl.events import json_value
from flowdsl.text import short_repr

_TAKEN: Final = frozenset(
    ("id", "source", "specversion", "type", "time", "data", "data_base64", "datacontenttype")
)
# those of a CloudEvent without extensions whose data is plain JSON
PLAIN_ATTRIBUTES: Final = _TAKEN - {"data_base64"}


def is_cloud_event(row: Mapping[str, Any]) -> bool:
    """Return True if a JSON object is meant as a CloudEvent."""
    return "specversion" in row and "type" in row


def cloud_fields(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of an event table that a CloudEvent gives.

    `event_id` is `source` and `id` with a space between (no URI holds one), `timestamp` its `time`, `kind`
    its `type`; the members of its `data` are the other fields. Extensions, `subject` and `dataschema` go into
    `metadata`, with `ce_` before a name that `metadata` has already.

    >>> data = {"entity_type": "user", "entity_id": "ann"}
    >>> envelope = {
    ...     "specversion": "1.0",
    ...     "type": "entity.deleted",
    ...     "source": "/crm",
    ...     "id": "7",
    ...     "trace": "t1",
    ... }
    >>> fields = cloud_fields({**envelope, "data": data})
    >>> fields["kind"], fields["entity_id"], fields["event_id"], fields["timestamp"], fields["metadata"]
    ('entity.deleted', 'ann', '/crm 7', None, {'trace': 't1'})
    """
    if row["specversion"] != "1.0":
        raise DataError(
            f"CloudEvents {short_repr(row['specversion'], 20)}", allowed="1.0", hint="convert them to 1.0"
        )
    for name in ("id", "source", "type"):
        if not isinstance(row.get(name), str) or not row[name]:
            raise DataError(
                f"a CloudEvent without {name}", hint="id, source, specversion and type are required"
            )
    data = data_of(row)
    fields = dict(data) if isinstance(data, Mapping) else {}
    fields |= {"event_id": f"{row['source']} {row['id']}", "timestamp": row.get("time"), "kind": row["type"]}
    extensions = {name: value for name, value in row.items() if name not in _TAKEN}
    if extensions:
        fields["metadata"] = _with_extensions(fields.get("metadata"), extensions)
    return fields


def _with_extensions(metadata: Any, extensions: dict[str, Any]) -> dict[str, Any]:
    if metadata is not None and not isinstance(metadata, Mapping):
        return {"value": metadata, **extensions}
    merged = dict(metadata or {})
    for name, value in extensions.items():
        merged[f"ce_{name}" if name in merged else name] = value
    return merged


def data_of(row: Mapping[str, Any]) -> Any:
    """Return the data of a CloudEvent, which may be JSON in base64.

    >>> data_of({"data_base64": "eyJhIjoxfQ=="})
    {'a': 1}
    """
    if "data_base64" not in row:
        return row.get("data")
    try:
        return json_value(base64.b64decode(row["data_base64"], validate=True).decode())
    except (binascii.Error, ValueError, TypeError) as error:
        raise DataError(f"data_base64 holds no JSON ({error})", hint="only JSON data can be read") from error
