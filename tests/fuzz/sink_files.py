"""Files of sinks that are damaged, cut, swapped, or something else: a sink tells so, or has what was delivered."""

from __future__ import annotations

import functools
import random
import sqlite3
import tempfile
from pathlib import Path
from typing import Any

from flowdsl.errors import SinkError
from flowdsl.sinks import Counter, Delivery, Feed, InApp

_MAKE: dict[str, Any] = {"in_app": InApp, "feed": Feed, "counter": functools.partial(Counter, field="n")}
_DELIVERIES = [
    Delivery(
        {"title": f"{n} {'x' * (n % 7) * 20}", "entity_type": "post", "entity_id": f"p{n % 3}"},
        f"u{n % 4}",
        f"key-{n}",
    )
    for n in range(60)
]
_NEW = Delivery({"title": "new", "entity_type": "post", "entity_id": "p0"}, "u0", "key-new")


def check(rng: random.Random) -> int:
    name, way = rng.choice(list(_MAKE)), rng.choice(_WAYS)
    with tempfile.TemporaryDirectory() as made:
        path = Path(made) / "sink.sqlite"
        path.write_bytes(_content(name))
        way(path, name, rng)
        before = path.read_bytes() if path.is_file() else None
        try:
            with _MAKE[name](path) as sink:
                if sink.verify():
                    # a key that is not what was written is not found again: what comes then is not known
                    return 1
                found = _kept(sink)
                again = sink.deliver([*_DELIVERIES, _NEW])
                after = _kept(sink)
        except SinkError as error:
            said = str(error)
        else:
            said = ""
        if said:
            # what is damaged is left for whoever can save something of it
            assert before is None or len(path.read_bytes()) >= len(before), (name, way.__name__)
            return 1
        kept, more = _expected(name)
        assert again == [None] * len(again), (name, way.__name__, again)
        if way in (_empty, _missing):
            assert (found, after) == (_nothing(name), more), (name, way.__name__)
        else:
            assert (found, after) == (kept, more), (name, way.__name__, found, after)
    return 1


def _kept(sink: Any) -> Any:
    if isinstance(sink, Counter):
        return [sink.value("post", f"p{n}") for n in range(3)]
    if isinstance(sink, Feed):
        return [[item.payload for item in sink.page(f"u{n}", limit=100).items] for n in range(4)]
    return [[note.payload for note in sink.list(f"u{n}", limit=100)] for n in range(4)]


@functools.cache
def _states(name: str) -> tuple[Any, Any, Any, bytes]:
    with tempfile.TemporaryDirectory() as made:
        path = Path(made) / "sink.sqlite"
        with _MAKE[name](path) as sink:
            nothing = _kept(sink)
            sink.deliver(_DELIVERIES)
            kept = _kept(sink)
        content = path.read_bytes()
        with _MAKE[name](path) as sink:
            sink.deliver([_NEW])
            return nothing, kept, _kept(sink), content


def _nothing(name: str) -> Any:
    return _states(name)[0]


def _expected(name: str) -> tuple[Any, Any]:
    return _states(name)[1:3]


def _content(name: str) -> bytes:
    return _states(name)[3]


# -- what becomes of a file ----------------------------------------------------------------------------------


def _nothing_done(path: Path, name: str, rng: random.Random) -> None:
    """It stays as it is."""


def _cut(path: Path, name: str, rng: random.Random) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: rng.randrange(1, len(content))])


def _longer(path: Path, name: str, rng: random.Random) -> None:
    path.write_bytes(path.read_bytes() + rng.randbytes(rng.choice((1, 100, 4096))))


def _flipped(path: Path, name: str, rng: random.Random) -> None:
    content = bytearray(path.read_bytes())
    for _ in range(rng.choice((1, 1, 1, 5, 100))):
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    path.write_bytes(content)


def _header(path: Path, name: str, rng: random.Random) -> None:
    """Lengths, versions and counts in the head of the file are something else."""
    content = bytearray(path.read_bytes())
    at = rng.randrange(100)
    content[at : at + 4] = rng.choice((b"\xff" * 4, b"\0" * 4, rng.randbytes(4)))[: 100 - at]
    path.write_bytes(content)


def _empty(path: Path, name: str, rng: random.Random) -> None:
    path.write_bytes(b"")


def _missing(path: Path, name: str, rng: random.Random) -> None:
    path.unlink()


def _other_bytes(path: Path, name: str, rng: random.Random) -> None:
    path.write_bytes(rng.choice((b"x", b"SQLite format 3\0", b"{}\n" * 500, rng.randbytes(8192))))


def _folder(path: Path, name: str, rng: random.Random) -> None:
    path.unlink()
    path.mkdir()


def _link_to_itself(path: Path, name: str, rng: random.Random) -> None:
    path.unlink()
    path.symlink_to(path.name)


def _swapped(path: Path, name: str, rng: random.Random) -> None:
    path.write_bytes(_content(rng.choice([other for other in _MAKE if other != name])))


def _of_another_application(path: Path, name: str, rng: random.Random) -> None:
    path.unlink()
    connection = sqlite3.connect(path)
    connection.execute(
        rng.choice(("create table notifications (a)", "create table t (a)", "create table keys (key blob)"))
    )
    connection.commit()
    connection.close()


def _another_schema(path: Path, name: str, rng: random.Random) -> None:
    connection = sqlite3.connect(path)
    tables = [
        row[0]
        for row in connection.execute(
            "select name from sqlite_schema where type = 'table' and name not like 'sqlite%'"
        )
    ]
    table = rng.choice(tables)
    change = rng.choice(("drop table {}", "alter table {} add column more", "alter table {} rename to other"))
    connection.execute(change.format(table))
    connection.commit()
    connection.close()


def _another_version(path: Path, name: str, rng: random.Random) -> None:
    connection = sqlite3.connect(path)
    sql = rng.choice(
        (
            "update about set version = ?",
            "update about set name = ?",
            "insert into about values ('x', ?, 'y')",
        )
    )
    connection.execute(sql, (rng.choice((0, 1, 99, 2**63 - 1, -1, "x", None, b"\xff", 1.5)),))
    connection.commit()
    connection.close()


_WAYS = [
    _nothing_done, _cut, _longer, _flipped, _flipped, _flipped, _header, _empty, _missing, _other_bytes, _folder, _link_to_itself,
    _swapped, _of_another_application, _another_schema, _another_version,
]  # fmt: skip
