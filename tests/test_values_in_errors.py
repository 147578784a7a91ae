"""Values of which Python has no text, as numbers of more than 4,300 digits, are told shortly in errors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import flowdsl as fd
from flowdsl import on, sinks
from flowdsl.errors import FlowError
from flowdsl.text import short_repr

HUGE = 10**5000
like = on("link.created")
told = like.map(title="x").deliver("s")
EVENT = {**fd.link_created("likes", "a", "b"), "timestamp": "2026-01-01T00:00:00Z"}


class Mute:
    """An object that cannot be shown."""

    def __repr__(self) -> str:
        raise RuntimeError("no")


PLACES: dict[str, Callable[[Any, Path], object]] = {
    "rate_limit": lambda value, _: like.rate_limit(value, per="1s"),
    "window": lambda value, _: like.batch("target_id", window=value),
    "strategy": lambda value, _: like.rate_limit(1, per="1s", strategy=value),
    "where": lambda value, _: like.where(value),
    "on": lambda value, _: on(value),
    "then": lambda value, _: like.then(value),
    "open_windows": lambda value, _: fd.replay(told, [EVENT], open_windows=value),
    "engine": lambda value, _: fd.replay(told, [EVENT], engine=value),
    "kind": lambda value, _: fd.replay(told, [{**EVENT, "kind": value}]),
    "explain": lambda value, _: fd.replay(told, [EVENT]).explain(value),
    "sink of a result": lambda value, _: fd.replay(told, [EVENT]).polars(value),
    "ack": lambda value, _: fd.MemoryEventLog().ack("a", value),
    "durability": lambda value, folder: fd.ParquetEventLog(folder, value),
    "seal_after": lambda value, folder: fd.ParquetEventLog(folder, seal_after=value),
    "folder": lambda value, _: fd.ParquetEventLog(value),
    "checkpoint_every": lambda value, _: fd.Runtime(told, fd.MemoryEventLog(), checkpoint_every=value),
    "consumer_name": lambda value, _: fd.Runtime(told, fd.MemoryEventLog(), consumer_name=value),
    "timeout": lambda value, _: sinks.Webhook("http://example.com", timeout=value),
    "keep": lambda value, _: sinks.InApp(keep=value),
    "operation": lambda value, _: sinks.Counter(operation=value),
    "time_unit": lambda value, _: fd.read_events([EVENT], time_unit=value),
    "time_format": lambda value, _: fd.read_events([EVENT], time_format=value),
    "kinds": lambda value, _: fd.read_events([EVENT], kinds={"a": value}),
    "field": lambda value, _: sinks.Counter(None, field=value),
}


@pytest.mark.parametrize("value", [HUGE, (HUGE,), Mute()], ids=["huge", "of huge", "mute"])
@pytest.mark.parametrize("place", PLACES)
def test_a_value_that_has_no_text_is_refused_with_a_typed_error(
    place: str, value: object, tmp_path: Path
) -> None:
    with pytest.raises(FlowError) as refused:
        PLACES[place](value, tmp_path)
    assert len(str(refused.value)) < 2000


def test_a_value_is_told_in_a_few_characters() -> None:
    assert short_repr(HUGE) == "<int of 16610 bits>"
    assert short_repr([HUGE]) == "<list that cannot be shown>"
    assert short_repr(Mute()) == "<Mute that cannot be shown>"
    assert short_repr("\ud800" * 100, 8) == repr("\ud800" * 100)[:8]
