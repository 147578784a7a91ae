"""Rule 36: flows that are changed between two runs keep the state of every step that did not change."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import flowdsl as fd
from flowdsl import Flow, LiveError, ReplayError, Runtime, link_created, on
from flowdsl.events import entity_created

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


@pytest.fixture(params=["memory", "folder"])
def log(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    if request.param == "memory":
        yield fd.MemoryEventLog()
        return
    with fd.ParquetEventLog(tmp_path / "log", "none") as log:
        yield log


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
