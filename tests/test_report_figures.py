"""The numbers of a report are those that plain pandas gives, however the deliveries are cut, kept and counted."""

from __future__ import annotations

import json
from collections import Counter
from itertools import chain
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from event_tables import log_of
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import SLIPS_ARE_LIKELY, Case, cases

import flowdsl as fd
from flowdsl import on
from flowdsl.charts.formats import DAY
from flowdsl.reports import aggregation, payload_samples, recipients
from flowdsl.reports.distribution import Distribution, Spans
from flowdsl.reports.metrics import Figures
from flowdsl.reports.recipients import RecipientMetrics
from flowdsl.reports.timeline import SHOWN, Timeline, calendar_edges
from flowdsl.sinks import Feed, InApp

pytestmark = SLIPS_ARE_LIKELY


def replayed(case: Case, **options: Any) -> fd.Result:
    graph = fd.EntityGraph(case.world.entities, case.world.links, merge=case.world.merge)
    return fd.replay(case.flows, case.world.events, graph, **options)


def quantile(values: pd.Series, share: float) -> int:
    return int(np.quantile(values.to_numpy(), share, method="inverted_cdf")) if len(values) else 0


def assert_people(found: RecipientMetrics, deliveries: pd.DataFrame) -> None:
    told = deliveries[deliveries.recipient_id.notna()]
    each = told.groupby("recipient_id").size().astype(int)
    day = told.delivered_at.dt.strftime("%Y-%m-%d")
    worst = told.groupby(["recipient_id", day]).size().groupby("recipient_id").max()
    assert (found.count, found.deliveries.sum) == (len(each), len(told))
    for distribution, expected in ((found.deliveries, each), (found.worst_day, worst)):
        assert distribution.p50 == quantile(expected, 0.5)
        assert distribution.p95 == quantile(expected, 0.95)
        assert distribution.max == (expected.max() if len(expected) else 0)
    ordered = sorted(each.items(), key=lambda item: (-item[1], item[0]))[:10]
    assert [(p.recipient, p.deliveries) for p in found.top] == ordered
    for person in found.top:
        mine = told[told.recipient_id == person.recipient].delivered_at.dt.strftime("%Y-%m-%d").value_counts()
        assert person.worst_day == mine.max()
        assert person.day.isoformat() == mine[mine == mine.max()].index.min()
    assert found.nobody == len(deliveries) - len(told)


def assert_figures(figures: Figures, result: fd.Result) -> None:
    deliveries = result.deliveries
    assert figures.deliveries == len(deliveries)
    assert_people(figures.everyone, deliveries)
    assert [s.sink for s in figures.sinks] == list(result.sinks)
    for sink in figures.sinks:
        mine = deliveries[deliveries.sink == sink.sink]
        assert sink.deliveries == len(mine)
        assert_people(sink.recipients, mine)
        assert (sum(sink.timeline.counts) if sink.timeline else 0) == len(mine)
    for step in figures.steps:
        mine = deliveries[(deliveries.flow == step.flow) & (deliveries.step == step.step)]
        # one of the sinks got whatever any of them got
        most = max(step.sinks, key=lambda sink: (mine.sink == sink).sum())
        mine = mine[mine.sink == most]
        spans = (mine.delivered_at - mine.event_time).dt.total_seconds() * 1e6
        assert step.latency.total == len(spans)
        assert step.latency.max == (spans.max() if len(spans) else 0)
        assert step.latency.p50 == pytest.approx(quantile(spans, 0.5), rel=1 / 4096)
        assert step.latency.p95 == pytest.approx(quantile(spans, 0.95), rel=1 / 4096)
        rows = {(r.seq_no, r.recipient_id if isinstance(r.recipient_id, str) else None, r.payload) for r in mine.itertuples()}  # fmt: skip
        for sample in step.samples:
            assert (sample.seq_no, sample.recipient) in {row[:2] for row in rows}
            assert json.dumps(sample.payload) in {json.dumps(json.loads(row[2])) for row in rows}
        assert bool(step.samples) == (len(mine) > 0)
    dropped = result.dropped
    assert [(d.flow, d.step, d.reason, d.count) for d in figures.drops] == sorted(
        dropped[["flow", "step", "reason", "count"]].itertuples(index=False, name=None),
        key=lambda d: (result.flows.index(d[0]), d[1], d[2]),
    )
    assert figures.failed == sum(c.count for c in figures.causes) == len(result.errors)
    late = result.late
    assert (figures.late.count, dict(figures.late.kinds)) == (len(late), dict(Counter(late.kind)))
    assert figures.late.lateness.max == (late.lateness.max() // pd.Timedelta("1us") if len(late) else 0)
    assert sum(o.held for o in figures.open) == result.open.held.sum()
    assert sum(o.windows for o in figures.open) == len(result.open)
    assert sum(f.sizes.sum for f in figures.fan_outs) == sum(f.sizes.total for f in figures.fan_outs) + sum(
        result.steps.extra_branches
    )


@given(case=cases(), keep=st.booleans())
def test_the_numbers_are_those_of_plain_pandas(case: Case, keep: bool):
    result = replayed(case, open_windows="keep" if keep else "flush")
    assert_figures(result.report().figures, result)


@settings(max_examples=settings().max_examples // 2)
@given(case=cases())
def test_the_page_is_the_same_however_the_log_was_cut_and_the_result_kept(
    case: Case, tmp_path_factory: pytest.TempPathFactory
):
    folder = tmp_path_factory.mktemp("results")
    result = replayed(case)
    page = result.report().html
    assert replayed(case, chunk_size=2, out=folder / "a").report().html == page
    result.to_parquet(folder / "b")
    # a folder has no graph that names people
    assert fd.read_result(folder / "b").report().html == fd.read_result(folder / "a").report().html


# -- what few deliveries do not show ------------------------------------------------------------------


def told(*recipients_at: tuple[str | None, int]) -> fd.Result:
    """A result with a delivery to each recipient at so many hours after the beginning of 2026."""
    log = [
        {"timestamp": (pd.Timestamp("2026-01-01", tz="UTC") + pd.Timedelta(hours=hour)).isoformat(), "event": event}
        for who, hour in recipients_at
        for event in [fd.entity_created("x", "x", {} if who is None else {"to": who})]
    ]  # fmt: skip
    flow = on("entity.created").map(recipient_id="{{ data.to }}").deliver("in-app")
    return fd.replay(flow, log)


def test_the_worst_day_and_deliveries_without_a_recipient():
    result = told(("ann", 0), ("ann", 1), ("ann", 30), ("bob", 2), ("bob", 26), (None, 3))
    everyone = result.report().figures.everyone
    ann, bob = everyone.top
    assert (ann.recipient, ann.deliveries, ann.worst_day, ann.day.day) == ("ann", 3, 2, 1)
    assert (bob.recipient, bob.deliveries, bob.worst_day, bob.day.day) == ("bob", 2, 1, 1)
    assert everyone.nobody == result.deliveries.recipient_id.isna().sum()


@given(
    st.lists(st.tuples(st.sampled_from([f"u{i}" for i in range(40)]), st.integers(-72, 72)), max_size=150),
    st.integers(1, 40),
)
def test_people_in_several_passes_are_those_of_one(deliveries: list[tuple[str, int]], rows: int):
    result = told(*sorted(deliveries, key=lambda d: d[1]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(aggregation, "_PASS", rows)
        figures = aggregation.measure(result)
    assert_people(figures.everyone, result.deliveries)


@given(
    st.lists(
        st.tuples(st.sampled_from([f"u{i:02}" for i in range(60)]), st.just(1)), min_size=30, max_size=90
    ),
    st.sampled_from([1 << 25, 20]),
)
def test_where_very_many_have_the_same_count_none_of_them_is_named(
    deliveries: list[tuple[str, int]], rows: int
):
    result = told(*deliveries)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recipients, "_TIED", 5)
        patch.setattr(aggregation, "_PASS", rows)
        found = aggregation.measure(result).everyone
    each = Counter(who for who, _ in deliveries)
    ordered = sorted(each.items(), key=lambda item: (-item[1], item[0]))
    named = [(p.recipient, p.deliveries) for p in found.top]
    assert named == ordered[: len(named)]
    if found.tied is not None:
        count, people = found.tied
        assert people == sum(n == count for n in each.values())
        assert [n for _, n in ordered if n > count] == [n for _, n in named]
    else:
        assert len(named) == min(10, len(each))


def test_what_preferences_refuse_is_nobodys():
    likes = log_of("""
        at | source | target
         0 | ann    | bob
         1 | eve    | ann
         2 | bob    | eve
         3 | ann    | bob
    """)  # fmt: skip
    in_app, push = InApp(), InApp()
    in_app.mute("bob")
    push.mute("eve")
    both = on("link.created", name="both").map(title="x").deliver("in-app", "push", "feed")
    result = fd.replay(both, likes, sinks={"in-app": in_app, "push": push, "feed": Feed()})
    figures = result.report().figures
    assert_figures(figures, result)
    assert {s.sink: [p.recipient for p in s.recipients.top] for s in figures.sinks} == {
        "in-app": ["ann", "eve"], "push": ["bob", "ann"], "feed": ["bob", "ann", "eve"],
    }  # fmt: skip
    assert [(r.sink, r.count) for r in figures.refused] == [("in-app", 2), ("push", 1)]


# -- samples ------------------------------------------------------------------------------------------


def test_days_of_which_a_cap_stops_everything_are_nobodys_worst():
    likes = log_of("""
            at | source | target
             0 | ann    | bob
         86400 | ann    | bob
        172800 | ann    | eve
        259200 | ann    | eve
    """)  # fmt: skip
    both = on("link.created", name="both").map(title="x").deliver("in-app", "push")
    result = fd.replay(both, likes, caps={"in-app": fd.Cap(1, per="month")})
    assert_figures(result.report().figures, result)


def test_samples_are_the_first_the_last_the_longest_the_shortest_and_rare_shapes():
    titles = ["medium one", "tiny", "medium two", "tiny", "a very long title indeed", "medium six"]
    log = [
        {"timestamp": f"2026-01-01T00:00:{i:02}Z", "event": fd.entity_created("x", f"e{i}", {"t": title})}
        for i, title in enumerate(titles)
    ]
    flow = on("entity.created").map({"title": "{{ data.t }}", "more": {"n": "{{ data.t }}"}}).deliver("s")
    for result in (fd.replay(flow, log), fd.replay(flow, log, chunk_size=1)):
        [step] = result.report().figures.steps
        assert [(s.seq_no, s.why) for s in step.samples] == [
            (1, "first"), (5, "longest"), (2, "shortest"), (6, "last"),
        ]  # fmt: skip
        assert step.samples[2].payload == {"title": "tiny", "more": {"n": "tiny"}}


def test_rare_shapes_are_said_with_how_rare_they_are():
    frame = pl.DataFrame({"a": ["x"] * 5, "b": ["y", None, "y", "y", "y"], "c": [1, 2, None, 4, 5]})
    table = frame.rename(lambda name: f"payload.{name}")
    found = payload_samples.Candidates.of(table, lambda row: (0, row))
    found.add(payload_samples.Candidates.of(table, lambda row: (1, row)))
    chosen = dict(found.choose())
    assert chosen["first, longest"] == (0, 0)
    assert chosen["shortest, without b: 2 of 10"] == (0, 1)
    assert chosen["without c: 2 of 10"] == (0, 2)
    assert chosen["last"] == (1, 4)


def test_lengths_are_those_of_all_texts_in_a_payload():
    table = pl.DataFrame(
        {"a": ["é", None], "b": [{"c": "xyz", "d": [1]}, None], "e": [["uv", "w"], []], "f": [1, 2], "g": [{}, {}]},
        schema_overrides={"g": pl.Struct([])},
    )  # fmt: skip
    assert payload_samples.text_lengths(table.get_columns(), 2).tolist() == [2 + 3 + 3, 0]
    assert payload_samples.text_lengths([], 2).tolist() == [0, 0]


# -- distributions and times --------------------------------------------------------------------------

numbers = st.lists(st.integers(0, 10**6), max_size=60)


@given(numbers, numbers)
def test_distributions_are_counts_that_can_be_joined(one: list[int], other: list[int]):
    joined = Distribution.concat([Distribution.of(one), Distribution.of(other)])
    values = pd.Series(one + other, dtype="int64")
    assert (joined.total, joined.sum, joined.max) == (len(values), sum(values), max(values, default=0))
    for share in (0.0, 0.01, 0.5, 0.95, 1.0):
        assert joined.quantile(share) == quantile(values, share)
    assert joined.above(100) == (values > 100).sum()
    classes = joined.classes()
    assert sum(count for _, count in classes) == (values > 0).sum()
    for name, count in classes:
        low, _, high = name.replace(",", "").partition("–")
        assert count == ((values >= int(low)) & (values <= int(high or low))).sum()


@given(st.lists(st.lists(st.integers(0, 10**15) | st.integers(0, 9_000), max_size=20), max_size=4))
def test_spans_are_told_to_within_a_small_part_of_themselves(parts: list[list[int]]):
    whole, joined = Spans(), Spans()
    for part in parts:
        one = Spans()
        one.add(np.array(part, np.int64))
        joined.join(one)
        whole.add(np.array(part, np.int64))
    spans = pd.Series(list(chain.from_iterable(parts)), dtype="int64")
    for found in (whole.distribution(), joined.distribution()):
        assert found.total == len(spans)
        assert found.max == max(spans, default=0)
        assert (found.values[1:] > found.values[:-1]).all()
        for share in (0.0, 0.3, 0.5, 0.95, 1.0):
            exact = quantile(spans, share)
            assert (
                exact * (1 - 1 / 4096) <= found.quantile(share) <= exact or found.quantile(share) == found.max
            )
        assert sum(count for _, count in found.span_classes()) == len(spans)


moments = st.one_of(
    st.integers(0, 10**7),
    st.integers(0, 10**11),
    st.integers(-(10**16), 10**17),
    st.just(1_767_225_600_000_000),
)


@given(st.lists(st.lists(moments, max_size=15), max_size=4))
def test_times_are_counted_where_they_are(parts: list[list[int]]):
    lines = [Timeline.of(np.array(part, np.int64)) for part in parts]
    joined = Timeline.concat(lines)
    times = np.array(list(chain.from_iterable(parts)), np.int64)
    edges, unit = calendar_edges(lines)
    assert unit
    assert edges == sorted(set(edges))
    assert len(edges) <= SHOWN + 3
    if joined is None:
        assert not len(times)
        return
    assert edges[0] <= times.min()
    assert edges[-1] > times.max()
    assert joined.within(edges) == np.histogram(times, [*edges[:-1], edges[-1] - 0.5])[0].tolist()
    assert sum(joined.counts) == len(times)


def test_stretches_are_hours_days_weeks_months_or_years():
    def unit(days: float) -> str:
        return calendar_edges([Timeline.of(np.array([0, int(days * DAY)]))])[1]

    spans = (1e-5, 0.001, 0.05, 1, 3, 30, 100, 500, 3_000, 30_000, 300_000)
    assert [unit(d) for d in spans] == [
        "second", "second", "minute", "15 min", "hour", "6 h", "day", "week", "month", "year", "7 years",
    ]  # fmt: skip
