"""One flow as a column: it runs downwards, and what leaves it goes to the right, to sinks or for other reasons."""

from __future__ import annotations

from typing import Final

from flowdsl.pictures.diagram import TRIGGER, Chain, Diagram, Node, Sink
from flowdsl.pictures.metrics import elided, width, wrapped
from flowdsl.pictures.shapes import (
    INWARD,
    Scale,
    across,
    badge,
    card_css,
    down,
    exit_row,
    exit_title,
    node_title,
    note_colour,
    sink_pill,
    tile,
)
from flowdsl.pictures.svg import Canvas

MARGIN: Final = 20.0
NARROWEST: Final = 230.0
WIDEST: Final = 360.0
TILE: Final = 30.0
LEAD: Final = 46.0
CAPTION: Final = 11.0
EXIT: Final = 11.5
EXIT_ROOM: Final = 290.0
_ROW: Final = 21.0
_ARM: Final = 40.0


def draw_column(diagram: Diagram) -> tuple[Canvas, float, float]:
    """The drawing of a diagram of one flow, with its width and height."""
    canvas, chain = Canvas(), diagram.chains[0]
    column = _Column(canvas, diagram, chain)
    y = column.heading(MARGIN)
    # every row is a generation of the graph: the trigger, then step after step
    rows = column.rows()
    for number, node in enumerate(chain.nodes, TRIGGER):
        if number > TRIGGER:
            gap = column.gap
            down(canvas, column.spine, y, y + gap, node.into, column.scale)
            y += gap
        y = column.node(y, number, node, rows[number])
    return canvas, column.wide, y + MARGIN


class _Column:
    """Where things of one flow stand, and how they are drawn."""

    def __init__(self, canvas: Canvas, diagram: Diagram, chain: Chain) -> None:
        self.canvas, self.diagram, self.chain = canvas, diagram, chain
        self.scale = Scale(diagram.most)
        self.gap = 32.0 if diagram.counted else 18.0
        self.left = MARGIN
        longest = max(
            max(width(n.caption, CAPTION, mono=True), width(n.operator, 13, bold=True) + 30)
            for n in chain.nodes
        )
        self.card = min(max(LEAD + longest + 14, NARROWEST), WIDEST)
        self.right = self.left + self.card
        self.spine = self.left + 8 + TILE / 2
        self.sinks = {sink.name: sink for sink in diagram.sinks}
        heading = width(chain.name, 16, bold=True)
        self.wide = max(self._right_side(), self.right + MARGIN, min(heading + 2 * MARGIN, 640))

    def heading(self, y: float) -> float:
        """The name, the description and the notes; the place below them."""
        room = self.wide - 2 * MARGIN
        self.canvas.open(self.chain.name, "flow")
        self.canvas.text(self.left, y + 14, elided(self.chain.name, room, 16, bold=True), "b k-ink", 16)
        self.canvas.close()
        y += 24
        notes = [*wrapped(self.chain.description, room, 12, 3)] if self.chain.description else []
        for note in self.diagram.notes:
            notes += wrapped(note, room, 12, 4)
        for line in notes:
            self.canvas.text(self.left, y + 11, line, "n k-soft", 12)
            y += 17
        return y + 10

    def rows(self) -> dict[int, float]:
        """The height of each node's card, by its number."""
        return {number: self._height(node) for number, node in enumerate(self.chain.nodes, TRIGGER)}

    def node(self, y: float, number: int, node: Node, tall: float) -> float:
        """A card, and what leaves to its right; the place below it."""
        canvas = self.canvas
        self._leaving(y, node, tall)
        canvas.open(node_title(node, number), "trigger" if number < 0 else "step")
        canvas.rect(self.left, y, self.card, tall, card_css(node.mark))
        tile(canvas, self.left + 8, y + 8, TILE, node.operator)
        canvas.text(self.left + LEAD, y + 19, node.operator, "b k-ink", 13)
        badge(canvas, self.right - 24, y + 6, node.mark.tone)
        if number >= 0:
            canvas.text(
                self.left + LEAD + width(node.operator, 13, bold=True) + 6,
                y + 19,
                str(number),
                "n k-soft",
                10.5,
            )
        caption = self._caption(node)
        for at, line in enumerate(caption):
            canvas.text(self.left + LEAD, y + 36 + 14 * at, line, "m k-soft", CAPTION)
        if node.mark.label:
            below = y + 37 + 14 * len(caption)
            label = elided(node.mark.label, self.card - LEAD - 12, 11)
            canvas.text(self.left + LEAD, below, label, f"k-{note_colour(node.mark)}", 11)
        canvas.close()
        return y + tall

    def _caption(self, node: Node) -> list[str]:
        return wrapped(node.caption, self.card - LEAD - 12, CAPTION, 2, mono=True)

    def _height(self, node: Node) -> float:
        own = 46 + 14 * (len(self._caption(node)) - 1) + (15 if node.mark.label else 0)
        return max(own, self._sink_row * len(node.targets) + _ROW * len(node.exits) + 6)

    @property
    def _sink_row(self) -> float:
        return 40.0

    def _leaving(self, y: float, node: Node, tall: float) -> None:
        """Edges to sinks, then the ways out, in the middle of the height of the card."""
        canvas, start = self.canvas, self.right
        y += (tall - self._sink_row * len(node.targets) - _ROW * len(node.exits)) / 2
        for target in node.targets:
            middle = y + self._sink_row / 2
            arm = self._sink_arm()
            canvas.open(
                f"to {target.sink}: {target.mark.title}" if target.mark.title else f"to {target.sink}", "edge"
            )
            across(canvas, start, start + arm, middle, target.mark, self.scale)
            if target.mark.label:
                lift = self.scale.thickness(target.mark) / 2 + 5
                canvas.text(
                    start + arm / 2 - 3, middle - lift, target.mark.label, "n b k-ink", 11, anchor="middle"
                )
            canvas.close()
            sink = self.sinks.get(target.sink, Sink(target.sink))
            pill = Sink(sink.name, sink.type)
            sink_pill(canvas, start + arm, middle - 16, self._pill(pill), pill, tall=32)
            y += self._sink_row
        for way in node.exits:
            middle = y + _ROW / 2
            canvas.open(exit_title(way), f"exit {way.leave}")
            plain = "branches" if way.leave == "branches" else "held" if way.leave == "came" else way.leave
            across(
                canvas,
                start,
                start + _ARM - 6,
                middle,
                way.mark,
                self.scale,
                plain=plain,
                back=way.leave in INWARD,
            )
            exit_row(canvas, start + _ARM, middle + 4, way, EXIT_ROOM, EXIT)
            canvas.close()
            y += _ROW

    def _sink_arm(self) -> float:
        labels = [t.mark.label for n in self.chain.nodes for t in n.targets]
        return max([_ARM, *(width(label, 11, bold=True) + 26 for label in labels)])

    def _pill(self, sink: Sink) -> float:
        below = sink.type or ""
        return min(max(width(sink.name, 12, bold=True), width(below, 10.5)) + 50, 240)

    def _right_side(self) -> float:
        wide = self.right + MARGIN
        for node in self.chain.nodes:
            for target in node.targets:
                sink = self.sinks.get(target.sink, Sink(target.sink))
                wide = max(
                    wide, self.right + self._sink_arm() + self._pill(Sink(sink.name, sink.type)) + MARGIN
                )
            for way in node.exits:
                text = width(way.mark.label, EXIT, bold=True) + 5 + width(way.reason, EXIT)
                wide = max(wide, self.right + _ARM + 18 + min(text, EXIT_ROOM - 18) + MARGIN)
        return wide
