"""Plans: validated flows, what their steps read, and the operator graph."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from flowdsl.errors import ReplayError
from flowdsl.flow.sink_cap import Cap, by_recipient
from flowdsl.flow.spec import FlowSpec, Trigger
from flowdsl.graph.links import METADATA
from flowdsl.graph.requirements import GraphRequirements
from flowdsl.log.pushdown import ScanFilter
from flowdsl.operators.base import Kind, Operator
from flowdsl.operators.deliver import Deliver
from flowdsl.rules import FLOWDSL, Rules
from flowdsl.values.paths import Path

if TYPE_CHECKING:
    import networkx as nx

# the columns of the event table that variables of an event are read from
_READ: Final = frozenset(
    {"link_id", "source_id", "target_id", "entity_id", "data", "metadata", "link_type", "entity_type"}
)


@dataclass(eq=False)
class CompiledStep:
    """A step that one or several flows have in common, after the same trigger and the same steps.

    All that a run asks of its operator at every chunk is worked out once, when the step is made.
    """

    operator: Operator
    number: int
    flows: list[int]
    fingerprint: str
    """What its state is found by: the rules, the trigger and the steps up to this one."""
    rules: Rules = FLOWDSL
    last: bool = True
    """Whether no deliver step follows: what its sinks refuse ends at such a step."""
    after: int = -1
    """The position in its branch of the step before it; -1 for the first one, which the trigger feeds."""
    size: int = 1
    """How many steps of the branch it is the first of: itself, and all that come after it."""

    def __post_init__(self) -> None:
        operator = self.operator
        self.method = operator.method
        self.kind = operator.kind
        self.paths = operator.paths
        # the paths whose values are read as codes of ids
        self.coded_paths = operator.key_paths.union(*(call.id_paths for call in operator.graph_calls))
        self.links = operator.links
        self.link_path = operator.link_path
        self.entity_variable = operator.entity_variable
        self.fans_out = operator.branches
        self.timed = operator.times
        self.stateless = self.kind in (Kind.PER_EVENT, Kind.SINK)
        self.sinks: tuple[str, ...] = operator.sinks if isinstance(operator, Deliver) else ()
        self.can_crash = self.rules.crashes and operator.can_crash


class CappedSink(NamedTuple):
    """A sink with its cap, which counts all flows together, or one by itself."""

    sink: str
    cap: Cap
    flow: str | None = None


Caps = tuple[CappedSink, ...]
Branch = tuple[CompiledStep, ...]
"""A first step and all after it, sorted: each step follows the one that feeds it."""


@dataclass(frozen=True)
class Entry:
    """Flows with the same trigger, whose contexts begin with the same variables."""

    trigger: Trigger
    flows: tuple[int, ...]
    branches: tuple[Branch, ...]
    before: bool = False
    """Whether its contexts have the entity as it was before the event."""


@dataclass(frozen=True)
class Plan:
    """Several flows as one tree; shared first steps run once."""

    flows: tuple[FlowSpec, ...]
    entries: tuple[Entry, ...]
    rules: Rules = FLOWDSL
    caps: Caps = ()

    @classmethod
    def of(cls, flows: Sequence[FlowSpec], caps: Caps = ()) -> Plan:
        """Build the plan of flows that have the same rules, and of the caps of their sinks; each flow is
        validated as a whole.
        """
        if not flows:
            raise ReplayError("there is no flow to run", hint="pass a flow, a list of them, or a project")
        rules = flows[0].rules
        # if production may stop between two flows, each has steps of its own
        shared = not may_stop(flows)
        numbers: dict[tuple[Trigger, bool], list[int]] = {}
        trees: dict[tuple[Trigger, bool], list[_Tree]] = {}
        for number, flow in enumerate(flows):
            if flow.rules != rules:
                raise ReplayError("flows of different rules cannot run together", flow=flow.name)
            flow.scopes()
            begins = flow.trigger, flow.reads_before
            numbers.setdefault(begins, []).append(number)
            known = trees.setdefault(begins, [])
            if not known or not shared:
                known.append({})
            _graft(known[-1], flow, number, frozenset(one.sink for one in caps))
        entries = (
            Entry(begins[0], tuple(numbers[begins]), tuple(_branches(known)), begins[1])
            for begins, known in trees.items()
        )
        return cls(tuple(flows), tuple(entries), rules, caps)

    @cached_property
    def steps(self) -> tuple[CompiledStep, ...]:
        """All steps in a fixed order, each behind the one that feeds it."""
        return tuple(step for entry in self.entries for branch in entry.branches for step in branch)

    @cached_property
    def cap_steps(self) -> tuple[CompiledStep, ...]:
        """The caps of sinks as steps that count by recipient: of no flow, or of one that is counted by
        itself.
        """
        numbers = {flow.name: number for number, flow in enumerate(self.flows)}
        found = []
        for sink, cap, flow in self.caps:
            step = by_recipient(cap)
            whose = [] if flow is None else [numbers[flow]]
            apart = "" if flow is None else f" for {flow!r}"
            found.append(CompiledStep(step, 0, whose, _digest(f"cap of {sink!r}{apart}\n{step.identity}")))
        return tuple(found)

    @cached_property
    def needs(self) -> GraphRequirements:
        """Parts of the graph that the flows read."""
        steps: list[list[CompiledStep]] = [[] for _ in self.flows]
        for step in self.steps:
            for number in step.flows:
                steps[number].append(step)
        needs = map(_needs, self.flows, steps)
        return reduce(GraphRequirements.union, needs, GraphRequirements())

    @cached_property
    def event_paths(self) -> frozenset[Path]:
        """The paths into the JSON of events that the flows read."""
        return frozenset(
            path
            for step in self.steps
            for path in step.paths or ()
            if path[0] in ("data", "metadata") and len(path) > 1
        )

    @cached_property
    def fingerprints(self) -> frozenset[str]:
        """Fingerprints of all steps."""
        return frozenset(step.fingerprint for step in (*self.steps, *self.cap_steps))

    @cached_property
    def id_columns(self) -> tuple[str, ...]:
        """Columns of the event table used by lookups, keys and questions to the graph, which are needed as
        codes.
        """
        names = {"link_id", "source_id", "target_id", "entity_id"}
        starts = {path[0] for step in self.steps for path in step.coded_paths if len(path) == 1}
        return tuple(sorted(names & starts))

    @cached_property
    def timed(self) -> bool:
        """True if a step may act when the clock moves, without an event of its own."""
        return any(step.timed for step in self.steps)

    @cached_property
    def stateless(self) -> bool:
        """True if no step remembers anything from one event to the next."""
        return not self.caps and all(step.stateless for step in self.steps)

    @cached_property
    def may_stop(self) -> bool:
        """True if production may stop in the middle of the log."""
        return any(step.can_crash for step in self.steps)

    @cached_property
    def interest(self) -> ScanFilter:
        """Events and columns of a log that the flows need."""
        triggers = tuple(
            (entry.trigger.kind, entry.trigger.filter and entry.trigger.filter[1]) for entry in self.entries
        )
        link_types = frozenset(name for name, _ in self.needs.links)
        return ScanFilter(triggers, self.needs.entities, link_types, documents=self.event_paths)

    @cached_property
    def event_columns(self) -> frozenset[str]:
        """Columns of the event table that are read."""
        columns = {"kind", "event_id"}
        for entry in self.entries:
            family = entry.trigger.kind.split(".")[0]
            columns.add(f"{family}_type")
            for step in itertools.chain.from_iterable(entry.branches):
                # what calls a function of the user's may read anything
                columns |= _READ if step.paths is None else _READ & {path[0] for path in step.paths}
            # a batch keeps each member's source or entity, and a recipient may be the target
            columns |= {"source_id", "target_id"} if family == "link" else {"entity_id"}
        if self.needs.entities:
            columns |= {"entity_type", "entity_id", "data"}
        if self.needs.links:
            columns |= {"link_type", "link_id", "source_id", "target_id"}
        if any(use == METADATA for _, use in self.needs.links):
            columns.add("metadata")
        return frozenset(columns)


def may_stop(flows: Sequence[FlowSpec]) -> bool:
    """Return True if a template of these flows can crash production's engine, where that ends the run."""
    return flows[0].rules.crashes and any(step.can_crash for flow in flows for step in flow.steps)


def fingerprints(flow: FlowSpec) -> list[str]:
    """Return the keys under which the state of each step is saved, and that of the whole flow, without its
    name.
    """
    found, before = [""], f"{flow.rules.name}\n{flow.trigger.text}"
    if flow.reads_before:
        # what is held has that variable
        before += "\nbefore"
    for step in flow.steps:
        before = _digest(f"{before}\n{step.identity}")
        found.append(before)
    return found[1:] or found


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=16).hexdigest()


# the steps that follow another one, by their operator, whether they are the last to deliver, and the flow
# whose own they are, each with those that follow it
_Tree = dict[tuple[Operator, bool, int | None], tuple[CompiledStep, "_Tree"]]


def _graft(tree: _Tree, flow: FlowSpec, number: int, capped: frozenset[str]) -> None:
    """Add the steps of a flow to a tree of stages, sharing those of earlier flows.

    Of what is delivered to a sink with a cap each flow's part is counted: such steps are not shared.
    """
    *early, _ = [place for place, step in enumerate(flow.steps) if isinstance(step, Deliver)] or [-1]
    for place, (operator, fingerprint) in enumerate(zip(flow.steps, fingerprints(flow), strict=False)):
        last = place not in early
        own = number if isinstance(operator, Deliver) and not capped.isdisjoint(operator.sinks) else None
        step, below = tree.get((operator, last, own)) or (None, {})
        if step is None:
            step = CompiledStep(operator, place, [], fingerprint, rules=flow.rules, last=last)
            tree[operator, last, own] = (step, below)
        step.flows.append(number)
        tree = below


def _branches(trees: Iterable[_Tree]) -> Iterator[Branch]:
    """Yield the branches of trees of steps, each in the order of the flow."""
    for tree in trees:
        for first, below in tree.values():
            branch: list[CompiledStep] = []
            _flatten(first, below, -1, branch)
            yield tuple(branch)


def _flatten(step: CompiledStep, below: _Tree, after: int, branch: list[CompiledStep]) -> None:
    place = len(branch)
    step.after = after
    branch.append(step)
    for following, rest in below.values():
        _flatten(following, rest, place, branch)
    step.size = len(branch) - place


def _needs(flow: FlowSpec, steps: Sequence[CompiledStep]) -> GraphRequirements:
    """Return the parts of the graph that the steps of one flow read."""
    names = {step.entity_variable for step in steps} | {"before" if flow.reads_before else None}
    names.discard(None)
    read = frozenset().union(*(step.paths or () for step in steps))
    paths = frozenset(path[1:] for path in read if path[0] in names and len(path) > 1)
    links = frozenset().union(*(step.links for step in steps))
    types: set[Any] = {getattr(step.operator, "type", None) for step in steps}
    return GraphRequirements(bool(names), paths, links, frozenset(types - {None}), flow.reads_before)


def operator_graph(flow: FlowSpec) -> nx.DiGraph:
    """Return the trigger, steps and sinks of a flow as nodes, in order."""
    import networkx as nx

    graph = nx.DiGraph(name=flow.name)
    graph.add_node(
        "trigger",
        operator="on",
        options=flow.trigger.options,
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
