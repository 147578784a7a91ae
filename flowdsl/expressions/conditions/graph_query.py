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

    `uses` has by direction the use that the links have to be prepared for (`flowdsl.graph.links.USES`);
    `nearest` names the closest thing in production, and how its meaning differs.
    """

    uses: Callable[[str], tuple[str, ...]]
    nearest: str
