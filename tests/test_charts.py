"""Charts: what is drawn, where axes are marked, that everybody can read them, and that hostile names stay text."""

from __future__ import annotations

import datetime as dt
import itertools
import math
import re
import xml.etree.ElementTree as ET
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from flowdsl.charts.axes import thin_labels
from flowdsl.charts.chart import SERIES, Chart
from flowdsl.charts.columns import class_chart, time_chart
from flowdsl.charts.dots import DotPanel, dot_chart
from flowdsl.charts.formats import micros, share_text, short_text, span_text
from flowdsl.charts.lines import line_chart
from flowdsl.charts.ticks import number_ticks, time_ticks
from flowdsl.diagrams.palette import DARK, LIGHT
from flowdsl.diagrams.text_width import width
from flowdsl.pluralize import count_text
from tests.contrast import contrast

SVG = "{http://www.w3.org/2000/svg}"
DAY = 86_400_000_000
START = 1_767_225_600_000_000  # 2026-01-01
HOSTILE = [
    "<script>alert(1)</script>",
    "\"'&amp;",
    "x" * 4_000,
    "\u05e9\u05dc\u05d5\u05dd \u202eturned",
    "👩‍👩‍👧 \x00\x1b[31m",
]


def drawn(chart: Chart) -> ET.Element:
    return ET.fromstring(chart.svg)


def texts(chart: Chart) -> list[str]:
    return [element.text or "" for element in drawn(chart).iter(f"{SVG}text")]


def titles(chart: Chart, shape: str) -> list[str]:
    return [element.findtext(f"{SVG}title", "") for element in drawn(chart).iter(SVG + shape)][
        1 if shape == "rect" else 0 :
    ]


def a_line_chart(names: list[str] | None = None) -> Chart:
    lines = {name: [1.0, 2.0] for name in names or ["a"]}
    return line_chart(["1m", "5m"], lines, title="t", x_label="window", y_label="deliveries")


# -- columns ------------------------------------------------------------------------------------------


def test_columns_over_time_stand_for_their_counts():
    chart = time_chart([START, START + DAY, START + 2 * DAY], [10, 5], title="told", each="day")
    paper, *columns = drawn(chart).iter(f"{SVG}rect")
    assert paper.get("class") == "paper"
    tall, short = (float(column.get("height", "0")) for column in columns)
    assert tall == pytest.approx(2 * short, abs=0.2)
    assert titles(chart, "rect") == [
        "from 2026-01-01 00:00: 10 deliveries",
        "from 2026-01-02 00:00: 5 deliveries",
    ]
    assert "deliveries in each day" in texts(chart)
    assert {"0", "5", "10"} <= set(texts(chart))
    assert chart.text.splitlines() == [
        "told",
        "2026-01-01 00:00  10 deliveries",
        "2026-01-02 00:00  5 deliveries",
    ]


def test_a_column_of_one_among_millions_can_be_seen():
    chart = class_chart([("1", 5_000_000), ("2", 1), ("3", 0)], title="t", what="person", x_label="each")
    heights = [float(rect.get("height", "0")) for rect in list(drawn(chart).iter(f"{SVG}rect"))[1:]]
    assert len(heights) == 2
    assert heights[1] >= 1.5
    assert "5M" in texts(chart)
    assert drawn(chart).findtext(f"{SVG}desc") == "3 columns, the highest at 1: 5,000,000 people"


def test_charts_of_nothing_are_drawn():
    for chart in (
        time_chart([START, START + DAY], [0], title="t"),
        class_chart([], title="t", what="event", x_label="x"),
        line_chart([], {}, title="t", x_label="x", y_label="y"),
        line_chart([1], {"a": [None]}, title="t", x_label="x", y_label="y"),
    ):
        assert drawn(chart).findtext(f"{SVG}desc") == "nothing"


# -- lines --------------------------------------------------------------------------------------------


def test_lines_have_their_names_at_their_ends_and_numbers_where_the_pointer_rests():
    chart = line_chart(
        ["1m", "5m", "1h"],
        {"in-app": [90, 40, 12], "push": [30, None, 11.5]},
        title="t",
        x_label="window",
        y_label="deliveries",
    )
    assert titles(chart, "circle") == [
        "in-app: 90 at 1m",
        "in-app: 40 at 5m",
        "in-app: 12 at 1h",
        "push: 30 at 1m",
        "push: 11.5 at 1h",
    ]
    assert {"in-app", "push", "1m", "5m", "1h", "window", "deliveries"} <= set(texts(chart))
    # a gap is not bridged: the second line has points only
    assert len(list(drawn(chart).iter(f"{SVG}path"))) == 1
    ends = {
        text.text: float(text.get("y", "0"))
        for text in drawn(chart).iter(f"{SVG}text")
        if text.text in ("in-app", "push")
    }
    assert abs(ends["in-app"] - ends["push"]) >= 12


@pytest.mark.parametrize(
    ("x", "marks"),
    [
        ([0, 50, 100], {"0", "50", "100"}),
        ([dt.timedelta(minutes=1), dt.timedelta(hours=6)], {"1 min", "6 h"}),
        ([dt.datetime(2026, 1, 1, tzinfo=dt.UTC), dt.datetime(2026, 3, 1, tzinfo=dt.UTC)], {"2026"}),
        ([dt.datetime(2026, 1, 1), dt.datetime(2026, 1, 1, 6)], {"01:00", "06:00", "1 Jan 2026"}),
        ([True, "b"], {"True", "b"}),
    ],
)
def test_a_line_stands_over_numbers_spans_moments_and_names(x: list[object], marks: set[str]):
    chart = line_chart(x, {"a": [float(i) for i in range(len(x))]}, title="t", x_label="", y_label="y")
    assert marks <= set(texts(chart))
    places = [float(circle.get("cx", "0")) for circle in drawn(chart).iter(f"{SVG}circle")]
    assert places == sorted(places)


def test_spans_of_time_stand_where_they_belong():
    x = [dt.timedelta(minutes=m) for m in (0, 30, 60)]
    chart = line_chart(x, {"a": [1, 1, 1]}, title="t", x_label="", y_label="y")
    first, middle, last = (float(circle.get("cx", "0")) for circle in drawn(chart).iter(f"{SVG}circle"))
    assert middle == pytest.approx((first + last) / 2, abs=0.2)


@pytest.mark.parametrize(
    ("x", "said"),
    [
        ([dt.timedelta(minutes=m) for m in (1, 5, 60, 1_440, 10_080)], "window (logarithmic)"),
        ([dt.timedelta(minutes=m) for m in (0, 1, 5, 10_080)], "window (not to scale)"),
        ([1, 2, 1_000], "window (not to scale)"),
        ([1, 10, 100, 1_000], "window (logarithmic)"),
        ([1, 2, 4], "window"),
    ],
)
def test_points_that_would_fall_together_are_drawn_apart_and_the_axis_says_so(x: list[Any], said: str):
    chart = line_chart(x, {"a": [1.0] * len(x)}, title="t", x_label="window", y_label="y")
    places = [float(circle.get("cx", "0")) for circle in drawn(chart).iter(f"{SVG}circle")]
    gaps = [later - earlier for earlier, later in pairwise(places)]
    assert min(gaps) >= 0.29 * (places[-1] - places[0]) / len(gaps)
    assert said in texts(chart)


@given(x=st.lists(st.floats(0, 1e12), min_size=2, max_size=12, unique=True), timed=st.booleans())
def test_any_numbers_and_durations_are_told_apart_in_their_order(x: list[float], timed: bool):
    x = sorted({round(value, 3) for value in x})
    places_of: list[Any] = [dt.timedelta(seconds=value) for value in x] if timed else x
    chart = line_chart(places_of, {"a": [1.0] * len(x)}, title="t", x_label="x", y_label="y")
    places = [float(circle.get("cx", "0")) for circle in drawn(chart).iter(f"{SVG}circle")]
    assert all(later - earlier > 5 for earlier, later in pairwise(places))


def test_an_axis_of_durations_has_their_units_and_one_of_counts_its_thousands():
    lines = {"a": [60.0, 3_600.0, 86_400.0]}
    chart = line_chart([1, 2, 3], lines, title="t", x_label="x", y_label="delay", seconds=True)
    assert {"0 s", "12 h", "24 h"} <= set(texts(chart))
    assert titles(chart, "circle") == ["a: 1 min at 1", "a: 1 h at 2", "a: 24 h at 3"]
    assert str(chart).splitlines()[1:] == ["x  a", "1  1 min", "2  1 h", "3  24 h"]
    counts = line_chart([1, 2], {"a": [0, 5_434]}, title="t", x_label="x", y_label="y")
    assert {"2,000", "6,000"} <= set(texts(counts))


def test_dots_of_durations_that_are_far_apart_are_told_apart():
    panels = [DotPanel("delay", [300, 3_600, 86_400], seconds=True), DotPanel("told", [1, 2, 1_000])]
    chart = dot_chart(["5m", "1h", "1d"], panels, [0, 0, 0], title="t")
    assert "delay (logarithmic)" in texts(chart)
    delays = [float(c.get("cx", "0")) for c in drawn(chart).iter(f"{SVG}circle")][:3]
    assert min(later - earlier for earlier, later in pairwise(delays)) > 30


def test_what_is_no_number_leaves_a_gap():
    chart = line_chart([1, 2, 3], {"a": [1.0, math.nan, math.inf]}, title="t", x_label="x", y_label="y")
    assert titles(chart, "circle") == ["a: 1 at 1"]


# -- axes ---------------------------------------------------------------------------------------------


@given(low=st.floats(-1e9, 1e9), size=st.floats(1e-6, 1e12), most=st.integers(2, 10))
def test_numbers_are_marked_at_round_steps_that_take_in_everything(low: float, size: float, most: int):
    high = low + size
    if high - low < 1e-9 * max(abs(low), abs(high)):
        return
    ticks = number_ticks(low, high, most)
    steps = [b - a for a, b in itertools.pairwise(ticks)]
    slack = 1e-6 * (high - low)
    assert ticks[0] <= low + slack
    assert ticks[-1] >= high - slack
    assert len(ticks) <= most + 2
    assert max(steps) - min(steps) <= 1e-6 * max(abs(t) for t in ticks) + slack
    digits = f"{min(steps):.1e}"[0]
    assert digits in "1259"


@given(
    low=st.integers(-60_000, 250_000).map(lambda day: day * DAY),
    span=st.integers(1, 10**9 * 86_400).map(lambda tenths: tenths * 100_000),
    most=st.integers(2, 12),
)
def test_time_is_marked_at_the_beginnings_of_calendar_units(low: int, span: int, most: int):
    ticks = time_ticks(low, min(low + span, micros(dt.datetime.max.replace(microsecond=0))), most)
    places = [int(tick.at) for tick in ticks]
    assert places == sorted(set(places))
    assert len(ticks) <= most + 3
    assert all(low <= place <= low + span for place in places)
    assert all(place % 1_000_000 == 0 for place in places)
    said = [(tick.above, tick.label) for tick in ticks]
    assert len({tick.label for tick in ticks}) > 1 or len(said) < 2
    if span >= 3 * DAY * 366:
        assert all(place % DAY == 0 for place in places)


def test_the_day_stands_below_the_hours_and_the_year_below_the_days():
    hours = time_ticks(START + 20 * 3_600_000_000, START + 33 * 3_600_000_000, 5)
    assert [(t.label, t.above) for t in hours] == [
        ("21:00", "1 Jan 2026"),
        ("00:00", "2 Jan 2026"),
        ("03:00", ""),
        ("06:00", ""),
        ("09:00", ""),
    ]
    years = time_ticks(START - 3_000 * DAY, START, 10)
    assert [t.label for t in years] == [str(year) for year in range(2018, 2027)]


@example([(0, "000"), (21, "0")])
@given(st.lists(st.tuples(st.integers(0, 900), st.text("0k–:", min_size=1, max_size=12)), max_size=30))
def test_labels_never_run_into_one_another(named: list[tuple[int, str]]):
    shown = list(thin_labels(sorted(named), 5_000))
    for (x, label), (later, other) in itertools.pairwise(shown):
        assert later - x >= (width(label, 11) + width(other, 11)) / 2
    assert bool(shown) == bool(named)


# -- read by everybody --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_are_shown_as_text(name: str):
    charts = [
        line_chart([name, "b"], {name: [1, 2], "b": [2, 1]}, title=name, x_label=name, y_label=name),
        class_chart([(name, 3)], title=name, what=name, x_label=name),
        time_chart([START, START + DAY], [1], title=name, what=name, each=name),
    ]
    for chart in charts:
        root = drawn(chart)
        known = {"svg", "title", "desc", "style", "rect", "text", "line", "path", "circle"}
        assert {element.tag.removeprefix(SVG) for element in root.iter()} <= known
        assert not [a for element in root.iter() for a in element.attrib if a.startswith("on")]
        assert root.get("aria-label") == root.findtext(f"{SVG}title")
        assert not re.search("[\x00-\x08\u202e]", chart.svg)
        assert max(map(len, texts(chart))) < 400


def test_colours_stand_out_on_their_ground():
    for light, dark in SERIES:
        assert contrast(light, LIGHT["paper"]) >= 4.5
        assert contrast(dark, DARK["paper"]) >= 4.5


def test_a_chart_is_one_file_with_a_title_that_is_always_the_same():
    chart, again = a_line_chart(), a_line_chart()
    assert chart.svg == again.svg
    assert chart.svg.startswith('<svg xmlns="http://www.w3.org/2000/svg"')
    assert 'role="img"' in chart.svg
    assert "prefers-color-scheme:dark" in chart.svg
    assert not re.search(r"<script|\shref|url\(|@import|https?://(?!www\.w3\.org/2000/svg)", chart.svg)
    bundle = chart._repr_mimebundle_()
    assert (bundle["text/plain"], bundle["image/svg+xml"]) == (str(chart), chart.svg)
    # an image is shown in notebooks that are not trusted too, light or dark as the page is
    assert chart.html in bundle["text/html"]
    assert '[data-jp-theme-light="false"] .fd-image' in bundle["text/html"]
    assert repr(chart) == "<Chart 't'>"
    # two charts in one page have styles of their own
    names = {re.search(r'class="(fd\w+)"', c.svg)[1] for c in (chart, a_line_chart(["b"]))}  # type: ignore[index]
    assert len(names) == 2


@given(st.integers(0, 10**15))
def test_spans_of_time_are_said_to_three_digits(span: int):
    number, unit = span_text(span).split(" ")
    sizes = {"µs": 1, "ms": 1e3, "s": 1e6, "min": 6e7, "h": 3.6e9, "d": 8.64e10}
    said = float(number) * sizes[unit]
    assert said == pytest.approx(span, rel=0.006)
    assert len(number.replace(".", "")) <= 3 or unit == "d"


def test_counts_and_shares():
    assert count_text(0, "sink") == "0 sinks"
    assert count_text(2, "person") == "2 people"
    assert [share_text(n, 1000) for n in (0, 1, 10, 999, 1000)] == ["0 %", "0.1 %", "1 %", "99.9 %", "100 %"]
    assert [short_text(n) for n in (999, 1_000, 123_456, -2_500)] == ["999", "1k", "123k", "-2.5k"]
