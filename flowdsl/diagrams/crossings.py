"""The order of nodes in layers with few crossing edges: the barycenter method of Sugiyama."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import networkx as nx

Key = tuple[int | str, int | str]
"""A node of a diagram's graph: `(flow, number)`, or `("sink", name)`."""
SWEEPS: Final = 4


def order_nodes(graph: nx.DiGraph, fixed: Sequence[Key], others: Sequence[Key]) -> list[Key]:
    """Return the nodes of a layer in an order with few crossings of edges from the previous layer.

    `fixed` is the previous layer, in its order. Each node is placed at the middle of its predecessors; then
    neighbours swap places as long as that removes a crossing.
    """
    place = {node: i for i, node in enumerate(fixed)}
    middle = {}
    for i, node in enumerate(others):
        from_ = [place[n] for n in graph.predecessors(node) if n in place]
        middle[node] = (sum(from_) / len(from_) if from_ else i, i)
    order = sorted(others, key=lambda node: middle[node])
    for _ in range(SWEEPS):
        if not _swap(graph, place, order):
            break
    return order


def _count_crossings(graph: nx.DiGraph, place: dict[Key, int], one: Key, other: Key) -> int:
    """Count the edges to the first node that cross one to the second, which comes after it."""
    first = [place[n] for n in graph.predecessors(one) if n in place]
    second = [place[n] for n in graph.predecessors(other) if n in place]
    return sum(a > b for a in first for b in second)


def _swap(graph: nx.DiGraph, place: dict[Key, int], order: list[Key]) -> bool:
    changed = False
    for i in range(len(order) - 1):
        one, other = order[i], order[i + 1]
        if _count_crossings(graph, place, one, other) > _count_crossings(graph, place, other, one):
            order[i], order[i + 1] = other, one
            changed = True
    return changed


def spread(wanted: Sequence[float], heights: Sequence[float], top: float, gap: float) -> list[float]:
    """Return the tops of boxes of these heights, each near its wanted middle, in their order and without
    overlap.

    >>> spread([50, 52, 300], [20, 20, 20], 0, 10)
    [26.0, 56.0, 290.0]
    """
    # boxes that would overlap form a block, placed at the mean of the wanted positions
    blocks: list[tuple[float, float, int]] = []
    offset = 0.0
    starts = []
    for middle, height in zip(wanted, heights, strict=True):
        starts.append(offset)
        blocks.append((middle - height / 2 - offset, 1.0, 1))
        offset += height + gap
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            (a, weight_a, n_a), (b, weight_b, n_b) = blocks[-2], blocks[-1]
            weight = weight_a + weight_b
            blocks[-2:] = [((a * weight_a + b * weight_b) / weight, weight, n_a + n_b)]
    shifts = [shift for shift, _, count in blocks for _ in range(count)]
    return [max(shift, top) + start for shift, start in zip(shifts, starts, strict=True)]
