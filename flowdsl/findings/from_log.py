"""Findings that need a log: event values that production treats differently."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import polars as pl

from flowdsl.batches.context_batch import ContextBatch
from flowdsl.engine.range import CHUNK
from flowdsl.engine.trace import Reading, Trace
from flowdsl.errors import without_warnings
from flowdsl.expressions.conditions import Condition
from flowdsl.expressions.conditions.nodes import Compare
from flowdsl.expressions.conditions.vectorized import evaluate_condition, evaluate_values
from flowdsl.findings.base import Finding, StepFindings, Violation, finding_of
from flowdsl.findings.histories import MANY, Noted, findings_of_history, is_common
from flowdsl.findings.people import SeenRecipients, people_findings
from flowdsl.findings.unknown_names import count_types, type_findings
from flowdsl.findings.unknown_values import SeenValues
from flowdsl.flow.plan import CompiledStep
from flowdsl.kernels.keys import typed_spelling
from flowdsl.kernels.outcome import StepOutcome
from flowdsl.log import EventSource
from flowdsl.log.uuids import ID_COLUMNS, are_uuids, one_spelling
from flowdsl.operators.batch import Batch
from flowdsl.operators.deduplicate import Deduplicate
from flowdsl.operators.rate_limit import RateLimit
from flowdsl.operators.where import Where
from flowdsl.progress import Progress, Tick, track
from flowdsl.results.options import Options
from flowdsl.results.run import run
from flowdsl.values.canonical_json import spell
from flowdsl.values.columns import Column
from flowdsl.values.json_types import Index, Tag
from flowdsl.values.paths import Path, path_text

LARGE_FAN_OUT: Final = 10_000
"""A fan-out of more branches than this is a finding."""

# the share of the progress bar for the second reading of the log, for its ids
_READING: Final = 0.2
# texts that look like another JSON value
_LIKE_JSON: Final = r"^(-?[0-9]+(\.[0-9]+)?([eE][-+]?[0-9]+)?|true|false|null|\{.*\}|\[.*\])$"
_KEYS: Final[dict[str, Any]] = {"typed": pl.String, "text": pl.String, "count": pl.UInt32, "seq_no": pl.Int64}


@dataclass
class _Tally:
    """Count of hits out of a total, and the first example."""

    seen: int = 0
    of: int = 0
    example: int = 0
    text: str = ""

    def count(self, entered: ContextBatch, rows: Index) -> None:
        """Count contexts, and those of them that are hits."""
        if len(rows) and not self.seen:
            self.example = int(entered.seq[rows[0]])
        self.of += len(entered)
        self.seen += len(rows)


@dataclass
class _Seen:
    """Trace reader that collects the actual keys, comparisons and fan-outs."""

    target: bool
    keys: dict[tuple[int, Path], list[pl.DataFrame]] = field(default_factory=dict)
    comparisons: dict[tuple[int, Compare], _Tally] = field(default_factory=dict)
    fan_outs: dict[int, _Tally] = field(default_factory=dict)
    nulls: dict[tuple[int, Path], _Tally] = field(default_factory=dict)
    stages: dict[int, CompiledStep] = field(default_factory=dict)

    def __call__(self, stage: CompiledStep, entered: ContextBatch, outcome: StepOutcome) -> None:
        """Record the contexts that entered a step."""
        if not len(entered):
            return
        operator = stage.operator
        self.stages[id(stage)] = stage
        if isinstance(operator, (Batch, Deduplicate, RateLimit)):
            for path in operator.key_paths:
                self._nulls(stage, path, entered)
        if stage.fans_out:
            self._fan_out(stage, outcome.passed)
        elif self.target and isinstance(operator, (Batch, Deduplicate)):
            for path in operator.key_paths:
                self._key(stage, path, entered)
        elif self.target and isinstance(operator, Where):
            self._comparisons(stage, operator.condition, entered)

    def _comparisons(self, stage: CompiledStep, condition: Condition, entered: ContextBatch) -> None:
        for node in condition.expression.walk() if condition.expression is not None else ():
            if isinstance(node, Compare) and node.operator in ("==", "!="):
                self._comparison(stage, node, entered)

    def _fan_out(self, stage: CompiledStep, passed: ContextBatch) -> None:
        if not len(passed):
            return
        tally = self.fan_outs.setdefault(id(stage), _Tally())
        position = passed.branches[-1]
        most = int(position.argmax())
        if int(position[most]) + 1 > tally.seen:
            tally.seen, tally.example = int(position[most]) + 1, int(passed.seq[most])

    def _nulls(self, stage: CompiledStep, path: Path, entered: ContextBatch) -> None:
        rows = np.flatnonzero(entered.column(path).is_(Tag.NULL, Tag.MISSING))
        self.nulls.setdefault((id(stage), path), _Tally()).count(entered, rows)

    def _key(self, stage: CompiledStep, path: Path, entered: ContextBatch) -> None:
        column = entered.column(path)
        text = column.is_(Tag.TEXT)
        there = ~column.is_(Tag.MISSING)
        if text.any():
            rows = np.flatnonzero(text)
            like = column.text_series().gather(rows).cast(pl.String).str.contains(_LIKE_JSON).to_numpy()
            there[rows[~like]] = False
        rows = np.flatnonzero(there)
        if not len(rows):
            return
        found = column.take(rows)
        counted = (
            pl.DataFrame(
                {
                    "typed": _type_texts(found),
                    "text": spell(found).cast(pl.String),
                    "seq_no": entered.seq[rows],
                }
            )
            .group_by("typed", "text", maintain_order=True)
            .agg(pl.len().alias("count"), pl.col("seq_no").first())
        )
        self.keys.setdefault((id(stage), path), []).append(counted.select(list(_KEYS)))

    def _comparison(self, stage: CompiledStep, node: Compare, entered: ContextBatch) -> None:
        sides = [evaluate_values(side, entered) for side in (node.left, node.right)]
        (left, _), (right, _) = sides
        there = ~(left.is_(Tag.MISSING) | right.is_(Tag.MISSING))
        for _, failures in sides:
            if failures is not None:
                there &= ~failures.mask
        here, _ = evaluate_condition(Compare("==", node.left, node.right), entered)
        same_text = (spell(left).cast(pl.String) == spell(right).cast(pl.String)).fill_null(value=False)
        differ = there & (here != (same_text.to_numpy() & ~left.is_(Tag.OBJECT, Tag.ARRAY)))
        tally = self.comparisons.setdefault((id(stage), node), _Tally())
        rows = np.flatnonzero(differ)
        if len(rows) and not tally.seen:
            values = [side.take(rows[:1]).to_json()[0] for side in (left, right)]
            tally.text = f"{node.left} is {values[0]} and {node.right} is {values[1]}"
        tally.count(entered, rows)


def findings_from_log(
    options: Options, target: str | None, places: dict[tuple[str, int], str], progress: Progress = None
) -> list[Finding]:
    """Return the findings that the events of a log show; `places` maps flow name and step number to a place.

    The flows are replayed once, by flowdsl's own rules, and their contexts are traced.
    """
    seen, noted, values, recipients = _Seen(target is not None), Noted(), SeenValues(), SeenRecipients()
    at = StepFindings(options.flows, places)
    with track(progress, options.source.count(), "check") as follower:
        with without_warnings():
            replayed = follower if target is None else follower.part(1 - _READING)
            readings: list[Reading] = [seen, values, recipients]
            run(options, noted, progress=replayed.advance_to, outcomes=Trace(readings=readings))
        for key in values.nowhere() & seen.nulls.keys():
            # the finding that the path never has a value says more
            del seen.nulls[key]
        found = [
            *_large_fan_outs(seen, at),
            *_null_keys(seen, at),
            *findings_of_history(noted, options.source),
            *values.findings(options.flows, places),
        ]
        if options.state is None:
            counts = count_types(options.source, options.graph)
            found += type_findings(options.flows, counts, options.graph, places)
            found += people_findings(recipients, at, options.graph, options.source, counts.entities)
        if target is not None:
            found += [
                *_ids(options.source, follower.part(_READING)),
                *_keys(seen, at),
                *_comparisons(seen, at),
            ]
    return found


def _type_texts(column: Column) -> pl.Series:
    """Return values as texts that are equal if the values are equal to flowdsl; text is quoted."""
    texts = typed_spelling(column)
    rows = np.flatnonzero(column.is_(Tag.TEXT))
    if len(rows):
        quoted = '"' + column.text_series().gather(rows).cast(pl.String) + '"'
        texts = texts.scatter(rows, quoted)
    return texts


def _large_fan_outs(seen: _Seen, at: StepFindings) -> Iterator[Finding]:
    for key, tally in seen.fan_outs.items():
        if tally.seen > LARGE_FAN_OUT:
            yield from at.of(
                "fan-out-large",
                seen.stages[key],
                f"event {tally.example} becomes {tally.seen:,} contexts at once",
                "a where before it, or a rate_limit with a key, keeps one event from reaching so many",
            )


def _null_keys(seen: _Seen, at: StepFindings) -> Iterator[Finding]:
    for (key, path), tally in seen.nulls.items():
        if tally.seen >= MANY and is_common(tally.seen, tally.of):
            yield from at.of(
                "keys-null",
                seen.stages[key],
                f"{path_text(path)} is null or missing for {tally.seen:,} of {tally.of:,} contexts, first "
                f"for event {tally.example}: without a key they fail",
                f'where("{path_text(path)} != null and {path_text(path)} exists") before it lets go on what '
                "has a key",
            )


def _ids(source: EventSource, tick: Tick) -> Iterator[Finding]:
    events, example = 0, None
    for frame in source.chunks(ID_COLUMNS, CHUNK):
        other = np.zeros(frame.height, np.bool_)
        for name in set(ID_COLUMNS) & set(frame.columns):
            ids = frame[name].cast(pl.String)
            distinct = ids.drop_nulls().unique()
            wrong = distinct.filter(~pl.Series(are_uuids(one_spelling(distinct)), dtype=pl.Boolean))
            if len(wrong):
                rows = ids.is_in(wrong.implode()).fill_null(value=False)
                if example is None:
                    first = int(rows.arg_true()[0])
                    example = f"{name} of event {frame['seq_no'][first]} is {str(ids[first])!r}"
                other |= rows.to_numpy()
        events += int(other.sum())
        tick(frame.height)
    if example is not None:
        message = f"production cannot read {events:,} events, whose ids are not UUIDs: {example}"
        hint = "a prediction takes such ids as they are; production's own log has UUIDs"
        yield finding_of("ids-not-uuid", Violation("the log", message, hint))


def _keys(seen: _Seen, at: StepFindings) -> Iterator[Finding]:
    for (key, path), parts in seen.keys.items():
        counted = (
            pl.concat(parts)
            .group_by("typed", "text", maintain_order=True)
            .agg(pl.col("count").sum(), pl.col("seq_no").first())
        )
        for code, alike, apart, what in (
            ("keys-collide", "text", "typed", "are different keys here, and one in production"),
            ("keys-split", "typed", "text", "are one key here, and different ones in production"),
        ):
            groups = counted.filter(pl.col(apart).n_unique().over(alike) > 1)
            if not groups.height:
                continue
            first = groups.filter(pl.col(alike) == groups[alike][0])
            values = " and ".join(first[apart].unique(maintain_order=True).head(2).to_list())
            contexts, events = int(groups["count"].sum()), groups["seq_no"].to_list()
            yield from at.of(
                code,
                seen.stages[key],
                f"{path_text(path)}: {values} {what}; so it is for {contexts:,} contexts, first for event "
                f"{min(events)}",
                "write the key in one type wherever events are made",
            )


def _comparisons(seen: _Seen, at: StepFindings) -> Iterator[Finding]:
    for (key, _), tally in seen.comparisons.items():
        if tally.seen:
            yield from at.of(
                "compared-across-types",
                seen.stages[key],
                f"production compares text, and finds otherwise for {tally.seen:,} of {tally.of:,} contexts: "
                f"at event {tally.example} {tally.text}",
                "write the value in one type and spelling wherever events are made",
            )
