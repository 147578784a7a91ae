"""Where production stops for good: a crash of its engine ends the run, and the replay says so.

No input here makes any engine crash: the year from which `date` knows no more is set to 1970 for these tests.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from this_rs_runs import ANN, BOB, log_at

import flowdsl as fd
from flowdsl.cli.main import main
from flowdsl.expressions.crashes import CrashReason
from flowdsl.expressions.templates import Template, crashes, failures, scalar
from flowdsl.expressions.templates.crashes import Construct
from flowdsl.expressions.templates.failures import RenderCrashError, RenderError
from flowdsl.expressions.templates.filters import dates, scalars
from flowdsl.expressions.templates.invalid import BrokenTemplate
from flowdsl.findings import check_sources, crash_search
from flowdsl.production import this_rs_conditions
from flowdsl.values.json_types import MISSING

LAST = 1_000
"""The last second from 1970 that `date` knows in these tests."""
DATED = {"map": {"template": {"t": "{{ data.at | date }}"}}}
PLAIN = {"map": {"template": {"t": "hello"}}}


@pytest.fixture(autouse=True)
def _short_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dates, "is_known", lambda seconds: seconds <= LAST)


def post(number: int, at: Any, **data: Any) -> dict[str, Any]:
    """A post with a time."""
    return fd.entity_created("post", f"00000000-0000-4000-8000-{number:012d}", {"at": at, **data})


def posts(*moments: Any) -> fd.MemoryEventLog:
    """A post a second, with these times."""
    return log_at(*((1_000 * n, post(n, at)) for n, at in enumerate(moments)))


def flow(name: str, *steps: dict[str, Any], kind: str = "entity.created") -> dict[str, Any]:
    """A flow as production's YAML has it, with a sink of its name."""
    return {"name": name, "trigger": {"kind": kind}, "pipeline": [*steps, {"deliver": {"sink": name}}]}


def loaded(*flows: dict[str, Any]) -> fd.Project:
    """The flows as production reads them."""
    return fd.load({"events": {"flows": list(flows)}}, target="this-rs")


def stopping(*more: dict[str, Any], **options: Any) -> fd.Result:
    """Three flows, of which the one in the middle stops production at event 4 of 6."""
    flows = loaded(flow("before", PLAIN), flow("dated", *more, DATED), flow("behind", PLAIN))
    return fd.replay(flows, posts(1, 2, "no time", LAST + 1, 5, LAST + 2), target="this-rs", **options)


def told(result: fd.Result) -> list[tuple[int, str]]:
    """The event and the flow of each delivery."""
    return [(row.seq_no, row.flow) for row in result.deliveries.itertuples()]


# -- the replay ----------------------------------------------------------------------------------------------


def test_a_result_says_at_which_event_flow_and_step_production_stops_and_why():
    stopped = stopping().stopped
    assert stopped is not None
    assert (stopped.seq_no, stopped.flow, stopped.step, stopped.operator) == (4, "dated", 0, "map")
    assert "1001 seconds" in stopped.reason
    assert stopped.branch is None


def test_nothing_is_delivered_after_the_stop_by_any_flow_and_all_that_is_before_it_is():
    assert told(stopping()) == [
        (1, "before"), (1, "dated"), (1, "behind"), (2, "before"), (2, "dated"), (2, "behind"),
        (3, "before"), (3, "behind"), (4, "before"),
    ]  # fmt: skip


def test_what_fails_for_one_event_still_fails_for_that_event_only():
    errors = stopping().errors
    assert errors[["seq_no", "flow"]].values.tolist() == [[3, "dated"]]


def test_the_context_at_which_it_stops_is_dropped_as_stopped_and_all_sums_hold():
    result = stopping()
    assert result.dropped.values.tolist() == [["dated", 0, "map", "stopped", 1]]
    steps = result.steps
    came = steps["held_before"] + steps["entered"] + steps["extra_branches"]
    went = steps["passed"] + steps["dropped"] + steps["failed"] + steps["absorbed"] + steps["held"]
    assert (came == went).all()
    assert dict(zip(steps["flow"], steps["entered"], strict=False)) == {"before": 4, "dated": 2, "behind": 3}


@pytest.mark.parametrize("size", range(1, 8))
def test_the_size_of_a_chunk_changes_nothing(size: int):
    whole, cut = stopping(), stopping(chunk_size=size)
    assert cut.stopped == whole.stopped
    assert cut.deliveries.equals(whole.deliveries)
    assert cut.steps.drop(columns="seconds").equals(whole.steps.drop(columns="seconds"))
    assert cut.manifest["events"] == whole.manifest["events"] == 4


@pytest.mark.parametrize(
    "step",
    [
        {"deduplicate": {"key": "data.k", "window": "1h"}},
        {"rate_limit": {"max": 3, "per": "1s"}},
        {"batch": {"key": "data.k", "window": "1s"}},
    ],
    ids=lambda step: next(iter(step)),
)
@pytest.mark.parametrize("size", [1, 3, 100])
def test_windows_and_limits_are_as_they_are_at_the_event_of_the_stop(step: dict[str, Any], size: int):
    moments = [3, 1, LAST + 1, 3, 2, 1]
    log = log_at(*((400 * n, post(n, at, k=at % 3)) for n, at in enumerate(moments * 3)))
    flows = loaded(flow("plain", step, PLAIN), flow("dated", step, DATED))
    result = fd.replay(flows, log, target="this-rs", chunk_size=size, open_windows="keep")
    assert result.stopped is not None
    assert result.stopped.flow == "dated"
    # what a replay of just the events before it has, with the first flow run on the event itself too
    before = fd.replay(flows, log, target="this-rs", stop=result.stopped.seq_no, open_windows="keep")
    first = fd.replay(
        loaded(flow("plain", step, PLAIN)),
        log,
        target="this-rs",
        stop=result.stopped.seq_no + 1,
        open_windows="keep",
    )
    assert before.stopped is None
    assert told(result) == sorted({*told(before), *told(first)}, key=lambda row: (row[0], row[1] != "plain"))


def test_no_run_goes_on_from_the_state_of_one_that_has_stopped():
    flows = loaded(flow("dated", DATED))
    log = posts(1, LAST + 1, 3, 4)
    first = fd.replay(flows, log, target="this-rs", stop=4)
    second = fd.replay(flows, log, target="this-rs", state=first.state)
    whole = fd.replay(flows, log, target="this-rs")
    assert first.stopped == second.stopped == whole.stopped
    assert (len(first), len(second), len(whole)) == (1, 0, 1)


def test_branches_before_the_one_that_stops_are_delivered_and_those_after_it_never_begun():
    people = {n: f"00000000-0000-4000-8000-00000000010{n}" for n in range(4)}
    moments = [1, 2, LAST + 1, 4]
    entities = {"user": {people[n]: {"at": at} for n, at in enumerate(moments)}}
    links = [{"link_type": "follows", "source_id": people[n], "target_id": ANN} for n in range(4)]
    fan = {"fan_out": {"from": "target_id", "via": "follows", "direction": "reverse", "as": "fan"}}
    passed = {"filter": {"condition": "fan.at exists"}}
    steps = (fan, passed, PLAIN, {"deliver": {"sink": "early"}}, {"map": {"template": "{{ fan.at | date }}"}})
    flows = loaded(flow("f", *steps, kind="link.created"))
    log = log_at((0, fd.link_created("likes", BOB, ANN)), (1, fd.link_created("likes", BOB, ANN)))
    result = fd.replay(flows, log, fd.EntityGraph(entities, links), target="this-rs")
    assert result.stopped is not None
    assert (result.stopped.seq_no, result.stopped.branch, result.stopped.step) == (1, "2", 4)
    assert [(row.sink, row.branch) for row in result.deliveries.itertuples()] == [
        ("early", "0"), ("f", "0"), ("early", "1"), ("f", "1"), ("early", "2"),
    ]  # fmt: skip
    assert result.dropped[["step", "reason", "count"]].values.tolist() == [
        [0, "stopped", 1],
        [4, "stopped", 1],
    ]


def test_of_two_fields_the_one_first_by_name_decides_whether_an_event_fails_or_all_ends():
    def result(fails: str, crashes: str) -> fd.Result:
        template = {crashes: "{{ data.at | date }}", fails: "{{ data.nothing }}"}
        return fd.replay(
            loaded(flow("f", {"map": {"template": template}})), posts(LAST + 1), target="this-rs"
        )

    assert result(fails="a", crashes="b").stopped is None
    assert result(fails="b", crashes="a").stopped is not None


def test_flowdsls_own_rules_know_no_stop():
    rows = [{"timestamp": "2026-01-01T00:00:00Z", "event": post(n, at)} for n, at in enumerate((LAST + 1, 1))]
    own = fd.on("entity.created").map(t="{{ data.at | date }}").deliver("s")
    result = fd.replay(own, rows)
    assert result.stopped is None
    assert (len(result), len(result.errors)) == (1, 1)


def test_a_text_that_a_template_throws_is_no_crash_whatever_it_says():
    thrown = flow("f", {"map": {"template": "{{ throw(message=data.at) }}{{ 1 | date }}"}})
    result = fd.replay(loaded(thrown), posts(str(CrashReason("x"))), target="this-rs")
    assert result.stopped is None
    assert len(result.errors) == 1


def test_a_result_that_was_written_says_it_too(tmp_path: Path):
    stopping(out=tmp_path / "result")
    again = fd.read_result(tmp_path / "result")
    assert again.stopped == stopping().stopped
    assert told(again) == told(stopping())


def test_only_what_is_before_the_stop_is_handed_to_sinks():
    got: list[int] = []
    sink = fd.sinks.Custom(lambda delivery: got.append(delivery.seq_no))
    stopping(sinks={"before": sink, "dated": sink, "behind": sink}, dispatch=True)
    assert sorted(got) == [1, 1, 1, 2, 2, 2, 3, 3, 4]


def test_late_events_are_those_up_to_the_stop():
    log = fd.MemoryEventLog()
    for second, at in ((5, 1), (3, 2), (6, LAST + 1), (2, 4)):
        log.append(post(second, at), timestamp=f"2026-01-01T00:00:0{second}Z")
    assert fd.replay(loaded(flow("f", DATED)), log, target="this-rs").late["seq_no"].tolist() == [2]


# -- what says so --------------------------------------------------------------------------------------------


def test_print_and_report_say_it_first():
    result = stopping()
    assert repr(result).splitlines()[1].startswith("! production stops at event 4")
    assert "! production stops at event 4" in result.report().text
    assert "production stops at event 4" in result.report().html


def test_explain_and_why_say_of_later_events_that_production_had_stopped():
    result = stopping()
    assert "production stops at event 4" in repr(result.explain(5))
    assert "production stops at event 4" in repr(result.explain(4, flow="behind"))
    assert "production stops" not in repr(result.explain(4, flow="before"))
    assert [(s.outcome, s.reason) for s in result.explain(4, flow="dated").steps][-1] == (
        "dropped",
        "stopped",
    )
    assert "production stops at event 4" in result.why(5, "ann").text


def test_compare_says_what_is_lost_because_of_the_stop():
    built = fd.load({"events": {"flows": [flow("before", PLAIN), flow("dated", DATED)]}})
    log = posts(1, LAST + 1, 3, 4)
    meant = fd.replay(built, log)
    compared = fd.compare(meant, fd.replay(built, log, target="this-rs"))
    causes = compared.causes
    lost = causes[causes["outcome"] == "stopped"]
    assert lost[["flow", "change", "count"]].values.tolist() == [
        ["before", "removed", 2],
        ["dated", "removed", 2],
    ]
    assert set(lost["finding"]) == {"can-stop-production"}
    assert "production stops at event 2" in repr(compared)


def written(path: Path, *moments: Any) -> None:
    """A file of events, a post with each of these times."""
    rows = [
        {"timestamp": f"2026-01-01T00:00:0{n}Z", "kind": "entity.created", "entity_type": "post",
         "entity_id": f"00000000-0000-4000-8000-00000000000{n}", "data": json.dumps({"at": at})}
        for n, at in enumerate(moments)
    ]  # fmt: skip
    frame = pl.DataFrame(rows).with_columns(pl.col("timestamp").str.to_datetime(time_zone="UTC"))
    frame.write_parquet(path)


def test_check_with_a_log_says_at_which_event_production_stops(capsys: Any, tmp_path: Path):
    document = tmp_path / "flows.json"
    document.write_text(json.dumps({"events": {"flows": [flow("a", DATED), flow("b", DATED)]}}), "utf-8")
    written(tmp_path / "log.parquet", 1, 2, LAST + 1)
    code = main(["check", str(document), "--log", str(tmp_path / "log.parquet")])
    out = capsys.readouterr().out
    assert code == 1
    assert out.count("production stops at event 3: ") == 2
    assert "! production stops at event 3" in out


@pytest.mark.parametrize("stopping", [0, 1, 12, 40])
def test_the_first_stop_of_every_flow_is_found_in_two_replays_for_each_at_most(
    stopping: int, monkeypatch: pytest.MonkeyPatch
):
    replays: list[int] = []
    ran = crash_search.run

    def counted(options: Any, store: Any) -> Any:
        replays.append(len(options.flows))
        return ran(options, store)

    monkeypatch.setattr(crash_search, "run", counted)
    flows = [
        flow(f"f{n}", {"filter": {"condition": f"data.n == {n if n < stopping else 99}"}}, DATED)
        for n in range(40)
    ]
    log = log_at(*((1_000 * n, post(n, LAST + 1, n=40 - n)) for n in range(1, 41)))
    found = [f for f in loaded(*flows).check(target="this-rs", log=log) if f.code == "stops-at-event"]
    said = [(f.flow, f.message.partition(":")[0]) for f in found]
    assert said == [(f"f{n}", f"production stops at event {40 - n}") for n in range(stopping)]
    assert len(replays) <= 2 * stopping + 1
    # halves of halves: a flow is in about as many replays as the number of flows has digits in base 2
    assert sum(replays) <= 40 * (6 + 6)


def test_the_command_replay_says_it_and_ends_with_1(capsys: Any, tmp_path: Path):
    document = tmp_path / "flows.json"
    document.write_text(json.dumps({"events": {"flows": [flow("a", DATED)]}}), "utf-8")
    written(tmp_path / "log.parquet", 1, LAST + 1)
    code = main(["replay", str(document), "--log", str(tmp_path / "log.parquet"), "--target", "this-rs"])
    assert code == 1
    assert "production stops at event 2" in capsys.readouterr().err


# -- findings ------------------------------------------------------------------------------------------------


def codes(template: str, **options: Any) -> list[str]:
    """The codes of findings of a template that are about stops."""
    document = f"- name: f\n  trigger: {{kind: entity.created}}\n  pipeline:\n    - map: {{template: {json.dumps(template)}}}\n    - deliver: {{sink: s}}\n"
    return [f.code for f in check_sources([(document, "f.yaml")], "this-rs", **options) if "stop" in f.code]


def test_a_construct_that_only_some_values_crash_is_a_note():
    assert codes("{{ data.at | date }}") == ["can-stop-production"]
    assert codes("{% for c in data.text %}{{ c }}{% endfor %}") == ["can-stop-production"]
    assert codes("{{ data.a + data.b }}") == ["can-stop-production"]
    assert codes("{{ data[data.key] }}") == ["can-stop-production"]


@pytest.mark.parametrize(
    "template",
    [
        "{{ data.name | upper }}", "{{ data.a * data.b }}", '{{ "2026-01-31" | date }}', '{{ data.n | int(base=16) }}',
        '{% for t in data.text | split(pat=",") %}{{ t }}{% endfor %}', "{% for n in range(end=3) %}{{ n }}{% endfor %}",
        "{{ 1 + 2 }}", "{% if data.a is containing(data.b) %}x{% endif %}", '{{ data["name"] }}',
    ],
)  # fmt: skip
def test_what_no_value_crashes_is_no_finding(template: str):
    assert codes(template) == []
    assert not Template.parse(template, lenient=True).can_crash or "1 + 2" in template


def test_a_construct_that_every_value_crashes_is_an_error(monkeypatch: pytest.MonkeyPatch):
    # base 10 is fine with everybody; here it is taken for one that is not
    monkeypatch.setattr(crashes, "BASES", (2, 9))
    assert codes("{{ data.text | int(base=10) }}") == ["stops-production"]


def test_a_condition_with_which_production_does_not_start_is_an_error_and_is_not_loaded(
    monkeypatch: pytest.MonkeyPatch,
):
    # no condition is like that here: the word `never` is taken for one
    read = this_rs_conditions._right

    def reading(text: str) -> Any:
        if text == "never":
            raise this_rs_conditions.CrashingConditionError("it is for a test")
        return read(text)

    monkeypatch.setattr(this_rs_conditions, "_right", reading)
    filtered = flow("f", {"filter": {"condition": "data.a == never"}}, PLAIN)
    document = json.dumps({"events": {"flows": [flow("g", PLAIN), filtered]}})
    found = [(f.code, f.severity, f.flow) for f in check_sources([(document, "f.yaml")], "this-rs")]
    assert ("condition-stops-production", "error", "f") in found
    for skip_invalid in (False, True):
        with pytest.raises(fd.LoadError, match="it is for a test"):
            fd.load(document, target="this-rs", skip_invalid=skip_invalid)


def test_findings_of_a_log_name_the_event():
    assert codes("{{ data.at | date }}", log=posts(1, LAST + 1, 3)) == [
        "stops-at-event",
        "can-stop-production",
    ]
    assert codes("{{ data.at | date }}", log=posts(1, LAST, 3)) == ["can-stop-production"]


# -- what crashes --------------------------------------------------------------------------------------------


def test_the_last_second_that_date_knows_is_no_crash(monkeypatch: pytest.MonkeyPatch):
    assert Template.parse("{{ n | date }}").render_row({("n",): LAST}.__getitem__) == "1970-01-01"
    with pytest.raises(RenderCrashError):
        Template.parse("{{ n | date }}").render_row({("n",): LAST + 1}.__getitem__)


def test_the_largest_sum_that_is_a_number_is_no_crash():
    most = 1.7976931348623157e308
    lookup = {("a",): most, ("b",): 0.0}.__getitem__
    assert Template.parse("{{ a + b }}").render_row(lookup).startswith("17976931348623157")


def test_a_text_of_plain_letters_is_looped_over_without_a_crash():
    lookup = {("a",): "plain"}.__getitem__
    assert Template.parse("{% for c in a %}{{ c }}-{% endfor %}").render_row(lookup) == "p-l-a-i-n-"


def test_a_template_that_crashes_when_it_is_read_does_so_at_every_event():
    broken = BrokenTemplate("x", CrashReason("it is for a test"))
    assert broken.can_crash
    assert not BrokenTemplate("x", "it only fails").can_crash
    with pytest.raises(RenderCrashError):
        broken.render_row({}.__getitem__)


def test_base_2_to_36_are_no_crash():
    for base in (2, 36):
        assert scalars.to_int("1", _arguments(base)) == 1


def _arguments(base: int) -> Any:
    from flowdsl.expressions.templates.filters.arguments import Arguments

    return Arguments("int", {"base": base})


def test_a_macro_that_ends_is_no_crash():
    text = "{% macro m(n) %}{{ n }}{% if n > 0 %}{{ self::m(n=n - 1) }}{% endif %}{% endmacro %}{{ self::m(n=3) }}"
    assert Template.parse(text).render_row({}.__getitem__) == "3210"


def test_a_macro_that_calls_itself_deeper_than_anything_may_be_crashes(monkeypatch: pytest.MonkeyPatch):
    # four calls, and room for less
    text = "{% macro m(n) %}{{ n }}{% if n > 0 %}{{ self::m(n=n - 1) }}{% endif %}{% endmacro %}{{ self::m(n=3) }}"
    monkeypatch.setattr(failures, "MAX_DEPTH", 12)
    with pytest.raises(RenderCrashError):
        Template.parse(text).render_row({}.__getitem__)


def test_a_super_in_a_block_at_the_top_fails_and_is_no_crash():
    template = Template.parse("{% block a %}{{ super() }}{% endblock %}", lenient=True)
    with pytest.raises(RenderError) as failed:
        template.render_row({}.__getitem__)
    assert not isinstance(failed.value, RenderCrashError)


def test_a_template_that_includes_itself_and_ends_is_no_crash(monkeypatch: pytest.MonkeyPatch):
    # the name is one that no engine knows, but this one here
    monkeypatch.setattr(scalar, "ONE_OFF", "me")
    once = '{% if not again is defined %}{% set again = 1 %}a{% include "me" %}{% else %}b{% endif %}'
    assert Template.parse(once, lenient=True).render_row(lambda path: MISSING) == "ab"


def test_a_template_that_includes_itself_without_end_crashes(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(scalar, "ONE_OFF", "me")
    with pytest.raises(RenderCrashError):
        Template.parse('a{% include "me" %}', lenient=True).render_row({}.__getitem__)


def test_a_key_of_plain_letters_is_no_risk_and_one_that_comes_from_the_event_is():
    assert [r.construct for r in crashes.risks(Template.parse('{{ a["b"] }}').body)] == []
    assert [r.construct for r in crashes.risks(Template.parse("{{ a[b] }}").body)] == [Construct.KEY]
