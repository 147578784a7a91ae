"""Files of consumers of a log that are damaged, cut, swapped, of an earlier time or missing.

A run goes on, or says with a typed error what is wrong; where it goes on, the durable sink has, beside the dead letters,
what a run that nobody disturbed has: nothing is missing, and nothing is there twice.
"""

from __future__ import annotations

import atexit
import collections
import datetime as dt
import functools
import random
import re
import shutil
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from flowdsl import Runtime, on, sinks
from flowdsl.api.flow import Flow
from flowdsl.errors import FlowError, FlowWarning
from flowdsl.events import link_created
from flowdsl.log import ParquetEventLog

NAMES = ("a", "b")
_KINDS = ("checkpoint", "consumer", "checkpoint|consumer", "")
_NOW = dt.datetime(2026, 1, 1, 12, tzinfo=dt.UTC)
# a title that is missing makes a dead letter
_FLOWS: list[Flow] = [
    on("link.created").map(title="told {{ metadata.title }}").deliver("s").named("told"),
    on("link.created")
    .batch("target_id", window="1h")
    .map(title="together {{ batch.count }} {{ target_id }}")
    .deliver("s")
    .named("together"),
    on("link.created").deduplicate("target_id", window="1d").map(title="first {{ target_id }}").deliver("s").named("first"),
]  # fmt: skip
_Told = collections.Counter[str]
_State = Literal["keep", "discard"]


def check(rng: random.Random) -> int:
    """Damage the files of a consumer one to three times, and let it go on."""
    with tempfile.TemporaryDirectory() as made, warnings.catch_warnings():
        warnings.simplefilter("ignore", FlowWarning)
        base = Path(made, "base")
        shutil.copytree(_states()[rng.choice((1, 2))], base)
        ways = [rng.choice(_WAYS) for _ in range(rng.choice((1, 1, 1, 2, 3)))]
        for way in ways:
            way(_folder(base, "a"), rng)
        name = rng.choice(("a", "a", "a", "b"))
        told: _Told | None = None
        tries: tuple[_State, ...] = ("keep", "discard") if rng.random() < 0.3 else ("keep",)
        for state in tries:
            try:
                told = _run(base, name, 2, state)
                break
            except FlowError as error:
                str(error).encode()
        if told is None:
            return 1
        whole = _whole(name)
        said = (name, state, [way.__name__ for way in ways])
        if state == "discard":
            # what windows and limits remembered is lost, as was asked for: each event is told all the same
            told, whole = _only(told, "told "), _only(whole, "told ")
        assert told == whole, (said, told - whole, whole - told)
    return 1


def _folder(base: Path, name: str) -> Path:
    return base / "log" / "consumers" / name


def _run(base: Path, name: str, part: int, state: _State = "keep") -> _Told:
    """Append the events up to a part, unless they are there, and let a consumer run: how often its sink, or a dead letter, has what."""
    with ParquetEventLog(base / "log", "none") as log, sinks.InApp(base / f"{name}.sqlite") as sink:
        for number in range(log.last_seq_no() // len(_events(0)), part + 1):
            log.append(_events(number), _NOW - dt.timedelta(minutes=99 - number * 40))
        runtime = Runtime(_FLOWS, log, sinks={"s": sink}, consumer_name=name, state=state, clock=lambda: _NOW)
        runtime.run_until_idle()
        told = [note.payload["title"] for post in range(4) for note in sink.list(f"post-{post}", limit=1000)]
        letters = runtime.dead_letters
        return collections.Counter([*told, *("dead " + key for key in letters["key"])])


def _events(part: int) -> list[dict[str, object]]:
    return [
        link_created("likes", f"fan-{part}-{n}", f"post-{n % 4}", metadata={} if n == 5 else {"title": f"{part}-{n}"})
        for n in range(9)
    ]  # fmt: skip


def _only(told: _Told, begin: str) -> _Told:
    return collections.Counter({text: count for text, count in told.items() if text.startswith(begin)})


@functools.cache
def _states() -> list[Path]:
    """The files of two consumers at three times, of which the second has not yet seen what the first has in the end."""
    made = Path(tempfile.mkdtemp())
    Path(made, "live").mkdir()
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    live = made / "live"
    states: list[Path] = []
    for part in range(2):
        for name in NAMES if not part else NAMES[:1]:
            _run(live, name, part)
            states.append(Path(shutil.copytree(live, made / str(len(states)))))
    return states


@functools.cache
def _whole(name: str) -> _Told:
    with tempfile.TemporaryDirectory() as made:
        base = Path(made, "base")
        shutil.copytree(_states()[2], base)
        return _run(base, name, 2)


# -- what becomes of a file ----------------------------------------------------------------------------------


def _files(folder: Path, pattern: str = "") -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and re.match(pattern, path.name))


def _of_one(change: Callable[[bytes, random.Random], bytes | None]) -> Callable[[Path, random.Random], None]:
    @functools.wraps(change)
    def way(folder: Path, rng: random.Random) -> None:
        files = _files(folder, rng.choice(("", "checkpoint", "consumer")))
        if files:
            path = rng.choice(files)
            content = change(path.read_bytes(), rng)
            if content is None:
                path.unlink()
            else:
                path.write_bytes(content)

    return way


@_of_one
def _cut(content: bytes, rng: random.Random) -> bytes:
    return content[: rng.randrange(len(content) + 1)]


@_of_one
def _empty(content: bytes, rng: random.Random) -> bytes:
    return b""


@_of_one
def _missing(content: bytes, rng: random.Random) -> None:
    return None


@_of_one
def _longer(content: bytes, rng: random.Random) -> bytes:
    return content + rng.randbytes(rng.choice((1, 100, 4096)))


@_of_one
def _flipped(content: bytes, rng: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(rng.choice((1, 1, 5, 100)) if changed else 0):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


@_of_one
def _other_bytes(content: bytes, rng: random.Random) -> bytes:
    return rng.choice((b"x", b"SQLite format 3\0", b"flowdsl checkpoint 3\n", rng.randbytes(8192)))


@_of_one
def _version(content: bytes, rng: random.Random) -> bytes:
    return re.sub(
        rb"\Aflowdsl checkpoint \d", rng.choice((b"flowdsl checkpoint 1", b"flowdsl checkpoint 9")), content
    )


def _no_checkpoint(folder: Path, rng: random.Random) -> None:
    for path in _files(folder, "checkpoint"):
        path.unlink()


def _newest_missing(folder: Path, rng: random.Random) -> None:
    for path in _files(folder, "checkpoint")[-1:]:
        path.unlink()


def _from(other: Path, folder: Path, pattern: str) -> None:
    """Put files of another consumer, or another time, in the place of its own."""
    for path in _files(folder, pattern):
        path.unlink()
    for path in _files(other, pattern):
        shutil.copy2(path, folder / path.name)


def _swapped(folder: Path, rng: random.Random) -> None:
    _from(folder.parent / "b", folder, rng.choice(_KINDS))


def _swapped_into_the_other(folder: Path, rng: random.Random) -> None:
    _from(folder, folder.parent / "b", rng.choice(_KINDS))


def _of_an_earlier_time(folder: Path, rng: random.Random) -> None:
    # of the checkpoints alone: with an older database, the position is one that somebody else has set
    _from(_folder(_states()[rng.choice((0, 1))], "a"), folder, "checkpoint|blob")


_WAYS = (
    _cut, _cut, _empty, _missing, _longer, _flipped, _flipped, _flipped, _other_bytes, _version, _no_checkpoint, _newest_missing,
    _swapped, _swapped_into_the_other, _of_an_earlier_time, _of_an_earlier_time,
)  # fmt: skip
