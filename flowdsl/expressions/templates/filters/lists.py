"""Filters of arrays and objects."""

from __future__ import annotations

import struct
from typing import Any

from flowdsl.expressions.templates import rust_text
from flowdsl.expressions.templates.failures import RenderError, check_characters, check_items, values_in
from flowdsl.expressions.templates.filters.arguments import Arguments, list_of
from flowdsl.expressions.templates.filters.declaration import column_form, value_filter
from flowdsl.expressions.templates.value_paths import member
from flowdsl.expressions.templates.values import NOTHING, equal, format_value, is_i64, json_text, kind, number


@value_filter("first", result=None, column=column_form("first"))
def first(value: Any, args: Arguments) -> Any:
    """Return the first item, or an empty text."""
    items = list_of("first", value)
    return items[0] if items else ""


@value_filter("last", result=None, column=column_form("last"))
def last(value: Any, args: Arguments) -> Any:
    """Return the last item, or an empty text."""
    items = list_of("last", value)
    return items[-1] if items else ""


@value_filter("nth", "n", result=None)
def nth(value: Any, args: Arguments) -> Any:
    """Return item `n`, counted from 0, or an empty text."""
    items = list_of("nth", value)
    if not items:
        return ""
    n = args.size("n")
    return items[n] if n < len(items) else ""


def separator_of(args: Arguments) -> str:
    """Return what stands between the items that `join` joins."""
    return args.text("sep", "").replace("\\n", "\n").replace("\\t", "\t")


@value_filter("join", optional=("sep",), column=column_form("join"))
def join(value: Any, args: Arguments) -> str:
    """Join the items with `sep`."""
    items = list_of("join", value)
    separator = separator_of(args)
    texts: list[str] = []
    size = 0
    for item in items:
        texts.append(format_value(item))
        size += len(texts[-1]) + len(separator)
        check_characters(size - len(separator))
    return separator.join(texts)


@value_filter("sort", optional=("attribute",), result="array")
def sort(value: Any, args: Arguments) -> list[Any]:
    """Sort the items, or by `attribute`; all must have one type."""
    items = list_of("sort", value)
    if not items:
        return items
    attribute = args.text("attribute", "")
    keys = [member(item, attribute) for item in items]
    if any(key is NOTHING for key in keys):
        raise RenderError(f"`sort` finds no `{attribute}` in an item")
    wanted = kind(keys[0])
    if wanted in ("null", "an object"):
        raise RenderError(f"`sort` cannot order by {wanted}")
    for key in keys:
        if kind(key) != wanted:
            raise RenderError(f"`sort` cannot order {kind(key)} with {wanted}")
    order = sorted(range(len(items)), key=lambda at: _sort_key(keys[at]))
    return [items[at] for at in order]


def _sort_key(key: Any) -> Any:
    if isinstance(key, list):
        return len(key)
    found = number(key)
    if found is None:
        return key
    # as bits, which put -0 before 0
    bits: int = struct.unpack("<q", struct.pack("<d", float(found)))[0]
    return bits if bits >= 0 else bits ^ 0x7FFF_FFFF_FFFF_FFFF


@value_filter("unique", optional=("attribute", "case_sensitive"), result="array")
def unique(value: Any, args: Arguments) -> list[Any]:
    """Drop items that occurred before, compared by value or by `attribute`."""
    items = list_of("unique", value)
    if not items:
        return items
    exact, attribute = args.flag("case_sensitive"), args.text("attribute", "")
    lead = member(items[0], attribute)
    if lead is NOTHING:
        raise RenderError(f"`unique` finds no `{attribute}` in the first item")
    if kind(lead) in ("null", "an array", "an object") or isinstance(number(lead), float):
        raise RenderError(
            f"`unique` compares text, booleans and whole numbers, not {format_value(lead) or kind(lead)}"
        )
    kept: dict[Any, Any] = {}
    for item in items:
        key = member(item, attribute)
        if key is not NOTHING:
            _check_comparable(key, lead)
            mark = rust_text.lower(key) if isinstance(key, str) and not exact else key
            kept.setdefault(mark, item)
    return list(kept.values())


def _check_comparable(key: Any, lead: Any) -> None:
    if kind(key) != kind(lead):
        raise RenderError(f"`unique` cannot compare {kind(key)} with {kind(lead)}")
    found = number(key)
    if found is not None and not is_i64(found):
        raise RenderError("`unique` compares 64-bit integers only")


@value_filter("group_by", "attribute", result="object")
def group_by(value: Any, args: Arguments) -> dict[str, Any]:
    """Group the items by `attribute`; items without it are left out."""
    items = list_of("group_by", value)
    if not items:
        return {}
    attribute = args.text("attribute")
    groups: dict[str, Any] = {}
    for item in items:
        key = member(item, attribute)
        if key is not NOTHING and key is not None:
            groups.setdefault(key if isinstance(key, str) else json_text(key), []).append(item)
    return groups


@value_filter("filter", "attribute", optional=("value",), result="array")
def filter_items(value: Any, args: Arguments) -> list[Any]:
    """Keep the items whose `attribute` is `value`, or is not null if no `value` is given."""
    items = list_of("filter", value)
    if not items:
        return items
    attribute, wanted = args.text("attribute"), args.any("value")
    kept = []
    for item in items:
        found = member(item, attribute)
        found = None if found is NOTHING else found
        if (found is not None) if wanted is None else equal(found, wanted):
            kept.append(item)
    return kept


@value_filter("map", "attribute", result="array")
def map_items(value: Any, args: Arguments) -> list[Any]:
    """Return the `attribute` of each item that has one other than null."""
    items = list_of("map", value)
    if not items:
        return items
    found = [member(item, args.text("attribute")) for item in items]
    return [item for item in found if item is not NOTHING and item is not None]


@value_filter("slice", optional=("start", "end"), result="array")
def slice_items(value: Any, args: Arguments) -> list[Any]:
    """Return the items from `start` to `end` (excluded); negative numbers count from the end."""
    items = list_of("slice", value)
    if not items:
        return items
    start = _index(args.float("start", 0.0), len(items))
    end = _index(args.float("end", float(len(items))), len(items))
    return items[start : min(end, len(items))] if start < end else []


def _index(wanted: float, size: int) -> int:
    return int(min(wanted, size + 1.0)) if wanted >= 0 else int(max(0.0, size + wanted))


@value_filter("concat", "with", result="array")
def concat(value: Any, args: Arguments) -> list[Any]:
    """Append the items of `with`, or `with` itself if it is not an array."""
    items = list_of("concat", value)
    if "with" not in args:
        raise RenderError("`concat` needs the argument `with`")
    more = args.any("with")
    added = more if isinstance(more, list) else [more]
    check_items(len(items) + len(added))
    values_in(items + added)
    return items + added


@value_filter("get", "key", optional=("default",), result=None)
def get(value: Any, args: Arguments) -> Any:
    """Return member `key` of an object, or `default`."""
    key = args.text("key")
    if not isinstance(value, dict):
        raise RenderError(f"`get` takes an object, not {kind(value)}")
    if key in value:
        return value[key]
    if "default" in args:
        return args.any("default")
    raise RenderError(f"`get` finds no `{key}`")
