"""Templates that mean harm, or only much work: each is refused or fails, soon and without filling the memory."""

from __future__ import annotations

import time
from typing import Any

import pytest
from test_templates_oracle import PythonRows, look_up

from flowdsl.errors import TemplateError
from flowdsl.language.templates import Template
from flowdsl.language.templates.failures import RenderFailure


def failure(text: str, context: dict[str, Any] | None = None) -> str:
    started = time.process_time()
    with pytest.raises(RenderFailure) as caught:
        Template.parse(text).render_row(lambda path: look_up(context or {}, path))
    assert time.process_time() - started < 5
    return str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "{{ " + "(" * 10_000 + "a" + ")" * 10_000 + " }}",
        "{% if (" + "(" * 10_000 + "a == 1" + ")" * 10_000 + ") %}{% endif %}",
        "{% if a %}" * 10_000 + "{% endif %}" * 10_000,
        "{% for x in a %}" * 10_000,
        "{{ a" + "[a" * 10_000 + "]" * 10_000 + " }}",
        "{{ " + "f(x=" * 10_000 + "1" + ")" * 10_000 + " }}",
        "{{ a | " + "replace(from=a | " * 5_000 + " }}",
    ],
)
def test_deep_nesting_is_refused(text: str) -> None:
    with pytest.raises(TemplateError, match="nested too deeply"):
        Template.parse(text)


def test_a_template_that_is_too_long_is_refused() -> None:
    with pytest.raises(TemplateError, match="too long"):
        Template.parse("x" * 500_001)


@pytest.mark.parametrize(
    "text",
    ["{{ a " + "+ 1 " * 20_000 + "}}", "{% if a " + "and a " * 20_000 + "%}{% endif %}", "{{ a }}" * 20_000],
)
def test_long_chains_are_not_deep(text: str) -> None:
    started = time.process_time()
    Template.parse(text).render_row(lambda path: 1)
    assert time.process_time() - started < 10


def test_parsing_takes_time_by_the_length_of_the_text_only() -> None:
    started = time.process_time()
    for text in (
        "{{ " + "f(a=" * 18 + "1" + ")" * 18 + " }}",
        "{{ " + "(a " * 19,
        "{{ a | " * 2_000,
        '{{ "' * 2_001,
        "{# " * 2_001,
    ):
        with pytest.raises(TemplateError):
            Template.parse(text)
    assert time.process_time() - started < 5


@pytest.mark.parametrize(
    "text",
    [
        "{% for i in range(end=1000000000) %}{% endfor %}",
        "{{ range(end=1000000000) | length }}",
        "{{ range(end=5, step_by=0) }}",
        "{% for i in range(end=90000) %}{% for j in range(end=90000) %}x{% endfor %}{% endfor %}",
        "{% for i in range(end=90000) %}{{ a ~ a ~ a }}{% endfor %}",
        "{% macro m() %}{{ self::m() }}{% endmacro m %}{{ self::m() }}",
        "{% macro m() %}{{ self::m() }}{{ self::m() }}{% endmacro m %}{{ self::m() }}",
        "{% for i in range(end=1000) %}{{ a | upper | lower | title | reverse | length }}{% endfor %}",
        "{% for i in range(end=90000) %}{% if a is matching('(x+)+y') %}{% endif %}{% endfor %}",
    ],
)
def test_endless_work_fails_cleanly(text: str) -> None:
    assert failure(text, {"a": "x" * 100_000}).startswith(
        (
            "the template takes more than",
            "the template makes",
            "the template nests",
            "a `range` without end",
            "a macro that calls itself without end",
        )
    )


@pytest.mark.parametrize(
    "text",
    [
        "{% set s = 'xxxxxxxxxx' %}" + "{% set s = s ~ s %}" * 40 + "{{ s }}",
        "{% set s = [1] %}" + "{% set s = s | concat(with=s) %}" * 40 + "{{ s | length }}",
        "{% set s = [1] %}" + "{% set s = [s, s] %}" * 40 + "{{ s }}",
        "{% set s = [1] %}" + "{% set s = [s, s] %}" * 40 + "{{ s | json_encode }}",
        "{% set s = [1] %}{% set t = [1] %}"
        + "{% set s = [s, s] %}{% set t = [t, t] %}" * 40
        + "{{ s == t }}",
        "{{ a | replace(from='x', to=a) | length }}",
        "{{ a | replace(from='', to=a) | length }}",
        "{{ a | split(pat='') | length }}",
        "{{ a | split(pat='') | join(sep=a) | length }}",
        "{{ a | replace(from='x', to='\n') | indent(prefix=a) | length }}",
        "{{ a }}" * 11,
    ],
)
def test_texts_and_arrays_without_end_fail_cleanly(text: str) -> None:
    context = {"a": "x" * 100_000}
    message = failure(text, context)
    assert message.startswith(("the template makes", "the template compares"))
    _, failures = Template.parse(text).render(PythonRows([context, context]))
    assert failures is not None
    assert failures.mask.all()
    assert failures.message(0) == message


def test_values_nested_beyond_reason_fail_cleanly() -> None:
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    assert failure("{{ a }}", {"a": deep}) == "the values are nested too deeply"
    assert failure("{{ a | json_encode }}", {"a": deep}) == "the values are nested too deeply"


@pytest.mark.parametrize(
    "path",
    [
        "a.__class__",
        "a.__class__.__mro__",
        "a.__init__.__globals__",
        'a["__class__"]',
        "a.real",
        "a.keys",
        "a.0.__class__",
        "self",
        "loop",
        "range",
    ],
)
@pytest.mark.parametrize("value", ["text", 1, 1.5, True, None, [1], {"k": 1}])
def test_nothing_but_json_values_is_reached(path: str, value: Any) -> None:
    assert failure("{{ " + path + " }}", {"a": value}).endswith("is missing")


def test_a_time_zone_is_no_file() -> None:
    for zone in ("../../etc/passwd", "/etc/passwd", "", ".", "America"):
        assert "knows no time zone" in failure(f"{{{{ 0 | date(timezone='{zone}') }}}}")


def test_a_search_pattern_takes_no_more_than_its_time() -> None:
    context = {"a": "a" * 50_000 + "!"}
    started = time.process_time()
    for text in (
        "{{ a is matching('^(a+)+$') }}",
        "{{ a | striptags | length }}",
        "{{ a | title | length }}",
    ):
        Template.parse(text).render_row(lambda path: look_up(context, path))
    Template.parse("{{ a | striptags | length }}").render_row(lambda path: "<" * 500_000)
    assert time.process_time() - started < 5
