"""Rules 10 to 17: the eight operators."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from event_tables import counts, drops, failures, log_of, sent

import flowdsl as fd
from flowdsl import Flow, on, var

USERS = {"user": {"ann": {"name": "Ann"}, "bob": {"name": "Bob"}, "cem": {"name": "Cem"}}}
LIKED = on("link.created", link_type="likes")


def link(source: str, target: str, link_type: str = "follows") -> dict[str, str]:
    return {"link_type": link_type, "source_id": source, "target_id": target}


def to_s(flow: Flow, **fields: object) -> Flow:
    """The flow with a payload and a sink."""
    return flow.map(fields or {"who": "{{ source_id }}"}).deliver("s")


# -- rule 10: resolve --------------------------------------------------------------------------------------


def test_rule_10_resolve_sets_a_variable_to_the_entity() -> None:
    flow = to_s(LIKED.resolve("source_id", as_="fan"), name="{{ fan.name }}", fan=var.fan)
    result = fd.replay(flow, log_of("at\n 0"), fd.EntityGraph(USERS))
    assert sent(result, "name", "fan") == [(0, "Ann", {"id": "ann", "name": "Ann"})]


def test_rule_10_via_follows_a_link_forward_or_in_reverse() -> None:
    graph = fd.EntityGraph(USERS, [link("ann", "bob"), link("cem", "ann")])
    flow = LIKED.resolve("source_id", via="follows", as_="to").resolve(
        "source_id", via="follows", direction="reverse", as_="by"
    )
    log = log_of("at\n 0")
    assert sent(fd.replay(to_s(flow, to="{{ to.id }}", by="{{ by.id }}"), log, graph), "to", "by") == [
        (0, "bob", "cem")
    ]


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("nobody", "no entity has the id in 'source_id'"),
        ("ann", "no 'follows' link from 'source_id'"),
        ("bob", "no entity at the other end of the 'follows' link from 'source_id'"),
    ],
)
def test_rule_10_not_found_or_no_link_fails_the_event_at_this_step(source: str, why: str) -> None:
    via = None if source == "nobody" else "follows"
    flow = to_s(LIKED.where("true == true").resolve("source_id", via=via, as_="x"))
    graph = fd.EntityGraph(USERS, [link("bob", "gone")])
    assert failures(fd.replay(flow, log_of(f"at | source\n 0 | {source}"), graph)) == [(1, 1, why)]


@pytest.mark.parametrize("source", ["nobody", "ann", "bob"])
def test_rule_10_with_required_false_the_variable_is_missing_instead(source: str) -> None:
    via = None if source == "nobody" else "follows"
    flow = to_s(LIKED.resolve("source_id", via=via, as_="x", required=False).where("x not_exists"))
    graph = fd.EntityGraph(USERS, [link("bob", "gone")])
    assert sent(fd.replay(flow, log_of(f"at | source\n 0 | {source}"), graph)) == [0]


def test_rule_10_an_entity_that_is_not_required_hides_what_had_its_name() -> None:
    flow = to_s(
        LIKED.resolve("source_id", as_="x")
        .resolve("target_id", as_="x", required=False)
        .where("x not_exists")
    )
    assert sent(fd.replay(flow, log_of("at\n 0"), fd.EntityGraph(USERS))) == [0]


@pytest.mark.parametrize("data", ["{}", '{"by": null}'])
def test_rule_10_an_id_that_is_not_there_fails_unless_the_entity_is_not_required(data: str) -> None:
    log = log_of(f"at | data\n 0 | {data}")
    assert len(fd.replay(to_s(LIKED.resolve("metadata.by", as_="x")), log).errors) == 1
    assert len(fd.replay(to_s(LIKED.resolve("metadata.by", as_="x", required=False)), log)) == 1


@pytest.mark.parametrize("data", ['{"by": ""}', '{"by": 1.5}', '{"by": ["ann"]}'])
def test_rule_10_a_value_that_is_no_id_fails_even_so(data: str) -> None:
    flow = to_s(LIKED.resolve("metadata.by", as_="x", required=False))
    assert len(fd.replay(flow, log_of(f"at | data\n 0 | {data}")).errors) == 1


# -- rule 11: fan_out --------------------------------------------------------------------------------------

FOLLOWERS = LIKED.fan_out("source_id", via="follows", direction="reverse", as_="f")
FOLLOWED = fd.EntityGraph(USERS, [link("cem", "ann"), link("gone", "ann"), link("bob", "ann")])


def test_rule_11_fan_out_makes_one_branch_for_each_link_in_link_order() -> None:
    result = fd.replay(to_s(FOLLOWERS, id="{{ f_id }}"), log_of("at\n 0"), FOLLOWED)
    assert sent(result, "id", "branch") == [(0, "cem", "0"), (0, "gone", "1"), (0, "bob", "2")]
    assert counts(result, 0) == {"entered": 1, "extra_branches": 2, "passed": 3}


def test_rule_11_a_branch_has_the_entity_or_its_id_where_there_is_none() -> None:
    result = fd.replay(to_s(FOLLOWERS, f=var.f), log_of("at\n 0"), FOLLOWED)
    assert [f for _, f in sent(result, "f")] == [
        '{"id":"cem","name":"Cem"}',
        '"gone"',
        '{"id":"bob","name":"Bob"}',
    ]


def test_rule_11_without_links_the_event_is_dropped() -> None:
    result = fd.replay(to_s(FOLLOWERS), log_of("at | source\n 0 | bob"), FOLLOWED)
    assert drops(result) == {"no links": 1}
    assert len(result.errors) == 0


def test_rule_11_branches_are_independent() -> None:
    """One is filtered, one fails, one arrives."""
    flow = to_s(FOLLOWERS.where("f_id != 'cem'").resolve("f_id", as_="x"), id="{{ f_id }}")
    result = fd.replay(flow, log_of("at\n 0"), FOLLOWED)
    assert sent(result, "id") == [(0, "bob")]
    assert drops(result) == {"filtered": 1}
    assert result.errors["branch"].tolist() == ["1"]


def test_rule_11_branches_take_part_in_later_operators_one_by_one() -> None:
    assert sent(
        fd.replay(to_s(FOLLOWERS.rate_limit(2, per="1h"), id="{{ f_id }}"), log_of("at\n 0"), FOLLOWED), "id"
    ) == [
        (0, "cem"),
        (0, "gone"),
    ]
    flow = FOLLOWERS.deduplicate("source_id", window="1h").map(id="{{ f_id }}").deliver("s")
    assert sent(fd.replay(flow, log_of("at\n 0"), FOLLOWED), "id") == [(0, "cem")]
    flow = FOLLOWERS.batch("source_id", window="1s").map(id="{{ f_id }}", n=var.batch.count).deliver("s")
    assert sent(fd.replay(flow, log_of("at\n 0"), FOLLOWED), "id", "n") == [(1, "bob", 3)]


def test_rule_11_nested_branches_are_ordered_by_the_first_fan_out_then_the_second() -> None:
    graph = fd.EntityGraph(
        {},
        [
            link("x", "ann"),
            link("y", "ann"),
            link("x", "1", "has"),
            link("y", "2", "has"),
            link("x", "3", "has"),
        ],
    )
    flow = to_s(FOLLOWERS.fan_out("f_id", via="has", as_="g"), id="{{ f_id }}{{ g_id }}")
    assert sent(fd.replay(flow, log_of("at\n 0"), graph), "id", "branch") == [
        (0, "x1", "0.0"),
        (0, "x3", "0.1"),
        (0, "y2", "1.0"),
    ]


# -- rule 12: where ----------------------------------------------------------------------------------------


def test_rule_12_what_is_false_is_dropped() -> None:
    result = fd.replay(to_s(LIKED.where(var.source_id == "bob")), log_of("at | source\n 0 | ann\n 1 | bob"))
    assert sent(result, "who") == [(1, "bob")]
    assert drops(result) == {"filtered": 1}


# -- rule 13: deduplicate ----------------------------------------------------------------------------------

ONCE = to_s(LIKED.deduplicate("target_id", window="3s"))


def test_rule_13_the_first_of_a_key_passes_and_the_others_in_its_window_do_not() -> None:
    result = fd.replay(ONCE, log_of("at | source\n 0 | a\n 1 | b\n 2.999 | c"))
    assert sent(result, "who") == [(0, "a")]
    assert drops(result) == {"duplicate": 2}


def test_rule_13_at_exactly_the_window_the_next_one_passes() -> None:
    assert sent(fd.replay(ONCE, log_of("at | source\n 0 | a\n 3 | b\n 5 | c\n 6 | d")), "who") == [
        (0, "a"),
        (3, "b"),
        (6, "d"),
    ]


def test_rule_13_a_duplicate_does_not_extend_the_window() -> None:
    assert sent(fd.replay(ONCE, log_of("at\n 0\n 2\n 3\n 4\n 5\n 6"))) == [0, 3, 6]


def test_rule_13_keys_are_apart() -> None:
    assert sent(fd.replay(ONCE, log_of("at | target\n 0 | p1\n 1 | p2\n 2 | p1")), "recipient_id") == [
        (0, "p1"),
        (1, "p2"),
    ]


def test_rule_13_several_paths_are_one_key() -> None:
    flow = to_s(LIKED.deduplicate(["source_id", "target_id"], window="3s"))
    log = log_of("at | source | target\n 0 | a | p\n 0 | a | q\n 0 | b | p\n 0 | a | p")
    assert fd.replay(flow, log)["s"]["seq_no"].tolist() == [1, 2, 3]


def test_rule_13_keys_are_compared_as_typed_values() -> None:
    values = ["1", '"1"', "true", "1.0", '"true"', '{"a":1,"b":2}', '{"b":2.0,"a":1}', "[1]", '""']
    log = log_of("at | data\n" + "\n".join(f'0 | {{"k": {value}}}' for value in values))
    flow = to_s(LIKED.deduplicate("metadata.k", window="3s"))
    assert fd.replay(flow, log)["s"]["seq_no"].tolist() == [1, 2, 3, 5, 6, 8, 9]


@pytest.mark.parametrize("step", [LIKED.deduplicate, LIKED.batch], ids=["deduplicate", "batch"])
def test_rule_13_keys_that_are_numbers_stay_apart_from_texts_that_come_in_a_later_chunk(
    step: Callable[..., Flow],
) -> None:
    values = [*range(40), *(f'"k{number}"' for number in range(40))]
    log = log_of("at | data\n" + "\n".join(f'0 | {{"k": {value}}}' for value in values))
    result = fd.replay(to_s(step("metadata.k", window="3s")), log, chunk_size=40)
    assert len(result["s"]) == 80


def test_rule_13_a_window_of_0s_lets_everything_pass() -> None:
    assert sent(fd.replay(to_s(LIKED.deduplicate("target_id", window="0s")), log_of("at\n 0\n 0\n 1"))) == [
        0,
        0,
        1,
    ]


# -- rule 14: batch ----------------------------------------------------------------------------------------

DIGEST = LIKED.batch("target_id", window="5s").map(who="{{ source_id }}", n=var.batch.count).deliver("s")


def test_rule_14_a_window_opens_with_the_first_and_closes_by_timer() -> None:
    """Whether or not another event of its key comes."""
    result = fd.replay(DIGEST, log_of("at | source | target\n 0 | a | p1\n 4.999 | b | p1\n 60 | c | p2"))
    assert sent(result, "who", "n", "closed_by")[0] == (5, "b", 2, "timer")


def test_rule_14_an_event_at_the_end_of_a_window_opens_the_next_one() -> None:
    result = fd.replay(DIGEST, log_of("at | source\n 0 | a\n 5 | b\n 9 | c\n 10 | d"))
    assert sent(result, "who", "n") == [(5, "a", 1), (10, "c", 2), (15, "d", 1)]


def test_rule_14_it_goes_on_as_one_context_with_the_last_members_variables() -> None:
    result = fd.replay(DIGEST, log_of("at | source\n 0 | a\n 1 | b\n 2 | c"))
    assert result["s"][["seq_no", "event_id", "who", "n"]].values.tolist() == [[3, "e3", "c", 3]]
    assert counts(result, 0) == {"entered": 3, "passed": 1, "absorbed": 2}


def test_rule_14_the_batch_is_a_variable_under_two_names() -> None:
    flow = (
        LIKED.batch("target_id", window="5s")
        .map(batch=var.batch, same=var("_batch") if False else var.batch.count)
        .deliver("s")
    )
    result = fd.replay(flow, log_of("at | source\n 0 | a\n 1.5 | b"))
    assert result["s"]["batch"][0] == {
        "count": 2,
        "key": "p1",
        "items": ["a", "b"],
        "first_at": "2026-01-01T00:00:00Z",
        "last_at": "2026-01-01T00:00:01.500Z",
        "closed_at": "2026-01-01T00:00:05Z",
        "closed_by": "end",
    }
    flow = LIKED.batch("target_id", window="5s").map(n="{{ _batch.count }} {{ batch.count }}").deliver("s")
    assert sent(fd.replay(flow, log_of("at\n 0\n 1")), "n") == [(5, "2 2")]


def test_rule_14_the_items_are_each_events_source_or_else_its_entity() -> None:
    flow = on("entity.updated").batch("entity_type", window="5s").map(items="{{ batch.items }}").deliver("s")
    log = log_of("at | kind | type | id\n 0 | entity.updated | user | a\n 1 | entity.updated | user | b")
    assert sent(fd.replay(flow, log), "items") == [(5, "[a, b]")]
    flow = on("link.deleted").batch("event.kind", window="5s").map(items=var.batch.items).deliver("s")
    log = log_of("at | kind | type | source | target | id\n 0 | link.deleted | - | - | - | l1")
    assert json.loads(fd.replay(flow, log).deliveries["payload"][0]) == {"items": [""]}


def test_rule_14_keys_have_windows_of_their_own() -> None:
    result = fd.replay(DIGEST, log_of("at | source | target\n 0 | a | p1\n 1 | b | p2\n 2 | c | p1"))
    assert sent(result, "who", "n", "recipient_id") == [(5, "c", 2, "p1"), (6, "b", 1, "p2")]


def test_rule_14_fewer_than_min_count_are_dropped_all() -> None:
    flow = to_s(LIKED.batch("target_id", window="5s", min_count=3))
    result = fd.replay(flow, log_of("at\n 0\n 1\n 5\n 6\n 7"))
    assert sent(result) == [10]
    assert drops(result) == {"batch below min_count": 2}


def test_rule_14_a_missing_key_fails() -> None:
    result = fd.replay(to_s(LIKED.batch("metadata.k", window="5s")), log_of("at | data\n 0 | {}"))
    assert failures(result) == [(1, 0, "the key 'metadata.k' is missing")]


@pytest.mark.parametrize("together", [1, 1 << 20])
def test_rule_14_all_that_comes_of_the_end_of_the_log_is_provisional(
    together: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # very many contexts go on in pieces
    monkeypatch.setattr("flowdsl.engine.executor.STREAMED", together)
    queue = on("link.created").rate_limit(1, per="1s", strategy="queue")
    flow = queue.batch("target_id", window="0s").map(n=var.batch.count).deliver("s")
    result = fd.replay(flow, log_of("at\n 0\n 0\n 0\n 0"))
    closed = [(0, 1, "timer"), (1, 1, "end"), (2, 1, "end"), (3, 1, "end")]
    assert sent(result, "n", "closed_by") == closed


def test_rule_14_at_the_end_of_the_log_windows_close_as_if_time_went_on() -> None:
    flow = DIGEST.batch("target_id", window="10s").map(n=var.batch.count).deliver("later")
    result = fd.replay(flow, log_of("at\n 0\n 6"))
    assert sent(result, "n", "closed_by") == [(5, 1, "timer"), (11, 1, "end")]
    assert sent(result, "n", "closed_by", sink="later") == [(15, 2, "end")]


def test_rule_14_with_keep_they_stay_open_and_are_listed() -> None:
    result = fd.replay(DIGEST, log_of("at | target\n 0 | p1\n 6 | p1\n 7 | p2\n 8 | p1"), open_windows="keep")
    assert sent(result, "closed_by") == [(5, "timer")]
    opened = result.open
    assert opened[["step", "operator", "held", "last_seq_no"]].values.tolist() == [
        [0, "batch", 2, 4],
        [0, "batch", 1, 3],
    ]
    assert opened["opened_at"].dt.second.tolist() == [6, 7]
    assert opened["due_at"].dt.second.tolist() == [11, 12]
    assert counts(result, 0) == {"entered": 4, "passed": 1, "held": 3}


def test_rule_14_a_window_of_0s_closes_before_the_next_event() -> None:
    flow = LIKED.batch("target_id", window="0s").map(n=var.batch.count).deliver("s")
    assert sent(fd.replay(flow, log_of("at\n 0\n 0\n 1")), "n", "closed_by") == [
        (0, 1, "timer"),
        (0, 1, "timer"),
        (1, 1, "end"),
    ]


def test_rule_14_a_window_of_0s_takes_one_branch_only() -> None:
    flow = to_s(FOLLOWERS.batch("source_id", window="0s"), n=var.batch.count)
    assert sent(fd.replay(flow, log_of("at\n 0"), FOLLOWED), "n", "branch", "closed_by") == [
        (0, 1, "0", "timer"),
        (0, 1, "1", "timer"),
        (0, 1, "2", "end"),
    ]


def test_rule_14_the_payload_of_the_last_member_goes_on() -> None:
    flow = LIKED.map(who="{{ source_id }}").batch("target_id", window="5s").deliver("s")
    assert sent(fd.replay(flow, log_of("at | source\n 0 | a\n 1 | b")), "who") == [(5, "b")]


# -- rule 15: rate_limit -----------------------------------------------------------------------------------


def test_rule_15_the_bucket_is_full_at_the_start() -> None:
    result = fd.replay(to_s(LIKED.rate_limit(3, per="1h")), log_of("at\n 0\n 0\n 1\n 2"))
    assert sent(result) == [0, 0, 1]
    assert drops(result) == {"rate limited": 1}


def test_rule_15_it_refills_steadily() -> None:
    """A token every 2 s, not two of them after 4 s."""
    assert sent(fd.replay(to_s(LIKED.rate_limit(2, per="4s")), log_of("at\n 0\n 0\n 1\n 2\n 3\n 4"))) == [
        0,
        0,
        2,
        4,
    ]


def test_rule_15_it_never_holds_more_than_max() -> None:
    assert sent(fd.replay(to_s(LIKED.rate_limit(2, per="4s")), log_of("at\n 0\n 100\n 100\n 100"))) == [
        0,
        100,
        100,
    ]


def test_rule_15_tokens_are_counted_exactly() -> None:
    """3 per 1 s: the token is there at 333.334 ms, a microsecond earlier it is not."""
    flow = to_s(LIKED.rate_limit(3, per="1s"))
    assert len(fd.replay(flow, log_of("at\n 0\n 0\n 0\n 0.333333"))) == 3
    assert len(fd.replay(flow, log_of("at\n 0\n 0\n 0\n 0.333334"))) == 4
    table = "at\n" + "\n".join(["0"] * 7 + [f"{i + 1}" for i in range(500)])
    assert len(fd.replay(to_s(LIKED.rate_limit(7, per="7s")), log_of(table))) == 507


def test_rule_15_with_a_key_each_value_has_a_bucket() -> None:
    log = log_of("at | source | target\n 0 | a | p1\n 0 | b | p1\n 0 | a | p2")
    assert fd.replay(to_s(LIKED.rate_limit(1, per="1h", key="target_id")), log)["s"]["seq_no"].tolist() == [
        1,
        3,
    ]
    assert fd.replay(to_s(LIKED.rate_limit(1, per="1h")), log)["s"]["seq_no"].tolist() == [1]
    flow = to_s(LIKED.rate_limit(1, per="1h", key=["source_id", "target_id"]))
    assert fd.replay(flow, log)["s"]["seq_no"].tolist() == [1, 2, 3]


@pytest.mark.parametrize("per", ["0s", "1s"])
def test_rule_15_a_missing_key_fails(per: str) -> None:
    result = fd.replay(to_s(LIKED.rate_limit(1, per=per, key="metadata.k")), log_of("at | data\n 0 | {}"))
    assert failures(result) == [(1, 0, "the key 'metadata.k' is missing")]


def test_rule_15_a_queue_holds_events_in_order_until_there_is_a_token() -> None:
    flow = to_s(LIKED.rate_limit(1, per="2s", strategy="queue"))
    result = fd.replay(flow, log_of("at | source\n 0 | a\n 0 | b\n 1 | c\n 10 | d"))
    assert sent(result, "who", "closed_by") == [
        (0, "a", None),
        (2, "b", None),
        (4, "c", None),
        (10, "d", None),
    ]


def test_rule_15_who_comes_while_others_wait_waits_behind_them() -> None:
    flow = to_s(LIKED.rate_limit(1, per="2s", strategy="queue"))
    assert sent(fd.replay(flow, log_of("at | source\n 0 | a\n 0 | b\n 2 | c")), "who") == [
        (0, "a"),
        (2, "b"),
        (4, "c"),
    ]


def test_rule_15_queues_follow_open_windows_as_batches_do() -> None:
    flow = to_s(LIKED.rate_limit(1, per="2s", strategy="queue"))
    log = log_of("at | source\n 0 | a\n 0 | b\n 1 | c")
    assert sent(fd.replay(flow, log), "who", "closed_by") == [
        (0, "a", None),
        (2, "b", "end"),
        (4, "c", "end"),
    ]
    kept = fd.replay(flow, log, open_windows="keep")
    assert sent(kept, "who") == [(0, "a")]
    assert kept.open["due_at"].dt.second.tolist() == [2, 4]
    assert kept.open["opened_at"].dt.second.tolist() == [0, 1]
    assert counts(kept, 0) == {"entered": 3, "passed": 1, "held": 2}


def test_rule_15_keys_of_a_queue_do_not_wait_for_each_other() -> None:
    flow = to_s(LIKED.rate_limit(1, per="2s", strategy="queue", key="target_id"))
    log = log_of("at | source | target\n 0 | a | p1\n 0 | b | p1\n 0 | c | p2\n 9 | d | p3")
    assert sent(fd.replay(flow, log), "who") == [(0, "a"), (0, "c"), (2, "b"), (9, "d")]


def test_rule_15_a_queue_with_max_0_is_refused() -> None:
    with pytest.raises(fd.BuildError, match="never lets anything out"):
        LIKED.rate_limit(0, per="1s", strategy="queue")


def test_rule_15_max_0_drops_everything_and_per_0s_never_limits() -> None:
    assert sent(fd.replay(to_s(LIKED.rate_limit(0, per="1s")), log_of("at\n 0\n 9"))) == []
    assert sent(fd.replay(to_s(LIKED.rate_limit(1, per="0s")), log_of("at\n 0\n 0\n 0"))) == [0, 0, 0]


# -- rule 16: map ------------------------------------------------------------------------------------------


def test_rule_16_each_text_is_a_template_and_other_values_pass() -> None:
    flow = LIKED.map(
        {"a": ["{{ source_id | upper }}", 1, True, None], "b": {"c": "x{{ target_id }}"}, "d": 1.5}
    ).deliver("s")
    assert json.loads(fd.replay(flow, log_of("at\n 0")).deliveries["payload"][0]) == {
        "a": ["ANN", 1, True, None],
        "b": {"c": "xp1"},
        "d": 1.5,
    }


def test_rule_16_a_template_may_be_a_bare_text() -> None:
    result = fd.replay(LIKED.map("{{ source_id }}!").deliver("s"), log_of("at\n 0"))
    assert result.deliveries["payload"].tolist() == ['"ann!"']
    assert sent(result, "payload") == [(0, "ann!")]


def test_rule_16_an_expression_keeps_the_type_of_its_value() -> None:
    flow = LIKED.map(n=var.metadata.n, text="{{ metadata.n }}", more=var.metadata.n + 1).deliver("s")
    assert sent(fd.replay(flow, log_of('at | data\n 0 | {"n": 2}')), "n", "text", "more") == [(0, 2, "2", 3)]


def test_rule_16_an_unknown_variable_at_an_event_fails_there() -> None:
    log = log_of('at | data\n 0 | {}\n 1 | {"n": 1}')
    assert failures(fd.replay(LIKED.map(n="{{ metadata.n }}").deliver("s"), log)) == [
        (1, 0, "variable `metadata.n` is missing")
    ]
    assert failures(fd.replay(LIKED.map(n=var.metadata.n).deliver("s"), log)) == [
        (1, 0, "metadata.n is missing")
    ]


def test_rule_16_a_type_error_fails() -> None:
    result = fd.replay(LIKED.map(n="{{ metadata | upper }}").deliver("s"), log_of("at | data\n 0 | {}"))
    assert [(seq_no, step) for seq_no, step, _ in failures(result)] == [(1, 0)]


@pytest.mark.parametrize(
    ("template", "why"),
    [
        ("{{ source_id", "expected|end|close"),
        ("{{ source_id | uper }}", "unknown filter `uper`"),
        ("{{ owner.id }}", "there is no variable 'owner'"),
        ("{{ source_id.x }}", "has no parts"),
    ],
)
def test_rule_16_what_can_never_work_is_refused_when_the_flow_is_built(template: str, why: str) -> None:
    with pytest.raises(fd.BuildError, match=why):
        LIKED.map(title=template)


def test_rule_16_a_later_map_replaces_the_payload() -> None:
    flow = LIKED.map(a="1", b="2").deliver("s").map(c="3").deliver("t")
    result = fd.replay(flow, log_of("at\n 0"))
    assert result.deliveries["payload"].tolist() == ['{"a":"1","b":"2"}', '{"c":"3"}']


# -- rule 17: deliver --------------------------------------------------------------------------------------


def test_rule_17_deliver_hands_the_payload_to_each_sink_and_goes_on() -> None:
    flow = LIKED.map(x="1").deliver("s", "t").deliver("u")
    result = fd.replay(flow, log_of("at\n 0"))
    assert result.deliveries[["step", "sink"]].values.tolist() == [[1, "s"], [1, "t"], [2, "u"]]
    assert counts(result, 1) == {"entered": 1, "passed": 1}


def recipient(flow: Flow, graph: fd.EntityGraph | None = None) -> str | None:
    """The recipient of the one delivery."""
    ((_, found),) = sent(fd.replay(flow, log_of('at | data\n 0 | {"n": 1}'), graph), "recipient_id")
    return found  # type: ignore[no-any-return]


def test_rule_17_the_recipient_is_that_of_the_payload() -> None:
    assert recipient(LIKED.map(recipient_id="{{ source_id }}").deliver("s")) == "ann"


def test_rule_17_else_the_variable_of_that_name() -> None:
    graph = fd.EntityGraph({}, [link("bob", "ann")])
    fanned = LIKED.fan_out("source_id", via="follows", direction="reverse", as_="recipient")
    assert recipient(fanned.map(x="x").deliver("s"), graph) == "bob"
    assert recipient(fanned.map(recipient_id="{{ source_id }}").deliver("s"), graph) == "ann"


def test_rule_17_else_the_target() -> None:
    assert recipient(LIKED.map(x="x").deliver("s")) == "p1"


def test_rule_17_else_none() -> None:
    flow = on("entity.created").map(x="x").deliver("s")
    result = fd.replay(flow, log_of("at | kind | type | id\n 0 | entity.created | user | a"))
    assert sent(result, "recipient_id") == [(0, None)]


def test_rule_17_only_text_counts_as_a_recipient() -> None:
    assert recipient(LIKED.map(recipient_id=var.metadata.n).deliver("s")) == "p1"
    entity = LIKED.resolve("source_id", as_="recipient_id").map(x="x").deliver("s")
    assert recipient(entity, fd.EntityGraph(USERS)) == "p1"


def test_rule_17_without_a_map_before_it_is_refused() -> None:
    with pytest.raises(fd.BuildError, match="deliver has no payload"):
        LIKED.deliver("s")


def test_rule_17_an_unknown_sink_is_refused_when_the_run_starts() -> None:
    flow = LIKED.map(x="x").deliver("in-ap")
    with pytest.raises(fd.ReplayError, match="there is no sink 'in-ap'") as caught:
        fd.replay(flow, log_of("at\n 0"), sinks={"in-app": None})
    assert caught.value.hint == "did you mean 'in-app'?"
