"""Functions over the local time of timestamps in conditions and templates (rules 25 and 28)."""

from __future__ import annotations

import json

import pytest
from event_tables import failures, log_of
from hypothesis import given
from hypothesis import strategies as st
from local_clock import EPOCH, MICROSECOND, micros, shown
from test_rules_28_values import replayed, values_of

import flowdsl as fd
from flowdsl import fn, on, var
from flowdsl.expressions.conditions import parse_expression
from flowdsl.expressions.conditions.scalar import row_form
from flowdsl.values.zones import zone_names


# a gap of half an hour, a day that there was not, a fold: by hand
@pytest.mark.parametrize(
    ("zone", "moment", "hour", "minute", "weekday", "date"),
    [
        ("UTC", "2026-05-04T00:00:00Z", 0, 0, 1, "2026-05-04"),
        ("Australia/Lord_Howe", "2026-10-03T15:29:59.999999Z", 1, 59, 7, "2026-10-04"),
        ("Australia/Lord_Howe", "2026-10-03T15:30:00Z", 2, 30, 7, "2026-10-04"),
        ("Pacific/Apia", "2011-12-30T09:59:00Z", 23, 59, 4, "2011-12-29"),
        ("Pacific/Apia", "2011-12-30T10:00:00Z", 0, 0, 6, "2011-12-31"),
        ("Europe/Berlin", "2026-10-25T00:30:00Z", 2, 30, 7, "2026-10-25"),
        ("Europe/Berlin", "2026-10-25T01:30:00Z", 2, 30, 7, "2026-10-25"),
        ("America/New_York", "2026-03-08T09:00:00+02:00", 3, 0, 7, "2026-03-08"),
        ("Asia/Kathmandu", "2026-01-01T00:00:00", 5, 45, 4, "2026-01-01"),
    ],
)
def test_rule_28_local_hour_minute_weekday_and_date(zone, moment, hour, minute, weekday, date):
    row = {"t": moment, "tz": zone}
    for tz in (zone, var.metadata.tz):
        found = [
            values_of(ask(var.metadata.t, tz), [row])[0] for ask in (fn.hour, fn.minute, fn.weekday, fn.date)
        ]
        assert found == [hour, minute, weekday, date]


TIMES = ("hour", "minute", "weekday", "date")
moments = st.integers(micros("0001-01-03T00:00"), micros("9999-12-29T00:00"))
written = st.sampled_from(["%sZ", "%s+00:00", "%s.5Z", "%s.000000001Z", "%s"])


def text_of(moment: int, form: str) -> str:
    return form % (EPOCH + moment * MICROSECOND).replace(microsecond=0, tzinfo=None).isoformat()


@given(st.lists(st.tuples(moments, written, st.sampled_from(sorted(zone_names()))), min_size=1, max_size=8))
def test_rule_28_the_functions_say_what_zoneinfo_says_in_every_form_of_evaluation(cases):
    rows = [{"t": text_of(moment, form), "tz": zone} for moment, form, zone in cases]
    clocks = [shown(moment // 1_000_000 * 1_000_000, zone) for moment, _, zone in cases]
    expected = [(c.hour, c.minute, c.isoweekday(), c.date().isoformat()) for c in clocks]
    result = replayed(rows, **{name: getattr(fn, name)(var.metadata.t, var.metadata.tz) for name in TIMES})
    payloads = [json.loads(payload) for payload in result.deliveries["payload"]]
    assert [tuple(payload[name] for name in TIMES) for payload in payloads] == expected
    for row, one in zip(rows, expected, strict=True):
        told = [
            row_form(parse_expression(f"{name}(t, tz)")).evaluate_at(lambda path, row=row: row[path[0]])
            for name in TIMES
        ]
        assert tuple(told) == one


def test_rule_28_a_condition_and_its_python_are_equal():
    text = on("link.created").where(
        "weekday(event.timestamp, 'Europe/Berlin') <= 5 and hour(event.timestamp) < 12"
    )
    weekday, hour = fn.weekday(var.event.timestamp, "Europe/Berlin"), fn.hour(var.event.timestamp)
    assert text == on("link.created").where((weekday <= 5) & (hour < 12))


def test_rule_28_of_a_missing_timestamp_everything_is_missing():
    rows = [{}, {"t": "2026-01-01T12:00:00Z"}]
    flow = on("link.created").where("not hour(metadata.t) < 10").map(a="b").deliver("s")
    result = fd.replay(flow, log_of('| at | data |\n | 0 | {} |\n | 1 | {"t": "2026-01-01T12:00:00Z"} |'))
    assert len(result.deliveries) == 2
    assert replayed(rows, x=fn.date(var.metadata.t)).deliveries["seq_no"].tolist() == [2]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"t": "2026-01-01T12:00:00Z"}, "hour needs text, but metadata.tz is missing"),
        ({"t": "2026-01-01T12:00:00Z", "tz": None}, "hour needs text, but metadata.tz is null"),
        ({"t": "2026-01-01T12:00:00Z", "tz": "Mars/Base"}, "'Mars/Base' is not a time zone"),
        ({"t": "2026-02-30T12:00:00Z", "tz": "UTC"}, "hour needs a timestamp such as"),
        ({"t": "2026-01-01", "tz": "UTC"}, "hour needs a timestamp such as"),
        ({"t": 5, "tz": "UTC"}, "hour needs text, but metadata.t is a number"),
    ],
)
def test_rule_25_a_zone_or_a_time_that_cannot_be_read_fails(row, said):
    good = {"t": "2026-01-01T12:00:00Z", "tz": "UTC"}
    result = replayed([good, row, good], x=fn.hour(var.metadata.t, var.metadata.tz))
    assert len(result.deliveries) == 2
    assert (
        said in failures(result)[0][-1]
        if isinstance(failures(result)[0], tuple)
        else said in str(failures(result))
    )


def test_rule_25_a_literal_that_is_no_zone_is_refused_when_the_flow_is_built():
    with pytest.raises(fd.ConditionError, match="'Europe/Berlim' is not a time zone"):
        on("link.created").where("hour(event.timestamp, 'Europe/Berlim') < 12")
    with pytest.raises(fd.ConditionError, match="hour needs text, but 3 is a number"):
        on("link.created").where("hour(event.timestamp, 3) < 12")


def test_rule_28_production_has_none_of_them():
    flow = (
        on("link.created").where("hour(data.t) == 12")
        if False
        else on("link.created").where("hour(metadata.t) == 12")
    )
    with pytest.raises(fd.ExportError, match="production cannot say"):
        flow.map(a="b").deliver("s").to_yaml()
