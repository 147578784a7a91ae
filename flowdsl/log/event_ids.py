"""Identities of events, the same wherever their deliveries go (rule 31).

An event of a log that flowdsl keeps is known by the identity of the log, its number and its time, and by its
`event_id` unless a window stands for several: time and id tell it from one that got the same number in a copy
of the log, or after a backup was brought back. An event
of files and frames is known by its `event_id`, and without one by all that it says and by which of several
equal ones it is; so it is the same in every file that has it.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import polars as pl

from flowdsl.events import EVENT_COLUMNS, JSON_COLUMNS
from flowdsl.log.nested_columns import as_json_text
from flowdsl.log.source import EventSource
from flowdsl.log.wrapper import Wrapped, unwrap
from flowdsl.values.interner import HashTable, hashes
from flowdsl.values.json_types import Ints
from flowdsl.values.masks import where_present
from flowdsl.values.orders import distinct

if TYPE_CHECKING:
    from flowdsl.log.pushdown import ScanFilter

EventName = tuple[str, int | None]
"""Identity of an event, and its time (µs) if that is part of it, else None."""
# part of the identity of an event with an id: a row that was split gives its id to several events
_ABOUT: Final = ("kind", "entity_type", "entity_id", "link_type", "link_id", "source_id", "target_id")
_SIZE: Final = 16
_READ: Final = 1 << 17
# numbers of first events whose digests identify a log
_FIRST: Final = (1, 4, 16, 64)


class LogNames:
    """Identities of the events of a log that has an identity itself."""

    def __init__(self, source: EventSource, identity: str) -> None:
        self.source = source
        self._identity = identity

    def note(self, events: pl.DataFrame) -> None:
        """Take the next events; their numbers suffice."""

    def catch_up(self, source: EventSource, position: int) -> None:
        """Do nothing: what comes before a run need not be read."""

    def leave(self, position: int, *, keep: bool) -> None:
        """Release events up to a number, or keep them for later requests."""

    def of(self, seqs: Ints, moments: Ints) -> list[EventName]:
        """Return the identities of the events with these numbers and times (µs)."""
        return [
            (f"{self._identity}/{n}/{at}", at) for n, at in zip(seqs.tolist(), moments.tolist(), strict=True)
        ]


class EventNames:
    """Identities of the events of files and frames, found as the events are read.

    Recent events are kept as text; of older ones, if they are kept, a digest of 16 bytes. About 40 bytes are
    kept for each event without an id, so that equal ones are distinguished.
    """

    def __init__(self, source: EventSource) -> None:
        self.source = _Noted(source, self)
        self._lock = threading.Lock()
        self._position = 0
        # recent events as text, older ones as digests; both ascending
        self._near: list[tuple[Ints, pl.Series]] = []
        self._far: list[tuple[Ints, bytes]] = []
        self._equal = Occurrences()

    def note(self, events: pl.DataFrame) -> None:
        """Take the next events, with all columns of an event table."""
        events = events.filter(pl.col("seq_no") > self._position)
        if not events.height:
            return
        with self._lock:
            texts = self._texts(events)
            self._near.append((events["seq_no"].to_numpy(), texts))
            self._position = int(events["seq_no"][-1])

    def catch_up(self, source: EventSource, position: int) -> None:
        """Read what comes before a run: the identity of equal events depends on their order."""
        if position <= self._position:
            return
        for frame in source.chunks(EVENT_COLUMNS, _READ, self._position):
            self.note(frame.filter(pl.col("seq_no") <= position))
            self.leave(position, keep=True)
            if int(frame["seq_no"][-1]) >= position:
                return

    def leave(self, position: int, *, keep: bool) -> None:
        """Release events up to a number, or keep them for later requests."""
        with self._lock:
            left = [part for part in self._near if part[0][-1] <= position]
            self._near = self._near[len(left) :]
            if keep:
                self._far += [(seqs, b"".join(map(_digest, texts.to_list()))) for seqs, texts in left]

    def of(self, seqs: Ints, moments: Ints) -> list[EventName]:
        """Return the identities of the events with these numbers; unread ones are identified by number and
        time (µs).
        """
        found: dict[int, str] = {}
        asked = distinct(seqs)
        with self._lock:
            parts: list[tuple[Ints, Any]] = [*self._near, *self._far]
        for numbers, names in parts:
            at = np.searchsorted(numbers, asked)
            hit = np.flatnonzero(numbers.take(at, mode="clip") == asked)
            for n, row in zip(asked[hit].tolist(), at[hit].tolist(), strict=True):
                named = (
                    names[row * _SIZE : row * _SIZE + _SIZE]
                    if isinstance(names, bytes)
                    else _digest(names[row])
                )
                found[n] = named.hex()
        return [
            (found.get(n) or f"{n}/{at}", None) for n, at in zip(seqs.tolist(), moments.tolist(), strict=True)
        ]

    def _texts(self, events: pl.DataFrame) -> pl.Series:
        """Return the text that identifies each event."""
        named = where_present(events["event_id"])
        texts = _together([_part(events["event_id"]), *_about(events)])
        rest = np.flatnonzero(~named)
        if not len(rest):
            return texts
        contents = content_texts(events[rest])
        nth = pl.Series(self._equal.nth(contents)).cast(pl.String)
        return texts.clone().scatter(rest, _together([contents, pl.lit("#"), nth]))


class Occurrences:
    """Counter of equal texts, with about 40 bytes for each distinct one."""

    def __init__(self) -> None:
        self._table = HashTable()
        self._counts = np.zeros(0, np.int64)

    def nth(self, texts: pl.Series) -> Ints:
        """Return for each text how many equal ones came before, here or in earlier calls.

        >>> Occurrences().nth(pl.Series(["a", "b", "a", "a"])).tolist()
        [0, 0, 1, 2]
        """
        before = len(self._table)
        codes = self._table.insert(*hashes([texts])[0])
        self._counts = np.concatenate([self._counts, np.zeros(len(self._table) - before, np.int64)])
        order = np.argsort(codes, kind="stable")
        grouped = codes[order]
        starts = np.flatnonzero(np.diff(grouped, prepend=-1))
        sizes = np.diff(np.append(starts, len(grouped)))
        nth = np.empty(len(codes), np.int64)
        nth[order] = np.arange(len(codes)) - np.repeat(starts, sizes)
        nth += self._counts[codes]
        self._counts[grouped[starts]] += sizes
        return nth


class ContentIds:
    """Ids of events that have none, made of their content, and of which of several equal ones each is: the
    same whenever a source, or one that has grown, is read.
    """

    def __init__(self) -> None:
        self._equal = Occurrences()

    def given(self, events: pl.DataFrame) -> pl.DataFrame:
        """Return events each of which has an id."""
        lacking = [name for name in (*_ABOUT, *JSON_COLUMNS, "event_id") if name not in events.columns]
        events = events.with_columns(pl.lit(None, pl.String).alias(name) for name in lacking)
        rest = events["event_id"].is_null().arg_true()
        if not len(rest):
            return events
        contents = content_texts(events[rest])
        nth = self._equal.nth(contents).tolist()
        ids = [_digest(f"{text}#{n}").hex() for text, n in zip(contents.to_list(), nth, strict=True)]
        return events.with_columns(events["event_id"].scatter(rest, pl.Series(ids, dtype=pl.String)))


def content_texts(events: pl.DataFrame) -> pl.Series:
    """Return the content of events without ids and numbers as text; equal content gives equal text."""
    whole = as_json_text(events)
    at = pl.Series("at", whole["timestamp"].to_physical()).cast(pl.String)
    return _together([*_about(whole), at, *(_part(_order(whole[name])) for name in JSON_COLUMNS)])


def beginning_of(source: EventSource) -> list[str]:
    """Return digests of the first event of a log, of the first few, and so on, with their ids."""
    contents: list[str] = []
    for frame in unwrap(source).chunks(EVENT_COLUMNS, _FIRST[-1]):
        some = frame.head(_FIRST[-1])
        contents = _together([content_texts(some), _part(some["event_id"])]).to_list()
        break
    return [_digest("\n".join(contents[:count])).hex() for count in _FIRST if count <= len(contents)]


class _Noted(Wrapped):
    """Source whose events get their identities as they are read."""

    def __init__(self, source: EventSource, names: EventNames) -> None:
        super().__init__(source)
        self._names = names

    def chunks(
        self, columns: Collection[str], size: int, after: int = 0, interest: ScanFilter | None = None
    ) -> Iterator[pl.DataFrame]:
        """Yield all events in chunks, with everything that identifies an event."""
        self._names.catch_up(self.source, after)
        for frame in self.source.chunks({*columns, *EVENT_COLUMNS}, size, after):
            self._names.note(frame)
            yield frame


Names = LogNames | EventNames


def names_of(source: EventSource) -> Names:
    """Return the identities of a source's events; read `names.source` in place of the source."""
    identity = getattr(source, "identity", None)
    return EventNames(source) if identity is None else LogNames(source, identity)


def _about(events: pl.DataFrame) -> list[pl.Series]:
    return [_part(events[name].cast(pl.String)) for name in _ABOUT]


def _together(parts: Sequence[pl.Series | pl.Expr]) -> pl.Series:
    return pl.select(pl.concat_str(parts).alias("text")).to_series()


def _part(texts: pl.Series) -> pl.Series:
    """Make texts that can be concatenated unambiguously."""
    lengths = texts.str.len_bytes().cast(pl.String)
    return pl.select(pl.concat_str([lengths, pl.lit(":"), texts]).fill_null("-")).to_series()


def _order(texts: pl.Series) -> pl.Series:
    """Return JSON texts without blanks and with sorted keys, so that equal values have equal texts."""
    return pl.Series(texts.name, [None if t is None else _plain_json(t) for t in texts.to_list()], pl.String)


def _plain_json(text: str) -> str:
    try:
        return json.dumps(json.loads(text), sort_keys=True, separators=(",", ":"))
    # whatever it is, it is the same in each file that has it
    except (ValueError, RecursionError):
        return text


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=_SIZE).digest()
