"""YAML that is made to hurt ends in a clear error within a second or so, in bounded memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import flowdsl as fd
from flowdsl.production.findings import check_source

SECONDS = 6.0  # a second or so, and room for a machine that is busy
MEGABYTES = 250


def flow(step: str) -> str:
    return f"- {{name: f, trigger: {{kind: link.created}}, pipeline: [{step}]}}\n"


def grown(first: str, level: str) -> str:
    """Each line holds the one before ten times."""
    return f"a0: &a0 {first}\n" + "".join(
        f"a{n + 1}: &a{n + 1} {level.format(f'*a{n}')}\n" for n in range(12)
    )


LAUGHS = grown("[x]", f"[{', '.join(['{0}'] * 10)}]")
LAUGHS_IN_MAPPINGS = grown("{k: v}", "{{" + ", ".join(f"k{n}: {{0}}" for n in range(10)) + "}}")
MERGES = grown("{k: v}", "{{<<: [" + ", ".join(["{0}"] * 10) + "]}}")

REFUSED = [
    (LAUGHS, "it holds more than 250,000 values"),
    (LAUGHS_IN_MAPPINGS, "it holds more than 250,000 values"),
    (MERGES, "it holds more than 250,000 values"),
    (grown("[x]", "[{0}]") + "".join(f"b{n}: &b{n} [*{'ab'[n > 0]}{max(n - 1, 0)}]\n" for n in range(80)), "nested more than 64 deep"),
    ("a: &a [*a]\n", "*a stands inside of what it stands for"),
    ("a: *b\n", "*b stands for nothing"),
    ("a: !!python/object/apply:os.system ['true']\n", "the tag !!python/object/apply:os.system is not allowed"),
    ("a: !!python/name:os.system\n", "the tag !!python/name:os.system is not allowed"),
    ("a: !!binary aGk=\n", "the tag !!binary is not allowed"),
    ("a: !!int x\n", "'x' is no int"),
    ("a: !mine [1]\n", "the tag !mine is not allowed"),
    ('a: "\\ud800"\n', "this is no YAML: found invalid Unicode character escape code"),
    ("a: '\ud800'\n", "half of a surrogate pair is no text"),
    ("a: \0\n", "a character that YAML does not allow"),
    ("a: \x1b[31m\n", "a character that YAML does not allow"),
    ("a:\n\t- b\n", "this is no YAML: found character that cannot start any token"),
    ("---\na: 1\n---\nb: 1\n", "there is a second document"),
    ("---\n" * 400_000, "there is a second document"),
    ("\n" + "[" * 1_999_000, "nested more than 64 deep"),
    ("\n" + "- " * 900_000, "nested more than 64 deep"),
    ("\n" + "? " * 900_000, "nested more than 64 deep"),
    ("\n" + "{a: " * 400_000, "nested more than 64 deep"),
    ("".join(" " * i + "a:\n" for i in range(1400)), "nested more than 64 deep"),
    ("\n!" + "a" * 1_900_000, "the tag !aaa"),
    ("\n*" + "a" * 1_900_000, "stands for nothing"),
    ("\n" + "x" * 1_900_000 + ": 1", "this is no YAML: mapping values are not allowed in this context"),
    ("".join(f"%TAG !a{n}! b\n" for n in range(100_000)) + "---\na: 1", "more than 100 lines that begin with %"),
    ("a: |\n" + " x\n" * 1_000_000, "longer than 2,000,000 characters"),
    ("[" + "a," * 990_000 + "]\n", "it holds more than 250,000 values"),
    ("a:\n" + "- a\n" * 480_000, "it holds more than 250,000 values"),
    ("- {name: a}\n" * 160_000, "it holds more than 250,000 values"),
    ("a:\n" * 600_000, "the key 'a' stands twice"),
    (flow(f"map: {{template: [{'x, ' * 20_000}]}}"), "a flow holds more than 10,000 values"),
    (flow(f"filter: {{condition: '{'(' * 99_000}'}}"), "nested deeper than 64 levels"),
    (flow(f"filter: {{condition: '{'x' * 1_900_000}'}}"), "a condition of 1,900,000 characters is too long"),
    (flow(f"map: {{template: '{'{% if a %}' * 49_000}'}}"), "the template is nested too deeply"),
    (flow(f"map: {{template: '{'{{ source_id }}' * 60_000}'}}"), "the template is too long"),
    (flow(f"rate_limit: {{max: {'1' * 1_900_000}, per: 1h}}"), "max is text"),
    (flow(f"deduplicate: {{key: source_id, window: {'1' * 1_900_000}h}}"), "is too"),
    (flow(f"resolve: {{from: '{'a.' * 900_000}a', as: x}}"), "resolve reads"),
]  # fmt: skip
# what production takes as text, counts, or reads to its end, and what its own reading must bear as well
IN_PRODUCTION = [
    (LAUGHS, "it holds more than 250,000 values"),
    ("\n" + "[" * 1_999_000, "nested more than 64 deep"),
    ("[" + "[]," * 660_000 + "]\n", "it holds more than 250,000 values"),
    ("- {}\n" * 60_000, "a flow needs 'name' and 'trigger' and 'pipeline'"),
    (flow(f"rate_limit: {{max: {'1' * 1_900_000}, per: 1h}}"), "a whole number from 0 to 4294967295"),
    (flow(f"map: {{template: {'1' * 1_900_000}}}"), None),
    (flow(f"map: {{template: '{'{% if a %}' * 49_000}'}}"), None),
    (flow(f"map: {{template: [{'x, ' * 20_000}]}}"), "a flow holds more than 10,000 values"),
]
LOAD = """
import json, resource, sys, time
import flowdsl as fd
fd.load("- {name: f, trigger: {kind: link.created}, pipeline: []}\\n")
for text, target in json.load(sys.stdin):
    began, message = time.process_time(), None
    try:
        fd.load("\\n" + text, target=target)
    except fd.LoadError as error:
        message = str(error)
    spent, most = time.process_time() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps([message, spent, most]), flush=True)
"""


def loaded_apart(texts: list[tuple[str, str | None]]) -> Iterator[tuple[str | None, float, int]]:
    """What loading each text in another process says, its seconds, and the most kilobytes the process has had by then."""
    given = json.dumps([["a: 1\n", None], *texts])
    run = subprocess.run(
        [sys.executable, "-c", LOAD], input=given, capture_output=True, text=True, check=True
    )
    yield from map(json.loads, run.stdout.splitlines())


def test_hostile_yaml_ends_in_a_clear_error_at_once_and_in_bounded_memory():
    pytest.importorskip("resource", reason="this system does not say how much memory a process has had")
    cases = [(text, what, None) for text, what in REFUSED] + [
        (text, what, "this-rs") for text, what in IN_PRODUCTION
    ]
    before, *seen = loaded_apart([(text, target) for text, _, target in cases])
    for (text, what, target), (message, spent, most) in zip(cases, seen, strict=True):
        case = f"{text[:60]!r} for {target}: {message!r:.200}, {spent:.1f} s"
        assert (message is None) if what is None else (what in (message or "")), case
        assert len(message or "") < 400_000, case
        assert spent < SECONDS, case
        assert most - before[2] < MEGABYTES * 1024, case


def test_checking_it_is_as_quick():
    for text in (
        LAUGHS,
        "[" + "a," * 990_000 + "]\n",
        "- {name: a}\n" * 80_000,
        flow(f"map: {{template: [{'x, ' * 20_000}]}}"),
    ):
        for target in (None, "this-rs"):
            began = time.process_time()
            assert check_source(text, "flows.yaml", target)
            assert time.process_time() - began < SECONDS


def test_a_file_is_measured_before_it_is_read(tmp_path: Path):
    path = tmp_path / "huge.yaml"
    path.touch()
    os.truncate(path, 1 << 33)
    with pytest.raises(fd.LoadError, match="longer than 2,000,000 characters"):
        fd.load(path)


@pytest.mark.parametrize(
    ("raw", "what"),
    [
        ("a: é".encode("latin-1"), "flows.yaml:1:4: this is no UTF-8 text"),
        ("a: 1\n".encode("utf-16"), "flows.yaml:1:1: this is no UTF-8 text"),
        ("a: 1\n".encode("utf-32-le"), "flows.yaml:1:2: there is a character that YAML does not allow"),
        (b"\x00" * 1000, "flows.yaml:1:1: there is a character that YAML does not allow"),
        (b"\x1f\x8b\x08\x00", "flows.yaml:1:2: this is no UTF-8 text"),
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
        fd.load("- {name: 5}\n" * 3_000)
    assert len(caught.value.problems) == 1_001
    assert caught.value.problems[-1].what == "here reading ends, after 1,000 problems"


def test_a_project_as_large_as_they_come_loads_in_no_time():
    one = """\
- name: notify-{0}
  trigger: {{kind: link.created, link_type: likes}}
  pipeline:
    - resolve: {{from: target_id, via: owns, direction: reverse, as: owner}}
    - filter: {{condition: source_id != owner.id}}
    - deduplicate: {{key: source_id, window: 1h}}
    - map: {{template: {{recipient_id: "{{{{ owner.id }}}}", title: "{{{{ owner.name }}}} likes {0}"}}}}
    - deliver: {{sinks: [in-app, push]}}
"""
    text = "".join(one.format(number) for number in range(2_000))
    began = time.process_time()
    project = fd.load(text)
    assert time.process_time() - began < 4
    changed = project.with_flow(project.flows[1_000].where("source_id != 'x'"))
    began = time.process_time()
    assert len(changed.to_yaml()) > len(text)
    assert time.process_time() - began < 12
