"""Find deliveries whose recipients are not people: posts instead of their owners, or names instead of ids."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import polars as pl

from flowdsl.batches.context_batch import ContextBatch
from flowdsl.engine.range import CHUNK
from flowdsl.findings.base import Finding, StepFindings
from flowdsl.findings.histories import MANY
from flowdsl.findings.unknown_names import count_text_of
from flowdsl.flow.plan import CompiledStep
from flowdsl.kernels.outcome import StepOutcome
from flowdsl.operators.map import Fields, Map
from flowdsl.text import short_repr, with_article
from flowdsl.values.json_types import Tag

if TYPE_CHECKING:
    from flowdsl.flow.spec import FlowSpec
    from flowdsl.graph.snapshot import EntityGraph
    from flowdsl.log import EventSource

# recipients of a step that are checked
_SAMPLED: Final = 1_000
# entity types whose entities receive deliveries
_PEOPLE: Final = frozenset(
    [
        "user",
        "person",
        "people",
        "member",
        "customer",
        "account",
        "profile",
        "contact",
        "subscriber",
        "follower",
        "reader",
        "author",
        "employee",
        "agent",
        "team",
        "group",
        "organisation",
        "organization",
        "company",
        "partner",
        "client",
        "device",
        "student",
        "teacher",
        "player",
        "driver",
        "patient",
        "guest",
        "owner",
        "actor",
    ]
)
# sinks that notify people, by their usual names
_TELLING: Final = frozenset(
    ("inapp", "push", "feed", "inbox", "mail", "email", "sms", "notification", "notifications")
)


@dataclass
class SampledRecipients:
    """Recipients of a deliver step: the number of deliveries, and counts of the first thousand ids."""

    deliveries: int = 0
    ids: Counter[str] = field(default_factory=Counter)

    @classmethod
    def of(cls, recipients: pl.Series) -> SampledRecipients:
        """Build the sample from a column of recipients."""
        seen = cls()
        seen.add(recipients)
        return seen

    def add(self, recipients: pl.Series) -> None:
        """Count recipients; only the first thousand distinct ids are kept."""
        self.deliveries += len(recipients)
        for one, count in recipients.value_counts(sort=True).iter_rows():
            if one in self.ids or len(self.ids) < _SAMPLED:
                self.ids[one] += count


class SeenRecipients:
    """Trace reader that collects the recipients of deliver steps."""

    def __init__(self) -> None:
        self.found: dict[int, tuple[CompiledStep, SampledRecipients]] = {}

    def __call__(self, step: CompiledStep, entered: ContextBatch, outcome: StepOutcome) -> None:
        """Record what a step delivered."""
        if outcome.delivered is None:
            return
        column = outcome.delivered.recipient
        texts = column.text_series().filter(pl.Series(column.is_(Tag.TEXT))).cast(pl.String)
        self.found.setdefault(id(step), (step, SampledRecipients()))[1].add(texts)


def type_names(graph: EntityGraph | None, in_log: Mapping[str, int]) -> list[str] | None:
    """Return the entity types whose names stand for people; None if there are none, or if it is unknown.

    It is unknown if a function supplies entities of such a type: it may know any id.
    """
    there = dict(in_log)
    if graph is not None:
        if any(map(_is_people, graph.fetchers)):
            return None
        there |= graph.entity_counts
    return list(filter(_is_people, there)) or None


def _is_people(name: str) -> bool:
    words = re.split(r"[^a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).casefold())
    return any(word in _PEOPLE or word.removesuffix("s") in _PEOPLE for word in words)


def entities_in_log(ids: Iterable[str], source: EventSource) -> dict[str, set[str]]:
    """Return those of the ids that are ids of entities in the log, by entity type; the log is read once, two
    columns only.
    """
    wanted = pl.Series(list(ids), dtype=pl.String)
    found: dict[str, set[str]] = {}
    for frame in source.chunks(("entity_type", "entity_id"), CHUNK):
        if "entity_id" not in frame.columns or frame["entity_id"].null_count() == frame.height:
            continue
        named = frame.filter(pl.col("entity_id").is_in(wanted.implode())).select("entity_type", "entity_id")
        for kind, one in named.drop_nulls().unique().iter_rows():
            found.setdefault(kind, set()).add(one)
    return found


def counts_of_types(
    ids: Collection[str], graph: EntityGraph | None, in_log: Mapping[str, set[str]]
) -> Counter[str]:
    """Count the ids that are ids of entities, by type; `in_log` are the ids of entities in the log."""
    found: Counter[str] = Counter({} if graph is None else graph.counts_of_types([*ids]))
    for kind, some in in_log.items():
        if count := len(some.intersection(ids)):
            found[kind] = max(found[kind], count)
    return found


def names_recipient(flow: FlowSpec, step: int) -> bool:
    """Return True if the payload of a deliver step has a `recipient_id`, or one of its sinks notifies people,
    by its name.
    """
    maps = [one for one in flow.steps[:step] if isinstance(one, Map)]
    template = maps[-1].template if maps else None
    if isinstance(template, Fields) and any(name == "recipient_id" for name, _ in template.items):
        return True
    sinks = getattr(flow.steps[step], "sinks", ())
    return any(re.sub(r"[^a-z]", "", sink.casefold()) in _TELLING for sink in sinks)


def message_of(seen: SampledRecipients, counts: Mapping[str, int], people: Sequence[str]) -> str:
    """Return the message for a step none of whose recipients is a person."""
    example = short_repr(next(iter(seen.ids)), 60)
    wanted = " or ".join(map(with_article, sorted(people)))
    there = f"they are {count_text_of(counts)}" if counts else "they are ids of nothing"
    return (
        f"none of {len(seen.ids):,} recipients of {seen.deliveries:,} deliveries is {wanted}, first "
        f"{example}; {there}"
    )


HINT: Final = 'recipient_id is the id of a person: look them up with resolve, and write "{{ owner.id }}"'


def _naming_steps(
    seen: SeenRecipients, flows: Sequence[FlowSpec]
) -> Iterator[tuple[CompiledStep, SampledRecipients, list[int]]]:
    """Yield the steps with many deliveries, their recipients, and the numbers of the flows that name
    recipients there.
    """
    for step, recipients in seen.found.values():
        named = [number for number in step.flows if names_recipient(flows[number], step.number)]
        if named and recipients.deliveries >= MANY:
            yield step, recipients, named


def people_findings(
    seen: SeenRecipients,
    at: StepFindings,
    graph: EntityGraph | None,
    source: EventSource,
    entity_types: Mapping[str, int],
) -> Iterator[Finding]:
    """Yield a finding for each deliver step whose recipients are never people."""
    people = type_names(graph, entity_types)
    if people is None:
        return
    asked = [*_naming_steps(seen, at.flows)]
    in_log = entities_in_log({one for _, some, _ in asked for one in some.ids}, source) if asked else {}
    for step, recipients, named in asked:
        counts = counts_of_types(recipients.ids, graph, in_log)
        if any(counts[name] for name in people):
            continue
        message = message_of(recipients, counts, people)
        yield from at.of("recipient-no-person", step, message, HINT, named)
