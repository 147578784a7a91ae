"""Tests of flows as values: the graph, the events and the expectations."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import chain
from typing import Any, Final, Self

from flowdsl.errors import DataError, LoadError
from flowdsl.expressions.durations import parse_duration
from flowdsl.production.emitter import block_lines, has_parts, indent, inline
from flowdsl.production.nodes import read_mapping
from flowdsl.production.test_loader import read_test
from flowdsl.production.test_schema import START
from flowdsl.rules import Target, WindowsAtEnd
from flowdsl.text import short_repr

Entry = Mapping[str, Any]
WIDTH: Final = 100
# nesting of a test: the list, the test, its parts
_OPEN: Final = 2
EXPECTATIONS: Final = ("deliveries", "drops", "failures")


@dataclass(frozen=True, repr=False, kw_only=True)
class FlowTestSpec:
    """A test of flows as data; `flowdsl.testing.FlowTest` adds `run` and `check`."""

    name: str
    events: Sequence[Any]
    deliveries: Sequence[Entry] = ()
    drops: Sequence[Entry] | None = None
    failures: Sequence[Entry] = ()
    description: str | None = None
    flows: Sequence[str] | None = None
    target: Target | None = None
    open_windows: WindowsAtEnd = "flush"
    graph: Mapping[str, Any] | None = None
    start: str = START

    def __post_init__(self) -> None:
        given = {f.name: getattr(self, f.name) for f in fields(self)}
        if not isinstance(self.events, Iterable) or isinstance(self.events, (str, bytes)):
            raise LoadError([DataError(f"events are {short_repr(self.events)}", allowed="a list of events")])
        given["events"] = list(map(_event, self.events))
        problems: list[Any] = []
        try:
            plain = read_test(read_mapping(_to_plain(given)), problems)
        except RecursionError:
            raise LoadError([DataError("a test holds itself, or is nested too deep")]) from None
        if problems:
            raise LoadError(problems)
        for name, value in plain.items():
            object.__setattr__(self, name, value)

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Self:
        """Build a test from an entry of `tests:` in YAML.

        Parameters
        ----------
        given
            The mapping.

        Returns
        -------
        FlowTest
            The test.

        Raises
        ------
        LoadError
            If a field is unknown or not valid.

        Examples
        --------
        >>> from flowdsl.testing import FlowTest
        >>> FlowTest.of({"name": "nothing happens", "events": []})
        <FlowTest 'nothing happens': 0 events>
        """
        problems: list[Any] = []
        plain = read_test(read_mapping(given), problems)
        if problems:
            raise LoadError(problems)
        return cls(**plain)

    def to_dict(self) -> dict[str, Any]:
        """Return the test as an entry of `tests:` in YAML, without defaults.

        Returns
        -------
        dict
            The mapping.

        Examples
        --------
        >>> from flowdsl.testing import FlowTest
        >>> FlowTest(name="nothing happens", events=[]).to_dict()
        {'name': 'nothing happens', 'events': [], 'deliveries': []}
        """
        order = (
            "name",
            "description",
            "flows",
            "target",
            "open_windows",
            "graph",
            "start",
            "events",
            *EXPECTATIONS,
        )
        silent = {
            field.name: _to_plain(field.default) for field in fields(self) if field.name != "deliveries"
        }
        given = {name: _to_plain(getattr(self, name)) for name in order}
        return {name: value for name, value in given.items() if name == "deliveries" or value != silent[name]}

    def to_yaml(self) -> str:
        """Return the test as YAML text to be put below `tests:`.

        Returns
        -------
        str
            The text.

        Examples
        --------
        >>> from flowdsl.testing import FlowTest
        >>> print(FlowTest(name="nothing comes of nothing", events=[]).to_yaml())
        - name: nothing comes of nothing
          events: []
          deliveries: []
        <BLANKLINE>
        """
        return "\n".join(_lines([self.to_dict()])) + "\n"

    def __str__(self) -> str:
        return self.name

    def __repr__(self) -> str:
        return f"<FlowTest {self.name!r}: {len(self.events)} events>"


def _event(given: Any) -> Any:
    """Convert an event from any form accepted in Python to the form of tests."""
    if isinstance(given, tuple) and len(given) == 2 and isinstance(given[1], Mapping):
        return {"at": _at(given[0]), **_event(given[1])}
    if not isinstance(given, Mapping):
        return given
    event = dict(given)
    if isinstance(event.get("event"), Mapping):
        around = {"at": event.get("timestamp"), "id": event.get("id")}
        event = {**{key: value for key, value in around.items() if value is not None}, **event["event"]}
    if "action" in event:
        event["kind"] = f"{event['kind']}.{event.pop('action')}"
    if "at" in event:
        event["at"] = _at(event["at"])
    return event


def _at(value: Any) -> Any:
    if isinstance(value, dt.datetime):
        return value.isoformat()
    return parse_duration(value).text if isinstance(value, dt.timedelta) else value


def _to_plain(value: Any) -> Any:
    """Convert mappings and sequences to dicts and lists."""
    if isinstance(value, Mapping):
        return {key: _to_plain(inner) for key, inner in value.items()}
    return [_to_plain(inner) for inner in value] if isinstance(value, (list, tuple)) else value


def _lines(value: Any, depth: int = 0) -> list[str]:
    """Format YAML with small values of a test on one line."""
    if not has_parts(value):
        return list(block_lines(value))
    line = inline(value)
    if (depth > _OPEN or _is_list_of_words(value)) and len(line) <= WIDTH and _flat(value):
        return [line]
    if isinstance(value, dict):
        parts = (_entry_lines(key, inner, depth + 1) for key, inner in value.items())
    else:
        parts = (_item_lines(inner, depth + 1) for inner in value)
    return list(chain.from_iterable(parts))


def _entry_lines(key: str, value: Any, depth: int) -> Iterator[str]:
    first, *rest = _lines(value, depth)
    if has_parts(value) and not first.startswith(("{", "[")):
        yield f"{inline(key)}:"
        yield from indent([first, *rest])
    else:
        yield f"{inline(key)}: {first}"
        yield from indent(rest)


def _item_lines(value: Any, depth: int) -> Iterator[str]:
    first, *rest = _lines(value, depth)
    yield f"- {first}"
    yield from indent(rest)


def _is_list_of_words(value: Any) -> bool:
    return isinstance(value, list) and not any(isinstance(one, (dict, list)) for one in value)


def _flat(value: Any) -> bool:
    """Return True if no text in a value has several lines."""
    if isinstance(value, dict):
        return all(map(_flat, value.values()))
    return all(map(_flat, value)) if isinstance(value, list) else "\n" not in str(value)
