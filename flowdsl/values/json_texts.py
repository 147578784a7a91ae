"""Parsing of JSON texts into typed arrays, and writing of values as JSON text."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from flowdsl.values.json_types import Floats, Ints, Mask, Tag, Tags
from flowdsl.values.masks import where_present

if TYPE_CHECKING:
    import pyarrow as pa


class Parsed(NamedTuple):
    """JSON values grouped by type, as a `Column` holds them."""

    tags: Tags
    texts: pl.Series | None = None
    ints: Ints | None = None
    floats: Floats | None = None
    bools: Mask | None = None
    nested: pl.Series | None = None
    wide: pl.Series | None = None


def parse(given: pl.Series | pa.Array) -> Parsed:
    """Parse compact JSON texts, one per row; a null row is missing."""
    series = isinstance(given, pl.Series)
    array, documents = (_as_arrow(given), given) if series else (given, _as_series(given))
    heads, escapes = _first_bytes(array)
    tags = _TAG_OF_BYTE.take(heads)
    is_text, is_nested = tags == Tag.TEXT, tags >= Tag.ARRAY
    ints, floats, wide = _numbers(documents, tags) if (tags == Tag.INT).any() else (None, None, None)
    return Parsed(
        tags,
        texts=_unquote(documents, is_text, escapes=escapes) if is_text.any() else None,
        ints=ints,
        floats=floats,
        bools=heads == ord("t") if (tags == Tag.BOOL).any() else None,
        nested=only(documents, is_nested) if is_nested.any() else None,
        wide=wide,
    )


def _numbers(documents: pl.Series, tags: Tags) -> tuple[Any, Any, Any]:
    """Parse integers, floats, and the digits of integers that need all 64 bits; updates `tags`
    accordingly.
    """
    numeric = tags == Tag.INT
    numbers = only(documents, numeric)
    whole = numbers.cast(pl.Int64, strict=False)
    # a number with a fraction or an exponent is none to Polars, even where it is whole
    is_int = where_present(whole)
    is_float = numeric & ~is_int
    ints = whole.fill_null(0).to_numpy()
    if not is_float.any():
        return ints, None, None
    tags[is_float] = Tag.FLOAT
    others = only(numbers, is_float)
    # 2^63 has 19 digits
    long = others.str.len_bytes().ge(19).fill_null(value=False)
    wide = None
    if long.any():
        digits = only(others, where_present(others.cast(pl.UInt64, strict=False)) & long.to_numpy())
        wide = digits if digits.null_count() < len(digits) else None
    return ints, numbers.cast(pl.Float64, strict=False).fill_null(float("nan")).to_numpy(), wide


def quote_texts(texts: pl.Series) -> pl.Series:
    """Quote texts as JSON strings."""
    if not _need_escapes(texts):
        return pl.select(pl.format('"{}"', texts)).to_series()
    wrapped = (
        pl.DataFrame({"t": texts}).select(pl.struct(pl.col("t")).struct.json_encode().alias("j")).to_series()
    )
    # {"t":"…"} without its frame; a null text gives {"t":null}
    body = wrapped.str.slice(5).str.head(-1)
    return pl.select(pl.when(texts.is_not_null()).then(body)).to_series()


def _need_escapes(texts: pl.Series) -> bool:
    """Return whether any text has a quote, a backslash or a control character.

    To search bytes takes a fifth of the time of a pattern.
    """
    array = _as_arrow(texts)
    _, offsets, content = array.buffers()
    size = int(np.frombuffer(offsets, np.int64)[array.offset + len(array)]) if len(array) else 0
    letters = content[:size].to_pybytes() if size else b" "
    return b'"' in letters or b"\\" in letters or bool(np.frombuffer(letters, np.uint8).min() < ord(" "))


def joined_json(size: int, texts: Mapping[str, pl.Series]) -> pl.Series:
    """Return JSON objects of values that are JSON text, those that are null left out."""
    columns = {
        f"{json.dumps(name, ensure_ascii=False)}:": values
        for name, values in texts.items()
        if values.null_count() < size
    }
    if not columns:
        return pl.Series(["{}"]).new_from_index(0, size)
    pieces: list[Any] = []
    if any(values.null_count() for values in columns.values()):
        fields = [pl.concat_str([pl.lit(key), values]) for key, values in columns.items()]
        pieces += [pl.lit("{"), pl.concat_str(fields, separator=",", ignore_nulls=True)]
    else:
        # one text for each object, and none for its fields, takes a quarter of the time
        for key, values in columns.items():
            pieces += [pl.lit(f",{key}" if pieces else f"{{{key}"), values]
    return pl.select(pl.concat_str([*pieces, pl.lit("}")])).to_series()


def storable(text: str) -> str:
    """Replace lone surrogates, which JSON allows but UTF-8 does not, by the replacement character.

    >>> storable("a\\ud83d")
    'a�'
    """
    return text if text.isascii() else _HALF_PAIR.sub("�", text)


def null_texts(size: int) -> pl.Series:
    """Return a column of texts that are all null."""
    return pl.Series([None], dtype=pl.String).new_from_index(0, size)


def only(series: pl.Series, mask: Mask) -> pl.Series:
    """Keep the rows where the mask is True; the others become null."""
    return pl.select(pl.when(pl.Series(mask)).then(series)).to_series()


def _unquote(documents: pl.Series, mask: Mask, *, escapes: bool) -> pl.Series:
    strings = documents if mask.all() else only(documents, mask)
    plain = strings.str.slice(1).str.head(-1)
    if not escapes:
        return plain
    rows = strings.str.contains("\\", literal=True).fill_null(value=False).arg_true()
    return plain.scatter(rows, strings.gather(rows).str.json_decode(pl.String)) if len(rows) else plain


def _as_arrow(texts: pl.Series) -> pa.Array:
    # a name goes to Arrow as a C string, which a zero byte would end
    return texts.alias("").rechunk().to_arrow(compat_level=pl.CompatLevel.oldest())


def _as_series(texts: pa.Array) -> pl.Series:
    series = pl.from_arrow(texts)
    assert isinstance(series, pl.Series)
    return series.cast(pl.String)


def _first_bytes(array: pa.Array) -> tuple[npt.NDArray[np.uint8], bool]:
    """Return the first byte of each text (0 where null or empty), and whether any text contains a
    backslash.
    """
    buffers, width = array.buffers(), np.int64 if str(array.type) == "large_string" else np.int32
    offsets = np.frombuffer(buffers[1], width)[array.offset : array.offset + len(array) + 1]
    if not len(offsets) or offsets[0] == offsets[-1]:
        return np.zeros(len(array), np.uint8), False
    data = np.frombuffer(buffers[2], np.uint8)
    starts = offsets[:-1]
    heads = data.take(np.minimum(starts, len(data) - 1))
    heads[starts == offsets[1:]] = 0
    if array.null_count:
        # a null may lie over the bytes of a text
        heads[pl.Series(array.is_null()).to_numpy()] = 0
    return heads, bool((data[offsets[0] : offsets[-1]] == ord("\\")).any())


def _tags_by_byte() -> Tags:
    """Return the JSON type for each possible first byte."""
    table = np.full(256, Tag.INT, np.uint8)
    table[0] = Tag.MISSING
    for byte, tag in {
        '"': Tag.TEXT,
        "{": Tag.OBJECT,
        "[": Tag.ARRAY,
        "t": Tag.BOOL,
        "f": Tag.BOOL,
        "n": Tag.NULL,
    }.items():
        table[ord(byte)] = tag
    return table


_TAG_OF_BYTE: Final = _tags_by_byte()
_HALF_PAIR: Final = re.compile("[\ud800-\udfff]")
