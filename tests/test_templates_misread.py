"""Paths that Tera misreads, comparisons with `not`, includes and far dates: beside Tera itself."""

from __future__ import annotations

import random
from typing import Any

import pytest
from test_templates_oracle import PythonRows, tera

import flowdsl as fd
from flowdsl.expressions.templates import Template
from flowdsl.expressions.templates.failures import RenderError

CONTEXT: dict[str, Any] = {
    "o": {"a": 1, "b c": 2, "~": 3, "`k`": 4, "a]b": 5, "x": {"y": 6}, "d'e": 7, "/": 8, "~1": 9, "": 10, "5": 11},
    "k": "a",
    "odd": "a]b",
    "nothing": "",
    "n": 3,
    "b": True,
    "items": [{"a": 1, "k[0]": 2, "~": 3, "x.y": 4}, {"a": 2}],
}  # fmt: skip


def shown(text: str) -> str | None:
    """What the template prints, by rows and by columns; None where it fails."""
    template = Template.parse(text, lenient=True)
    texts, failures = template.render(PythonRows([CONTEXT] * 3))
    by_columns = None if failures is not None and failures.mask.all() else texts.to_list()[0]
    try:
        by_rows = template.render_row(lambda path: PythonRows([CONTEXT]).column(path).values()[0])
    except RenderError:
        by_rows = None
    assert by_rows == by_columns
    return by_rows


def check(*templates: str) -> None:
    """All print what Tera prints."""
    seen = [answers[0] for answers in tera([(text, [CONTEXT]) for text in templates])]
    assert [shown(text) for text in templates] == seen


def test_a_not_before_a_comparison_of_a_number_with_anything_else_changes_nothing_in_a_condition() -> None:
    sides = ["n", "b", "k", "o", "items", "3", "3.0", "'3'", "true", "n + 1", "k | length", "missing"]
    comparisons = [
        f"not {left} {op} {right}" for left in sides for op in ("==", "!=", "<") for right in sides
    ]
    check(
        *(f"{{% if {one} %}}T{{% else %}}F{{% endif %}}" for one in comparisons),
        *(f"{{{{ {one} }}}}" for one in comparisons),
    )


def test_keys_that_come_out_of_a_path_otherwise_give_what_tera_finds() -> None:
    keys = [
        "'~'",
        "'~1'",
        "'/'",
        "`k`",
        "'a]b'",
        "'a[b'",
        "'b c'",
        '"d\'e"',
        "''",
        "'a[k]'",
        "'x[k]y'",
        "nothing",
    ]
    keys += ["odd", "-1", "99999999999999999999999", "o['~']", "`a`", "'x.y'", "'a\\b'"]
    check(
        *(f"{{{{ o[{key}] }}}}" for key in keys),
        *(f"{{{{ o[{key}] | default(value='D') }}}}" for key in keys),
        *(f"{{% if o[{key}] %}}T{{% else %}}F{{% endif %}}" for key in keys),
        *(f"{{{{ o[{key}] is defined }}}}" for key in keys),
        *(f"{{% set mine = o %}}{{{{ mine[{key}] }}}}" for key in keys),
        *(f"{{% for one in [o] %}}{{{{ one[{key}] }}}}{{% endfor %}}" for key in keys),
        *(f"{{{{ o.x[{key}] | default(value='D') }}}}" for key in keys),
    )


@pytest.mark.parametrize(
    "attribute", ["k[0]", "[0]", "~", "~1", "x.y", "'a'", "a]", "]", "..a.", "a[", "\\\\a"]
)
def test_attributes_of_filters_are_read_as_paths(attribute: str) -> None:
    argument = f'attribute="{attribute}"'
    check(
        f"{{{{ items | map({argument}) }}}}",
        f"{{{{ items | filter({argument}, value=1) }}}}",
        f"{{{{ items | group_by({argument}) | json_encode }}}}",
    )


def test_random_keys_of_odd_signs_give_what_tera_finds() -> None:
    rng = random.Random(7)
    signs = ["a", "k", "]", "[", "~", "~1", "/", "\\", ".", "`", " ", "x", "'"]
    keys = {"".join(rng.choices(signs, k=rng.randint(1, 5))) for _ in range(400)}
    check(*(f'{{{{ o["{key}"] | default(value="D") }}}}' for key in sorted(keys)))


def test_an_include_is_looked_for_when_it_is_met() -> None:
    for text, wanted in (
        ('{% if false %}{% include "x" %}{% endif %}ok', "ok"),
        ('a{% include "x" ignore missing %}b', "ab"),
        ("a {%- include ['x', `y`] ignore missing -%} b", "ab"),
        ("{% include [] ignoremissing %}b", "b"),
        ('a{% include "x" %}', None),
        ("{% if false %}{% block a %}{{ super() }}{% endblock %}{% endif %}ok", "ok"),
        ("{% block a %}{{ super() }}{% endblock %}", None),
    ):
        assert shown(text) == wanted
    with pytest.raises(fd.TemplateError, match="`include` is refused"):
        Template.parse('{% include "x" ignore missing %}')


def test_concat_needs_something_to_add() -> None:
    check("{{ items | concat }}", "{{ items | concat(with=n) | length }}", "{{ [] | concat(with=[1]) }}")


DATES: list[Any] = [
    1_700_000_000_000, 253_402_300_800, -62_135_596_801, 8_210_266_876_799, -8_334_601_228_800, 4_102_444_800,
    " 2024-02-29", "2024- 2-29", "2024-2 -29", "2024-02-29 ", "+12024-02-29", "-4-02-29", "-5-02-29", "20240-02-29",
    "\u00a02024-01-01", "2024-02-29T23:59:60Z", "2024-02-29T23:59:60.5", "2024-02-29T12:34:60+02:00", "2024-2-9T1:2:3Z",
    "2024-02-29 T12:34:05", "2024-02-29T 12 : 34 : 05 Z ", "2024-02-29 12:34:05 uTc", "2024-02-29T12:34:05+0200",
    "2024-02-29T12:34:05\u221202:00", "2024-02-29T1:2:3.1234567891Z", "2024-02-29T24:00:00Z", "2024-02-29T12:34:05+24:00",
    "2150-07-01T12:00:00Z", "+10000-07-01T12:00:00Z", "-0001-07-01T12:00:00Z", "1800-01-01T00:00:00Z",
]  # fmt: skip


@pytest.mark.parametrize("zone", ["", "Europe/Paris", "Australia/Sydney"])
def test_dates_reach_as_far_as_production_s_and_are_read_as_loosely(zone: str) -> None:
    pattern = (
        "%F %T%.f %C %-C %_C %G %g %V %j %s %y %S %f %+ %c" if zone else "%F %T%.f %C %G %g %j %s %S %f %c"
    )
    given = f', timezone="{zone}"' if zone else ""
    text = f'{{{{ s | date(format="{pattern}"{given}) }}}}'
    ours: list[str | None] = []
    for value in DATES:
        try:
            ours.append(Template.parse(text).render_row({("s",): value}.__getitem__))
        except RenderError:
            ours.append(None)
    assert ours == tera([(text, [{"s": value} for value in DATES])])[0]


def test_a_time_zone_of_three_hundred_letters_is_no_time_zone() -> None:
    with pytest.raises(RenderError, match="knows no time zone"):
        Template.parse(f'{{{{ 0 | date(timezone="{"x" * 300}") }}}}').render_row({}.__getitem__)
