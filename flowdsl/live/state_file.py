"""The state of a run as bytes, and back: the graph, the clock, and what windows, queues and limits remember.

The bytes are a pickle, read by a reader that knows a closed list of flowdsl's own classes and refuses every other
name: no bytes, whoever wrote them, make it call anything else. Arrays are raw numbers, columns are Arrow IPC; both lie
outside of the pickle as blobs, so that a large one that did not change need not be written again. What the program
has anyway (the steps of the flows, functions that fetch entities) is named, not written.
"""

from __future__ import annotations

import hashlib
import importlib
import io
import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import polars as pl

from flowdsl.contexts.chunk import EventRows
from flowdsl.engines.local import State
from flowdsl.errors import DataError
from flowdsl.graph.fetchers import Fetcher
from flowdsl.graph.identities import IdentityTables, LinkIdentities
from flowdsl.graph.links import LinkTable
from flowdsl.graph.state import GraphState
from flowdsl.graph.versions import Block, Derived, VersionStore
from flowdsl.kernels.kernel import Kernel
from flowdsl.operators.base import Operator
from flowdsl.plan import Plan, Stage
from flowdsl.rules import Rules
from flowdsl.values.documents import Documents
from flowdsl.values.interner import HashTable, Interner

# what is larger lies in a blob of its own
_BLOB_FROM: Final = 1 << 18
_KNOWN: Final[Mapping[str, tuple[str, ...]]] = {
    "contexts.chunk": ("EventRows",),
    "contexts.holding": ("Held", "Holding"),
    "contexts.payload": ("Payload",),
    "contexts.variables": ("ConstantVariable", "EntityVariable", "ValueVariable"),
    "engines.local": ("State",),
    "graph.entities": ("EntityIndex", "TypedVersions"),
    "graph.fetchers": ("FetcherSession",),
    "graph.identities": ("IdentityTables", "LinkIdentities"),
    "graph.state": ("GraphState", "Needs"),
    "graph.versions": ("Block", "Derived", "VersionStore"),
    "kernels.batch_variable": ("BatchVariable", "ItemLists", "Items"),
    "kernels.buckets": ("Buckets", "DropBucket", "FloatBucket", "QueueBucket"),
    "kernels.keys": ("KeySpace",),
    "kernels.open_windows": ("Open", "OpenWindows", "_Tier"),
    "kernels.untimed": ("CountedBatch", "UntimedBatchKernel", "_Windows"),
    "live.state_file": (
        "_array", "_blank", "_documents", "_event_rows", "_frame", "_hash_table", "_identity_tables", "_interner",
        "_link_table", "_number", "_series",
    ),
    "operators.batch": ("BatchKernel",),
    "operators.deduplicate": ("DeduplicateKernel", "_Sightings"),
    "operators.rate_limit": ("DropKernel", "QueueKernel", "_Waiting"),
    "values.columns": ("Coded", "Column"),
    "values.tags": ("MISSING", "Tag"),
}  # fmt: skip
_ALLOWED: Final = {(f"flowdsl.{module}", name) for module, names in _KNOWN.items() for name in names}
_BUILTINS: Final = {"set": set, "frozenset": frozenset, "list": list}


@dataclass
class Written:
    """A state as bytes: the pickle, and the names of the blobs that it refers to, in their order."""

    pickle: bytes
    blobs: list[str]


@dataclass
class BlobWriter:
    """Gives blobs their names: by content, and those of unchanged columns without looking at them again."""

    put: Callable[[str, Any], None]
    _named: dict[int, tuple[pl.Series, str]] = field(default_factory=dict)
    _used: dict[int, tuple[pl.Series, str]] = field(default_factory=dict)

    def write(self, content: Any) -> str:
        """Keep bytes; gives their name."""
        name = hashlib.blake2b(content, digest_size=16).hexdigest()
        self.put(name, content)
        return name

    def series(self, series: pl.Series) -> str:
        """Keep a column; gives the name of its bytes."""
        known = self._named.get(id(series))
        if known is None:
            buffer = io.BytesIO()
            series.to_frame("c").write_ipc(buffer, compression="lz4")
            known = (series, self.write(buffer.getbuffer()))
        # a column never changes, and while it is held here no other one can have its place in memory
        self._used[id(series)] = known
        return known[1]

    def forget_unused(self) -> None:
        """Let go of columns that the state written last does not have any more."""
        self._named, self._used = self._used, {}


def write_state(state: State, plan: Plan, blobs: BlobWriter) -> Written:
    """A state as bytes."""
    buffer = io.BytesIO()
    writer = _Writer(buffer, plan, blobs)
    writer.dump(state)
    blobs.forget_unused()
    return Written(buffer.getvalue(), writer.names)


def read_state(
    written: Written, plan: Plan, fetchers: Mapping[str, Fetcher], blob: Callable[[str], bytes]
) -> State:
    """The state that bytes say, for the same flows; `DataError` where they say none."""
    try:
        state = _Reader(
            io.BytesIO(written.pickle), plan, fetchers, [blob(name) for name in written.blobs]
        ).load()
    except DataError:
        raise
    # a damaged pickle may raise nearly anything
    except Exception as error:
        raise DataError(f"a checkpoint cannot be read: {type(error).__name__}: {error}") from error
    if not isinstance(state, State):
        raise DataError("a checkpoint holds something else than a state")
    # a kernel that remembers nothing was not written
    state.kernels = [
        step.kernel(plan.rules) if type(kernel) is Kernel else kernel
        for step, kernel in zip(_steps(plan), state.kernels, strict=True)
    ]
    return state


def _steps(plan: Plan) -> list[Operator]:
    """The steps of the tree, in the order of `LocalRun.stages`."""

    def below(stage: Stage) -> list[Operator]:
        return [stage.step, *(step for later in stage.next for step in below(later))]

    return [step for entry in plan.entries for stage in entry.next for step in below(stage)]


class _Writer(pickle.Pickler):
    def __init__(self, buffer: io.BytesIO, plan: Plan, blobs: BlobWriter) -> None:
        super().__init__(buffer, protocol=5)
        self.names: list[str] = []
        self._steps = _steps(plan)
        self._blobs = blobs

    def persistent_id(self, value: Any) -> Any:
        if isinstance(value, Operator):
            return ("step", next(i for i, step in enumerate(self._steps) if step is value or step == value))
        if isinstance(value, Rules):
            return ("rules",)
        if isinstance(value, Fetcher):
            return ("fetcher", value.name)
        if isinstance(value, Kernel) and type(value).fork is Kernel.fork:
            # it remembers nothing: the flows have it
            return ("kernel",)
        if isinstance(value, np.ndarray) and value.nbytes > _BLOB_FROM:
            return (
                "array",
                value.dtype.str,
                value.shape,
                self._blob(np.ascontiguousarray(value).view(np.uint8).data),
            )
        if isinstance(value, pl.Series) and value.estimated_size() > _BLOB_FROM:
            return ("series", value.name, self._named(self._blobs.series(value)))
        return None

    def reducer_override(self, value: Any) -> Any:
        kind = type(value)
        if kind is np.ndarray:
            return _array, (value.dtype.str, value.shape, value.tobytes())
        if isinstance(value, np.generic):
            return _number, (value.dtype.str, value.tobytes())
        if kind is pl.Series:
            return _series, (value.name, _ipc(value.to_frame("c")))
        if kind is pl.DataFrame:
            return _frame, (value.get_columns(),)
        special = _SPECIAL.get(kind)
        return special(value) if special is not None else NotImplemented

    def _blob(self, content: Any) -> int:
        return self._named(self._blobs.write(content))

    def _named(self, name: str) -> int:
        self.names.append(name)
        return len(self.names) - 1


class _Reader(pickle.Unpickler):
    def __init__(
        self, buffer: io.BytesIO, plan: Plan, fetchers: Mapping[str, Fetcher], blobs: list[bytes]
    ) -> None:
        super().__init__(buffer)
        self._plan, self._steps, self._fetchers, self._blobs = plan, _steps(plan), fetchers, blobs

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _ALLOWED:
            return getattr(importlib.import_module(module), name)
        if module == "builtins" and name in _BUILTINS:
            return _BUILTINS[name]
        raise DataError(f"a checkpoint names {module}.{name}, which is no part of a state")

    def persistent_load(self, named: Any) -> Any:
        kind, *rest = named
        if kind == "step":
            return self._steps[rest[0]]
        if kind == "rules":
            return self._plan.rules
        if kind == "kernel":
            return Kernel()
        if kind == "array":
            return _array(rest[0], rest[1], self._blobs[rest[2]])
        if kind == "series":
            return _series(rest[0], self._blobs[rest[1]])
        if kind == "fetcher" and rest[0] in self._fetchers:
            return self._fetchers[rest[0]]
        raise DataError(
            f"the checkpoint knows entities {rest and rest[0]!r} from a function, and the graph has none",
            hint="give the graph with the same functions as before",
        )


# -- what is read back -----------------------------------------------------------------------------------


def _array(dtype: str, shape: tuple[int, ...], content: bytes) -> Any:
    # a copy: what is read may be written to
    return np.frombuffer(content, np.dtype(dtype)).reshape(shape).copy()


def _number(dtype: str, content: bytes) -> Any:
    return np.frombuffer(content, np.dtype(dtype))[0]


def _series(name: str, content: bytes) -> pl.Series:
    return pl.read_ipc(io.BytesIO(content)).to_series().alias(name)


def _frame(columns: list[pl.Series]) -> pl.DataFrame:
    return pl.DataFrame(columns)


def _ipc(frame: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.write_ipc(buffer, compression="lz4")
    return buffer.getvalue()


def _interner(pieces: list[pl.Series]) -> Interner:
    """Codes follow the order of the texts. Hashes are made anew: they need not be those of another version of Polars."""
    interner = Interner()
    for texts in pieces:
        interner.intern(texts)
    return interner


def _hash_table(first: Any, second: Any) -> HashTable:
    table = HashTable()
    table.insert(first, second)
    return table


def _link_table(source: Any, target: Any, born: Any, died: Any, directions: list[str]) -> LinkTable:
    table = LinkTable()
    if len(source):
        table.add(source, target, born, died)
    for direction in directions:
        table.prepare(direction)
    table.commit()
    return table


def _identity_tables(ids: Interner, pairs: dict[str, HashTable]) -> IdentityTables:
    return IdentityTables(ids, pairs)


def _documents(series: pl.Series, none: Any, hints: list[Any]) -> Documents:
    return Documents(series, none=none, hints=hints)


def _event_rows(frame: pl.DataFrame, interner: Interner, hints: tuple[Any, ...]) -> EventRows:
    return EventRows(frame, interner, hints)


# -- what is written of classes that hold more than their state --------------------------------------------


def _of_version_store(store: VersionStore) -> Any:
    return _blank, (VersionStore,), {**vars(store), "derived": Derived(), "_picked": None}


def _of_block(block: Block) -> Any:
    return _blank, (Block,), {**vars(block), "_id_column": None}


def _of_links(table: LinkTable) -> Any:
    columns = (table.source, table.target, table.born, table.died)
    return _link_table, (*(column[: table.size] for column in columns), list(table._runs))


def _of_graph(graph: GraphState) -> Any:
    state = {**vars(graph), "known_links": list}
    if graph.identities is None and graph.links:
        # what a snapshot knows of its links is asked for at the first change: here is the last chance
        state["identities"] = LinkIdentities(graph.tables, list(graph.links), graph.known_links())
    return _blank, (GraphState,), state


def _blank(kind: type) -> Any:
    return object.__new__(kind)


# what can be read again, or made again, is left out
_SPECIAL: Final[dict[type, Callable[[Any], Any]]] = {
    Interner: lambda interner: (_interner, (interner.pieces,)),
    HashTable: lambda table: (_hash_table, table.words),
    IdentityTables: lambda tables: (_identity_tables, (tables.ids, dict(tables.pairs))),
    Documents: lambda documents: (_documents, (documents.series, documents._none, sorted(documents._hints))),
    EventRows: lambda rows: (_event_rows, (rows.frame, rows._interner, rows._hints)),
    Block: _of_block,
    VersionStore: _of_version_store,
    LinkTable: _of_links,
    GraphState: _of_graph,
}
