"""Logs that are appended to, sealed, compacted, copied and damaged: what was acknowledged is there, or its loss is named."""

from __future__ import annotations

import os
import random
import shutil
import tempfile
import warnings
from pathlib import Path
from typing import Final

import polars as pl
from log_rows import read

from flowdsl.errors import FlowError, FlowWarning
from flowdsl.events import entity_created
from flowdsl.log import ParquetEventLog
from flowdsl.log.writer import Durability

DURABILITIES: Final[tuple[Durability, ...]] = ("commit", "group", "none")
AT = "2026-01-01T00:00:00Z"


def check(rng: random.Random) -> int:
    """Let a log live, damage a copy of it as a kill would leave it, and hold what is left against what was promised."""
    with tempfile.TemporaryDirectory() as base, warnings.catch_warnings():
        warnings.simplefilter("ignore", FlowWarning)
        outside = Path(base, "outside")
        outside.write_text("precious")
        folder, copy = Path(base, "log"), Path(base, "copy")
        promised: dict[int, str] = {}
        dropped: set[int] = set()
        durability = rng.choice(DURABILITIES)
        with ParquetEventLog(folder, durability, seal_rows=rng.choice((5, 40, 1000))) as log:
            for _ in range(rng.randrange(1, 8)):
                _step(rng, log, promised, dropped)
            shutil.copytree(folder, copy)
        for _ in range(rng.choice((0, 1, 1, 2))):
            _damage(rng, copy)
        _judge(copy, promised, dropped)
        assert outside.read_text() == "precious"
        assert sorted(path.name for path in Path(base).iterdir()) == ["copy", "log", "outside"]
        return max(len(promised), 1)


def _step(rng: random.Random, log: ParquetEventLog, promised: dict[int, str], dropped: set[int]) -> None:
    what = rng.random()
    if what < 0.7:
        ids = [f"{log.last_seq_no()}-{i}" for i in range(rng.choice((1, 3, 30, 400)))]
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
    elif what < 0.87:
        log.compact()
    elif what < 0.91:
        log.retain(max_bytes=rng.choice((0, 5_000, 50_000)))
        catalog = log._log.catalog()
        assert catalog is not None
        gone = {n for gap in catalog.gaps() for n in range(gap.first, gap.last + 1)}
        dropped |= gone
        for seq_no in gone:
            promised.pop(seq_no, None)
    elif what < 0.93 and log.last_seq_no():
        child = os.fork()
        if not child:
            os._exit(_refused_in_a_child(log))
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0, (
            "a forked child wrote, or read something else"
        )
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


def _refused_in_a_child(log: ParquetEventLog) -> int:
    try:
        log.append(entity_created("user", "child", {}), AT)
    except FlowError:
        return 0
    except BaseException:
        return 2
    return 1


def _judge(folder: Path, promised: dict[int, str], dropped: set[int]) -> None:
    """Whatever was promised is there, or an error says that it is not; after a repair each number lost is in a named gap."""
    try:
        assert read(folder).items() >= promised.items()
        return
    except FlowError:
        pass
    with ParquetEventLog(folder) as log:
        log.verify(repair=True)
        kept = read(folder)
        catalog = log._log.catalog()
        assert catalog is not None
        gaps = [(gap.first, gap.last) for gap in catalog.gaps()]
        listed = [int(row.row) for row in log.problems.itertuples() if row.problem == "missing"]
        assert listed == [first for first, _ in gaps], "a gap that is not among the problems"
        odd = {n: name for n, name in kept.items() if promised.get(n, name) != name}
        assert not odd, f"read as something else: {odd}"
        unnamed = [n for n in set(promised) - set(kept) if not any(low <= n <= high for low, high in gaps)]
        assert not unnamed, f"lost and not named: {sorted(unnamed)[:5]} beside {gaps}"
        both = [n for n in kept if any(low <= n <= high for low, high in gaps)]
        assert not both, f"there, and named as lost: {both[:5]}"
        again = log.verify()
        assert again.ok, str(again)
        following = log.append(entity_created("user", "after", {}), AT)
        assert following > max([*promised, *dropped, 0]), "a number given twice"
