"""Files and frames of other shapes as event logs: in memory by `read_events`, streamed into a folder by
`convert`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
import polars as pl

from flowdsl.arguments import one_of
from flowdsl.calls import answered
from flowdsl.errors import DataError, warn_once
from flowdsl.log.base import EventLog
from flowdsl.log.blocks import TableLike, blocks_of, count_rows
from flowdsl.log.columns import SCHEMA, SchemaCoercer, check_types
from flowdsl.log.duplicates import Duplicates, check_duplicates
from flowdsl.log.errors import reading
from flowdsl.log.event_ids import ContentIds
from flowdsl.log.memory import MemoryEventLog
from flowdsl.log.nested_columns import as_json_text
from flowdsl.log.nested_rows import explode_lists
from flowdsl.log.origins import Split
from flowdsl.log.parquet import ParquetEventLog
from flowdsl.log.problems import OutOfOrder, RowProblems
from flowdsl.log.recognition import hint_for
from flowdsl.log.repeats import Repeated
from flowdsl.log.row_mapper import ROW, check_columns, excerpt_of, map_block, missing_kind_error, requests_of
from flowdsl.log.shape import Columns, Kinds, RowShape, Shape, Types, formats_of, with_options
from flowdsl.log.shapes import shape_of
from flowdsl.log.sources import ParquetFiles
from flowdsl.log.table import EventTable, refuse_repeated, report_rows
from flowdsl.log.text_readers import TextBlock, with_objects
from flowdsl.log.timestamps import TimeReader, TimeUnit
from flowdsl.log.typed_columns import TextTypes
from flowdsl.log.validation import NO_KIND, drop_rows, faults
from flowdsl.pluralize import count_text
from flowdsl.progress import Progress, run_in_background, track

if TYPE_CHECKING:
    import pandas as pd

# which share of the work is reading; the rest is putting in order, or writing
_READING: Final = 0.7


@answered
def read_events(  # noqa: PLR0913 -- all of them by name
    source: TableLike,
    columns: Columns | None = None,
    kinds: Kinds | None = None,
    split: Split | None = None,
    *,
    shape: str | Shape | None = None,
    explode: str | None = None,
    records: str | None = None,
    header: Sequence[str] | None = None,
    types: Types | None = None,
    decimal: Literal[".", ","] | None = None,
    time_unit: TimeUnit | None = None,
    time_format: str | Sequence[str] | None = None,
    time_zone: str | None = None,
    duplicates: Duplicates = "keep",
    progress: Progress = None,
) -> MemoryEventLog:
    """Read events from a file, a glob of files, a frame or a list of mappings, whatever their shape.

    Events are in the order of `seq_no` if there is one, else of (timestamp, position), numbered from 1.

    Parameters
    ----------
    source
        A path, folder or glob of files (JSON, CSV, Parquet, Arrow, ORC, XML, server-sent events, also
        compressed or in zip archives), a frame, or a list of mappings.
    columns
        The origin of each field of an event: a column, a dotted path (also into columns of JSON text), a text
        with paths in braces, `literal(x)`, a list of these (the first that a row has), or a function of a
        row. Envelopes and events of production, CloudEvents 1.0 and event tables need none.
    kinds
        What the values of `kind` mean (None: leave the row out; the key `"*"`: all others), or a function of
        a row.
    split
        Kinds that become several events: a list of kinds, or of mappings with a `kind` and the columns of
        that event alone. A row without its ids has no such event.
    shape
        The name of a known shape of rows, such as `"segment"`, or a `Shape`. Other arguments go before what
        it says.
    explode
        The path of a list in each row: each of its items makes a row, standing in the place of the list.
    records
        The path of the list of rows in each JSON document.
    header
        The names of the columns of a CSV file whose first line does not name them.
    types
        Columns or dotted paths whose text is a number or true or false, as in CSV: `{"total": float}`. The
        others stay as they are. A row with other text there is a problem.
    decimal
        The decimal sign of such numbers, `"."` or `","`; with the latter a point sets thousands apart.
    time_unit
        `"s"`, `"ms"`, `"us"` or `"ns"`, for timestamps that are numbers; by default inferred from their size.
    time_format
        One or more strptime formats, for timestamps that are not RFC 3339.
    time_zone
        The zone of timestamps that have none, such as `"Europe/Berlin"`; by default UTC, with a warning.
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
    known = with_options(
        shape_of(shape),
        columns=columns,
        kinds=kinds,
        split=split,
        explode=explode,
        records=records,
        header=header,
        types=types,
        decimal=decimal,
        time_unit=time_unit,
        time_format=time_format,
        time_zone=time_zone,
    )
    reader = EventImporter(known, duplicates)
    with warn_once(), track(progress, count_rows(source, reader.shape), "read") as follower:
        frames = [
            pl.DataFrame(schema=SCHEMA).drop("seq_no"),
            *report_rows(reader.frames(source), follower.part(_READING)),
        ]
        follower.total = sum(frame.height for frame in frames)
        if not follower.total:
            reader.refuse_nothing()
        events = run_in_background(lambda: _in_order(frames, renumber=reader.shape.makes_several))
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
    dropped
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


@answered
def convert(  # noqa: PLR0913 -- all of them by name
    source: TableLike,
    log: ParquetEventLog,
    columns: Columns | None = None,
    kinds: Kinds | None = None,
    split: Split | None = None,
    *,
    shape: str | Shape | None = None,
    explode: str | None = None,
    records: str | None = None,
    header: Sequence[str] | None = None,
    types: Types | None = None,
    decimal: Literal[".", ","] | None = None,
    time_unit: TimeUnit | None = None,
    time_format: str | Sequence[str] | None = None,
    time_zone: str | None = None,
    duplicates: Duplicates = "keep",
    progress: Progress = None,
) -> Converted:
    """Append to a log what `read_events` would read, without holding it in memory.

    All events are appended or none.

    Parameters
    ----------
    source
        A path, folder or glob of files (JSON, CSV, Parquet, Arrow, ORC, XML, server-sent events, also
        compressed or in zip archives), a frame, or a list of mappings.
    log
        The log to append to; with `duplicates="drop"`, events whose id it has are left out too, and events
        without an id get one that is made of their content.
    columns
        The origin of each field of an event: a column, a dotted path (also into columns of JSON text), a text
        with paths in braces, `literal(x)`, a list of these (the first that a row has), or a function of a
        row. Envelopes and events of production, CloudEvents 1.0 and event tables need none.
    kinds
        What the values of `kind` mean (None: leave the row out; the key `"*"`: all others), or a function of
        a row.
    split
        Kinds that become several events: a list of kinds, or of mappings with a `kind` and the columns of
        that event alone. A row without its ids has no such event.
    shape
        The name of a known shape of rows, such as `"segment"`, or a `Shape`. Other arguments go before what
        it says.
    explode
        The path of a list in each row: each of its items makes a row, standing in the place of the list.
    records
        The path of the list of rows in each JSON document.
    header
        The names of the columns of a CSV file whose first line does not name them.
    types
        Columns or dotted paths whose text is a number or true or false, as in CSV: `{"total": float}`. The
        others stay as they are. A row with other text there is a problem.
    decimal
        The decimal sign of such numbers, `"."` or `","`; with the latter a point sets thousands apart.
    time_unit
        `"s"`, `"ms"`, `"us"` or `"ns"`, for timestamps that are numbers; by default inferred from their size.
    time_format
        One or more strptime formats, for timestamps that are not RFC 3339.
    time_zone
        The zone of timestamps that have none, such as `"Europe/Berlin"`; by default UTC, with a warning.
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
    known = with_options(
        shape_of(shape),
        columns=columns,
        kinds=kinds,
        split=split,
        explode=explode,
        records=records,
        header=header,
        types=types,
        decimal=decimal,
        time_unit=time_unit,
        time_format=time_format,
        time_zone=time_zone,
    )
    reader = EventImporter(known, duplicates)
    before = one_of(log, "log", EventLog, "a ParquetEventLog or a MemoryEventLog").last_seq_no()
    with (
        tempfile.TemporaryDirectory(prefix="flowdsl-convert-") as folder,
        warn_once(),
        track(progress, count_rows(source, reader.shape), "convert") as follower,
    ):
        read = follower.part(_READING)
        frames = report_rows(reader.frames(source), read)
        # within the source the reader has looked, and knows what was split from one row
        fresh = log.fresh(reader.problems, among=False) if duplicates == "drop" else None
        if fresh is not None:
            frames = fresh.frames(map(ContentIds().given, frames))
        spool = _spool(frames, Path(folder), numbered=not reader.shape.makes_several)
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

    def __init__(self, shape: Shape, duplicates: Duplicates) -> None:
        check_duplicates(duplicates)
        self.problems = RowProblems()
        self.skipped = self.dropped = 0
        self._drops = duplicates == "drop"
        self.shape = RowShape(shape)
        self._requests = requests_of(self.shape)
        self._types = TextTypes(shape.types, shape.decimal)
        # of a known shape it is known that its times are counts
        note = not shape.marks
        self._times = TimeReader(shape.time_unit, formats_of(shape), shape.time_zone, note=note)
        self.shaper = SchemaCoercer()
        self._order = OutOfOrder()
        self._repeated = Repeated()
        self._first_rows: list[Any] = []
        # whether the events have numbers of their own
        self._numbered: bool | None = None

    def frames(self, source: TableLike) -> Iterator[pl.DataFrame]:
        """Frames of events with `data` and `metadata` as JSON text, and `seq_no` where the source has it."""
        for read in blocks_of(source, self.shape, self.problems):
            block = with_objects(read, self._requests, self.problems)
            if self.shape.explode is not None and len(block.rows):
                block, without_items = explode_lists(block, self.shape.explode)
                self.skipped += without_items
            block = self._types.read(block, self.problems)
            if not len(block.rows):
                check_columns(block, self.shape)
                continue
            frame = self._map(block)
            if frame is not None:
                yield frame.select(name for name in frame.columns if name in SCHEMA)

    def _map(self, block: TextBlock) -> pl.DataFrame | None:
        try:
            mapped = map_block(block, self.shape, self._times, self.problems)
        except DataError as error:
            error.hint = hint_for(block, self.shape) or error.hint
            raise
        self.skipped += mapped.skipped
        raw = mapped.frame
        if not raw.height:
            self._first_rows = self._first_rows or [block]
            return None
        if "timestamp" not in raw.columns:
            raw = raw.with_columns(pl.lit(None).alias("timestamp"))
        raw = _with_numbers(raw)
        check_types(raw.schema, block.place)
        shaped = as_json_text(self.shaper.shape(raw, block.place))
        at = raw[ROW]
        wrong = faults(raw, shaped)
        for i, why in sorted(wrong.items()):
            self.problems.add(
                block.place, int(block.rows[at[i]]), "broken", why, excerpt_of(block, int(at[i]))
            )
        shaped = drop_rows(shaped.with_columns(at), wrong)
        if shaped.height:
            self._refuse_unlike(block.place, numbered="seq_no" in shaped.columns)
        else:
            self._first_rows = self._first_rows or [block]
        again = self._stand_out(shaped, shaped[ROW], block)
        if self._drops and again:
            whole = shaped.height
            shaped = shaped.filter(~pl.col(ROW).is_in(again))
            self.dropped += whole - shaped.height
        return shaped

    def _refuse_unlike(self, place: str, *, numbered: bool) -> None:
        """Refuse events without numbers where those before had some, or the other way round."""
        if self._numbered is None:
            self._numbered = numbered
        if self._numbered != numbered:
            raise DataError(
                "some events have a seq_no and others have none",
                place=place,
                hint="number all or none: columns={'seq_no': literal(None)} leaves the numbers out",
            )

    def refuse_nothing(self) -> None:
        """Refuse a source none of whose rows is an event though some were meant to be: an
        option is wrong or missing.
        """
        broken = self.problems.counts["broken"]
        if not broken:
            return
        hint = next((hint_for(block, self.shape) for block in self._first_rows), None)
        have_columns = any(isinstance(block.content, pl.DataFrame) for block in self._first_rows)
        if self.problems.reasons("broken") == {NO_KIND} and not have_columns:
            error = missing_kind_error(self._first_rows[0].place)
            error.hint = hint or error.hint
            raise error
        reasons = "; ".join(self.problems.commonest("broken"))
        what = "the only row is not an event" if broken == 1 else f"none of the {broken:,} rows is an event"
        if self.skipped:
            what += f", beside {count_text(self.skipped, 'row')} left out on purpose"
        raise DataError(
            f"{what}: {reasons}",
            hint=hint or "columns= says where the fields of an event are, kinds= what its kinds mean",
        )

    def _stand_out(self, shaped: pl.DataFrame, at: pl.Series, block: TextBlock) -> list[int]:
        """Report rows that come late, and ids that come again (the events made of one row are one); the
        latter rows.
        """
        key = "seq_no" if "seq_no" in shaped.columns else "timestamp"
        groups = at if block.groups is None else pl.Series(np.asarray(block.groups)[at.to_numpy()])
        first = pl.Series(groups.is_first_distinct())
        rows = at.filter(first)
        again: list[int] = []
        for i in self._order.rows(shaped[key].filter(first)):
            self._add(block, rows[int(i)], "out of order", f"{key} is less than one before it")
        if "event_id" in shaped.columns:
            for i, name in self._repeated.rows(shaped["event_id"].filter(first)).items():
                left_out = ": left out" if self._drops else ""
                self._add(block, rows[i], "duplicate", f"event_id {name!r} repeats an earlier one{left_out}")
                again.append(rows[i])
        return again

    def _add(self, block: TextBlock, row: int, problem: Any, why: str) -> None:
        self.problems.add(block.place, block.rows[row], problem, why, excerpt_of(block, row))


def _with_numbers(events: pl.DataFrame) -> pl.DataFrame:
    """Return events whose numbers are integers where they are written as text, as all values of CSV are."""
    if events.schema.get("seq_no") != pl.String:
        return events
    numbers = events["seq_no"].cast(pl.Int64, strict=False)
    return events if numbers.null_count() > events["seq_no"].null_count() else events.with_columns(numbers)


def _in_order(frames: list[pl.DataFrame], renumber: bool) -> pl.DataFrame:
    events = pl.concat(frames, how="diagonal")
    if "seq_no" in events.columns:
        return _by_number(events, renumber)
    return _sort(events, "timestamp")


def _sort(events: pl.DataFrame, key: str) -> pl.DataFrame:
    if events[key].is_sorted() and not events[key].null_count():
        return events
    return events.sort(key, maintain_order=True)


def _by_number(events: pl.DataFrame, renumber: bool) -> pl.DataFrame:
    events = _sort(events, "seq_no")
    if renumber:
        return events.drop("seq_no")
    numbers = events["seq_no"]
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
