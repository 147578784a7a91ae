"""The content of a picture before it is drawn: flows as chains of nodes, with notes at nodes and edges."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import networkx as nx

Tone = Literal["plain", "passed", "stopped", "faded", "added", "removed", "changed", "better", "worse"]
"""How something is shown: its colour, and always a sign or a style of line besides."""
Leave = Literal["dropped", "failed", "absorbed", "held", "branches", "came"]
"""How contexts leave a flow at a step; `branches` and `came` (held before) are those that come in there."""
TRIGGER = -1
"""The number of the trigger where steps are counted from 0."""


@dataclass(frozen=True)
class Annotation:
    """A note at an edge or a node: a short label and its style.

    `volume` sets the width of an edge, on one scale for the whole picture; `title` is the long form.
    """

    label: str = ""
    volume: float | None = None
    tone: Tone = "plain"
    title: str = ""


PLAIN = Annotation()


@dataclass(frozen=True)
class Outflow:
    """Contexts that leave a flow undelivered at a step: `Outflow("dropped", "filtered",
    Annotation("12"))`.
    """

    leave: Leave
    reason: str
    mark: Annotation = PLAIN


@dataclass(frozen=True)
class Target:
    """A sink that a step delivers to, with the note at the edge to it."""

    sink: str
    mark: Annotation = PLAIN


@dataclass(frozen=True)
class Node:
    """A trigger or a step: operator, caption and full text; `into` is the note at the edge that leads to
    it.
    """

    operator: str
    caption: str
    text: str
    into: Annotation = PLAIN
    mark: Annotation = PLAIN
    exits: tuple[Outflow, ...] = ()
    targets: tuple[Target, ...] = ()


@dataclass(frozen=True)
class FlowDiagram:
    """One flow: its trigger, then its steps."""

    name: str
    nodes: tuple[Node, ...]
    description: str | None = None

    def marked(
        self,
        *,
        into: Mapping[int, Annotation] | None = None,
        nodes: Mapping[int, Annotation] | None = None,
        exits: Mapping[int, Sequence[Outflow]] | None = None,
        targets: Mapping[tuple[int, str], Annotation] | None = None,
    ) -> FlowDiagram:
        """Return the flow with other notes by step number; `TRIGGER` is the trigger, and a sink goes with its
        step.

        Other notes stay as they are.
        """
        into, nodes, exits, targets = into or {}, nodes or {}, exits or {}, targets or {}
        marked = [
            replace(
                node,
                into=into.get(number, node.into),
                mark=nodes.get(number, node.mark),
                exits=tuple(exits.get(number, node.exits)),
                targets=tuple(
                    replace(target, mark=targets.get((number, target.sink), target.mark))
                    for target in node.targets
                ),
            )
            for number, node in enumerate(self.nodes, TRIGGER)
        ]
        return replace(self, nodes=tuple(marked))


@dataclass(frozen=True)
class SinkNode:
    """A sink: its type if known, and its note."""

    name: str
    type: str | None = None
    mark: Annotation = PLAIN


@dataclass(frozen=True)
class Diagram:
    """The whole content of a picture: title, flows, sinks and notes; sinks that are delivered to need not be
    listed.
    """

    title: str
    chains: tuple[FlowDiagram, ...]
    sinks: tuple[SinkNode, ...] = ()
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        known = {sink.name for sink in self.sinks}
        named = (target.sink for chain in self.chains for node in chain.nodes for target in node.targets)
        others = tuple(SinkNode(name) for name in dict.fromkeys(named) if name not in known)
        object.__setattr__(self, "sinks", self.sinks + others)

    @property
    def counted(self) -> bool:
        """True if any edge has a note."""
        return any(mark.label for mark in self.marks())

    def marks(self) -> Iterable[Annotation]:
        """Yield the notes of all edges: into nodes, to sinks, and out of the flow."""
        for chain in self.chains:
            for node in chain.nodes:
                yield node.into
                yield from (target.mark for target in node.targets)
                yield from (way.mark for way in node.exits)

    @property
    def most(self) -> float:
        """The greatest volume of an edge, 0 if none has one."""
        return max((mark.volume or 0 for mark in self.marks()), default=0)

    def graph(self) -> nx.DiGraph:
        """Return the nodes `(flow, number)` and `("sink", name)` with their edges, for the layout."""
        import networkx as nx

        graph = nx.DiGraph()
        for flow, chain in enumerate(self.chains):
            for number, node in enumerate(chain.nodes):
                graph.add_node((flow, number))
                if number:
                    graph.add_edge((flow, number - 1), (flow, number))
                for target in node.targets:
                    graph.add_edge((flow, number), ("sink", target.sink))
        return graph
