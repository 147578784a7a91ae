"""Data as people have it: local times, lists in columns, wrapped JSON, archives and folders become the same events."""

from __future__ import annotations

import bz2
import datetime as dt
import enum
import gzip
import json
import lzma
import uuid
import warnings
import zipfile
from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.feather
import pyarrow.orc
import pytest
from hypothesis import given
from hypothesis import strategies as st

import flowdsl as fd
from flowdsl import on
from flowdsl.cli.main import main

AT = "2026-01-01T09:00:00Z"
LINKS: dict[str, Any] = {
    "timestamp": "at", "kind": fd.literal("link.created"), "link_type": fd.literal("likes"),
    "source_id": "who", "target_id": "what",
}  # fmt: skip
LIKES = (
    on("link.created", link_type="likes").map(who="{{ source_id }}", what="{{ target_id }}").deliver("out")
)


def table(log: fd.MemoryEventLog | fd.ParquetEventLog, *columns: str) -> list[tuple[Any, ...]]:
    rows = [row for batch in log.read() for row in batch.select(list(columns)).to_pylist()]
    return [tuple(row[name] for name in columns) for row in rows]


def times(log: fd.MemoryEventLog) -> list[str]:
    return [at.isoformat().removesuffix("+00:00") for (at,) in table(log, "timestamp")]


def at(*stamps: Any) -> list[dict[str, Any]]:
    return [{"at": stamp, "who": f"u{i}", "what": "p"} for i, stamp in enumerate(stamps)]


def in_each_form(rows: list[dict[str, Any]], folder: Path) -> dict[str, Any]:
    """Return rows as a list, frames of three libraries, and files."""
    frame = pd.DataFrame(rows)
    frame.to_csv(folder / "rows.csv", index=False)
    (folder / "rows.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    frame.to_parquet(folder / "rows.parquet")
    return {
        "list": rows, "generator": (row for row in rows), "pandas": frame, "polars": pl.DataFrame(rows),
        "lazy": pl.LazyFrame(rows), "duckdb": duckdb.from_arrow(pa.Table.from_pylist(rows)),
        "csv": folder / "rows.csv", "jsonl": folder / "rows.jsonl", "parquet": folder / "rows.parquet",
    }  # fmt: skip


class TestLocalTimes:
    def test_they_are_those_of_the_zone_in_every_form(self, tmp_path: Path):
        rows = at("2026-01-15 09:00", "2026-07-15 09:00:30", "2026-07-16T10:00:00+01:00")
        for name, source in in_each_form(rows, tmp_path).items():
            log = fd.read_events(source, columns=LINKS, time_zone="Europe/Berlin")
            assert times(log) == ["2026-01-15T08:00:00", "2026-07-15T07:00:30", "2026-07-16T09:00:00"], name
            assert log.problems.empty

    def test_columns_of_datetimes_and_python_values_without_a_zone_are_local_too(self):
        stamp, winter = dt.datetime(2026, 7, 15, 9), dt.datetime(2026, 1, 15, 9, tzinfo=dt.UTC)
        expected = ["2026-01-15T09:00:00", "2026-07-15T07:00:00"]
        zone = {"columns": LINKS, "time_zone": "Europe/Berlin"}
        assert times(fd.read_events(at(winter, stamp), **zone)) == expected
        for frame in (pd.DataFrame(at(stamp)), pl.DataFrame(at(stamp))):
            assert times(fd.read_events(frame, **zone)) == expected[1:]
        days = fd.read_events(at(dt.date(2026, 7, 15)), **zone)
        assert times(days) == ["2026-07-14T22:00:00"]

    def test_times_that_come_twice_or_never_are_said_once_with_their_rows(self):
        rows = at(
            "2026-03-29 02:30", "2026-03-29 03:30", "2026-10-25 02:30", "2026-10-25 03:30", "2026-03-29 02:45"
        )
        with pytest.warns(fd.FlowWarning) as said:
            log = fd.read_events(rows, columns=LINKS, time_zone="Europe/Berlin")
        (warning,) = said
        assert "1 local time comes twice in Europe/Berlin" in str(warning.message)
        assert "2 local times are skipped in Europe/Berlin" in str(warning.message)
        odd = log.problems[log.problems["problem"].isin(["ambiguous", "nonexistent"])]
        assert odd[["row", "problem"]].values.tolist() == [
            [0, "nonexistent"],
            [2, "ambiguous"],
            [4, "nonexistent"],
        ]
        assert odd["reason"].iloc[1] == "2026-10-25 02:30:00 comes twice in Europe/Berlin: the first is taken"
        assert times(log)[:3] == ["2026-03-29T01:00:00", "2026-03-29T01:00:00", "2026-03-29T01:30:00"]
        assert times(log)[3:] == ["2026-10-25T00:30:00", "2026-10-25T02:30:00"]

    @given(
        st.datetimes(dt.datetime(1975, 1, 1), dt.datetime(2090, 1, 1)),
        st.sampled_from(["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "UTC"]),
    )
    def test_they_are_the_moments_that_python_finds(self, local: dt.datetime, zone: str):
        import zoneinfo

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", fd.FlowWarning)
            log = fd.read_events(at(local.isoformat()), columns=LINKS, time_zone=zone)
        there = zoneinfo.ZoneInfo(zone)
        expected = local.replace(tzinfo=there).astimezone(dt.UTC)
        odd = set(log.problems["problem"])
        if expected.astimezone(there).replace(tzinfo=None) != local:
            assert odd == {"nonexistent"}
            return
        assert table(log, "timestamp") == [(expected,)]
        twice = local.replace(tzinfo=there, fold=1).utcoffset() != local.replace(tzinfo=there).utcoffset()
        assert odd == ({"ambiguous"} if twice else set())

    def test_several_formats_are_tried_in_their_order(self):
        log = fd.read_events(
            at("03.11.2025 08:15", "11/04/2025", "2025-11-05 +0100 10:00"),
            columns=LINKS, time_format=["%d.%m.%Y %H:%M", "%m/%d/%Y", "%Y-%m-%d %z %H:%M"], time_zone="Asia/Kolkata",
        )  # fmt: skip
        assert times(log) == ["2025-11-03T02:45:00", "2025-11-03T18:30:00", "2025-11-05T09:00:00"]

    def test_a_count_beside_texts_is_read_by_its_size(self):
        with pytest.warns(fd.FlowWarning, match="by their size milliseconds"):
            log = fd.read_events(at(AT, "1767258000000"), columns=LINKS)
        assert times(log) == ["2026-01-01T09:00:00"] * 2

    def test_date_and_time_of_two_columns_are_put_together(self):
        rows = [{"day": "2026-01-01", "hour": "09:00", "who": "a", "what": "b"}]
        for source in (rows, pd.DataFrame(rows)):
            log = fd.read_events(source, columns={**LINKS, "timestamp": "{day} {hour}"}, time_zone="UTC")
            assert times(log) == ["2026-01-01T09:00:00"]

    def test_a_zone_that_is_none_is_refused_with_the_nearest(self):
        with pytest.raises(fd.DataError, match=r"(?s)time_zone='Europe/Berln'.*did you mean 'Europe/Berlin'"):
            fd.read_events(at(AT), columns=LINKS, time_zone="Europe/Berln")


class TestLists:
    ROWS = (
        {"id": "e1", "at": AT, "who": "eve", "what": ["ann", "bob"]},
        {"id": "e2", "at": AT, "who": "joe", "what": []},
        {"id": "e3", "at": AT, "who": "kim", "what": ["ann"]},
    )
    COLUMNS = {**LINKS, "event_id": "id"}  # noqa: RUF012

    @pytest.mark.parametrize(
        "form",
        [list, pd.DataFrame, pl.DataFrame, lambda rows: pd.DataFrame([{**r, "what": json.dumps(r["what"])} for r in rows])],
        ids=["list", "pandas", "polars", "JSON text"],
    )  # fmt: skip
    def test_each_item_is_an_event(self, form: Callable[[Any], Any]):
        log = fd.read_events(form(self.ROWS), columns=self.COLUMNS, explode="what")
        assert table(log, "source_id", "target_id") == [("eve", "ann"), ("eve", "bob"), ("kim", "ann")]
        assert log.skipped == 1
        assert log.problems.empty

    def test_items_that_are_objects_are_reached_by_paths(self):
        order = {"at": AT, "who": "ann", "order": {"lines": [{"sku": "tea", "n": 2}, {"sku": "cup", "n": 1}]}}
        log = fd.read_events(
            [order],
            columns={**LINKS, "target_id": "order.lines.sku", "metadata": {"n": "order.lines.n"}},
            explode="order.lines",
        )
        assert table(log, "target_id", "metadata") == [("tea", '{"n":2}'), ("cup", '{"n":1}')]

    def test_the_command_line_does_the_same(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
        (tmp_path / "a.jsonl").write_text("\n".join(json.dumps(row) for row in self.ROWS))
        command = ["convert", str(tmp_path / "a.jsonl"), str(tmp_path / "log"), "--explode", "what"]
        options = ["--column", "timestamp=at", "--column", "source_id=who", "--column", "target_id=what"]
        assert (
            main([*command, *options, "--literal", "kind=link.created", "--literal", "link_type=likes"]) == 0
        )
        assert "3 events appended" in capsys.readouterr().out

    def test_one_item_of_a_list_is_reached_by_its_number(self):
        log = fd.read_events([self.ROWS[0]], columns={**LINKS, "target_id": "what.1"})
        assert table(log, "target_id") == [("bob",)]


class TestOrigins:
    def test_a_text_with_paths_in_braces_is_filled_and_null_where_one_is_missing(self, tmp_path: Path):
        rows = [{"at": AT, "who": "ann", "repo": {"owner": "o", "name": n}} for n in ("tea", "cup")]
        (tmp_path / "a.jsonl").write_text("\n".join(json.dumps(row) for row in rows * 80))
        columns = {**LINKS, "target_id": "{repo.owner}/{repo.name}"}
        for source in (rows, pl.DataFrame(rows), tmp_path / "a.jsonl"):
            log = fd.read_events(source, columns=columns)
            assert set(table(log, "target_id")) == {("o/tea",), ("o/cup",)}
        rows.append({"at": AT, "who": "ann", "repo": {"owner": "o"}})
        assert fd.read_events(rows, columns=columns).problems["row"].tolist() == [2]

    def test_the_first_alternative_that_a_row_has_is_taken(self, tmp_path: Path):
        rows = [{"at": AT, "user": "ann", "what": "p"}, {"at": AT, "anonymous": "x1", "what": "p"}]
        columns = {**LINKS, "source_id": ["user", "anonymous", fd.literal("nobody")]}
        (tmp_path / "a.jsonl").write_text("\n".join(json.dumps(row) for row in rows * 80))
        for source in (rows, pd.DataFrame(rows), tmp_path / "a.jsonl"):
            assert set(table(fd.read_events(source, columns=columns), "source_id")) == {("ann",), ("x1",)}
        assert table(fd.read_events([{"at": AT, "what": "p"}], columns=columns), "source_id") == [("nobody",)]

    def test_an_object_is_made_of_columns(self):
        rows = [{"at": AT, "who": "ann", "what": "p", "rating": 4.5, "note": None}]
        columns = {**LINKS, "metadata": {"stars": "rating", "why": "note"}}
        for source in (rows, pd.DataFrame(rows), pl.DataFrame(rows)):
            assert table(fd.read_events(source, columns=columns), "metadata") == [('{"stars":4.5}',)]

    def test_a_number_alone_may_be_the_metadata(self):
        rows = [{"at": AT, "who": "ann", "what": "p", "rating": 4.5}]
        for source in (rows, pd.DataFrame(rows)):
            log = fd.read_events(source, columns={**LINKS, "metadata": "rating"})
            assert table(log, "metadata") == [("4.5",)]

    def test_a_star_stands_for_all_other_kinds(self):
        rows = [{"op": op, "at": AT, "who": "a", "what": "b"} for op in ("add", "look", None, "swap")]
        log = fd.read_events(
            rows,
            columns={**LINKS, "kind": "op"},
            kinds={"add": "link.created", "*": None},
            split={"swap": ["link.deleted", "link.created"]},
        )
        assert [kind for (kind,) in table(log, "kind")] == ["link.created", "link.deleted", "link.created"]
        assert log.skipped == 2

    def test_a_field_that_a_part_names_itself_is_kept_whatever_its_kind(self):
        rows = [{"op": "move", "at": AT, "who": "ann", "what": "t1", "list": "done"}]
        columns = {**LINKS, "kind": "op", "entity_type": fd.literal("card"), "entity_id": "what"}
        moved = {"kind": "entity.updated", "source_id": "who"}
        log = fd.read_events(rows, columns=columns, split={"move": ["link.created", moved, "entity.updated"]})
        assert table(log, "kind", "source_id", "target_id", "entity_type", "entity_id") == [
            ("link.created", "ann", "t1", None, None),
            ("entity.updated", "ann", None, "card", "t1"),
            ("entity.updated", None, None, "card", "t1"),
        ]

    @pytest.mark.parametrize("values", [(1, 2), (True, False)])
    def test_kinds_may_be_numbers_and_booleans(self, values: tuple[Any, Any]):
        rows = [{"op": op, "at": AT, "who": "a", "what": "b"} for op in values]
        meaning = dict(zip(values, ["link.created", "link.deleted"], strict=True))
        for source in (rows, pd.DataFrame(rows)):
            log = fd.read_events(source, columns={**LINKS, "kind": "op"}, kinds=meaning)
            assert table(log, "kind") == [("link.created",), ("link.deleted",)]

    def test_columns_that_are_not_asked_for_never_matter(self, tmp_path: Path):
        rows = at(AT)
        odd = pd.DataFrame(rows).assign(x=[b"\xff"], y=pd.Series([{1, 2}], dtype=object), z=[object()])
        assert len(fd.read_events(odd, columns=LINKS)) == 1
        assert fd.replay(LIKES, odd.rename(columns={"at": "timestamp", "who": "source_id", "what": "target_id"}).assign(
            kind="link.created", link_type="likes"))["out"]["who"].tolist() == ["u0"]  # fmt: skip
        union = pa.UnionArray.from_dense(pa.array([0], pa.int8()), pa.array([0], pa.int32()), [pa.array([1])])
        arrow = pa.table({**{name: [value] for name, value in rows[0].items()}, "odd": union})
        assert len(fd.read_events(arrow, columns=LINKS)) == 1
        relation = duckdb.sql(f"SELECT '{AT}' AS at, 'a' AS who, 'b' AS what, INTERVAL 3 MONTH AS odd")
        assert len(fd.read_events(relation, columns=LINKS)) == 1

    def test_python_values_in_object_columns_are_what_they_stand_for(self):
        class Who(enum.Enum):
            ANN = "ann"

        frame = pd.DataFrame(
            {
                "at": pd.Series(
                    [dt.date(2026, 1, 1), dt.datetime(2026, 1, 1, 9, tzinfo=dt.UTC)], dtype=object
                ),
                "who": pd.Series([Who.ANN, 7], dtype=object),
                "what": pd.Series([uuid.UUID(int=1), "p"], dtype=object),
                "more": pd.Series([{"price": Decimal("1.50")}, [b"x"][:0]], dtype=object),
            }
        )
        log = fd.read_events(frame, columns={**LINKS, "metadata": "more"}, time_zone="UTC")
        assert table(log, "source_id", "target_id", "metadata") == [
            ("ann", "00000000-0000-0000-0000-000000000001", '{"price":1.5}'), ("7", "p", "[]"),
        ]  # fmt: skip


class TestWholeNumbers:
    @pytest.mark.parametrize("number", [2**53 + 1, 2**63, 2**64 - 1, 2**64, 2**70 + 1, -(2**70)])
    def test_ids_keep_their_digits_in_every_form(self, number: int, tmp_path: Path):
        rows = [{"at": AT, "who": number, "what": "p"}]
        (tmp_path / "a.jsonl").write_text((json.dumps(rows[0]) + "\n") * 120)
        (tmp_path / "a.csv").write_text(f"at,who,what\n{AT},{number},p\n")
        for source in (
            rows,
            tmp_path / "a.jsonl",
            tmp_path / "a.csv",
            pd.DataFrame(rows),
            pl.DataFrame(rows),
        ):
            assert set(table(fd.read_events(source, columns=LINKS), "source_id")) == {(str(number),)}

    def test_those_that_one_float_stands_for_stay_apart(self):
        numbers = [2**63 + 1, 2**63 + 3, 2**64 - 1]
        flow = on("entity.created").map(n="{{ data.v }}", b=fd.fn.bucket(fd.var.data.v, 1000)).deliver("out")
        made = [{"timestamp": AT, "event": fd.entity_created("a", "1", {"v": n})} for n in (*numbers, 2**64)]
        together = fd.replay(flow, made)["out"]
        # beyond 64 bits a number is the nearest float
        assert together["n"].tolist() == [*map(str, numbers), "18446744073709552000"]
        assert together["b"].tolist() == [fd.replay(flow, [one])["out"]["b"][0] for one in made]

    @pytest.mark.parametrize("number", [2**53 + 1, 2**63, 2**64 - 1])
    def test_numbers_in_data_keep_theirs_up_to_64_bits(self, number: int):
        flow = on("link.created").map(n="{{ metadata.v }}").deliver("out")
        rows = [{"at": AT, "who": "a", "what": "p", "n": number}]
        for source in (rows, pd.DataFrame(rows), pl.DataFrame(rows)):
            log = fd.read_events(source, columns={**LINKS, "metadata": {"v": "n"}})
            assert fd.replay(flow, log)["out"]["n"].tolist() == [str(number)]

    def test_an_entity_that_is_one_keeps_its_own_beside_objects(self):
        graph = fd.EntityGraph({"limit": {"ann": 2**64 - 1, "bob": {}}})
        flow = on("link.created").resolve("source_id", as_="limit").map(n=fd.var.limit).deliver("out")
        log = [{"timestamp": AT, "event": fd.link_created("asks", who, "p")} for who in ("ann", "bob")]
        payloads = fd.replay(flow, log, graph).deliveries["payload"]
        assert payloads.tolist() == ['{"n":18446744073709551615}', '{"n":{"id":"bob"}}']


class TestFilesWithoutAHeader:
    ROWS = f'{AT},ann,"p,1"\n{AT},bob,p2\n{AT},bob\n{AT},cid,p3\n'

    @pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.zip", "plain"])
    def test_are_read_by_the_names_that_are_given(self, name: str, tmp_path: Path):
        if name == "a.zip":
            with zipfile.ZipFile(tmp_path / name, "w") as archive:
                archive.writestr("rows.csv", self.ROWS)
        else:
            data = self.ROWS.encode()
            (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
        log = fd.read_events(tmp_path / name, columns=LINKS, header=["at", "who", "what"])
        assert table(log, "source_id", "target_id") == [("ann", "p,1"), ("bob", "p2"), ("cid", "p3")]
        assert log.problems["row"].tolist() == [3]

    def test_a_first_line_that_has_the_names_is_one_all_the_same(self, tmp_path: Path):
        (tmp_path / "a.tsv").write_text(f"what\tat\twho\np\t{AT}\tann\n")
        log = fd.read_events(tmp_path / "a.tsv", columns=LINKS, header=["at", "who", "what"])
        assert table(log, "source_id", "target_id") == [("ann", "p")]

    def test_the_separator_is_the_one_that_makes_as_many_fields(self, tmp_path: Path):
        (tmp_path / "a.tsv").write_text(f"{AT}\tann\ta,b,c,d,e\n")
        log = fd.read_events(tmp_path / "a.tsv", columns=LINKS, header=["at", "who", "what"])
        assert table(log, "target_id") == [("a,b,c,d,e",)]

    def test_another_number_of_names_is_an_error_with_both(self, tmp_path: Path):
        (tmp_path / "a.csv").write_text(f"{AT},ann,p\n")
        with pytest.raises(
            fd.DataError, match=r"a\.csv:1: the first line has 3 fields, and header= names 2 columns"
        ):
            fd.read_events(tmp_path / "a.csv", columns=LINKS, header=["at", "who"])
        for wrong in ("at,who,what", [], ["at", "at"], ["at", ""], [1]):
            with pytest.raises(fd.DataError, match="header="):
                fd.read_events(tmp_path / "a.csv", columns=LINKS, header=wrong)  # type: ignore[arg-type]

    def test_an_empty_one_has_no_events(self, tmp_path: Path):
        (tmp_path / "a.csv").write_text("")
        assert (
            len(table(fd.read_events(tmp_path / "a.csv", columns=LINKS, header=["at", "who", "what"]))) == 0
        )

    def test_the_command_converts_them(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
        (tmp_path / "a.csv").write_text(f"{AT},ann,p\n")
        columns = [
            f"--column={field}={name}"
            for field, name in (("timestamp", "at"), ("source_id", "who"), ("target_id", "what"))
        ]
        given = [*columns, "--literal=kind=link.created", "--literal=link_type=likes"]
        assert (
            main(
                ["convert", str(tmp_path / "a.csv"), str(tmp_path / "log"), *given, "--header", "at,who,what"]
            )
            == 0
        )
        with fd.ParquetEventLog(tmp_path / "log") as log:
            assert table(log, "source_id") == [("ann",)]


def test_a_list_as_an_id_says_how_each_item_becomes_an_event():
    rows = [{"at": AT, "who": "eve", "what": ["ann", "bob"]}]
    for source in (rows, pl.DataFrame(rows)):
        with pytest.raises(fd.DataError, match="explode="):
            fd.read_events(source, columns=LINKS)


def test_a_path_into_json_text_reaches_its_value_and_the_text_stays_what_it_is():
    rows = [{"time": AT, "who": "u1", "properties": '{"video_id": 5279}'}]
    columns = {**LINKS, "timestamp": "time", "target_id": "properties.video_id", "metadata": "properties"}
    for source in (rows, pd.DataFrame(rows)):
        log = fd.read_events(source, columns=columns)
        assert table(log, "target_id", "metadata") == [("5279", '{"video_id": 5279}')]


DOCUMENT = {"ok": True, "data": {"likes": at(AT, "2026-01-02T09:00:00Z")}}
WRAPPED: dict[str, bytes] = {
    "in one line": json.dumps(DOCUMENT).encode(),
    "pretty-printed": json.dumps(DOCUMENT, indent=2).encode(),
    "with a mark of the encoding": b"\xef\xbb\xbf" + json.dumps(DOCUMENT, indent="\t").encode(),
    "in UTF-16": json.dumps(DOCUMENT, indent=2).encode("utf-16"),
    "a page in each line": "\n".join(
        json.dumps({"data": {"likes": [row]}}) for row in DOCUMENT["data"]["likes"]  # type: ignore[index]
    ).encode(),
    "pages one after the other": "\n".join(
        json.dumps({"data": {"likes": [row]}}, indent=1) for row in DOCUMENT["data"]["likes"]  # type: ignore[index]
    ).encode(),
    "pages on one line": "".join(
        json.dumps({"data": {"likes": [row]}}) for row in DOCUMENT["data"]["likes"]  # type: ignore[index]
    ).encode(),
    "pages in a list": json.dumps([DOCUMENT]).encode(),
}  # fmt: skip


class TestRecords:
    @pytest.mark.parametrize("name", WRAPPED)
    def test_the_rows_of_a_wrapped_document_are_at_a_path(self, name: str, tmp_path: Path):
        (tmp_path / "a.json").write_bytes(WRAPPED[name])
        log = fd.read_events(tmp_path / "a.json", columns=LINKS, records="data.likes")
        assert table(log, "source_id") == [("u0",), ("u1",)]

    def test_a_document_in_memory_is_read_the_same_way(self):
        assert len(fd.read_events(DOCUMENT, columns=LINKS, records="data.likes")) == 2
        assert len(fd.read_events([DOCUMENT, DOCUMENT], columns=LINKS, records="data.likes")) == 4

    def test_pretty_printed_rows_need_no_path(self, tmp_path: Path):
        rows = [json.dumps(row, indent=2) for row in at(AT, AT)]
        (tmp_path / "a.json").write_text("\n".join([*rows, '{\n "at": oops\n}', rows[0]]))
        log = fd.read_events(tmp_path / "a.json", columns=LINKS)
        assert table(log, "source_id") == [("u0",), ("u1",), ("u0",)]
        assert log.problems[["row", "problem"]].values.tolist() == [[11, "broken"]]

    def test_objects_one_behind_the_other_without_line_breaks_are_rows(self, tmp_path: Path):
        first, second, third = (json.dumps(row) for row in at(AT, AT, AT))
        # as delivery streams write them, without an ending too
        (tmp_path / "stream-1-2026").write_text(f"{first}{second}\n{{'oops': 1}}{third} {first}\n")
        log = fd.read_events(tmp_path / "stream-1-2026", columns=LINKS)
        assert table(log, "source_id") == [("u0",), ("u1",), ("u2",), ("u0",)]
        assert log.problems[["row", "problem"]].values.tolist() == [[2, "broken"]]

    @pytest.mark.parametrize("columns", [None, LINKS])
    def test_without_the_path_the_error_names_it(self, columns: Any, tmp_path: Path):
        (tmp_path / "a.json").write_bytes(WRAPPED["pretty-printed"])
        with pytest.raises(fd.DataError, match=r"records='data.likes'"):
            fd.read_events(tmp_path / "a.json", columns)
        assert fd.guess(tmp_path / "a.json").options["records"] == "data.likes"

    def test_a_document_without_the_list_says_what_it_has(self):
        with pytest.raises(fd.DataError, match=r"there is nothing, no list; lists are at items"):
            fd.read_events([{"items": []}], columns=LINKS, records="rows")


def as_sse(rows: list[dict[str, Any]]) -> bytes:
    messages = [
        f": a comment\nevent: like\nid: {i}\ndata: {json.dumps(row)}\n\n" for i, row in enumerate(rows)
    ]
    return "".join(messages).encode()


def as_xml(rows: list[dict[str, Any]]) -> bytes:
    inside = "".join(
        f'  <row at="{row["at"]}" who="{row["who"]}"><what>{row["what"]}</what></row>\n' for row in rows
    )
    return f'<?xml version="1.0" encoding="utf-8"?>\n<likes>\n{inside}</likes>\n'.encode()


def lines(rows: list[dict[str, Any]]) -> bytes:
    return "\n".join(json.dumps(row) for row in rows).encode()


def test_an_archive_that_is_not_whole_is_refused_with_its_place(tmp_path: Path):
    write_zip(tmp_path / "a.zip", at(AT, AT))
    for name in ("cut.zip", "cut.xlsx"):
        (tmp_path / name).write_bytes((tmp_path / "a.zip").read_bytes()[:-30])
        with pytest.raises(fd.DataError, match=f"{name}: a zip archive that cannot be read"):
            fd.read_events(tmp_path / name, columns=LINKS)


def write_zip(path: Path, rows: list[dict[str, Any]]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("export/first.csv", pd.DataFrame(rows[:1]).to_csv(index=False))
        archive.writestr("export/second.json.gz", gzip.compress(lines(rows[1:])))
        archive.writestr("export/readme.txt", "about the export")
        archive.writestr("__MACOSX/export/._first.csv", "x")


FILES: dict[str, Callable[[Path, list[dict[str, Any]]], Any]] = {
    "a.jsonl.bz2": lambda path, rows: path.write_bytes(bz2.compress(lines(rows))),
    "a.csv.xz": lambda path, rows: path.write_bytes(lzma.compress(pd.DataFrame(rows).to_csv(index=False).encode())),
    "a.ndjson.lz4": lambda path, rows: pa.output_stream(path, compression="lz4").write(lines(rows)),
    "a.jsonl.br": lambda path, rows: pa.output_stream(path, compression="brotli").write(lines(rows)),
    "a.feather": lambda path, rows: pyarrow.feather.write_feather(pd.DataFrame(rows), str(path)),
    "a.arrow": lambda path, rows: pl.DataFrame(rows).write_ipc(path),
    "a.arrows": lambda path, rows: pl.DataFrame(rows).write_ipc_stream(path),
    "a.orc": lambda path, rows: pyarrow.orc.write_table(pa.Table.from_pylist(rows), str(path)),
    "a.sse": lambda path, rows: path.write_bytes(as_sse(rows)),
    "a.xml": lambda path, rows: path.write_bytes(as_xml(rows)),
    "a.zip": write_zip,
    # without a suffix that says it
    "stream": lambda path, rows: path.write_bytes(as_sse(rows)),
    "feather": lambda path, rows: pyarrow.feather.write_feather(pd.DataFrame(rows), str(path)),
    "orc": lambda path, rows: pyarrow.orc.write_table(pa.Table.from_pylist(rows), str(path)),
    "xml": lambda path, rows: path.write_bytes(as_xml(rows)),
    "archive": write_zip,
}  # fmt: skip
ACCESS = b"""\
203.0.113.7 - - [10/Oct/2026:13:55:36 +0000] "GET /tea HTTP/1.1" 200 2326 "-" "Mozilla/5.0 (X11; \\"q\\")"
::1 - frank [10/Oct/2026:13:55:37 -0700] "POST /cup?n=1 HTTP/1.1" 201 - "https://example.org/" "curl/8"
"""
UNREAD = {
    "a.xlsx": (b"PK", "an Excel workbook", "read_excel"), "a.avro": (b"Obj\x01", "an Avro file", "read_avro"),
    "a.sqlite": (b"SQLite format 3\0", "an SQLite database", "read_sql"), "a.7z": (b"7z", "a 7-Zip archive", "unpack"),
    "a.tar.gz": (gzip.compress(b""), "a tar archive", "unpack"), "a.sql": (b"SELECT", "an SQL dump", "COPY table TO"),
    "a.pkl": (b"\x80", "a pickle", "read_pickle"), "a.yaml": (b"- a: 1", "YAML", "safe_load"),
    "table": (b"SQLite format 3\0", "an SQLite database", "read_sql"), "a.pdf": (b"%PDF-1.4", "a PDF", "export"),
    "a.bson": (b"\x16", "BSON", "bsondump"), "page": (b"<!DOCTYPE html><html>", "a web page", "read_html"),
    "a.dta": (b"<stata_dta>", "a Stata file", "read_stata"), "a.sav": (b"$FL2", "an SPSS file", "read_spss"),
    "a.sas7bdat": (b"\0", "a SAS file", "read_sas"), "a.rds": (b"\x1f", "data of R", "write it as"),
    "a.json.snappy": (b"\xff\x06", "a file packed with Snappy", "unpack"),
    "access.log": (ACCESS, "a web server's log in the Common or Combined Log Format", "str.extract"),
    "access.log.2.gz": (gzip.compress(b"example.org:80 " + ACCESS), "Common or Combined Log Format", "str.extract"),
    "ratings.dat": (b"1::1193::5::978300760\n", "a file with '::' between its fields", "sep='::'"),
}  # fmt: skip


class TestFiles:
    @pytest.mark.parametrize("name", FILES)
    def test_each_format_has_the_same_rows(self, name: str, tmp_path: Path):
        path = tmp_path / name
        FILES[name](path, at(AT, "2026-01-02T09:00:00Z"))
        log = fd.read_events(path, columns=LINKS)
        assert table(log, "source_id", "target_id") == [("u0", "p"), ("u1", "p")]
        assert log.problems.empty

    def test_rows_of_archives_have_the_names_in_them(self, tmp_path: Path):
        with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
            archive.writestr("x/a.jsonl", lines(at(AT)) + b"\n{")
        log = fd.read_events(tmp_path / "a.zip", columns={**LINKS, "target_id": "{@folder}/{@file}"})
        assert table(log, "target_id") == [("x/a.jsonl",)]
        assert log.problems[["place", "row"]].values.tolist() == [[f"{tmp_path / 'a.zip'}/x/a.jsonl", 2]]

    def test_an_archive_without_rows_says_what_it_holds(self, tmp_path: Path):
        with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
            archive.writestr("readme.txt", "x")
        with pytest.raises(fd.DataError, match=r"(?s)holds no file that can be read.*it holds readme\.txt"):
            fd.read_events(tmp_path / "a.zip")

    def test_xml_that_ends_early_loses_only_what_follows(self, tmp_path: Path):
        (tmp_path / "a.xml").write_bytes(as_xml(at(AT, AT))[:-30])
        log = fd.read_events(tmp_path / "a.xml", columns=LINKS)
        assert table(log, "source_id") == [("u0",)]
        assert "what follows is not read" in log.problems["reason"].iloc[0]

    def test_xml_that_declares_entities_is_refused(self, tmp_path: Path):
        (tmp_path / "a.xml").write_text('<!DOCTYPE r [<!ENTITY a "b">]><r><row x="&a;"/></r>')
        with pytest.raises(fd.DataError, match="declares a document type"):
            fd.read_events(tmp_path / "a.xml", columns=LINKS)

    def test_messages_whose_data_is_no_json_are_told_with_their_line(self, tmp_path: Path):
        (tmp_path / "a.sse").write_bytes(as_sse(at(AT)) + b"data: hello\n\n")
        problems = fd.read_events(tmp_path / "a.sse", columns=LINKS).problems
        assert problems[["row", "problem"]].values.tolist() == [[6, "broken"]]

    def test_folders_that_name_columns_give_their_values(self, tmp_path: Path):
        for day in ("2026-01-01", "2026-01-02"):
            folder = tmp_path / "likes" / f"day={day}" / "place=caf%C3%A9"
            folder.mkdir(parents=True)
            pl.DataFrame({"who": [f"u{day[-1]}"]}).write_parquet(folder / "a.parquet")
            (folder / "b.csv").write_text(f"who\nv{day[-1]}\n")
            (folder / "c.jsonl").write_text('{"who": "w"}\n' * 120)
        columns = {**LINKS, "timestamp": "day", "target_id": "place"}
        for source in (tmp_path / "likes", tmp_path / "likes" / "day=*" / "*" / "*"):
            log = fd.read_events(source, columns=columns, time_zone="UTC")
            found = set(table(log, "source_id", "target_id", "timestamp"))
            assert ("u2", "café", dt.datetime(2026, 1, 2, tzinfo=dt.UTC)) in found
            assert {who for who, _, _ in found} == {"u1", "v1", "u2", "v2", "w"}
            assert log.problems.empty

    def test_a_replay_in_place_reads_the_columns_of_folders(self, tmp_path: Path):
        for kind in ("link.created", "link.deleted"):
            folder = tmp_path / f"kind={kind}"
            folder.mkdir()
            rows = pl.DataFrame(
                {"timestamp": [AT], "link_type": ["likes"], "source_id": [kind], "target_id": ["p"]}
            )
            rows.write_parquet(folder / "a.parquet")
        assert fd.replay(LIKES, tmp_path)["out"]["who"].tolist() == ["link.created"]

    @pytest.mark.parametrize("name", UNREAD)
    def test_what_is_not_read_is_refused_by_its_name(self, name: str, tmp_path: Path):
        content, said, way = UNREAD[name]
        (tmp_path / name).write_bytes(content)
        for read in (fd.read_events, fd.guess, lambda path: fd.convert(path, fd.MemoryEventLog())):
            with pytest.raises(fd.DataError, match=f"(?s){said}[^\n]*, which is not read.*{way}"):
                read(tmp_path / name)

    def test_the_way_to_a_server_s_log_can_be_pasted(self, tmp_path: Path):
        timeout = b'203.0.113.7 - - [11/Oct/2026:09:00:00 +0000] "-" 408 0 "-" "-"\n'
        (tmp_path / "access.log").write_bytes(ACCESS * 10 + timeout)
        with pytest.raises(fd.DataError) as refused:
            fd.guess(tmp_path / "access.log")
        names: dict[str, Any] = {"pandas": pd, "path": tmp_path / "access.log", "fd": fd}
        exec(str(refused.value.hint).partition("\n")[2], names)
        names["source"] = names["frame"]
        exec(fd.guess(names["frame"]).code, names)
        found = table(names["log"], "source_id", "target_id")
        assert found == [("203.0.113.7", "/tea")] * 10 + [("::1", "/cup?n=1")] * 10
        assert names["log"].problem_counts["broken"] == 1

    @pytest.mark.parametrize(
        ("mark", "said"),
        [("_delta_log/00.json", "a Delta Lake table"), ("metadata/v1.metadata.json", "an Iceberg table"), (".hoodie/x", "a Hudi table")],
    )  # fmt: skip
    def test_tables_that_are_more_than_their_files_are_refused_by_name(
        self, mark: str, said: str, tmp_path: Path
    ):
        # files of former versions of the table are in its folder too
        pl.DataFrame({"kind": ["link.created"]}).write_parquet(tmp_path / "part-0.parquet")
        (tmp_path / mark).parent.mkdir()
        (tmp_path / mark).write_text("{}")
        for read in (fd.read_events, fd.guess, lambda path: fd.replay(LIKES, path)):
            with pytest.raises(fd.DataError, match=f"{said}, which is not read"):
                read(tmp_path)

    def test_a_log_is_not_read_as_files(self, tmp_path: Path):
        with fd.ParquetEventLog(tmp_path / "log") as log:
            log.append(fd.link_created("likes", "ann", "p"))
            log.seal()
            log.append(fd.link_created("likes", "bob", "p"))
        for read in (fd.read_events, fd.guess):
            with pytest.raises(fd.DataError, match=r"a log, which is not read as files\n  hint: replay\("):
                read(tmp_path / "log")
        assert len(fd.replay(LIKES, tmp_path / "log")) == 2

    @pytest.mark.parametrize("address", ["https://example.org/a.csv", "s3://bucket/a.parquet"])
    def test_addresses_are_refused_by_their_name(self, address: str):
        with pytest.raises(fd.DataError, match="an address"):
            fd.read_events(address)

    def test_a_workbook_that_is_called_zip_is_refused_by_its_name(self, tmp_path: Path):
        with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
            archive.writestr("xl/workbook.xml", "<x/>")
        with pytest.raises(fd.DataError, match="an Excel workbook"):
            fd.read_events(tmp_path / "a.zip")


def test_convert_reads_what_read_events_reads(tmp_path: Path):
    options: Mapping[str, Any] = {"columns": LINKS, "records": "data.likes", "time_zone": "Europe/Berlin"}
    with fd.ParquetEventLog(tmp_path / "log") as log:
        assert fd.convert([DOCUMENT], log, **options).events == 2
        assert table(log, "timestamp", "source_id") == table(
            fd.read_events([DOCUMENT], **options), "timestamp", "source_id"
        )
