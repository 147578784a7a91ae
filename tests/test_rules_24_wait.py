"""Rule 24: contexts wait for a time, for a local moment, or for local hours, and then see the graph of then."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from event_tables import START, counts, drops, failures, log_of, moment, sent

import flowdsl as fd
from flowdsl import Flow, on, var
from flowdsl.values.zones import zone_names

LIKED = on("link.created", link_type="likes")
HOUR, DAY = 3600, 86400
CHUNKS = pytest.mark.parametrize("chunk_size", [1, 2, None])


def told(flow: Flow) -> Flow:
    return flow.map(who="{{ source_id }}").deliver("s").named("f")


def at(*texts: str, **metadata: Any) -> list[dict[str, Any]]:
    """A like at each moment, by u0, u1, …"""
    return [
        {"timestamp": f"{text}Z", "event": fd.link_created("likes", f"u{n}", "p1", metadata=metadata or None)}
        for n, text in enumerate(texts)
    ]


def moments(result: fd.Result, sink: str = "s") -> list[str]:
    """When each delivery was made, UTC."""
    return [one.strftime("%Y-%m-%dT%H:%M") for one in result[sink]["delivered_at"]]


# -- durations -----------------------------------------------------------------------------------------------


@CHUNKS
def test_rule_24_each_context_goes_on_after_its_duration_in_order(chunk_size: int | None) -> None:
    table = "| at | source |\n | 0 | ann |\n | 0 | bob |\n | 3 | cem |\n | 20 | dan |"
    result = fd.replay(told(LIKED.wait("10s")), log_of(table), chunk_size=chunk_size)
    assert sent(result, "who", "closed_by") == [
        (10, "ann", None), (10, "bob", None), (13, "cem", None), (30, "dan", "end"),
    ]  # fmt: skip
    assert result["s"]["seq_no"].tolist() == [1, 2, 3, 4]


def test_rule_24_a_duration_of_nothing_is_no_wait() -> None:
    result = fd.replay(told(LIKED.wait("0s")), log_of("| at |\n | 5 |"))
    assert sent(result) == [5]
    assert result["s"]["closed_by"].isna().all()


@CHUNKS
def test_rule_24_data_say_how_long_and_what_is_no_duration_fails(chunk_size: int | None) -> None:
    table = """
    | at | source | data |
    | 0 | ann | {"delay": "20s"} |
    | 1 | bob | {"delay": "2s"} |
    | 2 | cem | {"delay": "soon"} |
    | 3 | dan | {} |
    | 4 | eve | {"delay": 5} |
    | 5 | fay | {"delay": null} |
    | 30 | gus | {"delay": "0s"} |"""
    result = fd.replay(told(LIKED.wait(var.metadata.delay)), log_of(table), chunk_size=chunk_size)
    assert sent(result, "who") == [(3, "bob"), (20, "ann"), (30, "gus")]
    assert [(seq_no, step) for seq_no, step, _ in failures(result)] == [(3, 0), (4, 0), (5, 0), (6, 0)]


def test_rule_24_a_wait_beyond_the_year_9999_fails() -> None:
    result = fd.replay(told(LIKED.wait("500000w")), log_of("| at |\n | 0 |"))
    assert failures(result) == [(1, 0, "its wait would end after the year 9999")]


@CHUNKS
def test_rule_24_what_it_looks_up_then_sees_the_graph_of_then_and_variables_stay(
    chunk_size: int | None,
) -> None:
    """Rule 6: variables that were set before keep their values; look-ups after it are those of its end."""
    table = """
    | at | kind | type | id | source | target | data |
    | 0 | entity.created | user | ann | - | - | {"name": "Ann"} |
    | 1 | link.created | likes | - | ann | p1 | - |
    | 5 | entity.updated | user | ann | - | - | {"name": "Anna"} |
    | 10.999999 | link.created | reads | - | ann | p1 | - |
    | 11 | entity.updated | user | ann | - | - | {"name": "Too late"} |
    | 12 | link.created | likes | - | ann | p2 | - |
    | 13 | entity.deleted | user | ann | - | - | - |"""
    flow = (
        LIKED.resolve("source_id", as_="before_it")
        .wait("10s")
        .resolve("source_id", as_="then", required=False)
        .map(
            was="{{ before_it.name }}",
            now="{% if then %}{{ then.name }}{% else %}gone{% endif %}",
            read=fd.fn.linked(var.source_id, "reads", var.target_id),
        )
        .deliver("s")
    )
    result = fd.replay(flow, log_of(table), chunk_size=chunk_size)
    # a timer due at a moment fires before the events of that moment
    assert sent(result, "was", "now", "read") == [
        (11, "Ann", "Anna", True),
        (22, "Too late", "gone", False),
    ]


def test_rule_24_a_welcome_asks_after_a_day_whether_she_has_followed_anyone() -> None:
    flow = (
        on("entity.created", entity_type="user")
        .wait("1d")
        .where("count_links(entity_id, 'follows') == 0")
        .map(recipient_id="{{ entity_id }}", title="whom do you know?")
        .deliver("s")
    )
    log = log_of(f"""
    | at | kind | type | id | source | target | data |
    | 0 | entity.created | user | ann | - | - | {{}} |
    | 60 | entity.created | user | bob | - | - | {{}} |
    | 90 | link.created | follows | - | ann | bob | - |
    | {2 * DAY} | entity.created | post | p1 | - | - | {{}} |""")
    result = fd.replay(flow, log)
    assert sent(result, "recipient_id") == [(DAY + 60, "bob")]
    assert drops(result) == {"filtered": 1}


# -- until a local moment ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "came", "goes_on"),
    [
        ({"until": "09:00"}, "2026-05-04T08:59:59", "2026-05-04T09:00"),
        ({"until": "09:00"}, "2026-05-04T09:00:00", "2026-05-04T09:00"),
        ({"until": "09:00"}, "2026-05-04T09:00:01", "2026-05-05T09:00"),
        # a Monday, summer time: nine there is seven
        ({"until": "09:00", "on": "mon", "tz": "Europe/Berlin"}, "2026-05-04T07:00:00", "2026-05-04T07:00"),
        ({"until": "09:00", "on": "mon", "tz": "Europe/Berlin"}, "2026-05-04T07:00:01", "2026-05-11T07:00"),
        # over the end of summer time: nine is then eight
        ({"until": "09:00", "on": "mon", "tz": "Europe/Berlin"}, "2026-10-20T00:00:00", "2026-10-26T08:00"),
        # skipped: the first instant after the gap; twice: the first of them (rule 25)
        ({"until": "02:30", "tz": "Europe/Berlin"}, "2026-03-29T00:00:00", "2026-03-29T01:00"),
        ({"until": "02:30", "tz": "Europe/Berlin"}, "2026-10-25T00:00:00", "2026-10-25T00:30"),
        ({"until": "02:30", "tz": "Europe/Berlin"}, "2026-10-25T01:00:00", "2026-10-26T01:30"),
        # the last day of a shorter month
        ({"until": "12:00", "on": 31}, "2026-02-01T00:00:00", "2026-02-28T12:00"),
        ({"until": "12:00", "on": 31}, "2026-02-28T12:00:01", "2026-03-31T12:00"),
        # the day that Samoa did not have
        ({"until": "09:00", "tz": "Pacific/Apia"}, "2011-12-29T20:00:00", "2011-12-30T10:00"),
    ],
)
def test_rule_24_it_goes_on_at_the_next_such_local_moment(
    options: dict[str, Any], came: str, goes_on: str
) -> None:
    result = fd.replay(told(LIKED.wait(**options)), at(came))
    assert moments(result) == [goes_on]


def test_rule_24_at_once_if_it_is_now_is_no_wait_at_all() -> None:
    result = fd.replay(told(LIKED.wait(until="09:00")), at("2026-05-04T09:00:00"), open_windows="keep")
    assert moments(result) == ["2026-05-04T09:00"]
    assert len(result.open) == 0


def test_rule_24_each_reader_has_a_zone_of_their_own() -> None:
    graph = fd.EntityGraph({"user": {"ann": {"tz": "Asia/Kolkata"}, "bob": {}, "cem": {"tz": "Mars/Base"}}})
    log = [
        {"timestamp": "2026-05-04T00:00:00Z", "event": fd.link_created("likes", "eve", who)}
        for who in ("ann", "bob", "cem")
    ]
    flow = LIKED.resolve("target_id", as_="reader")
    strict = told(flow.wait(until="09:00", tz="reader.tz"))
    result = fd.replay(strict, log, graph)
    assert moments(result) == ["2026-05-04T03:30"]
    assert [(seq_no, step) for seq_no, step, _ in failures(result)] == [(2, 1), (3, 1)]
    lenient = told(flow.wait(until="09:00", tz="reader.tz", default_tz="Europe/Berlin"))
    assert moments(fd.replay(lenient, log, graph)) == ["2026-05-04T03:30"] + ["2026-05-04T07:00"] * 2


# -- local hours ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hours", "came", "goes_on"),
    [
        ("08:00-22:00", "2026-05-04T05:59:59", "2026-05-04T06:00"),
        ("08:00-22:00", "2026-05-04T06:00:00", "2026-05-04T06:00"),
        ("08:00-22:00", "2026-05-04T19:59:00", "2026-05-04T19:59"),
        # the end is excluded
        ("08:00-22:00", "2026-05-04T20:00:00", "2026-05-05T06:00"),
        # past midnight
        ("22:00-02:00", "2026-05-04T21:30:00", "2026-05-04T21:30"),
        ("22:00-02:00", "2026-05-04T23:59:00", "2026-05-04T23:59"),
        ("22:00-02:00", "2026-05-05T00:00:00", "2026-05-05T20:00"),
        ("00:00-24:00", "2026-05-04T22:00:00", "2026-05-04T22:00"),
        # they begin in the gap: the first instant after it
        ("02:30-04:00", "2026-03-29T00:30:00", "2026-03-29T01:00"),
        # an hour that comes twice is inside both times
        ("02:00-03:00", "2026-10-25T00:30:00", "2026-10-25T00:30"),
        ("02:00-03:00", "2026-10-25T01:30:00", "2026-10-25T01:30"),
        ("02:00-03:00", "2026-10-25T02:00:00", "2026-10-26T01:00"),
    ],
)
@pytest.mark.parametrize("outside", ["hold", "drop"])
def test_rule_24_inside_the_hours_at_once_else_at_their_next_beginning(
    hours: str, came: str, goes_on: str, outside: Any
) -> None:
    flow = told(LIKED.wait(hours=hours, tz="Europe/Berlin", outside=outside))
    result = fd.replay(flow, at(came))
    if outside == "hold" or came.startswith(goes_on):
        assert moments(result) == [goes_on]
    else:
        assert drops(result) == {"outside hours": 1}
        assert len(result) == 0


# -- the end of the log, state, live -------------------------------------------------------------------------


def test_rule_24_what_waits_at_the_end_of_the_log_goes_on_as_if_time_did_or_stays_open() -> None:
    log = log_of("| at | source |\n | 0 | ann |\n | 8 | bob |\n | 12 | cem |")
    flushed = fd.replay(told(LIKED.wait("10s")), log)
    assert sent(flushed, "closed_by") == [(10, None), (18, "end"), (22, "end")]
    kept = fd.replay(told(LIKED.wait("10s")), log, open_windows="keep")
    assert sent(kept) == [10]
    assert [
        (row.held, (row.due_at - START) / dt.timedelta(seconds=1), row.last_seq_no)
        for row in kept.open.itertuples()
    ] == [(1, 18, 2), (1, 22, 3)]
    assert counts(kept, 0) == {"entered": 3, "passed": 1, "held": 2}
    rest = fd.replay(told(LIKED.wait("10s")), log, state=kept.state)
    assert sent(rest, "who") == [(18, "bob"), (22, "cem")]


def test_rule_24_a_clock_mark_lets_go_on_what_is_due() -> None:
    """Rule 3: where a timer fired although no event came."""
    log = fd.MemoryEventLog()
    log.append(log_of("| at |\n | 0 |"))
    log.mark_clock(moment(10).isoformat())
    result = fd.replay(told(LIKED.wait("10s")), log, open_windows="keep")
    assert sent(result, "closed_by") == [(10, None)]


def test_rule_24_a_live_run_that_was_stopped_goes_on_waiting(tmp_path: Path) -> None:
    log, got = fd.ParquetEventLog(tmp_path / "log"), fd.sinks.Frame()
    flow = told(LIKED.wait(until="09:00", on="mon", tz="Europe/Berlin"))
    now = [dt.datetime(2026, 5, 1, tzinfo=dt.UTC)]

    def run() -> None:
        runtime = fd.Runtime(flow, log, sinks={"s": got}, clock=lambda: now[0])
        runtime.run_until_idle("last_acknowledged")

    log.append(at("2026-05-01T00:00:00"))
    run()
    assert len(got.frame()) == 0
    now[0] = dt.datetime(2026, 5, 4, 7, tzinfo=dt.UTC)
    run()
    assert [str(one) for one in got.frame()["delivered_at"]] == ["2026-05-04 07:00:00+00:00"]
    # the mark that it wrote lets a replay do the same
    assert moments(fd.replay(flow, log, open_windows="keep")) == ["2026-05-04T07:00"]


def test_rule_24_explain_and_why_say_what_it_waits_for() -> None:
    log = log_of("| at | source |\n | 0 | ann |\n | 5 | bob |")
    result = fd.replay(told(LIKED.wait("1h")), log, open_windows="keep")
    assert "wait" in str(result.explain(1))
    assert "its time had not come" in str(result.why(1, "p1"))
    dropped = fd.replay(told(LIKED.wait(hours="08:00-22:00", outside="drop")), log)
    assert "outside hours" in str(dropped.explain(1))
    assert "dropped at step 0 (wait)" in str(dropped.why(1, "p1"))


# -- what it is written as -----------------------------------------------------------------------------------

FORMS: dict[str, tuple[Flow, dict[str, Any]]] = {
    "a duration": (LIKED.wait("90m"), {"duration": "90m"}),
    "a path": (LIKED.wait("metadata.delay"), {"duration": "metadata.delay"}),
    "a time": (LIKED.wait(until="09:00"), {"until": "09:00"}),
    "seconds": (LIKED.wait(until="09:00:30"), {"until": "09:00:30"}),
    "a weekday": (
        LIKED.wait(until="09:00", on="mon", tz="Europe/Berlin"),
        {"until": "09:00", "on": "mon", "tz": "Europe/Berlin"},
    ),
    "a day of the month": (LIKED.wait(until="00:00", on=31), {"until": "00:00", "on": 31}),
    "hours": (
        LIKED.wait(hours="22:00-06:00", outside="drop", tz=var.metadata.tz, default_tz="UTC"),
        {"hours": "22:00-06:00", "outside": "drop", "tz": "metadata.tz", "default_tz": "UTC"},
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_rule_24_python_yaml_and_the_schema_say_the_same(form: str) -> None:
    flow, options = FORMS[form]
    flow = told(flow)
    names: dict[str, Any] = {}
    exec(flow.to_python(), names)
    assert names["flow"] == flow
    pipeline = [{"wait": options}, {"map": {"template": {"who": "{{ source_id }}"}}}, {"deliver": {"sink": "s"}}]  # fmt: skip
    document = [
        {"name": "f", "trigger": {"kind": "link.created", "link_type": "likes"}, "pipeline": pipeline}
    ]
    assert list(fd.load({"events": {"flows": document}}).flows) == [flow]
    jsonschema.Draft202012Validator(fd.schema()).validate(document)
    assert LIKED.then(flow.steps[0]).steps == (flow.steps[0],)


@pytest.mark.parametrize(
    ("options", "what", "hint"),
    [
        ({}, "wait has nothing to wait for", None),
        ({"duration": "1h", "until": "09:00"}, "wait has duration and until", None),
        ({"duration": "1 day"}, "duration", None),
        ({"duration": "-5m"}, "duration", None),
        ({"duration": "dta.delay"}, "no variable 'dta'", None),
        ({"until": "9:00"}, "wait: until '9:00' is not a time of day", "did you mean '09:00'?"),
        ({"until": "9am"}, "wait: until '9am' is not a time of day", None),
        ({"until": "25:00"}, "wait: until '25:00' is not a time of day", None),
        ({"until": 9}, "wait: until 9 is not a time of day", None),
        ({"until": 32_400_000_000}, "wait: until 32400000000 is not a time of day", None),
        ({"until": "09:00", "on": "monday"}, "wait: on 'monday' is not a day", "did you mean 'mon'?"),
        ({"until": "09:00", "on": "Mon"}, "wait: on 'Mon' is not a day", "did you mean 'mon'?"),
        ({"until": "09:00", "on": 32}, "wait: on 32 is not a day", None),
        ({"on": "mon"}, "wait has nothing to wait for", None),
        ({"duration": "1d", "on": "mon"}, "wait: on= goes with until=", "give until=, or no on="),
        ({"hours": "8-22"}, "wait: hours '8-22' is not a stretch of hours", "did you mean '08:00-22:00'?"),
        ({"hours": "08:00"}, "wait: hours '08:00' is not a stretch of hours", None),
        ({"hours": "08:00-08:00"}, "begins when it ends", None),
        ({"hours": "08:00-22:00", "outside": "discard"}, "wait: outside 'discard' is not known", None),
        ({"until": "09:00", "outside": "drop"}, "wait: outside= goes with hours=", None),
        ({"duration": "1d", "tz": "UTC"}, "a duration is the same in all time zones", "leave tz= out"),
        ({"until": "09:00", "tz": "Europe/Berln"}, "is not a time zone", "did you mean 'Europe/Berlin'?"),
        ({"until": "09:00", "tz": "Berlin"}, "is not a time zone", "did you mean 'Europe/Berlin'?"),
        ({"until": "09:00", "default_tz": "UTC"}, "default_tz is for a tz that data says", "tz='UTC'"),
    ],
)
def test_rule_24_what_cannot_be_is_refused_on_its_line(
    options: dict[str, Any], what: str, hint: str | None
) -> None:
    with pytest.raises(fd.BuildError) as refused:
        LIKED.named("f").wait(**options)
    assert what in str(refused.value)
    assert "flow 'f', step 0 (wait)" in str(refused.value)
    assert hint is None or hint in str(refused.value.hint)


def test_rule_24_production_has_no_wait_and_is_told_what_comes_nearest() -> None:
    flow = told(LIKED.wait("1d"))
    with pytest.raises(fd.ExportError, match="production has no operator 'wait'") as refused:
        flow.to_yaml()
    assert "a batch with a window waits as long, but makes one of all with the same key" in str(refused.value)
    assert [(f.code, f.step) for f in flow.check(target="this-rs") if f.code == "not-portable"] == [
        ("not-portable", 0)
    ]


def test_rule_25_the_manifest_names_the_version_of_the_zone_data() -> None:
    from importlib.metadata import version

    result = fd.replay(told(LIKED.wait(until="09:00")), at("2026-05-04T00:00:00"))
    assert result.manifest["tzdata"] == version("tzdata")
    assert len(zone_names()) > 400
