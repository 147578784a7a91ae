"""Sinks in a replay: what recipients want is honoured, and with dispatch=True everything is handed over, in order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import flowdsl as fd
from flowdsl import on
from flowdsl.sinks import Counter, Custom, Delivery, Frame, InApp, Sink
from flowdsl.sinks.base import Outcome
from tests.event_tables import counts, drops, log_of

LIKES = log_of("""
    at | source | target
     0 | ann    | bob
     1 | eve    | ann
     2 | bob    | eve
     3 | ann    | bob
""")  # fmt: skip
TELL = (
    on("link.created", name="tell").map(title="{{ source_id }}", notification_type="like").deliver("in-app")
)
BOTH = on("link.created", name="both").map(title="{{ source_id }}").deliver("in-app", "push")


def muted(*recipients: str, **out: str) -> InApp:
    in_app = InApp()
    for recipient in recipients:
        in_app.mute(recipient)
    for recipient, kind in out.items():
        in_app.opt_out(recipient, kind)
    return in_app


def reached(result: fd.Result, sink: str) -> list[tuple[int, str]]:
    return list(result[sink][["seq_no", "recipient_id"]].itertuples(index=False, name=None))


def refused(result: fd.Result) -> list[tuple[str, int, str, int]]:
    assert set(result.refused["reason"]) <= {"preference"}
    return list(result.refused.drop(columns="reason").itertuples(index=False, name=None))


# -- preferences -------------------------------------------------------------------------------------------


def test_who_muted_or_opted_out_gets_nothing_and_is_counted():
    result = fd.replay(TELL, LIKES, sinks={"in-app": muted("bob", eve="like", ann="digest")})
    assert reached(result, "in-app") == [(2, "ann")]
    assert drops(result) == {"preference": 3}
    assert counts(result, 1) == {"entered": 4, "passed": 1, "dropped": 3}
    assert refused(result) == [("tell", 1, "in-app", 3)]
    assert "3 deliveries held back by preferences: result.refused" in repr(result)
    assert len(result) == 1


def test_without_the_sinks_nobody_is_asked():
    assert len(fd.replay(TELL, LIKES)) == 4
    assert len(fd.replay(TELL, LIKES, sinks={"in-app": Frame()})) == 4


def test_what_one_sink_refuses_reaches_the_others():
    result = fd.replay(BOTH, LIKES, sinks={"in-app": muted("bob"), "push": muted("eve")})
    assert reached(result, "in-app") == [(2, "ann"), (3, "eve")]
    assert reached(result, "push") == [(1, "bob"), (2, "ann"), (4, "bob")]
    assert drops(result) == {}
    assert refused(result) == [("both", 1, "in-app", 2), ("both", 1, "push", 1)]
    shown = list(result.deliveries[["seq_no", "sink"]].itertuples(index=False, name=None))
    assert shown == [(1, "push"), (2, "in-app"), (2, "push"), (3, "in-app"), (4, "push")]


def test_what_no_sink_takes_still_goes_to_a_later_deliver():
    two = on("link.created").map(title="x").deliver("in-app").map(title="y").deliver("audit")
    result = fd.replay([two, TELL], LIKES, sinks={"in-app": muted("bob"), "audit": Frame()})
    assert [seq for seq, _ in reached(result, "audit")] == [1, 2, 3, 4]
    # of the flow that ends at its only deliver, what is refused ends there
    assert drops(result) == {"preference": 2}
    alone = fd.replay(two, LIKES, sinks={"in-app": muted("bob"), "audit": Frame()})
    assert drops(alone) == {}
    last = fd.replay(two, LIKES, sinks={"in-app": Frame(), "audit": muted("bob")})
    assert (drops(last), counts(last, 3)["dropped"]) == ({"preference": 2}, 2)


def test_flows_that_share_their_first_steps_end_as_they_do_alone():
    start = on("link.created").map(title="x").deliver("in-app")
    longer = start.map(title="y").deliver("audit").named("longer")
    sinks = {"in-app": muted("bob"), "audit": Frame()}
    together = fd.replay([start.named("short"), longer], LIKES, sinks=sinks)
    for flow in (start.named("short"), longer):
        alone = fd.replay(flow, LIKES, sinks=sinks)
        steps = together.steps[together.steps["flow"] == flow.name].drop(columns="seconds")
        pd.testing.assert_frame_equal(steps.reset_index(drop=True), alone.steps.drop(columns="seconds"))


def test_explain_says_who_was_held_back():
    sinks = {"in-app": muted("bob"), "push": muted("eve", "bob")}
    result = fd.replay(BOTH, LIKES, sinks=sinks)
    ends = [result.explain(seq).steps[-1] for seq in (1, 2, 3)]
    assert [(end.outcome, end.reason, end.sinks) for end in ends] == [
        ("dropped", "preference", ()),
        ("delivered", None, ("in-app", "push")),
        ("delivered", None, ("in-app",)),
    ]


def test_a_trace_and_a_result_on_disk_have_preferences_too(tmp_path: Path):
    result = fd.replay(BOTH, LIKES, sinks={"in-app": muted("bob"), "push": muted("bob", "eve")}, trace=True)
    assert result.dropped[["seq_no", "reason"]].values.tolist() == [[1, "preference"], [4, "preference"]]
    result.to_parquet(tmp_path / "r")
    again = fd.read_result(tmp_path / "r")
    assert refused(again) == refused(result)
    pd.testing.assert_frame_equal(again.deliveries, result.deliveries)
    straight = fd.replay(
        BOTH, LIKES, sinks={"in-app": muted("bob"), "push": muted("bob", "eve")}, out=tmp_path / "s"
    )
    pd.testing.assert_frame_equal(straight.deliveries, result.deliveries)


def test_production_honours_preferences_as_well():
    ids = {name: f"00000000-0000-0000-0000-00000000000{n}" for n, name in enumerate(("ann", "bob", "eve"), 1)}
    log = [
        {**e, "event": {**e["event"], **{k: ids[e["event"][k]] for k in ("source_id", "target_id")}}}
        for e in LIKES
    ]
    result = fd.replay(TELL, log, target="this-rs", sinks={"in-app": muted(ids["bob"])})
    assert [seq for seq, _ in reached(result, "in-app")] == [2, 3]
    assert drops(result) == {"preference": 2}


@given(
    mute=st.sets(st.sampled_from(["ann", "bob", "eve"])),
    out=st.sets(st.tuples(st.sampled_from(["ann", "bob", "eve"]), st.sampled_from(["a", "b", "generic"]))),
    events=st.lists(
        st.tuples(st.sampled_from(["ann", "bob", "eve"]), st.sampled_from(['"a"', '"b"', "null", "7", ""])),
        min_size=1, max_size=20,
    ),
    chunk_size=st.integers(1, 7),
)  # fmt: skip
def test_preferences_are_those_of_a_plain_reading(
    mute: set[str], out: set[tuple[str, str]], events: list[tuple[str, str]], chunk_size: int
):
    rows = [
        f"{n} | {who} | " + (f'{{"k": {kind}}}' if kind else "{}") for n, (who, kind) in enumerate(events)
    ]
    log = log_of("\n".join(["at | target | data", *rows]))
    in_app = muted(*mute)
    for who, kind in out:
        in_app.opt_out(who, kind)
    flow = on("link.created").map(title="x", notification_type=fd.var.metadata.k).deliver("in-app")
    result = fd.replay(flow, log, sinks={"in-app": in_app}, chunk_size=chunk_size)
    said = {'"a"': "a", '"b"': "b", "null": "generic", "7": "7"}
    expected = [
        n
        for n, (who, kind) in enumerate(events, 1)
        # without the field the map fails
        if kind and who not in mute and (who, said[kind]) not in out
    ]
    assert [seq for seq, _ in reached(result, "in-app")] == expected


# -- dispatch ----------------------------------------------------------------------------------------------


class Taking(Sink):
    """Takes what it gets, in one list with the other sinks of a test."""

    type = "custom"

    def __init__(self, taken: list[tuple[str, int, str | None]]) -> None:
        self._taken = taken
        self.deliveries: list[Delivery] = []

    def deliver(self, deliveries: Sequence[Delivery]) -> Sequence[Outcome]:
        self.deliveries += deliveries
        self._taken += [(one.sink, one.seq_no, one.branch) for one in deliveries]
        return [None] * len(deliveries)


def test_a_replay_that_only_asks_for_preferences_leaves_no_file(tmp_path: Path):
    path = tmp_path / "n.sqlite"
    assert len(fd.replay(TELL, LIKES, sinks={"in-app": InApp(path)})) == 4
    assert list(tmp_path.iterdir()) == []
    with InApp(path) as in_app:
        in_app.mute("bob")
    assert len(fd.replay(TELL, LIKES, sinks={"in-app": InApp(path)})) == 2


def test_nothing_leaves_a_replay_that_does_not_say_so():
    frame = Frame()
    fd.replay(TELL, LIKES, sinks={"in-app": frame})
    assert len(frame) == 0


def test_every_delivery_is_handed_over_once_in_the_total_order():
    graph = fd.EntityGraph(
        links=[{"link_type": "follows", "source_id": s, "target_id": "bob"} for s in ("x", "y")]
    )
    flows = [
        on("link.created", name="fan").fan_out("target_id", via="follows", direction="reverse", as_="f")
        .map(title="{{ f }}").deliver("s"),
        on("link.created", name="batch").batch("target_id", window="2s").map(title="{{ batch.count }}").deliver("s"),
        on("link.created", name="plain").map(title="t").deliver("s"),
    ]  # fmt: skip
    whole = fd.replay(flows, LIKES, graph)
    columns = ["seq_no", "flow", "branch"]
    expected = whole["s"][columns].astype(object).where(whole["s"][columns].notna(), None).values.tolist()
    for chunk_size in (1, 2, 3, 100):
        sink = Taking([])
        result = fd.replay(flows, LIKES, graph, sinks={"s": sink}, dispatch=True, chunk_size=chunk_size)
        assert [[d.seq_no, d.flow, d.branch] for d in sink.deliveries] == expected
        assert len({d.key for d in sink.deliveries}) == len(expected)
        pd.testing.assert_frame_equal(result.deliveries, whole.deliveries)
        assert result.undelivered.empty


def test_a_delivery_says_where_it_comes_from():
    log = log_of("""
        at | kind           | type | id | data
         5 | entity.created | post | p1 | {"author": "ann"}
    """)  # fmt: skip
    flow = (
        on("entity.created", name="f").map(recipient_id="{{ data.author }}", n=[1, {"a": None}]).deliver("s")
    )
    sink = Taking([])
    result = fd.replay(flow, log, sinks={"s": sink}, dispatch=True)
    (got,) = sink.deliveries
    row = result["s"].iloc[0]
    assert got.payload == {"recipient_id": "ann", "n": [1, {"a": None}]}
    assert (got.recipient, got.sink, got.flow, got.step, got.branch) == ("ann", "s", "f", 1, None)
    assert (got.seq_no, got.event_id, got.entity_type, got.entity_id) == (1, "e1", "post", "p1")
    assert (got.event_time, got.delivered_at) == (row["event_time"], row["delivered_at"])
    assert len(got.key) == 32


def test_keys_stay_the_same_and_differ_between_deliveries(tmp_path: Path):
    first, second = Taking([]), Taking([])
    fd.replay(BOTH, LIKES, sinks={"in-app": first, "push": first}, dispatch=True)
    fd.replay(BOTH, LIKES, sinks={"in-app": second, "push": second}, dispatch=True, chunk_size=1)
    assert {d.key for d in first.deliveries} == {d.key for d in second.deliveries}
    assert len({d.key for d in first.deliveries}) == 8


def test_two_flows_of_one_name_are_not_taken_for_one():
    in_app, sink = InApp(), Taking([])
    fd.replay([TELL, TELL], LIKES, sinks={"in-app": in_app}, dispatch=True)
    assert in_app.total("bob") == 4
    fd.replay([TELL, TELL, TELL.named("tell #2")], LIKES, sinks={"in-app": sink}, dispatch=True)
    assert len({d.key for d in sink.deliveries}) == 12
    assert {d.flow for d in sink.deliveries} == {"tell", "tell #2", "tell #3"}


def test_a_live_run_gives_the_keys_of_a_replay():
    log = fd.MemoryEventLog()
    flows = [
        TELL,
        on("link.created", name="batch").batch("target_id", window="2s").map(title="x").deliver("in-app"),
    ]
    for event in LIKES:
        log.append(event, timestamp=event["timestamp"])
    live, replayed = Taking([]), Taking([])
    fd.Runtime(flows, log, sinks={"in-app": live}).run_until_idle("beginning")
    fd.replay(flows, log, sinks={"in-app": replayed}, dispatch=True, open_windows="keep")
    assert [d.key for d in live.deliveries] == [d.key for d in replayed.deliveries]
    assert live.deliveries == replayed.deliveries


def test_a_replay_dispatched_twice_notifies_once():
    in_app = InApp()
    for _ in range(2):
        fd.replay(TELL, LIKES, sinks={"in-app": in_app}, dispatch=True)
    assert in_app.total("bob") == 2


def test_counters_count_the_entities_of_events():
    log = log_of("""
        at | kind           | type | id | data
         0 | entity.created | post | p1 | {}
         1 | entity.updated | post | p1 | {}
         2 | entity.updated | post | p2 | {}
    """)  # fmt: skip
    flow = on("entity.updated").map(note="x").deliver("edits")
    edits = Counter(field="edits")
    fd.replay(flow, log, sinks={"edits": edits}, dispatch=True)
    assert edits.values()[["entity_id", "value"]].values.tolist() == [["p1", 1], ["p2", 1]]


def test_what_cannot_be_delivered_is_told_and_the_rest_arrives(tmp_path: Path):
    def picky(delivery: Delivery) -> None:
        if delivery.payload["title"] == "ann":
            raise ValueError("not ann")

    other = Taking([])
    sinks = {"in-app": Custom(picky), "push": other}
    result = fd.replay(BOTH, LIKES, sinks=sinks, dispatch=True, out=tmp_path / "r")
    assert len(other.deliveries) == 4
    assert "2 deliveries could not be made: result.undelivered" in repr(result)
    expected = [[1, "in-app", "ValueError: not ann"], [4, "in-app", "ValueError: not ann"]]
    assert result.undelivered[["seq_no", "sink", "error"]].values.tolist() == expected
    again = fd.read_result(tmp_path / "r").undelivered
    assert again["key"].tolist() == [d.key for d in _in_app_keys(expected)]
    assert again["payload"].tolist() == ['{"title":"ann"}'] * 2
    assert len(result) == 8


def _in_app_keys(rows: list[list[Any]]) -> list[Delivery]:
    sink = Taking([])
    fd.replay(BOTH, LIKES, sinks={"in-app": sink, "push": Frame()}, dispatch=True)
    return [d for d in sink.deliveries if d.seq_no in {row[0] for row in rows}]


def test_a_sink_that_breaks_fails_its_own_deliveries_only():
    class Broken(Taking):
        def deliver(self, deliveries: Sequence[Delivery]) -> Sequence[Outcome]:
            raise RuntimeError("gone")

    other = Taking([])
    result = fd.replay(BOTH, LIKES, sinks={"in-app": Broken([]), "push": other}, dispatch=True)
    assert result.undelivered["error"].tolist() == ["RuntimeError: gone"] * 4
    assert len(other.deliveries) == 4


def test_preferences_keep_dispatched_deliveries_back_too():
    in_app, push = muted("bob"), Taking([])
    fd.replay(BOTH, LIKES, sinks={"in-app": in_app, "push": push}, dispatch=True)
    assert (in_app.total("bob"), in_app.total("ann"), len(push.deliveries)) == (0, 1, 4)


def test_an_event_that_is_explained_is_not_sent_again():
    frame = Frame()
    result = fd.replay(TELL, LIKES, sinks={"in-app": frame}, dispatch=True)
    assert result.explain(1).steps[-1].outcome == "delivered"
    assert len(frame) == 4


@pytest.mark.parametrize(
    ("run", "said"),
    [
        (lambda: fd.replay(TELL, LIKES, dispatch=True), "dispatch=True without sinks"),
        (lambda: fd.replay(TELL, LIKES, sinks={"in-app": print}, dispatch=True), "Custom\\(function\\)"),
        (lambda: fd.replay(TELL, LIKES, sinks={"in-app": None}, dispatch=True), "the sink 'in-app' is a NoneType"),
        (lambda: fd.replay(TELL, LIKES, sinks={"in_app": Frame()}, dispatch=True), "did you mean 'in_app'"),
        (
            lambda: fd.replay(TELL, LIKES, sinks={"in-app": InApp("none/such.sqlite")}, dispatch=True),
            "cannot be opened",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_dispatched_is_refused_before_anything_runs(run: Callable[[], object], said: str):
    with pytest.raises(fd.FlowError, match=said):
        run()
