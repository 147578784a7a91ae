"""The same events in two logs: matched by id if both logs have ids, else by content (rule 31)."""

from __future__ import annotations

from itertools import zip_longest
from typing import Final

import numpy as np
import polars as pl

from flowdsl.errors import ReplayError, warn
from flowdsl.events import EVENT_COLUMNS
from flowdsl.log import EventSource
from flowdsl.log.event_ids import Occurrences, content_texts
from flowdsl.log.uuids import one_spelling
from flowdsl.log.wrapper import unwrap
from flowdsl.progress import heartbeat
from flowdsl.results.result_data import ResultData
from flowdsl.results.tables import sink_table
from flowdsl.sinks.frame import FIXED
from flowdsl.values.interner import hashes, pair_hash
from flowdsl.values.json_types import Ints
from flowdsl.values.masks import where_present

_READ: Final = 1 << 17
NOWHERE: Final = -1


class Events:
    """The events of one log: their numbers there, and the word of each in both logs."""

    def __init__(self, numbers: Ints, words: Ints) -> None:
        self._numbers = numbers
        self._words = words
        self._order = np.argsort(words)

    @classmethod
    def of(cls, source: EventSource, *, by_id: bool) -> Events:
        """Read the events of a log; those with one id, or with equal content, are numbered in their order."""
        numbers, words = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
        equal = Occurrences()
        for frame in source.chunks(EVENT_COLUMNS, _READ):
            texts = content_texts(frame)
            if by_id:
                ids = frame["event_id"]
                texts = pl.select(pl.coalesce(pl.lit("id ") + ids, texts)).to_series()
            nth = equal.nth(texts).astype(np.uint64)
            numbers.append(frame["seq_no"].to_numpy())
            words.append(pair_hash(pair_hash(*hashes([texts])[0]), nth).view(np.int64))
            heartbeat()
        return cls(np.concatenate(numbers), np.concatenate(words))

    def words(self, numbers: pl.Series) -> pl.Series:
        """Return the words of the events with these numbers."""
        at = np.searchsorted(self._numbers, numbers.to_numpy())
        return pl.Series(numbers.name, self._words.take(at, mode="clip"))

    def numbers(self, words: Ints) -> Ints:
        """Return the numbers of the events with these words, `NOWHERE` if there is none."""
        if not len(self._words):
            return np.full(len(words), NOWHERE, np.int64)
        at = self._order.take(np.searchsorted(self._words, words, sorter=self._order), mode="clip")
        return np.where(self._words[at] == words, self._numbers[at], NOWHERE)


class OwnEvents(Events):
    """The events of one log, both sides of which are of: the word of each is its number."""

    def __init__(self) -> None:
        super().__init__(np.zeros(0, np.int64), np.zeros(0, np.int64))

    def words(self, numbers: pl.Series) -> pl.Series:
        """Return the numbers themselves."""
        return numbers.cast(pl.Int64)


class Counterparts:
    """The matching events of two different logs."""

    def __init__(self, before: Events, after: Events) -> None:
        self.sides = (before, after)

    def other(self, side: int, numbers: pl.Series) -> pl.Series:
        """Return the numbers in the other log of events of one side (0 or 1)."""
        found = self.sides[1 - side].numbers(self.sides[side].words(numbers).to_numpy())
        return pl.Series(numbers.name, found)


def sides_of(logs: Counterparts | None) -> tuple[Events, Events]:
    """Return the events of both sides; None is one log."""
    return logs.sides if logs is not None else (OwnEvents(), OwnEvents())


def counterparts(before: ResultData, after: ResultData) -> Counterparts | None:
    """Match the events of two results; None if both ran over one log, so that their numbers match.

    Results read back from files know only the numbers of events: they must be of one log.
    """
    if before.options is None or after.options is None:
        _check_one_log(before, after)
        return None
    one, other = (unwrap(result.options.source) for result in (before, after) if result.options is not None)
    if _same(one, other):
        return None
    by_id = all(
        any(where_present(f["event_id"]).any() for f in s.chunks(("event_id",), _READ)) for s in (one, other)
    )
    return Counterparts(Events.of(one, by_id=by_id), Events.of(other, by_id=by_id))


def _check_one_log(before: ResultData, after: ResultData) -> None:
    """Raise if the results are of two logs whose events are not at hand, or warn if that is unknown."""
    one, other = (result.manifest["log"] for result in (before, after))
    begin = zip(before.manifest["beginning"], after.manifest["beginning"], strict=False)
    differ = any(None not in pair and pair[0] != pair[1] for pair in ((one, other), *begin))
    if differ or _delivered_by_others(before, after):
        raise ReplayError(
            "the results are of two logs,"
            " and a folder does not keep which event of one is which of the other",
            hint="replay both here, and compare what that gives",
        )
    # files and frames have no identity, but these facts show that they differ
    seen = [[result.manifest[name] for name in ("log", "events", "span")] for result in (before, after)]
    if None in (one, other) and seen[0] != seen[1]:
        warn(
            "a result that was read back does not say which events it is of: events are matched by number,"
            " which is right only where both were replayed over the same ones"
        )


def _delivered_by_others(before: ResultData, after: ResultData) -> bool:
    """Return True if something was delivered on both sides of events of one number that are not one event."""
    both = _read_deliveries(before).join(_read_deliveries(after), on="seq_no", suffix="_after")
    other_id = pl.col("event_id") != pl.col("event_id_after")
    return bool(both.select(((pl.col("event_time") != pl.col("event_time_after")) | other_id).any()).item())


def _read_deliveries(result: ResultData) -> pl.DataFrame:
    """Return what deliveries tell of their events: number, id and time."""
    columns = ("seq_no", "event_id", "event_time")
    frames = [
        sink_table(result.store, result.flows, sink, result.manifest["delivers"], columns)
        for sink in result.sinks
    ]
    if not frames:
        return pl.DataFrame(schema={name: FIXED[name] for name in columns})
    delivered = pl.concat(frames).select(columns).unique("seq_no")
    return delivered.with_columns(one_spelling(delivered["event_id"]))


def _same(one: EventSource, other: EventSource) -> bool:
    """Return whether two logs are one, or have the same events under the same numbers."""
    if one is other:
        return True
    identities = [getattr(source, "identity", None) for source in (one, other)]
    if identities[0] is not None and identities[0] == identities[1]:
        return True
    chunks = (source.chunks(EVENT_COLUMNS, _READ) for source in (one, other))
    for left, right in zip_longest(*chunks):
        if left is None or right is None or not left.equals(right):
            return False
        heartbeat()
    return True
