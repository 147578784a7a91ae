"""Validation of rows: those that cannot be events, and why.

The common case, that nothing is wrong, costs one pass over null masks. Reasons are worked out only for bad
rows.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final

import numpy as np
import polars as pl

from flowdsl.events import JSON_COLUMNS, KINDS, MAX_NESTING, json_value, missing_field, needs_of, too_deep
from flowdsl.log.columns import BEYOND, NOT_UTF8, row_in_python
from flowdsl.text import short_repr
from flowdsl.values.far_numbers import FAR as FAR_NUMBER
from flowdsl.values.far_numbers import MAY_BE_FAR, far_number
from flowdsl.values.json_types import Mask
from flowdsl.values.masks import as_mask, where_equal, where_present
from flowdsl.values.sql import query

LINK: Final = ("link_type", "source_id", "target_id")
ENTITY: Final = ("entity_type", "entity_id")
FAR: Final = "timestamp is beyond the years 1 to 9999"
JUDGED: Final = ("kind", "timestamp", *ENTITY, *LINK, "link_id")

# What DuckDB lets pass as JSON although it is none: NaN and Infinity, also as `nan` and `inf`, and a comma
# before a closing bracket. The first pattern finds some more, and takes a fraction of the time.
_SUSPECT: Final = r"(?-u)(?i:nan|inf)|[, \n\r\t][}\]]"
_LENIENT: Final = r"(?-u)(?:^|[:,\[ \n\r\t])[-+]?(?i:nan|inf|infinity)(?:$|[, \n\r\t}\]])|,[ \n\r\t]*[}\]]"
# the kinds of links are the first ones
_LINK_KINDS: Final = sum(kind.startswith("link.") for kind in KINDS)
NO_KIND: Final = "kind is null"
"""The reason of a row without a kind."""


def bad_rows(shaped: pl.DataFrame, sound: Collection[str] = ()) -> pl.Series | None:
    """Return a mask of the rows that cannot be events (their JSON apart), or None where all can.

    `sound` names columns known to hold neither null nor "" where a kind needs them; they need not be there.
    Any other column that is absent is null.
    """
    wrong = [mask for mask in (*_wrong_rows(shaped), *_wrong_for_their_kind(shaped, sound)) if mask.any()]
    return pl.Series("bad", np.logical_or.reduce(wrong)) if wrong else None


def _wrong_rows(shaped: pl.DataFrame) -> Iterator[Mask]:
    """Yield masks of rows that cannot be events of any kind."""
    for name in ("kind", "timestamp"):
        if shaped[name].null_count():
            yield ~where_present(shaped[name])
    if "seq_no" in shaped.columns:
        yield ~as_mask(shaped["seq_no"] >= 1)
    if NOT_UTF8 in shaped.columns:
        yield as_mask(shaped[NOT_UTF8])


def _wrong_for_their_kind(shaped: pl.DataFrame, sound: Collection[str]) -> Iterator[Mask]:
    """Yield masks of rows that lack what events of their kind have."""
    kinds = shaped["kind"].to_physical()
    # rows without a kind are wrong anyway
    link = (kinds.fill_null(0) if kinds.null_count() else kinds).to_numpy() < _LINK_KINDS
    if link.any():
        yield from (link & mask for mask in _wrong_links(shaped, sound))
    if not link.all() and (gap := _gaps(shaped, ENTITY, sound)) is not None:
        yield ~link & gap


def _wrong_links(shaped: pl.DataFrame, sound: Collection[str]) -> Iterator[Mask]:
    """Yield masks of rows that cannot be events if they are of links."""
    gap = _gaps(shaped, LINK, sound)
    if gap is not None:
        nameless = where_equal(shaped["kind"], "link.created")
        without_id = _gaps(shaped, ("link_id",), sound)
        yield gap & (nameless if without_id is None else nameless | without_id)
    if "link_id" in shaped.columns and (empty := _where_empty(shaped["link_id"])) is not None:
        yield empty


def bad_json(shaped: pl.DataFrame) -> dict[str, list[int]]:
    """Return the rows whose `data` or `metadata` is text that is not JSON, by column; columns without such
    rows are left out.
    """
    found: dict[str, list[int]] = {}
    for name in JSON_COLUMNS:
        if shaped.schema.get(name) != pl.String:
            continue
        texts = shaped.select(
            pl.int_range(pl.len(), dtype=pl.UInt32).alias("row"), pl.col(name).alias("text")
        )
        texts = texts.drop_nulls()
        if texts.height and (wrong := _invalid(texts)):
            found[name] = wrong
    return found


def without_texts(frame: pl.DataFrame, rows: Mapping[str, list[int]]) -> pl.DataFrame:
    """Return a frame with null in these rows of these columns."""
    return frame.with_columns(
        pl.when(~pl.int_range(pl.len()).is_in(some)).then(pl.col(name)).alias(name)
        for name, some in rows.items()
    )


def faults(raw: pl.DataFrame, shaped: pl.DataFrame, *, to_keep: bool = True) -> dict[int, str]:
    """Return the rows of a piece that cannot be events, JSON included, each with the reason.

    What is not stored but replayed in place may have numbers beyond any float: they are infinities
    there. To look for them takes as long as to see that a text is JSON.
    """
    found: dict[int, str] = {}
    for name, rows in bad_json(shaped).items():
        for row in rows:
            found.setdefault(
                row, f"{name} is text that is not JSON, or nested deeper than {MAX_NESTING} levels"
            )
    for row, path in _far_numbers(shaped) if to_keep else ():
        found.setdefault(row, f"{path} {FAR_NUMBER}")
    bad = bad_rows(shaped)
    for row in [] if bad is None else bad.arg_true():
        found[row] = _reason(row_in_python(raw, row), row_in_python(shaped, row))
    return found


def _far_numbers(shaped: pl.DataFrame) -> Iterator[tuple[int, str]]:
    """Return the rows with a number that no float holds in `data` or `metadata`, with the path to it."""
    for name in JSON_COLUMNS:
        if shaped.schema.get(name) != pl.String:
            continue
        for row in shaped[name].str.contains(MAY_BE_FAR).fill_null(value=False).arg_true():
            text = shaped[name][row]
            path = far_number(text, name) if _is_json(text) and not too_deep(text) else None
            if path is not None:
                yield row, path


def _reason(raw: dict[str, Any], shaped: dict[str, Any]) -> str:
    """Return why a row that `bad_rows` marked cannot be an event; `raw` is the row as the source has it."""
    if shaped.get(NOT_UTF8):
        return "text that is not UTF-8"
    if shaped["kind"] is None:
        return NO_KIND if raw.get("kind") is None else f"unknown kind {_format(raw['kind'])}"
    if shaped["timestamp"] is None:
        stamp = raw.get("timestamp")
        if isinstance(stamp, str) and stamp.endswith(BEYOND):
            return f"{FAR}: {stamp}"
        return "timestamp is null" if stamp is None else f"timestamp {_format(stamp)} cannot be read"
    gap = missing_field(shaped["kind"], shaped)
    if gap:
        state = "null" if shaped.get(gap) is None else "empty"
        return f"{gap} is {state}, and {shaped['kind']} needs {needs_of(shaped['kind'])}"
    if "seq_no" in shaped and (shaped["seq_no"] is None or shaped["seq_no"] < 1):
        return f"seq_no is {_format(raw.get('seq_no'))}, not 1 or more"
    return "link_id is empty"


def drop_rows(frame: pl.DataFrame, rows: Collection[int]) -> pl.DataFrame:
    """Return a frame without some of its rows.

    >>> drop_rows(pl.DataFrame({"a": [1, 2, 3]}), [1])["a"].to_list()
    [1, 3]
    """
    return frame.filter(~pl.int_range(frame.height, eager=True).is_in(list(rows))) if rows else frame


def excerpt(raw: dict[str, Any]) -> str:
    """Return a row as short text: the fields that are not null."""
    return ", ".join(f"{name}={_format(value)}" for name, value in raw.items() if value is not None)[:200]


def _gaps(shaped: pl.DataFrame, needed: tuple[str, ...], sound: Collection[str]) -> Mask | None:
    """Return where one of the needed columns is absent, null or empty; None where none is."""
    gaps: list[Mask] = []
    for name in needed:
        if name in sound:
            continue
        if name not in shaped.columns:
            return np.ones(shaped.height, np.bool_)
        texts = shaped[name]
        if texts.null_count():
            gaps.append(~where_present(texts))
        if (empty := _where_empty(texts)) is not None:
            gaps.append(empty)
    return np.logical_or.reduce(gaps) if gaps else None


def _where_empty(texts: pl.Series) -> Mask | None:
    """Return where a text is empty; None where none is."""
    if texts.null_count() == len(texts):
        return None
    empty = texts == ""
    return as_mask(empty) if empty.any() else None


def _invalid(texts: pl.DataFrame) -> list[int]:
    rows: list[int] = query("SELECT row FROM texts WHERE NOT json_valid(text)", texts=texts)["row"].to_list()
    return sorted({*rows, *lenient(texts)})


def lenient(texts: pl.DataFrame) -> list[int]:
    """Return the rows that DuckDB accepts although they are not JSON, or are nested too deep."""
    # only long texts that open that many brackets can be nested that deep; a level takes two bytes where the
    # next one opens at once, else three
    long = texts.filter(pl.col("text").str.len_bytes() > 2 * MAX_NESTING)
    dense = pl.col("text").str.contains("[[", literal=True)
    long = long.filter(dense | (pl.col("text").str.len_bytes() > 3 * MAX_NESTING))
    brackets = pl.col("text").str.count_matches("{", literal=True) + pl.col("text").str.count_matches(
        "[", literal=True
    )
    long = long.filter(brackets > MAX_NESTING)
    rows = [row for row, text in long.iter_rows() if too_deep(text)] if long.height else []
    suspects = texts
    for pattern in (_SUSPECT, _LENIENT):
        suspects = suspects.filter(pl.col("text").str.contains(pattern))
    return rows + [row for row, text in suspects.iter_rows() if not _is_json(text)]


def _is_json(text: str) -> bool:
    try:
        json_value(text)
    except (ValueError, RecursionError):
        return False
    return True


def _format(value: Any) -> str:
    return short_repr(value) if isinstance(value, (str, bytes)) else f"{value!s:.60}"
