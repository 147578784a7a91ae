"""Settings of a flow measured against demands: which meet them, what each costs, and which no other beats."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import polars as pl

from flowdsl.arguments import texts_of
from flowdsl.comparison.delays import Delays, effect_of
from flowdsl.comparison.demands import Demand
from flowdsl.comparison.inputs import FlowResult
from flowdsl.comparison.measures import Figure
from flowdsl.comparison.settings import TODAY
from flowdsl.comparison.text import table_text
from flowdsl.comparison.variants import VariantsData
from flowdsl.errors import ReplayError
from flowdsl.flow.spec import FlowSpec
from flowdsl.frames import to_pandas
from flowdsl.pluralize import count_text
from flowdsl.progress import track
from flowdsl.values.json_types import Floats, Mask
from flowdsl.views.templates import render

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from flowdsl.charts.chart import Chart

# the figures that every table has; those that demands name replace them
DEFAULT: Final = ("volume", "events", "reach", "delay.p90", "per_person_per_day.p95")
_ROWS: Final = 30
_KEEPS, _FALLS_SHORT = 0, 7


@dataclass(frozen=True, repr=False)
class TuningData(VariantsData):
    """Settings of a flow, the figures of each, and the demands on them.

    `given` is the flow as it is today, and `today` the index of the variant that equals it.
    """

    delays: Delays
    given: FlowSpec
    today: int
    demands: tuple[Demand, ...]
    criterion: Figure
    sink: str | None = None

    @property
    def table(self) -> pd.DataFrame:
        """One row per setting: its options, its figures, and how it does.

        `keeps` says whether it keeps every demand, `front` whether no other setting beats it: is at least as
        good in every figure, and better in one. Figures of time are in seconds.
        """
        return to_pandas(self.polars())

    @property
    def kept(self) -> pd.DataFrame:
        """The settings that keep every demand, the best first."""
        ranked = self.polars()[self._ranked]
        return to_pandas(ranked.filter(pl.col("keeps")))

    @property
    def front(self) -> pd.DataFrame:
        """The settings that no other beats, the best first."""
        ranked = self.polars()[self._ranked]
        return to_pandas(ranked.filter(pl.col("front")))

    @property
    def costs(self) -> pd.DataFrame:
        """The cost of each setting: its figures less those of today."""
        table, names = self.polars(), [figure.name for figure in self.figures]
        return to_pandas(table.with_columns(pl.col(name) - table[name][self.today] for name in names))

    @property
    def asked(self) -> pd.DataFrame:
        """One row per demand: today's figure, the number of settings that keep it, the nearest, and its cost.

        `without` is the best value of the criterion among the settings that keep all the other demands, and
        `with` the same with this demand too. They are null if no setting keeps those demands.
        """
        return to_pandas(self._asked)

    def polars(self) -> pl.DataFrame:
        """Return `table` as a Polars frame.

        Returns
        -------
        polars.DataFrame
            One row per setting.

        Examples
        --------
        >>> from flowdsl import MemoryEventLog, link_created, on, tune
        >>> log = MemoryEventLog()
        >>> for minute in (0, 1, 3, 20):
        ...     like = link_created("likes", "ann", "post")
        ...     _ = log.append(like, timestamp=f"2026-01-01T00:{minute:02}:00Z")
        >>> digest = on("link.created").batch("target_id", window="1m").map(title="{{ batch.count }}")
        >>> tuned = tune(digest.deliver("push"), log, vary={"0.window": ["1m", "1h"]})
        >>> tuned.polars()["volume"].to_list()
        [4.0, 1.0]
        """
        return self._table

    def arrow(self) -> pa.Table:
        """Return `table` as an Arrow table, without a copy.

        Returns
        -------
        pyarrow.Table
            One row per setting.

        Examples
        --------
        >>> from flowdsl import on, tune
        >>> flow = on("link.created").rate_limit(1, per="1m").map(title="hello").deliver("push")
        >>> tune(flow, [], vary={"0.max": [1, 2]}).arrow().num_rows
        2
        """
        return self.polars().to_arrow()

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """`table` as an Arrow stream."""
        return self.polars().__arrow_c_stream__(requested_schema)

    @property
    def best_name(self) -> str | None:
        """The name of the best setting that keeps every demand; None if no setting does."""
        place = self._best
        return None if place is None else self.variants[place].name

    @property
    def best(self) -> FlowSpec | None:
        """The flow with the best setting that keeps every demand, under its own name; None if none does."""
        place = self._best
        if place is None:
            return None
        return replace(self.variants[place].flow, given_name=self.given.given_name)

    @cached_property
    def figures(self) -> tuple[Figure, ...]:
        """The figures of the tables, which settings are compared by."""
        of_kinds: dict[str, list[Figure]] = {}
        for name in DEFAULT:
            figure = Figure.parse(name, "")
            of_kinds.setdefault(_kind(figure), []).append(figure)
        named = [*(demand.figure for demand in self.demands), self.criterion]
        for kind in set(map(_kind, named)):
            of_kinds[kind] = [figure for figure in named if _kind(figure) == kind]
        found = itertools.chain.from_iterable(of_kinds.values())
        return tuple({figure.name: figure for figure in found}.values())

    @cached_property
    def _table(self) -> pl.DataFrame:
        with track(None, len(self.result), "tune", "deliveries") as tick:
            measured = [self._measure(side, tick) for side in self._sides]
        figures = {
            figure.name: pl.Series([one[i] for one in measured], dtype=pl.Float64)
            for i, figure in enumerate(self.figures)
        }
        frame = pl.DataFrame({**self._parameter_columns(), **figures})
        keeps = np.array([self._keeps(dict(zip(figures, one, strict=True)), measured) for one in measured])
        return frame.with_columns(
            pl.Series("keeps", keeps, pl.Boolean),
            pl.Series("front", _unbeaten(self._scores(frame)), pl.Boolean),
            pl.Series(TODAY, [i == self.today for i in range(len(self.variants))], pl.Boolean),
        )

    def _measure(self, side: FlowResult, tick: Any) -> list[float | None]:
        effect = effect_of(side, lambda: self.delays, self.sink, tick)
        return [figure.of(effect) for figure in self.figures]

    def _keeps(self, figures: Mapping[str, float | None], measured: Sequence[Sequence[float | None]]) -> bool:
        today = dict(zip((figure.name for figure in self.figures), measured[self.today], strict=True))
        return all(
            demand.keeps(figures[demand.figure.name], today[demand.figure.name]) for demand in self.demands
        )

    def _scores(self, frame: pl.DataFrame) -> Floats:
        """Return a row of figures for each setting, signed so that more is better; missing delays are 0."""
        columns = []
        for figure in self.figures:
            values = frame[figure.name].fill_null(0.0).to_numpy()
            columns.append(values if figure.measure.better == "more" else -values)
        return np.column_stack(columns)

    @cached_property
    def _ranked(self) -> list[int]:
        """Indexes of the settings, the best first: by the criterion, then by the other figures."""
        scores, names = self._scores(self._table), [figure.name for figure in self.figures]
        first = names.index(self.criterion.name)
        # figures of which more is better come before those of which less is better
        others = sorted(range(len(names)), key=lambda i: self.figures[i].measure.better == "less")
        order = [first, *(i for i in others if i != first)]
        return sorted(range(len(self.variants)), key=lambda row: [-scores[row, i] for i in order])

    @cached_property
    def _best(self) -> int | None:
        keeps = self._table["keeps"]
        return next((row for row in self._ranked if keeps[row]), None)

    @cached_property
    def _asked(self) -> pl.DataFrame:
        rows = []
        kept = {demand: self._kept_by([demand]) for demand in self.demands}
        for demand in self.demands:
            figures = self._table[demand.figure.name].to_list()
            today = figures[self.today]
            others = self._kept_by([other for other in self.demands if other is not demand])
            short = [demand.missing(figure, today) for figure in figures]
            nearest = min(self._ranked, key=lambda row: short[row])
            rows.append(
                {
                    "demand": demand.text,
                    "bound": demand.bound(today),
                    "today": today,
                    "kept": int(kept[demand].sum()),
                    "nearest": figures[nearest],
                    "at": self.variants[nearest].name,
                    "without": self._best_of(others),
                    "with": self._best_of(others & kept[demand]),
                }
            )
        schema = {"demand": pl.String, "bound": pl.Float64, "today": pl.Float64, "kept": pl.Int64}
        more = {"nearest": pl.Float64, "at": pl.String, "without": pl.Float64, "with": pl.Float64}
        return pl.DataFrame(rows, schema={**schema, **more})

    def _kept_by(self, demands: Iterable[Demand]) -> Mask:
        kept = np.ones(len(self.variants), np.bool_)
        for demand in demands:
            figures = self._table[demand.figure.name].to_list()
            kept &= np.array([demand.keeps(figure, figures[self.today]) for figure in figures])
        return kept

    def _best_of(self, which: Mask) -> float | None:
        found = next((row for row in self._ranked if which[row]), None)
        return None if found is None else self._table[self.criterion.name][found]

    def plot(self, of: str | Sequence[str] | None = None) -> Chart:
        """Draw the settings that no other beats, and today's: every figure in a panel, bounds as lines.

        Settings that keep every demand are blue, the others grey.

        Parameters
        ----------
        of
            A measure, such as `reach` or `delay.p90`, or several: they are drawn as lines over the first
            option.

        Returns
        -------
        Chart
            One row per setting, the best first; with `of` a line chart.

        Raises
        ------
        ReplayError
            If there is no such measure, or if some are durations and others are not.

        Examples
        --------
        >>> from flowdsl import MemoryEventLog, link_created, on, tune
        >>> log = MemoryEventLog()
        >>> for minute in (0, 1, 3, 20):
        ...     like = link_created("likes", "ann", "post")
        ...     _ = log.append(like, timestamp=f"2026-01-01T00:{minute:02}:00Z")
        >>> digest = on("link.created").batch("target_id", window="1m").map(title="{{ batch.count }}")
        >>> tuned = tune(digest.deliver("push"), log, vary={"0.window": ["1m", "1h"]}, best="volume")
        >>> print(tuned.plot())
        settings that no other beats
                           volume  events  reach  delay.p90  per_person_per_day.p95
        0.window=1h        1       4       1      1 h        1
        0.window=1m today  4       4       1      1 min      4
        """
        if of is not None:
            return self._lines(texts_of(of, "of", error=ReplayError))
        from flowdsl.charts.dots import DotPanel, dot_chart

        table, rows = self._table, self._shown
        bounds = {demand.figure.name: demand for demand in self.demands}
        panels = []
        for figure in self.figures:
            values = table[figure.name].to_list()
            demand = bounds.get(figure.name)
            mark = None if demand is None else demand.bound(values[self.today])
            seconds = figure.measure.unit == "seconds"
            sign = "" if demand is None else demand.operator.replace("<=", "≤").replace(">=", "≥")
            panels.append(DotPanel(figure.name, [values[row] for row in rows], seconds, mark, sign))
        names = [self._label(row) for row in rows]
        shades = [_KEEPS if table["keeps"][row] else _FALLS_SHORT for row in rows]
        return dot_chart(names, panels, shades, title="settings that no other beats")

    def _lines(self, names: Sequence[str]) -> Chart:
        from flowdsl.comparison.plots import variants_chart

        figures = [Figure.parse(name, "of") for name in names]
        effects = [effect_of(side, lambda: self.delays, self.sink) for side in self._sides]
        values = {figure.name: [figure.of(effect) for effect in effects] for figure in figures}
        seconds = {figure.name: figure.measure.unit == "seconds" for figure in figures}
        return variants_chart(self.variants, values, seconds)

    @cached_property
    def _shown(self) -> list[int]:
        table = self._table
        rows = [row for row in self._ranked if table["front"][row] or row == self.today]
        rows.sort(key=lambda row: not table["keeps"][row])
        shown = rows[:_ROWS]
        return shown if self.today in shown else [*shown[:-1], self.today]

    def _label(self, row: int) -> str:
        name = self.variants[row].name
        return f"{name} {TODAY}" if row == self.today and name != TODAY else name

    @property
    def _heading(self) -> str:
        count, table = len(self.variants), self._table
        summary = f"{count_text(count, 'setting')}, {int(table['front'].sum())} that no other beats"
        if not self.demands:
            return f"{summary}; best by {self.criterion.name}: {self.best_name}"
        kept = int(table["keeps"].sum())
        demands = "the demand" if len(self.demands) == 1 else f"all {len(self.demands)} demands"
        if not kept:
            return f"{summary}; none keeps {demands}"
        verb = "keeps" if kept == 1 else "keep"
        return f"{summary}; {kept} {verb} {demands}, the best by {self.criterion.name}: {self.best_name}"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        table = self._table
        ranked = sorted(self._ranked, key=lambda row: not table["keeps"][row])
        html = render(
            "comparison/tuned.html.j2",
            heading=self._heading,
            asked=[
                (demand, row, demand.keeps(row["today"], row["today"]))
                for demand, row in zip(self.demands, self._asked.to_dicts(), strict=True)
            ],
            criterion=self.criterion,
            figures=self.figures,
            today=table.row(self.today, named=True),
            parameters=self._parameters,
            rows=[table.row(row, named=True) for row in ranked[:_ROWS]],
            left=len(ranked) - len(ranked[:_ROWS]),
            chart=self.plot(),
        )
        return {"text/plain": repr(self), "text/html": html}

    def __repr__(self) -> str:
        ranked = sorted(self._ranked, key=lambda row: not self._table["keeps"][row])
        table, more = self._table[ranked[:_ROWS]], len(ranked) - _ROWS
        texts = {figure.name: [*map(figure.text, table[figure.name])] for figure in self.figures}
        parts = [self._heading, *([self._asked_text()] if self.demands else [])]
        parts.append(table_text(table.with_columns(pl.Series(*column) for column in texts.items())))
        left = f"\n… and {more:,} more: see .table" if more > 0 else ""
        return "\n\n".join(parts) + left

    def _asked_text(self) -> str:
        rows = [
            {
                "demand": demand.text,
                "today": demand.figure.text(row["today"]),
                "kept": row["kept"],
                "nearest": demand.figure.text(row["nearest"]),
                "without": self.criterion.text(row["without"]),
                "with": self.criterion.text(row["with"]),
            }
            for demand, row in zip(self.demands, self._asked.to_dicts(), strict=True)
        ]
        return table_text(pl.DataFrame(rows))


def _kind(figure: Figure) -> str:
    """Return the kind of a figure: all that count messages per person are one kind."""
    measure = figure.measure.name
    return "per_person" if measure.startswith("per_person") else measure


def _unbeaten(scores: Floats) -> Mask:
    """Return a mask of the rows that no other row beats: is nowhere worse than, and somewhere better than."""
    beaten = [bool(((scores >= row).all(axis=1) & (scores > row).any(axis=1)).any()) for row in scores]
    return ~np.array(beaten)
