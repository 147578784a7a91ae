"""The JSON Schema of flows: it says what the strict reader says, as far as the shape of a document goes."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

import flowdsl as fd
from flowdsl.cli.main import main
from flowdsl.operators import OPERATORS
from flowdsl.production.nodes import read_text
from flowdsl.production.schema import FILE, operator_schema, schema_text

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared" / "this-rs" / "yaml_verdicts.json"
# without them, as in a clone elsewhere, the tests over them are skipped
VERDICTS = json.loads(SHARED.read_text("utf-8")) if SHARED.exists() else []
SCHEMA = fd.schema()
VALIDATOR = Draft202012Validator(SCHEMA)

# What the reader refuses beyond the shape of a document: the schema cannot know it, and does not try.
BEYOND_THE_SHAPE = (
    r"but there is no variable|and there is no such variable|has no parts|' has no '",  # variables at their step
    r"deliver has no payload",  # a map before a deliver
    r"at character \d+: ",  # conditions that do not parse
    r"the template ",  # templates that do not parse
    r"is too long",  # durations beyond 10,000 years
    r"is not a time zone",  # names that no zone has
    r"(min_count|max|step|count|_id|: id) is a number",  # 1.0, which JSON Schema counts as a whole number
    r"the key '\w+' is not known",  # a key beside events and sinks that looks like a misspelling of one
    r"timestamp .* is not RFC 3339",  # moments that no calendar has
    r"as_ '.*(\\[xuU]|[^\x00-\x7f])",  # letters beyond ASCII, of which not all are allowed in names
    r"an event: .* without",  # what an event of its kind needs
    r"(keep|attempts|connections|queue|listeners|port) is a number",  # as above
    r"is not a URL|has braces that|control character|header cannot have|anyone could listen|timeout",  # what only a sink can tell
)  # fmt: skip


def accepts(document: Any) -> bool:
    return VALIDATOR.is_valid(document)


def problems_of(document: Any) -> list[str]:
    try:
        fd.load(document)
    except fd.LoadError as error:
        return [problem.what for problem in error.problems]
    return []


def plain(text: str) -> Any:
    return read_text(text, "text")[0].plain()


FULL: dict[str, Any] = plain("""
events:
  backend: {type: memory, config: {a: 1}}
  flows:
    - name: like
      description: tell the owner
      trigger: {kind: link.created, link_type: likes}
      pipeline:
        - resolve: {from: target_id, via: owns, direction: reverse, as: owner, type: user, required: true}
        - filter: {condition: source_id != owner.id}
        - deduplicate: {key: [source_id, target_id], window: 1h30m}
        - batch: {key: target_id, window: 5m, min_count: 2}
        - rate_limit: {max: 10, per: 1m, strategy: queue, key: owner.id}
        - map: {template: {recipient_id: "{{ owner.id }}", tags: [a, 1, null, {b: true}]}}
        - deliver: {sink: in-app, sinks: [push]}
    - name: feed
      trigger: {kind: entity.created, entity_type: post}
      pipeline:
        - fan_out: {from: data.author_id, via: follows, direction: reverse, as: follower, type: user}
        - map: {template: hello}
        - deliver: {sinks: [feed]}
    - name: later
      trigger: {kind: entity.created, entity_type: post}
      pipeline:
        - wait: {duration: 1h30m}
        - wait: {until: "09:00", on: mon, tz: data.tz, default_tz: Europe/Berlin}
        - wait: {hours: 08:00-22:00, outside: drop, tz: UTC}
        - map: {template: hello}
        - deliver: {sinks: [feed]}
  consumers: [{name: runtime, seek: beginning}]
sinks:
  - {name: in-app, type: in_app, config: {path: in-app.sqlite, keep: 10}}
  - {name: push, type: push, config: {recipients: in-app, url: "https://exp.host", token: "{{ env.EXPO }}", attempts: 2}}
  - {name: hook, type: webhook, config: {url: "https://x.org", method: PUT, headers: {a: b}, timeout: 5, redirects: ["https://y.org"]}}
  - {name: live, type: web_socket, config: {host: "::1", port: 8765, origins: ["https://x.org"], queue: 5, listeners: 9}}
  - {name: likes, type: counter, config: {field: likes, operation: add}}
  - {name: feed, type: feed, config: null}
  - {name: own, type: custom, config: {}}
  - {name: shown, type: frame}
tests:
  - name: a like is told
    description: to the owner
    flows: [like]
    open_windows: keep
    start: 2026-01-01T09:00:00Z
    graph:
      entities: {user: {ann: {name: Ann}}}
      links: [{link_type: owns, source_id: ann, target_id: p1, link_id: l1, metadata: {a: 1}}]
    events:
      - {at: 5m, id: e1, kind: link.created, link_type: likes, source_id: 7, target_id: p1}
      - {at: "2026-01-01T09:10:00Z", kind: entity.created, entity_type: user, entity_id: bob, data: {name: Bob}}
    deliveries: [{sink: in-app, recipient: ann, payload: {a: 1}, exact: true, flow: like, at: 10m}]
    drops: [{flow: like, step: 1, reason: filtered, count: 2}]
    failures: [{flow: like, step: resolve, error: no entity}]
entities: {user: {fields: [name]}}
links: []
""")


def documents() -> Iterator[tuple[str, Any]]:
    yield "a document with everything", FULL
    yield "the sample flows", plain((ROOT / "data" / "flows.yaml").read_text("utf-8"))
    for path in sorted((ROOT / "tests" / "identity").glob("*.yaml")):
        for number, text in enumerate(path.read_text("utf-8").split("\n---\n")):
            yield f"{path.stem} {number}", plain(text)
    for verdict in VERDICTS:
        document = plain(verdict["yaml"]) if verdict["name"] != "duplicate keys" else None
        if not verdict["errors"] and not problems_of(document):
            yield verdict["name"], document


VALID = list(documents())


def changed(change: Callable[[dict[str, Any]], object]) -> Any:
    document = copy.deepcopy(FULL)
    change(document)
    return document


def put(path: str, value: Any) -> Any:
    """The full document with another value at a path; `...` takes the key out."""
    document = copy.deepcopy(FULL)
    *way, last = [int(p) if p.isdigit() else p for p in path.split("/")]
    inner: Any = document
    for part in way:
        inner = inner[part]
    if value is ...:
        del inner[last]
    elif isinstance(inner, list) and last == len(inner):
        inner.append(value)
    else:
        inner[last] = value
    return document


LIKE, FEED, TEST = "events/flows/0", "events/flows/1", "tests/0"
STEP = {name: f"{LIKE}/pipeline/{i}/{name}" for i, name in enumerate(
    ("resolve", "filter", "deduplicate", "batch", "rate_limit", "map", "deliver")
)}  # fmt: skip
STEP["fan_out"] = f"{FEED}/pipeline/0/fan_out"
FAULTS: list[tuple[str, Any]] = [
    ("events/flow", []), ("events", []), ("events", "flows"), ("events/flows", {}), ("events/flows/2", "x"), ("sinks", {}),
    ("events/backend/type", "sql"), ("events/backend/typ", "memory"), ("events/backend", "memory"),
    ("events/backend/config", []), ("events/consumers/0/seek", "end"), ("events/consumers/0/name", ...),
    ("events/consumers/0/from", 1), ("events/consumers", "runtime"), ("sinks/0/type", "pus"), ("sinks/0/type", ...),
    ("sinks/0/name", ...), ("sinks/0/name", ""), ("sinks/0/url", "x"), ("sinks/0/config", 3),
    (f"{LIKE}/name", ...), (f"{LIKE}/name", " "), (f"{LIKE}/name", 5), (f"{LIKE}/name", None), (f"{LIKE}/trigger", ...),
    (f"{LIKE}/pipeline", ...), (f"{LIKE}/pipeline", None), (f"{LIKE}/pipeline", {}), (f"{LIKE}/steps", []),
    (f"{LIKE}/description", 3), (f"{LIKE}/tests", []), (f"{LIKE}/trigger", "link.created"), (f"{LIKE}/trigger/kind", ...),
    (f"{LIKE}/trigger/kind", "link.updated"), (f"{LIKE}/trigger/kind", "Link.Created"), (f"{LIKE}/trigger/kind", "link.*"),
    (f"{LIKE}/trigger/link_typ", "x"), (f"{LIKE}/trigger/link_type", 3), (f"{LIKE}/trigger/link_type", ""),
    (f"{LIKE}/trigger/entity_type", "post"), (f"{FEED}/trigger/link_type", "likes"),
    (f"{LIKE}/pipeline/0", None), (f"{LIKE}/pipeline/0", {}), (f"{LIKE}/pipeline/0", "map"), (f"{LIKE}/pipeline/0", []),
    (f"{LIKE}/pipeline/0/map", {"template": 1}), (f"{LIKE}/pipeline/0", {"explode": {}}),
    (f"{LIKE}/pipeline/0", {"where": {"condition": "a"}}), (f"{LIKE}/pipeline/0", {"resolve": None}),
    (f"{LIKE}/pipeline/0", {"resolve": "owner"}),
    *[(f"{at}/{name}", ...) for name_, at in STEP.items() for name in OPERATORS[name_].yaml_options()
      if OPERATORS[name_].yaml_options()[name].required],
    *[(f"{at}/{name}", None) for name_, at in STEP.items() for name in OPERATORS[name_].yaml_options()
      if OPERATORS[name_].yaml_options()[name].required and name_ != "map"],
    *[(f"{at}/unknown", 1) for at in STEP.values()],
    (f"{STEP['resolve']}/from", 3), (f"{STEP['resolve']}/from", "a..b"), (f"{STEP['resolve']}/from", "a."),
    (f"{STEP['resolve']}/from", ["a"]), (f"{STEP['resolve']}/from", ""), (f"{STEP['resolve']}/as", "a.b"),
    (f"{STEP['resolve']}/as", "true"), (f"{STEP['resolve']}/as", "1a"), (f"{STEP['resolve']}/as", "owner\n"),
    (f"{STEP['resolve']}/via", ["owns"]), (f"{STEP['resolve']}/via", " "), (f"{STEP['resolve']}/direction", "backward"),
    (f"{STEP['resolve']}/direction", True), (f"{STEP['resolve']}/required", "yes"), (f"{STEP['resolve']}/type", 3),
    (f"{STEP['fan_out']}/direction", "Forward"), (f"{STEP['fan_out']}/via", {}), (f"{STEP['fan_out']}/as", "a b"),
    (f"{STEP['filter']}/condition", ""), (f"{STEP['filter']}/condition", True), (f"{STEP['filter']}/condition", ["a"]),
    (f"{STEP['deduplicate']}/key", []), (f"{STEP['deduplicate']}/key", [1]), (f"{STEP['deduplicate']}/window", 5),
    (f"{STEP['batch']}/window", "5"), (f"{STEP['batch']}/window", "1.5s"), (f"{STEP['batch']}/window", "-5m"),
    (f"{STEP['batch']}/window", "5m1h"), (f"{STEP['batch']}/window", "5 m"),
    (f"{STEP['batch']}/key", []), (f"{STEP['batch']}/min_count", -1), (f"{STEP['batch']}/min_count", "2"),
    (f"{STEP['batch']}/min_count", True), (f"{STEP['batch']}/min_count", 1.5), (f"{STEP['rate_limit']}/max", -1),
    (f"{STEP['rate_limit']}/max", 0), (f"{STEP['rate_limit']}/max", 1.5), (f"{STEP['rate_limit']}/max", "10"),
    (f"{STEP['rate_limit']}/per", 60), (f"{STEP['rate_limit']}/strategy", "wait"), (f"{STEP['rate_limit']}/key", {}),
    (f"{STEP['deliver']}/sinks", []), (f"{STEP['deliver']}/sinks", "push"), (f"{STEP['deliver']}/sinks", [""]),
    (f"{STEP['deliver']}/sinks", [None]), (f"{STEP['deliver']}/sink", ["a"]), (f"{STEP['deliver']}/sink", 3),
    (f"{LIKE}/pipeline/6", {"deliver": {}}), (f"{LIKE}/pipeline/6", {"deliver": {"sink": None}}),
    ("tests", {}), (f"{TEST}/name", ...), (f"{TEST}/events", ...), (f"{TEST}/event", []), (f"{TEST}/expect", {}),
    (f"{TEST}/flows", []), (f"{TEST}/flows", "like"), (f"{TEST}/target", "this"), (f"{TEST}/open_windows", "close"),
    (f"{TEST}/start", "9:00"), (f"{TEST}/start", "5m"), (f"{TEST}/graph", []), (f"{TEST}/graph/nodes", {}),
    (f"{TEST}/graph/entities/user/ann", "Ann"), (f"{TEST}/graph/entities/user", ["ann"]),
    (f"{TEST}/graph/links/0/link_type", ...), (f"{TEST}/graph/links/0/source", "a"), (f"{TEST}/events/0/at", "soon"),
    (f"{TEST}/events/0/at", 5), (f"{TEST}/events/0/kind", "link.updated"), (f"{TEST}/events/0/timestamp", "5m"),
    (f"{TEST}/events/0/source_id", 1.5), (f"{TEST}/events/0/source_id", ""), (f"{TEST}/events", {}),
    (f"{TEST}/deliveries/0/sink", ...), (f"{TEST}/deliveries/0/recipient_id", "a"), (f"{TEST}/deliveries/0/recipient", 3),
    (f"{TEST}/deliveries/0/exact", "yes"), (f"{TEST}/deliveries", {}), (f"{TEST}/drops/0/why", "x"),
    (f"{TEST}/drops/0/count", -1), (f"{TEST}/drops/0/step", -1), (f"{TEST}/drops/0/step", ""), (f"{TEST}/failures/0/count", "1"),
    (f"{TEST}/failures/0/error", ""), (f"{TEST}/failures", "none"),
]  # fmt: skip


def test_the_schema_is_one_and_the_shipped_file_is_fresh():
    Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert FILE.read_text("utf-8") == schema_text(), "run: flowdsl schema > flowdsl/schema.json"


def test_the_command_prints_the_shipped_file(capsys: pytest.CaptureFixture[str]):
    assert main(["schema"]) == 0
    assert capsys.readouterr().out == FILE.read_text("utf-8")


@pytest.mark.parametrize(
    ("text", "offered"),
    [
        ("events: {flows: []}\nsinks: [{name: mail, type: in_app}, {name: chat, type: in_app}]", ["mail", "chat"]),
        ("name: a\ntrigger: {kind: link.created}\npipeline: [map: {template: {}}, deliver: {sink: mail}]", ["mail"]),
        ("events: {flows: []}", ["in-app", "push"]),
    ],
)  # fmt: skip
def test_the_schema_of_a_file_offers_its_sinks(
    text: str, offered: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "flows.yaml").write_text(text)
    assert main(["schema", str(tmp_path / "flows.yaml")]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == fd.schema(offered)
    several = printed["$defs"]["deliver"]["properties"]["sinks"]
    assert several["items"]["examples"] == offered


@pytest.mark.parametrize("document", [d for _, d in VALID], ids=[name for name, _ in VALID])
def test_every_valid_document_is_accepted(document: Any):
    assert problems_of(document) == []
    assert [error.message for error in VALIDATOR.iter_errors(document)] == []


@pytest.mark.parametrize(
    ("path", "value"), FAULTS, ids=lambda part: str(part).replace("Ellipsis", "is missing")
)
def test_every_fault_of_structure_is_refused(path: str, value: Any):
    document = put(path, value)
    assert problems_of(document)
    assert not accepts(document)


def test_there_are_many_faults():
    assert len(FAULTS) > 120
    assert len({(path, str(value)) for path, value in FAULTS}) == len(FAULTS)


@pytest.mark.parametrize("document", [None, 3, "x", {}, [1], {"name": "f"}, {"entities": {}}, {"tests": []}])
def test_what_is_no_document_is_refused(document: Any):
    assert not accepts(document)
    if isinstance(document, (dict, list)):
        assert problems_of(document)


@pytest.mark.parametrize("verdict", VERDICTS, ids=lambda v: v["name"])
def test_recorded_verdicts_are_those_of_the_reader(verdict: dict[str, Any]):
    if verdict["name"] != "duplicate keys":
        assert_agree(plain(verdict["yaml"]))


def test_every_field_says_what_it_is():
    fields = list(declared_fields(SCHEMA, "schema"))
    assert len(fields) > 60
    for where, field in fields:
        resolved = SCHEMA["$defs"][field["$ref"].rpartition("/")[2]] if "$ref" in field else field
        both = {**resolved, **field}
        assert both.get("title"), where
        assert both.get("description"), where
        if "default" in field:
            # a null here empties all that yaml-language-server offers
            assert field["default"] is not None, where
            assert accepted_by(field, field["default"]), where
        shown = examples_of(both)
        assert shown, where
        for example in shown:
            is_step = where.startswith("schema.$defs.step.")
            assert accepted_by(
                {"$ref": "#/$defs/flow/properties/pipeline"} if is_step else resolved, example
            ), f"{where}: {example}"


@pytest.mark.parametrize("operator", OPERATORS.values(), ids=lambda o: o.name)
def test_an_operator_is_described_by_its_own_declarations(operator: Any):
    found = operator_schema(operator)
    assert list(found["properties"]) == list(operator.yaml_options())
    needed = [name for name, option in operator.yaml_options().items() if option.required]
    assert found["allOf"][0] == {"required": needed}
    assert operator.summary in found["description"]
    for name, option in operator.yaml_options().items():
        assert option.doc in found["properties"][name]["description"]
        assert ("flowdsl only" in found["properties"][name]["description"]) is not option.portable


def examples_of(field: dict[str, Any]) -> list[Any]:
    """The values that editors offer, and those that they show as YAML."""
    blocks = re.findall(r"```yaml\n(.*?)```", field.get("markdownDescription", ""), re.DOTALL)
    return [*field.get("examples", []), *(plain(block) for block in blocks)]


def declared_fields(node: Any, where: str) -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(node, dict):
        if isinstance(node.get("properties"), dict) and "title" in node:
            for name, field in node["properties"].items():
                yield f"{where}.{name}", field
        for key, value in node.items():
            if key not in ("examples", "default"):
                yield from declared_fields(value, f"{where}.{key}")
    elif isinstance(node, list):
        for value in node:
            yield from declared_fields(value, where)


def accepted_by(field: dict[str, Any], value: Any) -> bool:
    return Draft202012Validator({**field, "$defs": SCHEMA["$defs"]}).is_valid(value)


def assert_agree(document: Any) -> None:
    """Both accept, or both refuse, or the reader refuses what no schema can see."""
    problems = problems_of(document)
    if not problems:
        assert [e.message for e in VALIDATOR.iter_errors(document)] == []
    elif accepts(document):
        for what in problems:
            assert any(re.search(known, what) for known in BEYOND_THE_SHAPE), what


VALUES = st.sampled_from(
    [None, True, 0, 1, -1, 1.0, 1.5, "", " ", "x", "owner.id", "a..b", "5m", "link.created", "forward", "in_app", [], ["x"], [1],
     {}, {"x": 1}, {"a": {"name": "Ann"}}, [[]], "2026-01-01T00:00:00Z", "2026-13-01T00:00:00Z", "99999999w", "día", "é.b", "a ==", "{{ x"]
)  # fmt: skip
KEYS = st.sampled_from(
    [
        "name",
        "sink",
        "sinks",
        "key",
        "type",
        "from",
        "as",
        "x",
        "at",
        "count",
        "kind",
        "config",
        "map",
        "template",
    ]
)


def places(node: Any, way: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in children:
        yield (*way, key)
        yield from places(value, (*way, key))


@st.composite
def mutations(draw: st.DrawFn) -> Any:
    """A valid document with a few changes anywhere."""
    document = copy.deepcopy(draw(st.just(FULL) | st.sampled_from([document for _, document in VALID])))
    for _ in range(draw(st.integers(1, 2))):
        found = list(places(document))
        if not found:
            return document
        *way, last = draw(st.sampled_from(found))
        inner = document
        for part in way:
            inner = inner[part]
        change = draw(st.sampled_from(["replace", "replace", "remove", "add", "wrap", "rename", "swap"]))
        if change == "replace":
            inner[last] = copy.deepcopy(draw(VALUES))
        elif change == "remove":
            del inner[last]
        elif change == "wrap":
            inner[last] = [inner[last]]
        elif change == "add" and isinstance(inner[last], dict):
            inner[last][draw(KEYS)] = copy.deepcopy(draw(VALUES))
        elif change == "rename" and isinstance(inner, dict):
            inner[draw(KEYS)] = inner.pop(last)
        elif change == "swap":
            inner[last] = copy.deepcopy(draw(st.sampled_from(list(FULL.values()))))
    return document


def test_a_document_of_production_without_flows_is_valid() -> None:
    assert_agree({"entities": {"user": {"fields": ["name"]}}, "links": []})


@settings(max_examples=30 * settings().max_examples)
@given(mutations())
def test_schema_and_reader_agree_on_what_is_left_of_valid_documents(document: Any):
    assert_agree(document)


@given(st.text(max_size=6) | st.from_regex(r"[0-9 mshdw]{1,8}", fullmatch=True))
def test_patterns_say_of_any_text_what_the_reader_says(text: str):
    for path in ("resolve/from", "resolve/as", "resolve/via", "batch/window", "deduplicate/key"):
        step, option = path.split("/")
        assert_agree(put(f"{STEP[step]}/{option}", text))
