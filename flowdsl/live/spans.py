"""OpenTelemetry spans of batches and deliveries; no-ops without `opentelemetry-api`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class TraceSpan:
    """Span, or a no-op."""

    def __init__(self, span: Any = None) -> None:
        self._span = span

    def set(self, **attributes: Any) -> None:
        """Set attributes."""
        if self._span is not None:
            for name, value in attributes.items():
                self._span.set_attribute(f"flowdsl.{name}", value)


class Tracer:
    """Maker of spans named like `flowdsl.batch`, with attributes named like `flowdsl.events`."""

    def __init__(self) -> None:
        self._tracer: Any = None
        try:
            from opentelemetry import trace
        except ImportError:
            return
        self._tracer = trace.get_tracer("flowdsl")

    @contextmanager
    def span(self, name: str, **attributes: Any) -> Iterator[TraceSpan]:
        """Open a span for a block of code."""
        if self._tracer is None:
            yield TraceSpan()
            return
        named = {f"flowdsl.{key}": value for key, value in attributes.items()}
        with self._tracer.start_as_current_span(name, attributes=named) as span:
            yield TraceSpan(span)
