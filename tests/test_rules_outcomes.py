"""Rules 18 to 21: outcomes, errors, order and state. Random flows are held to them in `test_properties.py`."""

from __future__ import annotations

import json
from typing import Any

import pandas as pd
import pytest
from event_tables import counts, drops, failures, log_of, moment, sent

import flowdsl as fd
from flowdsl import on

LIKES = on("link.created", link_type="likes")
GRAPH = fd.EntityGraph(
    {"user": {u: {"name": u.upper()} for u in ("ann", "bob", "eve")}},
    [{"link_type": "follows", "source_id": u, "target_id": "ann"} for u in ("bob", "eve", "zoe")],
)
LOG = log_of("""
    at | source | target
    0  | ann    | p
    10 | bob    | p
    20 | nobody | p
    90 | ann    | p
    95 | ann    | q
""")
FLOWS = [
    LIKES.resolve("source_id", as_="fan")
    .where("fan.name != 'BOB'")
    .fan_out("source_id", via="follows", direction="reverse", as_="f")
    .batch("f_id", window="60s", min_count=2)
    .map(recipient_id="{{ f_id }}", n="{{ batch.count }}")
    .deliver("digest"),
    LIKES.rate_limit(1, per="40s", strategy="queue")
    .map(t="{{ source_id }}")
    .deliver("feed", "log")
    .named("queued"),
    LIKES.resolve("source_id", as_="fan").map(t="{{ fan.name }}").deliver("feed").named("plain"),
]


# -- rule 18: nothing is lost ------------------------------------------------------------------------------


@pytest.mark.parametrize("open_windows", ["flush", "keep"])
def test_rule_18_every_step_accounts_for_all_that_came(open_windows: str) -> None:
    steps = fd.replay(FLOWS, LOG, GRAPH, open_windows=open_windows).steps
    came = steps["held_before"] + steps["entered"] + steps["extra_branches"]
    went = steps["passed"] + steps["dropped"] + steps["failed"] + steps["absorbed"] + steps["held"]
    assert came.tolist() == went.tolist()


@pytest.mark.parametrize("open_windows", ["flush", "keep"])
def test_rule_18_what_one_step_passes_the_next_one_gets(open_windows: str) -> None:
    for _, steps in fd.replay(FLOWS, LOG, GRAPH, open_windows=open_windows).steps.groupby("flow"):
        assert steps["entered"].tolist()[1:] == steps["passed"].tolist()[:-1]


def test_rule_18_each_outcome_is_counted_at_its_step() -> None:
    result = fd.replay(FLOWS[0], LOG, GRAPH, open_windows="keep")
    assert counts(result, 0) == {"entered": 5, "passed": 4, "failed": 1}
    assert counts(result, 1) == {"entered": 4, "passed": 3, "dropped": 1}
    assert counts(result, 2) == {"entered": 3, "extra_branches": 6, "passed": 9}
    assert counts(result, 3) == {"entered": 9, "dropped": 3, "held": 6}
    result = fd.replay(FLOWS[0], LOG, GRAPH)
    assert counts(result, 3) == {"entered": 9, "passed": 3, "dropped": 3, "absorbed": 3}


def test_rule_18_reasons_are_a_closed_list() -> None:
    steps = (
        LIKES.where("source_id != 'bob'")
        .deduplicate("event.seq_no", window="1s")
        .rate_limit(2, per="1h")
        .fan_out("source_id", via="follows", direction="reverse", as_="f")
        .batch("f_id", window="5s", min_count=2)
        .map(x="x")
        .deliver("s")
    )
    again = LIKES.deduplicate("link_type", window="1h").map(x="x").deliver("s").named("again")
    assert drops(fd.replay([steps, again], LOG, GRAPH)) == {
        "filtered": 1,
        "rate limited": 2,
        "no links": 1,
        "batch below min_count": 3,
        "duplicate": 4,
    }


def test_rule_18_dropped_contexts_are_counted_by_flow_step_operator_and_reason() -> None:
    dropped = fd.replay(FLOWS, LOG, GRAPH).dropped
    assert dropped[["step", "operator", "reason", "count"]].values.tolist() == [
        [1, "where", "filtered", 1],
        [3, "batch", "batch below min_count", 3],
    ]
    assert set(dropped["flow"]) == {FLOWS[0].name}


def test_rule_18_with_a_trace_each_is_a_row() -> None:
    traced = fd.replay(FLOWS, LOG, GRAPH, trace=True).dropped
    rows = [
        [value if value is not pd.NA else None for value in row]
        for row in traced[["seq_no", "branch", "reason"]].values.tolist()
    ]
    assert rows == [
        [1, "0", "batch below min_count"],
        [1, "1", "batch below min_count"],
        [1, "2", "batch below min_count"],
        [2, None, "filtered"],
    ]


# -- rule 19: failures -------------------------------------------------------------------------------------


def test_rule_19_a_failure_ends_one_context_only() -> None:
    """Other flows, other events and other branches go on."""
    result = fd.replay(FLOWS, LOG, GRAPH)
    assert result.errors[["seq_no", "flow", "step", "operator"]].values.tolist() == [
        [3, FLOWS[0].name, 0, "resolve"],
        [3, "plain", 0, "resolve"],
    ]
    assert result["log"]["t"].tolist() == ["ann", "bob", "nobody", "ann", "ann"]


def test_rule_19_the_whole_event_step_error_and_variables_are_kept() -> None:
    flow = LIKES.resolve("source_id", as_="fan").map(t="x").resolve("target_id", as_="post").deliver("s")
    log = log_of('at | source | target | id | data\n 1 | ann | p | l1 | {"stars": 5}')
    (row,) = fd.replay(flow, log, GRAPH).errors.to_dict("records")
    assert row["timestamp"] == moment(1)
    assert json.loads(row["metadata"]) == {"stars": 5}
    told = {
        name: row[name]
        for name in (
            "seq_no",
            "event_id",
            "kind",
            "link_type",
            "link_id",
            "source_id",
            "target_id",
            "step",
            "operator",
            "error",
        )
    }
    assert told == {
        "seq_no": 1, "event_id": "e1", "kind": "link.created", "link_type": "likes", "link_id": "l1", "source_id": "ann",
        "target_id": "p", "step": 2, "operator": "resolve", "error": "no entity has the id in 'target_id'",
    }  # fmt: skip
    variables = json.loads(row["variables"])
    assert variables["fan"] == {"id": "ann", "name": "ANN"}
    assert variables["_payload"] == {"t": "x"}
    assert variables["metadata"] == {"stars": 5}


def test_rule_19_errors_are_in_the_order_of_number_flow_step_and_branch() -> None:
    """Branch 10 comes after branch 2, though as text it does not."""
    fans = [{"link_type": "follows", "source_id": f"u{i}", "target_id": "ann"} for i in range(12)]
    flow = (
        LIKES.fan_out("source_id", via="follows", direction="reverse", as_="f")
        .resolve("f_id", as_="x")
        .map(t="x")
        .deliver("s")
    )
    errors = fd.replay(flow, log_of("at\n 0"), fd.EntityGraph({}, fans), chunk_size=1).errors
    assert errors["branch"].tolist() == [str(i) for i in range(12)]


@pytest.mark.parametrize("chunk_size", [1, 2, None])
def test_rule_19_errors_are_in_order_whenever_they_came_about(chunk_size: int | None) -> None:
    """The first branch of the second event waits 5 s for its turn, the second one fails at once."""
    pairs = [("a", "ann"), ("b", "ann"), ("a", "bob")]
    graph = fd.EntityGraph({}, [{"link_type": "follows", "source_id": s, "target_id": t} for s, t in pairs])
    flow = (
        LIKES.fan_out("source_id", via="follows", direction="reverse", as_="f")
        .rate_limit(1, per="5s", strategy="queue", key="f_id")
        .resolve("f_id", as_="x")
        .map(t="x")
        .deliver("s")
    )
    log = log_of("at | source\n 0 | bob\n 0 | ann\n 30 | bob")
    errors = fd.replay(flow, log, graph, chunk_size=chunk_size).errors
    assert errors[["seq_no", "branch"]].values.tolist() == [[1, "0"], [2, "0"], [2, "1"], [3, "0"]]


def test_rule_19_failed_events_can_be_run_again_as_of_their_number() -> None:
    errors = fd.replay(FLOWS, LOG, GRAPH).errors
    mended = fd.EntityGraph({"user": {"nobody": {"name": "N"}}})
    assert fd.replay(FLOWS[2], LOG, mended, only=errors)["feed"][["seq_no", "t"]].values.tolist() == [
        [3, "N"]
    ]
    assert fd.replay(FLOWS[2], LOG, mended, only=[3])["feed"]["t"].tolist() == ["N"]
    assert fd.replay(FLOWS[2], errors, mended)["feed"]["t"].tolist() == ["N"]


# -- rule 20: the same results, in a total order -----------------------------------------------------------


def test_rule_20_deliveries_are_in_the_order_of_time_number_flow_branch_step_and_sink() -> None:
    parent = LIKES.map(t="parent").deliver("b", "a")
    fanned = (
        parent.fan_out("source_id", via="follows", direction="reverse", as_="f")
        .map(t="{{ f_id }}")
        .deliver("a")
    )
    flows = [fanned.named("z"), LIKES.map(t="x").deliver("a").named("a")]
    result = fd.replay(flows, log_of("at\n 0\n 0"), GRAPH)
    rows = result.polars(columns=["seq_no", "flow", "branch", "step", "sink"]).rows()
    one = [
        ("z", None, 1, "b"),
        ("z", None, 1, "a"),
        *(("z", str(n), 4, "a") for n in range(3)),
        ("a", None, 1, "a"),
    ]
    assert rows == [(number, *row) for number in (1, 2) for row in one]


def test_rule_20_branches_are_ordered_as_numbers() -> None:
    fans = [{"link_type": "follows", "source_id": f"u{i}", "target_id": "ann"} for i in range(12)]
    flow = (
        LIKES.fan_out("source_id", via="follows", direction="reverse", as_="f")
        .map(t="{{ f_id }}")
        .deliver("s")
    )
    result = fd.replay(flow, log_of("at\n 0"), fd.EntityGraph({}, fans))
    assert result["s"]["t"].tolist() == [f"u{i}" for i in range(12)]


def test_rule_20_timers_due_at_the_same_moment_fire_in_the_order_in_which_they_were_set() -> None:
    flow = LIKES.batch("target_id", window="5s").rate_limit(1, per="1h").map(x="x").deliver("s")
    assert sent(fd.replay(flow, log_of("at | target\n 0 | z\n 0 | a\n 1 | z")), "recipient_id") == [(5, "z")]


def test_rule_20_the_timer_of_an_earlier_step_fires_first() -> None:
    """At 10 s the first step's second window closes, and what comes of it opens a new window of the second step."""
    flow = (
        LIKES.batch("target_id", window="5s")
        .batch("link_type", window="5s")
        .map(n="{{ batch.count }}")
        .deliver("s")
    )
    result = fd.replay(flow, log_of("at | target\n 0 | a\n 5 | b\n 30 | c"))
    assert sent(result, "n", "seq_no") == [(10, "1", 1), (15, "1", 2), (40, "1", 3)]


@pytest.mark.parametrize("chunk_size", [1, 2, 3, None])
def test_rule_20_at_one_moment_a_queue_lets_go_before_the_event_comes(chunk_size: int | None) -> None:
    """Even where that event has to go through a window of 0s first; the last step takes the first of the two."""
    flow = (
        LIKES.batch("event.seq_no", window="0s")
        .rate_limit(1, per="1s", strategy="queue", key="target_id")
        .deduplicate("link_type", window="500ms")
        .map(who="{{ source_id }}")
        .deliver("s")
    )
    log = log_of("at | source | target\n 0 | first | p\n 0 | waits | p\n 1 | comes | q\n 1 | late | r")
    assert sent(fd.replay(flow, log, chunk_size=chunk_size), "who") == [(0, "first"), (1, "waits")]


@pytest.mark.parametrize("chunk_size", [1, 2, 3, 100])
def test_rule_20_the_chunk_size_does_not_show(chunk_size: int) -> None:
    whole, cut = fd.replay(FLOWS, LOG, GRAPH), fd.replay(FLOWS, LOG, GRAPH, chunk_size=chunk_size)
    assert whole.polars().equals(cut.polars())
    for part in ("errors", "dropped", "late", "open"):
        assert getattr(whole, part).equals(getattr(cut, part))


# -- rule 21: replays in parts -----------------------------------------------------------------------------


@pytest.mark.parametrize("cut", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("ending", ["keep", "flush"])
def test_rule_21_two_parts_equal_the_whole(cut: int, ending: str) -> None:
    """However the first part ended: its state is that before any flush."""
    whole = fd.replay(FLOWS, LOG, GRAPH)
    first = fd.replay(FLOWS, LOG, GRAPH, stop=cut, open_windows=ending)
    second = fd.replay(FLOWS, LOG, state=first.state)
    deliveries = first.polars()
    lasting = deliveries.filter(deliveries["closed_by"].ne_missing("end")).rows()
    assert sorted(lasting + second.polars().rows(), key=str) == sorted(whole.polars().rows(), key=str)


def test_rule_21_a_state_can_be_used_again_and_stays_what_it_was() -> None:
    state = fd.replay(FLOWS, LOG, GRAPH, stop=4).state
    first, second = (fd.replay(FLOWS, LOG, state=state) for _ in range(2))
    assert first.polars().equals(second.polars())
    assert first.steps["held_before"].sum() > 0
    assert first.steps.drop(columns="seconds").equals(second.steps.drop(columns="seconds"))


def test_rule_21_a_state_says_what_it_holds() -> None:
    state = fd.replay(FLOWS[1], LOG, stop=4).state
    assert state is not None
    assert state.position == 3
    assert repr(state).startswith("<State after event 3: 2 contexts held")


def test_rule_21_a_state_belongs_to_its_flows() -> None:
    state = fd.replay(FLOWS, LOG, GRAPH).state
    with pytest.raises(fd.ReplayError, match="other flows"):
        fd.replay(FLOWS[:1], LOG, state=state)


ZOE = """
    at | kind           | type  | source | id  | data
    0  | entity.created | user  | -      | zoe | {"name": "Z"}
    60 | link.created   | likes | zoe    | -   | -
    30 | link.created   | likes | zoe    | -   | -
"""


@pytest.mark.parametrize("start", [3, moment(30), "2026-01-01T00:00:30Z"])
def test_rule_21_a_start_without_a_state_feeds_graph_and_clock_only(start: Any) -> None:
    flow = (
        LIKES.resolve("source_id", as_="fan")
        .deduplicate("source_id", window="1h")
        .map(t="{{ fan.name }}")
        .deliver("s")
    )
    result = fd.replay(flow, log_of(ZOE), start=start)
    assert sent(result, "t") == [(60, "Z")]


def test_rule_21_the_start_is_included_and_the_stop_is_not() -> None:
    flow = LIKES.map(x="x").deliver("s")
    log = log_of("at\n 0\n 1\n 2\n 3")
    assert fd.replay(flow, log, start=2, stop=4)["s"]["seq_no"].tolist() == [2, 3]
    assert fd.replay(flow, log, start=moment(1), stop=moment(3))["s"]["seq_no"].tolist() == [2, 3]
    assert failures(fd.replay(flow, log, start=9)) == []
    assert len(fd.replay(flow, log, start=9)) == 0
    assert len(fd.replay(flow, log, stop=1)) == 0


def test_rule_20_what_comes_out_at_the_end_is_there_after_threads_ran_too() -> None:
    """Two flows of one trigger and enough events to be run on two threads; the last window closes at the end."""
    log = fd.MemoryEventLog()
    log.append([fd.link_created("likes", f"u{n}", f"p{n % 7}") for n in range(5_000)], timestamp=moment(0))
    digest = LIKES.batch("target_id", window="5s").map(n="{{ batch.count }}").deliver("digest")
    plain = LIKES.map(x="x").deliver("plain")
    result = fd.replay([digest, plain], log)
    assert len(result["plain"]) == 5_000
    assert sorted(int(n) for n in result["digest"]["n"]) == [714] * 5 + [715] * 2
