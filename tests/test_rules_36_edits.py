"""Rule 36: flows that are changed between two runs keep the state of every step that did not change."""

from __future__ import annotations

import datetime as dt
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from live_runs import live as run_live
from live_runs import pieces, that_deliver, told_by_interpreter, told_live
from strategies import SLIPS_ARE_LIKELY, Case, cases

import flowdsl as fd
from flowdsl import Flow, LiveError, ReplayError, Runtime, link_created, on
from flowdsl.events import entity_created

pytestmark = SLIPS_ARE_LIKELY

NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
likes = on("link.created", link_type="likes")


def digest(title: str, window: str = "1h") -> Flow:
    batch = likes.batch("target_id", window=window)
    return batch.map(recipient_id="{{ target_id }}", title=title).deliver("in-app").named("digest")


OLD, NEW = digest("{{ batch.count }} likes"), digest("{{ batch.count }} new likes")
first = (
    likes.deduplicate("target_id", window="1h")
    .map(title="first: {{ source_id }}")
    .deliver("in-app")
    .named("first")
)
slow = (
    likes.rate_limit(1, per="1h", strategy="queue").map(title="slow: {{ source_id }}").deliver("in-app").named("slow")
)  # fmt: skip


def like(log: Any, fan: str, post: str = "post", at: str = "10:00", **more: Any) -> None:
    log.append(link_created("likes", fan, post, **more), timestamp=f"2026-01-01T{at}:00Z")


def titles(result: Any, sink: str = "in-app") -> list[str]:
    frame = result[sink] if isinstance(result, fd.Result) else result.sinks[sink].frame()
    return frame["title"].tolist() if len(frame) else []


def live(flows: Any, log: Any, **options: Any) -> Runtime:
    """Run what is in the log, the time being that of the last event."""
    last = max(batch.column("timestamp").to_pylist()[-1] for batch in log.read())
    return Runtime(flows, log, clock=lambda: last, **options).run_until_idle()


class Both:
    """Runs flows over a log up to where it goes, once live and once in a replay that goes on from its last state."""

    def __init__(self, log: Any, graph: Any = None) -> None:
        self.log, self.graph = log, graph
        self.state: Any = None

    def run(self, flows: Any, **options: Any) -> list[str]:
        runtime = live(flows, self.log, graph=self.graph, **options)
        base = {"graph": self.graph} if self.state is None else {"state": self.state}
        result = fd.replay(flows, self.log, open_windows="keep", **base)
        self.state = result.state
        assert titles(runtime) == titles(result)
        return titles(runtime)


def test_rule_36_a_change_of_wording_keeps_open_windows(log: Any) -> None:
    both = Both(log)
    like(log, "ann")
    like(log, "eve")
    assert both.run(OLD) == []
    like(log, "zoe", "other", at="12:00")
    assert both.run(NEW) == ["2 new likes"]


@pytest.mark.parametrize(
    "flows",
    [
        [NEW, first, slow],
        [slow, NEW, first],
        [first.named("another name"), slow.named("b"), NEW.named("c")],
        [likes.map(title="told").deliver("told"), slow, first, NEW],
    ],
    ids=["edited", "another order", "renamed", "added"],
)
def test_rule_36_windows_queues_and_limits_are_kept_whatever_becomes_of_other_flows(
    log: Any, flows: list[Flow]
) -> None:
    both = Both(log)
    like(log, "ann")
    like(log, "bob", at="10:01")
    assert both.run([OLD, first, slow]) == ["first: ann", "slow: ann"]
    like(log, "cem", at="10:30")
    like(log, "dan", "other", at="14:00")
    assert sorted(both.run(flows)) == [
        "3 new likes", "first: dan", "slow: bob", "slow: cem", "slow: dan",
    ]  # fmt: skip


def test_rule_36_what_would_be_lost_is_named_and_nothing_runs(log: Any) -> None:
    like(log, "ann")
    like(log, "bob")
    state = fd.replay([OLD, first, slow], log, open_windows="keep").state
    live([OLD, first, slow], log)
    with pytest.raises(LiveError) as refused:
        live([digest("x", "2h"), first], log)
    what = "flow 'digest', step 0 (batch): 1 open window with 2 contexts; flow 'slow', step 0 (rate_limit): 1 context in its queue"
    assert what in str(refused.value)
    assert 'state="discard"' in str(refused.value)
    with pytest.raises(ReplayError) as refused_too:
        fd.replay([digest("x", "2h"), first], log, state=state)
    assert what in str(refused_too.value)
    assert "first" not in str(refused_too.value)


def test_rule_36_a_step_after_what_holds_may_read_what_no_flow_read_before(log: Any) -> None:
    graph = fd.EntityGraph(
        {"post": {"post": {"owner": "zed", "name": "Post"}}, "user": {"zed": {"name": "Zed"}}}
    )
    both = Both(log, graph)
    like(log, "ann", metadata={"note": "hello", "n": 1})
    log.append(entity_created("user", "eva", {"name": "Eva"}), timestamp="2026-01-01T10:01:00Z")
    both.run(OLD)
    like(log, "bob", "other", at="12:00")
    edited = (
        likes.batch("target_id", window="1h")
        .resolve("target_id", as_="post")
        .resolve("post.owner", as_="owner")
    )
    edited = edited.map(title="{{ metadata.note }} {{ post.name }} {{ owner.name }}").deliver("in-app")
    assert both.run(
        [
            edited.named("digest"),
            likes.resolve("source_id", as_="fan").map(title="{{ fan.name }}").deliver("in-app"),
        ]
    ) == ["hello Post Zed"]
    like(log, "eva", "third", at="12:01")
    assert both.run(
        [
            edited.named("digest"),
            likes.resolve("source_id", as_="fan").map(title="{{ fan.name }}").deliver("in-app"),
        ]
    ) == ["Eva"]


@pytest.mark.parametrize("ids", [False, True])
def test_rule_36_a_flow_may_follow_links_that_nobody_followed_before(log: Any, ids: bool) -> None:
    def link(kind: str, source: str, target: str, at: str) -> None:
        log.append(
            link_created(kind, source, target, f"{kind}-{source}-{target}" if ids else None),
            timestamp=f"2026-01-01T{at}:00Z",
        )

    base = [
        {"link_type": "follows", "source_id": "ann", "target_id": "bob"},
        {"link_type": "owns", "source_id": "ann", "target_id": "post"},
    ]
    graph = fd.EntityGraph(
        {"user": {name: {"name": name.upper()} for name in ("ann", "bob", "cem", "fan")}}, base
    )
    both = Both(log, graph)
    owners = (
        likes.resolve("target_id", via="owns", direction="reverse", as_="owner")
        .map(title="{{ owner.name }}")
        .deliver("in-app")
    )
    link("follows", "cem", "bob", "09:00")
    link("owns", "bob", "other", "09:01")
    link("likes", "fan", "post", "09:02")
    assert both.run(owners) == ["ANN"]
    log.append(fd.link_deleted("follows", "ann", "bob"), timestamp="2026-01-01T09:03:00Z")
    followers = (
        likes.fan_out("metadata.who", via="follows", direction="reverse", as_="who")
        .map(title="{{ who.name }}")
        .deliver("in-app")
    )
    like(log, "fan", "other", at="10:00", metadata={"who": "bob"})
    assert both.run([followers.named("new"), owners]) == ["CEM", "BOB"]
    like(log, "fan", "other", at="10:01", metadata={"who": "bob"})
    assert both.run(followers.named("new")) == ["CEM"]


# -- what is given up ------------------------------------------------------------------------------------


def test_rule_36_what_is_given_up_is_listed_and_can_be_run_again(log: Any) -> None:
    for fan, post in (("ann", "p"), ("bob", "p"), ("cem", "q")):
        like(log, fan, post)
    live([OLD, first, slow], log)
    edited = digest("again: {{ batch.count }}", "2h")
    with pytest.raises(LiveError):
        live([edited, slow], log)
    runtime = live([edited, slow], log, state="discard")
    given = runtime.discarded
    rows = given[["flow", "step", "operator", "key", "what"]].astype(object).where(given.notna(), None)
    assert rows.values.tolist() == [
        ["digest", 0, "batch", "p", "context"],
        ["digest", 0, "batch", "p", "context"],
        ["digest", 0, "batch", "q", "context"],
        ["first", 0, "deduplicate", None, "2 keys seen within 1h"],
    ]
    assert given["seq_no"].tolist()[:3] == [1, 2, 3]
    again = fd.replay(edited, log, only=runtime.discarded)
    assert titles(again) == ["again: 2", "again: 1"]
    like(log, "dan", at="13:30")
    # it is kept for good, what was not given up goes on, and nothing is given up twice
    later = live([edited, slow], log)
    assert titles(later) == ["slow: bob", "slow: cem", "slow: dan"]
    assert later.discarded["seq_no"].tolist()[:3] == [1, 2, 3]
    assert len(live([edited, slow], log, state="discard").discarded) == 4


def test_rule_36_giving_up_is_said_once(
    log: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    # whatever was configured by a library that another test has loaded
    monkeypatch.setattr(logging.getLogger("flowdsl.live"), "disabled", False)
    caplog.set_level(logging.WARNING, logger="flowdsl.live")
    like(log, "ann")
    live(OLD, log)
    live(first, log, state="discard")
    live(first, log, state="discard")
    (said,) = [record.getMessage() for record in caplog.records if record.name == "flowdsl.live"]
    what = "flow 'digest', step 0 (batch): 1 open window with 1 context"
    assert said == f"'flow-runtime' gives up 1 context that other flows held: {what}"


def test_rule_36_a_run_that_is_begun_further_on_lists_what_windows_hold_of_before(log: Any) -> None:
    for fan, at in (("ann", "10:00"), ("bob", "10:10"), ("cem", "10:20")):
        like(log, fan, at=at)
    live([OLD, first, slow], log)
    last = dt.datetime(2026, 1, 1, 10, 20, tzinfo=dt.UTC)
    runtime = Runtime([OLD, first, slow], log, clock=lambda: last).run_until_idle(3)
    given = runtime.discarded
    # what is read again is not lost
    assert given[["flow", "seq_no"]].values.tolist() == [["digest", 1], ["digest", 2], ["slow", 2]]
    assert set(given["what"]) == {"context"}
    assert titles(fd.replay(OLD, log, only=given)) == ["2 likes"]
    again = Runtime([OLD, first, slow], log, clock=lambda: last).run_until_idle("beginning")
    assert len(again.discarded) == 3


def test_rule_36_what_was_given_up_can_be_forgotten(log: Any) -> None:
    like(log, "ann")
    like(log, "bob")
    live([OLD, first], log)
    runtime = live(slow, log, state="discard")
    assert runtime.forget_discarded() == 3
    assert runtime.forget_discarded() == 0
    assert len(live(slow, log).discarded) == 0


def test_rule_36_contexts_of_branches_and_of_keys_of_several_parts_are_listed(log: Any) -> None:
    links = [{"link_type": "follows", "source_id": fan, "target_id": "ann"} for fan in ("x", "y")]
    fans = likes.fan_out("source_id", via="follows", direction="reverse", as_="fan")
    graph = fd.EntityGraph({}, links)
    like(log, "ann")
    queue = (
        fans.rate_limit(1, per="1h", strategy="queue", key=["fan", "target_id"]).map(title="x").deliver("s")
    )
    digests = fans.batch("fan", window="1h").map(title="x").deliver("s")
    like(log, "ann", at="10:10")
    live([queue.named("q"), digests.named("b")], log, graph=graph)
    given = live(first, log, graph=graph, state="discard").discarded
    told = given[["flow", "seq_no", "branch"]].values.tolist()
    assert [row for row in told if row[0] == "b"] == [
        ["b", 1, "0"],
        ["b", 1, "1"],
        ["b", 2, "0"],
        ["b", 2, "1"],
    ]
    assert [row for row in told if row[0] == "q"] == [["q", 2, "0"], ["q", 2, "1"]]


# -- a crash and an edit ---------------------------------------------------------------------------------


def test_rule_36_after_a_crash_edited_flows_do_not_deliver_again_what_the_old_ones_had(
    tmp_path: Path,
) -> None:
    with fd.ParquetEventLog(tmp_path / "log", "none") as log:
        told: list[str] = []

        def run(flows: Any, **more: Any) -> None:
            to = {
                "in-app": fd.sinks.InApp(tmp_path / "in-app.sqlite"),
                "told": lambda d: told.append(d.payload["title"]),
            }
            last = max((batch.column("timestamp").to_pylist()[-1] for batch in log.read()), default=None)
            Runtime(flows, log, sinks=to, clock=lambda: last or NOW, **more).run_until_idle(
                "last_acknowledged"
            )

        def shown(user: str) -> list[str]:
            return sorted(note.title for note in fd.sinks.InApp(tmp_path / "in-app.sqlite").list(user))

        tell = likes.map(title="old {{ source_id }}", recipient_id="{{ target_id }}").deliver(
            "in-app", "told"
        )
        run([tell.named("tell"), tell.named("renamed later"), OLD])
        saved = sorted((tmp_path / "log" / "consumers" / "flow-runtime").glob("checkpoint-*"))
        kept = {path: path.read_bytes() for path in saved}
        like(log, "ann")
        like(log, "bob", at="12:00")
        run([tell.named("tell"), tell.named("renamed later"), OLD])
        # as if the process had died before it wrote its last checkpoint
        for path in saved[0].parent.glob("checkpoint-*"):
            path.unlink()
        for path, content in kept.items():
            path.write_bytes(content)
        before = shown("post")
        assert before == ["1 likes", "old ann", "old ann", "old bob", "old bob"]
        new = (
            likes.where("source_id != 'x'")
            .map(title="new {{ source_id }}", recipient_id="{{ target_id }}")
            .deliver("in-app", "told")
        )
        added = likes.map(title="added {{ source_id }}", recipient_id="{{ target_id }}").deliver(
            "in-app", "told"
        )
        flows = [added.named("added"), NEW, tell.named("another name"), new.named("tell")]
        for _ in range(2):
            run(flows)
            assert shown("post") == sorted([*before, "added ann", "added bob"])
        assert sorted(told) == ["added ann", "added bob", "old ann", "old ann", "old bob", "old bob"]
        like(log, "cem", at="15:00")
        run(flows)
        assert shown("post") == sorted(
            [*before, "added ann", "added bob", "1 new likes", "added cem", "new cem", "old cem"]
        )


def test_rule_36_two_edits_in_a_row_that_crash_deliver_nothing_twice(tmp_path: Path) -> None:
    def tell(title: str, name: str) -> Flow:
        return (
            likes.map(title=title + " {{ source_id }}", recipient_id="{{ target_id }}")
            .deliver("in-app")
            .named(name)
        )

    folder = tmp_path / "log" / "consumers" / "flow-runtime"

    def files() -> list[Path]:
        return [*folder.iterdir(), *tmp_path.glob("in-app.sqlite*"), *(tmp_path / "log").glob("log.sqlite*")]

    with fd.ParquetEventLog(tmp_path / "log", "none") as log:

        def run(*flows: Flow, crash: bool = False) -> list[str]:
            """Run flows; with `crash` leave everything as if the process had died at its first event."""
            seen: dict[Path, bytes] = {}

            def look(_: Any) -> bool:
                if not seen:
                    seen.update({path: path.read_bytes() for path in files()})
                return False

            watch = likes.where(look).map(title="never").deliver("in-app").named("watch")
            last = max((batch.column("timestamp").to_pylist()[-1] for batch in log.read()), default=None)
            with fd.sinks.InApp(tmp_path / "in-app.sqlite") as in_app:
                Runtime(
                    [*flows, watch], log, sinks={"in-app": in_app}, clock=lambda: last or NOW
                ).run_until_idle("last_acknowledged")
            if crash:
                assert seen
                log.close()
                for path in files():
                    path.unlink()
                for path, content in seen.items():
                    path.write_bytes(content)
            with fd.sinks.InApp(tmp_path / "in-app.sqlite") as in_app:
                return sorted(note.title for note in in_app.list("post"))

        same, before = tell("same", "a"), tell("before", "edited")
        run(same, before)
        checkpoints = {path: path.read_bytes() for path in folder.glob("checkpoint-*")}
        like(log, "ann")
        assert run(same, before) == ["before ann", "same ann"]
        # what was handed over stays so, and the checkpoint is the one from before
        for path in folder.glob("checkpoint-*"):
            path.unlink()
        for path, content in checkpoints.items():
            path.write_bytes(content)
        # the first edit dies before it has handed over anything, and so its run knows nothing of what there is
        run(same.named("b"), tell("after", "edited"), crash=True)
        run(same.named("c"), tell("later", "edited"), crash=True)
        assert run(same.named("d"), tell("at last", "edited")) == ["before ann", "same ann"]
        like(log, "bob", at="11:00")
        assert run(same.named("d"), tell("at last", "edited")) == [
            "at last bob",
            "before ann",
            "same ann",
            "same bob",
        ]


# -- any edit --------------------------------------------------------------------------------------------

stateful = st.sampled_from(
    [
        likes.batch("target_id", window="10m"),
        likes.batch("metadata.k", window="1h", min_count=2),
        likes.deduplicate("target_id", window="1h"),
        likes.deduplicate(["source_id", "target_id"], window="10m"),
        likes.rate_limit(1, per="10m"),
        likes.rate_limit(1, per="10m", strategy="queue"),
        likes.rate_limit(2, per="1h", strategy="queue", key="target_id"),
    ]
)
events = st.lists(
    st.tuples(
        st.sampled_from(["ann", "bob"]),
        st.sampled_from(["p", "q"]),
        st.sampled_from(["a", 1]),
        st.sampled_from([0, 1, 9, 10, 60]),
    ),
    min_size=1,
    max_size=12,
)


@settings(max_examples=15, deadline=None)
@given(st.lists(stateful, min_size=1, max_size=3, unique_by=str), events, st.data())
def test_rule_36_any_edit_behind_what_remembers_goes_on_as_one_run_would(
    begun: list[Flow], told: list[tuple[str, str, Any, int]], data: st.DataObject
) -> None:
    def ending(flow: Flow, word: str, number: int) -> Flow:
        title = word + " {{ metadata.n }} {{ source_id }}"
        return flow.map(title=title).deliver("in-app").named(f"flow {number}")

    old = [ending(flow, "old", n) for n, flow in enumerate(begun)]
    edited = [
        ending(flow, data.draw(st.sampled_from(["old", "new"])), data.draw(st.sampled_from([n, 10 + n])))
        for n, flow in enumerate(begun)
    ]
    added = likes.map(title="added {{ metadata.n }}").deliver("in-app").named("added")
    flows = data.draw(st.permutations([*edited, added]))
    split = data.draw(st.integers(1, len(told)))
    log, minutes = fd.MemoryEventLog(), 0
    seen: list[str] = []
    state = None
    for number, (fan, post, key, pause) in enumerate(told):
        minutes += pause
        metadata = {"n": number, "k": key}
        like(log, fan, post, f"{minutes // 60:02}:{minutes % 60:02}", metadata=metadata)
        if number + 1 in (split, len(told)):
            now = old if number + 1 == split else flows
            seen += titles(live(now, log))
            if state is None and number + 1 == split:
                state = fd.replay(old, log, open_windows="keep").state
    after = [] if split == len(told) else titles(fd.replay(flows, log, state=state, open_windows="keep"))
    whole = titles(fd.replay(old, log, open_windows="keep"))
    assert sorted(seen) == sorted(titles(fd.replay(old, log, stop=split + 1, open_windows="keep")) + after)
    same = [
        title.removeprefix("old ").removeprefix("new ") for title in seen if not title.startswith("added")
    ]
    assert sorted(same) == sorted(title.removeprefix("old ") for title in whole)
    assert sum(title.startswith("added") for title in seen) == len(told) - split


@settings(max_examples=max(settings().max_examples // 4, 10), deadline=None)
@given(case=cases(), schedules=st.tuples(pieces, pieces), cut=st.integers(0, 20), data=st.data())
def test_rule_36_flows_that_stay_between_two_runs_are_as_the_plain_interpreter_tells_of_one(
    case: Case, schedules: Any, cut: int, data: st.DataObject
) -> None:
    """Of any flows some are left out, and the others put in another order; events are of any kind."""
    # caps count what all flows deliver together
    case = replace(that_deliver(case), caps={})
    world = case.world
    first = replace(case, world=replace(world, events=world.events[:cut]))
    life = run_live(first, schedules[0], fd.MemoryEventLog())
    stays = data.draw(st.lists(st.sampled_from(life.flows), min_size=1, unique_by=lambda flow: flow.name))
    gone = {flow.name for flow in life.flows} - {flow.name for flow in stays}
    before = told_live(life.sinks)
    life.flows = stays
    life.runtime = life.fresh("discard")
    life.runtime.run_until_idle()
    life.runtime = life.fresh()
    left = [{k: v for k, v in event.items() if k != "seq_no"} for event in world.events[cut:]]
    for count, idle, then in schedules[1]:
        taken, left = left[:count], left[count:]
        life.go_on(taken, idle, then)
    life.go_on(left, 0, "on")
    after = told_live(life.sinks)
    assert [told for told in after if told[1] not in gone] == told_by_interpreter(life)
    assert [told for told in after if told[1] in gone] == [told for told in before if told[1] in gone]
