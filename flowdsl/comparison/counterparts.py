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
    """The events of one log: sequence numbers, and a hash of each that equals that of its counterpart."""

    def __init__(self, numbers: Ints, words: Ints) -> None:
        self._numbers = numbers
        self._words = words
        self._order = np.argsort(words)

    @classmethod
    def of(cls, source: EventSource, *, by_id: bool) -> Events:
        """Read the events of a log; of events with the same id or content, the hash includes the position."""
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
        """Return the hashes of the events with these sequence numbers."""
        at = np.searchsorted(self._numbers, numbers.to_numpy())
        return pl.Series(numbers.name, self._words.take(at, mode="clip"))

    def numbers(self, words: Ints) -> Ints:
        """Return the sequence numbers of the events with these hashes, `NOWHERE` if there is none."""
        if not len(self._words):
            return np.full(len(words), NOWHERE, np.int64)
        at = self._order.take(np.searchsorted(self._words, words, sorter=self._order), mode="clip")
        return np.where(self._words[at] == words, self._numbers[at], NOWHERE)


class OwnEvents(Events):
    """The events of a log that both sides ran over: sequence numbers take the place of hashes."""

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
        """Return the sequence numbers that events of a side (0 or 1) have in the log of the other side."""
        found = self.sides[1 - side].numbers(self.sides[side].words(numbers).to_numpy())
        return pl.Series(numbers.name, found)


def sides_of(logs: Counterparts | None) -> tuple[Events, Events]:
    """Return the events of both sides; `logs` is None if both ran over one log."""
    return logs.sides if logs is not None else (OwnEvents(), OwnEvents())


def counterparts(before: ResultData, after: ResultData) -> Counterparts | None:
    """Match the events of two results; return None if both ran over one log, where sequence numbers match.

    Results that were read back from files only know the sequence numbers, so they must be of one log.
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
    """Raise an error if the results are of two logs, whose events cannot be read; warn if it is unknown."""
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
    """Return True if events with deliveries on both sides have one sequence number, but different times or
    ids.
    """
    both = _read_deliveries(before).join(_read_deliveries(after), on="seq_no", suffix="_after")
    other_id = pl.col("event_id") != pl.col("event_id_after")
    return bool(both.select(((pl.col("event_time") != pl.col("event_time_after")) | other_id).any()).item())


def _read_deliveries(result: ResultData) -> pl.DataFrame:
    """Return the events that have deliveries: sequence number, id and time."""
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
    """Return True if two logs are one, or have the same events under the same sequence numbers."""
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
