"""Random flows in production's language, and worlds in which ids are UUIDs in several spellings."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from crowded_strategies import SLIPS_US
from crowded_strategies import STEPS_MS as CROWDED_STEPS_MS
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
def cases_of_any(draw: st.DrawFn) -> ProductionCase:
    """Flows with a world, of whatever production takes."""
    known = st.fixed_dictionaries({A: entities}, optional={B: entities, "ann": entities})
    spelled = st.dictionaries(st.sampled_from([A, B.upper(), "ann"]), entities, max_size=3)
    kinds = draw(st.sampled_from([["user"], ["user", "post"], ["post", "user"], []]))
    held = {kind: draw(known | known | spelled) for kind in kinds}
    listed: Sequence[Mapping[str, Any]] = draw(st.lists(flows(), min_size=1, max_size=3))
    named = [{"name": f"f{number}", **flow} for number, flow in enumerate(listed)]
    return ProductionCase(named, held, draw(st.lists(links(), max_size=8)), draw(logs()))


# -- of which most contexts go far ----------------------------------------------------------------------

PEOPLE = [f"00000000-0000-4000-8000-00000000000{digit}" for digit in "abcd"]
LINK_IDS = [f"00000000-0000-4000-8000-0000000000f{digit}" for digit in range(10)]
SPANS = ["0s", "500ms", "1s", "2s"]
CROWDED_STEPS = [
    "fan_out",
    "resolve",
    "filter",
    "filter",
    "deduplicate",
    "deduplicate",
    "batch",
    "batch",
    "batch",
    "rate_limit",
    "deliver",
]

people = st.sampled_from(PEOPLE * 3 + [PEOPLE[0].upper(), f"urn:uuid:{PEOPLE[1]}"])
told = st.fixed_dictionaries(
    {"n": st.sampled_from([1, 2, 2.5, "x", None])}, optional={"owner": people, "name": st.just("Ann")}
)
directions = st.sampled_from(["forward", "reverse"])


@st.composite
def crowded_links(draw: st.DrawFn) -> dict[str, Any]:
    """A link between two of a few people."""
    ends = {
        "link_type": draw(st.sampled_from(LINK_TYPES)),
        "source_id": draw(people),
        "target_id": draw(people),
    }
    return {**ends, "link_id": draw(st.sampled_from(LINK_IDS))}


@st.composite
def crowded_logs(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Events that end, make and change what was before, at the edges of windows."""
    moment, log = START, []
    for seq_no in range(1, draw(st.integers(7, 18))):
        moment += 1000 * draw(st.sampled_from(CROWDED_STEPS_MS))
        kind = draw(st.sampled_from([*KINDS, *["link.created"] * 5, "entity.updated"]))
        family, action = kind.split(".")
        inner = {"kind": family, "action": action}
        if family == "link":
            inner |= draw(crowded_links())
        else:
            inner |= {
                "entity_type": draw(st.sampled_from(["user", "user", "post"])),
                "entity_id": draw(people),
            }
        if action != "deleted":
            inner |= {"metadata" if family == "link" else "data": draw(told)}
        at = moment_text(moment + draw(st.sampled_from(SLIPS_US)))
        log.append({"id": f"e{seq_no}", "timestamp": at, "event": inner, "seq_no": seq_no})
    return log


@st.composite
def crowded_flows(draw: st.DrawFn) -> dict[str, Any]:
    """A flow that mostly fans out, and goes on with what came of it."""
    kind = draw(st.sampled_from(["link.created"] * 4 + ["link.deleted", "entity.updated", "entity.created"]))
    names = ["source_id", "target_id"] if kind.startswith("link") else ["entity_id"]
    found: list[str] = []
    pipeline = []
    for _ in range(draw(st.integers(1, 6))):
        what = draw(st.sampled_from(CROWDED_STEPS)) if pipeline else "fan_out"
        key = draw(st.sampled_from([*names, *names[-1:]]))
        if what in ("fan_out", "resolve"):
            name = draw(st.sampled_from(["u", "v"]))
            follow = {"via": draw(st.sampled_from(LINK_TYPES)), "direction": draw(directions)}
            straight = what == "resolve" and draw(st.booleans())
            pipeline.append({what: {"from": key, "as": name, **({} if straight else follow)}})
            found.append(name)
            names += [f"{name}_id"] * (what == "fan_out")
        elif what == "filter":
            forms = [f"{key} != {draw(st.sampled_from(names))}", f"{key} exists"]
            forms += [f"{name}{rest}" for name in found for rest in (".n exists", ".n != 1", f".id == {key}")]
            pipeline.append({what: {"condition": draw(st.sampled_from(forms))}})
        elif what == "rate_limit":
            strategy = draw(st.sampled_from(["drop", "queue"]))
            limit = {"max": draw(st.integers(1, 3)), "per": draw(st.sampled_from(SPANS))}
            pipeline.append({what: {**limit, "strategy": strategy}})
        elif what == "deliver":
            pipeline += [{"map": {"template": {"a": f"{{{{ {key} }}}}"}}}, {"deliver": {"sink": "t"}}]
        else:
            least = {"min_count": draw(st.sampled_from([0, 1, 1, 2, 3]))} if what == "batch" else {}
            pipeline.append({what: {"key": key, "window": draw(st.sampled_from(SPANS)), **least}})
    shown = dict.fromkeys([*names, "_batch", *found])
    template = {"a": "".join(f"{{{{ {name} | default(value='-') | json_encode }}}} " for name in shown)}
    if draw(st.booleans()):
        template["recipient_id"] = f"{{{{ {draw(st.sampled_from(names))} }}}}"
    return {
        "trigger": {"kind": kind},
        "pipeline": [*pipeline, {"map": {"template": template}}, {"deliver": {"sink": "s"}}],
    }


@st.composite
def crowded_cases(draw: st.DrawFn) -> ProductionCase:
    """Flows, some of which begin alike, with many links."""
    listed = draw(st.lists(crowded_flows(), min_size=1, max_size=3))
    model = listed[0]["pipeline"]
    kept = model[: draw(st.integers(0, len(model) - 2))]
    listed.append({**listed[0], "pipeline": [*kept, *model[-2:]]})
    held = {
        "user": draw(st.dictionaries(people, told, min_size=2)),
        "post": draw(st.dictionaries(people, told, max_size=1)),
    }
    named = [{"name": f"f{number}", **flow} for number, flow in enumerate(listed)]
    return ProductionCase(
        named, held, draw(st.lists(crowded_links(), min_size=5, max_size=14)), draw(crowded_logs())
    )


def production_cases() -> st.SearchStrategy[ProductionCase]:
    """Flows with a world: of any values, or so that most contexts go far."""
    return cases_of_any() | crowded_cases()
