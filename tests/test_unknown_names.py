"""Types and values that nothing in a log and its graph has: a replay warns of likely slips, a check finds all."""

from __future__ import annotations

import warnings
from typing import Any

import pytest

import flowdsl as fd
from flowdsl import on

GRAPH = fd.EntityGraph(
    {"user": {f"u{n}": {"name": f"N{n}"} for n in range(20)}, "post": {"p1": {"title": "T"}}},
    [{"link_type": "owns", "source_id": "u1", "target_id": "p1"}],
)


def history() -> fd.MemoryEventLog:
    log = fd.MemoryEventLog()
    log.append([fd.link_created("likes", f"u{n}", "p1", metadata={"app": "web", "n": n}) for n in range(20)])
    log.append([fd.entity_created("comment", f"c{n}", {"status": "open", "paid": True}) for n in range(20)])
    return log


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
        "has the entity type 'coment'; they have comment (20), user (20), post (1)",
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
    "a value": (COMMENTED.where("data.status == 'opn'"), "data.status is never 'opn'; it is open (20)", "did you mean 'open'?"),
    "a value that must not be": (COMMENTED.where("data.status != 'Open'"), "data.status is never 'Open'", "did you mean 'open'?"),
    "a value of the metadata": (LIKED.where("metadata.app == 'wbe'"), "metadata.app is never 'wbe'; it is web (20)", None),
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
        "data.statsu is missing in all 20 contexts that are compared by it",
        "is the name spelled as in the events and entities?",
    ),
}  # fmt: skip


def finished(flow: fd.Flow) -> fd.Flow:
    return flow.map(title="x").deliver("in-app").named("f")


@pytest.mark.parametrize("name", SLIPS)
def test_a_check_with_a_log_finds_it_with_its_counts(name: str):
    flow, message, hint = SLIPS[name]
    codes = {"unknown-type", "unknown-value", "unknown-attribute"}
    found = [f for f in finished(flow).check(log=history(), graph=GRAPH) if f.code in codes]
    assert len(found) == 1, found
    assert message in found[0].message
    if hint is not None:
        assert found[0].hint == hint
    step = None if "trigger" in name else 0
    assert (found[0].flow, found[0].step, found[0].severity) == ("f", step, "warning")


WARNED = [name for name, (_, message, hint) in SLIPS.items() if "has the" in message and hint is not None]


@pytest.mark.parametrize("name", [name for name in WARNED if name != "a type of resolve"])
def test_a_replay_warns_once_of_a_type_that_is_close_to_one_that_is_there(name: str):
    flow, message, hint = SLIPS[name]
    with pytest.warns(fd.FlowWarning) as said:
        fd.replay(finished(flow), history(), GRAPH)
    assert len(said) == 1
    assert message in str(said[0].message)
    assert str(said[0].message).endswith(f"; {hint}")


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
    assert finished(COMMENTED.where("data.status == 'x' and data.y == 1")).check(log=log) == []


def test_types_of_entities_that_a_function_gives_are_there():
    graph = fd.EntityGraph({"user": lambda ids: {one: {"name": "A"} for one in ids}})
    flow = finished(LIKED.resolve("source_id", type="user", as_="fan"))
    assert [f.code for f in flow.check(log=history(), graph=graph) if f.code == "unknown-type"] == []


def test_no_log_is_read_again_where_all_matched(monkeypatch: pytest.MonkeyPatch):
    def read(*_: Any) -> Any:
        raise AssertionError("the log is read once more")

    monkeypatch.setattr("flowdsl.findings.unknown_names.count_types", read)
    flow = finished(LIKED.resolve("target_id", via="owns", direction="reverse", as_="owner"))
    assert len(fd.replay(flow, history(), GRAPH)) == 20
