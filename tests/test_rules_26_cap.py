"""cap: a hard limit in every stretch of time, or by local days, weeks and months (rule 26)."""

import datetime as dt
from collections import defaultdict

import jsonschema
import numpy as np
import polars as pl
import pytest
from event_tables import counts, drops, failures, log_of, sent
from hypothesis import given, settings
from hypothesis import strategies as st
from local_clock import first_moment, shown

import flowdsl as fd
from flowdsl import on, var
from flowdsl.kernels import cap_counts, key_memory

START = 1_767_225_600_000_000  # 2026-01-01T00:00:00Z
HOUR = 3_600_000_000


def capped(*args, **options):
    return on("link.created").cap(*args, **options).map(who="{{ source_id }}").deliver("s")


def hourly(hours):
    return [
        {"timestamp": f"2026-01-01T{h:02}:00:00Z", "event": fd.link_created("l", f"u{h}", "bob")}
        for h in range(hours)
    ]


def test_rule_26_no_more_than_max_go_on_in_a_day_where_a_token_bucket_lets_more_through():
    """Case r10: three a day."""
    flow = (
        on("link.created").rate_limit(3, per="24h", key="target_id").map(who="{{ source_id }}").deliver("s")
    )
    assert fd.replay(flow, hourly(24))["s"]["who"].tolist() == ["u0", "u1", "u2", "u8", "u16"]
    for per in ("24h", "day"):
        result = fd.replay(capped(3, per=per, key="target_id"), hourly(24))
        assert result["s"]["who"].tolist() == ["u0", "u1", "u2"]
        assert drops(result) == {"capped": 21}


def test_rule_26_only_what_goes_on_counts_and_at_exactly_per_the_next_one_does():
    table = "| at |\n | 0 |\n | 4 |\n | 9.999999 |\n | 10 |\n | 13.999999 |\n | 14 |\n | 14 |"
    assert sent(fd.replay(capped(2, per="10s"), log_of(table))) == [0, 4, 10, 14]


def test_rule_26_each_key_is_counted_apart_and_a_null_or_missing_one_fails():
    table = """
    | at | target | data |
    | 0 | a | {"k": 1} |
    | 1 | b | {"k": 1.0} |
    | 2 | a | {"k": "1"} |
    | 3 | a | {"k": null} |
    | 4 | a | {} |
    | 5 | a | {"k": 1} |"""
    result = fd.replay(capped(1, per="1h", key=["target_id", "metadata.k"]), log_of(table))
    assert sent(result) == [0, 1, 2]
    assert failures(result) == [
        (4, 0, "the key 'metadata.k' is null"),
        (5, 0, "the key 'metadata.k' is missing"),
    ]
    assert counts(result, 0) == {"entered": 6, "passed": 3, "dropped": 1, "failed": 2}


def test_rule_26_days_weeks_and_months_are_those_of_the_zone():
    # Sunday, 2026-03-01 00:30 in Berlin is 23:30 of the day, week-day and month before in UTC
    moments = ["2026-02-28T22:30:00Z", "2026-02-28T23:30:00Z", "2026-03-01T22:30:00Z", "2026-03-01T23:30:00Z"]
    log = [{"timestamp": at, "event": fd.link_created("l", f"e{n}", "b")} for n, at in enumerate(moments)]

    def went(per, tz):
        return fd.replay(capped(1, per=per, tz=tz), log)["s"]["who"].tolist()

    assert went("day", None) == went("day", "UTC") == ["e0", "e2"]
    assert went("day", "Europe/Berlin") == ["e0", "e1", "e3"]
    assert went("week", "Europe/Berlin") == ["e0", "e3"]
    assert went("week", "UTC") == ["e0"]
    assert went("month", "Europe/Berlin") == ["e0", "e1"]
    assert went("month", "America/New_York") == ["e0", "e2"]


def test_rule_26_the_zone_may_be_a_path_with_a_default():
    table = """
    | at | data |
    | 0 | {"tz": "Asia/Kolkata"} |
    | 1 | {"tz": "Mars/Base"} |
    | 2 | {} |
    | 66600 | {"tz": "Asia/Kolkata"} |"""
    assert sent(fd.replay(capped(1, per="day", tz=var.metadata.tz, default_tz="UTC"), log_of(table))) == [
        0,
        66600,
    ]
    result = fd.replay(capped(1, per="day", tz="metadata.tz"), log_of(table))
    assert sent(result) == [0, 66600]
    assert [(seq, why) for seq, _, why in failures(result)] == [
        (2, "'metadata.tz' has no name of a time zone"),
        (3, "'metadata.tz' has no name of a time zone"),
    ]


# a gap and a fold of an hour, one of half an hour, a fold around midnight, and a zone that left out a day
ZONES = {
    "Europe/Berlin": ["2026-03-29T00:00", "2026-10-25T00:00"],
    "America/New_York": ["2026-03-08T00:00", "2026-11-01T00:00"],
    "Australia/Lord_Howe": ["2026-04-05T00:00", "2026-10-04T00:00"],
    "America/St_Johns": ["2010-11-06T23:00", "2010-03-14T00:00"],
    "Pacific/Apia": ["2011-12-29T12:00", "2011-12-31T12:00"],
}


@pytest.mark.parametrize(("zone", "around"), [(zone, at) for zone, some in ZONES.items() for at in some])
@pytest.mark.parametrize("per", ["day", "week", "month"])
def test_rule_26_local_days_are_right_where_clocks_change(zone, around, per):
    middle = first_moment(dt.datetime.fromisoformat(around), zone)
    moments = [middle + quarter * HOUR // 4 for quarter in range(-120, 120)]
    log = pl.DataFrame(
        {
            "timestamp": pl.Series(moments).cast(pl.Datetime("us", "UTC")),
            "kind": "link.created",
            "link_type": "l",
            "source_id": "a",
            "target_id": "b",
        }
    )
    result = fd.replay(capped(5, per=per, tz=zone), log)
    went, expected = defaultdict(int), []
    for moment in moments:
        day = shown(moment, zone).date()
        here = {"day": day, "week": day - dt.timedelta(days=day.weekday()), "month": (day.year, day.month)}[
            per
        ]
        if went[here] < 5:
            went[here] += 1
            expected.append(moment)
    found = pl.from_pandas(result["s"][["delivered_at"]])["delivered_at"].cast(pl.Datetime("us", "UTC"))
    assert found.to_physical().to_list() == expected
    assert len(went) >= (2 if per == "day" else 1)


@settings(max_examples=3 * settings().max_examples, deadline=None)
@given(
    st.integers(0, 2**32),
    st.integers(0, 7),
    st.sampled_from([1, 5, 40, 1000]),
    st.sampled_from([1, 7, 300]),
    st.sampled_from([50, 1000, None]),
    st.booleans(),
)
def test_rule_26_in_every_stretch_there_are_at_most_max_and_as_many_as_can_be(
    seed, most, per, keys, chunk_size, small
):
    random = np.random.default_rng(seed)
    moments = 1000 * np.sort(random.integers(0, 2000, 3000))
    targets = random.integers(0, keys, 3000)
    log = pl.DataFrame(
        {
            "timestamp": pl.Series(START + moments).cast(pl.Datetime("us", "UTC")),
            "kind": "link.created",
            "link_type": "l",
            "source_id": [str(n) for n in range(3000)],
            "target_id": [f"t{n}" for n in targets],
        }
    )
    with pytest.MonkeyPatch.context() as patch:
        if small:
            patch.setattr(key_memory, "TOGETHER", 8)
            patch.setattr(key_memory, "LARGEST", 64)
            patch.setattr(cap_counts, "LOOP_BELOW", 2)
        result = fd.replay(capped(most, per=f"{per}ms", key="target_id"), log, chunk_size=chunk_size)
    went, expected = defaultdict(list), []
    for number, (moment, target) in enumerate(zip(moments.tolist(), targets.tolist(), strict=True)):
        if sum(other > moment - 1000 * per for other in went[target][-most:] if most) < most:
            went[target].append(moment)
            expected.append(str(number))
    assert result["s"]["who"].tolist() == expected


@pytest.mark.parametrize(
    ("arguments", "options", "what", "hint"),
    [
        ((-1,), {"per": "1h"}, "cap: max must be a whole number of at least 0", None),
        ((3,), {"per": "0s"}, "cap: per is 0, in which nothing can be counted", None),
        ((3,), {"per": "hour"}, "duration", "write '1h'"),
        (
            (3,),
            {"per": "1h", "tz": "UTC"},
            "cap: tz is for a local day, week or month, not for every 1h",
            None,
        ),
        ((3,), {"per": "day", "tz": "Europe/Berln"}, "is not a time zone", "did you mean 'Europe/Berlin'"),
        (
            (3,),
            {"per": "day", "tz": "UTC", "default_tz": "UTC"},
            "default_tz is for a tz that data says",
            None,
        ),
        ((3,), {"per": "day", "key": "owner.id"}, "no variable 'owner'", None),
    ],
)
def test_rule_26_what_cannot_be_is_refused_on_its_line(arguments, options, what, hint):
    with pytest.raises(fd.BuildError) as refused:
        capped(*arguments, **options)
    assert what in str(refused.value)
    assert hint is None or hint in str(refused.value.hint)


def test_rule_26_python_and_yaml_say_the_same():
    flow = capped(3, per="day", key="target_id", tz="Europe/Berlin")
    assert flow.steps[0].text == "cap(3, per='day', key='target_id', tz='Europe/Berlin')"
    scope = {}
    exec(flow.to_python(), scope)
    assert scope["flow"] == flow
    text = """
    name: f
    trigger: {kind: link.created}
    pipeline:
      - cap: {max: 3, per: day, key: target_id, tz: Europe/Berlin}
      - map: {template: {who: "{{ source_id }}"}}
      - deliver: {sink: s}
    """
    (loaded,) = fd.load(text).flows
    assert loaded.steps == flow.steps
    with pytest.raises(fd.LoadError, match="is 0, in which nothing can be counted"):
        fd.load(text.replace("per: day", "per: 0s").replace(", tz: Europe/Berlin", ""))


def test_rule_26_the_schema_knows_what_yaml_may_say():
    options = fd.schema()
    errors = jsonschema.Draft202012Validator(options)
    flow = {"name": "f", "trigger": {"kind": "link.created"}}

    def valid(cap):
        pipeline = [{"cap": cap}, {"map": {"template": {"a": 1}}}, {"deliver": {"sink": "s"}}]
        return errors.is_valid([{**flow, "pipeline": pipeline}])

    assert valid({"max": 3, "per": "day", "tz": "Europe/Berlin"})
    assert valid({"max": 0, "per": "24h", "key": ["target_id", "source_id"]})
    assert not valid({"max": 3, "per": "fortnight"})
    assert not valid({"max": -1, "per": "day"})
    assert not valid({"max": 3})


def test_rule_26_production_has_no_cap_and_is_told_what_comes_nearest():
    flow = capped(3, per="24h", key="target_id")
    with pytest.raises(fd.ExportError, match="production has no operator 'cap'") as refused:
        flow.to_yaml()
    assert "token bucket for all keys together, and lets up to twice as many through" in str(refused.value)
    assert "not-portable" in {found.code for found in flow.check(target="this-rs")}
