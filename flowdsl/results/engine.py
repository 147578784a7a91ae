"""Interface of engines, which run a plan over a log and a graph, and write the tables of a result.

The local engine is one; another needs these classes only, for nothing else of a result knows
how it was made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, runtime_checkable

from flowdsl.engine.counts import StepTotals
from flowdsl.engine.crashes import Stopped
from flowdsl.engine.executor import OutcomeSink
from flowdsl.engine.state import State
from flowdsl.flow.plan import Plan
from flowdsl.progress import Progress
from flowdsl.results.options import Options
from flowdsl.results.store import Store
from flowdsl.results.table_writer import TableRecorder
from flowdsl.sinks.base import Sink

EngineName = Literal["local", "spark"]
"""The engines that come with the package."""


@dataclass(frozen=True)
class RunRequest:
    """Tasks of a run other than filling the tables of deliveries, failures, late events and so on.

    Parameters
    ----------
    trace
        Whether every dropped context is a row of the table `dropped`.
    columns
        The columns of the event table to read; None for those that the plan reads.
    dispatch
        Sinks that each delivery is handed to, in the total order.
    progress
        As in `replay`.
    outcomes
        What takes the outcome of every step, for explanations. Only the local engine is asked for it.
    """

    trace: bool = False
    columns: frozenset[str] | None = None
    dispatch: Mapping[str, Sink] = field(default_factory=dict)
    progress: Progress = None
    outcomes: OutcomeSink | None = None


@dataclass(frozen=True)
class RunTotals:
    """The totals of a run, from which the manifest of its result is made.

    `steps` has the totals of each step, in the order of the plan; `delivered` counts deliveries by number of
    the flow and name of the sink; `span` is the log clock (µs) at the first and the last event. `state` is
    None if the engine does not support continued replays; `recorder` writes the failures on request.
    """

    events: int
    position: int
    span: tuple[int, int] | None
    steps: Sequence[StepTotals]
    delivered: Mapping[tuple[int, str], int]
    late: int = 0
    ahead: int = 0
    unmatched: int = 0
    undelivered: int = 0
    stopped: Stopped | None = None
    state: State | None = None
    recorder: TableRecorder | None = None


@runtime_checkable
class Engine(Protocol):
    """Runs flows over an event log.

    The same plan, log, graph and options give the same tables, whatever the engine.
    """

    def run(self, plan: Plan, options: Options, store: Store, request: RunRequest) -> RunTotals:
        """Run a plan, write the tables of its result to a store, and return its totals.

        Parameters
        ----------
        plan
            The flows, checked and compiled.
        options
            The log, the graph or state to begin with, and the range of events.
        store
            Where the tables go, part by part.
        request
            What else the run does.

        Returns
        -------
        RunTotals
            The numbers of the run.

        Raises
        ------
        ReplayError
            If the engine does not support an option; the message names the nearest way that it supports.
        """
        ...
