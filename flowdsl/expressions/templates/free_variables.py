"""Free variables: what a template reads from its context, as opposed to its own names."""

from __future__ import annotations

from dataclasses import dataclass, field

from flowdsl.expressions.templates.nodes import Body, Expr, For, Ident, If, Logic, Macro, Node, Set, Test
from flowdsl.expressions.templates.visitors import bodies, own_exprs, parts
from flowdsl.values.paths import Path

_LOOP_NAMES = ("loop.index", "loop.index0", "loop.first", "loop.last")
_IN_LOOP = "loop."
"""Stands among the names of a body inside a loop."""


@dataclass
class FreeVariables:
    """Variables that a template reads.

    `paths` are read from the context; `all_paths` are these and those below the template's own names, which
    Tera looks up in the context when the name has no such member; `tolerant` are the paths of which every
    reading accepts that there is nothing (`is defined`, `default`, a bare `if`, `not`).
    """

    paths: set[Path] = field(default_factory=set)
    all_paths: set[Path] = field(default_factory=set)
    strict: set[Path] = field(default_factory=set)

    @property
    def tolerant(self) -> set[Path]:
        return self.paths - self.strict


def reads_of(body: Body) -> FreeVariables:
    """Return everything a template reads."""
    finder = _Finder()
    finder.body(body, set())
    return finder.reads


class _Finder:
    def __init__(self) -> None:
        self.reads = FreeVariables()

    def body(self, body: Body, own: set[str]) -> None:
        """Visit a body; names it always sets are added to `own`."""
        for node in body:
            self.node(node, own)

    def node(self, node: Node, own: set[str]) -> None:
        if isinstance(node, If):
            self.conditions(node, own)
            return
        for expr in own_exprs(node):
            self.expr(expr, own)
        if isinstance(node, Set):
            own.add(node.name)
        elif isinstance(node, For):
            # an item named `loop` is never found: Tera takes the name for the loop itself
            inner = (own | {_IN_LOOP, node.value}) - {"loop"} | ({node.key} if node.key else set())
            self.body(node.body, inner)
            self.body(node.empty or (), set(own))
        elif isinstance(node, Macro):
            self.body(node.body, {name for name, _ in node.params})
        else:
            for body in bodies(node):
                self.body(body, own)

    def conditions(self, node: If, own: set[str]) -> None:
        outcomes: list[set[str]] = []
        for _, expr, body in node.branches:
            self.condition(expr, own)
            inner = set(own)
            self.body(body, inner)
            outcomes.append(inner)
        inner = set(own)
        if node.otherwise:
            self.body(node.otherwise[1], inner)
        # sure afterwards is only what every way through has set
        own.update(set.intersection(inner, *outcomes))

    def condition(self, expr: Expr, own: set[str]) -> None:
        """Visit a condition, in which a bare path may lead nowhere."""
        if isinstance(expr.value, Ident):
            self.ident(expr.value, own, strict=False)
            self.filters(expr, own)
        else:
            self.expr(expr, own)

    def expr(self, expr: Expr, own: set[str]) -> None:
        value = expr.value
        if isinstance(value, Ident):
            self.ident(value, own, strict=not (expr.has_default or expr.negated))
        elif isinstance(value, Test):
            self.ident(value.ident, own, strict=value.name not in ("defined", "undefined"))
        read = self.condition if isinstance(value, Logic) else self.expr
        for part in parts(value):
            read(part, own)
        self.filters(expr, own)

    def filters(self, expr: Expr, own: set[str]) -> None:
        for call in expr.filters:
            for _, arg in call.args:
                self.expr(arg, own)

    def ident(self, ident: Ident, own: set[str], *, strict: bool) -> None:
        for inner in ident.inner:
            self.ident(inner, own, strict=strict)
        if ident.text in _LOOP_NAMES and _IN_LOOP in own:
            return
        if ident.root in own:
            if ident.steps:
                self.reads.all_paths.add(ident.path)
            return
        self.reads.paths.add(ident.path)
        self.reads.all_paths.add(ident.path)
        if strict:
            self.reads.strict.add(ident.path)
