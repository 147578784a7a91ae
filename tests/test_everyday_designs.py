"""Everyday designs of a product: each as one flow where it can be, over a history whose result is worked out by hand."""

from __future__ import annotations

import hashlib

from designs import lacks, told

import flowdsl as fd
from flowdsl import entity_created, entity_updated, fn, link_created, link_deleted, on, var


def test_a_welcome_series_with_a_check_after_a_day():
    flow = (
        on("entity.created", entity_type="user", name="welcome")
        .map(recipient_id="{{ entity_id }}", title="welcome")
        .deliver("mail")
        .wait("1d")
        .where("count_links(entity_id, 'follows') == 0")
        .map(recipient_id="{{ entity_id }}", title="whom do you know?")
        .deliver("mail")
        .wait("2d")
        .where("count_links(entity_id, 'follows') == 0")
        .map(recipient_id="{{ entity_id }}", title="here are five people")
        .deliver("mail")
    )
    # ann follows within the day, bob on the second day, cem never, dan follows and leaves again
    history = [
        ("01-05 09:00", entity_created("user", "ann", {})),
        ("01-05 10:00", entity_created("user", "bob", {})),
        ("01-05 11:00", entity_created("user", "cem", {})),
        ("01-05 12:00", entity_created("user", "dan", {})),
        ("01-05 13:00", link_created("follows", "ann", "bob")),
        ("01-05 13:00", link_created("follows", "dan", "bob")),
        ("01-06 11:59", link_deleted("follows", "dan", "bob")),
        ("01-07 09:00", link_created("follows", "bob", "ann")),
    ]
    out = told(flow, history)
    assert [one[2] for one in out if one[3] == "welcome"] == ["ann", "bob", "cem", "dan"]
    assert [one for one in out if one[3] != "welcome"] == [
        ("01-06 10:00", "mail", "bob", "whom do you know?"),
        ("01-06 11:00", "mail", "cem", "whom do you know?"),
        ("01-06 12:00", "mail", "dan", "whom do you know?"),
        ("01-08 11:00", "mail", "cem", "here are five people"),
        ("01-08 12:00", "mail", "dan", "here are five people"),
    ]
    assert lacks(flow)[0] == "production has no operator 'wait'"


def test_a_digest_of_orders_with_totals():
    flow = (
        on("entity.created", entity_type="order", name="orders")
        .batch(
            ["data.shop", "data.currency"],
            every="day",
            at="18:00",
            collect={
                "sum": fn.sum(var.data.cents),
                "most": fn.max(var.data.cents),
                "who": fn.unique(var.data.who),
            },
        )
        .map(
            recipient_id="{{ batch.key[0] }}",
            title="{{ batch.count }} in {{ batch.key[1] }}: {{ batch.sum }}, at most {{ batch.most }},"
            " by {{ batch.who | join(sep=', ') }}",
        )
        .deliver("mail")
    )
    # 0.1 + 0.2 in cents is exact; the order at 18:00 belongs to the next day; euros and pounds are apart
    orders = [
        ("01-05 09:00", "north", "EUR", 10, "ann"),
        ("01-05 10:00", "north", "EUR", 20, "bob"),
        ("01-05 11:00", "north", "GBP", 700, "ann"),
        ("01-05 12:00", "south", "EUR", 50, "cem"),
        ("01-05 17:59", "north", "EUR", 9_007_199_254_740_993, "ann"),
        ("01-05 18:00", "north", "EUR", 5, "dan"),
    ]
    history = [
        (at, entity_created("order", f"o{n}", {"shop": shop, "currency": money, "cents": cents, "who": who}))
        for n, (at, shop, money, cents, who) in enumerate(orders)
    ]
    assert told(flow, history) == [
        ("01-05 18:00", "mail", "north", "1 in GBP: 700, at most 700, by ann"),
        ("01-05 18:00", "mail", "south", "1 in EUR: 50, at most 50, by cem"),
        ("01-05 18:00", "mail", "north", "3 in EUR: 9007199254741023, at most 9007199254740993, by ann, bob"),
        ("01-06 18:00", "mail", "north", "1 in EUR: 5, at most 5, by dan"),
    ]
    assert "production's batch has no option 'collect'" in lacks(flow)


def test_replies_without_ones_own():
    flow = (
        on("entity.created", entity_type="reply", name="replies")
        .resolve("data.to", as_="comment")
        .where(var.data.author != var.comment.author)
        .map(recipient_id="{{ comment.author }}", title="{{ data.author }} replied")
        .deliver("in-app")
    )
    comments = {"comment": {"c1": {"author": "ann"}, "c2": {"author": "bob"}}}
    replies = [("09:00", "bob", "c1"), ("09:01", "ann", "c1"), ("09:02", "ann", "c2"), ("09:03", "bob", "c2")]
    history = [
        (f"01-05 {at}", entity_created("reply", f"r{at}", {"author": who, "to": to}))
        for at, who, to in replies
    ]
    assert told(flow, history, comments) == [
        ("01-05 09:00", "in-app", "ann", "bob replied"),
        ("01-05 09:02", "in-app", "bob", "ann replied"),
    ]
    assert lacks(flow) == []


def test_unless_muted_for_now():
    flow = (
        on("link.created", link_type="likes", name="muted")
        .resolve("target_id", via="owns", direction="reverse", as_="owner")
        .where(
            ~fn.linked(var.owner.id, "mutes", var.target_id)
            & ~fn.linked(var.owner.id, "mutes", var.source_id)
        )
        .map(recipient_id="{{ owner.id }}", title="{{ source_id }} likes {{ target_id }}")
        .deliver("push")
    )
    # a thread or a person may be muted
    history = [
        ("01-05 09:00", link_created("likes", "bob", "p1")),
        ("01-05 09:01", link_created("mutes", "ann", "p1")),
        ("01-05 09:02", link_created("likes", "cem", "p1")),
        ("01-05 09:03", link_created("likes", "cem", "p2")),
        ("01-05 09:04", link_created("mutes", "ann", "cem")),
        ("01-05 09:05", link_created("likes", "cem", "p2")),
        ("01-05 09:06", link_deleted("mutes", "ann", "p1")),
        ("01-05 09:07", link_created("likes", "dan", "p1")),
    ]
    assert told(flow, history, {"user": {"ann": {}}}, [("ann", "owns", "p1"), ("ann", "owns", "p2")]) == [
        ("01-05 09:00", "push", "ann", "bob likes p1"),
        ("01-05 09:03", "push", "ann", "cem likes p2"),
        ("01-05 09:07", "push", "ann", "dan likes p1"),
    ]
    assert lacks(flow)[0].endswith("a condition there asks no graph, and there is no linked()")


def test_mutual_follows():
    flow = (
        on("link.created", link_type="follows", name="mutual")
        .where("linked(target_id, 'follows', source_id)")
        .map(recipient_id="{{ target_id }}", title="you and {{ source_id }}")
        .deliver("push")
    )
    # ann left before bob followed her; she comes back, and he is there
    history = [
        ("01-05 09:00", link_created("follows", "ann", "bob")),
        ("01-05 09:01", link_created("follows", "cem", "bob")),
        ("01-05 09:02", link_deleted("follows", "ann", "bob")),
        ("01-05 09:03", link_created("follows", "bob", "ann")),
        ("01-05 09:04", link_created("follows", "bob", "cem")),
        ("01-05 09:05", link_created("follows", "ann", "bob")),
    ]
    assert told(flow, history) == [
        ("01-05 09:04", "push", "cem", "you and bob"),
        ("01-05 09:05", "push", "bob", "you and ann"),
    ]


def test_milestones():
    flow = (
        on("link.created", link_type="follows", name="milestones")
        .where("count_links(target_id, 'follows', direction='reverse') in [1, 3, 10]")
        .map(recipient_id="{{ target_id }}", n=fn.count_links(var.target_id, "follows", direction="reverse"))
        .deliver("in-app")
    )
    history = [(f"01-05 09:{n:02}", link_created("follows", f"fan-{n}", "ann")) for n in range(12)]
    assert told(flow, history) == [
        ("01-05 09:00", "in-app", "ann", {"n": 1}),
        ("01-05 09:02", "in-app", "ann", {"n": 3}),
        ("01-05 09:09", "in-app", "ann", {"n": 10}),
    ]


def test_quiet_hours_that_drop():
    flow = (
        on("entity.created", entity_type="offer", name="drop")
        .resolve("data.to", as_="reader")
        .wait(hours="20:00-02:00", tz="reader.tz", outside="drop")
        .map(recipient_id="{{ data.to }}", title="{{ entity_id }}")
        .deliver("push")
    )
    # from eight in the evening to two in the morning: in Kolkata from 14:30 to 20:30 UTC, the end excluded
    readers = {"user": {"ann": {"tz": "Asia/Kolkata"}}}
    times = ["14:29", "14:30", "18:30", "20:29", "20:30"]
    history = [(f"01-05 {at}", entity_created("offer", at, {"to": "ann"})) for at in times]
    assert [one[3] for one in told(flow, history, readers)] == ["14:30", "18:30", "20:29"]
    assert lacks(flow) == ["production has no operator 'wait'"]


def test_edits_once_they_rest():
    flow = (
        on("entity.updated", entity_type="page", name="rest")
        .batch("entity_id", quiet="10m", window="1h", collect={"first": fn.first(var.before.title)})
        .map(
            recipient_id="readers", title="{{ batch.first }} is now {{ data.title }} ({{ batch.closed_by }})"
        )
        .deliver("in-app")
    )
    # 09:00, :05, :10 rest at 09:20; from 10:00 on every nine minutes to 11:03: the hour ends first, and 11:03 is the
    # first of the next window
    edits = [("09:00", "a"), ("09:05", "b"), ("09:10", "c")]
    edits += [(f"10:{9 * n:02}", f"{n}") for n in range(7)] + [("11:03", "x")]
    history = [("01-05 08:00", entity_created("page", "p", {"title": "new"}))]
    history += [(f"01-05 {at}", entity_updated("page", "p", {"title": title})) for at, title in edits]
    assert told(flow, history) == [
        ("01-05 09:20", "in-app", "readers", "new is now c (quiet)"),
        ("01-05 11:00", "in-app", "readers", "c is now 6 (timer)"),
        ("01-05 11:13", "in-app", "readers", "6 is now x (end)"),
    ]


def test_a_split_that_any_system_can_compute():
    flow = (
        on("entity.created", entity_type="user", name="split")
        .map(recipient_id="{{ entity_id }}", variant=fn.bucket(var.entity_id, 3, salt="spring"))
        .deliver("mail")
    )
    people = [f"user-{n}" for n in range(12)]

    def group(who: str) -> int:
        return int.from_bytes(hashlib.sha256(f"spring\0{who}".encode()).digest()[:8]) % 3

    out = told(flow, [(f"01-05 09:{n:02}", entity_created("user", who, {})) for n, who in enumerate(people)])
    assert [(one[2], one[3]["variant"]) for one in out] == [(who, group(who)) for who in people]
    assert {one[3]["variant"] for one in out} == {0, 1, 2}


def test_a_channel_by_preference():
    message = on("entity.created", entity_type="message").resolve("data.to", as_="reader")
    text = {"recipient_id": "{{ data.to }}", "title": "{{ entity_id }}"}
    flows = [
        message.named(channel).where(f"reader.channel == '{channel}'").map(text).deliver(channel)
        for channel in ("mail", "push")
    ]
    flows.append(
        message.named("else").where("coalesce(reader.channel, 'none') == 'none'").map(text).deliver("in-app")
    )
    readers = {
        "user": {"ann": {"channel": "mail"}, "bob": {"channel": "push"}, "cem": {"channel": None}, "dan": {}}
    }
    # ann changes her mind
    history = [
        (f"01-05 09:0{n}", entity_created("message", f"m{n}", {"to": who}))
        for n, who in enumerate(readers["user"])
    ]
    history += [("01-05 09:10", entity_updated("user", "ann", {"channel": "push"}))]
    history += [("01-05 09:11", entity_created("message", "m9", {"to": "ann"}))]
    assert [one[1:3] for one in told(flows, history, readers)] == [
        ("mail", "ann"),
        ("push", "bob"),
        ("in-app", "cem"),
        ("in-app", "dan"),
        ("push", "ann"),
    ]
    assert lacks(flows[:2]) == []
    assert lacks(flows[2])[0].endswith("there is no coalesce()")


def test_a_digest_as_often_as_each_reader_wants():
    flow = (
        on("entity.created", entity_type="message", name="often")
        .resolve("data.to", as_="reader")
        .batch("data.to", window="reader.digest")
        .map(recipient_id="{{ data.to }}", title="{{ batch.count }}")
        .deliver("mail")
    )
    readers = {"user": {"ann": {"digest": "15m"}, "bob": {"digest": "1d"}, "cem": {"digest": "often"}}}
    # ann wants an hour from 09:20 on: the window that is open stays as long as it was
    times = [
        ("09:00", "ann"),
        ("09:00", "bob"),
        ("09:05", "cem"),
        ("09:14", "ann"),
        ("09:15", "ann"),
        ("09:40", "ann"),
    ]
    history = [
        (f"01-05 {at}", entity_created("message", f"m{n}", {"to": who})) for n, (at, who) in enumerate(times)
    ]
    history.insert(5, ("01-05 09:20", entity_updated("user", "ann", {"digest": "1h"})))
    assert told(flow, history, readers) == [
        ("01-05 09:15", "mail", "ann", "2"),
        ("01-05 09:30", "mail", "ann", "1"),
        ("01-05 10:40", "mail", "ann", "1"),
        ("01-06 09:00", "mail", "bob", "1"),
    ]


def test_a_feed_with_fan_out_and_one_without():
    post = on("entity.created", entity_type="post")
    flows = [
        post.named("pushed")
        .fan_out("data.author", via="follows", direction="reverse", as_="reader")
        .map(recipient_id="{{ reader_id }}", title="{{ entity_id }}")
        .deliver("feed"),
        post.named("pulled").map(recipient_id="{{ data.author }}", title="{{ entity_id }}").deliver("outbox"),
    ]
    # bob leaves after p1; followers come in the order in which they followed
    history = [
        ("01-05 09:00", link_created("follows", "cem", "ann")),
        ("01-05 09:01", link_created("follows", "bob", "ann")),
        ("01-05 09:02", entity_created("post", "p1", {"author": "ann"})),
        ("01-05 09:03", link_deleted("follows", "cem", "ann")),
        ("01-05 09:04", entity_created("post", "p2", {"author": "ann"})),
    ]
    assert [one[1:] for one in told(flows, history)] == [
        ("feed", "cem", "p1"),
        ("feed", "bob", "p1"),
        ("outbox", "ann", "p1"),
        ("feed", "bob", "p2"),
        ("outbox", "ann", "p2"),
    ]
    assert lacks(flows) == []


def test_counters():
    def counted(kind: str, operation: str) -> fd.Flow:
        return (
            on(kind, link_type="likes", name=operation)
            .map(entity_type="post", entity_id="{{ target_id }}", field="likes", operation=operation)
            .deliver("counters")
        )

    flows = [counted("link.created", "increment"), counted("link.deleted", "decrement")]
    changes = [
        ("c", "ann", "p1"),
        ("c", "bob", "p1"),
        ("c", "ann", "p2"),
        ("d", "ann", "p1"),
        ("c", "cem", "p1"),
    ]
    make = {"c": link_created, "d": link_deleted}
    history = [
        (f"01-05 09:0{n}", make[kind]("likes", who, post)) for n, (kind, who, post) in enumerate(changes)
    ]
    assert len(told(flows, history)) == 5
    counters = fd.sinks.Counter()
    log = [{"timestamp": f"2026-{at.replace(' ', 'T')}:00Z", "event": event} for at, event in history]
    fd.replay(flows, log, sinks={"counters": counters}, dispatch=True)
    # 1 + 1 - 1 + 1, and 1
    assert [counters.value("post", post, "likes") for post in ("p1", "p2")] == [2, 1]
    assert lacks(flows) == []


def test_webhooks_to_partners():
    flow = (
        on("entity.updated", entity_type="order", name="partners")
        .where("data.status == 'paid'")
        .fan_out("entity_id", via="fulfilled_by", as_="partner")
        .map(
            recipient_id="{{ partner_id }}",
            order="{{ entity_id }}",
            total=var.data.total,
            to="{{ partner.url }}",
        )
        .deliver("webhook")
    )
    partners = {
        "partner": {"north": {"url": "https://north.example"}, "south": {"url": "https://south.example"}}
    }
    links = [
        ("o1", "fulfilled_by", "north"),
        ("o1", "fulfilled_by", "south"),
        ("o2", "fulfilled_by", "south"),
    ]
    history = [
        ("01-05 09:00", entity_updated("order", "o1", {"status": "new", "total": 12.5})),
        ("01-05 09:01", entity_updated("order", "o1", {"status": "paid", "total": 12.5})),
        ("01-05 09:02", entity_updated("order", "o3", {"status": "paid", "total": 1})),
    ]
    assert told(flow, history, partners, links) == [
        ("01-05 09:01", "webhook", "north", {"order": "o1", "total": 12.5, "to": "https://north.example"}),
        ("01-05 09:01", "webhook", "south", {"order": "o1", "total": 12.5, "to": "https://south.example"}),
    ]
    assert lacks(flow) == ["total: data.total keeps its type, and production renders text only"]
