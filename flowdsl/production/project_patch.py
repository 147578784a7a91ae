"""Patch of a project's file after the project changed: unchanged parts keep their text."""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from flowdsl.errors import ExportError, LoadError, without_warnings
from flowdsl.flow.spec import FlowSpec
from flowdsl.operators.base import Operator
from flowdsl.production.export import portable_flows
from flowdsl.production.portable import lower_steps, portable
from flowdsl.production.project_spec import ProjectSpec
from flowdsl.production.serializer import (
    backend_mapping,
    consumer_mapping,
    flow_mapping,
    sink_mapping,
    step_mapping,
)
from flowdsl.production.yaml import load_text
from flowdsl.production.yaml_patch import PatchError, as_written, splice
from flowdsl.rules import Rules

T = TypeVar("T")


def patch_text(text: str, project: ProjectSpec) -> str | None:
    """Return the text patched where the project differs from it, or None if it must be written anew.

    Flows that are equal to what the text says stay as they are written, what production cannot say in them
    too; the others are lowered. Raises `ExportError` where one of those cannot be.
    """
    rules, skips = project.rules, bool(project.skipped)
    try:
        base = _load(text, rules, skips)
    except LoadError:
        return None
    if same(base, project):
        return text
    kept = set(base.flows)
    changed = portable_flows(flow for flow in project.flows if flow not in kept)
    lowered = iter(changed)
    expected = replace(project, flows=tuple(f if f in kept else next(lowered) for f in project.flows))
    try:
        new = splice(text, _merge(as_written(text), base, project))
        again = _load(new, rules, skips)
    except (PatchError, LoadError):
        return None
    return new if same(again, expected) and len(again.left_out) == len(base.left_out) else None


def _load(text: str, rules: Rules, skip_invalid: bool) -> ProjectSpec:
    with without_warnings():
        return load_text(text, rules=rules, skip_invalid=skip_invalid)


def same(one: ProjectSpec, other: ProjectSpec) -> bool:
    """Return True if two projects are equal, including keys that flowdsl does not use."""
    return _compare(one) == _compare(other)


def _compare(project: ProjectSpec) -> tuple[Any, ...]:
    # as JSON text, since NaN does not even equal itself
    around = [backend_mapping(project.backend), list(map(sink_mapping, project.sinks)), project.other]
    return project.flows, project.consumers, json.dumps(around, sort_keys=True, default=dict)


def _merge(document: Any, base: ProjectSpec, project: ProjectSpec) -> Any:
    """Return the target document; its shape may leave no room for the change."""
    if isinstance(document, dict) and not document.keys().isdisjoint(
        ("events", "sinks", "entities", "links")
    ):
        return _merge_project(document, base, project)
    if not same(replace(base, flows=()), replace(project, flows=())):
        raise PatchError
    if isinstance(document, list):
        return _merge_flows(document, base, project.flows)
    flows = _merge_flows([document], base, project.flows)
    if len(flows) != 1:
        raise PatchError
    return flows[0]


def _merge_project(document: dict[str, Any], base: ProjectSpec, project: ProjectSpec) -> dict[str, Any]:
    events = document.get("events") or {}
    changed = dict(events)
    if base.backend != project.backend:
        _set(changed, "backend", backend_mapping(project.backend))
    if base.flows != project.flows:
        changed["flows"] = _merge_flows(events.get("flows") or [], base, project.flows)
    _set_kept(changed, "consumers", base.consumers, project.consumers, consumer_mapping)
    new = dict(document)
    if changed != events:
        new["events"] = changed
    _set_kept(new, "sinks", base.sinks, project.sinks, sink_mapping)
    return _merge_other(new, base.other, project.other)


def _merge_other(document: dict[str, Any], old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(document)
    for key in old.keys() - new.keys():
        merged.pop(key, None)
    return merged | {key: value for key, value in new.items() if key not in old or old[key] != value}


def _set(mapping: dict[str, Any], key: str, value: Any) -> None:
    if value or key in mapping:
        mapping[key] = value


def _set_kept(
    document: dict[str, Any], key: str, old: Sequence[T], new: Sequence[T], mapping: Callable[[T], Any]
) -> None:
    """Set the new values of a list if they differ; those equal to old ones keep their text."""
    if old == new:
        return
    written = document.get(key) or []
    if len(written) != len(old):
        raise PatchError
    _set(document, key, [written[old.index(value)] if value in old else mapping(value) for value in new])


def _merge_flows(every: list[Any], base: ProjectSpec, new: Sequence[FlowSpec]) -> list[Any]:
    """Return the flows in their new order; flows skipped on reading stay after what precedes them."""
    old = base.flows
    written = [flow for number, flow in enumerate(every) if number not in base.left_out]
    if len(written) != len(old):
        raise PatchError
    merged: list[Any] = []
    # the new place of each old flow
    places: dict[int, int] = {}
    for before, number in _pairs([flow.name for flow in old], [flow.name for flow in new]):
        flow = new[number]
        if before is None:
            merged.append(written[old.index(flow)] if flow in old else flow_mapping(portable(flow)))
        else:
            places[before] = len(merged)
            merged.append(_merge_flow(written[before], old[before], flow))
    return _with_skipped(merged, {number: every[number] for number in base.left_out}, places)


def _with_skipped(merged: list[Any], skipped: Mapping[int, Any], places: Mapping[int, int]) -> list[Any]:
    """Return the flows with those in them that were skipped on reading, by their number in the text."""
    last = -1
    for inserted, (number, flow) in enumerate(skipped.items()):
        last = max([last, *(places[one] for one in range(number - inserted) if one in places)]) + 1
        merged.insert(last, flow)
        places = {one: place + (place >= last) for one, place in places.items()}
    return merged


def _pairs(old: Sequence[Any], new: Sequence[Any]) -> Iterator[tuple[int | None, int]]:
    """Return the number of each new item with that of the old one that it replaces, if any."""
    for _, a, b, c, d in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        for number in range(c, d):
            before = a + number - c
            yield before if before < b else None, number


def _merge_flow(written: dict[str, Any], old: FlowSpec, new: FlowSpec) -> dict[str, Any]:
    if old == new:
        return written
    changed = flow_mapping(portable(new))
    for key in ("name", "description"):
        if key in written and getattr(old, key) == getattr(new, key):
            changed[key] = written[key]
    changed["trigger"] = _options(written["trigger"], old.trigger.options, new.trigger.options)
    changed["pipeline"] = _merge_steps(written.get("pipeline") or [], old, new)
    order = list(written)
    if "description" not in order:
        order.insert(order.index("name") + 1, "description")
    return {key: changed[key] for key in order if key in changed}


def _merge_steps(written: list[Any], old: FlowSpec, new: FlowSpec) -> list[Any]:
    merged: list[Any] = []
    lowered, earlier = lower_steps(new), _earlier_steps(old)
    for before, number in _pairs(old.steps, new.steps):
        steps = lowered[number]
        if before is None or len(steps) != 1:
            merged += map(step_mapping, steps)
        elif steps[0] == old.steps[before]:
            merged.append(written[before])
        else:
            merged.append(_merge_step(written[before], earlier[before], steps[0]))
    return merged


def _earlier_steps(flow: FlowSpec) -> list[list[Operator]]:
    """Return the lowered steps of a flow, or nothing if one cannot be lowered."""
    try:
        return lower_steps(flow)
    except ExportError:
        return [[] for _ in flow.steps]


def _merge_step(written: dict[str, Any], old: list[Operator], new: Operator) -> dict[str, Any]:
    wanted = step_mapping(new)
    if new.name not in written or not isinstance(written[new.name], dict):
        return wanted
    known = step_mapping(old[0])[new.name] if len(old) == 1 else {}
    return {new.name: _options(written[new.name], known, wanted[new.name])}


def _options(written: dict[str, Any], old: dict[str, Any], wanted: dict[str, Any]) -> dict[str, Any]:
    """Return the target options in the order of the text; unchanged ones keep their text."""
    options = {key: value for key, value in written.items() if key in wanted} | wanted
    for key in written.keys() & wanted.keys():
        if old.get(key) == wanted[key]:
            options[key] = written[key]
    return options
