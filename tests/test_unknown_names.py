"""Types and values that nothing in a log and its graph has: a replay warns of likely slips, a check finds all."""

from __future__ import annotations

import warnings
from typing import Any

import pytest

import flowdsl as fd
from flowdsl import fn, on, var
from flowdsl.findings.people import HINT as PERSON

GRAPH = fd.EntityGraph(
    {"user": {f"u{n}": {"name": f"N{n}"} for n in range(20)}, "post": {"p1": {"title": "T"}}},
    [{"link_type": "owns", "source_id": "u1", "target_id": "p1"}],
)


def history() -> fd.MemoryEventLog:
    log = fd.MemoryEventLog()
    log.append([fd.link_created("likes", f"u{n}", "p1", metadata={"app": "web", "n": n}) for n in range(20)])
    comment = {"status": "open", "paid": True, "rank": 1, "mentions": ["u1"], "at": "2026-01-01T00:00:00Z"}
    comment["author"] = {"id": "u1", "name": "N1", "rank": "1"}
    log.append([fd.entity_created("comment", f"c{n}", comment) for n in range(20)])
    log.append([fd.entity_updated("comment", f"c{n}", {**comment, "status": "done"}) for n in range(20)])
    return log


EDITED = on("entity.updated", entity_type="comment")
LIKED, COMMENTED = on("link.created", link_type="likes"), on("entity.created", entity_type="comment")
# design, what is wrong, the hint
SLIPS: dict[str, tuple[fd.Flow, str, str | None]] = {
    "a link type of the trigger": (
        on("link.created", link_type="like"),
        "neither log nor graph has the link type 'like'; they have likes (20), owns (1)",
        "did you mean 'likes'?",
    ),
    "an entity type of the trigger": (
        on("entity.created", entity_type="coment"),
        "has the entity type 'coment'; they have comment (40), user (20), post (1)",
        "did you mean 'comment'?",
    ),
    "a via of resolve": (
        LIKED.resolve("target_id", via="own", direction="reverse", as_="owner"),
        "has the link type 'own'; they have likes (20), owns (1)",
        "did you mean 'owns'?",
    ),
    "a via of fan_out": (
        LIKED.fan_out("source_id", via="follow", as_="fan"),
        "has the link type 'follow'",
        None,
    ),
    "a link type in a condition": (
        LIKED.where("not linked(target_id, 'blocks', source_id)"),
        "has the link type 'blocks'",
        None,
    ),
    "a link type that is counted": (
        LIKED.where("count_links(target_id, 'likess', direction='reverse') > 1"),
        "has the link type 'likess'",
        "did you mean 'likes'?",
    ),
    "a type of resolve": (
        LIKED.resolve("source_id", type="usr", as_="fan"),
        "has the entity type 'usr'",
        "did you mean 'user'?",
    ),
    "a value": (
        COMMENTED.where("data.status == 'opn'"),
        "data.status is never 'opn'; it is open (20)",
        "did you mean 'open'?",
    ),
    "a value that must not be": (
        COMMENTED.where("data.status != 'Open'"),
        "data.status is never 'Open'",
        "did you mean 'open'?",
    ),
    "a value of the metadata": (
        LIKED.where("metadata.app == 'wbe'"),
        "metadata.app is never 'wbe'; it is web (20)",
        "did you mean 'web'?",
    ),
    "a number in place of a text": (
        COMMENTED.where("data.status == 1"),
        "data.status is always text, and never equal to 1, which is a number",
        "values of different types are never equal: write the constant in the type of the values",
    ),
    "a text in place of a boolean": (
        COMMENTED.where("data.paid == 'true'"),
        "data.paid is always true or false, and never equal to 'true', which is text",
        "values of different types are never equal: write the constant in the type of the values",
    ),
    "an attribute": (
        COMMENTED.where("data.statsu == 'open'"),
        "data.statsu is missing in all 20 contexts that read data.statsu; data has at (20), author (20), mentions (20)",
        "did you mean 'status'?",
    ),
    "an attribute of the metadata that is ordered": (
        LIKED.where("metadata.nn > 3"),
        "metadata.nn is missing in all 20 contexts that read metadata.nn; metadata has app (20), n (20)",
        "did you mean 'n'?",
    ),
    "a part of an attribute": (
        COMMENTED.where("data.author.nmae == 'Ann'"),
        "data.author.nmae is missing in all 20 contexts that read data.author.nmae; data.author has id (20), name (20), rank (20)",
        "did you mean 'name'?",
    ),
    "an attribute above others": (
        COMMENTED.where("data.autor.name == 'Ann'"),
        "data.autor is missing in all 20 contexts that read data.autor.name; data has",
        "did you mean 'author'?",
    ),
    "an attribute of an entity": (
        LIKED.resolve("source_id", as_="fan").where("fan.nam == 'N1'"),
        "fan.nam is missing in all 20 contexts that read fan.nam; fan has id (20), name (20)",
        "did you mean 'name'?",
    ),
    "data of an entity": (
        LIKED.resolve("source_id", as_="fan").where("fan.data.name == 'N1'"),
        "fan.data is missing",
        "an entity has its fields itself: fan.name",
    ),
    "an attribute in a text": (
        LIKED.resolve("source_id", as_="fan").map(title="{{ fan.nmae }} likes it"),
        "fan.nmae is missing in all 20 contexts",
        "did you mean 'name'?",
    ),
    "an attribute of an expression": (
        LIKED.resolve("source_id", as_="fan").map(title=var.fan.nmae),
        "fan.nmae is missing in all 20 contexts",
        "did you mean 'name'?",
    ),
    "a key": (
        COMMENTED.batch("data.autor.id", window="1h"),
        "data.autor is missing in all 20 contexts that read data.autor.id",
        "did you mean 'author'?",
    ),
    "one of two keys": (
        COMMENTED.deduplicate(["entity_id", "data.statu"], window="1h"),
        "data.statu is missing in all 20 contexts",
        "did you mean 'status'?",
    ),
    "the key of a cap": (
        COMMENTED.cap(3, per="day", key="data.author.idd"),
        "data.author.idd is missing in all 20 contexts",
        "did you mean 'id'?",
    ),
    "what is collected": (
        COMMENTED.batch("entity_type", window="1h", collect={"names": "data.author.naem"}),
        "data.author.naem is missing in all 20 contexts",
        "did you mean 'name'?",
    ),
    "a list that is gone over": (
        COMMENTED.for_each("data.mention", as_="who"),
        "data.mention is missing in all 20 contexts",
        "did you mean 'mentions'?",
    ),
    "a list that an edit adds to": (
        COMMENTED.for_each("added(data.mention)", as_="who"),
        "data.mention is missing in all 20 contexts",
        "did you mean 'mentions'?",
    ),
    "an attribute that changes": (
        EDITED.where("changed(data.statu)"),
        "data.statu is missing in all 20 contexts that read data.statu; data has at (20), author (20), mentions (20)",
        "did you mean 'status'?",
    ),
    "an attribute that was not before": (
        EDITED.where("before.statsu == 'open'"),
        "before.statsu is missing in all 20 contexts that read before.statsu; before has at (20), author (20), id (20)",
        "did you mean 'status'?",
    ),
    "an id to look up": (
        COMMENTED.resolve("data.author_id", as_="author"),
        "data.author_id is missing in all 20 contexts",
        "did you mean 'author'?",
    ),
    "a time of a timestamp": (
        COMMENTED.where("hour(data.at_) > 8"),
        "data.at_ is missing in all 20 contexts",
        "did you mean 'at'?",
    ),
    "what is counted by": (
        COMMENTED.where("bucket(data.author.uid, 2) == 0"),
        "data.author.uid is missing in all 20 contexts",
        "did you mean 'id'?",
    ),
    "the id of a link": (
        COMMENTED.where("linked(data.author.uid, 'likes', entity_id)"),
        "data.author.uid is missing in all 20 contexts",
        "did you mean 'id'?",
    ),
    "a value of several": (
        COMMENTED.where("data.status in ['opn', 'open', 'closed']"),
        "data.status is never 'opn'; it is open (20)",
        "did you mean 'open'?",
    ),
    "a number of several texts": (
        COMMENTED.where("data.status in ['open', 1]"),
        "data.status is always text, and never equal to 1, which is a number",
        "values of different types are never equal: write the constant in the type of the values",
    ),
    "two paths of different types": (
        COMMENTED.where("data.rank == data.author.rank"),
        "data.rank is always a number, and data.author.rank text: data.rank == data.author.rank is never true",
        "values of different types are never equal: read_events(…, types={'author.rank': float}) reads such texts as numbers",
    ),
    "a first link": (
        LIKED.where("first_link(target_id, 'ownss').role == 'x'"),
        "has the link type 'ownss'",
        "did you mean 'owns'?",
    ),
    "a link type that is collected": (
        LIKED.batch("target_id", window="1h", collect={"n": "count_links(source_id, 'like')"}),
        "has the link type 'like'",
        "did you mean 'likes'?",
    ),
    "a link type of an expression": (
        LIKED.map(recipient_id="{{ source_id }}", n=fn.count_links(var.target_id, "like")),
        "has the link type 'like'",
        "did you mean 'likes'?",
    ),
    "a type of fan_out": (
        LIKED.fan_out("target_id", via="owns", direction="reverse", type="users", as_="owner"),
        "has the entity type 'users'",
        "did you mean 'user'?",
    ),
    "a recipient that is a post": (
        LIKED.map(recipient_id="{{ target_id }}", title="x"),
        "none of 1 recipients of 20 deliveries is a user, first 'p1'; they are post (1)",
        PERSON,
    ),
    "a recipient that is a name": (
        LIKED.resolve("source_id", as_="fan").map(recipient_id="{{ fan.name }}", title="x"),
        "none of 20 recipients of 20 deliveries is a user, first 'N0'; they are ids of nothing",
        PERSON,
    ),
    "a recipient that is left out": (
        LIKED.map(title="x"),
        "none of 1 recipients of 20 deliveries is a user, first 'p1'; they are post (1)",
        PERSON,
    ),
    "single braces": (
        LIKED.map(recipient_id="{{ source_id }}", title="from { source_id }"),
        "title: {source_id} is printed literally",
        "write {{ source_id }} for the variable",
    ),
    "single braces of a script": (
        LIKED.map(recipient_id="{{ source_id }}", title="from ${metadata.app}"),
        "title: {metadata} is printed literally",
        "write {{ metadata }} for the variable",
    ),
    "a number of a function in quotes": (
        LIKED.where("count_links(target_id, 'likes', direction='reverse') == '100'"),
        "is never true",
        "write 100 without quotes",
    ),
}
CODES = {
    "unknown-type",
    "unknown-value",
    "unknown-attribute",
    "recipient-no-person",
    "single-braces",
    "comparison-decided",
}


def finished(flow: fd.Flow) -> fd.Flow:
    if (flow.steps and flow.steps[-1].method != "map") or not flow.steps:
        flow = flow.map(recipient_id="u1", title="x")
    return flow.deliver("in-app").named("f")


@pytest.mark.parametrize("name", SLIPS)
def test_a_check_with_a_log_finds_it_with_its_counts(name: str):
    flow, message, hint = SLIPS[name]
    found = [f for f in finished(flow).check(log=history(), graph=GRAPH) if f.code in CODES]
    assert len(found) == 1, found
    assert message in found[0].message
    if hint is not None:
        assert found[0].hint == hint
    last = len(finished(flow).steps) - 1 if "recipient" in name else len(flow.steps) - 1
    step = None if "trigger" in name else last
    assert (found[0].flow, found[0].step, found[0].severity) == ("f", step, "warning")


# what a replay does not see by itself: nothing stops there, or no word is close
ONLY_CHECKED = {
    "a via of fan_out",
    "a link type in a condition",
    "a value that must not be",
    "a value of several",
    "a number of several texts",
    "what is collected",
}


@pytest.mark.parametrize("name", SLIPS)
def test_a_replay_warns_once_of_what_is_likely_a_slip(name: str):
    flow, message, hint = SLIPS[name]
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        fd.replay(finished(flow), history(), GRAPH)
    assert len(said) == (name not in ONLY_CHECKED)
    for one in said:
        assert one.category is fd.FlowWarning
        assert one.filename == __file__
        assert str(one.message).startswith("flow 'f', ")
        assert message in str(one.message)
        assert str(one.message).endswith(f"; {hint}")


def test_one_slip_in_several_flows_is_told_once():
    flows = [finished(SLIPS["a value"][0]).named(name) for name in "abc"]
    with pytest.warns(
        fd.FlowWarning, match="flow 'a' and 2 more, where(.*)data.status is never 'opn'"
    ) as said:
        fd.replay(flows, history(), GRAPH)
    assert len(said) == 1
    with pytest.warns(fd.FlowWarning, match="data.status is never 'opn'") as said:
        fd.sweep(finished(SLIPS["a value"][0].cap(1, per="day")), history(), GRAPH, max=[1, 2, 3])
    assert len(said) == 1
    with pytest.warns(fd.FlowWarning, match="data.status is never 'opn'") as said:
        fd.tune(finished(SLIPS["a value"][0].cap(1, per="day")), history(), GRAPH, vary={"1.max": [1, 2]})
    assert len(said) == 1


def test_a_flow_that_delivers_nothing_is_found_and_warned_of():
    flow = LIKED.map(title="x").named("f")
    [found] = [one for one in flow.check(log=history(), graph=GRAPH) if one.code == "no-deliver"]
    assert found.hint == "add a map and a deliver"
    with pytest.warns(
        fd.FlowWarning, match="nothing is delivered: the flow has no deliver; add a map"
    ) as said:
        fd.replay(flow, history(), GRAPH)
    assert len(said) == 1


def test_a_type_whose_updates_are_merged_is_one_that_is_there():
    graph = fd.EntityGraph({"user": {"u1": {"name": "N1"}}}, merge=["usr"])
    flow = finished(LIKED.where("source_id != 'u1'"))
    [found] = [one for one in flow.check(log=history(), graph=graph) if one.code == "unknown-type"]
    assert (found.flow, found.where, found.hint) == (
        None,
        "EntityGraph(merge=['usr'])",
        "did you mean 'user'?",
    )
    with pytest.warns(
        fd.FlowWarning, match=r"EntityGraph\(merge=\['usr'\]\): neither .* did you mean 'user'"
    ):
        fd.replay(flow, history(), graph)
    # of comments only the log knows
    graph = fd.EntityGraph({"user": {"u1": {"name": "N1"}}}, merge=["comment"])
    assert len(fd.replay(flow, history(), graph)) == 19


def test_recipients_are_people_of_the_log_too_and_teams_are_told_things():
    told = (
        on("entity.created", entity_type="comment").map(recipient_id="{{ data.author.id }}").deliver("push")
    )
    graph = fd.EntityGraph({"post": {"p1": {}}})
    log = history()
    assert "recipient-no-person" not in {one.code for one in told.check(log=log, graph=graph)}
    log.append(fd.entity_created("user", "u1", {}))
    assert "recipient-no-person" not in {one.code for one in told.check(log=log, graph=graph)}
    teams = fd.EntityGraph({"user": {"u2": {}}, "support_teams": {"u1": {}}})
    assert "recipient-no-person" not in {one.code for one in told.check(log=history(), graph=teams)}
    fd.replay(told, history(), teams)
    supplied = fd.EntityGraph({"user": lambda ids: {}})
    assert "recipient-no-person" not in {one.code for one in told.check(log=history(), graph=supplied)}


def test_each_type_of_people_has_its_article():
    told = on("link.created", name="f").map(recipient_id="{{ target_id }}", title="x").deliver("push")
    graph = fd.EntityGraph({"user": {"u1": {}}, "account": {"a1": {}}, "post": {"p1": {}}})
    (found,) = (one for one in told.check(log=history(), graph=graph) if one.code == "recipient-no-person")
    assert "is an account or a user, first 'p1'" in found.message


def test_counters_and_webhooks_of_posts_are_for_nobody():
    counted = LIKED.map(title="x").deliver("count", "partner").named("f")
    assert [one.code for one in counted.check(log=history(), graph=GRAPH) if one.code in CODES] == []
    fd.replay(counted, history(), GRAPH)


def test_what_may_be_missing_is_no_slip():
    flow = finished(
        COMMENTED.where("not exists(data.gone) or data.status == 'open'")
        .where("coalesce(data.rang, 1) == 1")
        .map(recipient_id="u1", title='{{ data.titel | default(value="x") }}', n=fn.coalesce(var.data.nn, 0))
    )
    assert [one.code for one in flow.check(log=history(), graph=GRAPH) if one.code in CODES] == []
    fd.replay(flow, history(), GRAPH)


def test_a_type_that_is_like_none_is_no_slip():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fd.replay(finished(on("link.created", link_type="zzz")), history(), GRAPH)
        fd.replay(finished(on("link.created", link_type="views")), history(), GRAPH)
        fd.replay(finished(LIKED.fan_out("source_id", via="zzz", as_="fan")), history(), GRAPH)


def test_what_is_there_is_not_found():
    flow = finished(
        LIKED.resolve("target_id", via="owns", direction="reverse", as_="owner")
        .where("metadata.app == 'web' and owner.name == 'N1'")
        .where("metadata.n != 3")
    )
    assert [f.code for f in flow.check(log=history(), graph=GRAPH) if f.code.startswith("unknown")] == []


def test_a_log_of_few_events_says_nothing_of_values():
    log = fd.MemoryEventLog()
    log.append([fd.entity_created("comment", "c", {"status": "open"})] * 9)
    flow = finished(COMMENTED.where("data.status == 'x' and data.y == 1"))
    assert [one for one in flow.check(log=log) if one.code in CODES] == []


def test_types_of_entities_that_a_function_gives_are_there():
    graph = fd.EntityGraph({"user": lambda ids: {one: {"name": "A"} for one in ids}})
    flow = finished(LIKED.resolve("source_id", type="user", as_="fan"))
    assert [f.code for f in flow.check(log=history(), graph=graph) if f.code == "unknown-type"] == []


def test_no_log_is_read_again_where_all_matched(monkeypatch: pytest.MonkeyPatch):
    def read(*_: Any) -> Any:
        raise AssertionError("the log is read once more")

    for name in ("count_types", "entities_in_log", "run"):
        monkeypatch.setattr(f"flowdsl.findings.slips.{name}", read)
    owned = LIKED.resolve("target_id", via="owns", direction="reverse", as_="owner")
    flow = finished(owned.where("metadata.n >= 0").map(recipient_id="{{ owner.id }}"))
    assert len(fd.replay(flow, history(), GRAPH)) == 20


def test_recipients_are_known_from_the_run_where_it_looked_up_entities(monkeypatch: pytest.MonkeyPatch):
    def read(*_: Any) -> Any:
        raise AssertionError("the log is read once more")

    monkeypatch.setattr("flowdsl.findings.slips.entities_in_log", read)
    looked_up = COMMENTED.resolve("data.author.id", as_="author")
    flow = finished(looked_up.map(recipient_id="{{ entity_id }}", title="x"))
    with pytest.warns(
        fd.FlowWarning, match=r"none of 20 recipients .* is a user, .* they are comment \(20\)"
    ):
        fd.replay(flow, history(), GRAPH)
    log = history()
    # an id of two types, of which one is a person's
    log.append(fd.entity_created("user", "c3", {}))
    fd.replay(flow, log, GRAPH)


def test_an_event_without_an_id_has_null_for_one_and_that_is_no_slip():
    log = [{"timestamp": "2026-01-01T00:00:00Z", "event": fd.link_created("likes", "a", "b")}]
    flow = finished(LIKED.where("event.id == null"))
    assert not {found.code for found in flow.check(log=log)} & CODES
    assert len(fd.replay(flow, log)) == 1


def test_of_a_long_list_none_of_which_occurs_one_constant_stands_for_all():
    constants = ", ".join(f"'state {number}'" for number in range(2_000))
    flow = fd.on("entity.created").where(f"data.status in [{constants}]").map(title="x").deliver("in-app")
    [found] = [one for one in flow.check(log=history(), graph=GRAPH) if one.code == "unknown-value"]
    assert "data.status is never 'state 0'" in found.message
