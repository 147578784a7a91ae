"""Endings of undelivered contexts of some events in a replay, found by running it once more."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl

from flowdsl.batches.context_batch import ContextBatch
from flowdsl.batches.payload import Payload
from flowdsl.events import FlowWarning
from flowdsl.expressions.row_source import Failures
from flowdsl.flow.plan import CompiledStep
from flowdsl.kernels.outcome import EventRefs, Refused
from flowdsl.progress import track
from flowdsl.results.options import Options
from flowdsl.results.run import run
from flowdsl.results.store import NoStore
from flowdsl.results.table_writer import branch_texts
from flowdsl.values.columns import Column
from flowdsl.values.json_types import Index

OUTCOMES: Final = pl.Enum(["dropped", "failed", "absorbed", "held", "passed"])
SCHEMA: Final[dict[str, Any]] = {
    "flow": pl.Int64,
    "seq_no": pl.Int64,
    "branch": pl.String,
    "step": pl.Int64,
    "operator": pl.String,
    "outcome": OUTCOMES,
    "reason": pl.String,
    "into": pl.Int64,
    "into_branch": pl.String,
}
_KEY: Final = ("flow", "seq_no", "branch", "step")


def endings(options: Options, flows: Sequence[int], seqs: npt.NDArray[np.int64]) -> pl.DataFrame:
    """Return a row for each place at which a context of these events ends undelivered in one of these flows,
    by their numbers.

    A replay with these options runs once more with tracing on; nothing else of it is kept.
    """
    # a state belongs to all of its flows, so all must run
    kept = list(range(len(options.flows))) if options.state is not None else sorted(set(flows))
    observer = _OutcomeCollector(np.unique(seqs))
    with warnings.catch_warnings():
        # the replay itself has already warned
        warnings.simplefilter("ignore", FlowWarning)
        chosen = dataclasses.replace(options, flows=tuple(options.flows[number] for number in kept))
        with track(None, chosen.source.count(), "causes") as follower:
            run(chosen, NoStore(), progress=follower.advance_to, observer=observer)
    found = observer.frame()
    numbers = pl.DataFrame(
        {"flow": range(len(kept)), "number": kept}, schema={"flow": pl.Int64, "number": pl.Int64}
    )
    renumbered = found.join(numbers, on="flow", maintain_order="left").with_columns(
        pl.col("number").alias("flow")
    )
    return renumbered.select(list(SCHEMA)).filter(pl.col("flow").is_in(list(flows)))


class _OutcomeCollector:
    """Observer that records how contexts of some events end."""

    def __init__(self, seqs: npt.NDArray[np.int64]) -> None:
        self._seqs = seqs
        self._parts: list[pl.DataFrame] = []
        # contexts that entered a window or a queue, and those that left one
        self._waiting: list[pl.DataFrame] = []
        self._released: list[pl.DataFrame] = []

    def step(self, stage: CompiledStep, entered: ContextBatch, passed: ContextBatch) -> None:
        """Record what enters and leaves a window or a queue."""
        if stage.operator.times:
            self._waiting.append(self._rows(stage, entered.seq, entered.branches, "held", None))
            self._released.append(self._rows(stage, passed.seq, passed.branches, "held", None))

    def dropped(self, stage: CompiledStep, contexts: ContextBatch, rows: Index, reason: str) -> None:
        """Record contexts that one step dropped."""
        taken = contexts.take(rows)
        self._parts.append(self._rows(stage, taken.seq, taken.branches, "dropped", reason))

    def dropped_earlier(self, stage: CompiledStep, members: EventRefs, reason: str) -> None:
        """Record dropped contexts that were held since earlier."""
        self._parts.append(self._rows(stage, members.seq, members.branches, "dropped", reason))

    def failed(self, stage: CompiledStep, contexts: ContextBatch, failures: Failures) -> None:
        """Record contexts that failed at one step."""
        rows = np.flatnonzero(failures.codes)
        messages = pl.Series([None, *failures.messages], dtype=pl.String).gather(failures.codes[rows])
        taken = contexts.take(rows)
        self._parts.append(self._rows(stage, taken.seq, taken.branches, "failed", messages))

    def gathered(self, stage: CompiledStep, members: EventRefs, batches: ContextBatch, which: Index) -> None:
        """Record members of a window that go on as one context: the last of them, or the event that closed
        the window.
        """
        goes_on = batches.seq[which] == members.seq
        for level, mine in zip(batches.branches, members.branches, strict=True):
            goes_on &= level[which] == mine
        rows = np.flatnonzero(~goes_on & np.isin(members.seq, self._seqs))
        branches = tuple(level[rows] for level in members.branches)
        into = batches.take(which[rows])
        # the window's ending is theirs
        self._seqs = np.union1d(self._seqs, into.seq)
        absorbed = self._rows(stage, members.seq[rows], branches, "absorbed", None, into)
        self._parts.append(absorbed)

    def refused(self, stage: CompiledStep, contexts: ContextBatch, refused: Refused) -> None:
        """Record contexts that reached some of their sinks only."""
        rows = np.flatnonzero(np.logical_or.reduce(list(refused.values())))
        taken = contexts.take(rows)
        self._parts.append(self._rows(stage, taken.seq, taken.branches, "dropped", "preference"))

    def delivered(
        self, stage: CompiledStep, contexts: ContextBatch, payload: Payload, recipient: Column
    ) -> None:
        """Ignore deliveries: they need no explanation."""

    def frame(self) -> pl.DataFrame:
        """Return all endings; a context that entered a window or a queue and never left it is held there.

        What came out of one and was delivered, though not as the delivery that is asked for, has `passed`
        there.
        """
        ended = pl.concat([pl.DataFrame(schema=SCHEMA), *self._parts])
        waiting, released = (
            pl.concat([pl.DataFrame(schema=SCHEMA), *parts]) for parts in (self._waiting, self._released)
        )
        gone = pl.concat([released, ended]).select(_KEY)
        held = waiting.join(gone, on=_KEY, how="anti", nulls_equal=True, maintain_order="left")
        return pl.concat([ended, held, released.with_columns(pl.lit("passed", OUTCOMES).alias("outcome"))])

    def _rows(
        self,
        stage: CompiledStep,
        seq: npt.NDArray[np.int64],
        branches: tuple[npt.NDArray[np.int32], ...],
        outcome: str,
        reason: str | pl.Series | None,
        into: ContextBatch | None = None,
    ) -> pl.DataFrame:
        rows = np.flatnonzero(np.isin(seq, self._seqs))
        ending = {
            "step": pl.lit(stage.number, pl.Int64),
            "operator": pl.lit(stage.operator.method),
            "outcome": pl.lit(outcome, OUTCOMES),
            "reason": reason.gather(rows) if isinstance(reason, pl.Series) else pl.lit(reason, pl.String),
            "into": pl.lit(None, pl.Int64) if into is None else pl.Series(into.seq),
            "into_branch": pl.lit(None, pl.String)
            if into is None
            else branch_texts(into.branches, len(into)),
        }
        frame = pl.DataFrame(
            {"seq_no": seq[rows], "branch": branch_texts(tuple(b[rows] for b in branches), len(rows))}
        ).with_columns(**ending)
        return pl.concat(
            [
                frame.with_columns(pl.lit(flow, pl.Int64).alias("flow")).select(list(SCHEMA))
                for flow in stage.flows
            ]
        )


def ending_of(wanted: pl.DataFrame, found: pl.DataFrame) -> pl.DataFrame:
    """Return how the context of each row of `wanted` (`row, seq_no, branch`) ended: `row, step, operator,
    outcome, reason`.

    The ending of the same branch counts first, then that of the branch it grew out of, then that of one which
    grew out of it. What went into a window ended as the window did. Rows without any ending are left out.
    """
    pending = wanted.select("row", "seq_no", "branch", pl.lit(-1, pl.Int64).alias("after"))
    parts = [found.head(0).with_columns(pl.lit(0, pl.UInt32).alias("row"))]
    while pending.height:
        groups = pending.partition_by("after", as_dict=True).items()
        hits = [_first_endings(group, found.filter(pl.col("step") > after)) for (after,), group in groups]
        parts += [hit.select(parts[0].columns) for hit in hits]
        absorbed = pl.concat(hits).filter(pl.col("into").is_not_null())
        pending = absorbed.select(
            "row",
            pl.col("into").alias("seq_no"),
            pl.col("into_branch").alias("branch"),
            pl.col("step").alias("after"),
        )
    last = pl.concat(parts).unique("row", keep="last", maintain_order=True)
    return last.select("row", "step", "operator", "outcome", "reason")


def _first_endings(wanted: pl.DataFrame, found: pl.DataFrame) -> pl.DataFrame:
    """Return the ending of each branch, or else of the nearest branch that it grew out of."""
    known = _with_ancestors(found)
    left, parts = wanted.select("row", "seq_no", pl.col("branch").alias("at")), []
    while True:
        hit = left.join(
            known, left_on=["seq_no", "at"], right_on=["seq_no", "branch"], nulls_equal=True, coalesce=False
        )
        parts.append(hit.select("row", *SCHEMA))
        left = (
            left.join(hit, on="row", how="anti")
            .filter(pl.col("at").is_not_null())
            .with_columns(_parent("at"))
        )
        if not left.height:
            return pl.concat(parts)


def _with_ancestors(found: pl.DataFrame) -> pl.DataFrame:
    """Return endings by `seq_no` and `branch`, each once, those of the branch itself before those of its own
    branches.
    """
    levels, level, depth = [], found, 0
    while level.height:
        levels.append(level.with_columns(pl.lit(depth).alias("depth")))
        level = level.filter(pl.col("branch").is_not_null()).with_columns(_parent("branch"))
        depth += 1
    if not levels:
        return found
    ranked = pl.concat(levels).sort("depth", "outcome", "step", maintain_order=True)
    return ranked.unique(["seq_no", "branch"], keep="first", maintain_order=True)


def _parent(name: str) -> pl.Expr:
    """Return a branch without its last position; null for one of the first fan-out."""
    return pl.col(name).str.extract(r"^(.*)\.[0-9]+$").alias(name)
