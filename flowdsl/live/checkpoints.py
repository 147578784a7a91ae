"""Checkpoints of a consumer: its state at one position of the log, stored atomically.

A checkpoint is a file that names its blobs; it counts once it has its name. The last two are kept: if the
newer one is damaged, a run goes on from the older one and repeats what lies between.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import uuid
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from flowdsl.arguments import is_integer
from flowdsl.engine.state import State
from flowdsl.errors import DataError, FlowWarning, LiveError
from flowdsl.flow.plan import Plan
from flowdsl.graph.fetchers import Fetcher
from flowdsl.live.consumer_store import ConsumerStore
from flowdsl.live.log_cursor import LogPosition
from flowdsl.live.state_codec import BlobWriter, SerializedState, read_state, write_state
from flowdsl.log.fsync import create_file, put_in_place, sync, write_whole
from flowdsl.sinks.base import Sink

_HEAD: Final = b"flowdsl checkpoint 4\n"
_BLOB: Final = re.compile(r"[0-9a-f]{32}")
_HELD: Final[Mapping[str, Callable[[Any], bool]]] = {
    "consumer": lambda name: isinstance(name, str),
    "stamp": lambda stamp: isinstance(stamp, str),
    "run": lambda run: isinstance(run, str),
    "place": lambda place: isinstance(place, list) and len(place) == 3 and all(map(_is_count, place)),
    "earlier": lambda runs: isinstance(runs, list) and all(map(_is_earlier, runs)),
    "blobs": lambda names: isinstance(names, list) and all(_BLOB.fullmatch(str(name)) for name in names),
    "json": lambda size: _is_count(size),
    "digest": lambda digest: isinstance(digest, str),
}
_NAME: Final = re.compile(r"checkpoint-(\d{12})")
_KEPT: Final = 2


@dataclass(frozen=True)
class Earlier:
    """Run of other flows that this one continues, and which of the present flows it had.

    What it has handed over behind the checkpoint, those flows do not hand over again.
    """

    run: str
    flows: frozenset[str]


@dataclass(frozen=True)
class Checkpoint:
    """State, its position, and its run: the name under which durable sinks number batches."""

    run: str
    place: LogPosition
    state: State
    earlier: tuple[Earlier, ...] = ()


class Checkpoints:
    """Checkpoints of one consumer; for a log in memory, the last state itself."""

    def __init__(
        self,
        consumer: ConsumerStore,
        plan: Plan,
        fetchers: Mapping[str, Fetcher],
        sinks: Mapping[str, Sink] | None = None,
    ) -> None:
        self._consumer = consumer
        self._sinks = sinks or {}
        self._plan = plan
        self._fetchers = fetchers
        self._folder = consumer.folder
        self._blobs = BlobWriter(self._put_blob)

    def save(self, checkpoint: Checkpoint) -> None:
        """Store a checkpoint, which is on disk when this returns, and remove older ones."""
        if self._folder is None:
            checkpoint.state.graph.settle()
            self._consumer.kept = checkpoint
            return
        written = write_state(checkpoint.state, self._blobs)
        place, stamp = checkpoint.place, uuid.uuid4().hex
        head = {
            "consumer": self._consumer.name,
            "stamp": stamp,
            "run": checkpoint.run,
            "place": [place.seq_no, place.marks, place.here],
            "earlier": [[one.run, sorted(one.flows)] for one in checkpoint.earlier],
            "blobs": written.blobs,
            "json": written.json_size,
            "digest": _digest(written.content),
        }
        line = json.dumps(head).encode()
        content = b"%b%b %b\n%b" % (_HEAD, _digest(line).encode(), line, written.content)
        numbers = self._numbers()
        number = (numbers[-1] if numbers else 0) + 1
        self._consumer.vouch(number, stamp, self._sinks)
        _write(self._folder / f"checkpoint-{number:012}", content)
        self._sweep()

    def doubt(self) -> str | None:
        """Return why the checkpoints and the consumer's file cannot belong together, or None."""
        numbers = [] if self._folder is None else self._numbers()
        vouched = self._consumer.vouched_stamps() if numbers else {}
        if vouched and numbers[-1] < min(vouched):
            return "its checkpoints are older than its file"
        for number in numbers:
            if number >= min(vouched, default=0) and not self._is_vouched(number, vouched):
                return f"checkpoint-{number:012} is none of those that its file tells of"
        return None

    def _is_vouched(self, number: int, vouched: Mapping[int, str]) -> bool:
        """Return False for a checkpoint of this consumer that its file does not mention."""
        assert self._folder is not None
        try:
            head = _head(self._folder / f"checkpoint-{number:012}")[0]
        except DataError:
            # what is damaged, or of another consumer, is refused when it is read
            return True
        other = head["consumer"] != self._consumer.name
        return other or vouched.get(number) == str(head["stamp"])

    def load(self, *, any_time: bool = False) -> Checkpoint | None:
        """Return the last complete checkpoint, or None if there never was one.

        One of a run whose progress was forgotten since counts only with `any_time`.
        """
        if self._folder is None:
            return self._kept()
        problems: list[DataError] = []
        known = {} if any_time else self._consumer.vouched_stamps()
        for number in reversed([n for n in self._numbers() if n >= min(known, default=0)]):
            path = self._folder / f"checkpoint-{number:012}"
            try:
                found = self._read(path)
                self._check_run(found.run, path, known=any_time or number == max(known, default=0))
            except DataError as error:
                problems.append(error)
                continue
            for problem in problems:
                warnings.warn(f"{problem}; the one before it is used", FlowWarning, stacklevel=2)
            return found
        if problems or self._consumer.has_run:
            raise self._unreadable(problems[0] if problems else "there is none any more")
        return None

    def _unreadable(self, why: object) -> LiveError:
        return LiveError(
            f"no checkpoint of the consumer {self._consumer.name!r} can be read: {why}",
            hint='state="discard" (flowdsl run --discard-state) goes on from the last position without '
            "what windows, queues and limits remembered",
        )

    def _check_run(self, run: str, path: Path, *, known: bool) -> None:
        if not known and not self._consumer.knows(run):
            raise DataError("a checkpoint is of a run that is no longer gone on from", place=str(path))

    def copy(self, state: State) -> State:
        """Return a deep copy of a state, with an interner of its own."""
        blobs: dict[str, bytes] = {}
        written = write_state(state, BlobWriter(lambda name, content: blobs.update({name: bytes(content)})))
        return read_state(written, self._plan, self._fetchers, blobs.__getitem__)

    def last_seq_no(self) -> int:
        """Return the last event of this consumer's last checkpoint with a readable header, of any flows; 0 if
        there is none.
        """
        if self._folder is None:
            return 0 if self._consumer.kept is None else int(self._consumer.kept.place.seq_no)
        for number in reversed(self._numbers()):
            with contextlib.suppress(DataError):
                return int(self._own(self._folder / f"checkpoint-{number:012}")[0]["place"][0])
        return 0

    def _kept(self) -> Checkpoint | None:
        kept: Checkpoint | None = self._consumer.kept
        # the run goes on with a copy: the checkpoint stays as it is until the next one
        return None if kept is None else replace(kept, state=kept.state.fork())

    def _own(self, path: Path) -> tuple[dict[str, Any], bytes]:
        """Return header and content of a checkpoint; one of another consumer is refused."""
        head, content = _head(path)
        if head["consumer"] != self._consumer.name:
            raise DataError(f"a checkpoint is that of the consumer {head['consumer']!r}", place=str(path))
        return head, content

    def _read(self, path: Path) -> Checkpoint:
        head, content = self._own(path)
        if _digest(content) != head["digest"]:
            raise DataError("a checkpoint is damaged", place=str(path))
        try:
            written = SerializedState(head["json"], content, head["blobs"])
            state = read_state(written, self._plan, self._fetchers, self._blob)
        except DataError as error:
            raise error.located(place=str(path)) from error
        earlier = tuple(Earlier(run, frozenset(flows)) for run, flows in head["earlier"])
        return Checkpoint(head["run"], LogPosition(*head["place"]), state, earlier)

    def _blob(self, name: str) -> bytes:
        assert self._folder is not None
        path = self._folder / f"blob-{name}"
        try:
            content = path.read_bytes()
        except FileNotFoundError as error:
            raise DataError("a part of a checkpoint is missing", place=str(path)) from error
        if _digest(content) != name:
            raise DataError("a part of a checkpoint is damaged", place=str(path))
        return content

    def _put_blob(self, name: str, content: Any) -> None:
        assert self._folder is not None
        path = self._folder / f"blob-{name}"
        if not path.exists():
            _write(path, content)

    def _numbers(self) -> list[int]:
        assert self._folder is not None
        found = map(_NAME.fullmatch, os.listdir(self._folder))
        return sorted(int(match[1]) for match in found if match)

    def _sweep(self) -> None:
        """Remove old checkpoints, and blobs that no remaining checkpoint refers to."""
        assert self._folder is not None
        numbers = self._numbers()
        for number in numbers[:-_KEPT]:
            (self._folder / f"checkpoint-{number:012}").unlink()
        used: set[str] = set()
        for number in numbers[-_KEPT:]:
            with contextlib.suppress(DataError):
                used |= set(_head(self._folder / f"checkpoint-{number:012}")[0]["blobs"])
        for name in os.listdir(self._folder):
            if (name.startswith("blob-") and name[5:] not in used) or name.endswith(".part"):
                (self._folder / name).unlink()


def _head(path: Path) -> tuple[dict[str, Any], bytes]:
    """Split a checkpoint into its header and state; raise `DataError` if the header is damaged."""
    content = path.read_bytes()
    end = content.find(b"\n", len(_HEAD))
    digest, _, line = content[len(_HEAD) : end].partition(b" ")
    if not content.startswith(_HEAD) or end < 0 or _digest(line).encode() != digest:
        raise DataError("a checkpoint is damaged", place=str(path))
    head = json.loads(line)
    known = isinstance(head, dict) and all(_HELD[name](head.get(name)) for name in _HELD)
    if not known:
        raise DataError("a checkpoint does not say what it is of", place=str(path))
    return head, content[end + 1 :]


def _is_earlier(value: object) -> bool:
    if not isinstance(value, list) or len(value) != 2:
        return False
    run, flows = value
    return isinstance(run, str) and isinstance(flows, list) and all(isinstance(flow, str) for flow in flows)


def _is_count(value: object) -> bool:
    return is_integer(value) and 0 <= value < 1 << 62


def _write(path: Path, content: Any) -> None:
    hidden = path.with_name(f".{path.name}.part")
    handle = create_file(hidden)
    try:
        write_whole(handle, content, 0)
        sync(handle)
    finally:
        os.close(handle)
    put_in_place(hidden, path)


def _digest(content: Any) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()
