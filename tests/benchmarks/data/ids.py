"""UUID-like ids as Arrow text, made without a Python loop."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_HEX = np.frombuffer(b"0123456789abcdef", dtype=np.uint8)
_DIGITS = np.array([i for i in range(36) if i not in (8, 13, 18, 23)])


def uuids(count: int, rng: np.random.Generator) -> pa.Array:
    """Give `count` random ids of 36 characters, in the shape of a UUID of version 4."""
    raw = rng.integers(0, 256, size=(count, 16), dtype=np.uint8)
    raw[:, 6] = (raw[:, 6] & 0x0F) | 0x40
    raw[:, 8] = (raw[:, 8] & 0x3F) | 0x80
    text = np.full((count, 36), ord("-"), dtype=np.uint8)
    text[:, _DIGITS[0::2]] = _HEX[raw >> 4]
    text[:, _DIGITS[1::2]] = _HEX[raw & 15]
    offsets = np.arange(0, 36 * (count + 1), 36, dtype=np.int64)
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(text.tobytes())]
    return pa.Array.from_buffers(pa.large_string(), count, buffers)


def take(values: pa.Array, index: np.ndarray) -> pa.Array:
    """Copy the values at `index`, so that the rows share no memory with the source (as in rows read from a file)."""
    return pc.take(values, pa.array(index))


def skewed(count: int, size: int, power: float, rng: np.random.Generator) -> np.ndarray:
    """Draw `size` integers below `count`, small ones more often: the power is 1 for an even draw."""
    return np.minimum((rng.random(size) ** power * count).astype(np.int64), count - 1)


def constant(value: str, count: int) -> pa.Array:
    """Give a column that holds one text."""
    return pa.array([value], pa.large_string()).take(pa.array(np.zeros(count, np.int64)))


def timestamps(count: int, seconds: float, rng: np.random.Generator) -> np.ndarray:
    """Give sorted times (µs) over a span, busier by day than by night, as people are."""
    even = np.sort(rng.random(count)) * seconds
    day = 86_400.0
    warped = even + 0.8 * day / (2 * np.pi) * np.sin(2 * np.pi * even / day)
    start = 1_767_225_600_000_000  # 2026-01-01T00:00:00Z
    return start + (np.sort(np.clip(warped, 0, seconds)) * 1e6).astype(np.int64)


def utc(times: np.ndarray) -> pa.Array:
    """Give integer microseconds as UTC timestamps."""
    return pa.array(times).cast(pa.timestamp("us", tz="UTC"))
