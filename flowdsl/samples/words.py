"""Ids, names and sentences of the sample data, generated from numbers."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from flowdsl.values.json_types import Ints

# id spaces: the same number gives another id in each
USER, POST, COMMENT, LINK = 1, 2, 3, 4

_FIRST: Final = (
    "Ada",
    "Bruno",
    "Chiara",
    "Dmitri",
    "Elif",
    "Femi",
    "Greta",
    "Hiro",
    "Ines",
    "Jonas",
    "Keiko",
    "Lars",
    "Mira",
    "Noor",
    "Olu",
    "Petra",
    "Quentin",
    "Rosa",
    "Samir",
    "Tove",
    "Uma",
    "Viktor",
    "Wanda",
    "Xian",
    "Yara",
    "Zoltan",
)
_LAST: Final = (
    "Adeyemi",
    "Berg",
    "Costa",
    "Dufour",
    "Eriksen",
    "Fontaine",
    "García",
    "Hoffmann",
    "Ivanova",
    "Jansen",
    "Kowalski",
    "Lindqvist",
    "Moreau",
    "Nakamura",
    "Okafor",
    "Papadakis",
    "Quispe",
    "Rossi",
    "Sato",
    "Tanaka",
    "Ueda",
    "Vargas",
    "Weber",
)
_CITIES: Final = (
    "Accra",
    "Bergen",
    "Cusco",
    "Dublin",
    "Esbjerg",
    "Funchal",
    "Ghent",
    "Hanoi",
    "Izmir",
    "Jaipur",
    "Kyoto",
)
_TOPICS: Final = (
    "rivers",
    "bread",
    "old maps",
    "bicycles",
    "night trains",
    "tea",
    "moss",
    "clocks",
    "tides",
    "chess",
)
_STARTS: Final = (
    "On",
    "Notes on",
    "The trouble with",
    "In praise of",
    "A week of",
    "Against",
    "How I came to",
)
_COMMENTS: Final = (
    "I had no idea",
    "so true",
    "could you say more",
    "not in my town",
    "lovely",
    "I tried this",
    "first",
)
_HEX: Final = np.frombuffer(b"0123456789abcdef", dtype=np.uint8)
_DIGITS: Final = np.array([i for i in range(36) if i not in (8, 13, 18, 23)])


def uuids(space: int | Ints, numbers: Ints, seed: np.uint64) -> pl.Series:
    """Return a reproducible UUID (version 4) for each number of a space."""
    keys = numbers.astype(np.uint64) * np.uint64(16) + np.asarray(space).astype(np.uint64)
    halves = [
        _mix(keys + _mix(np.full(1, seed * np.uint64(2) + np.uint64(half))) * np.uint64(3)) for half in (0, 1)
    ]
    raw = np.stack(halves, axis=1).astype(">u8").view(np.uint8).reshape(len(numbers), 16)
    raw[:, 6] = (raw[:, 6] & 0x0F) | 0x40
    raw[:, 8] = (raw[:, 8] & 0x3F) | 0x80
    text = np.full((len(numbers), 36), ord("-"), dtype=np.uint8)
    text[:, _DIGITS[0::2]], text[:, _DIGITS[1::2]] = _HEX[raw >> 4], _HEX[raw & 15]
    offsets = np.arange(0, 36 * (len(numbers) + 1), 36, dtype=np.int64)
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(text.tobytes())]
    found = pl.from_arrow(pa.Array.from_buffers(pa.large_string(), len(numbers), buffers))
    assert isinstance(found, pl.Series)
    return found


def people(numbers: Ints, seed: np.uint64, edited: Any = False) -> pl.DataFrame:
    """Return users: id, name, city, and whether they want notifications of others' posts."""
    moved = np.where(edited, 3, 0)
    return pl.DataFrame(
        {
            "id": uuids(USER, numbers, seed),
            "name": _pick(_FIRST, numbers) + " " + _pick(_LAST, numbers // len(_FIRST) + numbers),
            "city": _pick(_CITIES, numbers * 7 + moved),
            "active": numbers % 10 != 3,
        }
    )


def posts(numbers: Ints, authors: Ints, seed: np.uint64, edited: Any = False) -> pl.DataFrame:
    """Return posts: id, author, title and topic."""
    topic = _pick(_TOPICS, numbers * 3 + numbers // 7)
    late = pl.Series(np.where(np.broadcast_to(edited, len(numbers)), " (edited)", ""))
    return pl.DataFrame(
        {
            "id": uuids(POST, numbers, seed),
            "author_id": uuids(USER, authors, seed),
            "title": _pick(_STARTS, numbers) + " " + topic + late,
            "topic": topic,
        }
    )


def comments(numbers: Ints, authors: Ints, on: Ints, seed: np.uint64) -> pl.DataFrame:
    """Return comments: id, post, author and text."""
    return pl.DataFrame(
        {
            "id": uuids(COMMENT, numbers, seed),
            "post_id": uuids(POST, on, seed),
            "author_id": uuids(USER, authors, seed),
            "text": _pick(_COMMENTS, numbers),
        }
    )


def json_rows(frame: pl.DataFrame) -> pl.Series:
    """Return each row as JSON text; no text here needs escaping."""
    pieces: list[pl.Expr] = []
    for name, dtype in frame.schema.items():
        quote = '"' if dtype == pl.String else ""
        lead = ("{" if not pieces else ",") + f'"{name}":{quote}'
        pieces += [pl.lit(lead), pl.col(name).cast(pl.String), pl.lit(quote)]
    return frame.select(pl.concat_str([*pieces, pl.lit("}")]).alias("data")).to_series()


def _pick(words: tuple[str, ...], numbers: Ints) -> pl.Series:
    return pl.Series(words)[numbers % len(words)]


def _mix(keys: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Hash numbers (splitmix64)"""
    z = keys + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: npt.NDArray[np.uint64] = z ^ (z >> np.uint64(31))
    return mixed
