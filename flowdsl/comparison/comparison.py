"""compare: what two results deliver differently, delivery by delivery, and why."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from flowdsl.comparison import alignment, attribution
from flowdsl.comparison.counterparts import Counterparts, counterparts
from flowdsl.comparison.inputs import FlowPair, pairs_of
from flowdsl.comparison.matches import CHANGE, CHANGES, SAME, SIDE, matched
from flowdsl.comparison.members import members_of
from flowdsl.engine.crashes import Stopped
from flowdsl.errors import ReplayError, did_you_mean
from flowdsl.frames import to_pandas
from flowdsl.progress import Progress, ProgressReporter, following
from flowdsl.results.result import Result
from flowdsl.sinks.frame import MOMENT

if TYPE_CHECKING:
    import pandas as pd

    from flowdsl.diagrams.picture import Picture

_TYPES: Final = {
    "seq_no": pl.Int64, "delivered_at": MOMENT, "branch": pl.String, "recipient_id": pl.String, "payload": pl.String,
}  # fmt: skip
ROWS: Final[dict[str, Any]] = {
    "change": CHANGE, "flow": pl.String, "sink": pl.String,
    **{f"{name}_{side}": _TYPES[name] for name in SIDE for side in ("before", "after")},
}  # fmt: skip
COUNTS: Final = ("before", "after", SAME, *CHANGES)


class Comparison:
    """What two results have in common and what not.

    `counts` has for each flow and sink how many deliveries there were before and after, how many are the same, and
    what became of the others; `rows` has the others one by one, `comparison["removed"]` those of one kind; `steps` what
    became of contexts at each step, before and after; `causes` why. `same` is whether nothing differs.
    """

    def __init__(
        self, pairs: list[FlowPair], progress: Progress = None, logs: Counterparts | None = None
    ) -> None:
        self._pairs = pairs
        self._logs = logs
        self._differences, self._counts = _compared(self._pairs, progress, logs)
        if self.other_rules:
            # what a runtime makes otherwise is of use only with the reason: it is found now, and not when it is shown
            _ = self._causes

    @property
    def same(self) -> bool:
        """Whether both deliver the same, to the same, at the same times."""
        return not self._differences.height

    def __len__(self) -> int:
        """How many deliveries differ."""
        return self._differences.height

    def __bool__(self) -> bool:
        """A comparison is true also where nothing differs: ask `same`."""
        return True

    @property
    def counts(self) -> pd.DataFrame:
        """By flow and sink: `before`, `after`, `same`, `added`, `removed`, `readdressed`, `changed`, `moved`."""
        return to_pandas(self._counts)

    @property
    def rows(self) -> pd.DataFrame:
        """The deliveries that differ: `change`, `flow`, `sink`, then number, time, branch, recipient and payload of each side."""
        return to_pandas(self.polars())

    def polars(self) -> pl.DataFrame:
        """The rows as a Polars frame."""
        return self._differences.select(list(ROWS))

    def __getitem__(self, change: str) -> pd.DataFrame:
        """The rows of one kind of change: `added`, `removed`, `readdressed`, `changed` or `moved`."""
        if change not in CHANGES:
            raise ReplayError(
                f"there is no change {change!r}",
                allowed=", ".join(CHANGES),
                hint=did_you_mean(str(change), CHANGES),
            )
        return to_pandas(self.polars().filter(pl.col("change") == change))

    @property
    def steps(self) -> pd.DataFrame:
        """The steps of both sides beside each other, with what became of contexts at each."""
        rows = [row for pair in self._pairs for row in alignment.aligned(pair)]
        return to_pandas(pl.DataFrame(rows, schema=alignment.SCHEMA))

    @property
    def causes(self) -> pd.DataFrame:
        """Why deliveries differ, commonest first: `flow, change, count, step, operator, outcome, reason, example`.

        Of what was removed it says where the same context ended in the run after, of what was added where it ended in
        the run before; `step` counts there. For that the runs are replayed and watched once more, which results that were
        read back cannot be. Where the two ran by different rules `finding` has the codes of the findings that tell why.
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
        """Whether the two ran by different rules: one as flowdsl, the other as a production runtime."""
        return len({flow.rules for pair in self._pairs for flow in pair.flows}) > 1

    @property
    def stopped(self) -> Stopped | None:
        """Where production stops, in the result after or in the one before; None where it does in neither."""
        sides = [pair.after for pair in self._pairs] + [pair.before for pair in self._pairs]
        return next((s.result.stopped for s in sides if s is not None and s.result.stopped is not None), None)

    def totals(self) -> dict[str, int]:
        """The counts of all flows and sinks together."""
        return {name: int(self._counts[name].sum()) for name in COUNTS}

    def to_dict(self) -> dict[str, Any]:
        """The totals, the counts, and the causes where they are known, as plain values."""
        said: dict[str, Any] = {"same": self.same, "totals": self.totals(), "counts": self._counts.to_dicts()}
        if self.stopped is not None:
            said["stopped"] = self.stopped.to_dict()
        if "_causes" in self.__dict__:
            said["causes"] = self._causes.to_dicts()
        return said

    def picture(self) -> Picture:
        """The flows that differ, the steps of both versions in one chain, with counts before → after at the edges."""
        from flowdsl.comparison.html import comparison_picture

        return comparison_picture(self, self._pairs)

    def __repr__(self) -> str:
        from flowdsl.comparison.text import comparison_text

        return comparison_text(self)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        from flowdsl.comparison.html import comparison_html

        return {"text/plain": repr(self), "text/html": comparison_html(self)}


def compare(before: Result, after: Result, *, progress: Progress = None) -> Comparison:
    """What the second of two results delivers otherwise than the first.

    Flows of one name are compared with each other. Deliveries belong together where they come from the same event (or
    from windows that the same event opened) and go to the same recipient, or else are the same branch: `changed` has
    another payload, `moved` another time, `readdressed` another recipient; the rest is `added` or `removed`. Steps may
    have come or gone between the two. Either may have been read back from a folder. Over two logs an event is the same
    where it has the same `event_id`, or, unless both have ids, where it says the same; a window is then also known by
    the last of its members, or else by those that it has in common with others.
    `progress` is as in `replay`, of the deliveries of both.

    >>> from flowdsl import MemoryEventLog, link_created, on, replay
    >>> log = MemoryEventLog()
    >>> log.append([link_created("follows", "ann", "bob"), link_created("follows", "ann", "ann")])
    2
    >>> flow = on("link.created", name="followed").map(title="{{ source_id }}").deliver("push")
    >>> stricter = on("link.created", name="followed").where("source_id != target_id").map(title="{{ source_id }}").deliver("push")
    >>> compare(replay(flow, log), replay(stricter, log)).totals()
    {'before': 2, 'after': 1, 'same': 1, 'added': 0, 'removed': 1, 'readdressed': 0, 'changed': 0, 'moved': 0}
    """
    for result in (before, after):
        if not isinstance(result, Result):
            raise ReplayError(f"a {type(result).__name__} is no result", allowed="two results of replay(…)")
    return Comparison(pairs_of(before, after), progress, counterparts(before, after))


def _compared(
    pairs: list[FlowPair], progress: Progress, logs: Counterparts | None
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The rows that differ, with the number of their pair, and the counts of each flow and sink."""
    differences = [pl.DataFrame(schema={"pair": pl.Int64, **ROWS})]
    counts: list[dict[str, Any]] = []
    total = sum(side.count(sink) for pair in pairs for side in pair.sides for sink in side.sinks)
    with following(progress, total, "compare", "deliveries") as follower:
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
    # every delivery is made, hashed, and then finds its place
    made, placed = follower.part(0.6), follower.part(0.2)
    members = _members_of(pair, logs)
    for sink in pair.sinks:
        before, after = (
            None if side is None else side.deliveries(sink, made) for side in (pair.before, pair.after)
        )
        nothing = (before if after is None else after).head(0)  # type: ignore[union-attr]
        both = (nothing if side is None else side for side in (before, after))
        yield sink, *matched(*both, timed=pair.timed, tick=placed, logs=logs, members=members)


def _members_of(pair: FlowPair, logs: Counterparts | None) -> Callable[[], list[pl.DataFrame]] | None:
    """What tells the members of both sides' windows; None where there are none, or the first and last tell enough."""
    windows = all(any(step["operator"] == "batch" for step in side.steps) for side in pair.sides)
    if logs is None or len(pair.sides) < 2 or not windows:
        return None
    return cache(lambda: list(map(members_of, pair.sides, logs.sides)))
