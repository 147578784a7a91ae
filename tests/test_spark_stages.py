"""What runs in the tasks of a cluster gives what one machine gives, however log and keys are cut."""

from __future__ import annotations

import importlib.util
import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracle.comparing import bytes_of, said_by_engine
from oracle.values import moment_text
from stages_in_process import InProcess
from strategies import SECOND, SLIPS_ARE_LIKELY, START, Case, cases
from test_properties import assert_same, graph_of, interpreted, windows
from test_this_rs_golden import RECORDED, assert_replayed, scenarios
from test_this_rs_properties import loaded
from this_rs_strategies import ProductionCase, production_cases

import flowdsl as fd
from flowdsl.flow.plan import Plan
from flowdsl.graph.state import GraphState
from flowdsl.spark import job
from flowdsl.spark.blocks import EVENTS, NUMBERS
from flowdsl.spark.cluster_run import ClusterRun
from flowdsl.spark.executors import GateExecutor
from flowdsl.spark.layout import Layout
from flowdsl.spark.tasks import ShardStage

pytestmark = [
    SLIPS_ARE_LIKELY,
    # the stages run without Spark, but what is sent to tasks is made by its package
    pytest.mark.skipif(importlib.util.find_spec("pyspark") is None, reason="pyspark is not installed"),
]
engines = st.builds(
    InProcess,
    st.integers(1, 5),
    st.sampled_from([1, 2, 3, 100]),
    st.sampled_from([0, 1000]),
    st.sampled_from([-1, 1000]),
    st.sampled_from([1, 1000]),
    in_place=st.booleans(),
)


def replayed(case: Case, engine: Any = "local", **options: Any) -> fd.Result:
    return fd.replay(case.flows, case.world.events, graph_of(case), caps=case.caps, engine=engine, **options)


def assert_same_result(found: fd.Result, local: fd.Result) -> None:
    """All tables byte for byte, and all that the manifest says but how long it took."""
    assert_same(bytes_of(found), bytes_of(local))
    there, here = dict(found.manifest), dict(local.manifest)
    for manifest in (there, here):
        manifest["steps"] = [{**step, "seconds": 0} for step in manifest["steps"]]
    assert_same(there, here)


@given(case=cases(), engine=engines, keep=st.booleans(), chunk=st.sampled_from([1, 2, 5, None]))
def test_the_stages_say_what_the_rules_say(
    case: Case, engine: InProcess, keep: bool, chunk: int | None
) -> None:
    result = replayed(case, engine, open_windows=windows(keep), chunk_size=chunk)
    assert_same(said_by_engine(result, case.flows), interpreted(case, keep=keep))
    assert_same_result(result, replayed(case, open_windows=windows(keep)))


@given(case=cases(), engine=engines, trace=st.booleans(), first=st.integers(0, 16), last=st.integers(0, 16))
def test_a_stretch_of_the_log_is_what_it_is_on_one_machine(
    case: Case, engine: InProcess, trace: bool, first: int, last: int
) -> None:
    numbers = [event["seq_no"] for event in case.world.events]
    span = {"start": numbers[min(first, len(numbers) - 1)], "stop": numbers[min(last, len(numbers) - 1)]}
    assert_same_result(replayed(case, engine, trace=trace, **span), replayed(case, trace=trace, **span))


@given(case=cases(), engine=engines, trace=st.booleans())
def test_rule_06_the_final_graph_is_that_of_one_machine(case: Case, engine: InProcess, trace: bool) -> None:
    options = {"as_of": "end", "trace": trace}
    assert_same_result(replayed(case, engine, **options), replayed(case, **options))


def test_a_window_of_no_time_closes_before_the_next_event_of_the_log_whichever_shard_has_it() -> None:
    moment = {"timestamp": "2026-01-01T00:00:00Z"}
    events = [{**moment, "event": fd.link_created("likes", f"u{number}", "p")} for number in range(4)]
    events.append({**moment, "event": fd.link_deleted("likes", "u0", "p")})
    flow = fd.on("link.created").batch("target_id", window="0s").map(n="{{ batch.count }}").deliver("push")
    found = fd.replay(flow, events, engine=InProcess(3, 2))
    assert found["push"]["closed_by"].to_list() == ["timer"] * 4
    assert_same_result(found, fd.replay(flow, events))


@given(case=cases(), engine=engines)
def test_rule_19_failed_events_run_again_as_of_their_place_in_the_log(case: Case, engine: InProcess) -> None:
    errors = replayed(case).errors
    assert_same_result(replayed(case, engine, only=errors), replayed(case, only=errors))


@given(
    case=cases(),
    engine=engines,
    marks=st.lists(st.tuples(st.integers(0, 16), st.integers(0, 40)), max_size=3),
    ahead=st.sets(st.integers(1, 16), max_size=2),
    keep=st.booleans(),
)
def test_rule_03_marks_of_a_live_run_move_the_clock_of_all_parts(
    case: Case, engine: InProcess, marks: list[tuple[int, int]], ahead: set[int], keep: bool
) -> None:
    log = fd.MemoryEventLog()
    log.append([{**event, "seq_no": None} for event in case.world.events])
    for after, ticks in sorted((min(after, log.last_seq_no()), ticks) for after, ticks in marks):
        log.mark_clock(moment_text(START + ticks * SECOND // 4), after)
    for number in sorted(ahead):
        if number <= log.last_seq_no():
            log.mark_ahead([number], moment_text(START + number * SECOND // 4))
    options = {"caps": case.caps, "open_windows": windows(keep)}
    found = fd.replay(case.flows, log, graph_of(case), engine=engine, **options)
    assert_same_result(found, fd.replay(case.flows, log, graph_of(case), **options))


@given(case=production_cases(), engine=engines, chunk=st.sampled_from([1, 3, None]))
def test_the_stages_do_what_production_does(
    case: ProductionCase, engine: InProcess, chunk: int | None
) -> None:
    options = {"target": "this-rs", "chunk_size": chunk}
    graph = fd.EntityGraph(case.entities, case.links)
    found = fd.replay(loaded(case), case.events, graph, engine=engine, **options)
    assert_same_result(found, fd.replay(loaded(case), case.events, graph, **options))


@pytest.mark.parametrize("name", RECORDED)
def test_recorded_runs_of_production_have_no_difference(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    replay = fd.replay
    monkeypatch.setattr(fd, "replay", lambda *args, **more: replay(*args, engine=InProcess(3, 2), **more))
    for scenario in scenarios(name)[::9]:
        assert_replayed(scenario)


# -- where steps run -------------------------------------------------------------------------------------


def gates(flow: fd.Flow) -> list[str]:
    return [gate.text for gate in Layout.of(Plan.of([flow])).gates.values()]


LIKES = fd.on("link.created")
POSTED = fd.on("entity.created", entity_type="post")
REACHED = POSTED.fan_out("data.author", via="follows", direction="reverse", as_="fan")


@pytest.mark.parametrize(
    ("flow", "text"),
    [
        (LIKES.deduplicate("source_id", window="1h"), "source_id"),
        (LIKES.deduplicate(["source_id", "target_id"], window="1h").batch("target_id", window="1h"), "target_id"),
        (LIKES.deduplicate("source_id", window="1h").batch("target_id", window="1h"), "one ordered shard"),
        (LIKES.rate_limit(1, per="1h"), "one ordered shard"),
        (LIKES.wait("1h"), "the event"),
        (LIKES.wait("1h").cap(1, per="day", key="target_id"), "target_id"),
        # the owner of then is another variable than the one of before
        (
            LIKES.resolve("target_id", as_="owner").wait("1h").resolve("source_id", as_="owner").cap(1, per="day", key="owner.id"),
            "one ordered shard",
        ),
        (LIKES.batch("target_id", window="1h").cap(1, per="day", key="batch.key"), "one ordered shard"),
    ],
)  # fmt: skip
def test_steps_that_remember_are_shared_out_by_what_all_their_keys_have_in_common(
    flow: fd.Flow, text: str
) -> None:
    assert gates(flow) == [text]


def test_a_flow_without_memory_has_no_shards() -> None:
    assert gates(LIKES.map(title="hello").deliver("push")) == []


def test_a_graph_goes_to_another_process_as_it_is() -> None:
    graph = fd.EntityGraph(
        {"user": {"ann": {"name": "Ann"}, "bob": None}, "post": {"ann": {"n": 1}}},
        [
            {"link_type": "likes", "source_id": "ann", "target_id": "bob", "link_id": "l1", "metadata": {"n": 1}},
            {"link_type": "likes", "source_id": "bob", "target_id": "ann"},
        ],
        merge=["user"],
    )  # fmt: skip
    there = pickle.loads(pickle.dumps(graph))
    assert repr(there) == repr(graph)
    flow = (
        LIKES.resolve("target_id", as_="user", type="user")
        .fan_out("source_id", via="likes", as_="friend")
        .map(
            name="{{ user.name }}", friend=fd.var.friend_id, said=fd.fn.first_link(fd.var.source_id, "likes")
        )
        .deliver("push")
    )
    log = [
        {"timestamp": "2026-01-01T00:00:00Z", "event": fd.link_created("likes", "ann", "bob", link_id="l1")}
    ]
    assert fd.replay(flow, log, there).deliveries.equals(fd.replay(flow, log, graph).deliveries)


def test_ids_of_parts_do_not_pile_up_in_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[fd.EntityGraph] = []
    restore = fd.EntityGraph.__setstate__

    def counted(self: fd.EntityGraph, fields: dict[str, Any]) -> None:
        started.append(self)
        restore(self, fields)

    monkeypatch.setattr(fd.EntityGraph, "__setstate__", counted)
    log = [
        {"timestamp": "2026-01-01T00:00:00Z", "event": fd.link_created("likes", f"u{n}", f"p{n}")}
        for n in range(24)
    ]
    flow = LIKES.resolve("source_id", as_="who", required=False).map(a="{{ source_id }}").deliver("push")
    local = fd.replay(flow, log)
    for most, graphs in [(1000, 1), (5, 4)]:
        monkeypatch.setattr(job, "MOST_NEW_IDS", most)
        started.clear()
        assert_same_result(fd.replay(flow, log, engine=InProcess(4, 5)), local)
        assert len(started) == graphs


def test_links_of_shards_do_not_pile_up_in_a_process() -> None:
    ids = [f"u{n}" for n in range(8)]
    graph = fd.EntityGraph(
        {"user": {one: {} for one in ids}},
        [{"link_type": "follows", "source_id": one, "target_id": "u0"} for one in ids[1:]],
    )
    log = [
        {"timestamp": "2026-01-01T00:00:00Z", "event": fd.link_created("follows", ids[n % 8], ids[n * 3 % 8])}
        for n in range(40)
    ]
    flow = (
        LIKES.fan_out("target_id", via="follows", direction="reverse", as_="fan").map(a="b").deliver("push")
    )
    found = fd.replay(flow, log, graph, engine=InProcess(4, 5, most_links=-1))
    assert_same_result(found, fd.replay(flow, log, graph))
    (started,) = job._GRAPHS.values()
    assert started.new_ids == 0


@pytest.mark.parametrize("partitions", [1, 2, 5])
def test_windows_that_stay_open_are_in_the_order_in_which_they_opened(partitions: int) -> None:
    log = [
        {"timestamp": "2026-01-01T00:00:00Z", "event": fd.link_created("likes", f"u{n}", f"p{n * 7 % 12}")}
        for n in range(24)
    ]
    for flow in (LIKES.batch("target_id", window="1h"), LIKES.wait("1h"), LIKES.rate_limit(1, per="1h", strategy="queue", key="target_id")):  # fmt: skip
        ends = flow.map(a="b").deliver("push")
        found = fd.replay(ends, log, engine=InProcess(partitions, 5), open_windows="keep")
        assert_same_result(found, fd.replay(ends, log, open_windows="keep"))
        assert len(found.open)


@pytest.mark.parametrize(("most_sent", "as_numbers"), [(1000, 4), (0, 0)])
def test_a_chunk_goes_to_a_shard_as_one_row(
    most_sent: int, as_numbers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    came: list[str] = []
    run = ShardStage.__call__

    def counted(self: ShardStage, batches: Any) -> Any:
        rows = list(batches)
        came.extend(name for batch in rows for name in batch.column("name").to_pylist())
        return run(self, rows)

    monkeypatch.setattr(ShardStage, "__call__", counted)
    likes = [fd.link_created("likes", f"u{n}", f"p{n % 40}") for n in range(400)]
    users = [fd.entity_created("user", f"u{n}", {"name": f"user {n}"}) for n in range(100)]
    log = [{"timestamp": "2026-01-01T00:00:00Z", "event": event} for event in [*users, *likes]]
    flow = (
        LIKES.cap(9, per="day", key="target_id")
        .resolve("source_id", as_="who", required=False)
        .map(name="{{ who.name | default(value='?') }}")
        .deliver("push")
    )
    found = fd.replay(flow, log, engine=InProcess(4, 1000, most_sent))
    assert_same_result(found, fd.replay(flow, log))
    # four ranges of one chunk each, and four shards; the users are in the first range, and go to all shards
    assert came.count(NUMBERS) == as_numbers
    assert came.count(EVENTS) == 4 * 4 + 4 - as_numbers


# -- fan-outs over several tasks --------------------------------------------------------------------------


@pytest.mark.parametrize("most_links", [-1, 1000])
@pytest.mark.parametrize("partitions", [2, 3, 7])
def test_branches_of_one_event_go_on_in_several_tasks(
    partitions: int, most_links: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []
    run = GateExecutor.run

    def counted(self: GateExecutor, *args: Any) -> Any:
        outcome = run(self, *args)
        if self.step.fans_out:
            made.append(len(outcome.passed))
        return outcome

    monkeypatch.setattr(GateExecutor, "run", counted)
    fans = 60
    graph = fd.EntityGraph(
        {"user": {f"u{n}": {"name": f"user {n}"} for n in range(0, fans, 2)}},
        [{"link_type": "follows", "source_id": f"u{n}", "target_id": "ann"} for n in range(fans)],
    )
    flow = (
        fd.on("entity.created", entity_type="post")
        .fan_out("data.author", via="follows", direction="reverse", as_="fan")
        .where(fd.var.fan_id != "u7")
        .map(title="{{ data.title }}", name="{{ fan.name }}")
        .deliver("push")
    )
    log = [
        {
            "timestamp": "2026-01-01T00:00:00Z",
            "event": fd.entity_created("post", f"p{n}", {"author": author, "title": n}),
        }
        for n, author in enumerate(["bob", "ann", "ann"])
    ]
    engine = InProcess(partitions, 2, 1000, most_links, fans // 6)
    assert_same_result(
        fd.replay(flow, log, graph, engine=engine, trace=True), fd.replay(flow, log, graph, trace=True)
    )
    monkeypatch.setattr(ClusterRun, "most_branches", fans // 6)
    assert "shards by the event, branches of 1 id over several: fan_out(" in fd.Spark().explain(flow, graph)
    assert sum(made) == 2 * fans
    assert max(made) <= 2 * -(-fans // min(partitions, 6))


@pytest.mark.parametrize("partitions", [2, 5])
def test_a_task_has_only_its_share_of_the_links_of_one_id(
    partitions: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[int] = []
    advance = GraphState.advance

    def counted(self: GraphState, events: Any) -> Any:
        unmet = advance(self, events)
        held.extend(table.size for table in self.links.values())
        return unmet

    fans = 60
    graph = fd.EntityGraph(
        links=[{"link_type": "follows", "source_id": f"u{n}", "target_id": "ann"} for n in range(fans)]
    )
    flow = (
        fd.on("entity.created", entity_type="post")
        .fan_out("data.author", via="follows", direction="reverse", as_="fan")
        .map(recipient_id="{{ fan_id }}")
        .deliver("push")
    )
    # they come, come again, and go, some of them twice
    moves = [
        fd.link_created("follows", f"u{n * 7 % 90}", "ann")
        if n % 3
        else fd.link_deleted("follows", f"u{n * 11 % 90}", "ann")
        for n in range(120)
    ]
    posts = [fd.entity_created("post", f"p{n}", {"author": "ann"}) for n in range(8)]
    events = [
        event for n, event in enumerate(moves) for event in (event, *posts[n // 15 :: 8][: n % 15 == 7])
    ]
    log = [{"timestamp": "2026-01-01T00:00:00Z", "event": event} for event in events]
    local = fd.replay(flow, log, graph, trace=True)
    assert len(local.unmatched)
    monkeypatch.setattr(GraphState, "advance", counted)
    engine = InProcess(partitions, 7, most_links=-1, most_branches=10)
    assert_same_result(fd.replay(flow, log, graph, engine=engine, trace=True, chunk_size=16), local)
    # 60 of the snapshot and 80 that are made
    assert 0 < max(held) <= 140 // partitions


def test_one_task_has_all_links_of_an_id_where_other_steps_read_them_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ClusterRun, "most_links", -1)
    monkeypatch.setattr(ClusterRun, "most_branches", 1)
    graph = fd.EntityGraph(
        links=[{"link_type": "follows", "source_id": f"u{n}", "target_id": "ann"} for n in range(4)]
    )
    told = REACHED.map(a="b").deliver("push").named("told")
    first = POSTED.resolve("data.author", via="follows", direction="reverse", as_="first")
    others = first.map(a="b").deliver("push").named("others")
    assert "branches of 1 id over several" in fd.Spark().explain(told, graph)
    assert "over several" not in fd.Spark().explain([told, others], graph)


# -- links that are shared out ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flow", "types"),
    [
        (REACHED, {"follows": "target_id"}),
        (POSTED.resolve("data.author", via="follows", as_="fan"), {"follows": "source_id"}),
        # what is remembered behind it is of keys with the author in them, or with others
        (REACHED.deduplicate(["data.author", "fan_id"], window="1h"), {"follows": "target_id"}),
        (REACHED.deduplicate("fan_id", window="1h"), {}),
        # from both ends, by a condition, from the id of another step
        (REACHED.resolve("data.author", via="follows", as_="first"), {}),
        (REACHED.where("linked(fan_id, 'follows', data.author)"), {}),
        (REACHED.fan_out("fan_id", via="follows", direction="reverse", as_="friend"), {}),
        (REACHED.resolve("data.author", via="owns", as_="house"), {"follows": "target_id", "owns": "source_id"}),
        (POSTED.resolve("data.author", as_="author").fan_out("author.house", via="at", as_="other"), {"at": "source_id"}),
        (POSTED.batch("data.author", window="1h").fan_out("data.author", via="follows", as_="fan"), {"follows": "source_id"}),
        (POSTED.batch("data.by", window="1h").fan_out("data.author", via="follows", as_="fan"), {}),
    ],
)  # fmt: skip
def test_links_are_shared_out_where_they_are_looked_up_by_one_id(
    flow: fd.Flow, types: dict[str, str]
) -> None:
    assert Layout.partable(Plan.of([flow.map(a="b").deliver("push")])) == types


people = st.sampled_from(["ann", "bob", "cem", "dee"])
changes = st.tuples(
    st.sampled_from(["post", "follow", "unfollow", "user"]), people, people, st.integers(0, 90)
)


@given(
    links=st.lists(st.tuples(people, people), max_size=6),
    log=st.lists(changes, min_size=1, max_size=25),
    engine=st.builds(
        InProcess,
        st.integers(1, 4),
        st.sampled_from([1, 3, 100]),
        st.sampled_from([0, 1000]),
        st.just(-1),
        st.sampled_from([1, 1000]),
    ),
    chunk=st.sampled_from([1, 3, None]),
    only_fans=st.booleans(),
)
def test_links_that_are_shared_out_are_those_of_each_event(
    links: list[tuple[str, str]],
    log: list[tuple[str, str, str, int]],
    engine: InProcess,
    chunk: int | None,
    only_fans: bool,
) -> None:
    graph = fd.EntityGraph(
        {"user": {"ann": {"name": "Ann"}, "bob": {"name": "Bob"}}},
        [{"link_type": "follows", "source_id": a, "target_id": b} for a, b in links],
    )
    makes = {
        "post": lambda a, b: fd.entity_created("post", f"p of {a}", {"author": a, "by": b}),
        "user": lambda a, b: fd.entity_updated("user", a, {"name": f"{a} of {b}"}),
        "follow": lambda a, b: fd.link_created("follows", a, b),
        "unfollow": lambda a, b: fd.link_deleted("follows", a, b),
    }
    events = [
        {"timestamp": f"2026-01-01T{at // 60:02}:{at % 60:02}:00Z", "event": makes[what](a, b)}
        for what, a, b, at in log
    ]
    told = REACHED.map(recipient_id="{{ fan_id }}", name="{{ fan.name | default(value='?') }}").deliver(
        "feed"
    )
    flows = [
        told.named("told"),
        REACHED.batch(["data.author", "data.by"], window="20m", collect={"fans": fd.fn.unique(fd.var.fan_id)})
        .resolve("data.author", via="follows", direction="reverse", as_="first", required=False)
        .map(fans=fd.var.batch.fans, first="{{ first.name | default(value='?') }}")
        .deliver("push")
        .named("together"),
        fd.on("link.created", link_type="follows")
        .fan_out("target_id", via="follows", direction="reverse", as_="other")
        .map(other="{{ other_id }}")
        .deliver("in-app")
        .named("others"),
    ]
    # by themselves they need no more than a share of the links of an id
    flows = flows[::2] if only_fans else flows
    found = fd.replay(flows, events, graph, engine=engine, trace=True, chunk_size=chunk)
    assert_same_result(found, fd.replay(flows, events, graph, trace=True, chunk_size=chunk))
