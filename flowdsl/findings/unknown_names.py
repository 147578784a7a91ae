"""Types of links and entities that flows name, but neither the log nor its graph has: most are slips."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import polars as pl

from flowdsl.engine.range import CHUNK
from flowdsl.errors import did_you_mean
from flowdsl.findings.base import Finding, Violation, finding_of
from flowdsl.text import short_repr

if TYPE_CHECKING:
    from flowdsl.flow.spec import FlowSpec
    from flowdsl.graph.snapshot import EntityGraph
    from flowdsl.log import EventSource

# names, or values, that a message lists with their counts
_LISTED: Final = 5
Places = Mapping[tuple[str, int], str]


@dataclass(frozen=True)
class TypeCounts:
    """Number of events plus links or entities of the graph, by link type and by entity type."""

    links: Mapping[str, int]
    entities: Mapping[str, int]


@dataclass(frozen=True)
class UnknownType:
    """A type that a flow names, at a step or its trigger (`step` is None), and that does not occur."""

    step: int | None
    text: str
    name: str
    known: Sequence[str]
    message: str
    hint: str | None


def count_types(source: EventSource, graph: EntityGraph | None) -> TypeCounts:
    """Count the types in a log and its graph; the log is read once, two columns only."""
    links: Counter[str] = Counter(dict(graph.link_counts) if graph is not None else {})
    entities: Counter[str] = Counter(dict(graph.entity_counts) if graph is not None else {})
    for frame in source.chunks(("link_type", "entity_type"), CHUNK):
        for name, counts in (("link_type", links), ("entity_type", entities)):
            if name in frame.columns:
                found = frame[name].cast(pl.String).drop_nulls().value_counts()
                counts.update(dict(found.iter_rows()))
    return TypeCounts(links, entities)


def unknown_types(flow: FlowSpec, counts: TypeCounts) -> Iterator[UnknownType]:
    """Yield the types of links and entities that a flow names, and that do not occur."""
    if flow.trigger.filter is not None:
        column, wanted = flow.trigger.filter
        family, known = ("link", counts.links) if column == "link_type" else ("entity", counts.entities)
        if wanted not in known:
            yield _unknown(None, flow.trigger.text, family, wanted, known)
    for number, step in enumerate(flow.steps):
        for name in sorted({name for name, _ in step.links} - counts.links.keys()):
            yield _unknown(number, step.text, "link", name, counts.links)
        for name in sorted(step.entity_types - counts.entities.keys()):
            yield _unknown(number, step.text, "entity", name, counts.entities)


def _unknown(step: int | None, text: str, family: str, wanted: str, known: Mapping[str, int]) -> UnknownType:
    there = f"they have {count_text_of(known)}" if known else "they have none at all"
    message = f"neither log nor graph has the {family} type {short_repr(wanted, 80)}; {there}"
    return UnknownType(step, text, wanted, list(known), message, did_you_mean(wanted, known))


def count_text_of(counts: Mapping[str, int]) -> str:
    """Return names with their counts, the most frequent first: `likes (3,013), owns (12)`."""
    most = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    listed = ", ".join(f"{name} ({count:,})" for name, count in most[:_LISTED])
    return listed if len(most) <= _LISTED else f"{listed} and {len(most) - _LISTED} more"


def unknown_merges(graph: EntityGraph | None, counts: TypeCounts) -> Iterator[UnknownType]:
    """Yield the types whose updates a graph merges, but that have no entities."""
    for name in sorted((graph.merge if graph is not None else frozenset()) - counts.entities.keys()):
        yield _unknown(None, f"EntityGraph(merge=[{name!r}])", "entity", name, counts.entities)


def type_findings(
    flows: Sequence[FlowSpec], counts: TypeCounts, graph: EntityGraph | None, places: Places
) -> Iterator[Finding]:
    """Yield a finding for each type that flows, or the `merge` of a graph, name, and that does not occur."""
    for one in unknown_merges(graph, counts):
        yield finding_of("unknown-type", Violation(one.text, one.message, one.hint))
    for flow in flows:
        for one in unknown_types(flow, counts):
            where = one.text if one.step is None else places.get((flow.name, one.step), one.text)
            yield finding_of("unknown-type", Violation(where, one.message, one.hint, one.step), flow.name)
