"""Layout of several flows as lanes, one below the other: steps run to the right and wrap; sinks are on the
right.

`sink_layout` draws the sinks.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from flowdsl.diagrams.diagram import TRIGGER, Annotation, Diagram, FlowDiagram, Node, Outflow
from flowdsl.diagrams.shapes import (
    Scale,
    badge,
    card_css,
    draw_across,
    edge_css,
    edge_label,
    exit_row,
    exit_title,
    head_css,
    label_css,
    node_title,
    note_colour,
    tile,
)
from flowdsl.diagrams.sink_layout import EdgeAnchor, draw_apart, draw_shared, sinks_in_order
from flowdsl.diagrams.svg import Canvas
from flowdsl.diagrams.text_width import elide_text, width, wrap_text
from flowdsl.pluralize import count_text

MARGIN: Final = 18.0
LANE: Final = 790.0
INSET: Final = 12.0
CHIP: Final = 38.0
CHIP_NARROWEST: Final = 84.0
CHIP_WIDEST: Final = 208.0
TILE: Final = 22.0
LEAD: Final = 34.0
CAPTION: Final = 10.0
EXIT: Final = 10.5
EXIT_ROW: Final = 17.0
HEADING: Final = 30.0
PORT: Final = 24.0
PILL_PITCH: Final = 30.0
# up to so many flows share drawn sinks; with more, lines could no longer be followed
SHARED: Final = 8
LABEL: Final = 10.5
_LANE_GAP: Final = 10.0


@dataclass
class _NodeBox:
    """The position of a node in its lane."""

    node: Node
    number: int
    x: float
    wide: float
    row: int


@dataclass
class _Lane:
    """A flow laid out: boxes in rows, and the anchors of its edges to sinks."""

    chain: FlowDiagram
    chips: list[_NodeBox]
    gap: float
    rows: list[float] = field(default_factory=list)
    tall_chips: list[float] = field(default_factory=list)
    y: float = 0.0

    @property
    def tall(self) -> float:
        return HEADING + sum(self.rows) + self.gap * (len(self.rows) - 1) + INSET

    def top(self, row: int) -> float:
        """Return the top of a row of boxes."""
        return self.y + HEADING + sum(self.rows[:row]) + self.gap * row

    def middle(self, row: int) -> float:
        """Return the middle of the boxes of a row, where edges run."""
        return self.top(row) + self.tall_chips[row] / 2


def draw_lanes(diagram: Diagram) -> tuple[Canvas, float, float]:
    """Draw a diagram of several flows; return the canvas, its width and its height."""
    return _Lanes(diagram).draw()


class _Lanes:
    """Places all parts, then draws them: edges below cards."""

    def __init__(self, diagram: Diagram) -> None:
        self.diagram, self.canvas, self.scale = diagram, Canvas(), Scale(diagram.most)
        self.order = sinks_in_order(diagram)
        self.apart = len(diagram.chains) > SHARED
        self.pitch = PILL_PITCH if self.apart else PORT if diagram.counted else PORT / 2
        self.ports: list[EdgeAnchor] = []
        self.right = MARGIN + LANE
        self.lanes = [self._lay_out(chain) for chain in diagram.chains]

    def draw(self) -> tuple[Canvas, float, float]:
        y = self._heading(MARGIN)
        for lane in self.lanes:
            lane.y = y
            y += lane.tall + _LANE_GAP
        for lane in self.lanes:
            self._lane(lane)
        place = draw_apart if self.apart else draw_shared
        top = self.lanes[0].y if self.lanes else y
        wide, bottom = place(self.canvas, self.diagram, self.ports, self.order, self.scale, (self.right, top))
        return self.canvas, wide + MARGIN, max(bottom, y - _LANE_GAP) + MARGIN

    def _heading(self, y: float) -> float:
        self.canvas.text(MARGIN, y + 14, elide_text(self.diagram.title, LANE, 16, bold=True), "b k-ink", 16)
        y += 24
        notes = [*self.diagram.notes, *([self._totals()] if self.apart else [])]
        for note in notes:
            for line in wrap_text(note, LANE, 12, 4):
                self.canvas.text(MARGIN, y + 10, line, "n k-soft", 12)
                y += 17
        return y + 8

    def _totals(self) -> str:
        """Return a line with the known totals of sinks, for diagrams in which each lane has its own sinks."""
        sinks = [
            " ".join(
                part for part in (sink.name, sink.mark.label, f"({sink.type})" if sink.type else "") if part
            )
            for sink in self.diagram.sinks
        ]
        return f"{count_text(len(sinks), 'sink')}: {', '.join(sinks)}" if sinks else "no sink"

    def _lay_out(self, chain: FlowDiagram) -> _Lane:
        # the label of an edge from the row above needs room between the rows
        lane = _Lane(chain, self._boxes(chain), 30.0 if self.diagram.counted else 16.0)
        for row in range(lane.chips[-1].row + 1):
            nodes = [chip.node for chip in lane.chips if chip.row == row]
            tall = max(CHIP + 12 * (len(_caption(node)) - 1) for node in nodes)
            lane.tall_chips.append(max(tall, *(self.pitch * len(node.targets) + 2 for node in nodes)))
            lane.rows.append(lane.tall_chips[row] + max(map(_height_below, nodes)))
        return lane

    def _boxes(self, chain: FlowDiagram) -> list[_NodeBox]:
        """Place the nodes of a flow in rows."""
        chips: list[_NodeBox] = []
        x, row = MARGIN + INSET, 0
        limit = MARGIN + LANE - INSET
        for number, node in enumerate(chain.nodes, TRIGGER):
            wide = _chip_width(node)
            gap = 0.0 if number == TRIGGER else self._gap(node.into)
            room = self._room_after(node)
            # deliveries go straight to the right, so the next step begins a row
            if number > TRIGGER and (
                chips[-1].node.targets or x + gap + max(wide + room, _exit_width(node)) > limit
            ):
                x, row, gap = MARGIN + INSET + 18, row + 1, 0.0
            chips.append(_NodeBox(node, number, x + gap, wide, row))
            x += gap + max(wide, _exit_width(node) - gap)
        return chips

    def _gap(self, mark: Annotation) -> float:
        """Return the length of an edge between boxes, which must fit its label."""
        return max(22.0, width(edge_label(mark), LABEL, bold=True) + 16) if mark.label else 22.0

    def _room_after(self, node: Node) -> float:
        """Return the room for the labels at the edges to sinks."""
        labels = [width(edge_label(target.mark), LABEL, bold=True) + 12 for target in node.targets]
        return max(labels, default=0.0)

    def _lane(self, lane: _Lane) -> None:
        canvas = self.canvas
        canvas.rect(MARGIN, lane.y, LANE, lane.tall, "lane", rx=8)
        self._lane_heading(lane)
        for before, chip in zip(lane.chips, lane.chips[1:], strict=False):
            self._edge(lane, before, chip)
        for chip in lane.chips:
            self._to_sinks(lane, chip)
            self._chip(lane, chip)

    def _lane_heading(self, lane: _Lane) -> None:
        canvas, chain, x, y = self.canvas, lane.chain, MARGIN + INSET, lane.y + 19
        name = elide_text(chain.name, LANE * 0.55, 12.5, bold=True)
        canvas.open(chain.name if not chain.description else f"{chain.name}: {chain.description}", "flow")
        canvas.text(x, y, name, "b k-ink", 12.5)
        if chain.description:
            x += width(name, 12.5, bold=True) + 12
            canvas.text(x, y, elide_text(chain.description, MARGIN + LANE - INSET - x, 11), "k-soft", 11)
        canvas.close()

    def _edge(self, lane: _Lane, before: _NodeBox, chip: _NodeBox) -> None:
        mark, y = chip.node.into, lane.middle(chip.row)
        if before.row != chip.row:
            self._around(lane, before, chip, mark)
            return
        draw_across(self.canvas, before.x + before.wide, chip.x, y, mark, self.scale)
        if mark.label:
            middle = (before.x + before.wide + chip.x) / 2 - 2
            lift = self.scale.thickness(mark) / 2 + 4
            self.canvas.text(
                middle, y - lift, edge_label(mark), f"halo {label_css(mark)}", LABEL, anchor="middle"
            )

    def _around(self, lane: _Lane, before: _NodeBox, chip: _NodeBox, mark: Annotation) -> None:
        """Draw the edge from the end of a row to the start of the next one."""
        thick = min(self.scale.thickness(mark), 4.0)
        out = before.x + before.wide
        # below all exits of the boxes of the row
        turn = max(c.x + max(c.wide, _exit_width(c.node)) for c in lane.chips if c.row == before.row)
        start, end = lane.middle(before.row), lane.middle(chip.row)
        between = lane.top(chip.row) - 8
        left = MARGIN + INSET - 2
        self.canvas.path(
            f"M{out:.1f} {start:.1f}H{turn + 6:.1f}q6 0 6 6V{between - 6:.1f}"
            f"q0 6 -6 6H{left + 6:.1f}q-6 0 -6 6V{end - 6:.1f}q0 6 6 6H{chip.x - 6:.1f}",
            edge_css(mark) + " flat",
            width=thick,
        )
        half = max(4, thick * 0.5 + 2.5)
        self.canvas.path(
            f"M{chip.x - 7:.1f} {end - half:.1f}v{2 * half:.1f}L{chip.x:.1f} {end:.1f}z", head_css(mark)
        )
        if mark.label:
            self.canvas.text(
                chip.x, between - thick / 2 - 4, edge_label(mark), f"halo {label_css(mark)}", LABEL
            )

    def _chip(self, lane: _Lane, chip: _NodeBox) -> None:
        canvas, node, x, y = self.canvas, chip.node, chip.x, lane.top(chip.row)
        canvas.open(node_title(node, chip.number), "trigger" if chip.number < 0 else "step")
        tall = lane.tall_chips[chip.row]
        canvas.rect(x, y, chip.wide, tall, card_css(node.mark))
        tile(canvas, x + 7, y + 8, TILE, node.operator)
        canvas.text(x + LEAD, y + 16, node.operator, "b k-ink", 11)
        badge(canvas, x + chip.wide - 18, y + 3, node.mark.tone)
        for i, line in enumerate(_caption(node)):
            canvas.text(x + LEAD, y + 30 + 12 * i, line, "m k-soft", CAPTION)
        canvas.close()
        below = y + tall + 13
        if node.mark.label:
            for line in _note(node):
                canvas.text(x + 8, below, line, f"k-{note_colour(node.mark)}", EXIT)
                below += EXIT_ROW - 3
            below += 3
        for way in node.exits:
            canvas.open(exit_title(way), f"exit {way.leave}")
            exit_row(canvas, x + 8, below, way, _exit_room(chip.wide), EXIT)
            canvas.close()
            below += EXIT_ROW

    def _to_sinks(self, lane: _Lane, chip: _NodeBox) -> None:
        """Draw lines from the last box of a row to the edge of its lane, where the sinks are reached."""
        targets = sorted(chip.node.targets, key=lambda target: self.order.index(target.sink))
        for i, target in enumerate(targets):
            y = lane.middle(chip.row) + (i - (len(targets) - 1) / 2) * self.pitch
            start, thick = chip.x + chip.wide, self.scale.thickness(target.mark)
            self.canvas.path(
                f"M{start:.1f} {y:.1f}H{self.right:.1f}", edge_css(target.mark) + " flat", width=thick
            )
            self.ports.append(EdgeAnchor(y, target))
            if target.mark.label:
                css = f"halo {label_css(target.mark)}"
                self.canvas.text(start + 6, y - thick / 2 - 3, edge_label(target.mark), css, LABEL)


def _chip_width(node: Node) -> float:
    text = max(
        width(node.caption, CAPTION, mono=True),
        width(node.operator, 11, bold=True) + (14 if node.mark.tone in ("passed", "stopped") else 0),
    )
    return min(max(LEAD + text + 9, CHIP_NARROWEST), CHIP_WIDEST)


def _exit_room(chip: float) -> float:
    return max(chip, 190.0)


def _exit_width(node: Node) -> float:
    """Return the width of the exits below a box."""
    room = _exit_room(_chip_width(node))
    texts = [*map(_way_width, node.exits), *([width(node.mark.label, EXIT) + 8] if node.mark.label else [])]
    return min(max(texts, default=0.0), room + 8) + (6 if texts else 0)


def _way_width(way: Outflow) -> float:
    return 26 + width(way.mark.label, EXIT, bold=True) + 5 + width(way.reason, EXIT)


def _height_below(node: Node) -> float:
    """Return the height of the exits below a box."""
    note = len(_note(node)) * (EXIT_ROW - 3) + 3 if node.mark.label else 0
    return note + len(node.exits) * EXIT_ROW + 2 if note or node.exits else 0


def _note(node: Node) -> list[str]:
    lines = 6 if node.mark.tone == "stopped" else 3
    return wrap_text(node.mark.label, _exit_room(_chip_width(node)), EXIT, lines)


def _caption(node: Node) -> list[str]:
    return wrap_text(node.caption, _chip_width(node) - LEAD - 8, CAPTION, 2, mono=True)
