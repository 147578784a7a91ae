"""YAML nodes with their places; hostile documents are refused before they become expensive.

The events of the parser are put together here, not by a loader: so there is a place for every key and value,
scalars mean what YAML 1.2 says (`on` and `yes` are text), no tag can make an object, and depth, size and the
growth through aliases are counted as they come.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from flowdsl.errors import FlowError, LoadError
from flowdsl.production.parser import DEPTH, QUOTE_TEMPLATES, parse
from flowdsl.production.scalars import SCALAR_TAGS, TAG, plain_scalar, production_value
from flowdsl.text import short_repr, type_text, with_article

# values of a document, those that an alias repeats counted again
VALUES: Final = 250_000
# values of one flow
FLOW_VALUES: Final = 10_000
_PLAIN_TAGS: Final = "text, numbers, true, false, null, lists and mappings, without a tag"


_NOTHING: Final[Mapping[str, str]] = {}
# the value of an alias of a value that contains it; production finds out where it reads that, and not where
# it is ignored
ENDLESS: Final = object()
MOST: Final = 1_000


@dataclass(slots=True)
class Item:
    """Value of a document and its place: a scalar, a list of items, or a mapping from text to items.

    `keys` has the places of a mapping's keys; `size` counts the values in it, `height` how deep it goes.
    `written` is a scalar without quotes as written.

    Where production reads, `written` is the text of any scalar, `style` says how it is quoted (nothing: not
    at all), and `tag` what its tag is. `repeated` has the places of keys that occur again, `overwritten`
    their values but the last, which counts; `strange` is the place of a key that is not text. `odd` says why
    it cannot be a value.
    """

    value: Any
    place: str
    keys: Mapping[str, str] = field(default_factory=lambda: _NOTHING)
    size: int = 1
    height: int = 1
    written: str | None = None
    repeated: Mapping[str, str] = field(default_factory=lambda: _NOTHING)
    odd: str | None = None
    style: str = ""
    tag: str | None = None
    overwritten: Sequence[Item] = ()
    strange: str | None = None

    def plain(self) -> Any:
        """Return the value as built-in Python objects."""
        if isinstance(self.value, dict):
            return {key: item.plain() for key, item in self.value.items()}
        if isinstance(self.value, list):
            return [item.plain() for item in self.value]
        return None if self.value is ENDLESS else self.value

    def plain_others(self, known: Collection[str]) -> dict[str, Any]:
        """Return the values of a mapping under other keys than these, as plain Python objects."""
        others = self.value if isinstance(self.value, dict) else {}
        return {key: item.plain() for key, item in others.items() if key not in known}

    def leaves(self) -> Iterator[Item]:
        """Yield its scalars in the order of the text."""
        if isinstance(self.value, (dict, list)):
            for item in self.value.values() if isinstance(self.value, dict) else self.value:
                yield from item.leaves()
        else:
            yield self

    def lacking(self, required: Iterable[str]) -> list[str]:
        """Return the required keys of a mapping that are not given, or null."""
        return [key for key in required if key not in self.value or self.value[key].value is None]

    @property
    def shown(self) -> str:
        """The value as an error shows it; of a list or mapping its kind."""
        return self.kind if isinstance(self.value, (dict, list)) else repr(self.value)

    @property
    def kind(self) -> str:
        """Name of the kind of value."""
        if self.value is ENDLESS:
            return "an alias of a value that contains it"
        names = {dict: "a mapping", list: "a list", str: "text", bool: "true or false", int: "a whole number"}
        return names.get(type(self.value), "a number" if self.value is not None else "null")


def read_text(text: str, name: str, *, lenient: bool = False) -> tuple[Item, list[FlowError]]:
    """Return the document in a text, and the problems that did not prevent reading it.

    Raises `LoadError` where it cannot be read at all. `name` is what places begin with. `lenient` leaves it
    to the reader to reject keys that occur twice or are not text, and tags.
    """
    builder = _NodeBuilder(name, lenient=lenient)
    for event in parse(text, name, keep_mark=lenient):
        builder.take(event)
    if builder.root is None:
        raise LoadError(
            [FlowError("there is nothing in it", place=name, allowed="a project, a list of flows, or a flow")]
        )
    return builder.root, builder.problems


@dataclass
class _Open:
    """List or mapping whose end was not read yet."""

    item: Item
    anchor: str | None
    # those of the item
    keys: dict[str, str]
    repeated: dict[str, str]
    overwritten: list[Item]
    # the last key that was read, until its value comes
    key: str | None = None


class _NodeBuilder:
    """Builds a document from the parser's events."""

    def __init__(self, name: str, *, lenient: bool = False) -> None:
        self.root: Item | None = None
        self.problems = DocumentProblems()
        self._lenient = lenient
        self._name = name
        self._open: list[_Open] = []
        self._anchors: dict[str, Item | None] = {}
        self._values = 0

    def take(self, event: Any) -> None:
        """Process the next event."""
        kind = type(event).__name__
        place = f"{self._name}:{event.start_mark.line + 1}:{event.start_mark.column + 1}"
        if kind == "ScalarEvent":
            self._scalar(event, place)
        elif kind in ("SequenceStartEvent", "MappingStartEvent"):
            self._begin(event, place, [] if kind == "SequenceStartEvent" else {})
        elif kind in ("SequenceEndEvent", "MappingEndEvent"):
            done = self._open.pop()
            self._add(done.item, done.anchor)
        elif kind == "AliasEvent":
            self._alias(event.anchor, place)
        elif kind == "DocumentStartEvent" and self.root is not None:
            self._stop("there is a second document", place, hint="one file holds one document")

    def _begin(self, event: Any, place: str, value: list[Item] | dict[str, Item]) -> None:
        tag = event.tag
        known = tag in (None, "!", f"{TAG}seq" if isinstance(value, list) else f"{TAG}map")
        odd = self._strange_tag(tag) if self._lenient else None
        if not known and not self._lenient:
            self._refuse_tag(tag, place)
        if len(self._open) >= DEPTH:
            self._stop(f"it is nested more than {DEPTH} deep", place)
        if event.anchor is not None:
            # known from here on, and complete when it ends: what refers to it before holds itself
            self._anchors[event.anchor] = None
        keys: dict[str, str] = {}
        repeated: dict[str, str] = {}
        overwritten: list[Item] = []
        item = Item(value, place, keys, repeated=repeated, odd=odd, tag=tag, overwritten=overwritten)
        self._open.append(_Open(item, event.anchor, keys, repeated, overwritten))

    def _scalar(self, event: Any, place: str) -> None:
        text, tag, style = event.value, event.tag, event.style or ""
        if self._lenient:
            value, odd = production_value(text, tag, style)
            odd = self._strange_tag(tag) or odd
            item = Item(value, place, written=text, odd=odd, style=style, tag=tag)
        else:
            value = self._strict_value(text, tag, style, place)
            item = Item(value, place, written=None if style else text)
        self._add(item, event.anchor)

    def _strict_value(self, text: str, tag: str | None, style: str, place: str) -> Any:
        if tag is None:
            return text if style else plain_scalar(text)
        if tag not in SCALAR_TAGS:
            if tag not in ("!", f"{TAG}str"):
                self._refuse_tag(tag, place)
            return text
        value = plain_scalar(text)
        if tag == f"{TAG}float" and type(value) is int:
            value = float(value)
        if type(value) not in SCALAR_TAGS[tag]:
            self._mind(f"{short_repr(text)} is not {with_article(tag.rpartition(':')[2])}", place)
        return value

    def _alias(self, anchor: str, place: str) -> None:
        if anchor not in self._anchors:
            self._stop(
                f"*{anchor:.60} stands for nothing: there is no &{anchor:.60} before it",
                place,
                hint="text that begins with * goes in quotes",
            )
        target = self._anchors[anchor]
        if target is None and self._lenient:
            target = Item(ENDLESS, place, odd=f"*{anchor:.60} refers to a value that contains it")
        if target is None:
            self._stop(f"*{anchor:.60} refers to a value that contains it", place)
        assert target is not None
        self._add(replace(target, place=place), None)

    def _add(self, item: Item, anchor: str | None) -> None:
        if anchor is not None:
            self._anchors[anchor] = item
        self._values += 1
        self._check_size(max(self._values, item.size), item.place)
        if len(self._open) + item.height > DEPTH + 1:
            self._stop(f"it is nested more than {DEPTH} deep", item.place)
        if not self._open:
            self.root = item
            return
        around = self._open[-1]
        whole = around.item
        if isinstance(whole.value, dict) and around.key is None:
            self._add_key(around, item)
            return
        whole.size += item.size
        whole.height = max(whole.height, item.height + 1)
        if isinstance(whole.value, list):
            whole.value.append(item)
        else:
            self._add_value(around, whole.value, item)
        self._check_size(whole.size, item.place)

    def _add_value(self, around: _Open, values: dict[str, Item], item: Item) -> None:
        """Add the value of the last key.

        Of a key that occurs twice the first value counts, or the last one where production reads; a key that
        is not text counts not at all. Both are problems.
        """
        key, around.key = around.key, None
        if key not in around.keys:
            return
        if key not in values:
            values[key] = item
        elif self._lenient:
            around.overwritten.append(values[key])
            values[key] = item

    def _add_key(self, around: _Open, item: Item) -> None:
        key = item.written if self._lenient and item.written is not None else item.value
        if not isinstance(key, str):
            if self._lenient:
                around.item.strange = around.item.strange or item.place
            else:
                self._refuse_key(item)
            around.key = f"\0{item.place}"
            return
        around.key = key
        if key not in around.keys:
            around.keys[key] = item.place
        elif self._lenient:
            around.repeated[key] = item.place
        else:
            first = f"the first is at {around.keys[key]}"
            self._mind(f"the key {short_repr(key)} is given twice", item.place, hint=first)

    def _refuse_key(self, item: Item) -> None:
        shown, hint = "a key", QUOTE_TEMPLATES if _is_braced(item) else None
        if not isinstance(item.value, (dict, list)):
            shown, hint = f"the key {json.dumps(item.value)}", "put it in quotes"
        self._mind(f"{shown} is {item.kind}", item.place, allowed="text", hint=hint)

    def _check_size(self, values: int, place: str) -> None:
        if values > VALUES:
            self._stop(f"it holds more than {VALUES:,} values", place)

    def _refuse_tag(self, tag: str, place: str) -> None:
        shown = tag.replace(TAG, "!!")
        self._mind(f"the tag {shown:.80} is not allowed", place, allowed=_PLAIN_TAGS)

    def _strange_tag(self, tag: str | None) -> str | None:
        """Return why production rejects this tag: its own tags are variants, which plain values do not
        have.
        """
        return f"the tag {tag:.80} is not allowed" if tag is not None and tag.startswith("!") else None

    def _mind(self, what: str, place: str, allowed: str | None = None, hint: str | None = None) -> None:
        self.problems.append(FlowError(what, place=place, allowed=allowed, hint=hint))

    def _stop(self, what: str, place: str, hint: str | None = None) -> None:
        raise LoadError([*self.problems, FlowError(what, place=place, hint=hint)])


def _is_braced(key: Item) -> bool:
    """Return True for a key that comes from an unquoted `{{ name }}`: a mapping with one key and no value."""
    values = list(key.value.values()) if isinstance(key.value, dict) else []
    return len(values) == 1 and values[0].value is None


def too_large(flow: Item) -> str | None:
    """Return why a flow is too large to be read, if it is."""
    return None if flow.size <= FLOW_VALUES else f"a flow holds more than {FLOW_VALUES:,} values"


def read_mapping(value: Any, place: str = "") -> Item:
    """Convert Python lists and mappings to a document whose places are paths such as
    `events.flows[0].name`.
    """
    problems = DocumentProblems()
    item = _item(value, place, DEPTH, problems)
    if problems:
        raise LoadError(problems)
    return item


def _item(value: Any, place: str, deeper: int, problems: list[FlowError]) -> Item:
    here = place or "the document"
    if deeper < 0:
        raise LoadError([FlowError(f"it is nested more than {DEPTH} deep", place=here)])
    if isinstance(value, Mapping):
        return _mapping_item(value, place, deeper, problems)
    if isinstance(value, (list, tuple)):
        return Item([_item(v, f"{place}[{i}]", deeper - 1, problems) for i, v in enumerate(value)], here)
    return _scalar_item(value, here, problems)


def _mapping_item(value: Mapping[Any, Any], place: str, deeper: int, problems: list[FlowError]) -> Item:
    here = place or "the document"
    items: dict[str, Item] = {}
    for key, inner in value.items():
        if isinstance(key, str):
            items[key] = _item(inner, f"{place}.{key}" if place else key, deeper - 1, problems)
        else:
            problems.append(FlowError(f"the key {short_repr(key)} is not text", place=here))
    return Item(items, here, {key: item.place for key, item in items.items()})


def _scalar_item(value: Any, place: str, problems: list[FlowError]) -> Item:
    # text counts as quoted
    if isinstance(value, str):
        return Item(value, place, style='"')
    if value is not None and not isinstance(value, (bool, int, float)):
        problems.append(FlowError(f"there is {type_text(value)}", place=place, allowed=_PLAIN_TAGS))
    written = json.dumps(value, default=short_repr) if _can_be_written(value) else short_repr(value)
    return Item(value, place, written=written)


def _can_be_written(value: object) -> bool:
    """Return False for an integer of more digits than Python writes."""
    return not isinstance(value, int) or value.bit_length() < 1 << 13


class DocumentProblems(list[FlowError]):
    """List of problems; beyond the maximum, reading ends with a `LoadError` that has all so far."""

    def append(self, problem: FlowError) -> None:
        """Add a problem."""
        super().append(problem)
        if len(self) >= MOST:
            raise LoadError(
                [*self, FlowError(f"here reading ends, after {MOST:,} problems", place=problem.place)]
            )
