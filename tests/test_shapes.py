"""Common exports are read by one word: rows of the public shape of each, and the events that they become."""

from __future__ import annotations

import gzip
import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pytest

import flowdsl as fd
from flowdsl import on
from flowdsl.cli.main import main
from flowdsl.log.shapes import SHAPES

DATA = Path(__file__).parent / "data" / "shapes"
PATHS = {name: next(DATA.glob(f"{name}*"), None) for name in SHAPES.own}
PAGE = {"records": "orderedItems"}
ANN, BOB, EVE = ("did:plc:" + 24 * letter for letter in "abc")
POST = f"at://{BOB}/app.bsky.feed.post/3p1"
SOCIAL = "https://social.example"

# each event: its kind, what it is about (the type and id of an entity, or the type and ends of a link)
EVENTS: dict[str, list[str]] = {
    "github": [
        "link.created stars ann-w o/tea", "link.created pushes bob-k o/tea", "link.created forks eve-l o/tea",
        "entity.created issue o/tea#12", "link.created opens ann-w o/tea#12", "link.created comments bob-k o/tea#12",
        "entity.created pull_request o/tea#13", "link.created opens eve-l o/tea#13",
        "link.created CreateEvent joe-m joe-m/cup", "link.created member_of eve-l o/tea",
        "link.created closes bob-k o/tea#12", "link.created merges bob-k o/tea#13",
    ],
    "segment": [
        "entity.created page ajs-0", "entity.updated user u7", "entity.created Product Viewed ajs-2",
        "entity.updated group g3", "link.created member_of u7 g3", "entity.created Order Completed ajs-4",
        "link.created alias a-9f3 u7",
    ],
    "posthog": [
        "entity.created $pageview 0190a1b2-0000-7000-8000-000000000001", "entity.updated user u7",
        "entity.created order completed 0190a1b2-0000-7000-8000-000000000003", "entity.updated group c1",
    ],
    "amplitude": ["entity.updated user u7", "entity.created Song Played ins-2", "entity.created Song Liked ins-3"],
    "mixpanel": ["entity.created Sign Up 29fc2962", "entity.created Purchase 935d87b1", "entity.created Purchase 5d958f87"],
    "snowplow": [
        f"entity.created {name} c6ef3124-b53a-4b13-a233-00000000000{n}"
        for n, name in ((1, "page_view"), (3, "link_click"), (4, "event"))
    ],
    "cloudevents": [
        "entity.created com.shop.order.placed /shop/orders A234-1",
        "entity.created com.shop.order.shipped /shop/orders A234-2",
        "entity.created com.shop.order.noted /shop/orders A234-3", "entity.created com.shop.order.noted /shop/orders A234-4",
    ],
    "debezium": [
        "entity.created customers 1004", "entity.updated customers 1004", "entity.created orders 7",
        "entity.deleted orders 7", "entity.created people 65f0c0de0000000000000001",
    ],
    "jetstream": [
        f"entity.created post {POST}", f"link.created likes {ANN} {POST}", f"link.created follows {ANN} {BOB}",
        f"entity.created post at://{ANN}/app.bsky.feed.post/3p2", f"link.created replies {ANN} {POST}",
        "link.deleted likes", f"entity.updated user {ANN}", f"entity.updated user {BOB}",
        f"entity.deleted user {EVE}",
    ],
    "activitystreams": [
        f"link.created follows {SOCIAL}/users/ann https://other.example/users/bob",
        f"link.created likes {SOCIAL}/users/ann https://other.example/notes/1",
        f"entity.created object {SOCIAL}/notes/9", f"link.created creates {SOCIAL}/users/ann {SOCIAL}/notes/9",
        f"link.created boosts {SOCIAL}/users/ann https://other.example/notes/1",
        f"link.deleted {SOCIAL}/users/ann {SOCIAL}/activities/2",
        f"entity.updated object {SOCIAL}/notes/9", f"entity.deleted object {SOCIAL}/notes/9",
    ],
    "slack": [
        "link.created member_of U02 general", "entity.created message general/1767258060.000200",
        "link.created posts U01 general", "entity.created message general/1767258120.000300",
        "link.created posts U02 general", "link.created replies U02 U01",
        "entity.created message general/1767258180.000400", "link.created posts B01 general",
        "link.deleted member_of U02 general", "link.created member_of U03 general",
    ],
    "movielens": [f"link.created rates {ends}" for ends in ("1 3", "1 1", "3 1", "2 3")],
    "stackexchange": [
        "entity.created user 2", "entity.created user 3", "entity.created post 1", "link.created posts 2 1",
        "entity.created post 4", "link.created posts 3 4", "link.created answers 3 1", "entity.created comment 11",
        "link.created comments 3 1", "link.created earns 2 Student", "entity.created vote 21",
        "link.created links_to 4 1",
    ],
}  # fmt: skip
EVENTS["rudderstack"] = [*EVENTS["segment"], "link.created alias a-9f4 u7"]


# what is in the archive beside the rows, and what is made of their file
ARCHIVES: dict[str, dict[str, Any]] = {
    "amplitude": {"7/7_2026-01-01_9#1.json.gz": gzip.compress},
    "movielens": {
        "ml/links.csv": "movieId,imdbId\n1,0114709\n", "ml/ratings.csv": bytes,
        "ml/tags.csv": "userId,movieId,tag,timestamp\n2,1,funny,1445714994\n", "ml/README.txt": "Summary",
    },
    "activitystreams": {
        "actor.json": '{"id": "https://social.example/users/ann", "type": "Person"}', "outbox.json": bytes,
        "likes.json": '{"type": "OrderedCollection", "orderedItems": ["https://other.example/notes/1"]}',
    },
}  # fmt: skip


def options(name: str) -> dict[str, Any]:
    return {"shape": name, **(PAGE if name == "activitystreams" else {})}


def told(log: fd.MemoryEventLog) -> list[str]:
    columns = ["kind", "link_type", "source_id", "target_id", "entity_type", "entity_id"]
    rows = [tuple(row.values()) for batch in log.read() for row in batch.select(columns).to_pylist()]
    return [" ".join(value for value in row if value is not None) for row in rows]


def objects(log: fd.MemoryEventLog) -> list[Any]:
    """Return the data and metadata of events without members that are null."""
    texts = [row[name] for batch in log.read() for row in batch.to_pylist() for name in ("data", "metadata")]
    return [json.loads(text, object_hook=whole) if text else None for text in texts]


def whole(members: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None}


@pytest.mark.parametrize("name", SHAPES.own)
def test_the_rows_of_a_known_shape_become_its_events(name: str):
    log = fd.read_events(PATHS[name], **options(name))
    assert told(log) == EVENTS[name]
    assert not (set(log.problems["problem"]) - {"out of order"})


@pytest.mark.parametrize("name", SHAPES.own)
def test_a_guess_recognises_it_and_shows_its_first_events(name: str, tmp_path: Path):
    proposal = fd.guess(PATHS[name])
    assert proposal.options == options(name)
    assert SHAPES[name].summary in str(proposal)
    names: dict[str, Any] = {"fd": fd}
    exec(proposal.code, names)
    assert told(names["log"]) == EVENTS[name]
    assert set(proposal.events["kind"]) <= {text.split()[0] for text in EVENTS[name]}
    assert len(proposal.events)


@pytest.mark.parametrize(
    "name", [name for name, path in PATHS.items() if path is not None and path.is_file()]
)
def test_the_same_rows_in_memory_are_the_same_events(name: str):
    path = PATHS[name]
    assert path is not None
    if path.suffix == ".jsonl":
        rows = [row for line in path.read_text("utf-8").splitlines() if (row := json.loads(line))]
    else:
        rows = (
            json.loads(path.read_text("utf-8"))
            if path.suffix == ".json"
            else pd.read_csv(path).to_dict("records")
        )
    assert told(fd.read_events(rows, **options(name))) == EVENTS[name]


@pytest.mark.parametrize(
    "name", ["segment", "posthog", "mixpanel", "snowplow", "debezium", "amplitude", "movielens"]
)
def test_a_warehouse_table_of_the_same_rows_gives_the_same_events(name: str, tmp_path: Path):
    path = PATHS[name]
    assert path is not None
    if path.suffix == ".csv":
        table = pl.read_csv(path)
    else:
        rows = [row for line in path.read_text("utf-8").splitlines() if (row := json.loads(line))]
        # warehouses keep what is nested as JSON text
        flat = [
            {
                key: json.dumps(value) if isinstance(value, (dict, list)) else value
                for key, value in row.items()
            }
            for row in rows
        ]
        table = pl.DataFrame(flat, infer_schema_length=None)
    table.write_parquet(tmp_path / "table.parquet")
    for source in (tmp_path / "table.parquet", table.to_pandas()):
        log = fd.read_events(source, shape=name)
        assert told(log) == EVENTS[name]
        assert objects(log) == objects(fd.read_events(path, shape=name))


def test_the_tab_separated_forms_have_no_header(tmp_path: Path):
    rows = [json.loads(line) for line in (DATA / "snowplow.jsonl").read_text("utf-8").splitlines()]
    names = SHAPES["snowplow"].header
    assert names is not None
    assert len(names) == 131
    lines = [
        "\t".join(
            json.dumps(v) if isinstance(v := row.get(name, ""), (dict, list)) else str(v or "")
            for name in names
        )
        for row in rows
    ]
    # a service names its files as it likes
    (tmp_path / "run=2026-01-01").mkdir()
    (tmp_path / "run=2026-01-01" / "part-00000").write_text("\n".join(lines[:2]))
    (tmp_path / "run=2026-01-01" / "part-00001.7f3c.gz").write_bytes(
        gzip.compress("\n".join(lines[2:]).encode())
    )
    assert fd.guess(tmp_path).options == {"shape": "snowplow"}
    assert told(fd.read_events(tmp_path, shape="snowplow")) == EVENTS["snowplow"]
    ratings = pl.read_csv(DATA / "movielens.csv")
    ratings.write_csv(tmp_path / "u.data", separator="\t", include_header=False)
    assert fd.guess(tmp_path / "u.data").options == {"shape": "movielens"}
    assert told(fd.read_events(tmp_path / "u.data", shape="movielens")) == EVENTS["movielens"]
    (tmp_path / "table.tsv").write_text("\n".join(["\t".join(names), *lines]))
    assert told(fd.read_events(tmp_path / "table.tsv", shape="snowplow")) == EVENTS["snowplow"]


@pytest.mark.parametrize("name", ["slack", "stackexchange", *ARCHIVES])
def test_the_archive_that_is_downloaded_is_read_as_it_is(name: str, tmp_path: Path):
    path = PATHS[name]
    assert path is not None
    if path.is_dir():
        shutil.make_archive(str(tmp_path / "export"), "zip", path)
    else:
        with zipfile.ZipFile(tmp_path / "export.zip", "w") as archive:
            for member, made in ARCHIVES[name].items():
                archive.writestr(member, made(path.read_bytes()) if callable(made) else made)
    assert fd.guess(tmp_path / "export.zip").options == options(name)
    assert sorted(told(fd.read_events(tmp_path / "export.zip", **options(name)))) == sorted(EVENTS[name])


@pytest.mark.parametrize("name", SHAPES.own)
def test_converting_an_export_twice_adds_nothing_twice(name: str, tmp_path: Path):
    with fd.ParquetEventLog(tmp_path / "log") as log:
        added = [
            fd.convert(str(PATHS[name]), log, duplicates="drop", **options(name)).events for _ in range(2)
        ]
    assert added == [len(EVENTS[name]), 0]


def test_what_a_call_says_goes_before_what_the_shape_says():
    log = fd.read_events(
        DATA / "github.jsonl", {"source_id": "actor.id"}, {"CreateEvent": None}, shape="github"
    )
    assert told(log)[0] == "link.created stars 41000001001 o/tea"
    assert told(log)[-1] == "link.created merges 41000001009 o/tea#13"
    assert log.skipped == 1


def test_a_shape_of_ones_own_is_read_and_repeated_with_other_options():
    shape = fd.Shape(
        columns={"timestamp": "at", "kind": "op", "entity_type": fd.literal("order"), "entity_id": "id"},
        kinds={"new": "entity.created", "*": None},
        time_zone="Europe/Berlin",
    )
    rows = [
        {"at": "2026-01-01 09:00", "op": "new", "id": 1},
        {"at": "2026-01-01 09:00", "op": "look", "id": 1},
    ]
    log = fd.read_events(rows, shape=shape)
    assert told(log) == ["entity.created order 1"]
    assert told(fd.read_events(rows, kinds={"look": "entity.updated"}, shape=shape)) == [
        "entity.created order 1", "entity.updated order 1",
    ]  # fmt: skip


def test_an_unknown_shape_is_refused_with_those_there_are():
    with pytest.raises(fd.DataError, match=r"(?s)shape='segmnt'.*github.*did you mean 'segment'"):
        fd.read_events([], shape="segmnt")


def test_rows_of_a_known_shape_that_are_read_without_it_say_so():
    for name in ("github", "segment", "debezium", "movielens"):
        with pytest.raises(
            fd.DataError, match=f"the rows look like {name}: read_events\\(…, shape='{name}'\\)"
        ):
            fd.read_events(PATHS[name])


def test_the_command_line_knows_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["convert", str(PATHS["segment"]), str(tmp_path / "log"), "--shape", "segment"]) == 0
    assert "7 events appended" in capsys.readouterr().out
    assert main(["convert", str(PATHS["slack"]), str(tmp_path / "log"), "--shape", "slack"]) == 0
    assert f"{len(EVENTS['slack'])} events appended" in capsys.readouterr().out
    assert main(["convert", str(PATHS["segment"]), str(tmp_path / "log")]) == 1
    said = capsys.readouterr().err
    assert "a column kind, --column kind=…" in said
    assert "the rows look like segment: flowdsl convert … --shape segment" in said
    (tmp_path / "flows.yaml").write_text(on("entity.created").map(a="x").deliver("s").to_yaml())
    assert main(["replay", str(tmp_path / "flows.yaml"), "--log", str(PATHS["slack"])]) == 1
    assert "this may read it:\nflowdsl convert … --shape slack\n" in capsys.readouterr().err


def test_ratings_are_numbers_and_other_keys_are_named():
    flow = (
        on("link.created").where("metadata.rating >= 4.5").map(recipient_id="{{ source_id }}").deliver("mail")
    )
    assert fd.replay(flow, fd.read_events(PATHS["movielens"], shape="movielens"))[
        "mail"
    ].recipient_id.tolist() == ["2"]
    change = {"op": "d", "before": {"number": 7}, "after": None, "ts_ms": 1767258000000}
    rows = [{**change, "source": {"connector": "mysql", "table": "orders", "ts_ms": 1767258000000}}]
    with pytest.raises(fd.DataError, match=r"entity_id is null(?!.*shape=)"):
        fd.read_events(rows, shape="debezium")
    log = fd.read_events(rows, {"entity_id": ["after.number", "before.number"]}, shape="debezium")
    assert told(log) == ["entity.deleted orders 7"]


def test_a_cloud_event_has_data_of_any_type():
    log = fd.read_events(PATHS["cloudevents"], shape="cloudevents")
    assert objects(log)[4::2] == ["no sugar", {"sugar": 2}]


def test_a_flow_uses_the_names_that_the_export_uses():
    flow = (
        on("entity.created", entity_type="Order Completed")
        .map(recipient_id="{{ data.userId }}", total="{{ data.properties.total }}")
        .deliver("mail")
    )
    mail = fd.replay(flow, fd.read_events(PATHS["segment"], shape="segment"))["mail"]
    assert mail[["recipient_id", "total"]].values.tolist() == [["u7", "42"]]
