"""Scalar renderer: one event after the other, on Python values.

It interprets the tree itself instead of compiling it with Jinja2 in a sandbox: operators, tests and filters
of Tera give other results than Jinja2's, Jinja2 has no limit on steps, and no sandbox is needed as only JSON
values are touched.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from flowdsl.expressions.templates.environments import Environment, Loop
from flowdsl.expressions.templates.evaluation import Evaluator, Lookup
from flowdsl.expressions.templates.failures import (
    MAX_INCLUDED,
    RenderAbortError,
    RenderCrashError,
    RenderError,
    check_characters,
)
from flowdsl.expressions.templates.nodes import (
    BlockTag,
    Body,
    For,
    Ident,
    If,
    Include,
    Items,
    Jump,
    Macro,
    MacroCall,
    Node,
    Output,
    Raw,
    Section,
    Set,
    TemplateCall,
    Text,
)
from flowdsl.expressions.templates.values import format_value, kind

ONE_OFF: Final = "__tera_one_off"
"""What Tera calls a template that is rendered without having been loaded."""


def render_rows(body: Body, lookup: Lookup) -> str:
    """Render a template in one context; raise `RenderError` if it fails."""
    try:
        return _Renderer(body, lookup).text(body)
    except RecursionError as error:
        # values can be nested deeper than Python's recursion limit
        raise RenderAbortError("the values are nested too deeply") from error


def is_super(node: Output) -> bool:
    """Return True for `{{ super() }}`."""
    call = node.expr.value
    return isinstance(call, TemplateCall) and call.name == "super" and not call.args and not node.expr.filters


def _known_blocks(body: Body) -> Iterator[str]:
    """Return the blocks that Tera recognizes: at the top, and directly inside such blocks."""
    for node in body:
        if isinstance(node, BlockTag):
            yield node.name
            yield from _known_blocks(node.body)


class _Out:
    """Output so far; fails as soon as it is too long."""

    __slots__ = ("pieces", "size")

    def __init__(self) -> None:
        self.pieces: list[str] = []
        self.size = 0

    def write(self, text: str) -> None:
        """Append a text."""
        self.size += len(text)
        check_characters(self.size)
        self.pieces.append(text)


class _Renderer(Evaluator):
    def __init__(self, body: Body, lookup: Lookup) -> None:
        super().__init__(lookup)
        self.whole = body
        self.macros = {node.name: node for node in body if isinstance(node, Macro)}
        # names and arguments of the running macros, and how deeply the template has included itself
        self.running: list[tuple[str, str]] = []
        self.included = 0
        # names of the blocks that Tera recognizes, whether one was rendered, and whether the current body is
        # directly inside a block
        self.known_blocks = set(_known_blocks(body))
        self.met_block = False
        self.in_block = False

    def text(self, body: Body) -> str:
        """Return the printed text of a body."""
        out = _Out()
        self.body(body, out)
        return "".join(out.pieces)

    def body(self, body: Body, out: _Out) -> None:
        """Print a body up to a `break` or `continue` of its loop."""
        self.budget.enter()
        for node in body:
            self.budget.charge(1)
            self.node(node, out)
            loop = self.frames[-1].loop
            if loop and loop.state:
                break
        self.budget.leave()

    def node(self, node: Node, out: _Out) -> None:
        """Print one node."""
        if isinstance(node, (Text, Raw)):
            self._write(node.text, out)
        elif isinstance(node, Output):
            self._output(node, out)
        elif isinstance(node, If):
            self._if(node, out)
        elif isinstance(node, Set):
            self._set(node)
        elif isinstance(node, For):
            self._for(node, out)
        elif isinstance(node, Jump):
            loop = self.frames[-1].loop
            assert loop is not None
            loop.state = node.kind
        elif isinstance(node, Section):
            self._section(node, out)
        elif isinstance(node, BlockTag):
            self.met_block |= node.name in self.known_blocks
            with self._within(in_block=True):
                self.body(node.body, out)
        elif isinstance(node, Include):
            self._include(node, out)

    def _output(self, node: Output, out: _Out) -> None:
        if self.in_block and not self.met_block and is_super(node):
            raise RenderCrashError("`super()` in a block that is inside of something else")
        self._write(format_value(self.value(node.expr)), out)

    @contextmanager
    def _within(self, *, in_block: bool) -> Iterator[None]:
        around, self.in_block = self.in_block, in_block
        yield
        self.in_block = around

    def _section(self, node: Section, out: _Out) -> None:
        with self._within(in_block=False):
            text = self.text(node.body)
        call = node.call
        self._write(text if call.name == "safe" else format_value(self.apply_filter(text, call)), out)

    def _include(self, node: Include, out: _Out) -> None:
        """Include a template; in production only the template itself exists, under a name of Tera's."""
        if ONE_OFF in node.names:
            if self.included == MAX_INCLUDED:
                raise RenderCrashError("a template that includes itself without end")
            self.frames.append(Environment({}, closed=False))
            self.budget.loops += 1
            self.included += 1
            self.body(self.whole, out)
            self.included -= 1
            self.budget.loops -= 1
            self.frames.pop()
        elif not node.ignores_missing:
            raise RenderError(f"there is no template {' or '.join(map(repr, node.names)) or 'to include'}")

    def _write(self, text: str, out: _Out) -> None:
        self.budget.charge(len(text) // 64)
        out.write(text)

    def _if(self, node: If, out: _Out) -> None:
        for _, condition, body in node.branches:
            if self.truth(condition):
                self.body(body, out)
                return
        if node.otherwise:
            self.body(node.otherwise[1], out)

    def _set(self, node: Set) -> None:
        value = self.value(node.expr)
        frame = self.frames[-1]
        if node.everywhere:
            frame = next(frame for frame in reversed(self.frames) if frame.loop is None)
        frame.names[node.name] = value

    def _for(self, node: For, out: _Out) -> None:
        if not isinstance(node.container.value, (Ident, TemplateCall, Items)):
            raise RenderError("`for` goes over variables, functions and arrays only")
        container = self.value(node.container)
        if not isinstance(container, (str, list, dict)):
            raise RenderError(f"`for` goes over arrays, objects and text, not over {kind(container)}")
        if isinstance(container, dict) is not (node.key is not None):
            wanted = "`for key, value in …`" if node.key is None else "`for value in …`"
            raise RenderError(f"`for` goes over {kind(container)} as {wanted}")
        if not container:
            self.body(node.empty or (), out)
            return
        loop = Loop(node.key, node.value, container)
        frame = Environment({}, closed=False, loop=loop)
        self.frames.append(frame)
        self.budget.loops += 1
        with self._within(in_block=False):
            for _ in range(loop.size):
                self.budget.charge(1)
                self.body(node.body, out)
                if loop.state == "break":
                    break
                frame.names.clear()
                loop.state = ""
                loop.at += 1
        self.budget.loops -= 1
        self.frames.pop()

    def macro(self, call: MacroCall) -> str:
        """Return the printed text of a macro, which sees its parameters and the context, but no names set
        outside.
        """
        macro = self.macros.get(call.name) if call.namespace == "self" else None
        if macro is None:
            raise RenderError(f"unknown macro `{call.namespace}::{call.name}`")
        names = self._arguments(macro, call)
        call_again = (macro.name, repr(names))
        if call_again in self.running:
            raise RenderCrashError("a macro that calls itself without end")
        self.running.append(call_again)
        self.frames.append(Environment(names, closed=True))
        self.budget.loops += 1
        try:
            with self._within(in_block=False):
                text = self.text(macro.body)
        except RenderAbortError as stop:
            if self.budget.too_deep and any(name == macro.name for name, _ in self.running[:-1]):
                raise RenderCrashError("a macro that calls itself without end") from stop
            raise
        finally:
            self.running.pop()
        self.budget.loops -= 1
        self.frames.pop()
        return text

    def _arguments(self, macro: Macro, call: MacroCall) -> dict[str, Any]:
        given = dict(call.args)
        names: dict[str, Any] = {}
        for name, default in macro.params:
            if name in given:
                names[name] = self.value(given[name])
            elif default is None:
                raise RenderError(f"the macro `{macro.name}` needs the argument `{name}`")
            else:
                names[name] = default.value
        return names
