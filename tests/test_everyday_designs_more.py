"""More everyday designs: of shops, teams, dates and incidents, with results worked out by hand."""

from __future__ import annotations

from designs import lacks, told

from flowdsl import entity_created, entity_deleted, entity_updated, link_created, link_deleted, on, var


def test_a_price_that_drops_by_a_tenth():
    flow = (
        on("entity.updated", entity_type="product", name="cheaper")
        .where("data.price <= before.price * 0.9")
        .fan_out("entity_id", via="watches", direction="reverse", as_="fan")
        .map(recipient_id="{{ fan_id }}", title="{{ before.price }} to {{ data.price }}")
        .deliver("push")
    )
    # 100 to 91 is 9 %, 91 to 81 is 11 %; 81 to 90 rises; 90 to 81 is a tenth exactly; a product that is new was no dearer
    prices = [("09:00", 91), ("09:01", 81), ("09:02", 90), ("09:03", 81)]
    history = [(f"01-05 {at}", entity_updated("product", "cup", {"price": price})) for at, price in prices]
    history += [("01-05 09:04", entity_updated("product", "pot", {"price": 1}))]
    watch = [("ann", "watches", "cup"), ("bob", "watches", "pot")]
    assert told(flow, history, {"product": {"cup": {"price": 100}}}, watch) == [
        ("01-05 09:01", "push", "ann", "91 to 81"),
        ("01-05 09:03", "push", "ann", "90 to 81"),
    ]
    assert lacks(flow)


def test_back_in_stock_for_those_who_wait():
    flow = (
        on("entity.updated", entity_type="product", name="back")
        .where("before.stock == 0 and data.stock > 0")
        .fan_out("entity_id", via="waits_for", direction="reverse", as_="buyer")
        .map(recipient_id="{{ buyer_id }}", title="{{ data.name }}")
        .deliver("push")
    )
    # an update says the stock only: the name is in it where updates are merged, which `data` is not: resolve it
    named = (
        on("entity.updated", entity_type="product", name="named")
        .where("before.stock == 0 and data.stock > 0")
        .resolve("entity_id", as_="product")
        .fan_out("entity_id", via="waits_for", direction="reverse", as_="buyer")
        .map(recipient_id="{{ buyer_id }}", title="{{ product.name }}")
        .deliver("push")
    )
    history = [
        ("01-05 09:00", entity_updated("product", "cup", {"stock": 0})),
        ("01-05 09:01", link_created("waits_for", "bob", "cup")),
        ("01-05 09:02", link_deleted("waits_for", "ann", "cup")),
        ("01-05 09:03", entity_updated("product", "cup", {"stock": 5})),
        ("01-05 09:04", entity_updated("product", "cup", {"stock": 4})),
    ]
    products, waiting = {"product": {"cup": {"name": "Cup", "stock": 0}}}, [("ann", "waits_for", "cup")]
    assert told(named, history, products, waiting, merge=["product"]) == [
        ("01-05 09:03", "push", "bob", "Cup")
    ]
    # `data.name` is missing, and its context fails
    assert told(flow, history, products, waiting, merge=["product"]) == []


def test_inactivity():
    flow = (
        on("link.created", link_type="visits", name="away")
        .batch("source_id", quiet="14d")
        .map(recipient_id="{{ source_id }}", title="since {{ batch.last_at }}")
        .deliver("mail")
    )
    # ann's visits are 13 and 15 days apart; bob came once; after 5 February nobody came until the end
    visits = [
        ("01-01 09:00", "ann"),
        ("01-02 09:00", "bob"),
        ("01-14 09:00", "ann"),
        ("01-29 09:00", "ann"),
        ("02-05 09:00", "cem"),
    ]
    history = [(at, link_created("visits", who, "site")) for at, who in visits]
    assert told(flow, history) == [
        ("01-16 09:00", "mail", "bob", "since 2026-01-02T09:00:00Z"),
        ("01-28 09:00", "mail", "ann", "since 2026-01-14T09:00:00Z"),
        ("02-12 09:00", "mail", "ann", "since 2026-01-29T09:00:00Z"),
        ("02-19 09:00", "mail", "cem", "since 2026-02-05T09:00:00Z"),
    ]
    assert lacks(flow) == [
        "production's batch has no option 'quiet'",
        "title: production's batch has no 'last_at'",
    ]


def test_birthdays_from_data_at_nine_where_she_lives():
    flow = (
        on("entity.created", entity_type="day", name="birthdays")
        .fan_out("data.date", via="born_on", direction="reverse", as_="who")
        .wait(until="09:00", tz="who.tz", default_tz="UTC")
        .map(recipient_id="{{ who_id }}", title="{{ who.name }}")
        .deliver("mail")
    )
    people = {
        "user": {"ann": {"name": "Ann", "tz": "Asia/Tokyo"}, "bob": {"name": "Bob"}, "cem": {"name": "Cem"}}
    }
    born = [("ann", "born_on", "03-01"), ("bob", "born_on", "03-01"), ("cem", "born_on", "02-29")]
    # 2026 has no 29 February: the day is never written. Nine in Tokyo is midnight
    days = ["02-27", "02-28", "03-01", "03-02"]
    history = [(f"{day} 00:00", entity_created("day", f"d{day}", {"date": day})) for day in days]
    assert told(flow, history, people, born) == [
        ("03-01 00:00", "mail", "ann", "Ann"),
        ("03-01 09:00", "mail", "bob", "Bob"),
    ]


def test_followers_of_tags():
    flow = (
        on("entity.created", entity_type="post", name="tags")
        .for_each("data.tags", as_="tag")
        .fan_out("tag", via="follows", direction="reverse", as_="reader")
        .deduplicate(["entity_id", "reader_id"], window="1d")
        .where("reader_id != data.author")
        .map(recipient_id="{{ reader_id }}", title="{{ entity_id }} in {{ tag }}")
        .deliver("feed")
    )
    follows = [("ann", "tea"), ("bob", "tea"), ("ann", "cups"), ("cem", "cups")]
    links = [(who, "follows", tag) for who, tag in follows]
    history = [
        ("01-05 09:00", entity_created("post", "p1", {"author": "bob", "tags": ["cups", "tea", "none"]})),
        ("01-05 09:01", entity_created("post", "p2", {"author": "bob", "tags": ["tea"]})),
        ("01-05 09:02", entity_created("post", "p3", {"author": "bob"})),
    ]
    assert told(flow, history, {}, links) == [
        ("01-05 09:00", "feed", "ann", "p1 in cups"),
        ("01-05 09:00", "feed", "cem", "p1 in cups"),
        ("01-05 09:01", "feed", "ann", "p2 in tea"),
    ]


def test_a_ticket_for_the_team_but_not_for_who_assigned_it():
    flow = (
        on("link.created", link_type="assigned_to", name="team")
        .resolve("source_id", as_="ticket")
        .fan_out("target_id", via="member_of", direction="reverse", as_="member")
        .where(var.member_id != var.metadata.by)
        .map(recipient_id="{{ member_id }}", title="{{ ticket.title }}")
        .deliver("in-app")
    )
    members = [("ann", "member_of", "red"), ("bob", "member_of", "red"), ("cem", "member_of", "blue")]
    tickets = {"ticket": {"t1": {"title": "No water"}, "t2": {"title": "No light"}}}
    history = [
        ("01-05 09:00", link_created("assigned_to", "t1", "red", metadata={"by": "ann"})),
        ("01-05 09:01", link_created("member_of", "cem", "red")),
        ("01-05 09:02", link_created("assigned_to", "t2", "red", metadata={"by": "dan"})),
        ("01-05 09:03", link_created("assigned_to", "t2", "green", metadata={"by": "dan"})),
    ]
    assert told(flow, history, tickets, members) == [
        ("01-05 09:00", "in-app", "bob", "No water"),
        ("01-05 09:02", "in-app", "ann", "No light"),
        ("01-05 09:02", "in-app", "bob", "No light"),
        ("01-05 09:02", "in-app", "cem", "No light"),
    ]
    assert lacks(flow) == []


def test_deadline_reminders():
    flow = (
        on("entity.created", entity_type="task", name="deadline")
        .wait("data.remind_in")
        .resolve("entity_id", as_="task", required=False)
        .where("exists(task) and task.done != true")
        .map(recipient_id="{{ data.who }}", title="{{ task.title }}")
        .deliver("push")
    )
    # t1 is renamed, t2 done, t3 given up, t4 says nothing of a reminder and fails
    history = [
        ("01-05 09:00", entity_created("task", "t1", {"who": "ann", "title": "Tax", "remind_in": "2d"})),
        ("01-05 09:00", entity_created("task", "t2", {"who": "ann", "title": "Rent", "remind_in": "1d"})),
        ("01-05 09:00", entity_created("task", "t3", {"who": "bob", "title": "Roof", "remind_in": "1d12h"})),
        ("01-05 09:00", entity_created("task", "t4", {"who": "bob", "title": "Gate"})),
        ("01-06 08:59", entity_updated("task", "t2", {"who": "ann", "title": "Rent", "done": True})),
        ("01-06 10:00", entity_updated("task", "t1", {"who": "ann", "title": "Taxes", "remind_in": "2d"})),
        ("01-06 10:00", entity_deleted("task", "t3")),
    ]
    assert told(flow, history) == [("01-07 09:00", "push", "ann", "Taxes")]


def test_the_first_post_of_a_new_user():
    flow = (
        on("link.created", link_type="wrote", name="first")
        .where("count_links(source_id, 'wrote') == 1")
        .fan_out("source_id", via="invited", direction="reverse", as_="host")
        .map(recipient_id="{{ host_id }}", title="{{ source_id }} wrote {{ target_id }}")
        .deliver("push")
    )
    # ann wrote before the log begins; cem was invited by nobody
    links = [("ann", "wrote", "p0"), ("ann", "invited", "bob"), ("zoe", "invited", "ann")]
    wrote = [("09:00", "ann", "p1"), ("09:01", "bob", "p2"), ("09:02", "bob", "p3"), ("09:03", "cem", "p4")]
    history = [(f"01-05 {at}", link_created("wrote", who, post)) for at, who, post in wrote]
    assert told(flow, history, {}, links) == [("01-05 09:01", "push", "ann", "bob wrote p2")]


def test_nothing_during_an_incident():
    flow = (
        on("entity.created", entity_type="order", name="survey")
        .wait("1h")
        .where("count_links(data.service, 'has_incident') == 0")
        .map(recipient_id="{{ data.who }}", title="how was it?")
        .deliver("mail")
    )
    # what counts is the hour at which it would be told: the incident lasts from 10:30 to 11:30
    orders = [("09:00", "ann"), ("09:45", "bob"), ("10:30", "cem"), ("10:31", "dan")]
    history = [
        (f"01-05 {at}", entity_created("order", f"o{at}", {"service": "shop", "who": who}))
        for at, who in orders
    ]
    history += [("01-05 11:30", link_deleted("has_incident", "shop", "i1"))]
    history.insert(2, ("01-05 10:30", link_created("has_incident", "shop", "i1")))
    # at 11:30 a timer fires before the event of that moment
    assert told(flow, history) == [
        ("01-05 10:00", "mail", "ann", "how was it?"),
        ("01-05 11:31", "mail", "dan", "how was it?"),
    ]
