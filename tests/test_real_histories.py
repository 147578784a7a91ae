"""Histories that nobody here wrote, replayed, with every figure worked out again in plain pandas."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pytest

import flowdsl as fd
from flowdsl import on, var

SHARED = Path(__file__).parents[2] / "shared" / "data"
pytestmark = pytest.mark.skipif(
    not SHARED.is_dir(), reason="the real histories lie beside the project, not in it"
)


# -- stars of two hours of 2012, told to the owners of the repositories ---------------------------------


def stars() -> fd.MemoryEventLog:
    return fd.read_events(
        SHARED / "slim_2012_two_hours.jsonl.gz",
        columns={
            "timestamp": "created_at",
            "kind": "type",
            "link_type": fd.literal("stars"),
            "source_id": "actor",
            "target_id": lambda row: f"{row['repository']['owner']}/{row['repository']['name']}",
        },
        kinds=lambda row: "link.created" if row["type"] == "WatchEvent" else None,
        time_format=["%Y/%m/%d %H:%M:%S %z", "%Y-%m-%dT%H:%M:%S%z"],
    )


@pytest.fixture(scope="module")
def history() -> pd.DataFrame:
    """The watch events in plain pandas, in the order of their time."""
    with gzip.open(SHARED / "slim_2012_two_hours.jsonl.gz", "rt", encoding="utf-8") as lines:
        rows = pd.DataFrame(map(json.loads, lines))
    rows = rows[rows.type == "WatchEvent"].copy()
    rows["at"] = pd.to_datetime(rows.created_at.str.replace("/", "-"), format="mixed", utc=True)
    rows["owner"] = rows.repository.map(lambda r: r["owner"])
    rows["name"] = rows.owner + "/" + rows.repository.map(lambda r: r["name"])
    return rows.sort_values("at", kind="stable")


@pytest.fixture(scope="module")
def repositories(history: pd.DataFrame) -> fd.EntityGraph:
    owned = history[["owner", "name"]].drop_duplicates()
    return fd.EntityGraph(
        entities={
            "repository": pd.DataFrame({"id": owned.name}),
            "account": pd.DataFrame({"id": sorted({*owned.owner, *history.actor.dropna()})}),
        },
        links=pd.DataFrame({"link_type": "owns", "source_id": owned.owner, "target_id": owned.name}),
    )


def test_stars_are_told_to_the_owners_of_repositories(
    history: pd.DataFrame, repositories: fd.EntityGraph
) -> None:
    flow = (
        on("link.created", link_type="stars", name="starred")
        .resolve("target_id", via="owns", direction="reverse", as_="owner")
        .resolve("source_id", as_="fan")
        .where(var.fan.id != var.owner.id)
        .map(recipient_id="{{ owner.id }}", title="{{ fan.id }} starred {{ target_id }}")
        .deliver("in-app")
    )
    log = stars()
    told = fd.replay(flow, log, repositories)["in-app"]
    named = history[history.actor.notna()]
    expected = named[named.actor != named.owner]
    assert len(history) == 938
    assert told.recipient_id.tolist() == expected.owner.tolist()
    assert told.title.tolist() == (expected.actor + " starred " + expected.name).tolist()
    assert told.event_time.tolist() == expected["at"].tolist()
    # who starred without a name is not an event, and is not lost
    broken = log.problems[log.problems.problem == "broken"]
    assert len(broken) == history.actor.isna().sum()


def test_an_owner_hears_of_the_first_star_of_a_repository_in_each_quarter_of_an_hour(
    history: pd.DataFrame, repositories: fd.EntityGraph
) -> None:
    flow = (
        on("link.created", link_type="stars")
        .deduplicate("target_id", window="15m")
        .resolve("target_id", via="owns", direction="reverse", as_="owner")
        .map(recipient_id="{{ owner.id }}", title="{{ target_id }}")
        .deliver("push")
    )
    told = fd.replay(flow, stars(), repositories)["push"]
    named = history[history.actor.notna()]
    opened: dict[str, Any] = {}
    expected = []
    for at, name in zip(named["at"], named.name, strict=True):
        if name not in opened or at - opened[name] >= pd.Timedelta("15min"):
            opened[name] = at
            expected.append(name)
    assert told.title.tolist() == expected


# -- a curated list: the links alive as of given moments ------------------------------------------------


def test_a_fan_out_reaches_the_links_of_the_list_alive_at_each_moment() -> None:
    log = fd.read_events(
        SHARED / "awesome_link_events.csv",
        columns={
            "timestamp": "ts",
            "kind": "op",
            "link_type": fd.literal("lists"),
            "link_id": "url",
            "source_id": fd.literal("the list"),
            "target_id": "url",
        },
        split={"link.updated": ["link.deleted", "link.created"]},
        time_unit="s",
    )
    rows = pd.read_csv(SHARED / "awesome_link_events.csv")
    moments = sorted({int(rows.ts.quantile(q)) for q in (0.0, 0.1, 0.33, 0.5, 0.75, 0.9, 1.0)})
    flow = (
        on("entity.created", entity_type="issue", name="newsletter")
        .fan_out("data.of", via="lists", as_="link")
        .map(url="{{ link_id }}", link="{{ link }}")
        .deliver("newsletter")
    )
    sent = fd.replay(flow, with_issues(log, moments))["newsletter"]
    for moment in moments:
        got = sent[sent.event_time == pd.Timestamp(moment, unit="s", tz="UTC")].link.tolist()
        assert got == alive_links(rows[rows.ts <= moment]), moment
    assert (sent.event_time == pd.Timestamp(moments[-1], unit="s", tz="UTC")).sum() == 685


def with_issues(log: fd.MemoryEventLog, moments: list[int]) -> pl.DataFrame:
    """The log's events, and a newsletter issue right after everything that happened up to each moment."""
    events = pl.concat([pl.DataFrame(pl.from_arrow(batch)) for batch in log.read()], how="diagonal").drop(
        "seq_no"
    )
    issues = pl.DataFrame(
        {
            "kind": "entity.created",
            "timestamp": pl.Series(moments).cast(pl.Int64) * 1_000_000,
            "entity_type": "issue",
            "entity_id": [f"issue {m}" for m in moments],
            "data": '{"of":"the list"}',
        }
    ).with_columns(pl.col("timestamp").cast(pl.Datetime("us", "UTC")))
    plain = events.with_columns(pl.col("kind").cast(pl.String))
    return pl.concat([plain, issues], how="diagonal_relaxed").sort("timestamp", maintain_order=True)


def alive_links(rows: pd.DataFrame) -> list[str]:
    """The urls on the list after these rows, in the order in which they last came onto it."""
    alive: dict[str, None] = {}
    for op, url in zip(rows.op, rows.url, strict=True):
        alive.pop(url, None)
        if op != "link.deleted":
            alive[url] = None
    return list(alive)


# -- a repository: its files as of each event -----------------------------------------------------------


@pytest.fixture(scope="module")
def files() -> fd.MemoryEventLog:
    return fd.read_events(
        SHARED / "attrs_file_events.csv",
        columns={
            "timestamp": "ts",
            "kind": "op",
            "entity_type": fd.literal("file"),
            "entity_id": "path",
            "data": lambda row: {"by": row["actor"], "commit": row["commit"]},
        },
        time_unit="s",
    )


def test_each_change_of_a_file_sees_the_file_as_it_left_it(files: fd.MemoryEventLog) -> None:
    flows = [
        on(kind, entity_type="file", name=kind)
        .resolve("entity_id", as_="file", required=False)
        .map(path="{{ entity_id }}", commit="{{ file.commit | default(value='gone') }}")
        .deliver("log")
        for kind in ("entity.created", "entity.updated", "entity.deleted")
    ]
    seen = fd.replay(flows, files)["log"]
    rows = pd.read_csv(SHARED / "attrs_file_events.csv").sort_values("ts", kind="stable")
    expected = rows.commit.where(rows.op != "entity.deleted", "gone")
    assert seen.path.tolist() == rows.path.tolist()
    assert seen.commit.tolist() == expected.tolist()
    assert seen.flow.value_counts().to_dict() == {
        "entity.updated": 4024,
        "entity.created": 507,
        "entity.deleted": 367,
    }


def test_the_files_that_a_release_finds_are_those_alive_then(files: fd.MemoryEventLog) -> None:
    rows = pd.read_csv(SHARED / "attrs_file_events.csv").sort_values("ts", kind="stable")
    paths = sorted(rows.path.unique())
    moments = [int(rows.ts.quantile(q)) for q in (0.1, 0.5, 0.8)] + [int(rows.ts.max())]
    flow = (
        on("link.created", link_type="asks for")
        .resolve("target_id", as_="file")
        .map(path="{{ file.id }}", by="{{ file.by }}")
        .deliver("found")
    )
    events = pl.concat([pl.DataFrame(pl.from_arrow(batch)) for batch in files.read()], how="diagonal").drop(
        "seq_no"
    )
    asked = pl.DataFrame(
        {
            "timestamp": [m * 1_000_000 for m in moments for _ in paths],
            "source_id": [f"release {m}" for m in moments for _ in paths],
            "target_id": paths * len(moments),
        }
    ).with_columns(
        pl.col("timestamp").cast(pl.Datetime("us", "UTC")),
        pl.lit("link.created").alias("kind"),
        pl.lit("asks for").alias("link_type"),
    )
    log = pl.concat([events.with_columns(pl.col("kind").cast(pl.String)), asked], how="diagonal_relaxed")
    result = fd.replay(flow, log.sort("timestamp", maintain_order=True))
    found = result["found"]
    for moment in moments:
        last = rows[rows.ts <= moment].drop_duplicates("path", keep="last").set_index("path")
        alive = last[last.op != "entity.deleted"].sort_index()
        got = found[found.event_time == pd.Timestamp(moment, unit="s", tz="UTC")]
        assert got.path.tolist() == alive.index.tolist(), moment
        assert got.by.tolist() == alive.actor.tolist(), moment
    assert (found.event_time == pd.Timestamp(moments[-1], unit="s", tz="UTC")).sum() == 140
    assert len(result.errors) == len(paths) * len(moments) - len(found)
