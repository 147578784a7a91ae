"""The deliveries of a flow for many settings of its options."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from flowdsl.arguments import one_of, texts_of
from flowdsl.comparison.grid import Variant, variants_of
from flowdsl.comparison.inputs import FlowResult
from flowdsl.comparison.variants import VariantsData, parameter_column
from flowdsl.errors import FlowError, ReplayError, did_you_mean
from flowdsl.expressions.durations import parse_duration
from flowdsl.flow.spec import FlowSpec
from flowdsl.frames import to_pandas
from flowdsl.progress import Tick, track
from flowdsl.views.templates import render

if TYPE_CHECKING:
    import pandas as pd

    from flowdsl.charts.chart import Chart

COUNTS: Final = ("dropped", "failed", "absorbed", "held")


@dataclass(frozen=True, repr=False)
class SweepData(VariantsData):
    """The outcome of each variant of a flow, and the replay of all of them."""

    @property
    def table(self) -> pd.DataFrame:
        """A row a variant: its parameters, then its outcome.

        `deliveries` counts those to all sinks, `recipients` the people with any, `each_p50`, `each_p95` and
        `each_max` the deliveries of each; `delay_p50` and `delay_p95` are the seconds that windows and queues
        added; `dropped`, `failed`, `absorbed` (into batches) and `held` (at the end) count contexts.
        """
        return to_pandas(self.polars())

    def polars(self) -> pl.DataFrame:
        """Return `table` as a Polars frame.

        Returns
        -------
        polars.DataFrame
            A row a variant.

        Examples
        --------
        >>> from flowdsl import MemoryEventLog, link_created, on, sweep
        >>> log = MemoryEventLog()
        >>> for minute in (0, 1, 3, 20):
        ...     like = link_created("likes", "ann", "post")
        ...     _ = log.append(like, timestamp=f"2026-01-01T00:{minute:02}:00Z")
        >>> digest = on("link.created").batch("target_id", window="1m").map(title="{{ batch.count }}")
        >>> digest = digest.deliver("push")
        >>> tried = sweep(digest, log, window=["1m", "1h"])
        >>> tried.polars()["deliveries"].to_list()
        [4, 1]
        """
        return self._table

    def plot(self, of: str | Sequence[str] = "deliveries") -> Chart:
        """Draw columns of the table over the first parameter.

        Parameters
        ----------
        of
            The column, or several. Each has a line for every combination of the other parameters.

        Returns
        -------
        Chart
            A line chart.

        Raises
        ------
        ReplayError
            If the table has no such column.

        Examples
        --------
        >>> from flowdsl import MemoryEventLog, link_created, on, sweep
        >>> log = MemoryEventLog()
        >>> for minute in (0, 1, 3, 20):
        ...     like = link_created("likes", "ann", "post")
        ...     _ = log.append(like, timestamp=f"2026-01-01T00:{minute:02}:00Z")
        >>> digest = on("link.created").batch("target_id", window="1m").map(title="{{ batch.count }}")
        >>> digest = digest.deliver("push")
        >>> tried = sweep(digest, log, window=["1m", "1h"])
        >>> print(tried.plot())
        deliveries by window
        window  deliveries
        1 min   4
        1 h     1
        """
        from flowdsl.charts.lines import line_chart

        columns = texts_of(of, "of", error=ReplayError)
        for column in columns:
            self._check_column(column)
        first = self.variants[0].values[0][0]
        places = list(dict.fromkeys(variant.values[0][1] for variant in self.variants))
        return line_chart(
            [_span(place) for place in places],
            {name: [line.get(place) for place in places] for name, line in self._lines(columns).items()},
            title=f"{' and '.join(columns)} by {first}",
            x_label=first,
            y_label=" and ".join(columns),
        )

    def _check_column(self, column: str) -> None:
        parameters = [name for name, _ in self.variants[0].values]
        known = [name for name in self._table.columns if name not in parameters]
        if column not in known:
            raise ReplayError(
                f"there is no column {column!r}",
                allowed=", ".join(known),
                hint=did_you_mean(column, known),
            )

    def _lines(self, columns: Sequence[str]) -> dict[str, dict[Any, Any]]:
        """Return, for each line of the plot, the values by the first parameter."""
        lines: dict[str, dict[Any, Any]] = {}
        for row, variant in zip(self._table.to_dicts(), self.variants, strict=True):
            (_, place), *others = variant.values
            setting = ", ".join(f"{name}={value}" for name, value in others)
            for column in columns:
                parts = [column, setting] if len(columns) > 1 else [setting or column]
                lines.setdefault(", ".join(filter(None, parts)), {})[place] = row[column]
        return lines

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
                name: parameter_column([dict(v.values)[name] for v in self.variants])
                for name, _ in self.variants[0].values
            }
        )
        with track(None, len(self.result), "sweep", "deliveries") as tick:
            sides = (FlowResult(self.result, number) for number in range(len(self.variants)))
            delivered = [_deliveries(side, tick) for side in sides]
        counted = [_counts(FlowResult(self.result, number)) for number in range(len(self.variants))]
        return pl.concat([parameters, pl.DataFrame(delivered), pl.DataFrame(counted)], how="horizontal")

    def __repr__(self) -> str:
        text: str = self.table.to_string(index=False)
        return text


def variants_to_try(
    flow: FlowSpec | Mapping[str, FlowSpec], parameters: Mapping[str, Iterable[Any]]
) -> list[Variant]:
    """Return the variants of a flow that parameters give; raise `ReplayError` if there are none."""
    if isinstance(flow, Mapping):
        if parameters:
            raise ReplayError(
                "flows by name and parameters were both given", hint="give one flow, or no parameters"
            )
        return [Variant(_checked(one).named(name), (("flow", name),)) for name, one in flow.items()]
    flow = _checked(flow)
    if not parameters:
        raise ReplayError(
            "there is nothing to sweep over", allowed="options of its steps, such as window=['1m', '5m']"
        )
    return variants_of(flow, parameters)


def _checked(flow: FlowSpec) -> FlowSpec:
    allowed = "a flow, or a mapping from names to flows"
    return one_of(flow, "flow", FlowSpec, allowed, error=ReplayError)


def _span(place: Any) -> Any:
    """Return a duration text as a timedelta, so that it is drawn to scale."""
    try:
        return (
            dt.timedelta(microseconds=parse_duration(place).microseconds) if isinstance(place, str) else place
        )
    except FlowError:
        return place


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
    outcome: dict[str, Any] = {"deliveries": delivered.height, "recipients": len(each)}
    for name, share in (("each_p50", 0.5), ("each_p95", 0.95), ("each_max", 1.0)):
        outcome[name] = None if not len(each) else int(each.quantile(share, "higher") or 0)
    for name, share in (("delay_p50", 0.5), ("delay_p95", 0.95)):
        outcome[name] = round((delay.quantile(share, "higher") or 0) / 1e6, 3) if delivered.height else None
    return outcome


def _counts(side: FlowResult) -> dict[str, Any]:
    return {name: sum(step[name] for step in side.steps) for name in COUNTS}
