"""Logs that are appended to, sealed, compacted, copied and damaged: what was acknowledged is there, or its loss is named."""

from __future__ import annotations

import random
import shutil
import tempfile
import warnings
from pathlib import Path

import polars as pl

from flowdsl.errors import FlowError
from flowdsl.events import FlowWarning, entity_created
from flowdsl.log import ParquetEventLog

AT = "2026-01-01T00:00:00Z"


def check(rng: random.Random) -> int:
    """Let a log live, damage a copy of it as a kill would leave it, and hold what is left against what was promised."""
    with tempfile.TemporaryDirectory() as base, warnings.catch_warnings():
        warnings.simplefilter("ignore", FlowWarning)
        outside = Path(base, "outside")
        outside.write_text("precious")
        folder, copy = Path(base, "log"), Path(base, "copy")
        promised: dict[int, str] = {}
        with ParquetEventLog(folder, seal_rows=rng.choice((5, 40, 1000))) as log:
            for _ in range(rng.randrange(1, 8)):
                _step(rng, log, promised)
            shutil.copytree(folder, copy)
        for _ in range(rng.choice((0, 1, 1, 2))):
            _damage(rng, copy)
        _judge(copy, promised)
        assert outside.read_text() == "precious"
        assert sorted(path.name for path in Path(base).iterdir()) == ["copy", "log", "outside"]
        return max(len(promised), 1)


def _step(rng: random.Random, log: ParquetEventLog, promised: dict[int, str]) -> None:
    what = rng.random()
    if what < 0.7:
        ids = [f"{len(promised)}-{i}" for i in range(rng.choice((1, 3, 30, 400)))]
        if rng.random() < 0.5:
            last = log.append([entity_created("user", name, {}) for name in ids], AT)
        else:
            same = len(ids)
            last = log.append(
                pl.DataFrame({"kind": ["entity.created"] * same, "timestamp": [AT] * same,
                              "entity_type": ["user"] * same, "entity_id": ids})
            )  # fmt: skip
        promised |= {last - len(ids) + 1 + i: name for i, name in enumerate(ids)}
    elif what < 0.8:
        log.seal()
    elif what < 0.9:
        log.compact()
    else:
        log.ack("reader", log.last_seq_no())


def _damage(rng: random.Random, folder: Path) -> None:
    path = rng.choice(sorted(path for path in folder.iterdir() if path.is_file()) or [folder])
    if not path.is_file():
        return
    content = path.read_bytes()
    how = rng.randrange(4)
    if how == 0 or not content:
        path.unlink()
    elif how == 1:
        path.write_bytes(content[: rng.randrange(len(content))])
    elif how == 2:
        path.write_bytes(b"")
    else:
        at = rng.randrange(len(content))
        path.write_bytes(content[:at] + bytes([content[at] ^ 1 << rng.randrange(8)]) + content[at + 1 :])


def _judge(folder: Path, promised: dict[int, str]) -> None:
    try:
        assert _read(folder).items() >= promised.items()
        return
    except FlowError:
        pass
    with ParquetEventLog(folder) as log:
        if log.read_only:
            # both the catalog and the tail are gone, and the lock as well: that is a folder of Parquet files
            return
        if not any((folder / name).exists() for name in ("log.sqlite", "tail.log")):
            return
        log.verify(repair=True)
        kept = _read(folder)
        found = log.problems
        assert all(promised.get(seq_no, name) == name for seq_no, name in kept.items()), (
            "read as something else"
        )
        lost = set(promised) - set(kept)
        assert not lost or len(found), f"lost and not named: {sorted(lost)[:5]}"
        again = log.verify()
        assert again.ok, str(again)
        assert log.append(entity_created("user", "after", {}), AT) > max(promised, default=0), (
            "a number given twice"
        )


def _read(folder: Path) -> dict[int, str]:
    with ParquetEventLog(folder) as log:
        return {row["seq_no"]: row["entity_id"] for batch in log.read() for row in batch.to_pylist()}
