"""Rule 23: batches by several keys, with contents, that close when full, after a pause, or at local moments."""

from __future__ import annotations

import json
from typing import Any

import pytest

import flowdsl as fd
from flowdsl import fn, on, var

NAMES = {u: {"id": u, "name": u.title()} for u in ("ann", "bob", "eve")}
GRAPH = fd.EntityGraph({"user": NAMES})


def likes(*rows: tuple[str, str, str], **metadata: Any) -> list[dict[str, Any]]:
    """Events of who likes what at which time of the first of January 2026; `...` leaves a value out."""
    log = []
    for row, (at, who, what) in enumerate(rows):
        said = {name: values[row] for name, values in metadata.items() if values[row] is not ...}
        event = fd.link_created("likes", who, what, metadata=said)
        log.append({"timestamp": at if "T" in at else f"2026-01-01T{at}Z", "event": event})
    return log


def amounts(*values: Any) -> list[dict[str, Any]]:
    """Events of one key, a second apart, with these amounts."""
    rows = [(f"09:00:{place:02}", "ann", "p") for place in range(len(values))]
    return likes(*rows, amount=values)


def batched(flow: fd.Flow, log: Any, *fields: str, **options: Any) -> list[tuple[Any, ...]]:
    """What comes out: the event that goes on, then fields of its batch."""
    template = {name: var.batch[name] for name in fields}
    frame = fd.replay(flow.map(template).deliver("s"), log, GRAPH, **options).to_polars("s")
    return [
        (row["seq_no"], *(row.get(f"payload.{name}", row.get(name)) for name in fields))
        for row in frame.to_dicts()
    ]


LIKED = on("link.created")
THREE = likes(("09:00:00", "ann", "p"), ("09:01:00", "bob", "p"), ("09:02:00", "eve", "p"))


# -- several keys -------------------------------------------------------------------------------------------


def test_rule_23_what_has_both_keys_in_common_belongs_together() -> None:
    log = likes(("09:00:00", "ann", "p"), ("09:00:01", "ann", "q"), ("09:00:02", "ann", "p"))
    flow = LIKED.batch(["source_id", "target_id"], window="1h")
    assert flow.steps[0].text == "batch(['source_id', 'target_id'], window='1h')"
    assert batched(flow, log, "count", "key") == [(3, 2, ["ann", "p"]), (2, 1, ["ann", "q"])]


def test_rule_23_one_key_in_a_list_is_a_key_as_any_other() -> None:
    assert LIKED.batch(["target_id"], window="1h") == LIKED.batch("target_id", window="1h")


# -- collect ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        ("{{ batch.names | first }} and {{ batch.count - 1 }} others", "Ann and 2 others"),
        ("{{ batch.names | join(sep=', ') }}", "Ann, Bob, Eve"),
        ("{% for name in batch.names %}{{ name }} {% endfor %}", "Ann Bob Eve "),
    ],
)
def test_rule_23_a_digest_names_people(title: str, expected: str) -> None:
    flow = (
        LIKED.resolve("source_id", as_="fan")
        .batch("target_id", window="1h", collect={"names": var.fan.name})
        .map(title=title)
        .deliver("s")
    )
    assert fd.replay(flow, THREE, GRAPH)["s"]["title"].tolist() == [expected]


def test_rule_23_a_list_has_null_where_a_value_is_missing_and_keeps_types() -> None:
    flow = LIKED.batch("target_id", window="1h", collect={"all": var.metadata.amount})
    result = fd.replay(
        flow.map({"all": var.batch.all}).deliver("s"), amounts(1, ..., None, 2.5, "x", [1], {"a": 1})
    )
    assert json.loads(result.deliveries["payload"][0]) == {"all": [1, None, None, 2.5, "x", [1], {"a": 1}]}


@pytest.mark.parametrize(
    ("function", "values", "expected"),
    [
        ("sum", (1, ..., 2), 3),
        ("sum", (2**62, 2**62, 2**62, -(2**62), -(2**62)), 2**62),
        ("sum", (2**62, 2**62, 2**62, 2**62 - 1), 2**64 - 1),
        ("sum", (0.1, 0.2, 0.3), 0.1 + 0.2 + 0.3),
        ("sum", (1, 0.5, 2**53), float(2**53 + 1) + 0.5),
        ("sum", (..., ...), 0),
        ("min", (3, -2, ..., 7), -2),
        ("max", (3, 2**53 + 1, float(2**53)), 2**53 + 1),
        ("min", (2.5, 2), 2),
        ("first", (..., "a", 1), "a"),
        ("last", ("a", 1, ...), 1),
        ("count", (1, ..., None), 2),
        ("unique", (1, 1.0, True, "1", None, None, ..., [1], [1.0]), [1, True, "1", None, [1]]),
    ],
)
def test_rule_23_an_aggregate_makes_one_value_of_all(
    function: str, values: tuple[Any, ...], expected: Any
) -> None:
    flow = LIKED.batch("target_id", window="1h", collect={"made": f"{function}(metadata.amount)"})
    result = fd.replay(flow.map({"made": var.batch.made}).deliver("s"), amounts(*values))
    assert [json.loads(text) for text in result.deliveries["payload"]] == [{"made": expected}]


@pytest.mark.parametrize("function", ["min", "max", "first", "last"])
def test_rule_23_of_no_values_there_is_no_least_and_no_first(function: str) -> None:
    flow = LIKED.batch("target_id", window="1h", collect={"made": f"{function}(metadata.amount)"})
    flow = flow.where("batch.made not_exists").map(n="{{ batch.count }}").deliver("s")
    assert fd.replay(flow, amounts(..., ...))["s"]["n"].tolist() == ["2"]


@pytest.mark.parametrize("value", ["x", True, None, [1], {"a": 1}])
def test_rule_23_what_is_no_number_fails_when_the_window_closes(value: Any) -> None:
    flow = LIKED.batch("target_id", window="1h", collect={"total": fn.sum(var.metadata.amount)})
    result = fd.replay(flow.map(t="{{ batch.total }}").deliver("s"), amounts(1, value, 2))
    [error] = result.errors.to_dict("records")
    assert (error["seq_no"], error["operator"]) == (3, "batch")
    assert error["error"].startswith("sum(metadata.amount) takes numbers, and one of its values is ")
    first = result.steps.iloc[0]
    assert (first["entered"], first["absorbed"], first["failed"], first["passed"]) == (3, 2, 1, 0)


def test_rule_23_a_sum_beyond_all_numbers_fails() -> None:
    flow = LIKED.batch("target_id", window="1h", collect={"total": "sum(metadata.amount)"})
    result = fd.replay(flow.map(t="x").deliver("s"), amounts(1.7e308, 1.7e308))
    assert result.errors["error"].tolist() == ["sum(metadata.amount) is beyond what a number can be"]


@pytest.mark.parametrize("chunk_size", [1, None])
def test_rule_23_a_sum_beyond_all_numbers_fails_beside_a_window_of_text(chunk_size: int | None) -> None:
    flow = LIKED.batch("metadata.window", window="1h", collect={"total": fn.sum(var.metadata.amount)})
    found = [("far", 1.7e308), ("text", "x"), ("far", 1.7e308)]
    log = amounts(*(amount for _, amount in found))
    for envelope, (window, _) in zip(log, found, strict=True):
        envelope["event"]["metadata"]["window"] = window
    result = fd.replay(flow.map(t=var.batch.total).deliver("s"), log, chunk_size=chunk_size)
    assert sorted(result.errors["error"].str.partition(")")[2]) == [
        " is beyond what a number can be",
        " takes numbers, and one of its values is text",
    ]


def test_rule_23_an_expression_that_fails_for_a_member_fails_that_member_only() -> None:
    flow = LIKED.batch("target_id", window="1h", collect={"doubled": "metadata.amount * 2"})
    assert batched(flow, amounts(1, "x", 3), "doubled", "count") == [(3, [2, 6], 2)]


def test_rule_23_values_are_those_of_the_moment_when_a_member_came() -> None:
    log = [
        *likes(("09:00:00", "ann", "p")),
        {"timestamp": "2026-01-01T09:01:00Z", "event": fd.entity_updated("user", "ann", {"name": "Anna"})},
        *likes(("09:02:00", "ann", "p")),
    ]
    flow = LIKED.resolve("source_id", as_="fan").batch(
        "target_id", window="1h", collect={"names": "fan.name"}
    )
    assert batched(flow, log, "names") == [(3, ["Ann", "Anna"])]


# -- max_count and quiet ------------------------------------------------------------------------------------


def test_rule_23_the_nth_member_closes_the_window_at_once() -> None:
    flow = LIKED.batch("target_id", window="1h", max_count=2)
    assert batched(flow, THREE, "count", "closed_by", "closed_at") == [
        (2, 2, "count", "2026-01-01T09:01:00Z"),
        (3, 1, "end", "2026-01-01T10:02:00Z"),
    ]


def test_rule_23_a_window_closes_when_no_member_came_for_so_long() -> None:
    log = likes(
        ("09:00:00", "ann", "p"), ("09:09:59", "bob", "p"), ("09:19:59", "eve", "p"), ("10:00:00", "ann", "q")
    )
    flow = LIKED.batch("target_id", quiet="10m")
    assert batched(flow, log, "count", "closed_by", "closed_at") == [
        (2, 2, "quiet", "2026-01-01T09:19:59Z"),
        (3, 1, "quiet", "2026-01-01T09:29:59Z"),
        (4, 1, "end", "2026-01-01T10:10:00Z"),
    ]


def test_rule_23_of_window_and_quiet_the_earlier_closes() -> None:
    log = likes(*((f"09:{minute:02}:00", "ann", "p") for minute in range(0, 40, 4)), ("10:00:00", "bob", "q"))
    flow = LIKED.batch("target_id", window="15m", quiet="5m")
    assert batched(flow, log, "count", "closed_by", "closed_at")[:3] == [
        (4, 4, "timer", "2026-01-01T09:15:00Z"),
        (8, 4, "timer", "2026-01-01T09:31:00Z"),
        (10, 2, "quiet", "2026-01-01T09:41:00Z"),
    ]


def test_rule_23_closed_by_stands_in_the_tables_too() -> None:
    flow = LIKED.batch("target_id", quiet="30s", max_count=2).map(t="x").deliver("s")
    log = likes(
        ("09:00:00", "ann", "p"), ("09:00:10", "bob", "p"), ("09:01:00", "eve", "p"), ("09:03:00", "ann", "q")
    )
    assert fd.replay(flow, log)["s"]["closed_by"].tolist() == ["count", "quiet", "end"]


# -- spans that data say ------------------------------------------------------------------------------------


def test_rule_23_the_first_member_says_how_long_its_window_is() -> None:
    log = likes(
        ("09:00:00", "ann", "p"), ("09:04:00", "bob", "p"), ("09:05:00", "eve", "p"), ("10:00:00", "ann", "q"),
        wait=["5m", "1h", "10m", "1s"],
    )  # fmt: skip
    flow = LIKED.batch("target_id", window=var.metadata.wait)
    assert batched(flow, log, "count", "closed_at")[:2] == [
        (2, 2, "2026-01-01T09:05:00Z"),
        (3, 1, "2026-01-01T09:15:00Z"),
    ]


@pytest.mark.parametrize("wait", ["soon", 5, None, ...])
@pytest.mark.parametrize("option", ["window", "quiet"])
def test_rule_23_a_span_that_cannot_be_read_fails_its_context(option: str, wait: Any) -> None:
    log = likes(("09:00:00", "ann", "p"), ("09:00:01", "bob", "p"), wait=["1m", wait])
    flow = LIKED.batch("target_id", **{option: "metadata.wait"}).map(n=var.batch.count).deliver("s")
    result = fd.replay(flow, log)
    assert result["s"]["n"].tolist() == [1]
    assert result.errors["error"].tolist() == ["'metadata.wait' has no duration"]


# -- local moments ------------------------------------------------------------------------------------------


def test_rule_23_a_weekly_digest_closes_mondays_at_nine_in_the_zone_of_each_reader() -> None:
    people = {
        "ann": {"tz": "Europe/Berlin"},
        "bob": {"tz": "America/New_York"},
        "eve": {"tz": "Mars/Olympus"},
    }
    graph = fd.EntityGraph({"user": people})
    # a Friday; the clocks of Berlin go forward on Sunday
    log = [
        {"timestamp": f"2026-03-{day}T12:00:00Z", "event": fd.link_created("likes", "x", who)}
        for day, who in (("27", "ann"), ("27", "bob"), ("27", "eve"), ("28", "ann"), ("30", "eve"))
    ]
    log.append({"timestamp": "2026-04-30T12:00:00Z", "event": fd.entity_deleted("post", "z")})
    flow = (
        LIKED.resolve("target_id", as_="person")
        .batch("target_id", every="week", on="mon", at="09:00", tz=var.person.tz, default_tz="UTC")
        .map(n=var.batch.count, at=var.batch.closed_at)
        .deliver("s")
    )
    frame = fd.replay(flow, log, graph)["s"]
    assert list(zip(frame["recipient_id"], frame["n"], frame["at"], strict=True)) == [
        ("ann", 2, "2026-03-30T07:00:00Z"),
        ("eve", 1, "2026-03-30T09:00:00Z"),
        ("bob", 1, "2026-03-30T13:00:00Z"),
        ("eve", 1, "2026-04-06T09:00:00Z"),
    ]


def test_rule_23_a_member_at_the_very_moment_belongs_to_the_next_window() -> None:
    log = likes(("08:59:59", "ann", "p"), ("09:00:00", "bob", "p"), ("2026-01-02T10:00:00Z", "eve", "q"))
    flow = LIKED.batch("target_id", every="day", at="09:00")
    assert batched(flow, log, "count", "closed_at")[:2] == [
        (1, 1, "2026-01-01T09:00:00Z"),
        (2, 1, "2026-01-02T09:00:00Z"),
    ]


def test_rule_23_the_last_day_of_a_month_stands_for_days_that_it_lacks() -> None:
    log = [
        {"timestamp": at, "event": fd.link_created("likes", "ann", "p")}
        for at in ("2026-01-31T01:00:00Z", "2026-02-27T23:00:00Z", "2026-03-05T00:00:00Z")
    ]
    flow = LIKED.batch("target_id", every="month", on=31)
    assert batched(flow, log, "count", "closed_at")[0] == (2, 2, "2026-02-28T00:00:00Z")


def test_rule_23_a_zone_that_is_unknown_fails_its_context_without_a_default() -> None:
    log = likes(("09:00:00", "ann", "p"), ("09:00:01", "bob", "p"), tz=["UTC", "Mars/Olympus"])
    flow = LIKED.batch("target_id", every="hour", tz="metadata.tz").map(n=var.batch.count).deliver("s")
    result = fd.replay(flow, log)
    assert result["s"]["n"].tolist() == [1]
    assert result.errors["error"].tolist() == ["'metadata.tz' has no name of a time zone"]


# -- options that do not go together ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "batch needs what closes its windows"),
        ({"max_count": 3}, "batch needs what closes its windows"),
        ({"quiet": "0s"}, "batch: quiet is no time at all"),
        ({"window": "1h", "at": "09:00"}, "batch: at says nothing without every"),
        ({"window": "1h", "tz": "UTC"}, "batch: tz says nothing without every"),
        ({"every": "day", "on": "mon"}, "on='mon' does not fit to every='day'"),
        ({"every": "week", "on": 3}, "on=3 does not fit to every='week'"),
        ({"every": "fortnight"}, "batch: every 'fortnight' is not known"),
        ({"every": "day", "tz": "Europe/Berln"}, "'Europe/Berln' is not a time zone"),
        ({"every": "day", "tz": "UTC", "default_tz": "UTC"}, "default_tz is for a tz that data says"),
        ({"window": "1h", "max_count": 2, "min_count": 3}, "max_count=2 is below min_count=3"),
        ({"window": "1h", "max_count": 0}, "max_count"),
        ({"window": "wndow.x"}, "there is no variable 'wndow'"),
        ({"window": "1h", "collect": {}}, "batch: collect is {}"),
        ({"window": "1h", "collect": {"count": "source_id"}}, "every batch has a 'count' already"),
        ({"window": "1h", "collect": {"a b": "source_id"}}, "cannot name a variable"),
        ({"window": "1h", "collect": {"n": "fan.name"}}, "there is no variable 'fan'"),
        ({"window": "1h", "collect": {"n": "sum(metadata.n) + 1"}}, "there is no function 'sum'"),
        ({"window": "1h", "collect": {"n": "sum('a')"}}, "sum needs numbers"),
        ({"window": "1h", "collect": {"n": "sum()"}}, "sum takes an expression"),
        ({"window": "1h", "collect": {"n": ["a"]}}, "which is not an expression"),
        ({"window": "1h", "collect": {"n": "source_id ="}}, "batch: collect: n"),
    ],
)
def test_rule_23_options_that_make_no_sense_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(fd.FlowError) as caught:
        LIKED.batch("target_id", **options)
    assert message in str(caught.value)


def test_rule_23_an_aggregate_stands_alone() -> None:
    with pytest.raises(fd.FlowError, match="cannot be part of an expression"):
        _ = fn.sum(var.metadata.n) > 3
    with pytest.raises(fd.FlowError, match="a condition cannot be"):
        LIKED.where(fn.sum(var.metadata.n))
    with pytest.raises(fd.FlowError, match="'batch' has no 'total'"):
        LIKED.batch("target_id", window="1h").map(t="{{ batch.total }}")


# -- forms --------------------------------------------------------------------------------------------------

EVERYTHING = LIKED.batch(
    ["source_id", "link_type"], window="metadata.wait", quiet="10m", max_count=50, min_count=2,
    every="week", on="mon", at="09:00", tz=var.metadata.tz, default_tz="UTC",
    collect={"names": var.metadata.name, "total": fn.sum(var.metadata.amount * 2), "few": fn.min(var.metadata["odd key"])},
).named("all")  # fmt: skip


def test_rule_23_python_builds_an_equal_flow() -> None:
    scope: dict[str, Any] = {}
    exec(EVERYTHING.to_python(), scope)
    assert scope["flow"] == EVERYTHING
    assert "fn.sum(var.metadata.amount * 2)" in EVERYTHING.to_python()


def test_rule_23_yaml_has_the_same_words() -> None:
    loaded = fd.load("""
        name: all
        trigger: {kind: link.created}
        pipeline:
          - batch:
              key: [source_id, link_type]
              window: metadata.wait
              quiet: 10m
              max_count: 50
              min_count: 2
              every: week
              on: mon
              at: "09:00"
              tz: metadata.tz
              default_tz: UTC
              collect: {names: metadata.name, total: sum(metadata.amount * 2), few: 'min(metadata["odd key"])'}
    """)
    assert loaded.flows[0] == EVERYTHING


@pytest.mark.parametrize(
    ("options", "construct", "hint"),
    [
        ({"window": "5m", "max_count": 3}, "'max_count'", "batch('target_id', window='5m'): then a window closes by time only"),
        ({"quiet": "5m"}, "'quiet'", "window='5m'): such a window closes so long after its first context"),
        ({"every": "day"}, "'every'", "window='24h'): such a window is counted from its first context"),
        ({"window": "metadata.wait"}, "one window, and here 'metadata.wait' gives it", "then the window is as long for all"),
        ({"window": "5m", "collect": {"a": "source_id"}}, "'collect'", "the ids of its contexts only, in items"),
    ],
)  # fmt: skip
def test_rule_23_production_refuses_each_with_what_comes_nearest(
    options: dict[str, Any], construct: str, hint: str
) -> None:
    with pytest.raises(fd.ExportError) as caught:
        LIKED.batch("target_id", **options).map(t="x").deliver("s").to_yaml()
    assert construct in str(caught.value)
    assert hint in str(caught.value)


def test_rule_23_production_refuses_two_keys_and_what_the_batch_has_only_here() -> None:
    with pytest.raises(fd.ExportError, match="has one key, and here are 2"):
        LIKED.batch(["source_id", "target_id"], window="5m").map(t="x").deliver("s").to_yaml()
    with pytest.raises(fd.ExportError, match="batch has no 'closed_by'"):
        LIKED.batch("target_id", window="5m").map(t="{{ batch.closed_by }}").deliver("s").to_yaml()


# -- explanations -------------------------------------------------------------------------------------------


def test_rule_23_why_says_what_closed_the_window_and_what_was_collected() -> None:
    flow = (
        LIKED.resolve("source_id", as_="fan")
        .batch("target_id", quiet="10m", max_count=2, collect={"names": "fan.name"})
        .map(recipient_id="z", t="x")
        .deliver("s")
    )
    result = fd.replay(flow, THREE, GRAPH)
    absorbed, last = (str(result.why(event, "z")).replace("\n", " ") for event in (1, 2))
    assert "since it was full with 2 contexts and went on as event 2" in absorbed
    assert 'when its window was full; names is ["Ann", "Bob"]' in last
    assert "when its window was full" in str(result.explain(2))


# -- members ------------------------------------------------------------------------------------------------


def members(result: fd.Result) -> list[tuple[Any, ...]]:
    return [
        tuple(None if v != v else v for v in row) for row in result.members.itertuples(index=False, name=None)
    ]


def test_rule_23_members_say_into_which_batch_each_context_went_and_what_came_of_it() -> None:
    flow = LIKED.batch("target_id", window="5m").map(title="x").deliver("a", "b").named("f")
    log = likes(*[(f"09:0{n}:00", "ann", what) for n, what in enumerate(["p", "q", "p", "p"])])
    rows = fd.replay(flow, log).members.drop(columns="delivered_at")
    assert rows.columns.tolist() == [
        "flow",
        "step",
        "seq_no",
        "branch",
        "batch_seq_no",
        "batch_branch",
        "deliveries",
    ]
    assert rows[["flow", "step", "seq_no", "batch_seq_no", "deliveries"]].values.tolist() == [
        ["f", 0, 2, 2, 2],
        ["f", 0, 1, 4, 2],
        ["f", 0, 3, 4, 2],
        ["f", 0, 4, 4, 2],
    ]


def test_rule_23_members_of_branches_and_the_deliveries_of_branches_that_a_batch_makes() -> None:
    posts = [
        {"timestamp": f"2026-01-01T09:0{n}:00Z", "event": fd.entity_created("post", f"p{n}", {"who": who, "to": ["x", "y"]})}
        for n, who in enumerate([["ann", "bob"], ["bob"]])
    ]  # fmt: skip
    flow = (
        on("entity.created")
        .for_each("data.who", as_="who")
        .batch("who", window="1h")
        .for_each("data.to", as_="to")
        .map(recipient_id="{{ to }}")
        .deliver("s")
        .named("f")
    )
    rows = fd.replay(flow, posts).members
    found = rows[["seq_no", "branch", "batch_seq_no", "batch_branch", "deliveries"]].values.tolist()
    assert found == [[1, "0", 1, "0", 2], [1, "1", 2, "0", 2], [2, "0", 2, "0", 2]]


def test_rule_23_batches_that_are_not_delivered_and_windows_that_are_open_or_too_small() -> None:
    dropped = (
        LIKED.batch("target_id", window="5m").where("batch.count > 5").map(t="x").deliver("s").named("f")
    )
    assert fd.replay(dropped, THREE).members[["seq_no", "deliveries"]].values.tolist() == [
        [1, 0],
        [2, 0],
        [3, 0],
    ]
    small = LIKED.batch("target_id", window="5m", min_count=5).map(t="x").deliver("s")
    assert members(fd.replay(small, THREE)) == []
    assert (
        members(
            fd.replay(
                LIKED.batch("target_id", window="5m").map(t="x").deliver("s"), THREE, open_windows="keep"
            )
        )
        == []
    )


def test_rule_23_every_member_that_is_absorbed_is_among_the_members() -> None:
    flow = (
        LIKED.batch("target_id", quiet="1m", max_count=2).map(t="{{ batch.count }}").deliver("s").named("f")
    )
    result = fd.replay(flow, THREE)
    by_batch = result.members.groupby("batch_seq_no").size().to_dict()
    assert by_batch == {row.seq_no: int(row.t) for row in result["s"].itertuples()}
    step = result.steps.iloc[0]
    assert len(result.members) == step["absorbed"] + step["passed"]


def test_rule_23_a_result_that_was_read_back_says_that_it_has_no_members(tmp_path: Any) -> None:
    fd.replay(LIKED.batch("target_id", window="5m").map(t="x").deliver("s"), THREE).to_parquet(tmp_path / "r")
    with pytest.raises(fd.ReplayError, match=r"read back has no members(.|\n)*hint: replay again"):
        fd.read_result(tmp_path / "r").members  # noqa: B018


@pytest.mark.parametrize("chunk_size", [1, 2, None])
@pytest.mark.parametrize(
    ("options", "closed_by"),
    [
        ({"window": "1h"}, "timer"),
        ({"quiet": "1h"}, "quiet"),
        ({"every": "day", "tz": "Asia/Tokyo"}, "timer"),
    ],
)
def test_rule_23_windows_before_1970_close_when_they_are_due(
    options: Any, closed_by: str, chunk_size: int | None
) -> None:
    days = ["1965-05-01T09:00:00Z", "1965-05-01T09:30:00Z", "1965-05-02T09:00:00Z"]
    log = [{"timestamp": day, "event": fd.link_created("likes", n, "p")} for n, day in enumerate(days)]
    flow = LIKED.batch("target_id", **options)
    found = batched(flow, log, "count", "closed_by", chunk_size=chunk_size)
    assert found == [(2, 2, closed_by), (3, 1, "end")]


def test_rule_23_a_batch_that_failed_runs_again_whole_with_its_members() -> None:
    flow = (
        on("link.created", name="f")
        .batch("target_id", window="5m")
        .map(n="{{ batch.count / metadata.zero }}")
    )
    log = likes(*((f"00:00:0{n}", who, "p") for n, who in enumerate(("ann", "bob", "eve"))))
    failed = fd.replay(flow.deliver("feed"), log)
    members = failed.members[failed.members["batch_seq_no"].isin(failed.errors["seq_no"])]
    again = fd.replay(flow.deliver("feed"), log, only=members)
    assert failed.errors["seq_no"].tolist() == [3]
    assert again.errors["variables"].tolist() == failed.errors["variables"].tolist()
