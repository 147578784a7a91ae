"""Designs that users ask for: each in one flow, over a history whose result is worked out by hand."""

from __future__ import annotations

import datetime as dt

from designs import lacks, told

import flowdsl as fd
from flowdsl import entity_created, entity_updated, fn, link_created, link_deleted, on, var

NAMES = {"ann": "Ann", "bob": "Bob", "cem": "Cem", "dan": "Dan", "eve": "Eve", "fay": "Fay", "zoe": "Zoe"}
PEOPLE = {"user": {who: {"name": name} for who, name in NAMES.items()}}


def test_ann_bob_and_3_others():
    flow = (
        on("link.created", link_type="likes", name="likes")
        .resolve("target_id", via="owns", direction="reverse", as_="owner")
        .where(var.source_id != var.owner.id)
        .resolve("source_id", as_="fan")
        .batch("target_id", window="1h", collect={"fans": fn.unique(var.fan.name)})
        .map(
            recipient_id="{{ owner.id }}",
            title="{{ batch.fans | slice(end=2) | join(sep=', ') }}"
            "{% if batch.fans | length > 2 %} and {{ batch.fans | length - 2 }} others{% endif %}",
        )
        .deliver("push")
    )
    # ann likes p1 twice, and zoe her own post: five people within an hour of the first. bob at 10:00 is an hour after
    # it, and begins the next window
    likes = [
        ("09:00", "ann", "p1"),
        ("09:05", "bob", "p1"),
        ("09:10", "ann", "p1"),
        ("09:11", "zoe", "p1"),
        ("09:20", "cem", "p1"),
        ("09:25", "ann", "p2"),
        ("09:40", "dan", "p1"),
        ("09:59", "eve", "p1"),
        ("10:00", "bob", "p1"),
    ]
    history = [(f"01-05 {at}", link_created("likes", who, post)) for at, who, post in likes]
    assert told(flow, history, PEOPLE, [("zoe", "owns", "p1"), ("zoe", "owns", "p2")]) == [
        ("01-05 10:00", "push", "zoe", "Ann, Bob and 3 others"),
        ("01-05 10:25", "push", "zoe", "Ann"),
        ("01-05 11:00", "push", "zoe", "Bob"),
    ]
    assert lacks(flow) == ["production's batch has no option 'collect'"]


def test_mentions_in_a_post():
    flow = (
        on("entity.created", entity_type="post", name="mentions")
        .for_each("data.mentions", as_="who")
        .where("who != data.author")
        .map(recipient_id="{{ who }}", title="{{ data.author }} mentioned you in {{ data.title }}")
        .deliver("push")
    )
    history = [
        ("01-05 09:00", entity_created("post", "p1", {"author": "ann", "title": "Tea", "mentions": ["bob", "ann", "cem"]})),
        ("01-05 09:01", entity_created("post", "p2", {"author": "bob", "title": "Cups", "mentions": []})),
        ("01-05 09:02", entity_created("post", "p3", {"author": "cem", "title": "Moss"})),
        ("01-05 09:03", entity_created("post", "p4", {"author": "cem", "title": "Bread", "mentions": ["bob"]})),
    ]  # fmt: skip
    assert told(flow, history) == [
        ("01-05 09:00", "push", "bob", "ann mentioned you in Tea"),
        ("01-05 09:00", "push", "cem", "ann mentioned you in Tea"),
        ("01-05 09:03", "push", "bob", "cem mentioned you in Bread"),
    ]
    assert lacks(flow) == ["production has no operator 'for_each'"]


def test_quiet_hours_in_the_readers_zone():
    flow = (
        on("entity.created", entity_type="message", name="quiet")
        .resolve("data.to", as_="reader")
        .wait(hours="08:00-22:00", tz="reader.tz", default_tz="UTC")
        .map(recipient_id="{{ data.to }}", title="{{ entity_id }}")
        .deliver("push")
    )
    zones = {"ann": "Europe/Berlin", "bob": "America/New_York", "cem": "Asia/Kolkata", "dan": None}
    readers = {"user": {who: {"tz": zone} for who, zone in zones.items()}}
    # the clocks of Berlin went forward on 29 March at 01:00 UTC, so that eight o'clock is 06:00 UTC there from then on;
    # it is 12:00 UTC in New York, 02:30 UTC in Kolkata. What comes at 22:00 sharp waits
    history = [
        ("03-28 21:30", entity_created("message", "to-ann", {"to": "ann"})),  # 22:30 there
        ("03-28 21:30", entity_created("message", "to-bob", {"to": "bob"})),  # 17:30 there
        ("03-28 21:30", entity_created("message", "to-cem", {"to": "cem"})),  # 03:00 there
        ("03-28 22:00", entity_created("message", "to-dan", {"to": "dan"})),  # 22:00 there
        ("03-29 02:00", entity_created("message", "bob-again", {"to": "bob"})),  # 22:00 there
        ("03-29 19:59", entity_created("message", "ann-again", {"to": "ann"})),  # 21:59 there
    ]
    assert told(flow, history, readers) == [
        ("03-28 21:30", "push", "bob", "to-bob"),
        ("03-29 02:30", "push", "cem", "to-cem"),
        ("03-29 06:00", "push", "ann", "to-ann"),
        ("03-29 08:00", "push", "dan", "to-dan"),
        ("03-29 12:00", "push", "bob", "bob-again"),
        ("03-29 19:59", "push", "ann", "ann-again"),
    ]
    assert lacks(flow) == ["production has no operator 'wait'"]


def test_mondays_digest_at_nine():
    flow = (
        on("entity.created", entity_type="post", name="weekly")
        .fan_out("data.author", via="follows", direction="reverse", as_="reader")
        .batch("reader_id", every="week", on="mon", at="09:00", tz="reader.tz", collect={"posts": "entity_id"})
        .map(recipient_id="{{ reader_id }}", title="{{ batch.posts | first }} to {{ batch.posts | last }}")
        .deliver("mail")
    )  # fmt: skip
    readers = {"user": {"ann": {"tz": "Europe/Berlin"}, "bob": {"tz": "America/New_York"}}}
    # a post at noon (UTC) of every day, from Sunday, 1 March, to Sunday, 5 April
    first = dt.date(2026, 3, 1)
    days = [f"{first + dt.timedelta(n):%m-%d}" for n in range(36)]
    history = [(f"{day} 12:00", entity_created("post", day, {"author": "zoe"})) for day in days]
    links = [("ann", "follows", "zoe"), ("bob", "follows", "zoe")]
    # nine in Berlin is 08:00 UTC, and 07:00 in summer, from 29 March on: before noon, so the post of a Monday is in the
    # next week's. Nine in New York is 14:00 UTC, and 13:00 from 8 March on: after noon, so it is in that day's
    assert told(flow, history, readers, links) == [
        ("03-02 08:00", "mail", "ann", "03-01 to 03-01"),
        ("03-02 14:00", "mail", "bob", "03-01 to 03-02"),
        ("03-09 08:00", "mail", "ann", "03-02 to 03-08"),
        ("03-09 13:00", "mail", "bob", "03-03 to 03-09"),
        ("03-16 08:00", "mail", "ann", "03-09 to 03-15"),
        ("03-16 13:00", "mail", "bob", "03-10 to 03-16"),
        ("03-23 08:00", "mail", "ann", "03-16 to 03-22"),
        ("03-23 13:00", "mail", "bob", "03-17 to 03-23"),
        ("03-30 07:00", "mail", "ann", "03-23 to 03-29"),
        ("03-30 13:00", "mail", "bob", "03-24 to 03-30"),
        ("04-06 07:00", "mail", "ann", "03-30 to 04-05"),
        ("04-06 13:00", "mail", "bob", "03-31 to 04-05"),
    ]
    assert "production's batch has no option 'every', 'at', 'on' or 'tz'" in lacks(flow)


def test_no_more_than_three_a_day_over_all_flows():
    def flow(link_type: str) -> fd.Flow:
        return (
            on("link.created", link_type=link_type, name=link_type)
            .map(recipient_id="{{ target_id }}", title=f"{{{{ source_id }}}} {link_type} you")
            .deliver("push", "in-app")
        )

    flows = [
        flow("follows"),
        flow("likes"),
        on("entity.created", entity_type="message", name="messages")
        .wait("1h")
        .map(recipient_id="{{ data.to }}", title="{{ entity_id }}")
        .deliver("push"),
    ]
    # days are those of Berlin: 5 January is over at 23:00 UTC. The message of 09:30 comes fourth, at 10:30; what does not
    # count in push is in-app all the same
    history = [
        ("01-05 09:00", link_created("follows", "bob", "ann")),
        ("01-05 09:30", entity_created("message", "hello", {"to": "ann"})),
        ("01-05 10:00", link_created("likes", "bob", "ann")),
        ("01-05 10:00", link_created("likes", "bob", "cem")),
        ("01-05 10:15", link_created("likes", "cem", "ann")),
        ("01-05 22:59", link_created("likes", "dan", "ann")),
        ("01-05 23:00", link_created("likes", "eve", "ann")),
    ]
    out = told(flows, history, caps={"push": fd.Cap(3, per="day", tz="Europe/Berlin")})
    assert [one for one in out if one[1] == "push"] == [
        ("01-05 09:00", "push", "ann", "bob follows you"),
        ("01-05 10:00", "push", "ann", "bob likes you"),
        ("01-05 10:00", "push", "cem", "bob likes you"),
        ("01-05 10:15", "push", "ann", "cem likes you"),
        ("01-05 23:00", "push", "ann", "eve likes you"),
    ]
    assert [one[0] for one in out if one[1] == "in-app"] == [
        f"01-05 {at}" for at in ("09:00", "10:00", "10:00", "10:15", "22:59", "23:00")
    ]


def test_unless_she_blocked_him():
    flow = (
        on("link.created", link_type="messages", name="unless")
        .where("not linked(target_id, 'blocks', source_id)")
        .map(recipient_id="{{ target_id }}", title="{{ source_id }} wrote to you")
        .deliver("push")
    )
    # what counts is whom she blocks at that moment; that he blocks her is no matter
    history = [
        ("01-05 09:00", link_created("messages", "bob", "ann")),
        ("01-05 09:01", link_created("blocks", "ann", "bob")),
        ("01-05 09:02", link_created("messages", "bob", "ann")),
        ("01-05 09:03", link_created("messages", "cem", "ann")),
        ("01-05 09:04", link_deleted("blocks", "ann", "bob")),
        ("01-05 09:05", link_created("blocks", "bob", "ann")),
        ("01-05 09:06", link_created("messages", "bob", "ann")),
    ]
    assert told(flow, history) == [
        ("01-05 09:00", "push", "ann", "bob wrote to you"),
        ("01-05 09:03", "push", "ann", "cem wrote to you"),
        ("01-05 09:06", "push", "ann", "bob wrote to you"),
    ]
    [what] = lacks(flow)
    assert what.endswith("a condition there asks no graph, and there is no linked()")


def test_the_hundredth_like():
    flow = (
        on("link.created", link_type="likes", name="hundredth")
        .where("count_links(target_id, 'likes', direction='reverse') == 100")
        .map(recipient_id="zoe", title="the hundredth like of {{ target_id }}, by {{ source_id }}")
        .deliver("push")
    )
    # 97 likes at the beginning: 98, 99, one is taken back (98), 99, 100, 101, two are taken back (99), and 100 once more
    liked = [(f"fan-{n}", "likes", "p1") for n in range(97)]
    history = [
        ("01-05 09:00", link_created("likes", "ann", "p1")),
        ("01-05 09:01", link_created("likes", "bob", "p1")),
        ("01-05 09:02", link_deleted("likes", "ann", "p1")),
        ("01-05 09:03", link_created("likes", "cem", "p1")),
        ("01-05 09:04", link_created("likes", "ann", "p2")),
        ("01-05 09:05", link_created("likes", "dan", "p1")),
        ("01-05 09:06", link_created("likes", "eve", "p1")),
        ("01-05 09:07", link_deleted("likes", "eve", "p1")),
        ("01-05 09:08", link_deleted("likes", "dan", "p1")),
        ("01-05 09:09", link_created("likes", "fay", "p1")),
    ]
    assert told(flow, history, links=liked) == [
        ("01-05 09:05", "push", "zoe", "the hundredth like of p1, by dan"),
        ("01-05 09:09", "push", "zoe", "the hundredth like of p1, by fay"),
    ]
    once = (
        flow.deduplicate("target_id", window="520w")
        .map(recipient_id="zoe", title="{{ source_id }}")
        .deliver("mail")
    )
    assert [one for one in told(once, history, links=liked) if one[1] == "mail"] == [
        ("01-05 09:05", "mail", "zoe", "dan")
    ]
    [what] = lacks(flow)
    assert what.endswith("a condition there asks no graph, and there is no count_links()")


def test_only_what_an_edit_added():
    flow = (
        on("entity.updated", entity_type="post", name="added")
        .for_each("added(data.mentions)", as_="who")
        .map(recipient_id="{{ who }}", title="{{ entity_id }}")
        .deliver("push")
    )
    # bob was named from the beginning; he is taken out at 09:02, and added anew at 09:03. p2 was not there before
    history = [
        ("01-05 09:00", entity_created("post", "p1", {"mentions": ["bob"]})),
        ("01-05 09:01", entity_updated("post", "p1", {"mentions": ["cem", "bob", "dan"]})),
        ("01-05 09:02", entity_updated("post", "p1", {"mentions": ["dan"]})),
        ("01-05 09:03", entity_updated("post", "p1", {"mentions": ["dan", "bob"]})),
        ("01-05 09:04", entity_updated("post", "p2", {"mentions": ["ann"]})),
    ]
    assert told(flow, history) == [
        ("01-05 09:01", "push", "cem", "p1"),
        ("01-05 09:01", "push", "dan", "p1"),
        ("01-05 09:03", "push", "bob", "p1"),
        ("01-05 09:04", "push", "ann", "p2"),
    ]
    assert lacks(flow) == ["production has no operator 'for_each'"]


def test_if_still_unread_after_an_hour():
    flow = (
        on("entity.created", entity_type="message", name="unread")
        .map(recipient_id="{{ data.to }}", title="{{ entity_id }}")
        .deliver("in-app")
        .wait("1h")
        .where("not linked(data.to, 'read', entity_id)")
        .deliver("mail")
    )
    # m2 is read an hour later to the minute: a timer fires before the events of its moment
    history = [
        ("01-05 09:00", entity_created("message", "m1", {"to": "ann"})),
        ("01-05 09:10", entity_created("message", "m2", {"to": "ann"})),
        ("01-05 09:20", entity_created("message", "m3", {"to": "bob"})),
        ("01-05 09:59", link_created("read", "ann", "m1")),
        ("01-05 10:05", link_created("read", "ann", "m3")),
        ("01-05 10:10", link_created("read", "ann", "m2")),
    ]
    out = told(flow, history)
    assert [one for one in out if one[1] == "mail"] == [
        ("01-05 10:10", "mail", "ann", "m2"),
        ("01-05 10:20", "mail", "bob", "m3"),
    ]
    assert len(out) == 5
    assert lacks(flow)[0] == "production has no operator 'wait'"
    assert len(lacks(flow)) == 2


def test_one_event_is_told_plainly_and_several_as_a_digest():
    flow = (
        on("link.created", link_type="follows", name="followers")
        .batch("target_id", window="30m")
        .map(
            recipient_id="{{ target_id }}",
            title="{% if batch.count == 1 %}{{ source_id }} follows you"
            "{% else %}{{ batch.count }} people follow you{% endif %}",
        )
        .deliver("push")
    )
    follows = [
        ("09:00", "bob", "ann"),
        ("09:10", "cem", "ann"),
        ("09:20", "ann", "bob"),
        ("09:29", "dan", "ann"),
    ]
    history = [(f"01-05 {at}", link_created("follows", a, b)) for at, a, b in follows]
    assert told(flow, history) == [
        ("01-05 09:30", "push", "ann", "3 people follow you"),
        ("01-05 09:50", "push", "bob", "ann follows you"),
    ]
    # a batch there closes with the next event only: that is a finding, and no refusal
    assert lacks(flow) == []


def test_a_limit_for_each_person_counts_by_the_time_of_events():
    flow = (
        on("link.created", link_type="pokes", name="limit")
        .cap(2, per="1h", key="target_id")
        .map(recipient_id="{{ target_id }}", title="{{ source_id }}")
        .deliver("push")
    )
    # at 10:00 the poke of 09:00 is an hour ago, at 10:01 those of 09:30 and 10:00 are two
    pokes = [("09:00", "a"), ("09:30", "b"), ("09:59", "c"), ("10:00", "d"), ("10:01", "e"), ("10:30", "f")]
    history = [(f"01-05 {at}", link_created("pokes", who, "ann")) for at, who in pokes]
    assert [(at, who) for at, _, _, who in told(flow, history)] == [
        ("01-05 09:00", "a"),
        ("01-05 09:30", "b"),
        ("01-05 10:00", "d"),
        ("01-05 10:30", "f"),
    ]
    assert lacks(flow) == ["production has no operator 'cap'"]


def test_what_repeats_is_told_from_the_first_sighting_or_once_it_rests():
    alarms = on("entity.created", entity_type="alarm", name="alarms")
    ending = {"recipient_id": "on-call", "title": "{{ entity_id }}"}
    first = alarms.deduplicate("data.host", window="10m").map(ending).deliver("pager")
    resting = alarms.batch("data.host", quiet="10m").map(ending).deliver("pager")
    # six minutes apart: from the first sighting 09:00 and 09:12 go on; it never rests before 09:18
    history = [
        (f"01-05 09:{at}", entity_created("alarm", at, {"host": "web"})) for at in ("00", "06", "12", "18")
    ]
    assert told(first, history) == [
        ("01-05 09:00", "pager", "on-call", "00"),
        ("01-05 09:12", "pager", "on-call", "12"),
    ]
    assert told(resting, history) == [("01-05 09:28", "pager", "on-call", "18")]
    assert lacks(first) == []
    assert lacks(resting) == ["production's batch has no option 'quiet'"]
