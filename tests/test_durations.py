"""Durations: what flowdsl reads, what production reads, and how one becomes the other."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowdsl.errors import BuildError
from flowdsl.expressions.durations import Duration, parse_duration, parse_production_duration

SECOND = 1_000_000


@pytest.mark.parametrize(
    ("text", "microseconds"),
    [
        ("0s", 0),
        ("250ms", 250_000),
        ("5s", 5 * SECOND),
        ("5m", 300 * SECOND),
        ("1h", 3600 * SECOND),
        ("7d", 7 * 86_400 * SECOND),
        ("2w", 14 * 86_400 * SECOND),
        ("1h30m", 5400 * SECOND),
        ("1d2h3m4s5ms", 93_784_005_000),
        (" 5m\n", 300 * SECOND),
    ],
)
def test_a_duration_is_read_to_the_microsecond(text, microseconds):
    assert parse_duration(text).microseconds == microseconds


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("", None),
        ("5", "'5s' is seconds"),
        ("5 m", "did you mean '5m'?"),
        ("5min", "did you mean '5m'?"),
        ("5M", "did you mean '5m'?"),
        ("2 hours", "did you mean '2h'?"),
        ("1.5h", "did you mean '90m'?"),
        ("-5m", "cannot be negative"),
        ("+5m", None),
        ("PT5M", None),
        ("30m1h", "from large to small"),
        ("1h1h", "from large to small"),
        ("1h 30m", None),
        ("٥m", None),
        ("1y", None),
        ("m", None),
        ("9" * 1_000 + "s", None),
        ("9999999999w", None),
    ],
)
def test_what_is_no_duration_is_refused_with_advice(text, hint):
    with pytest.raises(BuildError) as caught:
        parse_duration(text)
    assert len(str(caught.value)) < 400
    if hint:
        assert hint in (caught.value.hint or "")


@pytest.mark.parametrize("value", [5, 5.0, True, None, b"5m", ["5m"]])
def test_only_text_and_timedeltas_are_durations(value):
    with pytest.raises(BuildError, match="is text or a timedelta"):
        parse_duration(value)


def test_a_timedelta_gets_the_shortest_exact_text():
    assert parse_duration(timedelta(hours=1)).text == "1h"
    assert parse_duration(timedelta(hours=1, minutes=30)).text == "90m"
    assert parse_duration(timedelta(days=14)).text == "2w"
    assert parse_duration(timedelta(0)).text == "0s"


@pytest.mark.parametrize("value", [timedelta(microseconds=1), timedelta(seconds=-1), timedelta.max])
def test_a_timedelta_that_cannot_be_written_is_refused(value):
    # timedelta.max ends in 999,999 microseconds
    with pytest.raises(BuildError):
        parse_duration(value)


def test_durations_compare_by_length_and_keep_their_text():
    hour = parse_duration("60m")
    assert hour == parse_duration("1h")
    assert hash(hour) == hash(parse_duration("1h"))
    assert hour < parse_duration("1h1m")
    assert (hour.text, str(hour)) == ("60m", "60m")
    assert parse_duration("007s").text == "7s"
    assert parse_duration(hour) is hour


@pytest.mark.parametrize(
    ("text", "portable"),
    [
        ("7d", "168h"),
        ("1w", "168h"),
        ("1h30m", "90m"),
        ("90m", "90m"),
        ("60s", "60s"),
        ("1s500ms", "1500ms"),
        ("0d", "0s"),
    ],
)
def test_the_portable_text_is_one_number_that_production_reads(text, portable):
    duration = parse_duration(text)
    assert duration.portable() == portable
    assert parse_production_duration(duration.portable()) == duration


@given(st.integers(0, 10_000 * 365 * 86_400_000).map(lambda ms: timedelta(milliseconds=ms)) | st.none())
def test_every_duration_survives_its_text_and_its_portable_text(value):
    duration = parse_duration(value if value is not None else timedelta(days=3_650_000))
    assert parse_duration(duration.text) == duration
    assert parse_production_duration(duration.portable()).microseconds == duration.microseconds


@pytest.mark.parametrize(
    ("text", "microseconds"),
    [
        ("5ms", 5_000),
        ("5s", 5 * SECOND),
        (" 5m ", 300 * SECOND),
        ("+5m", 300 * SECOND),
        ("05h", 18_000 * SECOND),
        ("\u20035s", 5 * SECOND),
    ],
)
def test_production_reads_digits_and_a_unit(text, microseconds):
    assert parse_production_duration(text).microseconds == microseconds


@pytest.mark.parametrize(
    "text",
    [
        "1d",
        "1w",
        "1.5s",
        "5 m",
        "-5m",
        "++5m",
        "5",
        "m",
        "",
        "1h30m",
        "5M",
        "٥m",
        "\x1f5m",
        "18446744073709551616s",
        None,
        5,
    ],
)
def test_production_refuses_everything_else(text):
    with pytest.raises(BuildError, match="production refuses"):
        parse_production_duration(text)


def test_production_refusals_say_what_would_be_read():
    with pytest.raises(BuildError) as caught:
        parse_production_duration("1d")
    assert "'24h'" in caught.value.hint


def test_what_production_takes_as_very_long_fits_64_bits():
    longest = parse_production_duration("18446744073709551615h")
    assert longest == Duration("", 10_000 * 365 * 86_400 * SECOND)
