"""sweep: how much comes out of a flow, for many settings of it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from flowdsl.comparison.comparison import Comparison
from flowdsl.comparison.grid import Variant, variants_of
from flowdsl.comparison.inputs import FlowPair, FlowResult
from flowdsl.errors import FlowError, ReplayError, did_you_mean
from flowdsl.expressions.durations import parse_duration
from flowdsl.flow.spec import FlowSpec
from flowdsl.frames import to_pandas
from flowdsl.progress import Progress, Tick, following
from flowdsl.replaying import replay
from flowdsl.results.result import Result
from flowdsl.rules import Target, WindowsAtEnd
from flowdsl.views.templates import render

if TYPE_CHECKING:
    import pandas as pd

    from flowdsl.charts.chart import Chart
    from flowdsl.graph.snapshot import EntityGraph

COUNTS: Final = ("dropped", "failed", "absorbed", "held")


@dataclass(frozen=True, repr=False)
class Sweep:
    """What came out for each variant of a flow: `table` has a row a variant, `result` is the replay of all of them.

    `sweep.compare("window=1m", "window=5m")` compares two of them delivery by delivery.
    """

    result: Result
    variants: tuple[Variant, ...]

    @property
    def table(self) -> pd.DataFrame:
        """A row a variant: its parameters, then what came of it.

        `deliveries` to all sinks, `recipients` that got any and how many each got (`each_p50`, `each_p95`, `each_max`),
        `delay_p50` and `delay_p95`, which windows and queues added, in seconds, and contexts `dropped`, `failed`,
        `absorbed` into batches, and `held` at the end.
        """
        return to_pandas(self.polars())

    def polars(self) -> pl.DataFrame:
        """The table as a Polars frame."""
        return self._table

    def flow(self, name: str) -> FlowSpec:
        """The flow of a variant, as it is named in the table."""
        return self.variants[self._number(name)].flow

    def compare(self, before: str, after: str) -> Comparison:
        """Two variants compared delivery by delivery."""
        one, other = (FlowResult(self.result, self._number(name)) for name in (before, after))
        return Comparison([FlowPair(one, other)])

    def plot(self, of: str | Sequence[str] = "deliveries") -> Chart:
        """How columns of the table depend on the first parameter, a line for each and for every setting of the others."""
        from flowdsl.charts.lines import line_chart

        names = [name for name, _ in self.variants[0].values]
        columns = [of] if isinstance(of, str) else list(of)
        for column in columns:
            if column not in self._table.columns or column in names:
                known = [name for name in self._table.columns if name not in names]
                raise ReplayError(
                    f"there is no column {column!r}",
                    allowed=", ".join(known),
                    hint=did_you_mean(str(column), known),
                )
        places = list(dict.fromkeys(dict(v.values)[names[0]] for v in self.variants))
        lines: dict[str, dict[Any, Any]] = {}
        for row, variant in zip(self._table.to_dicts(), self.variants, strict=True):
            (_, place), *others = variant.values
            said = ", ".join(f"{name}={value}" for name, value in others)
            for column in columns:
                name = ", ".join(
                    part for part in (column if len(columns) > 1 or not said else "", said) if part
                )
                lines.setdefault(name, {})[place] = row[column]
        return line_chart(
            [_span(place) for place in places],
            {name: [line.get(place) for place in places] for name, line in lines.items()},
            title=f"{' and '.join(columns)} by {names[0]}", x_label=names[0], y_label=" and ".join(columns),
        )  # fmt: skip

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        html = render(
            "comparison/sweep.html.j2",
            columns=self._table.columns,
            rows=self._table.rows(),
            parameters=len(self.variants[0].values),
            chart=self.plot() if len(self.variants) > 1 else None,
        )
        return {"text/plain": repr(self), "text/html": html}

    @cached_property
    def _table(self) -> pl.DataFrame:
        parameters = pl.DataFrame(
            {
                name: _column([dict(v.values)[name] for v in self.variants])
                for name, _ in self.variants[0].values
            }
        )
        with following(None, len(self.result), "sweep", "deliveries") as tick:
            sides = (FlowResult(self.result, number) for number in range(len(self.variants)))
            delivered = [_deliveries(side, tick) for side in sides]
        counted = [_counts(FlowResult(self.result, number)) for number in range(len(self.variants))]
        return pl.concat([parameters, pl.DataFrame(delivered), pl.DataFrame(counted)], how="horizontal")

    def _number(self, name: str) -> int:
        names = [variant.name for variant in self.variants]
        if name not in names:
            raise ReplayError(
                f"there is no variant {name!r}", allowed=", ".join(names), hint=did_you_mean(str(name), names)
            )
        return names.index(name)

    def __len__(self) -> int:
        """How many variants there are."""
        return len(self.variants)

    def __repr__(self) -> str:
        text: str = self.table.to_string(index=False)
        return text


def sweep(
    flow: FlowSpec | Mapping[str, FlowSpec],
    log: Any,
    graph: EntityGraph | None = None,
    *,
    start: int | dt.datetime | str | None = None,
    stop: int | dt.datetime | str | None = None,
    target: Target | None = None,
    open_windows: WindowsAtEnd = "flush",
    max_ahead_of_next: str | dt.timedelta | None = None,
    progress: Progress = None,
    **parameters: Iterable[Any],
) -> Sweep:
    """How much comes out of a flow for each value of some options, in one replay: what the variants have in common is
    done once.

    `parameters` are options of its steps with the values to try, such as `window=["1m", "5m"]`; where several steps have
    the option, the step comes before it (`batch_window`, `step_3_window`). Of several parameters every combination is
    run. A mapping from names to flows is taken too, without parameters. The rest is as for `replay`.

    >>> from flowdsl import MemoryEventLog, link_created, on, sweep
    >>> log = MemoryEventLog()
    >>> for minute in (0, 1, 3, 20):
    ...     _ = log.append(link_created("likes", "ann", "post"), timestamp=f"2026-01-01T00:{minute:02}:00Z")
    >>> digest = on("link.created").batch("target_id", window="1m").map(title="{{ batch.count }}").deliver("push")
    >>> sweep(digest, log, window=["1m", "2m", "1h"]).table[["window", "deliveries", "delay_p50"]].values.tolist()
    [['1m', 4, 60.0], ['2m', 3, 120.0], ['1h', 1, 2400.0]]
    """
    variants = _variants(flow, parameters)
    result = replay(
        [variant.flow for variant in variants], log, graph, start=start, stop=stop, target=target,
        open_windows=open_windows, max_ahead_of_next=max_ahead_of_next, progress=progress,
    )  # fmt: skip
    return Sweep(result, tuple(variants))


def _variants(
    flow: FlowSpec | Mapping[str, FlowSpec], parameters: Mapping[str, Iterable[Any]]
) -> list[Variant]:
    if isinstance(flow, Mapping):
        if parameters:
            raise ReplayError(
                "flows by name and parameters were both given", hint="give one flow, or no parameters"
            )
        return [Variant(one.named(name), (("flow", name),)) for name, one in flow.items()]
    if not isinstance(flow, FlowSpec):
        raise ReplayError(
            f"a {type(flow).__name__} is no flow", allowed="a flow, or a mapping from names to flows"
        )
    if not parameters:
        raise ReplayError(
            "there is nothing to sweep over", allowed="options of its steps, such as window=['1m', '5m']"
        )
    return variants_of(flow, parameters)


def _span(place: Any) -> Any:
    """A duration in text as what it is, so that it stands where it belongs."""
    try:
        return (
            dt.timedelta(microseconds=parse_duration(place).microseconds) if isinstance(place, str) else place
        )
    except FlowError:
        return place


def _column(values: list[Any]) -> pl.Series:
    """Parameters as they were given, where they are of one plain type; as text otherwise."""
    kinds = {type(value) for value in values}
    if kinds <= {int} or kinds <= {bool} or kinds <= {int, float} or kinds <= {dt.timedelta}:
        return pl.Series(values)
    return pl.Series([str(value) for value in values], dtype=pl.String)


def _deliveries(side: FlowResult, tick: Tick) -> dict[str, Any]:
    columns = ["recipient_id", "event_time", "delivered_at"]
    frames = [side.columns(sink, columns, tick) for sink in side.sinks]
    delivered = pl.concat(frames) if frames else pl.DataFrame(schema=dict.fromkeys(columns, pl.String))
    each = delivered["recipient_id"].drop_nulls().value_counts()["count"]
    delay = (
        (delivered["delivered_at"] - delivered["event_time"]).dt.total_microseconds()
        if frames
        else pl.Series([0])
    )
    said: dict[str, Any] = {"deliveries": delivered.height, "recipients": len(each)}
    for name, share in (("each_p50", 0.5), ("each_p95", 0.95), ("each_max", 1.0)):
        said[name] = None if not len(each) else int(each.quantile(share, "higher") or 0)
    for name, share in (("delay_p50", 0.5), ("delay_p95", 0.95)):
        said[name] = round((delay.quantile(share, "higher") or 0) / 1e6, 3) if delivered.height else None
    return said


def _counts(side: FlowResult) -> dict[str, Any]:
    return {name: sum(step[name] for step in side.steps) for name in COUNTS}
