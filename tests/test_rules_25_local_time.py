"""Rule 25: local time by the zone data of `tzdata`, against tables worked out by hand and Python's zoneinfo."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from local_clock import first_moment, micros, shown

from flowdsl.values.local_time import (
    HOUR,
    MINUTE,
    PERIODS,
    Every,
    Schedule,
    period_numbers,
    time_of_day,
    weekdays,
)
from flowdsl.values.zones import to_local, to_utc, zone_names, zone_number

# zone, local time, the moment: each by hand from the rules of the zone
FIRST_MOMENTS = """
Europe/Berlin        2026-01-15T09:00  2026-01-15T08:00   winter
Europe/Berlin        2026-07-15T09:00  2026-07-15T07:00   summer
Europe/Berlin        2026-03-29T01:59  2026-03-29T00:59   the last minute before the gap
Europe/Berlin        2026-03-29T02:00  2026-03-29T01:00   the gap, from its beginning
Europe/Berlin        2026-03-29T02:30  2026-03-29T01:00   inside the gap
Europe/Berlin        2026-03-29T03:00  2026-03-29T01:00   the first instant after it
Europe/Berlin        2026-10-25T02:00  2026-10-25T00:00   comes twice: in summer time first
Europe/Berlin        2026-10-25T02:59  2026-10-25T00:59   comes twice
Europe/Berlin        2026-10-25T03:00  2026-10-25T02:00   once again
America/New_York     2026-03-08T02:15  2026-03-08T07:00   inside the gap
America/New_York     2026-11-01T01:30  2026-11-01T05:30   comes twice
America/New_York     2026-11-01T02:00  2026-11-01T07:00   once again
America/New_York     2426-11-01T02:00  2426-11-01T07:00   the calendar repeats itself after 400 years
Australia/Lord_Howe  2026-10-04T02:15  2026-10-03T15:30   inside the gap of half an hour
Australia/Lord_Howe  2026-10-04T02:30  2026-10-03T15:30   the first instant after it
Australia/Lord_Howe  2026-04-05T01:29  2026-04-04T14:29   the last minute before what comes twice
Australia/Lord_Howe  2026-04-05T01:45  2026-04-04T14:45   comes twice
Australia/Lord_Howe  2026-04-05T02:00  2026-04-04T15:30   once again
Pacific/Apia         2011-12-29T23:59  2011-12-30T09:59   the last minute of the 29th
Pacific/Apia         2011-12-30T00:00  2011-12-30T10:00   a day that there was not
Pacific/Apia         2011-12-30T17:00  2011-12-30T10:00   in the midst of it
Pacific/Apia         2011-12-31T00:00  2011-12-30T10:00   the 31st followed at once
Pacific/Apia         2011-12-31T09:00  2011-12-30T19:00   nine o'clock of the 31st
America/Sao_Paulo    2018-11-04T00:00  2018-11-04T03:00   a day that begins at one
America/Sao_Paulo    2018-02-17T23:30  2018-02-18T01:30   the last hour of a day comes twice
America/Sao_Paulo    2018-02-18T00:00  2018-02-18T03:00   midnight comes once
Asia/Kathmandu       2026-05-01T00:00  2026-04-30T18:15   a quarter of an hour
"""

# zone, kind of period, a moment, when the period began, the next beginning
PERIOD_BOUNDS = """
Europe/Berlin        day    2026-03-29T12:00  2026-03-28T23:00  2026-03-29T22:00  a day of 23 hours
Europe/Berlin        day    2026-10-25T12:00  2026-10-24T22:00  2026-10-25T23:00  a day of 25 hours
Europe/Berlin        hour   2026-10-25T00:30  2026-10-25T00:00  2026-10-25T02:00  an hour that comes twice counts once
Europe/Berlin        week   2026-03-29T22:00  2026-03-29T22:00  2026-04-05T22:00  a Monday at midnight
Europe/Berlin        week   2026-03-29T21:59  2026-03-22T23:00  2026-03-29T22:00  the week that is an hour short
Europe/Berlin        month  2026-03-31T22:30  2026-03-31T22:00  2026-04-30T22:00  April has begun there
Australia/Lord_Howe  day    2026-10-03T15:30  2026-10-03T13:30  2026-10-04T13:00  half an hour less
Australia/Lord_Howe  hour   2026-10-03T15:40  2026-10-03T15:30  2026-10-03T16:00  an hour that begins in the gap
Pacific/Apia         day    2011-12-30T09:59  2011-12-29T10:00  2011-12-30T10:00  the 29th
Pacific/Apia         day    2011-12-30T10:00  2011-12-30T10:00  2011-12-31T10:00  the 31st
Pacific/Apia         week   2011-12-30T10:00  2011-12-26T10:00  2012-01-01T10:00  a week of six days
America/Sao_Paulo    day    2018-11-04T12:00  2018-11-04T03:00  2018-11-05T02:00  a day that begins at one
America/Sao_Paulo    day    2018-02-18T02:30  2018-02-17T02:00  2018-02-18T03:00  the second time from 23 to 24
America/St_Johns     day    2010-11-07T03:15  2010-11-06T02:30  2010-11-08T03:30  back to 23:01 a minute after midnight
"""


def rows(table: str) -> list[tuple[str, ...]]:
    return [tuple(line.split(maxsplit=5)) for line in table.strip().splitlines()]


def number(name: str) -> int:
    found = zone_number(name)
    assert found is not None
    return found


def one(moment: int) -> np.ndarray:
    return np.array([moment], np.int64)


@pytest.mark.parametrize(("name", "local", "moment"), [row[:3] for row in rows(FIRST_MOMENTS)])
def test_rule_25_a_local_time_is_the_first_moment_that_shows_it_or_the_end_of_its_gap(name, local, moment):
    assert to_utc(one(micros(local)), number(name)).tolist() == [micros(moment)]
    assert first_moment(datetime.fromisoformat(local), name) == micros(moment)


@pytest.mark.parametrize(
    ("name", "every", "moment", "began", "after"), [row[:5] for row in rows(PERIOD_BOUNDS)]
)
def test_rule_25_a_period_begins_and_ends_by_the_local_clock(name, every, moment, began, after):
    assert Schedule(every).next_from(one(micros(began)), number(name)).tolist() == [micros(began)]
    assert Schedule(every).next_after(one(micros(moment)), number(name)).tolist() == [micros(after)]


def test_rule_25_all_of_it_in_one_column_with_a_zone_in_each_row():
    table = rows(FIRST_MOMENTS)
    zones = np.array([number(name) for name, *_ in table])
    local = np.array([micros(row[1]) for row in table])
    assert to_utc(local, zones).tolist() == [micros(row[2]) for row in table]
    bounds = [row for row in rows(PERIOD_BOUNDS) if row[1] == "day"]
    zones = np.array([number(name) for name, *_ in bounds])
    moments = np.array([micros(row[2]) for row in bounds])
    assert Schedule("day").next_after(moments, zones).tolist() == [micros(row[4]) for row in bounds]


@pytest.mark.parametrize(
    ("schedule", "after", "moments"),
    [
        (Schedule("hour", at=15 * MINUTE), "2026-05-04T10:15", ["2026-05-04T11:15", "2026-05-04T12:15"]),
        (Schedule("day", at=9 * HOUR), "2026-03-28T07:59", ["2026-03-28T08:00", "2026-03-29T07:00"]),
        (Schedule("week", at=9 * HOUR, on=1), "2026-03-23T08:00", ["2026-03-30T07:00", "2026-04-06T07:00"]),
        (
            Schedule("month", on=31),
            "2026-01-31T00:00",
            ["2026-02-27T23:00", "2026-03-30T22:00", "2026-04-29T22:00"],
        ),
        (Schedule("month", at=HOUR, on=29), "2028-02-01T00:00", ["2028-02-29T00:00", "2028-03-28T23:00"]),
    ],
)
def test_rule_25_a_schedule_in_berlin(schedule, after, moments):
    moment = one(micros(after))
    for expected in moments:
        moment = schedule.next_after(moment, number("Europe/Berlin"))
        assert moment.tolist() == [micros(expected)]
        assert schedule.next_from(moment, number("Europe/Berlin")).tolist() == [micros(expected)]


ZONES = st.one_of(
    st.sampled_from(
        ["Europe/Berlin", "Australia/Lord_Howe", "Pacific/Apia", "America/St_Johns", "Africa/Casablanca"]
    ),
    st.sampled_from(sorted(zone_names())),
)
MOMENTS = st.one_of(
    st.integers(micros("1900-01-01T00:00"), micros("2110-01-01T00:00")),
    st.integers(micros("0001-01-03T00:00"), micros("9999-12-01T00:00")),
)


@given(st.lists(st.tuples(ZONES, MOMENTS), min_size=1, max_size=20))
def test_rule_25_local_time_is_what_zoneinfo_says(pairs):
    zones = np.array([number(name) for name, _ in pairs])
    moments = np.array([moment for _, moment in pairs])
    clocks = [shown(moment, name) for name, moment in pairs]
    assert to_local(moments, zones).tolist() == [micros(clock.isoformat()) for clock in clocks]
    since_midnight = [
        micros(clock.isoformat()) - micros(f"{clock:%Y-%m-%d}") if clock.year > 999 else None
        for clock in clocks
    ]
    assert all(
        b is None or a == b for a, b in zip(time_of_day(moments, zones).tolist(), since_midnight, strict=True)
    )
    assert weekdays(moments, zones).tolist() == [clock.isoweekday() for clock in clocks]


@given(
    ZONES,
    st.integers(micros("1900-01-01T00:00"), micros("2110-01-01T00:00")),
    st.sampled_from(PERIODS[1:]),
    st.data(),
)
def test_rule_25_the_next_moment_of_a_schedule_is_found_by_trying_every_day(name, moment, every: Every, data):
    at = data.draw(st.sampled_from([0, 2 * HOUR + 15 * MINUTE, 9 * HOUR, 23 * HOUR + 59 * MINUTE]))
    on = data.draw(st.integers(1, 7) if every == "week" else st.integers(1, 31))
    today = shown(moment, name).replace(hour=0, minute=0, second=0, microsecond=0)

    def fits(day: datetime) -> bool:
        if every == "week":
            return day.isoweekday() == on
        last = (day + timedelta(days=1)).day == 1
        return every == "day" or day.day == on or (last and day.day < on)

    days = [today + timedelta(days=n) for n in range(-2, 66)]
    moments = [first_moment(day + timedelta(microseconds=at), name) for day in days if fits(day)]
    expected = next(one for one in sorted(moments) if one > moment)
    assert Schedule(every, at, on).next_after(one(moment), number(name)).tolist() == [expected]


@given(ZONES, MOMENTS, st.sampled_from(PERIODS))
def test_rule_25_a_period_holds_what_lies_between_its_boundaries(name, moment, every):
    zone = number(name)
    after = Schedule(every).next_after(one(moment), zone)
    assert after[0] > moment
    assert period_numbers(every, after - 1, zone) <= period_numbers(every, one(moment), zone)
    assert Schedule(every).next_from(after, zone).tolist() == after.tolist()
