"""Validation of the arguments of `Runtime`; each error names what is allowed."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

from flowdsl.arguments import is_text_in, seconds_of
from flowdsl.engine.state import State
from flowdsl.errors import BuildError, LiveError
from flowdsl.expressions.durations import parse_duration
from flowdsl.flow.spec import FlowSpec
from flowdsl.graph.snapshot import EntityGraph
from flowdsl.live.bootstrap import DISCARD, KEEP
from flowdsl.log import ParquetEventLog
from flowdsl.log.base import EventLog
from flowdsl.log.fsync import make_folder
from flowdsl.paths import path_of
from flowdsl.sinks.base import Sink, missing_sink
from flowdsl.sinks.frame import Frame
from flowdsl.text import short_repr, type_text


def check_log(log: Any) -> EventLog:
    """Return a log that can be followed; a folder is opened."""
    if isinstance(log, (str, os.PathLike)):
        if not path_of(log).exists():
            raise LiveError(
                f"there is no log {str(log)!r}",
                allowed="a ParquetEventLog, its folder, or a MemoryEventLog",
                hint="ParquetEventLog(folder) is a log that is still to be written: give that",
            )
        log = ParquetEventLog(log)
    if not isinstance(log, EventLog):
        raise LiveError(
            f"{type(log).__name__} cannot be followed",
            allowed="a ParquetEventLog, its folder, or a MemoryEventLog",
            hint="log.append(frame) makes a log of a frame",
        )
    if isinstance(log, ParquetEventLog) and log.read_only:
        raise LiveError(
            "plain Parquet files do not grow", hint="append them to a ParquetEventLog, or replay them"
        )
    return log


def check_graph(graph: Any) -> EntityGraph | None:
    """Return a graph, or None."""
    if graph is not None and not isinstance(graph, EntityGraph):
        raise LiveError(f"graph is {type_text(graph)}", allowed="an EntityGraph, or None")
    return graph


def check_consumer(name: object) -> str:
    """Return the name of a consumer."""
    if not isinstance(name, str) or not name:
        raise LiveError(
            f"a consumer is named by text, not {short_repr(name, 200)}", hint="like 'flow-runtime'"
        )
    return name


def check_clock(clock: Any) -> Callable[[], dt.datetime]:
    """Return a function that tells the time; the system clock for None."""
    if clock is None:
        return lambda: dt.datetime.now(dt.UTC)
    try:
        now = clock() if callable(clock) else None
    # a user's function may raise anything
    except Exception as error:
        raise LiveError(
            f"clock() raised {type(error).__name__}: {error}",
            allowed="a function that gives a datetime with a time zone, or None",
        ) from error
    if not isinstance(now, dt.datetime) or now.utcoffset() is None:
        raise LiveError(
            f"clock is {short_repr(clock)}" if now is None else f"clock() gives {short_repr(now)}",
            allowed="a function that gives a datetime with a time zone, or None",
        )
    return cast("Callable[[], dt.datetime]", clock)


def check_seconds(seconds: object, name: str) -> float:
    """Return a number of seconds, at least 0."""
    return seconds_of(seconds, name, error=LiveError)


def check_ahead(most: Any) -> int | None:
    """Return how far ahead of the clock an event may be dated, in µs; None for any distance."""
    if most is None:
        return None
    try:
        return parse_duration(most).microseconds
    except BuildError as error:
        raise LiveError(
            f"max_ahead is {short_repr(most)}",
            allowed="a duration like '5m', or None: every event moves the clock",
            hint=error.hint,
        ) from error


def check_state(state: Any) -> State | str | None:
    """Return a state, `"keep"`, `"discard"`, or None."""
    if state is None or isinstance(state, State):
        return state
    if is_text_in(state, (KEEP, DISCARD)):
        return state
    raise LiveError(f"state is {short_repr(state)}", allowed='result.state of a replay, "keep" or "discard"')


def check_sinks(
    given: Any, flows: Any, sinks: Mapping[str, Any] | None, folder: Path | None
) -> dict[str, Sink]:
    """Return the sinks that the flows name, ready to be opened."""
    names = dict.fromkeys(sink for flow in flows for sink in flow.sinks)
    if sinks is None and not isinstance(given, FlowSpec) and getattr(given, "sinks", None):
        # a project that says what its sinks are
        sinks = given.build_sinks(None if folder is None else kept_in(folder))
    if sinks is None:
        return {name: Frame() for name in names}
    if not isinstance(sinks, Mapping):
        raise LiveError(f"sinks are {type_text(sinks)}", allowed="a mapping from names to sinks")
    found: dict[str, Sink] = {}
    for flow in flows:
        for name in flow.sinks:
            if name not in sinks:
                raise missing_sink(name, flow.name, sinks, LiveError)
            found[name] = _sink_of(name, sinks[name])
    return found


def _sink_of(name: str, given: Any) -> Sink:
    from flowdsl.sinks.custom import Custom

    if isinstance(given, Sink):
        return given
    if not callable(given) or isinstance(given, type):
        raise LiveError(
            f"the sink {name!r} is {short_repr(given)}",
            allowed="a sink, or a function of a delivery",
            hint=f"{given.__name__}(…) makes one" if isinstance(given, type) else None,
        )
    return Custom(given)


def kept_in(folder: Path) -> Path:
    """Return the folder for the files of sinks, next to the log in `folder`."""
    path = folder / "sinks"
    make_folder(path)
    return path
