"""The diagram of a result: flows with counts at the edges, and the contexts that were not delivered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

from flowdsl.diagrams.diagram import Annotation, Diagram, FlowDiagram, Leave, Node, Outflow, SinkNode, Target
from flowdsl.diagrams.flows import sinks_of
from flowdsl.pluralize import count_text

Causes = Mapping[tuple[int, int], Counter[str]]
"""How often each error was met, by the position of the flow and the number of the step."""
CAUSES: Final = 3
"""Errors of one step that are shown each by itself."""


def result_diagram(manifest: Mapping[str, Any], causes: Causes) -> Diagram:
    """Return the diagram of a result from its manifest, also after it was read back from files."""
    chains = []
    for number, (name, steps) in enumerate(zip(manifest["flows"], by_flow(manifest), strict=True)):
        entered = Annotation()
        trigger = Node("on", manifest["captions"][number], manifest["triggers"][number], entered)
        nodes = [_node(step, causes.get((number, step["step"]), Counter())) for step in steps]
        chains.append(FlowDiagram(name, (trigger, *nodes), manifest["descriptions"][number]))
    totals: Counter[str] = Counter()
    for row in manifest["delivered"]:
        totals[row["sink"]] += row["count"]
    sinks = [SinkNode(name, mark=count_mark(totals[name], "deliveries")) for name in sinks_of(chains)]
    return Diagram(_title(manifest), tuple(chains), tuple(sinks), _notes(manifest))


def by_flow(manifest: Mapping[str, Any]) -> list[list[dict[str, Any]]]:
    """Return the rows of `steps` in a list for each flow."""
    rows: list[list[dict[str, Any]]] = [[] for _ in manifest["flows"]]
    for step in manifest["steps"]:
        rows[step["number"]].append(step)
    return rows


def count_mark(count: int, of: str = "contexts") -> Annotation:
    """Return the note of a count, which sets the width of its edge; zero is faded."""
    return Annotation(f"{count:,}", count, "plain" if count else "faded", f"{count:,} {of}")


def exits_of(step: Mapping[str, Any], causes: Counter[str]) -> tuple[Outflow, ...]:
    """Return the exits of a step, and its other inflows, with their counts."""
    ways: list[tuple[Leave, str, int]] = [
        ("came", "held before", step["held_before"]),
        ("branches", "more by branching", step["extra_branches"]),
    ]
    ways.extend([("dropped", reason, count) for reason, count in sorted(step["reasons"].items())])
    ways.extend([("failed", cause, count) for cause, count in _main_errors(causes, step["failed"])])
    ways.extend([("absorbed", "into batches", step["absorbed"]), ("held", "still held", step["held"])])
    # these contexts go on to the other sinks
    ways.extend(
        [("dropped", f"kept from {sink} by preferences", n) for sink, n in step.get("refused", {}).items()]
    )
    ways.extend(
        [("dropped", f"kept from {sink} by its cap", n) for sink, n in step.get("capped", {}).items()]
    )
    return tuple(Outflow(leave, reason, count_mark(count)) for leave, reason, count in ways if count)


def _node(step: Mapping[str, Any], causes: Counter[str]) -> Node:
    refused = Counter(step.get("refused", {})) + Counter(step.get("capped", {}))
    came = step["entered"] - step["failed"]
    targets = tuple(Target(sink, count_mark(came - refused[sink], "deliveries")) for sink in step["sinks"])
    into = count_mark(step["entered"])
    exits = exits_of(step, causes)
    return Node(step["operator"], step["caption"], step["text"], into, exits=exits, targets=targets)


def _main_errors(causes: Counter[str], failed: int) -> list[tuple[str, int]]:
    """Return the most frequent errors with their counts, then all others together; failures of unknown cause
    are counted as `failed`.
    """
    ordered = sorted(causes.items(), key=lambda item: (-item[1], item[0]))
    listed = ordered if len(ordered) <= CAUSES + 1 else ordered[:CAUSES]
    others = failed - sum(count for _, count in listed)
    left = len(ordered) - len(listed)
    return [*listed, (f"{left} other errors" if left else "failed", others)] if others > 0 else listed


def _title(manifest: Mapping[str, Any]) -> str:
    flows: Sequence[str] = manifest["flows"]
    of = f"flow {flows[0]}" if len(flows) == 1 else f"{len(flows)} flows"
    return f"Replay of {of}"


def _notes(manifest: Mapping[str, Any]) -> tuple[str, ...]:
    delivered = sum(row["count"] for row in manifest["delivered"])
    notes = [f"{count_text(manifest['events'], 'event')} replayed, {count_text(delivered, 'delivery')}"]
    if manifest["late"]:
        notes.append(f"{count_text(manifest['late'], 'event')} came late")
    return (", ".join(notes),)
