"""Caps of sinks: at most so many deliveries to a recipient, of all flows together (rule 26)."""

import datetime as dt

import jsonschema
import pytest
from event_tables import drops, log_of, sent
from hypothesis import given, settings
from hypothesis import strategies as st
from live_runs import assert_told_the_same, live, pieces
from oracle import interpret
from oracle.comparing import bytes_of, said_by_engine, said_by_oracle
from strategies import START, Case, World, moment_text

import flowdsl as fd
from flowdsl import on

SECOND = 1_000_000
TWO = """
| at | type | target |
| 0 | likes | bob |
| 1 | follows | bob |
| 2 | likes | cem |
| 3 | likes | bob |
| 12 | follows | bob |"""


def told(link_type, *sinks):
    flow = on("link.created", link_type=link_type).map(recipient_id="{{ target_id }}", what=link_type)
    return flow.deliver(*sinks).named(link_type)


def test_rule_26_a_cap_of_a_sink_counts_all_flows_together_by_recipient():
    flows = [told("follows", "push"), told("likes", "push")]
    result = fd.replay(flows, log_of(TWO), caps={"push": fd.Cap(2, per="10s")})
    assert sent(result, "flow", "recipient_id", sink="push") == [
        (0, "likes", "bob"),
        (1, "follows", "bob"),
        (2, "likes", "cem"),
        (12, "follows", "bob"),
    ]
    assert drops(result) == {"capped": 1}
    assert result.refused.values.tolist() == [["likes", 1, "push", "capped", 1]]


def test_rule_26_what_a_cap_stops_still_reaches_other_sinks_and_the_context_goes_on():
    flow = told("likes", "push", "in-app").map(recipient_id="{{ target_id }}").deliver("mail").named("likes")
    result = fd.replay(flow, log_of(TWO), caps={"push": fd.Cap(1, per="day"), "mail": fd.Cap(1, per="1h")})
    assert [sent(result, sink=sink) for sink in ("push", "in-app", "mail")] == [[0, 2], [0, 2, 3], [0, 2]]
    assert drops(result) == {"capped": 1}
    assert result.steps[["entered", "passed", "dropped"]].values.tolist() == [[3, 3, 0]] * 3 + [[3, 2, 1]]


def test_rule_26_who_has_no_recipient_is_not_counted_and_preferences_come_first():
    people = fd.sinks.InApp()
    people.mute("cem")
    flow = on("link.created").map(recipient_id="{{ target_id }}").deliver("s")
    caps = {"s": fd.Cap(1, per="day")}
    result = fd.replay(
        flow,
        log_of("| at | target |\n | 0 | cem |\n | 1 | bob |\n | 2 | bob |"),
        sinks={"s": people},
        caps=caps,
    )
    assert drops(result) == {"preference": 1, "capped": 1}
    nobody = on("entity.created").map(a=1).deliver("s")
    events = [{"timestamp": "2026-01-01T00:00:00Z", "event": fd.entity_created("user", "ann", {})}] * 3
    assert len(fd.replay(nobody, events, caps=caps)["s"]) == 3


def test_rule_26_explain_why_and_pictures_name_the_cap():
    flows = [told("follows", "push"), told("likes", "push", "in-app")]
    result = fd.replay(flows, log_of(TWO), caps={"push": fd.Cap(1, per="1h")})
    assert "capped" in str(result.explain(2))
    assert "The cap for bob kept it from push." in str(result.why(2, "bob"))
    assert "The cap for bob kept it from push." in str(result.why(4, "bob"))
    assert "delivered to bob through in-app" in str(result.why(4, "bob"))
    assert "kept from push by its cap" in result.picture().mermaid
    assert "deliveries stopped by caps of sinks: result.refused" in repr(result)


def test_rule_26_the_counts_go_on_from_a_state_and_are_given_up_by_name_only():
    flows, log = [told("follows", "push"), told("likes", "push")], log_of(TWO)
    caps = {"push": fd.Cap(2, per="day")}
    first = fd.replay(flows, log, stop=3, caps=caps)
    second = fd.replay(flows, log, state=first.state, caps=caps)
    assert sent(first, sink="push") + sent(second, sink="push") == sent(
        fd.replay(flows, log, caps=caps), sink="push"
    )
    with pytest.raises(fd.ReplayError, match=r"sink 'push' \(cap\): the counts of 1 key"):
        fd.replay(flows, log, state=first.state)
    with pytest.raises(fd.ReplayError, match="the counts of 1 key"):
        fd.replay(flows, log, state=first.state, caps={"push": fd.Cap(3, per="day")})


def test_rule_26_a_live_run_goes_on_counting_after_it_was_stopped(tmp_path):
    events = log_of(TWO)
    log = fd.ParquetEventLog(tmp_path / "log")
    caps = {"push": fd.Cap(2, per="day")}
    flows = [told("follows", "push"), told("likes", "push")]
    sinks = {"push": fd.sinks.Frame()}
    clock = lambda: dt.datetime(2026, 1, 1, tzinfo=dt.UTC)  # noqa: E731
    for event in events:
        log.append([event])
        fd.Runtime(flows, log, sinks=sinks, caps=caps, clock=clock).run_until_idle("last_acknowledged")
    assert sinks["push"].frame()["seq_no"].tolist() == [1, 2, 3]
    changed = fd.Runtime(flows, log, sinks=sinks, clock=clock)
    with pytest.raises(fd.LiveError, match="sink 'push'"):
        changed.run_until_idle()
    given_up = fd.Runtime(flows, log, sinks=sinks, clock=clock, state="discard").run_until_idle()
    assert given_up.discarded[["flow", "operator"]].values.tolist() == [["sink 'push'", "cap"]]


YAML = """
events:
  flows:
    - name: likes
      trigger: {kind: link.created}
      pipeline:
        - map: {template: {recipient_id: "{{ target_id }}"}}
        - deliver: {sinks: [push]}
sinks:
  - {name: push, type: in_app, cap: {max: 2, per: day, tz: Europe/Berlin}}
"""


def test_rule_26_yaml_says_the_cap_of_a_sink_strictly():
    project = fd.load(YAML)
    assert project.sinks[0].cap == fd.Cap(2, per="day", tz="Europe/Berlin")
    assert sent(fd.replay(project, log_of(TWO)), sink="push") == [0, 1, 2]
    assert sent(fd.replay(project, log_of(TWO), caps={"push": None}), sink="push") == [0, 1, 2, 3, 12]
    for right, wrong, why in (
        ("per: day", "per: decade", "'decade' is not a duration"),
        ("max: 2", "mix: 2", "mix"),
        ("Europe/Berlin", "Europe/Berln", "'Europe/Berln' is not a time zone"),
        ("tz: Europe/Berlin", "tz: person.tz", "'person.tz' is not a time zone"),
        ("max: 2", "max: 2, key: target_id", "'key' is not known|has no"),
        ("{max: 2, per: day, tz: Europe/Berlin}", "3", "a sink: cap"),
    ):
        with pytest.raises(fd.LoadError, match=why):
            fd.load(YAML.replace(right, wrong))
    with pytest.raises(fd.ExportError, match="production has no caps of sinks"):
        project.to_yaml()
    assert any("passes over 'cap'" in found.message for found in project.check(target="this-rs"))


def test_rule_26_production_has_no_caps_and_the_hint_says_how_to_replay_without_one_of_yaml():
    project = fd.load(YAML)
    with pytest.raises(fd.FlowError, match="production has no caps of sinks") as caught:
        fd.replay(project, log_of(TWO), target="this-rs")
    assert caught.value.hint == (
        "leave caps or target out; caps={'push': None} leaves out a cap that YAML has"
    )
    assert len(fd.replay(project, log_of(TWO), target="this-rs", caps={"push": None})["push"]) == 5


def test_rule_26_the_schema_knows_the_cap_of_a_sink():
    schema = jsonschema.Draft202012Validator(fd.schema())

    def valid(cap):
        return schema.is_valid(
            {"events": {"flows": []}, "sinks": [{"name": "s", "type": "in_app", "cap": cap}]}
        )

    assert valid({"max": 2, "per": "day"})
    assert valid(None)
    assert not valid({"max": 2})
    assert not valid({"max": 2, "per": "day", "key": "target_id"})


@pytest.mark.parametrize(
    "wrong",
    [
        {"max": -1},
        {"max": 0},
        {"per": "0s"},
        {"per": "hour"},
        {"tz": "person.tz"},
        {"per": "1h", "tz": "UTC"},
    ],
)
def test_rule_26_a_cap_that_cannot_be_is_refused_on_its_line(wrong):
    with pytest.raises(fd.BuildError):
        fd.Cap(**{"max": 3, "per": "day", **wrong})
    assert fd.Cap(3, per="1d") == fd.Cap(3, per=dt.timedelta(days=1))


@pytest.mark.parametrize(
    ("caps", "what"),
    [
        ({"pusch": fd.Cap(1, per="day")}, "caps: no flow delivers to 'pusch'"),
        ({"push": 3}, "caps['push'] is 3"),
        ([fd.Cap(1, per="day")], "caps are a list"),
    ],
)
def test_rule_26_what_is_no_cap_of_a_sink_is_refused(caps, what):
    with pytest.raises(fd.ReplayError) as refused:
        fd.replay(told("likes", "push"), log_of(TWO), caps=caps)
    assert what in str(refused.value)
    with pytest.raises(fd.LiveError):
        fd.Runtime(told("likes", "push"), fd.MemoryEventLog(), caps=caps)
    with pytest.raises(fd.FlowError):
        fd.replay(told("likes", "push"), log_of(TWO), caps={"push": fd.Cap(1, per="1h")}, target="this-rs")


def ten_flows(shortest="0s"):
    """Flows to the same sink, with windows, queues and waits before it, some of which begin alike."""
    start = on("link.created")
    batched = start.batch("target_id", window="2s")
    queued = start.rate_limit(1, per="1500ms", strategy="queue", key="target_id")
    waiting = start.wait("1s")
    forms = [
        start,
        batched,
        queued.batch("target_id", window="1s"),
        waiting,
        waiting.batch("target_id", quiet="1s", max_count=3),
        batched.wait(hours="00:00:04-00:00:09").wait("500ms"),
        start.fan_out("target_id", via="likes", direction="reverse", as_="fan"),
        start.wait(until="00:00:03").deduplicate("target_id", window="3s"),
        on("link.created", link_type="owns").batch("source_id", window=shortest),
        start.cap(2, per="4s", key="source_id"),
    ]
    return [
        form.map(recipient_id="{{ target_id }}").deliver(*sinks).named(f"f{n}")
        for n, form in enumerate(forms)
        for sinks in ([("feed", "push"), ("push",), ("push", "feed")][n % 3],)
    ]


links = st.tuples(
    st.sampled_from(["likes", "owns"]),
    st.sampled_from(["a", "b", "c"]),
    st.sampled_from(["a", "b"]),
    st.sampled_from([0, 0, 250, 500, 1000, 1500, 2000]),
)


def log_of_links(events):
    moment, log = START, []
    for number, (kind, source, target, pause) in enumerate(events, 1):
        moment += 1000 * pause
        event = fd.link_created(kind, source, target)
        log.append({"id": f"e{number}", "timestamp": moment_text(moment), "event": event, "seq_no": number})
    return log


@settings(max_examples=settings().max_examples)
@given(
    st.lists(links, min_size=4, max_size=25),
    st.integers(1, 6),
    st.sampled_from(["1s", "3s", "20s", "day"]),
    st.sampled_from([1, 3, 7]),
    st.integers(2, 20),
    st.booleans(),
)
def test_rule_26_a_cap_shared_by_ten_flows_is_that_of_the_plain_interpreter(
    events, most, per, chunk_size, cut, keep
):
    log = log_of_links(events)
    flows, caps = ten_flows(), {"push": fd.Cap(most, per=per), "feed": fd.Cap(3, per="5s")}
    windows = "keep" if keep else "flush"
    expected = said_by_oracle(interpret(flows, log, caps=caps, keep=keep), flows)
    whole = fd.replay(flows, log, caps=caps, open_windows=windows)
    found = said_by_engine(whole, flows)
    assert {part: found[part] for part in expected} == expected
    pieces = fd.replay(flows, log, caps=caps, open_windows=windows, chunk_size=chunk_size)
    assert bytes_of(pieces) == bytes_of(whole)
    first = fd.replay(flows, log, caps=caps, stop=cut, open_windows="keep")
    second = fd.replay(flows, log, caps=caps, state=first.state, open_windows=windows)
    both = said_by_engine(first, flows)["deliveries"] + said_by_engine(second, flows)["deliveries"]
    assert sorted(both, key=repr) == sorted(expected["deliveries"], key=repr)


@given(
    st.lists(links, min_size=4, max_size=20), pieces, st.integers(1, 4), st.sampled_from(["1s", "3s", "day"])
)
def test_rule_26_a_cap_shared_by_ten_flows_is_the_same_live(events, schedule, most, per):
    caps = {"push": fd.Cap(most, per=per), "feed": fd.Cap(3, per="5s")}
    # a window of no length closes live once time goes on, and is told after what came at its moment
    case = Case(ten_flows(shortest="250ms"), World({}, [], log_of_links(events)), caps)
    assert_told_the_same(live(case, schedule, fd.MemoryEventLog()))
