"""Warnings of a replay about likely slips in names, values, types, braces and recipients, each given once.

A check finds more. A replay uses the results that it has anyway, and reads the log again only if something
looks suspicious.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING, Final
from weakref import WeakKeyDictionary

from flowdsl.engine.range import CHUNK, ReplayRange
from flowdsl.engine.trace import Trace
from flowdsl.errors import warn
from flowdsl.findings.base import Finding
from flowdsl.findings.check import findings_of
from flowdsl.findings.document_views import view_of_flow
from flowdsl.findings.histories import MANY
from flowdsl.findings.people import (
    HINT,
    SampledRecipients,
    counts_of_types,
    entities_in_log,
    message_of,
    names_recipient,
    type_names,
)
from flowdsl.findings.unknown_names import count_types, unknown_merges, unknown_types
from flowdsl.findings.unknown_values import SeenValues
from flowdsl.findings.views import ProjectView
from flowdsl.flow.spec import FlowSpec
from flowdsl.graph.names import types_in
from flowdsl.operators.where import Where
from flowdsl.results.run import run
from flowdsl.results.store import NoStore

if TYPE_CHECKING:
    import polars as pl

    from flowdsl.graph.snapshot import EntityGraph
    from flowdsl.operators.base import Operator
    from flowdsl.results.manifest_schema import StepRow
    from flowdsl.results.options import Options
    from flowdsl.results.result_data import ResultData

# least similarity of a slip and the word that is meant: `like` and `likes` have 0.89, `likes` and `views` 0.4
_CLOSE: Final = 0.8
# findings that need no log
_STATIC: Final = ("no-deliver", "single-braces", "comparison-decided", "compared-with-its-event")
# cached for as long as a flow exists, as flows are replayed again and again
_FOUND: Final[WeakKeyDictionary[FlowSpec, list[Finding]]] = WeakKeyDictionary()
# first words of the hints for likely slips
_LIKELY: Final = ("did you mean", "values of", "an entity has")
# deliveries of a step whose recipients are checked
_SAMPLED: Final = 1_000
_FEW: Final = 16


def warn_of_likely_slips(options: Options, result: ResultData) -> None:
    """Warn of likely slips in the flows of a replay, once for each slip even if many flows have it."""
    if not options.flows[0].rules.early_checks:
        return
    found: dict[tuple[str, str], list[str]] = {}
    for flow, where, slip in _slips(options, result):
        found.setdefault((where, slip), []).append(flow)
    for (where, slip), flows in found.items():
        more = f" and {len(flows) - 1} more" if len(flows) > 1 else ""
        warn(f"flow {flows[0]!r}{more}, {where}: {slip}" if flows[0] else f"{where}: {slip}")


def _slips(options: Options, result: ResultData) -> Iterator[tuple[str, str, str]]:
    """Yield flow, place and message of each slip."""
    yield from _describe(_static(options.flows))
    if options.state is not None or not result.manifest["events"]:
        return
    yield from _types(options, result)
    yield from _describe(_values(options, result))
    yield from _recipients(options, result)


def _describe(findings: Iterator[Finding]) -> Iterator[tuple[str, str, str]]:
    for one in findings:
        yield one.flow or "", one.where, f"{one.message}; {one.hint}" if one.hint else one.message


def _static(flows: Sequence[FlowSpec]) -> Iterator[Finding]:
    """Yield the findings of the rules in `_STATIC`, which need no log."""
    for flow in flows:
        if flow not in _FOUND:
            view = ProjectView([view_of_flow(flow)])
            _FOUND[flow] = list(findings_of(view, None, around=False, codes=_STATIC))
        yield from _FOUND[flow]


def _types(options: Options, result: ResultData) -> Iterator[tuple[str, str, str]]:
    """Yield slips in types: those that neither log nor graph has, and that resemble a type that exists.

    The log is read again (two columns only) if a trigger matched no event, a link type has no link, or an
    entity type is not in the graph.
    """
    known = set() if options.graph is None else {*options.graph.entity_types}
    suspects = [flow for number, flow in enumerate(options.flows) if _is_suspect(number, flow, result, known)]
    merges = options.graph is not None and not options.graph.merge <= known
    if not suspects and not merges:
        return
    counts = count_types(options.source, options.graph)
    found = [(flow.name, one) for flow in suspects for one in unknown_types(flow, counts)]
    found += [("", one) for one in unknown_merges(options.graph, counts)]
    for flow, one in found:
        # hints also name less similar words; a slip is a letter or two
        if get_close_matches(one.name, one.known, 1, _CLOSE):
            yield flow, one.text, f"{one.message}; {one.hint}"


def _is_suspect(number: int, flow: FlowSpec, result: ResultData, known: set[str]) -> bool:
    if any(step.entity_types - known for step in flow.steps):
        return True
    matched_none = flow.trigger.filter is not None and not _triggered_count(number, result)
    return matched_none or _reads_no_links(flow, result)


def _triggered_count(number: int, result: ResultData) -> int:
    """Return how many contexts entered the first step of a flow."""
    return sum(
        step["entered"] for step in result.manifest["steps"] if (step["number"], step["step"]) == (number, 0)
    )


def _reads_no_links(flow: FlowSpec, result: ResultData) -> bool:
    """Return True if a step follows links of a type that has none."""
    links = result.state.graph.links if result.state is not None else {}
    return any(links[name].next == 0 for step in flow.steps for name, _ in step.links if name in links)


def _values(options: Options, result: ResultData) -> Iterator[Finding]:
    """Yield slips in attributes, values and compared types, at suspicious steps (see `_suspicious_steps`).

    The first chunk of events runs once more through the flows with such steps.
    """
    suspects = _suspicious_steps(options.flows, result)
    if not suspects or not options.span.whole or options.stopped is not None:
        return
    first = next(iter(options.source.chunks((), CHUNK)), None)
    if first is None or not first.height:
        return
    flows = tuple(
        dataclasses.replace(options.flows[number], steps=options.flows[number].steps[: max(steps) + 1])
        for number, steps in suspects.items()
    )
    values = SeenValues()
    again = dataclasses.replace(
        options, flows=flows, caps=(), gates={}, span=ReplayRange(stop=int(first["seq_no"][-1]) + 1)
    )
    run(again, NoStore(), progress=False, outcomes=Trace(readings=[values]))
    asked = {flow.name: steps for flow, steps in zip(flows, suspects.values(), strict=True)}
    for one in values.findings(flows, {}):
        if one.step in asked[one.flow or ""] and one.hint and one.hint.startswith(_LIKELY):
            yield one


def _suspicious_steps(flows: Sequence[FlowSpec], result: ResultData) -> dict[int, set[int]]:
    """Return by flow number the steps that stop all of many contexts, and the conditions on `before` that
    stop none.
    """
    suspects: dict[int, set[int]] = {}
    for step in result.manifest["steps"]:
        operator = flows[step["number"]].steps[step["step"]]
        if step["entered"] >= MANY and (_stops_all(step) or _finds_no_change(operator, step)):
            suspects.setdefault(step["number"], set()).add(step["step"])
    return suspects


def _stops_all(counts: StepRow) -> bool:
    return not (counts["passed"] or counts["held"] or counts["absorbed"])


def _finds_no_change(step: Operator, counts: StepRow) -> bool:
    """Return True if a condition on `before` stops no context, which a misspelled name would cause."""
    return (
        isinstance(step, Where)
        and counts["passed"] == counts["entered"]
        and any(path[0] == "before" for path in step.paths or ())
    )


def _recipients(options: Options, result: ResultData) -> Iterator[tuple[str, str, str]]:
    """Yield the deliver steps whose first recipients are not people of the graph or the log."""
    graph = options.graph
    if graph is None:
        return
    people = type_names(graph, {})
    if people is None:
        return
    suspects = [
        (step, flows, SampledRecipients.of(ids))
        for step, flows, ids in _sampled_deliveries(options.flows, result)
        if not _has_some(ids, people, graph)
    ]
    if not suspects:
        return
    in_log = _types_in_log(set().union(*(seen.ids for _, _, seen in suspects)), options, result)
    for step, named, seen in suspects:
        counts = counts_of_types(seen.ids, graph, in_log)
        if not any(counts[name] for name in people):
            for flow in named:
                yield flow.name, flow.steps[step].text, f"{message_of(seen, counts, people)}; {HINT}"


def _has_some(ids: pl.Series, people: Iterable[str], graph: EntityGraph) -> bool:
    """Return True if some of these ids are people of the graph."""
    # most often the first few are enough to decide
    return any(not graph.counts_of_types(some).keys().isdisjoint(people) for some in (ids[:_FEW], ids[_FEW:]))


def _types_in_log(ids: set[str], options: Options, result: ResultData) -> Mapping[str, set[str]]:
    """Return the types of the ids that the log makes entities of."""
    run = result.state.graph if result.state is not None else None
    # a run that looks up entities has all those of the log in its graph
    return types_in(run, ids) if run and run.needs.entities else entities_in_log(ids, options.source)


def _sampled_deliveries(
    flows: Sequence[FlowSpec], result: ResultData
) -> Iterator[tuple[int, list[FlowSpec], pl.Series]]:
    """Yield the deliver steps with many deliveries, their flows that name recipients, and the first
    recipients.
    """
    for table in result.store.tables():
        if not table.startswith("deliveries/"):
            continue
        piece = result.store.parts(table)[0]
        step = int(piece.meta["step"])
        named = [flows[number] for number in piece.meta["flows"] if names_recipient(flows[number], step)]
        if not named or piece.rows < MANY:
            continue
        recipients = piece.read(lambda name: name == "recipient_id").to_series().head(_SAMPLED)
        if recipients.null_count() < len(recipients):
            yield step, named, recipients.drop_nulls() if recipients.null_count() else recipients
