"""Event tables for the engine: checked, ordered, numbered, in chunks, with constant memory."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from operator import itemgetter
from typing import TYPE_CHECKING, Final

import polars as pl

from flowdsl.errors import DataError
from flowdsl.events import EVENT_COLUMNS, JSON_COLUMNS
from flowdsl.log import document_paths
from flowdsl.log.columns import SCHEMA, TIME, SchemaCoercer, are_plain, asked_columns, present, row_in_python
from flowdsl.log.external_sort import POSITION, KeySample, SortedTable
from flowdsl.log.problems import OutOfOrder, Problem, RowProblems
from flowdsl.log.repeats import Repeated
from flowdsl.log.sources import (
    FileStretch,
    FrameTable,
    LazyTable,
    ParquetFiles,
    PlainFiles,
    RawTable,
    TableSlice,
)
from flowdsl.log.validation import bad_json, bad_rows, excerpt, faults, without_texts
from flowdsl.progress import Tick, track, wait_with_progress

if TYPE_CHECKING:
    import pandas as pd

    from flowdsl.log.pushdown import ScanFilter
    from flowdsl.log.scan_cache import ScanCache

_SCAN: Final = 1 << 20
READ: Final = 1 << 16


class EventTable:
    """Events of a table that flowdsl did not write.

    Rows that cannot be events are left out and counted in `broken`; `problems` names them. A table without
    `seq_no` is put in the order of (timestamp, position) and numbered 1, 2, 3 …; a row whose `data` or
    `metadata` is not JSON is an event without it, so that nothing depends on the columns asked for.
    """

    def __init__(self, raw: RawTable, scan_cache: ScanCache | None = None) -> None:
        self._raw = raw
        self.scan_cache = scan_cache
        self._shaper = SchemaCoercer()
        self._sorted: tuple[frozenset[str], SortedTable] | None = None
        self.broken = 0
        schemas = raw.schemas()
        for place, schema in schemas.items():
            self._shaper.admit(schema, place)
        numbered = {place: bool(present(["seq_no"], schema)) for place, schema in schemas.items()}
        self._numbered = any(numbered.values())
        if self._numbered and not all(numbered.values()):
            place = next(place for place, has in numbered.items() if not has)
            raise DataError(
                "no column 'seq_no', which other files have", place=place, hint="number all files or none"
            )

    @property
    def numbered_files(self) -> list[PlainFiles]:
        """The Parquet files, where their columns are of the plain types of an event table with `seq_no`, so
        that any reader of Parquet takes them as they are; else none.
        """
        if not isinstance(self._raw, ParquetFiles) or not self._numbered:
            return []
        plain = all(
            schema["timestamp"] in (TIME, pl.Datetime("ms", "UTC")) and are_plain(schema)
            for schema in self._raw.schemas().values()
        )
        return self._raw.group_alike() if plain else []

    @property
    def in_memory(self) -> bool:
        """True for a frame."""
        return isinstance(self._raw, FrameTable)

    def count(self) -> int | None:
        """Return the number of rows, broken ones included; None if unknown without reading."""
        return self._raw.count()

    def clock_marks(self) -> pl.DataFrame:
        """Return an empty table: only logs written by flowdsl have clock marks."""
        return marks_frame([])

    def ahead_marks(self) -> pl.DataFrame:
        """Return an empty table: only live runs mark events."""
        return marks_frame([])

    def chunks(
        self, columns: Collection[str], size: int, after: int = 0, interest: ScanFilter | None = None
    ) -> Iterator[pl.DataFrame]:
        """Yield frames of at most `size` events, ascending in `seq_no`, from the first after `after`.

        Each has `seq_no`, `timestamp`, `kind` and those of `columns` that are columns of an event table; and
        what an `interest` in documents asks for, to be taken off by `document_paths.take_off`.
        """
        names = asked_columns(columns, size, after)
        # small chunks are cut from larger pieces: each reading of a file has its price
        pieces = self._events(names, max(size, READ), after, interest)
        # a lazy frame may run Python code of the user's, which stays on the user's thread; what is the only
        # chunk is there before a thread would have begun
        alone = isinstance(self._raw, LazyTable) or (self.in_memory and (self.count() or 0) <= size)
        # a piece of a file may have several chunks, and many pieces may be one
        read = pieces if alone or self.in_memory else prefetch(pieces)
        events = merge_small(split(read, size), size)
        return events if alone else prefetch(events)

    def stretches(self, rows: int) -> list[FileStretch]:
        """Return numbered files cut into stretches of about so many rows; none where they do not tell which
        numbers they have.
        """
        return (
            self._raw.stretches(rows) if self.numbered_files and isinstance(self._raw, ParquetFiles) else []
        )

    def unordered_chunks(self, columns: Collection[str], size: int) -> Iterator[pl.DataFrame]:
        """Yield the events in chunks, in no other order than they have, and judge no text as JSON."""
        names = asked_columns(columns, size, 0)
        frames = (_with_all(frame, names) for frame, _ in self._good(names, max(size, READ), 0))
        return prefetch(merge_small(split(frames, size), size))

    @property
    def problems(self) -> pd.DataFrame:
        """One row for each row of the table that could not be read or is unusual; found by reading it once.

        `place` is the file, or "frame"; `row` counts from 0 there.
        """
        return self.all_problems.frame()

    @property
    def problem_counts(self) -> dict[str, int]:
        """Number of problems of each sort; exact even where `problems` is cut."""
        return dict(self.all_problems.counts)

    @cached_property
    def all_problems(self) -> RowProblems:
        """Return the problems before they become a table."""
        found, order, repeated = RowProblems(), OutOfOrder(), Repeated()
        with track(None, self.count(), "problems", "rows") as tick:
            for piece in self._raw.pieces(EVENT_COLUMNS, _SCAN // 8):
                self._look_at(piece, found, order, repeated)
                tick(piece.frame.height)
        return found

    def _look_at(self, piece: TableSlice, found: RowProblems, order: OutOfOrder, repeated: Repeated) -> None:
        shaped = self._shaper.shape(piece.frame, piece.place)
        reasons = faults(piece.frame, shaped, to_keep=False)
        late = set(order.rows(shaped[self._key]).tolist()) - reasons.keys()
        again = repeated.rows(shaped["event_id"]) if "event_id" in shaped.columns else {}
        problems: list[tuple[int, Problem, str]] = [(row, "broken", why) for row, why in reasons.items()]
        problems.extend((row, "out of order", f"{self._key} is less than one before it") for row in late)
        for row, name in again.items():
            if row not in reasons:
                problems.append((row, "duplicate", f"event_id {name!r} repeats an earlier one"))
        for row, problem, why in sorted(problems, key=itemgetter(0)):
            text = excerpt(row_in_python(piece.frame, row))
            found.add(piece.place, piece.row + row, problem, why, text)

    @property
    def _key(self) -> str:
        return "seq_no" if self._numbered else "timestamp"

    @cached_property
    def _order(self) -> KeySample | None:
        """Return None if the rows are in order, or else a sample to sort by."""
        order, sample, sorted_so_far = OutOfOrder(), KeySample(), True
        repeats = _Repeats()
        for piece in self._raw.pieces([self._key], _SCAN, judged=False):
            keys = self._shaper.shape(piece.frame, piece.place)[self._key].rechunk()
            sorted_so_far = not len(order.rows(keys)) and sorted_so_far
            sample.add(keys)
            if self._numbered and sorted_so_far:
                repeats.add(keys)
        if sorted_so_far:
            refuse_repeated(repeats.found)
        return None if sorted_so_far else sample

    def _events(
        self, names: list[str], size: int, after: int, interest: ScanFilter | None
    ) -> Iterator[pl.DataFrame]:
        self.broken = 0
        number = 0
        for frame in self._in_order(names, size, after):
            if not self._numbered:
                numbers = pl.int_range(number + 1, number + 1 + frame.height, dtype=pl.Int64, eager=True)
                number += frame.height
                frame = frame.with_columns(numbers.alias("seq_no"))
            if after:
                frame = frame.filter(pl.col("seq_no") > after)
            frame, read = self._without_bad_json(frame, interest)
            yield _with_all(frame, names, read)

    def _without_bad_json(
        self, frame: pl.DataFrame, interest: ScanFilter | None
    ) -> tuple[pl.DataFrame, list[pl.Series]]:
        """Return the frame without text that is not JSON, and what is read of the other documents.

        The event stays, for flows that do not read the text must not depend on flows that do.
        """
        if not any(name in frame.columns for name in JSON_COLUMNS):
            return frame, []
        read: list[pl.Series] = []
        if interest is None:
            wrong = bad_json(frame)
        else:
            frame = interest.readable(frame)
            triggered = interest.triggered(frame.columns)
            wrong, read = document_paths.check_documents(frame, interest.documents, triggered)
        if not wrong:
            return frame, read
        self.broken += len(set().union(*wrong.values()))
        return without_texts(frame, wrong), read

    def _in_order(self, names: list[str], size: int, after: int) -> Iterator[pl.DataFrame]:
        sample = self._order
        if sample is None:
            yield from (frame for frame, _ in self._good(names, size, after if self._numbered else 0))
            return
        asked = frozenset(names)
        if self._sorted is None or not asked <= self._sorted[0]:
            everything = asked | (self._sorted[0] if self._sorted else frozenset())
            self._sorted = None
            self._sorted = (everything, self._sort(sorted(everything), sample))
        yield from self._sorted[1].frames(names, size)

    def _sort(self, names: list[str], sample: KeySample) -> SortedTable:
        with_position = (
            _with_all(frame, names, [positions.alias(POSITION)])
            for frame, positions in self._good(names, _SCAN // 2, 0)
        )
        table = SortedTable(with_position, self._key, sample)
        if self._numbered:
            repeats = _Repeats()
            for frame in table.frames(["seq_no"], _SCAN):
                repeats.add(frame["seq_no"])
            refuse_repeated(repeats.found)
        return table

    def _good(self, names: list[str], size: int, after: int) -> Iterator[tuple[pl.DataFrame, pl.Series]]:
        """Yield the rows that can be events, unchanged, each with its position in the table.

        Of rows that are numbered and in order, those up to `after` may be left out.
        """
        begin = 0
        for piece in self._raw.pieces(names, size, after=after):
            shaped = self._shaper.shape(piece.frame, piece.place)
            positions = pl.int_range(begin, begin + shaped.height, dtype=pl.Int64, eager=True)
            begin += shaped.height
            bad = bad_rows(shaped, piece.sound)
            shaped = shaped[[name for name in names if name in shaped.columns]]
            if bad is not None:
                self.broken += int(bad.sum())
                shaped, positions = shaped.filter(~bad), positions.filter(~bad)
            yield shaped, positions


class _Repeats:
    """Finder of numbers that follow themselves, over pieces of ascending numbers; nulls are skipped."""

    def __init__(self) -> None:
        self.found: set[int] = set()
        self._last: int | None = None

    def add(self, numbers: pl.Series) -> None:
        """Take the next numbers."""
        there = (numbers.drop_nulls() if numbers.null_count() else numbers).to_numpy()
        if not len(there):
            return
        if there[0] == self._last:
            self.found.add(int(there[0]))
        again = there[1:] == there[:-1]
        if again.any():
            self.found.update(there[1:][again].tolist())
        self._last = int(there[-1])


def _with_all(frame: pl.DataFrame, names: Collection[str], more: Sequence[pl.Series] = ()) -> pl.DataFrame:
    """Return these columns, null where the table lacks one, and others."""
    absent = [name for name in names if name not in frame.columns]
    nulls = [pl.Series(name, [None], SCHEMA[name]).new_from_index(0, frame.height) for name in absent]
    whole = frame.hstack([*nulls, *more])
    return whole[[*names, *(series.name for series in more)]]


def marks_frame(marks: Sequence[tuple[int, int]]) -> pl.DataFrame:
    """Return a table of marks of (seq_no, clock in µs)."""
    numbers = pl.DataFrame(marks, schema={"seq_no": pl.Int64, "clock": pl.Int64}, orient="row")
    return numbers.cast({"clock": TIME})


def refuse_repeated(repeated: Iterable[int]) -> None:
    """Reject sequence numbers that occur more than once."""
    equal = set(repeated)
    if equal:
        some = ", ".join(map(str, sorted(equal)[:5]))
        more = f" and {len(equal) - 5} more" if len(equal) > 5 else ""
        raise DataError(
            f"seq_no occurs more than once: {some}{more}",
            hint="leave the column seq_no out, and events are numbered by (timestamp, position)",
        )


def split(frames: Iterator[pl.DataFrame], size: int) -> Iterator[pl.DataFrame]:
    """Split rows into frames of at most `size`."""
    for frame in frames:
        yield from (frame,) if frame.height <= size else frame.iter_slices(size)


def merge_small(frames: Iterator[pl.DataFrame], size: int) -> Iterator[pl.DataFrame]:
    """Merge small neighbouring frames of one schema, up to `size` rows; empty ones are dropped."""
    held: list[pl.DataFrame] = []
    rows = 0
    for frame in frames:
        if not frame.height:
            continue
        if held and (rows + frame.height > size or frame.schema != held[0].schema):
            yield pl.concat(held, rechunk=True) if len(held) > 1 else held[0]
            held, rows = [], 0
        held.append(frame)
        rows += frame.height
    if held:
        yield pl.concat(held, rechunk=True) if len(held) > 1 else held[0]


def report_rows(frames: Iterator[pl.DataFrame], tick: Tick) -> Iterator[pl.DataFrame]:
    """Yield the same frames; `tick` gets the height of each when the next one is requested."""
    for frame in frames:
        yield frame
        tick(frame.height)


def prefetch(frames: Iterator[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    """Yield the same frames while a thread reads the next one ahead."""
    with ThreadPoolExecutor(1, thread_name_prefix="flowdsl-read") as pool:
        track = pool.submit(next, frames, None)
        while (frame := wait_with_progress(track)) is not None:
            track = pool.submit(next, frames, None)
            yield frame
