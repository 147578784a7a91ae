"""Caps of sinks as functions take them: a mapping, and what a project says of its sinks."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Final

from flowdsl.errors import FlowError
from flowdsl.flow.plan import CappedSink, Caps
from flowdsl.flow.sink_cap import Cap
from flowdsl.flow.spec import FlowSpec
from flowdsl.text import short_repr, type_text

_WAY_OUT: Final = "leave caps or target out; caps={{{!r}: None}} leaves out a cap that YAML has"


def caps_of(given: object, flows: Sequence[FlowSpec], caps: object, error: type[FlowError]) -> Caps:
    """Return the caps of the sinks of flows: those of the project that was given, and `caps`, which come
    first.

    Raises
    ------
    FlowError
        `error`, if `caps` are not caps of these sinks
    """
    caps = {} if caps is None else caps
    if not isinstance(caps, Mapping):
        raise error(f"caps are {type_text(caps)}", allowed="a mapping from sinks to fd.Cap(…)")
    names = dict.fromkeys(sink for flow in flows for sink in flow.sinks)
    found = _project_caps(given, names)
    for name, cap in caps.items():
        _check(name, cap, names, error)
        found[name] = cap
    chosen = tuple(CappedSink(name, cap) for name, cap in sorted(found.items()) if cap is not None)
    if chosen and flows[0].rules.name != "flowdsl":
        raise error("production has no caps of sinks", hint=_WAY_OUT.format(chosen[0].sink))
    return chosen


def _project_caps(given: object, names: Collection[str]) -> dict[str, Cap | None]:
    sinks = () if isinstance(given, FlowSpec) else getattr(given, "sinks", ())
    return {sink.name: getattr(sink, "cap", None) for sink in sinks if sink.name in names}


def _check(name: object, cap: object, names: Collection[str], error: type[FlowError]) -> None:
    if name not in names:
        raise error.unknown(f"caps: no flow delivers to {short_repr(name)}", name, names)
    if cap is not None and not isinstance(cap, Cap):
        raise error(
            f"caps[{name!r}] is {short_repr(cap, 200)}", allowed="fd.Cap(3, per='day', tz='Europe/Berlin')"
        )


def count_apart(caps: Caps, flows: Sequence[FlowSpec]) -> Caps:
    """Return caps that count each of some flows by itself: they stand for one flow, in several forms."""
    return tuple(
        CappedSink(sink, cap, flow.name) for sink, cap, _ in caps for flow in flows if sink in flow.sinks
    )
