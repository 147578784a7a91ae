"""Findings against what the production engine was recorded to do: what went wrong there has a finding here."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flowdsl.findings import check_sources

RECORDED = Path(__file__).parent / "data" / "this-rs"
# every code that says of a step that it fails at some events, or at all of them
FAILING = {
    "batch-name", "batch-part", "computed-with-text", "default-not-first", "deliver-without-payload",
    "direction-unknown", "event-variable", "impure-function", "joined-object", "key-may-miss", "maybe-missing",
    "name-unreachable", "resolve-deleted", "resolve-may-fail", "template-fails", "text-ordered", "undefined-in-template",
    "undefined-variable",
}  # fmt: skip
NOT_COMPILED = {"refused", "condition-refused", "condition-spaces", "duration-refused"}


def scenarios() -> Iterator[dict[str, Any]]:
    """Every third recorded scenario: enough to notice, quick enough for every day."""
    for path in sorted(RECORDED.glob("*.jsonl.gz")):
        with gzip.open(path, "rt") as lines:
            yield from (json.loads(line) for number, line in enumerate(lines) if number % 3 == 0)


@pytest.fixture(scope="module")
def checked() -> list[tuple[dict[str, Any], dict[str, set[str]]]]:
    found = []
    for scenario in scenarios():
        flows = scenario["given"]["flows"]
        findings = check_sources([(json.dumps(flows), "flows.yaml")], "this-rs")
        codes = {flow["name"]: {f.code for f in findings if f.flow == flow["name"]} for flow in flows}
        found.append((scenario, codes))
    return found


@pytest.mark.xdist_group("recorded")
def test_where_production_delivered_to_somebody_else_than_the_payload_says_there_is_a_finding(checked):
    seen = 0
    for scenario, codes in checked:
        flows = scenario["given"]["flows"]
        for delivery in scenario["seen"]["deliveries"]:
            payload, taken = delivery["payload"], delivery["recipient_id"]
            number = re.match(r"s(\d)", delivery["sink"])
            meant = payload.get("recipient_id") if isinstance(payload, dict) else None
            if number is None or int(number[1]) >= len(flows) or not isinstance(meant, str):
                continue
            if taken not in (None, meant):
                flow = flows[int(number[1])]["name"]
                assert codes[flow] & {"recipient-is-target", "recipient-is-variable"}, scenario["given"][
                    "flows"
                ]
                seen += 1
    assert seen > 50


@pytest.mark.xdist_group("recorded")
def test_where_a_flow_of_production_failed_there_is_a_finding_that_says_it_can(checked):
    seen = 0
    for scenario, codes in checked:
        for warning in scenario["seen"]["warnings"]:
            if warning.get("flow"):
                assert codes[warning["flow"]] & FAILING, (warning, scenario["given"]["flows"])
                seen += 1
    assert seen > 50


VERDICTS = json.loads((RECORDED / "yaml_verdicts.json").read_text("utf-8"))


@pytest.mark.parametrize("verdict", VERDICTS, ids=lambda verdict: verdict["name"])
def test_what_production_refuses_is_an_error_and_nothing_else_is_called_refused(verdict: dict[str, Any]):
    codes = {finding.code for finding in check_sources([(verdict["yaml"], "flows.yaml")], "this-rs")}
    # a mapping is a flow or a project for flowdsl, where the engine's own loader of flows wants a list
    if verdict["name"] != "not a list":
        assert bool(codes & NOT_COMPILED) == bool(verdict["errors"])
