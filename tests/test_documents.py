"""JSON in events: a few texts are read as many are, to the letter."""

from __future__ import annotations

import json
from typing import Any

import hypothesis.strategies as st
import polars as pl
import pytest
from hypothesis import given, settings

import flowdsl as fd
from flowdsl.events import entity_created
from flowdsl.values.columns import Column
from flowdsl.values.json_extraction import extract
from flowdsl.values.small_json_extraction import extract_few

# so many that they are left to DuckDB
MANY = 400
KEYS = st.sampled_from(["a", "b", "a.b", "*", "a*", "é", "x y", "$", "[0]", "0", "", 'q"', "\\", "\u2028"])
LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.integers(-100, 100), st.floats(),
    st.floats(-1e3, 1e3).map(lambda value: round(value, 3)), st.text(max_size=8),
    st.sampled_from(["", "\0", "a\0b", "\x7f", "\x1f", "</", '"', "😀", "null", "1", -0.0, 1e16, 1e-7, 1e22]),
)  # fmt: skip
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=4)),
    max_leaves=12,
)
ODD = [
    '{"a":1,"a":2}', '{"a":-0}', '{"a":1.0}', '{"a":1.00}', '{"a":1e5}', '{"a":1E5}', '{"a":-0.0}', '{"a":123456789012345678}',
    '{"a":12345678901234567890}', '{"a":0.30000000000000004}', '{"a":"\\u0041"}', '{"a":"\\/"}', '{"a":"\\ud83d\\ude00"}', ' {"a":1} ',
    '{"a":100000000000000000.5}', '{"a":12345678901234.25}', '{"a":{"b":{"a":"x"}}}', "1", '"a"', "null", "[]",
]  # fmt: skip
TEXTS = st.one_of(
    st.none(),
    VALUES.map(lambda value: json.dumps(value, ensure_ascii=False)),
    VALUES.map(lambda value: json.dumps(value, indent=1)),
    st.sampled_from(ODD),
)
PATHS = st.lists(st.lists(KEYS, min_size=1, max_size=3).map(tuple), min_size=1, max_size=3, unique=True)


def seen(column: Column) -> list[tuple[str, str]]:
    return [(type(value).__name__, repr(value)) for value in column.values()]


@settings(max_examples=150 * settings().max_examples // 20)
@given(st.lists(TEXTS, min_size=1, max_size=5), PATHS)
def test_a_few_texts_are_read_as_many_are(texts: list[str | None], paths: list[Any]) -> None:
    few = extract_few(pl.Series(texts, dtype=pl.String), paths)
    if few is None:
        return
    many = extract(pl.Series([*texts, *[None] * MANY], dtype=pl.String), paths)
    for one, other in zip(few, many, strict=True):
        assert seen(one) == seen(other)[: len(texts)]


@pytest.mark.parametrize("count", [3, MANY])
def test_keys_that_json_paths_cannot_say_are_read(count: int) -> None:
    flow = fd.on("entity.created").map(n='{{ data["a*"] }}{{ data["*"] }}{{ data.b }}').deliver("sink")
    data = {"a*": 1, "*": 2, "ab": 3, "b": 4}
    log = fd.MemoryEventLog()
    log.append([entity_created("post", f"post-{i}", data) for i in range(count)])
    assert fd.replay(flow, log).to_polars()["payload"].to_list() == ['{"n":"124"}'] * count


@pytest.mark.parametrize("count", [3, MANY])
def test_what_is_nested_or_beyond_64_bits_is_the_same_in_a_few_events(count: int) -> None:
    flow = fd.on("entity.created").map(all="{{ data.tags }} {{ data.n }} {{ data.x }}").deliver("sink")
    log = fd.MemoryEventLog()
    event = entity_created("post", "post", {"tags": ["a", 1.5], "n": 2**70, "x": 1e300})
    log.append([event] * count)
    payloads = fd.replay(flow, log).to_polars()["payload"].unique().to_list()
    assert payloads == ['{"all":"[a, 1.5] 1180591620717411300000 1' + "0" * 300 + '"}']
