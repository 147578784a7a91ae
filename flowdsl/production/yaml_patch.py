"""Patch of YAML text where its value changes; every other byte is kept: comments, order, spelling, white
space.

The text is composed into nodes that know their places. Old and new value are compared from the top down,
and the smallest nodes that differ are written anew; where that cannot be, the next larger one is, up to a
whole flow, sink or test. What stands for a node in several places (an alias) is never touched.
"""

from __future__ import annotations

import difflib
import itertools
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flowdsl.production.emitter import block_lines, inline
from flowdsl.production.parser import PLAIN, compose, parse
from flowdsl.production.scalars import SCALAR_TAGS, plain_scalar


class PatchError(Exception):
    """Raised if the text cannot be patched."""


@dataclass(frozen=True)
class _Edit:
    """Replacement of the characters from `start` to `end` by `text`."""

    start: int
    end: int
    text: str


def splice(text: str, value: Any) -> str:
    """Return the text with the smallest change that makes its value `value`; raise `PatchError` if
    impossible.
    """
    splicer = _Splicer(text, compose(text))
    edits = _kept_apart(list(splicer.edits(value)), text)
    for before, after in itertools.pairwise(edits):
        if after.start < before.end:
            raise PatchError
    for edit in reversed(edits):
        text = text[: edit.start] + edit.text + text[edit.end :]
    return text


def as_written(text: str) -> Any:
    """Return the value of the text, every scalar in the form in which `splice` compares it."""
    root = compose(text)
    _shared_nodes(root)
    return _plain(root)


def without_aliases(text: str, key: str) -> str:
    r"""Write out what the aliases below a key of the document stand for; the anchors stay.

    Raises `PatchError` where the document has no such key, or an alias in its place.

    >>> without_aliases("a: &x [1, 2]\nb: {c: *x}\nd: *x", "b")
    'a: &x [1, 2]\nb: {c: [1, 2]}\nd: *x'
    """
    root = compose(text)
    shared = _shared_nodes(root)
    section = next((value for name, value in root.value if name.value == key), None)
    if section is None or id(section) in shared:
        raise PatchError
    span = range(section.start_mark.index, section.end_mark.index)
    for node, start, end in reversed(list(_aliases(text, root))):
        if start in span:
            text = text[:start] + inline(_plain(node)) + text[end:]
    return text


def _aliases(text: str, root: Any) -> Iterator[tuple[Any, int, int]]:
    """Yield for each alias the node that it stands for, and where it starts and ends."""
    nodes = {node.start_mark.index: node for node in _within(root)}
    anchors: dict[str, Any] = {}
    for event in parse(text, "text"):
        if type(event).__name__ == "AliasEvent":
            yield anchors[event.anchor], event.start_mark.index, event.end_mark.index
        elif getattr(event, "anchor", None) is not None:
            anchors[event.anchor] = nodes[event.start_mark.index]


def _kept_apart(edits: list[_Edit], text: str) -> list[_Edit]:
    """Return the edits in order; lines to be inserted below removed lines move up to what precedes those."""
    gone = [edit for edit in edits if not edit.text]
    apart = [_above(edit, gone, text) if edit.start == edit.end else edit for edit in edits]
    return sorted(apart, key=lambda edit: (edit.start, edit.end))


def _above(edit: _Edit, gone: list[_Edit], text: str) -> _Edit:
    at = edit.start
    while edit.text.startswith(("\r", "\n")):
        around = next((one for one in gone if one.start <= at < one.end), None)
        if around is None:
            break
        if around.start == 0:
            raise PatchError
        at = around.start - (2 if text[: around.start].endswith("\r\n") else 1)
    return _Edit(at, at, edit.text)


class _Splicer:
    def __init__(self, text: str, root: Any) -> None:
        self.text = text
        self.root = root
        self.newline = "\r\n" if "\r\n" in text else "\n"
        self.shared = _shared_nodes(root)

    def edits(self, value: Any) -> Iterator[_Edit]:
        """Return all edits."""
        return self._node(self.root, value, 0, inside=False, item=False)

    def _node(self, node: Any, value: Any, column: int, *, inside: bool, item: bool) -> Iterator[_Edit]:
        """Return the edits of a node.

        `column` is that of the key or dash before it, `inside` says whether braces hold it, `item`
        whether it is, or is in, an item of a list: only there it may be written anew as a whole.
        """
        old = _plain(node)
        if _same(old, value):
            return
        self._alone(node)
        try:
            yield from list(self._finer(node, old, value, column, inside=inside, item=item))
        except PatchError:
            if not item:
                raise
            yield self._replace(node, value, column, inside=inside)

    def _finer(
        self, node: Any, old: Any, value: Any, column: int, *, inside: bool, item: bool
    ) -> Iterator[_Edit]:
        inside = inside or (node.id != "scalar" and bool(node.flow_style))
        if isinstance(old, dict) and isinstance(value, Mapping) and set(old) & set(value):
            yield from self._mapping(node, value, inside=inside, item=item)
        elif isinstance(old, list) and isinstance(value, list) and old and value:
            yield from self._list(node, value, inside=inside)
        else:
            yield self._replace(node, value, column, inside=inside)

    def _mapping(self, node: Any, value: Mapping[str, Any], *, inside: bool, item: bool) -> Iterator[_Edit]:
        old = [key.value for key, _ in node.value]
        new = list(value)
        column = node.start_mark.column
        if old != new and inside:
            yield _Edit(node.start_mark.index, self._end(node), inline(value))
            return
        for tag, a, b, c, d in _operations(old, new):
            if tag == "equal":
                yield from self._values(node.value[a:b], value, inside=inside, item=item)
                continue
            for key, inner in node.value[a:b]:
                yield self._remove(key.start_mark.index, self._end(inner))
            if c < d:
                lines = block_lines({name: value[name] for name in new[c:d]})
                before = self._end(node.value[a - 1][1]) if a else None
                yield self._insert(node, before, list(lines), column)

    def _values(
        self, pairs: list[tuple[Any, Any]], value: Mapping[str, Any], *, inside: bool, item: bool
    ) -> Iterator[_Edit]:
        for key, inner in pairs:
            yield from self._node(inner, value[key.value], key.start_mark.column, inside=inside, item=item)

    def _list(self, node: Any, value: list[Any], *, inside: bool) -> Iterator[_Edit]:
        old, new = [_mark(_plain(item)) for item in node.value], [_mark(item) for item in value]
        if len(old) != len(new) and inside:
            yield _Edit(node.start_mark.index, self._end(node), inline(value))
            return
        column = node.start_mark.column
        for _, a, b, c, d in _operations(old, new):
            both = min(b - a, d - c)
            for item, inner in zip(node.value[a : a + both], value[c : c + both], strict=True):
                yield from self._node(item, inner, column, inside=inside, item=True)
            for item in node.value[a + both : b]:
                yield self._remove(self._dash(item, column), self._end(item))
            if c + both < d:
                last = a + both - 1
                before = self._end(node.value[last]) if last >= 0 else None
                yield self._insert(node, before, list(block_lines(value[c + both : d])), column)

    def _dash(self, item: Any, column: int) -> int:
        """Return the position of an item's dash."""
        self._alone(item)
        at = int(item.start_mark.index)
        while at > 0:
            at -= 1
            if self.text[at] == "-" and self._column(at) == column:
                return at
            if self.text[at] not in " -\r\n":
                break
        raise PatchError

    def _remove(self, start: int, end: int) -> _Edit:
        """Return the removal of whole lines, from the one a part starts on to its end."""
        begin = start - self._column(start)
        stop = self._line_end(end)
        if self.text[begin:start].strip() or not self._is_remark(end, stop):
            raise PatchError
        return _Edit(begin, min(stop + 1, len(self.text)), "")

    def _insert(self, node: Any, before: int | None, lines: list[str], column: int) -> _Edit:
        """Return the insertion of whole lines after the line of `before`, or above the first line of the
        node.
        """
        if before is not None:
            stop = self._line_end(before)
            if not self._is_remark(before, stop):
                raise PatchError
            at = stop - 1 if self.text[stop - 1 : stop + 1] == "\r\n" else stop
            return _Edit(at, at, self._lines_below(lines, column))
        start = node.start_mark.index
        begin = start - column
        if self.text[begin:start].strip():
            raise PatchError
        return _Edit(
            begin, begin, "".join(f"{line}{self.newline}" for line in self._at_column(lines, column))
        )

    def _replace(self, node: Any, value: Any, column: int, *, inside: bool) -> _Edit:
        start, end = node.start_mark.index, self._end(node)
        block = node.id != "scalar" and not node.flow_style
        lines = [inline(value)] if inside else list(block_lines(value))
        if len(lines) > 1 and not block and self.text[end : self._line_end(end)].strip():
            # a remark behind the value stays behind it
            lines = [inline(value)]
        if node.start_mark.index == node.end_mark.index:
            # there is nothing; its mark is where the next thing begins
            if self.text[end - 1] not in ":-":
                raise PatchError
            start, lines[0] = end, f" {lines[0]}"
        elif len(lines) > 1 and not block and not isinstance(value, str):
            # from one line to several: below the key
            below = self._lines_below(lines, column + 2)
            return _Edit(len(self.text[:start].rstrip()), end, below)
        first, *rest = lines
        return _Edit(start, end, first + self._lines_below(rest, node.start_mark.column if block else column))

    def _lines_below(self, lines: Sequence[str], column: int) -> str:
        return "".join(f"{self.newline}{line}" for line in self._at_column(lines, column))

    def _at_column(self, lines: Sequence[str], column: int) -> Iterator[str]:
        return (f"{' ' * column}{line}" if line else "" for line in lines)

    def _end(self, node: Any) -> int:
        """Return the end of a node's own text, without comments and blank lines below."""
        self._alone(node)
        start, end = int(node.start_mark.index), int(node.end_mark.index)
        if node.id == "scalar":
            return (
                len(self.text[:end].rstrip()) if start == end else start + len(self.text[start:end].rstrip())
            )
        if node.flow_style:
            return end
        last = node.value[-1]
        return self._end(last[1] if node.id == "mapping" else last)

    def _alone(self, node: Any) -> None:
        """Reject a node that occurs in several places, which a patch cannot tell apart."""
        if id(node) in self.shared:
            raise PatchError

    def _column(self, at: int) -> int:
        return at - (self.text.rfind("\n", 0, at) + 1)

    def _line_end(self, at: int) -> int:
        found = self.text.find("\n", at)
        return len(self.text) if found < 0 else found

    def _is_remark(self, start: int, end: int) -> bool:
        rest = self.text[start:end].strip()
        return not rest or rest.startswith("#")


def _operations(old: Sequence[Any], new: Sequence[Any]) -> Sequence[tuple[str, int, int, int, int]]:
    return difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes()


def _mark(item: Any) -> str:
    """Return what identifies an item of a list: the name of a flow or sink, or the whole item."""
    name = item.get("name") if isinstance(item, dict) else None
    return f"name {name}" if isinstance(name, str) else json.dumps(item)


def _same(old: Any, new: Any) -> bool:
    """Return True if two values are equal, with the same types and key order."""
    return old is new or json.dumps(old) == json.dumps(new)


def _within(node: Any) -> Iterator[Any]:
    yield node
    for inner in _children(node):
        yield from _within(inner)


def _children(node: Any) -> list[Any]:
    """Return the items of a list, or the keys and values of a mapping."""
    if node.id == "scalar":
        return []
    return node.value if node.id == "sequence" else list(itertools.chain.from_iterable(node.value))


def _check_ends(node: Any, around: frozenset[int]) -> None:
    """Reject a node that contains itself."""
    if id(node) in around:
        raise PatchError
    for inner in _children(node):
        _check_ends(inner, around | {id(node)})


def _shared_nodes(root: Any) -> set[int]:
    """Return the ids of the nodes that occur in several places."""
    _check_ends(root, frozenset())
    counts = Counter(map(id, _within(root)))
    return {node for node, count in counts.items() if count > 1}


def _plain(node: Any) -> Any:
    if node.id == "mapping":
        if any(key.id != "scalar" for key, _ in node.value):
            raise PatchError
        return {key.value: _plain(inner) for key, inner in node.value}
    if node.id == "sequence":
        return [_plain(item) for item in node.value]
    return plain_scalar(node.value) if node.tag == PLAIN or node.tag in SCALAR_TAGS else node.value
