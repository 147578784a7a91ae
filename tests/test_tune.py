"""Settings measured against demands: which keep them, what each costs, and which no other beats."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from strategies import SLIPS_ARE_LIKELY, Case, cases

import flowdsl as fd
from flowdsl import on
from flowdsl.comparison.measures import MEASURES
from flowdsl.engine.executor import StepExecutor

pytestmark = SLIPS_ARE_LIKELY

LIKES = (
    on("link.created", link_type="likes", name="likes")
    .batch("target_id", window="5m")
    .map(recipient_id="{{ target_id }}", title="{{ batch.count }}")
    .deliver("push")
)
ASKED = ["per_person_per_day.p95 <= 2", "delay.p90 <= 1h", "reach >= 0.95 of today"]
WINDOWS = {"0.window": ["5m", "30m", "3h"]}


def liked(*likes: tuple[str, str]) -> list[dict[str, Any]]:
    """Likes of people at a time of the first of January."""
    return [
        {"timestamp": f"2026-01-01T{at}:00Z", "event": fd.link_created("likes", f"fan-{i}", who)}
        for i, (at, who) in enumerate(likes)
    ]


# with 5m: four messages to ann and one to bob, each after five minutes
# with 30m: ann's first three close at 00:30, the others are alone: 30, 20, 10, 30 and 30 minutes
# with 3h: ann's four close at 03:00, after 180, 170, 160 and 60 minutes, bob's after 180
HISTORY = liked(("00:00", "ann"), ("00:05", "bob"), ("00:10", "ann"), ("00:20", "ann"), ("02:00", "ann"))


def test_every_setting_is_measured():
    tuned = fd.tune(LIKES, HISTORY, vary=WINDOWS)
    columns = ["0.window", "volume", "events", "reach", "delay.p90", "per_person_per_day.p95", "today"]
    assert tuned.table[columns].values.tolist() == [
        ["5m", 5, 5, 2, 300, 4, True],
        ["30m", 3, 5, 2, 1800, 2, False],
        ["3h", 2, 5, 2, 10800, 1, False],
    ]


@pytest.mark.parametrize(
    ("figure", "values"),
    [
        ("delay.p40", [300, 1200, 9600]),
        ("delay.p50", [300, 1800, 10200]),
        ("delay.mean", [300, 1440, 9000]),
        ("delay.min", [300, 600, 3600]),
        ("per_person.p50", [1, 1, 1]),
        ("per_person.max", [4, 2, 1]),
        ("per_person_per_hour.max", [3, 1, 1]),
        ("per_person_per_week.mean", [2.5, 1.5, 1]),
        ("per_person_per_month.p50", [1, 1, 1]),
    ],
)
def test_statistics_are_taken_over_events_and_people(figure: str, values: list[float]):
    assert fd.tune(LIKES, HISTORY, vary=WINDOWS, best=figure).table[figure].tolist() == values


def test_ninety_five_of_a_hundred_are_at_most_so_many():
    # 19 of 20 people are liked once, one twice
    history = liked(*[("00:00", f"person-{i}") for i in range(20)], ("01:00", "person-7"))
    tuned = fd.tune(LIKES, history, vary={"0.window": ["5m"]}, subject_to=["per_person.p95 <= 1"])
    assert tuned.table[["per_person.p95", "keeps"]].values.tolist() == [[1, True]]
    history += liked(("02:00", "person-8"))
    tuned = fd.tune(LIKES, history, vary={"0.window": ["5m"]}, subject_to=["per_person.p95 <= 1"])
    assert tuned.table[["per_person.p95", "keeps"]].values.tolist() == [[2, False]]


def test_the_settings_that_keep_every_demand_are_known_and_the_best_of_them():
    tuned = fd.tune(LIKES, HISTORY, vary=WINDOWS, subject_to=ASKED)
    assert tuned.table["keeps"].tolist() == [False, True, False]
    assert tuned.kept["0.window"].tolist() == ["30m"]
    assert tuned.best_name == "0.window=30m"
    assert tuned.best == LIKES.with_step(0, window="30m")
    assert tuned.flow("0.window=3h").steps[0].text == "batch('target_id', window='3h')"


def test_what_a_demand_costs_is_what_the_best_would_be_without_it():
    tuned = fd.tune(LIKES, HISTORY, vary=WINDOWS, subject_to=ASKED, best="volume")
    assert tuned.asked[["demand", "bound", "today", "kept", "without", "with"]].values.tolist() == [
        ["per_person_per_day.p95 <= 2", 2, 4, 2, 3, 3],
        ["delay.p90 <= 1h", 3600, 300, 2, 2, 3],
        ["reach >= 0.95 of today", 1.9, 2, 3, 3, 3],
    ]
    assert tuned.costs[["volume", "events", "delay.p90"]].values.tolist() == [
        [0, 0, 0],
        [-2, 0, 1500],
        [-3, 0, 10500],
    ]


def test_where_no_setting_keeps_a_demand_the_nearest_is_named():
    tuned = fd.tune(LIKES, HISTORY, vary=WINDOWS, subject_to=["delay.max <= 1m", "volume <= 3"])
    assert (tuned.best, tuned.best_name, tuned.kept.empty) == (None, None, True)
    assert tuned.asked[["kept", "nearest", "at"]].values.tolist() == [
        [0, 300, "0.window=5m"],
        [2, 2, "0.window=3h"],
    ]
    assert str(tuned).startswith("3 settings, 3 that no other beats; none keeps all 2 demands\n")


def test_a_setting_that_is_nowhere_better_and_somewhere_worse_is_not_on_the_front():
    # three likes at once: one a minute waits 0, 1 and 2 minutes, three a minute wait for nothing
    queued = on("link.created").rate_limit(3, per="3m", strategy="queue").map(title="liked").deliver("push")
    history = liked(("00:00", "ann"), ("00:00", "ann"), ("00:00", "ann"))
    tuned = fd.tune(queued, history, vary={"0.max": [1, 3, 5]})
    assert tuned.table[["0.max", "delay.p90", "front"]].values.tolist() == [
        [1, 360, False],
        [3, 0, True],
        [5, 0, True],
    ]
    assert tuned.front["0.max"].tolist() == [3, 5]


def test_the_flow_as_it_is_comes_first_where_it_is_none_of_the_settings():
    tuned = fd.tune(LIKES, HISTORY, vary={"0.window": ["30m", "3h"]}, subject_to="volume <= 0.5 of today")
    assert [variant.name for variant in tuned.variants] == ["today", "0.window=30m", "0.window=3h"]
    assert tuned.table[["0.window", "volume", "keeps", "today"]].values.tolist() == [
        ["5m", 5, False, True],
        ["30m", 3, False, False],
        ["3h", 2, True, False],
    ]
    # not counted in halves: 40 % of 5 is 2
    for part in ("0.4 of today", "40% of today", "40 %  of  today"):
        exact = fd.tune(LIKES, HISTORY, vary=WINDOWS, subject_to=[f"volume <= {part}"])
        assert exact.table["keeps"].tolist() == [False, False, True]


def test_options_of_several_steps_are_tried_in_every_combination():
    flow = LIKES.with_step(0, window="5m", min_count=1)
    tuned = fd.tune(flow, HISTORY, vary={"0.window": ["5m", "30m"], "0.min_count": [1, 3]})
    assert tuned.table[["0.window", "0.min_count", "volume", "events", "reach"]].values.tolist() == [
        ["5m", 1, 5, 5, 2],
        ["5m", 3, 0, 0, 0],
        ["30m", 1, 3, 5, 2],
        ["30m", 3, 1, 3, 1],
    ]


def test_what_is_never_delivered_is_neither_late_nor_too_much():
    tuned = fd.tune(
        LIKES, HISTORY, vary={"0.min_count": [1, 9]}, subject_to=["delay.p90 <= 1s", "reach >= 0"]
    )
    assert tuned.table["delay.p90"].isna().tolist() == [False, True]
    assert tuned.table["keeps"].tolist() == [False, True]


def test_an_event_of_a_digest_is_told_to_everybody_who_gets_the_digest():
    graph = fd.EntityGraph(
        {"person": {who: {} for who in ("ann", "zoe", "yan")}},
        [{"link_type": "follows", "source_id": who, "target_id": "ann"} for who in ("zoe", "yan")],
    )
    flow = (
        on("link.created", link_type="likes")
        .batch("target_id", window="30m")
        .fan_out("target_id", via="follows", direction="reverse", as_="reader")
        .map(recipient_id="{{ reader_id }}")
        .deliver("push")
    )
    # two likes in one digest for two readers
    tuned = fd.tune(
        flow, liked(("00:00", "ann"), ("00:10", "ann")), graph, vary={"0.window": ["30m"]}, best="delay.mean"
    )
    assert tuned.table[["volume", "events", "reach", "delay.mean"]].values.tolist() == [[2, 4, 2, 1500]]


def test_digests_of_digests_tell_of_all_their_events():
    flow = (
        on("link.created")
        .batch("target_id", window="10m")
        .batch("link_type", window="1h")
        .map(title="all")
        .deliver("push")
    )
    # closed at 00:10 for ann (2) and bob (1), both in the digest that closes at 01:10
    tuned = fd.tune(
        flow,
        liked(("00:00", "ann"), ("00:00", "bob"), ("00:05", "ann")),
        vary={"1.window": ["1h"]},
        best="delay.min",
    )
    assert tuned.table[["volume", "events", "delay.min"]].values.tolist() == [[1, 3, 3900]]


def test_one_sink_of_several_can_be_measured():
    flow = LIKES.map(recipient_id="{{ target_id }}").deliver("feed")
    assert fd.tune(flow, HISTORY, vary=WINDOWS).table["volume"].tolist() == [10, 6, 4]
    assert fd.tune(flow, HISTORY, vary=WINDOWS, sink="feed").table["volume"].tolist() == [5, 3, 2]


def test_production_is_tuned_by_its_own_rules():
    # no timer there. After five minutes ann's second like finds the first one's window over, and is in none; the fourth
    # finds that of the third. After half an hour the fourth finds that of the first three. Bob's is never told.
    tuned = fd.tune(LIKES, HISTORY, vary={"0.window": ["30m"]}, target="this-rs")
    assert tuned.flow("0.window=30m").steps[0].text == "batch('target_id', window='30m')"
    assert tuned.table["events"].tolist() == [2, 3]


def test_tables_go_to_pandas_polars_and_arrow():
    tuned = fd.tune(LIKES, HISTORY, vary=WINDOWS)
    assert isinstance(tuned.table, pd.DataFrame)
    assert pa.table(tuned).to_pylist() == tuned.arrow().to_pylist() == tuned.table.to_dict("records")
    assert pl.DataFrame(tuned).equals(tuned.polars())


def test_a_notebook_shows_demands_a_chart_and_every_setting():
    tuned = fd.tune(LIKES, HISTORY, vary={"0.window": ["30m", "3h"]}, subject_to=ASKED, best="events")
    shown = tuned._repr_mimebundle_()
    html = shown["text/html"]
    assert "1 keeps all 3 demands, the best by events: 0.window=30m" in html
    assert "delay.p90 &lt;= 1h" in html
    assert "+25 min" in html
    assert "≤ 1 h" in tuned.plot().svg
    assert tuned.plot().html in html
    # later is worse, whether more or less; today keeps the demand on people, and not the one on delays
    assert re.search(r'<small class="worse">\+[^<]*min</small>', html)
    assert re.search(r'<small class="better">[^<]*</small>', html)
    assert "less is better" in html
    assert shown["text/plain"] == repr(tuned)
    # those that keep what is asked come first
    assert str(tuned.plot()).splitlines()[:3] == [
        "settings that no other beats",
        "              volume  events  reach  delay.p90  per_person_per_day.p95",
        "0.window=30m  3       5       2      30 min     2",
    ]


def test_names_from_a_flow_stay_text_in_the_page():
    flow = on("link.created").rate_limit(1, per="1m", key="metadata.<b>").map(title="x").deliver("push")
    html = fd.tune(flow, HISTORY, vary={"0.key": ["metadata.<i>", "source_id"]})._repr_mimebundle_()[
        "text/html"
    ]
    assert "<i>" not in html
    assert "metadata.&lt;i&gt;" in html


@pytest.mark.parametrize(
    ("demand", "message"),
    [
        (
            "rech >= 3",
            r"subject_to\[0\]: nothing is measured as 'rech'\n  allowed: volume, .*\n  hint: did you mean 'reach'\?",
        ),
        (
            "delay <= 1h",
            "delay has a value for each event: say which\n  allowed: p1 to p99, min, max or mean",
        ),
        ("delay.p100 <= 1h", "delay has a value for each event, and 'p100' is not a statistic"),
        ("per_person <= 3", "per_person has a value for each person: say which"),
        ("reach.p95 >= 3", "reach is one number, and has no 'p95'"),
        (
            "delay.p90 <= 3600",
            "'3600' is not a value for delay.p90\n  allowed: a duration.*\n  hint: write delay.p90 <= 3600s for seconds",
        ),
        ("delay.p90 <= 1 hour", "'delay.p90 <= 1 hour' is not a demand\n  allowed: a measure"),
        ("reach >= 95 %", "95 % of what\\?\n  allowed: reach >= 95 % of today"),
        ("reach >= many", "'many' is not a value for reach"),
        ("reach >= nan", "'nan' is not a value for reach"),
        ("reach >= x of today", "'x' is not a value for reach\n  allowed: a part of today's"),
        ("reach == 3", "'==' is not a bound\n  allowed: <= >= < >"),
        ("reach", "'reach' is not a demand"),
        (3, r"subject_to is \[3\]\n  allowed: text, or a list of texts"),
    ],
)
def test_a_demand_that_is_not_understood_is_refused(demand: Any, message: str):
    with pytest.raises(fd.ReplayError, match=f"(?s){message}"):
        fd.tune(LIKES, HISTORY, vary=WINDOWS, subject_to=[demand])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"vary": {}}, "vary={} names no options"),
        (
            {"vary": {"0.windw": ["5m"]}},
            "step 0 of 'likes' is batch, and has no option 'windw'\n  allowed: 0.key, .*\n  hint: did you mean 'window'",
        ),
        (
            {"vary": {"1.window": ["5m"]}},
            "step 1 of 'likes' is map, .*\n  hint: steps are counted from 0: 0.window is that of batch",
        ),
        ({"vary": {"9.window": ["5m"]}}, "there is no step 9 in 'likes'\n  allowed: 0 to 2"),
        ({"vary": {"0.window": "5m"}}, "0.window='5m' is not a list of values"),
        ({"vary": {"0.window": ["5 bananas"]}}, "'5 bananas' is not a duration"),
        ({"vary": {"0.window": ["5m"], "window": ["5m"]}}, "'0.window' and 'window' are the same option"),
        (
            {"vary": {"0.window": ["5m"] * 100, "0.min_count": range(100)}},
            "100 × 100 values are 10,000 variants\n  allowed: at most 1,000",
        ),
        ({"best": "speed"}, "best: nothing is measured as 'speed'"),
        ({"best": None}, "best: None is not a measure"),
        ({"sink": "pushh"}, "does not deliver to 'pushh'\n  allowed: push\n  hint: did you mean 'push'"),
        ({"flow": "likes"}, "a str is not a flow"),
        (
            {"flow": on("link.created").batch("target_id", window="5m")},
            "delivers nothing that could be measured",
        ),
    ],
)
def test_what_cannot_be_tuned_is_refused(given: dict[str, Any], message: str):
    options = {"flow": LIKES, "vary": WINDOWS, **given}
    with pytest.raises(fd.FlowError, match=f"(?s){message}"):
        fd.tune(options.pop("flow"), HISTORY, **options)


def test_the_documentation_has_the_measures_that_there_are():
    text = (Path(__file__).parents[1] / "docs" / "compare.md").read_text("utf-8")
    table = text.partition("<!-- measures -->")[2].partition("<!-- /measures -->")[0]
    rows = [f"| `{one.name}` | {one.doc} | {one.better} |" for one in MEASURES.values()]
    assert re.findall(r"^\| `.*$", table, re.MULTILINE) == rows


@given(case=cases())
def test_a_digest_tells_of_as_many_events_as_it_counts(case: Case) -> None:
    flow = case.flows[0]
    assume(all(step.method != "batch" for step in flow.steps))
    flow = flow.batch("event.kind", window="2s").map(n="{{ batch.count }}").deliver("counted")
    graph = fd.EntityGraph(case.world.entities, case.world.links)
    tuned = fd.tune(
        flow, case.world.events, graph, vary={f"{len(flow.steps) - 3}.window": ["2s", "1m"]}, sink="counted"
    )
    counted = tuned.result["counted"]
    for row, variant in zip(tuned.table.to_dict("records"), tuned.variants, strict=True):
        mine = counted[counted["flow"] == variant.name]
        assert row["events"] == sum(map(int, mine["n"]))
        assert row["volume"] == len(mine)


def test_what_settings_have_in_common_is_done_once(monkeypatch: pytest.MonkeyPatch):
    entered: Counter[tuple[str, int]] = Counter()
    run = StepExecutor.run

    def counted(step: StepExecutor, contexts: Any, *rest: Any) -> Any:
        entered[step.step.method, step.step.number] += len(contexts)
        return run(step, contexts, *rest)

    read: list[int] = []
    chunks = fd.MemoryEventLog.chunks

    def counted_chunks(
        log: fd.MemoryEventLog, columns: Any, *rest: Any, **named: Any
    ) -> Iterator[pl.DataFrame]:
        for frame in chunks(log, columns, *rest, **named):
            # the times of events are looked up once more, for delays
            read.append(frame.height if "target_id" in columns else 0)
            yield frame

    monkeypatch.setattr(StepExecutor, "run", counted)
    monkeypatch.setattr(fd.MemoryEventLog, "chunks", counted_chunks)
    log = fd.MemoryEventLog()
    log.append(HISTORY)
    people = fd.EntityGraph({"person": {"ann": {}, "bob": {}}})
    flow = (
        on("link.created")
        .where("source_id != target_id")
        .resolve("target_id", as_="liked")
        .batch("target_id", window="5m")
        .map(recipient_id="{{ target_id }}", title="{{ batch.count }}")
        .deliver("push")
    )
    tuned = fd.tune(flow, log, people, vary={"2.window": ["30m", "3h"], "2.min_count": [1, 2]})
    # four settings and the flow as it is
    assert len(tuned) == 5
    assert sum(read) == len(HISTORY) == 5
    assert (entered["where", 0], entered["resolve", 1], entered["batch", 2]) == (5, 5, 5 * 5)
    # 5 of today; with 30m 3, or the one of three; with 3h 2, or the one of four
    assert entered["deliver", 4] == 5 + 3 + 1 + 2 + 1 == tuned.table["volume"].sum()


def test_a_cap_of_a_sink_counts_every_setting_by_itself():
    caps = {"push": fd.Cap(1, per="day")}
    tuned = fd.tune(LIKES, HISTORY, vary=WINDOWS, caps=caps)
    alone = [fd.replay(variant.flow, HISTORY, caps=caps) for variant in tuned.variants]
    assert tuned.table["volume"].tolist() == [len(result) for result in alone] == [2, 2, 2]
    # of a digest that the cap stops nobody is told
    assert tuned.table["events"].tolist() == [2, 4, 5]
    swept = fd.sweep(LIKES, HISTORY, window=["5m", "30m", "3h"], caps=caps)
    assert swept.table["deliveries"].tolist() == [2, 2, 2]
    with pytest.raises(fd.ReplayError, match=r"(?s)caps: no flow delivers to 'pusch'.*did you mean 'push'"):
        fd.tune(LIKES, HISTORY, vary=WINDOWS, caps={"pusch": fd.Cap(1, per="day")})


@given(
    case=cases(), windows=st.lists(st.sampled_from(["1s", "3s", "1m"]), min_size=2, max_size=3, unique=True)
)
def test_settings_with_caps_give_what_each_gives_alone(case: Case, windows: list[str]) -> None:
    graph = fd.EntityGraph(case.world.entities, case.world.links, merge=case.world.merge)
    flow = case.flows[0].batch("event.kind", window="2s").map(n="{{ batch.count }}").deliver("tuned")
    caps = {"tuned": fd.Cap(1, per="5s"), **{s: c for s, c in case.caps.items() if s in flow.sinks}}
    place = len(flow.steps) - 3
    tuned = fd.tune(flow, case.world.events, graph, vary={f"{place}.window": windows}, caps=caps)
    together = tuned.result.deliveries
    for variant in tuned.variants:
        mine = together[together["flow"] == variant.name].drop(columns="flow").reset_index(drop=True)
        alone = fd.replay(
            flow
            if variant.name == "today"
            else flow.with_step(place, window=dict(variant.values)[f"{place}.window"]),
            case.world.events,
            graph,
            caps=caps,
        )
        assert mine.equals(alone.deliveries.drop(columns="flow").reset_index(drop=True))


@given(figures=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=6))
def test_the_front_is_what_no_other_setting_beats_in_all_figures(figures: list[tuple[int, int]]) -> None:
    """Against every pair of settings: nowhere worse, and somewhere better."""
    windows = {"0.window": [f"{n + 1}m" for n in range(len(figures))]}
    history = liked(*((f"00:{n % 60:02}", f"p{a}{b}") for n, (a, b) in enumerate(figures * 3)))
    table = fd.tune(LIKES, history, vary=windows).table
    less, more = ["volume", "delay.p90", "per_person_per_day.p95"], ["events", "reach"]

    def beats(one: Any, other: Any) -> bool:
        gains = [other[name] - one[name] for name in less] + [one[name] - other[name] for name in more]
        return min(gains) >= 0 and max(gains) > 0

    rows = table.to_dict("records")
    assert table["front"].tolist() == [not any(beats(one, row) for one in rows) for row in rows]


def test_the_plot_of_the_front_has_volume_reach_delay_and_load_with_their_bounds():
    tuned = fd.tune(LIKES, HISTORY, vary=WINDOWS, subject_to=ASKED)
    svg = tuned.plot().svg
    for said in ("volume", "reach", "delay.p90", "per_person_per_day.p95", "≤ 2", "≤ 1 h", "0.window=30m"):
        assert said in svg
    assert {"volume", "reach", "delay.p90", "per_person_per_day.p95"} <= {*tuned.front.columns}
