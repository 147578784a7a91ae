"""Columns of JSON values: one type tag per row, and one array for each type that occurs.

Paths, conditions and templates meet values of any JSON type in one column, and must keep `1`, `1.0`, `"1"`,
`true`, null and *missing* apart. Most columns hold one type only; then `tags` is a single number, and work on
them is work on one array.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl

from flowdsl.values.interner import Interner
from flowdsl.values.json_conversion import as_text, nested_json, tag_of_dtype
from flowdsl.values.json_texts import null_texts, only, parse, quote_texts
from flowdsl.values.json_types import MISSING, Floats, Index, Ints, Mask, Tag, Tags, tag_of, uniform
from flowdsl.values.masks import as_mask, where_present

if TYPE_CHECKING:
    import pyarrow as pa

# of fewer rows than one in so many the texts are those of the interner: a few rows do not hold on to all
_WORTH_HOLDING: Final = 8


class DictionaryColumn:
    """Text as codes of an interner: equal codes are equal texts. Code 0 means no text.

    `read` has the same texts as they came, in rows that lie side by side: these are gathered faster than from
    all over the interner. `rows` says which of them; None for all.
    """

    __slots__ = ("codes", "interner", "read", "rows")

    def __init__(
        self,
        codes: npt.NDArray[np.int32],
        interner: Interner,
        read: pl.Series | None = None,
        rows: Index | None = None,
    ) -> None:
        self.codes = codes
        self.interner = interner
        self.read = read
        self.rows = rows

    def take(self, index: Index) -> DictionaryColumn:
        codes = self.codes.take(index)
        if self.read is None or len(index) * _WORTH_HOLDING < len(self.read):
            return DictionaryColumn(codes, self.interner)
        rows = index if self.rows is None else self.rows.take(index)
        return DictionaryColumn(codes, self.interner, self.read, rows)

    def series(self) -> pl.Series:
        if self.read is None:
            return self.interner.texts(self.codes)
        return self.read if self.rows is None else self.read[self.rows]


class Column:
    """`size` JSON values, typed row by row.

    `tags` is one `Tag` for all rows or an array of them. The storages have `size` rows each and mean
    something only where the tag says so: `texts` (a Polars series, or `DictionaryColumn`), `ints` (int64),
    `floats` (float64), `bools`, and `nested` (the JSON text of arrays and objects). `wide` has the digits of
    whole numbers from 2^63 to 2^64 - 1: they are compared as floats, and printed and handed on as they are.
    """

    __slots__ = ("bools", "floats", "ints", "nested", "size", "tags", "texts", "wide")

    def __init__(
        self,
        size: int,
        tags: Tag | Tags,
        *,
        texts: pl.Series | DictionaryColumn | None = None,
        ints: Ints | None = None,
        floats: Floats | None = None,
        bools: Mask | None = None,
        nested: pl.Series | None = None,
        wide: pl.Series | None = None,
    ) -> None:
        self.size = size
        self.tags = tags
        self.texts = texts
        self.ints = ints
        self.floats = floats
        self.bools = bools
        self.nested = nested
        self.wide = wide

    def __len__(self) -> int:
        return self.size

    @classmethod
    def constant(cls, value: Any, size: int) -> Column:
        """Return a column that repeats one Python value (or `MISSING`) `size` times."""
        one = cls.of([value])
        storages = ("texts", "ints", "floats", "bools", "nested", "wide")
        return cls(size, one.tags, **{name: _repeat(getattr(one, name), size) for name in storages})

    @classmethod
    def of(cls, values: Sequence[Any]) -> Column:
        """Build a column of Python values: None, bool, int, float, str, lists, mappings with text keys, or
        `MISSING`.
        """
        tags = np.fromiter(map(tag_of, values), np.uint8, len(values))
        deep = tags >= Tag.ARRAY
        inner = (
            [_dump(v) if d else None for v, d in zip(values, deep.tolist(), strict=True)]
            if deep.any()
            else ()
        )
        return cls(
            len(values),
            uniform(tags),
            texts=_pick(values, tags == Tag.TEXT, pl.String),
            ints=_numbers(values, tags, Tag.INT, np.int64),
            floats=_numbers(values, tags, Tag.FLOAT, np.float64),
            bools=_numbers(values, tags, Tag.BOOL, np.bool_),
            nested=_pick(inner, deep, pl.String),
            wide=wide_digits(values, tags),
        )

    @classmethod
    def from_codes(
        cls,
        codes: npt.NDArray[np.int32],
        interner: Interner,
        *,
        none: Tag = Tag.MISSING,
        read: pl.Series | None = None,
    ) -> Column:
        """Build a column of interned text; code 0 becomes `none`. `read` is the text as it came, if it is at
        hand.
        """
        absent = codes <= 0
        tags: Tag | Tags = Tag.TEXT
        if absent.any():
            tags = np.where(absent, np.uint8(none), np.uint8(Tag.TEXT))
        return cls(len(codes), tags, texts=DictionaryColumn(codes, interner, read))

    @classmethod
    def from_json(cls, documents: pl.Series | pa.Array) -> Column:
        """Parse compact JSON texts, one per row; a null row is missing."""
        parsed = parse(documents)
        return cls(
            len(documents),
            uniform(parsed.tags),
            texts=parsed.texts,
            ints=parsed.ints,
            floats=parsed.floats,
            bools=parsed.bools,
            nested=parsed.nested,
            wide=parsed.wide,
        )

    @classmethod
    def from_series(cls, series: pl.Series) -> Column:
        """Convert a column of a frame; null cells, and numbers that JSON cannot represent, become null.

        Times become RFC 3339 text, structs and lists JSON.
        """
        dtype = series.dtype
        size, tag = len(series), tag_of_dtype(dtype)
        if series.null_count() == size:
            return cls(size, Tag.NULL)
        if tag is None or dtype in _LONG:
            return cls.of(series.to_list())
        tags: Tag | Tags = tag
        if series.null_count():
            tags = np.where(where_present(series), np.uint8(tag), np.uint8(Tag.NULL))
        if tag is Tag.BOOL:
            return cls(size, tags, bools=as_mask(series))
        if tag is Tag.INT:
            return cls(size, tags, ints=series.cast(pl.Int64).fill_null(0).to_numpy())
        if tag is Tag.FLOAT:
            floats = series.cast(pl.Float64).fill_null(0.0).to_numpy()
            finite = np.isfinite(floats)
            if not finite.all():
                tags = np.where(finite & where_present(series), np.uint8(tag), np.uint8(Tag.NULL))
            return cls(size, tags, floats=floats)
        if tag is Tag.TEXT:
            return cls(size, tags, texts=as_text(series))
        return cls(size, tags, nested=nested_json(series))

    @classmethod
    def concat(cls, columns: Sequence[Column]) -> Column:
        """Concatenate columns."""
        columns = [c for c in columns if c.size] or list(columns[:1])
        if len(columns) == 1:
            return columns[0]
        return cls(
            sum(c.size for c in columns),
            _concat_tags(columns),
            texts=_concat_texts(columns),
            ints=_concat_arrays(columns, "ints", np.int64),
            floats=_concat_arrays(columns, "floats", np.float64),
            bools=_concat_arrays(columns, "bools", np.bool_),
            nested=_concat_series(columns, [c.nested for c in columns]),
            wide=_concat_series(columns, [c.wide for c in columns]),
        )

    def take(self, index: Index) -> Column:
        """Gather the rows at `index`, in that order."""
        return Column(
            len(index),
            self.tags.take(index) if isinstance(self.tags, np.ndarray) else self.tags,
            texts=gather_values(self.texts, index),
            ints=gather_values(self.ints, index),
            floats=gather_values(self.floats, index),
            bools=gather_values(self.bools, index),
            nested=gather_values(self.nested, index),
            wide=gather_values(self.wide, index),
        )

    def having(self, **parts: Any) -> Column:
        """Return the column with other tags or storages in place of these."""
        changed = Column(self.size, self.tags)
        for name in self.__slots__:
            setattr(changed, name, parts.get(name, getattr(self, name)))
        return changed

    def tag_array(self) -> Tags:
        """Return the tags as an array, even if all are the same."""
        if isinstance(self.tags, np.ndarray):
            return self.tags
        return np.full(self.size, self.tags, np.uint8)

    def one_tag(self) -> Tag | None:
        """Return the type that all values share, or None if there are several types or no values."""
        tag = uniform(self.tags) if isinstance(self.tags, np.ndarray) else self.tags
        return tag if isinstance(tag, Tag) else None

    def is_(self, *tags: Tag) -> Mask:
        """Return a mask of the rows whose value has one of these types."""
        if not isinstance(self.tags, np.ndarray):
            return np.full(self.size, self.tags in tags)
        mask: Mask = self.tags == tags[0]
        for tag in tags[1:]:
            mask = mask | (self.tags == tag)
        return mask

    def all_(self, *tags: Tag) -> bool:
        """Return True if every value has one of these types."""
        if not isinstance(self.tags, np.ndarray):
            return self.size == 0 or self.tags in tags
        return bool(self.is_(*tags).all())

    def present(self) -> set[Tag]:
        """Return the types that occur."""
        if not isinstance(self.tags, np.ndarray):
            return {self.tags}
        return set(map(Tag, np.flatnonzero(np.bincount(self.tags, minlength=len(Tag))).tolist()))

    def storages(self) -> dict[Tag, Any]:
        """Return where the values of each type are; None where the column has none."""
        return {
            Tag.BOOL: self.bools,
            Tag.INT: self.ints,
            Tag.FLOAT: self.floats,
            Tag.TEXT: self.texts,
            Tag.ARRAY: self.nested,
            Tag.OBJECT: self.nested,
        }

    def text_series(self) -> pl.Series:
        """Return the texts as a Polars series; rows that are not text hold arbitrary values."""
        if self.texts is None:
            return null_texts(self.size)
        return self.texts.series() if isinstance(self.texts, DictionaryColumn) else self.texts

    def values(self) -> list[Any]:
        """Return the values as Python objects, `MISSING` where there is none."""
        tag = self.one_tag()
        if tag is not None and tag < Tag.ARRAY:
            return self._values_of(tag)
        tags = self.tag_array()
        out: list[Any] = [None if t == Tag.NULL else MISSING for t in tags.tolist()]
        for tag, source in self.storages().items():
            rows = np.flatnonzero(tags == tag)
            if not len(rows) or source is None:
                continue
            items = _items_of(gather_values(source, rows))
            if tag >= Tag.ARRAY:
                items = list(map(json.loads, items))
            if tag is Tag.FLOAT and self.wide is not None:
                items = widen(items, self.wide[rows])
            for row, item in zip(rows.tolist(), items, strict=True):
                out[row] = item
        return out

    def _values_of(self, tag: Tag) -> list[Any]:
        """Return Python values of a column whose rows share one type other than array or object."""
        if tag is Tag.TEXT:
            return self.text_series().to_list()
        numbers = self.storages().get(tag)
        if numbers is not None:
            found: list[Any] = numbers.tolist()
            return widen(found, self.wide) if tag is Tag.FLOAT and self.wide is not None else found
        return [None if tag is Tag.NULL else MISSING] * self.size

    def to_json(self) -> pl.Series:
        """Return each value as compact JSON text, or null where it is missing."""
        tag = self.one_tag()
        if tag is Tag.TEXT:
            return quote_texts(self.text_series())
        if tag in (Tag.ARRAY, Tag.OBJECT) and self.nested is not None:
            return self.nested
        frame: dict[str, pl.Series] = {"tag": pl.Series(self.tag_array())}
        cases = self._json_cases(frame)
        if not isinstance(self.tags, np.ndarray):
            wanted = [e for t, e in cases if t == self.tags]
            expression = wanted[0] if wanted else pl.lit(None, pl.String)
        else:
            expression = pl.coalesce([pl.when(pl.col("tag") == t).then(e) for t, e in cases])
        out = pl.DataFrame(frame).select(expression.alias("json")).to_series()
        return out if len(out) == self.size else out.new_from_index(0, self.size)

    def _json_cases(self, frame: dict[str, pl.Series]) -> list[tuple[Tag, pl.Expr]]:
        """Return how values of each type are written, by columns that are put into `frame`."""
        cases: list[tuple[Tag, pl.Expr]] = [(Tag.NULL, pl.lit("null"))]
        if self.bools is not None:
            frame["bools"] = pl.Series(self.bools)
            cases.append((Tag.BOOL, pl.when(pl.col("bools")).then(pl.lit("true")).otherwise(pl.lit("false"))))
        if self.ints is not None:
            frame["ints"] = pl.Series(self.ints)
            cases.append((Tag.INT, pl.col("ints").cast(pl.String)))
        if self.floats is not None:
            frame["floats"] = pl.Series(self.floats)
            finite = pl.col("floats").is_finite()
            written = pl.when(finite).then(pl.col("floats").cast(pl.String)).otherwise(pl.lit("null"))
            if self.wide is not None:
                frame["wide"] = self.wide
                written = pl.coalesce("wide", written)
            cases.append((Tag.FLOAT, written))
        if self.texts is not None:
            frame["texts"] = quote_texts(self.text_series())
            cases.append((Tag.TEXT, pl.col("texts")))
        if self.nested is not None:
            frame["nested"] = self.nested
            cases += [(Tag.ARRAY, pl.col("nested")), (Tag.OBJECT, pl.col("nested"))]
        return cases

    def to_series(self) -> tuple[pl.Series, bool]:
        """Return the column in the simplest type that holds it, and whether that is JSON text because no
        other type fits.

        Numbers of both sorts are JSON text too: so each is written as it is.

        Missing and null are both null there.
        """
        present = self.present() - {Tag.MISSING, Tag.NULL}
        absent = self.is_(Tag.MISSING, Tag.NULL) if isinstance(self.tags, np.ndarray) else None
        if not present:
            return null_texts(self.size), False
        if present == {Tag.TEXT}:
            return _blank(self.text_series(), absent), False
        storages = self.storages()
        if present in ({Tag.INT}, {Tag.BOOL}):
            return _blank(pl.Series(storages[present.pop()]), absent), False
        if present == {Tag.FLOAT} and self.wide is None:
            finite = np.isfinite(storages[Tag.FLOAT])
            if not finite.all():
                # JSON has no such number
                absent = ~finite if absent is None else absent | ~finite
            return _blank(pl.Series(storages[Tag.FLOAT]), absent), False
        return _blank(self.to_json(), absent), True


# integers of these may be beyond 63 bits
_LONG: Final = (pl.UInt64, pl.Int128, pl.UInt128)


def _dump(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _repeat(storage: Any, size: int) -> Any:
    """Return the one value of a series or an array `size` times; None for None."""
    if storage is None:
        return None
    return storage.new_from_index(0, size) if isinstance(storage, pl.Series) else storage.repeat(size)


def _pick(values: Sequence[Any], mask: Mask, dtype: Any) -> pl.Series | None:
    if not mask.any():
        return None
    return pl.Series([v if m else None for v, m in zip(values, mask.tolist(), strict=True)], dtype=dtype)


def _numbers(values: Sequence[Any], tags: Tags, tag: Tag, dtype: Any) -> Any:
    mask = tags == tag
    if not mask.any():
        return None
    return np.array([v if m else 0 for v, m in zip(values, mask.tolist(), strict=True)], dtype)


def _blank(series: pl.Series, absent: Mask | None) -> pl.Series:
    return series if absent is None or not absent.any() else only(series, ~absent)


def gather_values(source: Any, index: Index) -> Any:
    """Return the values of some rows of a series, an array or a column; None for None."""
    if source is None:
        return None
    return source[index] if isinstance(source, pl.Series) else source.take(index)


def _concat_tags(columns: Sequence[Column]) -> Tag | Tags:
    first = columns[0].tags
    if not isinstance(first, np.ndarray) and all(column.tags is first for column in columns):
        return first
    return np.concatenate([column.tag_array() for column in columns])


def _concat_texts(columns: Sequence[Column]) -> pl.Series | DictionaryColumn | None:
    texts = [column.texts for column in columns]
    coded = [text for text in texts if isinstance(text, DictionaryColumn)]
    if len(coded) == len(columns) and len({id(text.interner) for text in coded}) == 1:
        codes = np.concatenate([text.codes for text in coded])
        return DictionaryColumn(codes, coded[0].interner, _concat_read(coded))
    return _concat_series(columns, [_as_series(text) for text in texts])


def _concat_read(texts: Sequence[DictionaryColumn]) -> pl.Series | None:
    """Concatenate the texts as they were read, if all of them are there whole."""
    read = [text.read for text in texts if text.read is not None and text.rows is None]
    if len(read) < len(texts):
        return None
    return pl.concat([one.alias("") for one in read], rechunk=True)


def _as_series(texts: pl.Series | DictionaryColumn | None) -> pl.Series | None:
    return texts.series() if isinstance(texts, DictionaryColumn) else texts


def _items_of(values: pl.Series | DictionaryColumn | npt.NDArray[Any]) -> list[Any]:
    if isinstance(values, DictionaryColumn):
        values = values.series()
    found: list[Any] = values.to_list() if isinstance(values, pl.Series) else values.tolist()
    return found


def _concat_series(columns: Sequence[Column], parts: Sequence[pl.Series | None]) -> pl.Series | None:
    if all(p is None for p in parts):
        return None
    return pl.concat(
        [(null_texts(c.size) if p is None else p).alias("") for c, p in zip(columns, parts, strict=True)],
        # texts in several pieces take a multiple of the time to gather
        rechunk=True,
    )


def _concat_arrays(columns: Sequence[Column], name: str, dtype: Any) -> Any:
    parts = [getattr(c, name) for c in columns]
    if all(p is None for p in parts):
        return None
    return np.concatenate(
        [np.zeros(c.size, dtype) if p is None else p for c, p in zip(columns, parts, strict=True)]
    )


def wide_digits(values: Sequence[Any], tags: Tags) -> pl.Series | None:
    """Return the digits of integers from 2^63 to 2^64 - 1, which are computed with as floats; None if there
    are none.
    """
    floats = np.flatnonzero(tags == Tag.FLOAT).tolist()
    found = {
        row: str(values[row])
        for row in floats
        if isinstance(values[row], (int, np.integer)) and 2**63 <= values[row] < 2**64
    }
    return pl.Series([found.get(row) for row in range(len(values))], dtype=pl.String) if found else None


def widen(floats: list[Any], wide: pl.Series) -> list[Any]:
    """Return the numbers with those that need all 64 bits as integers."""
    return [
        number if digits is None else int(digits)
        for number, digits in zip(floats, wide.to_list(), strict=True)
    ]
