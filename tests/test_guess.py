"""`fd.guess` proposes how to read files and frames of any shape as events; the code it prints reads them."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

import flowdsl as fd
from flowdsl import on
from flowdsl.cli.main import main

REAL_HISTORIES = Path(__file__).parents[2] / "shared" / "data"
real_history = pytest.mark.skipif(
    not REAL_HISTORIES.is_dir(), reason="the real histories lie beside the repository, not in it"
)
Shape = tuple[list[dict[str, Any]], dict[str, Any]]
SHAPES: dict[str, Shape] = {
    "a join table of an application": (
        [{"created_at": "2026-01-01 09:00:00", "user_id": 1, "post_id": 2}],
        {"kind": "link.created", "link_type": "acts_on", "source_id": "1", "target_id": "2"},
    ),
    "orders with local times": (
        [
            {"order_id": f"o{n}", "customer": "ann", "placed": f"03.11.2025 08:{n % 60:02}", "amount": 5.5}
            for n in range(60)
        ],
        {"kind": "entity.created", "entity_type": "order", "entity_id": "o0"},
    ),
    "orders with numbers": (
        [{"Order No": f"A{n}", "Customer": "c1", "Placed": "2026-01-01 09:00", "Total": 5.5} for n in range(60)],
        {"kind": "entity.created", "entity_type": "order", "entity_id": "A0"},
    ),
    "plays with day and time apart": (
        [{"day": "2026-01-01", "hour": "09:30", "user": "u1", "song": "s1", "country": "lv"}],
        {"kind": "link.created", "source_id": "u1", "target_id": "s1", "timestamp": dt.datetime(2026, 1, 1, 9, 30, tzinfo=dt.UTC)},
    ),
    "ratings in seconds": (
        [{"userId": 1, "songId": 10, "rating": 4.0, "timestamp": 964982703}],
        {"kind": "link.created", "source_id": "1", "target_id": "10"},
    ),
    "an audit log": (
        [{"id": "a1", "op": op, "ts_ms": 1767225600000 + n} for n, op in enumerate(["insert", "update", "delete"])],
        {"kind": "entity.created", "entity_type": "record", "entity_id": "a1"},
    ),
    "lists of those who are meant": (
        [{"at": "2026-01-01T09:00:00Z", "author": "eve", "mentions": ["ann", "bob"]}],
        {"kind": "link.created", "source_id": "eve", "target_id": "ann"},
    ),
    "CloudEvents": (
        [
            {
                "specversion": "1.0", "id": "1", "source": "/s", "type": "link.created", "time": "2026-01-01T00:00:00Z",
                "data": {"link_type": "likes", "source_id": "a", "target_id": "b"},
            }
        ],
        {"kind": "link.created", "link_type": "likes", "source_id": "a"},
    ),
    "a table of what people did": (
        [{"id": f"m{n}", "timestamp": "2026-01-01T00:00:00Z", "user_id": "u7", "event": "order_completed", "message": "thanks"} for n in range(6)],
        {"kind": "entity.created", "entity_type": "order_completed", "entity_id": "m0", "event_id": None},
    ),
    "edges that come and go": (
        [{"ts": 1767225600 + n, "op": op, "member": "ann", "group_id": "g1"} for n, op in enumerate(["add", "remove"])],
        {"kind": "link.created", "link_type": "acts_on", "source_id": "ann", "target_id": "g1"},
    ),
    "rows of a table that are updated": (
        [
            {"event_id": f"e{n}", "ts": 1767225600 + n, "op": op, "customer_id": "c1", "order_id": "o1"}
            for n, op in enumerate(["INSERT", "UPDATE", "DELETE"])
        ],
        {"kind": "entity.created", "entity_type": "order", "entity_id": "o1", "event_id": "e0"},
    ),
    "kinds of events in a column of another name": (
        [{"ts": 1767225600 + n, "op": f"entity.{verb}", "actor": "ann", "path": "a.py"} for n, verb in enumerate(["created", "updated"])],
        {"kind": "entity.created", "entity_id": "a.py"},
    ),
    "webhooks that name what they are about": (
        [{"id": f"e{n}", "created": 1767225600 + n, "type": kind, "object_id": "x1"} for n, kind in enumerate(["order.created", "invoice.updated"])],
        {"kind": "entity.created", "entity_type": "order", "entity_id": "x1"},
    ),
    "an audit log of several tables": (
        [{"at": 1767225600 + n, "table_name": table, "row_id": 1, "op": op} for n, (table, op) in enumerate([("users", "INSERT"), ("orders", "UPDATE")])],
        {"kind": "entity.created", "entity_type": "users", "entity_id": "1"},
    ),
    "ids whose names are one word": (
        [{"timestamp": 1433221332117, "visitorid": 7, "event": "view", "itemid": 9}],
        {"kind": "link.created", "link_type": "view", "source_id": "7", "target_id": "9"},
    ),
    "trips with a beginning, an end and an id of their own": (
        [{"ride_id": f"r{n}", "ended_at": f"2026-01-02T09:{n:02}:00Z", "started_at": f"2026-01-01T09:{n:02}:00Z", "end_station_id": n % 9} for n in range(60)],
        {"kind": "entity.created", "entity_type": "ride", "entity_id": "r0", "timestamp": dt.datetime(2026, 1, 1, 9, tzinfo=dt.UTC)},
    ),
    "heads of mails": (
        [{"Date": "Mon, 14 May 2001 16:39:00 -0700", "From": "ann", "To": "bob"}],
        {"kind": "link.created", "source_id": "ann", "target_id": "bob"},
    ),
    "what people did, as a field called action": (
        [{"at": "2026-01-01T09:00:00Z", "action": "plays", "user": "ann", "song": "s1"}],
        {"kind": "link.created", "link_type": "plays", "source_id": "ann", "target_id": "s1"},
    ),
    "lists called kind, and an id that is none": (
        [{"kind": [n], "id": True, "source_id": "ann", "at": "2026-01-01T09:00:00Z"} for n in range(2)],
        {"kind": "entity.created", "entity_id": "ann"},
    ),
    "times of two spellings": (
        [{"at": at, "user": "ann", "song": "s1"} for at in ("2026-01-01T09:00:00+00:00", "2026/01/01 09:00:00 -0700")],
        {"kind": "link.created", "timestamp": dt.datetime(2026, 1, 1, 9, tzinfo=dt.UTC)},
    ),
    "an event table": (
        [{"kind": "entity.created", "timestamp": "2026-01-01T00:00:00Z", "entity_type": "u", "entity_id": "a"}],
        {"kind": "entity.created", "entity_type": "u", "entity_id": "a"},
    ),
    "an event table whose time has another name": (
        [{"kind": "link.deleted", "time": "2026-01-01T00:00:00Z", "link_type": "l", "source_id": "a", "target_id": "b"}],
        {"kind": "link.deleted", "link_type": "l", "source_id": "a", "target_id": "b"},
    ),
}  # fmt: skip


def first_event(log: fd.MemoryEventLog) -> dict[str, Any]:
    event: dict[str, Any] = next(iter(log.read())).to_pylist()[0]
    return event


@pytest.mark.filterwarnings("ignore::flowdsl.FlowWarning")
@pytest.mark.parametrize("name", SHAPES)
def test_the_code_reads_every_row_as_an_event(name: str):
    source, expected = SHAPES[name]
    names: dict[str, Any] = {"fd": fd, "source": source}
    exec(fd.guess(source).code, names)
    log = names["log"]
    assert log.last_seq_no() == sum(len(row.get("mentions", [1])) for row in source)
    assert not len(log.problems)
    assert expected.items() <= first_event(log).items()


@pytest.mark.filterwarnings("ignore::flowdsl.FlowWarning")
@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".parquet"])
def test_a_file_is_read_by_the_code_with_its_path(
    suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    source, _ = SHAPES["ratings in seconds"]
    frame = pd.DataFrame(source)
    write = {
        ".jsonl": lambda path: Path(path).write_text(json.dumps(source[0])),
        ".csv": lambda path: frame.to_csv(path, index=False),
        ".parquet": lambda path: frame.to_parquet(path),
    }
    write[suffix](f"ratings{suffix}")
    proposal = fd.guess(f"ratings{suffix}")
    assert proposal.code.startswith(f'log = fd.read_events(\n    "ratings{suffix}",')
    names: dict[str, Any] = {"fd": fd}
    exec(proposal.code, names)
    assert first_event(names["log"])["timestamp"] == dt.datetime(2000, 7, 30, 18, 45, 3, tzinfo=dt.UTC)


def test_a_file_of_another_encoding_is_guessed_and_its_rows_are_named(tmp_path: Path):
    path = tmp_path / "stars.csv"
    path.write_bytes(
        "at,user,post\n2026-01-01T00:00:00Z,Jürgen,p1\n2026-01-01T00:00:00Z,ann,p1\n".encode("latin-1")
    )
    guess = fd.guess(path)
    assert guess.options["columns"]["source_id"] == "user"
    assert "ann" in str(guess)
    log = fd.read_events(path, **guess.options)
    assert (len(log), log.problems["row"].tolist()) == (1, [2])


def test_a_list_among_the_names_of_what_happened_stops_no_guess():
    rows = [{"at": 1767225600, "op": op, "user": "ann", "post": "p1"} for op in ("add", ["x"], "add")]
    assert fd.guess(rows).options["columns"]["link_type"] == "op"


def test_it_prints_the_code_with_the_first_events():
    rows = [{"type": "plays", "at": "2026-01-01T00:00:00Z", "user": "ann", "song": "s1", "song_id": 7}]
    text = str(fd.guess(rows))
    assert "# each value of 'type' is a link type: plays" in text
    assert "2026-01-01 00:00:00+00:00 link.created" in text
    assert "plays" in text.splitlines()[-1]


def kinds_and_types(rows: list[dict[str, Any]]) -> list[tuple[str, str]]:
    events = pd.concat(batch.to_pandas() for batch in fd.read_events(rows, **fd.guess(rows).options).read())
    return list(zip(events["kind"], events["link_type"], strict=True))


@pytest.mark.filterwarnings("ignore::flowdsl.FlowWarning")
def test_what_takes_back_something_ends_its_link():
    rows = [
        {"at": 1767225600 + n, "user": "ann", "post": "p1", "action": action}
        for n, action in enumerate(["like", "save", "unlike"])
    ]
    assert kinds_and_types(rows) == [
        ("link.created", "like"),
        ("link.created", "save"),
        ("link.deleted", "like"),
    ]


@pytest.mark.filterwarnings("ignore::flowdsl.FlowWarning")
def test_a_link_that_is_updated_ends_and_begins_again():
    rows = [{"at": 1767225600, "user": "ann", "url": "u", "what": "link.updated"}]
    assert kinds_and_types(rows) == [("link.deleted", "acts_on"), ("link.created", "acts_on")]


@real_history
@pytest.mark.filterwarnings("ignore::flowdsl.FlowWarning")
@pytest.mark.parametrize(
    ("name", "events", "alive"),
    [("awesome_link_events.csv", 2421 + 438, 685), ("attrs_file_events.csv", 4898, 140)],
)
def test_of_real_histories_every_row_is_read_and_as_many_are_left_at_the_end(
    name: str, events: int, alive: int
):
    names: dict[str, Any] = {"fd": fd}
    exec(fd.guess(REAL_HISTORIES / name).code, names)
    rows = pd.concat(batch.to_pandas() for batch in names["log"].read())
    last = rows.groupby(rows["target_id"].fillna(rows["entity_id"])).kind.last()
    assert (len(rows), (~last.str.endswith("deleted")).sum()) == (events, alive)


def test_an_id_that_repeats_is_said():
    (note,) = fd.guess([{"at": "2026-01-01T00:00:00Z", "user": "ann"}] * 2).notes
    assert note == "'user' repeats: the rows may be links of it, or updates (entity.updated)"


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("03.11.2025 08:15", "%d.%m.%Y %H:%M"), ("31/12/2025", "%d/%m/%Y"), ("12/31/2025 08:15", "%m/%d/%Y %H:%M"),
        ("2025/12/31 08:15:01", "%Y/%m/%d %H:%M:%S"), ("20251231", "%Y%m%d"), ("Wed Oct 10 20:19:24 +0000 2018", "%a %b %d %H:%M:%S %z %Y"),
    ],
)  # fmt: skip
def test_formats_of_time_are_found(text: str, form: str):
    assert fd.guess([{"when": text, "user": "a", "item": "b"}]).options["time_format"] == form


@pytest.mark.parametrize(
    ("number", "unit"),
    [(1767225600, "s"), (1767225600123, "ms"), (1767225600123456, "us"), (1767225600123456789, "ns")],
)
def test_units_of_epochs_are_found_by_their_size(number: int, unit: str):
    assert fd.guess([{"t": number, "user": "a", "item": "b"}]).options["time_unit"] == unit


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ([], "the source has no rows"),
        ([{"a": 1}], "no column holds times"),
        ([{"at": "2026-01-01", "colour": "red"}], "no column holds ids"),
    ],
)
def test_what_is_missing_is_named_with_the_columns_that_there_are(rows: list[Any], reason: str):
    with pytest.raises(fd.DataError, match=reason):
        fd.guess(rows)


def test_a_replay_of_a_frame_that_is_no_event_table_offers_the_call_that_reads_it():
    frame = pd.DataFrame({"created_at": ["2026-01-01T00:00:00Z"], "user_id": [1], "post_id": [2]})
    with pytest.raises(fd.DataError) as error:
        fd.replay(on("link.created").map(a="x").deliver("s"), frame)
    assert error.value.what == "no columns 'kind' and 'timestamp' among 'created_at', 'user_id', 'post_id'"
    assert f"this may read it:\n{fd.guess(frame).code}" in str(error.value)
    stream = pa.Table.from_pandas(frame).to_reader()
    with pytest.raises(fd.DataError, match="no columns 'kind' and 'timestamp' among 'created_at', 'user_id'"):
        fd.replay(on("link.created").map(a="x").deliver("s"), stream)


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "feather"])
def test_a_replay_of_a_file_that_is_not_read_in_place_offers_the_call_that_reads_it(
    suffix: str, tmp_path: Path
):
    path = tmp_path / f"likes.{suffix}"
    rows = pd.DataFrame({"created_at": ["2026-01-01T00:00:00Z"], "user_id": [1], "post_id": [2]})
    {
        "csv": rows.to_csv,
        "jsonl": lambda p: rows.to_json(p, orient="records", lines=True),
        "feather": rows.to_feather,
    }[suffix](path)
    for source, why in ((path, "is not replayed in place"), (tmp_path, "holds no .parquet files")):
        with pytest.raises(fd.DataError, match=why) as error:
            fd.replay(on("link.created").map(a="x").deliver("s"), source)
        assert f"this may read it:\n{fd.guess(source).code}" in str(error.value)


def test_a_replay_of_rows_that_are_no_events_offers_the_call_that_reads_them():
    rows = [{"created_at": "2026-01-01T00:00:00Z", "user_id": 1, "post_id": 2}]
    for source in (rows, iter(rows)):
        with pytest.raises(fd.DataError, match="no 'kind' among 'created_at', 'user_id', 'post_id'") as error:
            fd.replay(on("link.created").map(a="x").deliver("s"), source)
        assert "this may read it:" in str(error.value)
        assert '"source_id": "user_id"' in str(error.value)


def test_the_command_line_prints_the_guess(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    Path("stars.csv").write_text("at,who,repository\n1767258000,ann,pandas\n")
    assert main(["convert", "stars.csv", "--guess"]) == 0
    assert capsys.readouterr().out == f"{fd.guess('stars.csv')}\n"
    assert main(["convert", "stars.csv"]) == 2
    assert "LOG is needed" in capsys.readouterr().err
