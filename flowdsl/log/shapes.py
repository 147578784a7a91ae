"""Shapes of common exports by name, and those that other packages add (`flowdsl.shapes`).

Each is a declaration after the public documentation of what writes it. Links go from who acts to what is
acted on; what happens once is an entity that is created, with the whole row as its data where a row is small.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final

from flowdsl.errors import DataError, did_you_mean
from flowdsl.events import json_text, json_value
from flowdsl.log.cloudevents import data_of
from flowdsl.log.origins import Origin, Row, literal
from flowdsl.log.shape import Shape
from flowdsl.registry import Registry
from flowdsl.text import short_repr, type_text


def _entity(
    entity_type: str, entity_id: Origin, data: Origin = dict, kind: str = "created"
) -> dict[str, Any]:
    return {
        "kind": f"entity.{kind}",
        "entity_type": literal(entity_type),
        "entity_id": entity_id,
        "data": data,
    }


def _link(link_type: str, kind: str = "created", **ends: Any) -> dict[str, Any]:
    return {"kind": f"link.{kind}", "link_type": literal(link_type), **ends}


def _row(*texts: str) -> Callable[[Row], dict[str, Any]]:
    """Return the origin of whole rows; tables of warehouses hold objects as text in columns that begin so."""

    def whole(row: Row) -> dict[str, Any]:
        return {name: _parse(value) if name.startswith(texts) else value for name, value in row.items()}

    return whole


def _parse(value: Any) -> Any:
    with suppress(ValueError, RecursionError):
        return json_value(value) if isinstance(value, str) and value[:1] in ("{", "[") else value
    return value


_ISSUE: Final = "{repo.name}#{payload.issue.number}"
_PULL_REQUEST: Final = "{repo.name}#{payload.pull_request.number}"
_GITHUB: Final = Shape(
    columns={
        "timestamp": "created_at",
        "event_id": "id",
        "kind": ["{type}.{payload.action}", "type"],
        "source_id": "actor.login",
        "target_id": "repo.name",
        "link_type": "type",
        "metadata": "payload",
    },
    kinds={"*": "link.created"},
    split={
        "WatchEvent": [_link("stars")],
        "WatchEvent.started": [_link("stars")],
        "ForkEvent": [_link("forks")],
        "ForkEvent.forked": [_link("forks")],
        "PushEvent": [_link("pushes")],
        "FollowEvent": [_link("follows", target_id="payload.target.login")],
        "MemberEvent.added": [_link("member_of", source_id="payload.member.login")],
        "IssuesEvent.opened": [_entity("issue", _ISSUE, "payload.issue"), _link("opens", target_id=_ISSUE)],
        "IssuesEvent.closed": [_link("closes", target_id=_ISSUE)],
        "IssueCommentEvent.created": [_link("comments", target_id=_ISSUE)],
        "PullRequestEvent.opened": [
            _entity("pull_request", _PULL_REQUEST, "payload.pull_request"),
            _link("opens", target_id=_PULL_REQUEST),
        ],
        "PullRequestEvent.closed": [_link("closes", target_id=_PULL_REQUEST)],
        "PullRequestEvent.merged": [_link("merges", target_id=_PULL_REQUEST)],
        "PullRequestReviewEvent.created": [_link("reviews", target_id=_PULL_REQUEST)],
        "PullRequestReviewCommentEvent.created": [_link("comments", target_id=_PULL_REQUEST)],
    },
    marks=("id", "type", "actor.login", "repo.name", "created_at"),
    summary="events of GitHub's API and of GH Archive",
)

_USER: Final = ("userId", "anonymousId")
_SEGMENT: Final = Shape(
    columns={
        "timestamp": ["timestamp", "originalTimestamp", "sentAt", "receivedAt"],
        "event_id": "messageId",
        "kind": "type",
        "entity_type": ["event", "type"],
        "entity_id": "messageId",
        "data": _row("context", "integrations", "properties", "traits"),
    },
    kinds={"track": "entity.created", "page": "entity.created", "screen": "entity.created"},
    split={
        "identify": [_entity("user", _USER, ["traits", literal({})], "updated")],
        "group": [
            _entity("group", "groupId", ["traits", literal({})], "updated"),
            _link("member_of", source_id=_USER, target_id="groupId"),
        ],
        "alias": [_link("alias", source_id="previousId", target_id="userId")],
        "merge": [_link("alias", source_id="mergeProperties.0.value", target_id="mergeProperties.1.value")],
    },
    time_zone="UTC",
    marks=("type", "messageId", _USER, ("originalTimestamp", "sentAt", "receivedAt")),
    summary="messages of Segment's spec: track, identify, group, page, screen, alias",
)

_POSTHOG: Final = Shape(
    columns={
        "timestamp": "timestamp",
        "event_id": ["uuid", "id"],
        "kind": "event",
        "entity_type": "event",
        "entity_id": ["uuid", "id"],
        "data": _row("properties", "person_properties", "person", "set", "set_once"),
    },
    kinds={"*": "entity.created"},
    split={
        "$identify": [_entity("user", "distinct_id", ["properties.$set", literal({})], "updated")],
        "$set": [_entity("user", "distinct_id", ["properties.$set", literal({})], "updated")],
        "$groupidentify": [
            _entity("group", "properties.$group_key", ["properties.$group_set", literal({})], "updated")
        ],
    },
    time_zone="UTC",
    marks=("event", "distinct_id", "properties", "timestamp", ("uuid", "id")),
    summary="events of PostHog's exports and API",
)

_AMPLITUDE: Final = Shape(
    columns={
        "timestamp": "event_time",
        "event_id": ["$insert_id", "uuid"],
        "kind": "event_type",
        "entity_type": "event_type",
        "entity_id": ["$insert_id", "uuid"],
        "data": _row("event_properties", "user_properties", "group_properties", "groups", "data", "plan"),
    },
    kinds={"*": "entity.created"},
    split={
        "$identify": [_entity("user", ("user_id", "device_id"), ["user_properties", literal({})], "updated")]
    },
    time_zone="UTC",
    marks=("event_type", "event_time", ("user_id", "device_id"), ("$insert_id", "uuid")),
    summary="events of Amplitude's export, also in its zip archive",
)

_MIXPANEL: Final = Shape(
    columns={
        "timestamp": ["properties.time", "time"],
        "event_id": ["properties.$insert_id", "insert_id"],
        "kind": literal("entity.created"),
        "entity_type": ["event", "event_name"],
        "entity_id": [
            "properties.$insert_id",
            "insert_id",
            "{properties.distinct_id}/{event}/{properties.time}",
        ],
        "data": _row("properties"),
    },
    time_zone="UTC",
    marks=(("event", "event_name"), ("properties.time", "time"), ("properties.distinct_id", "distinct_id")),
    summary="events of Mixpanel's export and import, and of its pipelines to warehouses",
)

# the columns of an enriched event in its tab-separated form
_ENRICHED: Final = (
    "app_id platform etl_tstamp collector_tstamp dvce_created_tstamp event event_id txn_id name_tracker "
    "v_tracker v_collector v_etl user_id user_ipaddress user_fingerprint domain_userid "
    "domain_sessionidx network_userid geo_country geo_region geo_city geo_zipcode geo_latitude "
    "geo_longitude geo_region_name ip_isp ip_organization ip_domain ip_netspeed page_url page_title "
    "page_referrer page_urlscheme page_urlhost page_urlport page_urlpath page_urlquery page_urlfragment "
    "refr_urlscheme refr_urlhost refr_urlport refr_urlpath refr_urlquery refr_urlfragment refr_medium "
    "refr_source refr_term mkt_medium mkt_source mkt_term mkt_content mkt_campaign contexts se_category "
    "se_action se_label se_property se_value unstruct_event tr_orderid tr_affiliation tr_total tr_tax "
    "tr_shipping tr_city tr_state tr_country ti_orderid ti_sku ti_name ti_category ti_price ti_quantity "
    "pp_xoffset_min pp_xoffset_max pp_yoffset_min pp_yoffset_max useragent br_name br_family br_version "
    "br_type br_renderengine br_lang br_features_pdf br_features_flash br_features_java "
    "br_features_director br_features_quicktime br_features_realplayer br_features_windowsmedia "
    "br_features_gears br_features_silverlight br_cookies br_colordepth br_viewwidth br_viewheight "
    "os_name os_family os_manufacturer os_timezone dvce_type dvce_ismobile dvce_screenwidth "
    "dvce_screenheight doc_charset doc_width doc_height tr_currency tr_total_base tr_tax_base "
    "tr_shipping_base ti_currency ti_price_base base_currency geo_timezone mkt_clickid mkt_network "
    "etl_tags dvce_sent_tstamp refr_domain_userid refr_dvce_tstamp derived_contexts domain_sessionid "
    "derived_tstamp event_vendor event_name event_format event_version event_fingerprint true_tstamp "
)

_SNOWPLOW: Final = Shape(
    columns={
        "timestamp": ["derived_tstamp", "collector_tstamp"],
        "event_id": "event_id",
        "kind": "event",
        "entity_type": ["event_name", "event"],
        "entity_id": "event_id",
        "data": _row("contexts", "unstruct_event", "derived_contexts"),
    },
    kinds={"page_ping": None, "*": "entity.created"},
    header=_ENRICHED.split(),
    time_zone="UTC",
    marks=("collector_tstamp", "event_id", "event", "app_id"),
    summary="enriched events of Snowplow, as JSON, tab-separated, or the table atomic.events; page pings are "
    "left out",
)


def _cloud_data(row: Row) -> Any:
    data = _parse(data_of(row))
    # text of another type than JSON
    return json_text(data, "data") if isinstance(data, str) else data


_CLOUDEVENTS: Final = Shape(
    columns={
        "timestamp": "time",
        "event_id": "{source} {id}",
        "kind": literal("entity.created"),
        "entity_type": "type",
        "entity_id": "{source} {id}",
        "data": _cloud_data,
    },
    marks=("specversion", "type", "source", "id"),
    summary="CloudEvents 1.0 of any type, structured or in batches; those of flowdsl's kinds need no shape",
)


def _in_payload(*paths: str) -> tuple[str, ...]:
    """Return paths in change records with and without Debezium's schema around them."""
    return tuple(f"{around}{path}" for path in paths for around in ("payload.", ""))


_DEBEZIUM: Final = Shape(
    columns={
        "timestamp": _in_payload("source.ts_ms", "ts_ms"),
        "kind": _in_payload("op"),
        "entity_type": _in_payload("source.table", "source.collection"),
        "entity_id": _in_payload(
            *(
                f"{row}.{key}"
                for key in ("id", "_id.$oid", "_id.$numberLong", "_id")
                for row in ("after", "before")
            )
        ),
        "data": _in_payload("after"),
    },
    kinds={
        "c": "entity.created",
        "r": "entity.created",
        "u": "entity.updated",
        "d": "entity.deleted",
        "t": None,
        "m": None,
    },
    time_unit="ms",
    marks=(_in_payload("op"), _in_payload("source.connector"), _in_payload("ts_ms", "source.ts_ms")),
    summary="change records of Debezium: a row of a table is an entity, known by its id or _id",
)

_RECORD: Final = "at://{did}/{commit.collection}/{commit.rkey}"
_WITH_AUTHOR: Final = {"did": "did", "record": "commit.record"}


def _jetstream_link(collection: str, link_type: str, target: str) -> dict[str, list[Any]]:
    return {
        f"{collection} create": [_link(link_type, source_id="did", target_id=target, link_id=_RECORD)],
        f"{collection} delete": [_link(link_type, "deleted", link_id=_RECORD)],
    }


_JETSTREAM: Final = Shape(
    columns={
        "timestamp": "time_us",
        "kind": ["{commit.collection} {commit.operation}", "{kind} {account.status}", "kind"],
    },
    kinds={"*": None},
    split={
        **_jetstream_link("app.bsky.feed.like", "likes", "commit.record.subject.uri"),
        **_jetstream_link("app.bsky.feed.repost", "reposts", "commit.record.subject.uri"),
        **_jetstream_link("app.bsky.graph.follow", "follows", "commit.record.subject"),
        **_jetstream_link("app.bsky.graph.block", "blocks", "commit.record.subject"),
        "app.bsky.feed.post create": [
            _entity("post", _RECORD, _WITH_AUTHOR),
            _link("replies", source_id="did", target_id="commit.record.reply.parent.uri"),
        ],
        "app.bsky.feed.post update": [_entity("post", _RECORD, _WITH_AUTHOR, "updated")],
        "app.bsky.feed.post delete": [_entity("post", _RECORD, literal(None), "deleted")],
        "app.bsky.actor.profile create": [_entity("user", "did", "commit.record", "updated")],
        "app.bsky.actor.profile update": [_entity("user", "did", "commit.record", "updated")],
        "identity": [_entity("user", "did", {"handle": "identity.handle"}, "updated")],
        "account deleted": [_entity("user", "did", literal(None), "deleted")],
    },
    time_unit="us",
    marks=("did", "time_us", "kind"),
    summary="Bluesky's Jetstream: likes, reposts, follows, blocks, posts and profiles",
)

_OBJECT: Final = ("object.id", "object")
_ACTIVITYSTREAMS: Final = Shape(
    columns={
        "timestamp": ["published", "updated", "object.published"],
        "event_id": "id",
        "kind": "type",
        "source_id": ["actor.id", "actor"],
        "target_id": _OBJECT,
    },
    kinds={"*": None},
    split={
        "Follow": [_link("follows", link_id="id")],
        "Like": [_link("likes", link_id="id")],
        "Announce": [_link("boosts", link_id="id")],
        "Block": [_link("blocks", link_id="id")],
        # an activity that is undone is known by its id
        "Undo": [{"kind": "link.deleted", "link_id": _OBJECT}],
        "Create": [_entity("object", _OBJECT, "object"), _link("creates")],
        "Update": [_entity("object", _OBJECT, "object", "updated")],
        "Delete": [_entity("object", _OBJECT, literal(None), "deleted")],
    },
    marks=("type", "actor", "object", "id"),
    summary="activities of ActivityStreams 2.0 (Mastodon and others); records='orderedItems' for an outbox",
)

_CHANNEL: Final = ("channel", "@folder")
_MEMBER: Final = ("user", "bot_id")
_MESSAGE: Final = ("{channel}/{ts}", "{@folder}/{ts}", "ts")
_POSTED: Final = [
    _entity("message", _MESSAGE),
    _link("posts", source_id=_MEMBER, target_id=_CHANNEL),
    _link("replies", source_id=_MEMBER, target_id="parent_user_id"),
]
_JOINED: Final = [_link("member_of", source_id=_MEMBER, target_id=_CHANNEL)]
_LEFT: Final = [_link("member_of", "deleted", source_id=_MEMBER, target_id=_CHANNEL)]
_SLACK: Final = Shape(
    columns={"timestamp": "ts", "event_id": _MESSAGE, "kind": ["subtype", "type"]},
    kinds={"*": None},
    split={
        **dict.fromkeys(("message", "thread_broadcast", "file_share", "me_message", "bot_message"), _POSTED),
        **dict.fromkeys(("channel_join", "group_join"), _JOINED),
        **dict.fromkeys(("channel_leave", "group_leave"), _LEFT),
    },
    time_unit="s",
    marks=("ts", "type", ("user", "bot_id")),
    files="*/*.json",
    summary="the export of a Slack workspace: its zip archive, or the folder with a folder for each channel",
)

_MOVIELENS: Final = Shape(
    columns={
        "timestamp": "timestamp",
        "kind": literal("link.created"),
        "link_type": literal("rates"),
        "source_id": ["userId", "user_id"],
        "target_id": ["movieId", "movie_id", "itemId", "item_id"],
        "metadata": {"rating": "rating"},
    },
    header=("userId", "movieId", "rating", "timestamp"),
    types={"rating": float},
    marks=(("userId", "user_id"), ("movieId", "movie_id", "itemId", "item_id"), "rating", "timestamp"),
    files="*rating*",
    summary="ratings as MovieLens has them: userId, movieId, rating, timestamp; also in its zip archive, and "
    "without a header",
)

_STACKEXCHANGE: Final = Shape(
    columns={"timestamp": ["CreationDate", "Date"], "event_id": "{@file} {Id}", "kind": "@file"},
    kinds={"*": None},
    split={
        "Users.xml": [_entity("user", "Id")],
        "Posts.xml": [
            _entity("post", "Id"),
            _link("posts", source_id="OwnerUserId", target_id="Id"),
            _link("answers", source_id="OwnerUserId", target_id="ParentId"),
        ],
        "Comments.xml": [_entity("comment", "Id"), _link("comments", source_id="UserId", target_id="PostId")],
        "Votes.xml": [_entity("vote", "Id")],
        "Badges.xml": [_link("earns", source_id="UserId", target_id="Name", link_id="Id")],
        "PostLinks.xml": [_link("links_to", source_id="PostId", target_id="RelatedPostId", link_id="Id")],
    },
    time_zone="UTC",
    marks=("Id", ("CreationDate", "Date")),
    files="*.xml",
    summary="the data dump of a Stack Exchange site: its XML files, one or a folder of them",
)

SHAPES: Final[Registry[Shape]] = Registry(
    "flowdsl.shapes",
    {
        "github": _GITHUB,
        "rudderstack": replace(
            _SEGMENT,
            marks=(*_SEGMENT.marks, "rudderId"),
            summary="messages of RudderStack, which are those of Segment's spec",
        ),
        "segment": _SEGMENT,
        "posthog": _POSTHOG,
        "amplitude": _AMPLITUDE,
        "mixpanel": _MIXPANEL,
        "snowplow": _SNOWPLOW,
        "cloudevents": _CLOUDEVENTS,
        "debezium": _DEBEZIUM,
        "jetstream": _JETSTREAM,
        "activitystreams": _ACTIVITYSTREAMS,
        "slack": _SLACK,
        "movielens": _MOVIELENS,
        "stackexchange": _STACKEXCHANGE,
    },
    lambda name, thing: None if isinstance(thing, Shape) else f"is {type_text(thing)}, and no Shape",
)
"""The shapes by name, in the order in which they are recognised."""


def shape_of(shape: object) -> Shape:
    """Return a shape by its name, one that is given as it is, and for None one that says nothing.

    >>> shape_of("segment").columns["kind"]
    'type'
    """
    if shape is None:
        return Shape()
    if isinstance(shape, Shape):
        return shape
    if isinstance(shape, str) and shape in SHAPES:
        return SHAPES[shape]
    raise DataError(
        f"shape={short_repr(shape, 60)}",
        allowed=", ".join(SHAPES) + ", or a flowdsl.Shape",
        hint=did_you_mean(shape, SHAPES) or "guess(source) looks at rows and proposes how to read them",
    )
