"""Digests of two runs with members in common, if neither their first nor their last member is the same."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import polars as pl

from flowdsl.batches.context_batch import ContextBatch
from flowdsl.batches.payload import Payload
from flowdsl.comparison.counterparts import Events
from flowdsl.comparison.inputs import FlowResult
from flowdsl.events import FlowWarning
from flowdsl.expressions.row_source import Failures
from flowdsl.flow.plan import CompiledStep
from flowdsl.kernels.outcome import EventRefs, Refused
from flowdsl.progress import track
from flowdsl.results.run import run
from flowdsl.results.store import NoStore
from flowdsl.results.table_writer import branch_texts
from flowdsl.values.columns import Column
from flowdsl.values.interner import Hashes, pair_hash
from flowdsl.values.json_types import Index

Rows = npt.NDArray[np.int64]
_SCHEMA = {"seq_no": pl.Int64, "branch": pl.String, "member": pl.Int64}


def members_of(side: FlowResult, events: Events) -> pl.DataFrame:
    """Return the members of a flow's windows: `seq_no` and `branch` that a window goes on with, and the word
    of a member.

    No result keeps them, so the flow runs once more with tracing on.
    """
    options = side.result.options
    if options is None:
        return pl.DataFrame(schema={**_SCHEMA, "word": pl.Int64})
    # a state belongs to all of its flows, so all must run
    flows = options.flows if options.state is not None else (options.flows[side.number],)
    collector = _MemberCollector(side.number if options.state is not None else 0)
    with warnings.catch_warnings():
        # the replay itself has already warned
        warnings.simplefilter("ignore", FlowWarning)
        chosen = dataclasses.replace(options, flows=flows)
        with track(None, chosen.source.count(), "members") as follower:
            run(chosen, NoStore(), progress=follower.advance_to, observer=collector)
    found = pl.concat([pl.DataFrame(schema=_SCHEMA), *collector.parts])
    return found.with_columns(events.words(found["member"]).alias("word"))


class _MemberCollector:
    """Observer of the events that windows release together."""

    def __init__(self, flow: int) -> None:
        self.parts: list[pl.DataFrame] = []
        self._flow = flow

    def gathered(self, stage: CompiledStep, members: EventRefs, batches: ContextBatch, which: Index) -> None:
        """Record members of a window that go on as one context."""
        if self._flow in stage.flows and len(members.seq):
            seqs, branches = pl.Series(batches.seq), branch_texts(batches.branches, len(batches))
            parts = [seqs.gather(which).alias("seq_no"), branches.gather(which).alias("branch")]
            self.parts.append(pl.DataFrame([*parts, pl.Series("member", members.seq)]))

    def step(self, stage: CompiledStep, entered: ContextBatch, passed: ContextBatch) -> None:
        """Ignore what passes a step."""

    def dropped(self, stage: CompiledStep, contexts: ContextBatch, rows: Index, reason: str) -> None:
        """Ignore dropped contexts."""

    def dropped_earlier(self, stage: CompiledStep, members: EventRefs, reason: str) -> None:
        """Ignore dropped contexts."""

    def failed(self, stage: CompiledStep, contexts: ContextBatch, failures: Failures) -> None:
        """Ignore failures."""

    def delivered(
        self, stage: CompiledStep, contexts: ContextBatch, payload: Payload, recipient: Column
    ) -> None:
        """Ignore deliveries: they are in the result."""

    def refused(self, stage: CompiledStep, contexts: ContextBatch, refused: Refused) -> None:
        """Ignore refused deliveries."""


def with_most_in_common(
    before: pl.DataFrame, after: pl.DataFrame, keys: tuple[Hashes, Hashes], members: Sequence[pl.DataFrame]
) -> tuple[Rows, Rows]:
    """Pair the rows of deliveries (`seq_no`, `branch`) of windows that share members, those with most in
    common first.

    `keys` has for each row the word that must be equal too.
    """
    sides = [
        _words(frame, key, known).rename({"row": name})
        for frame, key, known, name in zip((before, after), keys, members, ("left", "right"), strict=True)
    ]
    shared = (
        sides[0]
        .join(sides[1], on="word")
        .group_by("left", "right")
        .len()
        .sort("len", "left", "right", descending=[True, False, False])
    )
    taken: tuple[dict[int, None], dict[int, None]] = ({}, {})
    for one, other, _ in shared.iter_rows():
        if one not in taken[0] and other not in taken[1]:
            taken[0][one], taken[1][other] = None, None
    return np.array(list(taken[0]), np.int64), np.array(list(taken[1]), np.int64)


def _words(deliveries: pl.DataFrame, keys: Hashes, members: pl.DataFrame) -> pl.DataFrame:
    """Return the members behind each delivery, as words together with its key: `row`, `word`."""
    left = deliveries.select("seq_no", "branch").with_row_index("row")
    parts = []
    while left.height:
        # a later fan-out extends the branch of its window
        parts.append(left.join(members, on=["seq_no", "branch"], nulls_equal=True).select("row", "word"))
        left = left.filter(pl.col("branch").is_not_null()).with_columns(
            pl.col("branch").str.extract(r"^(.*)\.[0-9]+$")
        )
    found = pl.concat(parts) if parts else pl.DataFrame(schema={"row": pl.UInt32, "word": pl.Int64})
    rows = found["row"].to_numpy()
    words = pair_hash(keys[rows], found["word"].to_numpy().view(np.uint64))
    return pl.DataFrame({"row": rows.astype(np.int64), "word": words}).unique()
