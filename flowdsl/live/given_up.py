"""State discarded because flows changed: contexts that steps held, and what limits remembered."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import polars as pl

from flowdsl.engine.state import State, StepState
from flowdsl.sinks.frame import MOMENT

if TYPE_CHECKING:
    import pandas as pd


class GivenUp(NamedTuple):
    """Context that a step held, or all that a step remembered besides contexts (`seq_no` is then null).

    Times are µs since 1970; `branch` is empty where there is none.
    """

    flow: str
    step: int
    operator: str
    key: str | None
    branch: str
    seq_no: int | None
    held_since: int | None
    what: str
    discarded_at: int


GIVEN_UP: Final = (
    (
        "create table if not exists given_up (flow text, step integer, operator text, key text, branch text, "
        "seq_no integer, held_since integer, what text, discarded_at integer, crc integer not null)"
    ),
    (
        "create unique index if not exists given_up_once on given_up (flow, step, operator, branch, "
        "coalesce(seq_no, what))"
    ),
)
_TYPES: Final[dict[str, Any]] = {
    **dict.fromkeys(GivenUp._fields, pl.String),
    "step": pl.Int32,
    "seq_no": pl.Int64,
    "held_since": MOMENT,
    "discarded_at": MOMENT,
}


def given_up(state: State, lost: Iterable[StepState], now: int, until: int | None = None) -> list[GivenUp]:
    """List what these steps of a state hold, one row for each flow and context.

    With `until` only what came of events up to that number: what came of later ones comes again.
    """
    rows = []
    for step in lost:
        held = step.kernel.members(state.graph.interner)
        keys = held.keys or [None] * len(held.seq)
        contexts = zip(keys, held.branches, held.seq.tolist(), held.since.tolist(), strict=True)
        given = [
            (key, branch or "", seq, since, "context")
            for key, branch, seq, since in contexts
            if until is None or seq <= until
        ]
        if not len(held.seq):
            given = [(None, "", None, None, step.remembers(state.clock))]
        # the cap of a sink is a step without a flow
        for flow in step.flows or (step.text,):
            rows += [GivenUp(flow, step.number, step.operator, *one, now) for one in given]
    return rows


def given_up_frame(rows: Sequence[GivenUp]) -> pd.DataFrame:
    """Return the rows as the table `runtime.discarded`."""
    from flowdsl.frames import to_pandas

    columns = {name: [getattr(row, name) for row in rows] for name in _TYPES}
    columns["branch"] = [branch or None for branch in columns["branch"]]
    series = [
        pl.Series(name, columns[name], pl.Int64 if dtype == MOMENT else dtype).cast(dtype)
        for name, dtype in _TYPES.items()
    ]
    return to_pandas(pl.DataFrame(series))
