"""Diagrams as Mermaid text, for READMEs, wikis and pull requests."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from flowdsl.diagrams.diagram import TRIGGER, Annotation, Diagram, FlowDiagram
from flowdsl.diagrams.text_renderer import exit_line
from flowdsl.diagrams.text_width import printable

LONGEST: Final = 80
# brackets of a stadium, a hexagon, a trapezoid, a subroutine and a plain box
_SHAPES: Final = {
    "on": ("([", "])"),
    "where": ("{{", "}}"),
    "fan_out": ("[/", "\\]"),
    "for_each": ("[/", "\\]"),
    "batch": ("[[", "]]"),
    "deduplicate": ("[[", "]]"),
    "rate_limit": ("[[", "]]"),
    "cap": ("[[", "]]"),
    "wait": ("[[", "]]"),
    "deliver": ("[/", "/]"),
}
_ESCAPED: Final = str.maketrans({c: f"#{ord(c)};" for c in '#&<>"`\\{}%$'})


def mermaid(diagram: Diagram) -> str:
    """Return a flowchart with the nodes, edges and labels of a diagram; names are escaped so that they are
    never read as markup.
    """
    lines = [f"flowchart {'TD' if len(diagram.chains) == 1 else 'LR'}"]
    sinks = {sink.name: f"sink{number}" for number, sink in enumerate(diagram.sinks)}
    for number, chain in enumerate(diagram.chains):
        lines.append(f"  subgraph f{number}[{_quote(chain.name)}]")
        lines += [f"    {line}" for line in _chain(f"f{number}", chain)]
        lines.append("  end")
        for step, node in enumerate(chain.nodes, TRIGGER):
            for target in node.targets:
                lines.append(f"  {_id(f'f{number}', step)} {_arrow(target.mark)} {sinks[target.sink]}")
    for sink in diagram.sinks:
        label = _quote(sink.name, *(part for part in (sink.mark.label, sink.type) if part))
        lines.append(f"  {sinks[sink.name]}[({label})]")
    return "\n".join(lines) + "\n"


def _chain(flow: str, chain: FlowDiagram) -> Iterator[str]:
    for number, node in enumerate(chain.nodes, TRIGGER):
        opening, closing = _SHAPES.get(node.operator, ("[", "]"))
        name = _id(flow, number)
        note = [node.mark.label] if node.mark.label else []
        yield f"{name}{opening}{_quote(node.operator, node.caption, *note)}{closing}"
        if number > TRIGGER:
            yield f"{_id(flow, number - 1)} {_arrow(node.into)} {name}"
        for i, way in enumerate(node.exits):
            yield f"{name} -.- {name}x{i}>{_quote(exit_line(way))}]"


def _id(flow: str, number: int) -> str:
    return f"{flow}t" if number == TRIGGER else f"{flow}s{number}"


def _arrow(mark: Annotation) -> str:
    arrow = "-.->" if mark.tone in ("faded", "removed") else "-->"
    return f"{arrow}|{_quote(mark.label)}|" if mark.label else arrow


def _quote(*lines: str) -> str:
    return '"' + "<br/>".join(printable(line, LONGEST).translate(_ESCAPED) for line in lines) + '"'
