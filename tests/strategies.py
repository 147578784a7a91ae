"""Random flows, graphs and logs: few ids and few moments, so that things meet."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import crowded_strategies as crowded
import pytest
from hypothesis import assume
from hypothesis import strategies as st
from oracle.values import moment_text

from flowdsl import Cap, Flow, on
from flowdsl.errors import BuildError
from flowdsl.events import KINDS
from flowdsl.expressions.conditions import parse_expression
from flowdsl.operators.scope import ValueShape

SLIPS_ARE_LIKELY = pytest.mark.filterwarnings("ignore:(flow '|EntityGraph):flowdsl.errors.FlowWarning")
"""Of tests with random flows, which compare ids with numbers, and deliver to nobody."""
START = crowded.START
SECOND = 1_000_000
AHEAD = 7200 * SECOND

IDS = ["a", "b", "1"]
ENTITY_TYPES = ["user", "post"]
LINK_TYPES = ["likes", "owns"]
SINKS = ["in-app", "push", "feed"]
WINDOWS = ["0s", "1s", "1500ms", "2s", "3s", "10s"]
# midnight is when logs begin, half past five in India
ZONES = ["Asia/Kolkata", "America/St_Johns", "Europe/Berlin", "Australia/Lord_Howe"]
CLOCKS = ["00:00", "00:00:01", "00:00:03", "00:00:10", "05:30", "05:30:02", "05:45:05", "02:30", "12:00"]
HOUR_MS = 3_600_000
# the last leads to two seconds before the clocks of Berlin go forward
STEPS_MS = [
    *[0, 0, 0, 250, 500, 1000, 1000, 1000, 1500, 2000, 5000, 333, -1500] * 3,
    HOUR_MS,
    24 * HOUR_MS,
    2089 * HOUR_MS - 2000,
]

ids = st.sampled_from(IDS)
scalars = st.sampled_from(
    [0, 1, 2, -3, 2**53 + 1, 2**63 - 1, 2**64 - 1, -(2**63), 1.0, 2.5, -0.0, 1e17, 1.7e308, True, False, None, "", "a", "1", "Ann",
     'é "q"\n', "ÄÖ", " a ", "a,b", "2026-03-29T01:30:00+02:00"]
)  # fmt: skip
id_values = ids | st.sampled_from([1, None, "", 2.5, True, ["a"]])
more = st.fixed_dictionaries(
    {}, optional={"x": scalars, "y": st.lists(scalars, max_size=2), "z": st.just({}), "a\0b": st.just(1)}
)
# objects in lists, and lists in lists
items = st.fixed_dictionaries(
    {}, optional={"id": id_values, "n": scalars, "tags": st.lists(scalars, max_size=2)}
) | st.lists(st.sampled_from(["x", 1, ["y"], {}]), max_size=2)
documents = st.fixed_dictionaries(
    {},
    optional={
        "id": st.sampled_from([1, "1", "other", None, 1.5]),
        "name": st.sampled_from(["Ann", "Bob", "", "zoë", 7, None]),
        "n": scalars,
        "author_id": id_values,
        "more": more | scalars,
        "tags": st.lists(st.sampled_from(["x", "y", 1, None]), max_size=3) | st.lists(items, max_size=3),
        "tz": st.sampled_from(["UTC", "Asia/Kolkata", "Europe/Berlin", "Mars/Base", None, 1]),
        "delay": st.sampled_from(["0s", "1s", "2s", "5m", "soon", None, 2]),
    },
)
# mostly objects, for those are what graphs hold
entities = st.one_of(documents, documents, documents, st.none(), scalars, st.lists(scalars, max_size=2))
# what a column of structs can hold: every field, of one type each, or null
full_documents = st.fixed_dictionaries(
    {
        "name": st.sampled_from(["Ann", "", "zoë", None]),
        "n": st.sampled_from([0, 1, 2, None]),
        "author_id": ids | st.none(),
        "more": st.none() | st.fixed_dictionaries({"x": st.sampled_from([0.5, 1.0, None])}),
        "tags": st.none() | st.lists(st.sampled_from(["x", "y", None]), max_size=3),
        "delay": st.sampled_from(["1s", "4s", None]),
        "tz": st.sampled_from(["UTC", "Asia/Kolkata", None]),
    }
)
link_ids = st.sampled_from([None, None, None, "l1", "l2"])


@dataclass(frozen=True)
class World:
    """A graph before the first event, and a log of envelopes."""

    entities: dict[str, dict[str, Any]]
    links: list[dict[str, Any]]
    events: list[dict[str, Any]]
    merge: tuple[str, ...] = ()


@dataclass(frozen=True)
class Case:
    """Flows and what they run on."""

    flows: list[Flow]
    world: World
    caps: dict[str, Cap] = field(default_factory=dict)

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(str(self))

    def __str__(self) -> str:
        flows = "\n".join(str(flow) for flow in self.flows)
        events = "\n".join(f"  {event!r}," for event in self.world.events)
        graph = f"entities={self.world.entities!r}\nlinks={self.world.links!r}\nmerge={self.world.merge!r}"
        return f"\n{flows}\ncaps={self.caps!r}\n{graph}\nevents=[\n{events}\n]"


@st.composite
def links(draw: st.DrawFn) -> dict[str, Any]:
    """A link as a graph is given it."""
    link = {"link_type": draw(st.sampled_from(LINK_TYPES)), "source_id": draw(ids), "target_id": draw(ids)}
    link_id = draw(link_ids)
    return link if link_id is None else {**link, "link_id": link_id}


@st.composite
def said_links(draw: st.DrawFn, data: Any) -> dict[str, Any]:
    """A link with what it says, as a graph is given it."""
    metadata = draw(st.none() | data)
    link = draw(links())
    return link if metadata is None else {**link, "metadata": metadata}


@st.composite
def inner_events(draw: st.DrawFn, full: bool = False) -> dict[str, Any]:
    """The inner object of an event of any kind."""
    family, action = draw(st.sampled_from([*KINDS, *["link.created"] * 4, "entity.updated"])).split(".")
    event: dict[str, Any] = {"kind": family, "action": action}
    if family == "entity":
        event |= {"entity_type": draw(st.sampled_from(ENTITY_TYPES)), "entity_id": draw(ids)}
        return event if action == "deleted" else {**event, "data": draw(full_documents if full else entities)}
    event |= draw(links())
    if action == "deleted":
        if "link_id" not in event:
            return event
        # by the id alone, by the id and the ends, or by the ends alone although there are ids
        named = {"kind": family, "action": action, "link_id": event["link_id"]}
        bare = {name: value for name, value in event.items() if name != "link_id"}
        return draw(st.sampled_from([named, event, bare]))
    metadata = draw(st.none() | (full_documents if full else documents))
    return event if metadata is None else {**event, "metadata": metadata}


@st.composite
def logs(draw: st.DrawFn, max_size: int = 20, full: bool = False) -> list[dict[str, Any]]:
    """Events in order of `seq_no`, some at the same moment, some late, some numbers left out."""
    moment, seq_no, log = START, 0, []
    for inner in draw(st.lists(inner_events(full), min_size=5, max_size=max_size)):
        moment += 1000 * draw(st.sampled_from(STEPS_MS))
        seq_no += draw(st.sampled_from([1, 1, 1, 1, 3]))
        # now and then a clock that cannot be right
        at = moment + draw(st.sampled_from([0] * 15 + [AHEAD]))
        log.append({"id": f"e{seq_no}", "timestamp": moment_text(at), "event": inner, "seq_no": seq_no})
    return log


# of whom a world tells: mostly of all, now and then of one, to whom everything happens
SAME = [{}] * 3 + [dict.fromkeys(["b", "1"], "a"), {"post": "user", "owns": "likes", "1": "b"}]
ENDS = ("source_id", "target_id", "entity_id", "link_type", "entity_type")


def _of_fewer(said: dict[str, Any], same: Mapping[str, str]) -> dict[str, Any]:
    return {name: same.get(value, value) if name in ENDS else value for name, value in said.items()}


@st.composite
def worlds(draw: st.DrawFn, max_events: int = 20, full: bool = False) -> World:
    """A graph and a log; `full`: of documents that columns of structs can hold."""
    data = full_documents if full else entities
    held = {
        kind: draw(st.dictionaries(ids, data, min_size=2, max_size=3))
        for kind in draw(st.sampled_from([["user"], ["user", "post"], ["post"], []]))
    }
    merge = draw(st.sampled_from([(), ("user",), ("user", "post")]))
    said = draw(st.lists(said_links(full_documents if full else documents), min_size=4, max_size=9))
    log, same = draw(logs(max_events, full)), draw(st.sampled_from(SAME))
    events = [{**envelope, "event": _of_fewer(envelope["event"], same)} for envelope in log]
    return World(held, [_of_fewer(link, same) for link in said], events, merge)


# -- flows ----------------------------------------------------------------------------------------------

SURE = {"source_id", "target_id", "entity_id", "link_type", "entity_type", "event", "batch"}
PARTS = ["id", "name", "n", "author_id", "more", "more.x", "tags", "tz", "delay", "nothing"]


def _paths_of(name: str, shape: ValueShape) -> list[str]:
    if shape.scalar:
        return [name]
    if shape.fields is not None:
        below = [path for part, s in shape.fields.items() for path in _paths_of(f"{name}.{part}", s)]
        return [*below, name]
    return [name, *(f"{name}.{part}" for part in PARTS)]


@st.composite
def paths(draw: st.DrawFn, flow: Flow) -> str:
    """A path that can exist at the end of a flow; at an event it may well be missing, but most are there."""
    shapes = flow.variables
    choice = draw(st.integers(0, 7))
    # what an event brings along: of any type, null, or not there
    brought = [
        p for name in ("metadata", "data", "before") if name in shapes for p in _paths_of(name, shapes[name])
    ]
    if choice > 5 and brought:
        return draw(st.sampled_from(brought))
    if choice:
        sure = [p for name in shapes if name in SURE for p in _paths_of(name, shapes[name])]
        return draw(st.sampled_from([p for p in sure if p not in ("event", "event.id", "batch")]))
    name = draw(st.sampled_from([n for n in shapes if n != "_delivered_to"]))
    return draw(st.sampled_from(_paths_of(name, shapes[name])))


@st.composite
def id_paths(draw: st.DrawFn, flow: Flow) -> str:
    """A path that often holds an id."""
    sure = [name for name in flow.variables if name in ("source_id", "target_id", "entity_id")]
    if draw(st.integers(0, 3)):
        return draw(st.sampled_from(sure))
    likely = [p for name, shape in flow.variables.items() for p in _paths_of(name, shape)]
    likely = [p for p in likely if p.rpartition(".")[2].endswith("id") and not p.startswith("event.")]
    return draw(st.sampled_from(likely)) if draw(st.integers(0, 7)) else draw(paths(flow))


def _compares(flow: Flow) -> bool:
    """Whether events have data, and an entity before them."""
    return {"data", "before"} <= flow.variables.keys()


def _calls(path: str, other: str) -> list[str]:
    """Conditions with functions of texts, numbers and times."""
    return [
        f"len({path}) > 1",
        f"len(lower({path})) == len({other})",
        f"startswith({path}, 'a')",
        f"endswith({path}, {other})",
        f"contains({path}, 'a') or contains({path}, {other})",
        f"upper({path}) == 'ANN'",
        f"lower({path}) != 'ann'",
        f"trim({path}) == 'Ann'",
        f"coalesce({path}, {other}, 1) == 1",
        f"abs({path}) > 1 or round({other}) > 1",
        f"round({path} / 3, 1) == round({other}, digits=1)",
        f"-{path} < abs({other} - 1)",
        f"min({path}, {other}, 2) < 2",
        f"max({path}, 1) != 2",
        f"bucket({path}, 3, salt='s') < 2",
        f"bucket({path}, 3) == bucket({other}, 3)",
        "hour(event.timestamp, 'Asia/Kolkata') == 5",
        f"minute(event.timestamp, {path}) != 30",
        f"weekday({path}) == 4",
        f"date({path}, 'Europe/Berlin') != date(event.timestamp, 'Australia/Lord_Howe')",
        f"hour({path}, {other}) == 5",
        "weekday(event.timestamp, 'America/St_Johns') == 3",
        "date(event.timestamp, 'Pacific/Apia') == '2026-01-01'",
    ]


literals = st.sampled_from(["1", "0", "2.5", "'a'", "'1'", "'Ann'", "true", "null", "''", "-1"])


@st.composite
def conditions(draw: st.DrawFn, flow: Flow, depth: int = 2) -> str:
    """A condition as text."""
    shape = draw(st.sampled_from([*["compare"] * 6, "exists", "call", "graph", "graph", "arithmetic", "in", *["not", "and", "or"] * (depth > 0)]))  # fmt: skip
    path = draw(paths(flow))
    if shape == "exists":
        return draw(st.sampled_from([f"{path} exists", f"exists({path})", f"{path} not_exists"]))
    if shape == "call" and _compares(flow) and draw(st.booleans()):
        field = draw(st.sampled_from(["data.n", "data.more", "data.tags", "data.id"]))
        return draw(
            st.sampled_from([f"changed({field})", "len(added(data.tags)) > 0", "1 in added(data.tags)"])
        )
    if shape == "call":
        return draw(st.sampled_from(_calls(path, draw(paths(flow)))))
    if shape == "graph":
        return draw(graph_conditions(flow))
    if shape == "arithmetic":
        return f"{path} {draw(st.sampled_from('+-*/%'))} {draw(st.sampled_from(['1', '2', path]))} > 1"
    if shape == "in":
        among = draw(st.sampled_from(["['a', 1, null]", "[]"]) | paths(flow))
        return f"{path} {draw(st.sampled_from(['in', 'not in']))} {among}"
    if shape == "not":
        return f"not ({draw(conditions(flow, depth - 1))})"
    if shape in ("and", "or"):
        return f"({draw(conditions(flow, depth - 1))}) {shape} ({draw(conditions(flow, depth - 1))})"
    other = draw(literals | paths(flow))
    return f"{path} {draw(st.sampled_from(['!=', '!=', '!=', '==', '<', '<=', '>', '>=']))} {other}"


@st.composite
def graph_calls(draw: st.DrawFn, flow: Flow) -> str:
    """A question to the graph (rule 27)."""
    ids = id_paths(flow) | st.sampled_from(["'a'", "'nobody'", "1"])
    kind, direction = draw(st.sampled_from(LINK_TYPES)), draw(st.sampled_from(["", ", direction='reverse'"]))
    if draw(st.booleans()):
        return f"linked({draw(ids)}, '{kind}', {draw(ids)})"
    function = draw(st.sampled_from(["count_links", "count_links", "first_link"]))
    return f"{function}({draw(ids)}, '{kind}'{direction})"


@st.composite
def graph_conditions(draw: st.DrawFn, flow: Flow) -> str:
    """A condition on what the graph answers."""
    call = draw(graph_calls(flow))
    if call.startswith("linked"):
        return draw(st.sampled_from([call, f"not {call}", f"{call} == true"]))
    if call.startswith("count"):
        return f"{call} {draw(st.sampled_from(['== 1', 'in [1, 2]', '> 0', '!= metadata.n' if 'metadata' in flow.variables else '< 2']))}"
    part = draw(st.sampled_from([".name == 'Ann'", ".n > 0", ".tags == []", " == null", ".more.x != 1"]))
    return draw(
        st.sampled_from([f"{call}{part}", f"exists({call})", f"exists({call}.n)", f"{call} == {call}"])
    )


def only_users(context: Mapping[str, Any]) -> bool:
    """A Python function as a condition."""
    return context.get("source_id", context.get("entity_id")) != "a"


def has_batch(context: Mapping[str, Any]) -> bool:
    """A Python function that looks at which variables there are."""
    return "batch" in context or len(list(context)) % 2 == 0


filters = st.sampled_from(
    ["length", "first", "last", "join(sep=',')", "json_encode()", "trim", "lower", "title", "reverse", "int", "float", "abs", "round",
     "date", "date(format='%H:%M', timezone='Asia/Kolkata')", "truncate(length=2)", "replace(from='a', to='b')", "slice(end=1)",
     "sort", "unique", "urlencode", "as_str", "default(value=0)", "get(key='x', default=1)", "split(pat=',')", "escape"]
)  # fmt: skip


@st.composite
def templates(draw: st.DrawFn, flow: Flow) -> str:
    """A template of Tera."""
    path, other = draw(paths(flow)), draw(paths(flow))
    forms = [
        "hello",
        "hello",
        f'{{{{ {path} | default(value="-") }}}}',
        f"{{{{ {path} }}}}",
        f"{{{{ {path} }}}} and {{{{ {other} }}}}",
        f'{{{{ {path} | default(value="-") }}}}',
        f"{{% if {path} %}}yes {{{{ {path} }}}}{{% else %}}no{{% endif %}}",
        f"{{% if {path} is defined %}}is {{{{ {path} }}}}{{% endif %}}",
        f"{{{{ {path} | upper }}}}",
        f"{{% for x in {path} %}}{{{{ x }}}};{{% endfor %}}",
        f"{{% for x in {path} %}}{{{{ loop.index }}}}{{% if loop.last %}}{{{{ {other} }}}}{{% endif %}}{{% endfor %}}",
        f"{{{{ {path} ~ {other} }}}}",
        f"{{{{ {path} | {draw(filters)} }}}}",
        f"{{% if {path} {draw(st.sampled_from(['==', '!=', '<', '>=', 'in', 'and', 'or']))} {other} %}}yes{{% else %}}no{{% endif %}}",
        f"{{% set x = {path} %}}{{{{ x }}}}{{{{ {other} | {draw(filters)} | {draw(filters)} }}}}",
    ]
    return draw(st.sampled_from(forms))


@st.composite
def leaves(draw: st.DrawFn, flow: Flow) -> Any:
    """A value of a payload's template."""
    path = draw(paths(flow))
    return draw(
        templates(flow)
        | templates(flow)
        | st.sampled_from([parse_expression(path), parse_expression(f"len({path})"), parse_expression(f"{path} + 1")])
        | graph_calls(flow).map(parse_expression)
        | st.sampled_from([1, 1.5, True, None, {}, []])
    )  # fmt: skip


@st.composite
def payloads(draw: st.DrawFn, flow: Flow) -> Any:
    """The template of a payload: mostly an object."""
    if draw(st.integers(0, 9)) == 0:
        return draw(templates(flow) | st.lists(leaves(flow), max_size=2))
    names = st.sampled_from(["recipient_id", "title", "n", "seq_no", "payload.seq_no", "deep", "a b"])
    nested = (
        leaves(flow) | st.dictionaries(names, leaves(flow), max_size=2) | st.lists(leaves(flow), max_size=2)
    )
    return draw(st.dictionaries(names, nested, min_size=1, max_size=3))


def _resolve(draw: st.DrawFn, flow: Flow) -> Flow:
    return flow.resolve(
        draw(id_paths(flow)),
        as_=draw(names),
        via=draw(st.none() | st.sampled_from(LINK_TYPES)),
        direction=draw(st.sampled_from(["forward", "reverse"])),
        type=draw(st.sampled_from([None, None, None, "user", "ghost"])),
        required=draw(st.sampled_from([True, False, False, False])),
    )


def _fan_out(draw: st.DrawFn, flow: Flow) -> Flow:
    return flow.fan_out(
        draw(id_paths(flow)),
        via=draw(st.sampled_from(LINK_TYPES)),
        as_=draw(names),
        direction=draw(st.sampled_from(["forward", "reverse"])),
        type=draw(st.sampled_from([None, None, None, "post"])),
    )


@st.composite
def list_paths(draw: st.DrawFn, flow: Flow) -> str:
    """A path that often holds a list."""
    likely = [p for name, shape in flow.variables.items() for p in _paths_of(name, shape)]
    likely = [p for p in likely if p.rpartition(".")[2] in ("tags", "more", "y", "items", "x", "u", "v", "w")]
    return draw(st.sampled_from(likely)) if likely and draw(st.integers(0, 7)) else draw(paths(flow))


def _for_each(draw: st.DrawFn, flow: Flow) -> Flow:
    if _compares(flow) and draw(st.integers(0, 3)) == 0:
        return flow.for_each("added(data.tags)", as_=draw(names))
    if draw(st.integers(0, 5)) == 0:
        part = draw(st.sampled_from(["tags", "more", "more.y"]))
        return flow.for_each(f"first_link({draw(id_paths(flow))}, 'likes').{part}", as_=draw(names))
    return flow.for_each(draw(list_paths(flow)), as_=draw(names))


def _where(draw: st.DrawFn, flow: Flow) -> Flow:
    if draw(st.integers(0, 9)) == 0:
        return flow.where(draw(st.sampled_from([only_users, has_batch])))
    return flow.where(draw(conditions(flow)))


def _deduplicate(draw: st.DrawFn, flow: Flow) -> Flow:
    key = draw(st.lists(paths(flow) | id_paths(flow), min_size=1, max_size=2))
    return flow.deduplicate(key, window=draw(st.sampled_from(WINDOWS)))


def _batch(draw: st.DrawFn, flow: Flow) -> Flow:
    keys = draw(st.lists(paths(flow) | id_paths(flow), min_size=1, max_size=draw(st.sampled_from([1, 1, 2]))))
    least = draw(st.sampled_from([0, 1, 1, 1, 1, 2, 3]))
    if draw(st.booleans()):
        return flow.batch(keys, window=draw(st.sampled_from(WINDOWS)), min_count=least)
    ends = draw(st.sets(st.sampled_from(["window", "quiet", "every"]), min_size=1, max_size=2))
    options: dict[str, Any] = draw(calendars(flow)) if "every" in ends else {}
    spans = st.sampled_from([*WINDOWS[1:], *said_by_data(flow, "delay")])
    options |= {name: draw(spans) for name in ("window", "quiet") if name in ends}
    most = draw(st.sampled_from([None, None, 1, 2, 3]))
    return flow.batch(
        keys,
        min_count=min(least, most or least),
        max_count=most,
        collect=draw(collections(flow)),
        **options,
    )


def said_by_data(flow: Flow, name: str) -> list[str]:
    """The paths to a field of what an event brings along."""
    return [f"{root}.{name}" for root in ("data", "metadata") if root in flow.variables]


@st.composite
def calendars(draw: st.DrawFn, flow: Flow) -> dict[str, Any]:
    """Local moments, some of which come soon after the start."""
    every = draw(st.sampled_from(["hour", "day", "week", "month"]))
    at = draw(st.sampled_from([None, "00:00:03", "00:30:02", "05:30:04"]))
    on = {"week": st.sampled_from([None, "thu", "fri"]), "month": st.sampled_from([None, 1, 31])}.get(
        every, st.none()
    )
    tz = draw(st.sampled_from([None, "UTC", *ZONES, *said_by_data(flow, "tz")]))
    from_data = tz is not None and tz.endswith(".tz")
    return {
        "every": every,
        "at": None if every == "hour" and at == "05:30:04" else at,
        "on": draw(on),
        "tz": tz,
        "default_tz": draw(st.sampled_from([None, "UTC"])) if from_data else None,
    }


AGGREGATES = ["sum", "min", "max", "first", "last", "unique", "count"]


@st.composite
def collections(draw: st.DrawFn, flow: Flow) -> dict[str, str] | None:
    """What a batch collects; None for nothing."""
    found = {}
    for name in draw(st.lists(st.sampled_from(["names", "total", "least"]), max_size=2, unique=True)):
        path = draw(st.sampled_from(["event.seq_no", "event.seq_no / 4"]) | paths(flow))
        function = draw(st.sampled_from([None, *AGGREGATES]))
        if draw(st.integers(0, 4)) == 0:
            path = draw(graph_calls(flow))
        found[name] = path if function is None else f"{function}({path})"
    return found or None


def _rate_limit(draw: st.DrawFn, flow: Flow) -> Flow:
    strategy = draw(st.sampled_from(["drop", "queue", "queue"]))
    return flow.rate_limit(
        draw(st.integers(1 if strategy == "queue" else 0, 3)),
        per=draw(st.sampled_from(WINDOWS)),
        strategy=strategy,
        key=draw(st.none() | paths(flow) | st.lists(id_paths(flow), min_size=1, max_size=2)),
    )


def _cap(draw: st.DrawFn, flow: Flow) -> Flow:
    per = draw(st.sampled_from(["1s", "1500ms", "3s", "10s", "day", "week", "month"]))
    local = per in ("day", "week", "month")
    return flow.cap(
        draw(st.integers(0, 3)),
        per=per,
        key=draw(st.none() | paths(flow) | st.lists(id_paths(flow), min_size=1, max_size=2)),
        **(_zone(draw, flow) if local else {}),
    )


def _zone(draw: st.DrawFn, flow: Flow) -> dict[str, str]:
    shape = draw(st.integers(0, 3))
    if shape == 0:
        return {}
    if shape < 3:
        return {"tz": draw(st.sampled_from(["UTC", "Atlantic/Cape_Verde", *ZONES]))}
    said = said_by_data(flow, "tz")
    path = draw(st.sampled_from(said) if said and draw(st.integers(0, 3)) else paths(flow))
    return {"tz": path, **draw(st.sampled_from([{}, {"default_tz": "Asia/Kathmandu"}]))}


def _wait(draw: st.DrawFn, flow: Flow) -> Flow:
    form = draw(st.sampled_from(["duration", "path", "until", "hours"]))
    if form == "duration":
        return flow.wait(draw(st.sampled_from(WINDOWS)))
    if form == "path":
        said = said_by_data(flow, "delay")
        return flow.wait(draw(st.sampled_from(said) if said and draw(st.integers(0, 3)) else paths(flow)))
    if form == "until":
        time, day = draw(st.sampled_from(CLOCKS)), draw(st.sampled_from([None, None, "thu", "fri", 1, 31]))
        return flow.wait(until=time, on=day, **_zone(draw, flow))
    hours = f"{draw(st.sampled_from(CLOCKS))}-{draw(st.sampled_from(['00:00:07', '05:30:04', '23:59']))}"
    return flow.wait(
        hours=hours, outside=draw(st.sampled_from(["hold", "hold", "drop"])), **_zone(draw, flow)
    )


caps = st.builds(Cap, st.integers(1, 3), per=st.sampled_from(["1s", "2s", "10s", "day"])) | st.builds(
    Cap,
    st.integers(1, 3),
    per=st.sampled_from(["day", "week", "month"]),
    tz=st.sampled_from(ZONES),
)


def _map(draw: st.DrawFn, flow: Flow) -> Flow:
    return flow.map(draw(payloads(flow)))


def _deliver(draw: st.DrawFn, flow: Flow) -> Flow:
    flow = flow if "_payload" in flow.variables else _map(draw, flow)
    return flow.deliver(*draw(st.lists(st.sampled_from(SINKS), min_size=1, max_size=2)))


names = st.sampled_from(["u", "u", "v", "v", "w", "recipient", "recipient_id", "target_id", "metadata"])
GROWTH: dict[str, Callable[[st.DrawFn, Flow], Flow]] = {
    "resolve": _resolve,
    "fan_out": _fan_out,
    "for_each": _for_each,
    "where": _where,
    "deduplicate": _deduplicate,
    "batch": _batch,
    "rate_limit": _rate_limit,
    "cap": _cap,
    "wait": _wait,
    "map": _map,
    "deliver": _deliver,
}


# those that hold contexts back, and those that make many of one, are where things meet
WEIGHTS = {
    "resolve": 2,
    "fan_out": 3,
    "for_each": 2,
    "where": 1,
    "deduplicate": 2,
    "batch": 3,
    "rate_limit": 3,
    "cap": 2,
    "wait": 2,
    "map": 1,
    "deliver": 1,
}
operators = st.sampled_from([name for name, weight in WEIGHTS.items() for _ in range(weight)])


@st.composite
def grown(draw: st.DrawFn, flow: Flow, max_steps: int = 6) -> Flow:
    """A flow with more steps of any operators, and with a delivery at its end."""
    for operator in draw(st.lists(operators, min_size=2, max_size=max_steps)):
        try:
            flow = GROWTH[operator](draw, flow)
        except BuildError:
            assume(False)
    return _deliver(draw, flow)


@st.composite
def beginnings(draw: st.DrawFn) -> Flow:
    """A trigger."""
    kind = draw(st.sampled_from([*KINDS, *["link.created"] * 4]))
    if kind.startswith("link"):
        return on(kind, link_type=draw(st.sampled_from([None, None, *LINK_TYPES])))
    return on(kind, entity_type=draw(st.sampled_from([None, None, *ENTITY_TYPES])))


@st.composite
def flow_lists(draw: st.DrawFn, max_flows: int = 3) -> list[Flow]:
    """Flows, some of which begin with the same steps as another."""
    flows = [draw(grown(draw(beginnings())))]
    for _ in range(draw(st.integers(0, max_flows - 1))):
        if draw(st.booleans()):
            model = draw(st.sampled_from(flows))
            kept = draw(st.integers(0, len(model.steps)))
            flows.append(draw(grown(Flow(model.trigger, model.steps[:kept]), 3)))
        else:
            flows.append(draw(grown(draw(beginnings()))))
    return [flow.named(f"f{number}") for number, flow in enumerate(flows)]


def cases(max_events: int = 20, full: bool = False) -> st.SearchStrategy[Case]:
    """Flows, a graph and a log: of any values, or so that most contexts go far.

    `full`: of documents that columns of structs can hold.
    """
    of_any = cases_of(flow_lists(), worlds(max_events, full))
    return of_any if full else of_any | cases_of(crowded.flow_lists(), crowded_worlds(max_events))


@st.composite
def cases_of(
    draw: st.DrawFn, flow_lists: st.SearchStrategy[list[Flow]], worlds: st.SearchStrategy[World]
) -> Case:
    """Flows and a world, and caps of some of the sinks."""
    flows = draw(flow_lists)
    return Case(flows, draw(worlds), draw(sink_caps(flows)))


def crowded_worlds(max_events: int) -> st.SearchStrategy[World]:
    """A graph with many links, and a log in which they come and go."""
    return st.builds(World, crowded.held_entities, crowded.graphs, crowded.logs(max_events), crowded.merges)


@st.composite
def sink_caps(draw: st.DrawFn, flows: list[Flow]) -> dict[str, Cap]:
    """Caps of some of the sinks, mostly of none."""
    sinks = sorted({sink for flow in flows for sink in flow.sinks})
    few = st.dictionaries(st.sampled_from(sinks), caps, max_size=2) if sinks else st.just({})
    return draw(st.just({}) | few)
