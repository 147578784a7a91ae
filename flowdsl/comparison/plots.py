"""Line charts of what comes out of variants, over their first parameter."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from flowdsl.comparison.grid import Variant
from flowdsl.errors import FlowError, ReplayError
from flowdsl.expressions.durations import parse_duration

if TYPE_CHECKING:
    from flowdsl.charts.chart import Chart

Values = Sequence[float | None]


def variants_chart(
    variants: Sequence[Variant], columns: Mapping[str, Values], seconds: Mapping[str, bool]
) -> Chart:
    """Draw columns over the first parameter, with a line for every combination of the other parameters.

    `seconds` says of each column whether it is a duration; raise `ReplayError` if some are and others are
    not.
    """
    from flowdsl.charts.chart import fit_chart
    from flowdsl.charts.lines import WIDTH, line_chart

    if len(set(seconds.values())) > 1:
        listed = [name for name, is_time in seconds.items() if is_time]
        raise ReplayError(
            f"{' and '.join(columns)} have no axis in common: {' and '.join(listed)} is time",
            place="of",
            hint="draw a chart of each",
        )
    first = variants[0].values[0][0]
    places = list(dict.fromkeys(variant.values[0][1] for variant in variants))
    lines = _lines(variants, columns)
    draw = partial(
        line_chart,
        [_span(place) for place in places],
        {name: [line.get(place) for place in places] for name, line in lines.items()},
        title=f"{' and '.join(columns)} by {first}",
        x_label=first,
        y_label=" and ".join(columns),
        seconds=any(seconds.values()),
    )
    return fit_chart(lambda width: draw(width=width), WIDTH)


def _lines(variants: Sequence[Variant], columns: Mapping[str, Values]) -> dict[str, dict[Any, Any]]:
    """Return, for each line of the chart, the values by the first parameter."""
    lines: dict[str, dict[Any, Any]] = {}
    for number, variant in enumerate(variants):
        (_, place), *others = variant.values
        setting = ", ".join(f"{name}={value}" for name, value in others)
        for column, values in columns.items():
            parts = [column, setting] if len(columns) > 1 else [setting or column]
            lines.setdefault(", ".join(filter(None, parts)), {})[place] = values[number]
    return lines


def _span(place: Any) -> Any:
    """Return a duration text as a timedelta, so that it is drawn to scale."""
    try:
        return (
            dt.timedelta(microseconds=parse_duration(place).microseconds) if isinstance(place, str) else place
        )
    except FlowError:
        return place
