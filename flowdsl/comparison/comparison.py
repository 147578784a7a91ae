"""`compare`: the differing deliveries of two results, and their causes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from flowdsl.calls import answered, answering
from flowdsl.comparison import alignment, attribution
from flowdsl.comparison.counterparts import Counterparts, counterparts, sides_of
from flowdsl.comparison.inputs import FlowPair, pairs_of
from flowdsl.comparison.matches import CHANGE, CHANGES, SAME, SIDE, match_deliveries
from flowdsl.comparison.members import members_of
from flowdsl.engine.crashes import Stopped
from flowdsl.errors import ReplayError
from flowdsl.frames import to_pandas
from flowdsl.progress import Progress, ProgressReporter, track
from flowdsl.results.result_data import ResultData
from flowdsl.sinks.frame import MOMENT
from flowdsl.text import type_text

if TYPE_CHECKING:
    import pandas as pd

    from flowdsl.diagrams.picture import Picture

_TYPES: Final = {
    "seq_no": pl.Int64,
    "delivered_at": MOMENT,
    "branch": pl.String,
    "recipient_id": pl.String,
    "payload": pl.String,
}
ROWS: Final[dict[str, Any]] = {
    "change": CHANGE,
    "flow": pl.String,
    "sink": pl.String,
    **{f"{name}_{side}": _TYPES[name] for name in SIDE for side in ("before", "after")},
}
COUNTS: Final = ("before", "after", SAME, *CHANGES)


@answering
class Comparison:
    """The differences between two results, delivery by delivery.

    `compare` returns it. A notebook shows it as tables and a picture; printed it is a few lines.
    A comparison is always true: ask `same` whether anything differs.

    Attributes
    ----------
    same : bool
        Whether both results have the same deliveries.
    counts : pandas.DataFrame
        One row per flow and sink: the deliveries before and after, the same ones, and those of each change.
    rows : pandas.DataFrame
        One row per delivery that differs; `comparison["removed"]` has those of one change.
    steps : pandas.DataFrame
        One row per step of either side, with the counts of contexts before and after.
    causes : pandas.DataFrame
        One row per cause of differences.

    Examples
    --------
    >>> from flowdsl import MemoryEventLog, compare, link_created, on, replay
    >>> log = MemoryEventLog()
    >>> log.append([link_created("follows", "ann", "bob"), link_created("follows", "ann", "ann")])
    2
    >>> flow = on("link.created", name="followed").map(title="{{ source_id }}").deliver("push")
    >>> strict = on("link.created", name="followed").where("source_id != target_id")
    >>> strict = strict.map(title="{{ source_id }}").deliver("push")
    >>> comparison = compare(replay(flow, log), replay(strict, log))
    >>> comparison.same, len(comparison)
    (False, 1)
    >>> comparison.counts[["flow", "sink", "before", "after", "removed"]].values.tolist()
    [['followed', 'push', 2, 1, 1]]
    """

    def __init__(
        self, pairs: list[FlowPair], progress: Progress = None, logs: Counterparts | None = None
    ) -> None:
        self._pairs = pairs
        self._logs = logs
        self._differences, self._counts = _compare(self._pairs, progress, logs)
        if self.other_rules:
            # differences of a runtime are useful only with their causes: find them now, not on display
            _ = self._causes

    @property
    def same(self) -> bool:
        """True if both results have the same deliveries, to the same recipients, at the same times."""
        return not self._differences.height

    def __len__(self) -> int:
        """Return the number of deliveries that differ."""
        return self._differences.height

    def __bool__(self) -> bool:
        """Return True, also if nothing differs: use `same` instead."""
        return True

    @property
    def counts(self) -> pd.DataFrame:
        """The counts by flow and sink: `before`, `after`, `same`, `added`, `removed`, `readdressed`,
        `changed`, `moved`.
        """
        return to_pandas(self._counts)

    @property
    def rows(self) -> pd.DataFrame:
        """The deliveries that differ: `change`, `flow`, `sink`, then number, time, branch, recipient and
        payload of each side.
        """
        return to_pandas(self.polars())

    def polars(self) -> pl.DataFrame:
        """Return `rows` as a Polars frame.

        Returns
        -------
        polars.DataFrame
            One row per delivery that differs.

        Examples
        --------
        >>> from flowdsl import MemoryEventLog, compare, link_created, on, replay
        >>> log = MemoryEventLog()
        >>> log.append([link_created("follows", "ann", "bob"), link_created("follows", "ann", "ann")])
        2
        >>> flow = on("link.created", name="followed").map(title="{{ source_id }}").deliver("push")
        >>> strict = on("link.created", name="followed").where("source_id != target_id")
        >>> strict = strict.map(title="{{ source_id }}").deliver("push")
        >>> comparison = compare(replay(flow, log), replay(strict, log))
        >>> comparison.polars()["change"].to_list()
        ['removed']
        """
        return self._differences.select(list(ROWS))

    def __getitem__(self, change: str) -> pd.DataFrame:
        """Return the rows of one kind of change: `added`, `removed`, `readdressed`, `changed` or `moved`."""
        if change not in CHANGES:
            raise ReplayError.unknown(f"there is no change {change!r}", change, CHANGES)
        return to_pandas(self.polars().filter(pl.col("change") == change))

    @property
    def steps(self) -> pd.DataFrame:
        """The aligned steps of both sides, with the counts of contexts at each."""
        rows = [row for pair in self._pairs for row in alignment.step_rows(pair)]
        return to_pandas(pl.DataFrame(rows, schema=alignment.SCHEMA))

    @property
    def causes(self) -> pd.DataFrame:
        """The causes of differences, most frequent first: `flow, change, count, step, operator, outcome,
        reason, example`.

        For removed deliveries a cause is the end of the same context in the run after, for added ones in the
        run before; `step` counts there. This reruns both replays with tracing on, which needs results that
        were not read back from files. If the two ran by different rules, `finding` has the codes of the
        findings that explain it.
        """
        return to_pandas(self._causes)

    @cached_property
    def _causes(self) -> pl.DataFrame:
        found = attribution.causes_of(self._pairs, self._differences, self._logs)
        if not self.other_rules:
            return found
        from flowdsl.findings.differences import with_findings

        return with_findings(found, [flow for pair in self._pairs for flow in pair.flows])

    @property
    def other_rules(self) -> bool:
        """True if the two ran by different rules: one as flowdsl, the other as a production runtime."""
        return len({flow.rules for pair in self._pairs for flow in pair.flows}) > 1

    @property
    def stopped(self) -> Stopped | None:
        """The stop of production in the result after, else in the one before; None if neither stops."""
        sides = [pair.after for pair in self._pairs] + [pair.before for pair in self._pairs]
        stops = [side.result.stopped for side in sides if side is not None]
        return next(filter(None, stops), None)

    def totals(self) -> dict[str, int]:
        """Return the counts of all flows and sinks together.

        Returns
        -------
        dict
            The deliveries `before` and `after`, the `same` ones, and those of each change.

        Examples
        --------
        >>> from flowdsl import MemoryEventLog, compare, link_created, on, replay
        >>> log = MemoryEventLog()
        >>> log.append([link_created("follows", "ann", "bob"), link_created("follows", "ann", "ann")])
        2
        >>> flow = on("link.created", name="followed").map(title="{{ source_id }}").deliver("push")
        >>> strict = on("link.created", name="followed").where("source_id != target_id")
        >>> strict = strict.map(title="{{ source_id }}").deliver("push")
        >>> comparison = compare(replay(flow, log), replay(strict, log))
        >>> comparison.totals()["removed"]
        1
        """
        return {name: int(self._counts[name].sum()) for name in COUNTS}

    def to_dict(self) -> dict[str, Any]:
        """Return the comparison as plain values.

        Returns
        -------
        dict
            `same`, `totals` and `counts`; `stopped` if production stops, and `causes` if they are known.

        Examples
        --------
        >>> from flowdsl import MemoryEventLog, compare, link_created, on, replay
        >>> log = MemoryEventLog()
        >>> log.append([link_created("follows", "ann", "bob"), link_created("follows", "ann", "ann")])
        2
        >>> flow = on("link.created", name="followed").map(title="{{ source_id }}").deliver("push")
        >>> strict = on("link.created", name="followed").where("source_id != target_id")
        >>> strict = strict.map(title="{{ source_id }}").deliver("push")
        >>> comparison = compare(replay(flow, log), replay(strict, log))
        >>> sorted(comparison.to_dict())
        ['counts', 'same', 'totals']
        """
        facts: dict[str, Any] = {
            "same": self.same,
            "totals": self.totals(),
            "counts": self._counts.to_dicts(),
        }
        if self.stopped is not None:
            facts["stopped"] = self.stopped.to_dict()
        if "_causes" in self.__dict__:
            facts["causes"] = self._causes.to_dicts()
        return facts

    def picture(self) -> Picture:
        """Draw the flows that differ, with the steps of both versions in one chain and counts before → after.

        Returns
        -------
        Picture
            All flows if none differs.

        Examples
        --------
        >>> from flowdsl import MemoryEventLog, compare, link_created, on, replay
        >>> log = MemoryEventLog()
        >>> log.append([link_created("follows", "ann", "bob"), link_created("follows", "ann", "ann")])
        2
        >>> flow = on("link.created", name="followed").map(title="{{ source_id }}").deliver("push")
        >>> strict = on("link.created", name="followed").where("source_id != target_id")
        >>> strict = strict.map(title="{{ source_id }}").deliver("push")
        >>> comparison = compare(replay(flow, log), replay(strict, log))
        >>> print(comparison.picture().text.splitlines()[0])
        Before and after
        """
        from flowdsl.comparison.html import comparison_picture

        return comparison_picture(self, self._pairs)

    def __repr__(self) -> str:
        from flowdsl.comparison.text import comparison_text

        return comparison_text(self)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        from flowdsl.comparison.html import comparison_html

        return {"text/plain": repr(self), "text/html": comparison_html(self)}


@answered
def compare(before: ResultData, after: ResultData, *, progress: Progress = None) -> Comparison:
    """Compare the deliveries of two results.

    Flows of one name are compared with each other. Deliveries match if they come from the same event (or from
    windows that the same event opened) and go to the same recipient, or else are the same branch. Steps may
    differ between the two.

    Over two logs events match by `event_id`, or by content unless both logs have ids; windows match by the
    members that they share.

    Parameters
    ----------
    before, after
        Results of `replay`, or results read back from a folder.
    progress
        As for `replay`; it counts the deliveries of both results.

    Returns
    -------
    Comparison
        The differences. A matching delivery is `same`, `changed` (another payload), `moved` (another time) or
        `readdressed` (another recipient); the others are `added` or `removed`.

    Raises
    ------
    ReplayError
        If one of the two is not a result.

    Examples
    --------
    >>> from flowdsl import MemoryEventLog, compare, link_created, on, replay
    >>> log = MemoryEventLog()
    >>> log.append([link_created("follows", "ann", "bob"), link_created("follows", "ann", "ann")])
    2
    >>> flow = on("link.created", name="followed").map(title="{{ source_id }}").deliver("push")
    >>> strict = on("link.created", name="followed").where("source_id != target_id")
    >>> strict = strict.map(title="{{ source_id }}").deliver("push")
    >>> compare(replay(flow, log), replay(strict, log)).totals()
    {'before': 2, 'after': 1, 'same': 1, 'added': 0, 'removed': 1, 'readdressed': 0, 'changed': 0, 'moved': 0}
    """
    for result in (before, after):
        if not isinstance(result, ResultData):
            raise ReplayError(f"{type_text(result)} is not a result", allowed="two results of replay(…)")
    return Comparison(pairs_of(before, after), progress, counterparts(before, after))


def _compare(
    pairs: list[FlowPair], progress: Progress, logs: Counterparts | None
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the differing rows, with the index of their pair, and the counts of each flow and sink."""
    differences = [pl.DataFrame(schema={"pair": pl.Int64, **ROWS})]
    counts: list[dict[str, Any]] = []
    total = sum(side.count(sink) for pair in pairs for side in pair.sides for sink in side.sinks)
    with track(progress, total, "compare", "deliveries") as follower:
        for number, pair in enumerate(pairs):
            for sink, tally, rows in _by_sink(pair, follower, logs):
                both = sum(tally.values()) - tally["added"] - tally["removed"]
                counts.append(
                    {
                        "flow": pair.name,
                        "sink": sink,
                        "before": both + tally["removed"],
                        "after": both + tally["added"],
                        **tally,
                    }
                )
                placed = rows.with_columns(
                    pl.lit(pair.name).alias("flow"),
                    pl.lit(sink).alias("sink"),
                    pl.lit(number, pl.Int64).alias("pair"),
                )
                differences.append(placed.select("pair", *ROWS))
    schema = {"flow": pl.String, "sink": pl.String, **dict.fromkeys(COUNTS, pl.Int64)}
    return pl.concat(differences), pl.DataFrame(counts, schema=schema)


def _by_sink(
    pair: FlowPair, follower: ProgressReporter, logs: Counterparts | None
) -> Iterator[tuple[str, dict[str, int], pl.DataFrame]]:
    # the shares of the work: every delivery is built, hashed, and then matched
    made, placed = follower.part(0.6), follower.part(0.2)
    members = _members_of(pair, logs)
    for sink in pair.sinks:
        before, after = (
            None if side is None else side.deliveries(sink, made) for side in (pair.before, pair.after)
        )
        nothing = (before if after is None else after).head(0)  # type: ignore[union-attr]
        both = (nothing if side is None else side for side in (before, after))
        yield sink, *match_deliveries(*both, timed=pair.timed, tick=placed, logs=logs, members=members)


def _members_of(pair: FlowPair, logs: Counterparts | None) -> Callable[[], list[pl.DataFrame]] | None:
    """Return a function that finds the window members of both sides; None unless both have windows."""
    windows = all(any(step["operator"] == "batch" for step in side.steps) for side in pair.sides)
    if len(pair.sides) < 2 or not windows:
        return None
    return cache(lambda: list(map(members_of, pair.sides, sides_of(logs))))
