"""A state made to fit other flows: their graph may need links or entities that no flow used before."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import numpy as np

from flowdsl.batches.buffer import ContextBuffer
from flowdsl.engine.range import CHUNK
from flowdsl.engine.state import State, flows_of
from flowdsl.errors import DataError
from flowdsl.flow.plan import Plan
from flowdsl.graph.extension import extend_graph
from flowdsl.graph.requirements import GraphRequirements
from flowdsl.graph.snapshot import EntityGraph
from flowdsl.graph.state import GraphState
from flowdsl.log import EventSource
from flowdsl.log.event_rows import EventRows
from flowdsl.log.numbered_events import read_events_at
from flowdsl.progress import Tick, noop
from flowdsl.values.orders import distinct


def fit_state(
    state: State,
    plan: Plan,
    base: EntityGraph | None,
    source: EventSource,
    columns: Collection[str],
    tick: Tick = noop,
) -> State:
    """Return the state for a plan: with the graph that its flows read, and contexts that have these
    columns of their events.

    What it lacks is read from the log again, over the graph `base` that it began with. The state given is
    used up.
    """

    def gather(needs: GraphRequirements) -> GraphState:
        given = (base or EntityGraph()).over(state.graph.interner, state.graph.tables)
        graph = given.start(needs, plan.rules)
        graph.merge = state.graph.merge
        for frame in source.chunks(plan.event_columns, CHUNK, 0):
            frame = frame.filter(frame["seq_no"] <= state.position)
            if not frame.height:
                break
            graph.advance(EventRows(frame, graph.interner))
            graph.commit()
            tick(frame.height)
        return graph

    # what is kept is that of these flows from now on
    flows = flows_of(plan)
    names = {step.fingerprint: tuple(flows[n][0] for n in step.flows) for step in plan.steps}
    names |= {cap.fingerprint: () for cap in plan.cap_steps}
    kept = [step for step in state.steps if step.fingerprint in names]
    steps = tuple(replace(step, flows=names[step.fingerprint]) for step in kept)
    held = [holding for step in steps if (holding := step.kernel.holding) is not None]
    _complete(held, columns, source)
    return replace(state, graph=extend_graph(state.graph, plan.needs, gather), steps=steps, flows=flows)


def _complete(held: list[ContextBuffer], columns: Collection[str], source: EventSource) -> None:
    """Add event columns to held contexts that no flow used before, read from the log."""
    wanted = distinct(np.concatenate([np.zeros(0, np.int64), *(h.lacking(columns) for h in held)]))
    if not len(wanted):
        return
    events = read_events_at(source, wanted, columns).rechunk()
    missing = np.setdiff1d(wanted, events["seq_no"].to_numpy())
    if len(missing):
        raise DataError(
            f"contexts of event {int(missing[0])} are held, and the log has that event no more: "
            f"the flows read what was not kept of it",
            hint="go on with the flows that held it, or without this state",
        )
    for holding in held:
        holding.complete(columns, events)
