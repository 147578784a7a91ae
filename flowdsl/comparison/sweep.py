"""The deliveries of a flow for many settings of its options."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from flowdsl.arguments import one_of, texts_of
from flowdsl.charts.formats import SECOND, number_text, span_text
from flowdsl.comparison.delays import Delays, effect_of, member_trace
from flowdsl.comparison.grid import Variant, variants_of
from flowdsl.comparison.inputs import FlowResult
from flowdsl.comparison.measures import MEASURES, Better, Figure, Standing
from flowdsl.comparison.text import table_text
from flowdsl.comparison.variants import VariantsData
from flowdsl.errors import ReplayError, did_you_mean
from flowdsl.flow.spec import FlowSpec
from flowdsl.frames import to_pandas
from flowdsl.progress import Tick, track
from flowdsl.results.run import run
from flowdsl.results.store import MemoryStore
from flowdsl.views.templates import render

if TYPE_CHECKING:
    import pandas as pd

    from flowdsl.charts.chart import Chart

COUNTS: Final = ("dropped", "failed", "absorbed", "held")
# by column of the table, the measure that tells its unit, and whether more is better
MEASURED: Final = {
    "deliveries": "volume",
    "recipients": "reach",
    **dict.fromkeys(("each_p50", "each_p95", "each_max"), "per_person"),
    **dict.fromkeys(("delay_p50", "delay_p95"), "delay"),
}
FEWER: Final[Mapping[str, Better]] = {"failed": "less"}


@dataclass(frozen=True, repr=False)
class SweepData(VariantsData):
    """The outcome of each variant of a flow, and the replay of all of them."""

    @property
    def table(self) -> pd.DataFrame:
        """One row per variant: its parameters, then its outcome.

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
            One row per variant.

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
        """Draw columns of the table, or measures, over the first parameter.

        Parameters
        ----------
        of
            A column of the table, or a measure as in demands of `tune`, such as `reach` or `delay.p90`; or
            several. Each has a line for every combination of the other parameters. Reach and
            delays need a second replay, which runs when they are asked for.

        Returns
        -------
        Chart
            A line chart.

        Raises
        ------
        ReplayError
            If there is no such column or measure, or if some are durations and others are not.

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
        from flowdsl.comparison.plots import variants_chart

        names = texts_of(of, "of", error=ReplayError)
        seconds = {name: _is_time(name) for name in names}
        return variants_chart(self.variants, {name: self._values(name) for name in names}, seconds)

    def _values(self, name: str) -> list[float | None]:
        """Return a column of the table, or a measure of each variant."""
        known = [name for name in self._table.columns if name not in self._parameters]
        if name in known:
            values: list[float | None] = self._table[name].to_list()
            return values
        if name.partition(".")[0] not in MEASURES:
            raise ReplayError(
                f"there is no column {name!r}",
                allowed=f"{', '.join(known)}, or a measure: {', '.join(MEASURES)}",
                hint=did_you_mean(name, [*known, *MEASURES]),
            )
        figure = Figure.parse(name, "of")
        return [figure.of(effect_of(side, lambda: self._delays)) for side in self._sides]

    @cached_property
    def _delays(self) -> Delays:
        options = self.result.options
        if options is None:
            raise ReplayError(
                "how long events waited is not known of a sweep that was read back",
                hint="run the sweep again, or draw a column of its table",
            )
        members = member_trace()
        run(options, MemoryStore(), outcomes=members)
        return Delays(members, options.source)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        html = render(
            "comparison/sweep.html.j2",
            columns=self._table.columns,
            rows=self._format_rows(),
            parameters=len(self._parameters),
            chart=self.plot() if len(self.variants) > 1 else None,
        )
        return {"text/plain": repr(self), "text/html": html}

    def _format_rows(self) -> list[tuple[Any, ...]]:
        """Return the table with units, and whether a value is the best or the worst of its column."""
        columns: list[Iterable[Any]] = [self._table[name].to_list() for name in self._parameters]
        for name in self._figures:
            columns.append(zip(self._texts(name), _standings(name, self._table[name].to_list()), strict=True))
        return list(zip(*columns, strict=True))

    @property
    def _figures(self) -> list[str]:
        return self._table.columns[len(self._parameters) :]

    def _texts(self, name: str) -> list[str]:
        """Return a column of figures with units."""
        return ["–" if value is None else _format_value(name, value) for value in self._table[name].to_list()]

    @cached_property
    def _table(self) -> pl.DataFrame:
        parameters = pl.DataFrame(self._parameter_columns())
        with track(None, len(self.result), "sweep", "deliveries") as tick:
            delivered = [_deliveries(side, tick) for side in self._sides]
        counted = [{name: sum(step[name] for step in side.steps) for name in COUNTS} for side in self._sides]
        return pl.concat([parameters, pl.DataFrame(delivered), pl.DataFrame(counted)], how="horizontal")

    def __repr__(self) -> str:
        shown = self._table.with_columns(pl.Series(name, self._texts(name)) for name in self._figures)
        return table_text(shown)


def variants_to_try(
    flow: FlowSpec | Mapping[str, FlowSpec], parameters: Mapping[str, Iterable[Any]]
) -> list[Variant]:
    """Return the variants of a flow that parameters give; raise `ReplayError` if there are none."""
    if isinstance(flow, Mapping):
        if parameters:
            raise ReplayError(
                "flows by name and parameters were both given", hint="give one flow, or no parameters"
            )
        return [Variant(_check(one).named(name), (("flow", name),)) for name, one in flow.items()]
    flow = _check(flow)
    if not parameters:
        raise ReplayError(
            "there is nothing to sweep over", allowed="options of its steps, such as window=['1m', '5m']"
        )
    return variants_of(flow, parameters)


def _check(flow: FlowSpec) -> FlowSpec:
    allowed = "a flow, or a mapping from names to flows"
    return one_of(flow, "flow", FlowSpec, allowed, error=ReplayError)


def _is_time(name: str) -> bool:
    measure = MEASURES.get(MEASURED.get(name, name.partition(".")[0]))
    return measure is not None and measure.unit == "seconds"


def _format_value(name: str, value: float) -> str:
    return span_text(value * SECOND) if _is_time(name) else number_text(value)


def _standings(name: str, values: Sequence[float | None]) -> list[Standing]:
    """Mark the best and the worst values of a column, if it is known whether more is better."""
    known = [value for value in values if value is not None]
    better = MEASURES[MEASURED[name]].better if name in MEASURED else FEWER.get(name)
    if better is None or not known or min(known) == max(known):
        return [""] * len(values)
    ends: dict[float | None, Standing] = {min(known): "worse", max(known): "better"}
    if better == "less":
        ends = {min(known): "better", max(known): "worse"}
    return [ends.get(value, "") for value in values]


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
