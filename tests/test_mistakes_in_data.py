"""Mistakes in data and in what is said of it: each is answered with its place, its cause, and a way out."""

from __future__ import annotations

import gzip
import json
import re
import zipfile
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import flowdsl as fd
from flowdsl import on

AT = "2026-01-01T09:00:00Z"
COLUMNS: dict[str, Any] = {
    "timestamp": "at", "kind": fd.literal("link.created"), "link_type": fd.literal("likes"),
    "source_id": "who", "target_id": "what",
}  # fmt: skip
ROW: dict[str, Any] = {"at": AT, "who": "ann", "what": "p1"}
EVENT = {"timestamp": AT, "kind": "link.created", "link_type": "likes", "source_id": "ann", "target_id": "p1"}
FLOW = on("link.created").map(text="{{ source_id }}").deliver("mail")
Read = Callable[[Path], Any]


def read(rows: Any = (ROW,), columns: dict[str, Any] | None = None, **options: Any) -> Any:
    rows = list(rows) if isinstance(rows, tuple) else rows
    return fd.read_events(rows, {**COLUMNS, **(columns or {})}, **options)


def file(name: str, content: str | bytes, columns: dict[str, Any] | None = None, **options: Any) -> Read:
    def read_it(folder: Path) -> Any:
        (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
        return read(folder / name, columns, **options)

    return read_it


def frame(library: Callable[..., Any] = pd.DataFrame, **columns: Any) -> Any:
    return library({**{name: [value] for name, value in ROW.items()}, **columns})


def broken(rows: Any, columns: dict[str, Any] | None = None, **options: Any) -> Read:
    """Return what reads one broken row after a good one."""
    return lambda folder: read([ROW, *rows], columns, **options)


def graph(name: str, content: str) -> Read:
    """Return what reads a graph in a folder, whose links or entities are such a file."""

    def read_it(folder: Path) -> Any:
        (folder / "entities").mkdir()
        (folder / name).write_text(content)
        return fd.read_graph(folder)

    return read_it


def zipped(name: str, content: bytes) -> Read:
    def read_it(folder: Path) -> Any:
        with zipfile.ZipFile(folder / "a.zip", "w") as archive:
            archive.writestr(name, content)
        return read(folder / "a.zip")

    return read_it


# name: what is done, the place, the cause, the way out (in the order in which an error says them)
REFUSED: dict[str, tuple[Read, str | None, str, str]] = {
    "a path that leads nowhere": (lambda f: read(f / "likes.csv"), "likes.csv", "no such file", "there is nothing in"),
    "a folder without files": (lambda f: read(f), "", "the folder holds no file that can be read", "there is nothing in"),
    "a glob that matches nothing": (lambda f: read(f / "*.csv"), "*.csv", "no file matches", "any depth"),
    "an address": (lambda f: read("https://example.org/a.csv"), "https:", "an address", "download it first"),
    "a workbook": (file("a.xlsx", b"PK"), "a.xlsx", "an Excel workbook, which is not read", "read_excel"),
    "a database": (file("a.db", b"SQLite format 3\0"), "a.db", "an SQLite database", "read_sql"),
    "a packed file that is cut": (file("a.csv.gz", gzip.compress(b"at,who,what\n" * 999)[:40]), "a.csv.gz", "cannot be read", "is the file whole"),
    "Parquet that is none": (file("a.parquet", b"at,who\n"), "a.parquet", "cannot be read", "is the file whole"),
    "an empty CSV": (file("a.csv", ""), "a.csv:1", "first line must name the columns", "add a header"),
    "a CSV that names a column twice": (file("a.csv", "at,at\n1,2\n"), "a.csv:1", "each once", "rename a column"),
    "a CSV without a header": (file("a.csv", f"{AT},ann,p1\n{AT},bob,p1\n"), "a.csv", "there is no column 'at'", "name the columns with header="),
    "a header that is not UTF-8": (file("a.csv", b"at,who,w\xffhat\n"), "a.csv:1", "not UTF-8", "encoding"),
    "an archive without rows": (zipped("readme.txt", b"x"), "a.zip", "no file that can be read", "it holds readme.txt"),
    "an archive of a workbook": (zipped("xl/workbook.xml", b"x"), "a.zip", "an Excel workbook", "read_excel"),
    "a broken JSON array": (file("a.json", "[1, "), "a.json", "a JSON array that is not JSON", "one object a line"),
    "XML with a document type": (file("a.xml", "<!DOCTYPE x><x><y/></x>"), "a.xml", "document type", "remove"),
    "a document that wraps its rows": (lambda f: fd.read_events([{"items": [ROW]}]), "list", "nothing says what kind", "records='items'"),
    "records at a path without a list": (lambda f: read([{"items": []}], records="rows"), None, "lists are at items", "columns="),
    "a column that is not there": (lambda f: read(frame(), {"source_id": "whom"}), "frame", "no column 'whom'", "did you mean 'who'"),
    "a column that is not there, in Arrow": (lambda f: read(pa.table({"at": [AT]}), {"target_id": "at"}), "frame", "no column 'who'", "literal"),
    "a constant without literal": (lambda f: read([ROW], {"target_id": "post"}), None, "target_id is null", "columns= says where"),
    "a field that no event has": (lambda f: read([ROW], {"source": "who"}), None, "names 'source'", "did you mean 'source_id'"),
    "an origin that is a number": (lambda f: read([ROW], {"target_id": 7}), None, "target_id=7", r"literal\(7\)"),
    "an origin that is an empty list": (lambda f: read([ROW], {"target_id": []}), None, "target_id=", "literal"),
    "a mapping for an id": (lambda f: read([ROW], {"target_id": {"a": "what"}}), None, "target_id=", "literal"),
    "columns that are a list": (lambda f: fd.read_events([ROW], ["at"]), None, "columns is", "a mapping"),
    "kinds that are a list": (lambda f: read([ROW], kinds=["link.created"]), None, "kinds is", "a mapping from kinds"),
    "a kind that is none": (lambda f: read([ROW], kinds={"a": "link.create"}), None, "'link.create' is not a kind", "did you mean 'link.created'"),
    "a split into one word": (lambda f: read([ROW], split={"u": "link.deleted"}), None, "split\\['u'\\]", "a list of kinds"),
    "a part without its kind": (lambda f: read([ROW], split={"u": [{"source_id": "a"}]}), None, "has no kind", "'kind': 'link.deleted'"),
    "nothing that says the kind": (lambda f: fd.read_events(frame(), {"timestamp": "at"}), "frame", "nothing says what kind", "literal"),
    "a shape that is unknown": (lambda f: read([ROW], shape="mixpannel"), None, "shape='mixpannel'", "did you mean 'mixpanel'"),
    "rows of a known shape without it": (lambda f: fd.read_events([{"userId": 1, "movieId": 2, "rating": 3, "timestamp": 964982703}]), "list", "nothing says what kind", "shape='movielens'"),
    "a list to explode that is not a column": (lambda f: read(frame(), explode="whats"), "frame", "explode names 'whats'", "did you mean 'what'"),
    "a path to explode that is none": (lambda f: read([ROW], explode=3), None, "explode=3", "dotted path"),
    "a zone that is none": (lambda f: read([ROW], time_zone="Berlin"), None, "time_zone='Berlin'", "Europe/Berlin"),
    "an offset for a zone": (lambda f: read([ROW], time_zone="+01:00"), None, r"time_zone='\+01:00'", "IANA"),
    "a unit that is none": (lambda f: read([ROW], time_unit="seconds"), None, "time_unit='seconds'", "'s', 'ms'"),
    "a format that is none": (lambda f: read([ROW], time_format=["%Y", 3]), None, "time_format has 3", "strptime"),
    "dates as numbers": (lambda f: read([{**ROW, "at": 20260101}]), "list", "only you know their unit", "%Y%m%d"),
    "days of a spreadsheet": (lambda f: read([{**ROW, "at": 46023.5}]), "list", "only you know their unit", "spreadsheet"),
    "small counts": (lambda f: read([{**ROW, "at": 3}]), "list", "numbers from 3 to 3", "ten digits are seconds"),
    "times that are booleans": (lambda f: read(frame(at=[True])), "frame", "timestamps are Boolean", "function"),
    "times that are all unreadable": (lambda f: read([{**ROW, "at": "yesterday"}] * 3), None, "3 rows: timestamp 'yesterday' cannot be read", "columns= says where"),
    "ids that pandas made floats": (lambda f: read(frame(who=[7.0])), "frame", "column 'who', which gives source_id, is Float64", "'who': 'Int64'"),
    "ids that pandas made floats, in an event table": (lambda f: fd.replay(FLOW, pd.DataFrame([{**EVENT, "source_id": 7.0}])), "frame", "column 'source_id' is Float64", "Int64"),
    "ids that are lists": (lambda f: read(frame(pl.DataFrame, who=[["a"]])), "frame", "column 'who', which gives source_id, holds lists", "explode='who'"),
    "bytes in data": (lambda f: fd.MemoryEventLog().append(fd.entity_created("u", "a", {"v": b"x"})), None, r"data\.v holds bytes", "text, numbers"),
    "a set in data": (lambda f: fd.entity_created("u", "a", {"v": {1}}), None, "holds a set", "text, numbers"),
    "an infinite decimal": (lambda f: fd.entity_created("u", "a", {"v": Decimal("Infinity")}), None, "holds Infinity", "text, numbers"),
    "a number beyond any float": (lambda f: fd.entity_created("u", "a", {"v": 10**400}), None, r"data\.v", "write it as text"),
    "an id that is a float": (lambda f: fd.link_created("likes", 1.5, "p"), None, "source_id is float 1.5", "write it as text"),
    "an id that is empty": (lambda f: fd.link_created("likes", "", "p"), None, "source_id is empty", "non-empty"),
    "an event without its kind": (lambda f: fd.replay(FLOW, [{"timestamp": AT, "event": {"action": "created"}}]), "event 0", "kind", "link"),
    "an event with half of its fields": (lambda f: fd.replay(FLOW, [{**EVENT, "target_id": None}]), "event 0", "without target_id", "needs link_type"),
    "an event without a time": (lambda f: fd.replay(FLOW, [fd.link_created("a", "b", "c")]), "event 0", "without timestamp", "timestamp"),
    "one event that is not a list": (lambda f: fd.read_events(EVENT), None, "dict cannot be read", "a list of one"),
    "a number for a source": (lambda f: fd.read_events(7), None, "int cannot be read", "a path or glob"),
    "rows that are not mappings": (lambda f: fd.read_events([1, 2]), None, "int is not a mapping", "columns="),
    "a frame without the columns of events": (lambda f: fd.replay(FLOW, frame().rename(columns={"at": "created_at"})), "frame", "no columns 'kind' and 'timestamp'", "read_events"),
    "a frame without anything of events": (lambda f: fd.replay(FLOW, pd.DataFrame({"n": [1], "m": [2]})), "frame", "no columns 'kind' and 'timestamp' among 'n', 'm'", "guess"),
    "a CSV that is replayed in place": (lambda f: ((f / "a.csv").write_text("created_at,user_id,post_id\n" + AT + ",1,2\n"), fd.replay(FLOW, f / "a.csv")), "a.csv", "not replayed in place", '"source_id": "user_id"'),
    "rows that are replayed as events": (lambda f: fd.replay(FLOW, [{"created_at": AT, "user_id": 1, "post_id": 2}]), "list", "no 'kind' among", '"target_id": "post_id"'),
    "some numbered, some not": (
        lambda f: fd.replay(FLOW, [{**EVENT, "seq_no": 1}, EVENT]),
        "event 1",
        "seq_no is None",
        "for all events or for none",
    ),
    "numbers that come twice": (lambda f: fd.read_events([{**EVENT, "seq_no": 1}] * 2), None, "more than once: 1", "leave the column seq_no out"),
    "duplicates that are neither": (lambda f: read([ROW], duplicates="skip"), None, "duplicates='skip'", "'keep' or 'drop'"),
    "entities without ids": (lambda f: fd.EntityGraph({"user": pd.DataFrame({"uid": [1]})}), None, "have no column 'id'", "did you mean 'uid'"),
    "entities whose ids pandas made floats": (lambda f: fd.EntityGraph({"user": pd.DataFrame({"id": [1.0, None]})}), None, "column 'id' is of type Float64", "Int64"),
    "entities twice": (lambda f: fd.EntityGraph({"user": pd.DataFrame({"id": [1, 1]})}), None, "more than once: '1'", "one row for each"),
    "links whose ends pandas made floats": (lambda f: fd.EntityGraph(links=pd.DataFrame({"link_type": ["l"], "source_id": [1.0], "target_id": ["b"]})), None, "column 'source_id' is of type Float64", "Int64"),
    "links without an end": (lambda f: fd.EntityGraph(links=[{"link_type": "l", "source_id": "a"}]), None, "has no target_id", "every link needs one"),
    "bytes in entities": (lambda f: fd.EntityGraph({"user": {"a": {"v": b"x"}}}), None, "holds bytes", "objects of text"),
    "a row of entities that is too short": (graph("entities/user.csv", "id,name,age\n1,Ann,9\n2,Bob\n3\n"), "user.csv:3", r"2 fields, and the header has 3 \(1 other row", "mend it"),
    "a row of links that is too long": (graph("links.csv", "link_type,source_id,target_id\nfollows,a,b,c\n"), "links.csv:2", "4 fields, and the header has 3", "mend it"),
    "a line of entities that is not JSON": (graph("entities/user.jsonl", '{"id": "1"}\n{"id":\n'), "user.jsonl:2", "a line that is not JSON", "mend it"),
    "data without any column of times": (lambda f: fd.guess([{"a": 1}]), None, "no column holds times", "the columns are a"),
    "a guess of nothing": (lambda f: fd.guess([]), None, "no rows", "first rows"),
}  # fmt: skip

# name: what is done, the row, the reason
TOLD: dict[str, tuple[Read, int, str]] = {
    "a missing id": (broken([{**ROW, "who": None}]), 1, "source_id is null, and link.created needs link_type, source_id and target_id"),
    "an empty id": (broken([{**ROW, "who": ""}]), 1, "source_id is null"),
    "a float among ids": (broken([{**ROW, "who": 1.5}]), 1, "source_id is float 1.5, not text or an integer"),
    "a boolean among ids": (broken([{**ROW, "who": True}]), 1, "source_id is bool True"),
    "bytes among ids": (broken([{**ROW, "who": b"x"}]), 1, "source_id is bytes b'x', not text or an integer"),
    "a list among ids": (broken([{**ROW, "who": ["a"]}]), 1, "source_id is list ['a'], not text or an integer; explode= makes a row of each item"),
    "an object among ids": (broken([{**ROW, "who": {"id": 1}}]), 1, "source_id is dict {'id': 1}"),
    "an id of a thousand digits": (broken([{**ROW, "who": 10**1001}]), 1, "a number of more than 1,000 digits"),
    "a time that is none": (broken([{**ROW, "at": "soon"}]), 1, "timestamp 'soon' cannot be read"),
    "a day that no month has": (broken([{**ROW, "at": "2026-02-30"}]), 1, "timestamp '2026-02-30' cannot be read"),
    "a missing time": (broken([{**ROW, "at": None}]), 1, "timestamp is null"),
    "an unknown kind": (broken([{**ROW, "op": "look"}], {"kind": ["op", fd.literal("link.created")]}), 1, "unknown kind 'look'; kinds= may say what it means (None: leave it out)"),
    "a missing kind": (lambda f: fd.read_events([EVENT, {**EVENT, "kind": None}]), 1, "kind is null"),
    "a path into text that is not JSON": (broken([{**ROW, "more": "x"}], {"metadata": "more.a"}), 1, "metadata: a path leads into text that is not JSON: 'x'"),
    "metadata that is not JSON": (broken([{**ROW, "more": "{"}], {"metadata": "more"}), 1, "metadata is text that is not JSON"),
    "bytes within metadata": (broken([{**ROW, "more": {"v": [b"x"]}}], {"metadata": "more"}), 1, "metadata.v[0] holds bytes; decode them to text"),
    "a number beyond any float": (broken([{**ROW, "more": {"v": 10**400}}], {"metadata": "more"}), 1, "metadata.v"),
    "a function that fails": (broken([{**ROW, "who": None}], {"source_id": lambda row: row["who"].lower()}), 1, "the function of source_id failed: AttributeError"),
    "a row of a CSV that is too long": (file("a.csv", f"at,who,what\n{AT},a,b\n{AT},a,b,c\n"), 3, "4 fields, and the header has 3"),
    "a quote that is never closed": (file("a.csv", f'at,who,what\n{AT},a,b\n{AT},"a,b\n'), 3, "not CSV"),
    "a row that is not UTF-8": (file("a.csv", f"at,who,what\n{AT},a,b\n".encode() + AT.encode() + b",\xff,b\n"), 3, "text that is not UTF-8"),
    "a line that is not JSON": (file("a.jsonl", f"{json.dumps(ROW)}\n{{'at': 1}}\n"), 2, "a line that is not JSON"),
    "a line that is not an object": (file("a.jsonl", f"{json.dumps(ROW)}\n[1]\n"), 2, "a line that is not a JSON object"),
    "a line with NaN": (file("a.jsonl", f'{json.dumps(ROW)}\n{{"at": NaN}}\n'), 2, "NaN"),
    "a message that is not JSON": (file("a.sse", f"data: {json.dumps(ROW)}\n\ndata: hello\n\n"), 3, "data that is not JSON"),
    "an item that is not an object": (lambda f: read([{"items": [ROW, 3]}], records="items"), 0, "an item of items is not an object: 3"),
    "a row that is not a mapping": (lambda f: read([ROW, 7]), 1, "int is not a mapping"),
    "an id that comes twice": (broken([{**ROW, "id": "e"}] * 2, {"event_id": "id"}), 2, "event_id 'e' repeats an earlier one"),
    "a row out of order": (broken([{**ROW, "at": "2025-01-01T00:00:00Z"}]), 1, "timestamp is less than one before it"),
    "a local time that comes twice": (broken([{**ROW, "at": "2026-10-25 02:30"}], time_zone="Europe/Berlin"), 1, "comes twice in Europe/Berlin"),
    "a local time that the clocks skip": (broken([{**ROW, "at": "2026-03-29 02:30"}], time_zone="Europe/Berlin"), 1, "skipped"),
    "a time beyond the year 9999": (lambda f: read(pl.DataFrame([ROW, ROW]).with_columns(at=pl.Series([0, 2**60]).cast(pl.Datetime("us", "UTC")))), 1, "timestamp"),
    "a number out of 64 bits for an order": (broken([{**ROW, "n": 2**64}], {"seq_no": ["n", fd.literal(1)]}), 1, "seq_no"),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore::flowdsl.FlowWarning")
@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_read_is_refused_with_place_cause_and_hint(name: str, tmp_path: Path):
    act, place, cause, hint = REFUSED[name]
    with pytest.raises(fd.DataError, match=f"(?s){cause}") as caught:
        act(tmp_path)
    error = caught.value
    said = str(error)
    if place is not None:
        assert place in (error.place or "")
    assert re.search(hint, said), said
    assert error.hint or error.allowed
    assert "Traceback" not in said
    assert all(len(line) < 1000 for line in said.splitlines())


@pytest.mark.filterwarnings("ignore::flowdsl.FlowWarning")
@pytest.mark.parametrize("name", TOLD)
def test_a_row_that_cannot_be_read_is_told_and_the_others_are_read(name: str, tmp_path: Path):
    act, row, reason = TOLD[name]
    log = act(tmp_path)
    assert log.last_seq_no() >= 1
    problems = log.problems
    found = problems[problems["row"] == row]
    assert reason in " | ".join(found["reason"]), problems[["row", "reason"]].to_dict("records")
    assert found["place"].str.len().gt(0).all()


def test_there_are_a_hundred_of_them():
    assert len(REFUSED) + len(TOLD) >= 100
