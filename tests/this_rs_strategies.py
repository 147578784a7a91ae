"""Random flows in production's language, and worlds in which ids are UUIDs in several spellings."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st
from oracle.values import moment_text
from strategies import START, STEPS_MS

from flowdsl.events import KINDS

A = "00000000-0000-4000-8000-00000000000a"
B = "00000000-0000-4000-8000-00000000000b"
IDS = [A, B, A.upper(), f"{{{A}}}", f"urn:uuid:{B}", A.replace("-", ""), "ann"]
LINK_TYPES = ["likes", "owns"]
NAMES = ["u", "v", "source_id", "target_id", "recipient_id", "data", "_payload", "_batch", "x.y", "event"]
PATHS = [
    "source_id", "target_id", "entity_id", "link_id", "link_type", "entity_type", "metadata", "metadata.n", "metadata.o.k", "data",
    "data.n", "data.id", "data.owner", "u", "u.id", "u.n", "u.name", "u_id", "v.id", "v_id", "_batch", "_batch.count", "_batch.key",
    "_payload", "_payload.a", "_payload.recipient_id", "_delivered_to", "event.id", "nope", "nope.deep", "x.y", "batch.count",
]  # fmt: skip

ids = st.sampled_from([A, B, A, B, A, B, *IDS])
scalars = st.sampled_from(
    [0, 1, 10, -3, 1.0, 10.0, 2.5, 1e16, 1e-5, 1e-7, 1e21, -0.0, 9007199254740993, True, False, None, "", "a", "10",
     "1", "true", "null", "1.0", "[1]", 'é "q"\n', A, A.upper()]
)  # fmt: skip
documents = st.fixed_dictionaries(
    {},
    optional={
        "id": ids | scalars,
        "name": scalars,
        "n": scalars,
        "owner": ids | scalars,
        "o": st.fixed_dictionaries({}, optional={"k": scalars, "j": st.just([1])}),
        "tags": st.lists(scalars, max_size=2),
    },
)
entities = documents | documents | documents | documents | st.none() | scalars


@dataclass(frozen=True)
class ProductionCase:
    """Flows as production's YAML has them, and what they run on."""

    flows: list[dict[str, Any]]
    entities: dict[str, dict[str, Any]]
    links: list[dict[str, Any]]
    events: list[dict[str, Any]]

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text("\n" + json.dumps(vars(self), indent=1))


@st.composite
def links(draw: st.DrawFn) -> dict[str, Any]:
    """A link of a graph."""
    link = {"link_type": draw(st.sampled_from(LINK_TYPES)), "source_id": draw(ids), "target_id": draw(ids)}
    return {**link, "link_id": draw(st.uuids(version=4)).__str__()}


@st.composite
def inner_events(draw: st.DrawFn) -> dict[str, Any]:
    """The inner object of an event."""
    family, action = draw(st.sampled_from([*KINDS, *["link.created"] * 4])).split(".")
    event: dict[str, Any] = {"kind": family, "action": action}
    if family == "entity":
        event |= {"entity_type": draw(st.sampled_from(["user", "post"])), "entity_id": draw(ids)}
        return event if action == "deleted" else {**event, "data": draw(entities)}
    event |= {
        "link_type": draw(st.sampled_from(LINK_TYPES)),
        "link_id": draw(st.sampled_from([A, B, A.upper()])),
    }
    event |= {"source_id": draw(ids), "target_id": draw(ids)}
    if action == "deleted":
        return event
    metadata = draw(st.none() | documents | scalars)
    return event if metadata is None else {**event, "metadata": metadata}


@st.composite
def logs(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Envelopes in order of `seq_no`."""
    moment, log = START, []
    for seq_no, inner in enumerate(draw(st.lists(inner_events(), min_size=5, max_size=16)), 1):
        moment += 1000 * draw(st.sampled_from(STEPS_MS))
        log.append({"id": f"e{seq_no}", "timestamp": moment_text(moment), "event": inner, "seq_no": seq_no})
    return log


paths = st.sampled_from(PATHS)
likely = (
    st.sampled_from(["source_id", "target_id"] * 4 + ["entity_id", "data.owner", "u.id", "u_id", "v_id"])
    | paths
)
windows = st.sampled_from(["0s", "1s", "1500ms", "2s", " 3s ", "+10s"])
rights = paths | st.sampled_from(
    [
        "1",
        "10",
        "1.0",
        "10.0",
        "1e16",
        "1e-7",
        "0.00001",
        "-0.0",
        "true",
        "null",
        "'a'",
        '"10"',
        "a",
        f"'{A}'",
        "inf",
        "''",
        "1 and b",
    ]
)


@st.composite
def conditions(draw: st.DrawFn) -> str:
    """A condition that production compiles."""
    left = draw(likely)
    if draw(st.booleans()):
        return f"{left} {draw(st.sampled_from(['exists', 'not_exists']))}"
    return f"{left} {draw(st.sampled_from(['==', '!=']))} {draw(rights)}"


@st.composite
def templates(draw: st.DrawFn) -> str:
    """A text of a template, good or bad."""
    path, other = draw(paths), draw(paths)
    forms = ["hello", f"{{{{ {path} }}}}", f"{{{{ {path} }}}} and {{{{ {other} }}}}", f'{{{{ {path} | default(value="-") }}}}',
             f"{{% if {path} %}}yes{{% else %}}no{{% endif %}}", f"{{% if {path} is defined %}}y{{% endif %}}",
             f"{{{{ {path} | json_encode }}}}", f"{{{{ {path} | nofilter }}}}", "{{ x", "{{ get_env(name='HOME') }}",
             f'{{% for i in {path} %}}{{{{ i }}}},{{% endfor %}}']  # fmt: skip
    return draw(st.sampled_from([*forms[:6], *forms]))


@st.composite
def steps(draw: st.DrawFn) -> dict[str, Any]:
    """One step."""
    name = draw(st.sampled_from(["resolve", "fan_out", "filter", "deduplicate", "batch", "batch", "rate_limit", "map", "deliver"]))  # fmt: skip
    options: dict[str, Any] = {}
    if name in ("resolve", "fan_out"):
        options = {"from": draw(likely), "as": draw(st.sampled_from([*NAMES, "u", "u", "v"]))}
        if name == "fan_out" or draw(st.booleans()):
            options["via"] = draw(st.sampled_from(LINK_TYPES))
        options["direction"] = draw(st.sampled_from(["forward", "reverse"] * 6 + ["up"]))
    elif name == "filter":
        options = {"condition": draw(conditions())}
    elif name in ("deduplicate", "batch"):
        options = {"key": draw(likely), "window": draw(windows)}
        if name == "batch":
            options["min_count"] = draw(st.sampled_from([0, 1, 1, 2, 3]))
    elif name == "rate_limit":
        options = {
            "max": draw(st.integers(0, 3)),
            "per": draw(windows),
            "strategy": draw(st.sampled_from(["drop", "queue", "any"])),
        }
    elif name == "map":
        options = {"template": draw(templates() | st.fixed_dictionaries({"a": templates()}, optional={"recipient_id": templates(), "n": st.sampled_from([1, 1.0, None]), "l": st.lists(templates(), max_size=2)}))}  # fmt: skip
    else:
        options = {"sinks": draw(st.lists(st.sampled_from(["s", "t"]), min_size=1, max_size=3))}
    return {name: options}


@st.composite
def flows(draw: st.DrawFn) -> dict[str, Any]:
    """A flow that ends, mostly, in a map and a deliver."""
    trigger = {"kind": draw(st.sampled_from(["link.created"] * 8 + list(KINDS)))}
    for name, values in (("link_type", LINK_TYPES), ("entity_type", ["user", "post"])):
        if draw(st.integers(0, 6)) == 6:
            trigger[name] = draw(st.sampled_from(values))
    pipeline = draw(st.lists(steps(), max_size=4))
    if draw(st.integers(0, 6)):
        text = "".join(
            f"{{{{ {path} | default(value='-') | json_encode }}}} "
            for path in draw(st.lists(paths, max_size=3))
        )
        pipeline = [*pipeline, {"map": {"template": {"a": text}}}, {"deliver": {"sink": "s"}}]
    return {"trigger": trigger, "pipeline": pipeline}


@st.composite
def production_cases(draw: st.DrawFn) -> ProductionCase:
    """Flows with a world."""
    known = st.fixed_dictionaries({A: entities}, optional={B: entities, "ann": entities})
    spelled = st.dictionaries(st.sampled_from([A, B.upper(), "ann"]), entities, max_size=3)
    kinds = draw(st.sampled_from([["user"], ["user", "post"], ["post", "user"], []]))
    held = {kind: draw(known | known | spelled) for kind in kinds}
    listed: Sequence[Mapping[str, Any]] = draw(st.lists(flows(), min_size=1, max_size=3))
    named = [{"name": f"f{number}", **flow} for number, flow in enumerate(listed)]
    return ProductionCase(named, held, draw(st.lists(links(), max_size=8)), draw(logs()))
