"""Encoding of a run's state to bytes: the graph, the clock, and what windows, queues and limits hold.

The bytes are JSON of what each class declares in `saved`, then the arrays (raw numbers) and columns (Arrow
IPC) that it refers to; large ones are blobs outside, so that one that did not change need not be written
again. What the program has anyway (the steps of the flows, functions that fetch entities) is named, not
written.
"""

from __future__ import annotations

import hashlib
import io
import json
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import polars as pl

from flowdsl.engine.state import State, StepState
from flowdsl.errors import DataError
from flowdsl.flow.plan import CompiledStep, Plan
from flowdsl.graph.fetchers import Fetcher
from flowdsl.graph.link_keys import LinkKeyTables
from flowdsl.graph.state import GraphState
from flowdsl.kernels.kernel import Kernel
from flowdsl.values.interner import Interner
from flowdsl.values.state_fields import (
    MOST,
    DictField,
    ListField,
    ObjectField,
    OneOfField,
    TextField,
    WholeField,
)
from flowdsl.values.state_objects import FieldKind, StateObject, StateReader, keeps

# bytes from which on an array becomes a blob
_BLOB_FROM: Final = 1 << 18
_CLOCK: Final = WholeField()


@dataclass
class SerializedState:
    """Encoded state: the length of its JSON, the bytes, and the names of its blobs in order."""

    json_size: int
    content: bytes
    blobs: list[str]


@dataclass
class BlobWriter:
    """Names blobs by content; unchanged columns keep their names without being read again."""

    put: Callable[[str, Any], None]
    _named: dict[int, tuple[pl.Series, str]] = field(default_factory=dict)
    _used: dict[int, tuple[pl.Series, str]] = field(default_factory=dict)

    def write(self, content: Any) -> str:
        """Store bytes; return their name."""
        name = hashlib.blake2b(content, digest_size=16).hexdigest()
        self.put(name, content)
        return name

    def series(self, series: pl.Series) -> str:
        """Store a column; return the name of its bytes."""
        known = self._named.get(id(series))
        if known is None:
            known = (series, self.write(_ipc(series)))
        # a column never changes, and while it is held here no other one can have its place in memory
        self._used[id(series)] = known
        return known[1]

    def forget_unused(self) -> None:
        """Forget columns that the state written last no longer has."""
        self._named, self._used = self._used, {}


class _StepKept(StateObject):
    """Encoded state of one step."""

    saved = keeps(
        fingerprint=TextField(),
        flows=ListField(TextField(), tuple),
        number=WholeField(0, MOST),
        operator=TextField(),
        text=TextField(),
        kernel=OneOfField(Kernel),
        memory=TextField(),
    )

    @classmethod
    def from_fields(cls, fields: dict[str, Any], source: StateReader) -> StepState:
        stage: CompiledStep | None = source.given["stages"].get(fields["fingerprint"])
        if stage is not None:
            kernel = stage.operator.kernel(stage.rules)
            kernel.goes_on_from(fields["kernel"], source)
            fields |= {"kernel": kernel, "memory": None}
        return StepState(**fields)


@dataclass(frozen=True)
class _Step(FieldKind):
    """State of a step, with what would be lost with it for those who lack the step."""

    clock: int = 0

    def write(self, value: StepState, to: Any) -> Any:
        fields = {**vars(value), "memory": value.remembers(self.clock)}
        return {name: kind.write(fields[name], to) for name, kind in _StepKept.saved.items()}

    def read(self, node: Any, source: StateReader) -> Any:
        return ObjectField(_StepKept).read(node, source)


def write_state(state: State, blobs: BlobWriter) -> SerializedState:
    """Encode a state."""
    to = _Bytes(blobs)
    fields = {
        "clock": _CLOCK.write(state.clock, to),
        "position": state.position,
        "flows": DictField(TextField()).write(dict(state.flows), to),
        "graph": ObjectField(GraphState).write(state.graph, to),
        "steps": ListField(_Step(state.clock)).write(state.steps, to),
        # at the end, for another thread may be adding to them
        "tables": ObjectField(LinkKeyTables).write(state.graph.tables, to),
        "interner": ObjectField(Interner).write(state.graph.interner, to),
    }
    blobs.forget_unused()
    text = json.dumps(fields, separators=(",", ":"), allow_nan=False).encode()
    return SerializedState(len(text), text + to.inline.getvalue(), to.names)


def read_state(
    written: SerializedState, plan: Plan, fetchers: Mapping[str, Fetcher], blob: Callable[[str], bytes]
) -> State:
    """Decode a state for these flows; raise `DataError` if the bytes are not valid.

    Steps that the flows do not have are read, too: they can tell what they hold, but not run.
    """
    source = StateReader(_content(written, blob))
    try:
        fields = json.loads(written.content[: written.json_size])
        return _read(fields, plan, fetchers, source)
    except DataError:
        raise
    # what is declared is checked; this is for the unforeseen
    except Exception as error:
        where = ".".join(source.path)
        raise DataError(f"a checkpoint cannot be read ({where}): {type(error).__name__}: {error}") from error


def _read(fields: Any, plan: Plan, fetchers: Mapping[str, Fetcher], source: StateReader) -> State:
    names = {"clock", "position", "flows", "graph", "steps", "tables", "interner"}
    if not isinstance(fields, dict) or fields.keys() != names:
        raise DataError("a checkpoint holds something else than a state")
    stages = {step.fingerprint: step for step in (*plan.steps, *plan.cap_steps)}
    source.given |= {
        "hints": plan.needs.paths,
        "event_paths": plan.event_paths,
        "stages": stages,
        "fetchers": fetchers,
        "versions": 0,
    }
    source.given["interner"] = source.below("interner", ObjectField(Interner), fields["interner"])
    source.given["interner"].private = True
    source.given["tables"] = source.below("tables", ObjectField(LinkKeyTables), fields["tables"])
    graph = source.below("graph", ObjectField(GraphState), fields["graph"])
    steps = source.below("steps", ListField(_Step(), tuple), fields["steps"])
    flows = source.below("flows", DictField(TextField()), fields["flows"])
    clock = source.below("clock", _CLOCK, fields["clock"])
    return State(
        graph, clock, source.below("position", WholeField(0), fields["position"]), steps, tuple(flows.items())
    )


def _content(written: SerializedState, blob: Callable[[str], bytes]) -> Callable[[list[int]], bytes]:
    def content(reference: list[int]) -> bytes:
        if len(reference) == 1 and reference[0] < len(written.blobs):
            return blob(written.blobs[reference[0]])
        start, size, *crc = reference if len(reference) in (2, 3) else (len(written.content), 1)
        start += written.json_size
        if start + size > len(written.content):
            raise DataError("a checkpoint refers to bytes that it has not")
        content = written.content[start : start + size]
        if crc and crc != [zlib.crc32(content)]:
            raise DataError("a column of a checkpoint is damaged")
        return content

    return content


class _Bytes:
    """Bytes that a state refers to: small ones concatenated, large ones as blobs."""

    def __init__(self, blobs: BlobWriter) -> None:
        self.inline = io.BytesIO()
        self.names: list[str] = []
        self._blobs = blobs

    def array(self, content: Any) -> list[int]:
        """Store an array; return a reference to its bytes."""
        return self._named(self._blobs.write(content)) if len(content) > _BLOB_FROM else self._put(content)

    def series(self, series: pl.Series) -> list[int]:
        """Store a column; return a reference to its bytes."""
        if series.estimated_size() > _BLOB_FROM:
            return self._named(self._blobs.series(series))
        # readers of Arrow trust what they read: damage is to be seen before they do
        content = _ipc(series)
        return [*self._put(content), zlib.crc32(content)]

    def _put(self, content: Any) -> list[int]:
        start = self.inline.tell()
        self.inline.write(content)
        return [start, len(content)]

    def _named(self, name: str) -> list[int]:
        self.names.append(name)
        return [len(self.names) - 1]


def _ipc(series: pl.Series) -> memoryview:
    buffer = io.BytesIO()
    series.to_frame("c").write_ipc(buffer, compression="lz4")
    return buffer.getbuffer()
