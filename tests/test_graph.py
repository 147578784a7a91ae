"""EntityGraph: every form of entities and links gives the same, and what cannot be used is refused with its place."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from event_tables import failures, log_of, moment, sent

import flowdsl as fd
from flowdsl import on, var

USERS = {"ann": {"name": "Ann", "n": 1}, "bob": {"name": "Bob", "n": 2}}
ROWS = [{"id": key, **data} for key, data in USERS.items()]
LINKS = [
    {"link_type": "follows", "source_id": "bob", "target_id": "ann"},
    {"link_type": "follows", "source_id": "ann", "target_id": "bob", "link_id": "l1"},
]
FLOW = (
    on("link.created")
    .resolve("source_id", as_="fan")
    .fan_out("source_id", via="follows", direction="reverse", as_="f")
    .map(fan=var.fan.id, name="{{ f.name }}")
    .deliver("s")
)
LOG = log_of("at | source\n 0 | ann\n 1 | bob")
EXPECTED = [(0, "ann", "Bob"), (1, "bob", "Ann")]

ENTITY_FORMS: dict[str, Any] = {
    "mapping": USERS,
    "mapping with ids inside": {row["id"]: row for row in ROWS},
    "pandas": pd.DataFrame(ROWS),
    "polars": pl.DataFrame(ROWS),
    "arrow": pa.Table.from_pylist(ROWS),
    "categorical ids": pl.DataFrame(ROWS).with_columns(pl.col("id").cast(pl.Categorical)),
    "function to mapping": lambda ids: {i: USERS[i] for i in ids if i in USERS},
    "function to frame": lambda ids: pd.DataFrame([row for row in ROWS if row["id"] in ids]),
}
LINK_FORMS: dict[str, Any] = {
    "list": LINKS,
    "pandas": pd.DataFrame(LINKS),
    "polars": pl.DataFrame(LINKS),
    "arrow": pa.Table.from_pylist([{"link_id": None, **link} for link in LINKS]),
    "generator": (dict(link) for link in LINKS),
    "with metadata": [{**link, "metadata": {"x": 1}} for link in LINKS],
}


@pytest.mark.parametrize("form", ENTITY_FORMS)
def test_every_form_of_entities_gives_the_same(form: str) -> None:
    graph = fd.EntityGraph({"user": ENTITY_FORMS[form]}, LINKS)
    assert sent(fd.replay(FLOW, LOG, graph), "fan", "name") == EXPECTED


@pytest.mark.parametrize("form", LINK_FORMS)
def test_every_form_of_links_gives_the_same(form: str) -> None:
    graph = fd.EntityGraph({"user": USERS}, LINK_FORMS[form])
    assert sent(fd.replay(FLOW, LOG, graph), "fan", "name") == EXPECTED


def test_ids_that_are_integers_in_frames_count_as_text() -> None:
    users = pd.DataFrame({"id": [1, 2], "name": ["one", "two"]})
    links = pd.DataFrame({"link_type": ["follows"], "source_id": [2], "target_id": [1]})
    result = fd.replay(FLOW, log_of("at | source\n 0 | 1"), fd.EntityGraph({"user": users}, links))
    assert sent(result, "fan", "name") == [(0, "1", "two")]


def test_nested_cells_and_times_of_frames_are_json() -> None:
    moment = pd.Timestamp("2026-01-01T12:00:00.500Z")
    users = pl.DataFrame(
        {"id": ["ann"], "home": [{"city": "Ulm", "since": moment}], "at": [moment], "tags": [["a", None]]}
    )
    flow = (
        on("link.created")
        .resolve("source_id", as_="fan")
        .map(
            city="{{ fan.home.city }}",
            since=var.fan.home.since,
            at=var.fan.at,
            home=var.fan.home,
            tags=var.fan.tags,
        )
        .deliver("s")
    )
    result = fd.replay(flow, log_of("at\n 0"), fd.EntityGraph({"user": users}))
    since = "2026-01-01T12:00:00.500Z"
    home = {"city": "Ulm", "since": since}
    payload = json.loads(result.deliveries["payload"][0])
    assert payload == {"city": "Ulm", "since": since, "at": since, "home": home, "tags": ["a", None]}


def test_of_links_with_the_same_identity_the_last_one_counts() -> None:
    links = [
        ("ann", "x", None),
        ("bob", "x", None),
        ("ann", "x", None),
        ("cem", "x", "l1"),
        ("dan", "x", "l1"),
    ]
    graph = fd.EntityGraph(
        links=[{"link_type": "follows", "source_id": s, "target_id": t, "link_id": i} for s, t, i in links]
    )
    flow = (
        on("link.created")
        .fan_out("source_id", via="follows", direction="reverse", as_="f")
        .map(f="{{ f_id }}")
        .deliver("s")
    )
    assert sent(fd.replay(flow, log_of("at | source\n 0 | x"), graph), "f") == [
        (0, "bob"),
        (0, "ann"),
        (0, "dan"),
    ]


def test_a_graph_serves_many_replays_and_stays_what_it_was() -> None:
    graph = fd.EntityGraph({"user": USERS}, LINKS)
    log = log_of(
        'at | kind | type | id | data | source\n 0 | entity.updated | user | bob | {"name": "B"} | -\n 1 | link.created | likes | - | - | ann'
    )
    for _ in range(2):
        assert sent(fd.replay(FLOW, log, graph), "name") == [(1, "B")]
    assert sent(fd.replay(FLOW, LOG, graph), "name") == [(0, "Bob"), (1, "Ann")]


def links_of(graph: fd.EntityGraph, kind: str) -> list[tuple[str, str, list[str | None]]]:
    """The links of a type, in order, with their ids."""
    ends = zip(*(graph.ids_of(codes).to_list() for codes in graph.link_codes(kind)), strict=True)
    return [(one, other, graph.links_between(kind, one, other)) for one, other in ends]


def test_a_graph_with_other_links_has_the_same_codes() -> None:
    graph = fd.EntityGraph(links=[{"link_type": "likes", "source_id": "ann", "target_id": "p1"}])
    ends = graph.codes_of(pl.Series(["ann", "bob"])), graph.codes_of(pl.Series(["cem", "ann"]))
    other = graph.with_links({"knows": ends}, without=["likes"])
    assert links_of(other, "knows") == [("ann", "cem", [None]), ("bob", "ann", [None])]
    assert other.codes_of(pl.Series(["new"])).tolist() == graph.codes_of(pl.Series(["new"])).tolist()
    assert graph.link_types == ("likes",)


def test_two_flows_on_one_graph_do_not_see_each_others_needs() -> None:
    graph = fd.EntityGraph({"user": USERS}, LINKS)
    named = on("link.created").resolve("source_id", as_="fan").map(n=var.fan.n).deliver("s")
    assert sent(fd.replay(named, LOG, graph), "n") == [(0, 1), (1, 2)]
    assert sent(fd.replay(FLOW, LOG, graph), "name") == [(0, "Bob"), (1, "Ann")]


def test_it_shows_what_it_holds() -> None:
    graph = fd.EntityGraph({"user": USERS, "bot": lambda ids: {}}, LINKS)
    assert repr(graph) == "EntityGraph(entities={'user': 2, 'bot': 'function'}, links={'follows': 2})"
    assert graph.entity_types == ("user", "bot")
    assert graph.link_types == ("follows",)


def test_without_a_graph_state_comes_from_the_log_alone() -> None:
    log = log_of(
        'at | kind | type | id | data | source\n 0 | entity.created | user | ann | {"name": "A"} | -\n 1 | link.created | likes | - | - | ann'
    )
    flow = on("link.created").resolve("source_id", as_="fan").map(name="{{ fan.name }}").deliver("s")
    assert sent(fd.replay(flow, log), "name") == [(1, "A")]
    assert sent(fd.replay(flow, log, fd.EntityGraph()), "name") == [(1, "A")]


# -- functions ---------------------------------------------------------------------------------------------


def test_the_log_overrides_what_a_function_says() -> None:
    log = log_of("""
        at | kind           | type  | id  | data          | source
        0  | entity.updated | user  | ann | {"name": "A"} | -
        1  | link.created   | likes | -   | -             | ann
        2  | entity.deleted | user  | ann | -             | -
        3  | link.created   | likes | -   | -             | ann
    """)
    flow = on("link.created").resolve("source_id", as_="fan").map(name="{{ fan.name }}").deliver("s")
    result = fd.replay(flow, log, fd.EntityGraph({"user": ENTITY_FORMS["function to mapping"]}))
    assert sent(result, "name") == [(1, "A")]
    assert [seq_no for seq_no, _, _ in failures(result)] == [4]


def test_entities_that_a_function_gives_unasked_are_not_believed_of_others() -> None:
    graph = fd.EntityGraph({"user": lambda ids: {"other": {"name": "O"}}})
    flow = on("link.created").resolve("source_id", as_="fan").map(name="{{ fan.name }}").deliver("s")
    result = fd.replay(flow, log_of("at\n 0"), graph)
    assert [seq_no for seq_no, _, _ in failures(result)] == [1]


def test_a_list_of_objects_with_ids_is_what_a_mapping_of_them_is():
    rows = [{"id": 7, "name": "Ann"}, {"id": "u8", "profile": {"real_name": "Bob"}}]
    flow = (
        on("link.created")
        .resolve("source_id", as_="who")
        .map(id="{{ who.id }}", name="{{ who.name | default(value='?') }}")
        .deliver("s")
    )
    log = fd.MemoryEventLog()
    log.append([fd.link_created("likes", one, "p") for one in ("7", "u8")])
    of_list, of_mapping = (
        fd.replay(flow, log, fd.EntityGraph({"user": given}))
        for given in (rows, {row["id"]: row for row in rows})
    )
    assert of_list["s"][["id", "name"]].values.tolist() == [["7", "Ann"], ["u8", "?"]]
    assert of_mapping["s"][["id", "name"]].values.tolist() == of_list["s"][["id", "name"]].values.tolist()


# -- what is refused ---------------------------------------------------------------------------------------

REFUSED: dict[str, tuple[Callable[[], object], str]] = {
    "entities that are a list": (lambda: fd.EntityGraph([1]), "entities are a list"),  # type: ignore[arg-type]
    "a type that is not a name": (lambda: fd.EntityGraph({"": {}}), "entity type '' is not a name"),
    "rows without ids": (lambda: fd.EntityGraph({"user": [{"id": 1}, {"name": "x"}]}), "entities 'user': item 1 has no id"),
    "rows that are no objects": (lambda: fd.EntityGraph({"user": ["a"]}), "entities 'user': item 0 is a str"),
    "rows with one id": (lambda: fd.EntityGraph({"user": [{"id": "a"}, {"id": "a"}]}), "'a'"),
    "no id column": (lambda: fd.EntityGraph({"user": pd.DataFrame({"ids": ["a"]})}), "entities 'user' have no column 'id'"),
    "a null id": (lambda: fd.EntityGraph({"user": pd.DataFrame({"id": ["a", None]})}), "entities 'user': row 1 has no id"),
    "an empty id": (lambda: fd.EntityGraph({"user": pd.DataFrame({"id": ["a", ""]})}), "column 'id': row 1 is empty text"),
    "ids twice": (lambda: fd.EntityGraph({"user": pd.DataFrame({"id": ["a", "a"]})}), "have ids more than once: 'a'"),
    "ids twice as text and number": (lambda: fd.EntityGraph({"user": {1: {}, "1": {}}}), "have ids more than once: '1'"),
    "ids that are floats": (lambda: fd.EntityGraph({"user": pd.DataFrame({"id": [1.5]})}), "column 'id' is of type Float64"),
    "an id that is a tuple": (lambda: fd.EntityGraph({"user": {(1, 2): {}}}), "id is tuple (1, 2), not text or an integer"),
    "an id that is half a character": (lambda: fd.EntityGraph({"user": {"\ud800": {}}}), "id holds half a surrogate pair"),
    "half a character inside": (lambda: fd.EntityGraph({"user": {"a": {"x": "\ud800"}}}), "'a' is not JSON"),
    "a number beyond all": (lambda: fd.EntityGraph({"user": {"a": {"x": float("inf")}}}), "'a' is not JSON"),
    "an object that is none": (lambda: fd.EntityGraph({"user": {"a": object()}}), "'a' is not JSON"),
    "bytes in a column of many types": (
        lambda: fd.EntityGraph({"user": pd.DataFrame({"id": ["a", "b"], "x": [{"y": b"1"}, 5]})}),
        "x.y holds bytes; decode them to text",
    ),
    "links that are a number": (lambda: fd.EntityGraph({}, 5), "links are an int"),
    "a link that is a number": (lambda: fd.EntityGraph({}, [5]), "links: number 0 is an int"),
    "a link with a wrong key": (lambda: fd.EntityGraph({}, [{"source": "a"}]), "links: number 0 has the key 'source'"),
    "a link without an end": (lambda: fd.EntityGraph({}, [{"link_type": "a", "source_id": "b"}]), "links: row 0 has no target_id"),
    "a frame without an end": (
        lambda: fd.EntityGraph({}, pd.DataFrame({"link_type": ["a"], "source": ["a"], "target_id": ["b"]})),
        "links have no column 'source_id'",
    ),
    "a stream without an end": (
        lambda: fd.EntityGraph(links=pa.RecordBatchReader.from_batches(pa.schema([("link_type", pa.string())]), [])),
        "links have no column 'source_id'",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_used_is_refused_with_its_place_and_a_way_out(case: str) -> None:
    act, what = REFUSED[case]
    with pytest.raises(fd.DataError) as caught:
        act()
    assert what in caught.value.what
    assert caught.value.allowed or caught.value.hint


@pytest.mark.parametrize("given", [{"links": "links.csv"}, {"entities": {"user": Path("users.csv")}}])
def test_a_path_is_answered_with_how_files_are_read(given: dict[str, Any]) -> None:
    with pytest.raises(
        fd.DataError, match=r"(links|entities 'user') are a (str|\w+Path)\n(?s:.*)read_graph\(folder\)"
    ):
        fd.EntityGraph(**given)


def stream(*batches: dict[str, list[Any]]) -> pa.RecordBatchReader:
    """Links that come some at a time."""
    made = [pa.RecordBatch.from_pydict(batch, LINK_SCHEMA) for batch in batches]
    return pa.RecordBatchReader.from_batches(LINK_SCHEMA, made)


LINK_SCHEMA = pa.schema(
    [(name, pa.string()) for name in ("link_type", "source_id", "target_id", "link_id", "metadata")]
)
FIRST = {"link_type": ["follows", "likes"], "source_id": ["ann", "bob"], "target_id": ["bob", "p1"],
         "link_id": [None, "x"], "metadata": [None, None]}  # fmt: skip
SECOND = {"link_type": ["likes", "follows", "follows"], "source_id": ["cat", "ann", "dan"], "target_id": ["p1", "bob", "ann"],
          "link_id": ["x", None, None], "metadata": ['{"n": 1}', None, None]}  # fmt: skip


def test_links_that_come_some_at_a_time_are_those_of_one_table() -> None:
    parts, whole = fd.EntityGraph(links=stream(FIRST, SECOND)), [stream(FIRST, SECOND).read_all()]
    graphs = [parts, *map(fd.EntityGraph, [{}], whole)]
    for kind, ends in {
        "follows": [("ann", "bob", [None]), ("dan", "ann", [None])],
        "likes": [("cat", "p1", ["x"])],
    }.items():
        for graph in graphs:
            assert links_of(graph, kind) == ends
    flow = on("link.created").where("first_link(source_id, 'likes').n == 1").map(a="b").deliver("s")
    log = log_of("at | source\n 0 | cat\n 1 | ann")
    assert [sent(fd.replay(flow, log, graph), "a") for graph in graphs] == [[(0, "b")]] * 2
    assert fd.EntityGraph(links=stream()).link_types == ()


def test_a_mistake_in_links_that_come_some_at_a_time_has_the_number_of_its_row() -> None:
    for name, wrong in {"source_id": None, "target_id": "", "metadata": "{"}.items():
        later = {**SECOND, name: [*SECOND[name][:2], wrong]}
        with pytest.raises(fd.DataError, match="row 4"):
            fd.EntityGraph(links=stream(FIRST, later))


FETCHED = on("link.created").resolve("source_id", as_="fan").map(name="{{ fan.name }}").deliver("s")


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (lambda ids: 1 / 0, "the function for entities 'user' raised ZeroDivisionError: division by zero"),
        (lambda *, named: {}, "the function for entities 'user' raised TypeError"),
        (lambda ids: None, "entities 'user' are a NoneType"),
        (lambda ids: pd.DataFrame({"x": [1]}), "entities 'user' have no column 'id'"),
    ],
)
def test_a_function_that_does_not_answer_is_told_by_its_type(answer: Any, why: str) -> None:
    with pytest.raises(fd.DataError) as caught:
        fd.replay(FETCHED, log_of("at\n 0"), fd.EntityGraph({"user": answer}))
    assert caught.value.what.startswith(why)


def test_links_of_one_stretch_of_the_log_may_all_end() -> None:
    """The second chunk makes links that the third one ends; the fourth ends one of the first."""
    old, new = [f"old{n}" for n in range(400)], [f"new{n}" for n in range(150)]
    rest = [fd.entity_deleted("user", "nobody")] * 250
    log = fd.MemoryEventLog()
    log.append([fd.link_created("follows", name, "x") for name in old], timestamp=moment(0))
    log.append([*(fd.link_created("follows", name, "x") for name in new), *rest], timestamp=moment(1))
    log.append([*(fd.link_deleted("follows", name, "x") for name in new), *rest], timestamp=moment(2))
    log.append(
        [fd.link_deleted("follows", old[0], "x"), fd.link_created("ask", "y", "x")], timestamp=moment(3)
    )
    flow = (
        on("link.created", link_type="ask")
        .fan_out("target_id", via="follows", direction="reverse", as_="f")
        .map(f="{{ f_id }}")
        .deliver("s")
    )
    assert fd.replay(flow, log, chunk_size=400)["s"]["f"].tolist() == old[1:]


@pytest.mark.parametrize("between", [",", ";", "\t"])
def test_entities_in_csv_have_ids_of_text_and_values_of_the_types_they_look_like(
    between: str, tmp_path: Path
) -> None:
    (tmp_path / "entities").mkdir()
    rows = [("id", "name", "age", "boss_id"), ("007", '"Ann\nLee"', "41", "1"), ("08", '"a"",b"', "", "")]
    text = "\ufeff" + "\n\n".join(between.join(row) for row in rows)
    (tmp_path / "entities" / "user.csv").write_text(text, encoding="utf-8")
    seen = {"id": var.u.id, "name": var.u.name, "age": var.u.age, "boss": var.u.boss_id}
    flow = on("link.created").resolve("source_id", as_="u").map(**seen).deliver("s")
    result = fd.replay(flow, log_of("at | source\n 0 | 007\n 1 | 08"), fd.read_graph(tmp_path))
    assert sent(result, "id", "name", "age", "boss") == [
        (0, "007", "Ann\nLee", 41, "1"),
        (1, "08", 'a",b', None, None),
    ]
