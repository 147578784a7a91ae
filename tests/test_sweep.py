"""Many settings of a flow over one log: what comes out of each, and what they have in common done once."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import SLIPS_ARE_LIKELY, Case, cases

import flowdsl as fd
from flowdsl import on

pytestmark = SLIPS_ARE_LIKELY

DIGEST = (
    on("link.created", link_type="likes", name="digest")
    .deduplicate("source_id", window="10m")
    .batch("target_id", window="1m")
    .map(recipient_id="{{ target_id }}", title="{{ batch.count }}")
    .deliver("push", "in-app")
)


@pytest.fixture(scope="module")
def log() -> fd.MemoryEventLog:
    made = fd.MemoryEventLog()
    for minute, who, what in [
        (0, "ann", "p"),
        (0, "bob", "p"),
        (2, "eve", "p"),
        (3, "ann", "q"),
        (14, "ann", "p"),
    ]:
        made.append(fd.link_created("likes", who, what), timestamp=f"2026-01-01T00:{minute:02}:00Z")
    return made


def test_every_combination_of_the_values_is_a_row(log: fd.MemoryEventLog):
    table = fd.sweep(DIGEST, log, batch_window=["1m", "5m"], min_count=[1, 2]).table
    assert table[["batch_window", "min_count", "deliveries", "dropped", "absorbed"]].values.tolist() == [
        ["1m", 1, 6, 1, 1],
        ["1m", 2, 2, 3, 1],
        ["5m", 1, 4, 1, 2],
        ["5m", 2, 2, 2, 2],
    ]


def test_the_table_tells_who_is_bothered_how_often_and_how_long_things_wait(log: fd.MemoryEventLog):
    row = fd.sweep(DIGEST, log, batch_window=["1m"]).table.iloc[0]
    assert row[["deliveries", "recipients", "each_p50", "each_p95", "each_max"]].tolist() == [6, 1, 6, 6, 6]
    assert row[["delay_p50", "delay_p95"]].tolist() == [60.0, 60.0]
    none = fd.sweep(DIGEST, log, batch_window=["1m"], stop=1).table.iloc[0]
    assert none["deliveries"] == 0
    assert none[["each_p50", "delay_p50"]].isna().all()


def test_two_variants_are_compared_delivery_by_delivery(log: fd.MemoryEventLog):
    sweep = fd.sweep(DIGEST, log, batch_window=["1m", "5m"])
    assert sweep.compare("batch_window=1m", "batch_window=5m").totals()["before"] == 6
    assert sweep.flow("batch_window=5m").steps[1].text == "batch('target_id', window='5m')"
    with pytest.raises(fd.ReplayError, match="there is no variant 'batch_window=6m'"):
        sweep.flow("batch_window=6m")


def test_the_plot_has_a_line_for_every_setting_of_the_other_parameters(log: fd.MemoryEventLog):
    sweep = fd.sweep(DIGEST, log, batch_window=["1m", "5m"], min_count=[1, 2])
    assert str(sweep.plot()).splitlines() == [
        "deliveries by batch_window",
        "batch_window  min_count=1  min_count=2",
        "1 min         6            2",
        "5 min         4            2",
    ]
    assert sweep.plot().html in sweep._repr_mimebundle_()["text/html"]
    with pytest.raises(fd.ReplayError, match="there is no column 'delivered'"):
        sweep.plot("delivered")


def test_any_measure_can_be_plotted_with_its_unit(log: fd.MemoryEventLog):
    sweep = fd.sweep(DIGEST, log, batch_window=["1m", "5m", "1d"])
    assert str(sweep.plot("delay_p95")).splitlines()[1:] == [
        "batch_window  delay_p95",
        "1 min         1 min",
        "5 min         5 min",
        "24 h          23.8 h",
    ]
    assert str(sweep.plot("reach")).splitlines()[2:] == [
        "1 min         1",
        "5 min         1",
        "24 h          1",
    ]
    tuned = fd.tune(DIGEST, log, vary={"batch_window": ["1m", "5m", "1d"]}, best="events")
    for measure in ("volume", "events", "reach", "delay.p90", "per_person_per_day.max", "per_person.mean"):
        # what a sweep finds out in a second replay is what tuning counts in its only one
        assert str(sweep.plot(measure)) == str(tuned.plot(measure))
    assert "events by batch_window" in str(tuned.plot("events"))
    with pytest.raises(fd.ReplayError, match="no axis in common: delay_p95 is time"):
        sweep.plot(["deliveries", "delay_p95"])
    with pytest.raises(fd.ReplayError, match=r"delay has a value for each event: say which"):
        sweep.plot("delay")


def test_colour_and_letters_say_better_or_worse_where_that_is_known(log: fd.MemoryEventLog):
    html = fd.sweep(DIGEST, log, batch_window=["1m", "5m"])._repr_mimebundle_()["text/html"]
    # where a cell stands without its head it says it: on a narrow screen, and without a style sheet on any
    cells = re.findall(
        r'<td class="n ?(better|worse|)"[^>]*><small[^>]*>(.*?)</small>((?:<[bi]>)?[^<]*)',
        html,
    )
    first, second = (
        {name.replace("<wbr>", ""): (standing, text) for standing, name, text in row}
        for row in (cells[:11], cells[11:])
    )
    # fewer messages are better, and a shorter wait; nobody knows whether it is good that more is absorbed
    assert (first["deliveries"], second["deliveries"]) == (("worse", "<i>6"), ("better", "<b>4"))
    assert (first["delay_p95"], second["delay_p95"]) == (("better", "<b>1 min"), ("worse", "<i>5 min"))
    assert (first["absorbed"], second["absorbed"]) == (("", "1"), ("", "2"))
    assert (first["recipients"], second["recipients"]) == (("", "1"), ("", "1"))


def test_counts_have_their_thousands_set_apart():
    log = fd.MemoryEventLog()
    log.append([fd.link_created("likes", f"u{n}", f"p{n}") for n in range(1_200)])
    html = fd.sweep(DIGEST, log, batch_window=["1m", "5m"])._repr_mimebundle_()["text/html"]
    assert ">2,400<" in html
    assert ">2400<" not in html


def test_flows_by_name_are_swept_too(log: fd.MemoryEventLog):
    plain = on("link.created").map(title="liked").deliver("push")
    table = fd.sweep({"digest": DIGEST, "plain": plain}, log).table
    assert table[["flow", "deliveries"]].values.tolist() == [["digest", 6], ["plain", 5]]


def test_what_variants_have_in_common_is_done_once(log: fd.MemoryEventLog):
    calls: list[str] = []

    def liked(context: Mapping[str, Any]) -> bool:
        calls.append(context["source_id"])
        return True

    flow = on("link.created").where(liked).rate_limit(1, per="1m").map(title="x").deliver("push")
    fd.sweep(flow, log, max=[1, 2, 3, 4])
    assert len(calls) == 5


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"windw": ["1m"]}, "no step of 'digest' has an option 'windw'.*did you mean 'window'"),
        ({"window": ["1m"]}, "2 steps of 'digest' have an option 'window'.*deduplicate_window, batch_window"),
        ({"min_count": 3}, "min_count=3 is not a list of values"),
        ({"min_count": "12"}, "min_count='12' is not a list of values"),
        ({"min_count": [-1]}, "flow 'digest', step 1 .batch.: .*min_count"),
        ({"key": [["nothing.x"]], "batch_window": ["1m"]}, "have an option 'key'"),
        ({"batch_key": ["nothing.x"]}, "there is no variable 'nothing' at this step"),
        ({}, "nothing to sweep over"),
    ],
)
def test_what_cannot_be_swept_is_refused(log: fd.MemoryEventLog, parameters: dict[str, Any], message: str):
    with pytest.raises(fd.FlowError, match=f"(?s){message}"):
        fd.sweep(DIGEST, log, **parameters)


@given(
    case=cases(), windows=st.lists(st.sampled_from(["1s", "5s", "1m"]), min_size=1, max_size=3, unique=True)
)
def test_each_variant_gives_what_it_gives_alone(case: Case, windows: list[str]) -> None:
    graph = fd.EntityGraph(case.world.entities, case.world.links, merge=case.world.merge)
    flow = case.flows[0].batch("event.kind", window="2s").map(title="{{ batch.count }}").deliver("swept")
    number = len(flow.steps) - 3
    sweep = fd.sweep(flow, case.world.events, graph, **{f"step_{number}_window": windows})
    for name, window in zip((v.name for v in sweep.variants), windows, strict=True):
        alone = (
            case.flows[0].batch("event.kind", window=window).map(title="{{ batch.count }}").deliver("swept")
        )
        result = fd.replay(alone, case.world.events, graph)
        columns = ["seq_no", "delivered_at", "branch", "recipient_id", "title"]
        together = sweep.result["swept"]
        mine = together.loc[together["flow"] == name, columns].reset_index(drop=True)
        assert mine.equals(result["swept"][columns])
