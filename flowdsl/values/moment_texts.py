"""Moments as text, put together from tables of days and seconds: a third of the time that printing each
takes.
"""

from __future__ import annotations

from functools import cache
from typing import Final

import numpy as np
import polars as pl

_SECOND: Final = 1_000_000
_DAY: Final = 86_400
# nothing, the place after those of 000 to 999
_NONE: Final = 1000


def moment_texts(moments: pl.Series, end: str = "") -> pl.Series | None:
    """Print moments (µs) like `2026-01-31T08:00:00.250`, and an `end`; return None where they are too few, or
    too far apart, for tables to pay.

    >>> moments = pl.Series([1_767_225_600_250_000] * 5000).cast(pl.Datetime("us"))
    >>> moment_texts(moments)[0]
    '2026-01-01T00:00:00.250'
    """
    if len(moments) - moments.null_count() < _NONE:
        return None
    micros = moments.to_physical().fill_null(strategy="min").to_numpy()
    seconds, fraction = np.divmod(micros, _SECOND)
    days, seconds = np.divmod(seconds, _DAY)
    first, last = int(days.min()), int(days.max())
    if last - first > len(moments):
        return None
    dates = pl.Series(np.arange(first, last + 1)).cast(pl.Int32).cast(pl.Date).dt.strftime("%Y-%m-%dT")
    parts = [dates.gather(days - first), _times().gather(seconds)]
    if fraction.any():
        thousandths, rest = np.divmod(fraction, 1000)
        parts.append(_thousandths(".").gather(np.where(fraction, thousandths, _NONE)))
        if rest.any():
            parts.append(_thousandths("").gather(np.where(rest, rest, _NONE)))
    texts = pl.select(pl.concat_str([*parts, pl.lit(end)])).to_series()
    return texts.set(moments.is_null(), None) if moments.null_count() else texts


@cache
def _times() -> pl.Series:
    """Return the time of each second of a day."""
    return pl.Series(np.arange(_DAY) * 1_000_000_000).cast(pl.Time).dt.strftime("%H:%M:%S")


@cache
def _thousandths(before: str) -> pl.Series:
    return pl.Series([*(f"{before}{number:03}" for number in range(_NONE)), ""])
