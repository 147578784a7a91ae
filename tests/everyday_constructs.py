"""Every construct of rules 22 to 30, as steps of a flow and of YAML, and a small history on which each does something."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import flowdsl as fd
from flowdsl import Flow, fn, on, var

LIKED, EDITED = (
    on("link.created", link_type="likes", name="f"),
    on("entity.updated", entity_type="post", name="f"),
)
LINK, POST = {"kind": "link.created", "link_type": "likes"}, {"kind": "entity.updated", "entity_type": "post"}
ENTITIES = {
    "user": {who: {"name": who.title(), "tz": "Asia/Kolkata"} for who in ("ann", "bob", "cem")},
    "post": {"p1": {"status": "draft", "tags": ["a"], "price": 10, "author": "ann"}},
}
LINKS = [{"link_type": "blocks", "source_id": "ann", "target_id": "cem", "metadata": {"why": "noise"}}]


@dataclass(frozen=True)
class Construct:
    """A construct as steps of a flow, and the same as steps of YAML."""

    flow: Flow
    trigger: dict[str, Any]
    yaml: list[dict[str, Any]]
    # the construct in the words of the refusal of export
    refused: str
    # the same written with other means
    other: Flow | None = None
    caps: dict[str, fd.Cap] = field(default_factory=dict)
    merge: tuple[str, ...] = ()


def where(condition: str, other: Any, refused: str, flow: Flow = LIKED) -> Construct:
    trigger = LINK if flow is LIKED else POST
    return Construct(
        flow.where(condition), trigger, [{"filter": {"condition": condition}}], refused, flow.where(other)
    )


CONSTRUCTS = {
    "for_each": Construct(
        EDITED.for_each("data.tags", as_="tag"),
        POST,
        [{"for_each": {"path": "data.tags", "as": "tag"}}],
        "'for_each'",
        EDITED.for_each(var.data.tags, as_="tag"),
    ),
    "for_each of what was added": Construct(
        EDITED.for_each("added(data.tags)", as_="tag"),
        POST,
        [{"for_each": {"path": "added(data.tags)", "as": "tag"}}],
        "'for_each'",
        EDITED.for_each(fn.added(var.data.tags), as_="tag"),
    ),
    "batch by two keys": Construct(
        LIKED.batch(["target_id", "source_id"], window="1h"),
        LINK,
        [{"batch": {"key": ["target_id", "source_id"], "window": "1h"}}],
        "one key",
        LIKED.batch([var.target_id, var.source_id], window=dt.timedelta(hours=1)),
    ),
    "batch with contents": Construct(
        LIKED.resolve("source_id", as_="fan").batch(
            "target_id", window="1h", collect={"names": "fan.name", "count_of": "unique(source_id)"}
        ),
        LINK,
        [
            {"resolve": {"from": "source_id", "as": "fan"}},
            {
                "batch": {
                    "key": "target_id",
                    "window": "1h",
                    "collect": {"names": "fan.name", "count_of": "unique(source_id)"},
                }
            },
        ],
        "'collect'",
        LIKED.resolve("source_id", as_="fan").batch(
            "target_id", window="1h", collect={"names": var.fan.name, "count_of": fn.unique(var.source_id)}
        ),
    ),
    "batch that fills": Construct(
        LIKED.batch("target_id", window="1h", max_count=2),
        LINK,
        [{"batch": {"key": "target_id", "window": "1h", "max_count": 2}}],
        "'max_count'",
    ),
    "batch that pauses": Construct(
        LIKED.batch("target_id", quiet="30m"),
        LINK,
        [{"batch": {"key": "target_id", "quiet": "30m"}}],
        "'quiet'",
    ),
    "batch by the calendar": Construct(
        LIKED.batch("target_id", every="week", on="mon", at="09:00", tz="Europe/Berlin"),
        LINK,
        [{"batch": {"key": "target_id", "every": "week", "on": "mon", "at": "09:00", "tz": "Europe/Berlin"}}],
        "'every'",
    ),
    "batch for as long as data say": Construct(
        LIKED.batch("target_id", window="metadata.delay"),
        LINK,
        [{"batch": {"key": "target_id", "window": "metadata.delay"}}],
        "one window",
        LIKED.batch("target_id", window=var.metadata.delay),
    ),
    "wait so long": Construct(LIKED.wait("1d"), LINK, [{"wait": {"duration": "1d"}}], "'wait'"),
    "wait until": Construct(
        LIKED.wait(until="09:00", on="mon", tz="Europe/Berlin"),
        LINK,
        [{"wait": {"until": "09:00", "on": "mon", "tz": "Europe/Berlin"}}],
        "'wait'",
    ),
    "wait for hours": Construct(
        LIKED.resolve("source_id", as_="fan").wait(hours="08:00-22:00", tz="fan.tz", default_tz="UTC"),
        LINK,
        [
            {"resolve": {"from": "source_id", "as": "fan"}},
            {"wait": {"hours": "08:00-22:00", "tz": "fan.tz", "default_tz": "UTC"}},
        ],
        "'wait'",
        LIKED.resolve("source_id", as_="fan").wait(hours="08:00-22:00", tz=var.fan.tz, default_tz="UTC"),
    ),
    "wait, or drop outside of hours": Construct(
        LIKED.wait(hours="08:00-22:00", outside="drop"),
        LINK,
        [{"wait": {"hours": "08:00-22:00", "outside": "drop"}}],
        "'wait'",
    ),
    "cap": Construct(
        LIKED.cap(1, per="day", key="target_id", tz="Europe/Berlin"),
        LINK,
        [{"cap": {"max": 1, "per": "day", "key": "target_id", "tz": "Europe/Berlin"}}],
        "'cap'",
        LIKED.cap(1, per="day", key=var.target_id, tz="Europe/Berlin"),
    ),
    "cap of a stretch": Construct(LIKED.cap(1, per="1h"), LINK, [{"cap": {"max": 1, "per": "1h"}}], "'cap'"),
    "cap of a sink": Construct(LIKED, LINK, [], "caps of sinks", caps={"push": fd.Cap(1, per="day")}),
    "linked": where(
        'not linked("ann", "blocks", source_id)',
        ~fn.linked("ann", "blocks", var.source_id),
        "there is no linked()",
    ),
    "count_links": where(
        'count_links(target_id, "likes", direction="reverse") == 2',
        fn.count_links(var.target_id, "likes", direction="reverse") == 2,
        "there is no count_links()",
    ),
    "first_link": where(
        'first_link("ann", "blocks").why == "noise"',
        fn.first_link("ann", "blocks").why == "noise",
        "there is no first_link()",
    ),
    "local time": where(
        'hour(event.timestamp, "Asia/Kolkata") >= 8 and minute(event.timestamp) < 59'
        ' and weekday(event.timestamp) <= 5 and date(event.timestamp) != "2026-01-02"',
        (fn.hour(var.event.timestamp, "Asia/Kolkata") >= 8)
        & (fn.minute(var.event.timestamp) < 59)
        & (fn.weekday(var.event.timestamp) <= 5)
        & (fn.date(var.event.timestamp) != "2026-01-02"),
        "there is no date()",
    ),
    "functions of values": where(
        'coalesce(metadata.app, "web") == trim(" web ") and abs(round(1.4)) == min(1, 2) and max(0, 1) == 1',
        (fn.coalesce(var.metadata.app, "web") == fn.trim(" web "))
        & (fn.abs(fn.round(1.4)) == fn.min(1, 2))
        & (fn.max(0, 1) == 1),
        "there is no coalesce()",
    ),
    "bucket": where(
        'bucket(source_id, 2, salt="spring") == 0',
        fn.bucket(var.source_id, 2, salt="spring") == 0,
        "there is no bucket()",
    ),
    "before": where(
        "before.price > data.price", var.before.price > var.data.price, "there is no '>'", EDITED
    ),
    "changed": where("changed(data.status)", fn.changed(var.data.status), "there is no changed()", EDITED),
    "added": where(
        "len(added(data.tags)) > 0", fn.len(fn.added(var.data.tags)) > 0, "there is no '>'", EDITED
    ),
    "merging updates": Construct(
        EDITED.resolve("entity_id", as_="post").where('post.author == "ann"'),
        POST,
        [
            {"resolve": {"from": "entity_id", "as": "post"}},
            {"filter": {"condition": 'post.author == "ann"'}},
        ],
        "replaces the whole entity",
        merge=("post",),
    ),
}
EVENTS = [
    ("05T03:00", fd.link_created("likes", "ann", "p1", metadata={"delay": "30m", "app": "web"})),
    ("05T03:10", fd.link_created("likes", "bob", "p1", metadata={"delay": "30m"})),
    ("05T03:20", fd.link_created("likes", "cem", "p1", metadata={"delay": "2h"})),
    ("05T09:30", fd.link_created("likes", "ann", "p2", metadata={"delay": "soon"})),
    ("05T10:00", fd.entity_updated("post", "p1", {"status": "live", "tags": ["a", "b"], "price": 8})),
    ("05T10:30", fd.entity_updated("post", "p1", {"status": "live", "tags": ["c", "b"], "price": 9})),
    ("06T03:00", fd.link_created("likes", "bob", "p1", metadata={"delay": "1m"})),
    ("14T03:00", fd.link_created("likes", "ann", "p1", metadata={"delay": "1m"})),
]
LOG = [
    {"id": f"e{number}", "seq_no": number, "timestamp": f"2026-01-{at}:00Z", "event": event}
    for number, (at, event) in enumerate(EVENTS, 1)
]


def finished(flow: Flow) -> Flow:
    return flow.map(recipient_id="ann", title="news").deliver("push")


def graph_of(one: Construct) -> fd.EntityGraph:
    return graph(one.merge)


@cache
def graph(merge: tuple[str, ...]) -> fd.EntityGraph:
    return fd.EntityGraph(ENTITIES, LINKS, merge=merge)


def replayed(one: Construct, **options: Any) -> fd.Result:
    return fd.replay(finished(one.flow), LOG, graph_of(one), caps=one.caps, **options)


@cache
def whole(name: str) -> fd.Result:
    return replayed(CONSTRUCTS[name])
