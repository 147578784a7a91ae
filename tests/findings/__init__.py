"""Cases of findings: for each code a document that has it, and one that comes near and does not."""

from __future__ import annotations

from dataclasses import dataclass

from flowdsl import Flow, MemoryEventLog
from flowdsl.findings import Finding, check_flow, check_sources
from flowdsl.findings.base import rules

LINK = "{kind: link.created, link_type: likes}"
UNLINK = "{kind: link.deleted, link_type: likes}"
ENTITY = "{kind: entity.created, entity_type: post}"
ENTITY_GONE = "{kind: entity.deleted, entity_type: post}"
MAP = 'map: {template: {title: "hello"}}'
DELIVER = "deliver: {sink: s}"
FAN = "fan_out: {from: target_id, via: follows, direction: reverse, as: follower}"
OWNER = "resolve: {from: target_id, via: owns, direction: reverse, as: owner}"
BATCH = "batch: {key: target_id, window: 5m}"


@dataclass(frozen=True)
class Case:
    """A document, or a flow, that has a finding, and one that comes near; `log` and `near_log` are events, if it takes some."""

    code: str
    due: str | Flow
    near: str | Flow
    log: MemoryEventLog | None = None
    near_log: MemoryEventLog | None = None


def flow(*steps: str, on: str = LINK, name: str = "f") -> str:
    """A list of one flow, with a map and a deliver where none is given."""
    given = [*steps]
    if not any(step.startswith(("map", "deliver")) for step in given):
        given.append(MAP)
    if not any(step.startswith("deliver") for step in given):
        given.append(DELIVER)
    return f"- name: {name}\n  trigger: {on}\n  pipeline:\n" + "".join(f"    - {step}\n" for step in given)


def mapped(template: str, *before: str, on: str = LINK) -> str:
    """A flow with one text in its payload."""
    quoted = template.replace("'", "''")
    return flow(*before, f"map: {{template: {{title: '{quoted}'}}}}", on=on)


def project(flows: str = "", sinks: str | None = "[{name: s, type: in_app}]", events: str = "") -> str:
    """A whole document."""
    body = "".join(f"    {line}\n" for line in (flows or flow()).splitlines())
    rest = "".join(f"  {line}\n" for line in events.splitlines())
    return f"events:\n  flows:\n{body}{rest}" + (f"sinks: {sinks}\n" if sinks is not None else "")


def findings_in(source: str | Flow, target: str | None, log: MemoryEventLog | None = None) -> list[Finding]:
    """What is found in a document or a flow, and in the events of a log."""
    if isinstance(source, Flow):
        return check_flow(source, target, log)
    return check_sources([(source, "flows.yaml")], target, log)


def target_of(code: str) -> str | None:
    """The target that a code has to be asked for with."""
    return "this-rs" if rules()[code].target else None


def codes_in(source: str | Flow, target: str | None = None, log: MemoryEventLog | None = None) -> list[str]:
    """The codes of what is found."""
    return [finding.code for finding in findings_in(source, target, log)]
