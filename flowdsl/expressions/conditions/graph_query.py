"""Graph queries of the functions of conditions, as of the moment at which a step runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal, get_args

Direction = Literal["forward", "reverse"]
DIRECTIONS: Final[tuple[Direction, ...]] = get_args(Direction)


@dataclass(frozen=True)
class GraphQuery:
    """Query of a function to the links of one type, which is a constant argument.

    `uses` says by direction for what the links have to be prepared (`flowdsl.graph.links.USES`), `nearest`
    what comes nearest in production, and how its meaning differs.
    """

    uses: Callable[[str], tuple[str, ...]]
    nearest: str
