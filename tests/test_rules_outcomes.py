"""Rules 18 to 21: outcomes, errors, order and state. Random flows are held to them in `test_properties.py`."""

from __future__ import annotations

from pathlib import Path

import pytest
from logs import log_of

import flowdsl as fd
from flowdsl import on

LIKES = on("link.created", link_type="likes")
GRAPH = fd.EntityGraph(
    {"user": {u: {"name": u.upper()} for u in ("ann", "bob", "eve")}},
    [{"link_type": "follows", "source_id": u, "target_id": "ann"} for u in ("bob", "eve", "zoe")],
)
LOG = log_of(
    """
    | at    | kind         | link_type | source_id | target_id |
    | 09:00 | link.created | likes     | ann       | p         |
    | 09:10 | link.created | likes     | bob       | p         |
    | 09:20 | link.created | likes     | nobody    | p         |
    | 10:30 | link.created | likes     | ann       | p         |
    | 10:40 | link.created | likes     | ann       | q         |
    """
)
FLOWS = [
    LIKES.resolve("source_id", as_="fan")
    .where("fan.name != 'BOB'")
    .fan_out("source_id", via="follows", direction="reverse", as_="f")
    .batch("f_id", window="1h", min_count=2)
    .map(recipient_id="{{ f_id }}", n="{{ batch.count }}")
    .deliver("digest"),
    LIKES.rate_limit(1, per="40m", strategy="queue")
    .map(t="{{ source_id }}")
    .deliver("feed", "log")
    .named("queued"),
    LIKES.resolve("source_id", as_="fan").map(t="{{ fan.name }}").deliver("feed").named("plain"),
]


@pytest.mark.parametrize("open_windows", ["flush", "keep"])
def test_rule_18_every_step_accounts_for_all_that_came(open_windows: str) -> None:
    steps = fd.replay(FLOWS, LOG, GRAPH, open_windows=open_windows).steps
    came = steps.held_before + steps.entered + steps.extra_branches
    went = steps.passed + steps.dropped + steps.failed + steps.absorbed + steps.held
    assert came.tolist() == went.tolist()
    # what one step passes is what the next one gets
    for _, of_flow in steps.groupby("flow"):
        assert of_flow.entered.tolist()[1:] == of_flow.passed.tolist()[:-1]


def test_rule_18_reasons_are_a_closed_list() -> None:
    dropped = fd.replay(FLOWS, LOG, GRAPH).dropped
    allowed = {"filtered", "no links", "duplicate", "rate limited", "batch below min_count", "preference"}
    assert set(dropped.reason) <= allowed
    assert len(dropped) > 0


def test_rule_18_a_trace_names_every_dropped_context() -> None:
    counted, traced = fd.replay(FLOWS, LOG, GRAPH), fd.replay(FLOWS, LOG, GRAPH, trace=True)
    assert len(traced.dropped) == counted.dropped["count"].sum()
    again = traced.dropped.groupby(["flow", "step", "reason"], sort=False).size()
    assert sorted(again.tolist()) == sorted(counted.dropped["count"].tolist())
    assert traced.dropped[traced.dropped.reason == "filtered"].seq_no.tolist() == [2]


def test_rule_19_a_failure_ends_one_context_and_keeps_what_is_needed_to_understand_it() -> None:
    result = fd.replay(FLOWS, LOG, GRAPH)
    assert result.errors[["seq_no", "flow", "step", "operator"]].values.tolist() == [
        [3, FLOWS[0].name, 0, "resolve"],
        [3, "plain", 0, "resolve"],
    ]
    assert result.errors.source_id.tolist() == ["nobody", "nobody"]
    assert '"source_id":"nobody"' in result.errors.variables[0]
    assert result["log"].t.tolist() == ["ann", "bob", "nobody", "ann", "ann"]


def test_rule_19_the_failed_events_can_be_run_again_as_of_their_number() -> None:
    errors = fd.replay(FLOWS, LOG, GRAPH).errors
    mended = fd.EntityGraph({"user": {"nobody": {"name": "N"}}})
    assert fd.replay(FLOWS[2], LOG, mended, only=errors)["feed"].t.tolist() == ["N"]
    assert fd.replay(FLOWS[2], errors, mended)["feed"].t.tolist() == ["N"]


def test_rule_20_deliveries_are_in_the_order_of_time_number_flow_branch_step_and_sink() -> None:
    parent = (
        LIKES.map(t="parent")
        .deliver("b", "a")
        .fan_out("source_id", via="follows", direction="reverse", as_="f")
    )
    flows = [parent.map(t="{{ f_id }}").deliver("a").named("z"), LIKES.map(t="x").deliver("a").named("a")]
    log = log_of(
        """
        | at    | kind         | link_type | source_id | target_id |
        | 09:00 | link.created | likes     | ann       | p         |
        | 09:00 | link.created | likes     | ann       | q         |
        """
    )
    rows = fd.replay(flows, log, GRAPH).polars(columns=["seq_no", "flow", "branch", "step", "sink"]).rows()
    one = [
        ("z", None, 1, "b"),
        ("z", None, 1, "a"),
        *(("z", str(n), 4, "a") for n in range(3)),
        ("a", None, 1, "a"),
    ]
    assert rows == [(number, *row) for number in (1, 2) for row in one]


@pytest.mark.parametrize("size", [1, 2, 3])
def test_rule_20_the_chunk_size_does_not_show(size: int) -> None:
    whole, cut = fd.replay(FLOWS, LOG, GRAPH), fd.replay(FLOWS, LOG, GRAPH, chunk_size=size)
    assert whole.polars().equals(cut.polars())
    assert whole.errors.equals(cut.errors)


@pytest.mark.parametrize("cut", [2, 3, 4, 5])
def test_rule_21_two_parts_equal_the_whole(cut: int) -> None:
    whole = fd.replay(FLOWS, LOG, GRAPH)
    first = fd.replay(FLOWS, LOG, GRAPH, stop=cut, open_windows="keep")
    second = fd.replay(FLOWS, LOG, state=first.state)
    assert first.polars().vstack(second.polars()).rows() == whole.polars().rows()
    # the first part's state is used again and again, and stays what it was
    assert fd.replay(FLOWS, LOG, state=first.state).polars().equals(second.polars())


def test_rule_21_a_state_belongs_to_its_flows() -> None:
    state = fd.replay(FLOWS, LOG, GRAPH).state
    with pytest.raises(fd.ReplayError, match="other flows"):
        fd.replay(FLOWS[:1], LOG, state=state)


def test_rule_21_a_start_without_a_state_feeds_the_graph_and_the_clock_only() -> None:
    log = log_of(
        """
        | at    | kind           | link_type | source_id | target_id | entity_type | entity_id | data         |
        | 09:00 | entity.created |           |           |           | user        | zoe       | {"name":"Z"} |
        | 10:00 | link.created   | likes     | zoe       | p         |             |           |              |
        | 09:30 | link.created   | likes     | zoe       | q         |             |           |              |
        """
    )
    flow = (
        LIKES.resolve("source_id", as_="fan")
        .deduplicate("source_id", window="1h")
        .map(t="{{ fan.name }}")
        .deliver("out")
    )
    for start in (3, "2026-01-01T09:30:00Z"):
        out = fd.replay(flow, log, start=start)["out"]
        assert out.t.tolist() == ["Z"]
    assert fd.replay(flow, log, start=3)["out"].delivered_at.dt.strftime("%H:%M").tolist() == ["10:00"]
    assert fd.replay(flow, log, stop=2).steps.entered.sum() == 0


def test_a_result_written_to_a_folder_is_read_back_the_same(tmp_path: Path) -> None:
    live = fd.replay(FLOWS, LOG, GRAPH, out=tmp_path / "out")
    live.to_parquet(tmp_path / "copy")
    for folder in ("out", "copy"):
        again = fd.read_result(tmp_path / folder)
        assert repr(again) == repr(live)
        for sink in live.sinks:
            assert again[sink].equals(live[sink])
        for part in ("deliveries", "errors", "dropped", "steps", "late", "open"):
            assert getattr(again, part).equals(getattr(live, part)), part
    with pytest.raises(fd.ReplayError, match="not empty"):
        fd.replay(FLOWS, LOG, GRAPH, out=tmp_path / "out")
    with pytest.raises(fd.DataError, match="holds no result"):
        fd.read_result(tmp_path)
