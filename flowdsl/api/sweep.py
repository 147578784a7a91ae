"""`Sweep` and `sweep`: how much comes out of a flow, for many settings of it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flowdsl.api.flow import Flow
from flowdsl.api.result import Result
from flowdsl.calls import answered, answering
from flowdsl.comparison.sweep import SweepData, variants_to_try
from flowdsl.comparison.variants import options_of_variants
from flowdsl.findings.slips import warn_of_likely_slips
from flowdsl.flow.sink_cap import Cap
from flowdsl.progress import Progress
from flowdsl.results.run import run
from flowdsl.results.store import MemoryStore
from flowdsl.rules import Target, WindowsAtEnd

if TYPE_CHECKING:
    from flowdsl.graph.snapshot import EntityGraph
    from flowdsl.log.source import LogLike


@answering
@dataclass(frozen=True, repr=False)
class Sweep(SweepData):
    """The outcome of each variant of a flow.

    `sweep` returns it. A notebook shows the table and a chart; printed it is the table.

    Attributes
    ----------
    result : Result
        The replay of all variants.
    variants : tuple of Variant
        The variants: the `flow`, the parameter `values` and the `name` of each.
    table : pandas.DataFrame
        One row per variant: its parameters, then its outcome.

    Examples
    --------
    >>> from flowdsl import MemoryEventLog, link_created, on, sweep
    >>> log = MemoryEventLog()
    >>> for minute in (0, 1, 3, 20):
    ...     _ = log.append(link_created("likes", "ann", "post"), timestamp=f"2026-01-01T00:{minute:02}:00Z")
    >>> digest = (
    ...     on("link.created").batch("target_id", window="1m").map(title="{{ batch.count }}").deliver("push")
    ... )
    >>> tried = sweep(digest, log, window=["1m", "1h"])
    >>> len(tried), tried.variants[1].name
    (2, 'window=1h')
    """

    result: Result

    def flow(self, name: str) -> Flow:
        """Return the flow of a variant.

        Parameters
        ----------
        name
            The name of the variant, such as `window=5m`.

        Returns
        -------
        Flow
            The flow with the options of the variant.

        Examples
        --------
        >>> from flowdsl import MemoryEventLog, link_created, on, sweep
        >>> log = MemoryEventLog()
        >>> for minute in (0, 1, 3, 20):
        ...     _ = log.append(
        ...         link_created("likes", "ann", "post"), timestamp=f"2026-01-01T00:{minute:02}:00Z"
        ...     )
        >>> digest = (
        ...     on("link.created")
        ...     .batch("target_id", window="1m")
        ...     .map(title="{{ batch.count }}")
        ...     .deliver("push")
        ... )
        >>> tried = sweep(digest, log, window=["1m", "1h"])
        >>> tried.flow("window=1h").steps[0].window.text
        '1h'
        """
        return Flow.of(super().flow(name))


@answered
def sweep(
    flow: Flow | Mapping[str, Flow],
    log: LogLike,
    graph: EntityGraph | None = None,
    *,
    start: int | dt.datetime | str | None = None,
    stop: int | dt.datetime | str | None = None,
    target: Target | None = None,
    caps: Mapping[str, Cap] | None = None,
    open_windows: WindowsAtEnd = "flush",
    max_ahead_of_next: str | dt.timedelta | None = None,
    progress: Progress = None,
    **parameters: Iterable[Any],
) -> Sweep:
    """Replay a flow with several values of some options, all in one pass: work that variants share is done
    once.

    Parameters
    ----------
    flow
        A flow, or a mapping from names to flows, which takes no parameters.
    log, graph, start, stop, target, open_windows, max_ahead_of_next, progress
        As for `replay`.
    caps
        Caps of sinks, as for `replay`; they count each variant by itself.
    **parameters
        Options of steps with the values to try, such as `window=["1m", "5m"]`. If several steps have the
        option, put the step before it: `batch_window`, `step_3_window`. Several parameters are tried in every
        combination.

    Returns
    -------
    Sweep
        The outcome of each variant.

    Raises
    ------
    ReplayError
        If a parameter fits no step or several, or has no values.

    Examples
    --------
    >>> from flowdsl import MemoryEventLog, link_created, on, sweep
    >>> log = MemoryEventLog()
    >>> for minute in (0, 1, 3, 20):
    ...     _ = log.append(link_created("likes", "ann", "post"), timestamp=f"2026-01-01T00:{minute:02}:00Z")
    >>> digest = (
    ...     on("link.created").batch("target_id", window="1m").map(title="{{ batch.count }}").deliver("push")
    ... )
    >>> columns = ["window", "deliveries", "delay_p50"]
    >>> sweep(digest, log, window=["1m", "2m", "1h"]).table[columns].values.tolist()
    [['1m', 4, 60.0], ['2m', 3, 120.0], ['1h', 1, 2400.0]]
    """
    variants = variants_to_try(flow, parameters)
    options = options_of_variants(
        variants,
        log,
        graph,
        start=start,
        stop=stop,
        target=target,
        caps=caps,
        open_windows=open_windows,
        max_ahead_of_next=max_ahead_of_next,
    )
    data = run(options, MemoryStore(), progress=progress)
    warn_of_likely_slips(options, data)
    return Sweep(Result.of(data), tuple(variants))
