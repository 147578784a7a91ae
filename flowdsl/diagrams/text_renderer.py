"""Diagrams as text, for screen readers and terminals."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from flowdsl.diagrams.diagram import TRIGGER, Diagram, FlowDiagram, Node, Outflow, SinkNode
from flowdsl.diagrams.text_width import printable

LONGEST: Final = 100
SIGNS: Final = {
    "dropped": "⊘",
    "failed": "⚠",
    "absorbed": "⋎",
    "held": "⧗",
    "came": "⧗",
    "branches": "+",
    "passed": "✓",
    "stopped": "✗",
}


def outline(diagram: Diagram) -> str:
    """Return the flows one after the other, with a line for each step: its count and text, and below it the
    exits with their reasons.
    """
    head = [diagram.title, *diagram.notes] if len(diagram.chains) != 1 or diagram.notes else []
    paragraphs = ["\n".join(map(printable, head))] if head else []
    paragraphs += ["\n".join(_chain(chain)) for chain in diagram.chains]
    if diagram.sinks:
        paragraphs.append("\n".join(["sinks", *map(_sink, diagram.sinks)]))
    return "\n\n".join(paragraphs) or "no flows"


def _sink(sink: SinkNode) -> str:
    parts = (shorten(sink.name), shorten(sink.type or ""), shorten(sink.mark.label))
    return "".join(f"  {part}" for part in parts if part or part is parts[0])


def shorten(text: str) -> str:
    """Return text on one line, cut if it is long."""
    return printable(text, LONGEST)


def _chain(chain: FlowDiagram) -> Iterator[str]:
    yield shorten(chain.name)
    if chain.description:
        yield f"  {shorten(chain.description)}"
    operators = max(len(node.operator) for node in chain.nodes)
    counts = max(len(shorten(node.into.label)) for node in chain.nodes)
    for number, node in enumerate(chain.nodes, TRIGGER):
        yield from _node(node, number, operators, counts)


def _node(node: Node, number: int, operators: int, counts: int) -> Iterator[str]:
    place = "" if number == TRIGGER else str(number)
    count = f"{shorten(node.into.label):>{counts}}  " if counts else ""
    sign = SIGNS.get(node.mark.tone, "")
    line = f"  {place:>2}  {count}{node.operator:<{operators}}  {shorten(node.caption)}"
    note = " ".join(part for part in (sign, shorten(node.mark.label)) if part)
    yield line + (f"  {note}" if note else "")
    indent = " " * (8 + len(count) + operators)
    for target in node.targets:
        label = f"  {shorten(target.mark.label)}" if target.mark.label else ""
        yield f"{indent}→ {shorten(target.sink)}{label}"
    for way in node.exits:
        yield f"{indent}{exit_line(way)}"


def exit_line(way: Outflow) -> str:
    """Return an exit as text: `⊘ 12 filtered`."""
    what = f"{way.leave}: " if way.leave == "failed" and way.reason != "failed" else ""
    return " ".join(
        part for part in (SIGNS[way.leave], shorten(way.mark.label), what + shorten(way.reason)) if part
    )
