"""Rules 10 to 17: the eight operators."""

from __future__ import annotations

from typing import Any

import pytest
from logs import log_of, moment, times

import flowdsl as fd
from flowdsl import on, var

LIKES = on("link.created", link_type="likes")


def likes(*events: tuple[str, str, str]) -> fd.MemoryEventLog:
    """Likes as (time, who, what)."""
    log = fd.MemoryEventLog()
    for at, who, what in events:
        log.append(fd.link_created("likes", who, what), timestamp=moment(at))
    return log


def sent(flow: fd.Flow, log: Any, graph: fd.EntityGraph | None = None, **options: Any) -> list[list[Any]]:
    """Deliveries as [time, text]."""
    out = fd.replay(flow.deliver("out"), log, graph, **options)["out"]
    return [list(pair) for pair in zip(times(out), out.t, strict=True)]


GRAPH = fd.EntityGraph(
    {"user": {"ann": {"name": "Ann"}, "bob": {"name": "Bob"}}},
    [
        {"link_type": "owns", "source_id": "bob", "target_id": "p1"},
        {"link_type": "owns", "source_id": "nobody", "target_id": "p2"},
        {"link_type": "follows", "source_id": "ann", "target_id": "bob"},
        {"link_type": "follows", "source_id": "ann", "target_id": "zoe"},
    ],
)


def test_rule_10_resolve_sets_the_entity_or_fails() -> None:
    flow = (
        LIKES.resolve("target_id", via="owns", direction="reverse", as_="o")
        .map(t="{{ o.name }}")
        .deliver("out")
    )
    result = fd.replay(flow, likes(("09:00", "x", "p1"), ("09:01", "x", "p2"), ("09:02", "x", "p3")), GRAPH)
    assert result["out"].t.tolist() == ["Bob"]
    assert result.errors[["seq_no", "step", "operator"]].values.tolist() == [
        [2, 0, "resolve"],
        [3, 0, "resolve"],
    ]
    assert "no entity" in result.errors.error[0]
    assert "no 'owns' link" in result.errors.error[1]


def test_rule_10_with_required_false_the_variable_is_missing_instead() -> None:
    flow = LIKES.resolve("source_id", as_="who", required=False).map(t="{{ who.name | default(value='?') }}")
    assert sent(flow, likes(("09:00", "ann", "p1"), ("09:01", "zoe", "p1")), GRAPH) == [
        ["09:00:00", "Ann"],
        ["09:01:00", "?"],
    ]


def test_rule_11_fan_out_makes_a_branch_for_each_link_in_their_order() -> None:
    flow = LIKES.fan_out("source_id", via="follows", as_="f").map(
        t="{{ f_id }}", name="{{ f.name | default(value='-') }}"
    )
    result = fd.replay(flow.deliver("out"), likes(("09:00", "ann", "p1"), ("09:01", "eve", "p1")), GRAPH)
    assert result["out"][["branch", "t", "name"]].values.tolist() == [["0", "bob", "Bob"], ["1", "zoe", "-"]]
    assert result.dropped[["reason", "count"]].values.tolist() == [["no links", 1]]


def test_rule_11_where_there_is_no_entity_the_branch_has_its_id() -> None:
    flow = LIKES.fan_out("source_id", via="follows", as_="f").where("f == 'zoe'").map(t="{{ f }}")
    assert sent(flow, likes(("09:00", "ann", "p1")), GRAPH) == [["09:00:00", "zoe"]]


def test_rule_11_branches_take_part_in_later_operators_one_by_one() -> None:
    twice = LIKES.fan_out("source_id", via="follows", as_="a").fan_out("source_id", via="follows", as_="b")
    result = fd.replay(
        twice.rate_limit(3, per="1h").map(t="x").deliver("out"), likes(("09:00", "ann", "p")), GRAPH
    )
    assert result["out"].branch.tolist() == ["0.0", "0.1", "1.0"]


def test_rule_12_where_drops_what_its_condition_is_false_for() -> None:
    result = fd.replay(
        LIKES.where(var.source_id == "ann").map(t="x").deliver("out"),
        likes(("09:00", "ann", "p"), ("09:01", "bob", "p")),
    )
    assert result["out"].seq_no.tolist() == [1]
    assert result.dropped[["step", "operator", "reason", "count"]].values.tolist() == [
        [0, "where", "filtered", 1]
    ]


def test_rule_13_the_window_runs_from_the_first_sighting_and_is_not_extended() -> None:
    log = likes(
        ("09:00", "ann", "a"),
        ("09:40", "ann", "b"),
        ("09:59:59", "ann", "c"),
        ("10:00", "ann", "d"),
        ("10:59", "ann", "e"),
    )
    flow = LIKES.deduplicate("source_id", window="1h").map(t="{{ target_id }}")
    assert sent(flow, log) == [["09:00:00", "a"], ["10:00:00", "d"]]


def test_rule_13_keys_are_typed_and_may_be_several_and_a_missing_one_fails() -> None:
    log = fd.MemoryEventLog()
    for data in ({"k": 1}, {"k": 1.0}, {"k": "1"}, {"k": True}, {"k": None}, {"k": None}, {}):
        log.append(fd.entity_created("x", f"e{log.last_seq_no()}", data), timestamp=moment("09:00"))
    flow = on("entity.created").deduplicate(["data.k", "entity_type"], window="1h").map(t="x").deliver("out")
    result = fd.replay(flow, log)
    assert result["out"].seq_no.tolist() == [1, 3, 4, 5]
    assert result.errors.seq_no.tolist() == [7]
    assert result.dropped["count"].tolist() == [2]


BATCHED = likes(
    ("09:00", "ann", "p"),
    ("09:20", "bob", "p"),
    ("09:59:59", "eve", "p"),
    ("10:00", "zoe", "p"),
    ("12:00", "x", "q"),
)


def test_rule_14_a_window_closes_by_its_timer_and_goes_on_as_one_context() -> None:
    flow = LIKES.batch("target_id", window="1h").map(
        t="{{ source_id }} {{ batch.count }} {{ batch.key }} {{ _batch.items }}"
    )
    assert sent(flow, BATCHED) == [
        ["10:00:00", "eve 3 p [ann, bob, eve]"],
        ["11:00:00", "zoe 1 p [zoe]"],
        ["13:00:00", "x 1 q [x]"],
    ]


def test_rule_14_a_batch_says_when_it_began_and_closed() -> None:
    flow = LIKES.batch("target_id", window="1h").map(
        t="{{ batch.first_at }} {{ batch.last_at }} {{ batch.closed_at }}"
    )
    assert sent(flow, BATCHED)[0][1] == "2026-01-01T09:00:00Z 2026-01-01T09:59:59Z 2026-01-01T10:00:00Z"


def test_rule_14_fewer_than_min_count_are_dropped_with_all_members() -> None:
    result = fd.replay(LIKES.batch("target_id", window="1h", min_count=2).map(t="x").deliver("out"), BATCHED)
    assert len(result["out"]) == 1
    assert result.dropped[["reason", "count"]].values.tolist() == [["batch below min_count", 2]]


def test_rule_14_at_the_end_windows_close_as_if_time_went_on_or_stay_open() -> None:
    flow = LIKES.batch("target_id", window="1h").map(t="{{ batch.count }}").deliver("out")
    flushed, kept = fd.replay(flow, BATCHED), fd.replay(flow, BATCHED, open_windows="keep")
    assert flushed["out"].closed_by.tolist() == ["timer", "timer", "end"]
    assert kept["out"].closed_by.tolist() == ["timer", "timer"]
    assert kept.open[["operator", "held", "last_seq_no"]].values.tolist() == [["batch", 1, 5]]
    assert times(kept.open, "due_at") == ["13:00:00"]


BURST = likes(*((f"09:00:0{s}", f"u{s}", "p") for s in range(6)))


def test_rule_15_a_bucket_is_full_at_the_start_and_fills_steadily() -> None:
    flow = LIKES.rate_limit(2, per="4s").map(t="{{ source_id }}")
    assert [t for _, t in sent(flow, BURST)] == ["u0", "u1", "u2", "u4"]


def test_rule_15_a_queue_holds_in_order_and_loses_nothing() -> None:
    flow = LIKES.rate_limit(1, per="2s", strategy="queue").map(t="{{ source_id }}")
    assert sent(flow, BURST) == [[f"09:00:{2 * n:02}", f"u{n}"] for n in range(6)]
    kept = fd.replay(flow.deliver("out"), BURST, open_windows="keep")
    assert kept["out"].t.tolist() == ["u0", "u1", "u2"]
    assert kept.open.last_seq_no.tolist() == [4, 5, 6]


def test_rule_15_a_key_has_a_bucket_of_its_own() -> None:
    log = likes(("09:00", "ann", "p"), ("09:00", "bob", "p"), ("09:00", "ann", "p"))
    assert sent(LIKES.rate_limit(1, per="1h", key="source_id").map(t="{{ source_id }}"), log) == [
        ["09:00:00", "ann"],
        ["09:00:00", "bob"],
    ]


def test_rule_15_tokens_are_counted_exactly() -> None:
    # a third of a second refills one token of 3 per 1s to the very microsecond, rounded up
    log = likes(
        *(("09:00", f"u{n}", "p") for n in range(3)),
        ("09:00:00.333333", "early", "p"),
        ("09:00:00.333334", "then", "p"),
    )
    assert [t for _, t in sent(LIKES.rate_limit(3, per="1s").map(t="{{ source_id }}"), log)] == [
        "u0",
        "u1",
        "u2",
        "then",
    ]


def test_rule_15_a_queue_of_nothing_is_refused() -> None:
    with pytest.raises(fd.BuildError, match="max=0"):
        LIKES.rate_limit(0, per="1s", strategy="queue")


def test_rule_16_each_text_is_a_template_and_var_keeps_its_type() -> None:
    flow = LIKES.batch("target_id", window="1h").map(
        {
            "text": "{{ batch.count }}",
            "count": var.batch.count,
            "fixed": 1.5,
            "deep": {"list": ["{{ source_id }}", None]},
        }
    )
    payload = fd.replay(flow.deliver("out"), BATCHED).deliveries.payload[0]
    assert payload == '{"text":"3","count":3,"fixed":1.5,"deep":{"list":["eve",null]}}'


def test_rule_16_an_unknown_variable_at_an_event_fails_and_an_impossible_one_is_refused() -> None:
    log = fd.MemoryEventLog()
    log.append(
        [fd.entity_created("x", "a", {"n": 1}), fd.entity_created("x", "b", {})], timestamp=moment("09:00")
    )
    result = fd.replay(on("entity.created").map(t="{{ data.n }}").deliver("out"), log)
    assert result["out"].t.tolist() == ["1"]
    assert "data.n" in result.errors.error[0]
    for impossible in ("{{ gone }}", "{{ source_id }}", "{{ event.nope }}"):
        with pytest.raises(fd.BuildError, match="reads"):
            on("entity.created").map(t=impossible)
    for wrong in ("{{ data.n", "{{ data.n | shout }}", "{% if %}"):
        with pytest.raises(fd.TemplateError):
            on("entity.created").map(t=wrong)


def test_rule_16_a_later_map_replaces_the_payload() -> None:
    flow = LIKES.map(a="1").deliver("first").map(b="2").deliver("second")
    payloads = fd.replay(flow, likes(("09:00", "ann", "p"))).deliveries
    assert payloads[["sink", "payload"]].values.tolist() == [["first", '{"a":"1"}'], ["second", '{"b":"2"}']]


@pytest.mark.parametrize(
    ("flow", "recipient"),
    [
        (LIKES.map(recipient_id="{{ source_id }}"), "ann"),
        (LIKES.map(t="x"), "p"),
        (LIKES.map(recipient_id=var.source_id), "ann"),
        (LIKES.map(recipient_id=7), "p"),
        (LIKES.resolve("source_id", as_="recipient_id").map(t="x"), "p"),
        (on("entity.created").map(t="x"), None),
        (on("entity.created").map(recipient_id="{{ data.to }}"), "bob"),
        (LIKES.map("text only"), "p"),
    ],
)
def test_rule_17_the_recipient_is_the_payloads_then_a_variable_then_the_target(
    flow: fd.Flow, recipient: str | None
) -> None:
    log = log_of(
        """
        | at    | kind           | link_type | source_id | target_id | entity_type | entity_id | data         |
        | 09:00 | link.created   | likes     | ann       | p         |             |           |              |
        | 09:01 | entity.created |           |           |           | post        | q         | {"to":"bob"} |
        """
    )
    delivered = fd.replay(flow.deliver("out"), log, GRAPH).polars("out")
    assert delivered["recipient_id"].to_list() == [recipient]


def test_rule_17_deliver_without_a_map_and_an_unknown_sink_are_refused() -> None:
    with pytest.raises(fd.BuildError, match="no payload"):
        LIKES.deliver("out")
    with pytest.raises(fd.ReplayError, match="'push'"):
        fd.replay(LIKES.map(t="x").deliver("push"), [], sinks={"in-app": None})


def test_rule_17_deliver_goes_on() -> None:
    flow = LIKES.map(t="x").deliver("a", "b").where("source_id == 'ann'").deliver("c")
    result = fd.replay(flow, likes(("09:00", "ann", "p"), ("09:00", "bob", "p")))
    assert result.deliveries[["seq_no", "sink"]].values.tolist() == [
        [1, "a"],
        [1, "b"],
        [1, "c"],
        [2, "a"],
        [2, "b"],
    ]
