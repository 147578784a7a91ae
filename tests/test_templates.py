"""What templates mean, sentence by sentence."""

from __future__ import annotations

import pickle
import subprocess
import sys
from typing import Any

import pytest
from test_templates_oracle import look_up

import flowdsl as fd
from flowdsl.errors import TemplateError
from flowdsl.expressions.templates import Template
from flowdsl.expressions.templates.failures import RenderError

CONTEXT: dict[str, Any] = {
    "name": "Ada",
    "n": 3,
    "f": 1.0,
    "owner": {"name": "Grace", "tags": ["x", "y"], "address": {"city": "Paris"}},
    "none": None,
    "yes": True,
    "items": [{"t": "a"}, {"t": "b"}],
}


def render(text: str, **more: Any) -> str:
    context = CONTEXT | more
    return Template.parse(text).render_row(lambda path: look_up(context, path))


def failure(text: str, **more: Any) -> str:
    with pytest.raises(RenderError) as caught:
        render(text, **more)
    return str(caught.value)


def refusal(text: str) -> TemplateError:
    with pytest.raises(TemplateError) as caught:
        Template.parse(text)
    return caught.value


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("{{ name }} liked {{ owner.name }}", "Ada liked Grace"),
        ("{{ yes }}|{{ none }}|{{ f }}|{{ owner.tags }}|{{ owner }}", "true||1|[x, y]|[object]"),
        ('{{ "x" ~ f }}|{{ f }}', "x1.0|1"),
        ("{{ not n == 3 }}{% if not n == 3 %}y{% else %}n{% endif %}", "truen"),
        ("{{ 4 / 2 }} {{ 7 / 2 }} {{ 1 / 0 }} {{ -7 % 3 }}", "2 3.5 NaN -1"),
        ("{{ n == '3' }}{{ n != '3' }}{{ yes == 1 }}", "falsefalsefalse"),
        ("{{ missing.deep | default(value='d') }}{{ none | default(value='e') }}", "de"),
        ("{{ 1 + n | abs }} {{ 'a' ~ name | upper }}", "4 AADA"),
        ("{{ name or 'd' }} {{ name and none }}", "true false"),
        ("a {%- if yes -%} b {%- endif -%} c", "abc"),
        ("{% raw %}{{ name }}{% endraw %}{# nothing #}", "{{ name }}"),
        ("{{ `a\"b` }}{{ 'a\\n' }}", 'a"ba\\n'),
        ("{% for k, v in owner.address %}{{ k }}={{ v }}{% endfor %}", "city=Paris"),
        (
            "{% for i in items %}{{ loop.index }}{{ i.t }}{% if not loop.last %},{% endif %}{% endfor %}",
            "1a,2b",
        ),
        ("{% for i in [] %}x{% else %}none{% endfor %}", "none"),
        ("{% set a = 1 %}{% for i in [1, 2] %}{% set_global a = a + i %}{% endfor %}{{ a }}", "4"),
        ("{% macro m(a, b=2) %}[{{ a }}{{ b }}]{% endmacro m %}{{ self::m(a=n) }}", "[32]"),
        ("{% block b %}{{ name }}{% endblock b %}", "Ada"),
        ("{% filter upper %}{{ name }}{% endfilter %}", "ADA"),
        ("{{ owner['address'].city }}{{ owner.tags.1 }}{{ owner.tags[0] }}", "Parisyx"),
        ("{{ items | map(attribute='t') | join(sep='+') }}", "a+b"),
        ("{{ owner | json_encode }}", '{"address":{"city":"Paris"},"name":"Grace","tags":["x","y"]}'),
        ("{{ 'abcdef' | truncate(length=3) }}", "abc…"),
        ("{{ '2026-01-31T12:00:00Z' | date(format='%d.%m.%Y') }}", "31.01.2026"),
        ("line\n", "line\n"),
    ],
)
def test_a_template_prints_what_tera_prints(text: str, printed: str) -> None:
    assert render(text) == printed


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{{ owner.nme }}", "variable `owner.nme` is missing"),
        ("{{ 'a' ~ missing }}", "variable `missing` is missing"),
        ("{{ missing == 1 }}", "variable `missing` is missing"),
        ("{{ owner.tags[7] }}", "variable `owner.tags[7]` is missing"),
        ("{{ name + 1 }}", "an operator takes numbers, and `name` is text"),
        ("{{ name < 1 }}", "an operator takes numbers, and `name` is text"),
        ("{{ n | upper }}", "`upper` takes text, not a number"),
        ("{{ yes ~ 'a' }}", "`~` takes text and numbers, and `yes` is a boolean"),
        ("{% for x in n %}{% endfor %}", "`for` goes over arrays, objects and text, not over a number"),
        ("{{ throw(message='no way') }}", "no way"),
        ("{{ missing is odd }}", "variable `missing` is missing, and `is odd` needs it"),
    ],
)
def test_a_failure_says_what_is_wrong(text: str, message: str) -> None:
    assert failure(text) == message


def test_a_null_variable_is_there_and_a_missing_one_is_false_at_any_depth() -> None:
    assert render("{{ none is defined }}{% if missing.a.b %}x{% endif %}{{ not missing.a }}") == "truetrue"


@pytest.mark.parametrize(
    ("text", "what", "hint"),
    [
        ("{{ name | uper }}", "unknown filter `uper`, at 1:11", "did you mean 'upper'?"),
        ("ab\n {{ name is strin }}", "unknown test `strin`, at 2:13", "did you mean 'string'?"),
        ("{{ rnge(end=3) }}", "unknown function `rnge`, at 1:4", "did you mean 'range'?"),
        (
            "{{ name | replace(form='a', to='b') }}",
            "the filter `replace` has no argument `form`",
            "did you mean 'from'?",
        ),
        ("{{ name | replace(from='a') }}", "the filter `replace` needs the argument `to`", None),
        ("{{ name | truncate(3) }}", "unexpected `3`, at 1:20", None),
        ("{% iff x %}{% endif %}", "unknown tag `iff`, at 1:1", "did you mean 'if'?"),
        ("{% if x %}", "a `if` that does not end, at 1:11", None),
        ("{% endif %}", "`endif` ends nothing that was begun", None),
        ("{{ a if b }}", "unexpected `if`, at 1:6", "an inline `if` is written"),
        ("{{ -n }}", "unexpected `-`, at 1:4", None),
        ("{{ true_name }}", "unexpected `}`", "a name cannot begin with `true` or `false`"),
        ("{{ get_env(name='HOME') }}", "the function `get_env` is refused", None),
        ("{{ now() }}", "the function `now` is refused", None),
        ("{{ get_random(end=3) }}", "the function `get_random` is refused", None),
        ("{{ __tera_context }}", "`__tera_context` is refused", None),
        ("{% include 'a' %}", "`include` is refused", None),
        ("{% import 'a' as b %}", "`import` is refused", None),
        ("{% extends 'a' %}", "`extends` is refused", None),
        ("{{ self::m() }}", "unknown macro `m`", None),
        ("{% block b %}{{ super() }}{% endblock %}", "`super()` has no parent", None),
        ("{% break %}", "`break` is not allowed here", None),
        ("{% for x in a %}{% block b %}{% endblock %}{% endfor %}", "`block` is not allowed here", None),
        ("{{ 9223372036854775808 }}", "a whole number out of bounds", None),
        ("{{ a['é'] }}", "the key 'é' is misread by Tera", None),
        ("{{ a[-1] }}", "the index -1 is never there", "`| last` gives the last"),
        ("{{ a.b() }}", "unexpected `(`", "values have no methods"),
    ],
)
def test_a_refusal_says_what_and_where_and_what_was_meant(text: str, what: str, hint: str | None) -> None:
    error = refusal(text)
    assert error.what.startswith(what)
    assert hint is None or (error.hint or "").startswith(hint)


def test_the_refusal_of_an_unknown_name_lists_what_there_is() -> None:
    assert "upper" in (refusal("{{ a | nope }}").allowed or "")


def test_a_lenient_template_fails_only_where_it_meets_what_does_not_exist() -> None:
    template = Template.parse("{% if yes %}a{% else %}{{ now() | nope }}{% endif %}", lenient=True)
    assert template.render_row(lambda path: True) == "a"
    with pytest.raises(RenderError, match="the function `now` is not there in a replay"):
        template.render_row(lambda path: False)


@pytest.mark.parametrize(
    ("text", "paths"),
    [
        ("{{ owner.name }} {{ n }}", {("owner", "name"), ("n",)}),
        ("{{ owner.tags[0] }}", {("owner", "tags")}),
        ("{{ owner.tags.0.x }}", {("owner", "tags")}),
        ("{{ owner[name].city }}", {("owner",), ("name",)}),
        ('{{ owner["address"].city }}', {("owner", "address", "city")}),
        ("{% for i in items %}{{ i.t }}{{ loop.index }}{{ n }}{% endfor %}", {("items",), ("n",)}),
        ("{% set a = n %}{{ a }}{{ a.b }}", {("n",)}),
        ("{% if yes %}{% set a = 1 %}{% endif %}{{ a }}", {("yes",), ("a",)}),
        ("{% if yes %}{% set a = 1 %}{% else %}{% set a = 2 %}{% endif %}{{ a }}", {("yes",)}),
        ("{% macro m(p) %}{{ p }}{{ n }}{% endmacro m %}{{ self::m(p=name) }}", {("n",), ("name",)}),
        (
            "{{ a | replace(from=b, to=c.d) }}{{ x is containing(y) }}",
            {("a",), ("b",), ("c", "d"), ("x",), ("y",)},
        ),
    ],
)
def test_paths_are_what_is_read_from_the_context(text: str, paths: set[tuple[str, ...]]) -> None:
    assert Template.parse(text).paths == paths


def test_optional_paths_are_those_that_may_lead_nowhere() -> None:
    template = Template.parse(
        "{% if a %}{{ a }}{% endif %}{{ b is defined }}{{ c | default(value=d) }}{{ not e }}"
    )
    assert template.optional_paths == {("b",), ("c",), ("e",)}


def test_a_template_without_variables_is_constant() -> None:
    assert Template.parse("Hello").constant == "Hello"
    assert Template.parse("{{ 1 + 1 }}{% for i in [1, 2] %}{{ i }}{% endfor %}").constant == "212"
    assert Template.parse("{{ a }}").constant is None
    assert Template.parse("{{ throw(message='x') }}").constant is None


def test_templates_are_values() -> None:
    template = Template.parse("{{ a }}")
    assert template == Template.parse("{{ a }}")
    assert template != Template.parse("{{ b }}")
    assert len({template, Template.parse("{{ a }}")}) == 1
    assert pickle.loads(pickle.dumps(template)) == template
    assert repr(template) == "Template('{{ a }}')"
    with pytest.raises(AttributeError):
        template.text = "b"  # type: ignore[misc]


def test_parsing_needs_neither_numpy_nor_polars() -> None:
    code = (
        "import sys; from flowdsl.expressions.templates import Template; Template.parse('{{ a | upper }}').paths; "
        "sys.exit('numpy' in sys.modules or 'polars' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("{{ a | tojson }}", "json_encode()"),
        ("{{ a | count }}", "length"),
        ("{{ a | uper }}", "did you mean 'upper'?"),
        ("{{ a is none }}", "null has no name"),
        ("{{ a is mapping }}", "object"),
        ("{% set ns = namespace() %}", "set_global"),
        ("{{ a | truncate(9) }}", "arguments have names"),
        ("{{ a if b else c }}", "{% if … %}"),
        ("{{ a[1:] }}", "slice(start=…, end=…)"),
        ("{{ a.upper() }}", "values have no methods"),
        ("{{ a // 2 }}", "round"),
        ("{{ -a }}", "0 - x"),
        ("{{ a ** 2 }}", "no powers"),
        ("{{ {'a': 1} }}", "no objects"),
        ("{{ 1e21 }}", "without an exponent"),
        ("{{ a && b }}", "`and`"),
        ("{{ a || b }}", "`or`"),
        ("{{ !a }}", "`not x`"),
        ("{% if a = 1 %}{% endif %}", "`==`"),
    ],
)
def test_habits_from_other_languages_get_a_hint(text, hint):
    with pytest.raises(fd.FlowError) as caught:
        fd.on("link.created").map(a=text)
    assert hint in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("name", "hint"), [("none", "null has no name"), ("loop.index", "only within {% for %}")]
)
def test_a_variable_that_other_languages_have_gets_a_hint(name, hint):
    with pytest.raises(fd.BuildError, match="there is no variable") as caught:
        fd.on("link.created").map(a=f"{{{{ {name} }}}}")
    assert hint in (caught.value.hint or "")
