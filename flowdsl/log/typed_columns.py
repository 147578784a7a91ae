"""Texts of a source that are numbers or truth values, as in CSV files, read as what they are."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import numpy as np
import polars as pl

from flowdsl.log.nested_rows import check_path, replace_content, rows_of, value_at_path, with_value
from flowdsl.log.origins import Paths
from flowdsl.log.problems import RowProblems
from flowdsl.log.shape import Types
from flowdsl.log.text_readers import TextBlock
from flowdsl.text import short_repr

_TEXTS: Final = (pl.String, pl.Categorical, pl.Enum)
_TRUTH: Final = {
    **dict.fromkeys(("true", "t", "yes", "y", "1"), True),
    **dict.fromkeys(("false", "f", "no", "n", "0"), False),
}
_SAID: Final = {int: "a whole number of 64 bits", float: "a number", bool: "true or false"}
_APART: Final = r"[.\s'’]"
_GROUPED: Final = rf"[0-9]+|[0-9]{{1,3}}({_APART}[0-9]{{3}})+"
# what a number is like by its type and decimal sign; where that is a comma, thousands may be set apart
_FORMS: Final = {
    (int, "."): r"^[+-]?[0-9]+$",
    (float, "."): r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$",
    (int, ","): rf"^[+-]?({_GROUPED})$",
    (float, ","): rf"^[+-]?(({_GROUPED})(,[0-9]*)?|,[0-9]+)$",
}


class TextTypes:
    """Types of columns of text, which a source reads block by block."""

    def __init__(self, types: Types, decimal: str) -> None:
        self._types, self._decimal = types, decimal

    def read(self, block: TextBlock, problems: RowProblems) -> TextBlock:
        """Convert the texts of a block; a row with a text that is not of its type is reported as broken."""
        if not self._types:
            return block
        broken: dict[int, str] = {}
        if isinstance(block.content, pl.DataFrame):
            content = self._of_table(block, block.content, broken)
        else:
            content = self._of_rows(block, broken)
        if not broken:
            return replace(block, content=content)
        for i, why in sorted(broken.items()):
            text = None if block.texts is None else block.texts[i][:300]
            problems.add(block.place, block.rows[i], "broken", why, text)
        good = np.delete(np.arange(len(block.rows)), list(broken)).tolist()
        rest = content[good] if isinstance(content, pl.DataFrame) else [content[i] for i in good]
        return replace_content(block, rest, good)

    def _of_table(self, block: TextBlock, table: pl.DataFrame, broken: dict[int, str]) -> Any:
        for path in self._types:
            check_path("types", path, block.place, table.columns)
        if not set(self._types) <= set(table.columns):
            # a path into a column
            return self._of_rows(block, broken)
        texts = [table[path] for path in self._types if table.schema[path] in _TEXTS]
        return table.with_columns(self._values(text.cast(pl.String), broken) for text in texts)

    def _of_rows(self, block: TextBlock, broken: dict[int, str]) -> list[dict[str, Any]]:
        rows, paths = [*map(dict, rows_of(block))], Paths()
        for path in self._types:
            found = [value_at_path(paths, row, path) for row in rows]
            texts = [value if isinstance(value, str) else None for value in found]
            values = self._values(pl.Series(path, texts, dtype=pl.String), broken)
            for i in np.flatnonzero([text is not None for text in texts]).tolist():
                rows[i] = with_value(rows[i], path, values[i])
        return rows

    def _values(self, texts: pl.Series, broken: dict[int, str]) -> pl.Series:
        """Return texts as values of their type, null where they are blank; others that are not of the type go
        to `broken`.
        """
        plain, wanted = texts.str.strip_chars(), self._types[texts.name]
        if wanted is bool:
            values = plain.str.to_lowercase().replace_strict(_TRUTH, default=None, return_dtype=pl.Boolean)
        else:
            values = _numbers(plain, wanted, self._decimal)
        for i in (values.is_null() & (plain != "")).arg_true():
            broken.setdefault(i, self._refuse(texts.name, texts[i]))
        return values

    def _refuse(self, name: str, text: str) -> str:
        wanted = self._types[name]
        said = f"{name} is {short_repr(text, 40)}, not {_SAID[wanted]}"
        hints = {
            ".": "; decimal=',' reads a comma as the decimal sign",
            ",": "; with decimal=',' a point is none",
        }
        other = "," if self._decimal == "." else "."
        return f"{said}{hints[self._decimal]}" if other in text and wanted is not bool else said


def _numbers(texts: pl.Series, wanted: type[int] | type[float], decimal: str) -> pl.Series:
    """Return texts as numbers; null where a text is not a number."""
    well_formed = texts.str.contains(_FORMS[wanted, decimal])
    if decimal == ",":
        texts = texts.str.replace_all(_APART, "").str.replace(",", ".", literal=True)
    numbers = texts.cast(pl.Int64 if wanted is int else pl.Float64, strict=False)
    # JSON has no number that no float holds
    good = well_formed & numbers.is_finite()
    return numbers.zip_with(good.fill_null(value=False), numbers.clear(len(numbers)))
