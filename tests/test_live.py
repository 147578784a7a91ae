"""Flows that run live: where they begin and go on, timers, sinks that fail, dead letters, metrics."""

from __future__ import annotations

import asyncio
import datetime as dt
import itertools
import json
import os
import stat
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from live_runs import waited

import flowdsl as fd
from flowdsl import FlowWarning, LiveError, Runtime, link_created, on, sinks
from flowdsl.events import entity_created
from flowdsl.sinks import Delivery, Failure
from tests.programs import printed

told = on("link.created").map(title="{{ source_id }}").deliver("in-app").named("told")
once = on("link.created").deduplicate("target_id", window="1h").map(title="{{ source_id }}").deliver("in-app")


def like(fan: str, post: str = "post", **more: Any) -> dict[str, Any]:
    return link_created("likes", fan, post, **more)


def titles(runtime: Runtime, sink: str = "in-app") -> list[str]:
    return [delivery.payload["title"] for delivery in runtime.sinks[sink].deliveries]


# -- running -------------------------------------------------------------------------------------------


def test_what_is_appended_while_it_runs_is_delivered(log: Any) -> None:
    runtime = Runtime(told, log)
    assert runtime.start() is runtime
    assert runtime.running
    log.append(like("ann"))
    assert waited(lambda: titles(runtime) == ["ann"])
    runtime.stop()
    assert not runtime.running
    assert runtime.error is None
    assert log.position("flow-runtime") == 1


def test_it_runs_within_a_with_block_and_finishes_what_was_appended_there(log: Any) -> None:
    with Runtime(told, log) as runtime:
        for i in range(50):
            log.append(like(f"fan-{i}"))
    assert titles(runtime) == [f"fan-{i}" for i in range(50)]
    assert not runtime.running


def test_it_runs_inside_of_a_running_event_loop(log: Any) -> None:
    seen = []

    async def notify(delivery: Delivery) -> None:
        await asyncio.sleep(0)
        seen.append(delivery.payload["title"])

    async def notebook() -> None:
        with Runtime(told, log, sinks={"in-app": notify}):
            log.append(like("ann"))
            while not seen:
                await asyncio.sleep(0.005)

    asyncio.run(notebook())
    assert seen == ["ann"]


def test_a_runtime_that_runs_cannot_be_started_again(log: Any) -> None:
    with (
        Runtime(told, log) as runtime,
        pytest.raises(LiveError, match="running already"),
    ):
        runtime.start()


def test_the_same_consumer_runs_once_at_a_time(log: Any) -> None:
    with Runtime(told, log):
        with pytest.raises(LiveError, match="'flow-runtime' is running already"):
            Runtime(told, log).start()
        with Runtime(told, log, consumer_name="another") as other:
            log.append(like("ann"))
    assert titles(other) == ["ann"]


def test_the_same_consumer_runs_in_one_process_at_a_time(tmp_path: Path) -> None:
    code = """
import sys, flowdsl as fd
from flowdsl import on
flow = on("link.created").map(title="x").deliver("in-app")
try:
    fd.Runtime(flow, fd.ParquetEventLog(sys.argv[1])).start()
except fd.LiveError as error:
    print(error.what)
"""
    with fd.ParquetEventLog(tmp_path / "log") as log, Runtime(told, log):
        said = printed(code, tmp_path / "log")
    assert said == f"the consumer 'flow-runtime' is running already, in process {os.getpid()}\n"


def test_run_until_idle_runs_what_is_there_and_returns(log: Any) -> None:
    log.append([like("ann"), like("bob")])
    runtime = Runtime(told, log).run_until_idle()
    log.append(like("cem"))
    assert titles(runtime.run_until_idle()) == ["ann", "bob", "cem"]


def test_run_until_idle_waits_for_a_runtime_that_runs(log: Any) -> None:
    with Runtime(told, log) as runtime:
        log.append([like(f"fan-{i}") for i in range(1000)])
        assert len(titles(runtime.run_until_idle())) == 1000


def test_run_until_idle_waits_for_timers_that_a_runtime_has_not_looked_at_yet(log: Any) -> None:
    now = dt.datetime(2026, 3, 2, 10, tzinfo=dt.UTC)
    flow = on("link.created").batch("target_id", window="1h").map(title="{{ batch.count }}").deliver("in-app")
    with Runtime(flow, log, clock=lambda: now) as runtime:
        for hour in range(1, 6):
            log.append(like("ann") | {"timestamp": now})
            assert len(titles(runtime.run_until_idle())) == hour - 1
            now += dt.timedelta(hours=1)
            assert len(titles(runtime.run_until_idle())) == hour


def test_run_until_idle_waits_for_the_dead_letters_of_a_runtime_that_runs(log: Any) -> None:
    fails = on("link.created").map(title="{{ metadata.note }}").deliver("in-app")
    with Runtime(fails, log) as runtime:
        for count in range(1, 6):
            log.append(like("ann"))
            assert len(runtime.run_until_idle().dead_letters) == count


# -- where it begins -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("position", "expected"),
    [("beginning", ["ann", "bob", "cem"]), ("latest", ["cem"]), (2, ["bob", "cem"]), (None, ["cem"]), ("last_acknowledged", ["ann", "bob", "cem"])],
)  # fmt: skip
def test_a_new_consumer_begins_where_it_is_told(log: Any, position: Any, expected: list[str]) -> None:
    log.append([like("ann"), like("bob")])
    with Runtime(told, log).start(position) as runtime:
        log.append(like("cem"))
    assert titles(runtime) == expected


@pytest.mark.parametrize(
    ("position", "expected"),
    [("beginning", ["ann", "bob", "cem", "dan"]), ("latest", ["dan"]), (2, ["bob", "cem", "dan"]), (None, ["cem", "dan"]), ("last_acknowledged", ["cem", "dan"])],
)  # fmt: skip
def test_a_consumer_that_ran_before_goes_on_or_begins_anew(
    log: Any, position: Any, expected: list[str]
) -> None:
    log.append([like("ann"), like("bob")])
    Runtime(told, log).run_until_idle()
    log.append(like("cem"))
    with Runtime(told, log).start(position) as runtime:
        log.append(like("dan"))
    assert titles(runtime) == expected


def test_a_consumer_that_somebody_moved_goes_on_from_there(log: Any) -> None:
    log.append([like("ann"), like("bob"), like("cem")])
    Runtime(told, log).run_until_idle()
    log.seek("flow-runtime", 2)
    assert titles(Runtime(told, log).run_until_idle()) == ["bob", "cem"]


def test_rule_31_a_durable_sink_has_once_what_is_run_again_on_purpose(log: Any, tmp_path: Path) -> None:
    log.append(like("ann"))
    counter = sinks.Counter(tmp_path / "count.sqlite", field="likes")
    flow = on("link.created").map(entity_type="post", entity_id="{{ target_id }}").deliver("count")
    for _ in range(2):
        Runtime(flow, log, sinks={"count": counter}).run_until_idle("beginning")
    assert counter.value("post", "post") == 1


def test_events_before_the_beginning_make_up_the_graph_and_the_clock(log: Any) -> None:
    flow = on("link.created").resolve("target_id", as_="post").map(title="{{ post.title }}").deliver("in-app")
    log.append([entity_created("post", "p", {"title": "Old"}), like("ann", "p")])
    with Runtime(flow, log) as runtime:
        log.append(like("bob", "p"))
    assert titles(runtime) == ["Old"]


def test_what_windows_remember_outlives_a_restart(log: Any) -> None:
    log.append(like("ann"))
    assert titles(Runtime(once, log).run_until_idle()) == ["ann"]
    log.append([like("bob"), like("cem", "other")])
    assert titles(Runtime(once, log).run_until_idle()) == ["cem"]


def test_payloads_that_wait_in_a_queue_outlive_a_restart(log: Any) -> None:
    made = on("link.created").map(
        title="{{ source_id }}", about={"post": "{{ target_id }}", "of": ["x", 1.5]}
    )
    flow = made.rate_limit(1, per="1h", strategy="queue").deliver("in-app")
    at = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    log.append([like(fan) for fan in ("ann", "bob", "cem")], at)
    assert titles(Runtime(flow, log, clock=lambda: at).run_until_idle()) == ["ann"]
    later = Runtime(flow, log, clock=lambda: at + dt.timedelta(hours=2)).run_until_idle()
    assert titles(later) == ["bob", "cem"]
    about = [delivery.payload["about"] for delivery in later.sinks["in-app"].deliveries]
    assert about == [{"post": "post", "of": ["x", 1.5]}] * 2


def test_it_goes_on_from_the_state_of_a_replay(log: Any) -> None:
    log.append([like("ann"), like("bob", "other")])
    state = fd.replay(once, log).state
    log.append([like("cem"), like("dan", "new")])
    assert titles(Runtime(once, log, state=state).run_until_idle()) == ["dan"]


def test_the_state_of_other_flows_is_refused_and_can_be_discarded(log: Any) -> None:
    log.append(like("ann"))
    Runtime(once, log).run_until_idle()
    log.append(like("bob"))
    with pytest.raises(LiveError, match="has the state of other flows") as refused:
        Runtime(told, log).run_until_idle()
    assert 'state="discard"' in str(refused.value)
    assert titles(Runtime(told, log, consumer_name="new").run_until_idle()) == ["ann", "bob"]
    assert titles(Runtime(told, log, state="discard").run_until_idle()) == ["bob"]


# -- timers --------------------------------------------------------------------------------------------


def test_windows_close_by_the_clock_and_the_log_says_so(log: Any) -> None:
    flow = (
        on("link.created").batch("target_id", window="300ms").map(title="{{ batch.count }}").deliver("in-app")
    )
    with Runtime(flow, log) as runtime:
        log.append([like("ann"), like("bob")])
        assert waited(lambda: titles(runtime) == ["2"])
    assert log.clock_marks().height == 1
    replayed = fd.replay(flow, log, open_windows="keep").polars("in-app")
    lived = runtime.sinks["in-app"].deliveries[0]
    assert replayed["delivered_at"].to_list() == [lived.delivered_at]
    assert replayed["closed_by"].to_list() == ["timer"] == [lived.closed_by]


def test_a_queue_lets_go_by_the_clock(log: Any) -> None:
    flow = (
        on("link.created")
        .rate_limit(1, per="200ms", strategy="queue")
        .map(title="{{ source_id }}")
        .deliver("in-app")
    )
    with Runtime(flow, log) as runtime:
        log.append([like("ann"), like("bob"), like("cem")])
        assert waited(lambda: len(titles(runtime)) == 3)
    times = [delivery.delivered_at for delivery in runtime.sinks["in-app"].deliveries]
    assert [b - a for a, b in itertools.pairwise(times)] == [dt.timedelta(milliseconds=200)] * 2


def test_a_window_of_no_length_closes_without_another_event(log: Any) -> None:
    flow = on("link.created").batch("target_id", window="0s").map(title="{{ batch.count }}").deliver("in-app")
    with Runtime(flow, log) as runtime:
        log.append(like("ann"))
        assert waited(lambda: titles(runtime) == ["1"])
    assert fd.replay(flow, log, open_windows="keep").polars("in-app").height == 1


# -- what fails ----------------------------------------------------------------------------------------


class Fragile:
    """A sink's function that fails until it is mended."""

    def __init__(self) -> None:
        self.broken = True
        self.keys: list[str] = []

    def __call__(self, delivery: Delivery) -> None:
        if self.broken:
            raise ConnectionError("nobody there")
        self.keys.append(delivery.key)


def test_a_context_that_fails_is_a_dead_letter_and_stops_nothing_else(log: Any) -> None:
    fails = on("link.created").map(title="{{ metadata.note }}").deliver("in-app").named("fails")
    with Runtime([fails, told], log) as runtime:
        log.append([like("ann"), like("bob", metadata={"note": "noted"})])
    assert sorted(titles(runtime)) == ["ann", "bob", "noted"]
    (letter,) = runtime.dead_letters.to_dict("records")
    assert (letter["seq_no"], letter["flow"], letter["step"], letter["operator"]) == (1, "fails", 0, "map")
    assert letter["source_id"] == "ann"
    assert json.loads(letter["variables"])["target_id"] == "post"
    errors = fd.replay([fails, told], log).errors
    assert letter["error"] == errors["error"][0]
    again = fd.replay([fails, told], log, only=runtime.dead_letters)
    assert again.manifest["steps"][0]["failed"] == 1


def test_an_error_that_nobody_expected_ends_only_the_contexts_that_meet_it(
    log: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flowdsl.operators.where import WhereKernel

    run = WhereKernel.run

    def explode(self: Any, contexts: Any, step: Any) -> Any:
        if "bomb" in contexts.column(("source_id",)).values():
            raise ZeroDivisionError("boom")
        return run(self, contexts, step)

    monkeypatch.setattr(WhereKernel, "run", explode)
    mined = (
        on("link.created")
        .where("source_id != 'nobody'")
        .map(title="{{ source_id }}")
        .deliver("mined")
        .named("mined")
    )
    with Runtime([mined, told], log) as runtime:
        log.append([like("ann"), like("bomb"), like("bob"), like("nobody")])
    assert titles(runtime, "mined") == ["ann", "bob"]
    assert titles(runtime) == ["ann", "bomb", "bob", "nobody"]
    assert runtime.dead_letters[["seq_no", "error"]].values.tolist() == [[2, "ZeroDivisionError: boom"]]


def test_a_function_that_fetches_entities_may_fail_for_a_time(log: Any) -> None:
    there = {"up": False}

    def users(ids: list[str]) -> dict[str, Any]:
        if not there["up"]:
            raise TimeoutError("the database is away")
        return {user: {"name": user.title()} for user in ids}

    graph = fd.EntityGraph({"user": users})
    flow = (
        on("link.created")
        .resolve("source_id", as_="fan")
        .map(title="{{ fan.name }}")
        .deliver("in-app")
        .named("fetched")
    )
    with Runtime([flow, told], log, graph) as runtime:
        log.append(like("ann"))
        assert waited(lambda: len(runtime.dead_letters) == 1)
        assert "the database is away" in runtime.dead_letters["error"][0]
        there["up"] = True
        log.append(like("bob"))
        runtime.run_until_idle()
        assert titles(runtime) == ["ann", "Bob", "bob"]
    assert len(runtime.retry()) == 0
    assert titles(runtime)[-1] == "Ann"
    assert len(runtime.dead_letters) == 0


def test_a_sink_that_fails_makes_dead_letters_and_holds_up_no_other(log: Any) -> None:
    fragile = Fragile()
    flow = told.deliver("fragile")
    with Runtime(flow, log, sinks={"in-app": sinks.Frame(), "fragile": fragile}) as runtime:
        log.append([like("ann"), like("bob")])
    assert titles(runtime) == ["ann", "bob"]
    letters = runtime.dead_letters
    assert letters[["seq_no", "sink", "recipient_id", "error", "attempts"]].values.tolist() == [
        [1, "fragile", "post", "ConnectionError: nobody there", 1],
        [2, "fragile", "post", "ConnectionError: nobody there", 1],
    ]
    assert len(runtime.retry(letters.head(1))) == 1
    assert runtime.dead_letters["attempts"].tolist() == [2, 1]
    fragile.broken = False
    assert len(runtime.retry()) == 0
    assert fragile.keys == letters["key"].tolist()
    assert runtime.dead_letters.empty
    assert titles(runtime) == ["ann", "bob"]


def test_dead_letters_outlive_the_runtime_and_can_be_given_up(log: Any) -> None:
    log.append([like("ann"), like("bob")])
    Runtime(told, log, sinks={"in-app": Fragile()}).run_until_idle()
    runtime = Runtime(told, log, sinks={"in-app": Fragile()})
    assert len(runtime.dead_letters) == 2
    assert runtime.discard(runtime.dead_letters.tail(1)) == 1
    assert runtime.dead_letters["seq_no"].tolist() == [1]


class Raises(sinks.Sink):
    """A sink with a fault of its own."""

    def deliver(self, deliveries: Sequence[Delivery]) -> Sequence[Failure | None]:
        raise RuntimeError("a fault")


def test_a_sink_that_raises_fails_its_deliveries(log: Any) -> None:
    flow = told.deliver("raises")
    with Runtime(flow, log, sinks={"in-app": sinks.Frame(), "raises": Raises()}) as runtime:
        log.append(like("ann"))
    assert titles(runtime) == ["ann"]
    assert runtime.dead_letters["error"].tolist() == ["RuntimeError: a fault"]


class Answers(sinks.Sink):
    """Answers what it is told to."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def deliver(self, deliveries: Any) -> Any:
        return self.answer


@pytest.mark.parametrize("answer", [None, [], [True], "x"])
def test_a_sink_that_does_not_say_of_each_delivery_what_became_of_it_fails_them(
    log: Any, answer: Any
) -> None:
    to = {"in-app": Answers(answer)}
    said = f"Answers answered {answer!r} to 1 deliveries, and not None or a Failure for each"
    log.append(like("ann"))
    runtime = Runtime(told, log, sinks=to).run_until_idle()
    assert runtime.error is None
    assert runtime.dead_letters["error"].tolist() == [f"SinkError: {said}"]
    assert runtime.retry()["error"].tolist() == [f"SinkError: {said}"]
    assert fd.replay(told, log, sinks=to, dispatch=True).undelivered["error"].tolist() == [said]


class OpensNever(sinks.Frame):
    """Has nothing to open."""

    def open(self) -> None:
        raise ConnectionError("nobody there")


def test_a_sink_that_cannot_be_opened_is_named(log: Any) -> None:
    to = {"in-app": OpensNever()}
    said = "the sink 'in-app' cannot be opened: ConnectionError: nobody there"
    with pytest.raises(fd.SinkError, match=said):
        Runtime(told, log, sinks=to).start()
    with pytest.raises(fd.SinkError, match=said):
        fd.replay(told, log, sinks=to, dispatch=True)


def test_a_context_that_failed_is_run_again_from_the_step_that_failed(log: Any) -> None:
    """What was delivered before the step that failed is not delivered again."""
    flow = (
        on("link.created").map(title="first").deliver("in-app").resolve("source_id", as_="fan")
        .map(title="{{ fan.name }}").deliver("in-app")
    )  # fmt: skip
    log.append(like("ann"))
    runtime = Runtime(flow, log).run_until_idle()
    assert titles(runtime) == ["first"]
    assert len(runtime.retry()) == 1
    runtime = Runtime(flow, log, fd.EntityGraph({"user": {"ann": {"name": "Ann"}}}))
    assert len(runtime.retry()) == 0
    assert titles(runtime) == ["Ann"]


def test_many_dead_letters_are_tried_again_in_time():
    log = fd.MemoryEventLog()
    log.append([fd.link_created("likes", f"u{number}", "nobody") for number in range(8_000)])
    failing = fd.on("link.created").resolve("target_id", as_="whom").map(a=1).deliver("push")
    runtime = fd.Runtime(failing, log).run_until_idle()
    began = time.process_time()
    assert len(runtime.retry()) == 8_000
    # each is looked for among those of its own event
    assert time.process_time() - began < 5


def test_a_slow_sink_holds_up_no_other(log: Any) -> None:
    def delivered(runtime: Runtime) -> dict[str, int]:
        return runtime.metrics().frame.set_index("sink")["delivered"].to_dict()

    gate = threading.Event()

    def slow(delivery: Delivery) -> None:
        gate.wait(20)

    flow = told.deliver("slow")
    with Runtime(flow, log, sinks={"in-app": sinks.Frame(), "slow": slow}) as runtime:
        for i in range(30):
            log.append(like(f"fan-{i}"))
        assert waited(lambda: len(titles(runtime)) == 30)
        # a batch is counted once its sink has taken it
        assert waited(lambda: delivered(runtime) == {"in-app": 30, "slow": 0})
        gate.set()


def test_what_a_slow_sink_has_not_got_at_the_stop_it_gets_from_the_next_run(tmp_path: Path) -> None:
    seen: list[str] = []
    gate = threading.Event()

    def slow(delivery: Delivery) -> None:
        gate.wait(20)
        seen.append(delivery.payload["title"])

    with fd.ParquetEventLog(tmp_path / "log") as log:
        runtime = Runtime(told, log, sinks={"in-app": slow}).start("beginning")
        log.append(like("ann"))
        assert waited(lambda: runtime.metrics().events == 1)
        log.append(like("bob"))
        assert waited(lambda: runtime.metrics().events == 2)
        threading.Timer(0.3, gate.set).start()
        runtime.stop(timeout=0.1)
        Runtime(told, log, sinks={"in-app": slow}).run_until_idle()
    assert sorted(set(seen)) == ["ann", "bob"]


def test_preferences_are_honoured(log: Any) -> None:
    in_app = sinks.InApp()
    in_app.mute("ann")
    flow = on("link.created").map(title="x", recipient_id="{{ source_id }}").deliver("in-app")
    with Runtime(flow, log, sinks={"in-app": in_app}) as runtime:
        log.append([like("ann"), like("bob")])
    assert (in_app.total("ann"), in_app.total("bob")) == (0, 1)
    assert runtime.metrics().delivered == 1


# -- what is refused -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (lambda log: Runtime(told, log, sinks={"inapp": sinks.Frame()}), "there is no sink 'in-app'"),
        (lambda log: Runtime(told, log, sinks={"in-app": 7}), "the sink 'in-app' is 7"),
        (lambda log: Runtime(told, log, sinks={"in-app": sinks.InApp}), r"hint: InApp\(…\) makes one"),
        (lambda log: Runtime(told, log, checkpoint_every="often"), "checkpoint_every is 'often'"),
        (lambda log: Runtime(told, log, checkpoint_every=-1), "checkpoint_every is -1"),
        (lambda log: Runtime(told, log, clock=7), "clock is 7"),
        (lambda log: Runtime(told, log, clock=lambda: 1 / 0), r"clock\(\) raised ZeroDivisionError"),
        (lambda log: Runtime(told, log, clock=lambda: dt.datetime(2026, 1, 1)), r"clock\(\) gives"),
        (lambda log: Runtime(told, log).run_until_idle(timeout="1s"), "timeout is '1s'"),
        (lambda log: Runtime(told, log).stop(-1), "timeout is -1"),
        (lambda log: Runtime(told, log, sinks=[sinks.Frame()]), "sinks are a list"),
        (lambda log: Runtime(told, [like("ann")]), "list cannot be followed"),
        (lambda log: Runtime(told, log, graph={}), "graph is a dict"),
        (lambda log: Runtime(told, log, consumer_name=""), "a consumer is named by text"),
        (lambda log: Runtime(told, log, state="forget"), "state is 'forget'"),
        (lambda log: Runtime(told, log).retry([1]), "letters have no column 'key'"),
    ],
)  # fmt: skip
def test_what_cannot_run_is_refused_with_what_can(make: Callable[[Any], Any], what: str) -> None:
    with pytest.raises(LiveError, match=what):
        make(fd.MemoryEventLog())


def test_an_unknown_position_is_refused_before_anything_runs(log: Any) -> None:
    runtime = Runtime(told, log)
    with pytest.raises(fd.DataError, match="unknown position 'latets'"):
        runtime.start("latets")
    with runtime.start("latest"):
        pass


def test_a_log_that_has_lost_events_is_told_from_one_that_has_not(tmp_path: Path) -> None:
    in_app = sinks.InApp(tmp_path / "in-app.sqlite")
    with fd.ParquetEventLog(tmp_path / "log") as log:
        log.append(like("ann"))
        runtime = Runtime(told, log, sinks={"in-app": in_app}, checkpoint_every=1000)
        runtime.run_until_idle()
        run = runtime._live._run
        in_app.apply([], f"flow-runtime/{run}", 99)
        with pytest.raises(LiveError, match="the log has lost events"):
            Runtime(told, log, sinks={"in-app": in_app}).run_until_idle()


# -- what is kept --------------------------------------------------------------------------------------


def test_files_are_the_users_alone_and_no_name_leads_elsewhere(tmp_path: Path) -> None:
    with fd.ParquetEventLog(tmp_path / "log") as log:
        log.append(like("ann"))
        for name in ("../../x", "..", ".", "a/b", "ü\n\0x", "x" * 150):
            Runtime(told, log, consumer_name=name).run_until_idle()
        with pytest.raises(LiveError, match="too long"):
            Runtime(told, log, consumer_name="x" * 300)
    consumers = tmp_path / "log" / "consumers"
    assert len(list(consumers.iterdir())) == 6
    assert {path.name for path in tmp_path.iterdir()} == {"log"}
    for path in consumers.rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


def test_a_log_that_a_run_makes_before_its_first_event_is_the_users_alone(tmp_path: Path) -> None:
    with fd.ParquetEventLog(tmp_path / "log") as log, Runtime(told, log):
        log.append(like("ann"))
    for path in (log.folder, *log.folder.rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


def checkpoints(folder: Path) -> list[Path]:
    return sorted((folder / "log" / "consumers" / "flow-runtime").glob("checkpoint-*"))


def test_a_damaged_checkpoint_is_noticed_and_the_one_before_it_used(tmp_path: Path) -> None:
    with fd.ParquetEventLog(tmp_path / "log") as log:
        in_app = sinks.InApp(tmp_path / "in-app.sqlite")
        for fan in ("ann", "bob", "cem"):
            log.append(like(fan, fan))
            Runtime(once, log, sinks={"in-app": in_app}).run_until_idle()
        _, newer = checkpoints(tmp_path)
        newer.write_bytes(newer.read_bytes()[:-1] + b"?")
        log.append(like("dan", "ann"))
        with pytest.warns(FlowWarning, match="a checkpoint is damaged"):
            Runtime(once, log, sinks={"in-app": in_app}).run_until_idle()
        assert [in_app.total(post) for post in ("ann", "bob", "cem")] == [1, 1, 1]
        for path in checkpoints(tmp_path):
            path.write_bytes(b"")
        with pytest.raises(LiveError, match="no checkpoint of the consumer 'flow-runtime' can be read"):
            Runtime(once, log, sinks={"in-app": in_app}).run_until_idle()


def test_files_of_another_consumer_are_refused(tmp_path: Path) -> None:
    with fd.ParquetEventLog(tmp_path / "log") as log:
        for name in ("a", "b"):
            log.append(like(name))
            Runtime(told, log, consumer_name=name).run_until_idle()
        a, b = (tmp_path / "log" / "consumers" / name for name in ("a", "b"))
        for path in a.glob("checkpoint-*"):
            path.write_bytes(next(b.glob("checkpoint-*")).read_bytes())
        with pytest.raises(LiveError, match="that of the consumer 'b'"):
            Runtime(told, log, consumer_name="a").run_until_idle()
        (b / "consumer.sqlite").write_bytes((a / "consumer.sqlite").read_bytes())
        with pytest.raises(LiveError, match=r"consumer\.sqlite of the consumer 'b' is that of 'a'"):
            Runtime(told, log, consumer_name="b").run_until_idle()


def test_a_missing_file_of_a_consumer_is_not_taken_for_a_new_consumer(tmp_path: Path) -> None:
    with fd.ParquetEventLog(tmp_path / "log") as log:
        log.append(like("ann"))
        Runtime(once, log).run_until_idle()
        kept = {path: path.read_bytes() for path in checkpoints(tmp_path)}
        for path in kept:
            path.unlink()
        with pytest.raises(
            LiveError, match="no checkpoint of the consumer 'flow-runtime' can be read: there is none"
        ):
            Runtime(once, log).run_until_idle()
        for path, content in kept.items():
            path.write_bytes(content)
        (tmp_path / "log" / "consumers" / "flow-runtime" / "consumer.sqlite").unlink()
        with pytest.raises(LiveError, match=r"consumer\.sqlite of the consumer 'flow-runtime' is missing"):
            Runtime(once, log).run_until_idle()


def test_dead_letters_that_were_given_up_stay_so_where_the_checkpoint_before_is_used(tmp_path: Path) -> None:
    flow = on("link.created").map(title="{{ metadata.title }}").deliver("in-app")
    with fd.ParquetEventLog(tmp_path / "log") as log:
        log.append(like("ann", metadata={"title": "hello"}))
        Runtime(flow, log).run_until_idle()
        runtime = Runtime(flow, log).start()
        log.append(like("bob"))
        assert waited(lambda: len(runtime.dead_letters) == 1)
        assert runtime.discard() == 1
        runtime.stop()
        _, newer = checkpoints(tmp_path)
        newer.write_bytes(newer.read_bytes()[:-1] + b"?")
        with pytest.warns(FlowWarning, match="a checkpoint is damaged"):
            assert Runtime(flow, log).run_until_idle().dead_letters.empty


def rewritten(path: Path, change: Callable[[Any], Any]) -> None:
    """Change the state that a checkpoint says, and its checksums with it."""
    from flowdsl.live.checkpoints import _HEAD, _digest

    first, line, content = path.read_bytes().split(b"\n", 2)
    head = json.loads(line.partition(b" ")[2])
    said = json.dumps(change(json.loads(content[: head["json"]]))).encode()
    content = said + content[head["json"] :]
    head = json.dumps({**head, "json": len(said), "digest": _digest(content)}).encode()
    assert first + b"\n" == _HEAD
    path.write_bytes(_HEAD + _digest(head).encode() + b" " + head + b"\n" + content)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda said: {**said, "clock": "now"}, "clock is not a whole number"),
        (lambda said: {**said, "position": -1}, "position is not a whole number"),
        (lambda said: {**said, "more": 1}, "something else than a state"),
        (lambda said: {**said, "steps": [{**said["steps"][0], "kernel": ["system", {}]}]}, "steps.0.kernel is none of"),
        (lambda said: {**said, "steps": [{**said["steps"][0], "kernel": ["Kernel", {}]}]}, "steps.0.kernel is none of"),
        (lambda said: {**said, "interner": {"pieces": [[0, 1 << 40]]}}, "bytes that it has not"),
        (lambda said: {**said, "interner": {"pieces": [[0, 8]]}}, "interner.pieces.0 is not a column"),
        (lambda said: [], "something else than a state"),
    ],
)  # fmt: skip
def test_what_a_checkpoint_says_is_data_that_is_checked(
    tmp_path: Path, change: Callable[[Any], Any], what: str
) -> None:
    with fd.ParquetEventLog(tmp_path / "log") as log:
        log.append(like("ann"))
        Runtime(once, log).run_until_idle()
        for path in checkpoints(tmp_path):
            rewritten(path, change)
        with pytest.raises(LiveError, match=what):
            Runtime(once, log).run_until_idle()


def test_a_large_state_is_written_now_and_then_and_only_what_changed(tmp_path: Path) -> None:
    with fd.ParquetEventLog(tmp_path / "log", "none") as log:
        log.append([like(f"fan-{i}", f"post-{i}") for i in range(60_000)])
        to = {"in-app": sinks.Custom(lambda deliveries: None, batch=True)}
        runtime = Runtime(once, log, sinks=to).run_until_idle()
        folder = tmp_path / "log" / "consumers" / "flow-runtime"
        blobs = {path.name: path.stat().st_mtime_ns for path in folder.glob("blob-*")}
        with runtime.start():
            for i in range(20):
                log.append(like("new", f"new-{i}"))
                runtime.run_until_idle()
        assert runtime.metrics().checkpoints == 1
        assert runtime.metrics().batches >= 15
        kept = {path.name: path.stat().st_mtime_ns for path in folder.glob("blob-*")}
        assert kept.items() & blobs.items(), "a large part that did not change was written again"


# -- metrics -------------------------------------------------------------------------------------------


def test_metrics_say_what_was_done(log: Any) -> None:
    fails = on("link.created").map(title="{{ metadata.note }}").deliver("in-app").named("fails")
    with Runtime([told, fails], log) as runtime:
        log.append([like("ann"), like("bob", metadata={"note": "x"})])
        log.append(like("old"), timestamp="2020-01-01T00:00:00Z")
        runtime.run_until_idle()
        metrics = runtime.metrics()
        assert metrics.running
    assert (metrics.events, metrics.position, metrics.lag) == (3, 3, 0)
    assert (metrics.delivered, metrics.failures, metrics.late) == (4, 2, 1)
    assert 0 < metrics.latency_p50 <= metrics.latency_p99
    assert metrics.frame[["sink", "delivered", "failed", "waiting"]].values.tolist() == [["in-app", 4, 0, 0]]
    steps = metrics.step_frame
    assert steps[steps["flow"] == "fails"]["failed"].tolist() == [2, 0]
    assert json.loads(json.dumps(metrics.as_dict()))["sinks"]["in-app"]["delivered"] == 4
    assert "3 events, 4 delivered, lag 0" in repr(runtime)
    # numbers where nothing was delivered, too
    nothing = Runtime(told, fd.MemoryEventLog()).run_until_idle().metrics().frame
    assert [str(dtype) for dtype in nothing.dtypes[["delivered", "latency_p50"]]] == ["int64", "float64"]


def test_batches_and_deliveries_are_spans_of_opentelemetry() -> None:
    from opentelemetry import trace as api
    from opentelemetry.sdk import trace
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter = InMemorySpanExporter()
    provider = trace.TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    api.set_tracer_provider(provider)
    log = fd.MemoryEventLog()
    with Runtime(told, log) as runtime:
        log.append([like("ann"), like("bob")])
    spans = {span.name: dict(span.attributes) for span in exporter.get_finished_spans()}
    assert spans["flowdsl.batch"] == {
        "flowdsl.consumer": "flow-runtime", "flowdsl.events": 2, "flowdsl.last_seq_no": 2, "flowdsl.deliveries": 2,
        "flowdsl.failures": 0,
    }  # fmt: skip
    assert spans["flowdsl.deliver"] == {
        "flowdsl.sink": "in-app",
        "flowdsl.deliveries": 2,
        "flowdsl.failed": 0,
    }
    assert titles(runtime) == ["ann", "bob"]


# -- what it cannot go on without ------------------------------------------------------------------------


def test_a_run_that_cannot_keep_its_progress_ends_and_the_next_one_loses_nothing(
    log: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flowdsl.live.consumer_store import ConsumerStore

    def full(*_: object, **__: object) -> None:
        raise OSError("no space left on device")

    got: list[str] = []
    to = {"in-app": lambda delivery: got.append(delivery.key)}
    runtime = Runtime(told, log, sinks=to).start()
    with monkeypatch.context() as patch:
        patch.setattr(ConsumerStore, "done", full)
        log.append(like("ann"))
        assert waited(lambda: not runtime.running)
    assert isinstance(runtime.error, OSError)
    with pytest.raises(LiveError, match="no space left on device"):
        runtime.stop()
    log.append(like("bob"))
    Runtime(told, log, sinks=to).run_until_idle()
    assert len(got) == 3
    assert got[0] == got[1]


def test_a_project_brings_its_sinks_and_the_log_stays_sound(tmp_path: Path) -> None:
    project = fd.load(
        {
            "events": {
                "flows": [
                    {
                        "name": "told",
                        "trigger": {"kind": "link.created"},
                        "pipeline": [
                            {"map": {"template": {"title": "{{ source_id }}"}}},
                            {"deliver": {"sink": "in-app"}},
                        ],
                    }
                ]
            },
            "sinks": [{"name": "in-app", "type": "in_app"}],
        }
    )
    with fd.ParquetEventLog(tmp_path / "log") as log:
        with Runtime(project, log) as runtime:
            log.append(like("ann"))
        assert [n.title for n in runtime.sinks["in-app"].list("post")] == ["ann"]
        assert log.verify().ok
    assert (tmp_path / "log" / "sinks" / "in-app.sqlite").exists()


def test_flows_of_one_name_are_told_apart(log: Any) -> None:
    fails = on("link.created").map(title="{{ metadata.note }}").deliver("in-app").named("same")
    other = on("link.created").map(title="{{ metadata.else }}").deliver("in-app").named("same")
    with Runtime([fails, other], log) as runtime:
        log.append(like("ann"))
    assert runtime.dead_letters["flow"].tolist() == ["same", "same #2"]


def test_plain_parquet_files_are_refused_and_left_alone(tmp_path: Path) -> None:
    with fd.ParquetEventLog(tmp_path / "log") as log:
        log.append(like("ann"))
        next(iter(log.chunks(["link_type", "source_id", "target_id"], 10))).write_parquet(
            tmp_path / "plain.parquet"
        )
    before = sorted(tmp_path.iterdir())
    with pytest.raises(LiveError, match="plain Parquet files do not grow"):
        Runtime(told, tmp_path / "plain.parquet")
    assert sorted(tmp_path.iterdir()) == before
