"""Random cases in which most contexts go far: fan-outs over links that come and go, behind which branches are asked of the
graph, gathered, limited and held, and events at the very edges of windows, a microsecond before, or late.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import assume
from hypothesis import strategies as st
from oracle.values import moment_text

from flowdsl import Flow, on
from flowdsl.errors import BuildError
from flowdsl.expressions.conditions import parse_expression

START = 1_767_225_600_000_000  # 2026-01-01T00:00:00Z
PEOPLE = ["a", "b", "c", "1"]
LINK_TYPES = ["follows", "owns"]
WINDOWS = ["0s", "500ms", "1s", "1s", "2s", "3s"]
# half seconds, for edges of windows; now and then late, far ahead, or after a long pause
STEPS_MS = [*[0, 0, 0, 500, 500, 1000, 1000, 2000] * 4, 250, 3000, -500, -1000, -2000, 3_600_000, 86_400_000]
SLIPS_US = [0] * 12 + [-1, 1]

people = st.sampled_from(PEOPLE)
link_types = st.sampled_from(LINK_TYPES)
spans = st.sampled_from(WINDOWS)
tags = st.lists(st.sampled_from(["a", "b", "x", 1, 2, None]), max_size=4)
fields = st.fixed_dictionaries(
    {"n": st.sampled_from([0, 1, 2, 2.5, None])},
    optional={
        "tags": tags,
        "who": people,
        "more": st.fixed_dictionaries({}, optional={"x": st.sampled_from([1, None, "a"])}),
        "delay": st.sampled_from(["0s", "500ms", "1s", "2s"]),
    },
)
some_fields = st.fixed_dictionaries(
    {},
    optional={"n": st.sampled_from([1, 2, None]), "tags": tags | st.none(), "who": people | st.none(), "id": people | st.none()},
)  # fmt: skip


@st.composite
def links(draw: st.DrawFn) -> dict[str, Any]:
    """A link; some are known by an id of their own."""
    link = {"link_type": draw(link_types), "source_id": draw(people), "target_id": draw(people)}
    link_id = draw(st.sampled_from([None, None, "l1", "l2", "l3"]))
    metadata = draw(st.none() | fields)
    link = link if link_id is None else {**link, "link_id": link_id}
    return link if metadata is None else {**link, "metadata": metadata}


@st.composite
def inner_events(draw: st.DrawFn) -> dict[str, Any]:
    """What happened: mostly links that come, go, and come again."""
    what = draw(st.sampled_from(["created"] * 6 + ["deleted"] * 2 + ["updated"] * 3 + ["gone", "made"]))
    if what == "created":
        return {"kind": "link", "action": "created", **draw(links())}
    if what == "deleted":
        link = draw(links())
        kept = draw(st.sampled_from([("link_type", "source_id", "target_id"), ("link_id",), tuple(link)]))
        said = {name: link[name] for name in kept if name in link and name != "metadata"} or link
        said.pop("metadata", None)
        return {"kind": "link", "action": "deleted", **said}
    of = {"entity_type": draw(st.sampled_from(["user", "user", "user", "post"])), "entity_id": draw(people)}
    if what == "gone":
        return {"kind": "entity", "action": "deleted", **of}
    action = {"made": "created"}.get(what, what)
    return {"kind": "entity", "action": action, **of, "data": draw(fields if what == "made" else some_fields)}


@st.composite
def logs(draw: st.DrawFn, max_size: int) -> list[dict[str, Any]]:
    """Events that meet edges of windows."""
    moment, seq_no, log = START, 0, []
    for inner in draw(st.lists(inner_events(), min_size=6, max_size=max_size)):
        moment += 1000 * draw(st.sampled_from(STEPS_MS))
        seq_no += draw(st.sampled_from([1, 1, 1, 2]))
        at = moment + draw(st.sampled_from(SLIPS_US))
        log.append({"id": f"e{seq_no}", "timestamp": moment_text(at), "event": inner, "seq_no": seq_no})
    return log


held_entities = st.fixed_dictionaries(
    {"user": st.dictionaries(people, fields, min_size=2)},
    optional={"post": st.dictionaries(people, fields, max_size=1)},
)
merges = st.sampled_from([(), ("user",), ("user", "post")])
graphs = st.lists(links(), min_size=5, max_size=14)


# -- flows ----------------------------------------------------------------------------------------------


def ids_of(flow: Flow) -> list[str]:
    """The variables that hold an id, nearly always; those of branches twice, for they are where things meet."""
    names = [name for name in flow.variables if name.endswith("_id") or name in ("t", "s")]
    return [*(name for name in names if name in ("u_id", "v_id", "t", "s")), *names]


@st.composite
def ids(draw: st.DrawFn, flow: Flow) -> str:
    """A path that holds an id, nearly always."""
    return draw(st.sampled_from([name for name in ids_of(flow) if name not in ("link_id", "recipient_id")]))


@st.composite
def keys(draw: st.DrawFn, flow: Flow) -> list[str]:
    """Paths that say what belongs together."""
    kind = "link_type" if "link_type" in flow.variables else "entity_type"
    return draw(st.lists(ids(flow) | st.sampled_from([kind, "event.kind"]), min_size=1, max_size=2))


@st.composite
def graph_calls(draw: st.DrawFn, flow: Flow) -> tuple[str, str]:
    """A question to the graph, and a condition on its answer."""
    one, via = draw(ids(flow)), draw(link_types)
    back = draw(st.sampled_from(["", ", direction='reverse'"]))
    call = draw(
        st.sampled_from(
            [f"linked({one}, '{via}', {draw(ids(flow))})", f"count_links({one}, '{via}'{back})", f"first_link({one}, '{via}'{back})"]
        )
    )  # fmt: skip
    if call.startswith("linked"):
        return call, draw(st.sampled_from([call, f"not {call}"]))
    if call.startswith("count"):
        return call, f"{call} {draw(st.sampled_from(['> 0', '< 3', '!= 1', '== 2', 'in [0, 1, 3]']))}"
    tests = [".n > 0", ".n != 1", ".tags != null", " == null", ".who == source_id"]
    part = draw(st.sampled_from(tests if "source_id" in flow.variables else tests[:-1]))
    return call, draw(st.sampled_from([f"exists({call})", f"not exists({call}.who)", f"{call}{part}"]))


def _fan_out(draw: st.DrawFn, flow: Flow) -> Flow:
    name = draw(st.sampled_from(["u", "v", "u"]))
    way = draw(st.sampled_from(["forward", "reverse"]))
    return flow.fan_out(
        draw(ids(flow)),
        via=draw(link_types),
        direction=way,
        as_=name,
        type=draw(st.sampled_from([None, None, "user"])),
    )


def _for_each(draw: st.DrawFn, flow: Flow) -> Flow:
    lists = [f"{name}.tags" for name in ("data", "metadata", "u", "v", "w") if name in flow.variables]
    if "batch" in flow.variables:
        lists += ["batch.items"] * 3 + [
            f"batch.{name}" for name in flow.variables["batch"].fields or {} if name == "names"
        ]
    if "before" in flow.variables:
        lists += ["added(data.tags)"]
    lists += [f"first_link({draw(ids(flow))}, '{draw(link_types)}').tags"]
    return flow.for_each(draw(st.sampled_from(lists)), as_=draw(st.sampled_from(["t", "s"])))


def _where(draw: st.DrawFn, flow: Flow) -> Flow:
    return flow.where(draw(graph_calls(flow))[1])


def _resolve(draw: st.DrawFn, flow: Flow) -> Flow:
    via = draw(st.none() | link_types)
    back = draw(st.sampled_from(["forward", "reverse"]))
    return flow.resolve(draw(ids(flow)), as_="w", via=via, direction=back, required=draw(st.booleans()))


def _deduplicate(draw: st.DrawFn, flow: Flow) -> Flow:
    return flow.deduplicate(draw(keys(flow)), window=draw(spans))


def _batch(draw: st.DrawFn, flow: Flow) -> Flow:
    ends: dict[str, Any] = draw(
        st.sampled_from(
            [{"window": "1s"}, {"window": "2s"}, {"quiet": "1s"}, {"quiet": "500ms", "window": "1s"}, {"every": "hour"},
             {"every": "day", "window": "2s"}, {"every": "hour", "at": "00:00:01", "quiet": "2s"}, {"window": "0s"}, {"quiet": "0s"}]
        )
    )  # fmt: skip
    said = [f"{root}.delay" for root in ("data", "metadata") if root in flow.variables]
    if said and draw(st.integers(0, 5)) == 0:
        ends = {draw(st.sampled_from(["quiet", "window"])): draw(st.sampled_from(said))}
    most = draw(st.sampled_from([None, None, 1, 2, 3]))
    one = draw(ids(flow))
    collected = st.sampled_from(
        [None, {"names": one}, {"names": f"unique({one})", "total": "sum(event.seq_no)"},
         {"last": f"last({draw(graph_calls(flow))[0]})", "count": f"count({one})"}]
    )  # fmt: skip
    return flow.batch(
        draw(keys(flow)),
        min_count=min(draw(st.sampled_from([0, 1, 1, 1, 2])), most or 9),
        max_count=most,
        collect=draw(collected),
        **ends,
    )


def _rate_limit(draw: st.DrawFn, flow: Flow) -> Flow:
    strategy = draw(st.sampled_from(["drop", "queue", "queue"]))
    key = draw(st.none() | keys(flow))
    return flow.rate_limit(draw(st.integers(1, 3)), per=draw(spans), strategy=strategy, key=key)


def _cap(draw: st.DrawFn, flow: Flow) -> Flow:
    per = draw(st.sampled_from(["500ms", "1s", "2s", "day"]))
    return flow.cap(draw(st.integers(1, 3)), per=per, key=draw(st.none() | keys(flow)))


def _wait(draw: st.DrawFn, flow: Flow) -> Flow:
    said = [f"{root}.delay" for root in ("data", "metadata") if root in flow.variables]
    if draw(st.integers(0, 4)):
        return flow.wait(draw(spans if not said or draw(st.integers(0, 4)) else st.sampled_from(said)))
    if draw(st.booleans()):
        return flow.wait(until=draw(st.sampled_from(["00:00:01", "00:00:02", "01:00", "12:00"])))
    hours = draw(st.sampled_from(["00:00-00:00:02", "00:00:01-00:00:02", "01:00-23:00"]))
    return flow.wait(hours=hours, outside=draw(st.sampled_from(["hold", "drop"])))


def _deliver(draw: st.DrawFn, flow: Flow) -> Flow:
    if "_payload" not in flow.variables or draw(st.booleans()):
        flow = flow.map(draw(payloads(flow)))
    return flow.deliver(*draw(st.lists(st.sampled_from(["push", "feed"]), min_size=1, max_size=2)))


@st.composite
def payloads(draw: st.DrawFn, flow: Flow) -> dict[str, Any]:
    """All ids of a context and what its batch says; some name a recipient, or count links."""
    text = " ".join(f"{{{{ {name} | default(value='-') }}}}" for name in dict.fromkeys(ids_of(flow)))
    if "batch" in flow.variables:
        text += " {{ batch.count }} {{ batch.closed_at }} {{ batch.closed_by }}"
    said: dict[str, Any] = {"text": text}
    if draw(st.booleans()):
        said["recipient_id"] = f"{{{{ {draw(ids(flow))} }}}}"
    call, _ = draw(graph_calls(flow))
    if draw(st.integers(0, 2)) == 0 and not call.startswith("first_link"):
        said["n"] = parse_expression(call)
    return said


GROWTH: dict[str, tuple[int, Callable[[st.DrawFn, Flow], Flow]]] = {
    "fan_out": (3, _fan_out),
    "for_each": (2, _for_each),
    "where": (3, _where),
    "resolve": (1, _resolve),
    "deduplicate": (2, _deduplicate),
    "batch": (4, _batch),
    "rate_limit": (2, _rate_limit),
    "cap": (2, _cap),
    "wait": (3, _wait),
    "deliver": (1, _deliver),
}
operators = st.sampled_from([name for name, (weight, _) in GROWTH.items() for _ in range(weight)])


@st.composite
def grown(draw: st.DrawFn, flow: Flow, max_steps: int = 6) -> Flow:
    """A flow with more steps, and with a delivery at its end."""
    for operator in draw(st.lists(operators, min_size=1, max_size=max_steps)):
        try:
            flow = GROWTH[operator][1](draw, flow)
        except BuildError:
            assume(False)
    return _deliver(draw, flow)


@st.composite
def begun(draw: st.DrawFn) -> Flow:
    """A trigger, and a fan-out mostly."""
    kind = draw(
        st.sampled_from(
            ["link.created"] * 4 + ["link.deleted", "entity.updated", "entity.updated", "entity.deleted"]
        )
    )
    if kind.startswith("link"):
        flow = on(kind, link_type=draw(st.none() | link_types))
    else:
        flow = on(kind, entity_type=draw(st.sampled_from([None, "user"])))
    return _fan_out(draw, flow) if draw(st.integers(0, 3)) else flow


@st.composite
def flow_lists(draw: st.DrawFn, max_flows: int = 3) -> list[Flow]:
    """Flows that often begin with the same steps."""
    flows = [draw(grown(draw(begun())))]
    for _ in range(draw(st.integers(0, max_flows - 1))):
        model = draw(st.sampled_from(flows))
        kept = draw(st.integers(0, len(model.steps)))
        start = Flow(model.trigger, model.steps[:kept]) if draw(st.integers(0, 3)) else draw(begun())
        flows.append(draw(grown(start, 3)))
    return [flow.named(f"f{number}") for number, flow in enumerate(flows)]
