"""From a file to the first report in at most ten lines, for shapes of data as people have them."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import polars as pl
import pytest

import flowdsl as fd
from tests import product_files

SHAPES = Path(__file__).parent / "data" / "shapes"
ORDERS = [
    {
        "Order No": f"A{n}",
        "Customer": f"c{n % 3}",
        "Placed": f"{n + 1:02}.11.2025 {8 + n:02}:15",
        "Total": 20 + n,
    }
    for n in range(6)
]
PLAYS = [
    {"user": f"u{n % 3}", "song": f"s{n % 2}", "at": f"2026-01-01T09:0{n}:00Z", "seconds": 30 * n}
    for n in range(6)
]


def orders_csv(folder: Path) -> None:
    pd.DataFrame(ORDERS).to_csv(folder / "orders.csv", index=False, sep=";")


def signups(folder: Path) -> pd.DataFrame:
    users = [{"plan": "pro", "tags": ["a"]}, {"plan": "free"}, None]
    columns = {
        "when": pd.date_range("2026-01-01", periods=3, tz="UTC"),
        "user_id": [7, "x9", 8],
        "profile": users,
    }
    return pd.DataFrame({name: pd.Series(values, dtype=object) for name, values in columns.items()})


def sample(name: str, target: str) -> Callable[[Path], None]:
    return lambda folder: (folder / target).write_bytes((SHAPES / name).read_bytes()) and None


def hive(folder: Path) -> None:
    for day in ("2026-01-01", "2026-01-02"):
        for country in ("lv", "de"):
            place = folder / "plays" / f"day={day}" / f"country={country}"
            place.mkdir(parents=True)
            rows = [{"user": f"u{n}", "song": "s1", "hour": f"{n + 8:02}:00"} for n in range(3)]
            pl.DataFrame(rows).write_parquet(place / "part-0.parquet")


def slack(folder: Path) -> None:
    shutil.make_archive(str(folder / "export"), "zip", SHAPES / "slack")


def postgres(folder: Path) -> None:
    # COPY (SELECT …) TO 'follows.csv' WITH (FORMAT csv, HEADER)
    (folder / "follows.csv").write_text(
        "id,follower_id,followee_id,created_at,deleted_at,settings\n"
        '1,10,20,2026-01-01 09:00:00.123456+00,,"{""muted"": false}"\n'
        '2,11,20,2026-01-01 10:00:00+00,2026-01-03 12:00:00+00,"{""muted"": true}"\n'
        "3,12,20,2026-01-02 11:30:00.5+01,,\n"
    )


# name: what is there before the script, the script, and how many deliveries its report tells of
SCRIPTS: dict[str, tuple[Callable[[Path], Any], str, int]] = {
    "a CSV of orders with local times": (orders_csv, """
log = fd.read_events("orders.csv", {"timestamp": "Placed", "kind": fd.literal("entity.created"), "entity_type": fd.literal("order"),
                                    "entity_id": "Order No", "data": dict},
                     time_format="%d.%m.%Y %H:%M", time_zone="Europe/Berlin")
flow = fd.on("entity.created", entity_type="order").map(recipient_id="{{ data.Customer }}", text="Thanks for {{ data.Total }}").deliver("mail")
""", 6),
    "pandas with object columns": (signups, """
log = fd.read_events(data, {"timestamp": "when", "kind": fd.literal("entity.created"), "entity_type": fd.literal("user"),
                            "entity_id": "user_id", "data": "profile"})
flow = fd.on("entity.created").where("data.plan == 'pro'").map(recipient_id="{{ entity_id }}", text="Welcome").deliver("mail")
""", 1),
    "GH Archive": (sample("github.jsonl", "2026-01-01-15.json"), """
log = fd.read_events("2026-01-01-15.json", shape="github")
flow = fd.on("link.created", link_type="stars").map(recipient_id="{{ target_id }}", text="{{ source_id }} starred you").deliver("mail")
""", 1),
    "Segment": (sample("segment.jsonl", "segment.jsonl"), """
log = fd.read_events("segment.jsonl", shape="segment")
flow = fd.on("entity.created", entity_type="Order Completed").map(recipient_id="{{ data.userId }}", text="Thanks").deliver("mail")
""", 1),
    "Debezium": (sample("debezium.jsonl", "changes.jsonl"), """
log = fd.read_events("changes.jsonl", shape="debezium")
flow = fd.on("entity.updated", entity_type="customers").map(recipient_id="{{ entity_id }}", text="You moved to {{ data.email }}").deliver("mail")
""", 1),
    "Parquet in hive folders": (hive, """
log = fd.read_events("plays", {"timestamp": "{day} {hour}", "kind": fd.literal("link.created"), "link_type": fd.literal("plays"),
                               "source_id": "user", "target_id": "song", "metadata": {"country": "country"}}, time_zone="UTC")
flow = fd.on("link.created").where("metadata.country == 'lv'").map(recipient_id="{{ source_id }}", text="{{ target_id }}").deliver("mail")
""", 6),
    "a Polars LazyFrame": (lambda folder: pl.LazyFrame(PLAYS), """
log = fd.read_events(data, {"timestamp": "at", "kind": fd.literal("link.created"), "link_type": fd.literal("plays"),
                            "source_id": "user", "target_id": "song", "metadata": {"seconds": "seconds"}})
flow = fd.on("link.created").where("metadata.seconds > 60").map(recipient_id="{{ source_id }}", text="{{ target_id }}").deliver("mail")
""", 3),
    "a DuckDB relation": (lambda folder: duckdb.from_arrow(pl.DataFrame(PLAYS).to_arrow()), """
log = fd.read_events(data, {"timestamp": "at", "kind": fd.literal("link.created"), "link_type": fd.literal("plays"),
                            "source_id": "user", "target_id": "song"})
flow = fd.on("link.created", link_type="plays").map(recipient_id="{{ source_id }}", text="{{ target_id }}").deliver("mail")
""", 6),
    "a generator of dicts": (lambda folder: (row for row in PLAYS), """
log = fd.read_events(data, {"timestamp": "at", "kind": fd.literal("link.created"), "link_type": fd.literal("plays"),
                            "source_id": "user", "target_id": "song"})
flow = fd.on("link.created", link_type="plays").map(recipient_id="{{ source_id }}", text="{{ target_id }}").deliver("mail")
""", 6),
    "CloudEvents": (sample("cloudevents.json", "events.json"), """
log = fd.read_events("events.json", shape="cloudevents")
flow = fd.on("entity.created", entity_type="com.shop.order.shipped").map(recipient_id="{{ data.customer }}", text="On its way").deliver("mail")
""", 1),
    "a Postgres dump as CSV": (postgres, """
log = fd.read_events("follows.csv", {"timestamp": "created_at", "kind": fd.literal("link.created"), "link_type": fd.literal("follows"),
                                     "link_id": "id", "source_id": "follower_id", "target_id": "followee_id", "metadata": "settings"})
flow = fd.on("link.created", link_type="follows").map(recipient_id="{{ target_id }}", text="{{ source_id }} follows you").deliver("mail")
""", 3),
    "Slack": (slack, """
log = fd.read_events("export.zip", shape="slack")
flow = fd.on("link.created", link_type="replies").map(recipient_id="{{ target_id }}", text="{{ source_id }} replied").deliver("mail")
""", 1),
    "webhooks of a shop": (product_files.shop_webhooks, """
log = fd.read_events("webhooks.ndjson", {"timestamp": "X-Shop-Triggered-At", "kind": fd.literal("entity.created"),
                                         "entity_type": "X-Shop-Topic", "entity_id": "payload.id", "data": "payload"},
                     types={"payload.total_price": float})
flow = fd.on("entity.created", entity_type="orders/paid").for_each("data.line_items", as_="item").where("data.total_price > 100")
flow = flow.map(recipient_id="{{ data.customer.id }}", text="{{ item.quantity }} x {{ item.sku }}").deliver("mail")
""", 3),
    "web analytics": (product_files.web_analytics, """
log = fd.read_events("analytics.json", {"timestamp": "event_timestamp", "kind": fd.literal("entity.created"), "entity_type": "event_name",
                                        "entity_id": ["user_id", "user_pseudo_id"], "data": dict}, time_unit="us")
flow = fd.on("entity.created", entity_type="purchase").for_each("data.event_params", as_="param")
flow = flow.where("param.key == 'value' and param.value.double_value > 5").map(recipient_id="{{ entity_id }}", text="Thanks").deliver("mail")
""", 4),
    "an outbox": (product_files.outbox, """
log = fd.read_events("outbox.json", shape="activitystreams", records="orderedItems")
flow = fd.on("entity.created").for_each("data.tag", as_="tag").where("tag.type == 'Mention'")
flow = flow.map(recipient_id="{{ tag.href }}", text="{{ data.content | striptags }}").deliver("mail")
""", 12),
    "pages of audits": (product_files.ticket_audits, """
log = fd.read_events("audits-*.json", {"timestamp": "created_at", "event_id": "id", "kind": fd.literal("link.created"),
                                       "link_type": fd.literal("edits"), "source_id": "author_id", "target_id": "ticket_id",
                                       "metadata": dict}, records="audits")
flow = fd.on("link.created").for_each("metadata.events", as_="change").where("change.value == 'solved'").batch("target_id", window="1d")
flow = flow.map(recipient_id="{{ target_id }}", text="solved {{ batch.count }} times").deliver("mail")
""", 4),
    "a topic in envelopes": (product_files.topic_of_orders, """
log = fd.read_events("orders+0+0000000000.json", {"timestamp": "timestamp", "kind": fd.literal("entity.created"), "data": "value.payload",
                                                  "entity_type": fd.literal("order"), "entity_id": "key.payload"},
                     time_unit="ms", types={"value.payload.total": float})
flow = fd.on("entity.created").where("data.total > 5").map(recipient_id="{{ data.customer }}", text="{{ data.total }}").deliver("mail")
""", 7),
    "a sheet saved as CSV": (product_files.sheet, """
log = fd.read_events("Bestellungen.csv", {"timestamp": "Bestellt am", "kind": fd.literal("entity.created"), "entity_id": "Bestell-Nr.",
                                          "entity_type": fd.literal("order"), "data": {"who": "Kunde", "total": "Betrag (€)"}},
                     time_format="%d.%m.%Y %H:%M", time_zone="Europe/Berlin", types={"Betrag (€)": float}, decimal=",")
flow = fd.on("entity.created").where("data.total >= 1108.5").map(recipient_id="{{ data.who }}", text="{{ data.total }}").deliver("mail")
""", 4),
    "a dump of documents": (product_files.documents, """
log = fd.read_events("comments.json", {"timestamp": "at.$date", "event_id": "_id.$oid", "kind": fd.literal("link.created"),
                                       "link_type": fd.literal("comments"), "source_id": "author.$oid", "target_id": "post.$oid"})
flow = fd.on("link.created").batch("target_id", window="6h")
flow = flow.map(recipient_id="{{ target_id }}", text="{{ batch.count }} comments").deliver("mail")
""", 4),
    "a web server's log in JSON": (product_files.requests, """
log = fd.read_events("access.log", {"timestamp": "time_local", "kind": fd.literal("link.created"), "link_type": fd.literal("asks_for"),
                                    "source_id": "remote_addr", "target_id": "request_uri", "metadata": dict},
                     time_format="%d/%b/%Y:%H:%M:%S %z", types={"status": int})
flow = fd.on("link.created").where("metadata.status >= 500").batch("target_id", window="1d")
flow = flow.map(recipient_id="{{ target_id }}", text="failed {{ batch.count }} times").deliver("mail")
""", 1),
    "a delivery stream": (product_files.stream, """
log = fd.read_events("stream-1-2026-03-02-07-00-00-3a1b", {"timestamp": "time", "kind": fd.literal("entity.created"), "data": "detail",
                                                           "entity_type": "detail-type", "entity_id": "detail.orderId"})
flow = fd.on("entity.created", entity_type="Order Placed").where("data.total >= 20")
flow = flow.map(recipient_id="{{ data.customer.id }}", text="{{ data.total }}").deliver("mail")
""", 4),
}  # fmt: skip
# the ids that a guess finds: of who acts and of what is acted on, or of the entity
GUESSED = {
    "webhooks of a shop": ["700", "5000"],
    "web analytics": ["0.1700000000"],
    "pages of audits": ["35", "600"],
    "a topic in envelopes": ["c0", "o0"],
    "a sheet saved as CSV": ["20260000"],
    "a web server's log in JSON": ["203.0.113.0", "/tea/0"],
    "a dump of documents": ["65f0aaaa0000000000000000", "65f0bbbb0000000000000000"],
    "a delivery stream": ["c0", "o0"],
}
BEGIN, END = "import flowdsl as fd\n", "result = fd.replay(flow, log)\nresult.report('report.html')\n"


@pytest.mark.parametrize("name", SCRIPTS)
def test_ten_lines_lead_from_a_file_to_a_report(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    prepare, middle, deliveries = SCRIPTS[name]
    script = BEGIN + middle.strip() + "\n" + END
    assert len(script.splitlines()) <= 10
    names: dict[str, Any] = {"data": prepare(tmp_path)}
    exec(script, names)
    assert len(names["result"]) == deliveries
    assert not len(names["result"].errors)
    assert not set(names["log"].problems["problem"]) - {"out of order"}
    assert "mail" in Path("report.html").read_text("utf-8")


@pytest.mark.filterwarnings("ignore::flowdsl.FlowWarning")
@pytest.mark.parametrize("name", SCRIPTS)
def test_a_guess_reads_it_without_being_told(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    prepare = SCRIPTS[name][0]
    source = prepare(tmp_path)
    # what is read once is kept by whoever reads it
    source = list(source) if name == "a generator of dicts" else source
    if source is None:
        names_there = sorted(path.name for path in tmp_path.iterdir())
        source = names_there[0] if len(names_there) == 1 else "audits-*.json"
    names: dict[str, Any] = {"fd": fd, "source": source}
    exec(fd.guess(source).code, names)
    assert names["log"].last_seq_no()
    [first, *_] = next(iter(names["log"].read())).select(["source_id", "target_id", "entity_id"]).to_pylist()
    assert name not in GUESSED or [one for one in first.values() if one] == GUESSED[name]
    assert not names["log"].problem_counts.get("broken")


def test_an_archive_of_an_hour_is_read_as_it_is_downloaded(tmp_path: Path):
    rows = [json.loads(line) for line in (SHAPES / "github.jsonl").read_text("utf-8").splitlines()]
    with zipfile.ZipFile(tmp_path / "hour.zip", "w") as archive:
        archive.writestr("2026-01-01-15.json", "\n".join(json.dumps(row) for row in rows * 200))
    log = fd.read_events(tmp_path / "hour.zip", shape="github", duplicates="drop")
    assert (log.last_seq_no(), log.problem_counts["duplicate"]) == (12, 1990)
