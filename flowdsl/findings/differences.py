"""Mapping from differences between flowdsl and production, as replays show them, to findings that explain
them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import polars as pl

from flowdsl.engine.crashes import STOPPED
from flowdsl.findings.base import Finding, rules
from flowdsl.findings.check import check_flow
from flowdsl.flow.spec import FlowSpec

# findings that may explain a different outcome at a step, likeliest first
_CONDITIONS: Final = (
    "condition-and",
    "condition-bare-word",
    "condition-quoted-left",
    "condition-quoted-operator",
    "number-spelling",
    "quoted-number",
    "object-compared",
    "batch-name",
    "batch-part",
    "event-variable",
    "undefined-variable",
    "entity-id",
    "compared-across-types",
    "compared-as-text",
)
_TEMPLATES: Final = (
    "batch-name",
    "batch-part",
    "event-variable",
    "undefined-in-template",
    "template-fails",
    "impure-function",
    "entity-id",
    "maybe-missing",
)
_BATCHES: Final = (
    "batch-no-timer",
    "batch-loses-event",
    "batch-discards",
    "batch-without-window",
    "keys-collide",
    "key-as-text",
)
_LOOK_UPS: Final = (
    "direction-unknown",
    "ids-not-uuid",
    "first-link",
    "entity-id",
    "name-unreachable",
    "resolve-may-fail",
)
_AT_STEP: Final = {
    "where": _CONDITIONS,
    "map": _TEMPLATES,
    "batch": _BATCHES,
    "deduplicate": ("keys-collide", "key-as-text", "deduplicate-without-window", "option-ignored"),
    "rate_limit": ("queue-drops", "option-ignored", "strategy-unknown", "one-bucket", "processing-time"),
    "resolve": _LOOK_UPS,
    "fan_out": _LOOK_UPS,
    "deliver": ("deliver-without-payload",),
}
# for a batch, the outcome of a context selects the findings
_IN_BATCH: Final = {
    "held": ("batch-no-timer",),
    "absorbed": ("batch-no-timer", "batch-loses-event"),
    "in no batch": ("batch-loses-event",),
    "batch below min_count": ("batch-discards", "batch-loses-event"),
    "passed": ("batch-loses-event", "batch-no-timer"),
    "moved": ("batch-no-timer",),
}
_REFUSED: Final = ("condition-refused", "condition-spaces", "duration-refused", "not-portable", "refused")
_RECIPIENTS: Final = (
    "recipient-is-target",
    "recipient-is-variable",
    "recipient-ignored",
    "branches-share-recipient",
)
_STOPPING: Final = ("stops-production", "can-stop-production")
_MOST: Final = 3


def with_findings(causes: pl.DataFrame, flows: Sequence[FlowSpec]) -> pl.DataFrame:
    """Add the column `finding` to causes: the codes of explaining findings, separated by commas, or null.

    Only the flows that ran by production's rules are checked; the others are the reference.
    """
    there = {flow.name: flow for flow in flows if not flow.rules.early_checks}
    found = {name: check_flow(flow, flow.rules.target) for name, flow in there.items()}
    everywhere = [finding for some in found.values() for finding in some]
    codes = [
        explaining(cause, everywhere, None)
        if cause["outcome"] == STOPPED
        else explaining(cause, found.get(cause["flow"], []), there.get(cause["flow"]))
        for cause in causes.to_dicts()
    ]
    joined = [", ".join(some) or None for some in codes]
    return causes.with_columns(pl.Series("finding", joined, dtype=pl.String))


def explaining(cause: dict[str, Any], findings: Iterable[Finding], flow: FlowSpec | None) -> list[str]:
    """Return the codes of the findings that explain a cause, likeliest first."""
    listed = list(findings)
    operators = [step.method for step in flow.steps] if flow is not None else []
    at_step = []
    if (cause["step"], cause["operator"]) in enumerate(operators):
        at_step = [finding for finding in listed if finding.step == cause["step"]]
    wanted = _wanted(cause, operators)
    for some in (at_step, listed):
        codes = _codes(wanted, some)
        if codes:
            return codes
    return []


def _codes(wanted: Iterable[str], findings: Iterable[Finding]) -> list[str]:
    found = {finding.code for finding in findings}
    return [code for code in wanted if code in found][:_MOST]


def _wanted(cause: dict[str, Any], operators: Sequence[str]) -> tuple[str, ...]:
    change, operator = cause["change"], cause["operator"]
    if change == "readdressed":
        return _RECIPIENTS
    if cause["outcome"] == STOPPED:
        return _STOPPING
    if cause["outcome"] == "absent":
        return _REFUSED
    if change == "changed":
        return (*_TEMPLATES, "number-becomes-text", *(_BATCHES[:2] if "batch" in operators else ()))
    if operator == "batch":
        return _IN_BATCH.get(cause["reason"] or "", _IN_BATCH.get(cause["outcome"], _BATCHES))
    return _AT_STEP.get(operator or "", ())


def unknown_codes() -> set[str]:
    """Return the codes in this module that no rule has; a test expects none."""
    named = {*_CONDITIONS, *_TEMPLATES, *_REFUSED, *_RECIPIENTS, *_STOPPING}
    named.update(*_AT_STEP.values(), *_IN_BATCH.values())
    return named - set(rules())
