"""A replay on Apache Spark is the replay on one machine. The long form of it: make test-spark."""

from __future__ import annotations

import functools
import importlib.util
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle.comparing import said_by_engine
from spark_session import session, why_not
from strategies import SLIPS_ARE_LIKELY, Case, cases
from test_properties import assert_same, graph_of, interpreted, windows
from test_spark_stages import assert_same_result, replayed
from test_this_rs_golden import RECORDED, assert_replayed, scenarios

import flowdsl as fd
from flowdsl import fn, on, var
from flowdsl.events import EVENT_COLUMNS
from flowdsl.log.inputs import open_log
from flowdsl.spark import cluster_run, file_events
from flowdsl.spark.cluster_run import ClusterRun

pytestmark = [
    SLIPS_ARE_LIKELY,
    pytest.mark.skipif(why_not() is not None, reason=str(why_not())),
    # one session for all of them
    pytest.mark.xdist_group("spark"),
]

PEOPLE = {"user": {f"u{n}": {"name": f"user {n}"} for n in range(6)}}
OWNS = [{"link_type": "owns", "source_id": f"u{n % 3}", "target_id": f"p{n}"} for n in range(4)]
GRAPH = fd.EntityGraph(PEOPLE, OWNS)
ONE_BY_ONE = (
    on("link.created", link_type="likes", name="one by one")
    .resolve("target_id", via="owns", direction="reverse", as_="owner")
    .where(var.owner.id != var.source_id)
    .map(recipient_id="{{ owner.id }}", title="{{ owner.name }}: {{ target_id }}")
    .deliver("in-app")
)
TOGETHER = (
    on("link.created", link_type="likes", name="together")
    .deduplicate(["source_id", "target_id"], window="10m")
    .batch("target_id", window="30m", collect={"who": fn.unique(var.source_id)})
    .resolve("target_id", via="owns", direction="reverse", as_="owner", required=False)
    .map(recipient_id="{{ owner.id | default(value='nobody') }}", who=var.batch.who)
    .deliver("push")
)
FLOWS = [ONE_BY_ONE, TOGETHER]


def events(count: int = 60) -> pl.DataFrame:
    """Likes, and owners that change and are renamed, some of them late."""
    rows = []
    for n in range(count):
        event: dict[str, Any] = {
            "kind": "link.created",
            "link_type": "likes",
            "source_id": f"u{n * 5 % 6}",
            "target_id": f"p{n % 4}",
        }
        if n % 7 == 3:
            event = {
                "kind": "link.created",
                "link_type": "owns",
                "source_id": f"u{n % 6}",
                "target_id": f"p{n % 4}",
                "link_id": f"l{n % 4}",
            }
        elif n % 11 == 5:
            event = {
                "kind": "entity.updated",
                "entity_type": "user",
                "entity_id": f"u{n % 6}",
                "data": f'{{"name":"user {n}"}}',
            }
        rows.append(
            {"seq_no": 10 * n + 1, "event_id": f"e{n}", "minutes": 3 * n - (40 if n % 9 == 8 else 0), **event}
        )
    frame = pl.DataFrame(rows, infer_schema_length=None)
    start = pl.datetime(2026, 1, 1, time_zone="UTC")
    moment = (start + pl.duration(minutes="minutes")).cast(pl.Datetime("us", "UTC"))
    return frame.with_columns(moment.alias("timestamp")).drop("minutes")


def spark(partitions: int = 3) -> fd.Spark:
    return fd.Spark(session(), partitions=partitions)


def assert_as_here(log: Any, here: Any, **options: Any) -> fd.Result:
    found = fd.replay(FLOWS, log, GRAPH, engine=spark(), **options)
    assert_same_result(found, fd.replay(FLOWS, here, GRAPH, **options))
    return found


@pytest.mark.spark
@settings(max_examples=60)
@given(case=cases(), keep=st.booleans(), partitions=st.integers(1, 5))
def test_spark_says_what_the_rules_say_in_many_cases(case: Case, keep: bool, partitions: int) -> None:
    result = replayed(case, spark(partitions), open_windows=windows(keep))
    assert_same(said_by_engine(result, case.flows), interpreted(case, keep=keep))
    assert_same_result(result, replayed(case, open_windows=windows(keep)))


@pytest.mark.spark
@settings(max_examples=60)
@given(case=cases(), keep=st.booleans(), rows=st.integers(1, 9), sent=st.sampled_from([0, 200_000]))
def test_files_that_tasks_read_say_what_the_rules_say(case: Case, keep: bool, rows: int, sent: int) -> None:
    events = list(open_log(case.world.events).chunks(EVENT_COLUMNS, 1 << 17))
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        for one in events:
            one.cast({"kind": pl.String}).write_parquet(f"{folder}/log.parquet", row_group_size=rows)
        # however few events there are: several ranges and shards, links that are shared out, many that change
        patch.setattr(cluster_run, "LEAST_ROWS", 1)
        patch.setattr(cluster_run, "LEAST_SHARD", 5)
        patch.setattr(file_events, "ROWS", rows)
        patch.setattr(ClusterRun, "most_links", 2)
        patch.setattr(ClusterRun, "most_sent", sent)
        log = folder if events else []
        options = {"open_windows": windows(keep), "caps": case.caps}
        result = fd.replay(case.flows, log, graph_of(case), engine=fd.Spark(session()), **options)
        assert_same(said_by_engine(result, case.flows), interpreted(case, keep=keep))
        assert_same_result(result, fd.replay(case.flows, log, graph_of(case), **options))


@pytest.mark.spark
@pytest.mark.parametrize("name", RECORDED)
def test_recorded_runs_of_production_have_no_difference(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    replay = fd.replay
    monkeypatch.setattr(fd, "replay", lambda *args, **more: replay(*args, engine=spark(), **more))
    for scenario in scenarios(name)[::20]:
        assert_replayed(scenario)


# with a column that no flow reads the driver reads failed events again
@pytest.mark.parametrize("unread", [False, pytest.param(True, marks=pytest.mark.spark)])
def test_files_are_read_by_the_cluster(unread: bool, tmp_path: Path) -> None:
    log = events().with_columns(metadata=pl.lit('{"a":1}')) if unread else events()
    for number, frame in enumerate(log.iter_slices(25)):
        frame.write_parquet(tmp_path / f"{number}.parquet")
    flows = [*FLOWS, on("link.created", name="fails").map(a="{{ link_id }}").deliver("in-app")]
    local = fd.replay(flows, tmp_path, GRAPH)
    found = fd.replay(flows, tmp_path, GRAPH, engine=spark())
    assert_same_result(found, local)
    assert len(found.errors)
    assert found["push"]["delivered_at"].is_monotonic_increasing
    assert repr(found.explain(11)) == repr(local.explain(11))


def long_log(count: int = 60_000) -> pl.DataFrame:
    """Likes in their order, some of them late, and owners that change now and then."""
    number = pl.int_range(count, dtype=pl.Int64)
    moment = pl.datetime(2026, 1, 1, time_zone="UTC", time_unit="us") + pl.duration(
        seconds=number - pl.when(number % 9 == 8).then(400).otherwise(0)
    )
    owns = number % 1000 == 3
    user, post = pl.lit("u") + (number * 5 % 6).cast(pl.String), pl.lit("p") + (number % 4).cast(pl.String)
    return pl.select(
        seq_no=number + 1,
        event_id=pl.lit("e") + number.cast(pl.String),
        timestamp=moment,
        kind=pl.lit("link.created"),
        link_type=pl.when(owns).then(pl.lit("owns")).otherwise(pl.lit("likes")),
        link_id=pl.when(owns).then(pl.lit("l") + (number % 4).cast(pl.String)),
        source_id=user,
        target_id=post,
    )


def write_log(folder: Path, files: list[pl.DataFrame]) -> Path:
    for number, frame in enumerate(files):
        frame.write_parquet(folder / f"{number}.parquet")
    return folder


@pytest.fixture
def large_batches() -> Iterator[None]:
    """A session whose batches are not as small as those of the other tests."""
    name = "spark.sql.execution.arrow.maxRecordsPerBatch"
    before = session().conf.get(name)
    session().conf.set(name, "10000")
    yield
    session().conf.set(name, before)


@pytest.mark.usefixtures("large_batches")
@pytest.mark.parametrize("ordered", [True, pytest.param(False, marks=pytest.mark.spark)])
@pytest.mark.parametrize("by_path", [True, pytest.param(False, marks=pytest.mark.spark)])
def test_files_in_the_order_of_the_log_are_not_shuffled(ordered: bool, by_path: bool, tmp_path: Path) -> None:
    log = long_log()
    files = [log[:30_000], log[30_000:]]
    if not ordered:
        # each in an order of its own, which only the tasks can see
        files = [frame.sort("target_id", maintain_order=True) for frame in files]
    write_log(tmp_path, files)
    context = session().sparkContext
    context.setJobGroup(str(tmp_path), "in place")
    table = tmp_path if by_path else session().read.parquet(str(tmp_path))
    found = fd.replay(ONE_BY_ONE, table, GRAPH, engine=fd.Spark(session()))
    assert_same_result(found, fd.replay(ONE_BY_ONE, log, GRAPH))
    tracker = context.statusTracker()
    jobs = sorted(tracker.getJobIdsForGroup(str(tmp_path)))
    assert len(tracker.getJobInfo(jobs[-1]).stageIds) == (1 if ordered else 2)
    if ordered:
        stages = [number for job in jobs for number in tracker.getJobInfo(job).stageIds]
        store = context._jsc.sc().statusStore()
        read = sum(store.lastStageAttempt(number).inputRecords() for number in stages)
        # tasks are given the numbers of the two ranges, twice, and read the files of a path themselves
        assert read == 4 if by_path else read > log.height


@pytest.mark.usefixtures("large_batches")
def test_rows_of_files_that_are_no_events_are_counted_as_on_one_machine(tmp_path: Path) -> None:
    log = long_log().with_columns(metadata=pl.lit('{"n": 1}'))
    place = pl.int_range(pl.len())
    log = log.with_columns(
        kind=pl.when(place % 7 == 3).then(pl.lit("link.made")).otherwise("kind"),
        target_id=pl.when(place % 11 == 5).then(pl.lit("")).otherwise("target_id"),
        metadata=pl.when(place % 13 == 0).then(pl.lit("{nothing")).otherwise("metadata"),
    )
    write_log(tmp_path, [log[:30_000], log[30_000:]])
    flow = on("link.created").where("metadata.n == 1").map(title="{{ target_id }}").deliver("push").named("n")
    with pytest.warns(fd.FlowWarning, match=r"\d+ rows of the log are not events") as there:
        found = fd.replay(flow, tmp_path, engine=fd.Spark(session()))
    with pytest.warns(fd.FlowWarning, match=r"\d+ rows of the log are not events") as here:
        local = fd.replay(flow, tmp_path)
    assert [str(one.message) for one in there] == [str(one.message) for one in here]
    assert_same_result(found, local)


@pytest.mark.usefixtures("large_batches")
@pytest.mark.parametrize("names", [["kind", "link_type"], pytest.param(["kind"], marks=pytest.mark.spark)])
def test_folders_may_name_columns_and_files_may_lack_others(names: list[str], tmp_path: Path) -> None:
    # by link type the numbers of files overlap
    for day, frame in enumerate((long_log()[:30_000], long_log()[30_000:])):
        for values, part in frame.group_by(names):
            folders = [f"{name}={value}" for name, value in zip(names, values, strict=True)]
            folder = tmp_path.joinpath(f"day={day}", *folders)
            folder.mkdir(parents=True)
            empty = [one.name for one in part if one.null_count() == len(part)]
            part.drop(*names, *empty).write_parquet(folder / "log.parquet", row_group_size=7000)
    found = fd.replay(FLOWS, tmp_path, GRAPH, engine=fd.Spark(session()))
    assert len(found)
    assert_same_result(found, fd.replay(FLOWS, tmp_path, GRAPH))


@pytest.mark.spark
@pytest.mark.usefixtures("large_batches")
def test_files_whose_numbers_overlap_are_shuffled(tmp_path: Path) -> None:
    log = long_log()
    write_log(tmp_path, [log.gather_every(2), log.gather_every(2, 1)])
    found = fd.replay(FLOWS, tmp_path, GRAPH, engine=fd.Spark(session()), trace=True)
    assert_same_result(found, fd.replay(FLOWS, log, GRAPH, trace=True))


@pytest.mark.spark
def test_a_table_may_be_joined_of_several(tmp_path: Path) -> None:
    log = events()
    log.drop("target_id").write_parquet(tmp_path / "log.parquet")
    log.select("seq_no", "target_id").write_parquet(tmp_path / "targets.parquet")
    read = session().read.parquet
    table = read(str(tmp_path / "log.parquet")).join(read(str(tmp_path / "targets.parquet")), "seq_no")
    found = fd.replay(FLOWS, table, GRAPH, engine=fd.Spark(session()))
    assert_same_result(found, fd.replay(FLOWS, log, GRAPH))


@pytest.mark.spark
@pytest.mark.usefixtures("large_batches")
@pytest.mark.parametrize("most_branches", [1000, 10])
def test_links_are_shared_out_over_the_shards(
    most_branches: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    flow = (
        on("link.created", link_type="likes")
        .fan_out("target_id", via="owns", direction="reverse", as_="owner")
        .map(recipient_id="{{ owner_id }}", title="{{ owner.name | default(value='?') }}")
        .deliver("push")
        .named("owners")
    )
    log = long_log().with_columns(link_id=pl.lit(None, pl.String))
    write_log(tmp_path, [log[:30_000], log[30_000:]])
    monkeypatch.setattr(ClusterRun, "most_links", 0)
    # the log makes 60 links of one id
    monkeypatch.setattr(ClusterRun, "most_branches", most_branches)
    found = fd.replay(flow, tmp_path, GRAPH, engine=fd.Spark(session()))
    assert_same_result(found, fd.replay(flow, log, GRAPH))
    text = fd.Spark().explain(flow, GRAPH, log)
    assert "the graph: 4 links 'owns', with their events, shared out over the shards by target_id" in text
    assert "the log: 60,000 events of " in text


@pytest.mark.spark
@pytest.mark.filterwarnings("ignore:PySpark does not yet fully support:FutureWarning")
def test_a_graph_may_consist_of_dataframes_of_spark() -> None:
    users = [{"id": name, **fields} for name, fields in PEOPLE["user"].items()]
    graph = fd.EntityGraph({"user": session().createDataFrame(users)}, session().createDataFrame(OWNS))
    assert_same_result(fd.replay(FLOWS, events(), graph, engine=spark()), fd.replay(FLOWS, events(), GRAPH))


@pytest.mark.spark
def test_columns_that_a_table_lacks_are_null(tmp_path: Path) -> None:
    likes = events().filter(pl.col("link_type") == "likes")
    likes.select("seq_no", "timestamp", "kind", "link_type", "source_id", "target_id").write_parquet(
        tmp_path / "log.parquet"
    )
    assert_as_here(tmp_path / "log.parquet", tmp_path / "log.parquet", trace=True)


@pytest.mark.spark
def test_rows_that_are_no_events_are_left_out_and_counted(tmp_path: Path) -> None:
    good = events()
    bad = good.head(3).with_columns(
        seq_no=pl.Series([2, 3, 4]), kind=pl.Series(["link.creatd", "link.created", "entity.updated"]),
        target_id=pl.lit(None, pl.String), entity_id=pl.lit("u1"), entity_type=pl.lit("user"), data=pl.Series([None, None, "{no"]),
    )  # fmt: skip
    pl.concat([good, bad], how="diagonal").write_parquet(tmp_path / "log.parquet")
    with pytest.warns(fd.FlowWarning, match="3 rows of the log are not events"):
        local = fd.replay(FLOWS, tmp_path / "log.parquet", GRAPH)
    with pytest.warns(fd.FlowWarning, match="3 rows of the log are not events"):
        found = fd.replay(FLOWS, tmp_path / "log.parquet", GRAPH, engine=spark())
    assert_same_result(found, local)


@pytest.mark.spark
def test_a_dataframe_of_spark_is_a_log_in_the_order_of_its_numbers(tmp_path: Path) -> None:
    events().write_parquet(tmp_path / "log.parquet")
    frame = session().read.parquet(str(tmp_path / "log.parquet")).orderBy("target_id")
    assert_as_here(frame, events(), stop="2026-01-01T02:00:00Z")
    # one machine reads it, too, for short looks
    assert fd.replay(FLOWS, frame, GRAPH).deliveries.equals(fd.replay(FLOWS, events(), GRAPH).deliveries)


@pytest.mark.spark
def test_a_dataframe_without_numbers_is_in_the_order_of_time_and_ids(tmp_path: Path) -> None:
    alike = events().drop("seq_no").with_columns(pl.col("timestamp").dt.truncate("10m"))
    alike.write_parquet(tmp_path / "log.parquet")
    frame = session().read.parquet(str(tmp_path / "log.parquet"))
    ordered = alike.sort("timestamp", "event_id").with_row_index("seq_no", 1).cast({"seq_no": pl.Int64})
    assert_as_here(frame, ordered)


@pytest.mark.spark
def test_a_dataframe_without_an_order_is_refused() -> None:
    rows = [("link.created", "2026-01-01T00:00:00Z", "e1", "likes", "a", "b")] * 2
    twice = session().createDataFrame(
        rows,
        "kind string, timestamp string, event_id string, link_type string, source_id string, target_id string",
    )
    with pytest.raises(fd.DataError, match="2 events have the same time and the event_id 'e1'"):
        fd.replay(FLOWS, twice, engine=spark())
    with pytest.raises(fd.DataError, match="neither 'seq_no' nor 'event_id', and its rows have no order"):
        fd.replay(FLOWS, twice.drop("event_id"), engine=spark())


@pytest.mark.spark
def test_a_number_that_comes_twice_is_refused(tmp_path: Path) -> None:
    twice = pl.concat([events(), events().tail(1)])
    twice.write_parquet(tmp_path / "log.parquet")
    with pytest.raises(fd.DataError, match="seq_no 591 occurs more than once"):
        fd.replay(FLOWS, session().read.parquet(str(tmp_path / "log.parquet")), engine=spark())


def test_tables_go_to_a_folder_as_from_one_machine(tmp_path: Path) -> None:
    found = fd.replay(FLOWS, events(), GRAPH, engine=spark(), out=tmp_path / "there", trace=True)
    local = fd.replay(FLOWS, events(), GRAPH, out=tmp_path / "here", trace=True)
    assert_same_result(found, local)
    assert_same_result(fd.read_result(tmp_path / "there"), fd.read_result(tmp_path / "here"))
    assert sorted(path.name for path in (tmp_path / "there").iterdir() if path.name != "deliveries") == [
        "dropped", "late", "result.json",
    ]  # fmt: skip


@pytest.mark.spark
@pytest.mark.usefixtures("large_batches")
def test_progress_goes_on_stage_by_stage(tmp_path: Path) -> None:
    long_log().write_parquet(tmp_path / "log.parquet")
    table = session().read.parquet(str(tmp_path)).repartition(8)
    told: list[tuple[int, int | None]] = []
    engine = fd.Spark(session(), partitions=8)
    fd.replay(FLOWS, table, GRAPH, engine=engine, progress=lambda *done: told.append(done))
    done = [one for one, _ in told]
    assert done == sorted(done)
    assert told[-1] == (60_000, 60_000)
    assert len(set(done)) > 1


def test_a_job_that_fails_leaves_nothing_that_is_taken_for_a_result(tmp_path: Path) -> None:
    flow = (
        on("link.created", name="f")
        .map(a="b")
        .deliver("push")
        .where(functools.partial(ends_process, at=301))
        .deliver("in-app")
    )
    with pytest.raises(fd.ReplayError, match="the Spark job failed"):
        fd.replay(flow, events(), GRAPH, engine=spark(), out=tmp_path / "out")
    with pytest.raises(fd.DataError, match="holds no result"):
        fd.read_result(tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def ends_process(context: Any, at: int) -> bool:
    """End the process of a task at an event: nothing of it can say why."""
    import os

    if context["event"]["seq_no"] == at:
        os._exit(7)
    return True


# -- what does not go to a cluster -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dispatch": True, "sinks": {"in-app": fd.sinks.Counter(), "push": fd.sinks.Counter()}}, "dispatch=True does not go"),
    ],
)  # fmt: skip
def test_what_cannot_run_there_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(fd.ReplayError, match=message):
        fd.replay(FLOWS, events(), GRAPH, engine=spark(), **options)


def test_a_state_is_refused() -> None:
    state = fd.replay(FLOWS, events(), GRAPH).state
    with pytest.raises(fd.ReplayError, match="state= does not go to a cluster"):
        fd.replay(FLOWS, events(), engine=spark(), state=state)


def test_functions_that_supply_entities_are_refused() -> None:
    graph = fd.EntityGraph({"user": lambda ids: {one: {} for one in ids}})
    with pytest.raises(fd.ReplayError, match="functions supply the entities of type 'user'"):
        fd.replay(FLOWS, events(), graph, engine=spark())


def test_a_function_that_cannot_be_sent_is_refused_with_its_flow(tmp_path: Path) -> None:
    with (tmp_path / "file").open("w") as file:
        flow = (
            on("link.created", name="writes")
            .where(lambda context: file.write("x") > 0)
            .map(a="b")
            .deliver("push")
        )
        with pytest.raises(fd.ReplayError, match=r"flow 'writes'.*cannot be sent to other processes"):
            fd.replay(flow, events(), engine=spark())


@pytest.mark.spark
def test_a_function_that_can_be_sent_is(tmp_path: Path) -> None:
    limit = 400
    flow = (
        on("link.created")
        .where(lambda context: context["event"]["seq_no"] < limit)
        .map(a="b")
        .deliver("push")
    )
    local = fd.replay(flow, events())
    assert fd.replay(flow, events(), engine=spark()).deliveries.equals(local.deliveries)
    assert len(local.deliveries)


def test_without_pyspark_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "pyspark" else find(name))
    with pytest.raises(fd.ReplayError, match=r"pip install 'flowdsl\[spark\]'"):
        fd.replay(FLOWS, events(), engine="spark")


@pytest.mark.parametrize("options", [{"partitions": 0}, {"chunk_rows": "many"}, {"partitions": True}])
def test_a_number_that_is_none_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(fd.ReplayError, match="whole number of at least 1"):
        fd.Spark(**options)


def test_what_will_run_can_be_read_before() -> None:
    text = fd.Spark().explain(
        [*FLOWS, on("link.created", name="all").rate_limit(1, per="1h").map(a="b").deliver("push")]
    )
    assert "ranges of the log: resolve('target_id', via='owns'" in text
    assert "shards by target_id: deduplicate(['source_id', 'target_id'], window='10m'), batch(" in text
    assert (
        "finding: flow 'all': step 0 (rate_limit(1, per='1h')) and all behind it run in one ordered partition: it has no key"
        in text
    )
