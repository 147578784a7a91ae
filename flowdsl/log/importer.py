"""Files and frames of other shapes as event logs: in memory by `read_events`, streamed into a folder by
`convert`.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import polars as pl

from flowdsl.arguments import mapping_of, one_of
from flowdsl.errors import DataError
from flowdsl.events import warned_once
from flowdsl.frames import FrameLike, rows_in
from flowdsl.log.base import EventLog
from flowdsl.log.columns import SCHEMA, SchemaCoercer, check_types
from flowdsl.log.duplicates import Duplicates, check_duplicates
from flowdsl.log.errors import reading
from flowdsl.log.formats import BLOCK, file_blocks, row_count, suffixes
from flowdsl.log.frames import polars_frame
from flowdsl.log.memory import MemoryEventLog
from flowdsl.log.nested_columns import as_json_text
from flowdsl.log.origins import Origin, Row, Split, parts_of
from flowdsl.log.parquet import ParquetEventLog
from flowdsl.log.problems import OutOfOrder, RowProblems
from flowdsl.log.repeats import Repeated
from flowdsl.log.row_mapper import ROW, RowShape, check_columns, excerpt_of, map_block, requests_of
from flowdsl.log.sources import ParquetFiles, files_of
from flowdsl.log.table import EventTable, refuse_repeated, told
from flowdsl.log.text_readers import TextBlock, with_objects
from flowdsl.log.timestamps import TimeUnit
from flowdsl.log.validation import faults, without
from flowdsl.paths import path_of
from flowdsl.progress import Progress, run_in_background, track
from flowdsl.text import short_repr

if TYPE_CHECKING:
    import pandas as pd

# which share of the work is reading; the rest is putting in order, or writing
_READING: Final = 0.7
Columns = Mapping[str, Origin]
Kinds = Mapping[str, str | None] | Callable[[Row], str | None]


TableLike: TypeAlias = "str | os.PathLike[str] | FrameLike | Iterable[Mapping[str, Any]]"


def read_events(
    source: TableLike,
    columns: Columns | None = None,
    kinds: Kinds | None = None,
    split: Split | None = None,
    *,
    time_unit: TimeUnit | None = None,
    time_format: str | Sequence[str] | None = None,
    duplicates: Duplicates = "keep",
    progress: Progress = None,
) -> MemoryEventLog:
    """Read events from a file, a glob of files, a frame or a list of mappings, whatever their shape.

    Events are in the order of `seq_no` if there is one, else of (timestamp, position), numbered from 1.

    Parameters
    ----------
    source
        A path or glob of JSON lines, CSV or Parquet files, a frame, or a list of mappings.
    columns
        The origin of each field of an event: a column, a dotted path (also into columns of JSON text),
        `literal(x)`, or a function of a row. Envelopes and events of production, CloudEvents 1.0 and event
        tables need none.
    kinds
        What the values of `kind` mean (None: leave the row out), or a function of a row.
    split
        Kinds that become several events: a list of kinds, or of mappings with a `kind` and the columns of
        that event alone. A row without its ids has no such event.
    time_unit
        `"s"`, `"ms"`, `"us"` or `"ns"`, for timestamps that are numbers.
    time_format
        One or more strptime formats, for timestamps that are not RFC 3339.
    duplicates
        `"drop"` leaves out rows whose event id was there before; `"keep"` only lists them in the problems.
    progress
        As in `replay`.

    Returns
    -------
    MemoryEventLog
        The events. Rows that cannot be read are in its `problems`, with file and line (JSON lines and CSV
        count from 1, other rows from 0).

    Raises
    ------
    DataError
        If nothing can be read, with the commonest reasons, or an option is wrong.

    Examples
    --------
    >>> from flowdsl.log import literal
    >>> log = read_events(
    ...     [{"at": 5, "who": "ann", "what": "post-1"}],
    ...     time_unit="s",
    ...     columns={
    ...         "timestamp": "at",
    ...         "kind": literal("link.created"),
    ...         "link_type": literal("likes"),
    ...         "source_id": "who",
    ...         "target_id": "what",
    ...     },
    ... )
    >>> log.last_seq_no()
    1
    """
    reader = EventImporter(_shape(columns, kinds, split, time_unit, time_format), duplicates)
    with warned_once(), track(progress, _rows_in(source), "read") as follower:
        frames = [
            pl.DataFrame(schema=SCHEMA).drop("seq_no"),
            *told(reader.frames(source), follower.part(_READING)),
        ]
        follower.total = sum(frame.height for frame in frames)
        if not follower.total:
            reader.refuse_nothing()
        events = run_in_background(lambda: _in_order(frames, renumber=bool(split)))
        return MemoryEventLog.of(events, reader.problems, reader.skipped)


@dataclass(frozen=True)
class Converted:
    """Summary of a conversion.

    Attributes
    ----------
    events
        How many events were appended.
    skipped
        How many source rows were left out on purpose.
    problems
        The rows with problems, as a table.
    duplicates
        How many events were left out because the log had their ids already, or the source had them twice.

    Examples
    --------
    >>> from flowdsl import MemoryEventLog, convert, link_created
    >>> event = {"timestamp": "2026-01-01T00:00:00Z", "event": link_created("follows", "ann", "bob")}
    >>> convert([event], MemoryEventLog()).events
    1
    """

    events: int
    skipped: int
    problems: pd.DataFrame
    dropped: int = 0


def convert(
    source: TableLike,
    log: ParquetEventLog,
    columns: Columns | None = None,
    kinds: Kinds | None = None,
    split: Split | None = None,
    *,
    time_unit: TimeUnit | None = None,
    time_format: str | Sequence[str] | None = None,
    duplicates: Duplicates = "keep",
    progress: Progress = None,
) -> Converted:
    """Append to a log what `read_events` would read, without holding it in memory.

    All events are appended or none.

    Parameters
    ----------
    source
        A path or glob of JSON lines, CSV or Parquet files, a frame, or a list of mappings.
    log
        The log to append to; with `duplicates="drop"`, events whose id it has are left out too.
    columns
        The origin of each field of an event: a column, a dotted path (also into columns of JSON text),
        `literal(x)`, or a function of a row. Envelopes and events of production, CloudEvents 1.0 and event
        tables need none.
    kinds
        What the values of `kind` mean (None: leave the row out), or a function of a row.
    split
        Kinds that become several events: a list of kinds, or of mappings with a `kind` and the columns of
        that event alone. A row without its ids has no such event.
    time_unit
        `"s"`, `"ms"`, `"us"` or `"ns"`, for timestamps that are numbers.
    time_format
        One or more strptime formats, for timestamps that are not RFC 3339.
    duplicates
        `"drop"` leaves out rows whose event id was there before; `"keep"` only lists them in the problems.
    progress
        As in `replay`.

    Returns
    -------
    Converted
        The numbers of events and of rows left out, and the problems.

    Raises
    ------
    DataError
        If nothing can be read, with the commonest reasons, or an option is wrong.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     convert(
    ...         [
    ...             {
    ...                 "kind": "entity.deleted",
    ...                 "timestamp": "2024-01-01T00:00:00Z",
    ...                 "entity_type": "user",
    ...                 "entity_id": "ann",
    ...             }
    ...         ],
    ...         ParquetEventLog(folder),
    ...     ).events
    1
    """
    reader = EventImporter(_shape(columns, kinds, split, time_unit, time_format), duplicates)
    before = one_of(log, "log", EventLog, "a ParquetEventLog or a MemoryEventLog").last_seq_no()
    with (
        tempfile.TemporaryDirectory(prefix="flowdsl-convert-") as folder,
        warned_once(),
        track(progress, _rows_in(source), "convert") as follower,
    ):
        read = follower.part(_READING)
        frames = told(reader.frames(source), read)
        # within the source the reader has looked, and knows what was split from one row
        fresh = log.fresh(reader.problems, among=False) if duplicates == "drop" else None
        if fresh is not None:
            frames = fresh.frames(frames)
        spool = _spool(frames, Path(folder), numbered=not split)
        follower.total = read.done
        if not read.done:
            reader.refuse_nothing()
        written = follower.part(1 - _READING).advance_to
        last = log.append(EventTable(ParquetFiles(spool)), progress=written) if spool else before
    dropped = reader.dropped + (0 if fresh is None else fresh.dropped)
    return Converted(last - before, reader.skipped, reader.problems.frame(), dropped)


class EventImporter:
    """Reads one source once, as frames of checked events in the order of the source; counts and keeps the
    rest.
    """

    def __init__(self, shape: RowShape, duplicates: Duplicates) -> None:
        check_duplicates(duplicates)
        self.problems = RowProblems()
        self.skipped = self.dropped = 0
        self._drops = duplicates == "drop"
        self._shape = shape
        self._requests = requests_of(shape)
        self._shaper = SchemaCoercer()
        self._order = OutOfOrder()
        self._repeated = Repeated()

    def frames(self, source: TableLike) -> Iterator[pl.DataFrame]:
        """Frames of events with `data` and `metadata` as JSON text, and `seq_no` where the source has it."""
        import duckdb

        connection = duckdb.connect(config={"threads": 1})
        for read in _blocks(source, self.problems):
            block = with_objects(read, self._requests, self.problems)
            if not len(block.rows):
                check_columns(block, self._shape)
                continue
            mapped = map_block(block, self._shape, self._shaper, self.problems)
            self.skipped += mapped.skipped
            raw = mapped.frame
            if not raw.height:
                continue
            if "timestamp" not in raw.columns:
                raw = raw.with_columns(pl.lit(None).alias("timestamp"))
            check_types(raw.schema, block.place)
            shaped = as_json_text(self._shaper.shape(raw, block.place))
            at = raw[ROW]
            wrong = faults(raw, shaped, connection)
            for i, why in sorted(wrong.items()):
                self.problems.add(block.place, block.rows[at[i]], "broken", why, excerpt_of(block, at[i]))
            shaped = without(shaped.with_columns(at), wrong)
            again = self._stand_out(shaped, shaped[ROW], block)
            if self._drops and again:
                whole = shaped.height
                shaped = shaped.filter(~pl.col(ROW).is_in(again))
                self.dropped += whole - shaped.height
            yield shaped.select(name for name in shaped.columns if name in SCHEMA)

    def refuse_nothing(self) -> None:
        """Refuse a source all of whose rows are broken: something that was said of it, or not said, is
        wrong.
        """
        broken = self.problems.counts["broken"]
        if not broken or self.skipped:
            return
        reasons = "; ".join(self.problems.commonest("broken"))
        what = "the only row is no event" if broken == 1 else f"none of the {broken:,} rows is an event"
        raise DataError(
            f"{what}: {reasons}",
            hint="columns= says where the fields of an event are, kinds= what its kinds mean",
        )

    def _stand_out(self, shaped: pl.DataFrame, at: pl.Series, block: TextBlock) -> list[int]:
        """Report rows that come late, and ids that come again (the events split from one row are one); the
        latter rows.
        """
        key = "seq_no" if "seq_no" in shaped.columns else "timestamp"
        first = pl.Series(at.is_first_distinct())
        rows = at.filter(first)
        again: list[int] = []
        for i in self._order.rows(shaped[key].filter(first)):
            self._add(block, rows[int(i)], "out of order", f"{key} is less than one before it")
        if "event_id" in shaped.columns:
            for i, name in self._repeated.rows(shaped["event_id"].filter(first)).items():
                left_out = ": left out" if self._drops else ""
                self._add(block, rows[i], "duplicate", f"event_id {name!r} stands above already{left_out}")
                again.append(rows[i])
        return again

    def _add(self, block: TextBlock, row: int, problem: Any, why: str) -> None:
        self.problems.add(block.place, block.rows[row], problem, why, excerpt_of(block, row))


def _shape(
    columns: Columns | None,
    kinds: Kinds | None,
    split: Split | None,
    time_unit: TimeUnit | None,
    time_format: str | Sequence[str] | None,
) -> RowShape:
    several = isinstance(time_format, Sequence) and not isinstance(time_format, str)
    formats: tuple[Any, ...] = (
        tuple(time_format or ()) if several else () if time_format is None else (time_format,)
    )
    for spelling in formats:
        if not isinstance(spelling, str) or not spelling.isprintable():
            raise DataError(
                f"time_format has {short_repr(spelling, 80)}",
                allowed="strptime formats, such as '%d.%m.%Y %H:%M'",
            )
    origins = _unless_none(columns, "columns", "a mapping from fields of an event to their origins")
    parts = _unless_none(split, "split", "a mapping from kinds to lists of kinds")
    meanings = (
        kinds if callable(kinds) else _unless_none(kinds, "kinds", "a mapping from kinds, or a function")
    )
    return RowShape(origins, meanings, parts_of(parts), time_unit, formats)


def _unless_none(given: Any, name: str, allowed: str) -> Mapping[Any, Any]:
    return {} if given is None else mapping_of(given, name, allowed)


def _blocks(source: Any, problems: RowProblems) -> Iterator[TextBlock]:
    if isinstance(source, (str, os.PathLike)):
        for path in files_of(path_of(source), suffixes()):
            yield from file_blocks(path, problems)
        return
    if isinstance(source, pl.LazyFrame):
        with reading("frame"):
            source = source.collect()
    frame = polars_frame(source, all_columns=True)
    if frame is not None:
        for row in range(0, frame.height, BLOCK):
            part = frame.slice(row, BLOCK)
            yield TextBlock("frame", range(row, row + part.height), part)
        return
    if not isinstance(source, Iterable) or isinstance(source, (Mapping, bytes)):
        raise DataError(
            f"{type(source).__name__} cannot be read as events",
            allowed="a path or glob, a frame, an Arrow stream, a list of mappings",
            hint="one event is a list of one",
        )
    yield from _listed(source, problems)


def rows_at_the_start(source: TableLike, most: int) -> list[dict[str, Any]]:
    """Return the first rows of a source as they are; what cannot be read is left out."""
    problems = RowProblems()
    rows: list[dict[str, Any]] = []
    for read in _blocks(source, problems):
        content = with_objects(read, None, problems).content
        found = content.head(most).to_dicts() if isinstance(content, pl.DataFrame) else content
        assert isinstance(found, list), "without requests objects are read whole"
        rows += found[: most - len(rows)]
        if len(rows) >= most:
            break
    return rows


def _listed(source: Iterable[Any], problems: RowProblems) -> Iterator[TextBlock]:
    numbered = enumerate(source)
    while some := list(islice(numbered, BLOCK)):
        for row, item in some:
            if not isinstance(item, Mapping):
                problems.add("list", row, "broken", f"{type(item).__name__} is no mapping", _text(item))
        good = [(row, dict(item)) for row, item in some if isinstance(item, Mapping)]
        yield TextBlock("list", [row for row, _ in good], [item for _, item in good])


def _rows_in(source: Any) -> int | None:
    """Return how many rows there are to read; None where that is not known without reading them."""
    if not isinstance(source, (str, os.PathLike)):
        return rows_in(source)
    with reading(str(source)):
        return row_count(list(files_of(path_of(source), suffixes())))


def _in_order(frames: list[pl.DataFrame], renumber: bool) -> pl.DataFrame:
    events = pl.concat(frames, how="diagonal")
    if "seq_no" in events.columns:
        return _by_number(events, renumber)
    return _sorted(events, "timestamp")


def _sorted(events: pl.DataFrame, key: str) -> pl.DataFrame:
    if events[key].is_sorted() and not events[key].null_count():
        return events
    return events.sort(key, maintain_order=True)


def _by_number(events: pl.DataFrame, renumber: bool) -> pl.DataFrame:
    events = _sorted(events, "seq_no")
    if renumber:
        return events.drop("seq_no")
    numbers = events["seq_no"]
    if numbers.null_count():
        raise DataError(
            f"{numbers.null_count()} events have no seq_no, and others have",
            hint="number all or none: columns={'seq_no': literal(None)} leaves the numbers out",
        )
    refuse_repeated(numbers.filter(numbers.is_duplicated()).to_list())
    return events


def _spool(frames: Iterator[pl.DataFrame], folder: Path, numbered: bool) -> list[Path]:
    """Return the frames as Parquet files, in the order given; files of one block, so that what they lack
    may differ.
    """
    paths = []
    for i, frame in enumerate(frames):
        path = folder / f"{i:08}.parquet"
        plain = frame.with_columns(pl.col("kind").cast(pl.String))
        with reading(str(folder), "converting needs room for a copy of the events; TMPDIR says where"):
            (plain if numbered else plain.drop("seq_no", strict=False)).write_parquet(path, compression="lz4")
        paths.append(path)
    return paths


def _text(value: object) -> str:
    return value if isinstance(value, str) else short_repr(value, 200)
