"""Rule 27: functions over the graph, as of the moment at which a step runs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from event_tables import failures, log_of, moment, sent

import flowdsl as fd
from flowdsl import fn, on, var

BLOCKS = fd.EntityGraph(links=[{"link_type": "blocks", "source_id": "cy", "target_id": "ann"}])


def likes(step: Any, **fields: Any) -> fd.Flow:
    """A flow on likes with one step, which hands on who liked."""
    return on("link.created", link_type="likes").where(step).map(who="{{ source_id }}", **fields).deliver("s")


def test_rule_27_unless_is_not_linked():
    log = log_of("""
        | at | kind         | type   | source | target |
        | 1  | link.created | likes  | ann    | cy     |
        | 2  | link.created | likes  | bob    | cy     |
        | 3  | link.created | blocks | cy     | bob    |
        | 4  | link.deleted | blocks | cy     | ann    |
        | 5  | link.created | likes  | ann    | cy     |
        | 6  | link.created | likes  | bob    | cy     |""")
    flow = likes("not linked(target_id, 'blocks', source_id)")
    assert sent(fd.replay(flow, log, BLOCKS), "who") == [(2, "bob"), (5, "ann")]
    assert sent(fd.replay(flow, log, BLOCKS, as_of="end"), "who") == [(1, "ann"), (5, "ann")]
    assert flow == likes(~fn.linked(var.target_id, "blocks", var.source_id))


def test_rule_27_a_milestone_counts_the_link_of_its_own_event_and_not_those_that_ended():
    log = log_of("""
        | at | kind         | source | target | id |
        | 1  | link.created | a      | p      | -  |
        | 2  | link.created | b      | p      | -  |
        | 3  | link.created | a      | p      | -  |
        | 4  | link.deleted | b      | p      | -  |
        | 5  | link.created | c      | p      | -  |
        | 6  | link.created | c      | p      | x  |
        | 7  | link.created | a      | q      | -  |""")
    counts = {
        "n": fn.count_links(var.target_id, "likes", direction="reverse"),
        "of": fn.count_links("a", "likes"),
    }
    result = fd.replay(likes("true", **counts), log)
    assert sent(result, "n", "of") == [(1, 1, 1), (2, 2, 1), (3, 2, 1), (5, 2, 1), (6, 3, 1), (7, 1, 2)]
    milestone = likes("count_links(target_id, 'likes', direction='reverse') in [2, 3]")
    assert sent(fd.replay(milestone, log), "who") == [(2, "b"), (3, "a"), (5, "c"), (6, "c")]


def test_rule_27_what_a_timer_releases_asks_the_graph_of_then():
    log = log_of("""
        | at | kind         | type   | source | target |
        | 1  | link.created | likes  | bob    | cy     |
        | 2  | link.created | blocks | cy     | bob    |
        | 3  | link.created | likes  | dan    | cy     |
        | 30 | link.created | likes  | eve    | x      |""")
    flow = (
        on("link.created", link_type="likes")
        .batch("source_id", window="5s")
        .where("not linked(target_id, 'blocks', source_id)")
        .map(who="{{ source_id }}", likes=fn.count_links("cy", "likes", direction="reverse"))
        .deliver("s")
    )
    for size in (None, 1, 2):
        assert sent(fd.replay(flow, log, chunk_size=size), "who", "likes") == [(8, "dan", 2), (35, "eve", 2)]


def test_rule_27_first_link_is_the_metadata_of_the_earliest_link_and_a_path_leads_into_it():
    graph = fd.EntityGraph(
        links=[
            {"link_type": "rates", "source_id": "ann", "target_id": "p", "metadata": {"stars": 4, "by": {"app": "x"}}},
            {"link_type": "rates", "source_id": "ann", "target_id": "q", "metadata": {"stars": 1}},
            {"link_type": "rates", "source_id": "bob", "target_id": "p"},
        ]
    )  # fmt: skip
    log = log_of("""
        | at | kind         | type  | source | target | data         |
        | 1  | link.created | likes | ann    | p      | -            |
        | 2  | link.created | likes | bob    | p      | -            |
        | 3  | link.created | likes | cy     | p      | -            |
        | 4  | link.deleted | rates | ann    | p      | -            |
        | 5  | link.created | likes | ann    | p      | -            |
        | 6  | link.created | rates | cy     | p      | {"stars": 5} |
        | 7  | link.created | likes | cy     | p      | -            |""")
    stars = likes(
        "first_link(source_id, 'rates').stars >= 1", stars=fn.first_link(var.source_id, "rates").stars
    )
    assert sent(fd.replay(stars, log, graph), "who", "stars") == [(1, "ann", 4), (5, "ann", 1), (7, "cy", 5)]
    there = likes('exists(first_link(source_id, "rates").by["app"])')
    assert sent(fd.replay(there, log, graph), "who") == [(1, "ann")]
    assert there == likes(fn.exists(fn.first_link(var.source_id, "rates").by["app"]))
    ends = likes("true", stars=fn.first_link(var.target_id, "rates", direction="reverse"))
    assert sent(fd.replay(ends, log, graph), "who") == [(1, "ann"), (2, "bob"), (3, "cy")]
    assert (
        failures(fd.replay(ends, log, graph))[0][2]
        == 'first_link(target_id, "rates", direction="reverse") is missing'
    )


def test_rule_27_a_link_keeps_metadata_of_an_event_that_no_flow_reads():
    log = log_of("""
        | at | kind         | type  | source | target | data         |
        | 1  | link.created | rates | ann    | p      | {"stars": 5} |
        | 2  | link.created | likes | ann    | p      | {"stars": 1} |""")
    flow = likes("metadata.stars == 1", stars=fn.first_link(var.source_id, "rates").stars)
    assert sent(fd.replay(flow, log), "who", "stars") == [(2, "ann", 5)]


def test_rule_27_a_missing_or_null_id_gives_false_0_and_missing_and_what_is_no_id_fails():
    rows = [
        "{}",
        '{"id": null}',
        '{"id": ""}',
        '{"id": "a"}',
        '{"id": 7}',
        '{"id": true}',
        '{"id": 1.5}',
        '{"id": ["a"]}',
    ]
    log = log_of(
        "| at | source | target | data |\n"
        + "\n".join(f"| {n} | a | 7 | {row} |" for n, row in enumerate(rows))
    )
    flow = likes(
        "linked(metadata.id, 'likes', 7) or linked('a', 'likes', metadata.id) or count_links(metadata.id, 'likes') == 0"
        " and not exists(first_link(metadata.id, 'likes'))"
    )
    result = fd.replay(flow, log)
    assert [at for at, _ in sent(result, "who")] == [0, 1, 2, 3, 4]
    assert failures(result) == [
        (6, 0, "linked needs an id, text or a whole number, but metadata.id is a boolean"),
        (7, 0, "linked needs an id, text or a whole number, but metadata.id is a number with a fraction"),
        (8, 0, "linked needs an id, text or a whole number, but metadata.id is an array"),
    ]


def test_rule_27_the_answers_are_told_by_explain_and_why():
    log = log_of("| at | source | target |\n| 1 | ann | cy |")
    flow = likes("not linked(target_id, 'blocks', source_id) and count_links(source_id, 'likes') < 9")
    result = fd.replay(flow, log, BLOCKS)
    text = str(result.explain(1))
    assert 'linked(target_id, "blocks", source_id) is true' in text
    assert 'count_links(source_id, "likes") is 1' in text
    assert 'linked(target_id, "blocks", source_id) is true' in str(result.why(1, "cy"))
    mapped = likes("true", n=fn.count_links(var.source_id, "likes"))
    assert 'count_links(source_id, "likes") is 1' in str(fd.replay(mapped, log).explain(1))


def test_rule_27_yaml_has_the_same_words_and_python_is_written_back():
    text = """
        - name: f
          trigger: {kind: link.created, link_type: likes}
          pipeline:
            - filter: {condition: "count_links(target_id, 'likes', direction='reverse') == 100"}
            - filter: {condition: "first_link(source_id, 'rates').stars > 3"}
            - map: {template: {title: "a hundred"}}
            - deliver: {sink: s}
    """
    flow = fd.load(text).flows[0]
    space: dict[str, Any] = {}
    exec(flow.to_python(), space)
    assert space["flow"].steps == flow.steps
    assert flow.steps[1] == on("link.created").where(fn.first_link(var.source_id, "rates").stars > 3).steps[0]


@pytest.mark.parametrize(
    ("condition", "construct", "nearest"),
    [
        ("not linked(target_id, 'blocks', source_id)", "no linked()", "resolve the other end over it"),
        ("count_links(target_id, 'likes') == 100", "no count_links()", "keep the number in the entity"),
        (
            "first_link(target_id, 'rates').stars > 3",
            'first_link(target_id, "rates").stars > 3',
            "keep what the link says in the entity",
        ),
        (
            "exists(first_link(target_id, 'rates'))",
            "no first_link()",
            "keep what the link says in the entity",
        ),
    ],
)
def test_rule_27_export_refuses_them_with_the_nearest_form(condition: str, construct: str, nearest: str):
    flow = likes(condition)
    with pytest.raises(fd.ExportError) as refused:
        flow.to_yaml()
    assert construct in str(refused.value)
    assert nearest in str(refused.value)
    found = [one for one in flow.check(target="this-rs") if one.code == "not-portable"]
    assert [one.step for one in found] == [0]
    assert nearest in str(found[0].hint)
    with pytest.raises(fd.ExportError, match="asks the graph"):
        likes("source_id == 'a'", n=fn.count_links(var.source_id, "likes")).to_yaml()


@pytest.mark.parametrize(
    ("condition", "what"),
    [
        ("linked(a, b)", "linked takes 3 arguments, not 2"),
        ("linked(target_id, source_id, 'blocks')", "linked takes a link type in quotes, not source_id"),
        ("linked(target_id, '', source_id)", "a link type is text that is not empty"),
        ("count_links(target_id, 'likes', direction='back') == 1", "direction 'back' is not known"),
        ("count_links(target_id, 'likes', way='reverse') == 1", "no argument 'way' that is given by name"),
        ("count_links(true, 'likes') == 1", "count_links needs text or numbers, but true is a boolean"),
        ("count_links(target_id, 'likes').n == 1", "count_links gives a number, which has no part 'n'"),
        ("count_links(target_id, 'likes')", "a condition must be true or false"),
        ("lower(target_id).n == 1", "has parts"),
        ("linked(nobody, 'likes', target_id)", "nobody"),
    ],
)
def test_rule_27_a_wrong_call_is_refused_on_its_line(condition: str, what: str):
    with pytest.raises(fd.FlowError) as refused:
        likes(condition)
    assert what in str(refused.value)


def test_rule_27_a_state_goes_on_with_counts_pairs_and_metadata():
    log = log_of("""
        | at | kind         | type  | source | target | data         |
        | 1  | link.created | rates | ann    | p      | {"stars": 2} |
        | 2  | link.created | likes | ann    | p      | -            |
        | 3  | link.created | rates | ann    | q      | {"stars": 3} |
        | 4  | link.deleted | rates | ann    | p      | -            |
        | 5  | link.created | likes | ann    | p      | -            |""")
    asked = {
        "n": fn.count_links(var.source_id, "rates"),
        "p": fn.linked(var.source_id, "rates", "p"),
        "stars": fn.first_link(var.source_id, "rates").stars,
    }
    flow = likes("true", **asked)
    whole = fd.replay(flow, log)
    assert sent(whole, "n", "p", "stars") == [(2, 1, True, 2), (5, 1, False, 3)]
    first = fd.replay(flow, log, stop=4)
    assert sent(fd.replay(flow, log, state=first.state), "n", "p", "stars") == [(5, 1, False, 3)]


@pytest.mark.parametrize("after", [3, 4])
def test_rule_27_a_live_run_answers_the_same_and_may_be_edited_to_ask_more(tmp_path, after: int):
    log = fd.ParquetEventLog(tmp_path / "log")
    events = [
        fd.link_created("rates", "ann", "p", metadata={"stars": 2}),
        fd.link_created("likes", "ann", "p"),
        fd.link_created("rates", "ann", "q", metadata={"stars": 3}),
        fd.link_deleted("rates", "ann", "p"),
        fd.link_created("likes", "ann", "p"),
    ]
    graph = fd.EntityGraph(links=[{"link_type": "rates", "source_id": "ann", "target_id": "o", "link_id": "l", "metadata": {"stars": 1}}])  # fmt: skip
    before = on("link.created", link_type="likes", name="f").resolve(
        "source_id", as_="u", via="rates", required=False
    )
    stars = fn.first_link(var.source_id, "rates").stars
    edited = before.where("linked(source_id, 'rates', 'o') and count_links(source_id, 'rates') == 2").map(
        stars=stars
    )
    received = fd.sinks.Frame()
    for number, event in enumerate(events, 1):
        log.append(event, timestamp=moment(number))
        flow = before.map(stars=0) if number <= after else edited
        runtime = fd.Runtime(flow.deliver("s"), log, graph, {"s": received}, consumer_name="c")
        runtime.run_until_idle(position="beginning" if number == 1 else None)
    assert received.frame()["stars"].tolist() == [0, 1]


def test_rule_27_many_links_between_two_ids_are_counted_and_not_gone_through():
    many = 300
    log = [
        {"seq_no": n + 1, "timestamp": f"{moment(n):%Y-%m-%dT%H:%M:%SZ}", "event": event}
        for n, event in enumerate(
            [fd.link_created("likes", "a", "b", link_id=str(n)) for n in range(many)]
            + [fd.link_deleted("likes", "a", "b", link_id=str(n)) for n in range(many)]
            + [fd.link_created("likes", "c", "b")]
        )
    ]
    flow = (
        on("link.deleted")
        .map(there=fn.linked("a", "likes", "b"), n=fn.count_links("a", "likes"))
        .deliver("s")
    )
    for size in (None, 64):
        found = fd.replay(flow, log, chunk_size=size)["s"]
        assert found["n"].tolist() == list(reversed(range(many)))
        assert np.flatnonzero(~found["there"].to_numpy(bool)).tolist() == [many - 1]
