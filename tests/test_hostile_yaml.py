"""YAML that asks for much ends in a clear error before it costs much.

No text here asks much of anybody: the limits are put low for these tests.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

import flowdsl as fd
import flowdsl.expressions.conditions.lexer
import flowdsl.expressions.templates.grammar
import flowdsl.production.yaml
from flowdsl.findings import check_sources

LIMITS = {
    "flowdsl.production": {"BYTES": 2_000, "DEPTH": 8, "DIRECTIVES": 3, "VALUES": 60, "FLOW_VALUES": 30},
    "flowdsl.expressions.conditions": {"MAX_CONDITION": 400},
    "flowdsl.expressions.templates": {"MAX_TEMPLATE": 200, "MAX_NESTING": 6},
}


@pytest.fixture
def low(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the limits low wherever they are read."""
    for name, module in list(sys.modules.items()):
        for package, limits in LIMITS.items():
            for limit, value in limits.items() if name.startswith(package) else ():
                if hasattr(module, limit):
                    monkeypatch.setattr(module, limit, value)


def flow(step: str) -> str:
    return f"- {{name: f, trigger: {{kind: link.created}}, pipeline: [{step}]}}\n"


def grown(first: str, level: str) -> str:
    """Each line holds the one before three times."""
    return f"a0: &a0 {first}\n" + "".join(f"a{n + 1}: &a{n + 1} {level.format(f'*a{n}')}\n" for n in range(4))


REPEATED = grown("[x]", "[{0}, {0}, {0}]")

REFUSED = [
    (REPEATED, "it holds more than 60 values"),
    (grown("{k: v}", "{{a: {0}, b: {0}, c: {0}}}"), "it holds more than 60 values"),
    (grown("{k: v}", "{{<<: [{0}, {0}, {0}]}}"), "it holds more than 60 values"),
    (grown("[x]", "[{0}]") + "b: [[[*a4]]]\n", "nested more than 8 deep"),
    ("a: &a [*a]\n", "*a refers to a value that contains it"),
    ("a: *b\n", "*b stands for nothing"),
    ("a: !!python/tuple [x]\n", "the tag !!python/tuple is not allowed"),
    ("a: !!python/name:builtins.len\n", "the tag !!python/name:builtins.len is not allowed"),
    ("a: !!binary aGk=\n", "the tag !!binary is not allowed"),
    ("a: !!int x\n", "'x' is not an int"),
    ("a: !mine [1]\n", "the tag !mine is not allowed"),
    ('a: "\\ud800"\n', "this is not YAML: found invalid Unicode character escape code"),
    ("a: '\ud800'\n", "half of a surrogate pair is not text"),
    ("a: \0\n", "a character that YAML does not allow"),
    ("a: \x1b[31m\n", "a character that YAML does not allow"),
    ("a:\n\t- b\n", "this is not YAML: found character that cannot start any token"),
    ("---\na: 1\n---\nb: 1\n", "there is a second document"),
    ("---\n" * 5, "there is a second document"),
    ("\n" + "[" * 9 + "]" * 9, "nested more than 8 deep"),
    ("\n" + "- " * 9, "nested more than 8 deep"),
    ("\n" + "? " * 9, "nested more than 8 deep"),
    ("\n" + "{a: " * 9 + "}" * 9, "nested more than 8 deep"),
    ("".join(" " * i + "a:\n" for i in range(10)), "nested more than 8 deep"),
    ("\n!" + "a" * 200, "the tag !aaa"),
    ("\n*" + "a" * 200, "stands for nothing"),
    ("\n" + "x" * 1_900 + ": 1", "this is not YAML: mapping values are not allowed in this context"),
    ("".join(f"%TAG !a{n}! b\n" for n in range(4)) + "---\na: 1", "more than 3 lines that begin with %"),
    ("a: |\n" + " x\n" * 800, "longer than 2,000 characters"),
    ("[" + "a," * 61 + "]\n", "it holds more than 60 values"),
    ("a:\n" + "- a\n" * 61, "it holds more than 60 values"),
    ("- {name: a}\n" * 31, "it holds more than 60 values"),
    ("a:\n" * 20, "the key 'a' is given twice"),
    (flow(f"map: {{template: [{'x, ' * 31}]}}"), "a flow holds more than 30 values"),
    (flow(f"filter: {{condition: '{'(' * 140}a == 1{')' * 140}'}}"), "nested deeper than 64 levels"),
    (flow(f"filter: {{condition: '{'x' * 401}'}}"), "a condition of 401 characters is too long"),
    (flow(f"map: {{template: '{'{% if a %}' * 7}{'{% endif %}' * 7}'}}"), "the template is nested too deeply"),
    (flow(f"map: {{template: '{'{{ source_id }}' * 20}'}}"), "the template is too long"),
    (flow(f"rate_limit: {{max: {'1' * 1_500}, per: 1h}}"), "max is text"),
    (flow(f"deduplicate: {{key: source_id, window: {'1' * 1_500}h}}"), "is too"),
    (flow(f"resolve: {{from: '{'a.' * 20}a', as: x}}"), "resolve reads"),
]  # fmt: skip
# what production takes as text, counts, or reads to its end, and what its own reading must bear as well
IN_PRODUCTION = [
    (REPEATED, "it holds more than 60 values"),
    ("\n" + "[" * 9 + "]" * 9, "nested more than 8 deep"),
    ("[" + "[]," * 61 + "]\n", "it holds more than 60 values"),
    ("- {}\n" * 40, "a flow needs 'name' and 'trigger' and 'pipeline'"),
    (flow(f"rate_limit: {{max: {'1' * 1_500}, per: 1h}}"), "a whole number from 0 to 4294967295"),
    (flow(f"map: {{template: {'1' * 1_500}}}"), None),
    (flow(f"map: {{template: '{'{% if a %}' * 7}{'{% endif %}' * 7}'}}"), None),
    (flow(f"map: {{template: [{'x, ' * 31}]}}"), "a flow holds more than 30 values"),
]


@pytest.mark.usefixtures("low")
@pytest.mark.parametrize("case", range(len(REFUSED) + len(IN_PRODUCTION)))
def test_yaml_that_asks_for_much_ends_in_a_clear_error(case: int):
    text, what = [*REFUSED, *IN_PRODUCTION][case]
    target = None if case < len(REFUSED) else "this-rs"
    if what is None:
        fd.load(text, target=target)
        return
    with pytest.raises(fd.LoadError) as caught:
        fd.load(text, target=target)
    assert what in str(caught.value)
    assert check_sources([(text, "flows.yaml")], target)


def test_a_file_is_measured_before_it_is_read(tmp_path: Path):
    path = tmp_path / "long.yaml"
    path.touch()
    os.truncate(path, 2_000_001)
    with pytest.raises(fd.LoadError, match="longer than 2,000,000 characters"):
        fd.load(path)


@pytest.mark.parametrize(
    ("raw", "what"),
    [
        ("a: é".encode("latin-1"), "flows.yaml:1:4: this is not UTF-8 text"),
        ("a: 1\n".encode("utf-16"), "flows.yaml:1:1: this is not UTF-8 text"),
        ("a: 1\n".encode("utf-32-le"), "flows.yaml:1:2: there is a character that YAML does not allow"),
        (b"\x00" * 10, "flows.yaml:1:1: there is a character that YAML does not allow"),
        (b"\x1f\x8b\x08\x00", "flows.yaml:1:2: this is not UTF-8 text"),
        ("é: \x07".encode(), "flows.yaml:1:4: there is a character that YAML does not allow"),
    ],
)
def test_bytes_that_are_no_text_are_refused_with_their_place(tmp_path: Path, raw: bytes, what: str):
    path = tmp_path / "flows.yaml"
    path.write_bytes(raw)
    with pytest.raises(fd.LoadError) as caught:
        fd.load(path)
    assert str(caught.value).startswith(what)


def test_reading_ends_after_a_thousand_problems():
    with pytest.raises(fd.LoadError) as caught:
        fd.load("- {name: 5}\n" * 1_200)
    assert len(caught.value.problems) == 1_001
    assert caught.value.problems[-1].what == "here reading ends, after 1,000 problems"


LARGE = """\
- name: notify-{0}
  trigger: {{kind: link.created, link_type: likes}}
  pipeline:
    - resolve: {{from: target_id, via: owns, direction: reverse, as: owner}}
    - filter: {{condition: source_id != owner.id}}
    - deduplicate: {{key: source_id, window: 1h}}
    - map: {{template: {{recipient_id: "{{{{ owner.id }}}}", title: "{{{{ owner.name }}}} likes {0}"}}}}
    - deliver: {{sinks: [in-app, push]}}
"""


def cost_of_a_project(size: int) -> float:
    """The seconds of processor that so many flows take to be read, changed and written."""
    text = "".join(LARGE.format(number) for number in range(size))
    began = time.process_time()
    project = fd.load(text)
    changed = project.with_flow(project.flows[size // 2].where("source_id != 'x'"))
    assert len(changed.to_yaml()) > len(text)
    return time.process_time() - began


@pytest.mark.slow  # compares times
def test_a_large_project_costs_as_much_as_many_small_ones():
    cost_of_a_project(1)
    # twice as much for each flow, where something that looks at all the others for each takes eight times as much
    assert cost_of_a_project(400) < 16 * cost_of_a_project(50)
