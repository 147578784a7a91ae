"""Spans of OpenTelemetry for batches and deliveries, where `opentelemetry-api` is installed; nothing where it is not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class TraceSpan:
    """A span, or nothing."""

    def __init__(self, span: Any = None) -> None:
        self._span = span

    def set(self, **attributes: Any) -> None:
        """Say more of it."""
        if self._span is not None:
            for name, value in attributes.items():
                self._span.set_attribute(f"flowdsl.{name}", value)


class Tracer:
    """Makes spans named like `flowdsl.batch`, with attributes named like `flowdsl.events`."""

    def __init__(self) -> None:
        self._tracer: Any = None
        try:
            from opentelemetry import trace
        except ImportError:
            return
        self._tracer = trace.get_tracer("flowdsl")

    @contextmanager
    def span(self, name: str, **attributes: Any) -> Iterator[TraceSpan]:
        """A span around what is done within."""
        if self._tracer is None:
            yield TraceSpan()
            return
        named = {f"flowdsl.{key}": value for key, value in attributes.items()}
        with self._tracer.start_as_current_span(name, attributes=named) as span:
            yield TraceSpan(span)
