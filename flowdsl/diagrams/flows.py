"""Diagrams of flows, made from their operator graphs."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from flowdsl.diagrams.diagram import Diagram, FlowDiagram, Node, SinkNode, Target
from flowdsl.flow.plan import operator_graph

if TYPE_CHECKING:
    from flowdsl.flow.spec import FlowSpec


def flow_chain(flow: FlowSpec) -> FlowDiagram:
    """Return one flow without any notes."""
    import networkx as nx

    graph = operator_graph(flow)
    nodes = []
    for name in itertools.chain.from_iterable(nx.topological_generations(graph)):
        node = graph.nodes[name]
        if node["operator"] != "sink":
            sinks = [graph.nodes[n]["text"] for n in graph[name] if graph.nodes[n]["operator"] == "sink"]
            targets = tuple(map(Target, sinks))
            nodes.append(Node(node["operator"], node["caption"], node["text"], targets=targets))
    return FlowDiagram(flow.name, tuple(nodes), flow.description)


def flow_diagram(
    flows: Sequence[FlowSpec], types: Mapping[str, str] | None = None, title: str | None = None
) -> Diagram:
    """Build the diagram of flows and the sinks that they share; `types` has the known types of sinks."""
    chains = tuple(map(flow_chain, flows))
    if title is None:
        title = f"Flow {flows[0].name}" if len(flows) == 1 else f"{len(flows)} flows"
    types = types or {}
    return Diagram(title, chains, tuple(SinkNode(name, types.get(name)) for name in sinks_of(chains)))


def sinks_of(chains: Sequence[FlowDiagram]) -> tuple[str, ...]:
    """Return the names of the sinks that are delivered to, each once."""
    named = (target.sink for chain in chains for node in chain.nodes for target in node.targets)
    return tuple(dict.fromkeys(named))
