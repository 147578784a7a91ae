"""Flows as values, and what their builder refuses: where, what, what was allowed, and a hint."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable

import pytest

import flowdsl as fd
from flowdsl import Flow, on, var

LIKED = on("link.created", link_type="likes")
WHOLE = (
    LIKED.resolve("target_id", via="owns", direction="reverse", as_="owner", type="user", required=False)
    .fan_out("source_id", via="follows", as_="f", type="user")
    .where(var.source_id != var.owner.id)
    .deduplicate(["source_id", "f_id"], window="1h")
    .batch("f_id", window="5m", min_count=2)
    .rate_limit(100, per="1m", strategy="queue", key="f_id")
    .map(recipient_id="{{ f_id }}", n=var.batch.count, more={"a": [1, None]})
    .deliver("in-app", "push")
)


# -- values ------------------------------------------------------------------------------------------------


def test_every_method_gives_a_new_flow_and_leaves_the_old_one() -> None:
    before = str(LIKED)
    grown = LIKED.where("source_id != 'x'")
    assert str(LIKED) == before
    assert len(grown.steps) == 1


def test_flows_with_the_same_parts_are_equal_and_hash_alike() -> None:
    def make() -> Flow:
        return (
            LIKED.where("source_id  !=  'x'").deduplicate(var.source_id, window="60m").map(x="x").deliver("s")
        )

    other = LIKED.where(var.source_id != "x").deduplicate("source_id", window="1h").map(x="x").deliver("s")
    assert make() == other
    assert hash(make()) == hash(other)
    assert len({make(), other}) == 1
    assert make() != make().named("x")


def test_a_flow_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        LIKED.steps = ()  # type: ignore[misc]


def test_its_text_builds_it_again() -> None:
    flow = (
        Flow(WHOLE.trigger, WHOLE.steps[:6])
        .map(recipient_id="{{ f_id }}", more={"a": [1, None]})
        .deliver("s")
    )
    assert eval(f"({flow})", {"on": on}) == flow


def test_its_text_is_how_it_was_written() -> None:
    flow = (
        LIKED.batch("target_id", window=dt.timedelta(minutes=5)).map(title="{{ batch.count }}").deliver("s")
    )
    assert str(flow) == (
        "on('link.created', link_type='likes')\n"
        "    .batch('target_id', window='5m')\n"
        "    .map(title='{{ batch.count }}')\n"
        "    .deliver('s')"
    )


def test_its_name_is_made_of_trigger_and_sinks_unless_it_is_given() -> None:
    flow = LIKED.map(x="x").deliver("a").deliver("b", "a")
    assert flow.name == "link.created likes to a, b"
    assert flow.sinks == ("a", "b")
    assert flow.named("mine").name == "mine"
    assert on("link.created", name="mine", description="what it is").description == "what it is"


def test_its_variables_are_those_at_its_end() -> None:
    assert {"source_id", "owner", "f", "f_id", "batch", "_payload"} <= set(WHOLE.variables)


def test_its_graph_has_a_node_for_the_trigger_each_step_and_each_sink() -> None:
    graph = WHOLE.graph()
    assert next(iter(graph.nodes)) == "trigger"
    assert [graph.nodes[n]["operator"] for n in graph.nodes] == [
        "on", "resolve", "fan_out", "where", "deduplicate", "batch", "rate_limit", "map", "deliver", "sink", "sink",
    ]  # fmt: skip
    assert list(graph.successors("7 deliver")) == ["sink in-app", "sink push"]
    assert graph.nodes["4 batch"]["options"]["min_count"] == 2
    assert graph.nodes["4 batch"]["text"] == "batch('f_id', window='5m', min_count=2)"


def test_sinks_named_twice_count_once() -> None:
    assert LIKED.map(x="x").deliver("s", "t", "s") == LIKED.map(x="x").deliver("s", "t")


# -- what is refused ---------------------------------------------------------------------------------------

Act = Callable[[], object]
REFUSED: list[tuple[Act, str, str | None]] = [
    # on
    (lambda: on("link.make"), "'link.make' is not a kind of event", None),
    (lambda: on("link.creatd"), "'link.creatd' is not a kind of event", "did you mean 'link.created'?"),
    (lambda: on("link.created", entity_type="x"), "on('link.created') takes no entity_type: such events have none", None),
    (lambda: on("link.created", linktype="x"), "on has no option 'linktype'", "did you mean 'link_type'?"),
    (lambda: on("link.created", link_type=5), "on: link_type must be text that is not empty, not 5", None),
    (lambda: on("link.created", name=""), "on: name must be text that is not empty, not ''", None),
    (lambda: on("link.created", description=5), "on: description must be text that is not empty, not 5", None),
    (lambda: LIKED.named(5), "the name of a flow must be text that is not empty, not 5", None),
    # paths
    (lambda: LIKED.resolve(5, as_="x"), "a path is text such as 'owner.id', not int", None),
    (lambda: LIKED.resolve("a..b", as_="x"), "'a..b' is not a path", None),
    (lambda: LIKED.resolve("sorce_id", as_="x"), "resolve reads 'sorce_id', but there is no variable 'sorce_id' at this step", "did you mean 'source_id'?"),
    (lambda: LIKED.resolve("source_id.x", as_="x"), "resolve reads 'source_id.x', but 'source_id' is text and has no parts", None),
    (lambda: LIKED.batch("source_id", window="5m").where("batch.cout > 1"), "the condition 'batch.cout > 1' reads 'batch.cout', but 'batch' has no 'cout'", "did you mean 'count'?"),
    (lambda: LIKED.deduplicate(var.source_id == "x", window="5m"), 'source_id == "x" is an expression, and a path is wanted here', None),
    # resolve, fan_out
    (lambda: LIKED.resolve("source_id", as_="a.b"), "resolve: as_ 'a.b' cannot name a variable", None),
    (lambda: LIKED.resolve("source_id", as_="x", via=""), "resolve: via must be text that is not empty, not ''", None),
    (lambda: LIKED.resolve("source_id", as_="x", via="y", direction="reversed"), "resolve: direction 'reversed' is not known", "did you mean 'reverse'?"),
    (lambda: LIKED.resolve("source_id", as_="x", required="no"), "resolve: required must be True or False, not 'no'", None),
    (lambda: LIKED.resolve("source_id", as_="x", vai="y"), "resolve has no option 'vai'", "did you mean 'via'?"),
    (lambda: LIKED.fan_out("source_id", via=5, as_="x"), "fan_out: via must be text that is not empty, not 5", None),
    (lambda: LIKED.fan_out("source_id", via="y", as_="true"), "fan_out: as_ 'true' cannot name a variable", None),
    # where
    (lambda: LIKED.where(3), "a condition cannot be 3", None),
    (lambda: LIKED.where(True), "a condition cannot be True", "compare with var on one side at least"),
    (lambda: LIKED.where(""), "a condition is empty", "write true for one that always holds"),
    (lambda: LIKED.where(lambda: True), "<lambda>() cannot be called with one argument", None),
    (lambda: LIKED.where(int), "the class int is not a condition", None),
    # deduplicate, batch, rate_limit
    (lambda: LIKED.deduplicate("source_id", window=5), "a duration is text or a timedelta, not 5", "a bare number has no unit: '5s' is seconds"),
    (lambda: LIKED.deduplicate("source_id", window="5 minutes"), "'5 minutes' is not a duration", "did you mean '5m'?"),
    (lambda: LIKED.deduplicate([], window="5m"), "deduplicate: key is an empty list", None),
    (lambda: LIKED.batch([["source_id"]], window="5m"), "a path is text such as 'owner.id', not list", None),
    (lambda: LIKED.batch("source_id", window="5m", min_count=-1), "batch: min_count must be a whole number of at least 0, not -1", None),
    (lambda: LIKED.rate_limit(1.5, per="1s"), "rate_limit: max must be a whole number of at least 0, not 1.5", None),
    (lambda: LIKED.rate_limit(True, per="1s"), "rate_limit: max must be a whole number of at least 0, not True", None),
    (lambda: LIKED.rate_limit(1, per="1s", strategy="queu"), "rate_limit: strategy 'queu' is not known", "did you mean 'queue'?"),
    (lambda: LIKED.rate_limit(0, per="1s", strategy="queue"), "rate_limit: a queue with max=0 never lets anything out", "use strategy='drop', or a max of at least 1"),
    (lambda: LIKED.rate_limit(1, per="1s", key=[]), "rate_limit: key is an empty list", None),
    # map, deliver
    (lambda: LIKED.map(), "map needs a template", None),
    (lambda: LIKED.map("x", a="b"), "map takes a template or fields by name, not both", "put the fields into the template"),
    (lambda: LIKED.map(x={1, 2}), "map: x is a set", None),
    (lambda: LIKED.map({"a": {"b": [object()]}}), "map: a.b[0] is an object", None),
    (lambda: LIKED.map({1: "x"}), "map: the key 1 is not text", None),
    (lambda: LIKED.map(x=float("nan")), "map: x is nan, which JSON cannot say", None),
    (lambda: LIKED.map(title="{{ owner.name }}"), "the template '{{ owner.name }}' reads 'owner.name', but there is no variable 'owner' at this step", None),
    (lambda: LIKED.map(title=var.owner.name), "the template 'owner.name' reads 'owner.name', but there is no variable 'owner' at this step", None),
    (lambda: LIKED.deliver("s"), "deliver has no payload", "put a map(…) before it"),
    (lambda: LIKED.map(x="x").deliver(), "deliver needs at least one sink", None),
    (lambda: LIKED.map(x="x").deliver(["s"]), "deliver: a sink must be text that is not empty, not ['s']", None),
    (lambda: LIKED.map(x="x").deliver(sinks=["s"]), "deliver has no option 'sinks'", None),
]  # fmt: skip


@pytest.mark.parametrize(("act", "what", "hint"), REFUSED, ids=[what for _, what, _ in REFUSED])
def test_a_mistake_is_refused_on_the_line_that_makes_it(act: Act, what: str, hint: str | None) -> None:
    with pytest.raises(fd.FlowError) as caught:
        act()
    assert caught.value.what == what
    if hint is not None:
        assert caught.value.hint == hint


def test_a_mistake_says_in_which_flow_and_at_which_step() -> None:
    with pytest.raises(fd.BuildError) as caught:
        LIKED.where("source_id != 'x'").resolve("sorce_id", as_="x")
    assert str(caught.value) == (
        "flow 'link.created likes', step 1 (resolve): "
        "resolve reads 'sorce_id', but there is no variable 'sorce_id' at this step\n"
        "  allowed: link_type, link_id, source_id, target_id, metadata, event\n"
        "  hint: did you mean 'source_id'?"
    )


def test_a_build_error_is_a_value_error_too() -> None:
    with pytest.raises(ValueError, match="is not a kind of event"):
        on("x")


def test_a_variable_of_a_step_is_known_only_after_it() -> None:
    with pytest.raises(fd.BuildError, match="no variable 'owner'"):
        LIKED.where("owner.id != source_id").resolve("target_id", as_="owner")
    assert LIKED.resolve("target_id", as_="owner").where("owner.id != source_id").steps
