"""Mapping of the rows of a file of another shape to events: which column is which field, what its kinds
mean.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import polars as pl

from flowdsl.errors import DataError
from flowdsl.events import KINDS
from flowdsl.log.block_fields import TEXT, BlockFields
from flowdsl.log.columns import row_in_python
from flowdsl.log.json_shapes import Request
from flowdsl.log.origins import PartOrigin, texts_of
from flowdsl.log.problems import RowProblems
from flowdsl.log.row_formats import ROW_FORMATS
from flowdsl.log.shape import OTHERS, RowShape
from flowdsl.log.text_readers import TextBlock
from flowdsl.log.timestamps import TimeReader
from flowdsl.log.validation import NO_KIND, drop_rows
from flowdsl.text import short_repr
from flowdsl.values.json_types import Ints

ROW: Final = "__row"
_UNKNOWN: Final = "unknown kind {}; kinds= may say what it means (None: leave it out)"
_OF_LINKS: Final = ("link_type", "link_id", "source_id", "target_id", "metadata")
_OF_ENTITIES: Final = ("entity_type", "entity_id", "data")


@dataclass(frozen=True)
class MappedRows:
    """Events of one block, not checked yet: event columns, and `__row`, the position in the block each came
    from.
    """

    frame: pl.DataFrame
    skipped: int


def map_block(block: TextBlock, shape: RowShape, times: TimeReader, problems: RowProblems) -> MappedRows:
    """Return the events of a block as its rows have them: kinds translated, fields found, times read, rows
    split.
    """
    broken: dict[int, str] = {}
    source = BlockFields(block, shape, broken)
    kinds = _kinds(source)
    there = kinds.is_not_null().to_numpy(writable=True)
    there[list(broken)] = False
    left_out = ~there
    left_out[list(broken)] = False
    # rows that are left out on purpose are not asked for fields that they may not have
    at = np.flatnonzero(there)
    frame = pl.DataFrame([pl.Series(ROW, at, dtype=pl.Int64), *source.fields(at)])
    if "timestamp" in frame.columns:
        read, odd = times.read(frame["timestamp"], block.place)
        for i in (read.is_null() & frame["timestamp"].is_not_null()).arg_true():
            stamp = row_in_python(frame.select("timestamp"), i)["timestamp"]
            broken.setdefault(int(at[i]), f"timestamp {short_repr(stamp)} cannot be read")
        for i, (problem, why) in sorted(odd.items()):
            problems.add(block.place, int(block.rows[at[i]]), problem, why, excerpt_of(block, int(at[i])))
        frame = frame.with_columns(read.alias("timestamp"))
    events = _split(frame, kinds, source)
    if shape.parts:
        # the fields of a part of its own may have failed
        events = events.filter(~pl.col(ROW).is_in(list(broken)))
    for row, why in sorted(broken.items()):
        problems.add(block.place, block.rows[row], "broken", why, excerpt_of(block, row))
    return MappedRows(events, int(left_out.sum()))


def requests_of(shape: RowShape) -> list[Request] | None:
    """Return the fields that are needed of rows; None if whole rows are needed."""
    if len(list(ROW_FORMATS.values())) > len(ROW_FORMATS.own):
        # a shape of another package looks at whole rows
        return None
    asked = list(shape.origins())
    if shape.needs_whole_rows or shape.explode or shape.records or shape.types:
        return None
    if any(isinstance(origin, Mapping) for _, origin in asked):
        return None
    found: list[Request] = []
    for name, origin in asked:
        if origin is None:
            found.append((name, None))
        alternatives = origin if isinstance(origin, Sequence) and not isinstance(origin, str) else (origin,)
        # a path within a text is one of text, whatever the field
        found += [(name if text in alternatives else TEXT, text) for text in texts_of(origin)]
    return list(dict.fromkeys(found))


def check_columns(block: TextBlock, shape: RowShape) -> None:
    """Refuse a table that lacks a column which `shape` names, also where no row of it could be read."""
    if isinstance(block.content, pl.DataFrame):
        source = BlockFields(block, shape, {})
        for _, origin in shape.origins():
            source.check(origin, block.content)


def excerpt_of(block: TextBlock, row: int) -> str:
    """Return a row of a block as short text."""
    if block.texts is not None:
        return block.texts[row][:300].encode("utf-8", "replace").decode()
    content = block.content
    if isinstance(content, pl.DataFrame):
        return str(row_in_python(content, row))[:300]
    return str(content[row] if isinstance(content, list) else "")[:300]


def missing_kind_error(place: str) -> DataError:
    """Return the error of a source that lacks the kind of all its rows."""
    return DataError(
        "nothing says what kind of event a row is",
        place=place,
        allowed="a column kind, columns={'kind': …}, or kinds=function",
        hint="columns={'kind': literal('link.created')} sets it for all rows; guess(source) proposes columns",
    )


def _kinds(source: BlockFields) -> pl.Series:
    """Return the kind of each row, an event's kind or a key of `split`; null for rows that are left out or
    broken.
    """
    shape, everywhere = source.shape, np.arange(len(source.block.rows))
    if callable(shape.kinds):
        made = source.values(shape.kinds, "kinds", everywhere)
        for i, kind in enumerate(made):
            # also what has no hash, and cannot be looked up
            if kind is not None and not isinstance(kind, str):
                source.broken.setdefault(i, _UNKNOWN.format(short_repr(kind)))
                made[i] = None
        meant = _meaning(
            dict.fromkeys(made), shape, source, lambda kind: [i for i, k in enumerate(made) if k == kind]
        )
        return pl.Series([meant[kind] for kind in made], dtype=pl.String)
    found = source.field("kind", everywhere)
    if found is None and not source.broken and isinstance(source.block.content, pl.DataFrame):
        # the rows of other sources may have different fields
        raise missing_kind_error(source.block.place)
    if found is not None and found.dtype.is_nested():
        raise DataError(f"kind is of type {found.dtype}", place=source.block.place, allowed="text")
    if found is None:
        named = pl.Series([None], dtype=pl.String).new_from_index(0, len(everywhere))
    else:
        named = found.cast(pl.String)
    distinct = named.unique(maintain_order=True).to_list()
    meant = _meaning(distinct, shape, source, lambda kind: named.eq_missing(kind).arg_true())
    if all(name == kind for name, kind in meant.items()):
        return named
    return named.replace_strict(list(meant), list(meant.values()), return_dtype=pl.String)


def _meaning(
    distinct: Iterable[str | None],
    shape: RowShape,
    source: BlockFields,
    rows_of: Callable[[Any], Iterable[int]],
) -> dict[str | None, str | None]:
    """Return the meaning of each kind that rows name, None to leave them out; rows of unknown kinds are
    broken.
    """
    by_function, names = callable(shape.kinds), shape.kind_names
    meant: dict[str | None, str | None] = {}
    for name in distinct:
        others = name if OTHERS not in names or name in shape.parts else names[OTHERS]
        kind = meant[name] = names.get(name, others)
        if kind in KINDS or kind in shape.parts:
            continue
        if kind is None and (by_function or name is not None or OTHERS in names):
            continue
        meant[name] = None
        why = _UNKNOWN.format(short_repr(kind))
        for i in rows_of(name):
            source.broken.setdefault(int(i), NO_KIND if kind is None else why)
    return meant


def _split(frame: pl.DataFrame, kinds: pl.Series, source: BlockFields) -> pl.DataFrame:
    """Return the events of the rows, those of one row after the other, each with its kind and the fields of
    its own.
    """
    rows = frame[ROW].to_numpy()
    sound = ~np.isin(rows, list(source.broken)) if source.broken else np.ones(len(rows), bool)
    if not source.shape.parts:
        events = frame if sound.all() else frame.filter(sound)
        events = events.with_columns(kinds.gather(events[ROW]).alias("kind"))
        return _of_their_kind(events) if source.shape.columns else events
    at, which, parts = _parts(np.flatnonzero(sound), kinds.gather(frame[ROW]), source.shape.parts)
    named = pl.Series([part.kind for part in parts], dtype=pl.String)
    # before the fields that a part itself names: those are kept whatever its kind
    events = _of_their_kind(frame[at].with_columns(named.gather(which).alias("kind")))
    if any(part.columns for part in parts):
        return _with_own(events, which, parts, source)
    return events


def _of_their_kind(events: pl.DataFrame) -> pl.DataFrame:
    """Return events without the fields that only events of another kind have: columns are often given for
    both.
    """
    of_link = events["kind"].str.starts_with("link.").fill_null(value=False)
    for names, there in ((_OF_LINKS, of_link), (_OF_ENTITIES, ~of_link)):
        present = [name for name in names if name in events.columns]
        if not there.any():
            events = events.drop(present)
        elif not there.all():
            events = events.with_columns(pl.when(there).then(pl.col(name)).alias(name) for name in present)
    return events


def _parts(
    at: Ints, kinds: pl.Series, split: Mapping[str, Sequence[PartOrigin]]
) -> tuple[Ints, Ints, list[PartOrigin]]:
    """Return for each event its row among `at`, the number of its part, and the parts that numbers stand
    for.
    """
    parts: list[PartOrigin] = []
    first, count = np.zeros(len(kinds), np.int64), np.ones(len(kinds), np.int64)
    for kind in kinds.unique(maintain_order=True).drop_nulls():
        own = split.get(kind) or (PartOrigin(kind),)
        rows = (kinds == kind).fill_null(value=False).to_numpy()
        first[rows], count[rows] = len(parts), len(own)
        parts += own
    counts = count[at]
    ends = np.cumsum(counts)
    within = np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - counts, counts)
    return np.repeat(at, counts), np.repeat(first[at], counts) + within, parts


def _with_own(
    events: pl.DataFrame, which: Ints, parts: list[PartOrigin], source: BlockFields
) -> pl.DataFrame:
    """Return events with the fields that their parts of a row take from elsewhere, without the parts that a
    row does not have.
    """
    rows = events[ROW].to_numpy()
    left_out: list[int] = []
    for number, one in enumerate(parts):
        places = np.flatnonzero(which == number)
        lacking = np.zeros(len(places), bool)
        for name, origin in one.columns.items():
            found = source.field(name, rows[places], origin)
            fields = pl.Series(name, [None] * len(places), dtype=pl.String) if found is None else found
            if name not in events.columns:
                events = events.with_columns(pl.lit(None, dtype=fields.dtype).alias(name))
            if name in one.ids:
                absent = fields.is_null() if fields.dtype != pl.String else fields.is_null() | (fields == "")
                lacking |= absent.fill_null(value=False).to_numpy()
            events = events.with_columns(_put(events[name], places, fields))
        left_out += places[lacking].tolist()
    kept = drop_rows(events, left_out)
    nothing_left = set(rows[left_out].tolist()) - set(kept[ROW].to_list()) - source.broken.keys()
    for row in nothing_left:
        source.broken[row] = "it has the ids of none of the events that it is split into"
    return kept


def _put(column: pl.Series, places: Ints, values: pl.Series) -> pl.Series:
    """Return a column with other values at some places; of two types text is the one that holds both."""
    if column.dtype != values.dtype:
        column, values = column.cast(pl.String), values.cast(pl.String)
    return column.clone().scatter(places, values) if len(places) else column
