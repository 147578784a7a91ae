"""Options of a replay, validated, and kept so that a part of it can be run again."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeGuard, get_args

import numpy as np

from flowdsl.arguments import choice_of, is_integer
from flowdsl.engine.crashes import Stopped
from flowdsl.engine.range import ReplayRange
from flowdsl.engine.recipient_filter import RecipientFilter
from flowdsl.engine.state import State
from flowdsl.errors import BuildError, ReplayError
from flowdsl.expressions.durations import parse_duration
from flowdsl.flow.caps import caps_of
from flowdsl.flow.inputs import FlowLike, as_flows
from flowdsl.flow.plan import Caps
from flowdsl.flow.sink_cap import Cap
from flowdsl.flow.spec import FlowSpec
from flowdsl.frames import FrameLike, column_values, is_frame, to_polars
from flowdsl.graph.snapshot import EntityGraph
from flowdsl.log import EventSource, open_log
from flowdsl.log.future_events import AheadOfNext
from flowdsl.log.source import LogLike
from flowdsl.log.uuids import NormalizedUuids
from flowdsl.moments import to_micros
from flowdsl.production.targets import by_rules
from flowdsl.rules import AsOf, Target, WindowsAtEnd, rules_of
from flowdsl.sinks.base import Sink, SinkLike, missing_sink
from flowdsl.text import short_repr, type_text
from flowdsl.values.orders import distinct


@dataclass(frozen=True)
class Options:
    """Validated options of a replay, from which a part of it can be run again."""

    flows: tuple[FlowSpec, ...]
    source: EventSource
    graph: EntityGraph | None
    span: ReplayRange
    state: State | None
    open_windows: WindowsAtEnd
    as_of: AsOf
    chunk_size: int | None
    gates: Mapping[str, RecipientFilter] = field(default_factory=dict)
    caps: Caps = ()
    stopped: Stopped | None = None
    """Where production stopped in it, once that is known."""

    @property
    def together(self) -> bool:
        """True if the flows must run together: they share caps, or the state of an earlier replay."""
        return self.state is not None or bool(self.caps)


def options_of(  # noqa: PLR0913 -- those of `replay`
    flows: FlowLike,
    log: LogLike,
    graph: EntityGraph | None = None,
    *,
    start: int | dt.datetime | str | None = None,
    stop: int | dt.datetime | str | None = None,
    target: Target | None = None,
    sinks: Mapping[str, SinkLike] | None = None,
    caps: Mapping[str, Cap] | None = None,
    open_windows: WindowsAtEnd = "flush",
    state: State | None = None,
    only: FrameLike | Iterable[int] | None = None,
    as_of: AsOf = "event",
    chunk_size: int | None = None,
    max_ahead_of_next: str | dt.timedelta | None = None,
) -> Options:
    """Validate the options of `replay`"""
    choice_of(open_windows, "open_windows", get_args(WindowsAtEnd), error=ReplayError)
    choice_of(as_of, "as_of", get_args(AsOf), error=ReplayError)
    check_graph(graph)
    _check_chunk_size(chunk_size)
    rules = rules_of(target)
    chosen = by_rules(as_flows(flows), rules)
    _check_sinks(chosen, sinks)
    source = open_source(log, max_ahead_of_next)
    return Options(
        chosen,
        NormalizedUuids(source) if rules.uuids else source,
        graph,
        _span(start, stop, only),
        state,
        open_windows,
        as_of,
        chunk_size,
        {
            name: sink
            for name, sink in (sinks or {}).items()
            if isinstance(sink, Sink) and sink.keeps_preferences
        },
        caps_of(flows, chosen, caps, ReplayError),
    )


def open_source(log: LogLike, max_ahead_of_next: str | dt.timedelta | None = None) -> EventSource:
    """Open a log for a replay, with `max_ahead_of_next` as in `replay`"""
    source = open_log(log)
    if max_ahead_of_next is None:
        return source
    return AheadOfNext(source, _duration("max_ahead_of_next", max_ahead_of_next))


def whole_log(flow: FlowSpec, log: LogLike, graph: EntityGraph | None = None) -> Options:
    """Return the options of a replay of one flow over the whole log, with the defaults of `replay`"""
    check_graph(graph)
    return Options(
        by_rules((flow,), rules_of(None)), open_log(log), graph, ReplayRange(), None, "flush", "event", None
    )


def _span(start: Any, stop: Any, only: Any) -> ReplayRange:
    first, first_time = _position("start", start)
    last, last_time = _position("stop", stop)
    return ReplayRange(first, last, first_time, last_time, None if only is None else _only(only))


def _position(name: str, value: Any) -> tuple[int | None, int | None]:
    if value is None:
        return None, None
    if _is_whole(value):
        return int(value), None
    moment = value
    if isinstance(value, str):
        try:
            moment = dt.datetime.fromisoformat(value)
        except ValueError:
            moment = None
    if isinstance(moment, dt.datetime) and moment == moment:
        moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=dt.UTC)
        return None, to_micros(moment)
    raise ReplayError(
        f"{name}={short_repr(value, 200)} is no place in a log",
        allowed="a sequence number, a datetime, or text such as '2026-01-31T12:00:00Z'",
    )


def _only(only: Any) -> Any:
    allowed = "a frame with seq_no, or a list of sequence numbers"
    alone = column_values(only)
    if alone is not None:
        only = alone
    elif is_frame(only):
        only = _seq_nos(to_polars(only, "only"), allowed)
    if not isinstance(only, Iterable) or isinstance(only, (str, bytes, Mapping)):
        raise ReplayError(f"only is {type_text(only)}", allowed=allowed)
    numbers = list(only)
    wrong = [number for number in numbers if not _is_whole(number)]
    if wrong:
        raise ReplayError(
            f"only names {short_repr(wrong[0])}, which is not a sequence number", allowed=allowed
        )
    return distinct(np.array([n for n in numbers if abs(n) < 1 << 63], np.int64))


def _seq_nos(frame: Any, allowed: str) -> list[int]:
    if "seq_no" not in frame.columns:
        raise ReplayError("only has no column 'seq_no'", allowed=allowed)
    numbers: list[int] = frame["seq_no"].drop_nulls().to_list()
    return numbers


def _is_whole(number: object) -> TypeGuard[int]:
    return isinstance(number, (int, np.integer)) and not isinstance(number, bool)


def _duration(name: str, value: object) -> int:
    """Parse a duration into microseconds."""
    try:
        return parse_duration(value).microseconds
    except BuildError as error:
        raise ReplayError(
            f"{name} is {short_repr(value)}", allowed="a duration like '1h', or None", hint=error.hint
        ) from error


def check_graph(graph: object) -> None:
    """Raise an error for anything but a graph or None."""
    if graph is not None and not isinstance(graph, EntityGraph):
        raise ReplayError(f"graph is {type_text(graph)}", allowed="an EntityGraph, or None")


def _check_chunk_size(size: object) -> None:
    if size is None or (is_integer(size) and size > 0):
        return
    raise ReplayError(f"chunk_size is {short_repr(size)}", allowed="a whole number of at least 1, or None")


def _check_sinks(flows: Sequence[FlowSpec], sinks: Mapping[str, SinkLike] | None) -> None:
    if sinks is None:
        return
    if not isinstance(sinks, Mapping):
        raise ReplayError(f"sinks are {type_text(sinks)}", allowed="a mapping from names to sinks")
    for flow in flows:
        for sink in flow.sinks:
            if sink not in sinks:
                raise missing_sink(sink, flow.name, sinks, ReplayError)
