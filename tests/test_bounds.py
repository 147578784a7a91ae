"""Work has limits that are named; what is read back, and what a page says, is checked first."""

from __future__ import annotations

import itertools
import json
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import flowdsl as fd
from flowdsl import on
from flowdsl.batches.context_batch import ContextBatch
from flowdsl.engine.executor import StepExecutor

PEOPLE = [f"u{n}" for n in range(30)]
# everybody follows everybody, and the event's author is followed by all
GRAPH = fd.EntityGraph(
    links=[{"link_type": "follows", "source_id": a, "target_id": b} for a in PEOPLE for b in PEOPLE]
)
TWICE = (
    on("entity.created")
    .fan_out("data.by", via="follows", direction="reverse", as_="one")
    .fan_out("one_id", via="follows", direction="reverse", as_="two")
    .map(recipient_id="{{ two_id }}", title="{{ one_id }}")
    .deliver("s")
)
POSTS = [
    {"timestamp": f"2026-01-01T09:0{n}:00Z", "event": fd.entity_created("post", f"p{n}", {"by": by})}
    for n, by in enumerate(("u1", "nobody", "u2"))
]


def outcome(result: fd.Result) -> list[object]:
    frame, errors = result["s"], result.errors
    return [
        frame[["seq_no", "branch", "recipient_id", "title"]].to_numpy().tolist(),
        errors[["seq_no", "step", "branch", "error"]].to_numpy().tolist(),
    ]


def test_branches_that_go_on_in_pieces_come_out_as_they_would_together(monkeypatch: pytest.MonkeyPatch):
    whole = outcome(fd.replay(TWICE, POSTS, GRAPH))
    assert len(whole[0]) == 2 * 30 * 30  # type: ignore[arg-type]
    monkeypatch.setattr("flowdsl.engine.executor.STREAMED", 70)
    assert outcome(fd.replay(TWICE, POSTS, GRAPH)) == whole


def test_no_more_branches_of_one_event_go_on_together_than_the_limit_says(monkeypatch: pytest.MonkeyPatch):
    sizes: list[int] = []
    run = StepExecutor.run

    def counted(self: StepExecutor, contexts: ContextBatch, *args: Any) -> Any:
        sizes.append(len(contexts))
        return run(self, contexts, *args)

    monkeypatch.setattr(StepExecutor, "run", counted)
    monkeypatch.setattr("flowdsl.engine.executor.STREAMED", 10)
    assert len(fd.replay(TWICE, POSTS[:1], GRAPH)["s"]) == 900
    assert max(sizes) == 10


@pytest.mark.parametrize("streamed", [1, 100, 1 << 20])
@pytest.mark.parametrize("chunk_size", [1, 2, None])
def test_an_event_with_too_many_branches_fails_from_there_on_and_the_others_go_on(
    streamed: int, chunk_size: int | None, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("flowdsl.engine.executor.STREAMED", streamed)
    monkeypatch.setattr("flowdsl.kernels.branch_limit.MAX_BRANCHES", 100)
    result = fd.replay(TWICE, POSTS, GRAPH, chunk_size=chunk_size)
    # three times 30 fit into 100, and the other 27 branches of each event fail
    assert result["s"]["seq_no"].value_counts().to_dict() == {1: 90, 3: 90}
    assert result["s"]["title"].unique().tolist() == ["u0", "u1", "u2"]
    assert result.errors["seq_no"].value_counts().to_dict() == {1: 27, 3: 27}
    assert result.errors["error"].unique().tolist() == ["its event goes into more than 100 branches here"]
    assert result.steps["failed"].tolist() == [0, 54, 0, 0]


def test_an_event_branches_into_as_many_links_as_the_graph_has(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("flowdsl.kernels.branch_limit.MAX_BRANCHES", 10)
    once = (
        on("entity.created")
        .fan_out("data.by", via="follows", direction="reverse", as_="one")
        .map(title="x")
        .deliver("s")
    )
    assert fd.replay(once, POSTS, GRAPH)["s"]["seq_no"].value_counts().to_dict() == {1: 30, 3: 30}


def test_one_long_text_is_searched_in_another_as_python_does():
    rows = [("a" * 100, "a" * 70 + "b"), ("ab" * 100, "ba" * 50), ("é" * 80, "é" * 80), ("x", ""), ("", "x")]
    flow = on("link.created").where("contains(metadata.text, metadata.piece)").map(title="x").deliver("s")
    for some in [*([row] for row in rows), rows]:
        events = [
            {
                "timestamp": "2026-01-01T09:00:00Z",
                "event": fd.link_created("l", "a", "b", metadata={"text": t, "piece": p}),
            }
            for t, p in some
        ]
        wanted = [n for n, (text, piece) in enumerate(some, 1) if piece in text]
        assert fd.replay(flow, events)["s"]["seq_no"].tolist() == wanted


def test_work_grows_with_flows_and_sinks_and_not_with_their_square(monkeypatch: pytest.MonkeyPatch):
    """The steps that are compared while a plan is made, counted."""
    from flowdsl.operators.map import Map

    compared = 0
    equal = Map.__eq__

    def counting(self: Map, other: object) -> bool:
        nonlocal compared
        compared += 1
        return bool(equal(self, other))

    monkeypatch.setattr(Map, "__eq__", counting)
    flows = [on("link.created", name=f"f{n}").map(title=f"x{n}").deliver("s") for n in range(300)]
    result = fd.replay(
        flows, [{"timestamp": "2026-01-01T09:00:00Z", "event": fd.link_created("l", "a", "b")}]
    )
    assert len(result) == 300
    assert compared < 1_000


LINK = [{"timestamp": "2026-01-01T09:00:00Z", "event": fd.link_created("l", "a", "b")}]


def calls_in(work: Callable[[], object]) -> int:
    """How many functions are called, on any thread."""
    called = itertools.count()

    def count(_frame: object, event: str, _argument: object) -> None:
        if event.endswith("call"):
            next(called)

    threading.setprofile(count)
    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(None)
        threading.setprofile(None)  # type: ignore[arg-type]
    return next(called)


def many_flows(size: int) -> object:
    flows = [on("link.created", name=f"f{n}").map(title=f"x{n}").deliver("s") for n in range(size)]
    return fd.replay(flows, LINK).report().html


def many_sinks(size: int) -> object:
    flow = on("link.created").map(title="x").deliver(*(f"s{n}" for n in range(size)))
    result = fd.replay(flow, LINK)
    return result.deliveries, [result[sink] for sink in result.sinks[:2]]


def many_fields(size: int) -> object:
    flow = on("link.created").map({f"n{n}": "{{ source_id }}" for n in range(size)}).deliver("s")
    return fd.replay(flow, LINK)["s"]


@pytest.mark.parametrize(("work", "size"), [(many_flows, 40), (many_sinks, 100), (many_fields, 200)])
def test_twice_as_many_flows_sinks_or_fields_are_twice_the_work(work: Callable[[int], object], size: int):
    # what is loaded and remembered once for all is not counted
    work(size)
    assert calls_in(lambda: work(2 * size)) < 2.3 * calls_in(lambda: work(size))


def test_a_result_in_a_folder_whose_name_is_a_pattern_has_its_own_deliveries_only(tmp_path: Path):
    others = {"run1": "other", "runa": "other", "run[1a]": "own", "run*": "own", "run?": "own"}
    for name, title in others.items():
        flow = on("link.created", name="f").map(title=title).deliver("s")
        fd.replay(flow, LINK, out=tmp_path / name)
    for name, title in others.items():
        result = fd.read_result(tmp_path / name)
        assert result["s"]["title"].tolist() == [title]
        assert ("other" in result.report().html) == (title == "other")


def test_a_result_that_was_damaged_says_which_field_it_is(tmp_path: Path):
    fd.replay(TWICE, POSTS, GRAPH).to_parquet(tmp_path / "result")
    said = tmp_path / "result" / "result.json"
    whole = json.loads(said.read_text())
    for change, field in [
        ({"events": -1}, "events"), ({"flows": []}, "text and flows"), ({"trace": 1}, "trace"), ({"more": 1}, "more"),
        ({"delivers": [{**whole["delivers"][0], "table": "../elsewhere"}]}, "delivers.0.table"),
    ]:  # fmt: skip
        said.write_text(json.dumps({**whole, **change}))
        with pytest.raises(fd.DataError, match=field) as error:
            fd.read_result(tmp_path / "result")
        assert str(said) in str(error.value)
    (part,) = (tmp_path / "result" / "deliveries").rglob("*.parquet")
    said.write_text(json.dumps(whole))
    part.write_bytes(part.read_bytes()[:-9])
    with pytest.raises(fd.DataError, match=part.name):
        fd.read_result(tmp_path / "result")["s"]


def test_a_page_can_save_only_beside_the_notebook_and_over_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there.yaml").write_text("mine")
    designer = fd.design(POSTS, flow=on("link.created").map(title="x").deliver("s"))
    for name in ("../away.yaml", "/tmp/away.yaml", "there.yaml", "", "a\0b", "."):
        designer.do({"do": "save", "value": name})
        assert "error" in designer._panel.view, name
    for _ in range(2):
        designer.do({"do": "save", "value": "new.yaml"})
        assert designer._panel.view["saved"] == "saved new.yaml"
    assert (tmp_path / "there.yaml").read_text() == "mine"
    with pytest.raises(fd.FlowError, match="there is a file"):
        designer.save("there.yaml")
    designer.do({"do": "fly", "away": True})
    assert "the page sent an unknown message" in designer._panel.view["error"]
    designer.settle()


@pytest.mark.parametrize(
    "odd",
    [
        "consumers",
        "consumers/c",
        "consumers/c/lock/x",
        "consumers/c/consumer.sqlite/x",
        "consumers/c/checkpoint-000000000001/x",
    ],
)
def test_a_run_that_cannot_begin_says_where(odd: str, tmp_path: Path):
    log = fd.ParquetEventLog(tmp_path / "log")
    log.append(fd.link_created("l", "a", "b"))
    (tmp_path / "log" / odd).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / "log" / odd).write_text("in the way")
    flow = on("link.created").map(title="x").deliver("s")
    with pytest.raises(fd.FlowError, match="consumer"):
        fd.Runtime(flow, log, consumer_name="c").run_until_idle()


def test_the_page_on_limits_tells_what_the_code_has():
    from flowdsl.engine.executor import STREAMED
    from flowdsl.expressions.conditions import lexer, nodes, typecheck
    from flowdsl.expressions.templates import failures, scanner
    from flowdsl.kernels.branch_limit import MAX_BRANCHES
    from flowdsl.sinks.base import LONGEST_FAILURE
    from flowdsl.values import kinds

    page = (Path(__file__).parents[1] / "docs" / "limits.md").read_text("utf-8")
    rows = page.partition("|---|---|---|\n")[2].partition("<!-- /limits")[0].splitlines()
    said = [int(row.split("|")[2].split()[0].replace(",", "")) for row in rows]
    assert lexer.MAX_CONDITION == typecheck.MAX_TEXT
    assert said == [
        MAX_BRANCHES, failures.MAX_TEXT, failures.MAX_ITEMS, failures.MAX_STEPS, failures.MAX_DEPTH, scanner.MAX_NESTING,
        lexer.MAX_CONDITION, nodes.MAX_DEPTH, kinds.MAX_FIELDS, kinds.MAX_DEPTH, LONGEST_FAILURE, STREAMED,
    ]  # fmt: skip
