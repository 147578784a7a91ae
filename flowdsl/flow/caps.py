"""Caps of sinks as functions take them: a mapping, and what a project says of its sinks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from flowdsl.errors import FlowError, did_you_mean
from flowdsl.flow.plan import Caps
from flowdsl.flow.spec import FlowSpec
from flowdsl.operators.cap import Cap
from flowdsl.text import short_repr
from flowdsl.values.paths import path_text


def caps_of(given: object, flows: Sequence[FlowSpec], caps: object, error: type[FlowError]) -> Caps:
    """Return the caps of the sinks of flows: those of the project that was given, and `caps`, which come first.

    Raises
    ------
    FlowError
        `error`, if `caps` are no caps of these sinks
    """
    if caps is not None and not isinstance(caps, Mapping):
        raise error(f"caps are a {type(caps).__name__}", allowed="a mapping from sinks to fd.Cap(…)")
    names = dict.fromkeys(sink for flow in flows for sink in flow.sinks)
    found: dict[str, Any] = {
        sink.name: getattr(sink, "cap", None)
        for sink in (() if isinstance(given, FlowSpec) else getattr(given, "sinks", ()))
        if sink.name in names
    }
    for name, cap in (caps or {}).items():
        if name not in names:
            raise error(
                f"caps: no flow delivers to {short_repr(name)}",
                allowed=", ".join(names),
                hint=did_you_mean(name, names),
            )
        if cap is not None:
            check_sink_cap(cap, f"caps[{name!r}]", error)
        found[name] = cap
    chosen = tuple((name, cap) for name, cap in sorted(found.items()) if cap is not None)
    if chosen and flows[0].rules.name != "flowdsl":
        raise error("production has no caps of sinks", hint="leave caps or target out")
    return chosen


def check_sink_cap(cap: object, what: str, error: type[FlowError]) -> Cap:
    """Return a cap that a sink may have; it counts by recipient, in one time zone."""
    if not isinstance(cap, Cap):
        raise error(f"{what} is {short_repr(cap, 200)}", allowed="fd.Cap(3, per='day', tz='Europe/Berlin')")
    if cap.key:
        raise error(f"{what} has a key: the cap of a sink counts by recipient", hint="leave key out")
    if isinstance(cap.tz, tuple):
        raise error(
            f"{what} has its tz in {path_text(cap.tz)!r}: the cap of a sink counts over all flows",
            allowed="the name of a time zone, such as 'Europe/Berlin'",
            hint="the step .cap(…, tz=…) reads a path in its own flow",
        )
    return cap
