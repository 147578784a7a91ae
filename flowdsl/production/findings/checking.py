"""Runs the rules over flows, projects and documents, and puts what they find in order."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from flowdsl.errors import FlowError, LoadError
from flowdsl.events import FlowWarning
from flowdsl.production.findings.base import SEVERITIES, Finding, Remark, Rule, rules
from flowdsl.production.findings.views import ProjectView, TemplateView
from flowdsl.rules import FLOWDSL, rules_of

if TYPE_CHECKING:
    from flowdsl.flow import Flow
    from flowdsl.graph.snapshot import EntityGraph
    from flowdsl.production.document import Item
    from flowdsl.production.project import Project
    from flowdsl.production.reading import Reader
    from flowdsl.production.this_rs_reading import ProductionReader


# what production does not compile, said closer than its refusal would say it
_NOT_COMPILED: Final = frozenset(("condition-refused", "condition-spaces", "duration-refused"))
# what flowdsl refuses at another place of the step or trigger than the one that a finding shows
_LET_IN: Final = frozenset(("deliver-without-payload", "filter-of-other-family"))


def check_flow(
    flow: Flow, target: str | None = None, log: Any = None, graph: EntityGraph | None = None
) -> list[Finding]:
    """What is worth knowing of one flow; with a log also what its events make of it."""
    from flowdsl.production.findings.reading import view_of_flow

    rules_of(target)
    view = ProjectView([view_of_flow(flow)])
    found = [*findings_of(view, target, around=False), *_from_log(view, (flow,), target, log, graph)]
    return ordered(found, view)


def check_project(
    project: Project, target: str | None = None, log: Any = None, graph: EntityGraph | None = None
) -> list[Finding]:
    """What is worth knowing of a project; places are those of the file where the flows are still what it says."""
    from flowdsl.production.findings.reading import view_of_project

    rules_of(target)
    view = _filed(project) or view_of_project(project)
    found = [*findings_of(view, target), *_from_log(view, project.flows, target, log, graph)]
    return ordered(found, view)


def _from_log(
    view: ProjectView, flows: Sequence[Flow], target: str | None, log: Any, graph: EntityGraph | None
) -> list[Finding]:
    if log is None or not flows:
        return []
    from flowdsl.production.findings.from_log import findings_from_log
    from flowdsl.replaying import by_rules, options_of

    places = {(flow.name, step.number): step.place for flow in view.flows for step in flow.steps}
    return findings_from_log(options_of(by_rules(flows, FLOWDSL), log, graph), target, places)


def check_source(
    source: str | bytes,
    name: str,
    target: str | None = None,
    log: Any = None,
    graph: EntityGraph | None = None,
) -> list[Finding]:
    """What is worth knowing of YAML, with what loading refuses as findings too; places begin with `name`.

    With a log also what its events make of the flows that flowdsl can build.

    >>> [finding.code for finding in check_source("- {name: f, trigger: {kind: link.created}, pipeline: []}", "f.yaml")]
    ['no-deliver', 'every-type']
    """
    from flowdsl.production.document import read_text
    from flowdsl.production.yaml import decoded

    rules_of(target)
    try:
        text = decoded(source, name) if isinstance(source, bytes) else source
        item, problems = read_text(text, name, lenient=target is not None)
    except LoadError as error:
        return [_refused(problem) for problem in error.problems]
    from flowdsl.production.findings.reading import view_of_document

    view = view_of_document(item)
    found = _check_document(view, text, item, problems, target)
    if log is None:
        return found
    return ordered([*found, *_from_log(view, _built(text, name), target, log, graph)], view)


def _built(text: str, name: str) -> Sequence[Flow]:
    """The flows of YAML that flowdsl can build."""
    from flowdsl.production.yaml import load_text

    with warnings.catch_warnings():
        # why others cannot be is among the findings
        warnings.simplefilter("ignore", FlowWarning)
        try:
            return load_text(text, name, skip_invalid=True).flows
        except LoadError:
            return ()


def findings_of(view: ProjectView, target: str | None, *, around: bool = True) -> Iterator[Finding]:
    """What the rules find; `around` says whether the sinks and consumers are known too."""
    asked = [rule for rule in rules().values() if rule.look is not None and (target or not rule.target)]
    if around:
        yield from _apply(asked, view, None)
    for flow in view.flows:
        yield from _apply(asked, flow, flow.name)
        for step in flow.steps:
            yield from _apply(asked, step, flow.name)
            for leaf in step.leaves:
                if leaf.template is not None or leaf.problem is not None:
                    yield from _apply(asked, TemplateView(step, leaf), flow.name)


def ordered(findings: Iterable[Finding], view: ProjectView) -> list[Finding]:
    """The findings in the order of the text, each once; where there are no places, in that of the flows and steps."""
    flows = {flow.name: number for number, flow in enumerate(view.flows)}

    def position(finding: Finding) -> tuple[int, ...]:
        found = re.search(r":([0-9]+):([0-9]+)$", finding.where)
        line, column = (int(found[1]), int(found[2])) if found else (0, 0)
        step = -1 if finding.step is None else finding.step
        return line, column, flows.get(finding.flow or "", -1), step, SEVERITIES.index(finding.severity)

    return sorted(dict.fromkeys(findings), key=position)


def _apply(asked: Iterable[Rule], view: Any, flow: str | None) -> Iterator[Finding]:
    for rule in asked:
        if rule.view is type(view) and rule.look is not None:
            for remark in rule.look(view):
                yield _finding(rule, remark, flow)


def _finding(rule: Rule, remark: Remark, flow: str | None) -> Finding:
    return Finding(rule.code, rule.severity, flow, remark.step, remark.where, remark.message, remark.hint)


# -- documents ---------------------------------------------------------------------------------------------


def _check_document(
    view: ProjectView, text: str, item: Item, problems: list[FlowError], target: str | None
) -> list[Finding]:
    found = list(findings_of(view, target))
    if target is None:
        return ordered([*found, *map(_refused, _problems(item, problems))], view)
    refused = _unexplained(map(_refused, _problems_there(item, problems)), found, _NOT_COMPILED)
    if refused:
        return ordered([*found, *refused], view)
    said = {finding.where for finding in found if finding.severity != "note"}
    here = (_refused(problem, "only-production") for problem in _here(text, item))
    only = _unexplained((finding for finding in here if finding.where not in said), found, _LET_IN)
    return ordered([*found, *only], view)


def _unexplained(
    refusals: Iterable[Finding], found: Iterable[Finding], closer: frozenset[str]
) -> list[Finding]:
    """The refusals of steps and triggers of which no closer finding says why."""
    explained = {(finding.flow, finding.step) for finding in found if finding.code in closer}
    return [finding for finding in refusals if (finding.flow, finding.step) not in explained]


def _problems(item: Item, problems: list[FlowError]) -> list[FlowError]:
    """What flowdsl refuses of a document."""
    from flowdsl.production.reading import Reader

    return _read(Reader(problems), item)


def _problems_there(item: Item, problems: list[FlowError]) -> list[FlowError]:
    """What production refuses of a document."""
    from flowdsl.production.this_rs_reading import ProductionReader

    return _read(ProductionReader(problems), item)


def _read(reader: Reader | ProductionReader, item: Item) -> list[FlowError]:
    try:
        reader.project(item)
    except LoadError as error:
        return list(error.problems)
    return reader.problems


def _here(text: str, item: Item) -> list[FlowError]:
    """What flowdsl refuses of a document that was read leniently."""
    from flowdsl.production.document import read_text

    try:
        return _problems(*read_text(text, item.place.rsplit(":", 2)[0]))
    except LoadError as error:
        return list(error.problems)


def _refused(problem: FlowError, code: str = "refused") -> Finding:
    number = re.match(r"[0-9]+", problem.step or "")
    hints = [f"allowed: {problem.allowed}" if problem.allowed else None, problem.hint]
    return Finding(
        code,
        rules()[code].severity,
        problem.flow,
        int(number[0]) if number else None,
        problem.place or "the document",
        problem.what,
        "; ".join(hint for hint in hints if hint) or None,
    )


def _filed(project: Project) -> ProjectView | None:
    """The view of the text of a project, if the project still is what the text says."""
    from flowdsl.production.document import read_text
    from flowdsl.production.findings.reading import view_of_document
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
