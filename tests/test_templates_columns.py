"""Whole columns of contexts: interned, mixed and missing values, branches, and which rows fail."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracle.rows import PythonRows
from test_templates_oracle import Failed, by_columns, by_rows

from flowdsl.expressions.templates import Template
from flowdsl.expressions.templates.scalar import render_rows
from flowdsl.values.columns import Column
from flowdsl.values.interner import Interner
from flowdsl.values.json_types import MISSING, Tag


class Columns:
    """Rows that are columns, each asked for counted."""

    def __init__(self, columns: dict[tuple[str, ...], Column], size: int) -> None:
        self.columns = columns
        self.size = size

    def column(self, path: tuple[str, ...]) -> Column:
        return self.columns.get(path, Column(self.size, Tag.MISSING))

    def take(self, index: Any) -> Columns:
        return Columns({path: column.take(index) for path, column in self.columns.items()}, len(index))


def interned(texts: list[str | None], *, none: Tag = Tag.MISSING) -> Column:
    interner = Interner()
    interner.intern(pl.Series(["unused", "zz"]))
    return Column.from_codes(interner.intern(pl.Series(texts, dtype=pl.String)), interner, none=none)


def rendered(text: str, rows: Columns) -> list[str | None]:
    """What is printed, None where it failed."""
    texts, failures = Template.parse(text).render(rows)
    lost = failures.mask if failures else np.zeros(rows.size, np.bool_)
    return [None if lost[row] else texts[row] for row in range(rows.size)]


NAMES: list[str | None] = ["Ada", "Bob", None, "Ada", "Ünï <3", ""]


@pytest.mark.parametrize("none", [Tag.MISSING, Tag.NULL])
@pytest.mark.parametrize("repeat", [1, 50])
@pytest.mark.parametrize(
    ("text", "one"),
    [
        ("{{ name }} liked", lambda n: f"{n} liked"),
        ("{{ name | upper }}", str.upper),
        ("{{ name | escape }}", lambda n: n.replace("<", "&lt;")),
        ("{{ name | length }}", lambda n: str(len(n))),
        ("{{ name | truncate(length=2) }}", lambda n: n if len(n) <= 2 else n[:2] + "…"),
        ("{{ name == 'Ada' }}", lambda n: str(n == "Ada").lower()),
        ("{{ name in ['Bob', 'never seen'] }}", lambda n: str(n == "Bob").lower()),
        ("{{ name is starting_with('A') }}", lambda n: str(n.startswith("A")).lower()),
        ("{{ name ~ '!' }}", lambda n: f"{n}!"),
        (
            "{{ name | urlencode_strict | lower }}",
            lambda n: {"Ünï <3": "%c3%9cn%c3%af%20%3c3"}.get(n, n.lower()),
        ),
    ],
)
def test_interned_text_prints_as_any_text(
    none: Tag, repeat: int, text: str, one: Callable[[str], str]
) -> None:
    names = NAMES * repeat
    got = rendered(text, Columns({("name",): interned(names, none=none)}, len(names)))
    for name, printed in zip(names, got, strict=True):
        if name is not None:
            assert printed == one(name)
        elif none is Tag.MISSING:
            assert printed is None
        elif text == "{{ name }} liked":
            assert printed == " liked"


def test_interned_text_beyond_what_the_batch_holds_is_grouped_too() -> None:
    interner = Interner()
    codes = interner.intern(pl.Series([f"text {n}" for n in range(5_000)]))
    rows = Columns({("a",): Column.from_codes(codes[[4_999, 7, 4_999]], interner)}, 3)
    assert rendered("{{ a | title }}", rows) == ["Text 4999", "Text 7", "Text 4999"]


def test_each_branch_is_rendered_on_its_own_rows_only() -> None:
    contexts = [{"k": k} | ({"a": "x"} if k == 1 else {"b": "y"}) for k in (1, 2, 1, 3)]
    template = Template.parse(
        "{% if k == 1 %}{{ a }}{% elif k == 2 %}{{ b | upper }}{% else %}{{ a }}{% endif %}!"
    )
    assert by_columns(template, contexts) == ["x!", "Y!", "x!", "variable `a` is missing"]


def test_what_a_branch_sets_stays_set_in_its_rows() -> None:
    contexts: list[dict[str, Any]] = [{"k": 1}, {"k": 2}, {"k": 3, "v": "context"}]
    text = "{% if k == 1 %}{% set v = 'one' %}{% elif k == 2 %}{% set v = k %}{% set w = [k] %}{% endif %}{{ v }}{{ w is defined }}"
    assert by_columns(Template.parse(text), contexts) == ["onefalse", "2true", "contextfalse"]


def test_and_and_or_do_not_fail_by_what_they_need_not_know() -> None:
    contexts: list[dict[str, Any]] = [{"a": 1}, {"a": 0}, {"a": 0, "b": 5}]
    template = Template.parse("{% if a == 1 or b > 3 %}y{% else %}n{% endif %}")
    assert by_columns(template, contexts) == ["y", "variable `b` is missing", "y"]
    template = Template.parse("{% if a == 1 and b > 3 %}y{% else %}n{% endif %}")
    assert by_columns(template, contexts) == ["variable `b` is missing", "n", "n"]


def test_the_first_failure_of_a_row_is_the_one_that_is_told() -> None:
    contexts: list[dict[str, Any]] = [{}, {"a": 1}, {"a": "x", "b": True}]
    got = by_columns(Template.parse("{{ a }}{{ b ~ 'x' }}"), contexts)
    assert got == [
        "variable `a` is missing",
        "variable `b` is missing",
        "`~` takes text and numbers, and `b` is a boolean",
    ]
    assert all(isinstance(text, Failed) for text in got)


def test_mixed_types_in_one_column_print_each_as_its_own() -> None:
    values = [1, 1.0, "1", True, None, [1, "a", None], {"k": 1}, -0.0, 1e21, 1e-7, 2**62]
    template = Template.parse("{{ v }}|{{ v == 1 }}|{{ v is number }}|{% if v %}t{% endif %}")
    contexts = [{"v": value} for value in values]
    assert by_columns(template, contexts) == by_rows(template, contexts)
    assert by_columns(Template.parse("{{ v }}"), contexts) == [
        "1",
        "1",
        "1",
        "true",
        "",
        "[1, a, ]",
        "[object]",
        "-0",
        "1" + "0" * 21,
        "0.0000001",
        str(2**62),
    ]


def test_numbers_that_json_does_not_have_are_null() -> None:
    column = Column.of([float("nan"), float("inf"), 1.5])
    assert rendered("{{ x }}|{{ x | default(value='d') }}", Columns({("x",): column}, 3)) == [
        "|d",
        "|d",
        "1.5|1.5",
    ]


def test_whole_numbers_beyond_columns_are_exact_all_the_same() -> None:
    contexts = [{"o": {"big": 2**64 - 1}}, {"o": {"big": 1}}]
    template = Template.parse("{{ o | get(key='big') }}")
    assert by_columns(template, contexts) == by_rows(template, contexts) == [str(2**64 - 1), "1"]


def test_arithmetic_out_of_bounds_fails_in_its_row_only() -> None:
    contexts: list[dict[str, Any]] = [{"a": 2**63 - 1}, {"a": 5}, {"a": 0}]
    assert by_columns(Template.parse("{{ a + 1 }}"), contexts) == [
        f"{2**63 - 1} + 1 is out of bounds for 64-bit integers",
        "6",
        "1",
    ]
    assert by_columns(Template.parse("{{ 7 % a }}"), contexts) == ["7", "2", "7 % 0 has no result"]
    assert by_columns(Template.parse("{{ 7 / a }}"), contexts)[1:] == ["1.4", "NaN"]


@pytest.mark.parametrize(
    "text",
    [
        "Hello",
        "",
        "{{ 1 + 1 }}",
        "{{ name }}",
        "{% for i in [1, 2] %}{{ i }}{{ name }}{% endfor %}",
        "{{ throw(message='x') }}",
    ],
)
def test_no_rows_at_all_give_no_texts(text: str) -> None:
    for size in (0, 3):
        texts, failures = Template.parse(text).render(PythonRows([{"name": "a"}] * size))
        assert texts.dtype == pl.String
        assert len(texts) == size
        assert failures is None or failures.codes.shape == (size,)


PIECES = [
    "{{ x }}", "{{ x.n }}", "{{ x.n | default(value='-') }}", "{{ x.o.n }}", "{{ loop.index }}", "{{ loop.index0 + 1 }}", "{{ name }}",
    "{% if not loop.last %}, {% endif %}", "{% if loop.first %}{{ name }}{% elif x.n %}{{ x.n | upper }}{% else %}{{ x is defined }}{% endif %}",
    "{{ x ~ name }}", "{{ x.n ~ '!' }}", "{{ x + 1 }}", "{{ x.n * loop.index }}", "{{ x is string }}", "{{ x == name }}", "{{ x | length }}",
    "{{ [x, loop.index] | length }}", "{{ [loop.last, loop.first] | first }}", "{{ loop.size }}", "{{ x.n in ['a', 'b'] }}", "{{ x | json_encode }}",
    "{{ k }}", "-", "{{ x.0 }}", "{{ x[1].n }}", "{{ v.0 }}", "{{ v[1].o.n }}", "{{ o.v[0] ~ '' }}", "{{ x.n.0 | default(value=1) }}", "{{ x.o.00 }}",
    "{% if v.2 is defined %}{{ v.2 }}{% endif %}", "{{ v | join(sep=', ') }}", "{{ v | join }}", "{{ v | first }}", "{{ v | last | upper }}",
    "{{ o.v | join(sep='\\\\n') | length }}", "{{ x.o | last }}",
]  # fmt: skip
numbers = st.integers(-3, 3) | st.sampled_from([2**63 - 1, 2**63, 1.5, 1e300])
simple = st.none() | st.booleans() | numbers | st.sampled_from(["", "a", "Ünï", '"\\', "a,b", "1"])


def containers(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("nox01"), inner, max_size=3)


items = simple | containers(simple | containers(simple))
loops = st.builds(
    "{{% set k = name %}}[{{% for x in {} %}}{}{}{}{{% endfor %}}]{{{{ name }}}}".format,
    st.sampled_from(["v", "v", "v", "o.v", "v | default(value=[])", "v | slice(end=2)"]),
    st.sampled_from(PIECES),
    st.sampled_from(PIECES),
    st.sampled_from(["", "{% else %}none {{ name }}"]),
)
inputs = st.fixed_dictionaries(
    {"name": st.sampled_from(["Ann", "", 7, None])},
    optional={
        "v": st.lists(items, max_size=4) | items,
        "o": st.fixed_dictionaries({"v": st.lists(items, max_size=3)}),
    },
)


@given(loops | st.sampled_from(PIECES), st.lists(inputs, min_size=1, max_size=6))
def test_loops_and_items_print_by_columns_what_they_print_row_by_row(
    text: str, contexts: list[dict[str, Any]]
) -> None:
    template = Template.parse(text)
    assert by_columns(template, contexts) == by_rows(template, contexts)


def test_the_body_of_a_loop_is_rendered_once_for_all_items(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flowdsl.expressions.templates.vectorized.renderer.render_rows", None)
    contexts = [{"v": [{"n": f"{row}-{at}"} for at in range(row % 4)]} for row in range(40)]
    template = Template.parse(
        "{% for x in v %}{{ loop.index }}: {{ x.n | upper }}; {% else %}none{% endfor %}"
    )
    expected = ["".join(f"{at + 1}: {row}-{at}; " for at in range(row % 4)) or "none" for row in range(40)]
    assert by_columns(template, contexts) == expected


@pytest.mark.parametrize(("count", "length"), [(30_000, 0), (2_000, 3_000)])
def test_a_loop_of_too_many_steps_fails_by_columns_too(count: int, length: int) -> None:
    contexts = [{"v": ["a" * length] * count, "name": ""}, {"v": ["b"], "name": "Ann"}]
    template = Template.parse("{% for x in v %}{{ x | upper | lower }}{{ name }}{% endfor %}")
    found = by_columns(template, contexts)
    assert found == by_rows(template, contexts)
    assert isinstance(found[0], Failed)
    assert found[1] == "bAnn"


def test_one_value_that_fits_no_column_leaves_the_others_to_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    by_row: list[Any] = []

    def counted(*given: Any) -> str:
        by_row.append(given)
        return render_rows(*given)

    monkeypatch.setattr("flowdsl.expressions.templates.vectorized.renderer.render_rows", counted)
    contexts: list[dict[str, Any]] = [{"n": row} for row in range(1_600)]
    contexts[900]["n"] = 2**63
    template = Template.parse("{{ n }}{% if n > 1599 %}!{% endif %}")
    assert by_columns(template, contexts) == by_rows(template, contexts)
    assert len(by_row) == 100


def test_nested_loops_blocks_and_macros_have_no_column_form_and_render_distinct_inputs_once() -> None:
    asked: list[Any] = []

    class Counting(PythonRows):
        def column(self, path: tuple[str, ...]) -> Column:
            asked.append(path)
            return super().column(path)

    template = Template.parse("{% for t in tags %}{% set a = t %}{{ a }},{% endfor %}{{ name }}")
    assert not template.has_column_form
    rows = Counting([{"tags": ["x", "y"], "name": "a"}, {"tags": [], "name": "b"}] * 3)
    assert template.render(rows)[0].to_list() == ["x,y,a", "b"] * 3
    assert sorted(set(asked)) == [("name",), ("tags",)]
    assert Template.parse("{{ a }}{% if b %}{% set c = 1 %}{% endif %}").has_column_form
    assert not Template.parse("{{ a[b] }}").has_column_form


def test_missing_is_not_null_in_either_form() -> None:
    contexts: list[dict[str, Any]] = [{"a": None}, {}, {"a": 0}]
    template = Template.parse("{{ a is defined }}{{ a | default(value='d') }}{{ not a }}")
    assert (
        by_columns(template, contexts)
        == by_rows(template, contexts)
        == ["truedtrue", "falsedtrue", "true0true"]
    )
    assert MISSING is not None
