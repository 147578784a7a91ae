"""Names and values in flows that nothing in a log and its graph has: most are slips of the pen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import TYPE_CHECKING, Final

import numpy as np
import polars as pl

from flowdsl.batches.context_batch import ContextBatch
from flowdsl.engine.range import CHUNK
from flowdsl.errors import did_you_mean
from flowdsl.events import warn
from flowdsl.expressions.conditions.nodes import Compare, ConditionLiteral, Reference
from flowdsl.findings.base import Finding, rules
from flowdsl.findings.histories import MANY
from flowdsl.flow.plan import CompiledStep
from flowdsl.kernels.outcome import StepOutcome
from flowdsl.operators.where import Where
from flowdsl.text import short_repr
from flowdsl.values.json_types import Tag
from flowdsl.values.paths import Path, path_text

if TYPE_CHECKING:
    from flowdsl.flow.spec import FlowSpec
    from flowdsl.graph.snapshot import EntityGraph
    from flowdsl.log import EventSource
    from flowdsl.operators.base import Operator
    from flowdsl.results.options import Options
    from flowdsl.results.result_data import ResultData

# names, or values, listed with their counts
_LISTED: Final = 5
# different values of a path that are kept; one with more holds ids or texts, no words that one could misspell
_MOST_VALUES: Final = 200
# how alike a slip and the word that is meant are: `like` and `likes` are by 0.89, `likes` and `views` by 0.4
_CLOSE: Final = 0.8
Places = Mapping[tuple[str, int], str]


@dataclass(frozen=True)
class TypeCounts:
    """Numbers of events and of things before the first event, by link type and by entity type."""

    links: Mapping[str, int]
    entities: Mapping[str, int]


@dataclass(frozen=True)
class UnknownType:
    """A type that a flow names and nothing has: at a step, or at the trigger."""

    step: int | None
    text: str
    name: str
    known: Sequence[str]
    message: str
    hint: str | None


def count_types(source: EventSource, graph: EntityGraph | None) -> TypeCounts:
    """Count the types of a log and its graph; the log is read once, two columns of it."""
    links: Counter[str] = Counter(dict(graph.link_counts) if graph is not None else {})
    entities: Counter[str] = Counter(dict(graph.entity_counts) if graph is not None else {})
    for frame in source.chunks(("link_type", "entity_type"), CHUNK):
        for name, counts in (("link_type", links), ("entity_type", entities)):
            if name in frame.columns:
                found = frame[name].cast(pl.String).drop_nulls().value_counts()
                counts.update(dict(found.iter_rows()))
    return TypeCounts(links, entities)


def unknown_types(flow: FlowSpec, counts: TypeCounts) -> Iterator[UnknownType]:
    """Yield the types of links and entities that a flow names and nothing has."""
    if flow.trigger.filter is not None:
        column, wanted = flow.trigger.filter
        family, known = ("link", counts.links) if column == "link_type" else ("entity", counts.entities)
        if wanted not in known:
            yield _unknown(None, flow.trigger.text, family, wanted, known)
    for number, step in enumerate(flow.steps):
        for name in sorted({name for name, _ in step.links} - counts.links.keys()):
            yield _unknown(number, step.text, "link", name, counts.links)
        kind = _entity_type(step)
        if kind is not None and kind not in counts.entities:
            yield _unknown(number, step.text, "entity", kind, counts.entities)


def _entity_type(step: Operator) -> str | None:
    kind = getattr(step, "type", None)
    return kind if isinstance(kind, str) else None


def _unknown(step: int | None, text: str, family: str, wanted: str, known: Mapping[str, int]) -> UnknownType:
    there = f"they have {_counted(known)}" if known else "they have none at all"
    message = f"neither log nor graph has the {family} type {short_repr(wanted, 80)}; {there}"
    return UnknownType(step, text, wanted, list(known), message, did_you_mean(wanted, known))


def _counted(counts: Mapping[str, int]) -> str:
    most = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    listed = ", ".join(f"{name} ({count:,})" for name, count in most[:_LISTED])
    return listed if len(most) <= _LISTED else f"{listed} and {len(most) - _LISTED} more"


def type_findings(flows: Sequence[FlowSpec], counts: TypeCounts, places: Places) -> Iterator[Finding]:
    """Yield a finding for each type that flows name and nothing has."""
    severity = rules()["unknown-type"].severity
    for flow in flows:
        for one in unknown_types(flow, counts):
            where = one.text if one.step is None else places.get((flow.name, one.step), one.text)
            yield Finding("unknown-type", severity, flow.name, one.step, where, one.message, one.hint)


@dataclass
class _Values:
    """The values that a path had where it was compared, with their counts; None in place of them if there are
    too many.
    """

    wanted: list[object] = field(default_factory=list)
    contexts: int = 0
    missing: int = 0
    counts: Counter[str] | None = field(default_factory=Counter)
    tags: set[Tag] = field(default_factory=set)


class ComparedValues:
    """Trace reader that collects the values of paths that conditions compare with constants."""

    def __init__(self) -> None:
        self._found: dict[tuple[int, Path], _Values] = {}
        self._steps: dict[int, CompiledStep] = {}

    def __call__(self, step: CompiledStep, entered: ContextBatch, outcome: StepOutcome) -> None:
        """Record the contexts that entered a step."""
        operator = step.operator
        if not len(entered) or not isinstance(operator, Where) or operator.condition.expression is None:
            return
        for node in operator.condition.expression.walk():
            pair = _path_and_constant(node)
            if pair is not None:
                self._steps[id(step)] = step
                self._record(id(step), *pair, entered)

    def _record(self, step: int, path: Path, constant: object, entered: ContextBatch) -> None:
        found = self._found.setdefault((step, path), _Values())
        if constant not in found.wanted:
            found.wanted.append(constant)
        if constant is not found.wanted[0]:
            return
        column = entered.column(path)
        there = np.flatnonzero(~column.is_(Tag.MISSING, Tag.NULL))
        found.contexts += len(entered)
        found.missing += int(column.is_(Tag.MISSING).sum())
        found.tags |= {Tag(int(tag)) for tag in np.unique(column.tag_array()[there])}
        if found.counts is not None and len(there):
            distinct = column.take(there).to_json().value_counts()
            found.counts.update(dict(distinct.iter_rows()))
            if len(found.counts) > _MOST_VALUES:
                found.counts = None

    def findings(self, flows: Sequence[FlowSpec], places: Places) -> Iterator[Finding]:
        """Yield what was never there: paths, and constants that no value is equal to."""
        for (key, path), found in self._found.items():
            step = self._steps[key]
            for code, message, hint in _problems(path, found):
                for number in step.flows:
                    name = flows[number].name
                    where = places.get((name, step.number), step.operator.text)
                    yield Finding(code, rules()[code].severity, name, step.number, where, message, hint)


def _path_and_constant(node: object) -> tuple[Path, object] | None:
    if not isinstance(node, Compare) or node.operator not in ("==", "!="):
        return None
    for one, other in ((node.left, node.right), (node.right, node.left)):
        if isinstance(one, Reference) and isinstance(other, ConditionLiteral):
            value = other.value
            return (one.path, value) if isinstance(value, (str, int, float, bool)) else None
    return None


def _problems(path: Path, found: _Values) -> Iterator[tuple[str, str, str | None]]:
    if found.contexts < MANY:
        return
    name = path_text(path)
    if found.missing == found.contexts:
        yield (
            "unknown-attribute",
            f"{name} is missing in all {found.contexts:,} contexts that are compared by it",
            "is the name spelled as in the events and entities?",
        )
        return
    kinds = {_KINDS[tag] for tag in found.tags}
    for wanted in found.wanted:
        kind = _kind(wanted)
        if kinds and kind not in kinds:
            there = " or ".join(sorted(kinds))
            yield (
                "unknown-value",
                f"{name} is always {there}, and never equal to {short_repr(wanted, 80)}, which is {kind}",
                "values of different types are never equal: write the constant in the type of the values",
            )
        elif found.counts is not None and isinstance(wanted, str):
            yield from _never(name, wanted, found.counts)


def _never(name: str, wanted: str, counts: Mapping[str, int]) -> Iterator[tuple[str, str, str | None]]:
    values = {text[1:-1]: count for text, count in counts.items() if text.startswith('"')}
    if wanted not in values:
        what = f"{name} is never {short_repr(wanted, 80)}; it is {_counted(values)}"
        yield "unknown-value", what, did_you_mean(wanted, values)


_KINDS: Final = {
    Tag.TEXT: "text",
    Tag.INT: "a number",
    Tag.FLOAT: "a number",
    Tag.BOOL: "true or false",
    Tag.OBJECT: "an object",
    Tag.ARRAY: "a list",
}


def _kind(value: object) -> str:
    if isinstance(value, bool):
        return "true or false"
    return "text" if isinstance(value, str) else "a number"


def warn_of_likely_slips(options: Options, result: ResultData) -> None:
    """Warn of types that nothing in log and graph has, and that are close to one that is there.

    The log is read again, two columns of it, only if a trigger matched no event, or a link type has no link.
    """
    if options.state is not None or not result.manifest["events"]:
        return
    suspects = [flow for number, flow in enumerate(options.flows) if _is_suspect(number, flow, result)]
    if not suspects:
        return
    counts = count_types(options.source, options.graph)
    for flow in suspects:
        for one in unknown_types(flow, counts):
            # a hint names anything that is somewhat like it; a slip is a letter or two
            if get_close_matches(one.name, one.known, 1, _CLOSE):
                warn(f"flow {flow.name!r}, {one.text}: {one.message}; {one.hint}")


def _is_suspect(number: int, flow: FlowSpec, result: ResultData) -> bool:
    if flow.trigger.filter is not None and not any(
        step["entered"] for step in result.manifest["steps"] if step["number"] == number and step["step"] == 0
    ):
        return True
    links = result.state.graph.links if result.state is not None else {}
    return any(links[name].next == 0 for step in flow.steps for name, _ in step.links if name in links)
