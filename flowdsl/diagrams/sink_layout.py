"""Layout of sinks to the right of lanes: each once, at the middle of its edges, or next to every lane if
there are many.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from flowdsl.diagrams.crossings import Key, order_nodes, spread
from flowdsl.diagrams.diagram import PLAIN, Diagram, SinkNode, Target
from flowdsl.diagrams.shapes import Scale, draw_across, edge_css, pill_width, sink_pill
from flowdsl.diagrams.svg import Canvas

WIDEST: Final = 172.0
_CHANNEL: Final = 100.0
_ARM: Final = 24.0
_HEAD: Final = 9.0


@dataclass(frozen=True)
class EdgeAnchor:
    """The point at which an edge to a sink leaves its lane."""

    y: float
    target: Target


def sinks_in_order(diagram: Diagram) -> list[str]:
    """Return the names of sinks from top to bottom, in an order with few crossing edges."""
    flows = enumerate(diagram.chains)
    givers: list[Key] = [(flow, step) for flow, chain in flows for step in range(len(chain.nodes))]
    sinks: list[Key] = [("sink", sink.name) for sink in diagram.sinks]
    return [str(name) for _, name in order_nodes(diagram.graph(), givers, sinks)]


def draw_shared(
    canvas: Canvas,
    diagram: Diagram,
    ports: Sequence[EdgeAnchor],
    order: Sequence[str],
    scale: Scale,
    corner: tuple[float, float],
) -> tuple[float, float]:
    """Draw every sink once, with curves that lead to it; return the right and the lower end."""
    right, top = corner
    if not order:
        return right, top
    sinks = {sink.name: sink for sink in diagram.sinks}
    incoming = {name: [port for port in ports if port.target.sink == name] for name in order}
    heights = [_tall(sinks[name]) for name in order]
    tops = spread([_mean_height(incoming[name]) for name in order], heights, top, 14.0)
    wide = min(max(pill_width(sinks[name]) for name in order), WIDEST)
    left = right + _CHANNEL
    for name, y, height in zip(order, tops, heights, strict=True):
        _curves(canvas, incoming[name], scale, right, left, y + height / 2)
        sink_pill(canvas, left, y, wide, sinks[name], tall=height)
    return left + wide, tops[-1] + heights[-1]


def _mean_height(ports: Sequence[EdgeAnchor]) -> float:
    return sum(port.y for port in ports) / max(len(ports), 1)


def draw_apart(
    canvas: Canvas,
    diagram: Diagram,
    ports: Sequence[EdgeAnchor],
    order: Sequence[str],
    scale: Scale,
    corner: tuple[float, float],
) -> tuple[float, float]:
    """Draw the sinks of every lane next to it; return the right and the lower end."""
    right, _ = corner
    sinks = {sink.name: sink for sink in diagram.sinks}
    wide = min(max(map(pill_width, diagram.sinks), default=0.0), WIDEST)
    left = right + _ARM
    for port in ports:
        title = port.target.mark.title
        canvas.open(f"to {port.target.sink}" + (f": {title}" if title else ""), "edge")
        draw_across(canvas, right, left, port.y, port.target.mark, scale)
        canvas.close()
        sink = replace(sinks[port.target.sink], mark=PLAIN, type=None)
        sink_pill(canvas, left, port.y - 13, wide, sink, tall=26)
    return left + wide, max((port.y + 13 for port in ports), default=0.0)


def _tall(sink: SinkNode) -> float:
    return 40.0 if sink.mark.label or sink.type else 32.0


def _curves(
    canvas: Canvas, ports: Sequence[EdgeAnchor], scale: Scale, right: float, left: float, middle: float
) -> None:
    reach, neck = (left - right) * 0.55, left - _HEAD
    for port in ports:
        mark = port.target.mark
        canvas.open(f"to {port.target.sink}" + (f": {mark.title}" if mark.title else ""), "edge")
        canvas.path(
            f"M{right:.1f} {port.y:.1f}C{right + reach:.1f} {port.y:.1f}"
            f" {neck - reach:.1f} {middle:.1f} {neck + 1:.1f} {middle:.1f}",
            edge_css(mark) + " flat",
            width=scale.thickness(mark),
        )
        canvas.close()
    faded = bool(ports) and all(port.target.mark.tone == "faded" for port in ports)
    head = "k-soft" if faded else "k-band"
    half = max([4.0, *(scale.thickness(port.target.mark) * 0.5 + 2 for port in ports)])
    canvas.path(f"M{neck:.1f} {middle - half:.1f}v{2 * half:.1f}L{left:.1f} {middle:.1f}z", head)
