"""However far apart events lie, and however many keys they have: windows, limits and queues do not run out of numbers."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import interpret
from oracle.comparing import bytes_of, said_by_engine, said_by_oracle
from oracle.values import LAST_MOMENT, moment_text

import flowdsl as fd
from flowdsl import Flow, on
from flowdsl.expressions.durations import parse_duration

BEGIN = 1_767_225_600_000_000
YEAR = 365 * 86_400_000_000
# the numbers of keys and of years that together leave 64 bits are small enough to be tried
MANY = 45
SPANS = ["0s", "1h", "100w", "200000w", "521428w"]


def event(number: int, moment: int, key: int) -> dict[str, Any]:
    link = {"link_type": "likes", "source_id": f"user {key}", "target_id": f"post {key % 7}"}
    inner = {"kind": "link", "action": "created", **link}
    return {"id": f"e{number}", "timestamp": moment_text(moment), "event": inner, "seq_no": number}


def log_of(moments: list[int], keys: list[int]) -> list[dict[str, Any]]:
    ordered = zip(sorted(moments), keys, strict=True)
    return [event(number, moment, key) for number, (moment, key) in enumerate(ordered, 1)]


def flows_of(window: str) -> list[Flow]:
    liked = on("link.created").map(title="{{ source_id }}")
    return [
        liked.deduplicate("source_id", window=window).deliver("first"),
        liked.deduplicate(["source_id", "target_id"], window=window).deliver("pairs"),
        liked.batch("source_id", window=window).deliver("together"),
        liked.batch("target_id", window=window, min_count=2).deliver("twice"),
        liked.rate_limit(2, per=window, key="source_id").deliver("limited"),
        liked.rate_limit(2, per=window, strategy="queue", key="target_id").deliver("queued"),
    ]


moments = st.one_of(
    st.integers(BEGIN, LAST_MOMENT),
    st.integers(LAST_MOMENT - YEAR, LAST_MOMENT),
    st.sampled_from([BEGIN, BEGIN + 1, LAST_MOMENT - 1, LAST_MOMENT]),
    st.integers(0, 50).map(lambda hours: BEGIN + hours * 1_800_000_000),
)


@st.composite
def far_logs(draw: st.DrawFn) -> list[dict[str, Any]]:
    """A log from 2026 to 9999 in which most keys come once or twice."""
    size = draw(st.integers(MANY, MANY + 20))
    times = draw(st.lists(moments, min_size=size, max_size=size))
    keys = draw(st.lists(st.integers(0, size), min_size=size, max_size=size))
    return log_of(times, keys)


@given(events=far_logs(), window=st.sampled_from(SPANS))
def test_windows_and_limits_are_right_over_any_span(events: list[dict[str, Any]], window: str) -> None:
    flows = flows_of(window)
    found = said_by_engine(fd.replay(flows, events), flows)
    for part, said in said_by_oracle(interpret(flows, events), flows).items():
        assert found[part] == said, f"{part} differ"


@settings(max_examples=settings().max_examples // 4)
@given(events=far_logs(), window=st.sampled_from(SPANS), chunk_size=st.sampled_from([5, 11, 50]))
@pytest.mark.parametrize("target", [None, "this-rs"])
def test_rule_20_the_chunk_size_changes_nothing_over_any_span(
    target: str | None, events: list[dict[str, Any]], window: str, chunk_size: int
) -> None:
    hours = math.ceil(parse_duration(window).microseconds / 3_600_000_000) if target else 0
    flows = [flow for flow in flows_of(f"{hours}h" if target else window) if not target or portable(flow)]
    whole = bytes_of(fd.replay(flows, events, target=target))
    assert bytes_of(fd.replay(flows, events, target=target, chunk_size=chunk_size)) == whole


def portable(flow: Flow) -> bool:
    return not [finding for finding in flow.check(target="this-rs") if finding.severity == "error"]


def test_forty_keys_and_one_event_in_the_year_9999() -> None:
    keys = [n % 40 for n in range(80)] + [0]
    events = log_of([*(BEGIN + 3_600_000_000 * n for n in range(80)), LAST_MOMENT], keys)
    flow = on("link.created").deduplicate("source_id", window="1h").map(n="{{ source_id }}").deliver("in-app")
    assert len(fd.replay(flow, events).deliveries) == 81


def test_a_window_that_would_close_after_the_year_9999_fails_those_in_it() -> None:
    events = log_of([BEGIN, LAST_MOMENT - YEAR, LAST_MOMENT], [1, 2, 2])
    flow = on("link.created").batch("source_id", window="110w").map(n="{{ batch.count }}").deliver("in-app")
    result = fd.replay(flow, events)
    assert result.deliveries["payload"].tolist() == ['{"n":"1"}']
    assert result.errors["seq_no"].tolist() == [2, 3]
    assert set(result.errors["error"]) == {"its window would close after the year 9999"}


@pytest.mark.parametrize(("count", "per"), [(20, "40000w"), (90, "10000w")])
def test_a_queue_that_reaches_beyond_the_year_9999_fails_those_who_would_wait_so_long(
    count: int, per: str
) -> None:
    flow = (
        on("link.created").rate_limit(1, per=per, strategy="queue").map(n="{{ source_id }}").deliver("in-app")
    )
    result = fd.replay(flow, log_of([BEGIN] * count, [1] * count))
    served = 1 + (LAST_MOMENT - BEGIN) // parse_duration(per).microseconds
    assert len(result.deliveries) == served
    assert set(result.errors["error"]) == {"its turn in the queue comes after the year 9999"}
    assert len(result.errors) == count - served


def test_live_a_queue_beyond_the_year_9999_makes_dead_letters() -> None:
    flow = (
        on("link.created")
        .rate_limit(1, per="500000w", strategy="queue")
        .map(n="{{ source_id }}")
        .deliver("in-app")
    )
    log = fd.MemoryEventLog()
    with fd.Runtime(flow, log) as runtime:
        for _ in range(2):
            log.append(fd.link_created("likes", "ann", "bob"))
    assert len(runtime.sinks["in-app"].frame()) == 1
    assert runtime.dead_letters["error"].tolist() == ["its turn in the queue comes after the year 9999"]


@settings(max_examples=settings().max_examples // 2)
@given(
    numbers=st.lists(
        st.integers(-(2**63), 2**63 - 1) | st.integers(2**53 - 3, 2**53 + 3), min_size=1, max_size=6
    ),
    chunk_size=st.sampled_from([1, 2]),
)
def test_large_whole_numbers_do_not_depend_on_the_rows_beside_them(
    numbers: list[int], chunk_size: int
) -> None:
    """Half of the numbers stand beside a text, so that the column they are in is not one of numbers only."""
    said = "{% if data.n is even %}even{% endif %} {% if data.n is odd %}odd{% endif %}"
    flow = on("entity.created").map(
        parity=said, rounded="{{ data.n | round }}", size="{{ data.n | abs }}", more="{{ data.n - 1 }}",
        larger="{{ data.n > 9007199254740992 }}", same="{{ data.n == 9007199254740993 }}",
    ).deliver("in-app")  # fmt: skip
    events = [
        {"id": f"e{i}", "timestamp": moment_text(BEGIN + i), "seq_no": i + 1,
         "event": {"kind": "entity", "action": "created", "entity_type": "n", "entity_id": f"n{i}", "data": {"n": n}}}
        for i, n in enumerate([*numbers, "no number"])
    ]  # fmt: skip
    whole = bytes_of(fd.replay(flow, events))
    assert bytes_of(fd.replay(flow, events, chunk_size=chunk_size)) == whole
