"""Values of every JSON type: the same frame whatever the chunk size, as every value says; hostile ones are typed errors."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path
from typing import Any

import polars as pl

import flowdsl as fd
from flowdsl import on, var
from flowdsl.errors import FlowError
from flowdsl.events import json_text, json_value
from flowdsl.values.columns import Column
from flowdsl.values.json_decoder import decode, kind_of_texts
from flowdsl.values.json_texts import only
from flowdsl.values.kinds import complete, dtype_of, join_all_kinds, kind_of

_SCALARS: list[Any] = [
    None, True, False, 0, 1, -1, 2**53 + 1, 2**63 - 1, -(2**63), 2**63, 2**64 - 1, 2**70, 0.5, -0.0, 1e16, 1e-7, 1e300, "",
    "a", '"', "\\", "é😀", "\0", "1", "null",
]  # fmt: skip
_FLOW = on("entity.created").map(v=var.data.v).deliver("s")
_HOSTILE: list[Any] = ["\ud83d", float("inf"), 10**400, b"x", object(), {"\udc00": 1}]


def check(rng: random.Random) -> int:
    """Try some columns of values, whole and in pieces, one of them through a replay, and some values that are none."""
    tried = _check_replay(rng, [_value(rng, 0) for _ in range(rng.choice([0, 1, 9, 60]))])
    for _ in range(8):
        values = [_value(rng, 0) for _ in range(rng.choice([1, 3, 60, 120]))]
        _check_column(rng, values)
        tried += len(values)
    for _ in range(40):
        value = _wrapped(rng, rng.choice(_HOSTILE))
        try:
            text = json_text(value)
        except FlowError:
            pass
        else:
            assert text is None or json_value(text) == value, value
        tried += 1
    return tried


def _check_column(rng: random.Random, values: list[Any]) -> None:
    texts = pl.Series([json_text(value) for value in values], dtype=pl.String)
    kind = kind_of_texts(texts)
    assert kind == join_all_kinds(map(kind_of, values)), values
    cut = rng.randint(0, len(values))
    pieces = [kind_of_texts(texts[:cut]), kind_of_texts(texts[cut:])]
    assert join_all_kinds(pieces) == join_all_kinds(reversed(pieces)) == kind, values
    whole = complete(kind, "nothing")
    column = decode(texts, whole)
    assert column.dtype == dtype_of(whole)
    assert pl.concat([decode(texts[:cut], whole), decode(texts[cut:], whole)]).equals(column), values
    for value, cell in zip(values, column.to_list(), strict=True):
        if whole in ("natural", "integer", "unsigned", "boolean", "text"):
            assert cell == value, (value, cell)
        elif whole == "number":
            assert value is None if cell is None else cell == float(value), (value, cell)
    if all(not isinstance(value, int) or -(2**63) <= value < 2**63 for value in values):
        there = Column.from_json(texts).to_json()
        # null and missing are both null in a frame
        spelled = only(texts, (there != "null").fill_null(value=False).to_numpy())
        assert decode(there, whole).equals(decode(spelled, whole)), values


def _check_replay(rng: random.Random, values: list[Any]) -> int:
    """One frame, whatever the chunk size, in memory or in a folder, and from a log or a list."""
    events = [
        {"seq_no": n, "timestamp": "2026-01-01T00:00:00Z", "event": fd.entity_created("u", str(n), {"v": value})}
        for n, value in enumerate(values, 1)
    ]  # fmt: skip
    log = fd.MemoryEventLog()
    if values:
        log.append(events)
    whole = fd.replay(_FLOW, log).to_arrow("s")
    size = rng.randint(1, 20)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "out")
        for result in (
            fd.replay(_FLOW, events, chunk_size=size),
            fd.replay(_FLOW, log, chunk_size=size, out=out),
        ):
            assert result.to_arrow("s").equals(whole), (values, size)
        assert fd.read_result(out).to_arrow("s").equals(whole), (values, size)
    return len(values)


def _value(rng: random.Random, depth: int) -> Any:
    pick = rng.random()
    if depth > 2 or pick < 0.7:
        return rng.choice(_SCALARS)
    if pick < 0.85:
        return [_value(rng, depth + 1) for _ in range(rng.randint(0, 3))]
    return {rng.choice("abcdé"): _value(rng, depth + 1) for _ in range(rng.randint(0, 3))}


def _wrapped(rng: random.Random, value: Any) -> Any:
    for _ in range(rng.choice([0, 1, 2, 200])):
        value = [value] if rng.random() < 0.5 else {"a": value}
    return value
