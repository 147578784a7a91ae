"""Normalization of ids that are UUIDs to lower case with hyphens."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Final

import polars as pl

from flowdsl.log.wrapper import Wrapped
from flowdsl.values.json_types import Mask

if TYPE_CHECKING:
    from flowdsl.log.pushdown import ScanFilter

ID_COLUMNS: Final = ("entity_id", "link_id", "source_id", "target_id")
CANONICAL: Final = "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"
_HYPHENATED: Final = "[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"
_SPELLING: Final = re.compile(rf"[0-9a-fA-F]{{32}}|{_HYPHENATED}|\{{{_HYPHENATED}\}}|urn:uuid:{_HYPHENATED}")
_LENGTHS: Final = [32, 36, 38, 45]


def uuid_of(text: str) -> str | None:
    """Return the UUID in a text, normalized, or None.

    >>> uuid_of("{00000000-0000-0000-0000-00000000000A}"), uuid_of("ann")
    ('00000000-0000-0000-0000-00000000000a', None)
    """
    if not _SPELLING.fullmatch(text):
        return None
    digits = text.removeprefix("urn:uuid:").strip("{}").replace("-", "").lower()
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def one_spelling(texts: pl.Series) -> pl.Series:
    """Normalize the UUIDs among ids; others are unchanged."""
    texts = texts.cast(pl.String)
    odd = texts.str.len_bytes().is_in(_LENGTHS) & ~texts.str.contains(CANONICAL)
    rows = odd.fill_null(value=False).arg_true()
    if not len(rows):
        return texts
    there = texts.gather(rows).to_list()
    return texts.clone().scatter(rows, [uuid_of(text) or text for text in there])


def are_uuids(texts: pl.Series) -> Mask:
    """Return a mask of the normalized ids that are UUIDs."""
    found: Mask = texts.str.contains(CANONICAL).fill_null(value=False).to_numpy()
    return found


class NormalizedUuids(Wrapped):
    """Log whose ids are normalized."""

    def chunks(
        self, columns: Collection[str], size: int, after: int = 0, interest: ScanFilter | None = None
    ) -> Iterator[pl.DataFrame]:
        """Yield the events in chunks."""
        for frame in super().chunks(columns, size, after, interest):
            ids = [name for name in ID_COLUMNS if name in frame.columns]
            yield frame.with_columns(one_spelling(frame[name]).alias(name) for name in ids)
