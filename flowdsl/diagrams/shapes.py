"""The parts of pictures: cards of steps, sinks, edges with their widths and labels, exits."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from flowdsl.diagrams.diagram import Annotation, Node, Outflow, SinkNode
from flowdsl.diagrams.icons import family, glyph
from flowdsl.diagrams.svg import Canvas
from flowdsl.diagrams.text_width import elide_text, width

THINNEST: Final = 1.5
THICKEST: Final = 13.0
# least volume of the widest edge that is drawn at full width
FEW: Final = 12
COUNT: Final = 11.0
LONGEST_LABEL: Final = 130.0
INWARD: Final = ("branches", "came")


@dataclass(frozen=True)
class Scale:
    """Widths of edges, on one scale for a picture: proportional to the square root of the volume, so that one
    per cent is still visible.
    """

    most: float

    def thickness(self, mark: Annotation) -> float:
        """Return the width of an edge; one without a volume is thin."""
        if not mark.volume or not self.most:
            return THINNEST
        return THINNEST + (THICKEST - THINNEST) * math.sqrt(mark.volume / max(self.most, FEW))


def tile(canvas: Canvas, x: float, y: float, size: float, operator: str) -> None:
    """Draw the coloured square with the glyph of an operator."""
    canvas.rect(x, y, size, size, f"k-{family(operator)}", rx=size / 5)
    scale = size * 0.62 / 16
    inset = (size - 16 * scale) / 2
    canvas.path(glyph(operator), "glyph", width=1.6, place=(x + inset, y + inset, scale))


def badge(canvas: Canvas, x: float, y: float, tone: str) -> None:
    """Draw a check or a cross on a step that was passed or that stopped."""
    if tone in ("passed", "stopped"):
        canvas.path(glyph(tone), f"l s-{tone}", width=2.4, place=(x, y, 0.9))


def card_css(mark: Annotation) -> str:
    """Return the CSS class of a node's card, which is faded if nothing reached the node."""
    if mark.tone == "plain":
        return "card"
    if mark.tone == "faded":
        return "card none"
    return f"card s-{mark.tone}"


def edge_css(mark: Annotation, plain: str = "band") -> str:
    """Return the CSS class of an edge's line."""
    if mark.tone == "faded":
        return "l none s-soft"
    colour = plain if mark.tone in ("plain", "passed") else mark.tone
    return f"l s-{colour}" + (" none" if mark.tone == "removed" else "")


def head_css(mark: Annotation, plain: str = "band") -> str:
    """Return the CSS class of an edge's head."""
    if mark.tone == "faded":
        return "k-soft"
    return f"k-{plain if mark.tone in ('plain', 'passed') else mark.tone}"


def draw_down(
    canvas: Canvas,
    x: float,
    top: float,
    bottom: float,
    mark: Annotation,
    scale: Scale,
    *,
    clear: float | None = None,
) -> None:
    """Draw an edge downwards, as wide as its volume, with its label next to it, below `clear`."""
    thick = scale.thickness(mark)
    head = min(6 + thick * 0.45, (bottom - top) * 0.6)
    half = max(4.5, thick * 0.5 + 3)
    canvas.path(f"M{x:.1f} {top:.1f}V{bottom - head:.1f}", edge_css(mark) + " flat", width=thick)
    canvas.path(f"M{x - half:.1f} {bottom - head:.1f}h{2 * half:.1f}L{x:.1f} {bottom:.1f}z", head_css(mark))
    if mark.label:
        middle = ((top if clear is None else clear) + bottom) / 2
        canvas.text(x + thick / 2 + 8, middle + 3, edge_label(mark), label_css(mark), COUNT)


def draw_across(
    canvas: Canvas,
    left: float,
    right: float,
    y: float,
    mark: Annotation,
    scale: Scale,
    *,
    plain: str = "band",
    back: bool = False,
    start: float | None = None,
    bent: bool = False,
) -> None:
    """Draw an edge to the right, or, with `back`, one from the right; if its ends differ in height, it curves
    or, with `bent`, turns at a right angle.
    """
    thick = scale.thickness(mark)
    head, half = 5 + thick * 0.4, max(4, thick * 0.5 + 2.5)
    near = y if start is None else start
    tip, at, tail, end = (left, near, right, y) if back else (right, y, left, near)
    neck = tip + head if back else tip - head
    bend = (tail + neck) / 2
    curve = f"C{bend:.1f} {end:.1f} {bend:.1f} {at:.1f} {neck:.1f} {at:.1f}"
    run = f"V{at:.1f}H{neck:.1f}" if bent else f"H{neck:.1f}" if at == end else curve
    canvas.path(f"M{tail:.1f} {end:.1f}{run}", edge_css(mark, plain) + " flat", width=thick)
    canvas.path(f"M{neck:.1f} {at - half:.1f}v{2 * half:.1f}L{tip:.1f} {at:.1f}z", head_css(mark, plain))


def edge_label(mark: Annotation) -> str:
    """Return the label of an edge, cut if it is long."""
    return elide_text(mark.label, LONGEST_LABEL, COUNT, bold=True)


def label_css(mark: Annotation) -> str:
    """Return the CSS class of a label."""
    if mark.tone == "faded":
        return "n k-soft"
    return "n b k-ink" if mark.tone in ("plain", "passed") else f"n b k-{mark.tone}"


def note_colour(mark: Annotation) -> str:
    """Return the colour of a note in a card."""
    return "soft" if mark.tone in ("plain", "faded", "passed") else mark.tone


def exit_text(way: Outflow, room: float, size: float) -> tuple[str, str]:
    """Return the label and the reason of an exit, cut to the room."""
    label = elide_text(way.mark.label, room, size, bold=True)
    left = room - width(label, size, bold=True) - 5
    return label, elide_text(way.reason, left, size) if left > 12 else ""


def exit_title(way: Outflow) -> str:
    """Return the tooltip of an exit."""
    count = way.mark.title or way.mark.label
    what = {"branches": "more contexts", "came": "came in"}.get(way.leave, way.leave)
    return f"{count} {what}: {way.reason}" if count else f"{what}: {way.reason}"


def exit_colour(leave: str) -> str:
    """Return the palette name of the colour of an exit."""
    return "held" if leave == "came" else leave


def exit_row(canvas: Canvas, x: float, y: float, way: Outflow, room: float, size: float) -> None:
    """Draw an exit at the base line `y`: its glyph, its count and its reason."""
    colour = exit_colour(way.leave)
    canvas.path(glyph(way.leave), f"l s-{colour}", width=1.7, place=(x, y - 10.5, 0.8))
    label, reason = exit_text(way, room - 18, size)
    x += 18
    if label:
        canvas.text(x, y, label, f"n b k-{colour}", size)
        x += width(label, size, bold=True) + 5
    canvas.text(x, y, reason, "k-soft", size)


def sink_pill(canvas: Canvas, x: float, y: float, wide: float, sink: SinkNode, *, tall: float = 30) -> None:
    """Draw a sink: its glyph, its name, and below that its type and note."""
    below = " · ".join(part for part in (sink.mark.label, sink.type) if part)
    canvas.open(f"sink {sink.name}" + (f": {sink.mark.title or below}" if below else ""), "sink")
    canvas.rect(x, y, wide, tall, card_css(sink.mark), rx=tall / 2)
    tile(canvas, x + 6, y + (tall - 20) / 2, 20, "sink")
    room = wide - 44
    base = y + tall / 2 + (-2 if below else 4)
    canvas.text(x + 33, base, elide_text(sink.name, room, 12, bold=True), "b k-ink", 12)
    if below:
        canvas.text(x + 33, base + 14, elide_text(below, room, 10.5), "n k-soft", 10.5)
    canvas.close()


def pill_width(sink: SinkNode) -> float:
    """Return the width of a drawn sink."""
    below = " · ".join(part for part in (sink.mark.label, sink.type) if part)
    return max(width(sink.name, 12, bold=True), width(below, 10.5)) + 50


def node_title(node: Node, number: int) -> str:
    """Return the tooltip of a node."""
    place = "trigger" if number < 0 else f"step {number}"
    note = node.mark.title or node.mark.label
    return f"{place}: {node.text}{f': {note}' if note else ''}"
