"""Tables of a result, assembled from their parts: columns united, rows in total order."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
import polars as pl

from flowdsl.arguments import texts_of
from flowdsl.errors import ReplayError
from flowdsl.progress import Tick, noop, run_in_background
from flowdsl.results.manifest_schema import DeliverRow
from flowdsl.results.store import FIELD, Store, StoredPart, TablePart
from flowdsl.results.table_writer import BRANCH, OPENED_BY, REFUSED
from flowdsl.sinks.frame import FIXED, field_columns, in_reading_order, repeats_recipient
from flowdsl.values.columns import Column
from flowdsl.values.json_conversion import nested_json
from flowdsl.values.json_decoder import decode, kind_of_texts
from flowdsl.values.json_texts import joined_json, quote_texts
from flowdsl.values.json_types import Index, Ints
from flowdsl.values.kinds import NOTHING, Kind, complete, dtype_of, holds_json, join_kinds, kind_of_series
from flowdsl.values.orders import order_within, stable_order

# the sort keys of rows; branches come before the last one
_ORDER = ("delivered_at", "seq_no", "__flow", "step")
# prefixes of columns that are always read: branches, and refusals of sinks
_BRANCH = BRANCH.format("")
_ALWAYS = (_BRANCH, REFUSED.format(""))
# fewer rows are sorted without checking first whether they are in order
_SORTED_AT_ONCE = 1 << 12
# groups with fewer rows are not sorted separately
_SORTED_APART = 1 << 16
# bits that the packed sort keys of a row may have
_BITS = 63


def sink_table(
    store: Store,
    names: Sequence[str],
    sink: str,
    steps: Sequence[DeliverRow],
    columns: Sequence[str] | None = None,
    tick: Tick = noop,
) -> pl.DataFrame:
    """Return the table of one sink: the fixed columns, and between them the union of the payloads' fields.

    A field that repeats a fixed column is left out unless `columns` names it. With `columns`, only these are
    read and made. `tick` gets the number of rows made.
    """
    mine = [step for step in steps if sink in step["sinks"]]
    pieces = [piece for step in mine for piece in store.parts(step["table"])]
    named = _named_fields(mine, pieces)
    if columns is not None:
        _check_columns(sink, columns, [*FIXED, *named])
        # other columns are not read, made or sorted
        named = {column: name for column, name in named.items() if column in columns}
    ordered = _is_ordered(mine, pieces)
    fixed = FIXED if columns is None else columns
    needed = {*fixed, *map(FIELD.format, named.values()), *(() if ordered else _ORDER), "seq_no"}
    parts = list(_iter_parts(store, mine, sink, tick, needed))
    kinds = _field_kinds(mine, [part for _, part in parts], [*named.values()])
    if columns is None:
        columns = in_reading_order(
            [c for c, name in named.items() if not repeats_recipient(name, kinds[name])]
        )
    kept = {named[c]: kinds[named[c]] for c in columns if c in named}
    frames = [_with_fields(part, flow, names, kept, needed) for flow, part in parts]
    types = {FIELD.format(name): dtype_of(kind) for name, kind in kept.items()}
    joined = _in_order(frames, types, ordered=ordered)
    return joined.select_seq([pl.col(FIELD.format(named[c]) if c in named else c).alias(c) for c in columns])


def _named_fields(steps: Sequence[DeliverRow], pieces: Sequence[TablePart | StoredPart]) -> dict[str, str]:
    """Return the fields of all payloads by the names of their columns."""
    fields = (*(step["fields"] for step in steps), *(piece.meta["fields"] for piece in pieces))
    return field_columns(dict.fromkeys(chain(*fields)))


def _check_columns(sink: str, wanted: Sequence[str], known: Sequence[str]) -> None:
    for column in wanted:
        if column not in known:
            raise ReplayError.unknown(f"{sink!r} has no column {column!r}", column, known)


def _is_ordered(steps: Sequence[DeliverRow], pieces: Sequence[TablePart | StoredPart]) -> bool:
    """Return True if parts are in total order already: one step of one flow, without timers before it, run
    in one stream.
    """
    if len(steps) != 1 or len(steps[0]["flows"]) != 1 or steps[0]["timed"]:
        return False
    return not any(piece.meta.get("unordered") for piece in pieces)


def all_deliveries(
    store: Store,
    names: Sequence[str],
    steps: Sequence[DeliverRow],
    more: Mapping[str, Any] | None = None,
    tick: Tick = noop,
) -> pl.DataFrame:
    """Return the deliveries to all sinks: the fixed columns, `sink`, the payload as JSON text, and `more`
    columns of the parts.
    """
    frames = []
    sinks = sorted({sink for step in steps for sink in step["sinks"]})
    for number, part in _iter_parts(store, steps, None):
        tick(part.rows * len(part.meta["sinks"]))
        frames.append(_by_sink(_with_payload(part, number, names), part, pl.Enum(sinks)))
    extra = {"sink": pl.Enum(sinks), "payload": pl.String, **(more or {})}
    joined = _in_order(frames, extra, "__sink")
    columns = in_reading_order(["sink", "payload"])
    return joined.with_columns(pl.col("sink").cast(pl.String)).select(*columns, *(more or ()))


def _with_payload(part: TablePart, flow: int, names: Sequence[str]) -> pl.DataFrame:
    """Return the fixed columns of a part, and its payloads as JSON text in place of their fields."""
    placed = part.frame.with_columns(payload_json(part), **_fixed_columns(part, flow, names))
    # fields of other flows may have the same name and another type
    return placed.drop([c for c in placed.columns if c.startswith(FIELD.format(""))])


def _with_fields(
    part: TablePart, flow: int, names: Sequence[str], kinds: dict[str, Kind], needed: Collection[str]
) -> pl.DataFrame:
    """Return those of the columns of a part that are needed, with the fields in the types of all parts."""
    fields = [_of_kind(part, name, kinds[name]) for name in part.meta["fields"] if name in kinds]
    fixed = {c: made for c, made in _fixed_columns(part, flow, names).items() if c in needed}
    placed = part.frame.with_columns_seq(*fields, **fixed)
    return placed[[c for c in placed.columns if c in needed or c.startswith(_BRANCH)]]


def _by_sink(placed: pl.DataFrame, part: TablePart, sinks: pl.Enum) -> pl.DataFrame:
    """Return the rows of a part once for each sink that they reach."""
    reached = part.meta["sinks"]
    rows = [_rows_reaching(part, sink) for sink in reached]
    places = np.repeat(np.arange(len(reached), dtype=np.int32), list(map(len, rows)))
    if len(rows) > 1 or len(rows[0]) < part.rows:
        placed = placed[np.concatenate(rows)]
    return placed.with_columns(pl.Series("sink", reached, sinks).gather(places), pl.Series("__sink", places))


def _rows_reaching(part: TablePart, sink: str) -> Index:
    """Return the rows of a part that reach a sink."""
    column = part.meta.get("refused", {}).get(sink)
    return np.arange(part.rows) if column is None else np.flatnonzero(~part.frame[column].to_numpy())


def deliveries_with_origin(
    store: Store, names: Sequence[str], steps: Sequence[DeliverRow], flow: int, sink: str, tick: Tick = noop
) -> pl.DataFrame:
    """Return the deliveries of one flow to one sink: the fixed columns, `payload` as JSON text, and columns
    that identify deliveries across runs: `origin`, the event they come from or that opened their window, and
    `place`, the position of the deliver step among those to that sink.
    """
    mine = sorted((s for s in steps if flow in s["flows"] and sink in s["sinks"]), key=_number)
    frames = []
    for place, step in enumerate(mine):
        for _, part in _iter_parts(store, [{**step, "flows": [flow]}], sink, tick):
            origin = pl.coalesce(*(c for c in (OPENED_BY, "seq_no") if c in part.frame.columns))
            placed = _with_payload(part, flow, names)
            frames.append(placed.with_columns(origin=origin, place=pl.lit(place, pl.Int32)))
    extra = {"payload": pl.String, "origin": pl.Int64, "place": pl.Int32}
    return _in_order(frames, extra).select(*FIXED, *extra)


def _number(step: DeliverRow) -> int:
    return int(step["table"].rpartition("-")[2])


def payload_json(part: TablePart) -> pl.Series:
    """Return the payloads of a part as JSON text."""
    fields = part.meta["fields"]
    texts = {name: _cell_json(part, name).fill_null("null") for name in fields}
    whole = part.meta["whole"]
    return (texts[fields[0]] if whole else joined_json(part.frame.height, texts)).alias("payload")


def _cell_json(part: TablePart, name: str) -> pl.Series:
    series = part.frame[FIELD.format(name)]
    if name in part.meta["json"]:
        return series
    if series.dtype == pl.String:
        return quote_texts(series)
    if series.dtype.is_nested():
        return nested_json(series, nulls=True)
    return Column.from_series(series).to_json()


def _iter_parts(
    store: Store,
    steps: Sequence[DeliverRow],
    sink: str | None,
    tick: Tick = noop,
    wanted: Collection[str] | None = None,
) -> Iterator[tuple[int, TablePart]]:
    """Yield the parts of all deliver steps, once for each flow that has the step, with their branches and the
    columns that are wanted, or all.
    """

    def is_read(column: str) -> bool:
        return wanted is None or column in wanted or column.startswith(_ALWAYS)

    for step in steps:
        for piece in store.parts(step["table"]):
            frame, refused = piece.read(is_read), piece.meta.get("refused", {})
            if sink in refused:
                frame = frame.filter(~pl.col(refused[sink]))
            part = TablePart(frame, {**piece.meta, "sinks": step["sinks"]})
            for flow in step["flows"]:
                yield flow, part
                tick(part.rows)


def _fixed_columns(part: TablePart, flow: int, names: Sequence[str]) -> dict[str, pl.Expr]:
    """Return the columns that are the same for all deliveries of a step of a flow, and their branches."""
    levels = [c for c in part.frame.columns if c.startswith(_BRANCH)]
    branch = (
        pl.concat_str([pl.col(c).cast(pl.String) for c in levels], separator=".")
        if levels
        else pl.lit(None, pl.String)
    )
    return {
        "__flow": pl.lit(flow, pl.Int32),
        "flow": pl.lit(names[flow]),
        "step": pl.lit(part.meta["step"], pl.Int32),
        "branch": branch,
    }


def _in_order(
    frames: Sequence[pl.DataFrame], extra: dict[str, Any], *last: str, ordered: bool = False
) -> pl.DataFrame:
    """Concatenate frames by (delivered_at, seq_no, flow, branch, step): parents before their branches."""
    if not frames:
        return pl.DataFrame(schema={**FIXED, **extra})
    if ordered:
        return _concat_frames(frames, extra)
    return run_in_background(
        lambda: _concat_frames(
            [_put_in_order(_concat_frames(group, extra), last) for group in _apart(frames)], extra
        )
    )


def _concat_frames(frames: Sequence[pl.DataFrame], extra: dict[str, Any]) -> pl.DataFrame:
    """Concatenate frames, and add the columns that none of them has."""
    joined = pl.concat(frames, how="diagonal") if len(frames) > 1 else frames[0]
    absent = {name: pl.lit(None, dtype) for name, dtype in extra.items() if name not in joined.columns}
    return joined.with_columns(**absent) if absent else joined


def _apart(frames: Sequence[pl.DataFrame]) -> Iterator[Sequence[pl.DataFrame]]:
    """Yield the frames in groups whose delivery times do not overlap, in order.

    Sorting groups that are not very small is cheaper than sorting all rows at once.
    """
    times = [(frame["delivered_at"].to_physical().to_numpy(), frame) for frame in frames if frame.height]
    spans = sorted(((int(t.min()), int(t.max()), frame) for t, frame in times), key=lambda span: span[0])
    group: list[pl.DataFrame] = []
    rows = until = 0
    for first, last, frame in spans:
        if rows >= _SORTED_APART and first > until:
            yield group
            group, rows = [], 0
        until = max(until, last) if group else last
        group.append(frame)
        rows += frame.height
    yield group or frames[:1]


def _put_in_order(frame: pl.DataFrame, last: Sequence[str]) -> pl.DataFrame:
    """Sort rows by (delivered_at, seq_no, flow, branch, step) and `last`, nulls first; the sort is stable."""
    levels = sorted(
        (c for c in frame.columns if c.startswith(_BRANCH)), key=lambda c: int(c.removeprefix(_BRANCH))
    )
    *first, step = _ORDER
    keys = [*first, *levels, step, *last]
    moments, table = frame["delivered_at"], frame.select(keys)
    if moments.null_count():
        order = _order(table, keys)
    else:
        order = order_within(moments.to_physical().to_numpy(), lambda rows: _order(table[rows], keys))
    return frame if order is None else frame.rechunk()[order]


def _order(frame: pl.DataFrame, keys: Sequence[str]) -> Index | None:
    """Return the order of rows by these columns, nulls first; None if they are in this order already."""
    packed = _pack(frame, keys)
    if packed is not None:
        return None if (packed[1:] >= packed[:-1]).all() else stable_order(packed)
    if frame.height >= _SORTED_AT_ONCE and is_ordered(frame, keys):
        return None
    return frame.select(pl.arg_sort_by(keys, nulls_last=False, maintain_order=True)).to_series().to_numpy()


def _pack(frame: pl.DataFrame, keys: Sequence[str]) -> Ints | None:
    """Pack the columns of each row into one integer with the same order; return None if they do not fit, or
    if any value is null.
    """
    packed, bits = np.zeros(frame.height, np.int64), 0
    # the sort needs bits for the row number too
    most = _BITS - frame.height.bit_length()
    for key in reversed(keys) if frame.height else ():
        column = frame[key]
        if column.null_count():
            return None
        numbers = column.cast(pl.Int64).to_numpy()
        low, high = int(numbers.min()), int(numbers.max())
        if high == low:
            continue
        if bits + (high - low).bit_length() > most and (numbers[1:] >= numbers[:-1]).all():
            # sorted already: use ranks, which need fewer bits
            numbers = np.cumsum(np.diff(numbers, prepend=numbers[:1]) != 0)
            low, high = 0, int(numbers[-1])
        if bits + (high - low).bit_length() > _BITS:
            return None
        packed |= (numbers - low) << bits
        bits += (high - low).bit_length()
    return packed


def is_ordered(frame: pl.DataFrame, keys: Sequence[str]) -> bool:
    """Return True if rows are sorted by these columns, nulls first; cheaper than sorting."""
    if frame.height < 2:
        return True
    undecided = pl.lit(value=True)
    wrong = pl.lit(value=False)
    for key in keys:
        here, before = pl.col(key), pl.col(key).shift(1)
        wrong = wrong | (
            undecided & ((here < before) | (here.is_null() & before.is_not_null())).fill_null(value=False)
        )
        undecided = undecided & here.eq_missing(before)
    return not frame.lazy().select(wrong.slice(1).any()).collect().item()


def _field_kinds(
    steps: Sequence[DeliverRow], parts: Sequence[TablePart], names: Sequence[str]
) -> dict[str, Kind]:
    """Return the common kind of the values of payload fields, or else that of the templates."""
    kinds, hints = dict.fromkeys(names, NOTHING), dict.fromkeys(names, NOTHING)
    for step in steps:
        for name in step["fields"].keys() & hints:
            hints[name] = join_kinds(hints[name], step["fields"][name])
    for part in parts:
        for name in kinds.keys() & part.meta["fields"]:
            kinds[name] = join_kinds(kinds[name], _part_kind(part, name))
    return {name: complete(kind, hints[name]) for name, kind in kinds.items()}


def _part_kind(part: TablePart, name: str) -> Kind:
    series = part.frame[FIELD.format(name)]
    return kind_of_texts(series) if name in part.meta["json"] else kind_of_series(series)


def _of_kind(part: TablePart, name: str, kind: Kind) -> pl.Series:
    """Return a field of a part in the type that holds all values of the field."""
    series, wanted = part.frame[FIELD.format(name)], dtype_of(kind)
    if name not in part.meta["json"]:
        if series.dtype == wanted and not holds_json(kind):
            return series
        if series.null_count() == len(series):
            return pl.Series(series.name, [None], dtype=wanted).new_from_index(0, len(series))
        if series.dtype.is_numeric() and wanted.is_numeric():
            return series.cast(wanted)
    return decode(_cell_json(part, name).alias(series.name), kind)


def known_columns(frame: pl.DataFrame, columns: Sequence[str], table: str = "deliveries") -> list[str]:
    """Select columns; raise `ReplayError` for one that does not exist."""
    names = texts_of(columns, "columns", error=ReplayError)
    for name in names:
        if name not in frame.columns:
            raise ReplayError.unknown(f"{table} have no column {name!r}", name, frame.columns)
    return names
