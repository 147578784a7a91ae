"""Running the rules over flows, projects and documents, and ordering their findings."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from flowdsl.errors import FlowError, LoadError, PluginError, without_warnings
from flowdsl.findings.base import SEVERITIES, Finding, Rule, Violation, finding_of, rules, violation_of
from flowdsl.findings.views import ProjectView, TemplateView
from flowdsl.log.source import LogLike
from flowdsl.rules import FLOWDSL, Rules, Target, rules_of

if TYPE_CHECKING:
    from flowdsl.flow.spec import FlowSpec
    from flowdsl.graph.snapshot import EntityGraph
    from flowdsl.production.loader import DocumentReader
    from flowdsl.production.nodes import Item
    from flowdsl.production.project_spec import ProjectSpec
    from flowdsl.production.this_rs_loader import ProductionReader
    from flowdsl.progress import Progress


# production rejects flows with these findings, which are more specific than the rejection itself
_NOT_COMPILED: Final = frozenset(
    (
        "condition-refused",
        "condition-spaces",
        "condition-stops-production",
        "duration-refused",
        "not-portable",
    )
)
# as above for rejections by flowdsl, which may be at another place of the same step or trigger
_LET_IN: Final = frozenset(("deliver-without-payload", "filter-of-other-family"))


def check_flow(
    flow: FlowSpec,
    target: Target | None = None,
    log: LogLike | None = None,
    graph: EntityGraph | None = None,
    max_ahead_of_next: str | dt.timedelta | None = None,
    progress: Progress = None,
) -> list[Finding]:
    """Return the findings of one flow; with a log, also those that its events show."""
    from flowdsl.findings.document_views import view_of_flow

    rules_of(target)
    view = ProjectView([view_of_flow(flow)])
    found = [
        *findings_of(view, target, around=False),
        *_of_graph(view, target, graph),
        *_from_log(view, (flow,), target, log, graph, max_ahead_of_next, progress),
    ]
    return order_findings(found, view)


def check_project(
    project: ProjectSpec,
    target: Target | None = None,
    log: LogLike | None = None,
    graph: EntityGraph | None = None,
    max_ahead_of_next: str | dt.timedelta | None = None,
    progress: Progress = None,
) -> list[Finding]:
    """Return the findings of a project; places are those of its file while the flows still match the file."""
    from flowdsl.findings.document_views import view_of_project

    rules_of(target)
    view = _view_in_file(project) or view_of_project(project)
    found = [
        *findings_of(view, target),
        *_of_graph(view, target, graph),
        *_from_log(view, project.flows, target, log, graph, max_ahead_of_next, progress),
    ]
    return order_findings(found, view)


def _from_log(
    view: ProjectView,
    flows: Sequence[FlowSpec],
    target: Target | None,
    log: LogLike | None,
    graph: EntityGraph | None,
    max_ahead_of_next: str | dt.timedelta | None = None,
    progress: Progress = None,
    production: Sequence[FlowSpec] | None = None,
) -> list[Finding]:
    """Return the findings that a log shows; `production` are the flows as production reads them, if known."""
    if log is None or not flows:
        return []
    from flowdsl.findings.crash_search import export_flows, stops_in_log
    from flowdsl.findings.from_log import findings_from_log
    from flowdsl.production.targets import by_rules
    from flowdsl.results.options import open_source, options_of

    log = open_source(log, max_ahead_of_next)
    places = {(flow.name, step.number): step.place for flow in view.flows for step in flow.steps}
    found = findings_from_log(options_of(by_rules(flows, FLOWDSL), log, graph), target, places, progress)
    if target is not None and not (graph is not None and graph.merge):
        there = export_flows(flows if production is None else production, rules_of(target))
        found += stops_in_log(there, log, graph, places)
    return found


def _of_graph(view: ProjectView, target: Target | None, graph: EntityGraph | None) -> list[Finding]:
    """Return a finding for each flow if the graph merges updates and the target does not."""
    from flowdsl.results.options import check_graph

    check_graph(graph)
    if graph is None or not graph.merge or rules_of(target).merges:
        return []
    types = ", ".join(sorted(graph.merge))
    message = f"updates of {types} are merged in the graph, and production replaces the whole entity"
    hint = "let updates carry the whole entity, and leave merge out"
    return [
        finding_of("not-portable", Violation(flow.place, message, hint), flow.name) for flow in view.flows
    ]


def check_sources(
    sources: Sequence[tuple[str | bytes, str]],
    target: Target | None = None,
    log: LogLike | None = None,
    graph: EntityGraph | None = None,
) -> list[Finding]:
    """Return the findings of several documents that form one project, such as flows and their sinks."""
    from flowdsl.findings.document_views import merged_views

    rules_of(target)
    found: list[Finding] = []
    read: list[_Document] = []
    for source, name in sources:
        try:
            read.append(_document(source, name, target))
        except LoadError as error:
            found += map(_refusal, error.problems)
    view = merged_views([document.view for document in read])
    if read:
        found += _apply(_default_rules(target), view, None)
    for document in read:
        found += _check_document(document, target)
    if log is not None:
        flows, there = (_build_flows(read, rules) for rules in (FLOWDSL, rules_of(target)))
        found += _from_log(view, flows, target, log, graph, production=there)
    return order_findings(found, view, [name for _, name in sources])


def _build_flows(documents: Sequence[_Document], rules: Rules) -> list[FlowSpec]:
    return [flow for document in documents for flow in _build(document.text, document.name, rules)]


@dataclass(frozen=True)
class _Document:
    """Parsed document, not yet checked."""

    text: str
    name: str
    item: Item
    problems: list[FlowError]
    view: ProjectView


def _document(source: str | bytes, name: str, target: Target | None) -> _Document:
    from flowdsl.findings.document_views import view_of_document
    from flowdsl.production.nodes import read_text
    from flowdsl.production.yaml import decode_text

    text = decode_text(source, name, keep_mark=target is not None) if isinstance(source, bytes) else source
    item, problems = read_text(text, name, lenient=target is not None)
    return _Document(text, name, item, problems, view_of_document(item))


def _build(text: str, name: str, rules: Rules) -> Sequence[FlowSpec]:
    """Return the flows of a YAML text that can be built by these rules."""
    from flowdsl.production.yaml import load_text

    try:
        # the findings report why the others cannot be built
        with without_warnings():
            return load_text(text, name, rules=rules, skip_invalid=True).flows
    except LoadError:
        return ()


def findings_of(
    view: ProjectView, target: Target | None, *, around: bool = True, codes: Sequence[str] = ()
) -> Iterator[Finding]:
    """Yield the findings of all rules, or only of those in `codes`; with `around`, also those about sinks and
    consumers.
    """
    asked = [rules()[code] for code in codes] or _default_rules(target)
    if around:
        yield from _apply(asked, view, None)
    for flow in view.flows:
        yield from _apply(asked, flow, flow.name)
        for step in flow.steps:
            yield from _apply(asked, step, flow.name)
            for leaf in step.leaves:
                if leaf.template is not None or leaf.problem is not None:
                    yield from _apply(asked, TemplateView(step, leaf), flow.name)


def _default_rules(target: Target | None) -> list[Rule]:
    return [rule for rule in rules().values() if rule.look is not None and (target or not rule.target)]


def order_findings(
    findings: Iterable[Finding], view: ProjectView, names: Sequence[str] = ()
) -> list[Finding]:
    """Return the findings without duplicates: in the order of their places in the text, or else by flow and
    step.

    `names` are the names of the texts, in order, if there are several.
    """
    flows = {flow.name: number for number, flow in enumerate(view.flows)}
    texts = {name: number for number, name in enumerate(names)}

    def position(finding: Finding) -> tuple[int, ...]:
        found = re.search(r":([0-9]+):([0-9]+)$", finding.where)
        line, column = (int(found[1]), int(found[2])) if found else (0, 0)
        step = -1 if finding.step is None else finding.step
        text = texts.get(finding.where[: found.start()] if found else finding.where, -1)
        return text, line, column, flows.get(finding.flow or "", -1), step, SEVERITIES.index(finding.severity)

    return sorted(dict.fromkeys(findings), key=position)


def _apply(asked: Iterable[Rule], view: Any, flow: str | None) -> Iterator[Finding]:
    for rule in asked:
        if rule.view is type(view) and rule.look is not None:
            for remark in _remarks(rule, view):
                yield finding_of(rule.code, remark, flow)


def _remarks(rule: Rule, view: Any) -> Iterable[Violation]:
    assert rule.look is not None
    if rule.code in rules().own:
        return rule.look(view)
    try:
        return list(rule.look(view))
    # a rule of another package may raise anything
    except Exception as error:
        raise PluginError(f"the finding {rule.code!r} raised {type(error).__name__}: {error}") from error


def _check_document(document: _Document, target: Target | None) -> list[Finding]:
    """Return the findings of a document's flows, including what loading rejects."""
    from flowdsl.production.this_rs_loader import ProductionReader

    item, problems = document.item, document.problems
    found = list(findings_of(document.view, target, around=False))
    if target is None:
        return [*found, *map(_refusal, _problems(item, problems))]
    there = _read(ProductionReader(problems), item)
    refused = _find_unexplained(map(_refusal, there), found, _NOT_COMPILED)
    if refused:
        return [*found, *refused]
    explained = {finding.where for finding in found if finding.severity != "note"}
    here = (_refusal(problem, "only-production") for problem in _here(document))
    only = _find_unexplained((finding for finding in here if finding.where not in explained), found, _LET_IN)
    return [*found, *only]


def _find_unexplained(
    refusals: Iterable[Finding], found: Iterable[Finding], closer: frozenset[str]
) -> list[Finding]:
    """Return the rejections of steps and triggers that no more specific finding explains."""
    # the shape of a document is rejected at a place, before steps are numbered
    near = [{(finding.flow, finding.step), finding.where} for finding in found if finding.code in closer]
    explained: set[object] = set().union(*near)
    return [f for f in refusals if explained.isdisjoint(((f.flow, f.step), f.where))]


def _problems(item: Item, problems: list[FlowError]) -> list[FlowError]:
    """Return what flowdsl rejects in a document."""
    from flowdsl.production.loader import DocumentReader

    return _read(DocumentReader(problems), item)


def _read(reader: DocumentReader | ProductionReader, item: Item) -> list[FlowError]:
    try:
        reader.project(item)
    except LoadError as error:
        return list(error.problems)
    return reader.problems


def _here(document: _Document) -> list[FlowError]:
    """Return what flowdsl rejects in a document that was parsed leniently."""
    from flowdsl.production.nodes import read_text

    try:
        return _problems(*read_text(document.text, document.name))
    except LoadError as error:
        return list(error.problems)


def _refusal(problem: FlowError, code: str = "refused") -> Finding:
    return finding_of(code, violation_of(problem, problem.place or "the document"), problem.flow)


def _view_in_file(project: ProjectSpec) -> ProjectView | None:
    """Return the view of a project's text if the project still matches it, else None."""
    from flowdsl.findings.document_views import view_of_document
    from flowdsl.production.nodes import read_text
    from flowdsl.production.yaml import load_text

    if project.text is None or project.skipped:
        return None
    rules = project.flows[0].rules if project.flows else FLOWDSL
    try:
        same = load_text(project.text, rules=rules) == project
        item, _ = read_text(project.text, project.name or "text", lenient=not rules.early_checks)
    except LoadError:
        return None
    return view_of_document(item) if same else None
