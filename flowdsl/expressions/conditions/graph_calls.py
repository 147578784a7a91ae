"""Calls of functions that query the graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from flowdsl.errors import ConditionError
from flowdsl.expressions.conditions.functions import FUNCTIONS
from flowdsl.expressions.conditions.graph_query import GraphQuery
from flowdsl.expressions.conditions.nodes import (
    ConditionLiteral,
    Expression,
    FunctionCall,
    Reference,
    parts_text,
)
from flowdsl.expressions.conditions.typecheck import clip_text
from flowdsl.values.paths import Path


@dataclass(frozen=True)
class GraphCall(FunctionCall):
    """Call of a function that queries links of a type, with a path into the metadata that it returns."""

    below: Path = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, argument in self._named.items():
            if name in ("link_type", "direction") and not isinstance(argument, ConditionLiteral):
                raise ConditionError(
                    f"{self.function} takes a {name.replace('_', ' ')} in quotes, not {clip_text(argument)}",
                    allowed=FUNCTIONS[self.function].usage,
                    hint="which links a flow reads is known before it runs",
                )
        if self.below and self.kind is not None:
            kind = "true or false" if self.kind == "boolean" else f"a {self.kind}"
            raise ConditionError(f"{self.function} gives {kind}, which has no part {'.'.join(self.below)!r}")

    @property
    def _named(self) -> dict[str, Expression]:
        return dict(zip(FUNCTIONS[self.function].arguments, self.arguments, strict=True))

    @property
    def asks(self) -> GraphQuery:
        """The query that the function makes."""
        asks = FUNCTIONS[self.function].asks
        assert asks is not None
        return asks

    @property
    def link_type(self) -> str:
        """The type of the links."""
        return str(getattr(self._named["link_type"], "value", ""))

    @property
    def direction(self) -> str:
        """The direction in which the links are followed."""
        return str(getattr(self._named.get("direction"), "value", "forward"))

    @property
    def ids(self) -> tuple[Expression, ...]:
        """The arguments that are ids."""
        return tuple(node for name, node in self._named.items() if name not in ("link_type", "direction"))

    @property
    def id_paths(self) -> frozenset[Path]:
        """The paths among the arguments that are ids."""
        return frozenset(node.path for node in self.ids if isinstance(node, Reference))

    @property
    def links(self) -> frozenset[tuple[str, str]]:
        """The link type, and the uses that its links have to be prepared for."""
        return frozenset((self.link_type, use) for use in self.asks.uses(self.direction))

    @property
    def locates(self) -> bool:
        return self.kind is None

    @cached_property
    def leaves(self) -> frozenset[Path | Expression]:
        return frozenset((self,))

    @cached_property
    def graph_calls(self) -> frozenset[Expression]:
        return frozenset((self,)) | super().graph_calls

    def __str__(self) -> str:
        return super().__str__() + parts_text(self.below)


def call_of(function: str, arguments: Sequence[Expression], named: Mapping[str, Expression]) -> FunctionCall:
    """Build a call of a function; some arguments may be given by name."""
    known = FUNCTIONS.get(function)
    asks = known is not None and known.asks is not None
    return (GraphCall if asks else FunctionCall).of(function, arguments, named)


def part_of(node: Expression, name: str) -> Expression:
    """Build the path to a part of the result of a call."""
    if isinstance(node, GraphCall):
        return GraphCall(node.function, node.arguments, (*node.below, name))
    raise ConditionError(f"({clip_text(node)}).{name}: only a variable, a path or what a link says has parts")


def graph_calls(node: Expression | None) -> frozenset[GraphCall]:
    """Return the calls in an expression that query the graph."""
    found = () if node is None else node.graph_calls
    return frozenset(call for call in found if isinstance(call, GraphCall))
