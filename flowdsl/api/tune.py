"""`Tuning` and `tune`: find the settings of a flow that meet demands, and what each costs."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flowdsl.api.flow import Flow
from flowdsl.api.result import Result
from flowdsl.calls import answered, answering
from flowdsl.comparison.delays import Delays, member_trace
from flowdsl.comparison.demands import parse_demands
from flowdsl.comparison.measures import Figure
from flowdsl.comparison.settings import check_sink, settings_to_try
from flowdsl.comparison.tuned import TuningData
from flowdsl.comparison.variants import options_of_variants
from flowdsl.errors import ReplayError
from flowdsl.findings.slips import warn_of_likely_slips
from flowdsl.flow.sink_cap import Cap
from flowdsl.progress import Progress
from flowdsl.results.run import run
from flowdsl.results.store import MemoryStore
from flowdsl.rules import Target, WindowsAtEnd
from flowdsl.text import short_repr

if TYPE_CHECKING:
    from flowdsl.graph.snapshot import EntityGraph
    from flowdsl.log.source import LogLike


@answering
@dataclass(frozen=True, repr=False)
class Tuning(TuningData):
    """The settings of a flow, the figures of each, and which settings meet the demands.

    `tune` returns it. A notebook shows the demands, a chart and the settings; printed it is the tables.

    Attributes
    ----------
    result : Result
        The replay of all settings.
    variants : tuple of Variant
        The settings: the `flow`, the parameter `values` and the `name` of each.
    table, kept, front, costs : pandas.DataFrame
        One row per setting: all, those that keep every demand, those that no other beats, and all less today.
    asked : pandas.DataFrame
        One row per demand: what it costs, and which setting comes nearest.
    best : Flow or None
        The flow with the best setting that keeps every demand.
    best_name : str or None
        The name of that setting.

    Examples
    --------
    >>> from flowdsl import MemoryEventLog, link_created, on, tune
    >>> log = MemoryEventLog()
    >>> for minute in (0, 1, 3, 20):
    ...     _ = log.append(link_created("likes", "ann", "post"), timestamp=f"2026-01-01T00:{minute:02}:00Z")
    >>> digest = on("link.created").batch("target_id", window="1m").map(title="{{ batch.count }}")
    >>> digest = digest.deliver("push")
    >>> asked = ["per_person_per_day.p95 <= 3", "delay.p90 <= 30m"]
    >>> tuned = tune(digest, log, vary={"0.window": ["1m", "5m", "1h"]}, subject_to=asked)
    >>> tuned.best_name, tuned.table["keeps"].tolist()
    ('0.window=5m', [False, True, False])
    """

    result: Result

    @property
    def best(self) -> Flow | None:
        """The flow with the best setting that keeps every demand, under its own name; None if none does."""
        best = super().best
        return None if best is None else Flow.of(best)

    def flow(self, name: str) -> Flow:
        """Return the flow of a setting.

        Parameters
        ----------
        name
            The name of the setting, such as `0.window=5m`.

        Returns
        -------
        Flow
            The flow with the options of the setting.

        Examples
        --------
        >>> from flowdsl import on, tune
        >>> flow = on("link.created").rate_limit(1, per="1m").map(title="hello").deliver("push")
        >>> tune(flow, [], vary={"0.max": [1, 2]}).flow("0.max=2").steps[0].text
        "rate_limit(2, per='1m')"
        """
        return Flow.of(super().flow(name))


@answered
def tune(  # noqa: PLR0913 -- all of them by name
    flow: Flow,
    log: LogLike,
    graph: EntityGraph | None = None,
    *,
    vary: Mapping[str, Iterable[Any]],
    subject_to: Iterable[str] | str = (),
    best: str = "reach",
    sink: str | None = None,
    start: int | dt.datetime | str | None = None,
    stop: int | dt.datetime | str | None = None,
    target: Target | None = None,
    caps: Mapping[str, Cap] | None = None,
    open_windows: WindowsAtEnd = "flush",
    max_ahead_of_next: str | dt.timedelta | None = None,
    progress: Progress = None,
) -> Tuning:
    """Find the settings of a flow that meet demands, and what each costs.

    All settings are replayed in one pass, as by `sweep`: work that they share is done once.

    Parameters
    ----------
    flow
        The flow as it is today.
    log, graph, start, stop, target, open_windows, max_ahead_of_next, progress
        As for `replay`.
    caps
        Caps of sinks, as for `replay`; they count each setting by itself.
    vary
        A mapping from options to the values to try: `{"0.window": ["5m", "1h"]}` varies the window of step 0.
        Several options are tried in every combination.
    subject_to
        The demands: a measure, a bound and a value each, such as `"per_person_per_day.p95 <= 3"`,
        `"delay.p90 <= 1h"` or `"reach >= 0.95 of today"`, where today is `flow` as it is. The measures are
        `volume`, `events`, `reach`, and with a statistic (`p1` to `p99`, `min`, `max`, `mean`) `delay`,
        `per_person`, `per_person_per_hour`, `_day`, `_week` and `_month`.
    best
        The measure by which the best of the settings that keep the demands is chosen. Of equals the one that
        is better in the other figures is taken.
    sink
        The sink to measure, where the flow has several; all by default.

    Returns
    -------
    Tuning
        The settings with their figures.

    Raises
    ------
    ReplayError
        If a demand, an option or the measure is not known, or no values are given.

    Examples
    --------
    >>> from flowdsl import MemoryEventLog, link_created, on, tune
    >>> log = MemoryEventLog()
    >>> for minute in (0, 1, 3, 20):
    ...     _ = log.append(link_created("likes", "ann", "post"), timestamp=f"2026-01-01T00:{minute:02}:00Z")
    >>> digest = on("link.created").batch("target_id", window="1m").map(title="{{ batch.count }}")
    >>> digest = digest.deliver("push")
    >>> vary = {"0.window": ["1m", "1h"]}
    >>> tuned = tune(digest, log, vary=vary, subject_to="events >= 1 of today", best="volume")
    >>> tuned.table[["0.window", "volume", "events", "delay.p90"]].values.tolist()
    [['1m', 4.0, 4.0, 60.0], ['1h', 1.0, 4.0, 3600.0]]
    >>> print(tuned.best)
    on('link.created')
        .batch('target_id', window='1h')
        .map(title='{{ batch.count }}')
        .deliver('push')
    """
    demands = parse_demands(subject_to)
    if not isinstance(best, str):
        raise ReplayError(
            f"{short_repr(best)} is not a measure", place="best", allowed="text such as 'reach'"
        )
    criterion = Figure.parse(best, "best")
    variants, today = settings_to_try(flow, vary)
    check_sink(flow, sink)
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
    members = member_trace()
    data = run(options, MemoryStore(), progress=progress, outcomes=members)
    warn_of_likely_slips(options, data)
    delays = Delays(members, options.source)
    return Tuning(Result.of(data), tuple(variants), delays, flow, today, demands, criterion, sink)
