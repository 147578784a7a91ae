"""Flows as the rules of a production runtime have them."""

from __future__ import annotations

from collections.abc import Sequence

from flowdsl.flow.spec import FlowSpec
from flowdsl.production.export import flow_to_dict
from flowdsl.production.yaml import load_mapping
from flowdsl.rules import Rules


def by_rules(flows: Sequence[FlowSpec], rules: Rules) -> tuple[FlowSpec, ...]:
    """Return flows that run by these rules; one of other rules is written out and read again."""
    return tuple(
        flow if flow.rules == rules else load_mapping(flow_to_dict(flow), rules).flows[0] for flow in flows
    )
