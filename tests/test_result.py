"""What a result gives: frames, their columns and types, other forms, folders, and what is refused."""

from __future__ import annotations

import json
import pickle
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from event_tables import log_of, sent

import flowdsl as fd
from flowdsl import on, var

LIKED = on("link.created")


def fixed_around(*payload: str) -> list[str]:
    """The columns of a table of deliveries: when and to whom, what, and where it comes from."""
    origin = ["flow", "step", "branch", "closed_by", "seq_no", "event_id", "event_time"]
    return ["delivered_at", "recipient_id", *payload, *origin]


LOG = log_of(
    'at | source | data\n 0 | ann | {"n": 1, "x": 1}\n 1 | bob | {"n": 2, "x": "a"}\n 1 | cem | {"n": 3}'
)
FLOW = LIKED.where(var.metadata.n < 3).map(who="{{ source_id }}", n=var.metadata.n).deliver("s", "t")


# -- frames of sinks ---------------------------------------------------------------------------------------


def test_a_sink_is_a_frame_of_fixed_columns_and_payload_fields() -> None:
    frame = fd.replay(FLOW, LOG)["s"]
    assert isinstance(frame, pd.DataFrame)
    assert list(frame.columns) == fixed_around("who", "n")
    assert frame["n"].tolist() == [1, 2]
    assert frame["flow"].unique().tolist() == ["link.created to s, t"]
    assert frame["step"].tolist() == [2, 2]


def test_a_sink_that_received_nothing_has_the_same_columns() -> None:
    frame = fd.replay(FLOW, log_of("at | kind\n 0 | link.deleted"))["s"]
    assert list(frame.columns) == fixed_around("who", "n")
    assert len(frame) == 0


def test_columns_are_the_union_over_the_flows_of_a_sink() -> None:
    flows = [
        LIKED.map(a="{{ source_id }}").deliver("s").named("one"),
        LIKED.map(b=var.metadata.n).deliver("s").named("two"),
        on("link.deleted").map(c="never").deliver("s").named("three"),
    ]
    frame = fd.replay(flows, LOG)["s"]
    assert list(frame.columns) == fixed_around("a", "b", "c")
    assert frame["flow"].tolist() == ["one", "two"] * 3
    assert frame["a"].isna().tolist() == [False, True] * 3
    assert frame["c"].isna().all()


def test_a_field_whose_name_is_taken_gets_a_prefix() -> None:
    frame = fd.replay(LIKED.map(flow="{{ source_id }}", sink="x", ok="y").deliver("s"), LOG)["s"]
    assert list(frame.columns) == fixed_around("payload.flow", "payload.sink", "ok")
    assert frame["payload.flow"].tolist() == ["ann", "bob", "cem"]


def test_no_column_stands_there_twice() -> None:
    told = LIKED.map(recipient_id="{{ source_id }}", title="hello").deliver("s")
    result = fd.replay(told, LOG)
    assert list(result["s"].columns) == fixed_around("title")
    assert result["s"]["recipient_id"].tolist() == ["ann", "bob", "cem"]
    # whoever asks for it gets it
    asked = result.to_polars("s", ["payload.recipient_id", "title"])
    assert asked.columns == ["payload.recipient_id", "title"]
    assert asked["payload.recipient_id"].to_list() == ["ann", "bob", "cem"]


def test_a_recipient_that_the_payload_says_as_a_number_is_shown_as_both() -> None:
    result = fd.replay(LIKED.map(recipient_id=var.metadata.n).deliver("s"), LOG)
    assert list(result["s"].columns) == fixed_around("payload.recipient_id")
    assert result["s"]["payload.recipient_id"].tolist() == [1, 2, 3]


def test_a_payload_that_is_no_object_is_one_column() -> None:
    result = fd.replay(LIKED.map("{{ source_id }}").deliver("s"), LOG)
    assert list(result["s"].columns) == fixed_around("payload")
    assert sent(result, "payload") == [(0, "ann"), (1, "bob"), (1, "cem")]


def test_nested_objects_are_structs_and_lists_lists() -> None:
    flow = LIKED.map(to={"id": "{{ target_id }}", "n": 1}, tags=["{{ source_id }}", "x"]).deliver("s")
    frame = fd.replay(flow, LOG).polars("s")
    assert frame["to"][0] == {"id": "p1", "n": 1}
    assert frame["tags"][0].to_list() == ["ann", "x"]
    assert isinstance(frame["to"].dtype, pl.Struct)


def test_values_of_many_types_are_json_text() -> None:
    """In the frame of the sink; the payload keeps them as they are."""
    result = fd.replay(LIKED.where("metadata.x exists").map(x=var.metadata.x).deliver("s"), LOG)
    assert sent(result, "x") == [(0, "1"), (1, '"a"')]
    assert [json.loads(p) for p in result.deliveries["payload"]] == [{"x": 1}, {"x": "a"}]


def test_whole_and_broken_numbers_share_a_column_of_floats() -> None:
    log = log_of('at | data\n 0 | {"n": 1}\n 1 | {"n": 2.5}')
    flows = [
        LIKED.where(f"metadata.n == {n}").map(n=var.metadata.n).deliver("s").named(f"f{n}") for n in (1, 2.5)
    ]
    assert fd.replay(flows, log)["s"]["n"].tolist() == [1.0, 2.5]


def test_flows_may_say_one_field_in_different_types() -> None:
    flows = [
        LIKED.map(x={"a": "1"}).deliver("s").named("object"),
        LIKED.map(x=["1"]).deliver("s").named("list"),
        LIKED.map(x="1").deliver("s").named("text"),
        LIKED.map(x=1).deliver("s").named("number"),
    ]
    result = fd.replay(flows, log_of("at\n 0"))
    assert [json.loads(p)["x"] for p in result.deliveries["payload"]] == [{"a": "1"}, ["1"], "1", 1]
    assert [json.loads(x) for x in result["s"]["x"]] == [{"a": "1"}, ["1"], "1", 1]
    assert result.polars("s", ["seq_no"]).height == 4


# -- all deliveries, and other forms -----------------------------------------------------------------------


def test_all_deliveries_have_their_sink_and_their_payload_as_json() -> None:
    result = fd.replay(FLOW, LOG)
    assert list(result.deliveries.columns) == fixed_around("sink", "payload")
    assert result.deliveries["sink"].tolist() == ["s", "t", "s", "t"]
    assert result.deliveries["payload"][0] == '{"who":"ann","n":1}'
    assert len(result) == 4
    assert result.sinks == ("s", "t")
    assert result.flows == ("link.created to s, t",)


def test_frames_come_as_polars_and_arrow_too() -> None:
    result = fd.replay(FLOW, LOG)
    assert result.polars("s").columns == fixed_around("who", "n")
    assert isinstance(result.arrow("s"), pa.Table)
    assert result.arrow("s").num_rows == 2
    assert pl.DataFrame(pa.table(result)).height == 4


def test_only_the_columns_that_are_asked_for_are_made() -> None:
    result = fd.replay(FLOW, LOG)
    assert result.polars("s", ["n", "seq_no"]).rows() == [(1, 1), (2, 2)]
    assert result.arrow("s", ["who"]).column_names == ["who"]
    assert result.polars(columns=["sink"]).columns == ["sink"]


def test_moments_are_utc() -> None:
    frame = fd.replay(FLOW, LOG)["s"]
    assert frame["delivered_at"].tolist() == [pd.Timestamp(f"2026-01-01T00:00:0{i}Z") for i in (0, 1)]


def test_changing_a_frame_does_not_change_the_deliveries() -> None:
    result = fd.replay(FLOW, LOG)
    expected = result.deliveries["payload"].tolist()
    frame = result["s"].copy()
    frame.loc[:, "n"] = 0
    assert result.deliveries["payload"].tolist() == expected


def test_empty_results_have_all_columns() -> None:
    result = fd.replay(FLOW, log_of("at | kind\n 0 | link.deleted"))
    assert list(result.deliveries.columns) == fixed_around("sink", "payload")
    assert list(result.errors.columns)[-6:] == ["flow", "step", "operator", "branch", "error", "variables"]
    assert list(result.dropped.columns) == ["flow", "step", "operator", "reason", "count"]
    assert list(result.late.columns) == ["seq_no", "event_id", "timestamp", "kind", "clock", "lateness"]
    assert list(result.open.columns) == [
        "flow",
        "step",
        "operator",
        "held",
        "opened_at",
        "due_at",
        "last_seq_no",
    ]
    assert result.steps["entered"].tolist() == [0, 0, 0]


def test_an_empty_log_gives_an_empty_result() -> None:
    result = fd.replay(FLOW, fd.MemoryEventLog())
    assert len(result) == 0
    assert list(result["s"].columns) == fixed_around("who", "n")


def test_steps_say_where_contexts_went_and_how_long_it_took() -> None:
    steps = fd.replay(FLOW, LOG).steps
    assert list(steps.columns) == [
        "flow", "step", "operator", "held_before", "entered", "extra_branches", "passed", "dropped", "failed",
        "absorbed", "held", "seconds",
    ]  # fmt: skip
    assert steps["operator"].tolist() == ["where", "map", "deliver"]
    assert (steps["seconds"] >= 0).all()


def test_it_prints_as_a_summary() -> None:
    text = repr(fd.replay(FLOW, LOG))
    assert text.startswith("3 events replayed, 4 deliveries")
    assert "2 to s by link.created to s, t" in text


def test_two_flows_of_one_name_both_run() -> None:
    result = fd.replay([FLOW, FLOW], LOG)
    assert len(result["s"]) == 4
    assert result.steps["entered"].tolist() == [3, 2, 2] * 2


# -- folders -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["as they come", "afterwards"])
def test_a_result_in_a_folder_reads_back_the_same(tmp_path: Path, how: str) -> None:
    flows = [
        FLOW,
        LIKED.resolve("source_id", as_="x").map(x="x").deliver("u"),
        LIKED.batch("target_id", window="9s").map(x="x").deliver("u").named("b"),
    ]
    live = fd.replay(
        flows,
        LOG,
        out=tmp_path / "out" if how == "as they come" else None,
        open_windows="keep",
        chunk_size=1,
    )
    if how == "afterwards":
        live.to_parquet(tmp_path / "out")
    again = fd.read_result(tmp_path / "out")
    assert repr(again) == repr(live)
    for sink in live.sinks:
        assert again[sink].equals(live[sink])
    for part in ("deliveries", "errors", "dropped", "steps", "late", "open"):
        assert getattr(again, part).equals(getattr(live, part)), part


@pytest.mark.parametrize("texts", ["alike", "different"])
def test_tables_of_a_folder_are_read_by_duckdb_and_pandas(tmp_path: Path, texts: str) -> None:
    flow = LIKED.map(recipient_id=var.source_id, title="{{ target_id }}", n=var.metadata.n).deliver("s")
    rows = [f' {n} | ann | {n % 2 if texts == "alike" else n} | {{"n": {n}}}' for n in range(3000)]
    made = fd.replay(flow, log_of("at | source | target | data\n" + "\n".join(rows)), out=tmp_path / "out")
    files = str(tmp_path / "out/deliveries/*/*.parquet")
    columns = ["seq_no", "event_time", "recipient_id", "title"]
    there = made["s"][columns].to_numpy().tolist()
    stored = ["seq_no", "event_time", "recipient_id", "payload.title"]
    by_duckdb = duckdb.read_parquet(files).order("seq_no").pl().select(stored).rows()
    assert [[n, pd.Timestamp(at), *texts] for n, at, *texts in by_duckdb] == there
    by_pandas = pd.concat(map(pd.read_parquet, sorted(tmp_path.glob("out/deliveries/*/*.parquet"))))
    assert by_pandas.sort_values("seq_no")[stored].to_numpy().tolist() == there


FULL_DISK = """
import resource, sys
import flowdsl as fd
log = fd.MemoryEventLog()
log.append([fd.link_created("likes", f"source {n}", f"target {n}") for n in range(2000)])
flow = fd.on("link.created").map(title="{{ source_id }} liked {{ target_id }}").deliver("in-app")
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
try:
    fd.replay(flow, log, out=sys.argv[1])
except fd.ReplayError as error:
    print(error)
"""


def test_a_disk_that_is_full_is_told_as_an_error_of_the_folder(tmp_path: Path) -> None:
    pytest.importorskip("resource", reason="the size of files is limited by POSIX")
    out = tmp_path / "out"
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(out)], capture_output=True, text=True, check=False
    )
    assert done.stdout.startswith(f"the folder '{out}' cannot be written: "), done.stderr
    with pytest.raises(fd.FlowError, match="holds no result"):
        fd.read_result(out)


def test_a_result_that_was_read_back_is_sent_to_other_processes(tmp_path: Path) -> None:
    made = fd.replay(FLOW, LOG, out=tmp_path / "out")
    assert pickle.loads(pickle.dumps(fd.read_result(tmp_path / "out")))["s"].equals(made["s"])


def test_a_result_that_was_read_back_has_no_state_and_explains_nothing(tmp_path: Path) -> None:
    fd.replay(FLOW, LOG, out=tmp_path / "out")
    again = fd.read_result(tmp_path / "out")
    assert again.state is None
    with pytest.raises(fd.ReplayError, match="cannot explain"):
        again.explain(1)


# -- what is refused ---------------------------------------------------------------------------------------

Act = Callable[[], object]


def refused(act: Act) -> fd.FlowError:
    """The error; it says what was allowed or gives a hint."""
    with pytest.raises(fd.FlowError) as caught:
        act()
    assert caught.value.allowed or caught.value.hint
    return caught.value


@pytest.mark.parametrize(
    ("act", "what"),
    [
        (lambda: fd.replay(FLOW, LOG)["ss"], "no flow delivers to 'ss'"),
        (lambda: fd.replay(FLOW, LOG)[5], "no flow delivers to 5"),  # type: ignore[index]
        (lambda: fd.replay(FLOW, LOG).arrow("s", ["whom"]), "'s' has no column 'whom'"),
        (lambda: fd.replay(FLOW, LOG).polars(columns=["whom"]), "deliveries have no column 'whom'"),
        (lambda: fd.read_result("nowhere"), "'nowhere' holds no result"),
        (lambda: fd.read_result(5), "a folder is an int"),  # type: ignore[arg-type]
    ],
)
def test_what_a_result_has_not_is_refused(act: Act, what: str) -> None:
    assert refused(act).what == what


@pytest.mark.parametrize(
    ("act", "what"),
    [
        (lambda: fd.replay(None, LOG), "NoneType is not a flow"),
        (lambda: fd.replay("flow", LOG), "str is not a flow"),
        (lambda: fd.replay([], LOG), "there is no flow to run"),
        (lambda: fd.replay([FLOW, 1], LOG), "int is not a flow"),
        (lambda: fd.replay(FLOW, None), "NoneType is not an event log"),
        (lambda: fd.replay(FLOW, LOG[0]), "dict is not an event log"),
        (lambda: fd.replay(FLOW, [5]), "an event is a mapping, not int"),
        (lambda: fd.replay(FLOW, [LOG[0], LOG[0]]), "seq_no occurs more than once: 1"),
        (lambda: fd.replay(FLOW, [{**LOG[0], "seq_no": 1.5}]), "seq_no is 1.5"),
        (lambda: fd.replay(FLOW, [{**LOG[0], "seq_no": None}, LOG[1]]), "seq_no is None"),
        (lambda: fd.replay(FLOW, [{**LOG[0], "timestamp": None}]), "an event without timestamp"),
        (lambda: fd.replay(FLOW, LOG, {"user": {}}), "graph is a dict"),  # type: ignore[arg-type]
        (lambda: fd.replay(FLOW, LOG, start="soon"), "start='soon' is no place in a log"),
        (lambda: fd.replay(FLOW, LOG, stop=1.5), "stop=1.5 is no place in a log"),  # type: ignore[arg-type]
        (lambda: fd.replay(FLOW, LOG, start=pd.NaT), "start=NaT is no place in a log"),
        (lambda: fd.replay(FLOW, LOG, open_windows="kep"), "open_windows='kep' is not known"),
        (lambda: fd.replay(FLOW, LOG, as_of="now"), "as_of='now' is not known"),
        (lambda: fd.replay(FLOW, LOG, state=5), "state is an int"),  # type: ignore[arg-type]
        (lambda: fd.replay(FLOW, LOG, fd.EntityGraph(), state=fd.replay(FLOW, LOG).state), "graph and state were both given"),
        (lambda: fd.replay(FLOW, LOG, state=fd.replay(LIKED.batch("target_id", window="100d").map(n=1).deliver("s"), LOG).state), "the state belongs to other flows: flow 'link.created to s', step 0 (batch): 1 open window with 3 contexts"),
        (lambda: fd.replay(FLOW, LOG, sinks={"s": 1}), "there is no sink 't'"),
        (lambda: fd.replay(FLOW, LOG, sinks=["s", "t"]), "sinks are a list"),  # type: ignore[arg-type]
        (lambda: fd.replay(FLOW, LOG, only=5), "only is an int"),
        (lambda: fd.replay(FLOW, LOG, only="1"), "only is a str"),
        (lambda: fd.replay(FLOW, LOG, only=["1"]), "only names '1', which is not a sequence number"),
        (lambda: fd.replay(FLOW, LOG, only=pd.DataFrame({"n": [1]})), "only has no column 'seq_no'"),
        (lambda: fd.replay(FLOW, LOG, chunk_size=0), "chunk_size is 0"),
        (lambda: fd.replay(FLOW, LOG, chunk_size=2.5), "chunk_size is 2.5"),  # type: ignore[arg-type]
        (lambda: fd.replay(FLOW, LOG, out=5), "a folder is an int"),  # type: ignore[arg-type]
    ],
)  # fmt: skip
def test_what_a_replay_cannot_use_is_refused_before_it_runs(act: Act, what: str) -> None:
    assert refused(act).what == what


def test_a_folder_that_is_not_empty_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    assert "is not empty" in refused(lambda: fd.replay(FLOW, LOG, out=tmp_path)).what
    assert "is not empty" in refused(lambda: fd.replay(FLOW, LOG).to_parquet(tmp_path)).what
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_an_error_says_where_what_was_allowed_and_a_hint() -> None:
    error = refused(lambda: fd.replay(FLOW, LOG, sinks={"s": 1, "tt": 1}))
    assert str(error) == (
        "flow 'link.created to s, t': there is no sink 't'\n  allowed: s, tt\n  hint: did you mean 'tt'?"
    )


@pytest.mark.parametrize("name", ["run[12]", "run*", "r?n", "run{1,2}", "run [x] 50%"])
def test_a_folder_may_have_any_name_and_its_tables_are_its_own(name: str, tmp_path: Path):
    flow = on("link.created", name="n").map(recipient_id="bob", title="{{ source_id }}").deliver("s")
    for folder, who in (("run1", "other"), ("run2", "other"), ("run", "other"), (name, "mine")):
        log = [{"timestamp": "2026-01-01T00:00:00Z", "event": fd.link_created("l", who, "p")}]
        made = fd.replay(flow, log, out=tmp_path / folder)
    for result in (made, fd.read_result(tmp_path / name)):
        assert result["s"]["title"].tolist() == ["mine"]
        page = tmp_path / "report.html"
        result.report(page)
        assert "mine" in page.read_text()
        assert "other" not in re.findall(r">([^<>]*)<", page.read_text())
        assert [json.loads(text)["title"] for text in result.deliveries["payload"]] == ["mine"]


def test_a_folder_that_a_path_only_passes_by_is_not_made(tmp_path: Path) -> None:
    flow = on("link.created").map(title="hello").deliver("in-app")
    (tmp_path / "here").mkdir()
    with pytest.raises(fd.ReplayError, match="is not empty"):
        fd.replay(flow, [], out=tmp_path / "missing" / "..")
    assert [path.name for path in tmp_path.iterdir()] == ["here"]


def test_a_recipient_that_the_payload_repeats_is_written_once_and_read_back_in_its_place(
    tmp_path: Path,
) -> None:
    flow = on("link.created").map(recipient_id="{{ target_id }}", title="x").deliver("in-app")
    log = [{"timestamp": "2026-01-01T00:00:00Z", "event": fd.link_created("likes", "ann", "bob")}]
    result = fd.replay(flow, log, out=tmp_path / "r")
    [file] = (tmp_path / "r" / "deliveries").rglob("*.parquet")
    assert [name for name in pl.read_parquet_schema(file) if "recipient" in name] == ["recipient_id"]
    in_memory = fd.replay(flow, log)
    assert result.to_polars().equals(in_memory.to_polars())
    assert result.polars("in-app", ["recipient_id", "payload.recipient_id"]).row(0) == ("bob", "bob")
    result.to_parquet(tmp_path / "copy")
    assert fd.read_result(tmp_path / "copy").to_polars().equals(in_memory.to_polars())
