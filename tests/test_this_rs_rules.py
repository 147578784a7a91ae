"""What production does, rule by rule: the trigger, the eight operators, durations and the clock."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from this_rs_runs import (
    ANN,
    BOB,
    POST,
    ZOE,
    documented,
    dropped,
    failed,
    like,
    likes_at,
    log_at,
    payloads,
    run,
    said,
    seqs,
    texts,
)

import flowdsl as fd
from flowdsl.values.canonical_json import number_text

USERS = {"user": {ANN: {"name": "Ann", "age": 3}, BOB: {"name": "Bob"}}}


# -- events and paths --------------------------------------------------------------------------------------


def test_link_events_start_with_their_four_ids_and_types_and_metadata_unless_it_is_null() -> None:
    text = "{{ link_type }} {{ link_id }} {{ source_id }} {{ target_id }} {{ metadata is defined }}"
    events = log_at((0, like(link_id=ZOE, metadata={"n": 1})), (1, like(link_id=ZOE)))
    assert texts(run(events, *said(text))) == [
        f"likes {ZOE} {ANN} {POST} true",
        f"likes {ZOE} {ANN} {POST} false",
    ]


def test_entity_events_start_with_type_id_and_data_and_a_deletion_without_data() -> None:
    created = log_at(
        (0, fd.entity_created("user", ANN, {"n": None})), (1, fd.entity_created("user", BOB, None))
    )
    text = "{{ entity_type }} {{ entity_id }} {{ data is defined }} {{ data.n is defined }}"
    assert texts(run(created, *said(text), kind="entity.created")) == [
        f"user {ANN} true true",
        f"user {BOB} true false",
    ]
    deleted = log_at((0, fd.entity_deleted("user", ANN)))
    assert texts(run(deleted, *said("{{ data is defined }}"), kind="entity.deleted")) == ["false"]


def test_a_path_steps_through_objects_only() -> None:
    events = log_at((0, like(metadata={"o": {"k": 1}, "a": [{"k": 1}], "s": "x", "z": None})))
    for path, there in [("metadata.o.k", True), ("metadata.a.k", False), ("metadata.a.0", False), ("metadata.s.k", False),
                        ("metadata.z", True), ("metadata.z.k", False), ("metadata.nope", False)]:  # fmt: skip
        assert len(run(events, {"filter": {"condition": f"{path} exists"}}, *said("x"))) == int(there), path


# -- trigger -----------------------------------------------------------------------------------------------


def test_a_filter_of_the_other_family_is_ignored() -> None:
    assert len(run(likes_at(0), *said("x"), trigger={"entity_type": "user"})) == 1
    assert len(run(likes_at(0), *said("x"), trigger={"entity_type": "user", "link_type": "owns"})) == 0


# -- resolve -----------------------------------------------------------------------------------------------


def test_resolve_without_via_finds_an_entity_of_any_type_or_fails() -> None:
    events = log_at((0, like(ANN)), (1, like(ZOE)), (2, like(POST)))
    entities = {**USERS, "post": {POST: {"name": "Post"}}}
    result = run(
        events, {"resolve": {"from": "source_id", "as": "u"}}, *said("{{ u.name }}"), entities=entities
    )
    assert texts(result) == ["Ann", "Post"]
    assert failed(result) == [2]


def test_resolve_over_a_link_takes_the_earliest_created_in_its_direction() -> None:
    links = [{"link_type": "owns", "source_id": who, "target_id": POST} for who in (BOB, ANN)]
    step = {"resolve": {"from": "target_id", "via": "owns", "direction": "reverse", "as": "o"}}
    assert texts(run(likes_at(0), step, *said("{{ o.name }}"), entities=USERS, links=links)) == ["Bob"]
    forward = {"resolve": {"from": "target_id", "via": "owns", "as": "o"}}
    assert failed(run(likes_at(0), forward, *said("x"), entities=USERS, links=links)) == [1]


def test_a_bad_direction_is_found_only_when_it_runs_and_only_with_via() -> None:
    without = {"resolve": {"from": "source_id", "as": "u", "direction": "up"}}
    assert texts(run(likes_at(0), without, *said("{{ u.name }}"), entities=USERS)) == ["Ann"]
    for step in (
        {"resolve": {**without["resolve"], "via": "owns"}},
        {"fan_out": {**without["resolve"], "via": "owns"}},
    ):
        result = run(likes_at(0), step, *said("x"), entities=USERS)
        assert failed(result) == [1]
        assert "'up'" in result.errors["error"][0]


@pytest.mark.parametrize("path", ["nope", "metadata.n", "metadata.list", "link_type", "metadata.empty"])
@pytest.mark.parametrize("operator", ["resolve", "fan_out"])
def test_what_a_lookup_starts_from_must_be_a_uuid(operator: str, path: str) -> None:
    step = {operator: {"from": path, "as": "u", "via": "follows"}}
    event = like(metadata={"n": 7, "list": [ANN], "empty": ""})
    result = run(log_at((0, event)), step, *said("x"), entities=USERS)
    assert failed(result) == [1]


# -- fan_out -----------------------------------------------------------------------------------------------


def test_fan_out_makes_a_branch_for_each_link_in_link_order_and_an_id_where_no_store_has_the_entity() -> None:
    links = [{"link_type": "follows", "source_id": who, "target_id": POST} for who in (ZOE, ANN)]
    step = {"fan_out": {"from": "target_id", "via": "follows", "direction": "reverse", "as": "f"}}
    text = "{{ f_id }} {% if f.name is defined %}{{ f.name }}{% else %}{{ f }}{% endif %}"
    result = run(likes_at(0), step, *said(text), entities=USERS, links=links)
    assert texts(result) == [f"{ZOE} {ZOE}", f"{ANN} Ann"]


def test_fan_out_without_links_drops_the_event() -> None:
    step = {"fan_out": {"from": "target_id", "via": "follows", "as": "f"}}
    result = run(likes_at(0), step, *said("x"))
    assert dropped(result) == {"no links": 1}
    assert failed(result) == []


def test_a_failure_after_a_fan_out_ends_only_its_own_branch() -> None:
    links = [{"link_type": "follows", "source_id": who, "target_id": POST} for who in (ANN, ZOE, BOB)]
    step = {"fan_out": {"from": "target_id", "via": "follows", "direction": "reverse", "as": "f"}}
    result = run(likes_at(0), step, *said("{{ f.name }}"), entities=USERS, links=links)
    assert texts(result) == ["Ann", "Bob"]
    assert result.errors["branch"].tolist() == ["1"]


# -- map ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    ["{{ x", "{{ nope }}", "{{ source_id | nofilter }}", "{{ nofunction() }}", "{% if %}", "{{ get_env(name='HOME') }}",
     "{{ now() }}", "{{ get_random(start=1, end=9) }}", "{{ __tera_context }}", "{% include 'a' %}"],
)  # fmt: skip
def test_a_template_that_cannot_work_loads_and_fails_at_each_event(text: str) -> None:
    result = run(likes_at(0, 1), *said(text))
    assert failed(result) == [1, 2]
    assert len(result) == 0


def test_what_a_template_never_reaches_does_not_fail() -> None:
    assert texts(run(likes_at(0), *said("{% if nope %}{{ source_id | nofilter }}{% endif %}ok"))) == ["ok"]


def test_scalars_pass_through_a_template_keys_are_not_rendered_and_a_bare_text_is_a_payload() -> None:
    template = {
        "{{ k }}": 1,
        "f": 1.0,
        "b": True,
        "z": None,
        "l": ["{{ link_type }}", 2, {"in": "{{ link_type }}"}],
    }
    result = run(likes_at(0), {"map": {"template": template}}, {"deliver": {"sink": "out"}})
    expected = {"{{ k }}": 1, "f": 1.0, "b": True, "z": None, "l": ["likes", 2, {"in": "likes"}]}
    assert str(payloads(result)) == str([expected])
    bare = run(likes_at(0), {"map": {"template": "hi {{ link_type }}"}}, {"deliver": {"sink": "out"}})
    assert payloads(bare) == ["hi likes"]


def test_the_last_payload_and_the_sinks_of_the_last_deliver_are_variables() -> None:
    steps = [*said("one"), *said("{{ _payload.t }} {{ _delivered_to }}")]
    assert texts(run(likes_at(0), *steps)) == ["one", "one [out]"]


def test_a_name_with_a_dot_sets_a_variable_that_no_path_can_reach() -> None:
    step = {"resolve": {"from": "source_id", "as": "x.y"}}
    result = run(
        likes_at(0),
        step,
        {"filter": {"condition": "x.y not_exists"}},
        *said("{{ x.y is defined }}"),
        entities=USERS,
    )
    assert texts(result) == ["false"]


# -- deliver -----------------------------------------------------------------------------------------------


def test_sink_and_sinks_are_merged_sink_first_and_duplicates_once() -> None:
    steps = [{"map": {"template": "x"}}, {"deliver": {"sink": "b", "sinks": ["a", "b", "c", "a"]}}]
    assert run(likes_at(0), *steps).deliveries["sink"].tolist() == ["b", "a", "c"]


def test_deliver_without_a_payload_fails() -> None:
    result = run(likes_at(0), {"deliver": {"sink": "out"}})
    assert failed(result) == [1]
    assert result.errors["step"].tolist() == [0]


def test_an_entity_named_payload_is_delivered() -> None:
    result = run(
        likes_at(0),
        {"resolve": {"from": "source_id", "as": "_payload"}},
        {"deliver": {"sink": "out"}},
        entities=USERS,
    )
    assert payloads(result) == [{"name": "Ann", "age": 3}]


@pytest.mark.parametrize(
    ("steps", "recipient"),
    [
        ([], POST),
        ([{"resolve": {"from": "source_id", "as": "recipient_id"}}], POST),
        ([{"fan_out": {"from": "source_id", "via": "follows", "as": "recipient"}}], BOB),
    ],
    ids=["the target", "an object does not count", "a variable"],
)
def test_the_recipient_is_a_variable_whatever_the_payload_says(steps: list[Any], recipient: str) -> None:
    tail = [{"map": {"template": {"recipient_id": ZOE}}}, {"deliver": {"sink": "out"}}]
    links = [{"link_type": "follows", "source_id": ANN, "target_id": BOB}]
    result = run(likes_at(0), *steps, *tail, entities=USERS, links=links)
    assert result.deliveries["recipient_id"].tolist() == [recipient]


def test_only_where_no_variable_says_it_the_recipient_is_that_of_the_payload() -> None:
    tail = [{"map": {"template": {"recipient_id": "{{ data.author }}"}}}, {"deliver": {"sink": "out"}}]
    event = fd.entity_created("post", POST, {"author": ZOE})
    result = run(log_at((0, event)), *tail, kind="entity.created")
    assert result.deliveries["recipient_id"].tolist() == [ZOE]


# -- deduplicate -------------------------------------------------------------------------------------------


def test_deduplicate_runs_from_the_first_sighting_and_passes_at_exactly_the_window() -> None:
    result = run(
        likes_at(0, 600, 999, 1000, 1999, 2000),
        {"deduplicate": {"key": "source_id", "window": "1s"}},
        *said("x"),
    )
    assert seqs(result) == [1, 4, 6]
    assert dropped(result) == {"duplicate": 3}


def test_a_window_of_nothing_lets_everything_pass_and_a_missing_key_fails() -> None:
    assert len(run(likes_at(0, 0, 0), {"deduplicate": {"key": "source_id", "window": "0s"}}, *said("x"))) == 3
    assert failed(run(likes_at(0), {"deduplicate": {"key": "nope", "window": "1s"}}, *said("x"))) == [1]


def test_keys_are_text_so_one_and_its_text_collide_and_one_and_its_float_do_not() -> None:
    values = [
        1,
        "1",
        1.0,
        "1.0",
        None,
        "null",
        True,
        "true",
        {"b": 1, "a": 2},
        '{"a":2,"b":1}',
        [1.5],
        "[1.5]",
    ]
    events = log_at(*((0, like(metadata={"k": value})) for value in values))
    result = run(events, {"deduplicate": {"key": "metadata.k", "window": "1h"}}, *said("x"))
    assert seqs(result) == [1, 3, 5, 7, 9, 11]


# -- batch -------------------------------------------------------------------------------------------------

BATCH = {"batch": {"key": "target_id", "window": "1s"}}


def test_a_batch_comes_out_with_the_first_event_after_its_window_which_is_in_none() -> None:
    """The example of the description: likes at 0, 0.5, 1, 1.5 and 3 seconds."""
    events = log_at(
        *((at, like(who)) for at, who in [(0, ANN), (500, BOB), (1000, ZOE), (1500, ANN), (3000, BOB)])
    )
    result = run(
        events, BATCH, *said("{{ source_id }}: {{ _batch.count }} {{ _batch.key }} {{ _batch.items }}")
    )
    assert texts(result) == [f"{ZOE}: 2 {POST} [{ANN}, {BOB}]", f"{BOB}: 1 {POST} [{ANN}]"]
    assert seqs(result) == [3, 5]


def test_what_is_open_at_the_end_never_comes_out() -> None:
    result = run(likes_at(0, 500), BATCH, *said("x"), open_windows="flush")
    assert len(result) == 0
    assert result.open[["held", "last_seq_no"]].values.tolist() == [[2, 2]]
    assert result.steps["held"].tolist() == [2, 0, 0]


def test_a_batch_that_is_too_small_is_thrown_away_with_the_event_that_finds_it_so() -> None:
    result = run(
        likes_at(0, 1000, 1100, 1200, 2100),
        {"batch": {**BATCH["batch"], "min_count": 2}},
        *said("{{ _batch.count }}"),
    )
    assert texts(result) == ["2"]
    assert seqs(result) == [5]
    assert dropped(result) == {"batch below min_count": 1, "in no batch": 1}


def test_a_window_of_nothing_ends_with_the_next_event_even_at_the_same_moment() -> None:
    result = run(
        likes_at(0, 0, 0, 0, 0), {"batch": {"key": "target_id", "window": "0s"}}, *said("{{ _batch.count }}")
    )
    assert seqs(result) == [2, 4]


def test_the_items_of_a_batch_are_source_ids_else_entity_ids_as_text() -> None:
    step = {"batch": {"key": "metadata.k", "window": "1s"}}
    events = log_at(
        (0, like(metadata={"k": 1.0})), (1, like(BOB, metadata={"k": 1.0})), (2000, like(metadata={"k": 1.0}))
    )
    text = "{{ _batch | json_encode }}"
    assert texts(run(events, step, *said(text))) == [f'{{"count":2,"items":["{ANN}","{BOB}"],"key":"1.0"}}']
    created = log_at(*((at, fd.entity_created("post", POST, {})) for at in (0, 2000)))
    result = run(
        created,
        {"batch": {"key": "entity_type", "window": "1s"}},
        *said("{{ _batch.items }}"),
        kind="entity.created",
    )
    assert texts(result) == [f"[{POST}]"]


def test_a_batch_that_goes_on_has_the_variables_of_the_event_that_ends_it() -> None:
    events = log_at((0, like(ANN)), (2000, like(BOB)))
    steps = [
        {"resolve": {"from": "source_id", "as": "who"}},
        BATCH,
        *said("{{ who.name }} after {{ _batch.items }}"),
    ]
    assert texts(run(events, *steps, entities=USERS)) == [f"Bob after [{ANN}]"]


def test_every_context_of_a_batch_has_one_outcome() -> None:
    result = run(
        likes_at(0, 100, 1000, 1100, 3000, 3100), {"batch": {**BATCH["batch"], "min_count": 2}}, *said("x")
    )
    step = result.steps.iloc[0]
    assert step[["entered", "passed", "absorbed", "dropped", "held"]].tolist() == [6, 1, 2, 2, 1]


# -- rate_limit --------------------------------------------------------------------------------------------


def test_tokens_refill_steadily_so_three_a_second_refuse_at_333_ms_and_pass_at_334() -> None:
    result = run(likes_at(0, 0, 0, 333, 334), {"rate_limit": {"max": 3, "per": "1s"}}, *said("x"))
    assert seqs(result) == [1, 2, 3, 5]
    assert dropped(result) == {"rate limited": 1}


@pytest.mark.parametrize("strategy", ["drop", "queue", "whatever"])
def test_every_strategy_drops(strategy: str) -> None:
    result = run(likes_at(0, 1, 2), {"rate_limit": {"max": 1, "per": "1m", "strategy": strategy}}, *said("x"))
    assert seqs(result) == [1]


def test_a_max_of_nothing_drops_all_and_a_per_of_nothing_never_limits() -> None:
    assert len(run(likes_at(0, 1), {"rate_limit": {"max": 0, "per": "1s"}}, *said("x"))) == 0
    assert len(run(likes_at(0, 0, 0), {"rate_limit": {"max": 1, "per": "0s"}}, *said("x"))) == 3
    assert len(run(likes_at(0, 0, 0), {"rate_limit": {"max": 0, "per": "0s"}}, *said("x"))) == 0


def test_the_bucket_is_a_float_that_is_refilled_in_the_order_of_productions_operations() -> None:
    """Reckoned here once more, at moments where the order of operations decides."""
    moments = list(itertools.accumulate(number * 37 % 241 for number in range(400)))
    tokens, last, passed = 7.0, moments[0], []
    for number, at in enumerate(moments, 1):
        spent = at - last
        tokens = min(7.0, tokens + (spent // 1000 + spent % 1000 * 1_000_000 / 1e9) * (7.0 / 0.9))
        last = at
        if tokens >= 1.0:
            tokens -= 1.0
            passed.append(number)
    events = likes_at(*moments)
    result = run(events, {"rate_limit": {"max": 7, "per": "900ms"}}, *said("x"), chunk_size=50)
    assert seqs(result) == passed
    assert 100 < len(passed) < 390


# -- durations and the clock -------------------------------------------------------------------------------


def test_windows_use_the_log_clock_which_never_runs_back() -> None:
    events = log_at((0, like()), (5000, like(BOB)), (500, like()), (1500, like()))
    result = run(events, {"deduplicate": {"key": "source_id", "window": "2s"}}, *said("x"))
    assert seqs(result) == [1, 2, 3]


def test_flows_go_on_where_another_flow_or_event_has_failed() -> None:
    events = log_at((0, like(ZOE)), (1, like(ANN)))
    bad = {
        "name": "bad",
        "trigger": {"kind": "link.created"},
        "pipeline": [{"resolve": {"from": "source_id", "as": "u"}}, *said("{{ u.name }}")],
    }
    good = {"name": "good", "trigger": {"kind": "link.created"}, "pipeline": [*said("fine")]}
    flows = fd.load({"events": {"flows": [bad, good]}}, target="this-rs")
    result = fd.replay(flows, events, fd.EntityGraph(USERS), target="this-rs")
    assert result.deliveries[["seq_no", "flow"]].values.tolist() == [[1, "good"], [2, "bad"], [2, "good"]]
    assert failed(result) == [1]


# -- numbers as they are read ------------------------------------------------------------------------------


def test_whole_numbers_of_64_bits_are_kept_to_the_last_digit() -> None:
    numbers = [2**63 - 1, 2**63, 2**64 - 1, 5]
    log = log_at(*((at, like(metadata={"n": n, "list": [n]})) for at, n in enumerate(numbers)))
    template = {
        "n": "{{ metadata.n }}",
        "~": "{{ 'x' ~ metadata.n }}",
        "l": "{{ metadata.list }}",
        "c": 2**64 - 1,
    }
    result = run(log, {"map": {"template": template}}, {"deliver": {"sink": "s"}})
    assert payloads(result) == [{"n": str(n), "~": f"x{n}", "l": f"[{n}]", "c": 2**64 - 1} for n in numbers]
    for n in numbers:
        found = run(log, {"filter": {"condition": f"metadata.n == {n}"}}, *said("x"))
        assert seqs(found) == [numbers.index(n) + 1]
    assert len(run(log, {"deduplicate": {"key": "metadata.n", "window": "1h"}}, *said("x")).deliveries) == 4


@pytest.mark.parametrize("chunk_size", [1, 2, 100])
def test_long_floats_are_read_as_production_reads_them(chunk_size: int) -> None:
    values = [0.45566510149066475, 0.1, 1e22, -1.5e-7, 123456789.123456789, 5e-324]
    read = [0.4556651014906647, 0.1, 1e22, -1.5e-7, 123456789.1234568, 5e-324]
    log = log_at(*((at, like(metadata={"n": n, "list": [n]})) for at, n in enumerate(values)))
    steps = said("{{ metadata.n | json_encode }} {{ metadata.list | json_encode }}")
    result = run(log, *steps, chunk_size=chunk_size)
    assert texts(result) == [f"{number_text(n)} [{number_text(n)}]" for n in read]
    passed = run(log, {"filter": {"condition": "metadata.n == 0.4556651014906647"}}, *steps)
    assert seqs(passed) == [1]
    # by flowdsl's own rules a float is the nearest one
    own = fd.load(documented(*steps))
    assert texts(fd.replay(own, log))[0].startswith("0.45566510149066475 ")


def test_minutes_and_hours_begin_anew_where_64_bits_of_seconds_are_used_up() -> None:
    # 44 seconds
    steps = {"deduplicate": {"key": "source_id", "window": "307445734561825861m"}}, *said("x")
    assert seqs(run(likes_at(0, 43_999, 44_000), *steps)) == [1, 3]
