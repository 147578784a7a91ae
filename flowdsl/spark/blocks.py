"""Blocks: the events of one chunk of the log for one shard, as bytes in one row.

So Spark shuffles and sorts a row for each chunk and shard, and not one for each event. All blocks of a chunk
have the number of its first event, by which those of a shard are put in the order of the log.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any, Final, NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from flowdsl.values.json_types import Ints, Mask

EVENTS: Final = "events"
"""The name of a block of events with all of their columns."""
NUMBERS: Final = "numbers of events"
"""The name of a block of events that every task has: their numbers, and the clock at each."""
LINKS: Final = "links"
"""The name of a block of links of the snapshot, which come before all events."""
SCHEMA: Final = pa.schema(
    [("part", pa.int32()), ("seq_no", pa.int64()), ("name", pa.string()), ("content", pa.binary())]
)
"""The columns of blocks among those that go to shards."""
_COMPRESSED: Final = pa.ipc.IpcWriteOptions(compression="zstd")
# bytes of blocks that are given to Spark together
_TOGETHER: Final = 16 << 20


class Block(NamedTuple):
    """Rows for a shard, as bytes."""

    part: int
    seq_no: int
    name: str
    content: bytes | pa.Buffer


def to_bytes(table: pa.Table) -> bytes:
    """Return rows as bytes, compressed: what Spark compresses itself takes twice the room."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=_COMPRESSED) as stream:
        stream.write_table(table)
    content: bytes = sink.getvalue().to_pybytes()
    return content


def to_arrow(frame: pl.DataFrame) -> pa.Table:
    """Return rows as an Arrow table in the types of which a stretch is written without the rest."""
    # under a null that Polars read from a file lie bytes of another text
    gaps = [name for name, one in frame.schema.items() if one == pl.String and frame[name].has_nulls()]
    clean = (
        pl.when(pl.col(name).is_not_null()).then(pl.col(name).fill_null("")).alias(name) for name in gaps
    )
    table = frame.with_columns(clean).to_arrow(compat_level=pl.CompatLevel.oldest()).combine_chunks()
    short = (one.with_type(pa.string()) if _is_short(table[one.name]) else one for one in table.schema)
    return table.cast(pa.schema(short))


def _is_short(texts: pa.ChunkedArray) -> bool:
    """Return True for texts with 64-bit offsets that would fit into 32 bits."""
    return bool(pa.types.is_large_string(texts.type)) and texts.nbytes < 1 << 31


def table_of(content: bytes | pa.Buffer) -> pa.Table:
    """Return the rows of a block, over its bytes."""
    return pa.ipc.open_stream(content).read_all()


def join_blocks(tables: Sequence[pa.Table]) -> pa.Table:
    """Return the rows of several blocks."""
    return pa.concat_tables(tables, promote_options="permissive")


def stretches(shards: Ints) -> Iterator[tuple[int, int, int]]:
    """Yield each shard with its first row and the one behind its last; rows are in the order of shards."""
    if len(shards):
        for start, end in pairwise([0, *(np.flatnonzero(np.diff(shards)) + 1).tolist(), len(shards)]):
            yield int(shards[start]), start, end


def to_batches(blocks: Iterable[Block], schema: pa.Schema = SCHEMA) -> Iterator[pa.RecordBatch]:
    """Yield blocks as rows of a schema, whose other columns are null."""
    waiting: list[Block] = []
    size = 0
    for block in blocks:
        waiting.append(block)
        size += len(block.content)
        if size >= _TOGETHER:
            yield _batch(waiting, schema)
            waiting, size = [], 0
    if waiting:
        yield _batch(waiting, schema)


def _batch(blocks: Sequence[Block], schema: pa.Schema) -> pa.RecordBatch:
    values: dict[str, Any] = dict(zip(Block._fields, zip(*blocks, strict=True), strict=True))
    none = [None] * len(blocks)
    arrays = [pa.array(values.get(one.name, none), one.type) for one in schema]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def blocks_in(batch: pa.RecordBatch) -> Iterator[Block]:
    """Yield the blocks among rows, over the bytes of the rows."""
    for row in np.flatnonzero(_are_blocks(batch)).tolist():
        part, seq_no, name = (batch.column(one)[row].as_py() for one in Block._fields[:3])
        yield Block(part, seq_no, name, batch.column("content")[row].as_buffer())


def outputs_in(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch | None:
    """Return the rows that are not blocks, in a schema; None if there are none."""
    are_blocks = _are_blocks(batch)
    if are_blocks.all():
        return None
    rows = batch.filter(pa.array(~are_blocks)).select(schema.names)
    return pa.RecordBatch.from_arrays(rows.columns, schema=schema)


def _are_blocks(batch: pa.RecordBatch) -> Mask:
    names = pa.array([EVENTS, NUMBERS, LINKS])
    named = pc.is_in(batch.column("name"), names)  # pyright: ignore[reportAttributeAccessIssue]
    mask: Mask = named.to_numpy(zero_copy_only=False)
    return mask
