"""Layout of one flow as a column: steps run downwards; edges to sinks and exits go to the right, or, for
narrow screens, are below the step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

from flowdsl.diagrams.diagram import TRIGGER, Diagram, FlowDiagram, Node, Outflow, SinkNode, Target
from flowdsl.diagrams.shapes import (
    COUNT,
    INWARD,
    Scale,
    badge,
    card_css,
    draw_across,
    draw_down,
    edge_label,
    exit_colour,
    exit_row,
    exit_title,
    label_css,
    node_title,
    note_colour,
    pill_width,
    sink_pill,
    tile,
)
from flowdsl.diagrams.svg import Canvas
from flowdsl.diagrams.text_width import elide_text, width, wrap_text

MARGIN: Final = 20.0
NARROWEST: Final = 230.0
WIDEST: Final = 360.0
TILE: Final = 30.0
LEAD: Final = 46.0
CAPTION: Final = 11.0
EXIT: Final = 11.5
NOTE: Final = 11.0
EXIT_ROOM: Final = 290.0
_ROW: Final = 21.0
_SINK_ROW: Final = 40.0
_ARM: Final = 40.0
# the largest distance of exits from the middle of their card
_SHIFT: Final = 30.0
PILL: Final = 240.0


def draw_column(diagram: Diagram, *, narrow: bool = False) -> tuple[Canvas, float, float]:
    """Draw a diagram of one flow; return the canvas, its width and its height."""
    canvas, chain = Canvas(), diagram.chains[0]
    column = (_NarrowColumn if narrow else _Column)(canvas, diagram, chain)
    top = column.heading(MARGIN)
    above = bottom = side = top
    for number, (node, place) in enumerate(zip(chain.nodes, column.places, strict=True), TRIGGER):
        if number > TRIGGER:
            clear = side if narrow else None
            draw_down(canvas, column.spine, above, top + place.card, node.into, column.scale, clear=clear)
        above = column.node(top, number, node, place)
        side = top + place.side + _side_height(node)
        bottom = max(bottom, above, side)
    return canvas, column.wide, bottom + MARGIN


@dataclass(frozen=True)
class _Place:
    """The top and height of a card, and the top of what is next to it."""

    card: float
    tall: float
    side: float

    def contains(self, middle: float) -> bool:
        """Return True if an edge at this height leaves the card straight."""
        return self.card + 5 <= middle <= self.card + self.tall - 5


class _Column:
    """Positions of the parts of one flow, and their drawing."""

    # whether edges to sinks turn at a right angle
    bent: ClassVar = False

    def __init__(self, canvas: Canvas, diagram: Diagram, chain: FlowDiagram) -> None:
        self.canvas, self.diagram, self.chain = canvas, diagram, chain
        self.scale = Scale(diagram.most)
        self.gap = 32.0 if diagram.counted else 18.0
        self.left = MARGIN
        longest = max(map(_text_width, chain.nodes))
        self.card = min(max(LEAD + longest + 14, NARROWEST), WIDEST)
        self.right = self.left + self.card
        self.spine = self.left + 8 + TILE / 2
        self.types = {sink.name: sink.type for sink in diagram.sinks}
        self.places = self._place_cards()
        # curves need room to turn
        straight = all(_side_height(node) <= self.height(node) for node in chain.nodes)
        self.arm = _ARM if straight else _ARM + 16
        labels = [edge_label(target.mark) for node in chain.nodes for target in node.targets]
        self.sink_arm = max([self.arm, *(width(label, COUNT, bold=True) + 30 for label in labels)])
        self.wide = max(self._right_side(), self.right + MARGIN)

    def heading(self, y: float) -> float:
        """Draw the name, the description and the notes; return the position below them."""
        room = self.wide - 2 * MARGIN
        self.canvas.open(self.chain.name, "flow")
        self.canvas.text(self.left, y + 14, elide_text(self.chain.name, room, 16, bold=True), "b k-ink", 16)
        self.canvas.close()
        y += 24
        notes = [*wrap_text(self.chain.description, room, 12, 3)] if self.chain.description else []
        for note in self.diagram.notes:
            notes += wrap_text(note, room, 12, 4)
        for line in notes:
            self.canvas.text(self.left, y + 11, line, "n k-soft", 12)
            y += 17
        return y + 10

    def _place_cards(self) -> list[_Place]:
        """Place cards below each other, with sinks and exits as close to the middle of theirs as possible."""
        places: list[_Place] = []
        card = free = 0.0
        for node in self.chain.nodes:
            tall, side = self.height(node), _side_height(node)
            wanted = card + (tall - side) / 2
            # move the card down rather than make its edges too steep
            card += max(free - wanted - _SHIFT, 0.0) if side else 0.0
            place = _Place(card, tall, max(card + (tall - side) / 2, free) if side else card)
            places.append(place)
            free = place.side + side + 4 if side else free
            card += tall + self.gap
        return places

    def node(self, top: float, number: int, node: Node, place: _Place) -> float:
        """Draw a card, with its sinks and exits to its right; return the position below the card."""
        canvas, y, tall = self.canvas, top + place.card, place.tall
        self._draw_exits(top, node, place)
        canvas.open(node_title(node, number), "trigger" if number < 0 else "step")
        canvas.rect(self.left, y, self.card, tall, card_css(node.mark))
        tile(canvas, self.left + 8, y + 8, TILE, node.operator)
        left = self.left + LEAD
        canvas.text(left, y + 19, node.operator, "b k-ink", 13)
        badge(canvas, self.right - 24, y + 6, node.mark.tone)
        if number >= 0:
            canvas.text(left + width(node.operator, 13, bold=True) + 6, y + 19, str(number), "n k-soft", 10.5)
        caption = self._caption(node)
        for at, line in enumerate(caption):
            canvas.text(left, y + 36 + 14 * at, line, "m k-soft", CAPTION)
        if node.mark.label:
            for at, line in enumerate(self._note(node), len(caption)):
                canvas.text(left, y + 37 + 14 * at, line, f"k-{note_colour(node.mark)}", NOTE)
        canvas.close()
        return y + tall

    def _caption(self, node: Node) -> list[str]:
        return wrap_text(node.caption, self.card - LEAD - 12, CAPTION, 2, mono=True)

    def _note(self, node: Node) -> list[str]:
        # the reason why an event stopped is written in full
        lines = 6 if node.mark.tone == "stopped" else 2
        return wrap_text(node.mark.label, self.card - LEAD - 12, NOTE, lines)

    def height(self, node: Node) -> float:
        """Return the height of a card."""
        return (
            46
            + 14 * (len(self._caption(node)) - 1)
            + (1 + 14 * len(self._note(node)) if node.mark.label else 0)
        )

    def _draw_exits(self, top: float, node: Node, place: _Place) -> None:
        """Draw the edges to sinks, then the other exits, from the right side of a card."""
        canvas, left = self.canvas, self.right
        count, y = len(node.targets) + len(node.exits), place.side
        ways: list[tuple[Target | Outflow, float]] = [
            *((target, _SINK_ROW) for target in node.targets),
            *((way, _ROW) for way in node.exits),
        ]
        straight = all(map(place.contains, _middles(y, [row for _, row in ways])))
        for at, (way, row) in enumerate(ways):
            middle = top + y + row / 2
            start = None if straight else top + place.card + place.tall * (at + 0.5) / count
            y += row
            if isinstance(way, Target):
                self._target(way, left, middle, start)
                continue
            canvas.open(exit_title(way), f"exit {way.leave}")
            draw_across(
                canvas,
                left,
                left + self.arm - 6,
                middle,
                way.mark,
                self.scale,
                plain=exit_colour(way.leave),
                back=way.leave in INWARD,
                start=start,
            )
            exit_row(canvas, left + self.arm, middle + 4, way, EXIT_ROOM, EXIT)
            canvas.close()

    def _target(self, target: Target, left: float, middle: float, start: float | None) -> None:
        canvas, mark, arm = self.canvas, target.mark, self.sink_arm
        canvas.open(f"to {target.sink}" + (f": {mark.title}" if mark.title else ""), "edge")
        draw_across(canvas, left, left + arm, middle, mark, self.scale, start=start, bent=self.bent)
        if mark.label:
            half = self.scale.thickness(mark) / 2
            # the label is on the outer side of the curve
            above = self.bent or start is None or start >= middle
            y = middle - half - 4 if above else middle + half + 12
            canvas.text(left + arm - 14, y, edge_label(mark), f"halo {label_css(mark)}", COUNT, anchor="end")
        canvas.close()
        pill = self._pill(target)
        sink_pill(canvas, left + arm, middle - 16, min(pill_width(pill), PILL), pill, tall=32)

    def _pill(self, target: Target) -> SinkNode:
        """Return the sink without its total, which counts all flows."""
        return SinkNode(target.sink, self.types.get(target.sink))

    def _right_side(self) -> float:
        """Return the right end of the heading, the sinks and the exits."""
        notes = [width(note, 12) for note in (*self.diagram.notes, self.chain.description or "")]
        heading = max(width(self.chain.name, 16, bold=True), *notes) + 2 * MARGIN
        return max(min(heading, 640), self._exits_end(self.right, self.arm))

    def _exits_end(self, left: float, arm: float) -> float:
        wide = 0.0
        for node in self.chain.nodes:
            for target in node.targets:
                wide = max(wide, left + self.sink_arm + min(pill_width(self._pill(target)), PILL) + MARGIN)
            for way in node.exits:
                text = width(way.mark.label, EXIT, bold=True) + 5 + width(way.reason, EXIT)
                wide = max(wide, left + arm + min(18 + text, EXIT_ROOM) + MARGIN)
        return wide


class _NarrowColumn(_Column):
    """A column in which sinks and exits are below their card, next to the edge to the next card."""

    bent = True

    def _place_cards(self) -> list[_Place]:
        places: list[_Place] = []
        card = 0.0
        for node in self.chain.nodes:
            tall = self.height(node)
            # labels of edges to sinks are above them
            side = card + tall + (6 if node.targets else 0)
            places.append(_Place(card, tall, side))
            card = side + _side_height(node) + self.gap
        return places

    def _right_side(self) -> float:
        return self._exits_end(self.left + LEAD, 0.0)

    def _draw_exits(self, top: float, node: Node, place: _Place) -> None:
        left, y = self.left + LEAD, top + place.side
        for target in node.targets:
            self._target(target, left, y + _SINK_ROW / 2, top + place.card + place.tall)
            y += _SINK_ROW
        for way in node.exits:
            self.canvas.open(exit_title(way), f"exit {way.leave}")
            exit_row(self.canvas, left, y + _ROW / 2 + 4, way, EXIT_ROOM, EXIT)
            self.canvas.close()
            y += _ROW


def _text_width(node: Node) -> float:
    return max(
        width(node.caption, CAPTION, mono=True),
        width(node.operator, 13, bold=True) + 30,
        width(node.mark.label, NOTE) + 2,
    )


def _middles(top: float, rows: Sequence[float]) -> list[float]:
    return [top + sum(rows[:at]) + row / 2 for at, row in enumerate(rows)]


def _side_height(node: Node) -> float:
    """Return the height of the sinks and exits of a card."""
    return _SINK_ROW * len(node.targets) + _ROW * len(node.exits)
