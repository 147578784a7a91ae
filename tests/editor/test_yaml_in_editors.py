"""What people are offered, shown and told who write flows in an editor: the shipped schema in yaml-language-server.

The corpus is of places in documents, each marked with a caret.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import flowdsl as fd
from flowdsl.cli.main import main
from flowdsl.operators import OPERATORS
from flowdsl.production.nodes import read_text
from flowdsl.sinks.registry import SINKS
from tests.editor.language_server import CARET, LanguageServer

HEAD = "# yaml-language-server: $schema=flowdsl.schema.json\n"
ROOT = Path(__file__).parents[2]
STEPS = list(OPERATORS)
KINDS = ["link.created", "link.deleted", "entity.created", "entity.updated", "entity.deleted"]


def step(text: str) -> str:
    """A flow by itself, with a step at its end."""
    return f"name: notify\ntrigger: {{kind: link.created}}\npipeline:\n  - {text}"


def steps(text: str) -> str:
    """A flow of a project, with lines of its pipeline."""
    lines = "".join(f"        {line}\n" for line in text.splitlines())
    return f"events:\n  flows:\n    - name: notify\n      trigger: {{kind: link.created}}\n      pipeline:\n{lines}".rstrip(
        "\n"
    )


def options(name: str) -> list[str]:
    return list(OPERATORS[name].yaml_options())


class Offer(NamedTuple):
    """A place, and what is offered there: exactly these, in any order, and none twice."""

    says: str
    text: str
    expected: Sequence[str]


OFFERS = [
    # operators, where a step begins
    Offer("operators in a flow", step("‸"), STEPS),
    Offer("operators in a project", steps("- ‸"), STEPS),
    Offer("operators after other steps", steps("- resolve: {from: target_id, as: owner}\n- ‸"), STEPS),
    Offer("operators before other steps", steps("- ‸\n- deliver: {sink: in-app}"), STEPS),
    Offer("operators between steps", steps("- map: {template: {}}\n- ‸\n- deliver: {sink: in-app}"), STEPS),
    Offer("operators at the first letter", step("f‸"), STEPS),
    Offer("operators in the middle of a word", step("deli‸"), STEPS),
    Offer("operators at a dash without a space", f"{step('deliver: {sink: in-app}')}\n  -‸", STEPS),
    Offer("operators in braces", step("{‸}"), STEPS),
    Offer(
        "operators in a list of flows",
        "- name: notify\n  trigger: {kind: link.created}\n  pipeline:\n    - ‸",
        STEPS,
    ),
    Offer("no second operator in a step", step("deliver: {sink: in-app}\n    ‸"), []),
    # options, inside a step
    *[
        Offer(f"options of {name}", step(f"{name}:\n      ‸"), options(name))
        for name in STEPS
        if name != "map"
    ],
    Offer("options of map", step("map:\n      ‸"), ["template"]),
    Offer(
        "options that are not there yet",
        step("resolve:\n      from: target_id\n      ‸"),
        [o for o in options("resolve") if o != "from"],
    ),
    Offer(
        "options above those that are there",
        step("resolve:\n      ‸\n      as: owner"),
        [o for o in options("resolve") if o != "as"],
    ),
    Offer(
        "options at the first letter",
        step("batch:\n      key: target_id\n      w‸"),
        [o for o in options("batch") if o != "key"],
    ),
    Offer(
        "options in a project",
        steps("- batch:\n    key: target_id\n    ‸"),
        [o for o in options("batch") if o != "key"],
    ),
    Offer("what a template is like", step("map:\n      template:\n        ‸"), ["example"]),
    # values
    Offer("directions", step("resolve:\n      direction: ‸"), ["forward", "reverse"]),
    Offer("yes and no", step("resolve:\n      required: ‸"), ["true", "false"]),
    Offer("strategies", step("rate_limit:\n      strategy: ‸"), ["drop", "queue"]),
    Offer("what happens outside of hours", step("wait:\n      outside: ‸"), ["hold", "drop"]),
    Offer("periods", step("batch:\n      every: ‸"), ["hour", "day", "week", "month"]),
    Offer("durations", step("deduplicate:\n      window: ‸"), ["30s", "5m", "1h"]),
    Offer("lengths of caps", step("cap:\n      per: ‸"), ["24h", "day", "week", "month"]),
    Offer("paths", step("for_each:\n      path: ‸"), ["data.mentions", "added(data.mentions)"]),
    # kinds
    Offer("kinds", "name: notify\ntrigger:\n  kind: ‸", KINDS),
    Offer("kinds in braces", "name: notify\ntrigger: {kind: ‸}", KINDS),
    Offer("kinds at the first letters", "name: notify\ntrigger:\n  kind: ent‸", KINDS),
    Offer("kinds in tests", "tests:\n  - name: a like\n    events:\n      - {at: 5m, kind: ‸}", KINDS),
    # sinks
    Offer("names of sinks", step("deliver:\n      sink: ‸"), ["in-app", "push"]),
    Offer("names of sinks in a list", step("deliver:\n      sinks:\n        - ‸"), ["in-app", "push"]),
    Offer("names of sinks in brackets", step("deliver:\n      sinks: [‸]"), ["in-app", "push"]),
    Offer("types of sinks", "sinks:\n  - name: in-app\n    type: ‸", list(SINKS)),
    Offer("types of sinks in braces", "sinks:\n  - {name: in-app, type: ‸}", list(SINKS)),
    Offer("what a sink has", "sinks:\n  - name: in-app\n    type: in_app\n    ‸", ["config", "cap"]),
    Offer(
        "caps of sinks", "sinks:\n  - name: in-app\n    type: in_app\n    cap:\n      ‸", ["max", "per", "tz"]
    ),
    Offer(
        "config of webhooks",
        "sinks:\n  - name: hook\n    type: webhook\n    config:\n      ‸",
        ["url", "method", "headers", "timeout", "attempts", "connections", "redirects"],
    ),
    Offer(
        "config of push",
        "sinks:\n  - name: push\n    type: push\n    config:\n      ‸",
        ["recipients", "path", "url", "token", "timeout", "attempts"],
    ),
    Offer(
        "methods of webhooks",
        "sinks:\n  - name: hook\n    type: webhook\n    config:\n      method: ‸",
        ["POST", "PUT", "PATCH"],
    ),
    # documents
    Offer("an empty document", "‸", ["events", "sinks", "tests"]),
    Offer("events", "events:\n  ‸", ["backend", "flows", "consumers"]),
    # `Flow` writes all that a flow needs
    Offer("a new flow", "events:\n  flows:\n    - ‸", ["Flow", "name", "description", "trigger", "pipeline"]),
    Offer("a new sink", "sinks:\n  - ‸", ["Sink", "name", "type", "config", "cap"]),
    Offer(
        "where consumers begin",
        "events:\n  consumers:\n    - name: mailer\n      seek: ‸",
        ["beginning", "last_acknowledged", "latest"],
    ),
    Offer("what happens to open windows", "tests:\n  - name: a like\n    open_windows: ‸", ["flush", "keep"]),
]


class Hover(NamedTuple):
    """A place, and what is shown there."""

    says: str
    text: str
    shown: Sequence[str]


HOVERS = [
    *[
        Hover(
            f"the operator {name}",
            step(f"{name[:2]}‸{name[2:]}: {{}}"),
            [operator.summary, operator.example, f"```yaml\n- {name}:\n"],
        )
        for name, operator in OPERATORS.items()
    ],
    Hover(
        "an operator with options",
        step("res‸olve:\n      from: target_id\n      as: owner"),
        ["look up one entity", "```yaml\n- resolve:"],
    ),
    Hover(
        "a duration",
        step("batch:\n      key: target_id\n      win‸dow: 5m"),
        ["how long a window is open", "```yaml\n5m\n```"],
    ),
    Hover("a direction", step("resolve:\n      dir‸ection: reverse"), ["`forward`", "`reverse`", "Example"]),
    Hover("an optional text", step("resolve:\n      v‸ia: owns"), ["the link type", "```yaml\nfollows\n```"]),
    Hover(
        "a template",
        step("map:\n      temp‸late: {title: hello}"),
        ["the payload", 'recipient_id: "{{ owner.id }}"'],
    ),
    Hover(
        "a kind",
        "name: notify\ntrigger:\n  kind: link.cre‸ated",
        ["an entity was linked to another", "link.deleted"],
    ),
    Hover(
        "a trigger",
        "name: notify\ntrig‸ger:\n  kind: link.created",
        ["which events the flow is for", "link_type: likes"],
    ),
    Hover("a pipeline", "name: notify\npipe‸line:\n  - deliver: {sink: in-app}", ["the steps", "- deliver:"]),
    Hover(
        "the type of a sink",
        "sinks:\n  - name: push\n    type: pu‸sh",
        ["`push`: notifications to the devices"],
    ),
    Hover(
        "the url of a webhook",
        "sinks:\n  - name: hook\n    type: webhook\n    config:\n      u‸rl: https://example.org",
        ["where payloads are sent", "https://example.org/hook"],
    ),
]


class Fault(NamedTuple):
    """A document with one fault, and what is said of it."""

    says: str
    text: str
    problem: str


DURATION = "Expected a duration: numbers with w, d, h, m, s or ms, from large to small, without spaces"
FAULTS = [
    Fault(
        "a duration in English",
        step("deduplicate: {key: target_id, window: 5 minutes}"),
        f"{DURATION}, such as 30s, 5m, 1h.",
    ),
    Fault(
        "a duration as a number",
        step("deduplicate: {key: target_id, window: 300}"),
        f"{DURATION}, such as 30s, 5m, 1h.",
    ),
    Fault(
        "a duration of small before large",
        step("deduplicate: {key: target_id, window: 5m1h}"),
        f"{DURATION}, such as 30s, 5m, 1h.",
    ),
    Fault(
        "a duration that could be a path",
        step("batch: {key: target_id, window: 1.5h}"),
        f"{DURATION}; or the path to one, such as 30s, 5m, data.delay.",
    ),
    Fault(
        "the length of a cap",
        step("cap: {max: 3, per: year}"),
        f"{DURATION}; or a local day, week or month, such as 24h, day, week, month.",
    ),
    Fault(
        "a duration in a test",
        "events: {flows: []}\ntests:\n  - name: a like\n    events:\n      - {at: soon, kind: link.created}",
        "Expected a duration or a timestamp, such as 5m, 2026-01-01T09:00:00Z.",
    ),
    Fault(
        "a timeout",
        "sinks:\n  - {name: hook, type: webhook, config: {url: x, timeout: long}}",
        "Expected seconds, such as 10, or a duration, such as 10s.",
    ),
    Fault(
        "a time of day",
        step('wait: {until: "9 am"}'),
        "Expected a local time of day in quotes, such as 09:00.",
    ),
    Fault(
        "hours",
        step("wait: {hours: 8-22}"),
        "Expected two local times of day with - between them, such as 08:00-22:00.",
    ),
    Fault(
        "a path",
        step("resolve: {from: data..author, as: who}"),
        "Expected a path: names with dots between them, such as target_id, owner.id.",
    ),
    Fault(
        "a name",
        step("for_each: {path: data.mentions, as: the one}"),
        "Expected a name of letters, digits and _ that does not begin with a digit, such as owner.",
    ),
    Fault(
        "an operator",
        step("resolv: {from: target_id, as: owner}"),
        f"Expected one operator with its options: one of {', '.join(OPERATORS)}.",
    ),
    Fault(
        "a direction",
        step("resolve: {from: target_id, as: owner, via: owns, direction: revrse}"),
        'Value is not accepted. Valid values: "forward", "reverse".',
    ),
    Fault(
        "a kind",
        "name: notify\ntrigger: {kind: link.creatd}\npipeline: []",
        f"Value is not accepted. Valid values: {json.dumps(KINDS)[1:-1]}.",
    ),
    Fault(
        "the type of a sink",
        "sinks:\n  - {name: a, type: pus}",
        f"Value is not accepted. Valid values: {json.dumps(list(SINKS))[1:-1]}.",
    ),
    Fault("a missing option", step("fan_out: {from: target_id, as: fan}"), 'Missing property "via".'),
    Fault("an unknown option", step("filter: {condition: a == 1, if: b}"), "Property if is not allowed."),
    Fault(
        "a link type of entities",
        "name: notify\ntrigger: {kind: entity.created, link_type: likes}\npipeline: []",
        "entity.… is an event of an entity, which has no link_type.",
    ),
]


def test_the_corpus_has_sixty_places_and_more():
    places = [case.text for case in (*OFFERS, *HOVERS)]
    assert len(places) == len(set(places)) >= 60
    assert all(text.count(CARET) == 1 for text in places)


@pytest.mark.parametrize("case", OFFERS, ids=lambda case: case.says)
def test_what_fits_is_offered_and_nothing_else(editor: LanguageServer, case: Offer):
    assert sorted(editor.completions(HEAD + case.text)) == sorted(case.expected)


@pytest.mark.parametrize("case", HOVERS, ids=lambda case: case.says)
def test_documentation_is_shown_with_an_example(editor: LanguageServer, case: Hover):
    shown = editor.hover(HEAD + case.text)
    for text in case.shown:
        assert text in shown


@pytest.mark.parametrize("case", FAULTS, ids=lambda case: case.says)
def test_a_fault_is_answered_in_words(editor: LanguageServer, case: Fault):
    assert editor.problems(HEAD + case.text) == [case.problem]


@pytest.mark.parametrize("name", STEPS)
def test_what_an_operator_writes_is_a_step(editor: LanguageServer, name: str):
    """What is inserted, with its fields as they are offered, is read without a complaint of its shape."""
    item = editor.completions(HEAD + step("‸"))[name]
    assert OPERATORS[name].example in item["documentation"]["value"]
    written = re.sub(
        r"\$\{\d+:((?:\\.|[^}\\])*)\}",
        lambda field: re.sub(r"\\(.)", r"\1", field[1]),
        item["textEdit"]["newText"],
    )
    lines = written.replace("\n", "\n  ")
    document = read_text(step(lines).removesuffix("\n"), "text")[0].plain()
    assert list(document["pipeline"][0]) == [name]
    assert editor.problems(HEAD + step(lines)) == []


def test_a_document_without_faults_has_no_problems(editor: LanguageServer):
    text = (ROOT / "data" / "flows.yaml").read_text("utf-8")
    assert editor.problems(HEAD + text) == []


OWN = """events:
  flows:
    - name: notify
      trigger: {kind: link.created}
      pipeline:
        - map: {template: {title: hello}}
        - deliver: {sink: newsletter}
sinks:
  - {name: newsletter, type: feed}
  - {name: team chat, type: in_app}
"""


@pytest.mark.parametrize("place", ["{sink: ‸}", "{sinks: [‸]}", "{sinks: [newsletter, ‸]}"])
def test_a_schema_for_a_file_offers_the_sinks_of_that_file(
    editor: LanguageServer, capsys: pytest.CaptureFixture[str], place: str
):
    flows = editor.folder / "own.yaml"
    flows.write_text(OWN)
    assert main(["schema", str(flows)]) == 0
    (editor.folder / "own.schema.json").write_text(capsys.readouterr().out)
    text = HEAD.replace("flowdsl", "own") + OWN.replace("{sink: newsletter}", place)
    assert sorted(editor.completions(text)) == ["newsletter", "team chat"]
    # the next one is written before its schema is
    assert editor.problems(text.replace("‸", "sms")) == []


def test_no_message_shows_a_regular_expression():
    def patterns(node: Any) -> list[dict[str, Any]]:
        parts = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
        own = [node] if isinstance(node, dict) and isinstance(node.get("pattern"), str) else []
        return [*own, *(found for part in parts for found in patterns(part))]

    found = patterns(fd.schema())
    assert len(found) > 50
    # a pattern that only tells cases apart has no type
    assert [node for node in found if "errorMessage" not in node and "type" in node] == []
