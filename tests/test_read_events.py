"""Files and frames of other shapes become logs; what cannot be read is reported with file and line."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowdsl.errors import DataError, FlowWarning
from flowdsl.events import EVENT_COLUMNS, entity_deleted, link_created
from flowdsl.log import MemoryEventLog, ParquetEventLog
from flowdsl.log.importer import convert, read_events
from flowdsl.log.origins import literal

SHARED = Path(__file__).parents[2] / "shared" / "data"
real_history = pytest.mark.skipif(
    not SHARED.is_dir(), reason="the real histories lie beside the repository, not in it"
)
AT = "2024-01-01T00:00:00Z"


def rows(log: MemoryEventLog | ParquetEventLog, *columns: str) -> list[tuple[Any, ...]]:
    return [row for chunk in log.chunks(columns, 1000) for row in chunk.select(columns).rows()]


def broken(log: MemoryEventLog) -> list[tuple[int, str]]:
    problems = log.problems[log.problems.problem == "broken"]
    return list(zip(problems.row, problems.reason, strict=True))


def envelope(event: Mapping[str, Any], at: str = AT, **more: Any) -> dict[str, Any]:
    return {"timestamp": at, "event": event, **more}


def written(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize(
    ("name", "pack"),
    [
        ("a.jsonl", bytes),
        ("a.ndjson", bytes),
        ("a.json.gz", gzip.compress),
        ("a.log", bytes),
        ("a.bin", gzip.compress),
    ],
)
def test_json_lines_of_envelopes_are_read_whatever_their_packing(
    name: str, pack: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    events = [
        envelope(link_created("likes", "a", "b", metadata={"w": 1}), id="e1"),
        envelope(entity_deleted("user", 7)),
    ]
    path = written(
        tmp_path, name, pack("\ufeff".encode() + b"\n".join(json.dumps(e).encode() for e in events))
    )
    log = read_events(path)
    assert rows(log, "event_id", "kind", "source_id", "entity_id", "metadata") == [
        ("e1", "link.created", "a", None, '{"w":1}'),
        (None, "entity.deleted", None, "7", None),
    ]
    assert log.problems.empty


def test_zstandard_files_are_read(tmp_path: Path) -> None:
    with pa.CompressedOutputStream(str(tmp_path / "a.jsonl.zst"), "zstd") as file:
        file.write(json.dumps(envelope(entity_deleted("user", "a"))).encode())
    assert rows(read_events(tmp_path / "a.jsonl.zst"), "entity_id") == [("a",)]


def test_a_json_array_is_read_with_rows_counted_from_0(tmp_path: Path) -> None:
    items = [envelope(entity_deleted("user", "a")), 7, envelope({"kind": "no"})]
    log = read_events(written(tmp_path, "a.json", json.dumps(items, indent=1)))
    assert rows(log, "entity_id") == [("a",)]
    assert [row for row, _ in broken(log)] == [1, 2]


def test_every_bad_line_is_reported_with_its_number_and_the_others_are_read(tmp_path: Path) -> None:
    good = json.dumps(envelope(entity_deleted("user", "a"))).encode()
    lines = [
        good, b'{"kind": ', b"", b"[1]", good.replace(b'"a"', b'"\xff"'), json.dumps(envelope({"kind": "x"})).encode(),
        good.replace(b"2024-01-01T00", b"yesterday"), json.dumps({"event": entity_deleted("user", "a")}).encode(),
        json.dumps(envelope({"kind": "entity", "action": "deleted", "entity_type": "u"})).encode(), b'{"a": NaN}',
        json.dumps(envelope({**entity_deleted("user", "a"), "entity_id": 1.5})).encode(), good,
    ]  # fmt: skip
    path = written(tmp_path, "a.jsonl", b"\n".join(lines))
    log = read_events(path)
    assert len(log) == 2
    said = dict(broken(log))
    assert sorted(said) == [2, 4, 5, 6, 7, 8, 9, 10, 11]
    for line, words in {
        2: "not JSON", 4: "not a JSON object", 5: "not UTF-8", 6: "unknown kind 'x'", 7: "cannot be read",
        8: "timestamp is null", 9: "entity_id is null", 10: "NaN", 11: "entity_id is float",
    }.items():  # fmt: skip
        assert words in said[line], said[line]
    assert set(log.problems.place) == {str(path)}
    assert log.problems.text.str.len().gt(0).all()


def test_logged_envelopes_keep_their_numbers_and_are_put_in_their_order() -> None:
    log = read_events([envelope(entity_deleted("user", n), seq_no=n) for n in (5, 3, 9)])
    assert rows(log, "seq_no", "entity_id") == [(3, "3"), (5, "5"), (9, "9")]
    assert log.append(entity_deleted("user", "x"), AT) == 10
    some = [envelope(entity_deleted("user", "a"), seq_no=3), envelope(entity_deleted("user", "b"))]
    assert broken(read_events(some)) == [(1, "seq_no is None, not 1 or more")]
    assert len(read_events(some, columns={"seq_no": literal(None)})) == 2
    with pytest.raises(DataError, match="more than once: 3"):
        read_events([envelope(entity_deleted("user", "a"), seq_no=3)] * 2)


def test_a_file_without_numbers_beside_one_with_them_is_named(tmp_path: Path) -> None:
    event = entity_deleted("user", "a")
    for name, one in {"a.jsonl": envelope(event, seq_no=1), "b.jsonl": envelope(event)}.items():
        written(tmp_path, name, json.dumps(one).encode())
    for read in (read_events, lambda folder: convert(folder, MemoryEventLog())):
        with pytest.raises(DataError, match=r"b\.jsonl: some events have a seq_no and others have none"):
            read(tmp_path)


def cloud_event(**more: Any) -> dict[str, Any]:
    return {
        "specversion": "1.0", "id": "7", "source": "/crm", "type": "link.created", "time": AT,
        "data": {"link_type": "likes", "source_id": "a", "target_id": "b"}, **more,
    }  # fmt: skip


def test_cloud_events_are_read_and_their_extensions_survive_in_metadata() -> None:
    data = {"link_type": "likes", "source_id": "a", "target_id": "b", "metadata": {"w": 1, "trace": "x"}}
    log = read_events([cloud_event(), cloud_event(subject="s", trace="t1", data=data)])
    assert rows(log, "event_id", "source_id", "metadata") == [
        ("/crm 7", "a", None),
        ("/crm 7", "a", '{"w":1,"trace":"x","subject":"s","ce_trace":"t1"}'),
    ]
    assert log.problem_counts == {"duplicate": 1}


def test_the_type_of_a_cloud_event_goes_through_kinds() -> None:
    signed = cloud_event(type="com.shop.signed-up", data={"customer": {"id": 12, "name": "Ann"}})
    log = read_events(
        [signed, cloud_event(type="com.shop.ping")],
        columns={
            "entity_type": literal("customer"),
            "entity_id": "data.customer.id",
            "data": "data.customer",
        },
        kinds={"com.shop.signed-up": "entity.created", "com.shop.ping": None},
    )
    assert rows(log, "kind", "entity_id", "data") == [("entity.created", "12", '{"id":12,"name":"Ann"}')]
    assert log.skipped == 1


@pytest.mark.parametrize(
    ("more", "why"),
    [({"specversion": "0.3"}, "'0.3'"), ({"source": ""}, "without source"), ({"time": None}, "timestamp is null"),
     ({"type": "ping"}, "unknown kind 'ping'"), ({"data_base64": "%%"}, "data_base64")],
)  # fmt: skip
def test_cloud_events_that_are_none_are_broken(more: dict[str, Any], why: str) -> None:
    log = read_events([cloud_event(**more), cloud_event()])
    assert len(log) == 1
    assert why in broken(log)[0][1]


LIKES = {"timestamp": "at", "kind": literal("link.created"), "link_type": literal("likes"), "source_id": "who", "target_id": "what"}  # fmt: skip


def test_a_csv_file_is_read_through_a_mapping(tmp_path: Path) -> None:
    text = 'at,who,what,note\n20,ann,p1,\n10,"b, ob","p\n2",x\n'
    log = read_events(
        written(tmp_path, "a.csv", text),
        columns={**LIKES, "metadata": lambda row: row["note"] and {"note": row["note"]}}, time_unit="s",
    )  # fmt: skip
    assert rows(log, "source_id", "target_id", "metadata") == [
        ("b, ob", "p\n2", '{"note":"x"}'),
        ("ann", "p1", None),
    ]
    assert log.problems[["row", "problem"]].values.tolist() == [[3, "out of order"]]


def test_csv_rows_of_a_wrong_width_unclosed_quotes_and_foreign_bytes_spoil_their_own_line_only(
    tmp_path: Path,
) -> None:
    lines = [
        b"at,who,what",
        b"1,a,b",
        b"2,a",
        b"3,a,b,c",
        b'4,"a,b',
        b"5,a,b",
        b"6,\xff,b",
        b"7,,b",
        b'8,a,"b"x',
        b"",
        b"9,a,b",
    ]
    log = read_events(written(tmp_path, "a.csv", b"\r\n".join(lines)), columns=LIKES, time_unit="s")
    assert [t.second for t in (row[0] for row in rows(log, "timestamp"))] == [1, 5, 9]
    said = dict(broken(log))
    assert sorted(said) == [3, 4, 5, 7, 8, 9]
    assert said[3] == "2 fields, and the header has 3"
    assert "not UTF-8" in said[7]
    assert said[8].startswith("source_id is null")
    assert log.problems.text[0] == "2,a"


def test_a_quoted_field_may_run_over_lines_but_a_stray_quote_swallows_none(tmp_path: Path) -> None:
    text = 'at,who,what\n1,a,b\n2,"a,b\n3,a,b\n4,a",b\n5,a,"b\n6,a,b\n7,a"x,b\n'
    log = read_events(written(tmp_path, "a.csv", text), columns=LIKES, time_unit="s")
    assert rows(log, "source_id") == [("a",), ("a,b\n3,a,b\n4,a",), ("a",), ('a"x',)]
    assert [row for row, _ in broken(log)] == [6]


@pytest.mark.parametrize(
    ("column", "told", "expected"),
    [
        ([1.5, None], {"time_unit": "s"}, [1_500_000, None]),
        ([1500, None], {"time_unit": "ms"}, [1_500_000, None]),
        (["1500", "1.5"], {"time_unit": "ms"}, [1_500_000, 1_500]),
        ([1_999, -1], {"time_unit": "ns"}, [1, -1]),
        (["1970/01/01 01:00:00 +0100", "1970-01-01T00:00:01Z"], {"time_format": ["%Y/%m/%d %H:%M:%S %z", "%Y-%m-%dT%H:%M:%S%#z"]}, [0, 1_000_000]),
        (["01.01.1970 00:00:02 +0000", "?"], {"time_format": "%d.%m.%Y %H:%M:%S %z"}, [2_000_000, None]),
        ([datetime(1970, 1, 1, tzinfo=UTC), None], {}, [0, None]),
    ],
)  # fmt: skip
def test_timestamps_of_other_spellings_are_read(
    column: list[Any], told: dict[str, Any], expected: list[int | None]
) -> None:
    frame = pl.DataFrame({"at": column, "who": ["a", "a"], "what": ["b", "b"]})
    for source in (frame, frame.to_dicts(), frame.to_pandas()):
        log = read_events(source, columns=LIKES, **told)
        micros = next(log.chunks([], 9))["timestamp"].to_physical().to_list()
        assert sorted(micros) == sorted(micro for micro in expected if micro is not None)
        assert len(broken(log)) == expected.count(None)


SPELLED = [
    *(f"2026-01-31T08:09:10{end}" for end in ("Z", ".5Z", ".123456Z", ".1234567Z", "z", " Z", "+02:00", "-23:59", "+0200", "+02")),
    *(f"2026-01-31 08:09:10{end}" for end in ("", ".25", ".123456789", "Z")),
    *("2026-01-31T08:09Z", "2026-01-31T08+09:10", "2026-01-31T08:09:60Z", "2026-02-30T08:09:10Z", "2026-01-31T24:00:00Z"),
    *("0000-01-31T08:09:10Z", "9999-12-31T23:59:59-12:00", "1969-12-31T23:59:59.999Z", " 2026-01-31T08:09:10Z"),
]  # fmt: skip


@pytest.mark.filterwarnings("ignore::flowdsl.errors.FlowWarning")
@given(
    st.sampled_from(SPELLED),
    st.lists(st.tuples(st.integers(0, 18), st.sampled_from("0129:-+TZ. ")), max_size=2),
)
def test_times_are_read_alike_whether_or_not_all_of_a_column_are_spelled_alike(
    text: str, changes: list[tuple[int, str]]
) -> None:
    for place, character in changes:
        text = text[:place] + character + text[place + 1 :]

    def read(*column: str) -> Any:
        who = [str(number) for number in range(len(column))]
        try:
            log = read_events(pl.DataFrame({"at": column, "who": who, "what": who}), columns=LIKES)
        except DataError:
            return None
        return dict(rows(log, "source_id", "timestamp")).get("0")

    assert read(text, text) == read(text, "2026-01-31T08:09:10Z", "2030-01-01")


@pytest.mark.filterwarnings("ignore:.*without a zone")
def test_what_databases_and_spreadsheets_write_for_moments_is_read(tmp_path: Path) -> None:
    spelled = [
        "1970-01-01 00:00:01.5+00",
        "1970-01-01 01:01+01",
        "1970-01-01T00:02",
        "1970-01-02",
        "1970-01-01 12",
        "",
    ]
    lines = "".join(f"{at},a,b\n" for at in spelled)
    log = read_events(written(tmp_path, "a.csv", f"at,who,what\n{lines}"), columns=LIKES)
    micros = next(log.chunks([], 9))["timestamp"].to_physical().to_list()
    assert micros == [1_500_000, 60_000_000, 120_000_000, 86_400_000_000]
    assert [row for row, _ in broken(log)] == [6, 7]
    days = read_events(pl.DataFrame({"at": [date(1970, 1, 2)], "who": ["a"], "what": ["b"]}), columns=LIKES)
    assert next(days.chunks([], 9))["timestamp"].to_physical().to_list() == [86_400_000_000]


@pytest.mark.parametrize("between", [";", "\t", "|", ","])
def test_the_header_of_a_csv_file_shows_what_stands_between_fields(between: str, tmp_path: Path) -> None:
    lines = [
        ["at", "who", "what"],
        ["2024-01-01T00:00:00Z", "a,1", "b;2"],
        ["2024-01-01T00:00:01Z", '"c\t3"', "d|4"],
    ]
    text = "".join(
        between.join(f'"{f}"' if between in f and '"' not in f else f for f in line) + "\n" for line in lines
    )
    log = read_events(written(tmp_path, "a.csv", text), columns=LIKES)
    assert rows(log, "source_id", "target_id") == [("a,1", "b;2"), ("c\t3", "d|4")]


@pytest.mark.parametrize(
    "pack",
    [bytes, gzip.compress, lambda content: pa.compress(content, "zstd", asbytes=True)],
    ids=["plain", "gzip", "zstd"],
)
@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig"])
def test_files_of_spreadsheets_are_read_in_the_encoding_that_they_begin_with(
    encoding: str, pack: Any, tmp_path: Path
) -> None:
    content = "at\twho\twhat\n2024-01-01T00:00:00Z\tJürgen\tKäse\n".encode(encoding)
    log = read_events(written(tmp_path, "a.txt", pack(content)), columns=LIKES)
    assert rows(log, "source_id", "target_id") == [("Jürgen", "Käse")]


def test_a_header_in_another_encoding_is_refused_with_a_way_to_read_it(tmp_path: Path) -> None:
    path = written(tmp_path, "a.csv", "at;Käufer;what\n2024-01-01T00:00:00Z;Jürgen;Käse\n".encode("cp1252"))
    columns = {**LIKES, "source_id": "Käufer"}
    with pytest.raises(DataError, match=r"(?s)a.csv:1: the header is not UTF-8.*encoding='cp1252'"):
        read_events(path, columns=columns)
    log = read_events(pd.read_csv(path, sep=";", encoding="cp1252"), columns=columns)
    assert rows(log, "source_id", "target_id") == [("Jürgen", "Käse")]


def test_a_column_that_is_not_there_is_refused_although_no_row_could_be_read(tmp_path: Path) -> None:
    path = written(tmp_path, "a.csv", "Made on Monday\n\nat,who,what\n2024-01-01T00:00:00Z,a,b\n")
    with pytest.raises(DataError, match=r"(?s)there is no column 'at'.*allowed: Made on Monday"):
        read_events(path, columns=LIKES)


def test_a_log_shows_how_much_it_holds_and_that_rows_have_problems(tmp_path: Path) -> None:
    path = written(tmp_path, "a.csv", "at,who,what\n2024-01-01T00:00:00Z,a,b\nsoon,a,b\n")
    assert (
        repr(read_events(path, columns=LIKES)) == "<MemoryEventLog of 1 event; 1 row broken: see .problems>"
    )


def test_a_warning_points_at_the_line_that_led_to_it() -> None:
    with pytest.warns(FlowWarning, match="without a zone") as caught:
        read_events([{"at": "2024-01-01T00:00:00", "who": "a", "what": "b"}], columns=LIKES)
    assert [warning.filename for warning in caught] == [__file__]


@pytest.mark.parametrize(("factor", "unit"), [(1, "s"), (10**3, "ms"), (10**6, "us"), (10**9, "ns")])
def test_epochs_are_found_by_their_size_with_one_note(factor: int, unit: str, tmp_path: Path) -> None:
    stamps = [1_405_086_144 * factor, 1_405_172_544 * factor]
    file = written(tmp_path, "a.csv", "at,who,what\n" + "".join(f"{at},a,b\n" for at in stamps))
    for source in (file, [{"at": at, "who": "a", "what": "b"} for at in stamps], pd.read_csv(file)):
        with pytest.warns(FlowWarning, match=f"2014-07-11 to 2014-07-12.*time_unit='{unit}'") as caught:
            log = read_events(source, columns=LIKES)
        assert len(caught) == 1
        assert [at for (at,) in rows(log, "timestamp")] == [
            datetime(2014, 7, 11, 13, 42, 24, tzinfo=UTC), datetime(2014, 7, 12, 13, 42, 24, tzinfo=UTC)
        ]  # fmt: skip


@pytest.mark.parametrize(
    ("stamp", "hint"),
    [(1, "ten digits are seconds"), (20_240_101, "%Y%m%d"), (45_000.5, "days of a spreadsheet")],
)
def test_numbers_that_are_moments_in_no_unit_are_refused_with_a_hint(
    stamp: float, hint: str, tmp_path: Path
) -> None:
    file = written(tmp_path, "a.csv", f"at,who,what\n{stamp},a,b\n")
    for source in (file, [{"at": stamp, "who": "a", "what": "b"}]):
        with pytest.raises(DataError, match=f"(?s)only you know their unit.*time_unit=.*{hint}"):
            read_events(source, columns=LIKES)
    with pytest.warns(FlowWarning, match="without a zone"):
        read_events([{"at": "2024-01-01T00:00:00", "who": "a", "what": "b"}], columns=LIKES)


def test_a_folder_of_files_of_several_shapes_is_one_log(tmp_path: Path) -> None:
    for name, at in (("b.jsonl", "02"), ("a.json.gz", "03"), ("c.ndjson", "01")):
        content = json.dumps(envelope(entity_deleted("user", at), at=f"2024-01-{at}T00:00:00Z")).encode()
        written(tmp_path, name, gzip.compress(content) if name.endswith("gz") else content)
    written(tmp_path, "notes.txt", "no events")
    assert rows(read_events(tmp_path), "entity_id") == [("01",), ("02",), ("03",)]
    assert len(read_events(tmp_path / "*.*json*")) == 3


def test_functions_make_fields_and_kinds_of_a_row_and_their_failures_are_its_own() -> None:
    source = [{"t": AT, "to": ["x", "y"]}, {"t": AT}, {"t": AT, "to": []}]
    log = read_events(
        source,
        columns={"timestamp": "t", "link_type": literal("to"), "source_id": literal(1), "target_id": lambda row: row["to"][1],
                 "metadata": lambda row: {"all": row["to"]}},
        kinds=lambda row: "link.created" if row.get("to", True) else None,
    )  # fmt: skip
    assert rows(log, "source_id", "target_id", "metadata") == [("1", "y", '{"all":["x","y"]}')]
    assert log.skipped == 1
    assert [row for row, _ in broken(log)] == [1]
    assert "KeyError" in broken(log)[0][1]


def test_a_dotted_path_reaches_into_structs_of_a_frame() -> None:
    frame = pl.DataFrame({"at": [AT], "p": [{"who": {"id": 3}}], "what": ["b"]})
    assert rows(read_events(frame, columns={**LIKES, "source_id": "p.who.id"}), "source_id") == [("3",)]


def test_one_row_may_be_split_into_several_events_of_one_time() -> None:
    source = [{"kind": "link.updated", "timestamp": AT, "event_id": "e", "link_id": "l", "link_type": "t", "source_id": "a", "target_id": "b"}]  # fmt: skip
    log = read_events(source, split={"link.updated": ["link.deleted", "link.created"]})
    assert rows(log, "seq_no", "kind", "link_id") == [(1, "link.deleted", "l"), (2, "link.created", "l")]
    assert log.problems.empty


def test_bad_options_are_refused_when_they_are_given() -> None:
    with pytest.raises(DataError, match=r"(?s)'sourceid'.*did you mean 'source_id'"):
        read_events([], columns={"sourceid": "a"})
    with pytest.raises(DataError, match=r"literal\(7\) is that value"):
        read_events([], columns={"source_id": 7})  # type: ignore[dict-item]
    with pytest.raises(DataError, match=r"'link.made' is not a kind"):
        read_events([], kinds={"a": "link.made"})
    with pytest.raises(DataError, match=r"'link.made' is not a kind"):
        read_events([], split={"a": ["link.made"]})
    with pytest.raises(DataError, match="time_unit='h'"):
        read_events([], time_unit="h")  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"(?s)no column 'whom'.*did you mean 'who'"):
        read_events(
            pl.DataFrame({"at": [AT], "who": ["a"], "what": ["b"]}), columns={**LIKES, "source_id": "whom"}
        )
    with pytest.raises(DataError, match="nothing says what kind"):
        read_events(pl.DataFrame({"timestamp": [AT]}))
    with pytest.raises(DataError, match="int cannot be read"):
        read_events(7)


def test_files_that_are_missing_empty_or_cut_are_refused(tmp_path: Path) -> None:
    whole = gzip.compress(b'{"a": 1}\n' * 1000)
    for name, content, said in [
        ("cut.jsonl.gz", whole[: len(whole) // 2], "cannot be read"), ("empty.csv", b"", "must name the columns"),
        ("twice.csv", b"a,a\n", "must name the columns"), ("array.json", b"[1, ", "not JSON"), ("a.parquet", b"PAR1", "cannot be read"),
    ]:  # fmt: skip
        with pytest.raises(DataError, match=said):
            read_events(written(tmp_path, name, content))
    with pytest.raises(DataError, match="no such file"):
        read_events(tmp_path / "nowhere.csv")
    assert len(read_events(written(tmp_path, "empty.jsonl", b""))) == 0


def test_parquet_and_frames_of_the_usual_shape_need_no_mapping(tmp_path: Path) -> None:
    frame = pl.DataFrame({"kind": ["entity.created", "?"], "timestamp": [AT, AT], "entity_type": ["user"] * 2,
                          "entity_id": [1, 2], "data": [{"a": 1}] * 2})  # fmt: skip
    frame.write_parquet(tmp_path / "a.parquet")
    for source in (tmp_path / "a.parquet", frame, frame.lazy(), frame.to_pandas(), frame.to_arrow()):
        log = read_events(source)
        assert rows(log, "entity_id", "data") == [("1", '{"a":1}')]
        assert [row for row, _ in broken(log)] == [1]


TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00\r"), min_size=1, max_size=6)


@settings(max_examples=2 * settings().max_examples, deadline=None)
@given(st.lists(st.tuples(TEXTS, TEXTS, st.integers(0, 5)), max_size=30))
def test_json_lines_csv_and_a_frame_say_the_same(
    tmp_path_factory: pytest.TempPathFactory, links: list[tuple[str, str, int]]
) -> None:
    folder = tmp_path_factory.mktemp("forms")
    frame = pd.DataFrame(links, columns=["who", "what", "at"]).astype(
        {"who": "str", "what": "str", "at": "int64"}
    )
    frame.to_csv(folder / "a.csv", index=False)
    frame.to_json(folder / "a.jsonl", orient="records", lines=True, force_ascii=False)
    expected = [(who, what) for who, what, _ in sorted(links, key=lambda link: link[2])]
    for source in (folder / "a.csv", folder / "a.jsonl", frame):
        log = read_events(source, columns=LIKES, time_unit="s")
        assert rows(log, "source_id", "target_id") == expected
        assert broken(log) == []


def test_numbers_of_events_are_read_where_all_values_are_text(tmp_path: Path) -> None:
    header = "seq_no,kind,timestamp,entity_type,entity_id"
    lines = [f"{number},entity.deleted,{AT},user,{number}" for number in (5, 2, 9)]
    path = written(tmp_path, "a.csv", "\n".join([header, *lines]))
    assert rows(read_events(path), "seq_no", "entity_id") == [(2, "2"), (5, "5"), (9, "9")]
    path.write_text("\n".join([header, *lines, f"x,entity.deleted,{AT},user,1"]))
    with pytest.raises(DataError, match="'seq_no' is String"):
        read_events(path)


def test_convert_streams_into_a_log_what_read_events_would_read(tmp_path: Path) -> None:
    lines = [
        json.dumps(envelope(entity_deleted("user", n), at=f"2024-01-0{1 + n % 3}T00:00:00Z"))
        for n in range(9)
    ]
    path = written(tmp_path, "a.jsonl", "\n".join([*lines, "{"]))
    log = ParquetEventLog(tmp_path / "log")
    log.append(entity_deleted("user", "first"), AT)
    done = convert(path, log)
    assert (done.events, done.skipped, done.problems.problem.value_counts()["broken"]) == (9, 0, 1)
    assert rows(log, "entity_id")[1:] == rows(read_events(path), "entity_id")
    assert convert([], log).events == 0


def alive(log: MemoryEventLog, name: str) -> set[str]:
    """The ids that are there after the last event."""
    there: set[str] = set()
    for kind, key in rows(log, "kind", name):
        (there.discard if kind.endswith("deleted") else there.add)(key)
    return there


@real_history
def test_the_real_history_of_links_ends_with_685_alive() -> None:
    log = read_events(
        SHARED / "awesome_link_events.csv",
        columns={"timestamp": "ts", "kind": "op", "link_type": literal("lists"), "link_id": "url",
                 "source_id": literal("the list"), "target_id": "url", "metadata": lambda row: {"by": row["actor"]}},
        split={"link.updated": ["link.deleted", "link.created"]}, time_unit="s",
    )  # fmt: skip
    plain = pd.read_csv(SHARED / "awesome_link_events.csv")
    assert len(log) == len(plain) + (plain.op == "link.updated").sum()
    last = plain.drop_duplicates("url", keep="last")
    assert alive(log, "link_id") == set(last.url[last.op != "link.deleted"])
    assert len(alive(log, "link_id")) == 685
    assert log.problems.empty


@real_history
def test_the_real_history_of_files_ends_with_140_alive() -> None:
    log = read_events(
        SHARED / "attrs_file_events.csv",
        columns={"timestamp": "ts", "kind": "op", "entity_type": literal("file"), "entity_id": "path",
                 "data": lambda row: {"by": row["actor"]}}, time_unit="s",
    )  # fmt: skip
    plain = pd.read_csv(SHARED / "attrs_file_events.csv")
    assert [entity for (entity,) in rows(log, "entity_id")] == plain.sort_values(
        "ts", kind="stable"
    ).path.tolist()
    assert len(alive(log, "entity_id")) == 140


LINK_TYPES = {"WatchEvent": "stars", "FollowEvent": "follows", "ForkEvent": "forks", "PushEvent": "pushes"}


def target(row: Mapping[str, Any]) -> str:
    if row["type"] == "FollowEvent":
        return str(row["payload"]["target"]["login"])
    return f"{row['repository']['owner']}/{row['repository']['name']}"


@real_history
def test_the_real_two_hours_have_938_stars_and_277_follows_and_no_row_is_lost() -> None:
    path = SHARED / "slim_2012_two_hours.jsonl.gz"
    log = read_events(
        path,
        columns={"timestamp": "created_at", "link_type": lambda row: LINK_TYPES[row["type"]], "source_id": "actor",
                 "target_id": target, "metadata": "payload"},
        kinds=lambda row: "link.created" if row["type"] in LINK_TYPES else None,
        time_format=["%Y/%m/%d %H:%M:%S %z", "%Y-%m-%dT%H:%M:%S%:z"],
    )  # fmt: skip
    plain = pd.read_json(path, lines=True, dtype=False)
    links = plain[plain.type.isin(LINK_TYPES)]
    types = [link_type for (link_type,) in rows(log, "link_type")]
    assert (types.count("stars"), types.count("follows")) == (938, 277)
    assert log.skipped == len(plain) - len(links)
    assert len(log) + len(log.problems[log.problems.problem == "broken"]) == len(links)
    nobody = links.index[links.actor.isna()] + 1
    assert set(nobody) <= {row for row, _ in broken(log)}
    assert all("null" in why or "failed" in why for _, why in broken(log))
    assert log.problem_counts["out of order"] > 1000
    assert next(log.read()).schema.names == list(EVENT_COLUMNS)


@pytest.mark.parametrize("pattern", ["", "*", "*.parquet"])
def test_a_file_that_is_damaged_is_named_beside_others(pattern: str, tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"nonsense")
    row = "2026-01-01T00:00:00Z,link.created,likes,ann,p1"
    (tmp_path / "b.csv").write_text(f"timestamp,kind,link_type,source_id,target_id\n{row}\n")
    pd.read_csv(tmp_path / "b.csv").to_parquet(tmp_path / "c.parquet")
    with pytest.raises(DataError, match=r"a\.parquet: cannot be read"):
        read_events(tmp_path / pattern)


@pytest.mark.parametrize("spelling", ["\udcff%Y", "%Y\0", 7])
def test_a_time_format_that_is_none_is_refused(spelling: Any) -> None:
    with pytest.raises(DataError, match="time_format has"):
        read_events([{"at": "2024"}], columns={"timestamp": "at"}, time_format=[spelling])


def test_a_literal_stands_beside_rows_that_are_all_left_out():
    row = {"at": "2026-01-01T00:00:00Z", "what": "viewed", "who": "ann", "post": "p1"}
    columns = {
        "timestamp": "at",
        "kind": "what",
        "link_type": literal("likes"),
        "source_id": "who",
        "target_id": "post",
    }
    skipped = read_events([row] * 3, columns=columns, kinds={"viewed": None, "liked": "link.created"})
    assert (len(skipped), skipped.skipped) == (0, 3)
    with pytest.raises(DataError, match="none of the 3 rows is an event: 3 rows: unknown kind 'viewed'"):
        read_events([row] * 3, columns=columns, kinds={"liked": "link.created"})
