"""The sample data: the same for a seed, consistent in itself, and a history the sample flows do well on."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

import flowdsl as fd
from flowdsl.samples.datasets import FLOWS, Sample, write_sample


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    return write_sample(tmp_path_factory.mktemp("sample"), events=4_000, seed=3)


def bytes_of(sample: Sample) -> list[bytes]:
    return [p.read_bytes() for p in (sample.log, *sorted(sample.graph.rglob("*.parquet")), sample.flows)]


def test_a_seed_gives_the_same_files_and_another_seed_others(tmp_path: Path, sample: Sample):
    assert bytes_of(write_sample(tmp_path / "again", events=4_000, seed=3)) == bytes_of(sample)
    assert bytes_of(write_sample(tmp_path / "other", events=4_000, seed=4)) != bytes_of(sample)


@pytest.mark.parametrize("events", [1, 2, 3, 7, 40, 999])
def test_any_size_replays(tmp_path: Path, events: int):
    sample = write_sample(tmp_path, events=events)
    frame = pl.read_parquet(sample.log)
    assert frame["seq_no"].to_list() == list(range(1, events + 1))
    fd.replay(fd.load(sample.flows), sample.log, fd.read_graph(sample.graph), progress=False)


def test_no_events_are_no_sample(tmp_path: Path):
    with pytest.raises(fd.DataError, match="a sample of 0 events is none"):
        write_sample(tmp_path, events=0)


def test_links_are_made_once_and_end_after_they_were_made(sample: Sample):
    events, held = pl.read_parquet(sample.log), pl.read_parquet(sample.graph / "links.parquet")
    made = pl.concat([
        held.select("link_id", "source_id", "target_id", seq_no=pl.lit(0, pl.Int64)),
        events.filter(pl.col("kind") == "link.created").select("link_id", "source_id", "target_id", "seq_no"),
    ])  # fmt: skip
    assert made["link_id"].is_unique().all()
    ended = events.filter(pl.col("kind") == "link.deleted").join(
        made, on="link_id", how="left", suffix="_made"
    )
    assert len(ended) > 50
    assert (ended["seq_no_made"] < ended["seq_no"]).all()
    assert (ended["source_id"] == ended["source_id_made"]).all()
    assert (ended["target_id"] == ended["target_id_made"]).all()
    assert ended["link_id"].is_unique().all()


def test_entities_are_made_once_and_people_who_act_are_there(sample: Sample):
    events = pl.read_parquet(sample.log)
    people = pl.read_parquet(sample.graph / "entities" / "user.parquet")
    made = events.filter(pl.col("kind") == "entity.created")
    assert made["entity_id"].is_unique().all()
    born = pl.concat([
        people.select("id", born=pl.lit(0, pl.Int64)),
        made.filter(pl.col("entity_type") == "user").select(id="entity_id", born="seq_no"),
    ])  # fmt: skip
    acting = events.filter(pl.col("source_id").is_not_null()).join(
        born, left_on="source_id", right_on="id", how="left"
    )
    assert (acting["born"] < acting["seq_no"]).all()


def test_every_kind_of_event_happens_and_some_come_late(sample: Sample):
    events = pl.read_parquet(sample.log)
    assert set(events["kind"]) == {
        "link.created",
        "link.deleted",
        "entity.created",
        "entity.updated",
        "entity.deleted",
    }
    late = events["timestamp"] < events["timestamp"].cum_max()
    assert 0 < late.sum() < len(events) / 50


def test_the_sample_flows_deliver_batch_drop_and_fail(sample: Sample):
    result = fd.replay(fd.load(sample.flows), sample.log, fd.read_graph(sample.graph), progress=False)
    assert result.sinks == ("in-app", "push", "feed")
    assert min(len(result[sink]) for sink in result.sinks) > 100
    assert (result["in-app"]["count"].dropna().astype(int) > 1).any()
    assert set(result.dropped["reason"]) >= {"filtered", "no links", "duplicate"}
    assert 0 < len(result.errors) < 100
    assert 0 < len(result.late) < 80


def test_the_flows_in_data_are_those_of_the_package():
    assert (Path(__file__).parents[1] / "data" / "flows.yaml").read_bytes() == FLOWS.read_bytes()


def test_a_graph_is_read_from_csv_and_json_lines_too(tmp_path: Path):
    (tmp_path / "entities").mkdir()
    (tmp_path / "entities" / "user.csv").write_text("id,name,age\n007,Ada,36\n008,Bob,40\n")
    (tmp_path / "entities" / "post.jsonl").write_text('{"id": "p", "tags": ["a"], "author": {"id": "007"}}\n')
    (tmp_path / "links.csv").write_text("link_type,source_id,target_id\nowns,007,p\n")
    graph = fd.read_graph(tmp_path)
    assert repr(graph) == "EntityGraph(entities={'post': 1, 'user': 2}, links={'owns': 1})"
    flow = (
        fd.on("link.created")
        .resolve("target_id", via="owns", direction="reverse", as_="o")
        .map(n="{{ o.name }} {{ o.age }}")
    )
    log = [{"timestamp": "2026-01-01T00:00:00Z", "event": fd.link_created("likes", "008", "p")}]
    assert fd.replay(flow.deliver("s"), log, graph, progress=False)["s"]["n"].tolist() == ["Ada 36"]


@pytest.mark.parametrize(
    ("files", "what"),
    [
        ({}, "holds no graph"),
        ({"links.csv": "link_type,source_id,target_id\n", "links.jsonl": ""}, "there are links in two files"),
        (
            {"entities/a.csv": "id\n1\n", "entities/a.jsonl": '{"id": "1"}'},
            "there are entities 'a' in two files",
        ),
        ({"entities/a.parquet": "no parquet"}, "it cannot be read"),
        ({"entities/a.csv": "name\nx\n"}, "entities 'a' have no column 'id'"),
    ],
)
def test_a_folder_that_is_no_graph_is_refused(tmp_path: Path, files: dict[str, str], what: str):
    (tmp_path / "entities").mkdir()
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(fd.DataError, match=what):
        fd.read_graph(tmp_path)
    with pytest.raises(fd.DataError, match="there is no folder"):
        fd.read_graph(tmp_path / "nowhere")


def test_links_of_a_graph_are_kept_unless_one_of_the_same_identity_comes_later():
    ids = [{"link_type": "a", "source_id": f"s{i}", "target_id": "t", "link_id": f"l{i}"} for i in range(5)]
    ends = [{"link_type": "b", "source_id": "x", "target_id": target} for target in ("y", "y", "z")]
    again = {"link_type": "c", "source_id": "x", "target_id": "z", "link_id": "l0"}
    assert repr(fd.EntityGraph(links=[*ids, *ends])) == "EntityGraph(entities={}, links={'a': 5, 'b': 2})"
    assert repr(fd.EntityGraph(links=[*ids, again])) == "EntityGraph(entities={}, links={'a': 4, 'c': 1})"
