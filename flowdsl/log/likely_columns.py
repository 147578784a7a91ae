"""Columns that probably hold the ids of an event, or say what happened: found by their names and values."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from flowdsl.arguments import is_integer


def words(text: str, between: str = " ") -> tuple[str, ...]:
    """Return the words of a text."""
    return tuple(text.split(between))


# the values below each dotted path, nulls left out
Paths = Mapping[str, list[Any]]
# names of columns, the likeliest first
IDS: Final = words("event_id eventid uuid message_id messageid insert_id")
ACTIONS: Final = words(
    "event event_name event_type eventtype type kind action verb op operation activity topic detail_type name"
)
TYPES: Final = words("entity_type resource_type object_type item_type record_type model table_name table")
# who acts, and what is acted on
SOURCES: Final = words(
    "source_id source user_id userid user actor actor_id who customer_id customer author_id author "
    "follower_id follower from from_id sender_id sender member_id member visitor_id visitor subscriber_id "
    "account_id distinct_id anonymous_id user_pseudo_id person_id person profile_id client_id client "
    "reviewer_id user1 remote_addr remote_ip"
)
TARGETS: Final = words(
    "target_id target object_id object post_id post item_id item product_id product movie_id movieid "
    "page_id page repo_id repo repository video_id video song_id order_id article_id group_id channel "
    "channel_id followee_id followed_id to to_id recipient_id recipient asin parent_asin business_id book_id "
    "resource_id friend_id user2 subreddit "
    "url request_uri uri request path file_id file_path file filename"
)
# order_no is an id as order_id is
_NUMBERED: Final = re.compile(r"_(no|nr|num|number|code|key|uuid|guid)$")
# {"$oid": "…"}, as MongoDB exports ids; the dot of `No.` is none of a path
_TYPED: Final = re.compile(r"(\.\$\w+)+$|\.$|(?<=id)_str$")
# from this many rows on, a column with a single value does not distinguish rows
_CONSTANT: Final = 5


def word_of(path: str) -> str:
    """Return the last name of a path in small letters with underscores.

    >>> word_of("traits.userId"), word_of("author.$oid")
    ('user_id', 'author')
    """
    last = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", _TYPED.sub("", path).rpartition(".")[2])
    return re.sub(r"[^a-z0-9]+", "_", last.lower()).strip("_")


def subject_of(path: str) -> str:
    """Return what a path is an id of, or nothing.

    >>> subject_of("order_no"), subject_of("payload.order.id"), subject_of("id")
    ('order', 'order', '')
    """
    word = word_of(path)
    if word == "id" and "." in _TYPED.sub("", path):
        word = word_of(_TYPED.sub("", path).rpartition(".")[0])
    return _NUMBERED.sub("", word).removesuffix("id").strip("_")


def is_id(path: str) -> bool:
    """Return True for the name of an id.

    >>> is_id("Order No"), is_id("idVisit"), is_id("paid")
    (True, True, False)
    """
    return re.search(r"(^|_)id(_|$)", _NUMBERED.sub("_id", word_of(path))) is not None


def likeliest_path(paths: Paths, likely: Sequence[str], *, bare: bool = True) -> str | None:
    """Return the path with the likeliest name; of those with the same name the shallowest. With `bare`, a
    `song` is named as a `song_id` is.
    """
    order = {name: place for place, name in enumerate(likely)}
    scored = []
    for path, values in paths.items():
        names = [*_names_of(path), f"{word_of(path)}_id" if bare else ""]
        place = min((order[name] for name in names if name in order), default=None)
        if place is not None and are_ids(values):
            scored.append((is_constant(values), place, path.count("."), path))
    return min(scored)[3] if scored else None


def _names_of(path: str) -> list[str]:
    plain, last = _TYPED.sub("", path), word_of(path)
    # actor.id is named by what it is the id of
    above = word_of(plain.rpartition(".")[0]) if last == "id" and "." in plain else ""
    # song_no is named as song_id is
    apart = re.sub(r"(?<=[a-z]{4})id$", "_id", last)
    return [re.sub(r"[^a-z0-9]+", "_", plain.lower()), last, above, _NUMBERED.sub("_id", last), apart]


def other_id(paths: Paths) -> str | None:
    """Return a path that is an id by its name, though of nothing known: `id` before `ticket_id`, and before
    ids of parts.
    """
    found = [p for p, values in paths.items() if is_id(p) and are_ids(values) and not is_constant(values)]
    # those of parts lie deeper, and one that is new in each row is that of the row
    ordered = sorted(found, key=lambda path: (word_of(path) != "id", path.count("."), repeats(paths[path])))
    return next(iter(ordered), None)


def listed_targets(paths: Paths) -> str | None:
    """Return the path with the likeliest name among those that hold lists of ids."""
    lists = {
        path: [item for value in values for item in value]
        for path, values in paths.items()
        if values and all(isinstance(value, (list, tuple)) for value in values)
    }
    return likeliest_path(
        lists, (*TARGETS, *(f"{name}s" for name in TARGETS), "mentions", "followers", "members")
    )


def unique_id(paths: Paths) -> str | None:
    """Return the path of an `id` that no two rows share."""
    found = (path for path in paths if _TYPED.sub("", path) in ("id", "_id"))
    return next((path for path in found if are_ids(paths[path]) and not repeats(paths[path])), None)


def action_of(paths: Paths) -> str | None:
    """Return the column that says what happened: few different texts."""
    likely = {path: word_of(path) for path, values in paths.items() if "." not in path and _are_few(values)}
    for name in ACTIONS:
        for path, word in likely.items():
            # X-Shopify-Topic
            if word == name or (name == "topic" and word.endswith("_topic")):
                return path
    return None


def repeats(values: Sequence[Any]) -> bool:
    """Return True if a value occurs more than once."""
    return len(set(map(str, values))) < len(values)


def _are_few(values: Sequence[Any]) -> bool:
    texts = {value for value in values if isinstance(value, str)}
    return bool(texts) and len(texts) <= max(20, len(values) // 10)


def are_ids(values: Sequence[Any]) -> bool:
    """Return True if there are values, and each is text or a whole number."""
    return bool(values) and all(isinstance(value, str) or is_integer(value) for value in values)


def is_constant(values: Sequence[Any]) -> bool:
    """Return True if all values are the same, so that they do not distinguish rows."""
    return len(values) >= _CONSTANT and len(set(values)) == 1
