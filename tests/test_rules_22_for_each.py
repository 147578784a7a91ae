"""Rule 22: a branch for each element of a list."""

from __future__ import annotations

import json
from typing import Any

import polars as pl
import pytest
from event_tables import drops, failures, log_of, moment, sent

import flowdsl as fd
from flowdsl import on, var

MENTIONS = on("entity.created").for_each("data.mentions", as_="who")
TOLD = MENTIONS.map(who=var.who, at=var.who_index).deliver("s")
VALUES: list[Any] = [
    "ann",
    "",
    'é "q"\n',
    "a,b",
    1,
    -2.5,
    2**53 + 1,
    True,
    None,
    [],
    ["x", ["y"]],
    {"id": "ann"},
    {},
]
CHUNKS = pytest.mark.parametrize("chunk_size", [1, 2, None])


def posts(*mentions: Any) -> list[dict[str, Any]]:
    """A post for each value of `mentions`, one a second."""
    return [
        {
            "timestamp": moment(at),
            "event": fd.entity_created("post", f"p{at}", {"mentions": one}),
        }
        for at, one in enumerate(mentions)
    ]


def told(result: fd.Result) -> list[Any]:
    """What was delivered: branch, element and position."""
    payloads = [json.loads(text) for text in result.deliveries["payload"]]
    return [
        (branch, one["who"], one["at"])
        for branch, one in zip(result.deliveries["branch"], payloads, strict=True)
    ]


@CHUNKS
def test_rule_22_each_element_is_a_branch_in_list_order_whatever_its_type(chunk_size: int | None) -> None:
    result = fd.replay(TOLD, posts(VALUES, ["ann", "bob"]), chunk_size=chunk_size)
    wanted = [(str(at), one, at) for at, one in enumerate(VALUES)]
    assert told(result) == [*wanted, ("0", "ann", 0), ("1", "bob", 1)]
    assert result.steps["extra_branches"].tolist()[0] == len(VALUES) - 1 + 1


@pytest.mark.parametrize(
    "texts", [["a", "b"], [",", '","', ""], ["[", "]", "{}"], ["\\", '"'], ["ü", "漢字"], [""]]
)
def test_rule_22_texts_are_taken_as_they_are_in_a_large_batch_too(texts: list[str]) -> None:
    # so many lists are taken apart as columns
    result = fd.replay(TOLD, posts(*[texts, [1, *texts], []] * 200))
    assert [who for _, who, _ in told(result)] == [*texts, 1, *texts] * 200
    assert drops(result) == {"no items": 200}


@CHUNKS
def test_rule_22_nothing_to_go_over_is_dropped_and_what_is_no_list_fails(chunk_size: int | None) -> None:
    log = posts([], None, "ann", 3, {"a": 1}, ["x"])
    del log[1]["event"]["data"]["mentions"]
    result = fd.replay(
        TOLD,
        [
            *log,
        ],
        chunk_size=chunk_size,
    )
    assert drops(result) == {"no items": 2}
    assert failures(result) == [(n, 0, "data.mentions is not a list") for n in (3, 4, 5)]
    assert [who for _, who, _ in told(result)] == ["x"]


def test_rule_22_a_null_list_is_dropped() -> None:
    assert drops(fd.replay(TOLD, posts(None))) == {"no items": 1}


def test_rule_22_an_element_that_is_an_id_is_looked_up_and_paths_lead_into_objects() -> None:
    graph = fd.EntityGraph({"user": {"ann": {"name": "Ann"}, "7": {"name": "Seven"}}})
    flow = MENTIONS.resolve("who", as_="person").map(name="{{ person.name }}").deliver("s")
    assert sent(fd.replay(flow, posts(["ann", 7]), graph), "name") == [(0, "Ann"), (0, "Seven")]
    inside = (
        MENTIONS.where("who.kind == 'user'")
        .resolve("who.id", as_="p")
        .map(name="{{ who.id }} {{ p.name }}")
        .deliver("s")
    )
    people = [{"kind": "user", "id": "ann"}, {"kind": "bot", "id": "7"}, {"kind": "user", "id": 7}]
    assert sent(fd.replay(inside, posts(people), graph), "name") == [(0, "ann Ann"), (0, "7 Seven")]


def test_rule_22_lists_of_arrow_columns_go_as_json_does() -> None:
    for values in (["ann", "bob"], [1, 2], [0.5], [{"id": "ann", "n": 1}], [["x"], []]):
        log = posts(values, [], values[:1])
        frame = pl.DataFrame(
            {
                "kind": ["entity.created"] * 3,
                "timestamp": [moment(at) for at in range(3)],
                "entity_type": ["post"] * 3,
                "entity_id": ["p0", "p1", "p2"],
                "data": [{"mentions": values}, {"mentions": []}, {"mentions": values[:1]}],
            }
        )
        result = fd.replay(TOLD, frame)
        assert told(result) == told(fd.replay(TOLD, log))
        assert drops(result) == {"no items": 1}


def test_rule_22_a_batch_is_gone_over_again_and_entities_have_lists_too() -> None:
    flow = (
        on("link.created")
        .batch("target_id", window="5s")
        .for_each("batch.items", as_="fan")
        .resolve("target_id", as_="post")
        .for_each("post.tags", as_="tag")
        .map(text="{{ fan }} {{ fan_index }} {{ tag }}")
        .deliver("s")
    )
    graph = fd.EntityGraph({"post": {"p1": {"tags": ["x", "y"]}}})
    log = log_of("at | source | target\n0 | ann | p1\n1 | bob | p1")
    result = fd.replay(flow, log, graph)
    assert sent(result, "text", "branch") == [
        (5, "ann 0 x", "0.0"), (5, "ann 0 y", "0.1"), (5, "bob 1 x", "1.0"), (5, "bob 1 y", "1.1"),
    ]  # fmt: skip


def test_rule_22_branches_take_part_in_later_steps_one_by_one() -> None:
    once = MENTIONS.deduplicate("who", window="1h").rate_limit(3, per="1h").map(who="{{ who }}").deliver("s")
    result = fd.replay(once, posts(["a", "b", "a"], ["b", "c", "d", "e"]))
    assert sent(result, "who") == [(0, "a"), (0, "b"), (1, "c")]
    assert drops(result) == {"duplicate": 2, "rate limited": 2}


@CHUNKS
def test_rule_22_an_event_has_a_limit_of_branches(
    chunk_size: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flowdsl.kernels.branch_limit.MAX_BRANCHES", 10)
    twice = MENTIONS.for_each("data.mentions", as_="other").map(x="{{ who }}{{ other }}").deliver("s")
    result = fd.replay(twice, posts(["a", "b", "c", "d"], ["a"]), chunk_size=chunk_size)
    assert [text for _, text in sent(result, "x")] == ["aa", "ab", "ac", "ad", "ba", "bb", "bc", "bd", "aa"]
    assert failures(result) == [(1, 1, "its event goes into more than 10 branches here")] * 2


def test_rule_22_many_branches_go_on_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    log = posts(*[[f"u{n}" for n in range(size)] for size in range(12)])
    flow = MENTIONS.for_each("data.mentions", as_="other").map(x="{{ who }} {{ other }}").deliver("s")
    whole = fd.replay(flow, log)
    monkeypatch.setattr("flowdsl.engine.executor.STREAMED", 5)
    pieces = fd.replay(flow, log)
    assert sent(pieces, "x", "branch") == sent(whole, "x", "branch")
    assert len(sent(whole)) == sum(n * n for n in range(12))


def test_rule_22_a_list_is_a_path_or_an_expression_and_no_truth() -> None:
    assert on("entity.created").for_each(var.data.mentions, as_="who") == MENTIONS
    with pytest.raises(fd.FlowError, match="for_each goes over a list"):
        on("entity.created").for_each("data.n > 1", as_="who")
    with pytest.raises(fd.FlowError, match="no variable 'dta'"):
        on("entity.created").for_each("dta.mentions", as_="who")


def test_rule_22_production_has_no_lists_and_is_told_so() -> None:
    with pytest.raises(fd.FlowError, match="no operator 'for_each'") as error:
        TOLD.portable()
    assert "fan_out" in str(error.value)
    assert any(found.code == "not-portable" and found.step == 0 for found in TOLD.check(target="this-rs"))


def test_rule_22_it_is_written_and_read_again() -> None:
    assert eval(TOLD.to_python().partition("flow = ")[2]) == TOLD
    text = """
    name: told
    trigger: {kind: entity.created}
    pipeline:
      - for_each: {path: data.mentions, as: who}
    """
    assert fd.load(text).flows[0].steps == MENTIONS.steps


def test_rule_22_why_says_that_there_was_nothing_in_it() -> None:
    text = str(fd.replay(TOLD, posts([])).why(1, "ann"))
    assert "It was dropped at step 0 (for_each): there is nothing in it, for data.mentions is []." in text


def test_rule_22_state_goes_on_in_the_middle_of_what_branches_wait_for() -> None:
    flow = MENTIONS.batch("who", window="10s").map(who="{{ who }}", n=var.batch.count).deliver("s")
    log = posts(["a", "b"], ["a"], ["b", {"x": 1}])
    whole = fd.replay(flow, log)
    first = fd.replay(flow, log, stop=2, open_windows="keep")
    assert first.open["held"].tolist() == [1, 1]
    assert sent(fd.replay(flow, log, state=first.state), "who", "n") == sent(whole, "who", "n")
