"""Filters of templates: how they are declared, and how those run that have no form for columns."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from event_tables import failures, log_of, sent
from hypothesis import given
from hypothesis import strategies as st

import flowdsl as fd
from flowdsl.expressions.templates.failures import RenderError
from flowdsl.expressions.templates.filters import FILTERS
from flowdsl.expressions.templates.filters.arguments import Arguments
from tests.plugins import install

SOURCE = """
from flowdsl.expressions.templates.filters import Filter

calls = []


def initials(value, args):
    calls.append(value)
    if value == "odd":
        return {1}
    return args.text("sep", "").join(word[0] for word in value.split())


INITIALS = Filter("initials", initials, optional=("sep",))
"""
FLOW_YAML = """
name: f
trigger: {kind: link.created}
pipeline:
  - map: {template: {who: "{{ metadata.name | initials }}"}}
  - deliver: {sink: s}
"""


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What `initials` is called with, a filter of another package that has no form for columns."""
    install(tmp_path, monkeypatch, "acme-initials", SOURCE, {"flowdsl.filters:initials": "INITIALS"})
    assert FILTERS["initials"].portable is False
    found: list[Any] = sys.modules["acme_initials"].calls
    return found


def flow(text: str) -> fd.Flow:
    return fd.on("link.created").map(who=text).deliver("s")


def replayed(text: str, names: list[str]) -> fd.Result:
    rows = "".join(f'\n | {number} | {{"name": {name}}} |' for number, name in enumerate(names))
    return fd.replay(flow(text), log_of("| at | data |" + rows))


@contextmanager
def called(name: str) -> Iterator[list[Any]]:
    """The values that a filter is called with meanwhile."""
    declared, seen = FILTERS[name], []
    run = declared.run
    assert run is not None
    object.__setattr__(declared, "run", lambda value, args: (seen.append(value), run(value, args))[1])
    try:
        yield seen
    finally:
        object.__setattr__(declared, "run", run)


@pytest.mark.parametrize(
    "text", ["{{ metadata.name | initials }}", "{{ metadata.name | initials(sep='-') }}"]
)
def test_a_filter_without_a_form_for_columns_is_called_once_for_each_distinct_value(
    calls: list[Any], text: str
) -> None:
    result = replayed(text, ['"Ann Bell"', '"Cy Dee"'] * 100)
    between = "-" if "sep" in text else ""
    assert [who for _, who in sent(result, "who")] == [f"A{between}B", f"C{between}D"] * 100
    assert sorted(calls) == ["Ann Bell", "Cy Dee"]


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("slugify", 3),
        ("urlencode", 3),
        ("urlencode_strict", 3),
        ("title", 3),
        ("striptags", 0),
        ("spaceless", 0),
    ],
)
def test_so_are_those_of_tera(name: str, asked: int) -> None:
    with called(name) as seen:
        replayed(f"{{{{ metadata.name | {name} }}}}", ['"an \\u00e4 a"', '"b"', '"c c"'] * 50)
    assert len(seen) == asked


TIMES = st.from_regex(
    r"(1969|20[0-9][0-9])-(0[1-9]|1[0-3])-(0[1-9]|3[01])[T ]([01][0-9]|2[0-4])"
    r":[0-6][0-9]:(00|59|60)(\.[0-9]{1,9})?(Z|[+-](00|05|14):(00|30|59))?",
    fullmatch=True,
)
FORMATS = [
    "%Y-%m-%d",
    "%d.%m.%Y %H:%M",
    "%s",
    "%T",
    "%j %U %V",
    "%I %P %A",
    "%c",
    "%+",
    "%H %z",
    "%B %:z %3f",
]


@given(
    times=st.lists(TIMES | st.sampled_from(["", "today", "2026-03-01"]), min_size=1, max_size=8),
    pattern=st.sampled_from(FORMATS),
    zone=st.sampled_from([None, "Asia/Kathmandu", "Europe/Lisbon"]),
)
def test_dates_of_a_column_are_those_of_each_time(times: list[str], pattern: str, zone: str | None) -> None:
    given_zone = {} if zone is None else {"timezone": zone}
    arguments = Arguments("date", {"format": pattern, **given_zone})
    written = "".join(f", {name}='{value}'" for name, value in given_zone.items())
    result = replayed(
        f"{{{{ metadata.name | date(format='{pattern}'{written}) }}}}", [f'"{time}"' for time in times]
    )
    expected, wrong = [], []
    for number, time in enumerate(times):
        try:
            expected.append((number, FILTERS["date"].apply(time, arguments)))
        except RenderError:
            wrong.append((number + 1, 0))
    assert sent(result, "who") == expected
    assert [where[:2] for where in failures(result)] == wrong


def test_times_of_the_same_minute_are_formatted_once_where_seconds_are_not_shown() -> None:
    times = [f'"2026-03-01T09:{number // 60:02}:{number % 60:02}Z"' for number in range(600)]
    with called("date") as seen:
        result = replayed("{{ metadata.name | date(format='%H:%M') }}", times)
    assert [who for _, who in sent(result, "who")] == [f"09:{number // 60:02}" for number in range(600)]
    assert len(seen) == 10


def test_what_it_raises_is_a_failure_of_the_event(calls: list[Any]) -> None:
    result = replayed("{{ metadata.name | initials }}", ["7", '"Ann Bell"', '"odd"'])
    assert failures(result) == [
        (1, 0, "`initials` raised AttributeError: 'int' object has no attribute 'split'"),
        (3, 0, "`initials` raised TypeError: Object of type set is not JSON serializable"),
    ]
    assert sent(result, "who") == [(1, "AB")]


def test_its_arguments_and_its_name_are_checked_when_the_flow_is_built(calls: list[Any]) -> None:
    with pytest.raises(fd.TemplateError, match="`initials` has no argument `step`"):
        flow("{{ source_id | initials(step=1) }}")
    with pytest.raises(fd.TemplateError, match="unknown filter `initial`") as refused:
        flow("{{ source_id | initial }}")
    assert "initials" in str(refused.value)


def test_production_has_none_of_another_package(calls: list[Any]) -> None:
    written = flow("{{ metadata.name | initials }}")
    with pytest.raises(fd.ExportError, match="who: production's Tera has no filter `initials`"):
        written.to_yaml()
    assert ("not-portable", 0) in [(found.code, found.step) for found in written.check(target="this-rs")]
    there = fd.load(FLOW_YAML, target="this-rs")
    here = fd.load(FLOW_YAML)
    log = log_of('| at | data |\n | 0 | {"name": "Ann Bell"} |')
    assert sent(fd.replay(here, log), "who") == [(0, "AB")]
    assert "AB" not in fd.replay(there, log, target="this-rs")["s"].to_csv()
