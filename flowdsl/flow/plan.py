"""What a flow is before it runs: its steps checked, what they read, and the operator graph."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from flowdsl.errors import ReplayError
from flowdsl.flow.spec import FlowSpec, Trigger
from flowdsl.graph.state import GraphRequirements
from flowdsl.log.pushdown import ScanFilter
from flowdsl.operators.base import Operator
from flowdsl.operators.deliver import Deliver
from flowdsl.rules import FLOWDSL, Rules
from flowdsl.values.paths import Path

if TYPE_CHECKING:
    import networkx as nx


@dataclass
class Stage:
    """A step that one or several flows have in common, after the same trigger and the same steps."""

    step: Operator
    number: int
    flows: list[int]
    fingerprint: str
    """What its state is found by: the rules, the trigger and the steps up to this one."""
    next: list[Stage] = field(default_factory=list)
    rules: Rules = FLOWDSL
    last: bool = True
    """Whether no deliver step follows: what its sinks refuse ends at such a step."""


@dataclass
class Entry:
    """Flows with the same trigger: where events come in."""

    trigger: Trigger
    flows: list[int]
    next: list[Stage] = field(default_factory=list)


@dataclass(frozen=True)
class Plan:
    """Several flows as one: what they have in common at their start is done once."""

    flows: tuple[FlowSpec, ...]
    entries: tuple[Entry, ...]
    needs: GraphRequirements
    event_paths: frozenset[Path]
    rules: Rules = FLOWDSL

    @classmethod
    def of(cls, flows: Sequence[FlowSpec]) -> Plan:
        """The plan of a list of flows, all by the same rules; each is checked as a whole."""
        if not flows:
            raise ReplayError("there is no flow to run", hint="pass a flow, a list of them, or a project")
        entries: dict[Trigger, Entry] = {}
        known: _Known = {}
        rules = flows[0].rules
        # where production may stop between two flows, each has steps of its own
        shared = not may_stop(flows)
        for number, flow in enumerate(flows):
            if flow.rules != rules:
                raise ReplayError("flows of different rules cannot run together", flow=flow.name)
            flow.scopes()
            entry = entries.setdefault(flow.trigger, Entry(flow.trigger, []))
            entry.flows.append(number)
            _graft(entry.next, flow.steps, number, fingerprints(flow), rules, known if shared else {})
        needs = GraphRequirements()
        for flow in flows:
            needs = needs.union(_needs(flow))
        paths = frozenset(path for flow in flows for path in _event_paths(flow))
        return cls(tuple(flows), tuple(entries.values()), needs, paths, rules)

    def stages(self) -> Iterator[Stage]:
        """All stages of the tree, in a fixed order."""

        def below(stages: Sequence[Stage]) -> Iterator[Stage]:
            for stage in stages:
                yield stage
                yield from below(stage.next)

        for entry in self.entries:
            yield from below(entry.next)

    @property
    def fingerprints(self) -> frozenset[str]:
        """Those of all steps."""
        return frozenset(stage.fingerprint for stage in self.stages())

    @property
    def id_columns(self) -> tuple[str, ...]:
        """The columns of the event table that look-ups and keys start from: they are wanted as codes."""
        names = {"link_id", "source_id", "target_id", "entity_id"}
        starts = {
            path[0] for flow in self.flows for step in flow.steps for path in step.key_paths if len(path) == 1
        }
        return tuple(sorted(names & starts))

    @property
    def timed(self) -> bool:
        """Whether a step may act because the clock moved, without an event of its own."""
        return any(step.method in ("batch", "rate_limit") for flow in self.flows for step in flow.steps)

    @property
    def may_stop(self) -> bool:
        """Whether production may stop in the middle of the log."""
        return may_stop(self.flows)

    @property
    def interest(self) -> ScanFilter:
        """What of a log matters to the flows."""
        triggers = tuple(
            (entry.trigger.kind, entry.trigger.filter and entry.trigger.filter[1]) for entry in self.entries
        )
        link_types = frozenset(name for name, _ in self.needs.links)
        return ScanFilter(triggers, self.needs.entities, link_types)

    @property
    def event_columns(self) -> frozenset[str]:
        """The columns of the event table that are read."""
        columns = {"kind", "event_id"}
        for flow in self.flows:
            family = flow.trigger.kind.split(".")[0]
            columns.add(f"{family}_type")
            roots = _roots(flow)
            columns |= roots & {
                "link_id",
                "source_id",
                "target_id",
                "entity_id",
                "data",
                "metadata",
                "link_type",
                "entity_type",
            }
            # a batch keeps each member's source or entity, and a recipient may be the target
            columns |= {"source_id", "target_id"} if family == "link" else {"entity_id"}
        if self.needs.entities:
            columns |= {"entity_type", "entity_id", "data"}
        if self.needs.links:
            columns |= {"link_type", "link_id", "source_id", "target_id"}
        return frozenset(columns)


def may_stop(flows: Sequence[FlowSpec]) -> bool:
    """Whether a template of these flows can make production's engine crash, where that ends the run."""
    return flows[0].rules.crashes and any(step.can_crash for flow in flows for step in flow.steps)


def fingerprints(flow: FlowSpec) -> list[str]:
    """What the state of each step is found by, and at the end that of the whole flow; its name is no part of it."""
    found, before = [""], f"{flow.rules.name}\n{flow.trigger.text}"
    for step in flow.steps:
        before = hashlib.blake2b(
            f"{before}\n{step.identity}".encode(errors="surrogatepass"), digest_size=16
        ).hexdigest()
        found.append(before)
    return found[1:] or found


# the stages that follow a list of stages' owner, by their step and whether they are the last to deliver
_Known = dict[int, dict[tuple[Operator, bool], Stage]]


def _graft(
    stages: list[Stage],
    steps: Sequence[Operator],
    flow: int,
    fingerprints: Sequence[str],
    rules: Rules,
    known: _Known,
) -> None:
    """Add the steps of a flow to a tree of stages, along those that it has in common with flows before."""
    *early, _ = [number for number, step in enumerate(steps) if isinstance(step, Deliver)] or [-1]
    for number, step in enumerate(steps):
        last = number not in early
        following = known.setdefault(id(stages), {})
        stage = following.get((step, last))
        if stage is None:
            stage = following[step, last] = Stage(
                step, number, [flow], fingerprints[number], rules=rules, last=last
            )
            stages.append(stage)
        else:
            stage.flows.append(flow)
        stages = stage.next


def _roots(flow: FlowSpec) -> set[str]:
    """Names of variables that a flow reads; those of the event may be among them."""
    roots: set[str] = set()
    for step in flow.steps:
        if step.paths is None:
            return {
                "link_id",
                "source_id",
                "target_id",
                "entity_id",
                "data",
                "metadata",
                "link_type",
                "entity_type",
            }
        roots |= {path[0] for path in step.paths}
    return roots


def _event_paths(flow: FlowSpec) -> Iterable[Path]:
    for step in flow.steps:
        yield from (p for p in step.paths or () if p[0] in ("data", "metadata") and len(p) > 1)


def _needs(flow: FlowSpec) -> GraphRequirements:
    names = {step.entity_variable for step in flow.steps if step.entity_variable is not None}
    paths = frozenset(p[1:] for step in flow.steps for p in step.paths or () if p[0] in names and len(p) > 1)
    links = frozenset(link for step in flow.steps for link in step.links)
    types = frozenset(t for step in flow.steps if (t := getattr(step, "type", None)) is not None)
    return GraphRequirements(bool(names), paths, links, types)


def operator_graph(flow: FlowSpec) -> nx.DiGraph:
    """The trigger, the steps and the sinks of a flow, as nodes in the order of the flow."""
    import networkx as nx

    graph = nx.DiGraph(name=flow.name)
    graph.add_node(
        "trigger",
        operator="on",
        options=_trigger_options(flow.trigger),
        text=flow.trigger.text,
        caption=flow.trigger.caption,
    )
    last = "trigger"
    for number, step in enumerate(flow.steps):
        node = f"{number} {step.method}"
        options = {o.yaml: getattr(step, name) for name, o in step.options().items()}
        graph.add_node(node, operator=step.method, options=options, text=step.text, caption=step.caption)
        graph.add_edge(last, node)
        if isinstance(step, Deliver):
            for sink in step.sinks:
                graph.add_node(
                    f"sink {sink}", operator="sink", options={"name": sink}, text=sink, caption=sink
                )
                graph.add_edge(node, f"sink {sink}")
        last = node
    return graph


def _trigger_options(trigger: Trigger) -> dict[str, str]:
    given = {"kind": trigger.kind, "link_type": trigger.link_type, "entity_type": trigger.entity_type}
    return {name: value for name, value in given.items() if value is not None}
