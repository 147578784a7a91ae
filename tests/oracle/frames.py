"""The frame of a sink as rule 32 has it: the type of a column follows from all of its values."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import polars as pl

from flowdsl.sinks.frame import FIXED
from oracle.values import canonical

# of a column of these names the payload's field is called otherwise
_TAKEN = {*FIXED, "sink"}


def assert_holds(frame: pl.DataFrame, payloads: Sequence[Any]) -> None:
    """The frame has a row for each payload, in their order, and the types that all of them say."""
    rows = [payload if isinstance(payload, dict) else {"": payload} for payload in payloads]
    assert frame.height == len(rows)
    for name in {name for row in rows for name in row}:
        if name == "recipient_id" and f"payload.{name}" not in frame.columns:
            # the recipient is the payload's, where that says one
            said = [row.get(name) for row in rows]
            assert all(value is None or isinstance(value, str) for value in said)
            pairs = zip(frame[name].to_list(), said, strict=True)
            assert all(cell == value for cell, value in pairs if value is not None)
            continue
        column = frame[_column_of(name, frame)]
        values = [row.get(name) for row in rows]
        _assert_type(column.dtype, values)
        for cell, value in zip(column.to_list(), values, strict=True):
            assert _said(cell, column.dtype, values) == _said(value, column.dtype, values, given=True)


def _column_of(name: str, frame: pl.DataFrame) -> str:
    """The column of a field, whose name may be that of another column."""
    if name not in _TAKEN:
        return name or "payload"
    # a flow that delivered nothing may have a field of that name, too
    column = f"payload.payload.{name}"
    return column if column in frame.columns else f"payload.{name}"


def _assert_type(dtype: Any, values: Sequence[Any]) -> None:
    there = [value for value in values if value is not None]
    kinds = {type(value) for value in there}
    if not kinds - {dict} and not any(there):
        # the template says it
        return
    if kinds <= {int, float}:
        assert dtype == (pl.Int64 if kinds == {int} else pl.Float64)
    elif kinds == {bool}:
        assert dtype == pl.Boolean
    elif kinds == {list}:
        assert isinstance(dtype, pl.List)
        _assert_type(dtype.inner, [inner for value in there for inner in value])
    elif kinds == {dict} and not any("\0" in name for value in there for name in value):
        assert isinstance(dtype, pl.Struct)
        types = dtype.to_schema()
        assert set(types) >= {name for value in there for name in value}
        for name, inner in types.items():
            _assert_type(inner, [value.get(name) for value in there])
    else:
        assert dtype == pl.String


def _said(value: Any, dtype: Any, values: Sequence[Any], *, given: bool = False) -> Any:
    """A cell, or the value that was given for it, in one form."""
    if value is None:
        return None
    there = [other for other in values if other is not None]
    if isinstance(dtype, pl.Struct):
        return {
            name: _said(value.get(name), inner, [other.get(name) for other in there], given=given)
            for name, inner in dtype.to_schema().items()
        }
    if isinstance(dtype, pl.List):
        inside = [inner for other in there for inner in other]
        return [_said(inner, dtype.inner, inside, given=given) for inner in value]
    if dtype == pl.Float64:
        return repr(float(value))
    if {type(other) for other in there} == {str} or dtype != pl.String:
        return value
    # unlike values, and objects without a field, are JSON text
    return canonical(value if given else json.loads(value))
