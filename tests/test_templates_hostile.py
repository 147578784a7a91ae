"""Templates that ask for much: each is refused or fails, soon and without filling the memory.

No template here asks much of anybody: the limits are put low for these tests.
"""

from __future__ import annotations

import contextlib
import sys
from typing import Any

import pytest
from oracle.rows import PythonRows
from oracle.values import look_up

from flowdsl.errors import TemplateError
from flowdsl.expressions.templates import Template, grammar, rust_text, scanner, template_functions
from flowdsl.expressions.templates.failures import RenderError
from flowdsl.expressions.templates.scanner import Scanner

LIMITS = {"MAX_TEXT": 1_000, "MAX_ITEMS": 100, "MAX_STEPS": 1_000}


@pytest.fixture
def low(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the limits low wherever they are read."""
    for name, module in list(sys.modules.items()):
        if name.startswith("flowdsl.expressions.templates"):
            for limit, value in LIMITS.items():
                if hasattr(module, limit):
                    monkeypatch.setattr(module, limit, value)


def failure(text: str, context: dict[str, Any] | None = None) -> str:
    with pytest.raises(RenderError) as caught:
        Template.parse(text).render_row(lambda path: look_up(context or {}, path))
    return str(caught.value)


def nested(depth: int) -> list[str]:
    """Templates in which something is inside itself."""
    return [
        "{{ " + "(" * depth + "a" + ")" * depth + " }}",
        "{% if (" + "(" * depth + "a == 1" + ")" * depth + ") %}{% endif %}",
        "{% if a %}" * depth + "{% endif %}" * depth,
        "{% for x in a %}" * depth + "{% endfor %}" * depth,
        "{{ a" + "[a" * depth + "]" * depth + " }}",
        "{{ " + "range(end=" * depth + "1" + ")" * depth + " }}",
        "{{ a | " + "replace(from=a | " * depth + "upper" + ", to='x')" * depth + " }}",
    ]


@pytest.mark.parametrize("kind", range(7))
def test_deep_nesting_is_refused(kind: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scanner, "MAX_NESTING", 6)
    Template.parse(nested(2)[kind])
    with pytest.raises(TemplateError, match="nested too deeply"):
        Template.parse(nested(7)[kind])


def test_a_template_that_is_too_long_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grammar, "MAX_TEMPLATE", 100)
    Template.parse("x" * 100)
    with pytest.raises(TemplateError, match="too long"):
        Template.parse("x" * 101)


@pytest.mark.parametrize(
    "text", ["{{ a " + "+ 1 " * 100 + "}}", "{% if a " + "and a " * 100 + "%}{% endif %}", "{{ a }}" * 100]
)
def test_long_chains_are_not_deep(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scanner, "MAX_NESTING", 6)
    Template.parse(text).render_row(lambda path: 1)


def looks(text: str, monkeypatch: pytest.MonkeyPatch) -> int:
    """How often the parser looks at a place of a template."""
    counted = 0

    def counting(method: Any) -> Any:
        def look(*args: Any) -> Any:
            nonlocal counted
            counted += 1
            return method(*args)

        return look

    with monkeypatch.context() as patch:
        for name in ("literal", "matched"):
            patch.setattr(Scanner, name, counting(getattr(Scanner, name)))
        with contextlib.suppress(TemplateError):
            Template.parse(text)
    return counted


@pytest.mark.parametrize(
    "made",
    [
        lambda n: "{{ " + "f(a=" * n + "1" + ")" * n + " }}",
        lambda n: "{{ " + "(a " * n,
        lambda n: "{{ a | " * n,
        lambda n: "{{ '" * (n + 1),
        lambda n: "{# " * (n + 1),
    ],
)
def test_parsing_takes_work_by_the_length_of_the_text_only(
    made: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert looks(made(8), monkeypatch) <= 3 * looks(made(4), monkeypatch) + 50


@pytest.mark.usefixtures("low")
@pytest.mark.parametrize(
    "text",
    [
        "{% for i in range(end=200) %}{% endfor %}",
        "{{ range(end=200) | length }}",
        "{% for i in range(end=50) %}{% for j in range(end=50) %}x{% endfor %}{% endfor %}",
        "{% for i in range(end=50) %}{{ a ~ a ~ a }}{% endfor %}",
        "{% macro m(n) %}{% if n > 0 %}{{ self::m(n=n - 1) }}{{ self::m(n=n - 1) }}{% endif %}{% endmacro m %}{{ self::m(n=7) }}",
        "{% for i in range(end=60) %}{{ a | upper | lower | title | reverse | length }}{% endfor %}",
        "{% for i in range(end=90) %}{% if a is matching('x') %}{% endif %}{{ a | length }}{% endfor %}",
    ],
)
def test_much_work_fails_cleanly(text: str) -> None:
    assert failure(text, {"a": "x" * 200}).startswith(("the template takes more than", "the template makes"))


@pytest.mark.usefixtures("low")
@pytest.mark.parametrize(
    "text",
    [
        "{% set s = 'xxxxxxxxxx' %}" + "{% set s = s ~ s %}" * 8 + "{{ s }}",
        "{% set s = [1] %}" + "{% set s = s | concat(with=s) %}" * 8 + "{{ s | length }}",
        "{% set s = [1] %}" + "{% set s = [s, s] %}" * 8 + "{{ s }}",
        "{% set s = [1] %}" + "{% set s = [s, s] %}" * 8 + "{{ s | json_encode }}",
        "{% set s = [1] %}{% set t = [1] %}"
        + "{% set s = [s, s] %}{% set t = [t, t] %}" * 8
        + "{{ s == t }}",
        "{{ a | replace(from='x', to=a) | length }}",
        "{{ a | replace(from='', to=a) | length }}",
        "{{ a | split(pat='') | length }}",
        "{{ a | split(pat='x') | join(sep=a) | length }}",
        "{{ a | replace(from='x', to='\n') | indent(prefix=a) | length }}",
        "{{ a }}" * 6,
    ],
)
def test_texts_and_arrays_that_grow_fail_cleanly(text: str) -> None:
    context = {"a": "x" * 200}
    message = failure(text, context)
    assert message.startswith(("the template makes", "the template compares"))
    _, failures = Template.parse(text).render(PythonRows([context, context]))
    assert failures is not None
    assert failures.mask.all()
    assert failures.message(0) == message


def test_values_nested_beyond_reason_fail_cleanly() -> None:
    deep: Any = []
    for _ in range(2 * sys.getrecursionlimit()):
        deep = [deep]
    assert failure("{{ a }}", {"a": deep}) == "the values are nested too deeply"
    assert failure("{{ a | json_encode }}", {"a": deep}) == "the values are nested too deeply"


@pytest.mark.parametrize(
    "path", ["a.__class__", 'a["__class__"]', "a.real", "a.keys", "a.0.__doc__", "self", "loop", "range"]
)
@pytest.mark.parametrize("value", ["text", 1, 1.5, True, None, [1], {"k": 1}])
def test_nothing_but_json_values_is_reached(path: str, value: Any) -> None:
    assert failure("{{ " + path + " }}", {"a": value}).endswith("is missing")


def test_a_time_zone_is_no_file() -> None:
    for zone in ("../zone", "/zone", "", ".", "America"):
        assert "knows no time zone" in failure(f"{{{{ 0 | date(timezone='{zone}') }}}}")


def test_patterns_are_matched_by_rusts_engine_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes time by the length of the text, whatever the pattern is."""
    asked: list[tuple[str, str]] = []
    monkeypatch.setattr(rust_text, "matches", lambda text, pattern: asked.append((text, pattern)) or True)
    assert Template.parse("{% if a is matching('^a+$') %}y{% endif %}").render_row(lambda path: "aaa") == "y"
    assert asked == [("aaa", "^a+$")]


def test_a_range_whose_steps_leave_64_bits_is_known_to_be_without_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(template_functions, "MOST_U64", 7)
    assert failure("{{ range(start=1, end=7, step_by=4) }}") == "a `range` without end"
    assert Template.parse("{{ range(start=1, end=7, step_by=3) }}").render_row(lambda path: None) == "[1, 4]"
